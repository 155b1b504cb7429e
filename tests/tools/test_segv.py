#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: `karc run segv` says of every pointer what the host's kernel really does with it.

Method: host_segv.c, a plain C program, prepares the same memory and uses the same pointer on the
host, one process for each case; signal, si_code, si_addr as an offset from the pointer, handled
page faults, the value read afterwards and whether the frame stayed the same must equal what karc's
run reported, with several CPUs and in both modes.  The comparison itself is tested: a report with
any of these changed must be found to differ.
"""

import functools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))

SIGSEGV, SI_KERNEL = 11, 128
UNABLE = 3                      # host_segv's exit status when the host does not allow to try
# The runner asks for one mode where only that one is of interest.
MODES = [mode for mode in ("deterministic", "parallel")
         if mode == os.environ.get("KARC_TEST_MODE", mode)]
MACHINES = [(cpus, mode) for mode in MODES for cpus in ("1", "4", "8")]


class Skip(Exception):
    pass


def run(*arguments, expect=0):
    done = subprocess.run([KARC, "run", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == expect, "karc run %s: status %d, %s...%s" % (
        " ".join(arguments), done.returncode, done.stderr[-500:], done.stdout[-300:])
    return done


def run_cases(cpus, mode):
    done = subprocess.run([KARC, "run", "segv", "--json", "--cpus", cpus, "--mode", mode],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode in (0, 1), done.stderr[-1000:]
    report = json.loads(done.stdout)
    wrong = [case["name"] for case in report["cases"] if not case["as_expected"]]
    assert not wrong and report["wrong"] == 0, "not as expected: %s" % wrong
    assert report["left"] == 0 and done.returncode == 0, "left: %d" % report["left"]
    for case in report["cases"]:        # addresses are text: not every reader has 64-bit numbers
        case["pointer"] = int(case["pointer"], 16)
        if case["signal"]:
            case["signal"]["si_addr"] = int(case["signal"]["si_addr"], 16)
    return {case["name"]: case for case in report["cases"]}


@functools.lru_cache(maxsize=None)
def karc_cases(cpus, mode):
    return run_cases(cpus, mode)


class Host:
    """The same uses on this kernel; compiled once, every case run once."""

    def __init__(self):
        if platform.machine() != "x86_64" or platform.system() != "Linux":
            raise Skip("the host is not x86-64 Linux: other signals, other address ranges")
        compiler = next((c for c in (os.environ.get("CC"), "cc", "gcc", "clang")
                         if c and shutil.which(c.split()[0])), None)
        if not compiler:
            raise Skip("no C compiler for the host's side")
        with tempfile.TemporaryDirectory() as place:
            program = os.path.join(place, "host_segv")
            subprocess.run([*compiler.split(), "-O1", "-pthread", "-o", program,
                            os.path.join(HERE, "host_segv.c")], check=True)
            names = subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True,
                                   check=True, timeout=60).stdout.split()
            self.cases = {name: self.use(program, name) for name in names}

    @staticmethod
    def use(program, name):
        done = subprocess.run([program, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=60)
        if done.returncode == UNABLE:
            return {"unable": done.stderr.strip()}
        assert done.returncode == 0, (name, done)
        return json.loads(done.stdout)


def first_line(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.readline()
    except OSError:
        return ""


def cpu_flags():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        return next((set(line.split()) for line in f if line.startswith("flags")), set())


def known_reason(name, host):
    """Why this host may answer otherwise than the kernel that karc models, or None."""
    flags = cpu_flags()
    if "unable" in host:
        return host["unable"]
    if name == "stack-gap" and "stack_guard_gap=" in first_line("/proc/cmdline"):
        return "the kernel's command line sets another stack_guard_gap"
    if name in ("stack-exec", "heap-exec") and "nx" not in flags:
        return "this CPU has no NX bit: what can be read can be executed"
    if name == "kernel" and "hypervisor" in flags and \
            (host["signo"], host["si_code"]) == (SIGSEGV, SI_KERNEL):
        return "this hypervisor reports the access as a general-protection fault"
    return None


def outcome_of_host(host):
    """What must be equal.  Addresses differ, so si_addr counts from the pointer."""
    said = (host["signo"], host["si_code"])
    where = host["si_addr"] - host["pointer"] if host["si_code"] != SI_KERNEL else host["si_addr"]
    return {"signal": said + (where,) if host["signo"] else None, "handled": host["handled"],
            "value": None if host["signo"] else host["value"],
            "sharer": host["sharer_value"] if host["sharer_value"] >= 0 else None}


def outcome_of_karc(case):
    signal = case["signal"]
    if signal:
        where = signal["si_addr"]
        if signal["si_code"] != SI_KERNEL:
            where -= case["pointer"]
        signal = (signal["signo"], signal["si_code"], where)
    return {"signal": signal, "handled": case["handled"], "value": case.get("value"),
            "sharer": case.get("sharer_value")}


def frame_kept(before, after):
    """Did the entry keep its frame?  None: there was none, or the host does not tell."""
    return before == after if before and after else None


def difference(case, host):
    """None, or what differs between karc's report of a case and the host's."""
    if "unable" in host:
        return "%s: not done on the host" % case["name"]
    ours, theirs = outcome_of_karc(case), outcome_of_host(host)
    if case["name"] == "stack":     # what a loader and what a compiler put there
        ours["value"] = theirs["value"]
    if ours != theirs:
        return "%s: karc %s, host %s" % (case["name"], ours, theirs)
    if not ours["signal"]:
        kept = frame_kept(host["frame_before"], host["frame_after"])
        mine = frame_kept(case["frame_before"], case["frame_after"])
        if kept is not None and kept != mine:
            return "%s: karc %s the frame, the host %s" % (
                case["name"], "keeps" if mine else "changes", "keeps it" if kept else "does not")
    return None


def every_pointer_ends_as_on_the_host(host, machine):
    cases = karc_cases(*machine)
    assert set(cases) == set(host.cases), set(cases) ^ set(host.cases)
    found, skipped = [], []
    for name, case in cases.items():
        problem = difference(case, host.cases[name])
        reason = problem and known_reason(name, host.cases[name])
        if reason:
            skipped.append("%s: %s" % (name, reason))
        elif problem:
            found.append(problem)
    for line in skipped:
        print("not compared: " + line)
    assert not found, "\n".join(found)
    assert len(cases) - len(skipped) >= 30, "too little was compared"


def a_difference_is_found(host, _):
    """Every compared fact, changed in every case's report, makes the comparison fail."""
    for name, case in karc_cases("1", "deterministic").items():
        theirs = host.cases[name]
        if "unable" in theirs:
            continue
        changes = [{"handled": case["handled"] + 1}]
        if case["signal"]:
            changes += [{"signal": dict(case["signal"], **{field: case["signal"][field] + 1})}
                        for field in ("signo", "si_code", "si_addr")]
            changes.append({"signal": None, "value": 0})
        else:
            changes.append({"signal": {"signo": SIGSEGV, "si_code": 1,
                                       "si_addr": case["pointer"]}})
            if name != "stack":
                changes.append({"value": case["value"] + 1})
            if theirs["frame_before"] and theirs["frame_after"]:
                kept = case["frame_before"] == case["frame_after"]
                changes.append({"frame_after": case["frame_before"] + (1 if kept else 0)})
        if "sharer_value" in case:
            changes.append({"sharer_value": 0})
        for change in changes:
            assert difference(dict(case, **change), theirs), (name, change)


