#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: test modules that Linux has for its own memory interfaces pass here, unmodified.

Method: they are compiled against include/compat from the kernel sources that KARC_LINUX_SOURCE
names (a directory of Linux 6.1), each into a program with referee/driver.c, which boots a machine
and loads it.  Nothing of those sources is part of karc: without them each case is skipped by name.
With KARC_TEST_LONG they run as long as they do by default.

One module of karc's own always runs, so that the driver is known to work.  referee/include has
what the library does not have yet, and no more than these modules need of it.
"""

import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from test_external import BUILD, HERE, ROOT, Failure, ninja_variable, run

SOURCE = os.environ.get("KARC_LINUX_SOURCE")
LONG = bool(os.environ.get("KARC_TEST_LONG"))
REFEREE = os.path.join(HERE, "referee")


class Machine:
    def __init__(self, cpus=1, mib=256, mode="deterministic", cmdline="", left=0):
        self.args = [str(cpus), str(mib), mode, str(left)]
        self.cmdline = cmdline


INIT_BOTH = "init_on_alloc=1 init_on_free=1"
LOOPS = "" if LONG else "test_loop_count=300"

# The module, what its init returns when all is well, its parameters, the machines, and text that
# must and text that must not be in its log.
OWN = "own_module"
MODULES = [
    (OWN, 0, "rounds=50", [Machine(2), Machine(4, mode="parallel")], "150 rounds, sum 6", None),
    ("percpu_test", -11, "", [Machine(), Machine(4, mode="parallel")],
     "percpu test done", None),
    ("test_free_pages", 0, "", [Machine(mib=32)], "Test completed", None),
    ("test_meminit", 0, "", [Machine(mib=128, cmdline="init_on_alloc=1"),
                             Machine(mib=128, cmdline=INIT_BOTH),
                             Machine(4, 128, "parallel", INIT_BOTH)],
     r"all \d+ tests passed!", None),
    # It leaks on purpose: 8 blocks of kmalloc, 5 areas, 10 elements of a list, and 1 for each CPU.
    ("kmemleak-test", 0, "", [Machine(left=24), Machine(4, left=27, mode="parallel")],
     "Kmemleak testing", None),
    # Of the ten, align_shift_alloc_test (64) is "supposed to be failed" and left out.
    ("test_vmalloc", -11, "run_test_mask=959 nr_threads=1 " + LOOPS, [Machine(mib=512)],
     "All test took worker0", r"failed: [1-9]"),
    ("test_vmalloc", -11, "run_test_mask=959 nr_threads=4 " + LOOPS,
     [Machine(4, 2048, "parallel")], "All test took worker3", r"failed: [1-9]"),
]


class Test:
    def __init__(self, scratch):
        self.scratch = scratch

    @staticmethod
    def source(name):
        where = {OWN: REFEREE, "kmemleak-test": f"{SOURCE}/samples/kmemleak"}
        return os.path.join(where.get(name, f"{SOURCE}/lib"), name + ".c")

    def build(self, name):
        program = f"{self.scratch}/{name}"
        if os.path.exists(program):
            return program
        cc = ninja_variable("cc")
        flags = ["-std=gnu17", "-O1", "-g", *ninja_variable("usecflags").split()]
        include = ["-I" + os.path.join(ROOT, "include")]
        compat = ["-I" + REFEREE + "/include", "-I" + os.path.join(ROOT, "include/compat")]
        # Its warnings are not this project's.
        run([cc, *flags, "-w", f'-DKBUILD_MODNAME="{name}"', "-include", "linux/kconfig.h",
             *compat, *include, "-c", self.source(name), "-o", program + ".o"])
        run([cc, *flags, "-Wall", "-Wextra", "-Werror", *include, "-rdynamic", "-o", program,
             REFEREE + "/driver.c", program + ".o",
             os.path.join(BUILD, f"libkarc{ninja_variable('suffix')}.a"),
             *ninja_variable("uselibs").split()])
        return program

    def passes(self, name, result, params, machine, wanted, unwanted):
        done = subprocess.run([self.build(name), name, *machine.args, str(result),
                               machine.cmdline, params], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode or not re.search(wanted, done.stdout) or (
                unwanted and re.search(unwanted, done.stdout)):
            raise Failure(f"exit status {done.returncode}\n{done.stdout}")


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        test = Test(scratch)
        for name, result, params, machines, wanted, unwanted in MODULES:
            for machine in machines:
                title = f"{name}_passes on {' '.join([*machine.args[:3], machine.cmdline])}"
                print(f"[ RUN      ] {title}", flush=True)
                if not SOURCE and name != OWN:
                    print(f"[  SKIPPED ] {title}: KARC_LINUX_SOURCE names no kernel sources")
                    continue
                try:
                    test.passes(name, result, params, machine, wanted, unwanted)
                    print(f"[       OK ] {title}")
                except Failure as why:
                    failed += 1
                    print(f"[  FAILED  ] {title}\n{why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
