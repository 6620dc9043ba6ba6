"""What tools/bench --streams measures; run it through that."""
import argparse
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "test/integration"), str(ROOT / "tools/lib")]
import harness  # noqa: E402
import suite  # noqa: E402
from bench import cpu_seconds, memory_mib  # noqa: E402


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


def many(lab, pid, count, what, *command):
    before = memory_mib(pid, "VmRSS")
    clients = opened(lab, count, *command)
    try:
        time.sleep(3)
        after, begin, cpu = memory_mib(pid, "VmRSS"), time.monotonic(), cpu_seconds(pid)
        time.sleep(10)
        share = (cpu_seconds(pid) - cpu) / (time.monotonic() - begin)
        print(f"{count} {what} at once: {1024 * (after - before) / count:.0f} KiB of kubelet memory each, {100 * share:.1f} % of a core for all")
    finally:
        ended(clients)
    time.sleep(3)
    print(f"  kubelet memory {before:.1f} MiB before, {after:.1f} with them, {memory_mib(pid, 'VmRSS'):.1f} after")


def one_big(lab, pid, mib, what, script):
    begin, cpu = time.monotonic(), cpu_seconds(pid)
    client = subprocess.Popen(["kubectl", "exec", "-i", "web", "-c", "c", "--", "sh", "-c", script], env=lab.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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


def main():
    parser = argparse.ArgumentParser(usage="tools/bench --streams [N] [--mib SIZE]")
    parser.add_argument("--build", required=True)
    parser.add_argument("--streams", nargs="?", type=int, const=100, default=100)
    parser.add_argument("--mib", type=int, default=1024)
    args = parser.parse_args()
    with suite.host_guests(args.build) as binaries:
        lab = harness.Lab(binaries, flags=["-v", "0"])
        try:
            pid = int(lab.env["KUBELET_PID"])
            suite.make_web(lab)
            ended(opened(lab, 5, "exec", "web", "-c", "c", "--", "sh", "-c", "echo; sleep 1000"))  # what the first ones allocate
            many(lab, pid, args.streams, "exec sessions", "exec", "web", "-c", "c", "--", "sh", "-c", "echo; sleep 1000")
            many(lab, pid, args.streams, "followed logs", "logs", "-f", "web", "-c", "c")
            one_big(lab, pid, args.mib, "in", "wc -c")
            one_big(lab, pid, args.mib, "out", f"head -c {args.mib << 20} /dev/zero")
        finally:
            lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
