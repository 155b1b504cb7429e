#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: whatever in a recording is different from what karc answers is a finding with its line, so
that a replay without a finding means something.

Method: in the shipped recordings one value is changed at a time, of every kind that is compared,
and each change must be found. One that breaks the grammar or the order of numbers may be found by
the reader (exit status 2) instead of the comparison (1); it must name the line or a later one.
"""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from replay_case import TRACES, VARIANT, in_pairs, replay, report, run, split, write
from test_replay_order import SIZE, Story, mmap

PER_TRACE = 2 if VARIANT == "release" else 1    # changes of one kind in one recording
PAGE = 4096
FEW = ("ls", "maps", "remap", "shared", "spawn")


def changed_number(text, by):
    base = 16 if text.startswith("0x") else 10
    value = int(text, base) + by
    return "0x%x" % value if base == 16 else "%d" % value


def result(line, by):
    """The line with another result; outputs stay."""
    head, rest = line.split(" = ", 1)
    word, _, outputs = rest.partition(" ")
    return "%s = %s%s" % (head, changed_number(word, by), " " + outputs if outputs else "")


def output(line, nr, by):
    head, rest = line.split(" = ", 1)
    words = rest.split(" ")
    words[1 + nr] = changed_number(words[1 + nr], by)
    return head + " = " + " ".join(words)


def failed(line, errno):
    return line.split(" = ", 1)[0] + " = -" + errno


MAPS = r"^\d+ maps \d+ \d+ line "


def maps(line, field, change):
    """A line of maps text with one field changed: start, end, rights, offset, name."""
    parts = re.match(MAPS + r"(\w+)-(\w+) (\S{4}) (\w+)( .*)$", line)
    if not parts:
        return line
    return line[:parts.start(field)] + change(parts.group(field)) + line[parts.end(field):]


def other_digit(text):
    return "%x" % ((int(text[0], 16) + 1) % 16) + text[1:]


def kinds():
    """What is changed: name, lines it is for, how."""
    whole = r"^\d+ (< )?%s( .*)? = "
    return [
        ("mmap address", whole % "mmap" + "0x7", lambda s: result(s, -PAGE)),
        ("mmap address up", whole % "mmap" + "0x7", lambda s: result(s, 16 * PAGE)),
        ("mmap fails", whole % "mmap" + "0x", lambda s: failed(s, "ENOMEM")),
        ("munmap fails", whole % "munmap" + "0$", lambda s: failed(s, "EINVAL")),
        ("mprotect fails", whole % "mprotect" + "0$", lambda s: failed(s, "ENOMEM")),
        ("madvise fails", whole % "madvise" + "0$", lambda s: failed(s, "ENOMEM")),
        ("mlock fails", whole % "mlock2?" + "0$", lambda s: failed(s, "ENOMEM")),
        ("msync fails", whole % "msync" + "0$", lambda s: failed(s, "ENOMEM")),
        ("mincore fails", whole % "mincore" + "0$", lambda s: failed(s, "ENOMEM")),
        ("brk", whole % "brk" + "0x", lambda s: result(s, PAGE)),
        ("mremap address", whole % "mremap" + "0x", lambda s: result(s, -PAGE)),
        ("mremap fails", whole % "mremap" + "0x", lambda s: failed(s, "EFAULT")),
        ("shmget other segment", whole % "shmget" + r"\d+$", lambda s: failed(s, "ENOENT")),
        ("shmat address", whole % "shmat" + "0x", lambda s: result(s, -PAGE)),
        ("shmctl size", whole % "shmctl" + r"0 \d+ \d+$", lambda s: output(s, 0, 1)),
        ("shmctl attached", whole % "shmctl" + r"0 \d+ \d+$", lambda s: output(s, 1, 1)),
        ("open number", whole % "openat" + r"\d+ @", lambda s: result(s, 1)),
        ("memfd number", whole % "memfd_create" + r"\d+ @", lambda s: result(s, 1)),
        ("dup number", whole % "dup" + r"\d+$", lambda s: result(s, 1)),
        ("fcntl dup number", r"^\d+ fcntl \d+ (0|1030) .* = \d+$", lambda s: result(s, 1)),
        ("socket number", whole % "(socket|epoll_create1|eventfd2)" + r"\d+$",
         lambda s: result(s, 1)),
        ("pipe numbers", whole % "pipe2" + "0 ", lambda s: output(s, 0, 40)),
        ("pipe second number", whole % "pipe2" + "0 ", lambda s: output(s, 1, 40)),
        ("close fails", whole % "close" + "0$", lambda s: failed(s, "EBADF")),
        ("dup2 fails", whole % "dup2" + r"\d+$", lambda s: failed(s, "EBADF")),
        ("child number", whole % "(clone|clone3|vfork|fork)" + r"[1-9]\d*", lambda s: result(s, 1)),
        ("child number down", whole % "(clone|clone3|vfork|fork)" + r"[1-9]\d*",
         lambda s: result(s, -1)),
        ("own number", whole % "(getpid|gettid|set_tid_address)" + r"[2-9]$",
         lambda s: result(s, -1)),
        ("parent's number", whole % "getppid" + r"\d+$",
         lambda s: failed(s, "EPERM") if s.endswith(" 0") else result(s, -1)),
        ("waited for another", whole % "wait4" + r"[2-9] 0x", lambda s: result(s, -1)),
        ("status", whole % "wait4" + r"[1-9]\d* 0x", lambda s: output(s, 0, 0x100)),
        ("status of waitid", whole % "waitid" + r"0 [1-9]", lambda s: output(s, 2, 1)),
        ("end", r"^\d+ exited 0$", lambda s: s[:-1] + "9"),
        ("signal to nobody", whole % "t?g?kill" + "0$", lambda s: failed(s, "ESRCH")),
        ("group", whole % "(getpgrp|getpgid|setsid|getsid)( \\d+)?" + r"[1-9]\d*$",
         lambda s: failed(s, "ESRCH")),
        ("setpgid fails", whole % "setpgid" + "0$", lambda s: failed(s, "EPERM")),
        ("limit", whole % "(prlimit64|getrlimit)" + r"0 \d+ \d+$", lambda s: output(s, 0, -1)),
        ("name of memory", whole % "prctl 1398164801" + "0$", lambda s: failed(s, "EBADF")),
        ("personality", whole % "personality" + "0x", lambda s: result(s, 1)),
        ("program's strings", r"^\d+ execve @\d+ @\d+ .* = 0$",
         lambda s: re.sub(r"^(\d+ execve @\d+ @\d+ \d+ )(\d+)", lambda m: m.group(1) +
                          changed_number(m.group(2), 8), s)),
        ("maps start", MAPS, lambda s: maps(s, 1, other_digit)),
        ("maps end", MAPS, lambda s: maps(s, 2, other_digit)),
        ("maps rights", MAPS, lambda s: maps(s, 3, lambda f: "-" + f[1:] if f[0] == "r" else
                                             "r" + f[1:])),
        ("maps offset", MAPS, lambda s: maps(s, 4, other_digit)),
        ("maps name", MAPS, lambda s: maps(s, 5, lambda f: f + "x")),
    ]


def family():
    """Calls that the shipped recordings have few of: head and body."""
    story = Story(1)
    story.head = ["tasks 3" if line.startswith("tasks ") else line for line in story.head]
    a, name = story.place(1), "prctl 1398164801 0x0"
    story.tell(f"""1 {mmap()} = {a}
                   1 mremap {a} {SIZE} {3 * SIZE} 0x1 0x0 = {story.place(4)}
                   1 {mmap()} = {a}
                   1 mlock {a} 8192 = 0
                   1 mlock2 {a} 4096 0x1 = 0
                   1 munlock {a} 8192 = 0
                   1 msync {a} 8192 0x4 = 0
                   1 mincore {a} 8192 = 0
                   1 {name} {a} 0x1000 0x0 heap = 0
                   1 madvise {a} 8192 4 = 0
                   1 dup 1 = 3
                   1 fcntl 1 1030 0x7 = 7
                   1 pipe2 = 0 4 5 0x0
                   1 setpgid 0 0 = 0
                   1 getpgrp = 1
                   1 getpgid 0 = 1
                   1 personality 0xffffffff = 0x40000
                   1 prlimit64 0 3 0 0 0 = 0 8388608 18446744073709551615
                   1 getrlimit 7 = 0 20000 20000
                   1 clone 0x1200000 17 0x0 0 0x0 0x0 0x0 = 3 -1
                   3 getppid = 1
                   3 gettid = 3
                   3 setsid = 3
                   1 getpgid 3 = 3
                   1 getsid 3 = 3
                   1 kill 3 0 = 0
                   1 tgkill 1 2 0 = 0
                   2 getpid = 1
                   2 gettid = 2
                   3 exit_group 7 = ?
                   3 exited 7
                   1 waitid 1 3 = 0 3 1 7 0x4
                   1 kill 3 0 = -ESRCH""")
    body = story.body + ["1 exit_group 0 = ?", "2 exited 0", "1 exited 0"]
    return "family.trace", story.head, body


def bases():
    """The recordings that are changed; builds that are slow do with few."""
    names = [os.path.basename(path) for path in TRACES]
    if VARIANT != "release":
        names = [name for name in names if name.split(".")[0] in FEW]
    return [(name, *split(name)) for name in names] + [family()]


# The start of the stack may be any; a change of it is none.
NO_CHANGE = ("[stack]",)


def changes_of(head, body, pattern, change):
    """Up to PER_TRACE changed bodies, from the beginning, the middle and the end."""
    where = [i for i, line in enumerate(body)
             if re.search(pattern, line) and change(line) != line and
             not any(word in line for word in NO_CHANGE)]
    if len(where) > PER_TRACE:
        where = [where[i * (len(where) - 1) // max(PER_TRACE - 1, 1)] for i in range(PER_TRACE)]
    for i in where:
        yield head, body[:i] + [change(body[i])] + body[i + 1:], i


def check_found(scratch, kind, name, head, body, i):
    path = write(scratch, "%s-%d-%s" % (kind.replace(" ", "-").replace("'", ""), i, name), head,
                 body)
    done = replay(path)
    line = len(head) + i + 1
    what = (kind, name, line, body[i], done.returncode, done.stderr[:600])
    assert done.returncode in (1, 2), what
    found = [int(n) for n in re.findall(r"%s:(\d+): " % re.escape(os.path.basename(path)),
                                        done.stderr)]
    assert found and min(found) >= line, what
    if done.returncode == 1 and not kind.startswith(LATER):
        assert min(found) == line, what
    os.unlink(path)


# What shows where it is used, not where it is told.
LATER = ("end", "open number", "socket number", "child number", "status of waitid", "close fails",
         "own number", "personality", "brk")


def every_change_is_found(scratch):
    cases, counts = [], {}
    all_bases = bases()
    for kind, pattern, change in kinds():
        for name, *lines in all_bases:
            for head, body, i in changes_of(*lines, pattern, change):
                cases.append((scratch, kind, name, head, body, i))
                counts[kind] = counts.get(kind, 0) + 1
    missing = [kind for kind, _, _ in kinds() if kind not in counts]
    print("%d changes of %d kinds" % (len(cases), len(counts)))
    assert VARIANT != "release" or not missing, missing
    in_pairs(check_found, cases)


def the_unchanged_family_matches(scratch):
    name, head, body = family()
    calls = report(write(scratch, name, head, body))["calls"]
    assert calls["matched"] == calls["replayed"] > 60 and not calls["different"], calls


def maps_that_end_too_early_are_found(scratch):
    """The line of the last mapping is left out: the end of the text comes too early."""
    head, body = split("maps.trace")
    last = max(i for i, line in enumerate(body) if re.match(r"\d+ maps ", line) and
               " line " in line)
    end = max(i for i, line in enumerate(body) if re.match(r"\d+ maps ", line))
    assert end > last, body[last:]
    offset = body[last].split()[3]
    words = body[end].split()
    words[3] = offset
    path = write(scratch, "early.trace", head, body[:last] + body[last + 1:end] +
                 [" ".join(words)] + body[end + 1:])
    done = replay(path)
    assert done.returncode == 1 and "its maps ended, karc has" in done.stderr, done


def a_line_that_karc_does_not_have_is_found(scratch):
    head, body = split("maps.trace")
    first = next(i for i, line in enumerate(body) if " line " in line)
    made_up = re.sub(r"line \S+", "line 10000-11000", body[first])
    path = write(scratch, "more.trace", head, body[:first] + [made_up] + body[first:])
    done = replay(path)
    assert done.returncode == 1, done
    assert ":%d: " % (len(head) + first + 1) in done.stderr, done.stderr


def findings_beyond_twenty_are_counted(scratch):
    head, body = split("awk.trace")
    body = [failed(line, "EINVAL") if re.search(r" mprotect .* = 0$| brk .* = 0x", line) else line
            for line in body]
    done = replay(write(scratch, "many.trace", head, body))
    assert done.returncode == 1, done.returncode
    assert done.stderr.count("expected") == 20, done.stderr
    assert "further differences are only counted" in done.stderr, done.stderr


def main():
    return run([the_unchanged_family_matches, every_change_is_found,
                maps_that_end_too_early_are_found,
                a_line_that_karc_does_not_have_is_found, findings_beyond_twenty_are_counted])


if __name__ == "__main__":
    sys.exit(main())
