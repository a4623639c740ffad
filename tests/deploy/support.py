"""Real processes for the tests of deploy/: daemons, feeds, a broker, a Prometheus.

Every process that is started here ends with the test that started it. All ports are free ones of
loopback; conditions are awaited, never slept for. Python's standard library is all it needs.
"""

import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

REPOSITORY = pathlib.Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
BINARY = pathlib.Path(os.environ.get("TICKCAST", REPOSITORY / "target/debug/tickcast")).absolute()
# The models that ship are daily; other steps would be `mistimed`.
DAY_MS = 86_400_000

PATIENCE_SECONDS = 90


def await_condition(what, condition, seconds=PATIENCE_SECONDS, pause=0.1):
    """The first true value of the condition."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"still waiting for {what} after {seconds} s")
        time.sleep(pause)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, timeout=10):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def run(*command, **options):
    """Runs a command to its end, and shows what it said where it fails."""
    command = [str(part) for part in command]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class Case(unittest.TestCase):
    """A test with a folder and processes of its own."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="tickcast-deploy-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)

    @classmethod
    def spawn(cls, name, command, **options):
        log = open(cls.folder / f"{name}.log", "ab")
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                   stdout=options.pop("stdout", log), stderr=log, **options)
        log.close()
        cls.addClassCleanup(end, process)
        return process

    @classmethod
    def log(cls, name):
        return (cls.folder / f"{name}.log").read_text(errors="replace")[-3000:]


def end(process):
    if process.poll() is None:
        # A stopped process takes no other signal.
        process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


class Daemon:
    """`tickcast serve` on models/aapl-daily."""

    def __init__(self, case, name, settings, port=0, models=REPOSITORY / "models"):
        self.case, self.name = case, name
        self.config = case.folder / f"{name}.toml"
        self.address_file = case.folder / f"{name}.address"
        self.config.write_text(
            f"model.root = '{models}'\nmodel.name = 'aapl-daily'\n"
            f"http.bind = '127.0.0.1:{port}'\n{settings}\n"
        )
        self.start()

    def start(self):
        self.address_file.unlink(missing_ok=True)
        self.process = self.case.spawn(self.name, [
            BINARY, "serve", "-c", self.config, "--address-file", self.address_file,
        ])

    def address(self):
        def read():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended:\n{self.case.log(self.name)}")
            return self.address_file.exists() and self.address_file.read_text().strip()
        return await_condition(f"the address of {self.name}", read)

    def metric(self, name):
        lines = get(self.address() + "/metrics").splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if re.match(re.escape(name) + r"[ {]", line))

    def is_ready(self):
        try:
            return get(self.address() + "/readyz") == "ready\n"
        except urllib.error.HTTPError:
            return False

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


class Feed:
    """`tickcast feed` as a WebSocket server."""

    def __init__(self, case, name, recording, *options):
        self.process = case.spawn(name, [
            BINARY, "feed", "--input", recording, "--to", "ws://127.0.0.1:0", *options,
        ], stdout=subprocess.PIPE)
        self.url = self.process.stdout.readline().decode().strip()

    def signal(self, number):
        self.process.send_signal(number)


def messages(url, count):
    """The first messages of a WebSocket server, which are short and whole."""
    host, port = url.removeprefix("ws://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
                           f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                           "Sec-WebSocket-Version: 13\r\n\r\n".encode())
        reader = connection.makefile("rb")
        while reader.readline() not in (b"\r\n", b""):
            pass
        found = []
        while len(found) < count:
            kind, length = reader.read(2)
            if length == 126:
                length = int.from_bytes(reader.read(2), "big")
            body = reader.read(length)
            # Pings are passed over: they are answered within minutes, and this takes less.
            if kind == 0x81:
                found.append(body.decode())
        return found


class BreakingFeed:
    """A WebSocket feed that breaks off every second, and goes on where it was."""

    def __init__(self, symbols):
        self.symbols, self.day = symbols, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection:
                try:
                    self.speak(connection)
                except OSError:
                    pass

    def speak(self, connection):
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)[1]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                           b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                           + base64.b64encode(digest) + b"\r\n\r\n")
        # Fewer steps than a window has, so that a gap is always inside of it.
        for _ in range(20):
            self.day += 1
            for symbol in self.symbols:
                tick = json.dumps({"symbol": symbol, "time": 10**12 + DAY_MS * self.day,
                                   "close": 20.5, "volume": 5e7}).encode()
                connection.sendall(bytes([0x81, len(tick)]) + tick)
            time.sleep(0.05)


