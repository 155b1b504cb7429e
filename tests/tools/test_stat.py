#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: what `karc stat` writes is read by what reads Linux's files, and adds up; the JSON says the
same; the picture is a picture, and the same one each time; what is asked for wrongly is answered
with what is wrong.

Method: the program itself. Each text goes through a parser that is strict about columns, and the
host's own files, where they can be read, go through the same one: so it is Linux's format.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))
TRACE = os.path.join(ROOT, "examples/traces/python3.trace")
NAMES = ["buddyinfo", "zoneinfo", "pagetypeinfo", "slabinfo", "vmallocinfo", "meminfo"]
# What these cover is every zone that there is, and two nodes.
ALL_ZONES = ["--mem", "96M", "--highmem", "16M", "--movable", "16M"]
NODES = ["--nodes", "2", "--cpus", "4"]


def run(*arguments):
    return subprocess.run([KARC, "stat", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120)


def stat(*arguments):
    done = run(*arguments)
    assert done.returncode == 0 and not done.stderr, (arguments, done)
    return done.stdout


def host(name):
    try:
        with open("/proc/" + name, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


# ---- parsers: of Linux's formats, strict about columns -------------------------------------------

def match(pattern, line):
    found = re.fullmatch(pattern, line)
    assert found, (pattern, line)
    return found.groups()


def parse_buddyinfo(text):
    """(node, zone) -> free blocks by order"""
    zones = {}
    for line in text.splitlines():
        node, zone, free = match(r"Node (\d+), zone ([ ]*\w+) ((?: *\d+ ){11})", line)
        assert len(zone) == 8 and len(free) >= 77, line
        zones[int(node), zone.strip()] = [int(word) for word in free.split()]
    return zones


def parse_pagetypeinfo(text):
    """page block order, (node, zone, type) -> free blocks by order, (node, zone) -> {type: blocks}"""
    free, blocks, types, order = {}, {}, None, None
    for line in text.splitlines():
        if line.startswith("Page block order: "):
            order = int(line[18:])
        elif line.startswith("Pages per block:  "):
            assert int(line[18:]) == 1 << order
        elif line.startswith("Free pages count per migrate type at order  "):
            assert line[44:] == "".join("%6d " % n for n in range(11)), line
        elif line.startswith("Number of blocks type "):
            match(r"Number of blocks type ( [ ]*(\w+ *)+)", line)
            types = line[23:].split()
            assert line[23:] == "".join("%12s " % name for name in types), line
        elif ", type" in line:
            node, zone, kind, rest = match(
                r"Node ([ ]*\d+), zone ([ ]*\w+), type ([ ]*\w+) ((?:>? *\d+ ){11})", line)
            assert len(node) == 4 and len(zone) == 8 and len(kind) == 12, line
            free[int(node), zone.strip(), kind.strip()] = \
                [int(word.strip(">")) for word in rest.split()]
        elif line:
            node, zone, rest = match(r"Node (\d+), zone ([ ]*\w+) ((?: *\d+ )+)", line)
            assert len(zone) == 8 and rest == "".join("%12s " % n for n in rest.split()), line
            blocks[int(node), zone.strip()] = dict(zip(types, map(int, rest.split())))
    return order, free, blocks


def parse_zoneinfo(text):
    """(node, zone) -> {"free": ..., "protection": [...], "nr_x": ..., "cpus": [...], "node": {}}"""
    zones, at, part = {}, None, None
    for line in text.splitlines():
        found = re.fullmatch(r"Node (\d+), zone ([ ]*\w+)", line)
        if found:
            assert len(found.group(2)) == 8, line
            at = zones[int(found.group(1)), found.group(2).strip()] = {"cpus": [], "node": {}}
            part = at
        elif line == "  per-node stats":
            part = at["node"]
        elif line.startswith("  pages free     "):
            part = at
            at["free"] = int(line[17:])
        elif line.startswith("        protection: ("):
            at["protection"] = [int(n) for n in line[21:].rstrip(")").split(", ")]
        elif re.match(r"        \w", line):
            name, number = match(r"        (\w+) +(\d+)", line)
            assert line[17:] == number, line
            at[name] = int(number)
        elif re.match(r"      \w", line):
            name, number = match(r"      (\w+) +(\d+)", line)
            assert line == "      %-12s %s" % (name, number), line
            part[name] = int(number)
        elif line.startswith("    cpu: "):
            at["cpus"].append({"cpu": int(line[9:])})
        elif line.startswith("              "):
            name, number = match(r"              (\w+): +(\d+)", line)
            at["cpus"][-1][name] = int(number)
        elif line.startswith("  start_pfn: "):
            at["start_pfn"] = int(match(r"  start_pfn:           (\d+)", line)[0])
        else:
            match(r"  pagesets|  vm stats threshold: \d+|  node_unreclaimable:  \d", line)
    return zones


def parse_slabinfo(text):
    """name -> {column: number}; the heading names the columns, as slabtop reads it"""
    version, heading, *lines = text.splitlines()
    assert version.startswith("slabinfo - version: 2.1")
    columns = re.findall(r"<(\w+)>", heading)
    assert columns[:11] == ["active_objs", "num_objs", "objsize", "objperslab", "pagesperslab",
                            "limit", "batchcount", "sharedfactor", "active_slabs", "num_slabs",
                            "sharedavail"], columns
    caches = {}
    for line in lines:
        name, rest = match(r"(\S+) +(.*)", line)
        assert rest.count(" : ") == heading.count(" : "), line
        assert line.startswith("%-17s %6s %6s %6s %4s %4s : tunables" %
                               ((name,) + tuple(rest.split()[:5]))), line
        numbers = [int(word) for word in rest.split() if word.lstrip("-").isdigit()]
        assert len(numbers) == len(columns), line
        caches[name] = dict(zip(columns, numbers))
    return caches


def parse_vmallocinfo(text):
    """[(start, end, bytes, words)]"""
    areas = []
    for line in text.splitlines():
        start, end, size, rest = match(r"0x([0-9a-f]{16})-0x([0-9a-f]{16}) +(\d+)(?: (.*))?", line)
        assert line[37:].startswith(" %7s" % size), line
        areas.append((int(start, 16), int(end, 16), int(size), (rest or "").split()))
    return areas


def parse_meminfo(text):
    """name -> kB or a count"""
    memory = {}
    for line in text.splitlines():
        name, number = match(r"([\w()]+): +(\d+)(?: kB)?", line)
        assert line.index(number, len(name)) + len(number) >= 24 or \
            name == "HardwareCorrupted", line
        memory[name] = int(number)
    return memory


PARSERS = {"buddyinfo": parse_buddyinfo, "zoneinfo": parse_zoneinfo,
           "pagetypeinfo": parse_pagetypeinfo, "slabinfo": parse_slabinfo,
           "vmallocinfo": parse_vmallocinfo, "meminfo": parse_meminfo}


# ---- texts ---------------------------------------------------------------------------------------

def the_parsers_read_the_hosts_own_files():
    for name in ("buddyinfo", "zoneinfo", "pagetypeinfo", "slabinfo", "meminfo"):
        if host(name):
            assert PARSERS[name](host(name)), name


def every_scenario_has_every_text():
    for scenario in ("exit", "segv", "kobject", "cow", "leak", "cycle", "crowd", "alloc", "kfree"):
        for machine in ([], NODES, ALL_ZONES):
            done = stat(*NAMES, "--scenario", scenario, *machine)
            parts = re.split(r"(?m)^==> (\w+) <==\n", done)
            assert parts[1::2] == NAMES, parts[1::2]
            for name, text in zip(parts[1::2], parts[2::2]):
                PARSERS[name](text[:-1] if name != NAMES[-1] else text)


def free_frames_add_up():
    for machine in ([], NODES, ALL_ZONES):
        for at in ("1", "2", "mmput"):
            texts = {name: PARSERS[name](stat(name, "--at", at, *machine)) for name in NAMES}
            zones = texts["zoneinfo"]
            _, by_type, blocks = texts["pagetypeinfo"]
            for place, orders in texts["buddyinfo"].items():
                free = sum(n << order for order, n in enumerate(orders))
                assert free == zones[place]["free"] == zones[place]["nr_free_pages"], place
                rows = [row for key, row in by_type.items() if key[:2] == place]
                assert [sum(column) for column in zip(*rows)] == orders, (place, rows, orders)
                assert sum(blocks[place].values()) >= zones[place]["present"] >> 10, place
            memory = texts["meminfo"]
            assert memory["MemFree"] == 4 * sum(z["free"] for z in zones.values())
            assert memory["MemTotal"] == 4 * sum(z["managed"] for z in zones.values())
            for line, counter in (("AnonPages", "nr_anon_pages"), ("Cached", "nr_file_pages"),
                                  ("PageTables", "nr_page_table_pages"), ("Mapped", "nr_mapped"),
                                  ("SReclaimable", "nr_slab_reclaimable"),
                                  ("SUnreclaim", "nr_slab_unreclaimable")):
                assert memory[line] == 4 * sum(z["node"].get(counter, 0)
                                               for z in zones.values()), line
            assert ("HighTotal" in memory) == ("--highmem" in machine)


def what_is_used_is_named():
    memory = parse_meminfo(stat("meminfo", "--at", "1"))
    zones = parse_zoneinfo(stat("zoneinfo", "--at", "1"))
    on_lists = sum(cpu["count"] for zone in zones.values() for cpu in zone["cpus"])
    named = sum(memory[name] for name in ("MemFree", "AnonPages", "Cached", "Slab", "PageTables",
                                          "VmallocUsed")) + 4 * on_lists
    assert 0 <= memory["MemTotal"] - named <= 64, (memory, named)
    assert memory["AnonPages"] >= 12 and memory["PageTables"] > 0, memory


def slabs_add_up():
    caches = parse_slabinfo(stat("slabinfo", "--scenario", "crowd", "--at", "2"))
    assert caches["task_struct"]["active_objs"] >= 61, caches["task_struct"]
    for name, cache in caches.items():
        assert cache["active_objs"] <= cache["num_objs"], (name, cache)
        assert cache["num_objs"] == cache["num_slabs"] * cache["objperslab"], (name, cache)
    memory = parse_meminfo(stat("meminfo", "--scenario", "crowd", "--at", "2"))
    slabs = sum(cache["num_slabs"] * cache["pagesperslab"] for cache in caches.values())
    assert memory["Slab"] >= 4 * slabs, (memory["Slab"], slabs)


def areas_are_told_by_who_asked():
    areas = parse_vmallocinfo(stat("vmallocinfo", "--scenario", "alloc", "--at", "2 MiB of k"))
    for start, end, size, words in areas:
        assert end - start == size and start >= 0xffffc90000000000, hex(start)
        assert "vmalloc" in words or "vmap" in words or "unpurged" in words, words
    mine = [area for area in areas if area[3][:1] == ["alloc_tell_walks"]]
    assert mine[0][2:] == (513 * 4096, ["alloc_tell_walks", "pages=512", "vmalloc", "N0=512"]), mine


def the_moment_can_be_chosen():
    before, after = (parse_meminfo(stat("meminfo", "--scenario", "crowd", "--at", at))
                     for at in ("2", "3"))
    assert before["PageTables"] > 10 * after["PageTables"], (before, after)
    line = parse_meminfo(stat("meminfo", "--trace", TRACE, "--mem", "256M", "--at", "400",
                              "--touch", "all"))
    end = parse_meminfo(stat("meminfo", "--trace", TRACE, "--mem", "256M", "--at", "end"))
    assert line["AnonPages"] > 1024 and end["AnonPages"] == 0, (line, end)
    assert "It forks sixty times" in stat("--scenario", "crowd", "--moments")


def a_run_is_the_same_whatever_the_hosts_addresses():
    for arguments in (NAMES + ["--scenario", "crowd", "--at", "2"] + NODES,
                      ["--plot", "-", "--scenario", "crowd"]):
        assert len({stat(*arguments) for _ in range(3)}) == 1, arguments


# ---- JSON ----------------------------------------------------------------------------------------

def json_has_the_same_numbers():
    for machine in ([], NODES, ALL_ZONES):
        where = ["--scenario", "crowd", "--at", "2", *machine]
        report = json.loads(stat(*NAMES, "--json", *where))
        assert list(report) == ["schema", "title", "moment"] + NAMES, list(report)
        assert report["schema"] == "karc-stat-1" and report["moment"] == "It forks sixty times"
        text = {name: PARSERS[name](stat(name, *where)) for name in NAMES}
        assert {(z["node"], z["zone"]): z["free"] for z in report["buddyinfo"]} == \
            text["buddyinfo"]
        order, free, blocks = text["pagetypeinfo"]
        types = report["pagetypeinfo"]
        assert types["page_block_order"] == order and types["pages_per_block"] == 1 << order
        assert {(z["node"], z["zone"], z["type"]): z["free"] for z in types["free"]} == free
        assert {(z.pop("node"), z.pop("zone")): z for z in types["blocks"]} == blocks
        assert report["meminfo"] == text["meminfo"]
        for zone in report["zoneinfo"]:
            want = text["zoneinfo"][zone["node"], zone["zone"]]
            for key in ("free", "boost", "min", "low", "high", "spanned", "present", "managed",
                        "cma", "protection"):
                assert zone[key] == want[key], (key, zone)
            assert zone.get("node_stats", {}) == want["node"]
            if want["present"]:
                assert zone["start_pfn"] == want["start_pfn"]
                assert [(c["cpu"], c["count"], c["high"], c["batch"]) for c in zone["pagesets"]] \
                    == [(c["cpu"], c["count"], c["high"], c["batch"]) for c in want["cpus"]]
                assert all(want[key] == n for key, n in zone["stats"].items())
        for cache in report["slabinfo"]:
            flat = {key: n for key, n in cache.items() if isinstance(n, int)}
            for part in cache.values():
                flat.update(part if isinstance(part, dict) else {})
            assert flat == text["slabinfo"][cache["name"]], cache
        assert [(int(a["start"], 16), int(a["end"], 16), a["bytes"])
                for a in report["vmallocinfo"]] == [a[:3] for a in text["vmallocinfo"]]


# ---- the picture ---------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def picture(*arguments):
    root = xml.etree.ElementTree.fromstring(stat("--plot", "-", *arguments))
    return root, [text.text for text in root.iter(SVG + "text")]


def the_picture_has_a_strip_for_each_zone():
    for machine, zones in (([], ["Node 0, zone DMA", "Node 0, zone DMA32"]),
                           (NODES, ["Node 0, zone DMA", "Node 0, zone DMA32",
                                    "Node 1, zone DMA32"]),
                           (ALL_ZONES, ["Node 0, zone DMA", "Node 0, zone DMA32",
                                        "Node 0, zone HighMem", "Node 0, zone Movable"])):
        _, texts = picture("--scenario", "exit", *machine)
        assert [text for text in texts if text and text.startswith("Node ")] == zones, texts
        for word in ("In use", "free", "reserved", "1", "hole, 384 KiB", "0x00000000", "0"):
            assert word in texts, (word, texts)
        for part in ("Physical memory by use", "slab, at most", "page tables, at most",
                     "anonymous, at most", "page cache, at most", "time: ", "free all the time",
                     "exit: a process ends", "The child calls exit(7)"):
            assert any(part in text for text in texts if text), part


def its_cells_lie_where_they_belong():
    root, _ = picture("--scenario", "crowd")
    width, height = float(root.get("width")), float(root.get("height"))
    classes = set()
    for rect in root.iter(SVG + "rect"):
        if rect.get("x") is None:
            continue
        x, y, w, h = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
        assert 0 <= x and 0 <= y and w > 0 and h > 0, rect.attrib
        assert x + w <= width and y + h <= height, rect.attrib
        classes.update((rect.get("class") or "").split())
    assert {"free", "pcp", "slab", "table", "anon", "cache", "reserved"} <= classes, classes
    style = "".join(root.find(SVG + "style").itertext())
    assert "prefers-color-scheme:dark" in style and ".slab{" in style


def a_recording_is_drawn_too():
    root, texts = picture("--trace", TRACE, "--mem", "256M", "--touch", "all")
    assert any(text.startswith("after line ") for text in texts if text), texts
    assert any("anonymous, at most" in text and "MiB" in text for text in texts if text), texts
    assert len(xml.etree.ElementTree.tostring(root)) < 2000000


def a_file_gets_the_picture():
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "memory.svg")
        assert stat("--plot", path, "--scenario", "cow") == ""
        with open(path, encoding="utf-8") as file:
            assert file.read() == stat("--plot", "-", "--scenario", "cow")


# ---- wrong use -----------------------------------------------------------------------------------

def wrong_use_is_told():
    for arguments, text in (
            ([], "which? buddyinfo"),
            (["--scenario", "exit"], "which? buddyinfo"),
            (["procinfo"], "no 'procinfo'; there are:"),
            (["meminfo", "meminfo"], "once is enough"),
            (["meminfo", "--scenario", "nothing"], "no scenario 'nothing'; there are: exit"),
            (["meminfo", "--trace", "/nonexistent"], "/nonexistent"),
            (["meminfo", "--trace", __file__], __file__ + ":1: "),
            (["meminfo", "--scenario", "exit", "--trace", TRACE], "one of them"),
            (["meminfo", "--trace", TRACE, "--case", "x"], "--case: a recording has none"),
            (["meminfo", "--trace", TRACE, "--mem", "256M", "--at", "x"], "--at"),
            (["meminfo", "--trace", TRACE, "--mem", "256M", "--at", "99999999"], "ends at line"),
            (["--moments", "--trace", TRACE], "--moments: a recording has none"),
            (["meminfo", "--at", "no such moment"], "has no moment 'no such moment'"),
            (["meminfo", "--case", "x"], "exit has no case 'x'"),
            (["meminfo", "--touch", "all"], "only recordings"),
            (["meminfo", "--touch", "most", "--trace", TRACE], "'most' is not none, some or all"),
            (["meminfo", "--cpus", "0"], "--cpus"),
            (["meminfo", "--mem", "1M"], "--mem"),
            (["meminfo", "--nodes", "9"], "--nodes"),
            (["meminfo", "--highmem", "64M"], "--highmem and --movable must leave"),
            (["meminfo", "--no-such-option"], "no-such-option"),
            (["--plot", "-", "meminfo"], "--plot: it draws a run"),
            (["--plot", "-", "--at", "1"], "--at chooses none"),
            (["--plot", "-", "--json"], "not JSON"),
            (["--plot", "/nonexistent/x.svg"], "/nonexistent/x.svg"),
            (["--plot", "/dev/full"], "write error")):
        done = run(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert text in done.stderr, (arguments, text, done.stderr)


def output_that_does_not_arrive_is_an_error():
    for arguments in ("meminfo", "--plot -", "zoneinfo --json"):
        done = subprocess.run("exec %s stat %s >/dev/full" % (KARC, arguments), shell=True,
                              stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 2 and "standard output" in done.stderr, (arguments, done)


def help_is_no_error():
    for arguments in (("--help",), ("-h",), ("meminfo", "--help")):
        done = run(*arguments)
        assert done.returncode == 0 and "usage: karc stat" in done.stdout and not done.stderr, done
        for word in NAMES + ["--append", "--at", "--case", "--cpus", "--highmem", "--json", "--mem",
                             "--moments", "--movable", "--nodes", "--plot", "--scenario", "--seed",
                             "--touch", "--trace"]:
            assert word in done.stdout, word


def main():
    failed = 0
    tests = [the_parsers_read_the_hosts_own_files, every_scenario_has_every_text,
             free_frames_add_up, what_is_used_is_named, slabs_add_up, areas_are_told_by_who_asked,
             the_moment_can_be_chosen, a_run_is_the_same_whatever_the_hosts_addresses,
             json_has_the_same_numbers, the_picture_has_a_strip_for_each_zone,
             its_cells_lie_where_they_belong, a_recording_is_drawn_too, a_file_gets_the_picture,
             wrong_use_is_told, output_that_does_not_arrive_is_an_error, help_is_no_error]
    for test in tests:
        try:
            test()
            print("[       OK ] " + test.__name__)
        except Exception as problem:    # a broken test is a failed test, the others go on
            failed += 1
            print("[  FAILED  ] %s: %r" % (test.__name__, problem))
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
