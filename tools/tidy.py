#!/usr/bin/env python3
"""clang-tidy over everything that a build directory compiles. What takes long is Asio's headers, so files of one folder go through it
together; those whose names clash are parted until they do not.

usage: tools/tidy.py [--build DIR] [-j N] [PATH...]        PATH: only files below it
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIDY = os.environ.get("CLANG_TIDY", "clang-tidy-19")
AT_ONCE = 12  # files in one run
# A pack includes source files on purpose.
CHECKS = "--checks=-bugprone-suspicious-include"
# How a test puts its input together costs nobody anything, and what it has a peer do is kept by the peer.
TEST_CHECKS = CHECKS + ",-cppcoreguidelines-avoid-capturing-lambda-coroutines,-performance-inefficient-vector-operation,-performance-inefficient-string-concatenation"
FLAGS = ["-quiet", r"--header-filter=(lib|cmd|test)/.*\.(h|cc)$"]
CLASH = re.compile(r"\[clang-diagnostic-error\]|: fatal error:")


def command_of(entry):
    """The words of a compile command that matter to a parser: without its files, and what it is to write."""
    words = shlex.split(entry["command"])
    out, skip = [], False
    for word in words[words.index(next(w for w in words if "clang++" in w)):]:
        if skip:
            skip = False
        elif word in ("-MQ", "-MF", "-o", "-c"):
            skip = True
        elif word not in ("-MD", "-Winvalid-pch"):
            out.append(word)
    return out


def packs_of(build, paths):
    folders = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if not file.is_relative_to(ROOT) or file.suffix != ".cc" or ".gen." in file.name or build in file.parents:
            continue
        name = str(file.relative_to(ROOT))
        if not name.startswith(("lib/", "cmd/", "test/")) or (paths and not any(file.is_relative_to(p) for p in paths)):
            continue
        # Programs each have a main.
        alone = re.search(r"^int main\(|LLVMFuzzerTestOneInput", file.read_text(), re.M)
        folders.setdefault(file if alone else file.parent, {}).setdefault(file, entry)
    packs = []
    for folder in sorted(folders):
        files = sorted(folders[folder].items())
        packs += [files[i:i + AT_ONCE] for i in range(0, len(files), AT_ONCE)]
    return packs


def check(build, scratch, files):
    """What clang-tidy says of the files, "" when nothing."""
    _, entry = files[0]
    with tempfile.TemporaryDirectory(dir=scratch) as work:
        pack = pathlib.Path(work, "pack.cc")
        pack.write_text("".join(f'#include "{file}"\n' for file, _ in files))
        words = command_of(entry)
        for _, other in files[1:]:
            words += [w for w in command_of(other) if w.startswith("-I") and w not in words]
        pathlib.Path(work, "compile_commands.json").write_text(json.dumps(
            [{"directory": str(build), "file": str(pack), "arguments": [*words, "-c", str(pack)]}]))
        checks = TEST_CHECKS if files[0][0].is_relative_to(ROOT / "test") else CHECKS
        done = subprocess.run([TIDY, *FLAGS, checks, f"--config-file={ROOT}/.clang-tidy", "-p", work, str(pack)], capture_output=True, text=True)
    if len(files) > 1 and CLASH.search(done.stdout):
        half = len(files) // 2
        return check(build, scratch, files[:half]) + check(build, scratch, files[half:])
    return done.stdout + (done.stderr if done.returncode and not done.stdout else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build-test")
    parser.add_argument("-j", type=int, default=os.cpu_count())
    parser.add_argument("paths", nargs="*")
    args = parser.parse_args()
    build = pathlib.Path(args.build).resolve()
    packs = packs_of(build, [pathlib.Path(p).resolve() for p in args.paths])
    total = sum(map(len, packs))
    if not total:
        sys.exit(f"{args.build} compiles no such files: {args.paths}")
    bad = seen = 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(args.j) as pool:
        runs = {pool.submit(check, build, scratch, pack): pack for pack in packs}
        for run in concurrent.futures.as_completed(runs):
            said = run.result().strip()
            seen += len(runs[run])
            bad += said != ""
            print(f"[{seen}/{total}] {runs[run][0][0].relative_to(ROOT)} … after {time.monotonic() - begin:.0f} s", flush=True)
            if said:
                print(said, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