def what_was_looked_at_is_what_decided(_, machine):
    """The marks, the records of the faults and the signal tell one story."""
    for case in karc_cases(*machine).values():
        looked, faults, signal = case["looked_at"], case["faults"], case["signal"]
        if not faults:
            assert looked["vma"] is None and looked["user_half"] is None, case
            assert signal is None or looked["canonical"] is False, case
            continue
        assert looked["tlb"] is False and looked["tables"] is False, case
        assert len(faults) == case["handled"] + (signal is not None), case
        names = [step[0] for step in case["steps"]]
        assert names.count("do_user_addr_fault") == len(faults), case
        if signal is None:
            assert looked["page"] is True and looked["rights"] is True, case
            assert "bad_area" not in names and "do_sigbus" not in names, case
        elif signal["name"] == "SIGSEGV SEGV_ACCERR":
            assert looked["vma"] is True and looked["rights"] is False, case
            assert names[-2:] == ["bad_area", "force_sig_fault"], case
            assert "access_error" in names, case
        elif signal["name"] == "SIGSEGV SEGV_MAPERR":
            assert looked["rights"] is None and looked["vma"] is not True, case
            assert names[-2:] == ["bad_area", "force_sig_fault"], case
            assert "access_error" not in names, case
        else:
            assert signal["name"] == "SIGBUS BUS_ADRERR" and looked["page"] is False, case
            assert names[-2:] == ["do_sigbus", "force_sig_fault"], case


