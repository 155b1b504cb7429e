#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Records the programs whose recordings lie here.
#
#	record.sh KARC [NAME...]	all, or those named; KARC is the program build/karc
#
# Everything runs with an empty environment, from /usr/share, with descriptors 0, 1 and 2 only,
# and from one place whatever the place of this file, so that nothing of the recording machine but
# its kernel and its packages can be seen in a recording.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
karc=$(realpath "$1")
shift
place=/usr/local/lib/karc-examples
trap 'rm -rf "$place" /usr/local/lib/karc-object' EXIT
mkdir -p "$place"
for kind in py sh awk pl js sql c; do
	cp "$here"/*."$kind" "$place"
done
for source in threads shared remap spawn views; do
	cc -O2 -pthread -o "$place/$source" "$here/$source.c"
done
wanted=" $* "

record() {
	name=$1
	shift
	case "$wanted" in
	"  " | *" $name "*) ;;
	*) return 0 ;;
	esac
	echo "=== $name: $*"
	(cd /usr/share && exec env -i PATH=/usr/bin:/bin LANG=C HOME=/ \
		python3 -c 'import os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
os.closerange(3, 4096)
os.execv(sys.argv[1], sys.argv[1:])' "$karc" record -o "$here/$name.trace" -- "$@" \
		</dev/null) || echo "=== $name: status $?"
}

record ls /usr/bin/ls -l /usr/share/doc/base-files
record maps /usr/bin/cat /proc/self/maps
record sh /usr/bin/sh -c 'for i in 1 2 3; do /usr/bin/true; done; date; ls / >/dev/null'
record pipe /usr/bin/sh -c 'ls -l /usr/bin | sort -k5n | tail -n 300 | uniq | wc -l'
record exec "$place/exec.sh"
record forks "$place/forks.sh"
record perl /usr/bin/perl -e '%h = map { $_ => "x" x ($_ % 90) } 1 .. 30000;
	@k = sort { $h{$a} cmp $h{$b} || $a <=> $b } keys %h; $s = join ",", @k; print length $s, "\n"'
record git /usr/bin/sh -c 'cd "$0" && git init -q project && cd project && cp ../*.c . &&
	git add . && git -c user.name=a -c user.email=b commit -qm first && git gc -q &&
	git log --oneline --stat | tail -n 1' "$place"
record python3 /usr/bin/python3 "$place/compute.py"
record workers /usr/bin/python3 "$place/workers.py"
record gcc /usr/bin/gcc -O2 -o /usr/local/lib/karc-object "$place/hello.c"
record sqlite3 /usr/bin/sqlite3 :memory: ".read $place/books.sql"
record node /usr/bin/node "$place/jit.js"
record threads "$place/threads"
record shared "$place/shared"
record remap "$place/remap"
record spawn "$place/spawn"
record views "$place/views"
record awk /usr/bin/awk 'BEGIN { for (i = 0; i < 13700; i++) s = s "word" i; print length(s) }'
