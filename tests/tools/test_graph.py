#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: `karc graph` draws what is there, at the moment that was asked for; Graphviz takes what it
writes; a picture of a thousand objects has few boxes; leaks and cycles are marked; what is asked
for wrongly is answered with what is wrong.

Method: the program itself. JSON is checked against its schema and against itself (counts,
references, groups), DOT by `dot -Tplain` where Graphviz is installed, SVG as XML.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))
TRACE = os.path.join(ROOT, "examples/traces/pipe.trace")
DOT = shutil.which("dot")
STATUS = {"exit": 0, "segv": 0, "kobject": 0, "cow": 0, "leak": 1, "cycle": 1, "crowd": 0}


def run(*arguments, **more):
    return subprocess.run([KARC, "graph", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120, **more)


def graph(*arguments, status=0):
    done = run(*arguments, "-o", "-", "--format", "json")
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    return json.loads(done.stdout)


def dot(*arguments, status=0):
    done = run(*arguments, "-o", "-", "--format", "dot")
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    return done.stdout


# What a key of an object may be; None besides stands for null.
OBJECT = {"id": int, "type": str, "label": str, "bytes": int, "count": (int, None), "weak": int,
          "users": (int, None), "references_in": int, "distance": (int, None), "group": int,
          "verdict": str, "leaked": bool, "on_cycle": bool, "miscounted": bool, "torn_down": bool,
          "site": (dict, None), "holders": list}
HOLDER = {"by": str, "name": str, "references": int, "kind": str, "site": (dict, None)}
REFERENCE = {"from": int, "to": int, "kind": str, "field": str, "index": (int, None),
             "on_cycle": bool}
GROUP = {"group": int, "type": str, "objects": int, "bytes": int, "leaked": bool,
         "on_cycle": bool, "miscounted": bool, "torn_down": bool, "site": (dict, None)}
ARROW = {"from": int, "to": int, "kind": str, "field": str, "references": int, "on_cycle": bool}
CYCLE = {"component": int, "objects": int, "text": str}
SITE = {"file": str, "line": int, "function": str}
TOP = {"schema": str, "title": str, "moment": str, "shown": int, "hidden": int, "leaked": int,
       "objects": list, "references": list, "groups": list, "arrows": list, "cycles": list}


def check_keys(thing, schema):
    assert set(thing) == set(schema), sorted(set(thing) ^ set(schema))
    for key, kind in schema.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if thing[key] is None:
            assert None in kinds, key
        else:
            assert type(thing[key]) in kinds, (key, thing[key])
    if thing.get("site"):
        check_keys(thing["site"], SITE)


def check_schema(g):
    check_keys(g, TOP)
    assert g["schema"] == "karc-graph-1"
    for name, schema in (("objects", OBJECT), ("references", REFERENCE), ("groups", GROUP),
                         ("arrows", ARROW), ("cycles", CYCLE)):
        for thing in g[name]:
            check_keys(thing, schema)
    for thing in g["objects"]:
        for holder in thing["holders"]:
            check_keys(holder, HOLDER)


def check_sense(g):
    """The parts agree with each other."""
    ids = {o["id"] for o in g["objects"]}
    assert len(ids) == g["shown"] == len(g["objects"])
    assert all(r["from"] in ids and r["to"] in ids for r in g["references"])
    assert sum(group["objects"] for group in g["groups"]) == g["shown"]
    assert sum(a["references"] for a in g["arrows"]) == len(g["references"])
    assert g["leaked"] == sum(o["leaked"] for o in g["objects"])
    group_of = {o["id"]: o["group"] for o in g["objects"]}
    arrows = {(a["from"], a["to"], a["kind"], a["field"]) for a in g["arrows"]}
    for r in g["references"]:
        assert (group_of[r["from"]], group_of[r["to"]], r["kind"], r["field"]) in arrows
    for o in g["objects"]:
        assert o["type"] == g["groups"][o["group"]]["type"]
        assert not o["miscounted"], o


def named(g, type_name, label=""):
    found = [o for o in g["objects"] if o["type"] == type_name and label in o["label"]]
    assert found, (type_name, label, sorted({o["type"] for o in g["objects"]}))
    return found[0]


def every_scenario_has_a_picture():
    for name, status in STATUS.items():
        g = graph("--scenario", name, status=status)
        check_schema(g)
        check_sense(g)
        assert g["title"].startswith(name + ":") and g["moment"] and g["shown"] > 4, g["title"]


def who_owns_whom_is_told_with_field_names():
    g = graph("--at", "2")
    child, mm = named(g, "task_struct", "child, pid 2"), named(g, "mm_struct", "mm 2")
    links = {(r["from"], r["to"]): r for r in g["references"]}
    assert links[child["id"], mm["id"]]["field"] == "mm"
    assert links[child["id"], mm["id"]]["kind"] == "user"
    for vma in (o for o in g["objects"] if o["type"] == "vm_area_struct"):
        if (mm["id"], vma["id"]) in links:
            assert links[mm["id"], vma["id"]]["field"] == "vmas.list"
            assert links[vma["id"], mm["id"]]["kind"] == "weak"
    file = named(g, "file", "/lib/libdemo.so")
    fields = sorted((r["field"], r["index"]) for r in g["references"] if r["to"] == file["id"])
    assert fields == [("fds", 0), ("vm_file", None)], fields
    page = [o for o in g["objects"] if o["type"] == "page" and o["count"] == 2]
    fields = sorted(r["field"] for r in g["references"] if r["to"] == page[0]["id"])
    assert fields == ["", "i_pages"], fields
    holders = {h["name"] for h in child["holders"] if h["by"] == "machine"}
    assert holders == {"pid table", "CPU 0"}, holders


def counts_are_references_and_holders():
    g = graph("--scenario", "exit", "--at", "1")
    for o in g["objects"]:
        held = sum(h["references"] for h in o["holders"] if h["kind"] == "strong")
        if o["count"] is not None:
            assert o["count"] >= o["references_in"], o
            assert o["verdict"] == "reached" or o["torn_down"], o
            assert held <= o["count"], o


def moments_are_headings_steps_and_numbers():
    done = run("--scenario", "exit", "--moments")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1)), lines
    assert lines[0].endswith("A child is born and gets some memory"), lines
    by_number = graph("--scenario", "exit", "--at", "3")
    assert by_number["moment"] == "The child calls exit(7)"
    assert by_number == graph("--scenario", "exit", "--at", "CALLS EXIT")
    step = graph("--scenario", "exit", "--at", "exit_mm", status=graph_status("exit", "exit_mm"))
    assert step["moment"] == "exit_mm"
    second = run("--scenario", "exit", "--at", "mmput:2", "-o", "-", "--format", "json")
    assert second.returncode in (0, 1), second
    first = graph("--scenario", "exit", "--at", "1")
    assert first["shown"] < by_number["shown"] + 20 and first["moment"] == lines[0][5:]


