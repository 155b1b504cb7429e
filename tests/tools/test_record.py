#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: `karc record` records real programs, keeps their secrets, and says what is wrong.

Method: small commands recorded into a temporary directory; the recording is read as text here
(the reader has its own tests) and the streams and the exit status are looked at.
"""

import ctypes
import errno
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.environ.get("KARC_ROOT") or os.path.join(HERE, "../.."))
# The leak sanitizer traces, which is what some tests forbid.
WITHOUT_LEAK_CHECK = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
KARC = os.path.abspath(os.environ.get("KARC_PROGRAM") or os.path.join(ROOT, "build/karc"))


def run(*command, **kw):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, **kw)


def record(scratch, *command, status=0, **kw):
    """Records; gives the outcome and the recording's lines."""
    path = os.path.join(scratch, "t.trace")
    done = run(KARC, "record", "-o", path, "--", *command, **kw)
    assert done.returncode == status, (done.returncode, done.stderr)
    with open(path, encoding="ascii") as f:
        text = f.read()
    assert text.startswith("karc-recording 2\n"), text[:100]
    lines = text.splitlines()
    body = lines[lines.index("calls") + 1:]
    assert body[-1] == "end %d" % (len(body) - 1), body[-1]
    assert os.listdir(scratch) == ["t.trace"], os.listdir(scratch)
    return done, lines, body


def python(scratch, program, *arguments, **kw):
    """Records a program in python; gives its output and the recording's lines."""
    done, lines, body = record(scratch, "/usr/bin/python3", "-c", program, *arguments, **kw)
    return done.stdout, lines, body


def streams_and_status_of_the_command_are_its_own(scratch):
    done, _, body = record(scratch, "sh", "-c", "cat; echo err >&2; exit 3", input="in\n",
                           status=3)
    assert done.stdout == "in\n", done.stdout
    assert done.stderr.startswith("err\nkarc record: "), done.stderr
    assert "the command exited with 3" in done.stderr, done.stderr
    assert "1 exited 3" in body


def nothing_that_the_program_says_or_reads_is_kept(scratch):
    env = dict(os.environ, SECRET_NAME="secret-value")
    script = "secret_variable=1; cat secret-file; echo secret-output; test -e secret-path"
    with tempfile.TemporaryDirectory() as elsewhere:
        with open(os.path.join(elsewhere, "secret-file"), "w", encoding="ascii") as f:
            f.write("secret-contents\n")
        _, lines, body = record(scratch, "sh", "-c", script, "secret-argument", env=env,
                                cwd=elsewhere, status=1)
    assert not [line for line in lines if "secret" in line.lower()]
    first = r"1 execve @1 @1 4 \d+ %d \d+ \d+ 4 \d+ \d+ \d+ sh = 0$" % len(env)
    assert re.match(first, body[0]), body[0]


def a_killed_command_is_recorded(scratch):
    done, _, body = record(scratch, "sh", "-c", "kill -9 $$", status=128 + 9)
    assert "the command was killed by SIGKILL" in done.stderr, done.stderr
    assert "1 killed 9" in body


def children_are_numbered_and_end(scratch):
    _, lines, body = record(scratch, "sh", "-c", "(exit 4); /bin/true & wait; exit 0")
    assert "tasks 3" in lines
    assert "2 exited 4" in body and "3 exited 0" in body and "1 exited 0" in body


def a_script_is_followed_to_its_interpreter(scratch):
    with tempfile.TemporaryDirectory() as elsewhere:
        path = os.path.join(elsewhere, "script")
        with open(path, "w", encoding="ascii") as f:
            f.write("#!/bin/sh -e\nexit 0\n")
        os.chmod(path, 0o755)
        _, lines, body = record(scratch, "./script", "one", cwd=elsewhere)
    words = body[0].split()
    named, image = int(words[2][1:]), int(words[3][1:])
    assert named != image
    assert words[4] == "4" and words[5] == str(len("/bin/sh -e ./script one") + 1), body[0]
    assert words[9:14] == ["2", str(len("./script one") + 1), words[10 + 1], words[10 + 2],
                           "script"], body[0]
    assert words[12] == str(len("./script") + 1), body[0]
    assert "script %d @%d %d 3" % (named, image, len("/bin/sh") + 1) in lines
    assert [line for line in lines if line.startswith("elf %d " % image)]
    assert [line for line in lines if line.startswith("load %d " % image)]


