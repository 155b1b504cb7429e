#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: calls that overlap match in whatever order they took effect, and only in an order that is
possible: what no order explains is a finding with its line.

Method: recordings written by hand, each with one overlap and the order it needs; and recordings
made by lot, in which threads' calls begin, take effect and end at random moments and the results
come from a model, so that an order that matches is known to be there.
"""

import os
import random
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from replay_case import VARIANT, replay, report, run, split, write

SIZE = 65536                            # larger than any hole that `ls` leaves
THREAD = "clone 0x50f00 0 0x0 0 0x0 0x0 0x0"
CALLS = 300
SEEDS = 40 if VARIANT == "release" else 6


class Story:
    """A recording: `ls` until it closes its output, @threads more threads, then what is told."""

    def __init__(self, threads=2):
        self.head, body = split("ls.trace")
        self.body = body[:next(i for i, s in enumerate(body) if s.startswith("1 close 1 "))]
        found = [int(m.group(1), 16) for m in
                 (re.match(r"1 mmap .* = (0x[0-9a-f]+)$", s) for s in self.body) if m]
        self.top = min(found)
        self.head = ["tasks %d" % (threads + 1) if s.startswith("tasks ") else s
                     for s in self.head]
        self.threads = threads
        # From here on 0, 1 and 2 are open and no other.
        self.body.append("1 close_range 3 4294967295 0x0 = 0")
        self.body += ["1 %s = %d -1" % (THREAD, i + 2) for i in range(threads)]

    def place(self, nr, size=SIZE):
        """The address of the @nr-th block of @size below the mappings of `ls`, as mmap gives."""
        return "0x%x" % (self.top - nr * size)

    def tell(self, text):
        self.body += [line.strip() for line in text.strip().splitlines()]
        return self

    def path(self, scratch):
        end = ["1 exit_group 0 = ?"] + ["%d exited 0" % (i + 2) for i in range(self.threads)]
        return write(scratch, "order.trace", self.head, self.body + end + ["1 exited 0"])


def mmap(size=SIZE):
    return "mmap 0x0 %d 0x3 0x22 -1 0x0 @-" % size


def matches(scratch, story, reordered=None):
    calls = report(story.path(scratch))["calls"]
    assert calls["matched"] == calls["replayed"] and not calls["different"], calls
    assert calls["descriptors_matched"] == calls["descriptors"], calls
    if reordered is not None:
        assert calls["reordered"] == reordered, calls


def differs(scratch, story, line):
    """No order explains it; the finding is at @line of the body's text."""
    path = story.path(scratch)
    done = replay(path)
    with open(path, encoding="utf-8") as f:
        number = f.read().splitlines().index(line) + 1
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "order.trace:%d: " % number in done.stderr, (number, done.stderr)


# ---- memory ----------------------------------------------------------------------------------

def mmap_gets_the_place_of_a_munmap_that_has_begun(scratch):
    s = Story()
    a = s.place(1)
    s.tell(f"""1 {mmap()} = {a}
               2 > munmap {a} {SIZE}
               3 {mmap()} = {a}
               2 < munmap = 0""")
    matches(scratch, s, 1)


def munmap_that_has_begun_may_come_later_too(scratch):
    s = Story()
    a, b = s.place(1), s.place(2)
    s.tell(f"""1 {mmap()} = {a}
               2 > munmap {a} {SIZE}
               3 {mmap()} = {b}
               2 < munmap = 0""")
    matches(scratch, s, 0)


def mmap_that_ends_last_was_placed_first(scratch):
    s = Story()
    s.tell(f"""2 > {mmap()}
               3 {mmap()} = {s.place(2)}
               2 < mmap = {s.place(1)}""")
    matches(scratch, s, 1)


def mmap_was_placed_before_a_munmap_that_ended_first(scratch):
    s = Story()
    a, b = s.place(1), s.place(2)
    s.tell(f"""1 {mmap()} = {a}
               3 > {mmap()}
               2 munmap {a} {SIZE} = 0
               3 < mmap = {b}
               1 {mmap()} = {a}""")
    matches(scratch, s, 1)


