"""The licenses of the crates that the daemon is linked from, with their texts, on standard output.

    python3 deploy/debian/notices.py FEATURES

It takes what cargo resolves for this machine without tests and build scripts, and each text once.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys


def metadata(features):
    host = re.search(r"(?m)^host: (.*)$", subprocess.check_output(["rustc", "-vV"], text=True))[1]
    return json.loads(subprocess.check_output([
        "cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={host}",
        "--no-default-features", f"--features={features}",
    ]))


def linked(data):
    """The packages that are linked in: what is reached from ours by normal dependencies."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    reached, left = set(), [data["resolve"]["root"]]
    while left:
        node = left.pop()
        if node not in reached:
            reached.add(node)
            left += [each["pkg"] for each in nodes[node]["deps"]
                     if any(kind["kind"] is None for kind in each["dep_kinds"])]
    reached.remove(data["resolve"]["root"])
    return [package for package in data["packages"] if package["id"] in reached]


def texts(package):
    """Also those of the C libraries that some crates bring along."""
    folder = pathlib.Path(package["manifest_path"]).parent
    return [file.read_text(errors="replace").strip() for file in sorted(folder.rglob("*"))
            if re.match(r"(?i)(un)?(licen[sc]es?|copying|notice)\b", file.name)
            and file.suffix in {"", ".md", ".txt"} and file.is_file()]


def main():
    packages = linked(metadata(sys.argv[1]))
    shared = collections.defaultdict(list)
    print(f"The {len(packages)} crates that tickcast is linked from\n")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        license = package["license"] or f"in {package['license_file']}"
        print(f"{name}: {license}; {', '.join(package['authors']) or 'authors in its text'}")
        for text in texts(package):
            shared[text].append(name)
    for text, names in shared.items():
        print(f"\n{'-' * 99}\n{', '.join(names)}\n\n{text}")


if __name__ == "__main__":
    main()
