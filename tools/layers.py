#!/usr/bin/env python3
"""Fails when an #include goes against the tables of docs/architecture.md ("Layers"): they say which folder of lib/, cmd/ and test/ may
include which layers, and which headers belong behind a wall.

usage: layers.py [--stamp FILE] [ROOT]
       layers.py --self-test
"""
import pathlib
import re
import sys
import tempfile

PAGE = "docs/architecture.md"
# Tables of the page by their first column's head.
LIB, OTHERS, WALLS = "lib/", "cmd/, test/", "headers"
# Libraries whose headers are written in quotes.
LIBRARIES = {"absl", "gtest", "gmock"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def words(cell):
    return [w.strip().strip("`") for w in cell.split(",") if w.strip(" –")]


def read_tables(text):
    """{head of the first column: [(line number, first cell, last cell)]} of the section "Layers"."""
    tables, rows, inside = {}, None, False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            inside = line == "## Layers"
        if not inside or not line.startswith("|"):
            rows = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if rows is None:
            rows = tables.setdefault(cells[0], [])
        elif cells[0].strip("-"):
            rows.append((number, cells[0], cells[-1]))
    return tables


class Rules:
    def __init__(self, text):
        self.errors = []
        tables = read_tables(text)
        for head in (LIB, OTHERS, WALLS):
            if not tables.get(head):
                self.errors.append(f"{PAGE}: the section \"Layers\" has no table that begins with \"{head}\"")
        self.layers, self.others = {}, {}
        for number, layer, may in tables.get(LIB, []):
            if may.startswith("all but "):
                self.layers[layer] = set(self.layers) - self.known(number, may.removeprefix("all but "))
            else:
                self.layers[layer] = self.known(number, may)
        for number, folder, may in tables.get(OTHERS, []):
            self.others[folder] = set(self.layers) if may == "all" else self.known(number, may)
        self.walls = [(words(headers), set(words(allowed))) for _, headers, allowed in tables.get(WALLS, [])]

    def known(self, number, cell):
        """The layers of a cell; they stand above it, so there is no circle."""
        for layer in words(cell):
            if layer not in self.layers:
                self.errors.append(f"{PAGE}:{number}: no row above this one is called \"{layer}\"")
        return set(words(cell))

    def allowed(self, top, folder):
        """What the files of a folder may include, None if the tables do not know it."""
        name = f"{top}/{folder}"
        if top == "lib":
            return self.layers[folder] | {folder} if folder in self.layers else None
        if top == "test" and folder in self.layers:
            return self.layers[folder] | {folder, "support"} | self.others.get(name, set())
        return self.others[name] | {folder, "support"} if name in self.others else None


def check_file(rules, root, path, top, folder):
    allowed = rules.allowed(top, folder)
    inside = {folder, f"{top}/{folder}"}  # a test of a wall's layer may do as the layer does
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        where = f"{path.relative_to(root)}:{number}"
        quoted, angled = match.groups()
        header = quoted or angled
        target = header.split("/")[0]
        if quoted and target not in LIBRARIES and (top == "lib" or "/" in quoted):
            if target not in rules.layers and target != "support":
                yield f"{where}: \"{quoted}\" names no layer; write the path from lib/"
            elif target not in allowed:
                yield f"{where}: {top}/{folder} may not include {target} ({PAGE}, Layers)"
        for headers, behind in rules.walls:
            if header.startswith(tuple(headers)) and not inside & behind:
                yield f"{where}: <{header}> belongs behind {', '.join(sorted(behind))} ({PAGE}, Layers)"


def check(root):
    rules = Rules((root / PAGE).read_text())
    errors = list(rules.errors)
    there = set()
    for top in ("lib", "cmd", "test"):
        for folder in sorted(p for p in (root / top).glob("*") if p.is_dir()):
            files = sorted(p for p in folder.rglob("*") if p.suffix in (".h", ".cc"))
            if not files:
                continue
            there.add(f"{top}/{folder.name}")
            if rules.allowed(top, folder.name) is None:
                errors.append(f"{top}/{folder.name} is not in the tables of {PAGE}, section \"Layers\"")
                continue
            for path in files:
                errors += check_file(rules, root, path, top, folder.name)
    for name in [f"lib/{layer}" for layer in rules.layers] + list(rules.others):
        if name not in there:
            errors.append(f"{PAGE}, section \"Layers\": there is no {name}")
    return errors


def self_test():
    """A small tree without a mistake, and then each kind of mistake in it."""
    page = """## Layers
| lib/ | holds | may include |
| --- | --- | --- |
| base | status | – |
| http | TLS | base |
| guest | PID 1 | base |
| node | wiring | all but guest |

| cmd/, test/ | may include |
| --- | --- |
| cmd/kubelet | node |
| cmd/guest | guest |
| test/node | guest |
| test/support | base |

| headers | only in |
| --- | --- |
| `openssl/ssl`, `CLI/` | http, cmd/kubelet |
## Next
| not | ours |
"""
    good = {
        PAGE: page,
        "lib/base/a.h": "#include <string>\n",
        "lib/http/a.cc": '#include "base/a.h"\n#include <openssl/ssl.h>\n',
        "lib/guest/a.h": '#include "absl/status/status.h"\n',
        "lib/node/a.cc": '#include "http/a.h"\n',
        "cmd/kubelet/main.cc": '#include "flags.h"\n#include "node/a.h"\n#include <CLI/CLI.hpp>\n',
        "cmd/guest/main.cc": '#include "guest/a.h"\n',
        "test/http/a_test.cc": '#include "support/a.h"\n#include <openssl/ssl.h>\n',
        "test/node/a_test.cc": '#include "guest/a.h"\n#include "http/a.h"\n',
        "test/support/a.h": '#include "base/a.h"\n',
    }
    bad = [
        ({"lib/base/b.h": '#include "http/a.h"\n'}, "lib/base/b.h:1: lib/base may not include http"),
        ({"lib/node/b.cc": '\n#include "guest/a.h"\n'}, "lib/node/b.cc:2: lib/node may not include guest"),
        ({"lib/base/b.h": '#include "a.h"\n'}, "names no layer"),
        ({"lib/new/a.h": ""}, "lib/new is not in the tables"),
        ({"cmd/guest/main.cc": '#include "node/a.h"\n'}, "cmd/guest may not include node"),
        ({"cmd/new/main.cc": ""}, "cmd/new is not in the tables"),
        ({"test/http/b_test.cc": '#include "node/a.h"\n'}, "test/http may not include node"),
        ({"lib/node/b.cc": "#include <openssl/ssl.h>\n"}, "belongs behind cmd/kubelet, http"),
        ({"cmd/guest/main.cc": "#include <CLI/CLI.hpp>\n"}, "belongs behind cmd/kubelet, http"),
        ({PAGE: page.replace("| guest | PID 1 | base |\n", "")}, "lib/guest is not in the tables"),
        ({PAGE: page.replace("| cmd/kubelet |", "| old | gone | base |\n| cmd/kubelet |")}, "there is no old"),
        ({PAGE: page.replace("TLS | base", "TLS | node")}, 'no row above this one is called "node"'),
        ({PAGE: page.replace("## Layers", "## Levels")}, "has no table"),
    ]
    failed = []
    for change, want in [({}, "")] + bad:
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**good, **change}.items():
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            errors = check(pathlib.Path(root))
        if (errors and not want) or (want and not any(want in error for error in errors)):
            failed.append(f"expected {want!r} of {sorted(change)}, got {errors}")
    return failed


def main():
    args = sys.argv[1:]
    if args == ["--self-test"]:
        failed = self_test()
        for line in failed:
            print(f"layers.py: self-test: {line}", file=sys.stderr)
        return 1 if failed else 0
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
