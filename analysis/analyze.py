#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs clang's static analyzer over one file, with the set-up that reads contract.h.

    analyze.py --clang CLANG --depfile D --result OUT SOURCE -- FLAGS
        no finding: writes OUT, status 0; findings are printed, status 1
    analyze.py --clang CLANG --depfile D --verify OUT SOURCE -- FLAGS
        SOURCE is a corpus file: its findings must be exactly its karc-warning comments

What the analyzer is told for every file stands in analysis/flags, which the build reads as well: it
runs clang itself, and this only where clang says anything.  A finding that is wrong can be silenced
in analysis/suppressions.txt, with the reason.
"""

import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FINDING = re.compile(r"^(\S+?):(\d+):\d+: (?:warning|error): (.*)$")


def suppressions():
    """(file suffix, text of the finding) pairs; the line after each '#' block is one entry."""
    path = os.path.join(HERE, "suppressions.txt")
    entries = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                line = line.strip()
                if line and not line.startswith("#"):
                    where, _, text = line.partition(": ")
                    entries.append((where, text))
    return entries


def pkg_config_cflags(source):
    """Tests include cmocka.h; its place is pkg-config's business."""
    if "tests/" not in source:
        return []
    ask = subprocess.run(["pkg-config", "--cflags", "cmocka"], capture_output=True, text=True)
    return ask.stdout.split() if ask.returncode == 0 else []


def run(args):
    flags = args["flags"] + pkg_config_cflags(args["source"])
    if args["mode"] == "--verify":
        # Text output would add notes, which -verify would then want to see announced as well.
        extra = ["-Xclang", "-verify=karc", "-o", args["out"] + ".plist"]
    else:
        extra = ["-Xclang", "-analyzer-output=text"]
    for word in ("-dependency-file", args["depfile"], "-MT", args["out"]):
        extra += ["-Xclang", word]
    result = subprocess.run([args["clang"], "@" + os.path.join(HERE, "flags")] + extra + flags
                            + [args["source"]], capture_output=True, text=True)
    text = result.stdout + result.stderr
    if args["mode"] == "--verify":
        return result.returncode != 0, text
    findings = []
    known = suppressions()
    for line in text.splitlines():
        match = FINDING.match(line)
        if match and not any(match.group(1).endswith(w) and t in match.group(3)
                             for w, t in known):
            findings.append(line)
    return bool(findings) or (result.returncode != 0), text


def parse(argv):
    cut = argv.index("--")
    args = dict(zip(("clang", "depfile"), (argv[1], argv[3])))
    args["mode"], args["out"], args["source"] = argv[4:7]
    args["flags"] = argv[cut + 1:]
    return args


def main():
    args = parse(sys.argv[1:])
    if not shutil.which(args["clang"]):
        sys.exit(f"analyze: {args['clang']} is not installed; ./configure.py --install brings it")
    failed, text = run(args)
    if failed:
        sys.stdout.write(text)
        print(f"analyze: findings in {args['source']}" if args["mode"] == "--result" else
              f"analyze: {args['source']} is not diagnosed as its comments say")
        return 1
    with open(args["out"], "w", encoding="utf-8") as f:
        f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