def maps_pieces(body, task=1):
    """The text of all maps that were read, put together again."""
    text, at = "", 0
    for line in body:
        found = re.match(r"%d maps %d (\d+) (\w+) ?(.*)$" % (task, task), line)
        if not found:
            continue
        offset, piece, part = int(found.group(1)), found.group(2), found.group(3)
        part = re.sub("%(..)", lambda m: chr(int(m.group(1), 16)), part)
        assert offset == at, (offset, at, line)
        assert (piece in ("line", "begins")) == (not text or text[-1] == "\n" and
                                                 piece != "eof"), line
        text += part + ("\n" if piece in ("line", "ends") else "")
        at = len(text)
    return text


def what_is_read_of_maps_is_kept_line_by_line(scratch):
    done, _, body = record(scratch, "cat", "/proc/self/maps")
    assert maps_pieces(body) == done.stdout, body
    assert [line for line in body if line.endswith(" eof")] == \
        ["1 maps 1 %d eof" % len(done.stdout)]


def what_is_read_of_maps_in_small_steps_is_kept_in_pieces(scratch):
    done, _, body = record(scratch, "dd", "status=none", "bs=37", "if=/proc/self/maps")
    assert maps_pieces(body) == done.stdout, body
    assert [line for line in body if " inside " in line]


def maps_of_a_child_name_the_child(scratch):
    _, _, body = record(scratch, "sh", "-c", "sleep 1000 & cat /proc/$!/maps; kill $!; wait $!",
                        status=128 + 15)
    reader = {line.split()[0] for line in body if " maps " in line}
    assert {line.split()[2] for line in body if " maps " in line} == {"2"}
    assert reader == {"3"}, reader


def views_that_cannot_be_compared_are_only_told(scratch):
    done, _, body = record(scratch, "cat", "/proc/self/smaps_rollup",
                           "/proc/%d/maps" % os.getpid())
    noted = [line for line in body if " view " in line]
    assert sum(int(line.split()[-1]) for line in noted) == len(done.stdout), noted
    assert noted[0].startswith("1 view 1 smaps_rollup "), noted
    assert noted[-1].startswith("1 view 0 maps "), noted
    assert not [line for line in body if " maps " in line and " view " not in line]


def descriptors_at_the_start_are_in_the_head(scratch):
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as kept_back:
        os.dup2(given.fileno(), 43)
        try:
            _, lines, body = python(scratch, "import os; os.dup2(43, 5)", pass_fds=(43,),
                                    stdin=subprocess.DEVNULL)
        finally:
            os.close(43)
        del kept_back
    assert [line for line in lines if re.match(r"fds? ", line)] == \
        ["fds 4", "fd 0 @-", "fd 1 @-", "fd 2 @-", "fd 43 @-"], lines
    assert [line for line in body if re.match("1 dup[23] 43 5 .*= 5$", line)]


MAPPED_FILE = """
import mmap, os, sys
path = sys.argv[1]
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8192)
keep = mmap.mmap(fd, 8192)
"""


def changes_told(lines, body):
    """What is told of the file "mapped" but its opening and mapping; and that file's line."""
    file = [line for line in lines if line.endswith("/mapped")][0].split()
    told = [line.split(" ", 1)[1].replace("@" + file[1], "@") for line in body
            if "@" + file[1] in line.split() and not re.search("mmap|openat|dup", line)]
    return file, told


