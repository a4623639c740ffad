"""The trainer beside Keras and PyTorch, on one machine in one go.

    make bench-train                      the three tasks, over seeds
    make bench-train BENCH=sizes          200,000 to 10,000,000 rows
    make bench-train BENCH=epoch          an epoch of the seed model on noise

tasks: `seattle-rain`, `stocks-volatility` and `stocks-direction` of config/train. All fit the same
network to the same windows with the same loss, optimiser, batch, patience and seeds 1 to
BENCH_SEEDS, and keep the parameters of the epoch with the lowest validation loss. peers/windows.py
computes the windows without tickcast. The bundles that `tickcast train` seals are run by ONNX
Runtime on these windows, and counts, ranges and errors must be those of their manifests.

sizes: made-up minutes of ten symbols with calm and wild hours, 30 steps of 5 features, LSTM 16,
batches of 256, and BENCH_EPOCHS epochs (2). Above 1,000,000 rows tickcast is alone.

epoch: the seed model (LSTM 64, LSTM 32, Dense 16, Dense 1) without recurrent dropout, on 2,048
windows of 30 x 3 noise in batches of 64.

Every fit is a process of its own, one at a time, and they take turns, so that other work on the
machine falls on all. All may use every core. `whole run` is the time of the process on the clock,
`processor time` that of all cores, and `memory` its largest resident set. tickcast reads a CSV
file, computes features, judges the model beside its baselines and proves the sealed bundle; Keras
and PyTorch begin with scaled rows in a file of numpy and end with their forecasts.

Variables: BENCH (what to measure, `tasks`), BENCH_PEERS (`keras,torch`), BENCH_TASKS (all three),
BENCH_SEEDS (5), BENCH_EPOCHS (at most so many), BENCH_ROWS (`200000,1000000,10000000`), TICKCAST (a
built program), TORCH_PYTHON (the Python that has PyTorch).
"""

import functools
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

from peers import windows as independent

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = [name for name in os.environ.get("BENCH_PEERS", "keras,torch").split(",") if name]
SEEDS = int(os.environ.get("BENCH_SEEDS", "5"))
EPOCHS = int(os.environ["BENCH_EPOCHS"]) if "BENCH_EPOCHS" in os.environ else None
ROWS = [int(rows) for rows in os.environ.get("BENCH_ROWS", "200000,1000000,10000000").split(",")]
PYTHONS = {"keras": sys.executable, "torch": os.environ.get("TORCH_PYTHON", sys.executable)}
NAMES = {"tickcast": "tickcast", "keras": "Keras", "torch": "PyTorch"}

TASKS = os.environ.get("BENCH_TASKS", "seattle-rain,stocks-volatility,stocks-direction").split(",")
# What each task is judged by, and the digits that tell fits apart.
FIGURES = {
    "next_event": ("cross-entropy", 4),
    "next_direction": ("Brier score", 4),
    "next_volatility": ("RMSE", 6),
}
# Beyond it a framework's fit takes many minutes.
PEER_ROWS_MAX = 1_000_000
# A bundle on the windows of peers/windows.py, beside its own manifest.
TOLERANCE = 1e-5

# The 97.5 % quantile of Student's t for 1, 2, ... degrees of freedom.
STUDENT = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045,
]  # fmt: skip


def main():
    measures = {"tasks": tasks, "sizes": sizes, "epoch": epochs}
    chosen = sys.argv[1:] or ["tasks"]
    if unknown := set(chosen) - set(measures):
        sys.exit(f"{', '.join(sorted(unknown))}: BENCH is one or more of {' '.join(measures)}")
    if unknown := set(PEERS) - set(PYTHONS):
        sys.exit(f"{', '.join(sorted(unknown))}: BENCH_PEERS is one or more of {','.join(PYTHONS)}")
    if not 1 <= SEEDS <= len(STUDENT) + 1:
        sys.exit(f"BENCH_SEEDS is a number from 1 to {len(STUDENT) + 1}")
    print(f"```\n{machine()}\n```")
    (ROOT / ".cache").mkdir(exist_ok=True)
    for name in chosen:
        with tempfile.TemporaryDirectory(dir=ROOT / ".cache", prefix="bench-train-") as folder:
            measures[name](pathlib.Path(folder))


