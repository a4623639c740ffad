"""The Debian package: what is in it, that its paths and links lead somewhere, and that its binary
runs.

Packed from the binary that the other tests use; `make deb` packs a release build in the same way.
"""

import gzip
import json
import os
import re
import subprocess
import unittest
import urllib.parse

from support import DEPLOY, REPOSITORY, Case, run

FILES = """
    usr/bin/tickcast usr/lib/tickcast/libonnxruntime.so usr/lib/systemd/system/tickcast.service
    usr/lib/sysusers.d/tickcast.conf etc/tickcast/tickcast.toml
    usr/share/tickcast/prometheus/alerts.rules.yml usr/share/tickcast/prometheus/recording.rules.yml
    usr/share/tickcast/grafana/overview.json usr/share/man/man1/tickcast.1.gz
    usr/share/bash-completion/completions/tickcast usr/share/zsh/vendor-completions/_tickcast
    usr/share/fish/vendor_completions.d/tickcast.fish
""".split()
DOCUMENTS = """
    README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE-MIT LICENSE-APACHE
    copyright third-party-licenses.txt.gz onnxruntime-third-party-notices.txt.gz tickcast.cdx.json
    docs/operating.md docs/metrics.md docs/adr/0001-layers-and-seams.md docs/api/openapi.json
    config/default.toml config/venues/binance.toml config/train/aapl.toml
    examples/subscribe.py examples/subscribe.mjs examples/subscribe.rs
""".split()
DOC = "usr/share/doc/tickcast"


