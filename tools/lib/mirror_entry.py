"""Prints one line of a source list: a suite on the mirror that serves this machine's own Debian, which its apt configuration names.

usage: mirror_entry.py OWN SUITE deb|deb-src      OWN: the codename of this machine's release
"""
import glob
import re
import sys


def mirror_of(codename):
    """The mirror's address, and the file with its key or nothing."""
    for name in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", open(name, encoding="utf-8").read()):
            fields = {}
            for line in stanza.splitlines():
                if match := re.match(r"([A-Za-z-]+):\s*(.*)", line):
                    fields[match[1].lower()] = match[2]
            if codename in fields.get("suites", "").split() and "deb" in fields.get("types", "deb").split():
                key = fields.get("signed-by", "")
                return fields["uris"].split()[0], key if key.startswith("/") else ""
    for name in ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*.list")):
        try:
            lines = open(name, encoding="utf-8").read().splitlines()
        except OSError:
            continue
        for line in lines:
            match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s", line + " ")
            if match and match[3] == codename:
                key = re.search(r"signed-by=(\S+)", match[1] or "")
                return match[2], key[1] if key else ""
    return None


own, suite, kind = sys.argv[1:4]
found = mirror_of(own)
if found is None:
    sys.exit(f"no apt entry for {own} found, so its mirror is unknown; install {suite}'s packages by hand (docs/building.md)")
uri, key = found
print(f"{kind}{f' [signed-by={key}]' if key else ''} {uri} {suite} main")
