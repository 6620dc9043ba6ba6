"""kubectl's streams on a pod that is a virtual machine: logs, exec, attach, cp, port-forward, debug, and the figures of its guest.

$VCH_BIG=1: the sizes that take an emulated guest many minutes (200 MB through exec, a file of 1 GB, 10,000 files).
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

from guests import BOOT, box, is_ready, pod_of, remove, until
from harness import ROOT, Failure, condition, expect, run, wait_for
from metrics_server import kubectl_top

BIG = os.environ.get("VCH_BIG") == "1"
THROUGH_EXEC, ONE_FILE, FILES = (200, 1000, 10_000) if BIG else (10, 16, 500)  # MiB, MiB, one
LINES = 200  # few enough for the small log files of this lab
POD = "streams"
DATA_GIB = 3


def kubectl(lab, *args, stdin=None, timeout=1800, env=None):
    return subprocess.run(["kubectl", *args], input=stdin, capture_output=True, timeout=timeout, env={**lab.env, **(env or {})})


def execute(lab, *command, flags=(), **more):
    return kubectl(lab, "exec", *flags, POD, "-c", "main", "--", *command, **more)


def kubectl_on_a_virtual_machine(lab):
    script = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; mkdir /www; echo hello from the pod >/www/index.html; httpd -f -p 80 -h /www"
    talk = box("talk", "while read line; do echo heard $line; done", stdin=True)
    lab.apply(pod_of(POD, box("main", script, "96Mi", volumeMounts=[{"name": "data", "mountPath": "/data"}]), talk,
                     volumes=[{"name": "data", "emptyDir": {"sizeLimit": f"{DATA_GIB}Gi"}}]))
    until(lab, POD, "is Ready", is_ready, BOOT)
    for check in (room, logs, followed_log, exit_codes, terminal, bytes_both_ways, attach, trees_and_files, parallel_connections, debug,
                  debug_with_another_image, figures):
        begin = time.monotonic()
        try:
            check(lab)
        except (Failure, subprocess.TimeoutExpired, IndexError, KeyError, ValueError) as error:
            raise Failure(f"{check.__name__}: {type(error).__name__}: {error}") from error
        print(f"  {check.__name__}: {time.monotonic() - begin:.0f} s", flush=True)
    remove(lab, POD)


def logs(lab):
    lines = wait_for("all lines", lambda: (text := lab.logs(POD, "main")).count("\n") == LINES and text.splitlines())
    expect(lines == [f"line {i}" for i in range(LINES)], "other lines")
    expect(lab.logs(POD, "main", tail=2).split("\n") == [f"line {LINES - 2}", f"line {LINES - 1}", ""], "the last two")
    expect(lab.logs(POD, "main", tail=0) == "", "none of them")
    expect(lab.logs(POD, "main", **{"limit-bytes": 11}) == "line 0\nline", "the first bytes")
    stamped = lab.logs(POD, "main", tail=1, timestamps=True)
    expect(stamped.endswith(f"Z line {LINES - 1}\n") and stamped[4] == "-", stamped)
    moment = stamped.split()[0]
    expect(lab.kubectl("logs", POD, "-c", "main", f"--since-time={moment}").endswith(f"line {LINES - 1}\n"), "since its last line")
    expect(lab.logs(POD, "main", since="1s") == "", "nothing in the last second")
    expect(lab.logs(POD, "main", since="1h").count("\n") == LINES, "all of them in the last hour")
    refused = kubectl(lab, "logs", POD, "-c", "main", "--previous").stderr
    expect(b'previous terminated container "main" in pod "streams" not found' in refused, str(refused))


def followed_log(lab):
    """It shows a new line at once, and ends with its container."""
    script = "echo first; echo oops >&2; until [ -e /tmp/go ]; do sleep 1; done; echo last"
    lab.kubectl("debug", POD, "--image=busybox", "--container=teller", "--", "sh", "-c", script)
    wait_for("its first line", lambda: "first" in lab.logs(POD, "teller"), 120)
    client = subprocess.Popen(["kubectl", "logs", "-f", POD, "-c", "teller"], env=lab.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        seen = sorted(client.stdout.readline() for _ in range(2))
        expect(seen == ["first\n", "oops\n"], str(seen))
        lab.kubectl("exec", POD, "-c", "teller", "--", "touch", "/tmp/go")
        out, err = client.communicate(timeout=120)
        expect(out == "last\n" and client.returncode == 0, f"{client.returncode} {out} {err}")
    finally:
        client.kill()
        client.communicate()
    # The API server has a feature gate before that parameter, which is off.
    log = f"/api/v1/nodes/vch1/proxy/containerLogs/default/{POD}/teller?stream="
    expect(lab.kubectl("get", "--raw", log + "Stderr") == "oops\n", "another stderr")
    expect(lab.kubectl("get", "--raw", log + "Stdout") == "first\nlast\n", "another stdout")


def room(lab):
    size = int(execute(lab, "df", "-k", "/data").stdout.split(b"\n")[1].split()[1])
    expect((DATA_GIB << 20) < size < (DATA_GIB + 2 << 20), f"the volume's file system has {size} KiB")


def exit_codes(lab):
    for websockets in ("true", "false"):
        env = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
        done = execute(lab, "sh", "-c", "echo out; echo err >&2; exit 42", env=env)
        expect(done.returncode == 42 and done.stdout == b"out\n" and b"err\n" in done.stderr, str(done))
        done = execute(lab, "no-such-program", env=env)
        expect(done.returncode not in (0, 42), str(done))


def terminal(lab):
    script = f"stty cols 97 rows 31; kubectl exec -it {POD} -c main -- sh -c 'sleep 2; tty; stty size; exit 42'"
    done = subprocess.run(["script", "-qec", script, "/dev/null"], capture_output=True, text=True, timeout=300, env=lab.env)
    expect("/dev/" in done.stdout and "31 97" in done.stdout, str(done))
    expect(done.returncode == 42, f"exit status {done.returncode} on a terminal: {done}")


def bytes_both_ways(lab):
    data = os.urandom(1 << 20) * THROUGH_EXEC
    for websockets in ("true", "false"):
        begin = time.monotonic()
        done = execute(lab, "cat", flags=("-i",), stdin=data, env={"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets})
        expect(hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest(), f"{len(done.stdout)} bytes came back, {done.stderr[:500]}")
        print(f"  {THROUGH_EXEC} MiB there and back in {time.monotonic() - begin:.0f} s", flush=True)


def attach(lab):
    client = subprocess.Popen(["kubectl", "attach", "-i", POD, "-c", "talk"], env=lab.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    try:
        client.stdin.write("you\n")
        client.stdin.flush()
        expect(client.stdout.readline() == "heard you\n", "another answer")
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()


def trees_and_files(lab):
    with tempfile.TemporaryDirectory() as here:
        tree = pathlib.Path(here, "tree")
        for i in range(FILES):
            file = tree / f"d{i % 40}" / f"f{i}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(i % 100) * 20)
        lab.kubectl("cp", str(tree), f"{POD}:/data/tree", "-c", "main", timeout=1800)
        lab.kubectl("cp", f"{POD}:/data/tree", f"{here}/back", "-c", "main", timeout=1800)
        run(["diff", "-r", str(tree), f"{here}/back"])
        big = pathlib.Path(here, "big")
        digest = hashlib.sha256()
        with big.open("wb") as out:
            for _ in range(ONE_FILE):
                block = os.urandom(1 << 20)
                digest.update(block)
                out.write(block)
        begin = time.monotonic()
        lab.kubectl("cp", str(big), f"{POD}:/data/big", "-c", "main", timeout=3600)
        there = execute(lab, "sha256sum", "/data/big").stdout.decode().split()
        expect(there and there[0] == digest.hexdigest(), f"another file arrived: {there}")
        print(f"  {ONE_FILE} MiB to the pod and hashed there in {time.monotonic() - begin:.0f} s", flush=True)
        begin = time.monotonic()
        lab.kubectl("cp", f"{POD}:/data/big", f"{here}/again", "-c", "main", timeout=3600)
        run(["cmp", str(big), f"{here}/again"])
        print(f"  {ONE_FILE} MiB from the pod in {time.monotonic() - begin:.0f} s", flush=True)


def parallel_connections(lab):
    client = subprocess.Popen(["kubectl", "port-forward", f"pod/{POD}", ":80"], env=lab.env, stdout=subprocess.PIPE, text=True)
    try:
        local = int(client.stdout.readline().split("127.0.0.1:")[1].split()[0])

        def fetch(_):
            return run(["curl", "-sf", "--max-time", "120", f"http://127.0.0.1:{local}/"]) == "hello from the pod\n"
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            expect(all(pool.map(fetch, range(40))), "another page came back")
    finally:
        client.kill()
        client.wait()
        client.stdout.close()


def debug(lab):
    lab.kubectl("debug", POD, "--image=busybox", "--container=look", "--target=main", "--", "sh", "-c", "ps | grep httpd | grep -v grep; echo looked")
    text = wait_for("what the debugger says", lambda: "looked" in (t := lab.kubectl("logs", POD, "-c", "look", check=False)) and t, 120)
    expect("httpd" in text, f"the target's processes are not seen: {text}")


def disks(lab):
    """That the running guest has."""
    return [name for name in execute(lab, "ls", "/sys/block").stdout.decode().split() if name.startswith("sd")]


def debug_with_another_image(lab):
    """At a terminal; the image's disk is added to the running machine."""
    before = disks(lab)
    script = f"kubectl debug -it {POD} --image=nginx --container=other --target=main -- sh"
    client = subprocess.Popen(["script", "-qec", script, "/dev/null"], env=lab.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def state():
        return next((c for c in lab.pod(POD)["status"].get("ephemeralContainerStatuses", []) if c["name"] == "other"), {})
    try:
        seen = wait_for("the debugger", lambda: "running" in (s := state()).get("state", {}) and s, 600)
        expect(seen["image"] == "nginx", str(seen))
        client.stdin.write("echo typed $((40+2)) in $(nginx -v 2>&1)\nexit 3\n")
        client.stdin.flush()
        out, _ = client.communicate(timeout=300)
    finally:
        client.kill()
        client.communicate()
    expect("typed 42 in nginx version" in out, f"exit {client.returncode}: {out}")
    end = wait_for("its end", lambda: state().get("state", {}).get("terminated"), 60)
    expect(end["exitCode"] == 3, str(end))
    after = disks(lab)
    expect(len(after) == len(before) + 1, f"disks {before} became {after}")


def figures(lab):
    execute(lab, "dd", "if=/dev/zero", "of=/two", "bs=1M", "count=2")

    def seen():
        summary = json.loads(lab.kubectl("get", "--raw", "/api/v1/nodes/vch1/proxy/stats/summary"))
        pod = next(p for p in summary["pods"] if p["podRef"]["name"] == POD)
        main = next(c for c in pod["containers"] if c["name"] == "main")
        if main["rootfs"]["usedBytes"] < 2 << 20 or pod["volume"][0]["usedBytes"] < ONE_FILE << 20:
            return None
        return main if main.get("cpu", {}).get("usageCoreNanoSeconds") and main.get("memory", {}).get("workingSetBytes") else None
    main = wait_for("figures of the guest", seen)
    expect(main["memory"]["workingSetBytes"] <= 96 << 20, str(main["memory"]))
    expect(main["rootfs"]["usedBytes"] < 3 << 20 and main["rootfs"]["capacityBytes"] > DATA_GIB << 30, str(main["rootfs"]))
    expect(0 < main["logs"]["usedBytes"] < 1 << 20, str(main["logs"]))
    with kubectl_top(lab, within=(ROOT / "tools/lab", "exec", lab.dir)) as top:
        rows = wait_for("kubectl top pod", lambda: [row[1:] for row in top("pod", "--containers") if row[0] == POD], 150)
        told = {name: int(memory.removesuffix("Mi")) for name, _, memory in rows}
        expect({"main", "talk"} <= told.keys() and 0 < told["main"] <= 96, f"of a guest with a limit of 96 MiB: {rows}")
        node = wait_for("kubectl top node", lambda: top("node"), 120)
        expect(node[0][0] == "vch1" and node[0][1] != "<unknown>", str(node))
        print(f"  {rows} {node}", flush=True)
    expect(condition(lab.pod(POD), "Ready") == "True", "it is not Ready any more")
