#!/usr/bin/env python3
"""kubectl's logs, exec, cp and port-forward through a real API server and the kubelet API, in a lab whose simulated guests run their
commands on this machine (test/kubeletapi/host_guests). Also who is not let in.

usage: kubectl_streams.py --build DIR [--junit FILE] [NAME...]
"""
import base64
import collections
import concurrent.futures
import hashlib
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import Failure, expect, run, wait_for  # noqa: E402
from suite import main_with_host_guests  # noqa: E402


def raw(lab, *args, stdin=None, timeout=300):
    return subprocess.run(["kubectl", *args], input=stdin, capture_output=True, timeout=timeout, env=lab.env)


def in_pod(lab, *command, flags=(), stdin=None, timeout=300):
    return raw(lab, "exec", *flags, "web", "-c", "c", "--", *command, stdin=stdin, timeout=timeout)


def streams(lab):
    """How many the kubelet has begun, by transport and protocol."""
    text = run(["curl", "-sf", "--max-time", "5", lab.env["KUBELET_METRICS"]])
    counts = collections.Counter()
    for labels, value in re.findall(r"^vch_kubelet_streams_total\{(.*)\} (\S+)$", text, re.M):
        label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        counts[label["transport"], label["protocol"]] += int(float(value))
    return counts


# kubectl speaks WebSocket, which the API server hands to the kubelet as it is, or SPDY all the way.
def both_ways_to_speak(lab, check, protocol="v5.channel.k8s.io"):
    declared = lab.get("node", "vch1")["status"].get("declaredFeatures")
    expect(declared == ["ExtendWebSocketsToKubelet"], f"the node declares {declared}")
    for websockets in ("true", "false"):
        env = dict(lab.env)
        lab.env["KUBECTL_REMOTE_COMMAND_WEBSOCKETS"] = lab.env["KUBECTL_PORT_FORWARD_WEBSOCKETS"] = websockets
        before = streams(lab)
        try:
            check()
            spoken = streams(lab) - before
            if websockets == "true":
                expect(set(spoken) == {("websocket", protocol)}, f"the kubelet was spoken to in {dict(spoken)}")
            else:
                expect(spoken and {transport for transport, _ in spoken} == {"spdy"}, f"the kubelet was spoken to in {dict(spoken)}")
        except Failure as error:
            raise Failure(f"with WebSockets {websockets}: {error}") from error
        finally:
            lab.env = env


# ---- scenarios ----

def exec_and_its_exit_code(lab):
    def check():
        done = in_pod(lab, "sh", "-c", "echo out; echo err >&2; exit 42")
        expect(done.returncode == 42 and done.stdout == b"out\n", f"{done.returncode}: {done.stdout} {done.stderr}")
        expect(b"err\n" in done.stderr and b"exit code 42" in done.stderr, str(done.stderr))
        done = in_pod(lab, "true")
        expect(done.returncode == 0 and done.stdout == done.stderr == b"", str(done))
        done = in_pod(lab, "no-such-program")
        expect(done.returncode != 0, str(done))
    both_ways_to_speak(lab, check)


def exec_takes_input_to_its_end(lab):
    def check():
        done = in_pod(lab, "sh", "-c", "wc -c; echo done", flags=("-i",), stdin=b"x" * 100_000)
        expect(done.stdout.split() == [b"100000", b"done"], str(done)[:500])
        # A command that does not read all of it.
        done = in_pod(lab, "head", "-c", "3", flags=("-i",), stdin=b"abcdef" * 1_000_000)
        expect(done.stdout == b"abc", str(done)[:500])
    both_ways_to_speak(lab, check)


def two_hundred_megabytes_both_ways(lab):
    data = os.urandom(1 << 20) * 200

    def check():
        begin = time.monotonic()
        done = in_pod(lab, "cat", flags=("-i",), stdin=data)
        expect(hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest(),
               f"{len(done.stdout)} bytes came back, {done.stderr[:500]}")
        print(f"  200 MB there and back in {time.monotonic() - begin:.1f} s", flush=True)
    both_ways_to_speak(lab, check)


