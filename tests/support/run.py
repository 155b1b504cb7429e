#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs test programs and counts their test cases.

    run.py --variant V --build DIR --root DIR TEST...

A TEST is a CMocka program, whose output is parsed, or a .py script, which is one test case unless
it prints lines in CMocka's form itself.  Two run at a time, each with a time limit.  The output of
what failed is printed in full.  The last line is always "N passed, N failed"; cases that were
skipped are in neither number, and a line before says how many there were.

The variant tsan skips deterministic mode (KARC_TEST_MODE, see fixture.h), because it runs in one
host thread, where the thread sanitizer sees nothing that the other variants do not.  Not so in
tests/hw: that fibers and the sanitizer know of each other is shown there, in both modes.
"""

import argparse
import concurrent.futures
import ctypes
import os
import signal
import subprocess
import sys
import time

TIMEOUT_SECONDS = 300
JOBS = 2
ADDR_NO_RANDOMIZE = 0x0040000


class Result:
    def __init__(self, name):
        self.name = name
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.output = ""
        self.seconds = 0.0

    def fail(self, what):
        self.failed += 1
        self.failures.append(what)


def count_cases(result, text):
    """A case runs from its [ RUN ] line to the first verdict; one that has none died."""
    current = None
    for line in text.splitlines():
        tag, _, rest = line.partition("] ")
        tag = tag.strip("[ ")
        if not line.startswith("["):
            continue
        if tag == "RUN":
            if current is not None:
                result.fail(current + " (no verdict)")
            current = rest.strip()
        elif current is not None and tag in ("OK", "FAILED", "ERROR", "SKIPPED"):
            if tag == "OK":
                result.passed += 1
            elif tag == "SKIPPED":
                result.skipped += 1
            else:
                result.fail(current)
            current = None
    if current is not None:
        result.fail(current + " (died)")


def without_address_randomisation():
    """For the tests, which inherit it: the thread sanitizer of gcc 12 refuses wide randomisation."""
    libc = ctypes.CDLL(None)
    libc.personality(libc.personality(0xffffffff) | ADDR_NO_RANDOMIZE)


def child_environment(args, path):
    env = dict(os.environ)
    if args.variant == "tsan" and os.path.basename(os.path.dirname(path)) != "hw":
        env.setdefault("KARC_TEST_MODE", "parallel")
    env["KARC_ROOT"] = os.path.abspath(args.root)
    env["KARC_BUILD"] = os.path.abspath(args.build)
    env["KARC_VARIANT_NAME"] = args.variant
    env["KARC_PROGRAM"] = os.path.join(env["KARC_BUILD"], "karc")
    env.pop("CMOCKA_MESSAGE_OUTPUT", None)
    env.pop("CMOCKA_TEST_ABORT", None)
    return env


def wait_for(child, timeout):
    """Its output and status; past @timeout its whole session ends, so that the pipe closes."""
    try:
        return child.communicate(timeout=timeout)[0], child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.communicate()[0] + f"\n(ended after {timeout} s)\n", "time limit"


def run_one(args, path):
    result = Result(os.path.splitext(os.path.relpath(path, args.build))[0])
    script = path.endswith(".py")
    if script:
        result.name = os.path.splitext(os.path.relpath(path, args.root))[0]
    command = ([sys.executable] if script else []) + [os.path.abspath(path)]
    start = time.monotonic()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, cwd=args.root,
                                 env=child_environment(args, path), start_new_session=True,
                                 text=True, errors="replace")
        output, status = wait_for(child, args.timeout)
    except OSError as error:
        output, status = f"cannot run {path}: {error}\n", "not run"
    result.seconds = time.monotonic() - start
    result.output = output
    count_cases(result, output)
    if script and status == 0 and not (result.passed or result.failed or result.skipped):
        result.passed = 1
    if status != 0 and not result.failed:
        result.fail(f"exit status {status}")
    if not (result.passed or result.failed or result.skipped):
        result.fail("ran no test")
    return result


def show(result, number, total, colour):
    good = not result.failed
    word = "ok" if good else "FAILED"
    if colour:
        word = f"\033[{32 if good else 31}m{word}\033[0m"
    skipped = f", {result.skipped} skipped" if result.skipped else ""
    print(f"[{number}/{total}] {word} {result.name}: {result.passed} passed, "
          f"{result.failed} failed{skipped} ({result.seconds:.1f} s)", flush=True)
    if not good:
        print("---- output of " + result.name)
        print(result.output.rstrip("\n"))
        print("---- failed in " + result.name + ": " + ", ".join(result.failures), flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--variant", default="release")
    p.add_argument("--build", default="build")
    p.add_argument("--root", default=".")
    p.add_argument("--jobs", type=int, default=JOBS)
    p.add_argument("--timeout", type=int, default=TIMEOUT_SECONDS)
    p.add_argument("tests", nargs="*")
    args = p.parse_args()
    if args.variant == "tsan":
        without_address_randomisation()
    colour = sys.stdout.isatty()
    passed = failed = skipped = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        waiting = [pool.submit(run_one, args, t) for t in args.tests]
        for number, done in enumerate(concurrent.futures.as_completed(waiting), 1):
            result = done.result()
            show(result, number, len(waiting), colour)
            passed += result.passed
            failed += result.failed
            skipped += result.skipped
    if not args.tests:
        print("no tests given")
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
