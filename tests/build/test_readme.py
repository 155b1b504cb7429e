#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: what README.md points at is there.

Method: every relative link leads to a file; every test that the table of who has what names in
karc's column is a test function, a row of a table of cases, or a file under tests/; every verb of
the program that README shows is one that the program knows.
"""

import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
BUILD = os.path.abspath(os.environ.get("KARC_BUILD") or os.path.join(ROOT, "build"))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def section(readme, title):
    """The text between a heading and the next one."""
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", readme, re.M | re.S)
    return match.group(1) if match else ""


def links_lead_somewhere(readme):
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in t]
    gone = [t for t in targets if not os.path.exists(os.path.join(ROOT, t))]
    return [f"link to {t}, which does not exist" for t in gone] or \
        ([] if targets else ["no links found: has the reader of links gone blind?"])


def named_tests_exist(readme):
    sources = [path for kind in ("*.c", "*.h", "*.py")
               for path in glob.glob(os.path.join(ROOT, "tests", "**", kind), recursive=True)]
    words = set()
    for path in sources:
        words.add(os.path.basename(path))
        words.add(os.path.relpath(path, ROOT))
        with open(path, encoding="utf-8") as f:
            words.update(re.findall(r"\w+", f.read()))
    rows = [line.split("|")[2] for line in section(readme, "Who has what").splitlines()
            if line.startswith("|")][2:]
    names = [name for row in rows for name in re.findall(r"`([^` ]+)`", row)
             if not name.startswith("analysis/")]
    if len(names) < 20:
        return [f"only {len(names)} tests are named in the table of who has what"]
    return [f"the table of who has what names {n}, which no test is called"
            for n in names if n not in words]


def shown_verbs_exist(readme):
    shown = set(re.findall(r"^    \$ build/karc (\w+)", readme, re.M))
    said = subprocess.run([os.path.join(BUILD, "karc"), "--help"], capture_output=True, text=True)
    known = set(re.findall(r"\w+", said.stdout + said.stderr))
    return [f"karc {verb} is shown, and karc --help does not know it" for verb in shown - known] \
        or ([] if shown else ["README shows no command"])


def main():
    readme = read("README.md")
    failed = 0
    for case in (links_lead_somewhere, named_tests_exist, shown_verbs_exist):
        print(f"[ RUN      ] {case.__name__}")
        faults = case(readme)
        failed += bool(faults)
        for fault in faults:
            print(fault)
        print(f"[  FAILED  ] {case.__name__}" if faults else f"[       OK ] {case.__name__}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