LATE_STRACE = """#!/usr/bin/python3
import subprocess, sys
words = [%r] + sys.argv[1:]
if sys.argv[1] == "-V":
    sys.exit(subprocess.run(words).returncode)
fifo = words[words.index("-o") + 1]
words[words.index("-o") + 1] = printed = sys.argv[0] + ".printed"
status = subprocess.run(words).returncode
with open(printed, "rb") as said, open(fifo, "wb") as to:
    to.write(said.read())
sys.exit(status)
"""


def late_strace(where):
    """A PATH in which strace says nothing before the program has ended."""
    with open(os.path.join(where, "strace"), "w", encoding="ascii") as f:
        f.write(LATE_STRACE % shutil.which("strace"))
    os.chmod(f.name, 0o755)
    return dict(os.environ, PATH=where + ":" + os.environ["PATH"])


def check_sizes(scratch, **kw):
    with tempfile.TemporaryDirectory() as elsewhere:
        _, lines, body = python(scratch, MAPPED_FILE + """
os.lseek(fd, 0, os.SEEK_END)
os.write(fd, b"x" * 5000)
os.pwrite(fd, b"y" * 10, 20000)
os.write(fd, b"x" * 10)
other = os.open(path, os.O_WRONLY | os.O_APPEND)
os.writev(other, [b"z" * 100, b"z"])
twin = os.dup(fd)
os.lseek(twin, 30000, os.SEEK_SET)
os.write(fd, b"x")
os.ftruncate(fd, 100)
os.close(os.open(path, os.O_RDWR | os.O_TRUNC))
os.sendfile(fd, os.open("/etc/passwd", os.O_RDONLY), None, 10)
os.unlink(path)
""", os.path.join(elsewhere, "mapped"), **kw)
    file, told = changes_told(lines, body)
    assert file[0] == "file" and file[2] == "regular" and file[4] == "8192", file
    assert told == ["ftruncate 3 8192 @ = 0", "resized @ 13192", "resized @ 20010",
                    "resized @ 20111", "resized @ 30001", "ftruncate 3 100 @ = 0", "resized @ 0",
                    "resized @ 30011", "removed @"], told


def sizes_of_mapped_files_are_told_in_time(scratch):
    check_sizes(scratch)


def sizes_are_told_however_far_behind_the_program_this_runs(scratch):
    """The file is gone before it can be looked at: its calls say what it was."""
    with tempfile.TemporaryDirectory() as late:
        check_sizes(scratch, env=late_strace(late))


def a_new_file_is_known_to_be_regular_and_empty(scratch):
    with tempfile.TemporaryDirectory() as late, tempfile.TemporaryDirectory() as elsewhere:
        _, lines, body = python(scratch, """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_EXCL)
os.write(fd, b"x" * 5000)
keep = mmap.mmap(fd, 5000)
os.unlink(sys.argv[1])
""", os.path.join(elsewhere, "mapped"), env=late_strace(late))
    file, told = changes_told(lines, body)
    assert file[2] == "regular" and file[4] == "5000" and told == ["removed @"], (file, told)


def check_names(scratch, **kw):
    with tempfile.TemporaryDirectory() as elsewhere:
        path = os.path.join(elsewhere, "mapped")
        _, lines, body = python(scratch, MAPPED_FILE + """
os.rename(path, path + "-new")
os.unlink(path + "-new")
os.ftruncate(fd, 4096)
again = mmap.mmap(fd, 4096)
""", path, **kw)
    file, told = changes_told(lines, body)
    assert file[4] == "8192", file
    assert told == ["ftruncate 3 8192 @ = 0", "renamed @ %s-new" % path, "removed @",
                    "ftruncate 3 4096 @ = 0"], told


def names_of_mapped_files_are_followed(scratch):
    check_names(scratch)


def names_are_followed_however_far_behind_the_program_this_runs(scratch):
    with tempfile.TemporaryDirectory() as late:
        check_names(scratch, env=late_strace(late))