def one_early_call_needs_another(scratch):
    s = Story(3)
    a, b = s.place(1), s.place(2)
    s.tell(f"""1 {mmap()} = {a}
               2 > munmap {a} {SIZE}
               3 > {mmap()}
               4 {mmap()} = {b}
               1 munmap {b} {SIZE} = 0
               4 {mmap()} = {b}
               3 < mmap = {a}
               2 < munmap = 0""")
    matches(scratch, s)


def a_chain_of_three(scratch):
    """4 took the second place, because 3 had taken the first, which 2 had given back."""
    s = Story(3)
    a, b = s.place(1), s.place(2)
    s.tell(f"""1 {mmap(2 * SIZE)} = {b}
               2 > munmap {b} {2 * SIZE}
               3 > {mmap()}
               4 {mmap()} = {b}
               3 < mmap = {a}
               2 < munmap = 0""")
    matches(scratch, s, 2)


def mremap_grows_in_place_after_a_munmap_that_has_begun(scratch):
    s = Story()
    a, b = s.place(1), s.place(2)
    s.tell(f"""1 mmap 0x0 {SIZE} 0x3 0x22 -1 0x0 @- = {a}
               1 mmap 0x0 {SIZE} 0x1 0x22 -1 0x0 @- = {b}
               2 > munmap {a} {SIZE}
               3 mremap {b} {SIZE} {2 * SIZE} 0x1 0x0 = {b}
               2 < munmap = 0""")
    matches(scratch, s, 1)


def mremap_moved_before_a_munmap_that_ended_first(scratch):
    s = Story()
    a, b = s.place(1), s.place(2)
    s.tell(f"""1 mmap 0x0 {SIZE} 0x3 0x22 -1 0x0 @- = {a}
               1 mmap 0x0 {SIZE} 0x1 0x22 -1 0x0 @- = {b}
               3 > mremap {b} {SIZE} {2 * SIZE} 0x1 0x0
               2 munmap {a} {SIZE} = 0
               3 < mremap = {s.place(4)}""")
    matches(scratch, s, 1)


def another_address_space_does_not_help(scratch):
    s = Story(1)
    a = s.place(1)
    s.head = ["tasks 3" if line.startswith("tasks ") else line for line in s.head]
    last = f"2 {mmap()} = {a}"
    s.tell(f"""1 {mmap()} = {a}
               1 clone 0x1200000 17 0x0 0 0x0 0x0 0x0 = 3 -1
               3 > munmap {a} {SIZE}
               {last}
               3 < munmap = 0
               3 exit_group 0 = ?
               3 exited 0""")
    differs(scratch, s, last)


def a_place_that_nobody_gives_back_is_a_finding(scratch):
    s = Story()
    a = s.place(1)
    last = f"3 {mmap()} = {a}"
    s.tell(f"""1 {mmap()} = {a}
               2 > {mmap()}
               {last}
               2 < mmap = {s.place(2)}
               2 munmap {a} {SIZE} = 0""")
    differs(scratch, s, last)


def calls_that_did_not_overlap_keep_their_order(scratch):
    s = Story()
    a = s.place(1)
    last = f"3 {mmap()} = {a}"
    s.tell(f"""1 {mmap()} = {a}
               {last}
               2 munmap {a} {SIZE} = 0""")
    differs(scratch, s, last)


def a_wait_that_goes_on_for_long_keeps_nothing_open(scratch):
    s = Story(1)
    s.head = ["tasks 3" if line.startswith("tasks ") else line for line in s.head]
    s.tell("""1 clone 0x1200000 17 0x0 0 0x0 0x0 0x0 = 3 -1
              1 > wait4 3""")
    for _ in range(3000):
        s.tell(f"""2 {mmap()} = {s.place(1)}
                   2 munmap {s.place(1)} {SIZE} = 0""")
    s.tell("""3 exit_group 0 = ?
              3 exited 0
              1 < wait4 = 3 0x0 0x0""")
    matches(scratch, s, 0)


# ---- descriptors -----------------------------------------------------------------------------

