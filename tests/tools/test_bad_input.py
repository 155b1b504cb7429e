#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: `karc replay` answers a damaged recording with one clear error that names the line, and
exit status 2, whatever the damage.

Method: a shipped recording damaged in each way that files are; the program itself is run. The
reader's own tests have the single mistakes.
"""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))


def whole(name="sh.trace"):
    with open(os.path.join(ROOT, "examples/traces", name), "rb") as f:
        return f.read()


def start_of_body(lines):
    return lines.index(b"calls") + 1


def expect(scratch, data, line, said):
    """@line: number from 1, or None where there is none to name."""
    path = os.path.join(scratch, "bad.trace")
    with open(path, "wb") as f:
        f.write(data)
    done = subprocess.run([KARC, "replay", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=100, errors="replace", check=False)
    assert done.returncode == 2, done
    assert said in done.stderr, (said, done.stderr)
    if line is not None:
        assert "bad.trace:%d: " % line in done.stderr, (line, done.stderr)
    assert len(done.stderr) < 1000, len(done.stderr)


def with_line(change, nr_in_body=3):
    """The recording with one line of its body changed; and that line's number."""
    lines = whole().split(b"\n")
    at = start_of_body(lines) + nr_in_body
    lines[at] = change(lines[at])
    return b"\n".join(lines), at + 1


def a_line_cut_in_its_middle(scratch):
    data = whole()
    cut = data.index(b"\n1 mmap ") + 12
    expect(scratch, data[:cut], data[:cut].count(b"\n") + 1, "truncated in the middle")


def a_recording_without_its_end(scratch):
    data = whole()
    cut = data.index(b"\n", len(data) // 2) + 1
    expect(scratch, data[:cut], data[:cut].count(b"\n"), 'it has no "end" line')


def a_head_without_a_body(scratch):
    data = whole()
    cut = data.index(b"calls\n")
    expect(scratch, data[:cut], data[:cut].count(b"\n"), "its head does not end")


def a_line_of_a_megabyte(scratch):
    data, line = with_line(lambda old: old + b" " + b"a" * (1 << 20))
    expect(scratch, data, line, "longer than 4095 bytes")


def nul_bytes(scratch):
    data, line = with_line(lambda old: old[:4] + b"\0" + old[4:])
    expect(scratch, data, line, "byte 0x00 in column 5 is no text")


def binary_bytes(scratch):
    data, line = with_line(lambda old: b"\xff\xfe" + old)
    expect(scratch, data, line, "byte 0xff in column 1 is no text")
    expect(scratch, bytes(range(256)) * 100, 1, "not a recording")


def lines_that_end_with_cr_lf(scratch):
    expect(scratch, whole().replace(b"\n", b"\r\n"), 1, "CR LF")
    data, line = with_line(lambda old: old + b"\r")
    expect(scratch, data, line, "CR LF")


def numbers_out_of_range(scratch):
    for text, said in ((b"1 munmap 0x10000000000000000 1 = 0", "64 bits"),
                       (b"1 munmap 0x1000 18446744073709551616 = 0", "64 bits"),
                       (b"1 close 4294967296 = 0", "not a descriptor"),
                       (b"1 mmap 0x0 -1 0x3 0x22 -1 0x0 @- = 0x1000", "not a number"),
                       (b"1 exited 256", "too large for an exit code"),
                       (b"99999999999 close 3 = 0", "too large for a task")):
        data, line = with_line(lambda old, text=text: text)
        expect(scratch, data, line, said)


def a_call_of_a_task_that_was_never_started(scratch):
    data, line = with_line(lambda old: b"77 close 3 = 0")
    expect(scratch, data, line, "task 77 was never started")


def a_task_that_is_started_twice(scratch):
    lines = whole().split(b"\n")
    at = [i for i, line in enumerate(lines) if b" born " in line][0]
    lines.insert(at + 1, lines[at])
    expect(scratch, b"\n".join(lines), at + 2, "starts where task")
    lines = whole().split(b"\n")
    at = [i for i, line in enumerate(lines) if re.match(rb"1 (< )?(clone|fork|vfork)", line)][0]
    lines.insert(at + 1, b"1 fork = 2")
    expect(scratch, b"\n".join(lines), at + 2, "started a second time")


def a_task_that_ends_twice(scratch):
    lines = whole().split(b"\n")
    at = [i for i, line in enumerate(lines) if line == b"2 exited 0"][0]
    lines.insert(at + 1, lines[at])
    expect(scratch, b"\n".join(lines), at + 2, "task 2 has ended before")


def the_end_of_a_call_that_has_not_begun(scratch):
    data, line = with_line(lambda old: b"1 < munmap = 0")
    expect(scratch, data, line, "ends that has not begun")


def a_call_that_begins_inside_another(scratch):
    data, line = with_line(lambda old: b"1 > munmap 0x1000 4096\n1 > munmap 0x1000 4096")
    expect(scratch, data, line + 1, "begins a call inside munmap of line %d" % line)


def files_that_are_not_declared(scratch):
    data, line = with_line(lambda old: b"1 openat 0x0 0 = 3 @60000")
    expect(scratch, data, line, "file @60000 is not declared")
    data, line = with_line(lambda old: b"1 openat 0x0 0 = 3 @99999999999999999999")
    expect(scratch, data, line, "is not a file")


def a_head_that_lies_about_counts(scratch):
    for key, said in ((b"files", "announced"), (b"fds", "announced"), (b"tasks", "announces")):
        lines = whole().split(b"\n")
        at = [i for i, line in enumerate(lines) if line.startswith(key + b" ")][0]
        lines[at] = key + b" " + str(int(lines[at].split()[1]) + 1).encode()
        expect(scratch, b"\n".join(lines), None, said)
    lines = whole().split(b"\n")
    lines[-2] = b"end 1"
    expect(scratch, b"\n".join(lines), len(lines) - 1, "lines in the body, 1 were recorded")


def more_behind_the_end(scratch):
    data = whole()
    expect(scratch, data + data, data.count(b"\n") + 1, "more after the end")


def an_empty_file(scratch):
    expect(scratch, b"", None, "the file is empty")


def another_version(scratch):
    expect(scratch, b"karc-recording 1\n", 1, "format version 1, this program reads version 2")
    expect(scratch, b"karc-recording 999999999999999999999\n", 1, "format version")


def a_directory_and_what_is_not_there(scratch):
    for path, said in ((scratch, "directory"), (os.path.join(scratch, "none"), "No such file")):
        done = subprocess.run([KARC, "replay", path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=100, check=False)
        assert done.returncode == 2 and said in done.stderr, done


TESTS = [
    a_line_cut_in_its_middle,
    a_recording_without_its_end,
    a_head_without_a_body,
    a_line_of_a_megabyte,
    nul_bytes,
    binary_bytes,
    lines_that_end_with_cr_lf,
    numbers_out_of_range,
    a_call_of_a_task_that_was_never_started,
    a_task_that_is_started_twice,
    a_task_that_ends_twice,
    the_end_of_a_call_that_has_not_begun,
    a_call_that_begins_inside_another,
    files_that_are_not_declared,
    a_head_that_lies_about_counts,
    more_behind_the_end,
    an_empty_file,
    another_version,
    a_directory_and_what_is_not_there,
]


def main():
    failed = 0
    for test in TESTS:
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
