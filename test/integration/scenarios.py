"""What a user, or a bad day, does to a node; each function is one test. They share a lab and leave no pods behind."""
import base64
import json
import pathlib
import ssl
import subprocess
import time
import urllib.request

from harness import Failure, condition, container, expect, make_deployment, make_pod, run, wait_for
from large_image import a_large_image_takes_little_memory


def ready_count(lab, selector):
    return sum(condition(p, "Ready") == "True" and "deletionTimestamp" not in p["metadata"] for p in lab.pods(selector))


def gone(lab, seconds=120):
    wait_for("no pod is left", lambda: not lab.pods(), seconds)
    wait_for("no VM is left", lambda: not lab.vms(), seconds)
    lab.lab("leaks")


def delete_all(lab, seconds=180):
    lab.kubectl("delete", "deployment,job,pod", "--all", "--wait=false")
    gone(lab, seconds)


def node_registers(lab):
    node = wait_for("the node is Ready", lambda: lab.node_ready() and lab.get("node", "vch1"), 60)
    labels, status = node["metadata"]["labels"], node["status"]
    expect(labels["type"] == "virtual-kubelet" and labels["kubernetes.io/os"] == "linux", f"labels: {labels}")
    expect(any(t["key"] == "virtual-kubelet.io/provider" and t["effect"] == "NoSchedule" for t in node["spec"]["taints"]), "the taint")
    expect(int(status["capacity"]["cpu"]) > 100, f"capacity of the cluster: {status['capacity']}")
    expect(condition(node, "VCenterUnavailable") == "False", "vCenter's condition")
    expect(node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1."), "version")


def one_pod_up_and_down(lab):
    lab.apply(make_pod("one"))
    pod = wait_for("the pod is Ready", lambda: condition(lab.pod("one"), "Ready") == "True" and lab.pod("one"))
    vms = lab.vms()
    expect(len(vms) == 1 and vms[0]["name"].startswith("default-one-"), f"one VM with the pod's name: {[v['name'] for v in vms]}")
    status = pod["status"]
    expect(status["phase"] == "Running" and status["podIP"].startswith("127."), f"status: {status}")
    expect(container(pod)["containerID"].startswith("vch://") and container(pod)["started"], "container status")
    expect(status.get("observedGeneration", pod["metadata"].get("generation")) == pod["metadata"].get("generation"), "observedGeneration")
    lab.kubectl("delete", "pod", "one", timeout=60)
    gone(lab, 30)


def same_name_in_two_namespaces(lab):
    lab.kubectl("create", "namespace", "other")
    wait_for("its service account", lambda: lab.kubectl("get", "sa", "default", "-n", "other"), 30)
    lab.apply(make_pod("twin"), make_pod("twin", ns="other"))
    for ns in ("default", "other"):
        wait_for(f"{ns}/twin is Ready", lambda ns=ns: condition(lab.pod("twin", ns), "Ready") == "True")
    ips = {lab.pod("twin", ns)["status"]["podIP"] for ns in ("default", "other")}
    expect(len(ips) == 2, f"two addresses: {ips}")
    lab.kubectl("delete", "pod", "twin", "-n", "other")
    expect(condition(lab.pod("twin"), "Ready") == "True", "the other twin lives on")
    lab.kubectl("delete", "namespace", "other", "--wait=false")
    delete_all(lab)


def exit_codes_and_restarts(lab):
    lab.apply(make_pod("fails", "sleep 1; exit 3", restart="Never"), make_pod("ends", "sleep 1; exit 0", restart="Never"),
              make_pod("crashes", "sleep 1; exit 7"))
    wait_for("fails is Failed", lambda: lab.pod("fails")["status"]["phase"] == "Failed")
    wait_for("ends is Succeeded", lambda: lab.pod("ends")["status"]["phase"] == "Succeeded")
    expect(container(lab.pod("fails"))["state"]["terminated"]["exitCode"] == 3, "exit code 3")
    crashed = wait_for("crashes has restarted twice", lambda: container(lab.pod("crashes")).get("restartCount", 0) >= 2 and lab.pod("crashes"), 60)
    expect(container(crashed)["lastState"]["terminated"]["exitCode"] == 7, "lastState has the exit code")
    wait_for("CrashLoopBackOff", lambda: container(lab.pod("crashes"))["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", 30)
    expect(lab.pod("crashes")["status"]["phase"] == "Running", "a crashing pod's phase is Running")
    wait_for("VMs of finished pods are off", lambda: sum(v["powerState"] == "poweredOn" for v in lab.vms()) == 1, 60)
    delete_all(lab)


def an_image_that_cannot_be_pulled(lab):
    """It holds up its own container only, and its disk is added to the VM when it comes."""
    def with_late(name, script, late, **spec):
        pod = make_pod(name, script, **spec)
        pod["spec"]["containers"].append({"name": "late", "image": "nope/nothing:x", "command": ["sh", "-c", late]})
        return pod

    def waits(pod, name="late"):
        waiting = container(pod, name).get("state", {}).get("waiting", {})
        return waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff") and "nope/nothing:x" in waiting.get("message", "")

    lab.apply(with_late("half", None, "sleep 100000"), with_late("job", "sleep 1; exit 0", "exit 0", restart="Never"),
              make_pod("stuck", initContainers=[{"name": "first", "image": "nope/nothing:x", "command": ["sh", "-c", "exit 0"]}]))
    half = wait_for("half runs without late", lambda: waits(pod := lab.pod("half")) and container(pod, "main")["state"].get("running") and pod)
    job = wait_for("job has done its other work", lambda: waits(pod := lab.pod("job")) and container(pod, "main")["state"].get("terminated") and pod)
    stuck = wait_for("stuck waits", lambda: waits(pod := lab.pod("stuck"), "first") and pod)
    for pod in (half, job, stuck):
        expect(pod["status"]["phase"] == "Pending" and condition(pod, "Ready") == "False", str(pod["status"]))
    vms = {vm["name"]: vm["ref"] for vm in lab.vms()}
    expect(sorted(name.rsplit("-", 1)[0] for name in vms) == ["default-half", "default-job"], f"no VM is made for what cannot begin: {vms}")

    lab.lab("kill", "kubelet")
    lab.lab("start", "kubelet")
    wait_for("the node is Ready", lab.node_ready)
    time.sleep(3)
    again = wait_for("half still waits for late", lambda: waits(pod := lab.pod("half")) and pod)
    expect(again["status"]["phase"] == "Pending" and container(again, "main")["containerID"] == container(half, "main")["containerID"], str(again["status"]))
    expect({vm["name"]: vm["ref"] for vm in lab.vms()} == vms, "the VMs are the same")

    for target in ("pod/half late", "pod/job late", "pod/stuck first"):
        pod, name = target.split()
        lab.kubectl("set", "image", pod, f"{name}=hello-world")
    half = wait_for("half is Ready", lambda: condition(pod := lab.pod("half"), "Ready") == "True" and pod)
    main = container(half, "main")
    expect(main["restartCount"] == 0 and main["containerID"] == container(again, "main")["containerID"], f"main noticed nothing: {main}")
    expect("hello-world@sha256:" in container(half, "late")["imageID"] and half["status"]["phase"] == "Running", str(half["status"]))
    wait_for("job is Succeeded", lambda: lab.pod("job")["status"]["phase"] == "Succeeded")
    wait_for("stuck is Ready", lambda: condition(lab.pod("stuck"), "Ready") == "True")
    now = {vm["name"]: vm for vm in lab.vms()}
    expect(len(now) == 3 and all(now[name]["ref"] == ref for name, ref in vms.items()), f"one VM more: {list(now)}")
    for name in vms:
        expect("hello-world|" in now[name]["extraConfig"]["vch.pod"], f"{name} has its disk: {now[name]['extraConfig']['vch.pod']}")
    delete_all(lab)


def pull_secrets(lab):
    """A pull waits for the pod's secrets, and says which are missing."""
    host = lab.env["REGISTRY_URL"].removeprefix("https://")
    lab.kubectl("create", "secret", "docker-registry", "login", f"--docker-server={host}",
                f"--docker-username={lab.env['REGISTRY_USER']}", f"--docker-password={lab.env['REGISTRY_PASSWORD']}")

    def pod(name, secret):
        made = make_pod(name, imagePullSecrets=[{"name": secret}])
        made["spec"]["containers"][0] |= {"image": f"{host}/private/busybox", "imagePullPolicy": "Always"}
        return made

    def events(name):
        return [(e["type"], e["reason"], e["message"]) for e in lab.get("events")["items"] if e["involvedObject"].get("name") == name]

    lab.apply(pod("insider", "login"), pod("stranger", "nobody"))
    wait_for("insider is Ready", lambda: condition(lab.pod("insider"), "Ready") == "True")
    wait_for("stranger is refused", lambda: container(lab.pod("stranger")).get("state", {}).get("waiting", {}).get("reason") in
             ("ErrImagePull", "ImagePullBackOff"))
    wait_for("its secret is missed", lambda: [e for e in events("stranger") if e[1] == "FailedToRetrieveImagePullSecret" and "(nobody)" in e[2]])
    expect(not [e for e in events("insider") if e[0] == "Warning"], f"no pull without its secret: {events('insider')}")
    delete_all(lab)
    lab.kubectl("delete", "secret", "login")


def without_guests_nothing_becomes_ready(lab):
    lab.lab("stop", "guests")
    lab.apply(make_pod("alone"))
    wait_for("its VM is on", lambda: any(v["powerState"] == "poweredOn" for v in lab.vms()))
    time.sleep(5)
    pod = lab.pod("alone")
    expect(condition(pod, "Ready") != "True" and pod["status"]["phase"] == "Pending", f"nobody said that it runs: {pod['status']}")
    lab.lab("start", "guests")
    wait_for("it becomes Ready once a guest answers", lambda: condition(lab.pod("alone"), "Ready") == "True")
    delete_all(lab)


def forced_deletion_and_vanished_objects(lab):
    lab.apply(make_pod("forced"), make_pod("vanished"))
    wait_for("both are Ready", lambda: all(condition(p, "Ready") == "True" for p in lab.pods()) and len(lab.pods()) == 2)
    lab.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
    wait_for("one VM is left", lambda: len(lab.vms()) == 1, 60)
    lab.lab("stop", "kubelet")
    lab.kubectl("delete", "pod", "vanished", "--force", "--grace-period=0")
    lab.lab("start", "kubelet")
    gone(lab, 60)


def kubelet_restart_changes_nothing(lab):
    lab.apply(make_pod("calm"), make_pod("restarted", "sleep 1; exit 1"))
    wait_for("calm is Ready", lambda: condition(lab.pod("calm"), "Ready") == "True")
    wait_for("restarted has a count", lambda: container(lab.pod("restarted")).get("restartCount", 0) >= 1)
    before, count = lab.pod("calm"), container(lab.pod("restarted"))["restartCount"]
    lab.lab("kill", "kubelet")
    lab.lab("start", "kubelet")
    wait_for("the node is Ready", lab.node_ready)
    time.sleep(3)
    after = lab.pod("calm")
    ready = [c for c in after["status"]["conditions"] if c["type"] == "Ready"][0]
    was = [c for c in before["status"]["conditions"] if c["type"] == "Ready"][0]
    expect(ready["lastTransitionTime"] == was["lastTransitionTime"], "a restart of the kubelet flipped Ready")
    expect(container(after)["containerID"] == container(before)["containerID"], "the container is the same")
    expect(after["status"]["podIP"] == before["status"]["podIP"], "the address is the same")
    expect(container(lab.pod("restarted"))["restartCount"] >= count, "restart counts survive")
    delete_all(lab)


def kubelet_restart_leaves_the_node_ready(lab):
    """With and without a vCenter that answers."""
    lab.apply(make_deployment("web", 3))
    wait_for("3 are Ready", lambda: ready_count(lab, "app=web") == 3)
    unavailable = lambda: condition(lab.get("node", "vch1"), "VCenterUnavailable")  # noqa: E731
    times_known = lambda: lab.log().count("Pods and VMs are known")  # noqa: E731
    before = lab.get("node", "vch1")["status"]
    with lab.watch("node", "vch1") as nodes, lab.watch("pods", "-l", "app=web") as pods:
        for _ in range(2):
            lab.lab("kill", "kubelet")
            known = times_known()
            lab.lab("start", "kubelet")
            wait_for("pods and VMs are known again", lambda: times_known() > known, 60)
        lab.lab("kill", "kubelet")
        lab.lab("stop", "vcenter")
        known = times_known()
        lab.lab("start", "kubelet")
        wait_for("the node says that vCenter is away", lambda: unavailable() == "True", 60)
        time.sleep(5)
        lab.lab("start", "vcenter")
        wait_for("the node says that vCenter is back", lambda: unavailable() == "False", 90)
        wait_for("pods and VMs are known again", lambda: times_known() > known, 60)
    for node in nodes:
        expect(condition(node, "Ready") == "True", f"Ready: {node['status']['conditions']}")
        expect(node["status"]["capacity"] == before["capacity"] and node["status"]["allocatable"].keys() == before["allocatable"].keys() and
               "0" not in node["status"]["allocatable"].values(),  # they follow the number of pods, some seconds later
               f"a restart changes no resources: {node['status']['capacity']}, {node['status']['allocatable']}")
    expect(len(nodes) > 2, f"the watch saw something: {len(nodes)} states")
    for state in pods:
        for pod in state.get("items", [state]):
            expect(condition(pod, "Ready") == "True", f"a pod lost Ready: {pod['status']}")
    delete_all(lab)


def node_is_recreated_with_what_people_set(lab):
    lab.kubectl("label", "node", "vch1", "team=blue", "--overwrite")
    lab.kubectl("taint", "node", "vch1", "mine=yes:NoSchedule", "--overwrite")
    cidr = lab.get("node", "vch1")["spec"]["podCIDR"]
    time.sleep(1)
    lab.kubectl("delete", "node", "vch1")
    node = wait_for("the node is back", lambda: lab.get("node", "vch1"), 10)
    expect(node["metadata"]["labels"].get("team") == "blue", "people's label")
    expect(any(t["key"] == "mine" for t in node["spec"]["taints"]), "people's taint")
    expect(node["spec"]["podCIDR"] == cidr, "podCIDR")
    lab.kubectl("taint", "node", "vch1", "mine-")
    lab.kubectl("label", "node", "vch1", "team-")
    lab.kubectl("taint", "node", "vch1", "virtual-kubelet.io/provider-")
    time.sleep(2)
    taints = lab.get("node", "vch1")["spec"].get("taints", [])
    expect(not any(t["key"] == "virtual-kubelet.io/provider" for t in taints), "a taint that people removed stays away")
    wait_for("the node is Ready", lab.node_ready)


def vm_powered_off_by_hand(lab):
    lab.apply(make_pod("always"), make_pod("never", restart="Never"))
    wait_for("both are Ready", lambda: len(lab.pods()) == 2 and all(condition(p, "Ready") == "True" for p in lab.pods()))
    for vm in lab.vms():
        lab.lab("vm", "off", vm["name"])
    wait_for("never is Failed", lambda: lab.pod("never")["status"]["phase"] == "Failed", 60)
    term = container(lab.pod("never"))["state"]["terminated"]
    expect(term["exitCode"] == 137 and term["reason"] == "ContainerStatusUnknown", f"what is said of a lost container: {term}")
    pod = wait_for("always is Ready again", lambda: condition(lab.pod("always"), "Ready") == "True" and
                   container(lab.pod("always"))["restartCount"] >= 1 and lab.pod("always"), 90)
    expect(container(pod)["restartCount"] == 1, f"one restart is counted: {container(pod)}")
    delete_all(lab)


def vm_destroyed_by_hand(lab):
    lab.apply(make_pod("always"))
    wait_for("it is Ready", lambda: condition(lab.pod("always"), "Ready") == "True")
    name = lab.vms()[0]["name"]
    # The kubelet powers a VM on again that somebody powered off: destroying takes more than one try at times.
    wait_for("it is destroyed", lambda: lab.lab("vm", "destroy", name, "--force") or True, 20)
    pod = wait_for("it is Ready again in a new VM", lambda: condition(lab.pod("always"), "Ready") == "True" and
                   container(lab.pod("always"))["restartCount"] == 1 and lab.pod("always"), 90)
    expect(len(lab.vms()) == 1, "one VM")
    expect(pod["status"]["phase"] == "Running", "phase")
    delete_all(lab)


def restart_api_server(lab):
    lab.lab("kill", "apiserver")
    lab.lab("start", "apiserver")
    wait_for("the API server answers", lambda: lab.kubectl("get", "--raw", "/readyz"), 60)


def api_server_restarts(lab):
    lab.apply(make_deployment("web", 10))
    wait_for("10 are Ready", lambda: ready_count(lab, "app=web") == 10)
    restart_api_server(lab)
    lab.kubectl("scale", "deployment", "web", "--replicas=12")
    wait_for("12 are Ready", lambda: ready_count(lab, "app=web") == 12, 90)
    delete_all(lab)


def watch_is_cut_and_answered_410(lab):
    """While the kubelet sleeps, pods come and go, etcd forgets that history and the API server its watch cache."""
    lab.apply(make_pod("stays"), make_pod("goes"))
    wait_for("both are Ready", lambda: ready_count(lab, None) == 2)
    lab.lab("pause", "kubelet")
    lab.kubectl("delete", "pod", "goes", "--force", "--grace-period=0")
    lab.apply(make_pod("comes"))
    lab.lab("stop", "apiserver")
    flags = pathlib.Path("/proc", pathlib.Path(lab.dir, "pid", "etcd.pid").read_text().strip(), "cmdline").read_text().split("\0")
    etcd = next(f.split("=", 1)[1] for f in flags if f.startswith("--listen-client-urls="))
    revision = int(json.loads(run(["curl", "-sf", f"{etcd}/v3/kv/range", "-d", '{"key":"AA=="}']))["header"]["revision"])
    run(["curl", "-sf", f"{etcd}/v3/kv/compaction", "-d", json.dumps({"revision": revision, "physical": True})])
    lab.lab("start", "apiserver")
    seen = len(lab.log())
    lab.lab("resume", "kubelet")
    wait_for("its watch is answered that it is too old", lambda: "too old resource version" in lab.log()[seen:], 60)
    wait_for("comes is Ready", lambda: condition(lab.pod("comes"), "Ready") == "True", 60)
    wait_for("the VM of the one that went is gone", lambda: len(lab.vms()) == 2, 60)
    expect(condition(lab.pod("stays"), "Ready") == "True" and container(lab.pod("stays"))["restartCount"] == 0, "stays was left alone")
    delete_all(lab)


def vcenter_outage(lab):
    lab.apply(make_deployment("web", 5))
    wait_for("5 are Ready", lambda: ready_count(lab, "app=web") == 5)
    lab.lab("stop", "vcenter")
    wait_for("the node says so", lambda: condition(lab.get("node", "vch1"), "VCenterUnavailable") == "True", 60)
    expect(lab.node_ready(), "an outage of vCenter must not evict pods that run")
    expect(ready_count(lab, "app=web") == 5, "pods stay Ready")
    lab.kubectl("scale", "deployment", "web", "--replicas=8")
    lab.kubectl("delete", "pod", lab.pods("app=web")[0]["metadata"]["name"], "--wait=false")
    time.sleep(3)
    lab.lab("start", "vcenter")
    wait_for("8 are Ready afterwards", lambda: ready_count(lab, "app=web") == 8, 120)
    wait_for("8 VMs", lambda: len(lab.vms()) == 8, 60)
    delete_all(lab)


def expired_sessions_and_transient_faults(lab):
    lab.lab("fault", "sessions", "expire")
    lab.lab("fault", "add", "--fault", "TaskInProgress", "--method", "Destroy_Task", "--count", "3")
    lab.lab("fault", "add", "--fault", "SystemError", "--method", "CreateVM_Task", "--count", "2")
    lab.lab("fault", "add", "--fault", "ConcurrentAccess", "--method", "PowerOnMultiVM_Task", "--count", "2")
    lab.apply(make_deployment("web", 6))
    wait_for("6 are Ready in spite of faults", lambda: ready_count(lab, "app=web") == 6, 90)
    delete_all(lab)
    lab.lab("fault", "clear")


def two_hundred_up_and_down(lab):
    lab.apply(make_deployment("many", 200))
    wait_for("200 are Ready", lambda: ready_count(lab, "app=many") == 200, 240)
    expect(len(lab.vms()) == 200, f"one VM a pod: {len(lab.vms())}")
    ips = [p["status"]["podIP"] for p in lab.pods("app=many")]
    expect(len(set(ips)) == 200, "no address is given twice")
    delete_all(lab, 300)


def two_hundred_with_ten_kills(lab):
    lab.apply(make_deployment("many", 200))
    for _ in range(5):
        time.sleep(1.5)
        lab.lab("kill", "kubelet")
        lab.lab("start", "kubelet")
    wait_for("200 are Ready after five kills", lambda: ready_count(lab, "app=many") == 200, 300)
    expect(len(lab.vms()) == 200, f"none created twice: {len(lab.vms())}")
    lab.kubectl("delete", "deployment", "many", "--wait=false")
    for _ in range(5):
        time.sleep(1.5)
        lab.lab("kill", "kubelet")
        lab.lab("start", "kubelet")
    gone(lab, 300)


def two_hundred_with_restarted_servers(lab):
    """The API server dies and vCenter goes away, with all its sessions, while 200 pods come, and again while they go."""
    def restart_both(done):
        lab.lab("stop", "vcenter")
        restart_api_server(lab)
        expect(not done(), "all was done before vCenter was stopped: nothing is shown")
        time.sleep(2)
        lab.lab("start", "vcenter")
        time.sleep(1)
        restart_api_server(lab)

    lab.apply(make_deployment("many", 200))
    time.sleep(1)
    restart_both(lambda: ready_count(lab, "app=many") == 200)
    wait_for("200 are Ready", lambda: ready_count(lab, "app=many") == 200, 300)
    expect(len(lab.vms()) == 200, f"none created twice: {len(lab.vms())}")
    pods = lab.pods("app=many")
    expect(len({p["status"]["podIP"] for p in pods}) == 200, "no address is given twice")
    expect(all(container(p)["restartCount"] == 0 for p in pods), "no container was started twice")
    lab.kubectl("delete", "deployment", "many", "--wait=false")
    time.sleep(1)
    restart_both(lambda: not lab.pods())
    gone(lab, 300)


def drains_at_sigterm(lab):
    lab.lab("fault", "delay", "create=2s")
    lab.apply(make_pod("slow"))
    wait_for("it is being created", lambda: "Planned" in lab.log() and lab.pods(), 20)
    time.sleep(1)
    lab.lab("stop", "kubelet")
    expect("Stopped" in lab.log(), "the kubelet said goodbye")
    expect(len(lab.vms()) == 1, "what was in flight came to its end")
    lab.lab("fault", "delay", "none")
    lab.lab("start", "kubelet")
    wait_for("it is Ready", lambda: condition(lab.pod("slow"), "Ready") == "True")
    delete_all(lab)


def pod_vms_carry_tags(lab):
    """Of their cluster and namespace, as vCenter's REST API tells them; and no session is left behind."""
    lab.apply(make_pod("tagged"))
    vm = wait_for("it has a VM", lambda: next((v for v in lab.vms() if v["name"].startswith("default-tagged-")), None))
    base, trust = lab.env["VCENTER_URL"].split("/sdk")[0] + "/rest/com/vmware/cis", ssl.create_default_context(cafile=lab.env["VCENTER_CA"])

    def ask(method, path, body=None, **headers):
        request = urllib.request.Request(base + path, method=method, data=body and json.dumps(body).encode(), headers={"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request, context=trust, timeout=20) as answer:
            return json.load(answer)["value"]

    login = base64.b64encode(f"{lab.env['VCENTER_USER']}:{lab.env['VCENTER_PASSWORD']}".encode()).decode()
    token = {"vmware-api-session-id": ask("POST", "/session", Authorization=f"Basic {login}")}

    def tags():
        found = {}
        for tag in ask("POST", "/tagging/tag-association?~action=list-attached-tags", {"object_id": {"type": "VirtualMachine", "id": vm["ref"].split(":")[-1]}}, **token) or []:
            tag = ask("GET", f"/tagging/tag/id:{tag}", **token)
            found[ask("GET", f"/tagging/category/id:{tag['category_id']}", **token)["name"]] = tag["name"]
        return found if len(found) == 2 else None

    found = wait_for("its VM carries two tags", tags, 30)
    server = lab.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}").split("://")[1]
    expect(found == {"kubernetes-cluster": server, "kubernetes-namespace": "default"}, f"tags: {found}")
    ended = lambda: sum(n for what, n in json.loads(lab.lab("stats"))["vcenter"]["rest"].items() if what.startswith("DELETE") and what.endswith("/session"))
    before = ended()
    lab.lab("stop", "kubelet")
    expect(ended() == before + 1, "the kubelet ends its REST session")
    lab.lab("start", "kubelet")
    delete_all(lab)


def events_and_describe(lab):
    lab.apply(make_pod("told"))
    wait_for("it is Ready", lambda: condition(lab.pod("told"), "Ready") == "True")
    wait_for("an event about its VM", lambda: any(e["involvedObject"].get("name") == "told" and e["source"].get("component") == "kubelet"
                                                 for e in lab.get("events")["items"]), 20)
    delete_all(lab)


def capacity_follows_vcenter(lab):
    """A host that goes into maintenance, and a limit of the pool."""
    def resources():
        """Thousandths of a CPU, and bytes. Of these the overheads of pods are taken off, some seconds later, to tell what is allocatable."""
        have = lab.get("node", "vch1")["status"]["capacity"]
        cpu, memory = have["cpu"], have["memory"]
        return (int(cpu[:-1]) if cpu.endswith("m") else int(cpu) * 1000, int(memory[:-2]) << {"K": 10, "M": 20, "G": 30, "T": 40}[memory[-2]])

    whole = resources()
    lab.lab("host", "enter", "DC0_C0_H0")
    try:
        wait_for("a third is gone", lambda: resources() == (whole[0] * 2 // 3, whole[1] * 2 // 3), 30)
    finally:
        lab.lab("host", "exit", "DC0_C0_H0")
    wait_for("it is back", lambda: resources() == whole, 30)
    pool = "vch1"
    lab.lab("pool", pool, "cpu=23000", "memory=65536")
    try:
        wait_for("the pool's limits count", lambda: resources()[1] == 64 << 30 and resources()[0] < whole[0] // 2, 30)
        lab.apply(make_pod("big", containers=[{"name": "main", "image": "busybox", "resources": {"requests": {"memory": "65Gi"}}}]))
        wait_for("the scheduler heeds them", lambda: "Insufficient memory" in json.dumps(lab.pod("big")["status"]), 30)
    finally:
        lab.lab("pool", pool, "none")
    wait_for("it is back", lambda: resources() == whole, 30)
    delete_all(lab)


def node_reads_only_what_is_its_own(lab):
    """After all that the scenarios before have done: no list or watch of all pods, Secrets or ConfigMaps, not even one that is refused."""
    lab.kubectl("create", "configmap", "seen", "--from-literal=a=b")
    lab.kubectl("create", "secret", "generic", "seen", "--from-literal=a=b")
    pod = make_pod("reader")
    pod["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "seen"}}, {"secretRef": {"name": "seen"}}]
    lab.apply(pod)
    wait_for("it is Ready", lambda: condition(lab.pod("reader"), "Ready") == "True")
    for resource, selector in (("pods", "spec.nodeName%3Dvch1"), ("nodes", "metadata.name%3Dvch1"), ("configmaps", "metadata.name%3D"),
                               ("secrets", "metadata.name%3D")):
        reads = lab.node_reads("vch1", resource)
        expect(reads, f"the node has read {resource}")
        more = [uri for uri in reads if f"fieldSelector={selector}" not in uri]
        expect(not more, f"{resource} beyond its own: {more[:3]}")
    lab.kubectl("delete", "configmap,secret", "seen")
    delete_all(lab)


def second_node_on_http1_and_paged_lists(lab):
    lab.lab("node", "vch2", "--", "--kube-api-http2=false", "--kube-api-streaming-list=false", "--kube-api-page-size=2", "--logging-format", "json",
            "--register-with-taints=")
    wait_for("vch2 is Ready", lambda: lab.node_ready("vch2"), 60)
    cidrs = {lab.get("node", n)["spec"]["podCIDR"] for n in ("vch1", "vch2")}
    expect(len(cidrs) == 2, f"each node has its own addresses: {cidrs}")
    pod = make_pod("there")
    pod["spec"]["nodeName"] = "vch2"
    lab.apply(pod, make_pod("here", nodeName="vch1"))
    for name in ("there", "here"):
        wait_for(f"{name} is Ready", lambda name=name: condition(lab.pod(name), "Ready") == "True")
    lab.apply(*(make_pod(f"there-{i}", nodeName="vch2") for i in range(4)))
    five = lambda: sum(condition(p, "Ready") == "True" for p in lab.pods() if p["spec"]["nodeName"] == "vch2") == 5  # noqa: E731
    wait_for("five are Ready there", five)
    listed = len(lab.node_reads("vch2", "pods"))
    lab.lab("kill", "kubelet-vch2")
    lab.lab("start", "kubelet-vch2")
    pages = lambda: [uri for uri in lab.node_reads("vch2", "pods")[listed:] if "limit=2" in uri]  # noqa: E731
    wait_for("it lists five pods in three pages", lambda: len(pages()) == 3 and sum("continue=" in uri for uri in pages()) == 2, 30)
    lab.kubectl("delete", "pod", "there-0")
    expect(sum("deletionTimestamp" not in p["metadata"] for p in lab.pods()) == 5, "the pages are a whole")
    lines = [line for line in lab.log("kubelet-vch2").splitlines() if line]
    expect(all(json.loads(line)["msg"] for line in lines), "each line of the log is JSON")
    delete_all(lab)
    lab.lab("stop", "kubelet-vch2")
    lab.kubectl("delete", "node", "vch2")


def client_certificate_is_renewed(lab):
    begin = time.monotonic()
    # Made out an hour back, as all of the lab's: due at once.
    lab.lab("node", "vch3", "--credential-lifetime", "20s", "--", "--register-with-taints=")
    kept = pathlib.Path(lab.dir, "kubelet-vch3/kubelet-client-current.pem")
    still_good = lambda: subprocess.run(["openssl", "x509", "-in", str(kept), "-noout", "-checkend", "3600"],  # noqa: E731
                                        capture_output=True).returncode == 0
    wait_for("a new certificate", still_good, 30)
    expect(kept.stat().st_mode & 0o777 == 0o600, oct(kept.stat().st_mode))
    time.sleep(max(0, 21 - (time.monotonic() - begin)))  # the kubeconfig's is worth nothing any more
    lease = lambda: lab.get("lease", "vch3", "-n", "kube-node-lease")["spec"]["renewTime"]  # noqa: E731
    last = lease()
    wait_for("the lease is renewed", lambda: lease() != last, 30)
    for what in ("stop", "start"):
        lab.lab(what, "kubelet-vch3")
    last = lease()
    wait_for("the lease is renewed after a restart", lambda: lease() != last, 30)
    expect("Unauthorized" not in lab.log("kubelet-vch3"), "the API server refused it")
    lab.lab("stop", "kubelet-vch3")
    lab.kubectl("delete", "node", "vch3")


def leader_credential(lab):
    """A kubeconfig of a user who may do what README's Role says, and no more."""
    readme = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text()
    role = next(block for block in readme.split("```")[1::2] if "kind: Role" in block).removeprefix("yaml")
    lab.kubectl("apply", "-f", "-", stdin=role)
    lab.kubectl("create", "serviceaccount", "leader", "-n", "kube-system")
    lab.kubectl("create", "rolebinding", "vch-kubelet-leader", "-n", "kube-system", "--role=vch-kubelet-leader",
                "--serviceaccount=kube-system:leader")
    config = json.loads(lab.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"][0]["user"] = {"token": lab.kubectl("create", "token", "leader", "-n", "kube-system").strip()}
    path = pathlib.Path(lab.dir, "leader.kubeconfig")
    path.write_text(json.dumps(config))
    return path


def standby_takes_over(lab):
    credential = leader_credential(lab)
    argv = pathlib.Path(f"/proc/{lab.env['KUBELET_PID']}/cmdline")
    if not argv.exists():  # restarted by a scenario before
        argv = pathlib.Path("/proc", pathlib.Path(lab.dir, "pid/kubelet.pid").read_text().strip(), "cmdline")
    command = argv.read_text().split("\0")[:-1]
    lab.apply(make_pod("steady"))
    wait_for("it is Ready", lambda: condition(lab.pod("steady"), "Ready") == "True")
    lab.lab("stop", "kubelet")
    logs = [pathlib.Path(lab.dir, "log", f"candidate-{i}.log") for i in (0, 1)]
    processes = []
    try:
        for log in logs:
            with open(log, "w") as out:
                processes.append(subprocess.Popen(
                    [*command, "--leader-elect", "--leader-elect-kubeconfig", str(credential), "--metrics-address", "",
                     "--leader-elect-lease-duration", "4s", "--leader-elect-renew-deadline", "3s", "--leader-elect-retry-period", "1s"],
                    stderr=out, stdin=subprocess.DEVNULL))
        leading = lambda i: "Pods and VMs are known" in logs[i].read_text()
        wait_for("one leads", lambda: leading(0) or leading(1), 30)
        time.sleep(5)
        expect(leading(0) != leading(1), "only one works")
        first = 0 if leading(0) else 1
        processes[first].kill()
        wait_for("the other one takes over", lambda: leading(1 - first), 30)
        lab.apply(make_pod("after"))
        wait_for("it works", lambda: condition(lab.pod("after"), "Ready") == "True")
        expect(container(lab.pod("steady"))["restartCount"] == 0, "running pods noticed nothing")
        processes[1 - first].terminate()
        expect(processes[1 - first].wait(30) == 0, "SIGTERM ends it well")
        lease = lab.get("lease", "vch-kubelet-vch1", "-n", "kube-system")
        expect(not lease["spec"].get("holderIdentity"), f"the lease was given up: {lease['spec']}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
        lab.lab("start", "kubelet")
    lab.kubectl("delete", "rolebinding/vch-kubelet-leader", "role/vch-kubelet-leader", "serviceaccount/leader", "-n", "kube-system")
    delete_all(lab)


def vsphere_layer_against_the_simulator(lab):
    out = run([f"{lab.build}/test/vsphere/vsphere_live_test"], env=lab.env)
    expect("[  PASSED  ]" in out and "SKIPPED" not in out, out[-2000:])
    gone(lab)


def image_layer_against_the_simulator(lab):
    """Images from the lab's registry to templates in its vCenter, and back from the datastore."""
    out = run([f"{lab.build}/test/node/image_live_test"], env=lab.env, timeout=300, check=False)
    expect("[  PASSED  ]" in out and "FAILED" not in out and "SKIPPED" not in out, out[-3000:])
    gone(lab)


def images_that_nobody_uses_are_removed(lab):
    """Anchor VM, files and all; those that a pod runs by stay, whoever asks, and one that is wanted again is pulled again."""
    age = 4
    others = {vm["ref"] for vm in lab.images()}
    lab.lab("node", "vch-gc", "--", "--image-maximum-gc-age", f"{age}s", "--image-gc-interval", "1s",
            "--node-status-report-frequency", "2s", "--register-with-taints=")
    images = lambda: {vm["name"]: vm for vm in lab.images() if vm["ref"] not in others}  # noqa: E731
    files = lambda: {p.name for p in pathlib.Path(lab.env["VCENTER_DATASTORE_DIR"]).iterdir() if list(p.glob("*.vmdk"))}  # noqa: E731
    told = lambda: sorted(image["names"][-1] for image in lab.get("node", "vch-gc")["status"].get("images", []))  # noqa: E731
    wait_for("the node is Ready", lambda: lab.node_ready("vch-gc"), 60)

    def pod(name, image):
        made = make_pod(name, nodeName="vch-gc")
        made["spec"]["containers"][0] |= {"image": image, "imagePullPolicy": "IfNotPresent"}
        return made

    def ready(name):
        return condition(lab.pod(name), "Ready") == "True"

    def brings(name, image):
        """Applies the pod; the name of the image that comes with it."""
        before = images()
        lab.apply(pod(name, image))
        wait_for(f"{name} is Ready", lambda: ready(name))
        new = [vm for vm in images().values() if vm["ref"] not in {b["ref"] for b in before.values()}]
        expect(len(new) == 1 and new[0]["name"] in files(), f"one image, with files: {new}, {files()}")
        return new[0]["name"]

    stays = brings("stays", "busybox")
    goes = brings("goes", "lab/zstd")
    time.sleep(age + 3)
    expect(set(images()) == {stays, goes}, f"both are in use: {list(images())}")
    expect(told() == ["docker.io/lab/zstd:latest", "docker.io/library/busybox:latest"], f"the node tells of both: {told()}")
    lab.kubectl("delete", "pod", "goes", "--wait=false")
    wait_for("the image that nobody uses is gone", lambda: set(images()) == {stays}, 30)
    expect(stays in files() and goes not in files(), f"with its files: {files()}")
    wait_for("the node does not tell of it", lambda: told() == ["docker.io/library/busybox:latest"], 10)

    # Another run knows what is in use by the VMs alone.
    lab.lab("kill", "kubelet-vch-gc")
    lab.lab("start", "kubelet-vch-gc")
    again = brings("again", "lab/zstd")
    expect(again == goes, "an image's name says what it is")
    time.sleep(age + 3)
    expect(set(images()) == {stays, goes} and {stays, goes} <= files() and ready("stays"), f"both are in use: {list(images())}, {files()}")
    lab.kubectl("delete", "pod", "stays", "again", "--wait=false")
    wait_for("no image is left", lambda: not images() and not {stays, goes} & files(), 30)
    gone(lab)
    removed = lab.log("kubelet-vch-gc").count("Image removed")
    expect(removed == 3, f"{removed} images were removed")
    lab.lab("stop", "kubelet-vch-gc")
    lab.kubectl("delete", "node", "vch-gc")


def metrics_are_served(lab):
    expect(lab.metric("workqueue_adds_total") > 0, "client-go's queue metrics")
    expect(lab.metric("process_resident_memory_bytes") > 1e6, "process metrics")


ALL = [node_registers, one_pod_up_and_down, same_name_in_two_namespaces, exit_codes_and_restarts, an_image_that_cannot_be_pulled, pull_secrets,
       without_guests_nothing_becomes_ready, forced_deletion_and_vanished_objects, kubelet_restart_changes_nothing,
       kubelet_restart_leaves_the_node_ready, node_is_recreated_with_what_people_set, vm_powered_off_by_hand, vm_destroyed_by_hand,
       api_server_restarts, watch_is_cut_and_answered_410, vcenter_outage, expired_sessions_and_transient_faults, drains_at_sigterm,
       pod_vms_carry_tags, events_and_describe, capacity_follows_vcenter, second_node_on_http1_and_paged_lists, client_certificate_is_renewed,
       standby_takes_over, images_that_nobody_uses_are_removed, vsphere_layer_against_the_simulator, image_layer_against_the_simulator, a_large_image_takes_little_memory,
       two_hundred_up_and_down, two_hundred_with_ten_kills, two_hundred_with_restarted_servers, node_reads_only_what_is_its_own,
       metrics_are_served]
