#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: each scenario of `karc run` tells its story truly and ends as it says, with several CPUs and
in both modes; what is asked for wrongly is answered with what is wrong.

Method: the program itself; the steps and verdicts that make each story are looked for in order.
test_segv.py has the segv scenario.
"""

import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))


def run(*arguments):
    return subprocess.run([KARC, "run", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)


# The runner asks for one mode where only that one is of interest.
MODES = [mode for mode in ("deterministic", "parallel")
         if mode == os.environ.get("KARC_TEST_MODE", mode)]
MACHINES = [(cpus, mode) for mode in MODES for cpus in ("1", "4", "8")]


def story(name, status, *steps):
    for cpus, mode in MACHINES:
        done = run("--cpus", cpus, "--mode", mode, name)
        assert done.returncode == status, (name, cpus, mode, done)
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


def cycle_leaks_what_holds_itself():
    story("cycle", 1, "one put, of the mapping, ends them all",
          "nobody outside has any of them", "none will ever reach 0", "LEAK", "1 vma")


def crowd_is_a_thousand_objects():
    done = run("--cpus", "4", "crowd")
    assert done.returncode == 0 and "60 children" in done.stdout, done
    alive = [int(line.split()[0]) for line in done.stdout.splitlines() if "objects alive" in line]
    assert alive[0] > 1000 and alive[1] < 20, alive


def alloc_measures_who_may_be_called_where():
    cells = r" +".join(["yes"] + 4 * ["reported"]), r" +".join(5 * ["yes"])
    story("alloc", 0, "Who may be called where", "20 other cells were reported",
          "sleeping function called from invalid context", "What sort of memory it is",
          "every cell is what Linux 6.1 gives", "And with the wrong one?",
          "kfree of vmalloc memory is reported", "vfree of kmalloc memory is reported",
          "Memory in pieces", "1 at most beside each other",
          "vmalloc does: 16 frames in", "What the MMU has to do", "every walk leads to the frame")
    table = run("alloc").stdout
    for name, row in (("kmalloc(GFP_KERNEL)", 0), ("kmalloc(GFP_ATOMIC)", 1), ("vmalloc", 0),
                      ("alloc_pages(GFP_KERNEL)", 0), ("alloc_pages(GFP_ATOMIC)", 1),
                      ("kmem_cache_alloc(GFP_KERNEL)", 0), ("kmem_cache_alloc(GFP_ATOMIC)", 1),
                      ("kmap", 0), ("kmap_atomic", 1)):
        assert re.search(r"(?m)^  %s +%s$" % (re.escape(name), cells[row]), table), (name, table)
    for row in (r"contiguous addresses +yes +yes +yes +yes +yes",
                r"contiguous in RAM +yes +yes +yes +no +yes", r"limit +4 MiB +4 MiB +4 MiB +\d+ MiB: RAM +1 frame",
                r"DMA, 24-bit device +no +no +no +refused +no",
                r"with GFP_DMA +yes +yes +yes +- +-",
                r"DMA, 32-bit device +no +no +no +refused +no",
                r"DMA, 64-bit device +yes +yes +yes +refused +yes",
                r"zeroed +no +no +no +no +-", r"with __GFP_ZERO +yes +yes +yes +yes +-",
                r"user space may map it +no, slab +no, slab +yes +yes +its frame"):
        assert re.search(r"(?m)^ +%s$" % row, table), (row, table)
    misses = [int(n) for n in re.findall(r"accesses, +(\d+) misses", table)]
    assert misses[0] <= 2 and misses[1] == 1024, misses


def alloc_fits_other_machines():
    for options in (["--mem", "64M"], ["--mem", "128M", "--nodes", "2", "--cpus", "2"],
                    ["--append", "init_on_alloc=1"]):
        done = run("alloc", *options)
        assert done.returncode == 0 and "NOT " not in done.stdout, (options, done.stdout)
    assert re.search(r"(?m)^ +zeroed +yes +yes +yes +yes", done.stdout), done.stdout


def kfree_goes_all_the_way():
    story("kfree", 0, "kfree(NULL)", "ZERO_OR_NULL_PTR", "up to 16 there is nothing to free",
          "Which slab is it?", "bit 0 set: a later frame", "virt_to_head_page",
          "Interrupts are off", "local_irq_save", "the handler ran afterwards",
          "A full array: flush", "free_block", "slab_destroy", "kmem_freepages", "mm_page_free",
          "An object of another node", "__cache_free_alien", "__drain_alien_cache",
          "Slabs that RCU readers", "after a grace period", "after it the frames",
          "free_large_kmalloc", "not a slab", "its owner still has it",
          "with the flag back it is an object", "BUG at src/mm/slab/slab.c", "PageSlab")
    one = run("kfree", "--nodes", "1")
    assert one.returncode == 0 and "this machine has one node" in one.stdout, one


def leaks_are_told_by_type_by_site_and_by_holder():
    for cpus, mode in MACHINES:
        done = run("--cpus", cpus, "--mode", mode, "leak", "--leaks")
        assert done.returncode == 1 and not done.stderr, done
        at = 0
        for step in ("by type", "mm_struct", "by site", "tools/play_exit.c", "by holder", "why",
                     "mm_struct.vmas.list[0] -> vm_area_struct.vm_file -> file.f_inode -> inode"):
            found = done.stdout.find(step, at)
            assert found >= 0, "'%s' does not follow:\n%s" % (step, done.stdout[at:])
            at = found + len(step)
    for name in ("exit", "cow", "kobject", "crowd"):
        done = run(name, "--leaks")
        assert done.returncode == 0 and done.stdout.startswith("leaks: 0 objects"), done


def a_cycle_is_the_reason():
    done = run("cycle", "--leaks")
    assert done.returncode == 1
    line = "cycle: page.vma_set -> vma.shared_anon -> pages[3]"
    assert done.stdout.count(line) == 2, done.stdout    # to blame, and why
    assert "6 objects" in done.stdout and "3 CYCLE, 3 BEHIND" in done.stdout, done.stdout


def one_table_of_the_leaks_can_be_chosen():
    rows = {by: run("leak", "--leaks", "--by", by).stdout for by in ("type", "site", "holder")}
    assert "mm_struct\n" in rows["type"] and "play_exit.c" not in rows["type"], rows
    assert "tools/play_exit.c" in rows["site"], rows
    assert "forgotten by debugger, pid 3" in rows["holder"], rows
    assert "by holder" in rows["holder"] and "mm_struct\n" not in rows["holder"], rows


def leaks_as_json_are_all_of_them():
    done = run("leak", "--leaks", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["schema"] == "karc-leaks-1"
    assert report["objects"] == len(report["leaks"]) == \
        sum(row["objects"] for row in report["by_type"]) == \
        sum(row["objects"] for row in report["by_site"]) == \
        sum(row["objects"] for row in report["by_holder"]), report
    mm = [leak for leak in report["leaks"] if leak["type"] == "mm_struct"][0]
    assert mm["users"] == 1 and mm["holders"] and mm["site"]["file"] == "tools/play_exit.c", mm
    nothing = json.loads(run("exit", "--leaks", "--json").stdout)
    assert nothing["objects"] == 0 and nothing["leaks"] == []


def holders_are_told_behind_the_story():
    plain = run("leak").stdout
    done = run("leak", "--holders")
    assert done.returncode == 1 and "by holder" in done.stdout and "by holder" not in plain
    assert done.stdout.startswith(plain[:200]), done.stdout
    clean = run("exit", "--holders")
    assert clean.returncode == 0 and "by holder" not in clean.stdout, clean


def a_run_is_the_same_whatever_the_hosts_addresses():
    for name in ("exit", "segv", "cow", "kobject", "leak", "cycle", "alloc", "kfree"):
        runs = {run("--cpus", "4", "--seed", "11", name).stdout for _ in range(3)}
        assert len(runs) == 1, "%s differs from run to run" % name


def list_lists_them_all():
    done = run("--list")
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == ["exit", "segv", "kobject", "cow", "leak", "cycle", "crowd", "alloc",
                     "kfree"], names


def list_of_a_scenario_names_its_cases():
    done = run("segv", "--list")
    assert done.returncode == 0 and done.stdout == run("--list", "segv").stdout
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert len(names) == len(set(names)) and "null" in names and "cow-copy" in names, names


def help_is_no_error():
    for arguments in (("--help",), ("-h",), ("segv", "--help")):
        done = run(*arguments)
        assert done.returncode == 0 and "usage: karc run" in done.stdout and not done.stderr, done
        for option in ("--append", "--by", "--case", "--cpus", "--highmem", "--holders", "--json",
                       "--leaks", "--list", "--mem", "--mode", "--movable", "--nodes",
                       "--parallel", "--seed"):
            assert option in done.stdout, option


def boot_options_reach_the_machine():
    """Every check of the slabs on: slower, and the same story without a complaint."""
    plain = run("exit").stdout
    for options in ("slab_debug=FZPU", "init_on_alloc=1 init_on_free=1", "noaliencache"):
        done = run("--append", options, "exit")
        assert done.returncode == 0 and done.stdout == plain and not done.stderr, done


def usage_errors_say_what():
    for arguments, text in (
            ((), "usage: karc run"), (("nonsense",), "karc run: no scenario 'nonsense'"),
            (("--cpus", "65", "exit"), "karc run: --cpus: 65 is not between 1 and 64"),
            (("--cpus", "0", "exit"), "karc run: --cpus: 0 is not between 1 and 64"),
            (("--cpus", "four", "exit"), "karc run: --cpus: 'four' is no number"),
            (("--seed", "-1", "exit"), "karc run: --seed: '-1' is no number"),
            (("--mode", "serial", "exit"), "karc run: --mode: 'serial' is neither"),
            (("--cpus",), "karc run: option '--cpus' requires an argument"),
            (("--colour", "exit"), "karc run: unrecognized option '--colour'"),
            (("-x", "exit"), "karc run: invalid option -- 'x'"),
            (("exit", "cow"), "karc run: exit has no cases, so no 'cow'"),
            (("exit", "--json"), "karc run: --json: exit is for reading only"),
            (("exit", "--list"), "karc run: --list: exit has no cases"),
            (("exit", "--leaks", "--by", "colour"), "karc run: --by: 'colour' is not type, site"),
            (("exit", "--by", "type"), "karc run: --by: it chooses a table of --leaks"),
            (("exit", "--leaks", "--json", "--by", "type"), "karc run: --by: it chooses"),
            (("segv", "nonsense"), "karc run: segv has no case 'nonsense'"),
            (("segv", "null", "hole"), "karc run: 'hole' is one argument too many"),
            (("segv", "null", "--case", "hole"), "karc run: 'null' is one argument too many"),
            (("--list", "segv", "null"), "karc run: 'null' is one argument too many")):
        done = run(*arguments)
        assert done.returncode == 2 and text in done.stderr and not done.stdout, (arguments, done)
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
    tests = [exit_shows_the_road_of_death, cow_shows_counts, kobject_shows_one_cascade,
             leak_names_the_forgotten_mm, cycle_leaks_what_holds_itself,
             alloc_measures_who_may_be_called_where, kfree_goes_all_the_way,
             leaks_are_told_by_type_by_site_and_by_holder]
    if "deterministic" in MODES:        # the mode that a run has unless told otherwise
        tests += [crowd_is_a_thousand_objects, alloc_fits_other_machines, a_cycle_is_the_reason,
                  one_table_of_the_leaks_can_be_chosen, leaks_as_json_are_all_of_them,
                  holders_are_told_behind_the_story,
                  a_run_is_the_same_whatever_the_hosts_addresses, list_lists_them_all,
                  list_of_a_scenario_names_its_cases, help_is_no_error,
                  boot_options_reach_the_machine, usage_errors_say_what,
                  output_that_does_not_arrive_is_an_error]
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
