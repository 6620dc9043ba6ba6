"""What a user, or a bad day, does to pods that are virtual machines; each function is one test.

A guest takes half a minute of a core to boot where nothing but emulation works, so each pod checks many things. The tests of
TOGETHER run at the same time and remove their own pods; those of ALONE take parts of the lab away, one after another, and share pods.
"""
import base64
import calendar
import contextlib
import hashlib
import json
import os
import pathlib
import re
import subprocess
import time

from harness import ROOT, Failure, condition, container, expect, make_pod, run, wait_for

PATIENCE = float(os.environ.get("VCH_PATIENCE", "1"))  # for busy machines
BOOT = 240 * PATIENCE  # from a pod's creation until it is Ready, with others that boot at the same time
SOON = 90 * PATIENCE  # what takes an emulated guest a few seconds


def until(lab, pod, what, holds, seconds=SOON):
    """The pod's object, once it is so."""
    def look():
        seen = lab.pod(pod)
        if holds(seen):
            return seen
        raise Failure(json.dumps(seen["status"]))
    return wait_for(f"{pod}: {what}", look, seconds)


def is_ready(pod):
    return condition(pod, "Ready") == "True"


def box(name, script, memory="24Mi", **more):
    """A container."""
    resources = more.pop("resources", {"limits": {"memory": memory}})
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], "resources": resources, **more}


def agnhost(name, *args, **more):
    """Kubernetes' test program as a container."""
    return {"name": name, "image": "registry.k8s.io/e2e-test-images/agnhost:2.63.0", "args": list(args), "resources": {"limits": {"memory": "64Mi"}}, **more}


def pod_of(name, *containers, **spec):
    pod = make_pod(name, **spec)
    pod["spec"]["containers"] = list(containers)
    return pod


def vm_of(lab, pod):
    """The pod's VM."""
    found = [vm for vm in lab.vms() if re.fullmatch(rf"default-{pod}-[0-9a-f]{{12}}", vm["name"])]
    expect(len(found) == 1, f"{pod} has {len(found)} VMs")
    return found[0]


def holds(path, text):
    """Whether a file, of which most may be holes, has these bytes somewhere."""
    with open(path, "rb") as f:
        size, at = os.fstat(f.fileno()).st_size, 0
        while at < size:
            try:
                f.seek(os.lseek(f.fileno(), at, os.SEEK_DATA))
            except OSError:
                return False  # nothing but holes is left
            at = f.tell()
            piece = f.read(1 << 20)
            if text in piece:
                return True
            at += max(1, len(piece) - len(text) + 1)
    return False


def boots(lab, pod):
    """How often the pod's guest has booted, as its serial console says."""
    return pathlib.Path(lab.dir, "console", f"{vm_of(lab, pod)['name']}.log").read_text(errors="replace").count('"tether ready"')


def remove(lab, *pods):
    lab.kubectl("delete", "pod", *pods, "--wait=false", "--ignore-not-found")

    def gone():
        left = [p["metadata"]["name"] for p in lab.pods() if p["metadata"]["name"] in pods]
        left += [vm["name"] for vm in lab.vms() if re.sub("^default-|-[0-9a-f]{12}$", "", vm["name"]) in pods]
        if left:
            raise Failure(f"left: {left}")
        return True
    wait_for(f"{', '.join(pods)} and their VMs are gone", gone, 120 * PATIENCE)


def nothing_is_left(lab):
    wait_for("no pod is left", lambda: not lab.pods(), 120 * PATIENCE)
    wait_for("no VM is left", lambda: not lab.vms(), 60 * PATIENCE)
    wait_for("no QEMU process is left", lambda: not lab.machines(), 30)
    wait_for("nothing but images is on the datastore", lambda: lab.lab("leaks"), 30)


# ---- tests that run at the same time ----

