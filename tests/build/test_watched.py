#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: what watches memory sees the mistakes of a harness inside karc's slabs, by cache and place.

Method: build watched.c, which makes one mistake, against this build's static library with
AddressSanitizer (the library may be a plain one), without (to be run under Valgrind, if that is
here) and, where the library is one for it, with ThreadSanitizer; read what they say.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
BUILD = os.path.abspath(os.environ.get("KARC_BUILD") or os.path.join(ROOT, "build"))
SOURCE = os.path.join(HERE, "watched.c")


class Failure(Exception):
    pass


def ninja_variable(name):
    here = BUILD if os.path.exists(os.path.join(BUILD, "build.ninja")) else ROOT
    with open(os.path.join(here, "build.ninja"), encoding="utf-8") as f:
        match = re.search(rf"^{name} = (.*)$", f.read(), re.M)
    return match.group(1).strip() if match else ""


def line_with(mark, function):
    """The line of watched.c that says @mark, in @function."""
    inside = False
    with open(SOURCE, encoding="utf-8") as f:
        for number, text in enumerate(f, 1):
            inside = inside or f" {function}(void *arg)" in text
            if inside and mark in text:
                return number
    raise Failure(f"no {mark} in {function}")


def build(scratch, name, *flags):
    program = os.path.join(scratch, name)
    library = os.path.join(BUILD, f"libkarc{ninja_variable('suffix')}.a")
    command = [ninja_variable("cc"), "-std=gnu17", "-g", "-O1", "-fno-omit-frame-pointer",
               "-I", os.path.join(ROOT, "include"), *ninja_variable("usecflags").split(), *flags,
               "-o", program, SOURCE, library, "-pthread"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise Failure(f"{' '.join(command)}\n{done.stdout}")
    return program


def said(*command, **environment):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=dict(os.environ, **environment), timeout=120)
    return done.stdout


def expect(text, *wanted):
    for want in wanted:
        if want not in text:
            raise Failure(f"'{want}' is missing in:\n{text}")


def place(mark, function):
    return f"watched.c:{line_with(mark, function)}"


def address_sanitizer(scratch):
    program = build(scratch, "asan", "-fsanitize=address")
    clean = said(program, "none")
    if clean:
        raise Failure("a harness without mistakes is blamed:\n" + clean)
    for mistake, what in (
            ("use_after_free", "karc: 8 bytes inside a FREED object of 64 bytes of cache "
                               "'kmalloc-64'"),
            ("overflow", "karc: 0 bytes beyond a live object of 64 bytes of cache 'kmalloc-64'"),
            ("underflow", "beyond a live object of 64 bytes of cache 'things'")):
        text = said(program, mistake)
        expect(text, "use-after-poison", place("/* used */", mistake), what,
               "karc: object allocated at ", f"{place('zalloc(', mistake)} {mistake}")
    expect(said(program, "use_after_free"),
           f"{place('kfree(t)', 'use_after_free')} use_after_free")
    expect(said(program, "double_free"), "double free detected in cache 'kmalloc-64'",
           f"freed again at {SOURCE}:{line_with('/* used */', 'double_free')} double_free")


def valgrind(scratch):
    if not shutil.which("valgrind"):
        print("test_watched.py: skipped what needs Valgrind: it is not installed")
        return
    if not os.path.exists("/usr/include/valgrind/memcheck.h"):
        print("test_watched.py: skipped what needs Valgrind: its headers are not installed")
        return
    program = build(scratch, "plain")
    clean = said("valgrind", "-q", program, "none")
    if clean:
        raise Failure("a harness without mistakes is blamed:\n" + clean)
    for mistake, what in (("use_after_free", "Invalid read of size 8"),
                          ("overflow", "Invalid write of size 8"),
                          ("double_free", "Invalid free()")):
        text = said("valgrind", "-q", program, mistake)
        expect(text, what, "slot of 'kmalloc-64' with ", f"allocated at {mistake} (",
               place("zalloc(", mistake))
    expect(said("valgrind", "-q", program, "uninitialised"),
           "Conditional jump or move depends on uninitialised value", "uninitialised (watched.c:")


def thread_sanitizer(scratch):
    program = build(scratch, "tsan")
    text = said(program, "race", TSAN_OPTIONS="halt_on_error=0 exitcode=0")
    expect(text, "ThreadSanitizer: data race", "Write of size", "race", place("/* used */", "race"),
           "Previous read of size 8", place("/* read */", "reads"))


def main():
    variant = os.environ.get("KARC_VARIANT_NAME", "release")
    tests = [thread_sanitizer] if variant == "tsan" else [address_sanitizer]
    if variant in ("release", "debug"):
        tests.append(valgrind)
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for test in tests:
            try:
                test(scratch)
            except Failure as failure:
                print(f"FAILED {test.__name__}: {failure}", file=sys.stderr)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