def descriptors_in_messages_are_told(scratch):
    _, _, body = python(scratch, """
import os, socket
a, b = socket.socketpair()
socket.send_fds(a, [b"x"], [0, 1])
print(socket.recv_fds(b, 1, 2)[1])
""")
    assert [line for line in body if line.startswith("1 socketpair = 0 3 4 0x80001")], body
    assert [line for line in body if " received " in line] == ["1 received 5 0 @-",
                                                               "1 received 6 0 @-"]


def new_descriptors_say_whether_exec_closes_them(scratch):
    _, _, body = python(scratch, """
import select, socket, os
socket.socket(); select.epoll(); os.eventfd(0, 0); os.eventfd(0, os.EFD_CLOEXEC)
os.pidfd_open(os.getpid())
""")
    found = {line.split(" = ")[0] for line in body if re.match("1 (socket|ep|ev|pidfd)", line)}
    assert found == {"1 socket 1", "1 epoll_create1 1", "1 eventfd2 0", "1 eventfd2 1",
                     "1 pidfd_open 1"}, found


def signals_groups_and_limits_are_told_by_ordinals(scratch):
    _, _, body = python(scratch, """
import os, resource, signal
ready, tell = os.pipe()
child = os.fork()
if not child:
    os.setsid()
    os.write(tell, b"x")
    signal.pause()
os.read(ready, 1)
os.getpgid(0), os.getsid(child), os.getpgid(1)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
resource.getrlimit(resource.RLIMIT_NOFILE)
os.kill(child, signal.SIGTERM)
os.waitpid(child, 0)
os.killpg(0, 0)
""")
    told = {line.replace("< ", "") if " = " in line else line for line in body}
    for wanted in ("2 setsid = 2", "1 kill 2 15 = 0", "2 signal 15 0 0x0 1", "2 killed 15",
                   "1 wait4 = 2 0xf 0x0", "1 getpgid ? = 0", "1 kill 0 0 = 0"):
        assert {wanted, wanted.replace("wait4", "wait4 2")} & told, (wanted, body)
    assert [line for line in body if re.match(r"1 (> )?prlimit64 0 7 1 100 200", line)], body
    assert [line for line in body if line.endswith(" = 0 100 200")], body


def children_can_be_waited_for_by_descriptor(scratch):
    _, _, body = python(scratch, """
import os
child = os.fork()
if not child:
    os._exit(7)
print(os.waitid(os.P_PIDFD, os.pidfd_open(child), os.WEXITED))
child = os.fork()
if not child:
    os._exit(8)
print(os.waitid(os.P_PID, child, os.WEXITED))
""")
    found = [re.sub(r"(< waitid|waitid \S+ \S+)", "waitid", line) for line in body
             if " waitid " in line and " = " in line]
    assert found == ["1 waitid = 0 2 1 7 0x4", "1 waitid = 0 3 1 8 0x4"], found
    assert [line for line in body if re.match("1 (> )?waitid 3 3", line)], body


def memfds_have_their_names(scratch):
    _, lines, body = python(scratch, """
import mmap, os
fd = os.memfd_create("some name", os.MFD_ALLOW_SEALING)
os.ftruncate(fd, 4096)
mmap.mmap(fd, 4096)
""")
    assert [line for line in lines if re.match(r"file \d+ memfd 0777 4096 4096 /memfd:some%20name$",
                                               line)], lines
    assert [line for line in body if re.match(r"1 memfd_create 0x2 = 3 @\d+", line)]


