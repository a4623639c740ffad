"""Bursts at ten times the sustainable rate, minutes long, against the real daemon.

    SOAK_SECONDS=600 make soak

Starts `tickcast serve` on models/aapl-daily in mode sliding, with a feed of its own on loopback:
500 symbols, native JSON ticks, source.when_full = "drop_oldest". Then, in turns until the time is
over: 20 s of ten times the rate that the daemon can sustain, 10 s of a tenth of it. It ends with a
table of the bursts and a verdict on each promise, and with status 1 where one is broken:

* the queue is never longer than its limit;
* every tick is accounted for: received = ticks + dropped + waiting, to the tick;
* ticks are dropped in bursts alone, and every forecast that follows a loss says `gapped`;
* memory stays flat: it grows by less than 1 MiB an hour once it has settled, over eight bursts or more,
  with `engine.prepare_runs`, which makes all tensors at the start;
* the latency is back to normal within a second after each burst.

The sustainable rate is measured first: forecasts per second while the queue is kept half full, the
best second of ten; it is raised where more came out in a burst.
The latency is that of a symbol of its own, PROBE, of which a tick is sent every 20 ms outside of
bursts: from the moment before its tick is sent until its forecast has come from /v1/stream. Normal
is at most twice the 99th percentile before the first burst; it is back with the first of ten in a
row. A run of less than a minute shows times, memory and the rate, and judges the rest alone.

Python's standard library is all it needs. Variables: SOAK_SECONDS, SOAK_FACTOR (10), SOAK_QUEUE
(records, 10000), and TICKCAST, the binary (target/dist/tickcast).
"""

import base64
import collections
import datetime
import hashlib
import http.client
import json
import math
import os
import pathlib
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
FACTOR = float(os.environ.get("SOAK_FACTOR", "10"))
QUEUE_RECORDS_MAX = int(os.environ.get("SOAK_QUEUE", "10000"))
BINARY = os.environ.get("TICKCAST", "target/dist/tickcast")

BURST_SECONDS, REST_SECONDS = 20, 10
SYMBOLS = 500
WINDOW_STEPS = 30
PROBE_SECONDS = 0.02
# Symbols whose forecasts are read and held against what was lost of them.
WITNESSES = ["S0000", "S0123", "S0250", "S0499"]

# A burst in which more comes out than was measured before raises the sustainable rate, and so lowers
# how many times that rate it was: the bursts are ordered a little larger.
ORDERED_SHARE = 1.08

# What is promised.
FACTOR_SHARE_MIN = 0.98
RECOVERY_SECONDS_MAX = 1.0
RESIDENT_MIB_PER_HOUR_MAX = 1.0
RESIDENT_EXCURSION_MIB_MAX = 1.0
# Memory is judged after what fills once has filled: queues and rings within seconds. The tensors of
# every batch size are made at the start (`engine.prepare_runs`); a size that is made when its first
# batch comes, the rarest after minutes, would look like a leak.
RESIDENT_SETTLED_SHARE = 0.3
# A leak is growth that does not level off, for which a few peaks say nothing.
RESIDENT_PEAKS_MIN = 8
JUDGED_SECONDS_MIN = 60

PATIENCE_SECONDS = 60
ROUNDS = 64
FIRST_TIME = 1_000_000_000  # seconds since 1970; ten digits, and stays so


class Stopped(Exception):
    """Someone asked to stop."""


def main():
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop_on_signal)
    # Threads hand over quickly, or the one that takes the times would wait for the sender.
    sys.setswitchinterval(0.0005)
    with tempfile.TemporaryDirectory(prefix="tickcast-soak-") as folder:
        feed = Feed()
        daemon = None
        try:
            daemon = Daemon(pathlib.Path(folder), feed.url)
            return Soak(daemon, feed).run()
        except Stopped:
            print("\nstopped", file=sys.stderr)
            return 130
        except Exception:
            if daemon is not None:
                print(daemon.log_tail(), file=sys.stderr)
            raise
        finally:
            if daemon is not None:
                daemon.stop()
            feed.close()


def stop_on_signal(_number, _frame):
    # Once is enough: a second one must not end the clearing up.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    raise Stopped


