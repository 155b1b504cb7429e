#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the peers of the benchmark that this machine has what for.

    build.py --out DIR [--cc CC] [--list] [NAME...]

DIR/peer_NAME.so is a peer; DIR/peer_NAME.why says in one line why there is none, which `karc bench`
repeats. What is newer than its sources and was built from the same version is left alone. --list
prints the peers with the Debian packages they need.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
WARN = ["-Wall", "-Wextra"]
# Where a loop lies by chance must not decide: two locked instructions cost a fifth more when a line
# ends between them.
SHARED = ["-O2", "-g", "-fPIC", "-shared", "-pthread", "-falign-functions=64",
          "-falign-loops=64"]


class Missing(Exception):
    """Why a peer cannot be built, in one line."""


def ask(*command):
    """First line that a command prints, or None if it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True)
    except OSError:
        return None
    return (done.stdout.splitlines() or [""])[0].strip() if done.returncode == 0 else None


def tool(*names):
    for name in names:
        if name and shutil.which(shlex.split(name)[0]):
            return shlex.split(name)
    raise Missing("no %s on PATH" % " or ".join(n for n in names if n))


def pkg(name):
    """Flags and version of a library that pkg-config knows."""
    tool("pkg-config")
    version = ask("pkg-config", "--modversion", name)
    if version is None:
        raise Missing("pkg-config knows no %s" % name)
    return shlex.split(ask("pkg-config", "--cflags", "--libs", name)), version


def mimalloc_flags(cxx):
    """Debian's package has no pkg-config file: see whether the compiler finds it."""
    try:
        return pkg("mimalloc")
    except Missing:
        pass
    probe = subprocess.run(cxx + ["-x", "c++", "-", "-lmimalloc", "-o", os.devnull],
                           input="#include <mimalloc.h>\nint main() { return mi_version() == 0; }",
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    if probe.returncode != 0:
        raise Missing("neither pkg-config nor the compiler finds mimalloc")
    return ["-lmimalloc"], "of the system"


def c11(args):
    cc = tool(args.cc, "cc")
    return cc + WARN + SHARED + ["-std=gnu17"], [], ask(*cc, "--version")


def shared_ptr(args):
    cxx = tool(args.cxx, "c++", "g++")
    return cxx + WARN + SHARED + ["-std=c++17"], [], ask(*cxx, "--version")


def mimalloc(args):
    compile_, _, version = shared_ptr(args)
    flags, library = mimalloc_flags(compile_[:1])
    return compile_, flags, "mimalloc %s, %s" % (library, version)


def glibc(args):
    compile_, _, version = c11(args)
    library = ask("getconf", "GNU_LIBC_VERSION")
    if not library:
        raise Missing("the C library is not glibc")
    return compile_ + ["-fno-builtin"], [], "%s, %s" % (library, version)


def allocator(package):
    def how(args):
        compile_, _, version = c11(args)
        flags, library = pkg(package)
        name = package[3:] if package.startswith("lib") else package
        return compile_ + ["-fno-builtin"], flags, "%s %s, %s" % (name, library, version)
    return how


def glib(args):
    compile_, _, version = c11(args)
    flags, library = pkg("glib-2.0")
    return compile_, flags, "GLib %s, %s" % (library, version)


def talloc(args):
    compile_, _, version = c11(args)
    flags, library = pkg("talloc")
    return compile_, flags, "talloc %s, %s" % (library, version)


def rust(_):
    rustc = tool("rustc")
    version = ask(*rustc, "--version")
    if version is None:
        raise Missing("rustc --version fails")
    return rustc + ["--edition", "2018", "-C", "opt-level=3", "-C", "panic=abort",
                    "--crate-type", "cdylib", "--crate-name", "peer_rust"], [], version


# name: (source, how, Debian packages)
PEERS = {
    "c11": ("c11.c", c11, ["gcc"]),
    "rust": ("rust.rs", rust, ["rustc"]),
    "shared_ptr": ("shared_ptr.cc", shared_ptr, ["g++"]),
    "mimalloc": ("mimalloc.cc", mimalloc, ["g++", "libmimalloc-dev"]),
    "glib": ("glib.c", glib, ["libglib2.0-dev"]),
    "talloc": ("talloc.c", talloc, ["libtalloc-dev"]),
    "glibc": ("glibc.c", glibc, ["gcc"]),
    "jemalloc": ("jemalloc.c", allocator("jemalloc"), ["libjemalloc-dev"]),
    "tcmalloc": ("tcmalloc.c", allocator("libtcmalloc_minimal"), ["libgoogle-perftools-dev"]),
    "host": ("host.c", c11, ["gcc"]),
}


def newest_source():
    return max(os.path.getmtime(os.path.join(HERE, f)) for f in os.listdir(HERE)
               if not f.startswith("__"))


def read(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except OSError:
        return None


def replace(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".new", path)


def up_to_date(made, note, text):
    return (os.path.exists(made) and read(note) == text
            and os.path.getmtime(made) > newest_source())


def build(name, args):
    source, how, _ = PEERS[name]
    made = os.path.join(args.out, "peer_%s.so" % name)
    why, note = made[:-3] + ".why", made[:-3] + ".txt"
    try:
        compile_, flags, version = how(args)
        text = "%s\n%s\n" % (version, " ".join(compile_ + flags))
        if up_to_date(made, note, text):
            return
        done = subprocess.run(compile_ + ["-o", made + ".new", os.path.join(HERE, source)] + flags,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.stderr.write(done.stdout)
            raise Missing("it does not compile with " + compile_[0])
        os.replace(made + ".new", made)
        replace(note, text)
        if os.path.exists(why):
            os.remove(why)
    except Missing as missing:
        replace(why, str(missing) + "\n")
        for stale in (made, note):
            if os.path.exists(stale):
                os.remove(stale)


def main():
    p = argparse.ArgumentParser(description="Builds the peers of the benchmark.")
    p.add_argument("--out", default=".", metavar="DIR")
    p.add_argument("--cc")
    p.add_argument("--cxx")
    p.add_argument("--list", action="store_true")
    p.add_argument("names", nargs="*", metavar="NAME")
    args = p.parse_args()
    unknown = [n for n in args.names if n not in PEERS]
    if unknown:
        p.error("no peer %s; there are: %s" % (unknown[0], " ".join(PEERS)))
    if args.list:
        for name, (_, _, packages) in PEERS.items():
            print("%-12s %s" % (name, " ".join(packages)))
        return
    os.makedirs(args.out, exist_ok=True)
    for name in args.names or PEERS:
        build(name, args)


if __name__ == "__main__":
    main()
