"""Holds the documents in docs/api to their specifications and to a running daemon.

    make test-api

Starts the real daemon and the real feed on loopback, subscribes, and compares every message with
its schema. The examples run against it as well, and go on after it was stopped and started again.
Ends with status 1 at the first thing that is not as it should be. Wants the variables TICKCAST,
STOCKS (the recorded days), SPECIFICATIONS (the folder of npm's @asyncapi/specs) and NODE_PATH.
"""

import asyncio
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import jsonschema
import websockets
from openapi_spec_validator import validate as validate_openapi
from referencing import Registry, Resource

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ["TICKCAST"]
STOCKS = os.environ["STOCKS"]
SPECIFICATIONS = pathlib.Path(os.environ["SPECIFICATIONS"])
TOKEN = "a-token-of-this-test-alone"
PATIENCE_SECONDS = 60
MESSAGES = 500
OF_EXAMPLE = 40


def read(name):
    return json.loads((ROOT / "docs" / "api" / name).read_text())


def schemas():
    """Validators of the schemas by file name."""
    names = [f"{one}.schema.json" for one in ["forecast", "score", "stream", "tick"]]
    documents = {name: read(name) for name in names}
    resources = [(one["$id"], Resource.from_contents(one)) for one in documents.values()]
    registry = Registry().with_resources(resources)
    for document in documents.values():
        jsonschema.Draft202012Validator.check_schema(document)
    checker = jsonschema.FormatChecker()
    return {
        name: jsonschema.Draft202012Validator(document, registry=registry, format_checker=checker)
        for name, document in documents.items()
    }


def check_documents():
    validate_openapi(read("openapi.json"), base_uri=(ROOT / "docs/api/openapi.json").as_uri())
    specification = json.loads((SPECIFICATIONS / "schemas/3.0.0.json").read_text())
    jsonschema.Draft7Validator(specification).validate(read("asyncapi.json"))
    print("docs/api: openapi.json and asyncapi.json keep their specifications")


def check_rejections(validators):
    """A schema that takes everything checks nothing."""
    good = {"seq": 1, "forecast": {}}
    bad = [{}, good, {"notice": "welcome"}, {"notice": "other", "stream": "0" * 16, "seq": 1}]
    for message in bad:
        assert not validators["stream.schema.json"].is_valid(message), message
    assert not validators["tick.schema.json"].is_valid({"symbol": "A"})
    assert not validators["tick.schema.json"].is_valid({"symbol": "A", "time": 0, "close": -1})


class Process:
    """A process of ours, ended with the test."""

    def __init__(self, *arguments, **options):
        self.process = subprocess.Popen([BINARY, *map(str, arguments)], **options)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


def await_file(path):
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if path.exists():
            return path.read_text().strip()
        time.sleep(0.01)
    raise TimeoutError(f"no {path.name} within {PATIENCE_SECONDS} s")


def serve(folder, port=0):
    address = folder / "address"
    address.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "TICKCAST__HTTP__BIND": f"127.0.0.1:{port}",
        "TICKCAST__HTTP__TOKEN": TOKEN,
    }
    with open(folder / "log", "ab") as log:
        daemon = Process(
            "serve", "-c", folder / "tickcast.toml", "--address-file", address,
            env=environment, stderr=log,
        )
    return daemon, await_file(address).removeprefix("http://")


def ask(address, path, token=TOKEN, method="GET"):
    status, _, body = ask_whole(address, path, token, method)
    return status, body


def ask_whole(address, path, token=TOKEN, method="GET", headers={}):
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