def a_client_that_takes_its_time_misses_nothing(lab):
    def check():
        client = subprocess.Popen("kubectl exec web -c c -- head -c 20M /dev/zero | (sleep 15; wc -c)", shell=True, env=lab.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = client.communicate(timeout=120)
        expect(int(out) == 20 << 20 and not err, f"{out} {err}")
    both_ways_to_speak(lab, check)


def attach_both_ways(lab):
    def check():
        client = subprocess.Popen(["kubectl", "attach", "-i", "web", "-c", "c"], env=lab.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        out, err = client.communicate(b"you\nme\n", timeout=60)
        expect(client.returncode == 0 and out == b"heard you\nheard me\n", f"{client.returncode} {out} {err}")
    both_ways_to_speak(lab, check)


def many_sessions_at_once(lab):
    def one(i):
        done = in_pod(lab, "sh", "-c", f"sleep 2; echo {i}; exit {i % 7}")
        return done.returncode == i % 7 and done.stdout == f"{i}\n".encode()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        expect(all(pool.map(one, range(48))), "a session went wrong")


def a_client_that_leaves_ends_its_command(lab):
    mark = f"mark-{os.getpid()}"
    client = subprocess.Popen(["kubectl", "exec", "web", "-c", "c", "--", "sh", "-c", f": {mark}; sleep 1000"],
                              env=lab.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Only the command in the "pod": kubectl's own words begin with kubectl.
    running = lambda: subprocess.run(["pgrep", "-f", f"^sh -c : {mark}"], capture_output=True).stdout  # noqa: E731
    try:
        wait_for("the command", running)
    finally:
        client.kill()
        client.wait()
    wait_for("the end of the command", lambda: not running(), 30)


def copies_of_trees_and_files(lab):
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        tree = pathlib.Path(here, "tree")
        for i in range(2000):
            file = tree / f"d{i % 40}" / f"f{i}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(i % 100) * 20)
        lab.kubectl("cp", str(tree), f"web:{there}/tree", "-c", "c")
        run(["diff", "-r", str(tree), f"{there}/tree"])
        big = pathlib.Path(there, "big")
        big.write_bytes(os.urandom(1 << 20) * 100)
        lab.kubectl("cp", f"web:{big}", f"{here}/big", "-c", "c", timeout=300)
        expect(pathlib.Path(here, "big").read_bytes() == big.read_bytes(), "another file came back")


def logs_with_their_options(lab):
    expect(lab.kubectl("logs", "web", "-c", "lines-20000").count("\n") == 20000, "not all lines")
    expect(lab.kubectl("logs", "web", "-c", "c") .startswith("line 0 "), "not its log")
    client = subprocess.Popen(["kubectl", "logs", "-f", "web", "-c", "c"], env=lab.env, stdout=subprocess.PIPE, text=True)
    try:
        lines = [client.stdout.readline() for _ in range(10)]
        expect(lines[9] == "line 9\n", str(lines))
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
    error = raw(lab, "logs", "web", "-c", "nobody").stderr
    expect(b"container nobody is not valid for pod web" in error, str(error))


class Web:
    """A server on a port of this machine: what a pod would run."""

    def __enter__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = hashlib.sha256(self.path.encode()).hexdigest().encode() * 1000
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self.server.server_address[1]

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def port_forward_with_parallel_connections(lab):
    def check():
        with Web() as port:
            client = subprocess.Popen(["kubectl", "port-forward", "pod/web", f":{port}"], env=lab.env, stdout=subprocess.PIPE, text=True)
            try:
                local = int(client.stdout.readline().split("127.0.0.1:")[1].split()[0])

                def fetch(i):
                    done = run(["curl", "-sf", "--max-time", "60", f"http://127.0.0.1:{local}/{i}"])
                    return done == hashlib.sha256(f"/{i}".encode()).hexdigest() * 1000
                with concurrent.futures.ThreadPoolExecutor(10) as pool:
                    expect(all(pool.map(fetch, range(100))), "another page came back")
            finally:
                client.kill()
                client.wait()
                client.stdout.close()
    both_ways_to_speak(lab, check, "SPDY/3.1+portforward.k8s.io")


def port_forward_to_nobody(lab):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = subprocess.Popen(["kubectl", "port-forward", "pod/web", f":{port}"], env=lab.env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        local = int(client.stdout.readline().split("127.0.0.1:")[1].split()[0])
        subprocess.run(["curl", "-s", "--max-time", "20", f"http://127.0.0.1:{local}/"], capture_output=True)
        line = client.stderr.readline()
        expect(f"error forwarding port {port} to pod web_default" in line, line)
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
        client.stderr.close()


def signed(pki, header, claims):
    """A token as the API server makes it."""
    def base64url(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    what = b".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    with tempfile.NamedTemporaryFile() as text:
        text.write(what)
        text.flush()
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(pki / "service-account.key"), text.name],
                                   capture_output=True, check=True).stdout
    if header["alg"] == "ES256":
        # Two numbers of 32 bytes, instead of ASN.1.
        size, numbers = signature[3], []
        numbers.append(signature[4:4 + size])
        numbers.append(signature[6 + size:])
        signature = b"".join(number.lstrip(b"\0").rjust(32, b"\0") for number in numbers)
    return b".".join((what, base64url(signature))).decode()


def who_may_not_come_in(lab):
    port = lab.get("node", "vch1")["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    pki = pathlib.Path(lab.dir, "pki")

    def curl(path, *flags):
        out = run(["curl", "-s", "--max-time", "20", "-w", "\n%{http_code}", *flags, f"https://127.0.0.1:{port}{path}"], check=False)
        body, code = out.rsplit("\n", 1)
        return int(code), body
    trust = ("--cacert", str(pki / "ca.crt"))
    wait_for("a certificate of the cluster's CA", lambda: curl("/pods", *trust)[0] == 401)
    expect(curl("/pods", *trust) == (401, "Unauthorized"), "without a certificate")
    with tempfile.TemporaryDirectory() as other:
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-keyout",
             f"{other}/k", "-out", f"{other}/c", "-subj", "/O=system:masters/CN=kube-apiserver-kubelet-client"])
        expect(curl("/pods", *trust, "--cert", f"{other}/c", "--key", f"{other}/k") == (401, "Unauthorized"), "of another CA")
    good = (*trust, "--cert", str(pki / "kubelet-client.crt"), "--key", str(pki / "kubelet-client.key"))
    code, body = curl("/pods", *good)
    expect(code == 200 and '"name":"web"' in body, f"{code} {body[:200]}")
    token = lab.kubectl("create", "token", "default").strip()
    bearer = lambda t: ("-H", f"Authorization: Bearer {t}")  # noqa: E731
    code, body = curl("/pods", *trust, *bearer(token))
    expect(code == 403 and "Forbidden (user=system:serviceaccount:default:default, verb=get, resource=nodes, subresource(s)=[pods proxy])" in body, body)
    expect(curl("/pods", *trust, *bearer(token + "x")) == (401, "Unauthorized"), "a broken token")
    header, claims, _ = (json.loads(base64.urlsafe_b64decode(part + "==")) if i < 2 else part for i, part in enumerate(token.split(".")))
    expect(curl("/pods", *trust, *bearer(signed(pki, header, claims)))[0] == 403, "a token that was signed here")
    expired = signed(pki, header, {**claims, "iat": claims["iat"] - 7200, "nbf": claims["nbf"] - 7200, "exp": int(time.time()) - 3600})
    expect(curl("/pods", *trust, *bearer(expired)) == (401, "Unauthorized"), "an expired token")
    with tempfile.TemporaryDirectory() as own:
        run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{own}/k", "-out",
             f"{own}/r", "-subj", "/CN=alice"])
        run(["openssl", "x509", "-req", "-in", f"{own}/r", "-CA", str(pki / "ca.crt"), "-CAkey", str(pki / "ca.key"), "-set_serial", "77",
             "-days", "1", "-out", f"{own}/c"])
        code, body = curl("/pods", *trust, "--cert", f"{own}/c", "--key", f"{own}/k")
        expect((code, body.strip()) == (403, "Forbidden (user=alice, verb=get, resource=nodes, subresource(s)=[pods proxy])"), f"{code} {body}")
    expect(curl("/pods/..%2fexec/default/web/c", *good)[0] == 404, "an encoded slash")
    expect(curl("/pods/%2e%2e/exec/default/web/c", "--path-as-is", *good)[0] == 404, "encoded dots")
    expect(curl("//pods", "--path-as-is", *trust)[0] == 307, "an unclean path")


ALL = [exec_and_its_exit_code, exec_takes_input_to_its_end, two_hundred_megabytes_both_ways,
       a_client_that_takes_its_time_misses_nothing, attach_both_ways, many_sessions_at_once, a_client_that_leaves_ends_its_command, copies_of_trees_and_files, logs_with_their_options, port_forward_with_parallel_connections,
       port_forward_to_nobody, who_may_not_come_in]


if __name__ == "__main__":
    sys.exit(main_with_host_guests("kubectl", ALL))