def the_steps_that_each_case_is_about(_, machine):
    cases = karc_cases(*machine)

    def steps(name):
        return " / ".join("%s %s" % tuple(step) for step in cases[name]["steps"])

    for name, text in (("heap-read", "zero page"), ("heap-write", "fresh page"),
                       ("stack-grow", "expand_stack grown by 64 KiB"),
                       ("stack-limit", "RLIMIT_STACK is 8192 KiB"),
                       ("stack-gap", "guard gap 1024 KiB"),
                       ("cow-copy", "_refcount 2, mapcount 2 / wp_page_copy"),
                       ("cow-reuse", "_refcount 1, mapcount 1 / wp_page_reuse"),
                       ("file-shared", "do_shared_fault shared file page written"),
                       ("file", "page 0 of /tmp/notes (6144 bytes): loaded"),
                       ("file-end", "the file has no such page"),
                       ("hole", "is the next above it"),
                       ("last-page", "fault_in_kernel_space"), ("kernel", "fault_in_kernel_space")):
        assert text in steps(name), (name, text, steps(name))
    for name in ("mapped", "mapped-again", "stack", "thread-stack"):
        assert cases[name]["steps"] == [], cases[name]
    assert steps("no-address") == "force_sig_fault SIGSEGV, si_code 128, si_addr 0x0"
    assert cases["mapped"]["looked_at"]["tlb"] is False, "a walk"
    assert cases["mapped-again"]["looked_at"]["tlb"] is True, "no walk"
    assert len(cases["heap-exec"]["faults"]) == 2
    assert cases["unmapped"]["tlb_was_held"] and not cases["unmapped"]["tlb_held"]


def the_table_fits_and_tells(_, machine):
    cpus, mode = machine
    text = run("segv", "--cpus", cpus, "--mode", mode).stdout
    assert all(len(line) <= 100 for line in text.splitlines()), "a line is too long"
    assert "\033" not in text and "NOT" not in text
    table = text[text.index("  case "):]
    rows = [line.split()[0] for line in table.splitlines() if line.startswith("  ")]
    names = [line.split()[0] for line in run("--list", "segv").stdout.splitlines()]
    assert [row for row in rows if row in names] == names, "a row for each case, in order"
    assert "nothing: every object gone" in text
    # The same facts as for programs.
    for name, case in karc_cases(cpus, mode).items():
        row = next(line for line in table.splitlines() if line.startswith("  " + name + " "))
        assert hex(case["pointer"]) in row
        assert (case["signal"]["name"] if case["signal"] else "SIG") in row or not case["signal"]


def the_readme_shows_this_table(_, machine):
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        readme = f.read()
    text = run("segv", "--cpus", machine[0], "--mode", machine[1]).stdout
    for line in text[text.index("  case "):text.index("\nSo\n")].splitlines():
        assert not line or "    " + line in readme, "README.md lacks: " + line
    story = run("segv", "stack-gap").stdout
    begin = readme.index("$ build/karc run segv stack-gap\n")
    for line in readme[begin:readme.index("\n\n", begin)].splitlines()[1:]:
        assert line == "    ..." or line[4:] in story, "README.md has: " + line


def every_case_has_a_story(_, machine):
    cpus, mode = machine
    for name in (line.split()[0] for line in run("--list", "segv").stdout.splitlines()):
        text = run("segv", name, "--cpus", cpus, "--mode", mode).stdout
        assert text.startswith(name + ": ") and "What happens" in text and "  ok " in text, text
        assert all(len(line) <= 100 for line in text.splitlines()), text
    assert run("segv", "--case", "null").stdout == run("segv", "null").stdout


def a_run_is_the_same_each_time(_, machine):
    """Facts do not depend on the host's threads; in deterministic mode not on anything."""
    cpus, mode = machine
    keep = ("name", "pointer", "looked_at", "signal", "handled", "value", "mapped_there")
    runs = {json.dumps([[case.get(k) for k in keep] for case in run_cases(cpus, mode).values()])
            for _ in range(3)}
    assert len(runs) == 1


def main():
    failed = passed = 0
    host = None
    one, two = [("1", "deterministic")], [("1", "deterministic"), ("4", "parallel")]
    plan = [(every_pointer_ends_as_on_the_host, MACHINES), (a_difference_is_found, one),
            (the_readme_shows_this_table, one), (what_was_looked_at_is_what_decided, MACHINES),
            (the_steps_that_each_case_is_about, MACHINES), (the_table_fits_and_tells, MACHINES),
            (every_case_has_a_story, two), (a_run_is_the_same_each_time, two)]
    plan = [(test, machine) for test, machines in plan for machine in machines
            if machine[1] in MODES]
    for test, machine in plan:
        title = "%s (%s CPUs, %s)" % (test.__name__, *machine)
        print("[ RUN      ] " + title)
        try:
            if test in (every_pointer_ends_as_on_the_host, a_difference_is_found):
                host = host or Host()
            test(host, machine)
            passed += 1
            print("[       OK ] " + title)
        except Skip as reason:
            print("[  SKIPPED ] %s: %s" % (title, reason))
        except Exception as problem:    # a broken test is a failed test, the others go on
            failed += 1
            print("[  FAILED  ] %s: %s: %s" % (title, type(problem).__name__, problem))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
