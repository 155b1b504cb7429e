#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: the checkers of the build do find what they are for.

Method: small wrong inputs in a temporary copy: an include that points up, a test that dies, one
that runs nothing, a leak for the analyzer.  And configure.py's lists of what is left out somewhere
name what is there, and for their reason.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))

sys.dont_write_bytecode = True
sys.path.insert(0, ROOT)
import configure


def run(*command, **kw):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **kw)


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def layers(scratch, files):
    tree = tempfile.mkdtemp(dir=scratch)
    shutil.copy(os.path.join(ROOT, "configure.py"), tree)
    for path, text in files.items():
        write(os.path.join(tree, path), text)
    return run(sys.executable, os.path.join(ROOT, "analysis/layers.py"), tree)


def layers_accepts_includes_that_point_down(scratch):
    done = layers(scratch, {
        "src/hw/a.c": '#include <karc/base/types.h>\n#include "internal.h"\n',
        "src/hw/internal.h": "#include <karc/hw/cpu.h>\n",
        "tests/mm/slab/test_slab.c": '#include <karc/mm/phys/page.h>\n#include "fixture.h"\n',
        "tests/support/fixture.h": "#include <karc/proc/task.h>\n",
        "tools/karc.c": "#include <karc/proc/task.h>\n",
    })
    assert done.returncode == 0, done.stdout


def layers_finds_includes_that_point_up(scratch):
    done = layers(scratch, {
        "src/hw/a.c": "#include <karc/proc/task.h>\n",
        "include/karc/mm/phys/page.h": "#include <karc/mm/slab/slab.h>\n",
        "tests/base/test_a.c": "# include <karc/hw/cpu.h>\n",
        "src/kobject/k.c": '#include "hw/internal.h"\n',
        "src/hw/internal.h": "",
    })
    assert done.returncode == 1, done.stdout
    for where in ("src/hw/a.c:1", "page.h:1", "test_a.c:1", "k.c:1"):
        assert where in done.stdout, done.stdout
    assert done.stdout.count("layers: ") == 4, done.stdout


def runner(scratch, script, *options):
    path = os.path.join(scratch, "test_x")
    write(path, "#!/bin/sh\n" + script, 0o755)
    done = run(sys.executable, os.path.join(ROOT, "tests/support/run.py"), "--root", scratch,
               "--build", scratch, *options, path)
    return done.returncode, done.stdout.splitlines()


def runner_counts_test_cases(scratch):
    status, lines = runner(scratch, "echo '[ RUN      ] a'; echo '[       OK ] a'\n"
                           "echo '[ RUN      ] b'; echo '[       OK ] b'\n")
    assert (status, lines[-1]) == (0, "2 passed, 0 failed"), lines


def runner_shows_the_output_of_a_failure(scratch):
    status, lines = runner(scratch, "echo '[ RUN      ] a'; echo why; echo '[  FAILED  ] a'\n"
                           "echo '[ RUN      ] b'; echo '[       OK ] b'; exit 1\n")
    assert (status, lines[-1]) == (1, "1 passed, 1 failed"), lines
    assert "why" in lines, lines


def runner_counts_a_case_that_died(scratch):
    status, lines = runner(scratch, "echo '[ RUN      ] a'; kill -SEGV $$\n")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed"), lines


def runner_refuses_a_program_that_tests_nothing(scratch):
    status, lines = runner(scratch, "exit 0\n")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed"), lines


def runner_notices_a_bad_end_after_good_cases(scratch):
    status, lines = runner(scratch, "echo '[ RUN      ] a'; echo '[       OK ] a'; exit 23\n")
    assert (status, lines[-1]) == (1, "1 passed, 1 failed"), lines


def runner_ends_what_hangs(scratch):
    status, lines = runner(scratch, "echo '[ RUN      ] a'; exec sleep 60\n", "--timeout", "1")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed"), lines


def analyze(scratch, source, clang="clang"):
    path = os.path.join(scratch, "leak.c")
    write(path, '#include "toy.h"\n' + source)
    out = os.path.join(scratch, "out")
    return run(sys.executable, os.path.join(ROOT, "analysis/analyze.py"), "--clang", clang,
               "--depfile", out + ".d", "--result", out, path, "--",
               "-I" + os.path.join(ROOT, "include"), "-I" + os.path.join(ROOT, "analysis/corpus"))


def analyzer_fails_on_a_leak_and_passes_without(scratch):
    if not shutil.which("clang"):
        return
    good = "void f(void) { struct file *file = file_new(1); file_put(file); }\n"
    bad = "void f(void) { struct file *file = file_new(1); (void)file; }\n"
    assert analyze(scratch, good).returncode == 0
    done = analyze(scratch, bad)
    assert done.returncode == 1 and "leak" in done.stdout, done.stdout


def analyzer_says_when_clang_is_missing(scratch):
    done = analyze(scratch, "", clang="no-such-clang")
    assert done.returncode != 0 and "not installed" in done.stdout, done.stdout


def runner_asks_for_one_mode_where_threads_are_looked_at(scratch):
    """Above hw, under the thread sanitizer; what is skipped is told and is not counted."""
    script = ("echo '[ RUN      ] a'; [ \"$KARC_TEST_MODE\" = parallel ] && "
              "echo '[  SKIPPED ] a' || echo '[       OK ] a'\n")
    for variant, below, lines in (("tsan", "mm/slab", ["1 skipped", "0 passed, 0 failed"]),
                                  ("tsan", "hw", ["1 passed, 0 failed"]),
                                  ("asan", "mm/slab", ["1 passed, 0 failed"])):
        path = os.path.join(scratch, "tests", below, "test_x")
        write(path, "#!/bin/sh\n" + script, 0o755)
        done = run(sys.executable, os.path.join(ROOT, "tests/support/run.py"), "--root", scratch,
                   "--build", scratch, "--variant", variant, path)
        assert done.stdout.splitlines()[1:] == lines, done.stdout


def configure_leaves_out_of_tsan_only_what_has_one_thread(_):
    for name in configure.ONE_THREAD_TESTS:
        assert name in configure.TOOLS_TESTS, name
        with open(os.path.join(ROOT, "tests/tools", name), encoding="utf-8") as f:
            words = re.findall(r"\w+", f.read())
        assert not {"parallel", "MODES", "fixture", "pthread_create"} & set(words), name


def configure_knows_the_sources_to_look_at_deeply(_):
    unknown = set(configure.DEEP_ANALYSIS) - set(configure.all_sources())
    assert not unknown, unknown


def configure_runs_once_only_what_is_a_test(_):
    unknown = set(configure.ONCE_TESTS) - set(configure.BUILD_TESTS)
    assert not unknown, unknown


def main():
    failed = 0
    for name, case in list(globals().items()):
        if not name.startswith(("layers_", "runner_", "analyzer_", "configure_")):
            continue
        print(f"[ RUN      ] {name}")
        try:
            with tempfile.TemporaryDirectory() as scratch:
                case(scratch)
            print(f"[       OK ] {name}")
        except AssertionError as why:
            failed += 1
            print(f"[  FAILED  ] {name}\n{why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