def write_recording(path, symbols, steps, fields=("close", "volume"), price=20):
    """Ticks of every symbol about a price, one a day from 1971 on, in order of time."""
    with open(path, "w") as out:
        for step in range(steps):
            for index, symbol in enumerate(symbols):
                tick = {"symbol": symbol, "time": 35_000_000_000 + DAY_MS * step,
                        "close": price + (step * 7 + index) % 11 / 10, "volume": 5e7}
                kept = {"symbol", "time", *fields}
                out.write(json.dumps({key: tick[key] for key in tick if key in kept}) + "\n")


class Broker:
    """A Kafka broker of its own."""

    def __init__(self, case):
        jars = pathlib.Path(os.environ["TICKCAST_KAFKA_JARS"])
        java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp",
                f"{jars}/*"]
        port, controller = free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": case.folder / "broker-data",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.max.timeout.ms": 1000,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
        }
        file = case.folder / "server.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        # Any 16 bytes in base 64 name a cluster.
        run(*java, "kafka.tools.StorageTool", "format", "-t", "dGlja2Nhc3QtdGVzdHMxMg", "-c", file)
        self.process = case.spawn("broker", [*java, "kafka.Kafka", file])
        await_condition("the broker", lambda: self.listens(port))

    def listens(self, port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0


class Prometheus:
    """A real Prometheus with the rules of deploy/, in a hurry: minutes are seconds."""

    def __init__(self, case, targets):
        rules = []
        for file in sorted((DEPLOY / "prometheus").glob("*.rules.yml")):
            rules.append(case.folder / file.name)
            rules[-1].write_text(hurry(file.read_text()))
        static = "".join(
            f"      - targets: ['{address.removeprefix('http://')}']\n"
            f"        labels: {{instance: '{name}'}}\n" for name, address in targets.items()
        )
        config = case.folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{', '.join(str(rule) for rule in rules)}]\n"
            f"scrape_configs:\n  - job_name: tickcast\n    static_configs:\n{static}"
        )
        run("promtool", "check", "config", config)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = case.spawn("prometheus", [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={case.folder}/tsdb",
            f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=warn",
        ])
        await_condition("Prometheus", self.is_ready)

    def is_ready(self):
        try:
            return get(self.url + "/-/ready")
        except (urllib.error.URLError, ConnectionError):
            return False

    def query(self, expression):
        """The samples of an instant query, as (labels, value)."""
        query = urllib.parse.urlencode({"query": expression})
        try:
            data = json.loads(get(f"{self.url}/api/v1/query?{query}"))["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def fired(self):
        """The alerts that have fired since the start, as (name, instance)."""
        history = self.query('max_over_time(ALERTS{alertstate="firing"}[1h])')
        return {(labels["alertname"], labels.get("instance", "")) for labels, _ in history}


def hurry(rules):
    """The rules with every duration in seconds where it was in minutes, and an hour in a minute."""
    fewer = {"m": "s", "h": "m"}
    short = lambda match: f"{match[1]}{match[2]}{fewer[match[3]]}{match[4]}"
    rules = re.sub(r"(for: )(\d+)([mh])(\n)", short, rules)
    return re.sub(r"(\[)(\d+)([mh])(\])", short, rules)


class Pipe:
    """A pipe that a daemon writes lines to, read as slowly as the test wants."""

    def __init__(self, case, name):
        self.path = case.folder / f"{name}.pipe"
        os.mkfifo(self.path)
        # Both ways, so that opening waits for nobody.
        self.end = os.open(self.path, os.O_RDWR)
        self.pause = 0.0
        self.open = threading.Event()
        self.open.set()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            self.open.wait()
            os.read(self.end, 4096)
            time.sleep(self.pause)


def check_settings(case, name, text, variables):
    """Has the daemon judge settings that are meant for an image, with the image's paths here."""
    for there, here in {
        "/usr/share/tickcast/models": REPOSITORY / "models",
        "/usr/lib/tickcast/libonnxruntime.so": os.environ["ORT_DYLIB_PATH"],
    }.items():
        case.assertIn(there, text)
        text = text.replace(there, str(here))
    config = case.folder / f"{name}.toml"
    config.write_text(text)
    said = run(BINARY, "check", "-c", config, env={**os.environ, **variables})
    case.assertIn("cases pass", said)
