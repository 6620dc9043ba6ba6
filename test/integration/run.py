#!/usr/bin/env python3
"""Runs the scenarios against one lab.

usage: run.py --build DIR [--junit FILE] [--keep] [NAME...]
"""
import argparse
import pathlib
import subprocess
import sys
import time
import traceback
import xml.sax.saxutils

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
import scenarios  # noqa: E402


SEEN = {}


def sanitizer_report(lab):
    """What a sanitizer wrote into a part's log since the last call, if anything."""
    for part in ("kubelet", "guests"):
        try:
            text = lab.log(part)
        except OSError:
            continue
        for mark in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "Check failed", "terminate called"):
            at = text.find(mark, SEEN.get((part, mark), 0))
            if at >= 0:
                SEEN[(part, mark)] = at + 1
                return f"{part}: {text[max(0, at - 200):at + 3000]}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--junit")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    wanted = [s for s in scenarios.ALL if not args.names or s.__name__ in args.names]
    results = []
    started = time.monotonic()
    print("[lab] bringing it up", flush=True)
    lab = harness.Lab(args.build)
    print(f"[lab] up in {lab.dir} after {time.monotonic() - started:.0f} s", flush=True)
    try:
        for i, scenario in enumerate(wanted, 1):
            begin = time.monotonic()
            error = None
            try:
                scenario(lab)
            except (harness.Failure, subprocess.TimeoutExpired, KeyError, IndexError, OSError, ValueError) as e:
                error = f"{type(e).__name__}: {e}\n{traceback.format_exc(limit=3)}"
            report = sanitizer_report(lab)
            if report:
                error = f"{error or ''}\na sanitizer or check spoke up:\n{report}"
            took = time.monotonic() - begin
            results.append((scenario.__name__, error, took))
            print(f"[{i}/{len(wanted)}] {'FAILED' if error else 'ok'} {scenario.__name__} ({took:.1f} s)", flush=True)
            if error:
                print(error, flush=True)
                tail = "\n".join(lab.log().splitlines()[-25:])
                print(f"---- the kubelet's log ends with\n{tail}\n----", flush=True)
                try:
                    lab.lab("fault", "clear", check=False)
                    for part in ("vcenter", "apiserver", "guests", "kubelet"):
                        lab.lab("start", part, check=False)
                    lab.kubectl("delete", "deployment,job,pod", "--all", "--wait=false", check=False)
                    scenarios.gone(lab, 90)
                except (harness.Failure, subprocess.TimeoutExpired) as e:
                    print(f"clean-up failed as well: {e}", flush=True)
    finally:
        begin = time.monotonic()
        error = None
        if not args.keep:
            try:
                lab.down()
            except (harness.Failure, subprocess.TimeoutExpired) as e:
                error = str(e)
        results.append(("lab_down_leaves_nothing", error, time.monotonic() - begin))
    if args.junit:
        with open(args.junit, "w") as out:
            out.write('<testsuites><testsuite name="integration">\n')
            for name, error, took in results:
                body = f"<failure>{xml.sax.saxutils.escape(error)}</failure>" if error else ""
                out.write(f'<testcase classname="integration" name="{name}" time="{took:.1f}">{body}</testcase>\n')
            out.write("</testsuite></testsuites>\n")
    failed = sum(error is not None for _, error, _ in results)
    print(f"{len(results) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


sys.exit(main())
