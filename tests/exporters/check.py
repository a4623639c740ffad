"""Seals models of other frameworks, serves them live, and compares with the frameworks themselves.

    make test-models
    make test-models MODELS='torch_lstm2_dyn xgboost'
    make test-models MODELS=--list

export.py writes models as PyTorch, Keras, tf2onnx, skl2onnx and onnxmltools export them, and
outcomes.toml says what `tickcast model seal` has to make of each. What is sealed runs over the
recorded days of four symbols in one stream: in every mode of the bundle by `replay`, and twice live,
from the feed through the daemon. All runs give the same bytes, and the forecasts of AAPL are the
framework's own predictions for all of its windows, within the tolerance of the seal file.

The examples for Keras, PyTorch and scikit-learn run as well, after one pass of training where they
have several. Wants the variables TICKCAST, STOCKS (the recorded days) and MODELS_FOLDER, where
exported models are kept for the next run. Ends with status 1 if a kind is not as it should be.
"""

import argparse
import csv
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BINARY = os.environ["TICKCAST"]
STOCKS = os.environ["STOCKS"]
FOLDER = pathlib.Path(os.environ["MODELS_FOLDER"]).resolve()
COLUMNS = "symbol=Ticker,time=Date,close=Adj Close,volume=Volume"
SYMBOLS = ["AAPL", "GOOG", "IBM", "MSFT"]
PATIENCE_SECONDS = 300
# A published value is a 64-bit number of a 32-bit one.
ROUNDING = 1e-7


class Wrong(Exception):
    """What is not as it should be, in words."""


def outcomes():
    groups = tomllib.loads((HERE / "outcomes.toml").read_text())["outcome"]
    return {kind: group for group in groups for kind in group["kinds"]}


