"""What a change of the group costs: the daemon on a broker of its own.

    make bench-kafka-group BENCH='--beside before=/path/to/another/tickcast'

* Restoring: a daemon that starts with the states of a group, again and again. The time is its own,
  `tickcast_kafka_restore_seconds`: from the assignment until every partition is read on.
* Silence: ticks come at a steady pace while an instance joins, leaves and is killed. Per partition
  the longest time without a forecast, by the broker's own clock when it appended them; the same
  without any event is the null. Partitions that were silent for nearly the session timeout when an
  instance was killed are those that moved; the others stayed. Beside them is the daemons' own
  time to restore (`tickcast_kafka_restore_seconds`), and how many states they read for it.

* With `--share SYMBOLS`, the share of one instance: what it takes to read a group of so many
  symbols, its memory, how much it writes to its changelog, and how long the next process needs to
  restore.

With `--beside NAME=EXECUTABLE` each part runs for each executable in turn, in one sitting.
"""

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

import kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from kafka import DAY_MS, PATIENCE, PRODUCER, Bench, client, end, machine, say, tick

SLIDING = "aapl-daily", "sliding"
# Its states are stored as they are, so that reading them is all that a restore does.
CARRIED = "stocks-volatility-carried", "carried"
# A kill is over with the session, which both protocols get alike.
SESSION_MS = 10_000
EVENTS = ["nothing", "join", "leave", "kill"]
# A partition that is silent for so long of the session timeout has moved.
MOVED_FROM = 0.8
# The longest silence of a partition that moves, over the session timeout.
MARK_KILL = 1.05
# How long the records of one event are looked at.
EVENT_SECONDS = 20.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--executable", help="instead of building one")
    parser.add_argument("--beside", action="append", default=[], help="NAME=EXECUTABLE")
    parser.add_argument("--symbols", type=int, default=4000, help="whose states are restored")
    parser.add_argument("--partitions", type=int, default=24, help="of the restored topic")
    parser.add_argument("--runs", type=int, default=5, help="restarts of each executable")
    parser.add_argument("--rate", type=int, default=2000, help="ticks a second, for silence")
    parser.add_argument("--rounds", type=int, default=1, help="of each event")
    parser.add_argument("--event", action="append", help="nothing, join, leave, kill; else all")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds before each event")
    parser.add_argument("--assignment", action="append", help="eager, cooperative, broker")
    parser.add_argument("--delivery", default="at_least_once")
    parser.add_argument("--share", type=int, help="symbols of one instance, to size it")
    parser.add_argument("--no-restore", action="store_true")
    parser.add_argument("--no-silence", action="store_true")
    parser.add_argument("--set", action="append", default=[], help="a line of configuration")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not args.executable:
        from python_inference import build

        args.executable = build()
    executables = dict(each.split("=", 1) for each in args.beside)
    executables["this one"] = args.executable
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tickcast-bench-"))
        bench = GroupBench(stack, folder, args.executable, args)
        bench.settings |= {
            "group.consumer.min.session.timeout.ms": SESSION_MS,
            "group.consumer.session.timeout.ms": SESSION_MS,
            "group.consumer.min.heartbeat.interval.ms": 3000,
            "group.consumer.heartbeat.interval.ms": 3000,
        }
        bench.start_broker()
        machine()
        if args.share:
            for model in [CARRIED, SLIDING]:
                bench.share(*model)
        if not args.no_restore:
            bench.restores(executables)
        if not args.no_silence:
            for name, executable in executables.items():
                for assignment in args.assignment or ["eager", "cooperative", "broker"]:
                    bench.silences(name, executable, assignment)


