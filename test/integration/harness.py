"""A lab, kubectl and the checks that scenarios are made of."""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

POLL = 0.25  # seconds between two looks at what is waited for

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class Failure(AssertionError):
    """What a scenario expected did not happen."""


def run(command, timeout=120, check=True, stdin=None, env=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, env=env)
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def wait_for(what, condition, seconds=60):
    """Returns condition()'s first true value; a Failure with what was seen last when there is none in time."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (Failure, subprocess.TimeoutExpired) as error:
            last = error
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds} s; last: {str(last)[:3000]}")
        time.sleep(POLL)


class Lab:
    def __init__(self, build, flags=(), up=(), guests="simulated"):
        self.dir = tempfile.mkdtemp(prefix="vch-lab-")
        self.build = str(pathlib.Path(build).resolve())
        try:
            # The first time, virtual machines need an ISO, which takes the tether's build.
            run([ROOT / "tools/lab", "up", self.dir, "--guests", guests, "--bin", self.build, *up, "--node", "vch1", "--",
                 "--orphan-interval", "2s", "-v", "2", *flags], timeout=300 if guests == "simulated" else 1200)
        except (Failure, subprocess.TimeoutExpired):
            self.down()
            raise
        lines = run(["bash", "-c", f". {self.dir}/env; env -0"]).split("\0")
        self.env = dict(line.split("=", 1) for line in lines if "=" in line)

    def down(self):
        run([ROOT / "tools/lab", "down", self.dir], timeout=60)
        if os.path.isdir(self.dir) and os.listdir(self.dir):
            raise Failure(f"the lab left {os.listdir(self.dir)}")

    # ---- the lab's own commands ----
    def lab(self, command, *args, check=True):
        return run([ROOT / "tools/lab", command, self.dir, *args], check=check)

    def vms(self):
        """Without templates: those are images, and stay."""
        return [vm for vm in self.all_vms() if not vm.get("template")]

    def images(self):
        """Those that are complete, as the VMs that hold them."""
        return [vm for vm in self.all_vms() if vm.get("template")]

    def all_vms(self):
        return json.loads(self.lab("vms") or "[]") or []

    def log(self, part="kubelet"):
        return pathlib.Path(self.dir, "log", f"{part}.log").read_text(errors="replace")

    def node_reads(self, node, resource):
        """The URIs of all lists and watches that a node has sent for a resource."""
        lines = pathlib.Path(self.dir, "log", "audit.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [e["requestURI"] for e in events
                if e["user"]["username"] == f"system:node:{node}" and e.get("objectRef", {}).get("resource") == resource]

    def metric(self, name):
        text = run(["curl", "-sf", "--max-time", "5", f"{self.env['KUBELET_METRICS']}"])
        total = 0.0
        for line in text.splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                total += float(line.rsplit(" ", 1)[1])
        return total

    def machines(self, vm="*"):
        """The process ids of virtual machines."""
        return [int(p.read_text()) for p in pathlib.Path(self.dir, "guests").glob(f"{vm}.*/pid")]

    def http(self, pod, path="/", port=80):
        """What the pod answers; a Failure if it does not."""
        ip = pod["status"]["podIP"]
        return run([ROOT / "tools/lab", "exec", self.dir, "curl", "-sf", "--max-time", "20", f"http://{ip}:{port}{path}"])

    # ---- kubectl ----
    def kubectl(self, *args, stdin=None, check=True, timeout=120):
        return run(["kubectl", *args], stdin=stdin, check=check, timeout=timeout, env=self.env)

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def pods(self, selector=None, ns="default"):
        return self.get("pods", "-n", ns, *(["-l", selector] if selector else []))["items"]

    def pod(self, name, ns="default"):
        return self.get("pod", name, "-n", ns)

    @contextlib.contextmanager
    def watch(self, *args):
        """Gives a list that holds, at the end of the block, every state that an object was in meanwhile."""
        seen = []
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(["kubectl", "get", *args, "--watch", "-o", "json"], stdout=out, env=self.env)
            try:
                wait_for("the watch's first state", lambda: os.fstat(out.fileno()).st_size > 0, 30)
                yield seen
                time.sleep(1)
            finally:
                process.terminate()
                process.wait()
            out.seek(0)
            text, decoder = out.read().strip(), json.JSONDecoder()
        while text:
            try:
                state, end = decoder.raw_decode(text)
            except ValueError:  # the last one, cut off
                break
            seen.append(state)
            text = text[end:].lstrip()

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def logs(self, pod, container=None, **options):
        flags = [f"--{name}={str(value).lower()}" for name, value in options.items()]
        return self.kubectl("logs", pod, *(["-c", container] if container else []), *flags)

    def exec(self, pod, script, container=None):
        return self.kubectl("exec", pod, *(["-c", container] if container else []), "--", "sh", "-c", script)

    def node_ready(self, name="vch1"):
        return condition(self.get("node", name), "Ready") == "True"


def expect(truth, message):
    if not truth:
        raise Failure(message)


def condition(thing, kind):
    for c in thing.get("status", {}).get("conditions", []):
        if c["type"] == kind:
            return c["status"]
    return None


def container(pod, index=0):
    """Its status; of the container that `index` says, by number or name. An init container goes by its name."""
    status = pod.get("status", {})
    statuses = status.get("containerStatuses") or []
    if isinstance(index, int):
        return (statuses or [{}])[index]
    return next((c for c in statuses + status.get("initContainerStatuses", []) if c["name"] == index), {})


def pod_spec(script=None, restart="Always", grace=2, **extra):
    c = {"name": "main", "image": "busybox"}
    if script is not None:
        c["command"] = ["sh", "-c", script]
    return {"nodeSelector": {"type": "virtual-kubelet"}, "restartPolicy": restart, "terminationGracePeriodSeconds": grace,
            "tolerations": [{"operator": "Exists"}], "containers": [c], **extra}


def make_pod(name, script=None, labels=None, ns="default", **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns, "labels": labels or {}},
            "spec": pod_spec(script, **spec)}


def make_deployment(name, replicas, script=None, **spec):
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": pod_spec(script, **spec)}}}
