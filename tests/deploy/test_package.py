"""The Debian package: what is in it, that the unit's paths are there, and that its binary runs.

Packed from the binary that the other tests use; `make deb` packs a release build in the same way.
"""

import os
import re
import subprocess
import unittest

from support import DEPLOY, REPOSITORY, Case, run

FILES = """
    usr/bin/tickcast usr/lib/tickcast/libonnxruntime.so usr/lib/systemd/system/tickcast.service
    usr/lib/sysusers.d/tickcast.conf etc/tickcast/tickcast.toml
    usr/share/tickcast/prometheus/alerts.rules.yml usr/share/tickcast/prometheus/recording.rules.yml
    usr/share/tickcast/grafana/overview.json usr/share/doc/tickcast/operating.md
    usr/share/doc/tickcast/metrics.md usr/share/doc/tickcast/default.toml
""".split()


class Package(Case):
    def test_it_holds_what_the_unit_needs_and_its_binary_runs(self):
        package = run("bash", DEPLOY / "debian/build.sh", "dev").split()[-1]
        fields = run("dpkg-deb", "--field", package)
        version = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]
        self.assertIn(f"Version: {version}-1\n", fields)
        for needed in ("libc6", "libssl3", "systemd"):
            self.assertRegex(fields, rf"Depends:.*\b{needed}\b")

        # Nothing is there twice, nothing outside of root's hands, nothing set-uid.
        listed = [line.split(None, 5) for line in run("dpkg-deb", "--contents", package).splitlines()]
        paths = [entry[5].removeprefix("./") for entry in listed]
        self.assertEqual(len(paths), len(set(paths)))
        for mode, owner, *_ in listed:
            self.assertRegex(mode, r"^[-d]rw[-x]r-[-x](r-[-x]|---)$")
            self.assertEqual(owner, "0/0")
        models = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("models/*/*/*")}
        self.assertGreaterEqual(len(models), 12)
        wanted = {*FILES, *(f"usr/share/tickcast/{path}" for path in models)}
        self.assertEqual(wanted - set(paths), set())

        control = self.folder / "control"
        run("dpkg-deb", "--control", package, control)
        self.assertEqual((control / "conffiles").read_text(), "/etc/tickcast/tickcast.toml\n")
        for script in ("postinst", "prerm", "postrm"):
            run("sh", "-n", control / script)
        self.assertIn("systemd-sysusers", (control / "postinst").read_text())

        root = self.folder / "root"
        run("dpkg-deb", "--extract", package, root)
        unit = (root / "usr/lib/systemd/system/tickcast.service").read_text()
        for path in re.findall(r"^Exec\w+=(/\S+) \S+ -c (/\S+)", unit, re.M):
            for each in path:
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


if __name__ == "__main__":
    unittest.main()
