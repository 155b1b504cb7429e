#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: build.ninja in the tree is what configure.py writes, here and anywhere else.

Method: the source tables and the lists of headers are copied to a directory of another name and
configured there; the bytes must equal those in the tree, and must mention no place.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.environ.get("KARC_ROOT") or os.path.join(os.path.dirname(__file__), "../..")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def case(name, good, why=""):
    print(f"[ RUN      ] {name}")
    print(f"[{'       OK' if good else '  FAILED '} ] {name}" + ("" if good else f"\n{why}"))
    return good


def names_place(text, path):
    """Does @path stand there as an absolute path, not as the end of a longer one?"""
    return len(path) > 2 and re.search(rb"(?<![\w.$})/-])" + re.escape(path.encode()) + rb"(?![\w-])",
                                       text)


def main():
    committed = read(os.path.join(ROOT, "build.ninja"))
    with tempfile.TemporaryDirectory() as elsewhere:
        copy = os.path.join(elsewhere, "some where", "else")
        os.makedirs(copy)
        shutil.copy(os.path.join(ROOT, "configure.py"), copy)
        for top in ("include", "analysis/corpus"):
            shutil.copytree(os.path.join(ROOT, top), os.path.join(copy, top))
        env = {"PATH": "/usr/bin:/bin", "CI": "true", "PREFIX": "/odd", "CC": "odd-cc"}
        subprocess.run([sys.executable, "configure.py"], cwd=copy, env=env, check=True)
        fresh = read(os.path.join(copy, "build.ninja"))
        subprocess.run([sys.executable, "configure.py", "--all-variants"], cwd=copy, env=env,
                       check=True)
        again = read(os.path.join(copy, "build.ninja"))
    good = case("regenerating_elsewhere_gives_the_same_bytes", fresh == committed,
                "run ./configure.py and commit build.ninja")
    good &= case("writing_all_variants_gives_the_same_default", again == fresh)
    good &= case("it_names_no_place", not names_place(committed, os.path.realpath(ROOT)) and
                 not names_place(committed, os.path.expanduser("~")))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
