#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: every shipped recording replays with every result matched and nothing left, on one CPU and
on many, in both modes, whatever is touched; and what a recording is refused for is said.

Method: the program itself, on the shipped recordings. Differences have test_replay_differences.py,
overlapping calls test_replay_order.py.
"""

import os
import pty
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from replay_case import (KARC, MODES, ROOT, TRACES, VARIANT, changed, in_pairs, replay, report,
                         run, trace)

LONG_TRACE = os.path.join(ROOT, "tests/support/long_trace.py")


def check_whole(path, *options):
    r = report(path, *options)
    calls = r["calls"]
    what = (path, options)
    assert calls["replayed"] > 20, (what, calls)
    assert calls["descriptors"] > 2, (what, calls)
    assert calls["descriptors_matched"] == calls["descriptors"], (what, calls)
    assert calls["matched"] == calls["replayed"] and not calls["different"], (what, calls)
    assert r["maps"]["same"] == r["maps"]["lines"], (what, r["maps"])
    assert r["frames_free_at_boot"] == r["frames_free_at_end"], what
    assert r["live_objects"] == 0 and r["left"] == [], (what, r["left"])
    assert len(r["teardown"]) == r["processes"], (what, r["processes"])
    for death in r["teardown"]:
        if not death["shared_mm"]:
            assert death["freed"]["mm_struct"] == 1, (what, death)
            assert death["freed"]["vm_area_struct"] == death["mappings"], (what, death)
    return r


def every_recording(*options):
    assert len(TRACES) >= 10, TRACES
    in_pairs(check_whole, [(path, *options) for path in TRACES])


def recordings_match_on_one_cpu(_):
    for touch in ("none", "some", "all"):
        every_recording("--cpus", "1", "--touch", touch)


def recordings_match_on_four_cpus(_):
    for touch in ("none", "some", "all"):
        every_recording("--cpus", "4", "--touch", touch)


def recordings_match_on_eight_cpus(_):
    for touch in ("none", "some", "all"):
        every_recording("--cpus", "8", "--touch", touch)


def recordings_match_with_one_parallel_cpu(_):
    for touch in ("none", "some", "all"):
        every_recording("--mode", "parallel", "--cpus", "1", "--touch", touch)


def recordings_match_on_four_parallel_cpus(_):
    for touch in ("none", "some", "all"):
        every_recording("--mode", "parallel", "--cpus", "4", "--touch", touch)


def recordings_match_on_eight_parallel_cpus(_):
    for touch in ("none", "some", "all"):
        every_recording("--mode", "parallel", "--cpus", "8", "--touch", touch)


def recordings_match_touched_on_four_cpus(_):
    """For builds that are too slow for all combinations: the mode that they are most needed for."""
    every_recording("--mode", "deterministic" if VARIANT == "debug" else "parallel", "--cpus", "4",
                    "--touch", "some")


def recordings_match_with_some_touched_in_little_memory(_):
    every_recording("--cpus", "2", "--touch", "some", "--mem", "512M")


def a_seed_means_the_same_run(_):
    options = ("--cpus", "4", "--touch", "some", "--json")
    path = trace("sh.trace")
    assert replay(path, *options, "--seed", "7").stdout == \
        replay(path, *options, "--seed", "7").stdout
    assert report(path, "--touch", "some", "--seed", "8") != report(path, "--touch", "some",
                                                                   "--seed", "7")


def tasks_run_on_all_cpus_and_touch_while_others_go_on(_):
    for mode in MODES:
        r = check_whole(trace("threads.trace"), "--cpus", "4", "--touch", "all", "--mode", mode)
        assert all(r["calls_by_cpu"]), r["calls_by_cpu"]
        assert r["touched_aside"] > 5, r["touched_aside"]
        assert r["threads"] >= 8, r["threads"]


def maps_that_were_read_are_compared(_):
    maps = report(trace("maps.trace"))["maps"]
    assert maps["reads"] >= 1 and maps["lines"] > 20 and maps["same"] == maps["lines"], maps


def call_refused(scratch, before, call, tasks=1):
    """@call in the place of the first munmap of ls."""
    where = []

    def change(body):
        i = next(i for i, line in enumerate(body) if " munmap " in line)
        body.insert(i, call)
        where.append(i)
        return body
    path = changed(scratch, "ls.trace", change, tasks)
    with open(path, encoding="utf-8") as f:
        line = f.read().splitlines().index("calls") + 2 + where[0]
    done = replay(path)
    assert done.returncode == 2, done
    assert ":%d: karc cannot replay %s" % (line, before) in done.stderr, (call, done.stderr)


def what_karc_cannot_do_ends_the_replay_by_name(scratch):
    for call in ("userfaultfd 0x80000 = 3", "io_setup 8 = 0 0x7ffff7000000",
                 "map_shadow_stack 0x0 4096 0x0 = 0x7ffff7000000", "memfd_secret 0x0 = 3 @-",
                 "modify_ldt 1 = 0", "process_madvise = 4096", "mbind 0x7ffff7000000 4096 2 = 0",
                 "move_pages = 0"):
        call_refused(scratch, call.split()[0], "1 " + call)
    call_refused(scratch, "unshare with CLONE_NEWNET", "1 unshare 0x40000000 = 0")
    call_refused(scratch, "clone with CLONE_NEWPID",
                 "1 clone 0x20000000 17 0x0 0 0x0 0x0 0x0 = 2 -1", tasks=2)


def what_failed_on_the_host_is_not_refused(scratch):
    def change(body):
        i = next(i for i, line in enumerate(body) if " munmap " in line)
        body[i:i] = ["1 userfaultfd 0x0 = -EPERM", "1 io_setup 8 = -EAGAIN",
                     "1 mbind 0x0 0 0 = -EPERM"]
        return body
    r = report(changed(scratch, "ls.trace", change))
    assert not r["calls"]["different"], r["calls"]


def children_of_who_ignores_them_reap_themselves(scratch):
    def change(body):
        i = next(i for i, line in enumerate(body) if line.startswith("1 exit_group"))
        body[i:i] = ["1 rt_sigaction 17 1 0x0 = 0",
                     "1 clone 0x1200000 17 0x0 0 0x0 0x0 0x0 = 2 -1",
                     "2 exit_group 3 = ?", "2 exited 3", "1 wait4 -1 = -ECHILD",
                     "1 rt_sigaction 17 0 0x0 = 0",
                     "1 clone 0x1200000 17 0x0 0 0x0 0x0 0x0 = 3 -1",
                     "3 exit_group 3 = ?", "3 exited 3", "1 wait4 -1 = 3 0x300 0x0"]
        return body
    calls = report(changed(scratch, "ls.trace", change, 3))["calls"]
    assert calls["matched"] == calls["replayed"] and not calls["different"], calls


def a_truncated_recording_is_refused_at_its_end(scratch):
    path = os.path.join(scratch, "cut.trace")
    with open(trace("ls.trace"), encoding="utf-8") as f:
        lines = f.read().splitlines()
    for nr in (len(lines) // 2, len(lines) - 1):
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines[:nr]) + "\n")
        done = replay(path)
        assert done.returncode == 2, done
        assert re.search(r"cut\.trace:\d+: ", done.stderr), done.stderr


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
    path = trace("ls.trace")
    for options in (("--cpus", "0"), ("--cpus", "65"), ("--cpus", "x"), ("--mem", "1K"),
                    ("--mem", "12Q"), ("--touch", "much"), ("--seed", "-1"), ("--what",),
                    ("--mode", "both"), ("another",)):
        done = replay(path, *options)
        assert done.returncode == 2 and done.stderr, options
    assert replay(path, "--help").returncode == 0


def too_little_memory_is_said(_):
    path = trace("python3.trace")
    done = replay(path, "--mem", "16M", "--touch", "all")
    assert done.returncode == 1, done
    assert "python3.trace:" in done.stderr, done.stderr
    assert "nothing" in done.stdout, done.stdout


def peak_kbytes(path):
    """The most memory that a replay of @path has on the host."""
    code = ("import resource, subprocess, sys\n"
            "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n")
    done = subprocess.run([sys.executable, "-c", code, KARC, "replay", path],
                          stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def long_trace(scratch, nr_calls):
    path = os.path.join(scratch, "%d.trace" % nr_calls)
    with open(path, "w", encoding="utf-8") as f:
        subprocess.run([sys.executable, LONG_TRACE, str(nr_calls)], stdout=f, check=True)
    return path


def memory_does_not_grow_with_the_length(scratch):
    short, long = long_trace(scratch, 5000), long_trace(scratch, 60000)
    check_whole(long)
    few, many = peak_kbytes(short), peak_kbytes(long)
    assert many < few + 2048, (few, many)


def many_processes_one_after_the_other_are_forgotten(scratch):
    many = 5000 if VARIANT == "release" else 200

    def change(body):
        i = next(i for i, line in enumerate(body) if line.startswith("1 exit_group"))
        more = []
        for pid in range(2, many + 2):
            more += ["1 clone 0x1200000 17 0x0 0 0x0 0x0 0x0 = %d -1" % pid,
                     "%d exit_group 3 = ?" % pid, "%d exited 3" % pid,
                     "1 wait4 -1 = %d 0x300 0x0" % pid]
        return body[:i] + more + body[i:]
    r = report(changed(scratch, "ls.trace", change, many + 1))
    calls = r["calls"]
    assert r["processes"] == many + 1 and calls["matched"] == calls["replayed"] > 3 * many, calls
    told = len(r["teardown"])
    assert told + r.get("teardown_not_kept", 0) == many + 1 and told <= 4096, told
    assert r["most_alive"] == 2, r["most_alive"]


def terminal_output(path):
    """What a replay writes to a terminal as its error output."""
    master, slave = pty.openpty()
    child = subprocess.Popen([KARC, "replay", path], stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    text = b""
    while True:
        try:
            more = os.read(master, 4096)
        except OSError:
            break
        if not more:
            break
        text += more
    os.close(master)
    assert child.wait() == 0
    return text.decode()


def a_short_replay_shows_no_progress(_):
    assert terminal_output(trace("ls.trace")) == ""


def main():
    tests = [recordings_match_touched_on_four_cpus]
    if VARIANT == "release":
        tests = [recordings_match_on_one_cpu, recordings_match_on_four_cpus,
                 recordings_match_on_eight_cpus, recordings_match_with_one_parallel_cpu,
                 recordings_match_on_four_parallel_cpus, recordings_match_on_eight_parallel_cpus,
                 recordings_match_with_some_touched_in_little_memory]
    tests += [tasks_run_on_all_cpus_and_touch_while_others_go_on]
    if "deterministic" in MODES:        # the mode that a replay has unless told otherwise
        tests += [a_seed_means_the_same_run, maps_that_were_read_are_compared,
                  what_karc_cannot_do_ends_the_replay_by_name,
                  what_failed_on_the_host_is_not_refused,
                  children_of_who_ignores_them_reap_themselves,
                  a_truncated_recording_is_refused_at_its_end, what_is_no_recording_is_refused,
                  absurd_options_are_refused, too_little_memory_is_said,
                  many_processes_one_after_the_other_are_forgotten,
                  a_short_replay_shows_no_progress]
    if VARIANT in ("release", "debug"):     # sanitizers keep what was freed for a while
        tests.append(memory_does_not_grow_with_the_length)
    return run(tests)


if __name__ == "__main__":
    sys.exit(main())