def the_demo(lab):
    """tools/demo's pods, by the eyes of kubectl and curl."""
    lab.kubectl("apply", "-f", str(ROOT / "tools/lib/demo.yaml"))
    web = wait_for("both web servers are Ready",
                   lambda: len(pods := [p for p in lab.pods("app=web") if is_ready(p)]) == 2 and pods, BOOT)
    names = [p["metadata"]["name"] for p in web]
    kernels = {lab.exec(name, "cat /proc/sys/kernel/random/boot_id") for name in names}
    kernels.add(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text())
    expect(len(kernels) == 3, f"each pod has a kernel of its own: {kernels}")
    for pod in web:
        name = pod["metadata"]["name"]
        expect(lab.http(pod, "/?seen") == "Hello from a pod that is a VM.\n", "the page from the ConfigMap")
        wait_for("its log has the request", lambda name=name: "GET /?seen" in lab.logs(name), SOON)
    expect(vm_of(lab, names[0]).get("ip") == web[0]["status"]["podIP"], f"vCenter knows the address: {vm_of(lab, names[0])}")

    job = wait_for("the Job has failed", lambda: condition(lab.get("job", "exit-three"), "Failed") == "True" and lab.pods("job-name=exit-three"), BOOT)
    expect(len(job) == 1 and job[0]["status"]["phase"] == "Failed", str(job))
    expect(container(job[0])["state"]["terminated"]["exitCode"] == 3, "exit code 3")
    name = job[0]["metadata"]["name"]
    wait_for("its VM is off", lambda: vm_of(lab, name)["powerState"] == "poweredOff", SOON)
    expect(lab.logs(name) == "three things went wrong\n", "the log of a pod whose VM is off")

    crashing = until(lab, "crashing", "CrashLoopBackOff", lambda p: container(p).get("restartCount", 0) >= 1 and
                     container(p)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", BOOT)
    expect(container(crashing)["lastState"]["terminated"]["exitCode"] == 7 and crashing["status"]["phase"] == "Running", str(crashing["status"]))
    expect(lab.logs("crashing", previous=True) == "this cannot go well\n", "the log of the run before")
    machines = [pid for pod in (*names, "crashing") for pid in lab.machines(vm_of(lab, pod)["ref"])]
    expect(len(machines) == 3, f"a QEMU process for each VM that is on: {machines}")
    lab.kubectl("delete", "-f", str(ROOT / "tools/lib/demo.yaml"), "--wait=false")
    remove(lab, *names, name, "crashing")
    wait_for("QEMU processes end with their VMs", lambda: not any(os.path.exists(f"/proc/{m}") for m in machines), SOON)


# Secrets are not said: a log is on the disk.
REPORT = r"""
say() { echo "$1=$2"; }
hash() { printf %s "$1" | sha256sum | cut -c 1-64; }
say pwd "$(pwd)"; say args "$0|$1|$2"; say expanded "$EXPANDED"; say kept "$KEPT"; say prefixed "$CFG_greeting"; say password "$(hash "$PASSWORD")"
say file "$FROM_FILE|$OF_FILE|${NOT_IN_FILE-none}"
say key "$CONFIG_KEY"; say absent "${ABSENT-none}${GONE_x-none}"; say from "$(hash "$SEC_password")"; say expr "$(cat /expr/file)"
say caps "$(grep CapBnd /proc/self/status | tail -c 17)"
say pod "$POD_NAME $POD_IP $NODE_NAME"; say limit "$MEMORY_LIMIT"; say id "$(id -u):$(id -g):$(id -G)"; say host "$(hostname)"
say service "$KUBERNETES_SERVICE_HOST"; say hosts "$(grep -c "$POD_IP.*$(hostname)" /etc/hosts)"
say dns "$(tr '\n' ' ' < /etc/resolv.conf)"
say cpu "$(cat /sys/fs/cgroup/cpu.max)"; say memory "$(cat /sys/fs/cgroup/memory.max)"
touch /x 2>/tmp/ro/err || say root "$(cat /tmp/ro/err)"
say init "$(cat /work/init)"; say sidecar "$(cat /work/sidecar)"; say group "$(stat -c '%a %g' /work)"
say motd "$(cat /config/message)"; say mode "$(stat -L -c '%a %g' /config/message)"; say items "$(ls /config | tr '\n' ' ')"
say secret "$(hash "$(cat /secret/password)")"; say secretfs "$(stat -f -c %T /secret)"; say once "$(cat /etc/motd)"
say labels "$(cat /down/labels)"; say cpus "$(cat /down/cpu)"; say namespace "$(cat /projected/namespace)"; say token "$(cat /projected/token)"
say ram "$(df -k /ram | tail -n 1 | tr -s ' ')"; say under "$(cat /under/file)"
say account "$(ls /var/run/secrets/kubernetes.io/serviceaccount | tr '\n' ' ')"
echo END
until [ -e /work/end ]; do sleep 1; done
echo bye
"""


def a_pod_gets_what_its_spec_says(lab):
    """Environment, also from a file, command, user, limits, init containers and a sidecar, volumes of each kind, live updates."""
    secret, changed = "s3cret-q7Vx2Lk9", "changed-Zr4hT0bn"
    sha256 = lambda text: hashlib.sha256(text.encode()).hexdigest()  # noqa: E731
    field = lambda path: {"fieldRef": {"fieldPath": path}}  # noqa: E731
    of_file = lambda key, **more: {"fileKeyRef": {"volumeName": "work", "path": "app.env", "key": key, **more}}  # noqa: E731
    main = box("main", REPORT, "48Mi", args=["$(CFG_greeting)", "two words"], workingDir="/work",
               envFrom=[{"prefix": "CFG_", "configMapRef": {"name": "rich"}}, {"prefix": "SEC_", "secretRef": {"name": "rich"}},
                        {"prefix": "GONE_", "configMapRef": {"name": "not-there", "optional": True}}],
               env=[{"name": "EXPANDED", "value": "$(CFG_greeting), world"}, {"name": "KEPT", "value": "$$(CFG_greeting)"},
                    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "rich", "key": "password"}}},
                    {"name": "CONFIG_KEY", "valueFrom": {"configMapKeyRef": {"name": "rich", "key": "greeting"}}},
                    {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "rich", "key": "no-such-key", "optional": True}}},
                    {"name": "POD_NAME", "valueFrom": field("metadata.name")}, {"name": "POD_IP", "valueFrom": field("status.podIP")},
                    {"name": "NODE_NAME", "valueFrom": field("spec.nodeName")},
                    {"name": "FROM_FILE", "valueFrom": of_file("WRITTEN")}, {"name": "NOT_IN_FILE", "valueFrom": of_file("NO_SUCH_KEY", optional=True)},
                    {"name": "OF_FILE", "value": "$(FROM_FILE) to $(POD_NAME), $$(FROM_FILE)"},
                    {"name": "MEMORY_LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}],
               securityContext={"runAsUser": 1000, "runAsGroup": 3000, "runAsNonRoot": True, "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
               resources={"limits": {"memory": "48Mi", "cpu": "500m"}},
               volumeMounts=[{"name": "work", "mountPath": "/work"}, {"name": "work", "mountPath": "/under", "subPath": "below"},
                             {"name": "work", "mountPath": "/expr", "subPathExpr": "of-$(POD_NAME)"}, {"name": "gone", "mountPath": "/gone"},
                             {"name": "ro", "mountPath": "/tmp/ro"}, {"name": "config", "mountPath": "/config"},
                             {"name": "config", "mountPath": "/etc/motd", "subPath": "message"}, {"name": "secret", "mountPath": "/secret"},
                             {"name": "down", "mountPath": "/down"}, {"name": "projected", "mountPath": "/projected"},
                             {"name": "ram", "mountPath": "/ram"}])
    main["command"].append("zero")
    work = [{"name": "work", "mountPath": "/work"}]
    pod = pod_of("rich", main, restart="Never", securityContext={"fsGroup": 4000, "supplementalGroups": [5000]}, initContainers=[
        box("setup", "echo from init > /work/init; mkdir /work/below /work/of-rich; echo under > /work/below/file; echo by name > /work/of-rich/file; "
            """printf "# by init\\nOTHER='1'\\nWRITTEN='a \\$(POD_NAME)' # so\\n" > /work/app.env; echo set up""", volumeMounts=work),
        box("beside", "trap 'echo sidecar stops; exit 0' TERM; echo ran before main > /work/sidecar; while :; do sleep 1; done",
            restartPolicy="Always", volumeMounts=work, startupProbe={"exec": {"command": ["test", "-s", "/work/sidecar"]}, "periodSeconds": 1})],
        volumes=[{"name": "work", "emptyDir": {}}, {"name": "ro", "emptyDir": {}}, {"name": "ram", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
                 {"name": "config", "configMap": {"name": "rich", "items": [{"key": "motd", "path": "message", "mode": 0o440}]}},
                 {"name": "secret", "secret": {"secretName": "rich"}}, {"name": "gone", "configMap": {"name": "not-there", "optional": True}},
                 {"name": "down", "downwardAPI": {"items": [
                     {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                     {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}}]}},
                 {"name": "projected", "projected": {"sources": [
                     {"serviceAccountToken": {"path": "token", "audience": "the-lab", "expirationSeconds": 600}},
                     {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}])
    pod["metadata"]["labels"] = {"colour": "blue"}
    lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rich"}, "data": {"greeting": "hello", "motd": "first"}},
              {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rich"}, "stringData": {"password": secret}}, pod)
    seen = until(lab, "rich", "is Ready", is_ready, BOOT)
    log = wait_for("its report", lambda: (text := lab.logs("rich", "main")) and "END\n" in text and text, SOON)
    said = dict(line.split("=", 1) for line in log.splitlines() if "=" in line)
    ip = seen["status"]["podIP"]
    token = said.pop("token")
    hosts, dns, account, secretfs = said.pop("hosts"), said.pop("dns"), said.pop("account"), said.pop("secretfs")
    ram, root, ids = said.pop("ram").split(), said.pop("root"), said.pop("id").split(":")
    expect(ids[:2] == ["1000", "3000"] and sorted(ids[2].split()) == ["3000", "4000", "5000"], f"user and groups: {ids}")
    wanted = {"pwd": "/work", "args": "zero|hello|two words", "expanded": "hello, world", "kept": "$(CFG_greeting)", "prefixed": "hello",
              "password": sha256(secret), "from": sha256(secret), "file": "a $(POD_NAME)|a $(POD_NAME) to rich, $(FROM_FILE)|none", "key": "hello", "absent": "nonenone", "expr": "by name", "caps": "0000000000000400", "pod": f"rich {ip} vch1", "limit": "48", "host": "rich", "service": "10.96.0.1",
              "cpu": "50000 100000", "memory": str(48 << 20), "init": "from init", "sidecar": "ran before main", "group": "2777 4000",
              "motd": "first", "mode": "440 4000", "items": "message ", "secret": sha256(secret), "once": "first", "labels": 'colour="blue"',
              "cpus": "500", "namespace": "default", "under": "under"}
    expect(said == wanted, f"differs: { {k: (said.get(k), wanted.get(k)) for k in said.keys() | wanted.keys() if said.get(k) != wanted.get(k)} }")
    expect(hosts == "1" and "nameserver 10.96.0.10" in dns and "default.svc.cluster.local" in dns, f"hosts {hosts}, dns {dns}")
    expect("Read-only file system" in root and secretfs == "tmpfs" and ram[1] == "8192", f"{root}, {secretfs}, {ram}")
    expect(account.split() == ["ca.crt", "namespace", "token"], account)
    review = json.loads(lab.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": ["the-lab"]}})))
    expect(review["status"].get("authenticated") and review["status"]["user"]["username"] == "system:serviceaccount:default:default", str(review["status"]))
    expect(review["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["rich"], "a token of this pod")
    for name, ready in (("setup", True), ("beside", True)):
        expect(container(seen, name)["ready"] == ready, f"{name}: {container(seen, name)}")
    expect(container(seen, "setup")["state"]["terminated"]["exitCode"] == 0 and lab.logs("rich", "setup") == "set up\n", "the init container")

    # Live updates; what was mounted by subPath stays.
    lab.kubectl("patch", "configmap", "rich", "-p", json.dumps({"data": {"motd": "second"}}))
    lab.kubectl("patch", "secret", "rich", "-p", json.dumps({"data": {"password": base64.b64encode(changed.encode()).decode()}}))
    lab.kubectl("label", "pod", "rich", "colour=green", "--overwrite")
    wait_for("the updates", lambda: lab.exec("rich", "cat /config/message /secret/password /down/labels /etc/motd", "main") == f'second{changed}colour="green"first', SOON)

    # What came from a Secret is in memory only.
    lab.exec("rich", "sync", "beside")
    disks = list(pathlib.Path(lab.dir).rglob(f"{vm_of(lab, 'rich')['name']}/*.vmdk"))
    on_disk = lambda text: any(holds(disk, text.encode()) for disk in disks)  # noqa: E731
    expect(on_disk("from init"), f"it can be looked for in {disks}")
    for text in (secret, changed, base64.b64encode(secret.encode()).decode()):
        expect(not on_disk(text), f"{text} is on a disk of the VM")

    # The end: the sidecar is stopped when the work is done; logs outlive the VM.
    lab.exec("rich", "touch /work/end", "beside")
    ended = until(lab, "rich", "Succeeded", lambda p: p["status"]["phase"] == "Succeeded")
    expect(container(ended, "main")["state"]["terminated"]["reason"] == "Completed", str(container(ended, "main")))
    expect(container(ended, "beside")["state"]["terminated"]["exitCode"] == 0, str(container(ended, "beside")))
    wait_for("its VM is off", lambda: vm_of(lab, "rich")["powerState"] == "poweredOff", SOON)
    expect(lab.logs("rich", "main").endswith("END\nbye\n") and lab.logs("rich", "beside") == "sidecar stops\n", "logs of a pod whose VM is off")
    expect(lab.logs("rich", "main", tail=1) == "bye\n", "the last line of it")
    remove(lab, "rich")
    lab.kubectl("delete", "configmap,secret", "rich")


def probes_restarts_and_last_words(lab):
    """Containers that fail in their own ways, beside each other. One whose events count has a pod of its own: of each pod only 25 events
    at once are told, as in client-go, and these have more."""
    often = {"periodSeconds": 2, "failureThreshold": 1}
    lab.apply(pod_of("sick", box("live", "touch /tmp/alive; echo up; sleep 4; rm /tmp/alive; echo sick; sleep 100000",
                                 livenessProbe={"exec": {"command": ["test", "-e", "/tmp/alive"]}, **often})), pod_of(
        "probed",
        box("ready", "mkdir /tmp/www; httpd -f -p 8080 -h /tmp/www", readinessProbe={"httpGet": {"path": "/ok", "port": 8080}, **often}),
        box("message", "printf 'it is over' > /dev/termination-log; exit 3"),
        box("words", "echo last words; exit 4", terminationMessagePolicy="FallbackToLogsOnError"),
        box("hungry", "echo eating; tail /dev/zero"),
        box("chatty", "i=0; while [ $i -lt 4000 ]; do echo \"line $i of very many\"; i=$((i+1)); done; sleep 100000")))
    until(lab, "probed", "its containers run", lambda p: container(p, "chatty").get("state", {}).get("running"), BOOT)
    seen = until(lab, "sick", "a restart by the liveness probe", lambda p: container(p, "live").get("restartCount", 0) >= 1)
    last = container(seen, "live")["lastState"]["terminated"]
    expect(last["exitCode"] == 137, f"killed, as it does not end by TERM: {last}")
    wait_for("the log before the restart", lambda: lab.logs("sick", "live", previous=True) == "up\nsick\n", SOON)
    events = lambda: {(e["reason"], e["message"]) for e in lab.get("events")["items"] if e["involvedObject"].get("name") == "sick"}  # noqa: E731
    wait_for("events of it", lambda: any(r == "Unhealthy" and m.startswith("Liveness probe failed") for r, m in events()) and
             any(r == "Killing" and "failed liveness probe" in m for r, m in events()), SOON)
    remove(lab, "sick")

    seen = until(lab, "probed", "CrashLoopBackOff of what crashes", lambda p: all(
        container(p, c)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" for c in ("message", "words", "hungry")))
    before = {c: container(seen, c)["lastState"]["terminated"] for c in ("message", "words", "hungry")}
    expect(before["message"]["exitCode"] == 3 and before["message"]["message"] == "it is over", str(before["message"]))
    expect(before["words"]["exitCode"] == 4 and before["words"]["message"] == "last words\n", str(before["words"]))
    expect(before["hungry"]["reason"] == "OOMKilled" and before["hungry"]["exitCode"] == 137, str(before["hungry"]))

    expect(container(seen, "ready")["ready"] is False and container(seen, "ready")["started"] is True, "not ready without the page")
    expect(condition(seen, "ContainersReady") == "False", "the pod neither")
    lab.exec("probed", "touch /tmp/www/ok", "ready")
    until(lab, "probed", "the probe succeeds", lambda p: container(p, "ready")["ready"])
    lab.exec("probed", "rm /tmp/www/ok", "ready")
    seen = until(lab, "probed", "the probe fails", lambda p: not container(p, "ready")["ready"])
    expect(container(seen, "ready")["restartCount"] == 0, "readiness restarts nothing")

    # Log files of 16 KiB, three of them.
    lines = lab.logs("probed", "chatty").splitlines()
    numbers = [int(line.split()[1]) for line in lines]
    expect(numbers[-1] == 3999 and numbers[0] > 0 and numbers == list(range(numbers[0], 4000)), f"{numbers[:1]} to {numbers[-1:]}, {len(numbers)} lines")
    expect(len(lines) * 60 < 4 * 16384, f"{len(lines)} lines are more than may be kept")
    expect(lab.logs("probed", "chatty", tail=3).splitlines() == lines[-3:], "the tail")
    expect(boots(lab, "probed") == 1, "the guest survived all of it")
    remove(lab, "probed")


def probes_by_tcp_and_grpc(lab):
    often = {"periodSeconds": 2, "failureThreshold": 1}
    lab.apply(pod_of(
        "asked",
        agnhost("tcp", "netexec", "--http-port=8090", startupProbe={"tcpSocket": {"port": 8090}, "periodSeconds": 2, "failureThreshold": 300},
                livenessProbe={"tcpSocket": {"port": 8090}, "periodSeconds": 5, "timeoutSeconds": 5}, readinessProbe={"tcpSocket": {"port": 8090}, **often}),
        agnhost("grpc", "grpc-health-checking", "--port=5000", "--http-port=8091", readinessProbe={"grpc": {"port": 5000}, **often}),
        box("deaf", "sleep 100000", readinessProbe={"tcpSocket": {"port": 8099}, "periodSeconds": 10, "failureThreshold": 1}),
        box("rootless", "true", securityContext={"runAsNonRoot": True})))
    seen = until(lab, "asked", "probes by TCP and gRPC succeed", lambda p: all(container(p, c).get("ready") for c in ("tcp", "grpc")), BOOT)
    expect(container(seen, "tcp")["restartCount"] == 0 and not container(seen, "deaf")["ready"], f"nobody listens on 8099: {seen['status']}")
    waiting = container(seen, "rootless")["state"]["waiting"]
    expect(waiting["reason"] == "CreateContainerConfigError" and "container has runAsNonRoot and image will run as root" in waiting["message"], str(waiting))
    lab.http(seen, "/make-not-serving", 8091)
    seen = until(lab, "asked", "a gRPC service that is not well", lambda p: not container(p, "grpc")["ready"])
    expect(container(seen, "grpc")["restartCount"] == 0, "readiness restarts nothing")
    wait_for("why", lambda: any('service unhealthy (responded with "NOT_SERVING")' in e["message"] for e in lab.get("events")["items"]
                                if e["involvedObject"].get("name") == "asked"), SOON)
    remove(lab, "asked")


def a_stop_is_graceful(lab):
    polite = box("polite", "trap 'echo TERM; sleep 1; echo done; exit 0' TERM; echo up; while :; do sleep 1; done",
                 lifecycle={"postStart": {"exec": {"command": ["sh", "-c", "echo started > /proc/1/fd/1"]}},
                            "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1; sleep 1"]}}})
    lab.apply(pod_of("graceful", polite, box("stubborn", "trap '' TERM; while :; do sleep 1; done"), grace=15))
    until(lab, "graceful", "is Ready", is_ready, BOOT)
    with subprocess.Popen(["kubectl", "logs", "-f", "graceful", "-c", "polite"], env=lab.env, stdout=subprocess.PIPE, text=True) as follower:
        try:
            first = sorted(follower.stdout.readline() for _ in range(2))
            expect(first == ["started\n", "up\n"], f"what it says first: {first}")
            begin = time.monotonic()
            remove(lab, "graceful")
            took = time.monotonic() - begin
            rest, _ = follower.communicate(timeout=SOON)
        finally:
            follower.kill()
    expect(rest == "stopping\nTERM\ndone\n", f"what it says last: {rest!r}")
    expect(took >= 14, f"the one that does not end has its grace of 15 s: {took:.1f} s")


def a_deadline_ends_a_pod(lab):
    wants = {"volumes": [{"name": "config", "configMap": {"name": "not-there"}}]}
    wanting = box("main", "sleep 100000", volumeMounts=[{"name": "config", "mountPath": "/config"}])
    lab.apply(pod_of("late", box("main", "echo on time; sleep 100000"), activeDeadlineSeconds=60, grace=1),
              pod_of("wanting", wanting, activeDeadlineSeconds=20, **wants), pod_of("soon", box("main", "exit 0"), restart="OnFailure"))
    started = lambda p: calendar.timegm(time.strptime(p["status"]["startTime"], "%Y-%m-%dT%H:%M:%SZ"))  # noqa: E731
    over = until(lab, "wanting", "Failed", lambda p: p["status"]["phase"] == "Failed")
    took = time.time() - started(over)
    expect(over["status"]["reason"] == "DeadlineExceeded" and 19 <= took <= 40 * PATIENCE, f"without its ConfigMap, after {took:.1f} s: {over['status']}")
    late = until(lab, "late", "Failed", lambda p: p["status"]["phase"] == "Failed", BOOT + 60)
    expect(late["status"]["reason"] == "DeadlineExceeded" and late["status"]["message"] == "Pod was active on the node longer than the specified deadline",
           str(late["status"]))
    state = container(late)["state"]
    expect("running" not in state, f"nothing of it runs: {state}")
    ran = state.get("terminated", {}).get("finishedAt")
    expect(not ran or calendar.timegm(time.strptime(ran, "%Y-%m-%dT%H:%M:%SZ")) - started(late) <= 75, f"counted from its start: {late['status']}")
    ended = until(lab, "soon", "Succeeded", lambda p: p["status"]["phase"] == "Succeeded", BOOT)
    expect(container(ended)["restartCount"] == 0, "what succeeds is not restarted on failure")
    remove(lab, "late", "soon", "wanting")


def images_that_cannot_be_had(lab):
    cases = {"nowhere": ("nope/nothing:x", {}), "never": ("nope/never", {"imagePullPolicy": "Never"}), "invalid": ("Bad/Name", {}),
             "foreign": ("arm64v8/hello-world", {})}
    lab.apply(*(pod_of(name, {"name": "main", "image": image, **more}) for name, (image, more) in cases.items()),
              pod_of("in-vain", {"name": "main", "image": "nope/nothing:x"}, activeDeadlineSeconds=10))
    waiting = lambda p: container(p).get("state", {}).get("waiting", {})  # noqa: E731

    def seen(pod, reason, text):
        got = until(lab, pod, reason, lambda p: waiting(p).get("reason") == reason)
        expect(text in waiting(got).get("message", ""), f"{pod}: {waiting(got)}")
        expect(got["status"]["phase"] == "Pending", "it stays Pending")
    seen("nowhere", "ImagePullBackOff", 'Back-off pulling image "nope/nothing:x"')
    seen("never", "ErrImageNeverPull", 'Container image "nope/never" is not present with pull policy of Never')
    seen("invalid", "InvalidImageName", "Bad/Name")
    until(lab, "foreign", "an error", lambda p: "no match for platform" in waiting(p).get("message", ""))
    wait_for("the event that users know", lambda: any(
        e["involvedObject"].get("name") == "nowhere" and e["reason"] == "Failed" and "not found" in e["message"] for e in lab.get("events")["items"]), SOON)
    over = until(lab, "in-vain", "its deadline", lambda p: p["status"]["phase"] == "Failed")
    expect(over["status"]["reason"] == "DeadlineExceeded", str(over["status"]))
    expect(not [vm for vm in lab.vms() if any(f"-{name}-" in vm["name"] for name in (*cases, "in-vain"))], "no VM is made for what cannot run")
    remove(lab, *cases, "in-vain")


def hostile_containers_do_no_harm(lab):
    """Others of the same pod, and the tether, live on beside a full disk and a fork bomb."""
    fuse = {"volumeMounts": [{"name": "fuse", "mountPath": "/fuse"}]}
    lab.apply(pod_of(
        "hostile", box("witness", "while :; do sleep 1; done", **fuse),
        box("filler", "until [ -e /fuse/fill ]; do sleep 1; done; i=0; while fallocate -l 64M /big$i 2>/dev/null; do i=$((i+1)); done; "
                      "dd if=/dev/zero of=/rest bs=64k 2>/dev/null; touch /fuse/full; sleep 100000", **fuse),
        box("bomb", "until [ -e /fuse/burn ]; do sleep 1; done; f() { f | f & }; f; sleep 100000", "48Mi", **fuse),
        restart="Never", volumes=[{"name": "fuse", "emptyDir": {"medium": "Memory"}}]),
        pod_of("greedy", box("main", "dd if=/dev/zero of=/much/file bs=1M count=3; sleep 100000", volumeMounts=[{"name": "much", "mountPath": "/much"}]),
               volumes=[{"name": "much", "emptyDir": {"sizeLimit": "2Mi"}}]))
    until(lab, "hostile", "is Ready", is_ready, BOOT)
    lab.exec("hostile", "touch /fuse/fill", "witness")
    wait_for("the disk is full", lambda: lab.exec("hostile", "ls /fuse; df / | tail -n 1", "witness").startswith("fill\nfull\n"), SOON)
    expect("100%" in lab.exec("hostile", "df / | tail -n 1", "witness"), "there is no room on it")
    lab.exec("hostile", "touch /fuse/burn", "witness")
    time.sleep(10)
    expect(lab.exec("hostile", "echo alive", "witness") == "alive\n", "exec beside a fork bomb and a full disk")
    pod = lab.pod("hostile")
    expect(is_ready(pod) and not any(c["restartCount"] for c in pod["status"]["containerStatuses"]), str(pod["status"]))
    expect(boots(lab, "hostile") == 1, "the guest has survived")
    told = lambda name: {e["reason"]: e for e in lab.get("events")["items"] if e["involvedObject"].get("name") == name}  # noqa: E731
    seen = wait_for("both are told", lambda: (e := told("hostile")).keys() >= {"DiskFull", "ProcessLimitReached"} and e, SOON)
    expect(seen["DiskFull"]["type"] == "Warning" and "No space left" in seen["DiskFull"]["message"], str(seen["DiskFull"]))
    expect("bomb" in seen["ProcessLimitReached"]["message"], str(seen["ProcessLimitReached"]))
    over = until(lab, "greedy", "Failed", lambda p: p["status"]["phase"] == "Failed")
    message = 'Usage of EmptyDir volume "much" exceeds the limit "2Mi". '
    expect(over["status"]["reason"] == "Evicted" and over["status"]["message"] == message, str(over["status"]))
    wait_for("its eviction is told", lambda: told("greedy").get("Evicted", {}).get("type") == "Warning", SOON)
    remove(lab, "hostile", "greedy")


# ---- tests that take parts of the lab away, one after another ----

# Waits until somebody connects to the port: that needs neither a kubelet nor an API server.
KNOCK = "nc -l -p {port} < /dev/null > /dev/null; "


def knock(lab, pod, port, check=True):
    """Whether somebody listens; with check it is a Failure if not."""
    say = f"echo > /dev/tcp/{pod['status']['podIP']}/{port} && echo knocked"
    return run([ROOT / "tools/lab", "exec", lab.dir, "bash", "-c", say], timeout=20, check=check) == "knocked\n"


def pods_for_bad_days(lab):
    """The pods that the tests below share."""
    volume = {"volumes": [{"name": "work", "emptyDir": {}}], "automountServiceAccountToken": False}
    mounts = [{"name": "work", "mountPath": "/work"}]
    lab.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "password"}, "stringData": {"password": "s3cret"}},
              pod_of("steady", box("main", "echo run >> /work/runs; cat /tmp/mark 2>/dev/null; touch /tmp/mark; wc -l < /work/runs; while :; do sleep 1; done",
                                   volumeMounts=mounts),
                     box("again", "echo waiting; " + KNOCK.format(port=9000) + "echo crashes; exit 6"),
                     box("secretive", "echo $PASSWORD; httpd -f -p 9001 -h /tmp",
                         env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "password", "key": "password"}}}]), **volume),
              *(pod_of(f"finisher{i}", box("main", "echo waiting; " + KNOCK.format(port=9000) + "echo finished alone; exit 5"), restart="Never", **volume)
                for i in (1, 2, 3)))
    for name in ("steady", "finisher1", "finisher2", "finisher3"):
        until(lab, name, "is Ready", is_ready, BOOT)


@contextlib.contextmanager
def without(lab, part, how):
    """Without a part of the lab; "back" is when it came back."""
    lab.lab(how, part)
    times = {}
    try:
        yield times
    finally:
        times["back"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        lab.lab("start", part)


def ended_alone(lab, finisher, restarts, steady, back):
    """What is known of a pod that ended, and of one that restarted, while somebody was away."""
    done = until(lab, finisher, "Failed", lambda p: p["status"]["phase"] == "Failed")
    end = container(done)["state"]["terminated"]
    expect(end["exitCode"] == 5 and end["finishedAt"] <= back, f"exit code 5 before {back}: {end}")
    wait_for("its VM is off", lambda: vm_of(lab, finisher)["powerState"] == "poweredOff", SOON)
    expect(lab.logs(finisher) == "waiting\nfinished alone\n", "its log")
    seen = until(lab, "steady", "the restart is known", lambda p: container(p, "again")["restartCount"] == restarts)
    last = container(seen, "again")["lastState"]["terminated"]
    expect(last["exitCode"] == 6 and last["finishedAt"] <= back, f"exit code 6 before {back}: {last}")
    expect(lab.logs("steady", "again", previous=True) == "waiting\ncrashes\n", "the log of the run before")
    for c in ("main", "secretive"):
        expect(container(seen, c)["containerID"] == container(steady, c)["containerID"] and container(seen, c)["restartCount"] == 0, f"{c} noticed nothing")
    expect(boots(lab, "steady") == 1 and boots(lab, finisher) == 1, "no VM was booted again")
    until(lab, "steady", "is Ready", is_ready)


def the_kubelet_is_killed(lab):
    steady, finisher = lab.pod("steady"), lab.pod("finisher1")
    with without(lab, "kubelet", "kill") as times:
        knock(lab, finisher, 9000)
        knock(lab, steady, 9000)
        time.sleep(5 * PATIENCE)  # nobody can be asked whether it has happened
    ended_alone(lab, "finisher1", 1, steady, times["back"])


def vcenter_is_away(lab):
    steady, finisher = lab.pod("steady"), lab.pod("finisher2")
    with without(lab, "vcenter", "stop") as times:
        knock(lab, finisher, 9000)
        knock(lab, steady, 9000)
        until(lab, "finisher2", "its end is told without a vCenter", lambda p: container(p)["state"].get("terminated"))
        until(lab, "steady", "its restart is, too", lambda p: container(p, "again")["restartCount"] == 2)
        expect(lab.logs("steady", "main") == "1\n", "logs of pods that run need no vCenter")
        expect(lab.node_ready(), "the node stays Ready")
    ended_alone(lab, "finisher2", 2, steady, times["back"])


def a_guest_boots_again_without_a_kubelet(lab):
    """As vSphere HA does it."""
    steady, finisher = lab.pod("steady"), lab.pod("finisher3")
    with without(lab, "kubelet", "kill"):
        for pod in ("steady", "finisher3"):
            lab.lab("vm", "reset", vm_of(lab, pod)["name"])
        wait_for("the guest boots again", lambda: boots(lab, "steady") == 2, BOOT)
        wait_for("what needs no secret runs", lambda: knock(lab, steady, 9000) or True, SOON)
        expect(not knock(lab, steady, 9001, check=False), "what needs a secret waits for the kubelet")
        wait_for("the other guest boots, too", lambda: boots(lab, "finisher3") == 2, BOOT)
        expect(not knock(lab, finisher, 9000, check=False), "what is never restarted does not run again")
    seen = until(lab, "steady", "what needs a secret runs again", lambda p: container(p, "secretive")["restartCount"] == 1 and
                 container(p, "secretive")["state"].get("running"), BOOT)
    expect(seen["status"]["podIP"] == steady["status"]["podIP"], "the address is the same")
    for c in ("main", "secretive"):
        status = container(seen, c)
        expect(status["restartCount"] == 1 and status["containerID"] != container(steady, c)["containerID"], f"one restart: {status}")
        last = status["lastState"]["terminated"]
        expect(last["exitCode"] == 137 and last["reason"] == "ContainerStatusUnknown", str(last))
    expect(lab.logs("steady", "main") == "2\n", "its emptyDir is what it was; its root is new")
    wait_for("the secret came", lambda: lab.logs("steady", "secretive") == "s3cret\n", SOON)
    over = until(lab, "finisher3", "Failed", lambda p: p["status"]["phase"] == "Failed")
    end = container(over)["state"]["terminated"]
    expect(end["exitCode"] == 137 and end["reason"] == "ContainerStatusUnknown" and container(over)["restartCount"] == 0, str(container(over)))


def bad_days_leave_nothing(lab):
    remove(lab, "steady", "finisher1", "finisher2", "finisher3")
    lab.kubectl("delete", "secret", "password")
    nothing_is_left(lab)


TOGETHER = [the_demo, a_pod_gets_what_its_spec_says, probes_restarts_and_last_words, probes_by_tcp_and_grpc, a_stop_is_graceful, hostile_containers_do_no_harm,
            a_deadline_ends_a_pod, images_that_cannot_be_had]
ALONE = [nothing_is_left, pods_for_bad_days, the_kubelet_is_killed, vcenter_is_away, a_guest_boots_again_without_a_kubelet, bad_days_leave_nothing]
AT_ONCE = 3
FLAGS = ("--container-log-max-size", "16Ki", "--container-log-max-files", "3")
