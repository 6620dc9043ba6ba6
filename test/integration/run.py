#!/usr/bin/env python3
"""Runs the scenarios against one lab: those of scenarios.py, or with --guests qemu those of guests.py.

usage: run.py --build DIR [--guests qemu [--iso FILE]] [--junit FILE] [--keep] [NAME...]
"""
import argparse
import concurrent.futures
import pathlib
import subprocess
import sys
import time
import traceback
import xml.sax.saxutils

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import guests  # noqa: E402
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


ERRORS = (harness.Failure, subprocess.TimeoutExpired, KeyError, IndexError, TypeError, OSError, ValueError)


def attempt(scenario, lab):
    """The scenario's name, what went wrong (None: nothing), and how long it took."""
    begin = time.monotonic()
    error = None
    try:
        scenario(lab)
    except ERRORS as e:
        error = f"{type(e).__name__}: {e}\n{''.join(traceback.format_tb(e.__traceback__)[1:3])}"
    return scenario.__name__, error, time.monotonic() - begin


def clean_up(lab):
    try:
        lab.lab("fault", "clear", check=False)
        for part in ("vcenter", "apiserver", "guests", "kubelet"):
            lab.lab("start", part, check=False)
        lab.kubectl("delete", "deployment,job,pod", "--all", "--wait=false", check=False)
        scenarios.gone(lab, 90)
    except (harness.Failure, subprocess.TimeoutExpired) as e:
        print(f"clean-up failed as well: {e}", flush=True)


def run_stage(lab, stage, at_once, results, total):
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for done in concurrent.futures.as_completed([pool.submit(attempt, scenario, lab) for scenario in stage]):
            name, error, took = done.result()
            report = sanitizer_report(lab)
            if report:
                error = f"{error or ''}\na sanitizer or check spoke up:\n{report}"
            results.append((name, error, took))
            print(f"[{len(results)}/{total}] {'FAILED' if error else 'ok'} {name} ({took:.1f} s)", flush=True)
            if error:
                print(error, flush=True)
                tail = "\n".join(lab.log().splitlines()[-25:])
                print(f"---- the kubelet's log ends with\n{tail}\n----", flush=True)
                if at_once == 1:
                    clean_up(lab)
    if at_once > 1 and any(error for _, error, _ in results):
        clean_up(lab)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--guests", choices=("simulated", "qemu"), default="simulated")
    parser.add_argument("--iso", help="with qemu: what VMs boot, instead of what tools/bootstrap-iso builds")
    parser.add_argument("--junit")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if args.guests == "qemu":
        stages = [(guests.TOGETHER, guests.AT_ONCE)] + [([scenario], 1) for scenario in guests.ALONE]
        up, flags = ["--iso", args.iso] if args.iso else [], guests.FLAGS
        harness.POLL = 2  # each look costs the guests CPU
    else:
        stages, up, flags = [([scenario], 1) for scenario in scenarios.ALL], [], []
    stages = [([s for s in stage if not args.names or s.__name__ in args.names], n) for stage, n in stages]
    total = sum(len(stage) for stage, _ in stages)
    if total == 0:
        sys.exit(f"no such scenario: {args.names}")
    results = []
    started = time.monotonic()
    print("[lab] bringing it up", flush=True)
    lab = harness.Lab(args.build, guests=args.guests, up=up, flags=flags)
    print(f"[lab] up in {lab.dir} after {time.monotonic() - started:.0f} s", flush=True)
    try:
        for stage, at_once in stages:
            if stage:
                run_stage(lab, stage, at_once, results, total)
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
            out.write(f'<testsuites><testsuite name="{args.guests}">\n')
            for name, error, took in results:
                body = f"<failure>{xml.sax.saxutils.escape(error)}</failure>" if error else ""
                out.write(f'<testcase classname="{args.guests}" name="{name}" time="{took:.1f}">{body}</testcase>\n')
            out.write("</testsuite></testsuites>\n")
    failed = sum(error is not None for _, error, _ in results)
    print(f"{len(results) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


sys.exit(main())
