#!/usr/bin/env python3
"""Fails when an #include in lib/ or cmd/ goes against the layer table, or when a header that belongs behind a wall is used outside it.

usage: layers.py [--stamp FILE] [ROOT]
"""
import pathlib
import re
import sys

BASE = ["base"]
ASYNC = BASE + ["async"]
JSON = BASE + ["json"]
# layer: what it may include besides itself
LAYERS = {
    "base": [],
    "async": BASE,
    "json": BASE,
    "metrics": BASE,
    "http": ASYNC + ["json"],
    "flow": ASYNC + ["metrics"],
    "kubeapi": JSON,
    "vimtypes": BASE,
    "vch": BASE + ["vimtypes"],
    "guestapi": JSON,
    "kube": ASYNC + ["json", "metrics", "kubeapi", "flow", "http"],
    "vsphere": ASYNC + ["json", "metrics", "vimtypes", "flow", "http"],
    "podvm": JSON + ["kubeapi", "vimtypes", "vch", "guestapi"],
    "guestlink": ASYNC + ["json", "metrics", "guestapi", "flow", "http"],
    "tether": ASYNC + ["json", "metrics", "guestapi", "http"],
    "guestos": ASYNC + ["json", "http", "guestapi", "tether"],
    "oci": ASYNC + ["json", "http"],
    "image": ASYNC + ["json", "metrics", "flow", "http", "oci"],
    "spdy": ASYNC + ["http"],
    "kubeletapi": ASYNC + ["json", "metrics", "flow", "http", "kubeapi", "kube", "guestapi", "guestlink", "spdy"],
    "node": ASYNC + ["json", "metrics", "flow", "http", "kubeapi", "kube", "vimtypes", "vch", "vsphere", "guestapi", "guestlink", "podvm", "oci",
                     "image", "spdy", "kubeletapi"],
}
# headers that only the named layers (or cmd binaries) may include
WALLS = [
    (re.compile(r"boost/beast|openssl/(ssl|x509|pem|bio)|nghttp2/"), {"http"}),
    (re.compile(r"pugixml"), {"vimtypes", "vsphere"}),
    (re.compile(r"yaml-cpp"), {"kube", "cmd/vch-kubelet", "node"}),
    (re.compile(r"CLI/"), {"cmd/guest-sim"}),
]
# libraries whose headers are written in quotes
LIBRARIES = {"absl", "gtest", "gmock"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def check(root):
    errors = []
    for top in ("lib", "cmd"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in (".h", ".cc"):
                continue
            parts = path.relative_to(root / top).parts
            layer = parts[0] if top == "lib" else f"cmd/{parts[0]}"
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                where = f"{path.relative_to(root)}:{number}"
                quoted, angled = match.groups()
                target = quoted.split("/")[0] if quoted else ""
                if quoted and top == "lib" and target not in LIBRARIES:
                    if layer not in LAYERS:
                        errors.append(f"{where}: layer '{layer}' is not in the table of tools/layers.py")
                    elif target not in LAYERS:
                        errors.append(f"{where}: \"{quoted}\" names no layer; write the path from lib/")
                    elif target != layer and target not in LAYERS[layer]:
                        errors.append(f"{where}: {layer} may not include {target}")
                for pattern, allowed in WALLS:
                    if pattern.search(quoted or angled) and layer not in allowed:
                        errors.append(f"{where}: <{quoted or angled}> belongs behind {', '.join(sorted(allowed))}")
    return errors


def main():
    args = sys.argv[1:]
    stamp = None
    if args[:1] == ["--stamp"]:
        stamp, args = args[1], args[2:]
    root = pathlib.Path(args[0] if args else pathlib.Path(__file__).resolve().parent.parent)
    errors = check(root)
    for error in errors:
        print(error, file=sys.stderr)
    if errors:
        return 1
    if stamp and not pathlib.Path(stamp).exists():
        pathlib.Path(stamp).write_text("ok\n")
    return 0


sys.exit(main())
