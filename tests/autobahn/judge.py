#!/usr/bin/env python3
"""Has the Autobahn test suite judge the program's WebSocket server and client.

The suite runs on CPython 2.7 alone. This script fetches that interpreter from the Debian release
that last had it, through the mirror that this machine uses, and the suite with its dependencies
through pip. Each file is checked against the hash that is committed beside this script, and
nothing is installed: everything lies in one folder of the cache.

Usage: judge.py ECHO [--report FILE]

ECHO is the example `echo`, built with the feature of that name. The report is a table in Markdown.
The exit status is 1 if a case fails, or if fewer cases ran than the groups hold.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("TICKCAST_CACHE", HERE.parents[1] / ".cache"), "autobahn")
RELEASE = "bullseye"
GROUPS = ["1", "2", "3", "4", "5", "6", "7", "9", "10"]
TITLES = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8 handling",
    "7": "Close handling",
    "9": "Limits and performance",
    "10": "Miscellaneous",
}
# Cases of these groups in version 0.8.2 of the suite.
CASES = 301
FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}
START_SECONDS_MAX = 60
RUN_SECONDS_MAX = 1800


def run(*command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


def mirror():
    """The address that this machine fetches Debian packages from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    )
    for line in listed.stdout.splitlines():
        origin, label, address = line.split("|")
        if (origin, label) == ("Debian", "Debian"):
            return address
    sys.exit("judge: apt-get knows no mirror of Debian, so CPython 2.7 cannot be fetched")


def fetch_interpreter(folder):
    """Unpacks CPython 2.7 into a folder."""
    packages = dict(reversed(line.split()) for line in lines("packages.sha256"))
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        work = pathlib.Path(work)
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        (work / "sources").write_text(f"deb [signed-by={keyring}] {mirror()} {RELEASE} main\n")
        (work / "status").touch()
        settings = {
            "Dir::Etc::SourceList": work / "sources",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State": work,
            "Dir::State::Status": work / "status",
            "Dir::Cache": work,
            "APT::Sandbox::User": "",
            "APT::Architecture": "amd64",
            "Acquire::Languages": "none",
        }
        apt = ["apt-get", "-qq"]
        for name, value in settings.items():
            apt += ["-o", f"{name}={value}"]
        (work / "lists" / "partial").mkdir(parents=True)
        run(*apt, "update")
        names = [package.split("_")[0] for package in packages]
        run(*apt, "download", *names, cwd=work)
        check = "".join(f"{digest}  {name}\n" for name, digest in packages.items())
        run("sha256sum", "--check", "--quiet", "--strict", cwd=work, input=check.encode())
        for name in packages:
            run("dpkg-deb", "-x", work / name, folder)


def fetch_suite(folder):
    """Unpacks the suite and what it imports into a folder."""
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-deps", "--require-hashes", "--dest", work]
        platform = ["--python-version", "27", "--implementation", "cp", "--abi", "cp27mu"]
        platform += ["--platform", "manylinux2010_x86_64", "--platform", "manylinux1_x86_64"]
        run(*pip, *platform, "--only-binary", ":all:", "-r", HERE / "wheels.txt")
        run(*pip, "--no-binary", ":all:", "-r", HERE / "sources.txt")
        folder.mkdir(parents=True)
        for wheel in pathlib.Path(work).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        for archive in pathlib.Path(work).glob("*.tar.*"):
            unpacked = pathlib.Path(work, "unpacked")
            tarfile.open(archive).extractall(unpacked, filter="data")
        for place in ["Twisted-*/src/twisted", "autobahn-*/autobahn", "txaio-*/txaio",
                      "autobahntestsuite-*/autobahntestsuite"]:
            [found] = pathlib.Path(work, "unpacked").glob(place)
            found.rename(folder / found.name)
    # Wheels of that age leave this to the installer.
    (folder / "zope" / "__init__.py").touch()


def lines(name):
    return (HERE / name).read_text().splitlines()


