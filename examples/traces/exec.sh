#!/bin/sh -e
# SPDX-License-Identifier: MIT
# What exec.trace records: scripts that run scripts, by their first lines, and end in an exec.
here=${0%/*}
for word in one two three; do
	"$here/count.awk" "$word"
done
echo "$("$here/turn.pl" drawer)"
(ulimit -s 1024; /usr/bin/env true)
exec /usr/bin/env sh -c 'exec "$0" -c 12 /dev/zero | wc -c' head