def descriptor_is_free_when_its_close_has_begun(scratch):
    s = Story()
    s.tell("""1 openat 0x0 0 = 3 @-
              2 > close 3
              3 openat 0x0 0 = 3 @-
              2 < close = 0""")
    matches(scratch, s, 1)


def descriptor_may_still_be_there_when_its_close_has_begun(scratch):
    s = Story()
    s.tell("""1 openat 0x0 0 = 3 @-
              2 > close 3
              3 openat 0x0 0 = 4 @-
              2 < close = 0""")
    matches(scratch, s, 0)


def open_that_ends_last_got_the_lower_number(scratch):
    s = Story()
    s.tell("""2 > openat 0x0 0
              3 openat 0x0 0 = 4 @-
              2 < openat = 3 @-""")
    matches(scratch, s, 1)


def open_that_fails_has_a_number_meanwhile(scratch):
    s = Story()
    s.tell("""2 > openat 0x0 0
              3 openat 0x0 0 = 4 @-
              2 < openat = -ENOENT
              3 openat 0x0 0 = 3 @-""")
    matches(scratch, s, 1)


def open_that_fails_gives_its_number_back_before_its_end(scratch):
    s = Story()
    s.tell("""2 > openat 0x0 0
              3 openat 0x0 0 = 4 @-
              3 openat 0x0 0 = 3 @-
              2 < openat = -ENOENT""")
    matches(scratch, s, 2)


def accept_has_its_number_while_it_waits(scratch):
    s = Story()
    s.tell("""2 > accept4 1
              3 openat 0x0 0 = 4 @-""")
    for _ in range(3000):
        s.tell("""3 openat 0x0 0 = 5 @-
                  3 close 5 = 0""")
    s.tell("2 < accept4 = 3")
    matches(scratch, s, 1)


def open_got_its_number_before_a_close_that_ended_first(scratch):
    s = Story()
    s.tell("""1 openat 0x0 0 = 3 @-
              3 > openat 0x0 0
              2 close 3 = 0
              3 < openat = 4 @-
              1 openat 0x0 0 = 3 @-""")
    matches(scratch, s, 1)


def another_open_comes_between_the_ends_of_a_pipe(scratch):
    s = Story()
    s.tell("""2 > pipe2
              3 openat 0x0 0 = 4 @-
              2 < pipe2 = 0 3 5 0x0
              1 close 3 = 0
              1 close 5 = 0
              1 close 4 = 0""")
    matches(scratch, s, 1)


def two_close_the_same_descriptor(scratch):
    s = Story()
    s.tell("""1 openat 0x0 0 = 3 @-
              2 > close 3
              3 close 3 = -EBADF
              2 < close = 0""")
    matches(scratch, s, 1)


def a_number_that_nobody_can_have_is_a_finding(scratch):
    for last in ("3 openat 0x0 0 = 5 @-", "3 openat 0x0 0 = 1 @-"):
        s = Story()
        s.tell(f"""2 > openat 0x0 0
                   {last}
                   2 < openat = 3 @-""")
        differs(scratch, s, last)


# ---- tasks -----------------------------------------------------------------------------------

