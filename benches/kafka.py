"""Kafka to Kafka: tickcast beside a bare loop and beside the Python programs that it replaces.

    make bench-kafka

Starts a broker of its own, fills topics with ticks, and lets one contender after another read them
and write to a topic of its own:

* the bare loop: rdkafka in Rust with the daemon's own options, copying records and nothing else;
* tickcast, mode carried: models/stocks-volatility-carried; mode sliding: models/aapl-daily;
* plain Python: confluent-kafka and onnxruntime, models/aapl-daily, the whole window for each
  forecast, one by one and in batches of 100; and with the states carried by hand, one step each;
* Quix Streams, the window in its state store, one by one.

The rate is (records - 1) / (time of the last record written - time of the first), by the broker's
own clock when it appended them. The number of records written is checked. Then latency: a paced
producer and a consumer in one process; from just before a tick is sent to when its forecast came. Each
contender first gets ticks that do not count, so that the broker, the clients and the contender are warm,
and then rests. Beside the times stand, for the measured stretch: the processor time of the contender for a
tick, the mean of the daemon's commits, the pauses of the broker's garbage collection, and the time that
the machine gave to others. Ratios are of one run.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

SYMBOLS = [f"SYM{number:03}" for number in range(200)]
PARTITIONS = 4
DAY_MS = 86_400_000
# Ticks of a symbol before the first that gives a forecast.
WARM_UP = {"aapl-daily": 30, "stocks-volatility-carried": 49}
WINDOW = 30
# How long nothing may move.
PATIENCE = 180.0
MARK_BARE, MARK_PYTHON = 0.7, 5.0
# Of a latency: ticks that do not count before it, and how long everything rests then, in seconds.
WARM_SECONDS, SETTLE_SECONDS = 5.0, 1.0
# The p99 of at-least-once over that of Python, and what is visible with exactly-once over the interval.
MARK_P99_OF_PYTHON, MARK_VISIBLE, INTERVAL_MS = 0.5, 0.75, 100.0
# As the daemon's own.
PRODUCER = {
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "compression.codec": "lz4",
    "queue.buffering.max.messages": 100_000,
    "enable.idempotence": True,
    "acks": "all",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000, help="of the quick contenders")
    parser.add_argument("--few", type=int, default=100_000, help="records of the slow ones")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row of latency")
    parser.add_argument("--only", help="contenders whose name contains this")
    parser.add_argument("--set", action="append", default=[], help="a line of configuration")
    parser.add_argument("--executable", help="instead of building one")
    parser.add_argument("--before", help="an earlier executable, to measure beside it")
    parser.add_argument("--no-rates", action="store_true")
    parser.add_argument("--paces", type=int, nargs="+", default=[1000, 10_000], help="ticks/s")
    parser.add_argument("--no-latency", action="store_true")
    parser.add_argument("--python", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.python:
        kind, brokers, group, topic, records = args.python
        return python_contender(kind, brokers, group, topic, int(records))
    for name, least in [("records", max(WARM_UP.values())), ("few", WARM_UP["aapl-daily"])]:
        least = (least + 1) * len(SYMBOLS)
        if getattr(args, name) < least:
            parser.error(f"--{name}: {least} at least, or windows never fill")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from python_inference import build

    executable = args.executable or build()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tickcast-bench-"))
        bench = Bench(stack, folder, executable, args)
        bench.start_broker()
        if not args.no_rates:
            bench.rates()
        if not args.no_latency:
            bench.latencies()


class Bench:
    def __init__(self, stack, folder, executable, args):
        self.stack, self.folder, self.executable, self.args = stack, folder, executable, args
        self.count = 0
        # Further lines of the broker's properties.
        self.settings = {}

    # Processes and topics.

    def start_broker(self):
        jars = os.environ.get("TICKCAST_KAFKA_JARS", ".cache/kafka/4.4.0")
        if not os.path.exists(f"{jars}/ready"):
            sys.exit(f"no Kafka in {jars}; run `make bench-kafka`")
        java = ["java", "-Xmx512m", "-cp", f"{jars}/*"]
        self.collections = f"{self.folder}/gc.log"
        logged = f"-Xlog:gc:file={self.collections}:uptime:filecount=0"
        port, controller = free_port(), free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": f"{self.folder}/data",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            **self.settings,
        }
        file = f"{self.folder}/server.properties"
        with open(file, "w") as out:
            out.writelines(f"{key}={value}\n" for key, value in settings.items())
        tool = [*java, "kafka.tools.StorageTool"]
        identity = subprocess.run(
            [*tool, "random-uuid"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.splitlines()[-1]
        with open(f"{self.folder}/format.log", "w") as log:
            subprocess.run([*tool, "format", "-t", identity, "-c", file], check=True, stdout=log)
        broker = self.spawn("broker", [java[0], logged, *java[1:], "kafka.Kafka", file])
        self.brokers = f"127.0.0.1:{port}"
        self.admin = AdminClient(client(self.brokers))
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.admin.list_topics(timeout=2)
                break
            except Exception:
                if broker.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the broker did not start:\n{self.log('broker')}")
        # Asks for the ends of topics.
        self.watcher = Consumer({**client(self.brokers), "group.id": "watcher"})
        self.stack.callback(self.watcher.close)

    def spawn(self, name, command):
        """A process that is ended when the bench ends, however that is."""
        log = self.stack.enter_context(open(f"{self.folder}/{name}.log", "w"))
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self.stack.callback(end, process)
        return process

    def log(self, name):
        with open(f"{self.folder}/{name}.log") as file:
            return file.read()[-4000:]

    def name(self, what):
        self.count += 1
        return f"{what}-{self.count}"

    def create(self, what):
        """A new topic, stamped by the broker when it appends."""
        topic = self.name(what)
        config = {"message.timestamp.type": "LogAppendTime"}
        made = self.admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=config)])
        made[topic].result()
        deadline = time.monotonic() + PATIENCE
        while True:
            # By the client that will ask for the ends: one that asks too early for them, or that
            # does not hear of the new topic, says for a minute that there is none.
            partitions = self.watcher.list_topics(topic, timeout=10).topics[topic].partitions
            if len(partitions) == PARTITIONS and all(p.leader >= 0 for p in partitions.values()):
                return topic
            if time.monotonic() > deadline:
                sys.exit(f"no leaders for {topic}")
            time.sleep(0.05)

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result()

    def fill(self, ticks):
        """A topic with so many ticks for each symbol."""
        topic = self.create("ticks")
        producer = Producer({**client(self.brokers), **PRODUCER, "linger.ms": 50})
        for day in range(ticks):
            for symbol in SYMBOLS:
                payload = tick(symbol, day)
                while True:
                    try:
                        producer.produce(topic, payload, symbol)
                        break
                    except BufferError:
                        producer.poll(0.1)
            producer.poll(0)
        if producer.flush(PATIENCE):
            sys.exit("the ticks were not written")
        return topic

    # Rates.

    def rates(self):
        args = self.args
        many = max(1, args.records // len(SYMBOLS))
        few = max(1, args.few // len(SYMBOLS))
        say(f"filling topics with {many * len(SYMBOLS):,} and {few * len(SYMBOLS):,} ticks")
        # Each contender: its name, ticks of each symbol, and how to start it.
        contenders = [
            ("bare loop, rdkafka in Rust", many, self.bare),
            ("tickcast, carried", many, self.daemon("stocks-volatility-carried", "carried")),
            ("tickcast, sliding", few, self.daemon("aapl-daily", "sliding")),
            ("Python, windows one by one", few, self.python("one")),
            ("Python, windows in batches of 100", few, self.python("batch")),
            ("Python, states carried by hand", few, self.python("carried")),
            ("Quix Streams, windows one by one", few, self.python("quix")),
        ]
        if args.only:
            contenders = [c for c in contenders if args.only in c[0]]
        filled, found, walls = {}, collections.defaultdict(list), collections.defaultdict(list)
        for ticks in {c[1] for c in contenders}:
            filled[ticks] = self.fill(ticks)
        machine()
        print(f"Kafka to Kafka, {PARTITIONS} partitions, {len(SYMBOLS)} symbols, medians of "
              f"{args.runs}, records/s written", flush=True)
        for run in range(args.runs):
            # One after the other, so that what else the machine does disturbs all alike.
            for name, ticks, start in contenders:
                if "Quix" in name and run > 0:
                    continue
                begun = time.monotonic()
                rate = self.measure(name, ticks, filled[ticks], start)
                if rate:
                    found[name].append(rate)
                    walls[name].append(time.monotonic() - begun)
                    say(f"run {run + 1}: {name}: {rate:,.0f}/s, {walls[name][-1]:.1f} s")
        rates = {name: statistics.median(rates) for name, rates in found.items()}
        bare = rates.get("bare loop, rdkafka in Rust", 0.0)
        python = rates.get("Python, windows one by one", 0.0)
        print(f"{'':36}{'records':>11}{'records/s':>12}{'least':>11}{'most':>11}"
              f"{'wall':>9}{'x bare':>8}{'x Python':>9}")
        for name, ticks, _ in contenders:
            if name in rates:
                rate = rates[name]
                print(
                    f"{name:36}{ticks * len(SYMBOLS):11,}{rate:12,.0f}{min(found[name]):11,.0f}"
                    f"{max(found[name]):11,.0f}{statistics.median(walls[name]):7.1f} s"
                    f"{ratio(rate, bare)}{ratio(rate, python):>9}"
                )
        for name, of, mark in [("bare loop", bare, MARK_BARE), ("Python", python, MARK_PYTHON)]:
            ours = rates.get("tickcast, carried")
            if ours and of:
                judge(f"carried at least {mark} x {name}", ours / of, mark, at_least=True)
        print(flush=True)

    def measure(self, name, ticks, topic, start):
        output, group = self.create("forecasts"), self.name("group")
        process, log, expected = start(topic, output, group, ticks)
        before, moved = -1, time.monotonic()
        while (written := self.written(output)) < expected:
            if written > before:
                before, moved = written, time.monotonic()
            if time.monotonic() > moved + PATIENCE or process.poll() not in (None, 0):
                say(f"{name}: {written} of {expected} records:\n{self.log(log)}")
                end(process)
                return None
            time.sleep(0.1)
        end(process)
        if (written := self.written(output)) != expected:
            sys.exit(f"{name}: {written} records instead of {expected}")
        first, last = self.span(output)
        self.delete(output)
        return (expected - 1) / (last - first)

    def written(self, topic):
        return sum(self.ends(topic))

    def ends(self, topic):
        return [self.end(topic, number) for number in range(PARTITIONS)]

    def end(self, topic, number):
        """The end of a partition; of a new one the broker may not know for a moment."""
        deadline = time.monotonic() + 10
        while True:
            try:
                place = TopicPartition(topic, number)
                if watermarks := self.watcher.get_watermark_offsets(place, timeout=10):
                    return watermarks[1]
                problem = "no answer"
            except KafkaException as error:
                problem = error
            if time.monotonic() > deadline:
                sys.exit(f"the end of {topic}[{number}]: {problem}")
            time.sleep(0.05)

    def span(self, topic):
        """When the first record was appended, and the last, in seconds."""
        times, reader = [], Consumer({**client(self.brokers), "group.id": "reader"})
        for number, end_offset in enumerate(self.ends(topic)):
            for offset in (0, end_offset - 1):
                reader.assign([TopicPartition(topic, number, offset)])
                times.append(reader.poll(30).timestamp()[1] / 1e3)
        reader.close()
        return min(times), max(times)

    # Contenders.

    def bare(self, topic, output, group, ticks):
        records = ticks * len(SYMBOLS)
        command = [self.executable, "bench", "kafka-loop", "--brokers", self.brokers]
        command += ["--group", group, "--from", topic, "--to", output, "--records", str(records)]
        log = self.name("bare")
        return self.spawn(log, command), log, records

    def daemon(self, model, mode, *settings, executable=None):
        def start(topic, output, group, ticks):
            log = self.name("daemon")
            config = f"{self.folder}/{log}.toml"
            with open(config, "w") as file:
                file.write(
                    f'source.kind = "kafka"\nsource.accept_times = true\n'
                    f'model.root = "{os.path.abspath("models")}"\n'
                    f'model.name = "{model}"\n'
                    f'model.mode = "{mode}"\nhttp.bind = "127.0.0.1:{free_port()}"\n'
                    f'kafka.brokers = "{self.brokers}"\nkafka.group = "{group}"\n'
                    f'kafka.topics = ["{topic}"]\nkafka.forecasts = "{output}"\n'
                )
                file.writelines(f"{line}\n" for line in [*settings, *self.args.set])
            address = f"{self.folder}/{log}.address"
            command = [executable or self.executable, "serve", "-c", config]
            command += ["--address-file", address]
            return self.spawn(log, command), log, (ticks - WARM_UP[model]) * len(SYMBOLS)

        return start

    def python(self, kind):
        def start(topic, output, group, ticks):
            records = ticks * len(SYMBOLS)
            log = self.name("python")
            command = [sys.executable, __file__, "--python", kind, self.brokers, group]
            command += [f"{topic},{output}", str(records)]
            # With a state carried by hand there is a forecast for each row.
            warm_up = 1 if kind == "carried" else WARM_UP["aapl-daily"]
            return self.spawn(log, command), log, (ticks - warm_up) * len(SYMBOLS)

        return start

    # Latency.

    def latencies(self):
        now = 'kafka.options."linger.ms" = "0"'
        once = ('kafka.delivery = "exactly_once"', f"kafka.commit_interval_ms = {INTERVAL_MS:.0f}")
        carried, sliding = ("stocks-volatility-carried", "carried"), ("aapl-daily", "sliding")
        executables = [("tickcast", self.executable)]
        if self.args.before:
            executables.append(("before", self.args.before))
        contenders = []
        for of, executable in executables:
            for model, further, word in [
                (carried, (), ""), (sliding, (), ""), (sliding, once, ", exactly once")
            ]:
                start = self.daemon(*model, now, *further, executable=executable)
                contenders.append((f"{of}, {model[1]}{word}", start, WARM_UP[model[0]]))
        contenders.append(
            ("Python, windows one by one", self.python("one-now"), WARM_UP["aapl-daily"])
        )
        if self.args.only:
            contenders = [c for c in contenders if self.args.only in c[0]]
        machine()
        print(f"Tick to forecast, ms, after {WARM_SECONDS:.0f} s that do not count; linger.ms = 0 for "
              "all producers, the rest as above")
        print(f"{'':34}{'ticks/s':>8}{'p50':>8}{'p99':>8}{'p99.9':>8}{'max':>8}{'us CPU':>8}"
              f"{'commit':>8}{'GC':>7}{'steal':>7}", flush=True)
        found = {}
        # The first one meets a broker whose code is not compiled yet.
        _, start, warm_up = contenders[0]
        self.latency("(does not count)", start, warm_up)
        for name, start, warm_up in contenders:
            for rate, row in self.latency(name, start, warm_up).items():
                found[name, rate] = row
        python = "Python, windows one by one"
        for rate, mark in [(1000, MARK_P99_OF_PYTHON), (10_000, 1.0)]:
            for name in ["tickcast, carried", "tickcast, sliding"]:
                if (name, rate) in found and (python, rate) in found:
                    ratio = found[name, rate]["p99"] / found[python, rate]["p99"]
                    judge(f"{name}, {rate:,}/s: p99 at most {mark} x Python", ratio, mark)
        once, before = "tickcast, sliding, exactly once", "before, sliding, exactly once"
        if (once, 1000) in found:
            visible = found[once, 1000]["p50"] / INTERVAL_MS
            judge(f"exactly once: p50 at most {MARK_VISIBLE} x the interval", visible, MARK_VISIBLE)
            if (before, 1000) in found:
                commits = found[once, 1000]["commit"] / found[before, 1000]["commit"]
                judge("exactly once: a commit at most 0.25 x before", commits, 0.25)

    def latency(self, name, start, warm_up):
        """What was found, by rate."""
        days = warm_up + 5
        topic = self.fill(days)
        output, group = self.create("forecasts"), self.name("group")
        process, log, expected = start(topic, output, group, days)
        deadline = time.monotonic() + PATIENCE
        while self.written(output) < expected:
            if time.monotonic() > deadline or process.poll() is not None:
                sys.exit(f"{name} gave no forecasts:\n{self.log(log)}")
            time.sleep(0.1)
        found = {}
        for rate in self.args.paces:
            for seconds in (WARM_SECONDS, self.args.seconds):
                count = int(rate * seconds) // len(SYMBOLS) * len(SYMBOLS)
                time.sleep(SETTLE_SECONDS)
                before = self.spent(process, log)
                sent, arrived = self.exchange(topic, output, days, rate, count)
                after = self.spent(process, log)
                days += count // len(SYMBOLS)
                if missing := sent.keys() - arrived.keys():
                    print(f"{name:34}{rate:8,} not sustained: {len(missing):,} of {count:,} forecasts "
                          "had not come 30 s after the last tick", flush=True)
                    end(process)
                    return found
            times = sorted(1e3 * (arrived[tick] - sent[tick]) for tick in sent)
            spent = {key: after[key] - before[key] for key in after}
            row = {
                "p50": part(times, 0.5),
                "p99": part(times, 0.99),
                "p99.9": part(times, 0.999),
                "max": times[-1],
                "cpu": 1e6 * spent["cpu"] / count,
                "commit": 1e3 * spent["commit_seconds"] / max(1, spent["commits"]),
                "gc": spent["gc_ms"],
                "steal": 1e3 * spent["steal"],
            }
            found[rate] = row
            print(f"{name:34}{rate:8,}{row['p50']:8.2f}{row['p99']:8.2f}{row['p99.9']:8.2f}"
                  f"{row['max']:8.2f}{row['cpu']:8.0f}{row['commit']:8.2f}{row['gc']:7.1f}"
                  f"{row['steal']:7.0f}", flush=True)
        end(process)
        return found

    def spent(self, process, log):
        """What the contender, the broker and the machine have spent so far."""
        with open(f"/proc/{process.pid}/stat") as file:
            # Behind the name, which may hold anything: user and system time.
            fields = file.read().rpartition(")")[2].split()
        with open("/proc/stat") as file:
            steal = int(file.readline().split()[8])
        pauses = 0.0
        with open(self.collections) as file:
            for line in file:
                if "Pause" in line and line.rstrip().endswith("ms"):
                    pauses += float(line.split()[-1].removesuffix("ms"))
        ticks = os.sysconf("SC_CLK_TCK")
        spent = {
            "cpu": (int(fields[11]) + int(fields[12])) / ticks,
            "steal": steal / ticks,
            "gc_ms": pauses,
            "commit_seconds": 0.0,
            "commits": 0.0,
        }
        address = f"{self.folder}/{log}.address"
        if os.path.exists(address):
            with open(address) as file:
                url = f"{file.read().strip()}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                for line in answer.read().decode().splitlines():
                    name, _, value = line.partition(" ")
                    if name == "tickcast_kafka_commit_seconds_sum":
                        spent["commit_seconds"] = float(value)
                    if name == "tickcast_kafka_commit_seconds_count":
                        spent["commits"] = float(value)
        return spent

    def exchange(self, topic, output, day, rate, count):
        """Send times and arrival times by symbol and event time."""
        consumer = Consumer({**client(self.brokers), "group.id": self.name("latency")})
        consumer.assign([
            TopicPartition(output, number, high)
            for number, high in enumerate(self.ends(output))
        ])
        raw, done = [], threading.Event()

        def receive():
            deadline = None
            while len(raw) < count:
                messages = consumer.consume(1000, 0.001)
                now = time.perf_counter()
                raw.extend((now, message.value()) for message in messages)
                if done.is_set():
                    deadline = deadline or time.monotonic() + 30
                    if time.monotonic() > deadline:
                        return

        # Made before, so that making them does not count.
        ticks = [
            (symbol, (day + index) * DAY_MS, tick(symbol, day + index))
            for index in range(count // len(SYMBOLS))
            for symbol in SYMBOLS
        ]
        consumer.poll(0.5)
        receiver = threading.Thread(target=receive)
        receiver.start()
        producer = Producer({**client(self.brokers), **PRODUCER, "linger.ms": 0})
        producer.list_topics(topic)
        sent, begun = {}, time.perf_counter()
        for index, (symbol, when, payload) in enumerate(ticks):
            due = begun + index / rate
            while (now := time.perf_counter()) < due:
                time.sleep(due - now)
            sent[symbol, when] = now
            producer.produce(topic, payload, symbol)
            if index % 100 == 0:
                producer.poll(0)
        producer.flush(30)
        done.set()
        receiver.join()
        consumer.close()
        arrived = {}
        for now, payload in raw:
            forecast = json.loads(payload)
            arrived[forecast["symbol"], epoch_ms(forecast["as_of"])] = now
        return sent, arrived


def python_contender(kind, brokers, group, topics, records):
    """What a careful script does; ends after so many ticks."""
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"
    topic, output = topics.split(",")
    model = Model()
    if kind == "quix":
        return quix(brokers, group, topic, output, records, model)
    consumer = Consumer(
        {**client(brokers), "group.id": group, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    options = {**PRODUCER, "linger.ms": 0} if kind == "one-now" else PRODUCER
    producer = Producer({**client(brokers), **options})
    states, seen = {}, 0

    def publish(symbol, time_ms, price, value):
        payload = json.dumps(model.forecast(symbol, time_ms, price, value))
        while True:
            try:
                return producer.produce(output, payload, symbol)
            except BufferError:
                producer.poll(0.1)

    while kind == "one-now" or seen < records:
        messages = consumer.consume(100 if kind == "batch" else 1, 1.0)
        ready = []
        for message in messages:
            if message.error():
                sys.exit(str(message.error()))
            seen += 1
            tick = json.loads(message.value())
            symbol = tick["symbol"]
            row = model.row(states.setdefault(symbol, {}), tick)
            if row is None:
                continue
            if kind == "carried":
                value = model.step(states[symbol], row)
                publish(symbol, tick["time"], tick["close"], value)
                continue
            window = states[symbol].setdefault("window", collections.deque(maxlen=WINDOW))
            window.append(row)
            if len(window) == WINDOW:
                ready.append((symbol, tick["time"], tick["close"], list(window)))
        if ready:
            values = model.run([entry[3] for entry in ready])
            for (symbol, time_ms, price, _), value in zip(ready, values):
                publish(symbol, time_ms, price, value)
        producer.poll(0)
    producer.flush(60)
    consumer.close()


def quix(brokers, group, topic, output, records, model):
    import quixstreams

    with tempfile.TemporaryDirectory(prefix="tickcast-quix-") as folder:
        application = quixstreams.Application(
            broker_address=brokers,
            consumer_group=group,
            auto_offset_reset="earliest",
            state_dir=folder,
            commit_interval=1.0,
            producer_extra_config={
                key: value for key, value in PRODUCER.items() if key != "partitioner"
            },
        )
        source = application.topic(topic, value_deserializer="json")
        sink = application.topic(output, value_serializer="json")

        def forecast(tick, state):
            kept = {"previous": state.get("previous")}
            row = model.row(kept, tick)
            state.set("previous", kept["previous"])
            if row is None:
                return None
            window = [*state.get("window", []), row][-WINDOW:]
            state.set("window", window)
            if len(window) < WINDOW:
                return None
            value = model.run([window])[0]
            return model.forecast(tick["symbol"], tick["time"], tick["close"], value)

        frame = application.dataframe(source)
        frame = frame.apply(forecast, stateful=True).filter(lambda value: value is not None)
        frame.to_topic(sink)
        application.run(count=records)


class Model:
    """The bundle models/aapl-daily by hand: the same features, scaling and graph."""

    def __init__(self):
        import numpy
        import onnxruntime

        self.numpy = numpy
        folder = "models/aapl-daily/1"
        with open(f"{folder}/manifest.json") as file:
            manifest = json.load(file)
        if manifest["features"] != ["close", "volume", "change"]:
            sys.exit(f"{folder} is no longer the model that this script knows")
        self.graph = manifest["graph"]
        self.columns = [(c["min"], c["max"]) for c in manifest["scaler"]["columns"]]
        target = manifest["target"]["scaler"]["columns"][0]
        self.target = target["min"], target["max"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options)
        self.zeros = {}

    def row(self, state, tick):
        previous, close = state.get("previous"), tick["close"]
        state["previous"] = close
        if previous is None:
            return None
        raw = close, tick["volume"], close / previous - 1.0
        return [
            2.0 * (value - low) / (high - low) - 1.0
            for value, (low, high) in zip(raw, self.columns)
        ]

    def run(self, windows):
        numpy, batch = self.numpy, len(windows)
        feed = {
            state["input"]: numpy.zeros((1, batch, state["width"]), "float32")
            for state in self.graph["states"]
        }
        windows = numpy.asarray(windows, "float32").transpose(1, 0, 2)
        feed[self.graph["input"]] = numpy.ascontiguousarray(windows)
        [values] = self.session.run([self.graph["output"]], feed)
        return values.reshape(batch).tolist()

    def step(self, state, row):
        numpy, states = self.numpy, self.graph["states"]
        carried = state.get("carried") or [
            numpy.zeros((1, 1, each["width"]), "float32") for each in states
        ]
        feed = {each["input"]: value for each, value in zip(states, carried)}
        feed[self.graph["input"]] = numpy.asarray([[row]], "float32")
        outputs = [self.graph["output"], *(each["output"] for each in states)]
        value, *state["carried"] = self.session.run(outputs, feed)
        return float(value.reshape(-1)[0])

    def forecast(self, symbol, time_ms, price, scaled):
        low, high = self.target
        value = (scaled + 1.0) / 2.0 * (high - low) + low
        return {
            "symbol": symbol,
            "as_of": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1e3)),
            "value": value,
            "price": price * (1.0 + value),
            "last_price": price,
        }


def tick(symbol, day):
    """A tick of a smooth market, the same in each run."""
    phase = day * 0.37 + int(symbol[3:])
    close = 20.0 + phase % 7.0 * 0.5
    text = (
        f'{{"symbol":"{symbol}","time":{day * DAY_MS},"open":{close - 0.1:.2f},'
        f'"high":{close + 0.4:.2f},"low":{close - 0.3:.2f},"close":{close:.2f},'
        f'"volume":{1_000_000 + int(phase * 1e4) % 900_000}}}'
    )
    return text.encode()


def epoch_ms(text):
    """Midnights and whole seconds are all there is here."""
    import calendar

    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 1000


def client(brokers):
    return {"bootstrap.servers": brokers, "log_level": 2}


def end(process):
    """Ends a process by its id: politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    """A port that was free a moment ago, below those that the system gives to connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def ratio(rate, of):
    return f"{rate / of:8.2f}" if of else f"{'':8}"


def part(times, share):
    """A quantile of sorted times."""
    return times[min(len(times) - 1, int(share * len(times)))]


def judge(what, value, mark, at_least=False):
    reached = value >= mark if at_least else value <= mark
    print(f"mark: {what}: {value:.2f}, {'reached' if reached else 'missed'}", flush=True)


def machine():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    print(f"{names[0] if names else 'unknown'}, {os.cpu_count()} cores, "
          f"load {os.getloadavg()[0]:.2f}", flush=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
