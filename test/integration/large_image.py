"""An image of 2 GiB is pulled, merged and imported by a kubelet that has less than 100 MiB resident at any time.

The image is made here and never whole in memory: layers of gzip and of zstd, tens of thousands of small files and two huge ones, half of
it not to be compressed. $VCH_BIG=1: all of its size; else an eighth.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tarfile
import time
import zlib

from harness import ROOT, expect, make_pod, run, wait_for

MIB = 1 << 20
SIZE = (2048 if os.environ.get("VCH_BIG") == "1" else 256) * MIB
LIMIT, GROWTH = 100 * MIB, 64 * MIB
NODE = "vch-large"
REPOSITORY = "lab/large"
SMALL = 8 << 10  # bytes of a small file, on average
PIECE = MIB


# ---- the image ----

class Content:
    """A file of `size` bytes that look random, or compress to half with `half`. The same seed gives the same bytes."""

    def __init__(self, seed, size, half=False):
        self.random, self.left, self.half, self.piece = random.Random(seed), size, half, b""

    def read(self, n):
        if not self.piece:
            self.piece = self.random.randbytes(min(PIECE, self.left))
            if self.half:
                self.piece = self.piece.hex().encode()
        out, self.piece = self.piece[:min(n, self.left)], self.piece[n:]
        self.left -= len(out)
        return out


class Layer:
    """A tar that goes through `pack`, a compressor, into a blob of the layout."""

    def __init__(self, layout, pack):
        self.layout, self.pack, self.size = layout, pack, 0
        self.sum = hashlib.sha256()
        self.file = open(layout / "new", "w+b")
        self.packer = zlib.compressobj(1, wbits=31)
        if pack == "zstd":
            # A window of 8 MiB is what compressors use up to level 19.
            self.packer = subprocess.Popen(["zstd", "-q", "-c", "-3", "--long=23"], stdin=subprocess.PIPE, stdout=self.file)
        self.tar = tarfile.open(fileobj=self, mode="w|", format=tarfile.PAX_FORMAT, bufsize=PIECE, copybufsize=PIECE)

    def write(self, data):
        self.sum.update(data)
        if self.pack == "zstd":
            self.packer.stdin.write(data)
        else:
            self.file.write(self.packer.compress(data))
        return len(data)

    def add(self, name, size, seed=0, half=False):
        info = tarfile.TarInfo(name)
        info.size, info.mtime = size, 1767225600
        self.tar.addfile(info, Content(seed, size, half))
        self.size += size

    def close(self):
        """The layer's descriptor, and the digest of its tar."""
        self.tar.close()
        if self.pack == "zstd":
            self.packer.stdin.close()
            expect(self.packer.wait() == 0, "zstd failed")
        else:
            self.file.write(self.packer.flush())
        self.file.close()
        kind = f"application/vnd.oci.image.layer.v1.tar+{self.pack}"
        return store(self.layout, self.layout / "new", kind), f"sha256:{self.sum.hexdigest()}"