def what_the_first_calls_return_matches_the_layout(scratch):
    done, lines, body = record(scratch, "cat", "/proc/self/maps")
    base = int([line.split()[1] for line in lines if line.startswith("mmap-base")][0], 16)
    top = int([line.split()[1] for line in lines if line.startswith("stack-top")][0], 16)
    starts, ends = {}, {}
    for row in done.stdout.splitlines():
        words = row.split()
        low, high = (int(part, 16) for part in words[0].split("-"))
        name = words[-1]
        starts.setdefault(name, low)
        ends[name] = high
    assert ends["[stack]"] == top
    assert max(end for end in ends.values() if end <= base) == base
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines if line[:4] in
             ("vvar", "vdso")}
    assert ends["[vdso]"] - starts["[vdso]"] == sizes["vdso"]
    assert starts["[vdso]"] - starts["[vvar]"] == sizes["vvar"]
    brk = [line for line in body if line.startswith("1 brk ")][0]
    assert int(brk.split()[-1], 16) == starts["[heap]"], brk


def wrong_usage_ends_with_status_2(scratch):
    out = os.path.join(scratch, "x")
    for arguments, said in (
            (["-o", out], "no command"), (["true"], "-o FILE is missing"),
            (["-o", "-", "true"], "standard output"), (["-x", "true"], "unknown option"),
            (["-o", out, "--", "no-such-command-here"], "no such command"),
            (["-o", out, "--", "/etc/passwd"], "no such command"),
            (["-o", scratch, "--", "true"], "something else already"),
            (["-o", scratch + "/none/x", "--", "true"], "No such file")):
        done = run(KARC, "record", *arguments)
        assert done.returncode == 2, (arguments, done)
        assert said in done.stderr, (said, done.stderr)
    assert not os.listdir(scratch)
    done = run(KARC, "record", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: karc record"), done


def missing_strace_is_explained(scratch):
    os.symlink(shutil.which("true"), os.path.join(scratch, "true"))
    done = run(KARC, "record", "-o", os.path.join(scratch, "x"), "true",
               env=dict(os.environ, PATH=scratch))
    assert done.returncode == 2 and "./configure.py --install" in done.stderr, done


def fake_strace(scratch, version, printed=""):
    """A PATH in which strace is a script that has that version, and prints the text given."""
    where = os.path.join(scratch, "bin")
    os.mkdir(where)
    with open(os.path.join(where, "strace"), "w", encoding="ascii") as f:
        f.write("#!/bin/sh\n[ \"$1\" != -V ] || { echo '%s'; exit; }\n"
                "while [ \"$1\" != -o ]; do shift; done\n"
                "cat >\"$2\" <<'EOF'\n%sEOF\n" % (version, printed))
    os.chmod(os.path.join(where, "strace"), 0o755)
    return dict(os.environ, PATH=where + ":" + os.environ["PATH"])


def record_printed(scratch, printed):
    """The body that comes of what a strace prints."""
    path = os.path.join(scratch, "t.trace")
    first = '7 execve("\\x2f\\x62\\x69\\x6e\\x2f\\x74\\x72\\x75\\x65", ["\\x61"], []) = 0\n'
    done = run(KARC, "record", "-o", path, "true",
               env=fake_strace(scratch, "strace -- version 6.1", first + printed))
    if done.returncode:
        return done.stderr
    with open(path, encoding="ascii") as f:
        return f.read().split("\ncalls\n")[1].splitlines()[1:-1]


def calls_in_which_a_task_was_killed_have_no_result(scratch):
    assert record_printed(scratch, """7 fork() = 8
8 mmap(NULL, 4096 <unfinished ...>
8 <... mmap resumed>, 0x1, 0x22, -1, 0) = ?
8 +++ killed by SIGKILL +++
7 fork() = 9
9 openat( <unfinished ...>
9 <... openat resumed>) = -1 (errno 18446744073709551554)
9 +++ killed by SIGKILL +++
7 ????( <unfinished ...>
7 <... ???? resumed>) = ?
7 +++ killed by SIGTERM (core dumped) +++
""".replace("4096 <unf", "4096, 0x1, 0x22, -1, 0 <unf").replace("resumed>, 0x1, 0x22, -1, 0)",
                                                              "resumed>)")
                          .replace("openat( <", "openat(-100, \"\\x61\", 0 <")) == [
        "1 fork = 2", "2 > mmap 0x0 4096 0x1 0x22 -1 0x0 @-", "2 < mmap = ?", "2 killed 9",
        "1 fork = 3", "3 > openat 0x0 0", "3 < openat = ?", "3 killed 9",
        "1 > unknown", "1 < unknown = ?", "1 killed 15 core"]


def a_line_that_is_not_understood_ends_the_recording_and_is_shown(scratch):
    said = record_printed(scratch, "7 munmap(what, 4096) = 0\n7 +++ exited with 0 +++\n")
    assert "strace printed a munmap that is not understood: (what, 4096) = 0" in said, said


def a_line_without_an_end_is_shown(scratch):
    said = record_printed(scratch, "7 +++ exited with 0 +++\n7 brk(0\n")
    assert "strace printed what is not understood: 7 brk(0" in said, said


def an_old_strace_is_explained(scratch):
    done = run(KARC, "record", "-o", os.path.join(scratch, "x"), "true",
               env=fake_strace(scratch, "strace -- version 4.26"))
    assert done.returncode == 2, done
    assert "version 4.26, too old: 5.5 or later is needed" in done.stderr, done


def a_strace_that_is_another_program_is_explained(scratch):
    done = run(KARC, "record", "-o", os.path.join(scratch, "x"), "true",
               env=fake_strace(scratch, "hello"))
    assert done.returncode == 2 and "does not say its version" in done.stderr, done


def tracing_denied_by_a_tracer_is_explained(scratch):
    """What is traced already cannot trace its own children."""
    done = run("strace", "-f", "-qq", "-e", "trace=none", "-o", "/dev/null", KARC, "record", "-o",
               os.path.join(scratch, "x"), "true",
               env=WITHOUT_LEAK_CHECK)
    assert done.returncode == 2 and "tracing is denied" in done.stderr, done
    assert "This process is traced itself, by process " in done.stderr, done
    assert not os.listdir(scratch)


class SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def filtered(call, action):
    """A preexec_fn after which the system call with that number ends with @action."""
    def instruction(code, jt, jf, k):
        return struct.pack("=HBBI", code, jt, jf, k)

    program = ctypes.create_string_buffer(
        instruction(0x20, 0, 0, 0) +                # load the number of the call
        instruction(0x15, 0, 1, call) +             # is it this one?
        instruction(0x06, 0, 0, action) +           # yes
        instruction(0x06, 0, 0, 0x7fff0000))        # no: allow it
    libc = ctypes.CDLL(None, use_errno=True)

    def install():
        holder = SockFprog(4, ctypes.cast(program, ctypes.c_void_p))
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(holder), 0, 0):
            raise OSError(ctypes.get_errno(), "no filter")
    return install


