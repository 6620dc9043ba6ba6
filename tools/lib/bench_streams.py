"""What tools/bench --streams measures; run it through that."""
import argparse
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "test/integration"), str(ROOT / "tools/lib"), str(ROOT / "test/guest")]
import harness  # noqa: E402
import suite  # noqa: E402
import vm  # noqa: E402
from bench import cpu_seconds, memory_mib  # noqa: E402


TETHER_PORT = 10350
LINE = 100  # bytes, of the guests' logs


def opened(lab, count, *command):
    """That many clients, each of which has had its first line."""
    clients = [subprocess.Popen(["kubectl", *command], env=lab.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
               for _ in range(count)]
    if not all(client.stdout.readline() for client in clients):
        ended(clients)
        raise harness.Failure(f"kubectl {' '.join(command)} ended")
    return clients


def ended(clients):
    for client in clients:
        client.kill()
    for client in clients:
        client.wait()
        client.stdout.close()


def fresh_kubelet(lab):
    """Its process id: one that has no memory left over from what was measured before."""
    lab.lab("stop", "kubelet")
    lab.lab("start", "kubelet")
    harness.wait_for("kubectl exec", lambda: "up" in lab.exec("web", "echo up", container="c"))
    ended(opened(lab, 5, "exec", "web", "-c", "c", "--", "sh", "-c", "echo; sleep 1000"))  # what the first ones allocate
    return int(pathlib.Path(lab.dir, "pid", "kubelet.pid").read_text())


EXEC = ("exec", "web", "-c", "c", "--", "sh", "-c", "echo; sleep 1000")
FOLLOW = ("logs", "-f", "web", "-c", "c")


def many(lab, each, what, *commands):
    """That many clients of each of the commands, all at once."""
    pid = fresh_kubelet(lab)
    count = each * len(commands)
    before = memory_mib(pid, "VmRSS")
    clients = []
    try:
        for command in commands:
            clients += opened(lab, each, *command)
        time.sleep(3)
        after, begin, cpu = memory_mib(pid, "VmRSS"), time.monotonic(), cpu_seconds(pid)
        time.sleep(10)
        share = (cpu_seconds(pid) - cpu) / (time.monotonic() - begin)
        print(f"{count} {what} at once: {1024 * (after - before) / count:.0f} KiB of kubelet memory each, {100 * share:.1f} % of a core for all")
    finally:
        ended(clients)
    time.sleep(3)
    print(f"  kubelet memory {before:.1f} MiB before, {after:.1f} with them, {memory_mib(pid, 'VmRSS'):.1f} after")


SCRIPTS = {"in": "wc -c", "out": "head -c {} /dev/zero"}


def bare(lab, mib, what):
    """The same without API server and kubelet: the tether's own stream (docs/guest-protocol.md), with the kubelet's key."""
    query = [("container", "c"), *(("command", c) for c in ("sh", "-c", SCRIPTS[what].format(mib << 20))), ("stdin", 1), ("stdout", 1)]
    key = f"{lab.dir}/kubelet-vch1/vch.key"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory(prefix="vch-bench-") as work:
        # As the kubelet makes them (lib/guestlink/trust.h): an authority and its client, both of the VCH's key.
        vm.openssl("req", "-x509", "-new", "-key", key, "-days", "2", "-out", f"{work}/ca", "-subj", "/CN=VCH")
        vm.openssl("req", "-new", "-key", key, "-out", f"{work}/request", "-subj", "/CN=vch-kubelet")
        vm.openssl("x509", "-req", "-in", f"{work}/request", "-CA", f"{work}/ca", "-CAkey", key, "-CAcreateserial", "-days", "2", "-out", f"{work}/cert")
        context.load_cert_chain(f"{work}/cert", key)
    address = (lab.pod("web")["status"]["podIP"], TETHER_PORT)
    with context.wrap_socket(socket.create_connection(address, timeout=60)) as stream:
        stream.sendall(f"POST /v1/exec?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)} HTTP/1.1\r\nHost: tether\r\nConnection: Upgrade\r\n"
                       "Upgrade: vch-stream/1\r\nContent-Length: 0\r\n\r\n".encode())
        answer = stream.makefile("rb", 1 << 20)
        status = answer.readline()
        if b" 101 " not in status:
            raise harness.Failure(f"the tether answers {status}")
        while answer.readline().strip():
            pass
        begin = time.monotonic()
        piece = struct.pack(">BI", 0, 1 << 16) + bytes(1 << 16)
        for _ in range((mib << 4) if what == "in" else 0):
            stream.sendall(piece)
        stream.sendall(struct.pack(">BI", 0, 0))  # the end of input
        got, last = 0, {}
        while len(head := answer.read(5)) == 5:
            channel, size = struct.unpack(">BI", head)
            last[channel] = answer.read(size)
            got += size if channel == 1 else 0
        took = time.monotonic() - begin
    if (last.get(1, b"").strip() != str(mib << 20).encode() if what == "in" else got != mib << 20):
        raise harness.Failure(f"the tether's channel: {got} bytes, at last {({c: text[-200:] for c, text in last.items()})}")
    print(f"  on the bare tether channel {mib / took:.0f} MiB/s")


def one_big(lab, pid, mib, what):
    begin, cpu = time.monotonic(), cpu_seconds(pid)
    client = subprocess.Popen(["kubectl", "exec", "-i", "web", "-c", "c", "--", "sh", "-c", SCRIPTS[what].format(mib << 20)], env=lab.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    got = 0
    if what == "in":
        block = bytes(1 << 20)
        for _ in range(mib):
            client.stdin.write(block)
        client.stdin.close()
        got = int(client.stdout.read())
    else:
        client.stdin.close()
        while data := client.stdout.read(1 << 20):
            got += len(data)
    client.wait()
    client.stdout.close()
    if got != mib << 20:
        raise harness.Failure(f"{got} bytes of {mib} MiB came through")
    took, used = time.monotonic() - begin, cpu_seconds(pid) - cpu
    print(f"{mib} MiB {what} through exec: {mib / took:.0f} MiB/s, {used * 1024 / mib:.2f} s of kubelet CPU per GiB, peak {memory_mib(pid, 'VmHWM'):.0f} MiB")


def big_log(lab, mib):
    """It is longer than the kubelet's memory: what that grows by is what a stream costs."""
    lines = (mib << 20) // LINE
    name = f"lines-{lines}"
    lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talker"}, "spec": {**suite.on_the_node(), "containers": [
        {"name": name, "image": "busybox", "command": ["sleep", "1000000"]}]}})
    lab.kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=120s")
    pid = fresh_kubelet(lab)
    before, begin, cpu, got = memory_mib(pid, "VmHWM"), time.monotonic(), cpu_seconds(pid), 0
    client = subprocess.Popen(["kubectl", "logs", "talker", "-c", name], env=lab.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    while data := client.stdout.read(1 << 20):
        got += len(data)
    client.wait()
    client.stdout.close()
    if got != lines * LINE:
        raise harness.Failure(f"{got} bytes of a log of {lines * LINE} came through")
    took, used = time.monotonic() - begin, cpu_seconds(pid) - cpu
    print(f"a log of {mib} MiB: {mib / took:.0f} MiB/s, {used * 1024 / mib:.2f} s of kubelet CPU per GiB, "
          f"most kubelet memory {before:.1f} MiB before it and {memory_mib(pid, 'VmHWM'):.1f} after")


def main():
    parser = argparse.ArgumentParser(usage="tools/bench --streams [N] [--mib SIZE]",
                                     description="N exec sessions, N followed logs and both at once; a log of twice SIZE; SIZE through exec, both ways.")
    parser.add_argument("--build", required=True)
    parser.add_argument("--streams", nargs="?", type=int, const=100, default=100)
    parser.add_argument("--mib", type=int, default=1024)
    args = parser.parse_args()
    with suite.host_guests(args.build) as binaries:
        lab = harness.Lab(binaries, flags=["-v", "0"])
        try:
            suite.make_web(lab)
            many(lab, args.streams, "exec sessions", EXEC)
            many(lab, args.streams, "followed logs", FOLLOW)
            many(lab, args.streams, "exec sessions and followed logs", EXEC, FOLLOW)
            big_log(lab, 2 * args.mib)
            pid = fresh_kubelet(lab)
            for what in SCRIPTS:
                one_big(lab, pid, args.mib, what)
                bare(lab, args.mib, what)
        finally:
            lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