def store(layout, file, kind):
    """Moves a file to its place in the layout; returns its descriptor."""
    with open(file, "rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    descriptor = {"mediaType": kind, "digest": f"sha256:{digest}", "size": file.stat().st_size}
    file.rename(layout / "blobs" / "sha256" / digest)
    return descriptor


def store_document(layout, document, kind):
    (layout / "new").write_text(json.dumps(document))
    return store(layout, layout / "new", kind)


def small_file(i):
    return f"usr/share/many/{i // 256}/{i}"


def make_image(layout, size):
    """Makes an OCI image layout with one image, docker.io/REPOSITORY:latest. Returns how many files it has and the digest of opt/noise."""
    (layout / "blobs" / "sha256").mkdir(parents=True)
    sizes = random.Random("sizes")
    layers = []
    below = Layer(layout, "gzip")
    count = 0
    while below.size < size // 4:
        below.add(small_file(count), sizes.randrange(2 * SMALL), seed=count, half=True)
        count += 1
    layers.append(below.close())
    noise = Layer(layout, "zstd")
    noise.add("opt/noise", size * 3 // 8, seed="noise")
    layers.append(noise.close())
    words = Layer(layout, "gzip")
    words.add("opt/words", size // 4, seed="words", half=True)
    layers.append(words.close())
    # Half of the small files are there once more, and others hidden.
    above = Layer(layout, "zstd")
    changed = 0
    while above.size < size // 8:
        above.add(small_file(changed), sizes.randrange(2 * SMALL), seed=f"changed {changed}")
        changed += 1
    above.add("usr/share/many/.wh.0", 0)
    layers.append(above.close())

    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]}}
    manifest_kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = store_document(layout, {
        "schemaVersion": 2, "mediaType": manifest_kind, "layers": [blob for blob, _ in layers],
        "config": store_document(layout, config, "application/vnd.oci.image.config.v1+json")}, manifest_kind)
    manifest["annotations"] = {"org.opencontainers.image.ref.name": f"docker.io/{REPOSITORY}:latest"}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    expected = Content("noise", size * 3 // 8)
    digest = hashlib.sha256()
    while piece := expected.read(PIECE):
        digest.update(piece)
    return count, digest.hexdigest()


# ---- memory ----

def status_of(pid):
    """What /proc says of a process's memory, in bytes; nothing if it has ended."""
    with contextlib.suppress(OSError):
        return {key: int(value) << 10 for key, value in re.findall(r"^(Vm\w+|Rss\w+):\s+(\d+) kB$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)}
    return {}


def children_of(pid):
    """Its descendants that live."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *children_of(child)]
    return found


class Peak:
    """The most that a process and its children ever had resident. The process's own is the kernel's figure."""

    def __init__(self, pid):
        self.pid, self.children, self.before = pid, {}, status_of(pid)["VmRSS"]

    def look(self):
        for child in children_of(self.pid):
            self.children[child] = max(self.children.get(child, 0), status_of(child).get("VmHWM", 0))

    def bytes(self):
        # Page faults of children that have ended: whoever ran must have been seen.
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        expect(self.children or int(fields[8]) == 0, "a child process came and went, and nobody knows its memory")
        return status_of(self.pid)["VmHWM"] + sum(self.children.values())


# ---- the scenario ----

def a_large_image_takes_little_memory(lab):
    images, before, begin = pathlib.Path(lab.dir, "images"), anchors(lab), time.monotonic()
    try:
        files, digest = make_image(images, SIZE)
        print(f"  {SIZE // MIB} MiB in {files} files: made in {time.monotonic() - begin:.0f} s", flush=True)
        restart_registry(lab)
        pull_and_measure(lab, files)
        (anchor,) = anchors(lab) - before
        check_disk(pathlib.Path(lab.env["VCENTER_DATASTORE_DIR"], anchor), digest)
    finally:
        lab.kubectl("delete", "pod", "large", "--ignore-not-found", "--timeout=60s", check=False)
        lab.lab("stop", f"kubelet-{NODE}", check=False)
        lab.kubectl("delete", "node", NODE, "--ignore-not-found", check=False)
        shutil.rmtree(images, ignore_errors=True)
        restart_registry(lab)
        for name in anchors(lab) - before:
            lab.lab("vm", "destroy", name, check=False)


def anchors(lab):
    return {vm["name"] for vm in json.loads(lab.lab("vms")) if vm.get("template")}


def restart_registry(lab):
    for what in ("stop", "start"):
        lab.lab(what, "registry")


def pull_and_measure(lab, files):
    # A kubelet of its own, whose peak nothing else has raised. What a sanitizer keeps of freed memory is not the kubelet's.
    options = f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb=1:thread_local_quarantine_size_kb=64".lstrip(":")
    run([ROOT / "tools/lab", "node", lab.dir, NODE, "--", "--register-with-taints=", "-v", "2"], env={**os.environ, "ASAN_OPTIONS": options})
    peak = Peak(int(pathlib.Path(lab.dir, "pid", f"kubelet-{NODE}.pid").read_text()))
    pod = make_pod("large", nodeName=NODE)
    pod["spec"]["containers"][0]["image"] = REPOSITORY
    lab.apply(pod)

    def runs():
        peak.look()
        return lab.pod("large")["status"]["phase"] == "Running"
    begin = time.monotonic()
    wait_for("the pod runs", runs, 120 + SIZE // MIB)
    took = time.monotonic() - begin
    merged = re.search(r'"Image merged" .*', lab.log(f"kubelet-{NODE}"))
    expect(merged, "the kubelet did not say that it has merged the image")
    figures = dict(re.findall(r"(\w+)=(\d+)\b", merged[0]))
    expect(int(figures["unpackedBytes"]) >= SIZE and int(figures["files"]) >= files, f"it has merged less: {merged[0]}")
    print(f"  pulled and imported in {took:.0f} s; memory was {peak.before / MIB:.1f} MiB before, {peak.bytes() / MIB:.1f} at most", flush=True)
    # A sanitizer's program begins with more than that; the terabytes of addresses of its shadow give it away.
    limit = peak.before + GROWTH if status_of(peak.pid)["VmSize"] > 1 << 40 else LIMIT
    expect(peak.bytes() < limit, f"{peak.bytes() / MIB:.1f} MiB, with {len(peak.children)} child processes: {status_of(peak.pid)}")


def check_disk(directory, digest):
    """The disk in the datastore is whole: its longest file is as it was in the layer."""
    (flat,) = directory.glob("*-flat.vmdk")
    with subprocess.Popen(["unsquashfs", "-cat", str(flat), "rootfs/opt/noise"], stdout=subprocess.PIPE) as reader:
        found = hashlib.sha256()
        while piece := reader.stdout.read(PIECE):
            found.update(piece)
    expect(reader.returncode == 0 and found.hexdigest() == digest, f"opt/noise in {flat} is another")