PTRACE, PERSONALITY = 101, 135
ERRNO, KILL = 0x00050000, 0x80000000


def tracing_denied_by_a_filter_is_explained(scratch):
    for action, said in ((ERRNO | errno.EPERM, "it ends with EPERM"),
                         (KILL, "whoever tries is killed by SIGSYS")):
        done = run(KARC, "record", "-o", os.path.join(scratch, "x"), "true",
                   env=WITHOUT_LEAK_CHECK, preexec_fn=filtered(PTRACE, action))
        assert done.returncode == 2 and "tracing is denied here (ptrace)" in done.stderr, done
        assert said in done.stderr and "--cap-add SYS_PTRACE" in done.stderr, done
    assert not os.listdir(scratch)


def personality_denied_by_a_filter_is_explained(scratch):
    for action, said in ((ERRNO | errno.EPERM, "it ends with EPERM"),
                         (KILL, "whoever tries is killed by SIGSYS")):
        done = run(KARC, "record", "-o", os.path.join(scratch, "x"), "true",
                   env=WITHOUT_LEAK_CHECK, preexec_fn=filtered(PERSONALITY, action))
        assert done.returncode == 2, done
        assert "address randomisation cannot be switched off" in done.stderr, done
        assert said in done.stderr and "seccomp=unconfined" in done.stderr, done
    assert not os.listdir(scratch)