def suite():
    """The command that runs the suite, fetched if it is not there."""
    ready = CACHE / "ready"
    wanted = "".join((HERE / name).read_text() for name in ["packages.sha256", "wheels.txt", "sources.txt"])
    if not ready.exists() or ready.read_text() != wanted:
        run("rm", "-rf", CACHE)
        CACHE.mkdir(parents=True)
        print("fetching CPython 2.7 and the Autobahn test suite", flush=True)
        fetch_interpreter(CACHE / "python")
        fetch_suite(CACHE / "site")
        ready.write_text(wanted)
    environment = os.environ | {
        "PYTHONHOME": str(CACHE / "python/usr"),
        "PYTHONPATH": str(CACHE / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
    }
    start = "import sys; sys.argv[0] = 'wstest'; from autobahntestsuite.wstest import run; run()"
    return [str(CACHE / "python/usr/bin/python2.7"), "-c", start], environment


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_listener(port, process):
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"judge: the server ended with status {process.returncode} before it listened")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"judge: nothing listens on port {port} after {START_SECONDS_MAX} s")


def specification(work, **more):
    cases = {"cases": [f"{group}.*" for group in GROUPS], "exclude-cases": []}
    path = work / "specification.json"
    path.write_text(json.dumps({"outdir": str(work), "exclude-agent-cases": {}, **cases, **more}))
    return path


def judge_server(echo, work):
    """What the suite's client finds about the server."""
    server = subprocess.Popen([echo, "server", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+)$", server.stdout.readline())[1])
        servers = [{"agent": "tickcast", "url": f"ws://127.0.0.1:{port}"}]
        command, environment = suite()
        spec = specification(work, servers=servers)
        outcome = subprocess.run([*command, "-m", "fuzzingclient", "-s", str(spec)], env=environment,
                                 capture_output=True, text=True, timeout=RUN_SECONDS_MAX)
        if outcome.returncode != 0:
            sys.exit(f"judge: the suite ended with status {outcome.returncode}: {outcome.stderr[-2000:]}")
    finally:
        server.kill()
        server.wait()
    return json.loads((work / "index.json").read_text())["tickcast"]


def judge_client(echo, work):
    """What the suite's server finds about the client."""
    port = free_port()
    command, environment = suite()
    spec = specification(work, url=f"ws://127.0.0.1:{port}")
    with (work / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "-m", "fuzzingserver", "-u", "0", "-s", str(spec)],
            env=environment, stdout=log, stderr=log,
        )
    try:
        await_listener(port, server)
        run(echo, "client", f"ws://127.0.0.1:{port}", "tickcast", timeout=RUN_SECONDS_MAX)
    finally:
        server.kill()
        server.wait()
    return json.loads((work / "index.json").read_text())["tickcast"]


def counts(cases):
    """By group, how many cases ended how."""
    groups = {group: collections.Counter() for group in GROUPS}
    for case, result in cases.items():
        verdict = result["behavior"]
        if verdict in FINE and result["behaviorClose"] not in FINE:
            verdict = "FAILED"
        groups[case.split(".")[0]][verdict if verdict in FINE else "FAILED"] += 1
    return groups


def table(title, groups):
    rows = [f"### {title}", "", "| group | cases | ok | non-strict | informational | failed |",
            "|---|---|---|---|---|---|"]
    total = collections.Counter()
    for group, count in groups.items():
        total.update(count)
        rows.append(row(f"{group} {TITLES[group]}", count))
    rows.append(row("all", total))
    return rows, total


def row(name, count):
    figures = [count["OK"], count["NON-STRICT"], count["INFORMATIONAL"], count["FAILED"]]
    return f"| {name} | {count.total()} | " + " | ".join(map(str, figures)) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("echo", type=pathlib.Path)
    parser.add_argument("--report", type=pathlib.Path)
    options = parser.parse_args()
    echo = options.echo.resolve()
    report, failed = [], False
    for title, judge in [("Server: `/v1/stream`", judge_server), ("Client: `source.kind = \"websocket\"`", judge_client)]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            cases = judge(echo, pathlib.Path(work))
        rows, total = table(title, counts(cases))
        report += [*rows, ""]
        print("\n".join(rows), f"\n\n{time.monotonic() - began:.0f} s\n", flush=True)
        for case, result in cases.items():
            if (result["behavior"], result["behaviorClose"]) != ("OK", "OK"):
                print(f"case {case}: {result['behavior']}, close {result['behaviorClose']}")
        failed |= total["FAILED"] > 0 or total.total() != CASES
    if options.report:
        options.report.write_text("\n".join(report))
    sys.exit(failed)


if __name__ == "__main__":
    main()