def graph_status(name, moment):
    return run("--scenario", name, "--at", moment, "-o", "-", "--format", "json").returncode


def a_case_is_a_story_of_its_own():
    g = graph("--scenario", "segv", "--case", "null")
    assert named(g, "task_struct", "demo") and g["title"].startswith("segv:"), g["title"]


def leak_shows_what_is_left():
    g = graph("--scenario", "leak", status=1)
    assert g["leaked"] == g["shown"] > 8
    mm = named(g, "mm_struct")
    assert mm["leaked"]
    assert [(h["by"], h["name"], h["kind"], h["site"]["file"]) for h in mm["holders"]] == \
        [("task that is gone", "debugger, pid 3 (ended)", "user", "tools/play_exit.c")], mm
    text = dot("--scenario", "leak", status=1)
    assert "(ended) forgot it" in text and "LEAKED" in text and "leaked</B>" in text


def cycle_is_told_edge_by_edge():
    g = graph("--scenario", "cycle", status=1)
    assert [c["text"] for c in g["cycles"]] == ["page.vma_set -> vma.shared_anon -> pages[3]"] or \
        sorted(g["cycles"][0]["text"].split(" -> ")) == \
        ["page.vma_set", "pages[3]", "vma.shared_anon"], g["cycles"]
    assert sum(o["on_cycle"] for o in g["objects"]) == 3
    assert sum(r["on_cycle"] for r in g["references"]) == 3
    assert "A CYCLE KEEPS IT" in dot("--scenario", "cycle", status=1)


