#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a recording of any length, to measure `karc replay` with.

    long_trace.py CALLS [SEED] > FILE

The recording is that of `ls` (examples/traces/ls.trace) into which CALLS calls are put before its
end: mmap, munmap, mprotect, brk and madvise by lot, at most 200 mappings at a time. Their results
come from a model: a new mapping goes into the highest hole that is large enough. The mappings made
here are larger than any hole that `ls` left, so only the room below its mappings counts.
"""

import os
import random
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = os.path.join(HERE, "../../examples/traces/ls.trace")
PAGE = 4096
LEAST = 16                              # pages; holes of `ls` are smaller
MOST = 300                              # below a huge page, whose multiples are placed otherwise
LIVE = 200


class Space:
    """Mappings below @top, highest first."""

    def __init__(self, top):
        self.top = top
        self.maps = []                  # (start, end)

    def place(self, size):
        end = self.top
        for i, (start, stop) in enumerate(self.maps):
            if end - stop >= size:
                self.maps.insert(i, (end - size, end))
                return end - size
            end = start
        self.maps.append((end - size, end))
        return end - size

    def remove(self, rnd):
        return self.maps.pop(rnd.randrange(len(self.maps)))


def one_call(rnd, space, brk):
    kind = rnd.randrange(10)
    if not space.maps or (kind < 3 and len(space.maps) < LIVE):
        size = rnd.randrange(LEAST, MOST) * PAGE
        prot = rnd.choice((0, 1, 3, 3))
        return "1 mmap 0x0 %d 0x%x 0x22 -1 0x0 @- = 0x%x" % (size, prot, space.place(size))
    if kind < 6:
        start, end = space.remove(rnd)
        return "1 munmap 0x%x %d = 0" % (start, end - start)
    if kind == 9:
        brk[1] = brk[0] + rnd.randrange(256) * PAGE
        return "1 brk 0x%x = 0x%x" % (brk[1], brk[1])
    start, end = rnd.choice(space.maps)
    first = rnd.randrange((end - start) // PAGE)
    pages = rnd.randrange(1, (end - start) // PAGE - first + 1)
    if kind < 8:
        return "1 mprotect 0x%x %d 0x%x = 0" % (start + first * PAGE, pages * PAGE,
                                                 rnd.choice((0, 1, 3)))
    return "1 madvise 0x%x %d 4 = 0" % (start + first * PAGE, pages * PAGE)


def write(out, nr_calls, seed):
    rnd = random.Random(seed)
    with open(BASE, encoding="utf-8") as f:
        lines = f.read().splitlines()
    results = [re.search(r"^1 (mmap|brk) .* = (0x[0-9a-f]+)$", line) for line in lines]
    found = [(m.group(1), int(m.group(2), 16)) for m in results if m]
    space = Space(min(addr for name, addr in found if name == "mmap"))
    brk = [[addr for name, addr in found if name == "brk"][-1]] * 2
    last = next(i for i, line in enumerate(lines) if line.startswith("1 exit_group"))
    out.write("\n".join(lines[:last]) + "\n")
    for _ in range(nr_calls):
        out.write(one_call(rnd, space, brk) + "\n")
    lines[-1] = "end %d" % (int(lines[-1].split()[1]) + nr_calls)
    out.write("\n".join(lines[last:]) + "\n")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    write(sys.stdout, int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 1)