def machine():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    said = subprocess.run([program(), "--version"], check=True, stdout=subprocess.PIPE, text=True)
    versions = [said.stdout.strip()]
    for peer in PEERS:
        # Without an import, which takes seconds.
        script = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
        said = subprocess.run(
            [PYTHONS[peer], "-c", script, peer],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if said.returncode != 0:
            sys.exit(f"{PYTHONS[peer]} has no {NAMES[peer]}: set BENCH_PEERS to leave it out")
        versions.append(f"{NAMES[peer]} {said.stdout.strip()}")
    name = model.group(1) if model else "unknown processor"
    load = os.getloadavg()[0]
    return f"{name}, {os.cpu_count()} cores, load {load:.2f}\n{', '.join(versions)}"


# ------------------------------------------------------------------------------- the three tasks


def tasks(folder):
    rows, beside = [], []
    for name in TASKS:
        laid = independent.configuration(ROOT / f"config/train/{name}.toml")
        limit_epochs(laid)
        made = independent.windows(laid, independent.history(laid["data"]))
        runs = {who: [] for who in ["tickcast", *PEERS]}
        for seed in range(1, SEEDS + 1):
            for who, done in turn(folder, laid, made, runs, seed):
                done["figures"] = figures(laid, made, done["outputs"])
                runs[who].append(done)
                print(f"{name}, seed {seed}, {NAMES[who]}: {summary(done)}", file=sys.stderr)
        figure, digits = FIGURES[laid["target"]["kind"]]
        task = f"{name}, {figure}"
        for who, done in runs.items():
            rows.append(
                [
                    task if who == "tickcast" else "",
                    NAMES[who],
                    *(mean_and_spread(done, part, digits) for part in ("validation", "test")),
                    f"{statistics.median(run['epochs'] for run in done):.0f}",
                    *costs(done),
                ]
            )
        for peer in PEERS:
            beside.append([task, NAMES[peer], *differences(runs["tickcast"], runs[peer], digits)])
    spread = f"mean ± deviation over {SEEDS} seeds"
    heads = ["task and figure", "", f"validation, {spread}", "test", "epochs", *COSTS]
    table(heads, rows)
    if not beside:
        return
    ratios = ["epoch", "whole run", "processor time", "memory"]
    table(["tickcast beside", "", "validation", "test", *ratios], beside)


def turn(folder, laid, made, names, seed):
    """One fit of each, one after the other."""
    for who in names:
        if who == "tickcast":
            yield who, fit_by_tickcast(folder, laid, made, seed)
        else:
            yield who, fit_by_peer(folder, laid, made, who, seed)


def figures(laid, made, outputs):
    """The figure of the task on validation and test."""
    kind, found = laid["target"]["kind"], {}
    for part in ("validation", "test"):
        values, truths = made.values(outputs[part]), made.parts[part].truths
        if kind == "next_event":
            values = np.clip(values, 1e-7, 1 - 1e-7)
            found[part] = -np.mean(truths * np.log(values) + (1 - truths) * np.log(1 - values))
        elif kind == "next_direction":
            found[part] = np.mean((values - truths) ** 2)
        else:
            found[part] = math.sqrt(np.mean((values - truths) ** 2))
    return found


def mean_and_spread(runs, part, digits):
    values = [run["figures"][part] for run in runs]
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def differences(ours, theirs, digits):
    """Ours less theirs, over pairs of runs, with the 95 % interval of the mean; ratios of costs."""
    cells = []
    for part in ("validation", "test"):
        gaps = [a["figures"][part] - b["figures"][part] for a, b in zip(ours, theirs)]
        mean = statistics.mean(gaps)
        cell = f"{mean:+.{digits}f}"
        if len(gaps) > 1:
            half = STUDENT[len(gaps) - 2] * statistics.stdev(gaps) / math.sqrt(len(gaps))
            cell += f", {mean - half:+.{digits}f} to {mean + half:+.{digits}f}"
        cells.append(cell)
    for cost in (epoch_seconds, run_seconds, processor_seconds, memory_mb):
        cells.append(f"{cost(ours) / cost(theirs):.2f}")
    return cells


# ------------------------------------------------------------------------------------- the sizes


def sizes(folder):
    rows = []
    for count in ROWS:
        series = synthetic(count)
        path = folder / f"{count}.csv"
        write_csv(series, path)
        laid = size_configuration(path)
        peers = PEERS if count <= PEER_ROWS_MAX else []
        made = None
        if peers:
            made = independent.windows(laid, series)
        del series
        for who, done in turn(folder, laid, made, ["tickcast", *peers], seed=1):
            cells = [f"{count:,}" if who == "tickcast" else "", NAMES[who]]
            error = figures(laid, made, done["outputs"])["test"] if made else done["error"]
            rows.append([*cells, f"{done['windows']:,}", *costs([done]), f"{error:.6f}"])
            print(f"{count} rows, {NAMES[who]}: {summary(done)}", file=sys.stderr)
        path.unlink()
    table(["rows", "", "windows learned", *COSTS, "RMSE on test"], rows)


def synthetic(count):
    """Minutes of ten symbols: returns whose size changes from hour to hour, and a volume that
    follows it."""
    symbols, minutes = 10, count // 10
    series = []
    for symbol in range(symbols):
        random = np.random.default_rng([20_260, symbol])
        hours = minutes // 60 + 1
        # An hour is much like the one before.
        level = np.zeros(hours)
        for hour, change in enumerate(random.normal(0, 0.3, hours)):
            level[hour] = 0.9 * level[hour - 1] + change if hour else change
        size = 0.0005 * np.exp(np.repeat(level, 60)[:minutes])
        moves = size * random.normal(size=minutes)
        traded = 1000 * np.exp(0.5 * random.normal(size=minutes)) * (1 + np.abs(moves) / size)
        start = pd.Timestamp("2005-01-03T00:00:00Z")
        series.append(
            pd.DataFrame(
                {
                    "symbol": f"S{symbol}",
                    "time": pd.date_range(start, periods=minutes, freq="min", unit="ms"),
                    "close": np.round(100 * np.exp(np.cumsum(moves)), 4),
                    "volume": np.round(traded),
                }
            )
        )
    return series


def write_csv(series, path):
    with open(path, "w") as file:
        file.write("symbol,time,close,volume\n")
        for bars in series:
            times = bars["time"].dt.as_unit("ms").array.asi8
            lines = zip(bars["symbol"], times, bars["close"], bars["volume"])
            file.writelines("%s,%d,%.4f,%d\n" % line for line in lines)


def size_configuration(path):
    laid = independent.configuration(ROOT / "config/train/stocks-volatility.toml")
    laid["model"]["name"] = f"rows-{path.stem}"
    laid["data"].update(path=str(path), columns="", symbols=[])
    laid["step"]["interval_seconds"] = 60
    laid["window"]["features"] = [
        "absolute_return", "log_return", "volatility(5)", "volatility(20)", "volume_change",
    ]  # fmt: skip
    laid["network"]["lstm"] = [{"units": 16}]
    laid["fit"].update(batch=256, epochs_max=2)
    limit_epochs(laid)
    return laid


# ----------------------------------------------------------------------- an epoch of the seed model


def epochs(folder):
    windows, steps, features, count, rounds = 2048, 30, 3, EPOCHS or 11, 3
    random = np.random.default_rng(1)
    laid = independent.configuration(ROOT / "config/train/default.toml")
    for layer in laid["network"]["lstm"]:
        layer["recurrent_dropout"] = 0.0
    laid["fit"].update(epochs_max=count, patience=count)
    part = independent.Part(np.arange(windows), None, uniform(random, windows))
    one = independent.Part(np.arange(1), None, uniform(random, 1))
    made = independent.Windows(
        uniform(random, (windows + steps, features)),
        {"training": part, "validation": one, "test": one},
        {},
        None,
        steps,
    )
    command = ["cargo", "bench", "--profile", "dist", "--locked", "--bench", "train", "--no-run"]
    bench = built(command)
    runs = {who: [] for who in ["tickcast", *PEERS]}
    for _ in range(rounds):
        for who in runs:
            if who == "tickcast":
                done = measure([bench, "--lines", str(count)], folder)
            else:
                done = fit_by_peer(folder, laid, made, who, seed=1)
            runs[who].append(done)
    rows = []
    for who, done in runs.items():
        later = [seconds for run in done for seconds in run["epoch_seconds"]]
        first = statistics.median(run["first_seconds"] for run in done)
        seconds = [statistics.median(later), min(later), max(later)]
        ratio = epoch_seconds(runs["tickcast"]) / seconds[0]
        cells = [f"{value:.3f} s" for value in seconds] + [f"{first:.2f} s"]
        rows.append([NAMES[who], *cells, f"{memory_mb(done):.0f} MB", f"{ratio:.2f}"])
    heads = ["", "epoch, median", "fastest", "slowest", "start to end of the first epoch", "memory"]
    table([*heads, "tickcast's epoch / this one"], rows)


def uniform(random, shape):
    return random.uniform(-1, 1, shape).astype("float32")


# ------------------------------------------------------------------------------- fits and measures


def limit_epochs(laid):
    if EPOCHS is not None:
        laid["fit"]["epochs_max"] = min(EPOCHS, laid["fit"]["epochs_max"])


def fit_by_tickcast(folder, laid, made, seed):
    """`tickcast train`, and where there are windows, its bundle on them."""
    laid = {section: dict(values) for section, values in laid.items()}
    laid["report"]["folder"] = ""
    laid["fit"]["work"] = str(folder / "work")
    path = folder / "train.toml"
    path.write_text(toml(laid))
    models, name = folder / "models", laid["model"]["name"]
    options = ["--models", str(models), "--seed", str(seed), "--seeds", "1", "--version", str(seed)]
    done = measure([program(), "train", "-c", str(path), *options], folder)
    bundle = models / name / str(seed)
    manifest = json.loads((bundle / "manifest.json").read_text())
    done["windows"] = manifest["training"]["windows"]
    done["epochs"] = manifest["training"]["epochs"]
    # Where no peer takes part, the figure of the manifest is all there is.
    test = next(one for one in manifest["evaluation"] if one["part"] == "test")
    done["error"] = test["root_mean_squared_error"]
    if made:
        done["outputs"] = {
            part: run_bundle(bundle, manifest, made, part) for part in ("validation", "test")
        }
        check(laid, made, manifest, done["outputs"])
    return done


def run_bundle(bundle, manifest, made, part):
    """What ONNX Runtime makes of the windows of one part, a thousand at a time."""
    # Before the library loads: it reports to its maker otherwise.
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"
    import onnxruntime

    graph = manifest["graph"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), options)
    view, starts = made.of(part)
    outputs = []
    for some in np.array_split(starts, len(starts) // 1000 + 1):
        feed = {graph["input"]: np.ascontiguousarray(view[some].swapaxes(0, 1))}
        for state in graph["states"]:
            feed[state["input"]] = np.zeros((1, len(some), state["width"]), "float32")
        outputs.append(session.run([graph["output"]], feed)[0][:, 0])
    return np.concatenate(outputs)


def check(laid, made, manifest, outputs):
    """Ends the bench where the trainer did not see the windows of peers/windows.py."""
    found = {"windows": manifest["training"]["windows"]}
    wanted = {"windows": len(made.parts["training"].starts)}
    for column in manifest["scaler"]["columns"]:
        name = column["feature"]
        found[f"range of {name}"] = (column["min"], column["max"])
        wanted[f"range of {name}"] = made.ranges[name]
    for evaluation in manifest["evaluation"]:
        part = evaluation["part"]
        truths = made.parts[part].truths
        error = math.sqrt(np.mean((made.values(outputs[part]) - truths) ** 2))
        found[f"forecasts of {part}"] = evaluation["forecasts"]
        wanted[f"forecasts of {part}"] = len(truths)
        found[f"error on {part}"] = evaluation["root_mean_squared_error"]
        wanted[f"error on {part}"] = error
    for name, value in found.items():
        if not np.allclose(value, wanted[name], rtol=TOLERANCE, atol=1e-9):
            sys.exit(f"{laid['model']['name']}: {name}: {value} in the bundle, {wanted[name]} here")


def fit_by_peer(folder, laid, made, peer, seed):
    windows, task, outputs = folder / "windows.npz", folder / "task.json", folder / "outputs.npz"
    made.save(windows)
    text = {
        "windows": str(windows),
        "lstm": laid["network"]["lstm"],
        "dense": laid["network"]["dense"],
        "fit": laid["fit"],
        "seed": seed,
        "threads": os.cpu_count(),
        "outputs": str(outputs),
    }
    task.write_text(json.dumps(text))
    script = ROOT / f"benches/peers/{peer}_fit.py"
    done = measure([PYTHONS[peer], str(script), str(task)], folder)
    done["windows"] = len(made.parts["training"].starts)
    with np.load(outputs) as arrays:
        done["outputs"] = dict(arrays)
    return done


def measure(command, folder):
    """Runs a process that says `epoch` at the end of each one, and measures it."""
    errors, lines, used = folder / "errors", folder / "lines", folder / "used"
    launch = [sys.executable, "-I", "-S", str(ROOT / "benches/peers/launch.py"), str(used)]
    tells_by_stderr = command[1:2] == ["train"]
    start = time.monotonic()
    with open(errors if not tells_by_stderr else lines, "w") as other:
        process = subprocess.Popen(
            launch + command,
            stdout=other if tells_by_stderr else subprocess.PIPE,
            stderr=subprocess.PIPE if tells_by_stderr else other,
            text=True,
        )
        ends, told = [], []
        for line in process.stderr if tells_by_stderr else process.stdout:
            if line.startswith("epoch "):
                ends.append(time.monotonic() - start)
            else:
                told.append(line)
        process.wait()
    code, seconds, processor_seconds, kilobytes = map(float, used.read_text().split())
    if code != 0 or not ends:
        words = "".join(told) if tells_by_stderr else errors.read_text()
        sys.exit(f"{' '.join(command)}: exit {code:.0f} after {len(ends)} epochs\n{words[-2000:]}")
    # The first epoch holds what comes before it, unless it is the only one.
    between = [later - before for before, later in zip(ends, ends[1:])] or ends
    return {
        "epochs": len(ends),
        "first_seconds": ends[0],
        "epoch_seconds": between,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "memory": kilobytes / 1024,
    }


@functools.cache
def program():
    """The path of tickcast with its trainer: built here, or the one that TICKCAST names."""
    if os.environ.get("TICKCAST"):
        return os.environ["TICKCAST"]
    return built(["cargo", "build", "--profile", "dist", "--locked", "--bin", "tickcast"])


def built(command):
    """Builds with the profile BENCH_PROFILE, and gives the path of the program."""
    command[command.index("dist")] = os.environ.get("BENCH_PROFILE", "dist")
    command += ["--message-format", "json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    messages = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [m["executable"] for m in messages if m.get("executable")][-1]


# --------------------------------------------------------------------------------- words and tables

COSTS = ["epoch, median", "whole run, median", "processor time, median", "memory"]


def epoch_seconds(runs):
    return statistics.median(seconds for run in runs for seconds in run["epoch_seconds"])


def run_seconds(runs):
    return statistics.median(run["seconds"] for run in runs)


def processor_seconds(runs):
    return statistics.median(run["processor_seconds"] for run in runs)


def memory_mb(runs):
    return max(run["memory"] for run in runs)


def costs(runs):
    return [
        f"{epoch_seconds(runs):.3f} s",
        f"{run_seconds(runs):.1f} s",
        f"{processor_seconds(runs):.1f} s",
        f"{memory_mb(runs):,.0f} MB",
    ]


def summary(run):
    found = ", ".join(f"{part} {value:.6f}" for part, value in run.get("figures", {}).items())
    costs_of_one = f"{run['epochs']} epochs, {run['seconds']:.1f} s"
    costs_of_one += f" ({run['processor_seconds']:.1f} s), {run['memory']:.0f} MB"
    return f"{found}, {costs_of_one}" if found else costs_of_one


def table(heads, rows):
    print(f"\n| {' | '.join(heads)} |")
    print(f"|{'|'.join('---' for _ in heads)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def toml(sections):
    """A configuration as TOML: sections of plain values, lists and lists of tables."""

    def value(of):
        if isinstance(of, dict):
            return "{ " + ", ".join(f"{key} = {value(each)}" for key, each in of.items()) + " }"
        if isinstance(of, list):
            return "[" + ", ".join(map(value, of)) + "]"
        # JSON writes texts, numbers and booleans as TOML does.
        return json.dumps(of)

    text = ""
    for section, values in sections.items():
        text += f"[{section}]\n" + "".join(f"{k} = {value(v)}\n" for k, v in values.items()) + "\n"
    return text


if __name__ == "__main__":
    main()