def a_command_that_is_no_program_is_explained(scratch):
    path = os.path.join(scratch, "text")
    with open(path, "w", encoding="ascii") as f:
        f.write("hello\n")
    os.chmod(path, 0o755)
    done = run(KARC, "record", "-o", os.path.join(scratch, "x"), path)
    assert done.returncode == 1 and "cannot be executed: ENOEXEC" in done.stderr, done
    assert os.listdir(scratch) == ["text"]


def an_output_that_cannot_be_written_is_explained(scratch):
    done = run(KARC, "record", "-o", "/proc/none", "true")
    assert done.returncode == 2 and "/proc/none: " in done.stderr, done
    os.symlink("/dev/full", os.path.join(scratch, "full"))
    done = run(KARC, "record", "-o", os.path.join(scratch, "full"), "true")
    assert done.returncode == 2 and "something else already" in done.stderr, done


def a_signal_to_karc_reaches_the_command(scratch):
    path = os.path.join(scratch, "t.trace")
    with subprocess.Popen([KARC, "record", "-o", path, "--", "sh", "-c", "echo go; exec sleep 60"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "go\n"
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=30)
    assert child.returncode == 128 + signal.SIGTERM and "killed by SIGTERM" in said, said


TESTS = [
    streams_and_status_of_the_command_are_its_own,
    nothing_that_the_program_says_or_reads_is_kept,
    a_killed_command_is_recorded,
    children_are_numbered_and_end,
    a_script_is_followed_to_its_interpreter,
    what_is_read_of_maps_is_kept_line_by_line,
    what_is_read_of_maps_in_small_steps_is_kept_in_pieces,
    maps_of_a_child_name_the_child,
    views_that_cannot_be_compared_are_only_told,
    descriptors_at_the_start_are_in_the_head,
    sizes_of_mapped_files_are_told_in_time,
    sizes_are_told_however_far_behind_the_program_this_runs,
    a_new_file_is_known_to_be_regular_and_empty,
    names_of_mapped_files_are_followed,
    names_are_followed_however_far_behind_the_program_this_runs,
    descriptors_in_messages_are_told,
    new_descriptors_say_whether_exec_closes_them,
    signals_groups_and_limits_are_told_by_ordinals,
    children_can_be_waited_for_by_descriptor,
    memfds_have_their_names,
    what_the_first_calls_return_matches_the_layout,
    wrong_usage_ends_with_status_2,
    missing_strace_is_explained,
    calls_in_which_a_task_was_killed_have_no_result,
    a_line_that_is_not_understood_ends_the_recording_and_is_shown,
    a_line_without_an_end_is_shown,
    an_old_strace_is_explained,
    a_strace_that_is_another_program_is_explained,
    tracing_denied_by_a_tracer_is_explained,
    tracing_denied_by_a_filter_is_explained,
    personality_denied_by_a_filter_is_explained,
    a_command_that_is_no_program_is_explained,
    an_output_that_cannot_be_written_is_explained,
    a_signal_to_karc_reaches_the_command,
]


def can_trace():
    """Containers often forbid ptrace or personality; then there is nothing to test."""
    if not shutil.which("strace"):
        return False
    return run("setarch", "-R", "strace", "-qq", "-o", "/dev/null", "true").returncode == 0


def main():
    failed = 0
    possible = can_trace()
    for test in TESTS:
        print("[ RUN      ] " + test.__name__, flush=True)
        if not possible:
            print("[  SKIPPED ] " + test.__name__, flush=True)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            try:
                test(scratch)
                print("[       OK ] " + test.__name__, flush=True)
            except Exception as problem:            # pylint: disable=broad-except
                failed += 1
                print("%s: %r" % (type(problem).__name__, problem))
                print("[  FAILED  ] " + test.__name__, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
