"""What tools/bench measures; run it through that."""
import argparse
import collections
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test/integration"))
import harness  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mib(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


class Watcher(threading.Thread):
    """When each pod was first seen, and became Ready, by this machine's clock.

    The thread only takes lines and their times: the API server ends the watch of a client that does not keep up with it. What
    the lines say is found out by whoever asks."""

    def __init__(self, lab, selector):
        super().__init__(daemon=True)
        self.env, self.selector, self.process, self.stopped, self.opened = lab.env, selector, None, False, 0
        self.lines = collections.deque()
        self.seen, self.ready = {}, {}

    def run(self):
        # A watch without a version begins with what is there, so that one which ended can simply be opened again.
        while not self.stopped:
            self.opened += 1
            target = f"/api/v1/namespaces/default/pods?watch=1&timeoutSeconds=1800&labelSelector={self.selector}"
            self.process = subprocess.Popen(["kubectl", "get", "--raw", target], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, env=self.env)
            for line in self.process.stdout:
                self.lines.append((time.monotonic(), line))
            self.process.wait()
            if not self.stopped:
                time.sleep(0.1)

    def read(self):
        while self.lines:
            at, line = self.lines.popleft()
            try:
                thing = json.loads(line)["object"]
            except (ValueError, KeyError):
                continue  # the last line of a watch that was cut; the next watch says it again
            name = thing.get("metadata", {}).get("name")
            if not name:
                continue
            self.seen.setdefault(name, at)
            if harness.condition(thing, "Ready") == "True":
                self.ready.setdefault(name, at)

    def all_ready(self, wanted):
        self.read()
        if len(self.ready) < wanted:
            raise harness.Failure(f"{len(self.ready)} of {wanted}; {len(self.seen)} seen; the watch was opened {self.opened} times")
        return True

    def stop(self):
        self.stopped = True
        self.process.terminate()
        self.process.wait()


class Snapshot:
    def __init__(self, lab, pid):
        self.time = time.monotonic()
        self.cpu = cpu_seconds(pid)
        self.api = lab.metric("vch_kubelet_api_calls_total")
        stats = json.loads(lab.lab("stats"))
        self.soap = {k: v for k, v in (stats["vcenter"].get("calls") or {}).items()}
        # REST, and files under /folder.
        self.rest = sum((stats["vcenter"].get("rest") or {}).values())
        # One for each VM of a PowerOnMultiVM.
        self.tasks = collections.Counter(stats["vcenter"].get("tasks") or {})
        # The simulator's Destroy makes one for each disk of the VM, where a vCenter makes none.
        self.tasks["DeleteVirtualDisk"] = self.soap.get("DeleteVirtualDisk_Task", 0)
        self.vcenter_cpu = stats["vcenter"]["cpuSeconds"]


def requests(lab):
    """What the API server counted, of all clients: (verb, resource) -> calls."""
    out = collections.Counter()
    for line in lab.kubectl("get", "--raw", "/metrics").splitlines():
        if line.startswith("apiserver_request_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            what = labels["resource"] + ("/" + labels["subresource"] if labels.get("subresource") else "")
            out[labels["verb"], what] += float(line.rsplit(" ", 1)[1])
    return out


def pull_image(lab):
    """One pod up and down: what comes after it finds the image on the datastore."""
    lab.apply(harness.make_pod("first"))
    harness.wait_for("the first pod is Ready", lambda: harness.condition(lab.pod("first"), "Ready") == "True", 180)
    lab.kubectl("delete", "pod", "first", "--wait=false")
    harness.wait_for("the first pod is gone", lambda: not lab.pods() and not lab.vms(), 60)


def report(title, pods, a, b):
    waits = b.soap.get("WaitForUpdatesEx", 0) - a.soap.get("WaitForUpdatesEx", 0)
    rest = b.rest - a.rest
    calls = sum(b.soap.values()) - sum(a.soap.values()) - waits + rest
    seconds = b.time - a.time
    print(f"{title}: {seconds:.1f} s, {pods / seconds:.1f} pods/s")
    print(f"  kubelet CPU       {1000 * (b.cpu - a.cpu) / pods:8.2f} ms per pod ({b.cpu - a.cpu:.2f} s)")
    print(f"  API calls         {(b.api - a.api) / pods:8.2f} per pod")
    print(f"  vCenter calls     {calls / pods:8.2f} per pod ({rest / pods:.2f} of them REST and files), and {waits} WaitForUpdatesEx")
    tasks = b.tasks - a.tasks
    kinds = ", ".join(f"{name} {count}" for name, count in tasks.most_common())
    print(f"  vCenter tasks     {sum(tasks.values()) / pods:8.2f} per pod ({kinds})")
    print(f"  vCenter CPU       {1000 * (b.vcenter_cpu - a.vcenter_cpu) / pods:8.2f} ms per pod")
    return calls


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else float("nan")


def main():
    parser = argparse.ArgumentParser(usage="tools/bench [N] [--idle SECONDS] [--task-delay X] [--profile FILE] [-- FLAGS]")
    parser.add_argument("--build", required=True)
    parser.add_argument("pods", nargs="?", type=int, default=1000)
    parser.add_argument("--idle", type=float, default=30)
    parser.add_argument("--task-delay")
    parser.add_argument("--profile", help="write a perf profile of the way up there (needs perf)")
    argv, flags = sys.argv[1:], []
    if "--" in argv:
        flags = argv[argv.index("--") + 1:]
        argv = argv[:argv.index("--")]
    args = parser.parse_args(argv)
    lab = harness.Lab(args.build, flags=["-v", "0", *flags], up=["--task-delay", args.task_delay] if args.task_delay else [])
    watcher = None
    try:
        pid = int(lab.env["KUBELET_PID"])
        harness.wait_for("the node is Ready", lab.node_ready, 60)
        pull_image(lab)
        watcher = Watcher(lab, "app=bench")
        watcher.start()
        time.sleep(2)
        print(f"{args.pods} pods; kubelet at rest: {memory_mib(pid, 'VmRSS'):.1f} MiB")
        perf = None
        if args.profile:
            perf = subprocess.Popen(["perf", "record", "-q", "-g", "-p", str(pid), "-o", args.profile], stderr=subprocess.DEVNULL)
        before = Snapshot(lab, pid)
        lab.apply(harness.make_deployment("bench", args.pods))
        limit = 60 + args.pods / 5
        harness.wait_for("all pods Ready", lambda: watcher.all_ready(args.pods), limit)
        up = Snapshot(lab, pid)
        if perf:
            perf.terminate()
            perf.wait()
        calls = report("up", args.pods, before, up)
        waits = [watcher.ready[name] - watcher.seen[name] for name in watcher.ready]
        print(f"  start latency     p50 {statistics.median(waits):.2f} s, p99 {percentile(waits, 99):.2f} s (created to Ready, all at once)")
        print(f"  kubelet memory    {memory_mib(pid, 'VmRSS'):.1f} MiB now, {memory_mib(pid, 'VmHWM'):.1f} MiB peak")
        # What is still to be told counts for the way up, too.
        harness.wait_for("all events are sent", lambda: lab.metric("vch_kubelet_events_queued") == 0, limit)
        settled = Snapshot(lab, pid)
        print(f"  events left over  {settled.time - up.time:8.1f} s more: {1000 * (settled.cpu - up.cpu) / args.pods:.2f} ms and "
              f"{(settled.api - up.api) / args.pods:.2f} API calls per pod; {lab.metric('vch_kubelet_events_dropped_total'):.0f} events dropped")
        time.sleep(5)
        asked = requests(lab)
        a = Snapshot(lab, pid)
        time.sleep(args.idle)
        b = Snapshot(lab, pid)
        asked = requests(lab) - asked
        print(f"idle: {100 * (b.cpu - a.cpu) / (b.time - a.time):.2f} % of a core, {b.api - a.api:.0f} API calls, "
              f"{sum(b.soap.values()) - sum(a.soap.values()):.0f} vCenter calls in {b.time - a.time:.0f} s")
        print("  the API server's, of all clients: " + ", ".join(f"{verb} {what} {count:.0f}" for (verb, what), count in asked.most_common(8)))
        lab.kubectl("delete", "deployment", "bench", "--wait=false")
        harness.wait_for("all pods gone", lambda: not lab.kubectl("get", "pods", "-o", "name").strip(), limit)
        harness.wait_for("all VMs gone", lambda: not lab.vms(), 60)
        down = Snapshot(lab, pid)
        calls += report("down", args.pods, b, down)
        print(f"vCenter calls per pod lifetime, besides WaitForUpdatesEx: {calls / args.pods:.2f}")
        print(f"kubelet memory: {memory_mib(pid, 'VmRSS'):.1f} MiB now, {memory_mib(pid, 'VmHWM'):.1f} MiB peak")
    finally:
        if watcher:
            watcher.stop()
        lab.down()


if __name__ == "__main__":
    main()
