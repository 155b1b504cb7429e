#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: sources that include <linux/...> and <asm/...> compile against karc, and libc stays whole.

The compat root comes first on the include path, and libc's own headers include <linux/errno.h>,
<linux/limits.h>, <linux/types.h> and others.  So each compat header is compiled before and after
libc's, without a warning, and each libc header must define the same macros with the compat root
on the path as without.  Headers that consist of the same lines count as one here; the build
compiles each by itself as well.

compat/names.txt says what each header must have: names that sources for Linux take from it.

Then guest sources in Linux's manner (compat/shelf.c, session.c, route.c, scope.c) are built with
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
GUESTS = ("main.c", "shelf.c", "session.c", "route.c", "scope.c")
JOBS = 2

# Headers of libc that lead to the kernel's.
KERNELISH = """
    argz dirent errno ftw ifaddrs limits net/ethernet net/if net/if_arp net/ppp_defs netdb
    netinet/icmp6 netinet/if_ether netinet/in netinet/ip netinet/tcp resolv signal sys/fanotify
    sys/ioctl sys/param sys/prctl sys/quota sys/socket sys/stat sys/syscall sys/sysinfo sys/wait
""".split()

# Those, and some that do not, besides the ones of libc_headers.h.
LIBC = KERNELISH + """
    arpa/inet assert elf fcntl inttypes link math mqueue net/route netpacket/packet spawn
    sys/auxv sys/epoll sys/file sys/inotify sys/io sys/msg sys/personality sys/ptrace sys/reboot
    sys/shm sys/signalfd sys/statvfs sys/swap sys/timex sys/un sys/utsname sys/xattr syslog
    termios threads wordexp
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


class Compat:
    """The compat headers by name, without ".h"."""

    def __init__(self):
        self.names, self.distinct, self.shared = [], [], []
        seen = set()
        for path in sorted(self.find()):
            with open(os.path.join(COMPAT, path), encoding="utf-8") as f:
                lines = tuple(re.findall(r"^#include.*", f.read(), re.M))
            self.names.append(path[:-2])
            if lines not in seen:
                self.distinct.append(path[:-2])
            seen.add(lines)
            # The system has a header of the same name.
            if feed([ninja_variable("cc"), "-E", "-"], f"#include <{path}>\n").returncode == 0:
                self.shared.append(path[:-2])

    @staticmethod
    def find():
        for where, _, files in os.walk(COMPAT):
            rel = os.path.relpath(where, COMPAT)
            yield from (os.path.join(rel, f) for f in files if f.endswith(".h"))


def compilers():
    """This build's, and in the default build clang as well."""
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
    return f"{cc}: {text[:200]}...\n{done.stderr[:2000]}" if done.returncode else None


def macros(cc, text, flags):
    done = feed([cc, "-std=gnu17", "-D_GNU_SOURCE", "-dM", "-E", *flags, "-"], text)
    if done.returncode:
        raise Failure(f"{cc}: {text}{done.stderr[:2000]}")
    return {line.split(None, 2)[1]: line for line in done.stdout.splitlines()}


def names_of_headers():
    """The names of each header, from compat/names.txt."""
    found = {}
    with open(os.path.join(SOURCES, "names.txt"), encoding="utf-8") as f:
        text = re.sub(r"^#.*\n", "", f.read(), flags=re.M)
    for line in text.replace("\n\t", " ").splitlines():
        header, _, names = line.partition(":")
        found[header] = re.findall(r"struct \w+|\w+(?:\(\))?", names)
    return found


def use_of_names(header, names):
    """Text that compiles when @header alone gives all of them."""
    lines = [f"#include <{header}>"]
    for i, name in enumerate(names):
        bare = name.removesuffix("()")
        if name.startswith("struct "):
            lines.append(f'_Static_assert(sizeof({name}) > 0, "");')
        else:
            lines += [f"#ifndef {bare}", f"typedef __typeof__({bare}) karc_name_{i};", "#endif"]
    return "\n".join(lines) + "\n"


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
        self.compat = Compat()
        self.names = names_of_headers()

    def alone(self, name):
        """The header as the first of a compilation, and its names."""
        return use_of_names(name + ".h", self.names.get(name + ".h", []))

    def each_header_mixes_with_libc_in_either_order(self):
        libc = '#include "libc_headers.h"\n' + includes(LIBC)
        cc = ninja_variable("cc")
        tasks = [(accepts, cc, self.alone(name) + libc) for name in self.compat.distinct]
        tasks += [(accepts, cc, libc + includes([name])) for name in self.compat.shared]
        for cc in compilers():
            for names in (self.compat.names, self.compat.names[::-1]):
                tasks += [(accepts, cc, includes(names) + libc),
                          (accepts, cc, libc + includes(names))]
        check_all(tasks)

    def each_header_has_the_names_of_its_linux_namesake(self):
        """Those of the others were looked at together with libc's."""
        rest = [header for header in self.names if header[:-2] not in self.compat.distinct]
        check_all([(accepts, ninja_variable("cc"), self.alone(header[:-2])) for header in rest])

    def libc_headers_lose_no_macro(self):
        check_all([(lost_macros, ninja_variable("cc"), name) for name in KERNELISH])

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
        headers = [self.each_header_mixes_with_libc_in_either_order,
                   self.each_header_has_the_names_of_its_linux_namesake,
                   self.libc_headers_lose_no_macro,
                   self.whoever_is_first_both_sides_get_all_their_names,
                   self.libc_still_serves_assembler_and_cplusplus]
        # A compiler reads headers as it does in any variant.
        once = ninja_variable("variant") == "release" or ninja_variable("cc") == "clang"
        return (headers if once else []) + [self.linux_sources_run_on_an_installed_karc,
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