def signal_reached_a_thread_that_ended_meanwhile(scratch):
    s = Story(1)
    s.tell("""1 > tgkill 1 2 0
              2 exit 0 = ?
              2 exited 0
              1 < tgkill = 0
              1 tgkill 1 2 0 = -ESRCH""")
    end = s.path(scratch)
    with open(end, encoding="utf-8") as f:
        lines = f.read().splitlines()
    last = len(lines) - 1 - lines[::-1].index("2 exited 0")
    del lines[last]
    lines[-1] = "end %d" % (int(lines[-1].split()[1]) - 1)
    with open(end, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    calls = report(end)["calls"]
    assert calls["matched"] == calls["replayed"] and calls["reordered"] == 1, calls


# ---- by lot ----------------------------------------------------------------------------------

class Model:
    """Highest hole below @top; lowest free descriptor from 3 on. What the kernel would do."""

    def __init__(self, top):
        self.top, self.maps, self.fds = top, [], set()

    def mmap(self, size):
        end = self.top
        for start, stop in sorted(self.maps, reverse=True):
            if end - stop >= size:
                break
            end = start
        self.maps.append((end - size, end))
        return end - size

    def munmap(self, start, size):
        self.maps.remove((start, start + size))

    def open(self):
        fd = next(i for i in range(3, 10000) if i not in self.fds)
        self.fds.add(fd)
        return fd

    def close(self, fd):
        self.fds.remove(fd)


class Lot:
    """Threads whose calls begin, take effect and end at random moments."""

    def __init__(self, seed, threads):
        self.rnd = random.Random(seed)
        self.story = Story(threads - 1)
        self.model = Model(self.story.top)
        self.state = {pid: None for pid in range(1, threads + 1)}
        self.maps, self.fds = [], []    # what a thread has been told and none has taken
        self.lines = []

    def begin(self, pid):
        kind = self.rnd.randrange(6)
        call = {"pid": pid, "effect": False, "line": len(self.lines)}
        if kind < 2 or (kind == 2 and not self.maps):
            call["size"] = self.rnd.choice((16, 16, 24, 32, 40)) * 4096
            call["text"] = mmap(call["size"])
            call["do"] = lambda: "0x%x" % self.map_result(call)
        elif kind == 2:
            start, size = self.maps.pop(self.rnd.randrange(len(self.maps)))
            call["text"] = "munmap 0x%x %d" % (start, size)
            call["do"] = lambda: self.model.munmap(start, size) or "0"
        elif kind < 5 or not self.fds:
            call["text"] = "openat 0x0 0"
            call["do"] = lambda: "%d @-" % self.open_result(call)
        else:
            fd = self.fds.pop(self.rnd.randrange(len(self.fds)))
            call["text"] = "close %d" % fd
            call["do"] = lambda: self.model.close(fd) or "0"
        self.lines.append("%d > %s" % (pid, call["text"]))
        self.state[pid] = call

    def map_result(self, call):
        call["map"] = (self.model.mmap(call["size"]), call["size"])
        return call["map"][0]

    def open_result(self, call):
        call["fd"] = self.model.open()
        return call["fd"]

    def step(self, pid):
        call = self.state[pid]
        if call is None:
            self.begin(pid)
        elif not call["effect"]:
            call["result"] = call["do"]()
            call["effect"] = True
        else:
            self.end(call)

    def end(self, call):
        if "map" in call:
            self.maps.append(call["map"])
        if "fd" in call:
            self.fds.append(call["fd"])
        self.state[call["pid"]] = None
        if call["line"] == len(self.lines) - 1:         # nobody came between
            self.lines[-1] = "%d %s = %s" % (call["pid"], call["text"], call["result"])
        else:
            self.lines.append("%d < %s = %s" % (call["pid"], call["text"].split()[0],
                                                call["result"]))

    def tell(self, nr_calls):
        begun = 0
        pids = list(self.state)
        while begun < nr_calls or any(self.state.values()):
            pid = self.rnd.choice(pids)
            if self.state[pid] is None:
                if begun >= nr_calls:
                    continue
                begun += 1
            self.step(pid)
        self.story.tell("\n".join(self.lines))
        return self.story


def any_order_that_is_possible_is_found(scratch):
    reordered = 0
    for seed in range(SEEDS):
        path = Lot(seed, 2 + seed % 7).tell(CALLS).path(scratch)
        done = replay(path, "--json", "--cpus", str(1 + seed % 4), "--touch", "some")
        assert done.returncode == 0, (seed, done.stderr[:2000])
        reordered += int(re.search(r'"reordered": (\d+)', done.stdout).group(1))
    assert reordered > SEEDS * 5, reordered


def main():
    return run([f for name, f in sorted(globals().items(), key=lambda item: str(item[0]))
                if callable(f) and getattr(f, "__code__", None) and
                f.__code__.co_varnames[:1] == ("scratch",) and f.__code__.co_argcount == 1])


if __name__ == "__main__":
    sys.exit(main())