def a_thousand_objects_stay_readable():
    g = graph("--scenario", "crowd")
    assert g["shown"] >= 1000, g["shown"]
    types = {o["type"] for o in g["objects"]}
    assert len(g["groups"]) <= 2 * len(types) and len(g["groups"]) < 40, len(g["groups"])
    boxes = [line for line in dot("--scenario", "crowd").splitlines()
             if line.startswith("  b") and "->" not in line]
    assert len(boxes) == len(g["groups"]), (len(boxes), len(g["groups"]))
    one_by_one = graph("--scenario", "crowd", "--group", "none")
    assert len(one_by_one["groups"]) == one_by_one["shown"] == g["shown"]
    by_site = graph("--scenario", "crowd", "--group", "site")
    assert len(g["groups"]) <= len(by_site["groups"]) < 80, len(by_site["groups"])


def what_is_shown_can_be_chosen():
    everything = graph("--scenario", "exit", "--all")
    assert any(o["type"] == "slab page" for o in everything["objects"])
    assert everything["hidden"] == 0
    focus = graph("--scenario", "exit", "--focus", "mm_struct:mm 2")
    assert not any(o["type"] == "task_struct" for o in focus["objects"])
    assert named(focus, "page")
    files = graph("--scenario", "exit", "--type", "file")
    assert {o["type"] for o in files["objects"]} == \
        {"file", "inode", "files_struct", "vm_area_struct"}, files
    assert len(files["objects"]) == 4


def graphviz_takes_it():
    if not DOT:
        print("    (no Graphviz here: not checked)")
        return
    for name, status in STATUS.items():
        text = dot("--scenario", name, status=status)
        done = subprocess.run([DOT, "-Tplain"], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120)
        assert done.returncode == 0 and not done.stderr, (name, done.stderr)
        assert done.stdout.count("\nnode ") == \
            sum(line.startswith(("  b", "  h")) and "->" not in line
                for line in text.splitlines()), name
    with tempfile.TemporaryDirectory() as where:
        path = os.path.join(where, "leak.svg")
        assert run("--scenario", "leak", "-o", path).returncode == 1
        tree = xml.etree.ElementTree.parse(path)
        assert tree.getroot().tag.endswith("svg")
        assert any("mm_struct" in (e.text or "") for e in tree.iter())


def the_pictures_that_are_shipped_name_places_that_are_there():
    place = re.compile(r"[\w/]+\.[ch]:\d+ \w+\(\)")
    for name, status in STATUS.items():
        path = os.path.join(ROOT, "examples/graphs", name + ".svg")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                shipped = set(place.findall(f.read()))
            assert shipped, name
            wrong = shipped - set(place.findall(dot("--scenario", name, status=status)))
            assert not wrong, "draw %s anew: %s" % (path, wrong)


def without_graphviz_the_rest_works():
    with tempfile.TemporaryDirectory() as where:
        env = dict(os.environ, PATH=where)
        svg, text = os.path.join(where, "x.svg"), os.path.join(where, "x.dot")
        done = run("-o", svg, env=env)
        assert done.returncode == 2 and "dot is not on PATH" in done.stderr, done
        assert not os.path.exists(svg)
        done = run("-o", text, env=env)
        assert done.returncode == 0 and not done.stderr, done
        with open(text) as file:
            assert file.read().startswith("digraph karc {")


def a_graphviz_that_fails_is_told():
    with tempfile.TemporaryDirectory() as where:
        fake = os.path.join(where, "dot")
        with open(fake, "w") as file:
            file.write("#!/bin/sh\nexit 3\n")
        os.chmod(fake, 0o755)
        svg = os.path.join(where, "x.svg")
        done = run("-o", svg, env=dict(os.environ, PATH=where + ":/usr/bin:/bin"))
        assert done.returncode == 2 and "dot failed, exit status 3" in done.stderr, done
        assert not os.path.exists(svg)


def a_recording_has_moments_too():
    g = graph("--trace", TRACE)
    check_schema(g)
    check_sense(g)
    assert g["title"] == TRACE and g["moment"].startswith("after line "), g["moment"]
    line = int(g["moment"].split()[2].rstrip(":"))
    again = graph("--trace", TRACE, "--at", str(line))
    assert again == g
    early = graph("--trace", TRACE, "--at", "20")
    assert 20 <= int(early["moment"].split()[2].rstrip(":")) < line    # lines above are its head
    assert 0 < early["shown"] < g["shown"]
    assert named(g, "task_struct", "pid 2")
    end = graph("--trace", TRACE, "--at", "end")
    assert end["shown"] == end["leaked"] == 0, end
    assert "nothing is left" in dot("--trace", TRACE, "--at", "end")


