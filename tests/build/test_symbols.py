#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: who links karc gets the names that public headers declare, all of them and no other.

Method: the build asks the compiler which names are declared (analysis/internal_names.py); here
the text of the headers is asked: the words of include/karc outside comments, braces and
parentheses.  The global names of the rooms' archives that are among them must be what the static
and the shared library have, but for what the compiler adds beside a name (gcc's __odr_asan.name),
which no C source can clash with.

Then a program that defines every internal name itself, and a hook of base, is built against the
installed library and boots a machine.
"""

import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import test_external
from test_external import BUILD, ROOT, Failure, ninja_variable, run

sys.path[:0] = [ROOT, os.path.join(ROOT, "analysis")]
import configure
from internal_names import c_name, global_symbols, headers_below, undeclared


def names_of(symbols):
    return {c_name(s) for s in symbols}


def innermost_removed(text, pattern):
    """Without what is in braces or parentheses, however deep."""
    before = None
    while before != text:
        before, text = text, re.sub(pattern, " ", text)
    return text


def words_declared_in(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", " ", text, flags=re.M)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', " ", text)
    text = re.sub(r"\((\w+)\)(?=\()", r" \1", text)       # (kmalloc)(...): there is a macro too
    text = innermost_removed(text, r"\([^()]*\)")
    text = innermost_removed(text, r"\{[^{}]*\}")
    return set(re.findall(r"[A-Za-z_]\w*", text))


def dynamic_names(path):
    out = run(["nm", "-D", "--defined-only", path])
    return {line.split()[2].partition("@")[0] for line in out.splitlines()}


class Test:
    def __init__(self, scratch):
        self.scratch = scratch
        self.external = test_external.Test(scratch)
        self.library = os.path.join(BUILD, "libkarc" + ninja_variable("suffix"))
        rooms = [r.name for r in configure.ROOMS if r.sources]
        self.all = names_of(global_symbols([f"{BUILD}/libkarc_{r}.a" for r in rooms]))
        declared = set()
        for header in headers_below(os.path.join(ROOT, "include/karc")):
            declared |= words_declared_in(header)
        self.public = self.all & declared
        self.internal = self.all - declared

    def compare(self, names):
        if len(self.public) < 100 or not self.internal:
            raise Failure("the archives of the rooms were misread")
        wrong = [f"declared, but not there: {n}" for n in sorted(self.public - names)]
        wrong += [f"there, but declared nowhere: {n}" for n in sorted(names - self.public)]
        if wrong:
            raise Failure("\n".join(wrong))

    def static_library_defines_what_headers_declare(self):
        self.compare(names_of(global_symbols([self.library + ".a"])))

    def shared_library_exports_what_headers_declare(self):
        self.compare(names_of(dynamic_names(self.library + ".so")))

    def no_name_belongs_to_libc(self):
        libc = run([ninja_variable("cc"), "-print-file-name=libc.so.6"]).strip()
        both = dynamic_names(libc) & self.all
        if both:
            raise Failure("libc has these as well: " + " ".join(sorted(both)))

    def programs_may_use_internal_names_and_replace_hooks(self):
        source = self.scratch + "/names.c"
        with open(source, "w", encoding="utf-8") as f:
            f.writelines(f"void {n}(void) {{ __builtin_trap(); }}\n" for n in self.internal)
        self.external.installs()
        for static in (False, True):
            # -rdynamic, so that the shared library would find these first.
            program = self.external.build("symbols.c", f"names{static:d}", static,
                                          ["-rdynamic", "-fno-builtin", source])
            out = run([program])
            if out != "own hook: *wanted == 1\n":
                raise Failure("unexpected output: " + out)

    def judge_knows_declared_names_from_others(self):
        header = self.scratch + "/a.h"
        with open(header, "w", encoding="utf-8") as f:
            f.write("int one(int four);\n#define one(x) one((x) + 1)\nextern int two[];\n"
                    "#define two two_\nextern __thread char three;\n"
                    "struct four { int five; };\nenum { six };\n#define seven eight\n")
        names = ["five", "four", "one", "seven", "six", "three", "two"]
        found = undeclared(names, [header], [ninja_variable("cc"), "-std=gnu17"])
        if found != {"five", "four", "six", "seven"}:
            raise Failure("undeclared: " + " ".join(sorted(found)))

    def judge_refuses_headers_that_do_not_compile(self):
        header = self.scratch + "/broken.h"
        with open(header, "w", encoding="utf-8") as f:
            f.write("int one(;\n")
        judge = [sys.executable, os.path.join(ROOT, "analysis/internal_names.py"), "--headers",
                 self.scratch, "--out", self.scratch + "/out", self.library + ".a", "--",
                 ninja_variable("cc"), "-std=gnu17"]
        done = subprocess.run(judge, text=True, stderr=subprocess.PIPE)
        if not done.returncode or "broken.h" not in done.stderr:
            raise Failure("accepted: " + done.stderr)
        os.unlink(header)

    def cases(self):
        return [self.static_library_defines_what_headers_declare,
                self.shared_library_exports_what_headers_declare,
                self.no_name_belongs_to_libc,
                self.programs_may_use_internal_names_and_replace_hooks,
                self.judge_knows_declared_names_from_others,
                self.judge_refuses_headers_that_do_not_compile]


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