class GroupBench(Bench):
    def symbols(self, count, partitions):
        """How many symbols and partitions there are from here on."""
        kafka.SYMBOLS = [f"SYM{number:05}" for number in range(count)]
        kafka.PARTITIONS = partitions

    def member(self, executable, topic, output, group, *settings, model=SLIDING):
        """A daemon and the address of its metrics."""
        self.executable = executable
        start = self.daemon(*model, *settings)
        process, log, _ = start(topic, output, group, 0)
        return process, f"{self.folder}/{log}.address", log

    def metric(self, member, name):
        """A metric of a daemon; `None` while it does not answer."""
        try:
            with open(member[1]) as file:
                address = file.read().strip()
            with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        values = [line.split()[-1] for line in lines if line.startswith(f"{name} ")]
        return float(values[0]) if values else None

    def until(self, what, condition, members=()):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            for process, _, log in members:
                if process.poll() not in (None, 0):
                    sys.exit(f"a daemon has ended:\n{self.log(log)}")
            if time.monotonic() > deadline:
                sys.exit(f"no {what} in {PATIENCE:.0f} s:\n{self.log(members[0][2])}")
            time.sleep(0.1)

    def is_committed(self, topic, group):
        asker = Consumer({**client(self.brokers), "group.id": group})
        try:
            places = [TopicPartition(topic, number) for number in range(kafka.PARTITIONS)]
            committed = [place.offset for place in asker.committed(places, timeout=10)]
            return committed == self.ends(topic)
        finally:
            asker.close()

    # Restoring.

    def restores(self, executables):
        args = self.args
        self.symbols(args.symbols, args.partitions)
        topic, output, group = self.fill(3), self.create("forecasts"), self.name("group")
        first = self.member(args.executable, topic, output, group, model=CARRIED)
        self.until("commit", lambda: self.is_committed(topic, group), [first])
        end(first[0])
        found = {name: [] for name in executables}
        for run in range(args.runs):
            for name, executable in executables.items():
                member = self.member(executable, topic, output, group, model=CARRIED)
                count = "tickcast_kafka_restore_seconds_count"
                self.until("restore", lambda: self.metric(member, count), [member])
                symbols = self.metric(member, "tickcast_kafka_symbols_restored_total")
                if symbols != args.symbols:
                    sys.exit(f"{symbols} of {args.symbols} symbols came back")
                seconds = self.metric(member, "tickcast_kafka_restore_seconds_sum")
                found[name].append(seconds)
                say(f"run {run + 1}: {name}: restored in {seconds:.3f} s")
                end(member[0])
        print(f"Restoring {args.symbols:,} states of {args.partitions} partitions, "
              f"{args.runs} restarts each")
        print(f"{'':24}{'median':>10}{'least':>10}{'most':>10}{'x first':>9}")
        first = None
        for name, times in found.items():
            median = statistics.median(times)
            first = first or median
            print(f"{name:24}{median:8.3f} s{min(times):8.3f} s{max(times):8.3f} s"
                  f"{median / first:9.2f}")
        print(flush=True)

    # Size.

    def share(self, model, mode):
        """What one instance needs for its part of a group."""
        args = self.args
        self.symbols(args.share, args.partitions)
        # The first step of each symbol and a full window behind it.
        topic, output, group = self.fill(32), self.create("forecasts"), self.name("group")
        settings = [f"engine.symbols_max = {args.share}"]

        def member(*further):
            return self.member(
                args.executable, topic, output, group, *settings, *further, model=(model, mode)
            )

        begun = time.monotonic()
        first = member()
        self.until("commit", lambda: self.is_committed(topic, group), [first])
        seconds, resident = time.monotonic() - begun, memory(first[0].pid)
        end(first[0])
        count, content = self.newest(f"{group}-{topic}-state")
        again = member()
        self.until("restore", lambda: self.metric(again, "tickcast_kafka_restore_seconds_count"),
                   [again])
        restore = self.metric(again, "tickcast_kafka_restore_seconds_sum")
        end(again[0])
        print(f"{model}, {mode}: {args.share:,} symbols, {args.partitions} partitions")
        print(f"  {32 * args.share:,} records and {args.share:,} windows in {seconds:.1f} s")
        print(f"  resident memory {resident / 1e6:,.0f} MB, "
              f"{resident / args.share:,.0f} bytes a symbol")
        print(f"  newest states {content / 1e6:,.1f} MB, {content / count:,.0f} bytes each")
        print(f"  restored in {restore:.2f} s")
        # The newest states are written once each time that every symbol ticks.
        for interval in (1.0, 10.0, 60.0):
            rate = content / interval / 1e6
            print(f"  stored every {interval:.0f} s, where each symbol ticks as often: "
                  f"{rate:,.2f} MB/s")
        print(flush=True)

    def newest(self, topic):
        """How many keys a changelog has, and the bytes of the newest record of each."""
        options = {"group.id": self.name("reader"), "enable.partition.eof": True}
        reader = Consumer({**client(self.brokers), **options})
        reader.assign([TopicPartition(topic, number, 0) for number in range(kafka.PARTITIONS)])
        sizes, left = {}, kafka.PARTITIONS
        while left:
            for message in reader.consume(10_000, 1.0):
                if message.error():
                    left -= 1
                else:
                    sizes[message.key()] = len(message.key()) + len(message.value() or b"")
        reader.close()
        return len(sizes), sum(sizes.values())

    # Silence.

    def silences(self, name, executable, assignment):
        args = self.args
        self.symbols(5000, 12)
        days = 31
        topic, output, group = self.fill(days), self.create("forecasts"), self.name("group")
        settings = [
            f'kafka.assignment = "{assignment}"',
            f'kafka.delivery = "{args.delivery}"',
            'kafka.options."linger.ms" = "0"',
        ]
        if assignment != "broker":
            settings.append(f'kafka.options."session.timeout.ms" = "{SESSION_MS}"')

        def join():
            return self.member(executable, topic, output, group, *settings)

        def are_shared(members):
            counts = [self.metric(member, "tickcast_kafka_partitions") for member in members]
            even = kafka.PARTITIONS / len(members)
            return all(count == even for count in counts)

        def have_settled(members):
            """Whether each member is less than a second of the whole input behind."""
            lag = [self.metric(member, "tickcast_kafka_lag_records") for member in members]
            return are_shared(members) and all(of is not None and of < args.rate for of in lag)

        members = [join(), join()]
        self.until("share", lambda: are_shared(members), members)
        self.until("commit", lambda: self.is_committed(topic, group), members)
        pace = Pace(self.brokers, topic, days, args.rate)
        found = {event: [] for event in EVENTS}
        wanted = [event for event in EVENTS if event in (args.event or EVENTS)]
        restores, reads = [], []
        try:
            time.sleep(3.0)
            for _ in range(args.rounds):
                for event in wanted:
                    if event == "kill" and len(members) < 3:
                        members.append(join())
                        self.until("share", lambda: are_shared(members), members)
                    self.until("rest", lambda: have_settled(members), members)
                    time.sleep(args.rest)
                    begun_ms = time.time() * 1e3
                    begun = time.monotonic()
                    if event in ("leave", "kill"):
                        member = members.pop()
                        if event == "kill":
                            before = [self.restored(of) for of in members]
                            os.killpg(member[0].pid, signal.SIGKILL)
                        end(member[0])
                    elif event == "join":
                        members.append(join())
                    self.until("share", lambda: are_shared(members), members)
                    time.sleep(max(0.0, begun + EVENT_SECONDS - time.monotonic()))
                    found[event].append((begun_ms, time.time() * 1e3))
                    if event == "kill":
                        for was, of in zip(before, members):
                            seconds, states = self.restored(of)
                            restores.append(seconds - was[0])
                            reads.append(states - was[1])
                    if event == "leave":
                        members.append(join())
                        self.until("share", lambda: are_shared(members), members)
                        time.sleep(3.0)
                members.append(join())
                self.until("share", lambda: are_shared(members), members)
                time.sleep(3.0)
        finally:
            pace.stop()
        failed = sum(
            self.metric(member, "tickcast_kafka_sessions_failed_total") or 0 for member in members
        )
        for member in members:
            end(member[0])
        print(f"{name}, {assignment}, {args.delivery}: {len(kafka.SYMBOLS):,} symbols, "
              f"{kafka.PARTITIONS} partitions, {args.rate:,} ticks/s, two or three instances; "
              f"sessions lost by those that are left: {failed:.0f}")
        print(f"{'longest silence, s':24}{'median':>10}{'least':>10}{'most':>10}")
        times = self.times(output)
        for event in wanted:
            gaps = [longest(of, span) for span in found[event] for of in times]
            show(event, gaps)
            if event != "kill":
                continue
            session = SESSION_MS / 1e3
            moved = [gap for gap in gaps if gap >= MOVED_FROM * session]
            show("  partitions that moved", moved)
            show("  partitions that stay", [gap for gap in gaps if gap < MOVED_FROM * session])
            show("  restore", restores)
            print(f"  states read to restore {statistics.median(reads):9.0f}"
                  f"{min(reads):10.0f}{max(reads):10.0f}")
            if moved:
                ratio = statistics.median(moved) / session
                verdict = "met" if ratio <= MARK_KILL else "missed"
                print(f"  moved / session timeout {ratio:8.2f}, at most {MARK_KILL}: {verdict}")
        print(flush=True)

    def restored(self, member):
        """How long a member has restored for, and how many states it has read."""
        names = "tickcast_kafka_restore_seconds_sum", "tickcast_kafka_states_read_total"
        # A build from before has no count of states.
        return [self.metric(member, name) or 0.0 for name in names]

    def times(self, topic):
        """When the records of each partition were appended, in milliseconds."""
        options = {"group.id": self.name("reader"), "enable.partition.eof": True}
        reader = Consumer({**client(self.brokers), **options})
        ends = self.ends(topic)
        reader.assign([TopicPartition(topic, number, 0) for number in range(len(ends))])
        times, left = [[] for _ in ends], len(ends)
        while left:
            for message in reader.consume(10_000, 1.0):
                if message.error():
                    left -= 1
                else:
                    times[message.partition()].append(message.timestamp()[1])
        reader.close()
        return times