def the_same_seed_is_the_same_picture():
    for arguments in (("--scenario", "exit"), ("--scenario", "crowd", "--cpus", "4"),
                      ("--trace", TRACE)):
        texts = {dot(*arguments) for _ in range(3)}
        assert len(texts) == 1, arguments
        assert "0x" not in texts.pop().replace("0x0", ""), arguments


def wrong_use_is_told():
    for arguments, text in (
            ((), "karc graph: -o says where to"),
            (("-o", "x.gif"), "karc graph: -o: the ending: 'gif' is none of: svg dot json"),
            (("-o", "picture"), "karc graph: -o: 'picture' has no ending that says the format"),
            (("-o", "x.svg", "--format", "png"), "karc graph: --format: 'png' is none of:"),
            (("--scenario", "nonsense", "-o", "x.dot"), "karc graph: no scenario 'nonsense'; "
             "there are: exit segv"),
            (("--scenario", "exit", "--trace", TRACE, "-o", "x.dot"), "one of them"),
            (("--trace", TRACE, "--moments"), "karc graph: --moments: a recording has none"),
            (("--trace", "/nonexistent", "-o", "x.dot"),
             "karc graph: /nonexistent: cannot be opened: No such file"),
            (("--trace", TRACE, "--at", "noon", "-o", "x.dot"), "karc graph: --at: 'noon' is no "
             "number"),
            (("--trace", TRACE, "--at", "99999999", "-o", "x.dot"), "before line 99999999"),
            (("--at", "midnight", "-o", "x.dot"), "karc graph: --at: exit has no moment "
             "'midnight'"),
            (("--case", "null", "-o", "x.dot"), "karc graph: --case: exit has no case 'null'"),
            (("--group", "colour", "-o", "x.dot"), "karc graph: --group: 'colour' is none of:"),
            (("--type", "unicorn", "-o", "x.dot"),
             "nothing to show at this moment: --type unicorn"),
            (("--cpus", "0", "-o", "x.dot"), "karc graph: --cpus: 0 is not between 1 and 64"),
            (("-o", "/nonexistent/x.dot"), "karc graph: /nonexistent/x.dot: No such file"),
            (("exit", "-o", "x.dot"), "karc graph: 'exit' is one argument too many"),
            (("--colour",), "karc graph: unrecognized option '--colour'")):
        with tempfile.TemporaryDirectory() as where:
            done = run(*arguments, cwd=where)
            assert done.returncode == 2 and text in done.stderr, (arguments, done)
            assert not os.listdir(where) and not done.stdout, arguments
    done = run("--at", "midnight", "-o", "-")
    assert "1  A child is born" in done.stderr, done.stderr


def output_that_does_not_arrive_is_an_error():
    done = subprocess.run("exec %s graph -o - >/dev/full" % KARC, shell=True, text=True,
                          stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2 and "standard output" in done.stderr, done
    done = run("-o", "/dev/full", "--format", "json")
    assert done.returncode == 2 and "/dev/full" in done.stderr, done
    assert os.path.exists("/dev/full")


def help_is_no_error():
    done = run("--help")
    assert done.returncode == 0 and "usage: karc graph" in done.stdout and not done.stderr
    for option in ("-o FILE", "--all", "--append", "--at", "--case", "--cpus", "--focus", "--format",
                   "--group", "--highmem", "--mem", "--moments", "--movable", "--nodes", "--scenario", "--seed", "--trace", "--type"):
        assert option in done.stdout, option


def main():
    failed = 0
    tests = [every_scenario_has_a_picture, who_owns_whom_is_told_with_field_names,
             counts_are_references_and_holders, moments_are_headings_steps_and_numbers,
             a_case_is_a_story_of_its_own, leak_shows_what_is_left, cycle_is_told_edge_by_edge,
             a_thousand_objects_stay_readable, what_is_shown_can_be_chosen, graphviz_takes_it,
             the_pictures_that_are_shipped_name_places_that_are_there,
             without_graphviz_the_rest_works, a_graphviz_that_fails_is_told,
             a_recording_has_moments_too, the_same_seed_is_the_same_picture, wrong_use_is_told,
             output_that_does_not_arrive_is_an_error, help_is_no_error]
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
