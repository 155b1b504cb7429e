#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the ninja files of karc.

    ./configure.py                       build.ninja: gcc-compatible cc, variant release, in build/
    ./configure.py --variant asan        build/asan/build.ninja, for ninja -C build/asan
    ./configure.py --cc clang            build/release-clang/build.ninja
    ./configure.py --all-variants        all of the above
    ./configure.py --out DIR             DIR/build.ninja, DIR anywhere
    ./configure.py --install             first install what is missing (Debian, Ubuntu)
    ./configure.py --install-peers       and what the benchmark compares with; nothing else needs it

build.ninja is committed.  It holds no absolute path, no version and no probe result: what
depends on the machine (pkg-config, PREFIX, DESTDIR, CI) is resolved inside the commands, so that
writing it again anywhere gives the same bytes.  tests/build/test_regenerate.py checks that.

To add a source file or a test: one line in the room's list below, then ninja (which calls
this script again).  Public headers need no entry; they are found under include/karc/.
"""

import argparse
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))


class Room:
    """One room of the house: a static archive, its tests, nothing above it."""

    def __init__(self, name, path, sources, tests, has_object=True):
        self.name = name
        self.path = path                # under src/, include/karc/ and tests/
        self.sources = sources          # relative to src/<path>
        self.tests = tests              # relative to tests/<path>; .c, or .py run as scripts
        self.has_object = has_object    # exports `const struct room <name>_room`


# Bottom room first.  A room may use itself and the rooms before it, nothing after it.
ROOMS = [
    Room("base", "base", [
        "bitmap.c",
        "bug.c",
        "hostmem.c",
        "log.c",
        "rbtree.c",
        "xarray.c",
    ], [
        "test_atomic.c",
        "test_bitmap.c",
        "test_bitops.c",
        "test_bug.c",
        "test_cleanup.c",
        "test_err.c",
        "test_hostmem.c",
        "test_list.c",
        "test_log.c",
        "test_overflow.c",
        "test_rand.c",
        "test_rbtree.c",
        "test_string.c",
        "test_types.c",
        "test_xarray.c",
    ], has_object=False),
    Room("hw", "hw", [
        "clock.c",
        "completion.c",
        "context.c",
        "cpu.c",
        "explore.c",
        "explore_run.c",
        "fiber.c",
        "fiber_sched.c",
        "fiber_stuck.c",
        "freeze.c",
        "inject.c",
        "ipi.c",
        "irq.c",
        "lockrank.c",
        "machine.c",
        "mmu.c",
        "mutex.c",
        "panic.c",
        "parallel.c",
        "param.c",
        "percpu.c",
        "physmem.c",
        "presence.c",
        "report.c",
        "rwsem.c",
        "silent.c",
        "spin.c",
        "spinlock.c",
        "stacktrace.c",
        "switch_generic.c",
        "switch_x86_64.c",
        "symbols.c",
        "tlb.c",
        "topology.c",
        "trace.c",
        "tracepoint.c",
        "trap.c",
        "valgrind.c",
        "wait.c",
    ], [
        "test_cleanup.c",
        "test_clock.c",
        "test_completion.c",
        "test_context.c",
        "test_cpu.c",
        "test_explore.c",
        "test_fiber.c",
        "test_fiber_sched.c",
        "test_fiber_stuck.c",
        "test_fixture.c",
        "test_freeze.c",
        "test_inject.c",
        "test_ipi.c",
        "test_irq.c",
        "test_lockrank.c",
        "test_machine.c",
        "test_mmu.c",
        "test_mutex.c",
        "test_nodemask.c",
        "test_panic.c",
        "test_parallel.c",
        "test_param.c",
        "test_percpu.c",
        "test_physmem.c",
        "test_presence.c",
        "test_report.c",
        "test_rwsem.c",
        "test_silent.c",
        "test_spin.c",
        "test_spinlock.c",
        "test_stacktrace.c",
        "test_storm.c",
        "test_switch.c",
        "test_symbols.c",
        "test_tlb.c",
        "test_topology.c",
        "test_trace.c",
        "test_tracepoint.c",
        "test_trap.c",
        "test_wait.c",
    ]),
    Room("refcount", "refcount", [
        "arc.c",
        "audit.c",
        "dtor.c",
        "fault.c",
        "free_check.c",
        "graph.c",
        "graph_cycles.c",
        "graph_holders.c",
        "graph_mark.c",
        "graph_sort.c",
        "graph_text.c",
        "holder.c",
        "holder_settle.c",
        "holder_show.c",
        "leaks.c",
        "ledger.c",
        "local.c",
        "percpu_ref.c",
        "plain.c",
        "quarantine.c",
        "rcu.c",
        "reap.c",
        "ref_tracker.c",
        "refcount.c",
        "room.c",
        "slot.c",
        "snapshot.c",
        "track.c",
        "users.c",
        "why.c",
    ], [
        "test_arc.c",
        "test_arc_own.c",
        "test_audit.c",
        "test_corpus_counts.c",
        "test_corpus_life.c",
        "test_dtor.c",
        "test_fault.c",
        "test_free_check.c",
        "test_graph.c",
        "test_holder.c",
        "test_kref.c",
        "test_leaks.c",
        "test_ledger.c",
        "test_local.c",
        "test_percpu_ref.c",
        "test_plain.c",
        "test_quarantine.c",
        "test_rcu.c",
        "test_reap.c",
        "test_ref_tracker.c",
        "test_refcount.c",
        "test_room.c",
        "test_slot.c",
        "test_snapshot.c",
        "test_storm.c",
        "test_storm_arc.c",
        "test_storm_local.c",
        "test_users.c",
        "test_why.c",
    ]),
    Room("phys", "mm/phys", [
        "bulk.c",
        "content.c",
        "graph.c",
        "memcg.c",
        "page.c",
        "page_alloc.c",
        "page_free.c",
        "pageblock.c",
        "pcp.c",
        "phys.c",
        "show.c",
        "vmstat.c",
        "warn.c",
        "zone.c",
    ], [
        "test_content.c",
        "test_folio.c",
        "test_gfp.c",
        "test_graph.c",
        "test_model.c",
        "test_page.c",
        "test_page_alloc.c",
        "test_page_free.c",
        "test_pageblock.c",
        "test_pcp.c",
        "test_phys.c",
        "test_show.c",
        "test_storm.c",
        "test_vmstat.c",
        "test_zone.c",
    ]),
    Room("slab", "mm/slab", [
        "account.c",
        "array.c",
        "cache.c",
        "fallback.c",
        "graph.c",
        "kfree_rcu.c",
        "kmalloc.c",
        "kstring.c",
        "mempool.c",
        "node.c",
        "percpu.c",
        "reap.c",
        "room.c",
        "slab.c",
        "slab_debug.c",
        "slab_options.c",
        "slab_report.c",
        "slab_watch.c",
        "slabinfo.c",
        "usercopy.c",
    ], [
        "test_array.c",
        "test_cache.c",
        "test_graph.c",
        "test_kfree_rcu.c",
        "test_kmalloc.c",
        "test_kmalloc_sized.c",
        "test_kstring.c",
        "test_mempool.c",
        "test_model.c",
        "test_node.c",
        "test_percpu.c",
        "test_slab.c",
        "test_slab_debug.c",
        "test_slab_watch.c",
        "test_storm.c",
    ]),
    Room("pgtable", "mm/pgtable", [
        "mmu_gather.c",
        "pgtable.c",
        "room.c",
        "tlbflush.c",
    ], [
        "test_mmu_gather.c",
        "test_pgtable.c",
        "test_tlbflush.c",
    ]),
    Room("kva", "mm/kva", [
        "graph.c",
        "highmem.c",
        "lazy.c",
        "ranges.c",
        "room.c",
        "vmalloc.c",
        "vmallocinfo.c",
        "vmap.c",
        "window.c",
    ], [
        "test_graph.c",
        "test_highmem.c",
        "test_lazy.c",
        "test_mismatch.c",
        "test_model.c",
        "test_storm.c",
        "test_vmalloc.c",
        "test_vmallocinfo.c",
        "test_vmap.c",
        "test_window.c",
    ]),
    Room("cache", "mm/cache", [
        "file.c",
        "filemap.c",
        "graph.c",
        "rmap.c",
        "room.c",
        "shmem.c",
    ], [
        "test_file.c",
        "test_filemap.c",
        "test_graph.c",
        "test_rmap.c",
        "test_shmem.c",
        "test_storm.c",
    ]),
    Room("space", "mm/space", [
        "brk.c",
        "dup.c",
        "fault.c",
        "fault_trace.c",
        "graph.c",
        "insert.c",
        "madvise.c",
        "maps.c",
        "memory.c",
        "mlock.c",
        "mm.c",
        "mmap.c",
        "mprotect.c",
        "mremap.c",
        "mseal.c",
        "msync.c",
        "munmap.c",
        "overcommit.c",
        "placement.c",
        "populate.c",
        "profile.c",
        "room.c",
        "special.c",
        "stack.c",
        "uaccess.c",
        "vma.c",
        "vma_tree.c",
    ], [
        "test_brk.c",
        "test_dup.c",
        "test_fault.c",
        "test_fault_trace.c",
        "test_graph.c",
        "test_insert.c",
        "test_madvise.c",
        "test_maps.c",
        "test_memory.c",
        "test_mlock.c",
        "test_mm.c",
        "test_mmap.c",
        "test_mprotect.c",
        "test_mremap.c",
        "test_mseal.c",
        "test_msync.c",
        "test_munmap.c",
        "test_overcommit.c",
        "test_placement.c",
        "test_populate.c",
        "test_profile.c",
        "test_referee.c",
        "test_room.c",
        "test_shmem_map.c",
        "test_space_model.c",
        "test_special.c",
        "test_stack.c",
        "test_storm.c",
        "test_uaccess.c",
        "test_vma.c",
        "test_vma_tree.c",
    ]),
    Room("reclaim", "mm/reclaim", [
        "meminfo.c",
        "shrinker.c",
        "vmscan.c",
    ], [
        "test_meminfo.c",
        "test_shrinker.c",
        "test_vmscan.c",
    ]),
    Room("kobject", "kobject", [
        "device.c",
        "dir.c",
        "dma.c",
        "dmapool.c",
        "kobject.c",
        "kset.c",
        "room.c",
    ], [
        "test_context.c",
        "test_corpus.c",
        "test_device.c",
        "test_dir.c",
        "test_dma.c",
        "test_kobject.c",
        "test_kset.c",
    ]),
    Room("proc", "proc", [
        "de_thread.c",
        "exec.c",
        "exit.c",
        "files.c",
        "fork.c",
        "fs.c",
        "futex.c",
        "graph.c",
        "group.c",
        "limits.c",
        "pid.c",
        "pidfd.c",
        "prctl.c",
        "room.c",
        "sched.c",
        "script.c",
        "shm.c",
        "signal.c",
        "syscall.c",
        "syscall_task.c",
        "task.c",
        "wait.c",
    ], [
        "test_cleanup.c",
        "test_corpus.c",
        "test_de_thread.c",
        "test_exec.c",
        "test_exit.c",
        "test_files.c",
        "test_fork.c",
        "test_fs.c",
        "test_futex.c",
        "test_graph.c",
        "test_group.c",
        "test_limits.c",
        "test_pid.c",
        "test_pidfd.c",
        "test_prctl.c",
        "test_sched.c",
        "test_script.c",
        "test_shm.c",
        "test_signal.c",
        "test_storm.c",
        "test_syscall.c",
        "test_syscall_task.c",
        "test_task.c",
        "test_task_ledger.c",
        "test_threads.c",
        "test_wait.c",
    ]),
    Room("harness", "harness", [
        "guest.c",
        "module.c",
    ], [
        "test_guest.c",
        "test_module.c",
    ], has_object=False),
    Room("boot", "boot", [
        "karc.c",
    ], [
    ], has_object=False),
]

# The program build/karc.  Its main() lives in the first file; tests/tools link the others.
TOOLS = [
    "karc.c",
    "cmd_bench.c",
    "cmd_graph.c",
    "cmd_record.c",
    "cmd_replay.c",
    "cmd_run.c",
    "cmd_stat.c",
    "graph_dot.c",
    "graph_json.c",
    "graph_moment.c",
    "graph_pick.c",
    "graph_text.c",
    "leak_report.c",
    "machine_options.c",
    "moment.c",
    "number.c",
    "play_alloc.c",
    "play_alloc_memory.c",
    "play_alloc_pieces.c",
    "play_alloc_walk.c",
    "play_cow.c",
    "play_crowd.c",
    "play_cycle.c",
    "play_exit.c",
    "play_kfree.c",
    "play_kobject.c",
    "play_segv.c",
    "record_decode.c",
    "record_denied.c",
    "record_events.c",
    "record_fds.c",
    "record_files.c",
    "record_host.c",
    "record_trace.c",
    "recording.c",
    "recording_calls.c",
    "recording_events.c",
    "recording_head.c",
    "recording_names.c",
    "recording_words.c",
    "recording_write.c",
    "replay.c",
    "replay_calls.c",
    "replay_exec.c",
    "replay_fds.c",
    "replay_files.c",
    "replay_lines.c",
    "replay_maps.c",
    "replay_mem.c",
    "replay_model.c",
    "replay_order.c",
    "replay_play.c",
    "replay_proc.c",
    "replay_report.c",
    "replay_search.c",
    "replay_tasks.c",
    "replay_touch.c",
    "scenario.c",
    "segv_cases.c",
    "segv_show.c",
    "segv_use.c",
    "segv_world.c",
    "stat_json.c",
    "stat_plot.c",
    "stat_rows.c",
    "stat_use.c",
    "strace_text.c",
]

# The benchmark, part of the program: the harness, then one file of rows for each unit.
BENCH = [
    "bench.c",
    "count.c",
    "measure.c",
    "peers.c",
    "report.c",
    "bench_kva.c",
    "bench_phys.c",
    "bench_refcount.c",
    "bench_slab.c",
]

# Linked into the tests of every room but base, compiled once for each room.
SUPPORT = [
    "fixture.c",
]

# Tests over the whole library: scenario (src/boot at the bottom of main) and the program.
SCENARIO_TESTS = [
    "test_audit_all.c",
    "test_boot.c",
    "test_documents.c",
    "test_edges.c",
    "test_fork_exit.c",
]

# Loads over all allocators, and what every one of their calls does without memory.
STRESS_TESTS = [
    "test_exhaustion.c",
    "test_fail_nth.c",
    "test_fail_nth_ranges.c",
    "test_stress.c",
]

TOOLS_TESTS = [
    "test_bad_input.py",
    "test_bench.py",
    "test_fuzz.py",
    "test_graph.py",
    "test_record.py",
    "test_record_denied.c",
    "test_recording.c",
    "test_recording_errors.c",
    "test_replay.py",
    "test_replay_differences.py",
    "test_replay_order.py",
    "test_run.py",
    "test_segv.py",
    "test_stat.py",
    "test_strace_text.c",
]

# What the fuzz target of the recordings' reader is made of; `ninja fuzz` builds and runs it.
FUZZ = [
    "tests/tools/fuzz_recording.c",
    "tools/recording.c",
    "tools/recording_calls.c",
    "tools/recording_events.c",
    "tools/recording_head.c",
    "tools/recording_names.c",
    "tools/recording_words.c",
    "tools/recording_write.c",
]

# Tests of the build itself; scripts.
BUILD_TESTS = [
    "test_readme.py",
    "test_refused.py",
    "test_regenerate.py",
    "test_external.py",
    "test_compat.py",
    "test_referee.py",
    "test_symbols.py",
    "test_tools.py",
    "test_watched.py",
]

# The main job, for `ninja demo`: shell commands, each given the program as $karc.
DEMO = [
    "$karc replay $root/examples/traces/python3.trace --cpus 4 --touch all",
    "$karc run leak; test $$? -eq 1",
]

# Left out under the thread sanitizer, which finds nothing in one host thread; the other variants run
# them.  Single cases of that kind are left out by tests/support/run.py, which skips deterministic
# mode there.  tests/build/test_tools.py checks that none of these starts threads.
ONE_THREAD_TESTS = [
    "test_bad_input.py",
    "test_fuzz.py",
    "test_graph.py",
    "test_record.py",
    "test_record_denied.c",
    "test_recording.c",
    "test_recording_errors.c",
    "test_replay_differences.py",
    "test_replay_order.py",
    "test_stat.py",
    "test_strace_text.c",
]

# What these look at is the same whatever the variant: once, in release, is enough.
ONCE_TESTS = [
    "test_readme.py",
    "test_regenerate.py",
    "test_tools.py",
]

# The library is what a sanitizer is to look at; its tests, of which there is as much to compile,
# take a third of the time without optimization.  Of ends of functions and of offsets gcc knows too
# little then to warn rightly; release warns of them.
PLAIN_TESTS = "-O0 -Wno-return-type -Wno-free-nonheap-object"
TEST_OPT = {
    "asan": PLAIN_TESTS,
    "tsan": PLAIN_TESTS,
}

# The analyzer looks at so many states of a function.  A test function is one long path of
# assertions: a fifth of clang's default finds what is in it.  Elsewhere a third does: functions that
# have more are those whose paths multiply, and with a fifth of the states clang's checker debug.Stats
# counts the same blocks that were not reached, in a quarter of the time.  But for these sources,
# where that leaves out blocks at the end of a function; they have the default.
TEST_NODES, NODES, DEEP_NODES = 45000, 75000, 225000
DEEP_ANALYSIS = [
    "src/hw/physmem.c",
    "src/kobject/dma.c",
    "src/mm/kva/ranges.c",
    "src/mm/phys/bulk.c",
    "src/mm/slab/percpu.c",
    "src/mm/space/mremap.c",
    "src/mm/space/vma.c",
    "src/refcount/leaks.c",
    "src/refcount/plain.c",
    "tools/play_alloc_pieces.c",
    "tools/record_trace.c",
]

VARIANTS = {
    # name: (number in KARC_VARIANT, compile flags, flags that users of the library need as well)
    "release": (0, "-O2", ""),
    "debug": (1, "-O1", "-DKARC_DEBUG"),
    "asan": (2, "-O1", "-DKARC_DEBUG -fsanitize=address,undefined "
             "-fno-sanitize-recover=undefined"),
    "tsan": (3, "-O1", "-DKARC_DEBUG -fsanitize=thread"),
    "explore": (4, "-O2", "-DKARC_EXPLORE"),
}

# The ground is not explored itself: its own locks do nothing in deterministic mode.  But these
# protocols of it are.
EXPLORED_GROUND = [
    "src/hw/mutex.c",
    "src/hw/spinlock.c",
]

# Every interleaving of a few tasks, for `ninja explore`: the tests of one room, by path.
EXPLORE_TESTS = {
    "refcount": [
        "explore_counts.c",
        "explore_local.c",
        "explore_mutants.c",
        "explore_publish.c",
        "explore_weak.c",
    ],
}

CFLAGS = ("-std=gnu17 -Wall -Wextra -g -fno-omit-frame-pointer -fno-strict-aliasing -fPIC "
          "-ftls-model=initial-exec -pthread")

# What --install looks for.  Each: how to see that it is there (a command that must be in PATH or
# a file name for dpkg), package names to try in order, and why karc wants it.
PACKAGES = [
    ("ninja", ["ninja-build"], "runs the build"),
    ("gcc", ["gcc"], "the first compiler"),
    ("dpkg:libc6-dev", ["libc6-dev"], "headers of the C library"),
    ("clang", ["clang"], "the second compiler and the static analyzer"),
    ("scan-build", ["clang-tools"], "reports of the analyzer as HTML"),
    ("clang-rt", ["libclang-rt-dev", "libclang-rt-14-dev"],
     "run time of the sanitizers and of the fuzzer under clang"),
    ("pkg-config", ["pkg-config", "pkgconf"], "finds the libraries, and karc for its users"),
    ("dpkg:libcmocka-dev", ["libcmocka-dev"], "the test framework"),
    ("dpkg:libgc-dev", ["libgc-dev"], "Boehm GC, the second opinion on leaks"),
    ("valgrind", ["valgrind"], "a second opinion on memory, told about karc's slabs"),
    ("strace", ["strace"], "records real programs for karc replay"),
    ("dot", ["graphviz"], "draws ownership graphs"),
    ("python3", ["python3"], "configure.py and the test runner"),
]

# What --install-peers looks for besides: what `ninja bench` compares with.  A missing one is skipped
# by name there, so that nobody has to install compilers of other languages for a build or a test.
PEER_PACKAGES = [
    ("rustc", ["rustc"], "Arc of Rust's standard library"),
    ("g++", ["g++"], "std::shared_ptr"),
    ("dpkg:libglib2.0-dev", ["libglib2.0-dev"], "GLib's counted boxes"),
    ("dpkg:libtalloc-dev", ["libtalloc-dev"], "talloc's references"),
    ("dpkg:libmimalloc-dev", ["libmimalloc-dev"], "mimalloc, alone and below std::shared_ptr"),
    ("dpkg:libjemalloc-dev", ["libjemalloc-dev"], "jemalloc"),
    ("dpkg:libgoogle-perftools-dev", ["libgoogle-perftools-dev"], "tcmalloc"),
    ("valgrind", ["valgrind"], "counts instructions"),
]


# ---------------------------------------------------------------------------------------------
# Installing what is missing


def clang_runtime_present():
    """Whether clang finds its address sanitizer and its fuzzer; the package that has them is named
    differently by each release, so ask the compiler and not the package manager."""
    if not shutil.which("clang"):
        return False
    ask = subprocess.run(["clang", "-print-resource-dir"], capture_output=True, text=True)
    if ask.returncode != 0:
        return False
    for where, _, files in os.walk(ask.stdout.strip()):
        archives = [f for f in files if f.endswith(".a")]
        if all(any(f.startswith("libclang_rt." + part) for f in archives)
               for part in ("asan", "fuzzer")):
            return True
    return False


def package_present(probe):
    if probe == "clang-rt":
        return clang_runtime_present()
    if probe.startswith("dpkg:"):
        ask = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", probe[5:]],
                             capture_output=True, text=True)
        return ask.returncode == 0 and "install ok installed" in ask.stdout
    return shutil.which(probe) is not None


def apt_knows(name):
    ask = subprocess.run(["apt-cache", "show", "--no-all-versions", name], capture_output=True)
    return ask.returncode == 0


def clang_runtime_names():
    """Versioned names first tried are those of the clang that apt would install."""
    ask = subprocess.run(["apt-cache", "depends", "clang"], capture_output=True, text=True)
    for word in ask.stdout.split():
        if word.startswith("clang-") and word[6:].isdigit():
            return ["libclang-rt-dev", f"libclang-rt-{word[6:]}-dev",
                    f"libclang-common-{word[6:]}-dev"]
    return ["libclang-rt-dev"]


def run_loud(command, **kw):
    print("configure: " + " ".join(command), flush=True)
    if subprocess.run(command, **kw).returncode != 0:
        sys.exit("configure: this command failed: " + " ".join(command))


def install_missing(packages):
    if not (shutil.which("dpkg-query") and shutil.which("apt-get")):
        sys.exit("configure: --install works through apt (Debian, Ubuntu), which is not here.\n"
                 "configure: install these by hand: "
                 + ", ".join(names[0] for _, names, _ in packages))
    missing = [(probe, names, why) for probe, names, why in packages if not package_present(probe)]
    if not missing:
        print("configure: all that karc needs is installed")
        return
    print("configure: missing, to be installed through apt:")
    for _, names, why in missing:
        print(f"configure:   {names[0]:<16} {why}")
    as_root = []
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            sys.exit("configure: installing needs root: run `./configure.py --install` as root, "
                     "or install sudo, or install the packages above by hand")
        as_root = ["sudo"]
    run_loud(as_root + ["apt-get", "update"])
    wanted = []
    for probe, names, _ in missing:
        names = clang_runtime_names() if probe == "clang-rt" else names
        known = [n for n in names if apt_knows(n)]
        if not known:
            sys.exit("configure: apt knows none of: " + ", ".join(names))
        wanted.append(known[0])
    run_loud(as_root + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
                        "--no-install-recommends"] + wanted)
    still = [names[0] for probe, names, _ in missing if not package_present(probe)]
    if still:
        sys.exit("configure: still missing after the installation: " + ", ".join(still))
    print("configure: installed " + " ".join(wanted))


# ---------------------------------------------------------------------------------------------
# The ninja file


def headers_below(directory):
    """Sorted paths of the headers below @directory, and of the directories on the way to them."""
    found = []
    for where, _, files in os.walk(os.path.join(ROOT, directory)):
        rel = os.path.relpath(where, ROOT)
        found += [os.path.join(rel, f) for f in files if f.endswith(".h")]
    dirs = {directory} if found else set()
    for path in found:
        # Directories without headers do not count: git does not keep empty ones.
        while path != directory:
            path = os.path.dirname(path)
            dirs.add(path)
    return sorted(found), sorted(dirs)


class Writer:
    """Collects the text of one ninja file; paths under the source tree go through src()."""

    def __init__(self, args, out_dir):
        self.args = args
        self.default = out_dir is None
        self.out_dir = ROOT if self.default else out_dir
        self.root = os.path.relpath(ROOT, self.out_dir)
        self.lines = []

    def src(self, path):
        return path if self.default else os.path.join(self.root, path)

    def out(self, path):
        return "build/" + path if self.default else path

    def obj(self, path, where="obj"):
        return self.out(where + "/" + os.path.splitext(path)[0] + ".o")

    def put(self, *lines):
        self.lines += lines

    def rule(self, name, command, **kw):
        self.put(f"rule {name}", f"  command = {command}")
        self.put(*[f"  {k} = {v}" for k, v in kw.items()], "")

    def edge(self, outs, rule, ins=(), implicit=(), order=(), **kw):
        outs = [outs] if isinstance(outs, str) else list(outs)
        parts = ["build", " ".join(outs) + ":", rule] + list(ins)
        if implicit:
            parts += ["|"] + list(implicit)
        if order:
            parts += ["||"] + list(order)
        self.put(" ".join(parts), *[f"  {k} = {v}" for k, v in kw.items()])

    def text(self):
        return "\n".join(self.lines) + "\n"


def variant_suffix(args):
    parts = [] if args.variant == "release" else [args.variant]
    parts += ["clang"] if args.cc == "clang" else []
    return "".join("-" + p for p in parts)


def write_rules(w):
    number, opt, shared = VARIANTS[w.args.variant]
    sanitize = " ".join(f for f in shared.split() if f.startswith("-fsanitize"))
    w.put("# Written by configure.py; edit that instead.",
          "ninja_required_version = 1.8",
          "builddir = " + ("build" if w.default else "."),
          "",
          "root = " + w.root,
          "outdir = " + ("build" if w.default else "."),
          "karc = $outdir/karc",
          "cc = " + (w.args.cc or "cc"),
          "ar = ar",
          "analyzer = clang",
          f"variant = {w.args.variant}",
          f"suffix = {variant_suffix(w.args)}",
          f"usecflags = -DKARC_VARIANT={number}" + (" " + shared if shared else ""),
          f"uselibs = -pthread" + (" " + sanitize if sanitize else ""),
          f"cflags = {CFLAGS} {opt} $usecflags"
          + ("" if w.default else " -fmacro-prefix-map=$root/="),
          "includes = -I" + w.src("include"),
          "")
    compile_ = "$cc $cflags $${CI:+-Werror} $includes $defines -MMD -MF $out.d"
    w.rule("cc", compile_ + " -c $in -o $out", description="CC $out",
           depfile="$out.d", deps="gcc")
    test_opt = " " + TEST_OPT[w.args.variant] if w.args.variant in TEST_OPT else ""
    w.rule("test_cc", compile_ + test_opt + " $$(pkg-config --cflags cmocka) -c $in -o $out",
           description="CC $out", depfile="$out.d", deps="gcc")
    # A header alone, then before and after the headers of libc: three compilations, one edge each.
    w.rule("header", compile_ + " -x c $preinclude -c /dev/null -o $out",
           description="HEADER $out", depfile="$out.d", deps="gcc")
    w.rule("ar", "rm -f $out && $ar rcs $out $in", description="AR $out")
    # What users link is one object file in which every global name that no public header declares
    # was made local: the headers are the list of exports, so nobody can forget an entry, and a
    # user's own function neither clashes with an internal one of that name nor replaces it.  By
    # name and not by -fvisibility with objcopy --localize-hidden: that needs marks in every header,
    # and would split what the compiler and the linker hide to share (bounds of sections, records
    # of sanitizers).  Weak hooks keep their binding.
    w.rule("internal_names", "python3 " + w.src("analysis/internal_names.py") + " --headers " +
           w.src("include/karc") + " --out $out $in -- $cc $cflags $includes",
           description="NAMES $out", restat="1")
    w.rule("combine", "ld -r -o $out.tmp $in && objcopy --localize-symbols=$names $out.tmp $out "
           "&& rm $out.tmp", description="COMBINE $out")
    w.rule("so", "$cc -shared -o $out $in -Wl,-soname,libkarc$suffix.so $uselibs",
           description="SO $out")
    w.rule("link", "$cc -rdynamic -o $out $in $uselibs", description="LINK $out")
    w.rule("test_link", "$cc -rdynamic -o $out $in -Wl,--whole-archive $archives "
           "-Wl,--no-whole-archive $uselibs $$(pkg-config --libs cmocka)",
           description="LINK $out")
    w.rule("run_tests", "python3 " + w.src("tests/support/run.py") +
           " --variant $variant --build $outdir --root $root $tests",
           description="TEST $name", pool="console")
    w.rule("layers", "python3 " + w.src("analysis/layers.py") + " $root",
           description="LAYERS")
    # Python is started where there is something to judge: hundreds of starts take as long as a
    # tenth of the analysis.
    judge = ("python3 " + w.src("analysis/analyze.py") +
             " --clang $analyzer --depfile $out.d %s $out $in -- $includes $defines")
    w.rule("analyze", "$analyzer @" + w.src("analysis/flags") + " -Xclang -analyzer-output=text "
           "-Xclang -dependency-file -Xclang $out.d -Xclang -MT -Xclang $out $includes $defines "
           "$$(pkg-config --cflags cmocka) $in > $out.tmp 2>&1 && test ! -s $out.tmp && "
           "mv $out.tmp $out || " + judge % "--result",
           description="ANALYZE $in", depfile="$out.d", deps="gcc")
    w.rule("analyze_corpus", judge % "--verify", description="ANALYZE $in", depfile="$out.d",
           deps="gcc")
    w.rule("shell", "$command", description="$name", pool="console")
    w.rule("fuzz_link", "python3 " + w.src("tests/tools/fuzz.py") + " --check $analyzer && "
           "$analyzer -std=gnu17 -O1 -g -fno-omit-frame-pointer -Wall -Wextra "
           "-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined $defines "
           "-o $out $in", description="LINK $out")
    regenerate = "python3 configure.py"
    if not w.default:
        regenerate += f" --variant {w.args.variant} --out " + os.path.relpath(w.out_dir, ROOT)
        if w.args.cc:
            regenerate += " --cc " + w.args.cc
    w.rule("configure", f"cd $root && {regenerate}", description="CONFIGURE", generator="1")


def write_rooms(w):
    """One archive per room; returns the rooms that have sources, and all their objects."""
    rooms, objects = [], []
    for room in ROOMS:
        if not room.sources:
            continue
        objs = []
        for name in room.sources:
            path = os.path.normpath(f"src/{room.path}/{name}")
            ground = room.name in ("base", "hw") and path not in EXPLORED_GROUND
            objs.append(w.obj(path))
            if ground and w.args.variant == "explore":
                w.edge(objs[-1], "cc", [w.src(path)], defines="-UKARC_EXPLORE")
            else:
                w.edge(objs[-1], "cc", [w.src(path)])
        w.edge(w.out(f"libkarc_{room.name}.a"), "ar", objs)
        w.put("")
        rooms.append(room)
        objects += objs
    return rooms, objects


def write_library(w, rooms, objects):
    targets = [w.out(f"libkarc_{room.name}.a") for room in rooms]
    names, combined = w.out("internal_names.txt"), w.out("obj/karc.o")
    w.edge(names, "internal_names", objects, implicit=[
        w.src(p) for p in headers_below("include/karc")[0] + ["analysis/internal_names.py"]])
    w.edge(combined, "combine", objects, implicit=[names], names=names)
    w.edge(w.out("libkarc$suffix.a"), "ar", [combined])
    w.edge(w.out("libkarc$suffix.so"), "so", [combined])
    targets += [w.out("libkarc$suffix.a"), w.out("libkarc$suffix.so")]
    tools = []
    for name in TOOLS:
        path = f"tools/{name}"
        tools.append(w.obj(path))
        w.edge(tools[-1], "cc", [w.src(path)], defines="-I" + w.src("tools"))
    for name in BENCH:
        path = f"bench/{name}"
        tools.append(w.obj(path))
        # Where a loop lies by chance must not decide. bench_refcount.c places its own, and counts
        # what fills the place before them.
        loops = "" if name == "bench_refcount.c" else " -falign-loops=64"
        w.edge(tools[-1], "cc", [w.src(path)], defines="-falign-functions=64" + loops)
    if tools:
        # A guest's own function binds to the program's one of that name: only public names there.
        w.edge("$karc", "link", tools + [combined])
        targets.append("$karc")
    w.put("")
    return targets, tools


def test_rooms_define(rooms):
    names = " ".join(f"X({room.name}_room)" for room in rooms if room.has_object)
    return f"'-DKARC_TEST_ROOMS={names}'"


def write_test_group(w, name, path, tests, rooms, extra_objects=(), support=True):
    """Programs and scripts of one directory under tests/; returns what the runner is given."""
    defines = (f"{test_rooms_define(rooms)} -I{w.src('tests/support')} -I{w.src('src')} "
               f"-I{w.src('tools')}")
    archives = [w.out(f"libkarc_{room.name}.a") for room in rooms]
    objs = []
    if support and any(t.endswith(".c") for t in tests):
        for source in SUPPORT:
            objs.append(w.out(f"obj/tests/support/{name}/{os.path.splitext(source)[0]}.o"))
            w.edge(objs[-1], "test_cc", [w.src("tests/support/" + source)], defines=defines)
    runnable, needed = [], []
    for test in tests:
        source = f"tests/{path}/{test}"
        if test.endswith(".py"):
            runnable.append(w.src(source))
            needed.append(w.src(source))
            continue
        binary = w.out("tests/" + path + "/" + os.path.splitext(test)[0])
        w.edge(w.obj(source), "test_cc", [w.src(source)], defines=defines)
        w.edge(binary, "test_link", [w.obj(source)] + objs + list(extra_objects),
               implicit=archives, archives=" ".join(archives))
        runnable.append(binary)
        needed.append(binary)
    return runnable, needed


def write_header_checks(w):
    headers, dirs = headers_below("include/karc")
    libc = w.src("tests/build/libc_headers.h")
    stamps, by_room = [], {room.name: [] for room in ROOMS}
    for header in headers:
        stem = "headers/" + os.path.splitext(os.path.relpath(header, "include/karc"))[0]
        this = "-include " + w.src(header)
        that = "-include " + libc
        for how, pre in (("alone", this), ("first", f"{this} {that}"), ("last", f"{that} {this}")):
            stamps.append(w.out(f"{stem}.{how}.o"))
            w.edge(stamps[-1], "header", [], implicit=[w.src(header), libc], preinclude=pre)
            for room in ROOMS:
                if header.startswith(f"include/karc/{room.path}/"):
                    by_room[room.name].append(stamps[-1])
    compat, compat_dirs = headers_below("include/compat")
    for header in compat:
        # By name and not by path, so that #include_next knows where it is.
        name = os.path.relpath(header, "include/compat")
        stem = "headers/compat/" + os.path.splitext(name)[0]
        stamps.append(w.out(stem + ".alone.o"))
        w.edge(stamps[-1], "header", [], implicit=[w.src(header)],
               preinclude="-include " + name, defines="-I" + w.src("include/compat"))
    w.put("")
    return stamps, by_room, dirs + compat_dirs


def write_tests(w, rooms, targets, tools, checks, room_checks):
    everything, all_needed = [], []

    def target(name, runnable, needed, more=()):
        w.edge(name, "run_tests", [], implicit=needed + list(more), name=name,
               tests=" ".join(runnable))
        w.put("")

    for i, room in enumerate(rooms):
        if room.tests:
            runnable, needed = write_test_group(w, room.name, room.path, room.tests,
                                                rooms[:i + 1], support=room.name != "base")
            target("test-" + room.name, runnable, needed, room_checks[room.name])
            everything += runnable
            all_needed += needed
    groups = (("scenario", SCENARIO_TESTS, ()),
              ("stress", STRESS_TESTS, ()),
              ("tools", TOOLS_TESTS, [t for t in tools if not t.endswith("tools/karc.o")]),
              ("build", BUILD_TESTS, ()))
    for name, tests, extra in groups:
        if w.args.variant == "tsan":
            tests = [t for t in tests if t not in ONE_THREAD_TESTS]
        if w.args.variant != "release":
            tests = [t for t in tests if t not in ONCE_TESTS]
        if tests:
            runnable, needed = write_test_group(w, name, name, tests, rooms, extra)
            target("test-" + name, runnable, needed, targets)
            everything += runnable
            all_needed += needed
    # Names no output that is ever written, so it always runs; it takes a tenth of a second.
    w.edge("layers", "layers")
    w.edge("headers", "phony", checks)
    # A compiler reads headers as it does in any variant: once with each is enough.
    once = w.args.variant == "release" or w.args.cc == "clang"
    target("test", everything, all_needed + targets, ["headers", "layers"] if once else ["layers"])


def write_explore(w, rooms):
    """In the variant of that name the tests themselves; elsewhere a way there."""
    script = w.src("configure.py")
    if w.args.variant != "explore":
        cc = f" --cc {w.args.cc}" if w.args.cc else ""
        w.edge("explore", "shell", [], name="EXPLORE",
               command=f"python3 {script} --variant explore --out $outdir/explore{cc} && "
                       "ninja -C $outdir/explore explore")
        w.put("")
        return
    everything, all_needed = [], []
    for i, room in enumerate(rooms):
        if room.name in EXPLORE_TESTS:
            runnable, needed = write_test_group(w, "explore-" + room.name, room.path,
                                                EXPLORE_TESTS[room.name], rooms[:i + 1])
            everything += runnable
            all_needed += needed
    w.edge("explore", "run_tests", [], implicit=all_needed, name="explore",
           tests=" ".join(everything))
    w.put("")


def all_sources():
    """Every C file named in the tables, as paths from the root."""
    found = []
    for room in ROOMS:
        found += [os.path.normpath(f"src/{room.path}/{name}") for name in room.sources]
        if room.sources:
            found += [f"tests/{room.path}/{t}" for t in room.tests if t.endswith(".c")]
            found += [f"tests/{room.path}/{t}" for t in EXPLORE_TESTS.get(room.name, ())]
    found += [f"tools/{name}" for name in TOOLS]
    found += [f"bench/{name}" for name in BENCH]
    found += [f"tests/support/{name}" for name in SUPPORT]
    found += [f"tests/scenario/{t}" for t in SCENARIO_TESTS if t.endswith(".c")]
    found += [f"tests/stress/{t}" for t in STRESS_TESTS if t.endswith(".c")]
    found += [f"tests/tools/{t}" for t in TOOLS_TESTS if t.endswith(".c")]
    found += [f for f in FUZZ if f.startswith("tests/")]
    return found


def corpus_files():
    where = os.path.join(ROOT, "analysis/corpus")
    return sorted("analysis/corpus/" + f for f in os.listdir(where) if f.endswith(".c"))


def write_analysis(w, rooms):
    """One edge for each file; `ninja analyze-<room>` for one room with its tests."""
    results, by_room = [], {room.name: [] for room in rooms}
    tools = [w.src("analysis/analyze.py"), w.src("analysis/flags")]
    define = test_rooms_define(rooms)
    extra = f"{define} -I{w.src('tests/support')} -I{w.src('src')} -I{w.src('tools')}"
    for path in all_sources():
        results.append(w.out("analysis/" + path + ".txt"))
        nodes = (DEEP_NODES if path in DEEP_ANALYSIS else
                 TEST_NODES if path.startswith("tests/") else NODES)
        w.edge(results[-1], "analyze", [w.src(path)], implicit=tools, defines=extra +
               f" -Xclang -analyzer-config -Xclang max-nodes={nodes}")
        for room in rooms:
            if path.startswith((f"src/{room.path}/", f"tests/{room.path}/")):
                by_room[room.name].append(results[-1])
    for path in corpus_files():
        results.append(w.out(path + ".txt"))
        w.edge(results[-1], "analyze_corpus", [w.src(path)], implicit=tools)
    for name, some in by_room.items():
        w.edge("analyze-" + name, "phony", some)
    nr_corpus = len([r for r in results if "/corpus/" in r])
    w.edge("analyze", "shell", [], implicit=results + ["layers"], name="ANALYZE done",
           command=f"echo 'analyze: {len(results) - nr_corpus} sources, no findings; "
                   f"{nr_corpus} corpus files diagnosed as they say; no include points up'")
    w.put("")


def write_commands(w, targets):
    install = "; ".join([
        'set -eu; p="$${DESTDIR:-}$${PREFIX:-/usr/local}"',
        'install -d "$$p/bin" "$$p/lib/pkgconfig" "$$p/include/karc" "$$p/include/karc-compat"',
        'cp -R $root/include/karc/. "$$p/include/karc"',
        'if [ -d $root/include/compat ]; then cp -R $root/include/compat/. '
        '"$$p/include/karc-compat"; fi',
        'install -m 644 $outdir/libkarc$suffix.a "$$p/lib"',
        'install -m 755 $outdir/libkarc$suffix.so "$$p/lib"',
        'if [ -e $karc ]; then install -m 755 $karc "$$p/bin/karc$suffix"; fi',
        'for f in karc karc-linux; do sed -e "s|@prefix@|$${PREFIX:-/usr/local}|" '
        '-e "s|@suffix@|$suffix|g" -e "s|@cflags@|$usecflags|" -e "s|@libs@|$uselibs|" '
        '$root/$$f.pc.in > "$$p/lib/pkgconfig/$$f$suffix.pc"; done',
    ])
    w.edge("install", "shell", [], implicit=targets + [w.src("karc.pc.in"),
           w.src("karc-linux.pc.in")], name="INSTALL", command=install)
    demo = " && ".join(f"{{ {c}; }}" for c in DEMO)
    w.edge("demo", "shell", [], implicit=["$karc"] if TOOLS else targets, name="DEMO",
           command=demo)
    w.put("")


def write_bench(w):
    """Peers are built by a script that knows what is installed: always asked, quick when nothing
    changed."""
    w.edge("bench-peers", "shell", [], name="PEERS",
           command="python3 " + w.src("bench/peers/build.py") + " --out $outdir/bench --cc $cc")
    w.edge("bench", "shell", [], implicit=["$karc", "bench-peers"], name="BENCH",
           command="$karc bench")
    w.put("")


def write_fuzz(w):
    """On demand only: no other target needs it."""
    target, script = w.out("fuzz/fuzz_recording"), w.src("tests/tools/fuzz.py")
    headers = ["tools/recording.h", "tools/recording_internal.h"]
    w.edge(target, "fuzz_link", [w.src(f) for f in FUZZ], implicit=[w.src(h) for h in headers],
           defines="-I" + w.src("tools"))
    w.edge("fuzz", "shell", [], implicit=[target, script], name="FUZZ",
           command=f"python3 {script} {target} $root")
    w.put("")


def ninja_text(args, out_dir):
    w = Writer(args, out_dir)
    write_rules(w)
    rooms, objects = write_rooms(w)
    targets, tools = write_library(w, rooms, objects)
    checks, room_checks, header_dirs = write_header_checks(w)
    write_tests(w, rooms, targets, tools, checks, room_checks)
    write_explore(w, rooms)
    write_analysis(w, rooms)
    write_commands(w, targets)
    write_bench(w)
    write_fuzz(w)
    w.edge("lib", "phony", targets)
    w.edge("build.ninja", "configure", [], implicit=[w.src("configure.py")] + [
        w.src(d) for d in header_dirs + ["analysis/corpus"]])
    w.put("", "default lib")
    return w.text()


def write_file(args, out_dir):
    text = ninja_text(args, out_dir)
    where = out_dir or ROOT
    os.makedirs(where, exist_ok=True)
    temporary = os.path.join(where, "build.ninja.new")
    with open(temporary, "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(temporary, os.path.join(where, "build.ninja"))


def parse_args():
    p = argparse.ArgumentParser(description="Writes the ninja files of karc.")
    p.add_argument("--variant", choices=sorted(VARIANTS), default="release")
    p.add_argument("--cc", choices=["gcc", "clang"], help="compiler (default: cc)")
    p.add_argument("--out", metavar="DIR", help="write DIR/build.ninja and build in DIR")
    p.add_argument("--all-variants", action="store_true", help="write every variant's file")
    p.add_argument("--install", action="store_true",
                   help="first install what is missing, through apt")
    p.add_argument("--install-peers", action="store_true",
                   help="also install what the benchmark compares with")
    return p.parse_args()


def main():
    args = parse_args()
    if args.install or args.install_peers:
        install_missing(PACKAGES + (PEER_PACKAGES if args.install_peers else []))
    if args.all_variants:
        write_file(argparse.Namespace(variant="release", cc=None), None)
        for variant in VARIANTS:
            for cc in ("gcc", "clang"):
                name = variant + ("-clang" if cc == "clang" else "")
                write_file(argparse.Namespace(variant=variant, cc=cc),
                           os.path.join(ROOT, "build", name))
    elif args.out:
        write_file(args, os.path.abspath(args.out))
    elif args.variant == "release" and args.cc is None:
        write_file(args, None)
    else:
        name = args.variant + ("-clang" if args.cc == "clang" else "")
        write_file(args, os.path.join(ROOT, "build", name))


if __name__ == "__main__":
    main()
