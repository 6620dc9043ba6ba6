"""A pod VM in QEMU, with the hardware that the lab gives one, for tests of the guest alone."""
import argparse
import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import traceback
import xml.sax.saxutils

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TETHER_PORT = 10350
GUEST_IP = "10.0.2.15"


class Failure(AssertionError):
    """What a test expected did not happen."""


def openssl(*args, **kwargs):
    return subprocess.run(["openssl", *args], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs).stdout


class KubeletKey:
    """A VCH key with a certificate of it, as the kubelet makes them."""

    def __init__(self, directory):
        self.key, self.cert = f"{directory}/vch.key", f"{directory}/vch.crt"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        openssl("req", "-x509", "-new", "-key", self.key, "-days", "2", "-out", self.cert, "-subj", "/CN=VCH",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "subjectAltName=DNS:vch-kubelet")
        self.hash = hashlib.sha256(openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")).hexdigest()
        self.pem = pathlib.Path(self.cert).read_text()


def accelerator():
    """kvm where a kernel really runs with it, else tcg: the lab knows how to find out."""
    return os.environ.get("VCH_ACCEL") or subprocess.run([ROOT / "tools/lab", "accel"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


ACCEL = None


class Vm:
    """QEMU with a BIOS that boots the ISO, a PVSCSI controller, a vmxnet3 NIC and the guest's port.

    `disks` are paths of images, in order of their units. Everything of it is in `self.dir`."""

    def __init__(self, iso, config=None, disks=(), memory=256, cpus=1, extra=(), console=None):
        global ACCEL
        ACCEL = ACCEL or accelerator()
        self.dir = tempfile.mkdtemp(prefix="vch-guest-")
        self.console_path = console or f"{self.dir}/console.log"
        self.port_lines, self._port_rest, self.port = [], b"", None
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.host_port = s.getsockname()[1]
        command = ["qemu-system-x86_64", "-machine", "pc", "-accel", ACCEL, "-cpu", "host" if ACCEL == "kvm" else "max,la57=off", "-m", str(memory), "-smp", str(cpus), "-nodefaults",
                   "-display", "none", "-no-reboot", "-boot", "order=d", "-cdrom", str(iso),
                   "-serial", f"file:{self.console_path}",
                   "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off",
                   "-device", "virtio-serial-pci", "-chardev", f"socket,id=guest,path={self.dir}/port,server=on,wait=off",
                   "-device", "virtserialport,chardev=guest,name=vch.guest.0",
                   "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.host_port}-{GUEST_IP}:{TETHER_PORT}",
                   "-device", "vmxnet3,netdev=net,mac=00:50:56:00:00:01,romfile=",
                   "-device", "pvscsi,id=scsi"]
        for i, disk in enumerate(disks):
            unit = i if i < 7 else i + 1
            command += ["-drive", f"file={disk},if=none,id=disk{i},format=raw", "-device", f"scsi-hd,bus=scsi.0,drive=disk{i},scsi-id={unit},lun=0"]
        if config is not None:
            path = f"{self.dir}/config"
            pathlib.Path(path).write_text(config if isinstance(config, str) else json.dumps(config))
            command += ["-fw_cfg", f"name=opt/guestinfo.vch.config,file={path}"]
        self.started = time.monotonic()
        self.process = subprocess.Popen([*command, *extra], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.destroy()

    def destroy(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        if self.port:
            self.port.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def console(self):
        try:
            return pathlib.Path(self.console_path).read_text(errors="replace")
        except OSError:
            return ""

    def cpu_seconds(self):
        """What QEMU has used so far: tells boots apart also where other work runs."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, what, condition, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            if self.process.poll() is not None and not condition():
                raise Failure(f"{what}: QEMU has ended\n{self.process.stderr.read().decode(errors='replace')}\n{self.console()[-3000:]}")
            time.sleep(0.02)
        raise Failure(f"{what}: not within {seconds} s\n{self.console()[-3000:]}")

    def wait_console(self, text, seconds=300):
        def line():  # whole: the guest may still be writing it
            return next((line for line in self.console().splitlines(keepends=True) if text in line and line.endswith("\n")), None)
        return self.wait(f"console says {text!r}", line, seconds).rstrip("\r\n")

    def wait_off(self, seconds=120):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"still on after {seconds} s\n{self.console()[-3000:]}") from None

    def press_power_button(self, seconds=120):
        """Until the machine is off: a press gets lost at times."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise Failure(f"still on after {seconds} s\n{self.console()[-3000:]}")
            with contextlib.suppress(OSError, ValueError):  # off by now
                self.qmp("system_powerdown")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)

    # The host's end of the guest's port.
    def connect_port(self):
        self.wait("port", lambda: os.path.exists(f"{self.dir}/port"), 60)
        self.port = socket.socket(socket.AF_UNIX)
        self.port.connect(f"{self.dir}/port")

    def disconnect_port(self):
        self.port.close()
        self.port, self._port_rest = None, b""

    def port_line(self, op, seconds=300):
        """The next line of the guest with this op."""
        end = time.monotonic() + seconds
        while True:
            for i, line in enumerate(self.port_lines):
                if line.get("op") == op:
                    return self.port_lines.pop(i)
            if not select.select([self.port], [], [], max(0.0, end - time.monotonic()))[0]:
                raise Failure(f"no {op} from the guest within {seconds} s; got {self.port_lines}\n{self.console()[-3000:]}")
            data = self.port.recv(65536)
            if not data:
                raise Failure("the guest's port is closed")
            *lines, self._port_rest = (self._port_rest + data).split(b"\n")
            self.port_lines += [json.loads(line) for line in lines]

    def tell(self, **message):
        self.port.sendall(json.dumps(message).encode() + b"\n")

    def qmp(self, command):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{self.dir}/qmp")
            f = s.makefile("rw")
            for name in ("qmp_capabilities", command):
                f.write(json.dumps({"execute": name}) + "\n")
                f.flush()
                while "return" not in json.loads(f.readline()):
                    pass

    # The kubelet's end of the channel.
    def channel(self, kubelet):
        return Channel(self.host_port, kubelet)


class Channel:
    """GET /v1/channel, as the kubelet does it."""

    def __init__(self, port, kubelet):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(kubelet.cert, kubelet.key)
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20))
        der = self.socket.getpeercert(binary_form=True)
        spki = openssl("x509", "-inform", "DER", "-pubkey", "-noout", input=der)
        self.key_hash = hashlib.sha256(base64.b64decode(b"".join(spki.splitlines()[1:-1]))).hexdigest()
        self.socket.sendall(b"GET /v1/channel HTTP/1.1\r\nHost: tether\r\nConnection: Upgrade\r\nUpgrade: vch-channel/1\r\n\r\n")
        self.file = self.socket.makefile("rb")
        self.status = self.file.readline().decode().strip()
        while self.file.readline().strip():
            pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()
        self.socket.close()

    def frame(self, kind, seconds=60, where=lambda frame: True):
        """The next frame of this kind for which `where` holds."""
        self.socket.settimeout(seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            frame = json.loads(self.file.readline())
            if kind in frame and where(frame[kind]):
                return frame[kind]
        raise Failure(f"no such {kind} within {seconds} s")

    def send(self, **frame):
        self.socket.sendall(json.dumps(frame).encode() + b"\n")


def boot_config(kubelet, **more):
    return {"version": 1, "podUid": "11111111-2222-3333-4444-555555555555", "hostName": "web-0", "address": f"{GUEST_IP}/24", "gateway": "10.0.2.2",
            "dns": ["10.0.2.3"], "port": TETHER_PORT, "kubeletKeyHash": kubelet.hash, "kubeletCa": kubelet.pem, **more}


def empty_disk(path, mib=256):
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    return path


def attempt(test, bench):
    """What went wrong (None: nothing) and how long it took."""
    begin = time.monotonic()
    error = None
    try:
        test(bench)
    except (AssertionError, OSError, KeyError, ValueError, StopIteration) as e:
        error = f"{e}\n{traceback.format_exc(limit=4)}"
    return error, time.monotonic() - begin


def main(doc, tests, make_bench):
    """What a file of tests does when it is run: [--jobs N] [--junit FILE] ISO [NAME...]. Returns the exit status."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="tests at the same time")
    parser.add_argument("--junit")
    parser.add_argument("iso")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    bench = make_bench(os.path.abspath(args.iso))
    wanted = [t for t in tests if not args.names or t.__name__ in args.names]
    cases, failed = [], 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        running = {pool.submit(attempt, test, bench): test.__name__ for test in wanted}
        for done in concurrent.futures.as_completed(running):
            name, (error, seconds) = running[done], done.result()
            print(f"  FAILED: {name}: {error}" if error else f"  ok: {name} ({seconds:.1f} s)", flush=True)
            failed += error is not None
            body = f"<failure>{xml.sax.saxutils.escape(error)}</failure>" if error else ""
            cases.append(f'<testcase classname="guest" name="{name}" time="{seconds:.1f}">{body}</testcase>\n')
    if args.junit:
        pathlib.Path(args.junit).write_text(f'<testsuites><testsuite name="guest">\n{"".join(cases)}</testsuite></testsuites>\n')
    print(f"{len(wanted) - failed} passed, {failed} failed")
    return 1 if failed or not wanted else 0


__all__ = ["Vm", "Channel", "KubeletKey", "Failure", "boot_config", "empty_disk", "main"]
