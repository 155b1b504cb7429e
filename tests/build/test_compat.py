#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: sources that include <linux/...> and <asm/...> compile against karc, and libc stays whole.

The compat root comes first on the include path, and libc's own headers include <linux/errno.h>,
<linux/limits.h>, <linux/types.h> and others.  So each compat header is compiled before and after
libc's, without a warning, and each libc header must define the same macros with the compat root
on the path as without.  The release build does this with both compilers, others with their own.

Then three guest sources in Linux's manner (compat/shelf.c, session.c, route.c) are built with
nothing but the installed karc-linux.pc and run on machines that compat/main.c boots.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import test_external
from test_external import BUILD, HERE, ROOT, Failure, ninja_variable, pkg_config, run

SOURCES = os.path.join(HERE, "compat")
COMPAT = os.path.join(ROOT, "include/compat")
GUESTS = ("main.c", "shelf.c", "session.c", "route.c")
JOBS = 2

# Those of libc that lead to kernel headers, and some that do not.
LIBC = """
    arpa/inet argz assert dirent elf errno fcntl ftw ifaddrs inttypes limits link math mqueue
    net/ethernet net/if net/if_arp net/ppp_defs net/route netdb netinet/icmp6 netinet/if_ether
    netinet/in netinet/ip netinet/tcp netpacket/packet poll pthread resolv sched signal spawn
    stdint stdio stdlib string sys/auxv sys/epoll sys/fanotify sys/file sys/inotify sys/io
    sys/ioctl sys/mman sys/msg sys/param sys/personality sys/prctl sys/ptrace sys/quota
    sys/reboot sys/resource sys/shm sys/signalfd sys/socket sys/stat sys/statvfs sys/swap
    sys/syscall sys/sysinfo sys/time sys/timex sys/types sys/uio sys/un sys/user sys/utsname
    sys/wait sys/xattr syslog termios threads time ucontext unistd wchar wordexp
""".split()

# Each is the first one of a compilation of traps.c.
FIRST = """
    errno limits sched signal stddef string sys/mman sys/stat sys/sysinfo sys/time sys/wait
    sys/prctl sys/quota net/ethernet asm/types linux/errno linux/fs linux/io_uring linux/kernel
    linux/limits linux/mman linux/sched linux/signal linux/stat linux/stddef linux/string
    linux/time linux/types linux/uaccess linux/wait
""".split()


def includes(names):
    return "".join(f"#include <{name}.h>\n" for name in names)


def compat_names():
    found = []
    for where, _, files in os.walk(COMPAT):
        rel = os.path.relpath(where, COMPAT)
        found += [os.path.join(rel, f[:-2]) for f in files if f.endswith(".h")]
    return sorted(found)


def compilers():
    own = ninja_variable("cc")
    both = ninja_variable("variant") == "release" and own == "cc" and shutil.which("clang")
    return [own, "clang"] if both else [own]


def compat_flags():
    return ["-I" + COMPAT, "-I" + os.path.join(ROOT, "include"),
            *ninja_variable("usecflags").split()]


def feed(command, text):
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True)


def accepts(cc, text, language="c", standard="gnu17"):
    """Compiles @text with the compat root on the path; the complaint, or None."""
    flags = [f"-std={standard}"] if language == "c" else []
    done = feed([cc, *flags, "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-fsyntax-only",
                 *compat_flags(), "-I" + HERE, "-x", language, "-"], text)
    return f"{cc}: {text}{done.stderr[:2000]}" if done.returncode else None


def macros(cc, text, flags):
    done = feed([cc, "-std=gnu17", "-D_GNU_SOURCE", "-dM", "-E", *flags, "-"], text)
    if done.returncode:
        raise Failure(f"{cc}: {text}{done.stderr[:2000]}")
    return {line.split(None, 2)[1]: line for line in done.stdout.splitlines()}


def lost_macros(cc, name):
    """libc's macros that are missing or different when karc's headers are there; or None."""
    text = includes([name])
    usual, ours = macros(cc, text, []), macros(cc, text, compat_flags()[:2])
    lost = [line for macro, line in usual.items() if ours.get(macro) != line]
    return f"{cc}: {text}" + "\n".join(lost[:10]) if lost else None


