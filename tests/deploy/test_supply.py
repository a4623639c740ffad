"""What tickcast is built from and checked with: pinned, hashed, licensed, judged by cargo-deny."""

import json
import os
import pathlib
import re
import subprocess
import tomllib
import unittest

from support import DEPLOY, REPOSITORY, Case, run

ADVISORY = """\
```toml
[advisory]
id = "RUSTSEC-2099-0001"
package = "{package}"
date = "2099-01-01"
url = "https://example.invalid/advisory"
categories = ["denial-of-service"]

[versions]
patched = [">= 99.0.0"]
```

# A made-up fault

For a test.
"""


def tracked():
    """The text files of the repository."""
    for name in run("git", "ls-files", cwd=REPOSITORY).splitlines():
        file = REPOSITORY / name
        if file.is_file() and not file.is_symlink():
            data = file.read_bytes()
            if b"\0" not in data[:4096]:
                yield name, data.decode(errors="replace")


class Pins(Case):
    def test_every_python_package_has_hashes_and_comes_from_its_list(self):
        lists = sorted([*REPOSITORY.glob("tests/*/requirements.txt"),
                        *DEPLOY.glob("*/requirements.txt"),
                        *REPOSITORY.glob("benches/requirements-*.txt")])
        self.assertEqual(len(lists), 7)
        for file in lists:
            text = file.read_text()
            pins = re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)[^\n]*\\\n"
                              r"((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text)
            lines = re.findall(r"(?m)^[A-Za-z0-9]\S+==", text)
            self.assertEqual(len(pins), len(lines), file)
            # Nothing but pins, their hashes and comments: no index, no folder of a machine.
            rest = [line for line in text.splitlines()
                    if not re.match(r"#|[A-Za-z0-9._-]+==|    --hash=sha256:", line)]
            self.assertEqual(rest, [], file)
            locked = {name.lower(): version for name, version, _ in pins}
            wanted = file.with_suffix(".in").read_text()
            for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)$", wanted):
                normal = re.sub(r"[-_.]+", "-", name).lower()
                self.assertEqual(locked[normal], version, file)

    def test_nothing_is_fetched_without_a_hash(self):
        seen = {"pip install": 0, "npm": 0, "cargo install": 0, "go install": 0}
        for file in [REPOSITORY / "Makefile", REPOSITORY / ".ci/run", *DEPLOY.glob("*.sh"),
                     *DEPLOY.glob("*/*.sh")]:
            text = file.read_text().replace("\\\n", " ")
            for line in text.splitlines():
                line = line.split("#")[0] if line.lstrip().startswith("#") else line
                if re.search(r"pip install", line):
                    self.assertIn("--require-hashes", line, file)
                    seen["pip install"] += 1
                if re.search(r"\bnpm (install|i|ci|exec)\b|\bnpx\b", line):
                    self.assertRegex(line, r"\bnpm ci\b.*--ignore-scripts", file)
                    seen["npm"] += 1
                if re.search(r"cargo install", line):
                    # In the function that has compared the hash of the source before.
                    self.assertIn("--locked", line)
                    before = text[:text.index(line)]
                    before = before[before.rindex("\ncrate() {"):]
                    self.assertIn('verify "$packed" "$sha256"', before)
                    seen["cargo install"] += 1
                if re.search(r'"\$go" install', line):
                    # No version on the command line: go.mod and go.sum decide.
                    self.assertNotIn("@", line)
                    seen["go install"] += 1
                self.assertNotRegex(line, r"\b(curl|wget)\b.*://(?!ADDRESS|127|\$)", file)
        self.assertEqual(seen, {"pip install": 2, "npm": 1, "cargo install": 1, "go install": 2})
        for folder in ("tools", "tools/kubernetes"):
            sums = (DEPLOY / folder / "go.sum").read_text()
            text = (DEPLOY / folder / "go.mod").read_text()
            replaced = dict(re.findall(r"(?m)^\s+(\S+) => \1 (v\S+)$", text))
            required = re.findall(r"(?m)^\s+(\S+) (v\S+)(?: // indirect)?$", text)
            self.assertGreater(len(required), 50)
            without = [module for module, version in required
                       if f"{module} {replaced.get(module, version)}" not in sums]
            self.assertEqual(without, [], folder)
        lock = json.loads((REPOSITORY / "tests/api/package-lock.json").read_text())
        packages = {name: each for name, each in lock["packages"].items() if name}
        self.assertGreaterEqual(len(packages), 3)
        for name, each in packages.items():
            self.assertTrue(each["integrity"].startswith("sha512-"), name)
            self.assertNotIn("resolved", each)

    def test_no_file_names_a_registry_host(self):
        # Cargo writes its own source into Cargo.lock, as a name and not as an address to fetch from.
        pattern = re.compile(r"(?i)\b(pypi\.org|pythonhosted\.org|registry\.npmjs\.org"
                             r"|proxy\.golang\.org|repo1?\.maven(\.apache)?\.org"
                             r"|static\.crates\.io|index\.crates\.io)\b")
        here = str(pathlib.Path(__file__).relative_to(REPOSITORY))
        seen = 0
        for name, text in tracked():
            seen += 1
            if name != here:
                self.assertIsNone(pattern.search(text), name)
        self.assertGreater(seen, 300)


