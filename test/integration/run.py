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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import guest_streams  # noqa: E402
import guests  # noqa: E402
import harness  # noqa: E402
import scenarios  # noqa: E402
import suite  # noqa: E402


def clean_up(lab):
    try:
        lab.lab("fault", "clear", check=False)
        for part in ("vcenter", "apiserver", "guests", "kubelet"):
            lab.lab("start", part, check=False)
        lab.kubectl("delete", "deployment,job,pod", "--all", "--wait=false", check=False)
        scenarios.gone(lab, 90)
    except (harness.Failure, subprocess.TimeoutExpired) as e:
        print(f"clean-up failed as well: {e}", flush=True)


def run_stage(lab, stage, at_once, results):
    passed = True
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for done in concurrent.futures.as_completed([pool.submit(suite.attempt, scenario, lab) for scenario in stage]):
            passed = results.add(*done.result()) and passed
    if not passed:
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
        stages = [([guest_streams.kubectl_on_a_virtual_machine, *guests.TOGETHER], guests.AT_ONCE)] + [([scenario], 1) for scenario in guests.ALONE]
        up, flags = ["--iso", args.iso] if args.iso else [], guests.FLAGS
        harness.POLL = 2  # each look costs the guests CPU
    else:
        stages, up, flags = [([scenario], 1) for scenario in scenarios.ALL], [], []
    stages = [([s for s in stage if not args.names or s.__name__ in args.names], n) for stage, n in stages]
    total = sum(len(stage) for stage, _ in stages)
    if total == 0:
        sys.exit(f"no such scenario: {args.names}")
    started = time.monotonic()
    print("[lab] bringing it up", flush=True)
    lab = harness.Lab(args.build, guests=args.guests, up=up, flags=flags)
    print(f"[lab] up in {lab.dir} after {time.monotonic() - started:.0f} s", flush=True)
    results = suite.Results(args.guests, lab, total)
    try:
        for stage, at_once in stages:
            if stage:
                run_stage(lab, stage, at_once, results)
    finally:
        if not args.keep:
            results.down()
    return results.finish(args.junit)


sys.exit(main())
