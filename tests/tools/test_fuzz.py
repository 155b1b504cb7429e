#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: `ninja fuzz` starts from recordings that the reader accepts, and says clearly when clang's
libFuzzer is not there.

Method: the script's own functions, and a compiler that refuses. The fuzzing itself is a CI step.
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))
FUZZ = os.path.join(ROOT, "tests/tools/fuzz.py")

sys.path.insert(0, os.path.dirname(FUZZ))
sys.dont_write_bytecode = True
import fuzz  # noqa: E402  pylint: disable=wrong-import-position


def a_clang_without_the_fuzzer_is_told(scratch):
    clang = os.path.join(scratch, "clang")
    with open(clang, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\nexit 1\n")
    os.chmod(clang, 0o755)
    for name in (clang, os.path.join(scratch, "absent")):
        done = subprocess.run([sys.executable, FUZZ, "--check", name], capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode == 1, done
        assert "libFuzzer is not installed" in done.stderr, done
        assert "./configure.py --install" in done.stderr, done


def the_corpus_begins_with_recordings_that_are_read_far(scratch):
    fuzz.make_corpus(ROOT, scratch)
    names = sorted(name for name in os.listdir(scratch) if name.endswith(".trace"))
    assert len(names) >= 10, names
    for name in names:
        path = os.path.join(scratch, name)
        assert os.path.getsize(path) < 16384, (name, os.path.getsize(path))
        done = subprocess.run([KARC, "replay", path], capture_output=True, text=True, timeout=100,
                              check=False)
        where = [line for line in done.stderr.splitlines() if line.startswith(path + ":")]
        with open(path, encoding="ascii") as f:
            start = f.read().split("\ncalls\n")[0].count("\n") + 2
        for line in where:
            assert int(line[len(path) + 1:].split(":")[0]) > start, (name, line)


def a_finding_fails_and_is_kept(scratch):
    target = os.path.join(scratch, "target")
    with open(target, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\nfor word; do case $word in -artifact_prefix=*) echo bad "
                ">\"${word#*=}crash\" ;; esac; done\necho 'it crashed'\nexit 77\n")
    os.chmod(target, 0o755)
    done = subprocess.run([sys.executable, FUZZ, target, ROOT], capture_output=True, text=True,
                          timeout=60, check=False,
                          env=dict(os.environ, KARC_FUZZ_DIR=os.path.join(scratch, "kept")))
    assert done.returncode == 1 and "it crashed" in done.stdout, done
    assert os.listdir(os.path.join(scratch, "kept/found")) == ["crash"]


def main():
    failed = 0
    for test in (a_clang_without_the_fuzzer_is_told,
                 the_corpus_begins_with_recordings_that_are_read_far,
                 a_finding_fails_and_is_kept):
        print("[ RUN      ] " + test.__name__, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                test(scratch)
                print("[       OK ] " + test.__name__, flush=True)
            except Exception as problem:            # pylint: disable=broad-except
                failed += 1
                print("%s: %r" % (type(problem).__name__, problem))
                print("[  FAILED  ] " + test.__name__, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