def tickcast(*arguments):
    """Runs a command; its status and what it printed."""
    command = [BINARY, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    return done.returncode, done.stdout, done.stderr


def seal(file, models):
    return tickcast("model", "seal", "-c", file, "--models", models)


def check_refusal(status, output, words):
    if status == 0:
        raise Wrong(f"was sealed, and not refused with the words {words}")
    if status != 78:
        raise Wrong(f"exit code {status}, not 78: {output}")
    missing = [word for word in words if word.lower() not in output.lower()]
    if missing:
        raise Wrong(f"the refusal lacks {missing}: {output}")
    if "\x1b" in output or "onnxruntime::" in output.lower() or "[ONNXRuntimeError]" in output:
        raise Wrong(f"the refusal has raw words of the runtime: {output!r}")
    problems = [line for line in output.splitlines() if line.startswith("  ")]
    if not problems or len(set(problems)) != len(problems):
        raise Wrong(f"the refusal says nothing, or something twice: {output}")


def check_manifest(folder, bundle, wanted):
    """What the bundle says of itself."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    if manifest["modes"] != wanted["modes"]:
        raise Wrong(f"serves {manifest['modes']}, not {wanted['modes']}")
    exactness, origin = manifest["exactness"], manifest["origin"]
    if exactness["rows"] != wanted.get("rows", exactness["rows"]):
        raise Wrong(f"rows are {exactness}, not {wanted['rows']}")
    if exactness["windows"] < 256:
        raise Wrong(f"proven with {exactness['windows']} windows")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    if origin["onnx_sha256"] != digest:
        raise Wrong("the manifest has another hash of the exported file")
    compared = origin["compared"]
    if compared["largest_difference"] > compared["tolerance"]:
        raise Wrong(f"sealed although it was compared as {compared}")
    status, _, errors = tickcast("model", "verify", bundle)
    if status != 0:
        raise Wrong(f"model verify: exit code {status}: {errors}")
    return manifest


def configuration(folder, url, models, bundle, mode):
    """Writes what the daemon and a replay run with."""
    file = folder / f"tickcast-{mode}.toml"
    file.write_text(
        f"[source]\nurl = '{url}'\nwhen_full = 'block'\n"
        f"[model]\nroot = '{models}'\nname = '{bundle.parent.name}'\nmode = '{mode}'\n"
        f"[http]\nbind = '127.0.0.1:0'\n[publish]\nlines = '{folder}/live.jsonl'\n"
    )
    return file


def replay(folder, config, days):
    output = folder / "replay.jsonl"
    status, _, errors = tickcast(
        "replay", "-c", config, "--input", days, "--columns", COLUMNS, "--output", output
    )
    if status != 0:
        raise Wrong(f"replay: exit code {status}: {errors}")
    return output.read_bytes()


def size(path):
    return path.stat().st_size if path.exists() else 0


def live(folder, config, bytes_min):
    """The lines of a daemon that has had the whole feed, when it has written so many bytes."""
    lines = folder / "live.jsonl"
    lines.unlink(missing_ok=True)
    with open(folder / "serve.log", "wb") as log:
        daemon = subprocess.Popen([BINARY, "serve", "-c", config], stderr=log)
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while size(lines) < bytes_min:
            if daemon.poll() is not None or time.monotonic() > end:
                log = (folder / "serve.log").read_text()[-1000:]
                raise Wrong(f"live: {size(lines)} of {bytes_min} bytes of forecasts: {log}")
            time.sleep(0.1)
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(PATIENCE_SECONDS)
    finally:
        daemon.kill()
        daemon.wait()
    if status != 0:
        raise Wrong(f"serve: exit code {status}")
    return lines.read_bytes()


def neutral(lines):
    """Forecasts without the mode they were made in."""
    return re.sub(rb'"mode":"[a-z]+"', b"", lines)


def check_runs(folder, url, days, models, bundle, manifest):
    """Every mode by replay, and `auto` twice live. Returns the forecasts."""
    by_mode = {
        mode: replay(folder, configuration(folder, url, models, bundle, mode), days)
        for mode in manifest["modes"]
    }
    first, *others = by_mode.values()
    if any(neutral(other) != neutral(first) for other in others):
        raise Wrong(f"the modes {list(by_mode)} give different forecasts")
    auto = "sliding" if "sliding" in by_mode else next(iter(by_mode))
    config = configuration(folder, url, models, bundle, auto)
    for life in ["first", "second"]:
        if live(folder, config, len(by_mode[auto])) != by_mode[auto]:
            raise Wrong(f"the {life} live run and the replay give different bytes")
    return [json.loads(line) for line in first.splitlines()]


def unscaled(scaler):
    """From the model's unit to the target's: what is added, and the factor before that."""
    if "data_min_" in scaler:
        scaler = {
            "min": scaler["data_min_"], "max": scaler["data_max_"],
            "low": scaler["feature_range"][0], "high": scaler["feature_range"][1],
        }
    if "min" in scaler:
        low, high = scaler.get("low", -1.0), scaler.get("high", 1.0)
        factor = (scaler["max"][0] - scaler["min"][0]) / (high - low)
        return scaler["min"][0] - low * factor, factor
    if "mean_" in scaler:
        return scaler["mean_"][0], scaler["scale_"][0]
    return 0.0, 1.0


def truths(folder, file):
    """The framework's predictions by day, in the target's unit, and the largest difference."""
    settings = tomllib.loads(file.read_text())
    scaler = settings["target"]["scaler"]
    if "sklearn" in scaler:
        scaler = json.loads((file.parent / scaler["sklearn"]).read_text())
    offset, factor = unscaled(scaler)
    with open(folder / "predictions.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    times = [row.pop("time", None) for row in rows]
    if None in times:
        # One row for each window from the first on: the newest days are the last ones.
        times = recorded_days()[-len(rows) :]
    values = [{name: offset + float(text) * factor for name, text in row.items()} for row in rows]
    return dict(zip(times, values, strict=True)), settings["expect"].get("tolerance", 1e-5)


def recorded_days():
    with open(STOCKS, newline="") as table:
        return [day["Date"] for day in csv.DictReader(table) if day["Ticker"] == "AAPL"]


def check_forecasts(forecasts, expected, tolerance, names):
    """Forecasts of AAPL are the framework's predictions. Returns the largest difference."""
    own = {one["as_of"][:10]: one for one in forecasts if one["symbol"] == "AAPL"}
    if own.keys() != expected.keys():
        missing = sorted(expected.keys() - own.keys())
        raise Wrong(f"{len(own)} forecasts for {len(expected)} predictions; missing: {missing[:3]}")
    differences = [
        abs(forecast[name] - expected[day][column])
        for day, forecast in own.items()
        for name, column in names.items()
    ]
    worst = max(differences)
    if not all(difference <= tolerance + ROUNDING for difference in differences):
        raise Wrong(f"forecasts differ from the framework's predictions by {worst:.2e}")
    return worst


def bundles(models, file):
    """The bundles of a seal file, each with the columns of predictions that it publishes."""
    settings = tomllib.loads(file.read_text())
    horizons = settings["target"].get("horizon_steps", 1)
    if isinstance(horizons, list):
        names = {f"{settings['name']}-h{steps}": {"value": f"value_{steps}"} for steps in horizons}
    elif "lower" in settings.get("output", {}):
        names = {settings["name"]: {name: name for name in ["lower", "value", "upper"]}}
    else:
        names = {settings["name"]: {"value": "value"}}
    return {models / name / "1": columns for name, columns in names.items()}


def check_kind(folder, file, wanted, work, url, days):
    """Seals and runs one kind. Returns what was seen, in words."""
    models = work / "models"
    shutil.rmtree(models, ignore_errors=True)
    start = time.monotonic()
    status, printed, errors = seal(file, models)
    seconds = time.monotonic() - start
    if "refused" in wanted:
        check_refusal(status, errors, wanted["refused"])
        if models.exists() and any(models.iterdir()):
            raise Wrong("left a bundle although it was refused")
        return f"refused in {seconds:.1f} s: {first_line(errors)}"
    if status != 0:
        raise Wrong(f"model seal: exit code {status}: {errors}")
    seen = []
    for bundle, columns in bundles(models, file).items():
        manifest = check_manifest(folder, bundle, wanted)
        forecasts = check_runs(work, url, days, models, bundle, manifest)
        worst = check_forecasts(forecasts, *truths(folder, file), columns)
        seen.append(
            f"{' and '.join(manifest['modes'])}, rows {manifest['exactness']['rows']}, "
            f"{len(forecasts)} forecasts, {worst:.1e} from the framework"
        )
    return f"sealed in {seconds:.1f} s; " + "; ".join(seen)


def first_line(errors):
    lines = [line.strip() for line in errors.splitlines() if line.startswith("  ")]
    return (lines or errors.splitlines())[0]


def write_days(path):
    """The days of four symbols in one stream, as the feed plays them: by time."""
    with open(STOCKS, newline="") as table:
        reader = csv.DictReader(table)
        rows = sorted(
            (row for row in reader if row["Ticker"] in SYMBOLS), key=lambda row: row["Date"]
        )
    with open(path, "w", newline="") as table:
        writer = csv.DictWriter(table, reader.fieldnames)
        writer.writeheader()
        writer.writerows(rows)


def make_example(name):
    """Trains an example for one pass. Returns the folder of what it wrote and its seal file."""
    script = (ROOT / "examples" / name / "train.py").read_text()
    folder = FOLDER / f"example_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    shorter, _ = re.subn(r"^EPOCHS = \d+$", "EPOCHS = 1", script, flags=re.MULTILINE)
    shorter, paths = re.subn(r'^OUT = ".*"$', f'OUT = "{folder}"', shorter, flags=re.MULTILINE)
    assert paths == 1, f"examples/{name}/train.py has no line for OUT"
    (folder / "train.py").write_text(shorter)
    done = subprocess.run(
        [sys.executable, folder / "train.py"], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise Wrong(f"examples/{name}/train.py: {done.stderr[-2000:]}")
    text = (ROOT / "examples" / name / "seal.toml").read_text()
    text = text.replace(f"../../target/examples/{name}/", "").replace("../../.cache/data/stocks.csv", STOCKS)
    (folder / "seal.toml").write_text(text)
    return folder


EXAMPLES = {
    "keras": {"modes": ["full"]},
    "pytorch": {"modes": ["full", "sliding"], "rows": "batched"},
    "sklearn": {"modes": ["full"]},
}


def framework(kind):
    """The script that exports a kind."""
    scripts = {"torch": "of_pytorch", "keras": "of_keras", "tf2onnx": "of_keras"}
    return scripts.get(kind.partition("_")[0], "of_trees")


def is_made(kind):
    """Whether it was exported by the scripts as they are now."""
    scripts = [HERE / "recorded.py", HERE / f"{framework(kind)}.py"]
    newest = max(script.stat().st_mtime for script in scripts)
    seal = FOLDER / kind / "seal.toml"
    return seal.exists() and seal.stat().st_mtime > newest


def export(kinds):
    """Each framework in a process of its own: together they would take the memory of all."""
    kinds = [kind for kind in kinds if not is_made(kind)]
    for script in sorted({framework(kind) for kind in kinds}):
        own = [kind for kind in kinds if framework(kind) == script]
        subprocess.run([sys.executable, HERE / "export.py", FOLDER, script, *own], check=True)


def main():
    # So that an end from outside ends the daemon and the feed as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    known = outcomes() | {f"example_{name}": wanted for name, wanted in EXAMPLES.items()}
    parser = argparse.ArgumentParser(description="Seals and serves models of other frameworks.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="only these; all by default")
    parser.add_argument("--list", action="store_true", help="list the kinds")
    arguments = parser.parse_args()
    if arguments.list:
        return print("\n".join(known))
    unknown = set(arguments.kinds) - known.keys()
    if unknown:
        parser.error(f"no kind {', '.join(sorted(unknown))}; --list names them")
    chosen = arguments.kinds or list(known)
    export([kind for kind in chosen if not kind.startswith("example_")])
    wrong = []
    with tempfile.TemporaryDirectory(prefix="tickcast-models-") as name:
        work = pathlib.Path(name)
        days = work / "days.csv"
        write_days(days)
        # Plays from the beginning to each connection.
        feed = subprocess.Popen(
            [BINARY, "feed", "--input", days, "--columns", COLUMNS, "--speed", "max"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        try:
            url = feed.stdout.readline().strip()
            for kind in chosen:
                try:
                    folder = FOLDER / kind
                    if kind.startswith("example_"):
                        folder = make_example(kind.removeprefix("example_"))
                    seen = check_kind(folder, folder / "seal.toml", known[kind], work, url, days)
                    print(f"{kind}: {seen}", flush=True)
                except Wrong as reason:
                    wrong.append(kind)
                    print(f"{kind}: WRONG: {reason}", flush=True)
        finally:
            feed.terminate()
            feed.wait()
    print(f"{len(chosen) - len(wrong)} of {len(chosen)} kinds are as they should be")
    if wrong:
        sys.exit(f"not so: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
