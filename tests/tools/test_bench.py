#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: `karc bench` reports as it says: one line a goal, filter, JSON, verdicts and exit status, and
peers that are missing are named.

Method: --quick runs, whose figures mean nothing, judged by a goal given with --goal; peers from an
empty directory, and the one that needs nothing but a C compiler. Nothing here depends on time.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))
PEERS = ("C11", "Arc", "shared_ptr", "mimalloc", "GLib", "talloc", "glibc", "jemalloc", "tcmalloc",
         "host")
VERDICTS = ("meets", "misses", "waived", "skipped")
# id, path, ours with its unit, best peer with its figure, ratio with its spread, goal, verdict
LINE = re.compile(r"(?P<id>[A-Z]\d+)  ?(?P<path>.*?)  +(?P<ours>[\d.]+) (?P<unit>ns|ins) +"
                  r"(?P<peer>-|\S+ [\d.]+ (?:ns|ins))  +(?P<ratio>-|[\d.]+(?: \([\d.]+\.\.[\d.]+\))?)"
                  r"  +<= (?P<goal>[\d.]+)(?: ins)?  +(?P<verdict>\w+)$")


def run(*arguments):
    return subprocess.run([KARC, "bench", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=100)


def quick(peers, *arguments):
    return run("--quick", "--rounds", "1", "--peers", peers, *arguments)


def lines_of(done):
    """Lines of the table: what does not begin with #."""
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def one_line_a_goal_with_all_columns(scratch, c11):
    done = quick(c11, "--goal", "1e9", "R1")
    assert done.returncode == 0 and not done.stderr, done
    rows = lines_of(done)
    assert all(row.startswith("R1  ") for row in rows), done.stdout
    assert all(row.split()[-1] in VERDICTS for row in rows), done.stdout
    measured = [LINE.match(row) for row in rows if not row.endswith("skipped")]
    assert len(measured) == 2 and all(measured), done.stdout
    pair, hooks = measured
    assert pair["path"] == "get+put" and pair["peer"].startswith("C11 "), done.stdout
    assert hooks["path"] == "get+put, hooks there but off", done.stdout
    assert hooks["peer"].startswith("bare ") and hooks["verdict"] == "meets", done.stdout
    assert "\033" not in done.stdout, "colours only on a terminal"


def missing_peers_are_named(scratch, c11):
    done = quick(scratch, "--goal", "1e9", "R1")
    for peer in PEERS:
        assert "# peer %s: skipped: not built" % peer in done.stdout, done.stdout
    skipped = [row for row in lines_of(done) if row.endswith("skipped")]
    assert any("no peer here: C11" in row for row in skipped), done.stdout
    assert any("no peer here: shared_ptr GLib talloc" in row for row in skipped), done.stdout
    assert done.returncode == 0, "skipped rows are no findings"
    with open(os.path.join(scratch, "peer_rust.why"), "w", encoding="utf-8") as f:
        f.write("no rustc on PATH\n")
    done = quick(scratch, "R1")
    os.remove(os.path.join(scratch, "peer_rust.why"))
    assert "# peer Arc: skipped: no rustc on PATH\n" in done.stdout, done.stdout


def builder_says_why_a_peer_is_missing(scratch, c11):
    out = os.path.join(scratch, "none")
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bench/peers/build.py"), "--out", out,
                           "c11", "rust", "shared_ptr", "glib"], env={"PATH": scratch},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    for peer, reason in (("c11", "no cc on PATH"), ("rust", "no rustc on PATH"),
                         ("shared_ptr", "no c++ or g++ on PATH")):
        with open(os.path.join(out, "peer_%s.why" % peer), encoding="utf-8") as f:
            assert f.read() == reason + "\n"
    done = quick(out, "get+put")
    assert "# peer Arc: skipped: no rustc on PATH\n" in done.stdout, done.stdout


def a_row_that_misses_makes_the_exit_status(scratch, c11):
    done = quick(c11, "--goal", "1e-9", "R1 get+put")
    rows = lines_of(done)
    assert done.returncode == 1, done
    assert [row.split()[-1] for row in rows].count("misses") == 2, done.stdout
    assert "# 2 of %d rows miss\n" % len(rows) in done.stdout, done.stdout


