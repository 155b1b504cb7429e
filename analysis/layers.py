#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that #include lines point down the house only.

    layers.py ROOT

- a file of room R (src/R, include/karc/R) includes public headers of R and of rooms below, and
  private headers of its own directory;
- a test of room R includes those and tests/support;
- include/compat includes anything public; tools, tests/scenario and tests/tools anything.

The order is the table in configure.py.
"""

import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
# Headers of include/karc that lie in no room's directory: pattern -> the room they count as.
SHARED_HEADERS = (
    (re.compile(r"karc/mm/mm_init\.h$"), "reclaim"),
    (re.compile(r"karc/mm/\w+\.h$"), "phys"),      # shapes shared by the mm rooms
    (re.compile(r"karc/\w+\.h$"), "boot"),
)
FREE = ("tools/", "tests/scenario/", "tests/tools/", "tests/build/", "tests/stress/", "bench/",
        "analysis/", "examples/")


def shared_header_room(name):
    for pattern, room in SHARED_HEADERS:
        if pattern.match(name):
            return room
    return None


def load_rooms(root):
    sys.dont_write_bytecode = True
    sys.path.insert(0, root)
    import configure
    return configure.ROOMS


class House:
    def __init__(self, root):
        self.root = root
        self.rooms = load_rooms(root)
        self.level = {room.name: i for i, room in enumerate(self.rooms)}
        # Longest path first, so that mm/phys wins over a room called mm.
        self.by_path = sorted(self.rooms, key=lambda r: -len(r.path))

    def room_of(self, rest):
        """The room whose directory holds @rest, a path below src/, include/karc/ or tests/."""
        for room in self.by_path:
            if rest.startswith(room.path + "/"):
                return room.name
        return None

    def room_of_file(self, path):
        if path.startswith("include/karc/"):
            return self.room_of_header(path[len("include/"):])
        for top in ("src/", "tests/"):
            if path.startswith(top):
                return self.room_of(path[len(top):])
        return None

    def room_of_header(self, name):
        return shared_header_room(name) or self.room_of(name[len("karc/"):])

    def check_include(self, path, room, quoted, name):
        """A complaint about one #include of @path, which belongs to @room, or None."""
        if name.startswith("karc/"):
            target = self.room_of_header(name)
            if target is None:
                return f"{name} belongs to no room"
            if self.level[target] > self.level[room]:
                return f"room {room} includes {name} of room {target}, which is above it"
            return None
        if not quoted:
            return None
        for base in (os.path.dirname(path), "tests/support" if path.startswith("tests/") else "",
                     "src", ""):
            found = os.path.normpath(os.path.join(base, name))
            if os.path.exists(os.path.join(self.root, found)):
                break
        else:
            return f'"{name}" is not in the tree'
        if found.startswith("tests/support/"):
            return None
        target = self.room_of_file(found)
        if target is None:
            return f'"{name}" belongs to no room'
        if self.level[target] > self.level[room]:
            return f'room {room} includes "{name}" of room {target}, which is above it'
        if path.startswith("src/") and target != room:
            return f'room {room} includes "{name}", a private header of room {target}'
        return None

    def check_file(self, path):
        # What mm shares above its rooms (src/mm/*.c) and what support offers to all tests may look
        # at everything below the top; the compat headers only forward.
        if path.startswith(FREE) or path.startswith(("tests/support/", "include/compat/")):
            return []
        room = self.room_of_file(path)
        if room is None:
            if path.startswith("src/mm/"):
                room = "reclaim"
            else:
                return [f"{path}: belongs to no room"]
        wrong = []
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as f:
            for number, line in enumerate(f, 1):
                match = INCLUDE.match(line)
                if match:
                    what = self.check_include(path, room, match.group(1) == '"', match.group(2))
                    if what:
                        wrong.append(f"{path}:{number}: {what}")
        return wrong

    def files(self):
        for top in ("src", "include", "tests", "tools"):
            for where, subdirs, names in os.walk(os.path.join(self.root, top)):
                subdirs.sort()
                for name in sorted(names):
                    if name.endswith((".c", ".h")):
                        yield os.path.relpath(os.path.join(where, name), self.root)


def main():
    house = House(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "."))
    wrong = [line for path in house.files() for line in house.check_file(path)]
    for line in wrong:
        print("layers: " + line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
