#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: what `ninja install` puts down is enough for a program outside the tree.

Method: run the install command of this build into a temporary place, plain and with DESTDIR, then
build the programs external*.c there with nothing but pkg-config, against the shared and the static
library, and run them.

external.c needs the bottom room only.  external_boot.c, when present, boots and shuts down a
machine: exit status 0; compiled with another KARC_VARIANT it must be refused: exit status 3.
examples/own.c is a program outside the tree, too.
"""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
BUILD = os.path.abspath(os.environ.get("KARC_BUILD") or os.path.join(ROOT, "build"))


class Failure(Exception):
    pass


def ninja_dir():
    return BUILD if os.path.exists(os.path.join(BUILD, "build.ninja")) else ROOT


def ninja_variable(name):
    with open(os.path.join(ninja_dir(), "build.ninja"), encoding="utf-8") as f:
        match = re.search(rf"^{name} = (.*)$", f.read(), re.M)
    return match.group(1).strip() if match else ""


def run(command, env=None, cwd=None, shell=False, expect=0):
    done = subprocess.run(command, env=env, cwd=cwd, shell=shell, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if expect is not None and done.returncode != expect:
        raise Failure(f"{command}\nexit status {done.returncode}, expected {expect}\n"
                      f"{done.stdout}")
    return done.stdout


def install(prefix, destdir=None):
    """The command is asked for, not run through ninja: another ninja owns this build now."""
    command = run(["ninja", "-C", ninja_dir(), "-t", "commands", "-s", "install"])
    command = "\n".join(line for line in command.splitlines()
                        if not line.startswith("ninja: Entering"))
    env = dict(os.environ, PREFIX=prefix)
    if destdir:
        env["DESTDIR"] = destdir
    run(command, env=env, cwd=ninja_dir(), shell=True)


def pkg_config(place, package, *options):
    env = dict(os.environ, PKG_CONFIG_PATH=place + "/lib/pkgconfig")
    return run(["pkg-config", *options, package], env=env).split()


class Test:
    def __init__(self, scratch):
        self.scratch = scratch
        self.cc = ninja_variable("cc")
        self.suffix = ninja_variable("suffix")
        self.prefix = scratch + "/prefix"
        self.package = "karc" + self.suffix

    def build(self, source, name, static=False, extra=()):
        program = f"{self.scratch}/{name}"
        libs = pkg_config(self.prefix, self.package, "--libs")
        if static:
            libs = [f"-l:lib{self.package}.a" if f == "-l" + self.package else f for f in libs]
        else:
            libs.append("-Wl,-rpath," + self.prefix + "/lib")
        run([self.cc, "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-o", program,
             os.path.join(HERE, source),
             *pkg_config(self.prefix, self.package, "--cflags"), *extra, *libs],
            cwd=self.scratch)
        return program

    def installs(self):
        install(self.prefix)
        for path in (f"lib/lib{self.package}.a", f"lib/lib{self.package}.so",
                     f"lib/pkgconfig/{self.package}.pc",
                     f"lib/pkgconfig/karc-linux{self.suffix}.pc", "include/karc/base/types.h"):
            if not os.path.exists(os.path.join(self.prefix, path)):
                raise Failure(path + " was not installed")

    def destdir_is_put_in_front_of_the_prefix(self):
        install("/usr", self.scratch + "/staging")
        with open(f"{self.scratch}/staging/usr/lib/pkgconfig/{self.package}.pc",
                  encoding="utf-8") as f:
            text = f.read()
        if "prefix=/usr\n" not in text or "staging" in text:
            raise Failure("the .pc file has the wrong prefix:\n" + text)

    def shared_library_serves_a_program(self):
        out = run([self.build("external.c", "shared")])
        if out != "0 42\n":
            raise Failure("unexpected output: " + out)

    def static_library_serves_a_program(self):
        out = run([self.build("external.c", "static", static=True)])
        if out != "0 42\n":
            raise Failure("unexpected output: " + out)

    def linux_package_adds_the_compat_headers(self):
        flags = pkg_config(self.prefix, "karc-linux" + self.suffix, "--cflags")
        if f"-I{self.prefix}/include/karc-compat" not in flags:
            raise Failure("no karc-compat in " + " ".join(flags))
        plain = pkg_config(self.prefix, self.package, "--cflags")
        if any("compat" in flag for flag in plain):
            raise Failure("karc alone exposes the compat headers")

    def a_machine_boots_outside_the_tree(self):
        run([self.build("external_boot.c", "boot")])
        run([self.build("external_boot.c", "boot-static", static=True)])

    def the_example_of_ownership_tells_both_mistakes(self):
        """Under the address sanitizer the second put of freed memory is the sanitizer's."""
        source = os.path.join(ROOT, "examples/own.c")
        program = self.build(source, "own", extra=["-Wno-unused-parameter"])
        said = run([program], expect=None)
        if self.suffix.startswith("-asan"):
            if "use-after-poison" not in said:  # it ends the program before karc can speak
                raise Failure("the address sanitizer missed the second put:\n" + said)
            return
        with open(source, encoding="utf-8") as f:
            lines = f.read().splitlines()
        at = {what: next(i + 1 for i, line in enumerate(lines) if mark in line)
              for what, mark in (("twice", "once too often"), ("first", "the car goes"),
                                 ("kept", "nobody will put it"))}
        for text in ("object: car at ", f"last put: {source}:{at['first']} kernel_code",
                     f"at {source}:{at['twice']} kernel_code", "has forgotten a reference of engine",
                     f"got at {source}:{at['kept']} kernel_code", "left: 1 engine, 48 bytes"):
            if text not in said:
                raise Failure(f"it does not say \"{text}\":\n{said}")

    def another_variant_is_refused(self):
        for static in (False, True):
            other = self.build("external_boot.c", "other", static=static,
                               extra=["-UKARC_VARIANT", "-DKARC_VARIANT=99"])
            said = run([other], expect=3)
            if "another build variant" not in said or "pkg-config --cflags" not in said:
                raise Failure("the refusal does not say why: " + said)

    def cases(self):
        some = [self.installs, self.destdir_is_put_in_front_of_the_prefix,
                self.shared_library_serves_a_program, self.static_library_serves_a_program,
                self.linux_package_adds_the_compat_headers]
        if os.path.exists(os.path.join(HERE, "external_boot.c")):
            some += [self.a_machine_boots_outside_the_tree, self.another_variant_is_refused,
                     self.the_example_of_ownership_tells_both_mistakes]
        return some


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for case in Test(scratch).cases():
            print(f"[ RUN      ] {case.__name__}")
            try:
                case()
                print(f"[       OK ] {case.__name__}")
            except Failure as why:
                failed += 1
                print(f"[  FAILED  ] {case.__name__}\n{why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