class Crates(Case):
    """cargo-deny with deny.toml, and on purpose with a wrong one."""

    def deny(self, config, *arguments, **options):
        program = pathlib.Path(os.environ["TICKCAST_TOOLS"]) / "auditor/bin/cargo-deny"
        return subprocess.run([program, "--locked", "--offline", "--config", config, "check",
                               *arguments], cwd=REPOSITORY, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)

    def changed(self, name, old, new):
        text = (REPOSITORY / "deny.toml").read_text()
        self.assertIn(old, text)
        file = self.folder / f"{name}.toml"
        file.write_text(text.replace(old, new))
        return file

    def test_licenses_sources_and_bans_hold_and_a_wrong_one_does_not(self):
        for check in ("licenses", "sources", "bans"):
            done = self.deny(REPOSITORY / "deny.toml", check)
            self.assertEqual(done.returncode, 0, done.stdout)
        without = self.deny(self.changed("licenses", '    "MIT",\n', ""), "licenses")
        self.assertNotEqual(without.returncode, 0)
        self.assertIn("license is not explicitly allowed", without.stdout)
        banned = self.changed("bans", "[bans]\n", '[bans]\ndeny = ["tokio"]\n')
        self.assertNotEqual(self.deny(banned, "bans").returncode, 0)
        # The registry of the lock file is the only one that is allowed, and it is in use.
        nowhere = self.changed("sources", "[sources]\n", "[sources]\nallow-registry = []\n")
        self.assertNotEqual(self.deny(nowhere, "sources").returncode, 0)

    def audit(self, database, **variables):
        """Runs deploy/audit.sh with a database of ours, or with one that is not there."""
        home = self.folder / f"home-{database.name}"
        home.mkdir(exist_ok=True)
        real = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
        for part in ("registry", "config.toml", "git"):
            if (real / part).exists() and not (home / part).exists():
                (home / part).symlink_to(real / part)
        return subprocess.run(["bash", DEPLOY / "audit.sh"], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env={
            **os.environ, "CARGO_HOME": str(home), "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{database}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/RustSec/advisory-db", **variables,
        })

    def database(self, name, package=None):
        folder = self.folder / name
        crates = folder / "crates" / (package or "no-such-crate")
        crates.mkdir(parents=True)
        text = ADVISORY.format(package=package or "no-such-crate")
        (crates / "RUSTSEC-2099-0001.md").write_text(text)
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.invalid", "-C", folder]
        run(*git, "init", "--quiet", "--initial-branch=main")
        run(*git, "add", ".")
        run(*git, "commit", "--quiet", "--message=advisories")
        return folder

    def test_known_vulnerabilities_fail_and_a_missing_database_is_said(self):
        harmless = self.audit(self.database("harmless"))
        self.assertEqual(harmless.returncode, 0, harmless.stdout)
        self.assertIn("advisories ok", harmless.stdout)
        self.assertIn("licenses ok", harmless.stdout)
        vulnerable = self.audit(self.database("vulnerable", "tokio"))
        self.assertNotEqual(vulnerable.returncode, 0)
        self.assertIn("RUSTSEC-2099-0001", vulnerable.stdout)

        nowhere = self.folder / "nowhere"
        missing = self.audit(nowhere)
        self.assertEqual(missing.returncode, 0, missing.stdout)
        self.assertRegex(missing.stdout, r"(?m)^advisories NOT CHECKED: the database could not be "
                                         r"fetched: \S+")
        required = self.audit(nowhere, TICKCAST_ADVISORIES="required")
        self.assertEqual(required.returncode, 1)


class Texts(Case):
    def test_the_package_says_what_it_is_and_under_which_license(self):
        package = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["package"]
        self.assertEqual(package["license"], "MIT OR Apache-2.0")
        self.assertLessEqual(len(package["keywords"]), 5)
        self.assertTrue(package["categories"])
        self.assertTrue((REPOSITORY / package["readme"]).exists())
        # There is no public address of the source, so none is made up.
        self.assertFalse({"repository", "homepage"} & set(package))
        self.assertIn("Permission is hereby granted", (REPOSITORY / "LICENSE-MIT").read_text())
        apache = (REPOSITORY / "LICENSE-APACHE").read_text()
        self.assertIn("Version 2.0, January 2004", apache)
        self.assertIn("END OF TERMS AND CONDITIONS", apache)
        for name in ("SECURITY.md", "CONTRIBUTING.md"):
            text = (REPOSITORY / name).read_text()
            for link in re.findall(r"\]\(([^)#]+)", text):
                self.assertTrue((REPOSITORY / link).exists(), f"{name}: {link}")
        # Targets that the text names are there.
        makefile = (REPOSITORY / "Makefile").read_text()
        for target in re.findall(r"`make ([a-z-]+)`", (REPOSITORY / "CONTRIBUTING.md").read_text()):
            self.assertRegex(makefile, rf"(?m)^{target}:")


if __name__ == "__main__":
    unittest.main()
