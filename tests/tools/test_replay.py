#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: every shipped recording replays with every result matched and nothing left, and what is
wrong with a recording, or different from it, is said with its line.

Method: the program itself, on the shipped recordings and on recordings changed on purpose.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))
TRACES = sorted(glob.glob(os.path.join(ROOT, "examples/traces/*.trace")))


def replay(path, *options):
    return subprocess.run([KARC, "replay", path, *options], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=100)


def report(path, *options):
    done = replay(path, "--json", *options)
    assert done.returncode == 0, (path, options, done.stderr, done.stdout)
    return json.loads(done.stdout)


def changed(scratch, name, change):
    """A copy of a shipped recording with its lines changed; its path."""
    with open(os.path.join(ROOT, "examples/traces", name), encoding="utf-8") as f:
        lines = f.read().splitlines()
    path = os.path.join(scratch, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(change(lines)) + "\n")
    return path


def every_shipped_recording_matches(*options):
    assert len(TRACES) >= 3, TRACES
    for path in TRACES:
        r = report(path, *options)
        calls = r["calls"]
        assert calls["replayed"] > 30, (path, calls)
        assert calls["descriptors"] > 10, (path, calls)
        assert calls["descriptors_matched"] == calls["descriptors"], (path, calls)
        assert calls["matched"] == calls["replayed"] and not calls["different"], (path, calls)
        assert r["frames_free_at_boot"] == r["frames_free_at_end"], path
        assert r["live_objects"] == 0 and r["left"] == [], (path, r["left"])
        assert len(r["teardown"]) == r["processes"], path
        for death in r["teardown"]:
            if not death["shared_mm"]:
                assert death["freed"]["mm_struct"] == 1, (path, death)
                assert death["freed"]["vm_area_struct"] == death["mappings"], (path, death)


def recordings_match_on_one_cpu(_):
    every_shipped_recording_matches("--cpus", "1")


def recordings_match_on_four_cpus_with_everything_touched(_):
    every_shipped_recording_matches("--cpus", "4", "--touch", "all")


def recordings_match_with_some_touched_in_little_memory(_):
    every_shipped_recording_matches("--cpus", "2", "--touch", "some", "--mem", "256M")


def a_seed_means_the_same_run(_):
    path = os.path.join(ROOT, "examples/traces/sh.trace")
    options = ("--cpus", "4", "--touch", "some", "--seed", "7", "--json")
    assert replay(path, *options).stdout == replay(path, *options).stdout
    assert report(path, "--touch", "some", "--seed", "8") != report(path, "--touch", "some",
                                                                   "--seed", "7")


def a_different_address_is_a_finding_with_its_line(scratch):
    where = []

    def change(lines):
        for i, line in enumerate(lines):
            if " mmap 0x0 " in line and " = 0x7" in line:
                where.append(i + 1)
                head, result = line.rsplit(" = ", 1)
                lines[i] = "%s = 0x%x" % (head, int(result, 16) - 0x1000)
                return lines
        raise AssertionError("no mmap to change")
    done = replay(changed(scratch, "ls.trace", change))
    assert done.returncode == 1, done
    assert "ls.trace:%d: mmap(" % where[0] in done.stderr, done.stderr
    assert "expected 0x7" in done.stderr and "got 0x7" in done.stderr, done.stderr


def another_descriptor_is_told_but_no_finding(scratch):
    def change(lines):
        for i, line in enumerate(lines):
            if re.match(r"1 openat .* = 3 @", line) and lines[i + 1].split()[1] != "close":
                lines[i] = line.replace(" = 3 @", " = 7 @")
                return lines
        raise AssertionError("no openat to change")
    calls = report(changed(scratch, "ls.trace", change))["calls"]
    assert calls["descriptors_matched"] < calls["descriptors"], calls


def a_different_errno_is_a_finding(scratch):
    def change(lines):
        for i, line in enumerate(lines):
            if re.search(r" munmap .* = 0$", line):
                lines[i] = line[:-1] + "-EINVAL"
                return lines
        raise AssertionError("no munmap to change")
    done = replay(changed(scratch, "ls.trace", change))
    assert done.returncode == 1, done
    assert "expected EINVAL, got 0x0" in done.stderr, done.stderr


def an_unknown_memory_call_ends_the_replay_by_name(scratch):
    def change(lines):
        for i, line in enumerate(lines):
            found = re.match(r"(\d+) munmap (0x[0-9a-f]+) (\d+) = 0$", line)
            if found:
                lines[i] = "%s mlock %s %s = 0" % found.groups()
                where.append(i + 1)
                return lines
        raise AssertionError("no munmap to change")
    where = []
    done = replay(changed(scratch, "ls.trace", change))
    assert done.returncode == 2, done
    assert ":%d: karc cannot replay mlock yet" % where[0] in done.stderr, done.stderr


def a_truncated_recording_is_refused_at_its_end(scratch):
    nr = []

    def change(lines):
        nr.append(len(lines) // 2)
        return lines[:nr[0]]
    done = replay(changed(scratch, "ls.trace", change))
    assert done.returncode == 2, done
    assert re.search(r"ls\.trace:\d+: ", done.stderr), done.stderr


def what_is_no_recording_is_refused(scratch):
    for name, data in (("empty", b""), ("text", b"hello\n"), ("binary", bytes(range(256)) * 20),
                       ("version", b"karc-recording 99\n")):
        path = os.path.join(scratch, name)
        with open(path, "wb") as f:
            f.write(data)
        done = replay(path)
        assert done.returncode == 2 and done.stderr, (name, done)
    assert replay(os.path.join(scratch, "absent")).returncode == 2


def absurd_options_are_refused(_):
    path = os.path.join(ROOT, "examples/traces/ls.trace")
    for options in (("--cpus", "0"), ("--cpus", "65"), ("--cpus", "x"), ("--mem", "1K"),
                    ("--mem", "12Q"), ("--touch", "much"), ("--seed", "-1"), ("--what",),
                    ("another",)):
        done = replay(path, *options)
        assert done.returncode == 2 and done.stderr, options
    assert replay(path, "--help").returncode == 0


def too_little_memory_is_said(_):
    path = os.path.join(ROOT, "examples/traces/python3.trace")
    done = replay(path, "--mem", "16M", "--touch", "all")
    assert done.returncode == 1, done
    assert "python3.trace:" in done.stderr, done.stderr
    assert "nothing" in done.stdout, done.stdout


def main():
    tests = [recordings_match_on_one_cpu,
             recordings_match_on_four_cpus_with_everything_touched,
             recordings_match_with_some_touched_in_little_memory,
             a_seed_means_the_same_run,
             a_different_address_is_a_finding_with_its_line,
             another_descriptor_is_told_but_no_finding,
             a_different_errno_is_a_finding,
             an_unknown_memory_call_ends_the_replay_by_name,
             a_truncated_recording_is_refused_at_its_end,
             what_is_no_recording_is_refused,
             absurd_options_are_refused,
             too_little_memory_is_said]
    failed = 0
    for test in tests:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                test(scratch)
                print("[       OK ] %s" % test.__name__)
            except Exception as error:     # a broken test is a failed test, the others go on
                failed += 1
                print("[  FAILED  ] %s: %r" % (test.__name__, error))
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
