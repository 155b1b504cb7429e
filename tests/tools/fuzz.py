#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: run the fuzz target of the recordings' reader for a while, from a corpus of real ones.

    fuzz.py --check CLANG        says clearly when clang has no libFuzzer
    fuzz.py TARGET ROOT          KARC_FUZZ_SECONDS=20, KARC_FUZZ_DIR= a place to keep

The corpus is cut from examples/traces: short, so that a run tries many. What is found lies in a
directory outside the tree, which is named and kept when something was found.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

BODY_LINES = 40
FILES = 6

WORDS = """
karc-recording kernel machine page huge memory swap cpus overcommit map-max map-min legacy-layout
thp thp-shmem vvar vvar-vclock vdso vsyscall auxv platform personality capabilities stack-top
mmap-base anon-align align-fit limit unlimited tasks files fds fd file elf load script calls end
born exited killed core signal stopped superseded resized removed renamed received maps line begins
inside ends eof view execve clone clone3 vfork fork mmap munmap mprotect mremap brk wait4 waitid
prctl shmget shmat shmctl openat close dup2 pipe2 socketpair memfd_create fcntl kill tgkill setpgid
getrlimit prlimit64 socket exit_group regular memfd dyn exec 18446744073709551615 4294967296
0xffffffffffffffff 0x7fffffffffff -ENOENT -ERESTARTSYS @1 @2 @- %20 %00 ? > < = - #
""".split()


def check(clang):
    """clang finds its libraries by itself, so it is asked to use one."""
    with tempfile.TemporaryDirectory() as scratch:
        source = os.path.join(scratch, "empty.c")
        with open(source, "w", encoding="ascii") as f:
            f.write("int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n)\n"
                    "{ return d && n ? 0 : 0; }\n")
        try:
            ask = subprocess.run([clang, "-fsanitize=fuzzer,address", "-o",
                                  os.path.join(scratch, "empty"), source], capture_output=True,
                                 check=False)
        except FileNotFoundError:
            ask = None
    if ask and ask.returncode == 0:
        return 0
    print("fuzz: %s cannot build with -fsanitize=fuzzer: its libFuzzer is not installed.\n"
          "fuzz: ./configure.py --install installs it (on Debian 12: libclang-rt-14-dev)" % clang,
          file=sys.stderr)
    return 1


def short_form(text):
    """The head with its first files, and the first lines that know no others."""
    lines = text.splitlines()
    start = lines.index("calls")
    known = ["@-"] + ["@%d" % i for i in range(1, FILES + 1)]

    def is_known(line):
        return all(w in known for w in line.split() if w[0] == "@" and w[1:].isdigit() or w == "@-")

    head, nr_files = [], 0
    for line in lines[:start]:
        words = line.split()
        if words[0] in ("file", "elf", "load", "script"):
            if int(words[1]) > FILES or not is_known(line):
                continue
            nr_files += words[0] == "file"
        head.append(line)
    head = ["files %d" % nr_files if line.startswith("files ") else line for line in head]
    body = [line for line in lines[start + 1:-1] if is_known(line)][:BODY_LINES]
    return "\n".join(head + ["calls"] + body + ["end %d" % len(body)]) + "\n"


def make_corpus(root, where):
    for path in sorted(glob.glob(os.path.join(root, "examples/traces/*.trace"))):
        with open(path, encoding="ascii") as f:
            text = f.read()
        lines = text.splitlines()
        start = lines.index("calls")
        head = short_form(text)
        for nr, first in enumerate(range(start + 1, len(lines) - BODY_LINES, len(lines) // 8)):
            # Lines from the middle are not valid there, but show the fuzzer what there is.
            body = [w for w in lines[first:first + BODY_LINES] if w.startswith("1 ")]
            with open(os.path.join(where, "%s-%d" % (os.path.basename(path), nr)), "w",
                      encoding="ascii") as f:
                f.write(head.rsplit("\nend ", 1)[0] + "\n" + "\n".join(body) + "\n")
        with open(os.path.join(where, os.path.basename(path)), "w", encoding="ascii") as f:
            f.write(head)


def run(target, root):
    seconds = int(os.environ.get("KARC_FUZZ_SECONDS", "20"))
    kept = os.environ.get("KARC_FUZZ_DIR")
    where = kept or tempfile.mkdtemp(prefix="karc-fuzz-")
    corpus, found, words = (os.path.join(where, n) for n in ("corpus", "found", "words"))
    os.makedirs(corpus, exist_ok=True)
    os.makedirs(found, exist_ok=True)
    make_corpus(root, corpus)
    with open(words, "w", encoding="ascii") as f:
        f.writelines('"%s"\n' % word for word in WORDS)
    done = subprocess.run([target, "-max_total_time=%d" % seconds, "-max_len=16384",
                           "-timeout=20", "-rss_limit_mb=1024", "-dict=" + words,
                           "-artifact_prefix=" + found + os.sep, "-print_final_stats=1", corpus],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or os.listdir(found):
        print("\n".join(lines[-60:]))
        print("fuzz: a finding; the input that shows it lies in " + found)
        return 1
    print("\n".join(line for line in lines if line.startswith("stat::")))
    print("fuzz: %d seconds, no finding" % seconds)
    if not kept:
        shutil.rmtree(where)
    return 0


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        return check(sys.argv[2])
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    return run(os.path.abspath(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    sys.exit(main())
