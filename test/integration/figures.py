#!/usr/bin/env python3
"""The kubelet API's figures to an administrator: /stats/summary, /metrics/*, and kubectl top with metrics-server. In a lab whose
simulated guests tell what their own process uses (test/kubeletapi/host_guests), so that there is something true to compare with.

usage: figures.py --build DIR [--junit FILE] [NAME...]
"""
import json
import os
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import Failure, expect, run, wait_for  # noqa: E402
from metrics_server import kubectl_top  # noqa: E402
from suite import main_with_host_guests  # noqa: E402

NODE = "vch1"


def asked(lab, path):
    # Of the kubelet itself: the API server's proxy refuses nodes with loopback addresses, as those of this lab are.
    status = lab.get("node", NODE)["status"]
    address = next(a["address"] for a in status["addresses"] if a["type"] == "InternalIP")
    port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    return lab.kubectl(f"--server=https://{address}:{port}", "get", "--raw", path)


def summary(lab, query=""):
    return json.loads(asked(lab, f"/stats/summary{query}"))


def pod_in(figures, name="web"):
    return next((pod for pod in figures["pods"] if pod["podRef"]["name"] == name), None)


def series(text, name, **labels):
    """The values of a metric's series with these labels."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)(?: (\d+))?", line)
        if not match or match[1] != name:
            continue
        has = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
        if all(has.get(key) == value for key, value in labels.items()):
            found.append(float(match[3]))
    return found


def process_of(lab, part):
    """CPU seconds and resident bytes of a part of the lab, as the kernel tells them."""
    for line in run(["ps", "-eo", "pid,args"]).splitlines():
        pid, _, command = line.strip().partition(" ")
        if f"{lab.dir}/guests.sock" in command and part in command.split()[0]:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks = os.sysconf("SC_CLK_TCK")
            return (int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    raise Failure(f"no process of {part}")


# ---- scenarios ----

def summary_tells_what_guests_use(lab):
    pod = wait_for("the pod's figures", lambda: pod_in(summary(lab)), 30)
    expect(sorted(c["name"] for c in pod["containers"]) == ["c", "lines-20000"], str(pod))
    cpu, memory = process_of(lab, "guest-sim")
    c = pod["containers"][0]
    told = c["cpu"]["usageCoreNanoSeconds"] / 1e9
    expect(0 < told <= cpu + 1, f"{told} s of CPU are told, and the kernel says {cpu}")
    expect(0.5 < c["memory"]["workingSetBytes"] / memory < 2, f"{c['memory']} is told, and the kernel says {memory}")
    expect(pod["network"]["interfaces"] and "rxBytes" in pod["network"], str(pod["network"]))
    expect(pod["ephemeral-storage"]["capacityBytes"] > 0, str(pod))
    node = summary(lab)["node"]
    expect(node["nodeName"] == NODE and node["fs"]["capacityBytes"] > 0, str(node))
    expect(node["network"]["interfaces"] and node["network"]["rxBytes"] >= 0, str(node))
    some = pod_in(summary(lab, "?only_cpu_and_memory=true"))
    expect("network" not in some and some["cpu"]["usageCoreNanoSeconds"] > 0, str(some))


def node_figures_are_vcenters(lab):
    """The simulated vCenter says that a VM which is on uses a tenth of its CPUs and a quarter of its memory."""
    vms = [vm for vm in lab.vms() if vm.get("power", vm.get("powerState", "")) in ("on", "poweredOn")] or lab.vms()
    expect(len(vms) == 1, f"one VM was expected: {vms}")

    def node():
        stats = summary(lab)["node"]
        return stats if stats.get("cpu", {}).get("usageNanoCores") and stats["memory"]["usageBytes"] else None
    first = wait_for("the node's figures", node, 60)
    began = time.monotonic()
    rate = first["cpu"]["usageNanoCores"]
    expect(rate % 100_000_000 == 0, f"not tenths of a core: {rate}")
    time.sleep(6)
    second = node()
    grown = (second["cpu"]["usageCoreNanoSeconds"] - first["cpu"]["usageCoreNanoSeconds"]) / rate
    took = time.monotonic() - began
    expect(4 < grown < took + 3, f"{grown} s of it were counted in {took} s")


def resource_metrics_are_text_for_metrics_server(lab):
    text = asked(lab, "/metrics/resource")
    expect(series(text, "container_cpu_usage_seconds_total", container="c", pod="web", namespace="default")[0] > 0, text[:2000])
    expect(series(text, "pod_memory_working_set_bytes", pod="web")[0] > 1e6, text[:2000])
    expect(series(text, "node_memory_working_set_bytes"), text[-2000:])
    expect(series(text, "resource_scrape_error") == [0.0], text[-500:])
    stamp = int(re.search(r'^container_memory_working_set_bytes\{.*\} \d+ (\d+)$', text, re.M)[1]) / 1000
    expect(abs(time.time() - stamp) < 60, f"a stamp of {stamp}")


def cadvisor_metrics_have_the_usual_labels(lab):
    text = asked(lab, "/metrics/cadvisor")
    for name in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes"):
        found = [line for line in text.splitlines() if line.startswith(name + "{") and 'container="c"' in line]
        expect(len(found) == 1 and 'image="busybox"' in found[0] and 'pod="web"' in found[0], f"{name}: {found}")
    expect(series(text, "container_network_receive_bytes_total", pod="web", namespace="default"), "no network")
    expect(series(text, "machine_cpu_cores")[0] > 1, "no machine")
    expect(len(series(text, "container_network_receive_bytes_total", id="/")) == 1, "no network of the node")
    size, used = series(text, "container_fs_limit_bytes", id="/"), series(text, "container_fs_usage_bytes", id="/")
    expect(len(size) == len(used) == 1 and 0 <= used[0] <= size[0], f"a datastore of {size}, {used} of it in use")


def counters_never_decrease(lab):
    before = 0.0
    for _ in range(4):
        now = series(asked(lab, "/metrics/resource"), "pod_cpu_usage_seconds_total", pod="web")[0]
        expect(now >= before, f"{now} after {before}")
        before = now
        run(["kubectl", "exec", "web", "-c", "c", "--", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"], env=lab.env)
        time.sleep(5)


def probes_are_counted(lab):
    lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probed"},
               "spec": {"nodeSelector": {"type": "virtual-kubelet"}, "tolerations": [{"operator": "Exists"}], "terminationGracePeriodSeconds": 1,
                        "containers": [{"name": "c", "image": "busybox", "command": ["sleep", "1000000"],
                                        "readinessProbe": {"periodSeconds": 1, "exec": {"command": ["true"]}}}]}})
    lab.kubectl("wait", "--for=condition=Ready", "pod/probed", "--timeout=120s")

    def count():
        return sum(series(asked(lab, "/metrics/probes"), "prober_probe_total", pod="probed", probe_type="Readiness", result="successful"))
    first = wait_for("a probe", count, 60)
    wait_for("more probes", lambda: count() > first, 60)
    took = series(asked(lab, "/metrics/probes"), "prober_probe_duration_seconds_count", pod="probed", probe_type="Readiness")
    expect(sum(took) >= first, f"durations of {took} probes")
    lab.kubectl("delete", "pod", "probed", "--timeout=60s")
    wait_for("their end", lambda: count() == 0, 30)


def a_guest_that_is_gone_is_left_out(lab):
    expect(pod_in(summary(lab)), "the pod has figures")
    lab.lab("stop", "guests")
    try:
        wait_for("a summary without the pod", lambda: pod_in(summary(lab)) is None, 60)
        text = asked(lab, "/metrics/resource")
        expect(not series(text, "pod_cpu_usage_seconds_total", pod="web"), text[:1000])
        expect(series(text, "resource_scrape_error") == [0.0], text[-500:])
    finally:
        lab.lab("start", "guests")
    wait_for("the pod's figures again", lambda: pod_in(summary(lab)), 90)


def the_kubelet_tells_of_itself(lab):
    text = asked(lab, "/metrics")
    expect(series(text, "kubelet_node_name", node=NODE) == [1.0], "no kubelet_node_name")
    expect(series(text, "kubelet_running_pods") == [1.0], str(series(text, "kubelet_running_pods")))
    expect(series(text, "kubelet_running_containers", container_state="running") == [2.0], "no kubelet_running_containers")
    for whose in ("client", "server"):
        ttl = series(text, f"kubelet_certificate_manager_{whose}_ttl_seconds")
        expect(len(ttl) == 1 and ttl[0] > 0, f"the {whose}'s certificate has {ttl}")
    config = json.loads(asked(lab, "/configz"))["kubeletconfig"]
    expect(config["kind"] == "KubeletConfiguration" and config["authentication"]["anonymous"] == {"enabled": False}, str(config))
    expect(config["enableSystemLogHandler"] and config["enableSystemLogQuery"], str(config))
    expect("node-name=vch1\n" in asked(lab, "/flagz"), "no flags")
    expect("kubelet statusz" in asked(lab, "/statusz"), "no status")
    expect("vch-kubelet.log" in asked(lab, "/logs/"), "no list of logs")
    log = asked(lab, "/logs/vch-kubelet.log")
    expect('"Serving the kubelet API"' in log, log[:1000])
    last = asked(lab, "/logs/?query=kubelet&tailLines=2").splitlines()
    expect(len(last) == 2, str(last))


def kubectl_top_with_metrics_server(lab):
    with kubectl_top(lab) as top:
        pods = wait_for("kubectl top pod", lambda: top("pod", "--containers"), 150)
        expect(sorted(row[:2] for row in pods) == [["web", "c"], ["web", "lines-20000"]], str(pods))
        _, memory = process_of(lab, "guest-sim")
        told = int(pods[0][3].removesuffix("Mi")) << 20
        expect(0.5 < told / memory < 2, f"{pods[0]} is told, and the kernel says {memory}")
        nodes = wait_for("kubectl top node", lambda: top("node"), 120)
        expect(nodes[0][0] == NODE, str(nodes))
        rate = summary(lab)["node"]["cpu"]["usageNanoCores"] / 1e6
        cores = int(nodes[0][1].removesuffix("m"))
        expect(abs(cores - rate) <= max(5, rate / 4), f"{nodes[0]} is told, and vCenter says {rate}m")
        print(f"  {pods} {nodes}", flush=True)


ALL = [summary_tells_what_guests_use, node_figures_are_vcenters, resource_metrics_are_text_for_metrics_server,
       cadvisor_metrics_have_the_usual_labels, counters_never_decrease, the_kubelet_tells_of_itself, probes_are_counted,
       kubectl_top_with_metrics_server, a_guest_that_is_gone_is_left_out]


if __name__ == "__main__":
    sys.exit(main_with_host_guests("figures", ALL))
