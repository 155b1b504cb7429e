#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the tests of `karc replay` share: running it, changed recordings, running tests."""

import concurrent.futures
import glob
import json
import os
import re
import subprocess
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))
VARIANT = os.environ.get("KARC_VARIANT_NAME", "release")
TRACES = sorted(glob.glob(os.path.join(ROOT, "examples/traces/*.trace")))
# The runner asks for one mode where only that one is of interest.
MODES = [mode for mode in ("deterministic", "parallel")
         if mode == os.environ.get("KARC_TEST_MODE", mode)]


def trace(name):
    return os.path.join(ROOT, "examples/traces", name)


def replay(path, *options):
    return subprocess.run([KARC, "replay", path, *options], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=100)


def report(path, *options):
    done = replay(path, "--json", *options)
    assert done.returncode == 0, (path, options, done.stderr[:800], done.stdout[:400])
    return json.loads(done.stdout)


def in_pairs(function, cases):
    """function(*case) for every case, two at a time; the first failure is raised."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(function, *case) for case in cases]:
            future.result()


def split(name):
    """The lines of a shipped recording: head with `calls`, body without the last line."""
    with open(trace(name), encoding="utf-8") as f:
        lines = f.read().splitlines()
    first = lines.index("calls") + 1
    return lines[:first], lines[first:-1]


def write(scratch, name, head, body):
    """A recording of these lines; its path."""
    path = os.path.join(scratch, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(head + body + ["end %d" % len(body)]) + "\n")
    return path


def changed(scratch, name, change, tasks=None):
    """A copy of a shipped recording whose body went through @change; its path."""
    head, body = split(name)
    if tasks:
        head = ["tasks %d" % tasks if line.startswith("tasks ") else line for line in head]
    body = change(list(body)) or body
    return write(scratch, name, head, body)


def body_of(name, call):
    """Position in the body of the first line that matches @call."""
    _, body = split(name)
    for i, line in enumerate(body):
        if re.search(call, line):
            return i
    raise AssertionError("no line %r in %s" % (call, name))


def run(tests):
    """Runs functions that take a directory of their own; prints as CMocka does."""
    failed = 0
    for test in tests:
        print("[ RUN      ] %s" % test.__name__, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                test(scratch)
                print("[       OK ] %s" % test.__name__, flush=True)
            except Exception:       # a broken test is a failed test, the others go on
                failed += 1
                traceback.print_exc()
                print("[  FAILED  ] %s" % test.__name__, flush=True)
    return 1 if failed else 0
