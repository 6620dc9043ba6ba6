"""Scenarios against one lab: run, judged, and told as JUnit XML."""
import argparse
import contextlib
import pathlib
import shutil
import subprocess
import tempfile
import time
import traceback
import xml.sax.saxutils

from harness import Failure, Lab

ERRORS = (Failure, subprocess.TimeoutExpired, KeyError, IndexError, TypeError, OSError, ValueError)
MARKS = ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "Check failed", "terminate called")


class Results:
    """Of one lab."""

    def __init__(self, title, lab, total):
        self.title, self.lab, self.total = title, lab, total
        self.all = []  # (name, what went wrong or None, seconds)
        self.seen = {}

    def sanitizer_report(self):
        """What a sanitizer wrote into a part's log since the last call, if anything."""
        for part in sorted(log.stem for log in pathlib.Path(self.lab.dir, "log").glob("*.log") if log.stem.startswith(("kubelet", "guests"))):
            text = self.lab.log(part)
            for mark in MARKS:
                at = text.find(mark, self.seen.get((part, mark), 0))
                if at >= 0:
                    self.seen[(part, mark)] = at + 1
                    return f"{part}: {text[max(0, at - 200):at + 3000]}"
        return None

    def add(self, name, error, took):
        """Returns whether it passed."""
        report = self.sanitizer_report()
        if report:
            error = f"{error or ''}\na sanitizer or check spoke up:\n{report}"
        self.all.append((name, error, took))
        print(f"[{len(self.all)}/{self.total}] {'FAILED' if error else 'ok'} {name} ({took:.1f} s)", flush=True)
        if error:
            print(error, flush=True)
            tail = "\n".join(self.lab.log().splitlines()[-25:])
            print(f"---- the kubelet's log ends with\n{tail}\n----", flush=True)
        return not error

    def down(self):
        """The lab goes down and leaves nothing: a result as well."""
        begin = time.monotonic()
        error = None
        try:
            self.lab.down()
        except (Failure, subprocess.TimeoutExpired) as e:
            error = str(e)
            print(f"FAILED lab_down_leaves_nothing\n{error}", flush=True)
        self.all.append(("lab_down_leaves_nothing", error, time.monotonic() - begin))

    def finish(self, junit):
        """Writes the file, unless that is None; returns the exit code."""
        if junit:
            with open(junit, "w", encoding="utf-8") as out:
                out.write(f'<testsuites><testsuite name="{self.title}">\n')
                for name, error, took in self.all:
                    body = f"<failure>{xml.sax.saxutils.escape(error)}</failure>" if error else ""
                    out.write(f'<testcase classname="{self.title}" name="{name}" time="{took:.1f}">{body}</testcase>\n')
                out.write("</testsuite></testsuites>\n")
        failed = sum(error is not None for _, error, _ in self.all)
        print(f"{len(self.all) - failed} passed, {failed} failed", flush=True)
        return 1 if failed or not self.all else 0


def attempt(scenario, lab):
    """The scenario's name, what went wrong (None: nothing), and how long it took."""
    begin = time.monotonic()
    error = None
    try:
        scenario(lab)
    except ERRORS as e:
        error = f"{type(e).__name__}: {e}\n{''.join(traceback.format_tb(e.__traceback__)[1:3])}"
    return scenario.__name__, error, time.monotonic() - begin


@contextlib.contextmanager
def host_guests(build):
    """A directory of programs for a lab, where test/kubeletapi/host_guests is in the place of guest-sim."""
    build = pathlib.Path(build).resolve()
    binaries = pathlib.Path(tempfile.mkdtemp(prefix="vch-host-guests-"))
    try:
        for name, source in (("vch-kubelet", "cmd/vch-kubelet/vch-kubelet"), ("guest-sim", "test/kubeletapi/host_guests")):
            (binaries / "cmd" / name).mkdir(parents=True)
            (binaries / "cmd" / name / name).symlink_to(build / source)
        yield binaries
    finally:
        shutil.rmtree(binaries)


def main_with_host_guests(title, scenarios):
    """A lab whose simulated guests run commands on this machine (test/kubeletapi/host_guests), with a pod "web" of two containers,
    "c" and "lines-20000". Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--junit")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    wanted = [s for s in scenarios if not args.names or s.__name__ in args.names]
    with host_guests(args.build) as binaries:
        print("[lab] bringing it up", flush=True)
        results = Results(title, Lab(binaries), len(wanted))
        try:
            make_web(results.lab)
            for scenario in wanted:
                results.add(*attempt(scenario, results.lab))
        finally:
            results.down()
    return results.finish(args.junit)


def on_the_node():
    """What brings a pod to the lab's node."""
    return {"nodeSelector": {"type": "virtual-kubelet"}, "tolerations": [{"operator": "Exists"}], "terminationGracePeriodSeconds": 1}


def make_web(lab):
    lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
               "spec": {**on_the_node(),
                        "containers": [{"name": name, "image": "busybox", "command": ["sleep", "1000000"]} for name in ("c", "lines-20000")]}})
    lab.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=120s")
