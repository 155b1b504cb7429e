#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: each scenario of `karc run` tells its story truly and ends as it says.

Method: the program itself; the steps and verdicts that make each story are looked for in order.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))


def run(*arguments):
    return subprocess.run([KARC, "run", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)


def story(name, status, *steps):
    for cpus in ("1", "4"):
        done = run("--cpus", cpus, name)
        assert done.returncode == status, (name, cpus, done)
        assert "NOT " not in done.stdout, done.stdout
        assert "\033" not in done.stdout, "colours only on a terminal"
        at = 0
        for step in steps:
            found = done.stdout.find(step, at)
            assert found >= 0, "%s: '%s' does not follow:\n%s" % (name, step, done.stdout[at:])
            at = found + len(step)
        clean = "nothing: every object gone, every frame back in the buddy" in done.stdout
        assert clean == (status == 0), done.stdout


def exit_shows_the_road_of_death():
    story("exit", 0, "do_exit", "exit_signals", "exit_mm", "mm_users 2, mm_count 2",
          "mm_users 2 -> 1", "exit_files", "exit_notify", "schedule", "nothing was unmapped",
          "mm_users 1 -> 0", "unmap_vmas", "free_pgtables", "exit_mmap", "finish_task_switch",
          "mm_count 1 -> 0", "__mmdrop", "mm_free_pgd", "check_mm", "free_mm", "wait4",
          "release_task")


def segv_shows_the_four_answers():
    story("segv", 0, "1. No VMA", "SIGSEGV, si_code SEGV_MAPERR", "2. Wrong access",
          "SIGSEGV, si_code SEGV_ACCERR", "3. Not yet present", "no signal",
          "4. Copy-on-write", "copied", "taken back")


def cow_shows_counts():
    story("cow", 0, "_refcount 1, mapcount 1", "_refcount 2, mapcount 2", "The child writes",
          "two frames, two contents", "the same frame as at the beginning, writable again")


def kobject_shows_one_cascade():
    story("kobject", 0, "The last put", "registered second, runs first",
          "registered first, runs last", "kobject_release      'part0', then put of parent disk0",
          "kobject_release      'disk0'", "kobject_release      'bus'",
          "kobject_release      'devices'")


def leak_names_the_forgotten_mm():
    story("leak", 1, "The borrower forgets its mmput()", "LEAK", "1 mm_struct", "start_child",
          "memory that is held by them", "page")


def a_run_is_the_same_whatever_the_hosts_addresses():
    for name in ("exit", "segv", "cow", "kobject", "leak"):
        runs = {run("--cpus", "4", "--seed", "11", name).stdout for _ in range(3)}
        assert len(runs) == 1, "%s differs from run to run" % name


def list_lists_them_all():
    done = run("--list")
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == ["exit", "segv", "kobject", "cow", "leak"], names


def usage_errors_say_what():
    for arguments, text in (((), "usage"), (("nonsense",), "no scenario 'nonsense'"),
                            (("--cpus", "65", "exit"), "--cpus"), (("exit", "cow"), "usage")):
        done = run(*arguments)
        assert done.returncode == 2 and text in done.stderr, (arguments, done)
    done = subprocess.run([KARC, "nonsense"], stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2 and "no verb 'nonsense'" in done.stderr


def output_that_does_not_arrive_is_an_error():
    for verb in ("run --list", "run exit", "--help"):
        for where in (">/dev/full", ">&-", ">&- <&-"):
            done = subprocess.run("exec %s %s %s" % (KARC, verb, where), shell=True, text=True,
                                  stderr=subprocess.PIPE, timeout=60)
            assert done.returncode == 2, (verb, where, done)
            assert "standard output" in done.stderr, (verb, where, done)
    done = subprocess.run("exec %s run exit 2>&- <&-" % KARC, shell=True, timeout=60,
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0 and "every frame back" in done.stdout, done


def main():
    failed = 0
    tests = [exit_shows_the_road_of_death, segv_shows_the_four_answers, cow_shows_counts,
             kobject_shows_one_cascade, leak_names_the_forgotten_mm,
             a_run_is_the_same_whatever_the_hosts_addresses, list_lists_them_all,
             usage_errors_say_what, output_that_does_not_arrive_is_an_error]
    for test in tests:
        try:
            test()
            print("[       OK ] " + test.__name__)
        except Exception as problem:    # a broken test is a failed test, the others go on
            failed += 1
            print("[  FAILED  ] %s: %r" % (test.__name__, problem))
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
