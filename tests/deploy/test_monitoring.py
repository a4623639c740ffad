"""Dashboards and rules against a real Prometheus that scrapes real daemons on real feeds.

First everything is well: every query of every panel and every recording rule gives data, and no
alert fires. Then one fault after the other is made, and the alerts that are for it must fire. The
rules are those of deploy/prometheus with their durations shortened: minutes are seconds.
"""

import base64
import json
import os
import re
import shutil
import signal
import socket
import threading
import unittest
import urllib.error
import urllib.request

from support import (
    BINARY, DEPLOY, BreakingFeed, Broker, Case, Daemon, Feed, Pipe, Prometheus, await_condition,
    free_port, run, write_recording,
)

# Queries of panels that are empty while all is well, with the reason.
EXPECTED_EMPTIES = {
    "tickcast_ticks_refused_total": "shows reasons that occur, and a good feed gives none",
    "tickcast_blend_weight": "shows what the experts of a blend weigh, and no daemon here has one",
}

# Alerts that no fault here makes fire; deploy/prometheus/tests has them with made-up series.
NOT_DRIVEN = {
    "TickcastAbsent": "needs a Prometheus without a target, for longer than its first scrape takes",
    "TickcastCoverage": "needs a model whose intervals are wrong, and many scores",
    "TickcastDrift": "needs a world that changes, and many scores",
    "TickcastFeedErrors": "needs a venue that answers with errors",
    "TickcastForecastsWithheld": "needs a model that leaves its range",
    "TickcastInputsShifted": "needs inputs unlike those of the training, for longer than this runs",
    "TickcastKafkaChangelogLost": "needs a changelog that is deleted under the daemon",
    "TickcastKafkaOffsetsLost": "needs a topic that is cut behind the group's back",
    "TickcastKafkaStatesLost": "needs states of another model in the changelog",
    "TickcastLogLost": "needs a standard error that takes nothing",
    "TickcastModelTooOld": "needs an hour with a model whose data are old",
    "TickcastModelVersionRefused": "needs a version of the model that does not prove itself",
    "TickcastSymbolsAwaited": "needs a venue with symbols, of which one never ticks",
    "TickcastSymbolsCold": "needs a venue whose history cannot be had",
    "TickcastSymbolsUnsubscribed": "needs a venue that refuses a symbol",
    "TickcastTimesImplausible": "needs a feed whose times are of another unit",
}