class Pace:
    """Ticks at a steady pace, on a thread."""

    def __init__(self, brokers, topic, day, rate):
        self.brokers, self.topic, self.day, self.rate = brokers, topic, day, rate
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        producer = Producer({**client(self.brokers), **PRODUCER, "linger.ms": 0})
        begun, sent = time.monotonic(), 0
        while not self.stopped.is_set():
            symbol = kafka.SYMBOLS[sent % len(kafka.SYMBOLS)]
            day = self.day + sent // len(kafka.SYMBOLS)
            producer.produce(self.topic, tick(symbol, day), symbol)
            producer.poll(0)
            sent += 1
            ahead = begun + sent / self.rate - time.monotonic()
            if ahead > 0.002:
                time.sleep(ahead)
        producer.flush(30)

    def stop(self):
        self.stopped.set()
        self.thread.join()


def memory(pid):
    """The resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        lines = [line.split() for line in file if line.startswith("VmRSS:")]
    return int(lines[0][1]) * 1024


def show(name, gaps):
    if gaps:
        print(f"{name:24}{statistics.median(gaps):10.2f}{min(gaps):10.2f}{max(gaps):10.2f}")


def longest(times, span):
    """The longest time without a record within a span, in seconds."""
    begun, ended = span
    within = [begun, *(at for at in times if begun < at < ended), ended]
    return max(after - before for before, after in zip(within, within[1:])) / 1e3


if __name__ == "__main__":
    main()
