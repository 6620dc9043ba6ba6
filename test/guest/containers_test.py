#!/usr/bin/env python3
"""Boots the bootstrap ISO in QEMU, plays the kubelet, and runs containers: what needs a guest's own kernel and cgroups.

usage: containers_test.py [--jobs N] [--junit FILE] ISO [NAME...]

The image is busybox (busybox-static), as a squashfs on a disk.
"""
import base64
import http.client
import itertools
import json
import os
import pathlib
import re
import shutil
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import vm  # noqa: E402

IMAGE = "busybox@sha256:1"
MAX_MEMORY_KIB = 10_000_000 // 1024
PATIENCE = float(os.environ.get("VCH_PATIENCE", "1"))  # for busy machines
APPLETS = ("sh cat echo sleep id env ls stat stty true kill head tail yes dd wc ps nc grep pwd touch mount readlink mkdir df unshare nproc wget httpd "
           "hostname ip date tr sort").split()


def image_disk(path):
    """What lib/image makes of an OCI image, in short."""
    with tempfile.TemporaryDirectory() as work:
        root = pathlib.Path(work) / "image/rootfs"
        for directory in ("bin", "etc", "tmp", "proc", "sys", "dev", "root"):
            (root / directory).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for applet in APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\nweb:x:33:\n")
        (root.parent / "config.json").write_text(json.dumps({"config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]}}))
        subprocess.run(["mksquashfs", str(root.parent), path, "-noappend", "-quiet", "-no-progress", "-comp", "zstd"], check=True)
    size = -(-os.path.getsize(path) // (1 << 20)) << 20
    os.truncate(path, size)
    return path


def shell(name, script, **more):
    return {"name": name, "image": "busybox", "imageId": IMAGE, "command": ["sh", "-c", script], **more}


class Pod:
    """A guest and the kubelet's end of it."""

    def __init__(self, bench, memory=256, **spec):
        self.bench = bench
        self.scratch = bench.disk()
        self.image = shutil.copyfile(bench.image, self.scratch + ".image")  # QEMU wants each disk for itself
        self.memory, self.revision = memory, 0
        self.spec = {"podUid": vm.boot_config(bench.kubelet)["podUid"], "podNamespace": "default", "podName": "web", "restartPolicy": "Never",
                     "graceSeconds": 5, "hostName": "web-0", "hostsFile": "127.0.0.1 localhost\n", "resolvConf": "nameserver 10.0.2.3\n",
                     "images": [{"id": IMAGE, "unit": 0}], "containers": [], **spec}

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.vm.destroy()
            raise
        return self

    def boot(self):
        config = vm.boot_config(self.bench.kubelet, scratchUnit=1)
        self.vm = vm.Vm(self.bench.iso, config=config, disks=[self.image, self.scratch], memory=self.memory)
        self.vm.wait_console("tether ready", 180 * PATIENCE)
        self.channel = self.vm.channel(self.bench.kubelet)
        self.channel.frame("hello")
        self.last = {}

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.vm.console()[-4000:])
        self.vm.destroy()

    def apply(self, *containers, **more):
        self.revision += 1
        self.spec.update(more)
        if containers:
            self.spec["containers"] = list(containers)
        self.channel.send(spec={**self.spec, "revision": self.revision, "generation": self.revision})

    def state(self, name, phase, seconds=60, where=lambda c: True):
        """The container's state, once it is so."""
        found = []

        def look(state):
            self.last = state
            found[:] = [c for c in state.get("containers", []) if c["name"] == name and c["phase"] == phase and where(c)]
            return found

        if not look(self.last):
            self.channel.frame("state", seconds * PATIENCE, look)
        return found[0]

    def event(self, reason, seconds=60):
        """The guest's event of this reason, once it has told it."""
        found = []

        def look(state):
            self.last = state
            found[:] = [e for e in state.get("events", []) if e["reason"] == reason]
            return found

        if not look(self.last):
            self.channel.frame("state", seconds * PATIENCE, look)
        return found[0]

    def request(self, method, target):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.bench.kubelet.cert, self.bench.kubelet.key)
        connection = http.client.HTTPSConnection("127.0.0.1", self.vm.host_port, context=context, timeout=60 * PATIENCE)
        return connection, method, target

    def get(self, target):
        connection, method, target = self.request("GET", target)
        connection.request(method, target)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    def logs(self, name, **query):
        status, body = self.get("/v1/logs?" + urllib.parse.urlencode({"container": name, **query}, quote_via=urllib.parse.quote))
        assert status == 200, (status, body)
        return body

    def await_log(self, name, text, seconds=60):
        end = time.monotonic() + seconds * PATIENCE
        while text not in (log := self.logs(name)):
            assert time.monotonic() < end, log
        return log

    def exec(self, name, *command, stdin=b"", tty=False):
        query = [("container", name), *(("command", c) for c in command), ("stdout", 1), ("stderr", 1)] + [("stdin", 1)] * bool(stdin)
        connection, method, target = self.request("POST", "/v1/exec?" + urllib.parse.urlencode(query + [("tty", 1)] * tty, quote_via=urllib.parse.quote))
        connection.connect()
        s = connection.sock
        s.sendall(f"{method} {target} HTTP/1.1\r\nHost: tether\r\nConnection: Upgrade\r\nUpgrade: vch-stream/1\r\nContent-Length: 0\r\n\r\n".encode())
        f = s.makefile("rb")
        status = f.readline().decode()
        while f.readline().strip():
            pass
        assert "101" in status, status
        if stdin:
            s.sendall(b"\0" + struct.pack(">I", len(stdin)) + stdin + b"\0\0\0\0\0")
        out = {1: b"", 2: b"", 3: b""}
        while len(header := f.read(5)) == 5:
            out[header[0]] += f.read(struct.unpack(">I", header[1:])[0])
        s.close()
        return out[1].decode(), out[2].decode(), json.loads(out[3])


class Bench:
    def __init__(self, iso):
        self.iso = iso
        self.dir = tempfile.TemporaryDirectory(prefix="vch-guest-test-")
        self.kubelet = vm.KubeletKey(self.dir.name)
        self.image = image_disk(f"{self.dir.name}/image")
        self.disks = itertools.count(1)

    def disk(self, mib=256):
        return vm.empty_disk(f"{self.dir.name}/scratch{next(self.disks)}", mib)


def runs_limits_and_tells(bench):
    """One boot for whatever does not disturb the other things."""
    with Pod(bench, sysctls=[["kernel.shm_rmid_forced", "1"]], fsGroup=4000, volumes=[
            {"name": "cache"}, {"name": "ram", "kind": "memory", "sizeLimit": 1 << 20},
            {"name": "conf", "kind": "files", "files": [{"path": "key", "content": base64.b64encode(b"one\n").decode(), "mode": 0o640}]}]) as pod:
        pod.apply(
            shell("plain", "cat /proc/1/cmdline | tr '\\0' ' '; echo; cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight /sys/fs/cgroup/memory.max "
                           "/sys/fs/cgroup/memory.oom.group; hostname; cat /etc/hosts /etc/resolv.conf; cat /proc/sys/kernel/shm_rmid_forced; exit 3",
                  cpuLimitMilli=500, cpuRequestMilli=250, memoryLimitBytes=32 << 20, memoryRequestBytes=16 << 20),
            shell("hungry", "dd if=/dev/zero of=/dev/null bs=100M count=1", memoryLimitBytes=16 << 20),
            shell("private", "touch /x 2>/dev/null; ls /dev/sda /dev/mem; mount -t tmpfs none /tmp && echo mounted", security={"privileged": True}),
            shell("free", "touch /tmp/x && echo written; grep NoNewPrivs: /proc/self/status", security={"user": 33}),
            shell("confined", "exec 2>&1; mount -t tmpfs none /tmp && echo mounted; grep -e Seccomp: -e NoNewPrivs: /proc/self/status; ls /dev/sda; id; "
                              "touch /tmp/x && echo written; cat /conf/key; "
                              "stat -L -c '%a %g' /conf/key /cache /ram; sleep 1000",
                  security={"seccomp": "RuntimeDefault", "user": 33, "readOnlyRoot": True, "noNewPrivileges": True},
                  mounts=[{"volume": "cache", "path": "/cache"}, {"volume": "ram", "path": "/ram"}, {"volume": "conf", "path": "/conf"}]))
        plain = pod.state("plain", "terminated")
        assert plain["exitCode"] == 3 and plain["reason"] == "Error", plain
        log = pod.logs("plain")
        assert "50000 100000\n" in log and f"{32 << 20}\n1\nweb-0\n127.0.0.1 localhost\nnameserver 10.0.2.3\n1\n" in log, log
        hungry = pod.state("hungry", "terminated")
        assert hungry["reason"] == "OOMKilled" and hungry["exitCode"] == 137, hungry
        private = pod.state("private", "terminated")
        assert private.get("exitCode", 0) == 0 and "/dev/sda" in pod.logs("private") and "mounted" in pod.logs("private"), pod.logs("private")
        before = pod.state("confined", "running")
        log = pod.await_log("confined", "2777 4000\n2777 4000\n")
        for text in ("Seccomp:\t2\n", "NoNewPrivs:\t1\n", "uid=33", "mount: permission denied", "/dev/sda: No such file or directory",
                     "touch: /tmp/x: Read-only file system\n", "one\n640 4000\n2777 4000\n2777 4000\n"):
            assert text in log, (text, log)
        assert "mounted" not in log and "written" not in log, log
        pod.state("free", "terminated")
        assert pod.logs("free") == "written\nNoNewPrivs:\t0\n", pod.logs("free")
        out, err, status = pod.exec("confined", "sh", "-c", "echo out; echo err >&2; cat; exit 5", stdin=b"input\n")
        assert (out, err, status["exitCode"]) == ("out\ninput\n", "err\n", 5), (out, err, status)
        out, _, status = pod.exec("confined", "sh", "-c", "echo tty; stty size", tty=True)
        assert out.startswith("tty\r\n") and status["exitCode"] == 0, (out, status)
        # Secrets and the like arrive while the container runs.
        pod.spec["volumes"][2]["files"][0]["content"] = base64.b64encode(b"two\n").decode()
        pod.apply()
        end = time.monotonic() + 30 * PATIENCE
        while pod.exec("confined", "cat", "/conf/key")[0] != "two\n":
            assert time.monotonic() < end, "the file is not updated"
        stats = json.loads(pod.get("/v1/stats")[1])
        usage = next(c for c in stats["containers"] if c["name"] == "confined")
        assert usage["cpuNanos"] > 0 and usage["memoryBytes"] > 0 and usage["processes"] > 0 and stats["scratch"]["capacityBytes"] > 0, stats
        # Other limits, for a container that runs. More than the machine has are given to nobody.
        confined = pod.spec["containers"][-1]
        limits = lambda: pod.exec("confined", "sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight")[0]  # noqa: E731
        confined.update(memoryLimitBytes=40 << 20, cpuLimitMilli=700, cpuRequestMilli=500)
        pod.apply()
        resized = pod.state("confined", "running", where=lambda c: c.get("resources", {}).get("memoryLimitBytes") == 40 << 20)
        assert resized["id"] == before["id"] and limits() == f"{40 << 20}\n70000 100000\n20\n", (resized, limits())
        confined.update(memoryLimitBytes=4 << 30)
        pod.apply()
        pod.channel.frame("state", 60 * PATIENCE, lambda s: "memory, requested: " in s.get("resizeInfeasible", ""))
        assert limits().startswith(f"{40 << 20}\n"), limits()
        confined.update(memoryLimitBytes=0, cpuLimitMilli=0)
        pod.apply()
        pod.state("confined", "running", where=lambda c: "memoryLimitBytes" not in c["resources"])
        assert limits().startswith("max\nmax 100000\n"), limits()
        # What is written below a directory counts there and nowhere else.
        assert 0 < usage["rootfs"]["usedBytes"] < 1 << 20 and 0 < usage["logs"]["usedBytes"] < 1 << 20, usage
        pod.exec("confined", "dd", "if=/dev/zero", "of=/cache/file", "bs=1M", "count=3")
        stats = json.loads(pod.get("/v1/stats")[1])
        volumes = {v["name"]: v for v in stats["volumes"]}
        assert list(volumes) == ["cache"] and 3 << 20 <= volumes["cache"]["usedBytes"] < 4 << 20 and volumes["cache"]["inodesUsed"] == 2, stats
        again = next(c for c in stats["containers"] if c["name"] == "confined")
        assert again["rootfs"] == usage["rootfs"], (usage, again)


def survives_a_fork_bomb(bench):
    with Pod(bench) as pod:
        pod.apply(shell("bomb", "f() { f | f & }; f; sleep 1000"), shell("other", "sleep 1000"))
        pod.state("bomb", "running")
        time.sleep(10)
        assert pod.get("/v1/stats")[0] == 200
        event = pod.event("ProcessLimitReached")
        assert event["container"] == "bomb" and event["warning"], event
        pod.channel.send(stop={"graceSeconds": 1})
        assert pod.state("bomb", "terminated", 120)["exitCode"] == 137


def survives_a_full_disk(bench):
    with Pod(bench) as pod:
        pod.apply(shell("filler", "dd if=/dev/zero of=/big bs=1M; df / | tail -1; echo full; sleep 1000"), shell("other", "sleep 1000"))
        pod.state("filler", "running")
        end = time.monotonic() + 120 * PATIENCE
        while "full" not in pod.exec("filler", "sh", "-c", "[ -e /big ] && df / | grep -q 100% && echo full || echo not yet")[0]:
            assert time.monotonic() < end, "the disk does not fill"
        # Exec, and the end of containers, work without room on it.
        assert pod.exec("other", "echo", "alive")[0] == "alive\n"
        pod.channel.send(stop={"graceSeconds": 1})
        filler = pod.state("filler", "terminated")
        assert filler["exitCode"] == 137, filler


def remembers_beside_a_full_disk(bench):
    """Neither what is told nor what is kept needs room on it."""
    with Pod(bench, volumes=[{"name": "ram", "kind": "memory", "sizeLimit": 1 << 20}]) as pod:
        ram = [{"volume": "ram", "path": "/ram"}]
        pod.apply(shell("filler", "dd if=/dev/zero of=/big bs=1M; dd if=/dev/zero of=/rest bs=4k; touch /ram/full; sleep 1000", mounts=ram),
                  shell("short", "until [ -e /ram/go ]; do sleep 1; done; exit 7", mounts=ram))
        event = pod.event("DiskFull", 180)
        assert event["warning"] and "No space left" in event["message"], event
        end = time.monotonic() + 120 * PATIENCE
        while pod.exec("short", "ls", "/ram")[0] != "full\n":
            assert time.monotonic() < end, "the disk does not fill"
        pod.exec("short", "touch", "/ram/go")
        assert pod.state("short", "terminated")["exitCode"] == 7
        time.sleep(5)
        pod.vm.destroy()
        pod.boot()
        assert pod.state("short", "terminated")["exitCode"] == 7
        filler = pod.state("filler", "terminated")
        assert filler["exitCode"] == 137 and filler["reason"] == "ContainerStatusUnknown", filler
        assert "cannot be used" not in pod.vm.console(), pod.vm.console()[-2000:]


def ends_a_pod_that_writes_more_than_it_may(bench):
    message = 'Usage of EmptyDir volume "cache" exceeds the limit "2Mi". '
    with Pod(bench, restartPolicy="Always", volumes=[{"name": "cache", "sizeLimit": 2 << 20}],
             storageLimits=[{"kind": "volume", "name": "cache", "bytes": 2 << 20, "message": message}]) as pod:
        pod.apply(shell("main", "dd if=/dev/zero of=/cache/fits bs=1M count=1; until [ -e /cache/go ]; do sleep 1; done; "
                                "dd if=/dev/zero of=/cache/more bs=1M count=2; sleep 1000", mounts=[{"volume": "cache", "path": "/cache"}]))
        pod.state("main", "running")
        time.sleep(15)
        assert pod.exec("main", "touch", "/cache/go")[2]["exitCode"] == 0, "it is evicted though it fits"
        assert pod.event("Evicted")["message"] == message
        assert pod.state("main", "terminated")["exitCode"] == 137
        if not pod.last.get("finished"):
            pod.channel.frame("state", 60 * PATIENCE, lambda s: s.get("finished"))
        assert pod.last["evicted"] == message, pod.last


def stays_small(bench):
    """The tether's memory: its binary on the tmpfs, and what is anonymous, while containers run and are looked at."""
    with Pod(bench, hostPid=True, volumes=[{"name": "sbin", "kind": "hostPath", "hostPath": "/sbin"}]) as pod:
        pod.apply(*(shell(f"c{i}", "yes | head -n 50000; sleep 1000", mounts=[{"volume": "sbin", "path": "/guest"}], readinessProbe={
            "handler": {"kind": "exec", "command": ["true"]}}) for i in range(5)))
        for i in range(5):
            pod.state(f"c{i}", "running")
            pod.await_log(f"c{i}", "y\n")
        for _ in range(5):
            pod.exec("c0", "true")
        out = pod.exec("c0", "sh", "-c", "stat -L -c %s /guest/tether; grep RssAnon /proc/1/status")[0].split()
        binary, anonymous = int(out[0]) >> 10, int(out[2])
        print(f"    tether: binary {binary} KiB, anonymous {anonymous} KiB")
        assert binary + anonymous <= MAX_MEMORY_KIB, out


def shares_processes(bench):
    with Pod(bench, shareProcesses=True) as pod:
        pod.apply(shell("first", "sleep 1234 & exec sleep 1235"), shell("second", "sleep 1236"))
        pod.state("first", "running")
        pod.state("second", "running")
        end = time.monotonic() + 30 * PATIENCE
        while "sleep 1235" not in (seen := pod.exec("second", "ps", "-o", "pid,args")[0]):
            assert time.monotonic() < end, seen
        assert re.search(r"\b1 (\{pause\} )?/proc/self/exe pause", seen), seen
        # All of a container ends with its first process, though the namespace goes on.
        first = re.search(r"(\d+) sleep 1235\b", seen).group(1)
        assert "sleep 1234" in seen and pod.exec("second", "kill", "-9", first)[2]["exitCode"] == 0, seen
        ended = pod.state("first", "terminated")
        assert ended["exitCode"] == 137, ended
        left = pod.exec("second", "ps", "-o", "pid,args")[0]
        assert "sleep 1234" not in left and "sleep 1235" not in left and "sleep 1236" in left, left
        pod.state("second", "running")


def goes_on_with_emptydirs_and_logs_after_a_reset(bench):
    with Pod(bench, restartPolicy="Always", volumes=[{"name": "cache"}]) as pod:
        cache = [{"volume": "cache", "path": "/cache"}]
        # An init container writes the file before each first start of the other one.
        boots = shell("boots", """echo boot >> /cache/boots; echo "BOOT='$(wc -l < /cache/boots)'" > /cache/app.env""", kind="init", mounts=cache)
        container = shell("main", "echo run >> /cache/runs; wc -l < /cache/runs; cat /tmp/left 2>/dev/null; echo x > /tmp/left; sleep 1000", mounts=cache,
                          lateEnv=[{"name": "BOOT", "file": {"volume": "cache", "path": "app.env", "key": "BOOT"}}, {"name": "SAID", "text": "boot $(BOOT)"}])
        pod.apply(boots, container)
        pod.state("main", "running")
        pod.await_log("main", "1\n")
        assert pod.exec("main", "sh", "-c", "echo $SAID")[0] == "boot 1\n"
        # What is not written back yet is lost with the power, as on any machine.
        assert pod.exec("main", "busybox", "sync")[2]["exitCode"] == 0
        pod.vm.destroy()
        pod.boot()
        # From its journal: nobody has told it anything since.
        assert pod.state("main", "running")["restartCount"] == 1
        pod.await_log("main", "2\n")
        assert pod.exec("main", "sh", "-c", "echo $SAID")[0] == "boot 2\n", "what was settled at its first start"
        assert "x" not in pod.logs("main"), "the container's own changes are still there"
        assert "1\n" in pod.logs("main", previous=1)


ALL = [runs_limits_and_tells, stays_small, survives_a_fork_bomb, survives_a_full_disk, remembers_beside_a_full_disk, ends_a_pod_that_writes_more_than_it_may, shares_processes, goes_on_with_emptydirs_and_logs_after_a_reset]


if __name__ == "__main__":
    sys.exit(vm.main(__doc__, ALL, Bench))