class Package(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.package = run("bash", DEPLOY / "debian/build.sh", "dev").split()[-1]
        cls.root = cls.folder / "root"
        run("dpkg-deb", "--extract", cls.package, cls.root)

    def test_it_holds_what_the_unit_needs_and_its_binary_runs(self):
        package, root = self.package, self.root
        fields = run("dpkg-deb", "--field", package)
        version = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]
        self.assertIn(f"Version: {version}-1\n", fields)
        for needed in ("libc6", "libssl3", "systemd"):
            self.assertRegex(fields, rf"Depends:.*\b{needed}\b")

        # Nothing is there twice, nothing outside of root's hands, nothing set-uid.
        contents = run("dpkg-deb", "--contents", package)
        listed = [line.split(None, 5) for line in contents.splitlines()]
        paths = [entry[5].removeprefix("./") for entry in listed]
        self.assertEqual(len(paths), len(set(paths)))
        for mode, owner, *_ in listed:
            self.assertRegex(mode, r"^[-d]rw[-x]r-[-x](r-[-x]|---)$")
            self.assertEqual(owner, "0/0")
        models = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("models/*/*/*")}
        self.assertGreaterEqual(len(models), 12)
        wanted = {*FILES, *(f"usr/share/tickcast/{path}" for path in models),
                  *(f"{DOC}/{name}" for name in DOCUMENTS)}
        self.assertEqual(wanted - set(paths), set())

        control = self.folder / "control"
        run("dpkg-deb", "--control", package, control)
        self.assertEqual((control / "conffiles").read_text(), "/etc/tickcast/tickcast.toml\n")
        for script in ("postinst", "prerm", "postrm"):
            run("sh", "-n", control / script)
        self.assertIn("systemd-sysusers", (control / "postinst").read_text())

        unit = (root / "usr/lib/systemd/system/tickcast.service").read_text()
        for path in re.findall(r"^Exec\w+=(/\S+) \S+ -c (/\S+)", unit, re.M):
            for each in path:
                self.assertTrue((root / each.lstrip("/")).exists(), each)
        # The files that the unit and the settings send the reader to.
        for text in (unit, (root / "etc/tickcast/tickcast.toml").read_text()):
            named = re.findall(r"/usr/share/doc/tickcast/[\w./-]+\w", text)
            self.assertTrue(named)
            for each in named:
                self.assertTrue((root / each.lstrip("/")).exists(), each)
        # The user is made by systemd's own tool, in the unpacked root alone.
        run("systemd-sysusers", f"--root={root}", "tickcast.conf")
        self.assertRegex((root / "etc/passwd").read_text(), r"(?m)^tickcast:x:\d+:.*nologin$")

        binary = root / "usr/bin/tickcast"
        self.assertEqual(run(binary, "--version"), f"tickcast {version}\n")
        # The shipped configuration as it is, but for where the root lies.
        config = root / "etc/tickcast/tickcast.toml"
        config.write_text(config.read_text().replace('"/usr/', f'"{root}/usr/'))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
        said = run(binary, "check", "-c", config, env=clean)
        self.assertRegex(said, r"(?m)^model +aapl-daily 1$")
        self.assertRegex(said, r"(?m)^golden +\d+ cases pass$")
        broken = config.with_name("broken.toml")
        broken.write_text(config.read_text() + "\n[sourcee]\n")
        refused = subprocess.run([binary, "check", "-c", broken], stderr=subprocess.DEVNULL)
        self.assertEqual(refused.returncode, 78)

    def test_every_link_of_its_pages_leads_to_a_file_of_the_package(self):
        seen = 0
        for page in sorted((self.root / DOC).rglob("*.md")):
            for link in re.findall(r"\]\(([^()\s]+)\)", page.read_text()):
                if re.match(r"[a-z]+:", link):
                    continue
                path, _, heading = urllib.parse.unquote(link).partition("#")
                target = (page.parent / path).resolve() if path else page
                with self.subTest(page=page.name, link=link):
                    self.assertTrue(target.exists(), target)
                    self.assertTrue(target.is_relative_to(self.root))
                    if heading and target.suffix == ".md":
                        self.assertIn(heading, headings(target))
                seen += 1
        self.assertGreater(seen, 100)

    def test_its_manual_and_completions_know_every_command(self):
        binary = self.root / "usr/bin/tickcast"
        listed = run(binary, "--help").split("Commands:\n")[1].split("\n\n")[0]
        commands = set(re.findall(r"(?m)^  ([a-z]+) ", listed)) - {"help"}
        self.assertGreater(len(commands), 8)
        manual = gzip.open(self.root / "usr/share/man/man1/tickcast.1.gz", "rt").read()
        self.assertRegex(manual, r"(?m)^\.TH tickcast 1")
        completions = {
            "bash": self.root / "usr/share/bash-completion/completions/tickcast",
            "zsh": self.root / "usr/share/zsh/vendor-completions/_tickcast",
            "fish": self.root / "usr/share/fish/vendor_completions.d/tickcast.fish",
        }
        for command in commands:
            self.assertIn(f'.SH "TICKCAST {command.upper()}"', manual)
            for shell, file in completions.items():
                self.assertRegex(file.read_text(), rf"\b{command}\b", shell)
        run("bash", "-n", completions["bash"])
        said = run("bash", "-c", f"source {completions['bash']}; COMP_WORDS=(tickcast ser); "
                   "COMP_CWORD=1; _tickcast tickcast ser tickcast; echo ${COMPREPLY[*]}")
        self.assertEqual(said, "serve\n")

    def test_it_has_the_license_of_everything_in_it(self):
        doc = self.root / DOC
        copyright = (doc / "copyright").read_text()
        paragraphs = [fields(each) for each in copyright.strip().split("\n\n")]
        self.assertTrue(paragraphs[0]["Format"].endswith("/copyright-format/1.0/"))
        files = {each["Files"]: each["License"] for each in paragraphs if "Files" in each}
        self.assertEqual(files, {"*": "MIT or Apache-2.0",
                                 "usr/lib/tickcast/libonnxruntime.so": "MIT"})
        texts = {each["License"].split("\n")[0]: len(each["License"]) for each in paragraphs
                 if "License" in each and "Files" not in each}
        self.assertEqual(set(texts), {"MIT", "Apache-2.0"})
        self.assertGreater(texts["MIT"], 900)
        self.assertEqual(copyright, (DEPLOY / "debian/copyright").read_text())
        for name in ("LICENSE-MIT", "LICENSE-APACHE"):
            self.assertEqual((doc / name).read_text(), (REPOSITORY / name).read_text())

        # Every crate that the list of parts has is there with its license, and the other way round.
        listed = gzip.open(doc / "third-party-licenses.txt.gz", "rt").read()
        crates = set(re.findall(r"(?m)^([\w-]+ \d+\.\d+\.\d+\S*): \S", listed.split("\n---")[0]))
        self.assertGreater(len(crates), 100)
        for name in ("serde ", "rdkafka-sys ", "rustls "):
            self.assertTrue(any(each.startswith(name) for each in crates), name)
        bom = json.loads((doc / "tickcast.cdx.json").read_text())
        parts = {f"{each['name']} {each['version']}": each for each in bom["components"]}
        onnxruntime = parts.pop(next(name for name in parts if name.startswith("onnxruntime ")))
        self.assertEqual(crates, set(parts))
        for name, part in parts.items():
            self.assertTrue(part["licenses"], name)
            self.assertTrue(part["purl"].startswith("pkg:cargo/"), name)
        # The library is the one that is packed, and nothing tells where or when it was packed.
        sha256 = run("sha256sum", self.root / "usr/lib/tickcast/libonnxruntime.so").split()[0]
        self.assertEqual(onnxruntime["hashes"], [{"alg": "SHA-256", "content": sha256}])
        self.assertEqual(onnxruntime["version"],
                         re.search(r"(?m)^onnxruntime_version=(.*)$",
                                   (DEPLOY / "setup.sh").read_text())[1])
        text = (doc / "tickcast.cdx.json").read_text()
        self.assertNotIn(str(REPOSITORY), text)
        self.assertNotIn("timestamp", text)
        notices = gzip.open(doc / "onnxruntime-third-party-notices.txt.gz", "rt").read()
        self.assertIn("THIRD PARTY", notices.upper())

    def test_the_source_package_has_all_that_a_build_needs(self):
        listed = run("cargo", "package", "--list", "--allow-dirty", "--locked", "--offline",
                     cwd=REPOSITORY).split()
        for name in ("Cargo.lock", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "src/main.rs",
                     "config/default.toml", "config/venues/binance.toml", "benches/parts.rs"):
            self.assertIn(name, listed)
        without = re.compile(r"(deploy|models|tests|\.ci)/")
        self.assertEqual([name for name in listed if without.match(name)], [])
        included = set()
        for file in REPOSITORY.glob("src/**/*.rs"):
            for path in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', file.read_text()):
                included.add(str((file.parent / path).resolve().relative_to(REPOSITORY)))
        # Unit tests alone read these.
        included = {path for path in included if not path.startswith("tests/")}
        self.assertGreater(len(included), 5)
        self.assertEqual(included - set(listed), set())


def fields(paragraph):
    """The fields of a paragraph of a control file."""
    return {name: value.strip() for name, value in
            re.findall(r"(?m)^([\w-]+):((?:.|\n )*)", paragraph)}


def headings(page):
    """The anchors of a page, as they are made of its headings."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"(?m)^#+ (.*?) *$", text)}


if __name__ == "__main__":
    unittest.main()
