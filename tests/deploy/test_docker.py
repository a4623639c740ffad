"""The image's recipe and the composition: by their linter and schema, and against each other.

No container engine is at hand, so neither is built or started here.
"""

import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import compose_spec
import yaml

from support import DEPLOY, REPOSITORY, Case, Feed, check_settings, messages, run

FOLDER = DEPLOY / "docker"
DOCKERFILE = FOLDER / "Dockerfile"


def copies():
    """What is copied from the context, as (source, target); the last stage's alone with False."""
    stages = re.split(r"(?m)^FROM ", DOCKERFILE.read_text())[1:]
    for index, stage in enumerate(stages):
        for words in re.findall(r"(?m)^COPY (?!--from)(.+)$", stage):
            *sources, target = words.split()
            for source in sources:
                yield index == 0, source, target


class Image(Case):
    def test_the_recipe_passes_its_linter(self):
        hadolint = os.path.join(os.environ["TICKCAST_TOOLS"], "python/bin/hadolint")
        self.assertEqual(run(hadolint, "--failure-threshold=style", DOCKERFILE), "")
        bad = self.folder / "Dockerfile"
        bad.write_text(DOCKERFILE.read_text().replace("debian:12.11-slim", "debian:latest"))
        refused = subprocess.run([hadolint, bad], stdout=subprocess.PIPE, text=True)
        self.assertIn("DL3007", refused.stdout)

    def test_every_base_has_a_version_and_the_end_is_no_root(self):
        text = DOCKERFILE.read_text()
        bases = re.findall(r"(?m)^FROM (\S+)", text)
        self.assertEqual(len(bases), 2)
        for base in bases:
            self.assertRegex(base, r"^[a-z]+:\d+\.\d+[.\w-]*$")
        users = re.findall(r"(?m)^USER (\S+)", text)
        self.assertRegex(users[-1], r"^[1-9]\d*:[1-9]\d*$")
        rust = re.search(r'^rust-version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]
        wanted, given = (tuple(map(int, version.split(".")[:2]))
                         for version in (rust, bases[0].split(":")[1].split("-")[0]))
        self.assertGreaterEqual(given, wanted)

    def test_what_is_copied_is_there_and_not_ignored_and_cargo_finds_all_it_needs(self):
        ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
        kept = [line[1:] for line in ignored if line.startswith("!")]
        context = self.folder / "context"
        seen = 0
        for builds, source, target in copies():
            self.assertTrue((REPOSITORY / source).exists(), source)
            self.assertTrue(any(fnmatch.fnmatch(source, pattern) for pattern in kept), source)
            seen += 1
            if builds:
                place = context / target / (os.path.basename(source) if target.endswith("/") or
                                            target == "./" else "")
                if (REPOSITORY / source).is_dir():
                    shutil.copytree(REPOSITORY / source, context / target)
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(REPOSITORY / source, place)
        self.assertGreaterEqual(seen, 8)
        # Every target that Cargo.toml names must be in the context, or the build stops at once.
        said = run("cargo", "metadata", "--offline", "--locked", "--no-deps", "--format-version=1",
                   "--manifest-path", context / "Cargo.toml")
        self.assertIn('"name":"tickcast"', said)
        run("bash", "-n", context / "deploy/setup.sh")


class Composition(Case):
    def test_it_meets_its_schema_and_its_files_are_there(self):
        text = (FOLDER / "compose.yaml").read_text()
        parsed = compose_spec.PyCompose.from_yaml(text)
        self.assertEqual(set(parsed.service_names()),
                         {"kafka", "tickcast", "feed-topic", "feed", "prometheus", "grafana"})
        with self.assertRaises(Exception):
            compose_spec.PyCompose.from_yaml(text.replace("    read_only:", "    readonly:"))
        composition = yaml.safe_load(text)
        services, volumes = composition["services"], composition["volumes"]
        for name, service in services.items():
            self.assertRegex(service["image"], r"^[a-z/]+:v?\d+\.\d+\.\d+$")
            for mount in service.get("volumes", []):
                source = mount.split(":")[0]
                # The recordings come with `make setup`.
                there = source in volumes or (FOLDER / source).exists() or ".cache" in source
                self.assertTrue(there, f"{name}: {source}")
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")
            for other in service.get("depends_on", {}):
                self.assertIn(other, services)

    def test_its_parts_speak_of_each_other_by_name(self):
        services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
        settings = (FOLDER / "tickcast.toml").read_text()
        advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        broker = advertised.removeprefix("PLAINTEXT://")
        self.assertIn(f'brokers = "{broker}"', settings)
        self.assertIn(f"--bootstrap-server={broker}", services["feed-topic"]["command"])
        check_settings(self, "compose", settings, {})

        # Prometheus with the rules where the composition mounts them.
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        [pattern] = config["rule_files"]
        self.assertIn(f"../prometheus:{os.path.dirname(pattern)}:ro",
                      services["prometheus"]["volumes"])
        config["rule_files"] = [str(DEPLOY / "prometheus" / os.path.basename(pattern))]
        copy = self.folder / "prometheus.yml"
        copy.write_text(yaml.safe_dump(config))
        self.assertIn("2 rule files found", run("promtool", "check", "config", copy))
        [scrape] = config["scrape_configs"]
        self.assertEqual(scrape["static_configs"], [{"targets": ["tickcast:9630"]}])

        # Grafana with its data source and dashboards where the provisioning looks for them.
        provisioning = DEPLOY / "grafana/provisioning"
        [provider] = yaml.safe_load(
            (provisioning / "dashboards/tickcast.yml").read_text())["providers"]
        mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
        self.assertEqual(mounts["../grafana/dashboards"], provider["options"]["path"])
        self.assertEqual(mounts["../grafana/provisioning"], "/etc/grafana/provisioning")
        [source] = yaml.safe_load(
            (provisioning / "datasources/tickcast.yml").read_text())["datasources"]
        variable = source["url"].strip("${}")
        self.assertEqual(services["grafana"]["environment"][variable], "http://prometheus:9090")
        home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertTrue((DEPLOY / "grafana/dashboards" / os.path.basename(home)).exists())

    def test_the_broker_is_the_tested_one_and_keeps_its_data_in_the_volume(self):
        composition = yaml.safe_load((FOLDER / "compose.yaml").read_text())
        services, volumes = composition["services"], composition["volumes"]
        version = re.search(r"(?m)^kafka_version=(.*)$", (DEPLOY / "setup.sh").read_text())[1]
        images = [service["image"] for service in services.values()]
        brokers = [image for image in images if image.startswith("apache/kafka:")]
        self.assertEqual(brokers, [f"apache/kafka:{version}"] * 2)
        daemons = {image for image in images if image.startswith("tickcast:")}
        cargo = (REPOSITORY / "Cargo.toml").read_text()
        self.assertEqual(daemons, {f"tickcast:{re.search(r'(?m)^version = .(.*).$', cargo)[1]}"})
        pom = (REPOSITORY / "tests/kafka/pom.xml").read_text()
        self.assertIn(f"<version>{version}</version>", pom)

        # The image makes the setting a.b of KAFKA_A_B. Without log.dirs the broker writes to /tmp.
        kafka = services["kafka"]
        written = {name.removeprefix("KAFKA_").lower().replace("_", "."): value
                   for name, value in kafka["environment"].items() if name.startswith("KAFKA_")}
        folders = written.get("log.dirs", "/tmp/kafka-logs").split(",")
        folders.append(written.get("metadata.log.dir", folders[0]))
        kept = [mount.split(":")[1] for mount in kafka["volumes"] if mount.split(":")[0] in volumes]
        for folder in folders:
            self.assertTrue(any(pathlib.PurePosixPath(folder).is_relative_to(mount)
                                for mount in kept), f"{folder} is in none of {kept}")

    def test_the_demo_feeds_the_prices_that_the_model_learned_on(self):
        services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
        options = dict(option.removeprefix("--").split("=", 1)
                       for option in services["feed"]["command"][1:])
        learned = (REPOSITORY / "config/train/aapl.toml").read_text()
        self.assertEqual(options["columns"], re.search(r'(?m)^columns = "(.*)"$', learned)[1])

        # A day of a split: the raw price falls by half, the adjusted one does not.
        recording = self.folder / "stocks.csv"
        recording.write_text("Ticker,Date,Open,High,Low,Close,Volume,Adj Close\n"
                             "AAPL,2005-02-25,89.6,89.9,88.2,88.99,32696400,43.16\n"
                             "AAPL,2005-02-28,44.7,45.1,44.1,44.86,23271800,43.51\n")
        feed = Feed(self, "feed", recording, f"--columns={options['columns']}",
                    f"--rate={options['rate']}")
        closes = [json.loads(message)["close"] for message in messages(feed.url, 2)]
        self.assertEqual(closes, [43.16, 43.51])


if __name__ == "__main__":
    unittest.main()