def check_all(tasks):
    """Runs functions that return None or a complaint, some at a time."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        complaints = [c for c in pool.map(lambda task: task[0](*task[1:]), tasks) if c]
    if complaints:
        raise Failure("\n".join(complaints[:10]) + f"\n{len(complaints)} complaints")


class Test:
    def __init__(self, scratch):
        self.scratch = scratch
        self.prefix = scratch + "/prefix"
        self.suffix = ninja_variable("suffix")

    def each_header_mixes_with_libc_in_either_order(self):
        libc = '#include "libc_headers.h"\n' + includes(LIBC)
        tasks = []
        for cc in compilers():
            for name in compat_names():
                tasks += [(accepts, cc, includes([name]) + libc),
                          (accepts, cc, libc + includes([name]))]
        check_all(tasks)

    def all_headers_go_together_in_either_order(self):
        names = compat_names()
        check_all([(accepts, cc, includes(order)) for cc in compilers()
                   for order in (names, names[::-1])])

    def libc_headers_lose_no_macro(self):
        check_all([(lost_macros, cc, name) for cc in compilers() for name in LIBC])

    def whoever_is_first_both_sides_get_all_their_names(self):
        with open(os.path.join(SOURCES, "traps.c"), encoding="utf-8") as f:
            traps = f.read()
        check_all([(accepts, cc, includes([name]) + traps) for cc in compilers()
                   for name in FIRST])

    def libc_still_serves_assembler_and_cplusplus(self):
        names = [n for n in LIBC if n not in ("threads",)]
        tasks = [(accepts, cc, "#include <errno.h>\n#include <sys/syscall.h>\n"
                  "\t.long EPERM, ENOTSUP, SYS_read\n", "assembler-with-cpp")
                 for cc in compilers()]
        tasks += [(accepts, cc, includes(names), "c++") for cc in compilers()
                  if feed([cc, "-fsyntax-only", "-x", "c++", "-"], "").returncode == 0]
        check_all(tasks)

    def build_guests(self, sources, name, static=False):
        program = f"{self.scratch}/{name}"
        package = "karc-linux" + self.suffix
        flags = pkg_config(self.prefix, package, "--cflags")
        libs = pkg_config(self.prefix, package, "--libs")
        library = "karc" + self.suffix
        if static:
            libs = [f"-l:lib{library}.a" if f == "-l" + library else f for f in libs]
        else:
            libs.append("-Wl,-rpath," + self.prefix + "/lib")
        run([ninja_variable("cc"), "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-g", "-o",
             program, *sources, *flags, *libs], cwd=self.scratch)
        return program

    def linux_sources_run_on_an_installed_karc(self):
        test_external.install(self.prefix)
        sources = [os.path.join(SOURCES, name) for name in GUESTS]
        for static in (False, True):
            out = run([self.build_guests(sources, f"guests{static:d}", static)])
            if out.count("ok, 0 warnings, 0 left") != 2:
                raise Failure("unexpected output: " + out)

    def a_forgotten_put_in_a_linux_source_is_noticed(self):
        if not os.path.isdir(self.prefix):
            raise Failure("karc was not installed")
        with open(os.path.join(SOURCES, "shelf.c"), encoding="utf-8") as f:
            text = f.read()
        wrong, times = re.subn(r"for \(i = 0; i < last; i\+\+\)", "for (i = 1; i < last; i++)",
                               text)
        if times != 1:
            raise Failure("shelf.c has no such loop any more")
        path = self.scratch + "/shelf.c"
        with open(path, "w", encoding="utf-8") as f:
            f.write(wrong)
        sources = [os.path.join(SOURCES, name) for name in GUESTS if name != "shelf.c"]
        out = run([self.build_guests(sources + [path], "wrong")], expect=1)
        if not re.search(r"4 CPUs: failed, \d+ warnings, [1-9]\d* left", out):
            raise Failure("unexpected output: " + out)

    def cases(self):
        return [self.each_header_mixes_with_libc_in_either_order,
                self.all_headers_go_together_in_either_order,
                self.libc_headers_lose_no_macro,
                self.whoever_is_first_both_sides_get_all_their_names,
                self.libc_still_serves_assembler_and_cplusplus,
                self.linux_sources_run_on_an_installed_karc,
                self.a_forgotten_put_in_a_linux_source_is_noticed]


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for case in Test(scratch).cases():
            print(f"[ RUN      ] {case.__name__}", flush=True)
            try:
                case()
                print(f"[       OK ] {case.__name__}")
            except Failure as why:
                failed += 1
                print(f"[  FAILED  ] {case.__name__}\n{why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
