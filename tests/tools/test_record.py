#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: `karc record` records real programs, keeps their secrets, and says what is wrong.

Method: small commands recorded into a temporary directory; the recording is read as text here
(the reader has its own tests) and the streams and the exit status are looked at.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))


def run(*command, **kw):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, **kw)


def record(scratch, *command, **kw):
    """Records; gives the outcome and the recording's lines."""
    path = os.path.join(scratch, "t.trace")
    done = run(KARC, "record", "-o", path, "--", *command, **kw)
    assert done.returncode == 0, done.stderr
    with open(path, encoding="ascii") as f:
        text = f.read()
    assert text.startswith("karc-recording 1\n"), text[:100]
    lines = text.splitlines()
    body = lines[lines.index("calls") + 1:]
    assert body[-1] == "end %d" % (len(body) - 1), body[-1]
    assert os.listdir(scratch) == ["t.trace"], os.listdir(scratch)
    return done, lines, body


def streams_and_status_of_the_command_are_its_own(scratch):
    done, _, body = record(scratch, "sh", "-c", "cat; echo err >&2; exit 3", input="in\n")
    assert done.stdout == "in\n", done.stdout
    assert done.stderr.startswith("err\nkarc record: "), done.stderr
    assert "the command exited with 3" in done.stderr, done.stderr
    assert "1 exited 3" in body


def nothing_that_the_program_says_or_reads_is_kept(scratch):
    env = dict(os.environ, SECRET_NAME="secret-value")
    script = "secret_variable=1; cat secret-file; echo secret-output; test -e secret-path"
    with tempfile.TemporaryDirectory() as elsewhere:
        with open(os.path.join(elsewhere, "secret-file"), "w", encoding="ascii") as f:
            f.write("secret-contents\n")
        _, lines, body = record(scratch, "sh", "-c", script, "secret-argument", env=env,
                                cwd=elsewhere)
    assert not [line for line in lines if "secret" in line.lower()]
    assert re.match(r"1 execve @1 @1 4 \d+ %d \d+ \d+ = 0$" % len(env), body[0]), body[0]


def a_killed_command_is_recorded(scratch):
    done, _, body = record(scratch, "sh", "-c", "kill -9 $$")
    assert "the command was killed by SIGKILL" in done.stderr, done.stderr
    assert "1 killed 9" in body


def children_are_numbered_and_end(scratch):
    _, lines, body = record(scratch, "sh", "-c", "(exit 4); /bin/true & wait; exit 0")
    assert "tasks 3" in lines
    assert "2 exited 4" in body and "3 exited 0" in body and "1 exited 0" in body


def a_script_is_followed_to_its_interpreter(scratch):
    with tempfile.TemporaryDirectory() as elsewhere:
        path = os.path.join(elsewhere, "script")
        with open(path, "w", encoding="ascii") as f:
            f.write("#!/bin/sh -e\nexit 0\n")
        os.chmod(path, 0o755)
        _, lines, body = record(scratch, "./script", "one", cwd=elsewhere)
    words = body[0].split()
    named, image = int(words[2][1:]), int(words[3][1:])
    assert named != image
    assert words[4] == "4" and words[5] == str(len("/bin/sh -e ./script one") + 1), body[0]
    assert [line for line in lines if line.startswith("elf %d " % image)]
    assert [line for line in lines if line.startswith("load %d " % image)]


def reading_of_maps_is_noted(scratch):
    done, _, body = record(scratch, "cat", "/proc/self/maps")
    noted = [int(line.split()[2]) for line in body if " readmaps " in line]
    assert sum(noted) == len(done.stdout), (noted, len(done.stdout))


def what_the_first_calls_return_matches_the_layout(scratch):
    done, lines, body = record(scratch, "cat", "/proc/self/maps")
    base = int([line.split()[1] for line in lines if line.startswith("mmap-base")][0], 16)
    top = int([line.split()[1] for line in lines if line.startswith("stack-top")][0], 16)
    starts, ends = {}, {}
    for row in done.stdout.splitlines():
        words = row.split()
        low, high = (int(part, 16) for part in words[0].split("-"))
        name = words[-1]
        starts.setdefault(name, low)
        ends[name] = high
    assert ends["[stack]"] == top
    assert max(end for end in ends.values() if end <= base) == base
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines if line[:4] in
             ("vvar", "vdso")}
    assert ends["[vdso]"] - starts["[vdso]"] == sizes["vdso"]
    assert starts["[vdso]"] - starts["[vvar]"] == sizes["vvar"]
    brk = [line for line in body if line.startswith("1 brk ")][0]
    assert int(brk.split()[-1], 16) == starts["[heap]"], brk


def wrong_usage_ends_with_status_2(scratch):
    out = os.path.join(scratch, "x")
    for arguments, said in (
            (["-o", out], "no command"), (["true"], "-o FILE is missing"),
            (["-o", "-", "true"], "standard output"), (["-x", "true"], "unknown option"),
            (["-o", out, "--", "no-such-command-here"], "no such command"),
            (["-o", out, "--", "/etc/passwd"], "no such command"),
            (["-o", scratch, "--", "true"], "something else already"),
            (["-o", scratch + "/none/x", "--", "true"], "No such file")):
        done = run(KARC, "record", *arguments)
        assert done.returncode == 2, (arguments, done)
        assert said in done.stderr, (said, done.stderr)
    assert not os.listdir(scratch)
    done = run(KARC, "record", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: karc record"), done


def missing_strace_is_explained(scratch):
    os.symlink(shutil.which("true"), os.path.join(scratch, "true"))
    done = run(KARC, "record", "-o", os.path.join(scratch, "x"), "true",
               env=dict(os.environ, PATH=scratch))
    assert done.returncode == 2 and "./configure.py --install" in done.stderr, done


def denied_tracing_is_explained(scratch):
    """What is traced already cannot trace its own children."""
    done = run("strace", "-f", "-qq", "-e", "trace=none", "-o", "/dev/null", KARC, "record", "-o",
               os.path.join(scratch, "x"), "true",
               env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    assert done.returncode == 2 and "tracing is denied" in done.stderr, done
    assert not os.listdir(scratch)


def a_signal_to_karc_reaches_the_command(scratch):
    path = os.path.join(scratch, "t.trace")
    with subprocess.Popen([KARC, "record", "-o", path, "--", "sh", "-c", "echo go; exec sleep 60"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "go\n"
        time.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=30)
    assert child.returncode == 0 and "killed by SIGTERM" in said, said


TESTS = [
    streams_and_status_of_the_command_are_its_own,
    nothing_that_the_program_says_or_reads_is_kept,
    a_killed_command_is_recorded,
    children_are_numbered_and_end,
    a_script_is_followed_to_its_interpreter,
    reading_of_maps_is_noted,
    what_the_first_calls_return_matches_the_layout,
    wrong_usage_ends_with_status_2,
    missing_strace_is_explained,
    denied_tracing_is_explained,
    a_signal_to_karc_reaches_the_command,
]


def can_trace():
    """Containers often forbid ptrace or personality; then there is nothing to test."""
    if not shutil.which("strace"):
        return False
    return run("setarch", "-R", "strace", "-qq", "-o", "/dev/null", "true").returncode == 0


def main():
    failed = 0
    possible = can_trace()
    for test in TESTS:
        print("[ RUN      ] " + test.__name__, flush=True)
        if not possible:
            print("[  SKIPPED ] " + test.__name__, flush=True)
            continue
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