def await_condition(what, condition):
    """The first true value of the condition."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise TimeoutError(f"still waiting for {what} after {PATIENCE_SECONDS} s")


def frame_header(length):
    """The head of an unmasked text frame."""
    return bytes([0x81, length]) if length < 126 else b"\x81\x7e" + struct.pack(">H", length)


def tick_frame(symbol, second, close, volume):
    """A tick as a frame. Equally long for symbols of one length."""
    text = '{"symbol":"%s","time":%010d,"close":%05.2f,"volume":%08d}'
    payload = (text % (symbol, second, close, volume)).encode()
    return frame_header(len(payload)) + payload


class Feed:
    """A WebSocket server for one client that sends ticks at a given rate.

    The ticks of all symbols in one round are one block of frames of equal length, so that the
    time in all of them is set by ten strided assignments, and thousands go out in one write.
    """

    def __init__(self):
        self.frame_bytes = len(tick_frame("S0000", FIRST_TIME, 15, 5e7))
        self.time_offset = tick_frame("S0000", FIRST_TIME, 15, 5e7).index(b"%d" % FIRST_TIME)
        self.blocks = [self.block(index) for index in range(ROUNDS)]
        self.round = self.place = 0
        self.sent = 0
        self.probe_time = FIRST_TIME
        self.probes_sent = {}
        self.orders = collections.deque()
        self.allowed = 0
        self.closed = False
        self.failure = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "ws://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.connection = None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @staticmethod
    def block(index):
        frames = bytearray()
        for symbol in range(SYMBOLS):
            phase = 2 * math.pi * (index / ROUNDS + symbol / SYMBOLS)
            close, volume = 15 + 2 * math.sin(phase), 5e7 + 4e7 * math.cos(phase)
            frames += tick_frame(f"S{symbol:04}", FIRST_TIME, close, volume)
        return frames

    def serve(self):
        try:
            self.connection, _ = self.listener.accept()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # What waits here is the feed's, and a real feed would not keep it for long.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 << 10)
            self.shake_hands()
            # What the client says (a close at the end) is read by nobody: it is little.
            self.send_all()
        except OSError as error:
            if not self.closed:
                self.failure = error

    def shake_hands(self):
        request = b""
        while b"\r\n\r\n" not in request:
            piece = self.connection.recv(4096)
            if not piece:
                raise ConnectionError("the client left in the handshake")
            request += piece
        lines = request.decode("latin-1").split("\r\n")[1:]
        fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip()
                  for line in lines if ":" in line}
        key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )

    def send_all(self):
        """The sender's loop: ticks that are due by the rate, ticks that are allowed, probes."""
        rate, probing = 0.0, False
        begun, begun_sent, next_probe = time.monotonic(), 0, 0.0
        while not self.closed:
            now = time.monotonic()
            if self.orders:
                rate, probing, order = self.orders.popleft()
                begun, begun_sent, next_probe = now, self.sent, now
                order.time, order.sent = now, self.sent
                order.done.set()
            if probing and now >= next_probe:
                self.send_probe()
                next_probe = max(next_probe + PROBE_SECONDS, now)
            due = int((now - begun) * rate) - (self.sent - begun_sent) if rate else self.allowed
            # A few thousand at once, so that orders and probes do not wait.
            due = min(due, 8 * SYMBOLS)
            if due <= 0:
                time.sleep(0.0005)
                continue
            self.send_ticks(due)
            if not rate:
                self.allowed -= due

    def send_ticks(self, count):
        while count > 0:
            frames = self.blocks[self.round % ROUNDS]
            if self.place == 0:
                digits = b"%d" % (FIRST_TIME + self.round)
                for index, digit in enumerate(digits):
                    frames[self.time_offset + index::self.frame_bytes] = bytes([digit]) * SYMBOLS
            some = min(count, SYMBOLS - self.place)
            begin, end = self.place * self.frame_bytes, (self.place + some) * self.frame_bytes
            self.connection.sendall(memoryview(frames)[begin:end])
            self.sent += some
            count -= some
            self.place += some
            if self.place == SYMBOLS:
                self.round, self.place = self.round + 1, 0

    def send_probe(self):
        self.probe_time += 1
        phase = self.probe_time / 10
        frame = tick_frame("PROBE", self.probe_time, 15 + math.sin(phase), 5e7)
        self.probes_sent[self.probe_time] = time.monotonic()
        self.connection.sendall(frame)
        self.sent += 1

    def order(self, rate, probing):
        """Sets the rate (0: what is allowed). Returns when that was, and the ticks sent before."""
        order = Order()
        self.orders.append((rate, probing, order))
        await_condition("the sender", lambda: order.done.is_set() or self.failure)
        if self.failure:
            raise self.failure
        return order

    def close(self):
        self.closed = True
        for side in (self.connection, self.listener):
            if side is not None:
                side.close()