async def hear(address, query, count):
    """The first messages of a subscription."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"ws://{address}/v1/stream?{query}"
    async with websockets.connect(url, additional_headers=headers) as socket:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [json.loads(await socket.recv()) for _ in range(count)]


def check_messages(address, validators):
    for query, schema in [
        ("", "forecast.schema.json"),
        ("envelope=true", "stream.schema.json"),
        ("records=scores", "score.schema.json"),
        ("records=scores&envelope=true", "stream.schema.json"),
    ]:
        for message in asyncio.run(hear(address, query, MESSAGES)):
            validators[schema].validate(message)
    query = "envelope=true&snapshot=true&symbols=AAPL,MSFT"
    messages = asyncio.run(hear(address, query, MESSAGES))
    kinds = [message.get("notice") for message in messages[:4]]
    assert kinds == ["welcome", "snapshot", None, None], kinds
    symbols = {message["forecast"]["symbol"] for message in messages[2:]}
    assert symbols == {"AAPL", "MSFT"}, symbols
    # Goes on behind the tenth of what was heard, with the very same messages.
    after = f"{messages[0]['stream']}:{messages[-10]['seq']}"
    again = asyncio.run(hear(address, f"envelope=true&symbols=AAPL,MSFT&after={after}", 10))
    assert again[1:] == messages[-9:], again[:2]
    for message in messages + again:
        validators["stream.schema.json"].validate(message)
    print(f"/v1/stream: {5 * MESSAGES + 10} messages keep their schemas; 9 came again after a break")


def check_scores(path, validators):
    await_lines(path, MESSAGES)
    for line in path.read_text().splitlines()[:MESSAGES]:
        validators["score.schema.json"].validate(json.loads(line))
    print(f"publish.scores: {MESSAGES} lines keep their schema")


def check_answers(address, validators):
    paths = read("openapi.json")["paths"]
    # The only model is live, so a promotion changes nothing either.
    asked = {"/v1/forecasts/{symbol}": "/v1/forecasts/AAPL",
             "/v1/scores/{symbol}": "/v1/scores/AAPL",
             "/v1/models/{name}/promote": "/v1/models/aapl-daily/promote"}
    # There is no other version of the model, so a reload changes nothing.
    expected = {"/v1/stream": 426}
    problem = jsonschema.Draft202012Validator(read("openapi.json")["components"]["schemas"]["Problem"])
    for path in paths:
        (method,) = paths[path]
        status, body = ask(address, asked.get(path, path), method=method.upper())
        assert status == expected.get(path, 200), (path, status, body)
        guarded = paths[path][method].get("security") != []
        status, _ = ask(address, asked.get(path, path), token=None, method=method.upper())
        assert (status == 401) == guarded, (path, status)
        if method == "get":
            head, _ = ask(address, asked.get(path, path), method="HEAD")
            assert head == expected.get(path, 200), (path, head)
        status, headers, _ = ask_whole(address, asked.get(path, path), None, "OPTIONS")
        assert (status, method.upper() in headers["Allow"]) == (204, True), (path, status)
    _, body = ask(address, "/v1/forecasts/AAPL")
    validators["forecast.schema.json"].validate(json.loads(body))
    _, body = ask(address, "/v1/scores/AAPL")
    validators["score.schema.json"].validate(json.loads(body))
    check_pages(address, validators)
    for path in ["/version", "/v1/models"]:
        answer = paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator(answer).validate(json.loads(ask(address, path)[1]))
    models = json.loads(ask(address, "/v1/models")[1])["models"]
    assert [model["runtime"] for model in models] == ["onnxruntime"], models
    for path, code in [
        ("/v1/forecasts/NONE", "unknown_symbol"),
        ("/v1/forecasts/%ff", "bad_request"),
        ("/v1/scores/NONE", "no_score"),
        ("/v1/symbols?limit=0", "bad_request"),
        ("/nothing", "no_such_path"),
    ]:
        _, headers, body = ask_whole(address, path)
        assert headers["Content-Type"] == "application/problem+json", path
        problem.validate(json.loads(body))
        assert json.loads(body)["code"] == code, (path, body)
    status, _, body = ask_whole(address, "/version", headers={"Host": "evil.example"})
    assert (status, json.loads(body)["code"]) == (421, "foreign_host"), body
    assert json.loads(ask(address, "/v1/openapi.json")[1]) == read("openapi.json")
    print(f"http: {len(paths)} paths answer as openapi.json says, with the token and without")


def check_pages(address, validators):
    """Pages of one entry show every symbol once."""
    for entries in ["forecasts", "scores", "symbols"]:
        path = f"/v1/{entries}"
        seen, after = [], ""
        while after is not None:
            _, body = ask(address, f"{path}?limit=1&after={after}")
            page = json.loads(body)
            seen += page[entries]
            assert page["left_off"] == page["count"] - len(seen), page
            if entries == "symbols":
                assert sum(page["history"].values()) == page["count"], page
            after = page["next"]
        # GOOG joins the recording late.
        names = [one["symbol"] for one in seen]
        assert names == sorted(set(names)) and {"AAPL", "IBM", "MSFT"} <= set(names), seen
        if entries != "symbols":
            for record in seen:
                validators[f"{entries[:-1]}.schema.json"].validate(record)


def check_examples(folder, daemon, address):
    """Each example prints forecasts before and after a restart of the daemon."""
    commands = {
        "python": [sys.executable, ROOT / "examples/subscribe.py"],
        "node": ["node", folder / "subscribe.mjs"],
        "rust": [os.environ["EXAMPLE"]],
    }
    # Node looks for packages beside the script.
    (folder / "subscribe.mjs").write_text((ROOT / "examples/subscribe.mjs").read_text())
    (folder / "node_modules").symlink_to(os.environ["NODE_PATH"])
    environment = {**os.environ, "TICKCAST_TOKEN": TOKEN, "COUNT": str(2 * OF_EXAMPLE)}
    running = {}
    for name, command in commands.items():
        symbols = ["AAPL,MSFT"] if name == "rust" else ["AAPL", "MSFT"]
        arguments = [*map(str, command), f"ws://{address}/v1/stream", *symbols]
        output = open(folder / f"{name}.out", "wb")
        running[name] = subprocess.Popen(arguments, env=environment, stdout=output)
        output.close()
    try:
        for name in running:
            await_lines(folder / f"{name}.out", 10)
        assert daemon.stop() == 0
        daemon, _ = serve(folder, port=address.rpartition(":")[2])
        for name, process in running.items():
            assert process.wait(PATIENCE_SECONDS) == 0, name
            lines = (folder / f"{name}.out").read_text().splitlines()
            assert len(lines) == 2 * OF_EXAMPLE, (name, len(lines))
            assert {line.split()[0] for line in lines} <= {"AAPL", "MSFT"}, name
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        daemon.stop()
    print(f"examples: {', '.join(running)} print {2 * OF_EXAMPLE} forecasts each over a restart")


def await_lines(path, count):
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if path.read_text().count("\n") >= count:
            return
        time.sleep(0.01)
    raise TimeoutError(f"{path.name} has no {count} lines: {path.read_text()}")


def main():
    validators = schemas()
    check_documents()
    check_rejections(validators)
    with tempfile.TemporaryDirectory(prefix="tickcast-api-") as name:
        folder = pathlib.Path(name)
        # The feed plays from the beginning to each connection and takes 80 seconds, longer than the
        # test.
        feed = Process(
            "feed", "--input", STOCKS, "--symbols", "AAPL,IBM,MSFT,GOOG", "--rate", "150/s",
            "--columns", "symbol=Ticker,time=Date,close=Adj Close,volume=Volume",
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        daemon = None
        try:
            url = feed.process.stdout.readline().strip()
            (folder / "tickcast.toml").write_text(
                f"[source]\nurl = '{url}'\n[model]\nroot = '{ROOT}/models'\nname = 'aapl-daily'\n"
                f"[publish]\nscores = '{folder}/scores.jsonl'\n"
            )
            daemon, address = serve(folder)
            check_messages(address, validators)
            check_scores(folder / "scores.jsonl", validators)
            check_answers(address, validators)
            check_examples(folder, daemon, address)
        except BaseException:
            print((folder / "log").read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            feed.stop()
            if daemon is not None:
                daemon.stop()


if __name__ == "__main__":
    main()