def panels():
    for file in sorted((DEPLOY / "grafana/dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield file.stem, panel["title"], target["expr"]


def annotations():
    for file in sorted((DEPLOY / "grafana/dashboards").glob("*.json")):
        for mark in json.loads(file.read_text())["annotations"]["list"]:
            yield file.stem, mark["name"], mark["expr"]


def alerts():
    text = (DEPLOY / "prometheus/alerts.rules.yml").read_text()
    for block in text.split("- alert: ")[1:]:
        name, rest = block.split("\n", 1)
        expression = re.search(r"expr: (?:>-\n)?(.*?)\n        (?:for|labels)", rest, re.S)[1]
        yield name, " ".join(expression.split())


def ask_for_reload(address):
    """Any outcome will do: it is in a counter."""
    request = urllib.request.Request(f"{address}/v1/reload", method="POST")
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        error.close()


def filled_in(query):
    for variable, value in {
        "$__rate_interval": "10s", "$job": "tickcast", "$instance": ".*", "$symbol": ".*",
    }.items():
        query = query.replace(variable, value)
    assert "$" not in query, query
    return query


class Monitoring(Case):
    def test_every_panel_shows_and_every_alert_fires(self):
        # One process after the other; what each is for stands where the faults are made.
        quiet, fast = self.folder / "ticks.jsonl", self.folder / "many.jsonl"
        bad = self.folder / "bad.jsonl"
        write_recording(quiet, "ABCD", 5_000)
        # Far beyond what the model has seen.
        write_recording(fast, "ABCDEFGH", 20_000, price=1e6)
        write_recording(bad, "ABCD", 5_000, fields=("close",))
        broker = Broker(self)
        steady_feed = Feed(self, "steady-feed", quiet, "--rate", "100/s")
        lines = self.folder / "steady.jsonl"
        steady = Daemon(self, "steady", f"source.url = '{steady_feed.url}'\n"
                                        f"publish.lines = '{lines}'\n"
                                        f"snapshot.folder = '{self.folder}/states'\n"
                                        "snapshot.interval_ms = 500\nmetrics.symbols = ['A']",
                        port=free_port())
        pipe = Pipe(self, "kafka")
        kafka = "\n".join([
            "source.kind = 'kafka'", "source.queue_records_max = 100",
            f"kafka.brokers = '{broker.address}'", "kafka.topics = ['ticks']",
            "kafka.commit_interval_ms = 200", f"publish.lines = '{pipe.path}'",
            "kafka.dead_letters = 'dead'", "supervise.stall_seconds_max = 2",
        ])
        producing = ["--to", f"kafka://{broker.address}/ticks", "--partitions", "1"]
        self.spawn("kafka-feed", [
            *self.feed_command(quiet), *producing, "--rate", "100/s",
        ])
        # Two instances for one partition: one of them has nothing to do.
        first = Daemon(self, "kafka-1", kafka)
        await_condition("Kafka", first.is_ready)
        second = Daemon(self, "kafka-2", kafka)
        await_condition("the feed", steady.is_ready)
        await_condition("Kafka", second.is_ready)
        faulty = self.start_faulty(broker, quiet, fast, bad)
        daemons = {"steady": steady, "kafka-1": first, "kafka-2": second, **faulty}
        prometheus = Prometheus(self, {name: each.address() for name, each in daemons.items()})
        subscriber = Subscriber(steady.address(), reads=True)
        await_condition("forecasts", lambda: steady.metric("tickcast_forecasts_total") > 300)
        await_condition("forecasts of topics", lambda: sum(
            each.metric("tickcast_forecasts_total") for each in (first, second)) > 300)
        with self.subTest("all is well"):
            self.assert_every_query_has_data(prometheus)
            # The tutorial's model is worse than no model, on these ticks as on others.
            of_the_well = {name for name, who in prometheus.fired() if who == "steady"}
            self.assertEqual(of_the_well - {"TickcastModelWorse"}, set())
        subscriber.close()

        # A burst that the pipe, read no more, holds up: the stage of lines stands still, and
        # behind it the whole way back to the topic.
        pipe.open.clear()
        self.spawn("burst", [*self.feed_command(fast), *producing, "--speed", "max"])
        # The folder of its states goes away under a daemon.
        shutil.rmtree(self.folder / "lost-states")
        # Three new beginnings within a quarter of a minute.
        for _ in range(4):
            await_condition("the restarted daemon's scrape", lambda: prometheus.query(
                'process_start_time_seconds{instance="steady"} == '
                f'{steady.metric("process_start_time_seconds")!r}'), pause=0.3)
            steady.stop()
            steady.start()
            steady.address()
        # Asked for another version where the only one has become unreadable.
        for manifest in (self.folder / "models").glob("*/*/manifest.json"):
            manifest.write_text("{}")
        ask_for_reload(faulty["limited"].address())
        # No room for the lines of one daemon, from here on.
        run("prlimit", "--pid", faulty["limited"].process.pid, "--fsize=0:")
        # Few descriptors left, of those that are open.
        number = faulty["descriptors"].process.pid
        is_open = len(os.listdir(f"/proc/{number}/fd"))
        # Some must be left, or it could not be scraped.
        run("prlimit", "--pid", number, f"--nofile={is_open + 3}:")
        # Subscribers that read nothing.
        stuck = [Subscriber(faulty["limited"].address(), reads=False) for _ in range(10)]
        faulty["gone"].stop(signal.SIGKILL)

        wanted = {
            "TickcastDown": "gone",
            "TickcastNotReady": "dead",
            "TickcastFeedFlapping": "dead",
            "TickcastNoRecords": "silent",
            "TickcastNoForecasts": "refusing",
            "TickcastTicksRefused": "refusing",
            "TickcastAllTicksRefused": "refusing",
            "TickcastSlow": "slow",
            "TickcastQueueFilling": "slow",
            "TickcastRecordsDropped": "slow",
            "TickcastGapped": "breaking",
            "TickcastOutOfRange": "limited",
            "TickcastModelWorse": "worse",
            "TickcastSnapshotsFailing": "worse",
            "TickcastReloadFailed": "limited",
            "TickcastSinkDropping": "limited",
            "TickcastSymbolsAtLimit": "limited",
            "TickcastSubscribersCut": "limited",
            "TickcastFileDescriptors": "descriptors",
            "TickcastRestarting": "steady",
            "TickcastStalled": "kafka-",
            "TickcastKafkaLag": "kafka-",
            "TickcastKafkaNoCommits": "kafka-",
            "TickcastKafkaNoPartitions": "kafka-",
            "TickcastKafkaSessions": "no-transactions",
        }
        self.assertEqual(set(wanted) | set(NOT_DRIVEN), {name for name, _ in alerts()})
        self.assertFalse(set(wanted) & set(NOT_DRIVEN))
        missing = dict(wanted)

        def have_fired():
            for name, who in prometheus.fired():
                if name in missing and who.startswith(missing[name]):
                    del missing[name]
            return not missing

        try:
            await_condition("all alerts", have_fired, seconds=75, pause=0.5)
        except AssertionError:
            self.fail(f"did not fire: {missing}; did: {sorted(prometheus.fired())}")
        finally:
            for each in stuck:
                each.close()

    def feed_command(self, recording):
        return [BINARY, "feed", "--input", recording]

    def start_faulty(self, broker, quiet, fast, bad):
        """Daemons that something is wrong with, or will be."""
        def daemon(name, feed, settings="", **more):
            return Daemon(self, name, f"source.url = '{feed.url}'\nsource.backoff_seconds_max = 1\n"
                                      f"{settings}", **more)
        shutil.copytree(DEPLOY.parent / "models", self.folder / "models")
        dead = Feed(self, "dead-feed", quiet)
        dead.process.kill()
        silent = Feed(self, "silent-feed", quiet, "--rate", "20/s")
        faulty = {
            "dead": daemon("dead", dead),
            "silent": daemon("silent", silent),
            "refusing": daemon("refusing", Feed(self, "bad-feed", bad, "--rate", "100/s")),
            "limited": daemon("limited", Feed(self, "fast-feed", fast, "--rate", "1500/s"),
                              "engine.symbols_max = 4\npublish.subscriber_records_max = 16\n"
                              f"publish.lines = '{self.folder}/limited.jsonl'",
                              models=self.folder / "models"),
            "breaking": daemon("breaking", BreakingFeed("AB")),
            "descriptors": daemon("descriptors", silent),
            "gone": daemon("gone", silent),
            # The tutorial's model on the stocks that it was made for, worse than no model.
            "worse": daemon("worse", Feed(
                self, "stocks-feed", os.environ["TICKCAST_TEST_DATA"], "--rate", "200/s",
                "--columns", "symbol=Ticker,time=Date,close=Close,volume=Volume"),
                f"snapshot.folder = '{self.folder}/lost-states'\nsnapshot.interval_ms = 300"),
            # The broker allows no transaction as long as it asks for, so no session gets far.
            "no-transactions": Daemon(self, "no-transactions", "\n".join([
                "source.kind = 'kafka'", "kafka.topics = ['ticks']", "kafka.backoff_ms_max = 100",
                f"kafka.brokers = '{broker.address}'", "kafka.delivery = 'exactly_once'",
                "kafka.group = 'other'",
            ])),
        }
        slowly = Pipe(self, "slow")
        slowly.pause = 0.02
        faulty["slow"] = daemon(
            "slow", Feed(self, "slow-feed", fast, "--rate", "1500/s"),
            f"publish.lines = '{slowly.path}'\nsource.queue_records_max = 1000")
        await_condition("the silent one's feed", faulty["silent"].is_ready)
        await_condition("the quiet one's feed", faulty["descriptors"].is_ready)
        # It keeps its connections and says nothing any more.
        silent.signal(signal.SIGSTOP)
        return faulty

    def assert_every_query_has_data(self, prometheus):
        seen = 0

        def lacking():
            return [f"{board}, {title}: {query}" for board, title, query in panels()
                    if not prometheus.query(filled_in(query))
                    and not any(metric in query for metric in EXPECTED_EMPTIES)]

        def rules_lacking():
            text = (DEPLOY / "prometheus/recording.rules.yml").read_text()
            names = re.findall(r"record: (\S+)", text)
            return [name for name in names if not prometheus.query(name)]

        for what, missing in (("panels", lacking), ("recording rules", rules_lacking)):
            try:
                await_condition(f"data of all {what}", lambda: not missing(), seconds=30)
            except AssertionError:
                self.fail("without data: " + "\n".join(missing()))
        for board, title, query in panels():
            prometheus.query(filled_in(query))
            seen += 1
        self.assertGreater(seen, 60)
        marks = list(annotations())
        self.assertEqual({name for _, name, _ in marks}, {"Promotion", "Reload", "Restart"})
        for board, name, query in marks:
            found = prometheus.query(filled_in(query))
            if name == "Restart":
                self.assertTrue(found, f"{board}: {query}")
        # An alert is empty while all is well, so each metric that it names must be there.
        for name, expression in alerts():
            metrics = re.findall(r"\b((?:instance:)?(?:tickcast|process)_[\w:]+|up)\b", expression)
            self.assertTrue(metrics, name)
            for metric in metrics:
                self.assertTrue(prometheus.query(metric), f"{name} asks for {metric}")


class Subscriber:
    """A subscriber of /v1/stream that reads everything, or nothing at all."""

    def __init__(self, address, reads):
        host, port = address.removeprefix("http://").split(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect((host, int(port)))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .encode())
        if reads:
            threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while self.socket.recv(65536):
                pass
        except OSError:
            pass

    def close(self):
        self.socket.close()


class Rules(unittest.TestCase):
    def test_the_rules_are_well_formed_and_each_alert_fires_and_keeps_quiet_by_made_up_series(self):
        folder = DEPLOY / "prometheus"
        rules = sorted(folder.glob("*.rules.yml"))
        self.assertEqual(len(rules), 2)
        run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *rules)
        run("promtool", "check", "config", folder / "prometheus.yml")
        run("promtool", "test", "rules", *folder.glob("tests/*.test.yml"))
        tested = (folder / "tests/alerts.test.yml").read_text()
        for name, _ in alerts():
            blocks = [block for block in tested.split("  - name: ")
                      if f"alertname: {name}\n" in block]
            quiet = [block for block in blocks if "exp_alerts: []" in block]
            self.assertGreater(len(blocks), len(quiet), name)
            self.assertGreaterEqual(len(quiet), 1, name)

    def test_the_dashboards_are_what_their_script_writes(self):
        run("python3", DEPLOY / "grafana/dashboards.py", "--check")


if __name__ == "__main__":
    unittest.main()
