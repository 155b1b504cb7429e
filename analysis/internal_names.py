#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the names that the library has for itself: the global symbols of some object files that
no public header declares.

    internal_names.py --headers DIR --out FILE OBJECT... -- CC FLAG...

The compiler is the judge: after all headers below DIR, `sizeof(&name)` is an error exactly for a
name that they do not declare.  Such a name's own symbol goes on the list, and what the compiler
adds beside it (gcc's __odr_asan.name).  FILE is left alone when it would not change.
"""

import argparse
import os
import re
import subprocess
import sys

ERROR = re.compile(r"^(.*?)(?::(\d+))?(?::\d+)?: (?:fatal )?error: ", re.M)


def global_symbols(objects):
    out = subprocess.run(["nm", "-g", "--defined-only", *objects], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return sorted({line.split()[2] for line in out.splitlines() if len(line.split()) == 3})


def c_name(symbol):
    return symbol.rpartition(".")[2]


def headers_below(directory):
    for where, dirs, files in os.walk(directory):
        dirs.sort()
        yield from (os.path.join(where, f) for f in sorted(files) if f.endswith(".h"))


def undeclared(names, headers, compiler):
    """Those of the sorted @names that no header declares."""
    text = "".join(f'#include "{os.path.abspath(h)}"\n' for h in headers)
    text += "".join(f"#undef {name}\n" for name in names) + '#line 1 "probe"\n'
    text += "".join(f'_Static_assert(sizeof(&{name}), "");\n' for name in names)
    is_clang = "clang" in subprocess.run([compiler[0], "--version"], text=True,
                                         stdout=subprocess.PIPE).stdout
    done = subprocess.run([*compiler, "-w", "-fsyntax-only", "-x", "c", "-",
                           *(["-ferror-limit=0"] if is_clang else [])],
                          input=text, text=True, stderr=subprocess.PIPE,
                          env=dict(os.environ, LC_ALL="C"))
    errors = ERROR.findall(done.stderr)
    if any(where != "probe" for where, _ in errors) or bool(errors) != bool(done.returncode):
        sys.exit("internal_names: the public headers do not compile together\n" + done.stderr)
    return {names[int(line) - 1] for _, line in errors}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--headers", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("objects", nargs="+")
    split = sys.argv.index("--")
    args = p.parse_args(sys.argv[1:split])
    symbols = global_symbols(args.objects)
    names = sorted({c_name(s) for s in symbols})
    internal = undeclared(names, headers_below(args.headers), sys.argv[split + 1:])
    text = "".join(s + "\n" for s in symbols if c_name(s) in internal)
    if os.path.exists(args.out):
        with open(args.out, encoding="utf-8") as f:
            if f.read() == text:
                return
    with open(args.out, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