class Order:
    def __init__(self):
        self.done = threading.Event()
        self.time = self.sent = None


class Daemon:
    """`tickcast serve` with its metrics and its log."""

    def __init__(self, folder, feed_url):
        self.log = folder / "log"
        config = folder / "soak.toml"
        # The ring is deep enough for a reader that gets no processor for a second.
        config.write_text(f"""
[source]
url = "{feed_url}"
time_unit = "s"
# Ticks of seconds from 1970 on, into a model of days: what is measured is the way.
accept_times = true
when_full = "drop_oldest"
queue_records_max = {QUEUE_RECORDS_MAX}
[model]
root = "{os.path.abspath("models")}"
name = "aapl-daily"
mode = "sliding"
cadence = "as_it_comes"
[engine]
prepare_runs = true
[publish]
subscriber_records_max = 65536
[http]
bind = "127.0.0.1:0"
[log]
format = "json"
""")
        address = folder / "address"
        command = [BINARY, "serve", "-c", str(config), "--address-file", str(address)]
        with self.log.open("w") as log:
            # In a group of its own, so that Ctrl-C reaches it through us, in order.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            await_condition("the daemon's address", lambda: address.exists() or self.has_ended())
            if self.has_ended():
                raise RuntimeError(f"the daemon ended at once:\n{self.log_tail()}")
        except BaseException:
            self.stop()
            raise
        self.address = address.read_text().strip().split("//")[1]
        self.connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_SECONDS)

    def has_ended(self):
        return self.process.poll() is not None

    def log_tail(self):
        return "\n".join(self.log.read_text().splitlines()[-20:])

    def get(self, path):
        """A page. The daemon closes old connections; a new one then takes their place."""
        try:
            self.connection.request("GET", path)
            return self.connection.getresponse().read().decode()
        except (http.client.RemoteDisconnected, ConnectionError):
            self.connection.close()
            self.connection.request("GET", path)
            return self.connection.getresponse().read().decode()

    def metrics(self):
        """Every sample by its name; of those with labels the sum."""
        samples = collections.Counter()
        for line in self.get("/metrics").splitlines():
            if line.startswith("tickcast_") and "_bucket" not in line:
                name, value = line.rsplit(" ", 1)
                samples[name.split("{")[0][len("tickcast_"):]] += float(value)
        return samples

    def resident_mib(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def stop(self):
        """Ends it by SIGTERM, and by force where that is not enough. Returns its status."""
        if not self.has_ended():
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def last_words(self):
        """The fields of the line that says what became of everything."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()
                 if line.startswith("{")]
        return next((line for line in lines if line.get("message") == "drained"), None)


class Stream:
    """A subscriber: the probe's forecasts with their arrival, and the witnesses' marks."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        symbols = ",".join(["PROBE", *WITNESSES])
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/stream?symbols={symbols} HTTP/1.1\r\nHost: {address}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.reader = self.socket.makefile("rb")
        status = self.reader.readline()
        if b" 101 " not in status:
            raise ConnectionError(f"/v1/stream says {status!r}")
        while self.reader.readline() != b"\r\n":
            pass
        self.socket.settimeout(None)
        self.probes = {}  # by time: arrival and quality, in order
        self.newest, self.marked_left = {}, collections.Counter()
        self.losses = self.after_loss = self.unmarked = 0
        self.ended = None
        threading.Thread(target=self.read_all, daemon=True).start()

    def read_all(self):
        try:
            while True:
                kind, payload = self.read_frame()
                arrival = time.monotonic()
                if kind == 0x1:
                    self.take(json.loads(payload), arrival)
                elif kind == 0x9:
                    self.send(0xA, payload)
                elif kind == 0x8:
                    self.ended = f"closed: {payload!r}"
                    return
        except (OSError, ValueError, struct.error) as error:
            self.ended = repr(error)

    def read_frame(self):
        head = self.read(2)
        length = head[1] & 0x7F
        if length == 126:
            length = struct.unpack(">H", self.read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.read(8))[0]
        return head[0] & 0x0F, self.read(length)

    def read(self, count):
        data = self.reader.read(count)
        if len(data) < count:
            raise ConnectionError("the stream ended without a close")
        return data

    def send(self, kind, payload):
        """A masked frame; a mask of zeros is one."""
        self.socket.sendall(bytes([0x80 | kind, 0x80 | len(payload), 0, 0, 0, 0]) + payload)

    def take(self, forecast, arrival):
        symbol, quality = forecast["symbol"], forecast["quality"]
        as_of = datetime.datetime.fromisoformat(forecast["as_of"].rstrip("Z") + "+00:00")
        second = int(as_of.timestamp())
        if symbol == "PROBE":
            self.probes[second] = (arrival, quality)
            return
        # The feed sends a tick of every symbol for every second: a leap is a loss, and a window
        # is marked for as long as the step behind the loss is in it.
        if second != self.newest.get(symbol, second - 1) + 1:
            self.losses += 1
            self.marked_left[symbol] = WINDOW_STEPS
        self.newest[symbol] = second
        if self.marked_left[symbol] > 0:
            self.marked_left[symbol] -= 1
            self.after_loss += 1
            self.unmarked += quality != "gapped"


def rate_of(name, first, last):
    """What came per second between two looks at the metrics."""
    return (last[name] - first[name]) / (last["time"] - first["time"])


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else math.nan


class Soak:
    """The run: what is done, what is seen, what is said."""

    def __init__(self, daemon, feed):
        self.daemon, self.feed = daemon, feed
        self.stream = Stream(daemon.address)
        self.residents = []
        self.longest_queue = 0
        self.begun = None
        self.rows = []
        self.shown = 0.0
        self.what = ""

    def run(self):
        self.warm_up()
        self.sustainable = self.find_sustainable()
        print(
            f"sustainable: {self.sustainable:,.0f} forecasts/s with the queue half full", flush=True
        )
        self.baseline = self.find_baseline()
        self.normal = 2 * quantile(self.baseline, 0.99)
        print(
            f"latency before the first burst: p50 {1e3 * quantile(self.baseline, 0.5):.2f} ms, "
            f"p99 {1e3 * quantile(self.baseline, 0.99):.2f} ms over {len(self.baseline)} probes; "
            f"normal is at most {1e3 * self.normal:.2f} ms",
            flush=True,
        )
        bursts = max(1, round(SECONDS / (BURST_SECONDS + REST_SECONDS)))
        cycle = SECONDS / bursts
        self.begun = time.monotonic()
        for number in range(1, bursts + 1):
            self.what = f"burst {number} of {bursts}"
            self.cycle(number, cycle)
        end = self.come_to_rest()
        status = self.daemon.stop()
        self.print_table()
        return self.judge(end, status)

    def see(self):
        """One look at the metrics; once a second also at the memory."""
        if self.stream.ended or self.feed.failure or self.daemon.has_ended():
            raise RuntimeError(
                f"ended early: stream {self.stream.ended}, feed {self.feed.failure}, "
                f"daemon {self.daemon.process.poll()}"
            )
        samples, now = self.daemon.metrics(), time.monotonic()
        samples["time"] = now
        self.longest_queue = max(self.longest_queue, samples["records_waiting"])
        if self.begun is not None:
            elapsed = now - self.begun
            if len(self.residents) <= elapsed:
                self.residents.append((elapsed, self.daemon.resident_mib()))
            self.show(elapsed, samples)
        return samples

    def show(self, elapsed, samples):
        """The progress: one line on a terminal, else a line every ten seconds."""
        tty = sys.stdout.isatty()
        if elapsed < self.shown:
            return
        self.shown = elapsed + (1 if tty else 10)
        line = (
            f"{elapsed:4.0f} s  {self.what}  queue {samples['records_waiting']:,.0f}  "
            f"dropped {samples['records_dropped_total']:,.0f}  "
            f"forecasts {samples['forecasts_total']:,.0f}  "
            f"resident {self.residents[-1][1]:.1f} MiB"
        )
        print(f"\r\x1b[K{line}" if tty else line, end="" if tty else "\n", flush=True)

    def warm_up(self):
        """A whole window of every symbol and of the probe, as quickly as they are taken."""
        count = SYMBOLS * (WINDOW_STEPS + 2)
        self.feed.order(0, False)
        await_condition("the first connection", lambda: self.feed.connection)
        while self.feed.sent < count:
            self.allow()
        self.feed.order(0, True)
        await_condition("the probe's first forecast", lambda: self.stream.probes)
        self.feed.order(0, False)
        self.await_drained()

    def allow(self):
        """Lets the feed send until the queue is half full; returns the metrics."""
        time.sleep(0.005)
        samples = self.see()
        under_way = self.feed.sent - samples["ticks_total"] - samples["records_dropped_total"]
        if self.feed.allowed <= 0:
            self.feed.allowed = max(0, QUEUE_RECORDS_MAX // 2 - int(under_way))
        return samples

    def find_sustainable(self):
        """Forecasts per second while the queue is never empty and never full: the best tenth, so
        that what else the machine does at the moment does not make the bursts smaller."""
        seconds = min(10.0, SECONDS / 6)
        end = time.monotonic() + seconds
        rates, first = [], self.allow()
        # A machine that is busy with other things may have made none within a short run.
        while time.monotonic() < end + (0 if any(rates) else PATIENCE_SECONDS):
            last = self.allow()
            if last["time"] - first["time"] >= seconds / 10:
                rates.append(rate_of("forecasts_total", first, last))
                first = last
        self.feed.allowed = 0
        self.await_drained()
        if not any(rates):
            raise RuntimeError(f"no forecast within {PATIENCE_SECONDS} s")
        return max(rates)

    def find_baseline(self):
        begin = self.feed.order(self.sustainable / 10, True)
        while time.monotonic() < begin.time + min(15.0, SECONDS / 6):
            # As often as in a rest.
            time.sleep(0.2)
            self.see()
        end = self.feed.order(0, False)
        self.await_drained()
        latencies = [latency for _, latency, _ in self.probes(begin.time, end.time)]
        return latencies

    def probes(self, begin, end):
        """Sending time, latency and quality of the probes sent in between, in order."""
        found = []
        for second, sent in list(self.feed.probes_sent.items()):
            if begin <= sent <= end:
                arrival, quality = self.stream.probes.get(second, (math.inf, "lost"))
                found.append((sent, arrival - sent, quality))
        return found

    def await_drained(self):
        """Waits until everything sent is taken or dropped, and its forecast is out."""

        def drained():
            samples = self.see()
            done = samples["ticks_total"] + samples["records_dropped_total"]
            newest = self.feed.probe_time
            answered = newest in self.stream.probes or len(self.feed.probes_sent) < WINDOW_STEPS
            return done == self.feed.sent and answered and samples

        return await_condition("everything to be taken", drained)

    def cycle(self, number, seconds):
        """One burst and the rest after it."""
        share = BURST_SECONDS / (BURST_SECONDS + REST_SECONDS)
        before = self.see()
        longest_before, self.longest_queue = self.longest_queue, 0
        begin = self.feed.order(ORDERED_SHARE * FACTOR * self.sustainable, False)
        while time.monotonic() < begin.time + share * seconds:
            time.sleep(0.1)
            last = self.see()
        end = self.feed.order(self.sustainable / 10, True)
        # What the burst has sent is taken first. Until half of that is, the queue is so full that
        # ticks of the rest push out others: these drops are the burst's.
        burst_over = emptied = None
        # A short rest goes on until the gap has left the probe's window.
        probes_enough = self.feed.probe_time + WINDOW_STEPS + 10
        while time.monotonic() < begin.time + seconds or self.feed.probe_time < probes_enough:
            time.sleep(0.02 if emptied is None else 0.2)
            samples = self.see()
            waiting = samples["records_waiting"]
            if samples["records_received_total"] >= end.sent and waiting < QUEUE_RECORDS_MAX / 2:
                burst_over = burst_over or samples
                if emptied is None and waiting < QUEUE_RECORDS_MAX / 100:
                    emptied = samples["time"] - end.time
        over = self.feed.order(0, False)
        after = self.await_drained()
        burst_over = burst_over or after
        probes = self.probes(end.time, over.time)
        qualities = [quality for _, _, quality in probes]
        burst = lambda name: burst_over[name] - before[name]
        offered = (end.sent - begin.sent) / (end.time - begin.time)
        # A burst during which more came out than was measured before has been a smaller one.
        forecasts = rate_of("forecasts_total", before, last)
        self.sustainable = max(self.sustainable, forecasts)
        later = [latency for sent, latency, _ in probes
                 if sent > end.time + RECOVERY_SECONDS_MAX]
        self.rows.append({
            "number": number,
            "offered": offered,
            "factor": offered / self.sustainable,
            "received": burst("records_received_total"),
            "dropped": burst("records_dropped_total"),
            "gaps": burst("gaps_total"),
            "dropped_in_rest": after["records_dropped_total"] - burst_over["records_dropped_total"],
            "forecasts": forecasts,
            "longest_queue": self.longest_queue,
            "recovered": self.recovered(probes, end.time),
            "emptied": math.inf if emptied is None else emptied,
            "p50": quantile(later, 0.5),
            "p99": quantile(later, 0.99),
            "qualities": qualities,
        })
        self.longest_queue = max(self.longest_queue, longest_before)

    def recovered(self, probes, end):
        """Seconds until the first of ten normal latencies in a row, its forecast included."""
        row = 10
        for index in range(len(probes) - row + 1):
            if all(latency <= self.normal for _, latency, _ in probes[index:index + row]):
                sent, latency, _ = probes[index]
                return sent + latency - end
        return math.inf

    def come_to_rest(self):
        self.what = "coming to rest"
        samples = self.await_drained()
        if sys.stdout.isatty():
            print()
        return samples

    def print_table(self):
        print(f"\n{self.machine()}\n")
        print(
            "| burst | offered ticks/s | x sustainable | received | dropped | gaps | forecasts/s "
            "| longest queue | latency normal after s | queue empty after s | then p50 ms "
            "| p99 ms |\n|" + "---:|" * 12
        )
        for row in self.rows:
            print(
                f"| {row['number']} | {row['offered']:,.0f} "
                f"| {row['factor']:.2f} | {row['received']:,.0f} "
                f"| {row['dropped']:,.0f} | {row['gaps']:,.0f} | {row['forecasts']:,.0f} "
                f"| {row['longest_queue']:,.0f} | {row['recovered']:.2f} | {row['emptied']:.2f} "
                f"| {1e3 * row['p50']:.2f} | {1e3 * row['p99']:.2f} |"
            )
        print()

    def machine(self):
        model = "unknown processor"
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
        load = ", ".join(f"{load:.2f}" for load in os.getloadavg())
        return f"{model}, {os.cpu_count()} cores, load {load} over 1, 5, 15 minutes"

    def judge(self, end, status):
        """Says of each promise whether it was kept; the status to end with."""
        rows, verdicts = self.rows, []
        long = SECONDS >= JUDGED_SECONDS_MIN

        def verdict(what, kept, why, judged=True):
            mark = ("kept" if kept else "BROKEN") if judged else "too short to judge"
            verdicts.append(kept or not judged)
            print(f"{mark}: {what}: {why}")

        factor = min(row["factor"] for row in rows)
        verdict(
            f"bursts of {FACTOR:g} times the sustainable rate",
            factor >= FACTOR_SHARE_MIN * FACTOR, f"at least {factor:.2f} times", long,
        )
        verdict(
            "the queue is never above its limit", self.longest_queue <= QUEUE_RECORDS_MAX,
            f"longest {self.longest_queue:,.0f} of {QUEUE_RECORDS_MAX:,} records",
        )
        words = self.daemon.last_words() or {}
        received, ticks, dropped = (
            end[f"{name}_total"] for name in ("records_received", "ticks", "records_dropped")
        )
        waiting = end["records_waiting"]
        steps = end["steps_warming_total"] + end["forecasts_total"]
        steps += end["forecasts_withheld_total"]
        last = [words.get(name) for name in ("received", "ticks", "dropped", "forecasts")]
        exact = self.feed.sent == received == ticks + dropped + waiting
        exact = exact and ticks == steps + end["ticks_refused_total"] and status == 0
        exact = exact and last == [received, ticks, dropped, end["forecasts_total"]]
        verdict(
            "every tick is accounted for", exact,
            f"{self.feed.sent:,} sent, {received:,.0f} received = {ticks:,.0f} ticks + "
            f"{dropped:,.0f} dropped + {waiting:,.0f} waiting; "
            f"{end['forecasts_total']:,.0f} forecasts, {end['steps_warming_total']:,.0f} warming, "
            f"{end['ticks_refused_total']:,.0f} refused; "
            f"the daemon's last words agree: {'yes' if exact else words}",
        )
        in_bursts = sum(row["dropped"] for row in rows)
        in_rests = sum(row["dropped_in_rest"] for row in rows)
        verdict(
            "drops in bursts alone, and all counted", in_rests == 0 and dropped == in_bursts > 0,
            f"{in_bursts:,.0f} in bursts by drop_oldest, {in_rests:,.0f} outside of them",
        )
        right = [row for row in rows if self.marked_rightly(row)]
        unmarked = self.stream.unmarked
        verdict(
            "every loss is marked",
            unmarked == 0 and self.stream.after_loss > 0 and len(right) == len(rows),
            f"{self.stream.losses:,} losses of {len(WITNESSES)} symbols, {unmarked} of the "
            f"{self.stream.after_loss:,} forecasts within a window after them without `gapped`; "
            f"after {len(right)} of {len(rows)} bursts exactly {WINDOW_STEPS} forecasts of the "
            "probe said `gapped` and the next ones `full`",
        )
        peaks = self.resident_peaks()
        slope, low, high = self.trend(peaks)
        verdict(
            "memory is flat",
            slope <= RESIDENT_MIB_PER_HOUR_MAX and high - low <= RESIDENT_EXCURSION_MIB_MAX,
            f"{slope:+.2f} MiB/h by the median of all pairs of the peaks of {len(peaks)} bursts in "
            f"the settled part, between {low:.1f} and {high:.1f} MiB",
            len(peaks) >= RESIDENT_PEAKS_MIN,
        )
        slowest = max(row["recovered"] for row in rows)
        verdict(
            "latency back to normal within a second", slowest <= RECOVERY_SECONDS_MAX,
            f"after {slowest:.2f} s at most, {statistics.median(r['recovered'] for r in rows):.2f}"
            f" s in the median; queue empty after {max(r['emptied'] for r in rows):.2f} s at most",
            long,
        )
        return 0 if all(verdicts) else 1

    @staticmethod
    def marked_rightly(row):
        """The gap stands before the rest's first probe, and leaves with its step."""
        qualities = row["qualities"]
        return (
            len(qualities) > WINDOW_STEPS
            and qualities[:WINDOW_STEPS] == ["gapped"] * WINDOW_STEPS
            and set(qualities[WINDOW_STEPS:]) == {"full"}
        )

    def resident_peaks(self):
        """When each burst and its rest of the settled part ended, and the most memory in it. What
        lies in the ring varies with the digits of the forecasts; its peak hardly does."""
        cycle, peaks = SECONDS / len(self.rows), []
        for number in range(math.ceil(len(self.rows) * RESIDENT_SETTLED_SHARE), len(self.rows)):
            within = [mib for at, mib in self.residents if number <= at / cycle < number + 1]
            if within:
                peaks.append(((number + 1) * cycle, max(within)))
        return peaks

    @staticmethod
    def trend(points):
        """MiB per hour, and the least and the most MiB. The median of the slopes of all pairs, not
        least squares, for which one step at an end is a slope."""
        if len(points) < 2:
            return math.nan, math.nan, math.nan
        slopes = [
            (size - before) / (at - earlier)
            for index, (at, size) in enumerate(points)
            for earlier, before in points[:index]
        ]
        sizes = [size for _, size in points]
        return 3600 * statistics.median(slopes), min(sizes), max(sizes)


if __name__ == "__main__":
    sys.exit(main())