def yes_and_no_is_a_row_too(scratch, c11):
    done = quick(scratch, "R5")
    assert done.returncode == 0 and len(lines_of(done)) == 1, done
    assert re.match(r"R5  1e7 owners deep, 64 KiB of stack +yes .* yes +meets$",
                    lines_of(done)[0]), done.stdout


def every_row_runs(scratch, c11):
    done = quick(c11, "--goal", "1e9")
    assert done.returncode == 0 and not done.stderr, done
    ids = {row.split()[0] for row in lines_of(done)}
    assert {"R1", "R2", "R3", "R4", "R5", "R6"} <= ids, ids
    listed = run("--list")
    assert {line.split()[0] for line in listed.stdout.splitlines()} == ids, listed.stdout


def filter_selects_by_id_and_by_path(scratch, c11):
    for text, ids in (("R", {"R1", "R2", "R3", "R4", "R5", "R6"}), ("R4", {"R4"}), ("r5", {"R5"}),
                      ("64 KiB of stack", {"R5"}), ("R6 teardown, tree of 1e6, sc", {"R6"})):
        got = {row.split()[0] for row in lines_of(quick(scratch, "--goal", "1e9", text))}
        assert ids <= got and (text == "R" or ids == got), (text, got)
    done = quick(scratch, "R99")
    assert done.returncode == 2 and "no row 'R99'" in done.stderr, done


def json_has_what_the_table_has(scratch, c11):
    done = quick(c11, "--goal", "1e9", "--json", "R1")
    report = json.loads(done.stdout)
    assert report["rounds"] == 1 and report["quick"] is True and report["missed"] == 0, report
    assert [p["name"] for p in report["peers"]] == list(PEERS)
    assert [p["installed"] for p in report["peers"]] == [True] + [False] * (len(PEERS) - 1)
    assert all(("version" if p["installed"] else "reason") in p for p in report["peers"])
    pair = report["rows"][0]
    assert pair["id"] == "R1" and pair["path"] == "get+put" and pair["verdict"] == "meets", pair
    assert pair["best_peer"] == "C11" and pair["unit"] == "ns" and pair["goal"] == 1e9, pair
    assert pair["ratio_least"] <= pair["ratio"] <= pair["ratio_greatest"], pair
    assert {v["name"] for v in pair["all"]} == {"karc", "C11"}, pair
    skipped = [row for row in report["rows"] if row["verdict"] == "skipped"]
    assert skipped and all("note" in row for row in skipped), report
    path = os.path.join(scratch, "rows.json")
    done = quick(c11, "--goal", "1e-9", "--json=" + path, "R1 get+put")
    with open(path, encoding="utf-8") as f:
        report = json.load(f)
    assert done.returncode == 1 and lines_of(done) and report["missed"] == 2, done


def wrong_usage_is_answered(scratch, c11):
    for arguments, complaint in ((("--rounds", "0"), "--rounds"), (("--goal", "no"), "--goal: 'no'"),
                                 (("R1", "R2"), "'R2' is one argument too many"),
                                 (("--json=/no/such/file", "R5"), "/no/such/file"),
                                 (("--nonsense",), "nonsense")):
        done = run(*arguments)
        assert done.returncode == 2 and complaint in done.stderr, done
    done = run("--help")
    assert done.returncode == 0 and "Exit status" in done.stdout, done


def main():
    tests = [one_line_a_goal_with_all_columns, missing_peers_are_named,
             builder_says_why_a_peer_is_missing, a_row_that_misses_makes_the_exit_status,
             yes_and_no_is_a_row_too, every_row_runs, filter_selects_by_id_and_by_path,
             json_has_what_the_table_has, wrong_usage_is_answered]
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        c11 = os.path.join(scratch, "c11")
        subprocess.run([sys.executable, os.path.join(ROOT, "bench/peers/build.py"), "--out", c11,
                        "c11"], check=True)
        for test in tests:
            print("[ RUN      ] " + test.__name__)
            try:
                test(scratch, c11)
                print("[       OK ] " + test.__name__)
            except AssertionError as wrong:
                failed += 1
                print("[  FAILED  ] %s\n%s" % (test.__name__, wrong))
    print("[==========] %d test(s) run." % len(tests))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
