"""A forecast from tickcast beside the Python calls that it replaces, on one machine in one go.

    make bench-python

All run the seed model (a window of 30 x 3, LSTM 64, LSTM 32, Dense 16 relu, Dense 1 tanh):

* Keras: `model(x)` on one window, the call that live scripts make at every tick; and `predict`
  on 512 windows at once. The weights are random, on which time does not depend.
* Python with onnxruntime, the way a careful script does it: the bundle models/aapl-daily/1, the
  whole window for each forecast, one by one and in batches of 100, one thread.
* tickcast: the same bundle through `tickcast bench inference`, from decoded ticks to forecasts. In
  mode sliding the time is that of the critical path; the rate counts what is done behind it.

Keras runs in a process of its own. Times are medians for one call; the rate is that of forecasts.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time

MODEL = "models/aapl-daily/1"
STEPS, FEATURES = 30, 3
# How long each row is measured.
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))


def main():
    if sys.argv[1:] == ["--keras"]:
        return print(json.dumps(keras_calls()))
    keras = subprocess.run(
        [sys.executable, __file__, "--keras"],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    rows = json.loads(keras.stdout.splitlines()[-1]) + onnxruntime_loops()
    header, ours = tickcast()
    rows += ours
    slowest = rows[0]["seconds"]
    print(f"{header['cpu_model']}, {header['cores']} cores, load {header['load_average_1m']}")
    print(f"{'':40}{'call, p50':>13}{'p99':>13}{'forecasts/s':>13}{'x Keras':>9}")
    for row in rows:
        print(
            f"{row['what']:40}{microseconds(row['seconds'])}{microseconds(row['p99'])}"
            f"{row['rate']:13,.0f}{row['rate'] * slowest:9,.0f}"
        )
    times = slowest / min(row["seconds"] for row in ours)
    print(
        f"\nfrom a tick to its forecast: {times:,.0f} times as fast as the Keras call, "
        f"{math.log10(times):.1f} orders of magnitude"
    )


def microseconds(seconds):
    return f"{1e6 * seconds:10,.1f} us"


def measure(what, forecasts, call):
    """Times a call that makes so many forecasts."""
    call()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < SECONDS or len(times) < 10:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    times.sort()
    median = statistics.median(times)
    p99 = times[min(len(times) - 1, int(0.99 * len(times)))]
    return {"what": what, "seconds": median, "p99": p99, "rate": forecasts / median}


def keras_calls():
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import keras
    import numpy

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((STEPS, FEATURES)),
            layers.LSTM(64, return_sequences=True),
            layers.LSTM(32),
            layers.Dropout(0.3),
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(1, activation="tanh"),
        ]
    )
    windows = noise(numpy, (512, STEPS, FEATURES))
    one = windows[:1]
    return [
        measure("Keras, model(x), one window", 1, lambda: model(one).numpy()),
        measure(
            "Keras, predict, 512 windows at once", 512, lambda: model.predict(windows, 512, 0)
        ),
    ]


def onnxruntime_loops():
    # Before the library loads: it reports to its maker otherwise.
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"
    import numpy
    import onnxruntime

    with open(f"{MODEL}/manifest.json") as file:
        manifest = json.load(file)
    if (manifest["window_steps"], len(manifest["features"])) != (STEPS, FEATURES):
        sys.exit(f"{MODEL} has no longer the shape of the seed model")
    graph = manifest["graph"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(f"{MODEL}/model.onnx", options)
    rows = []
    for batch, what in [(1, "one window"), (100, "100 windows at once")]:
        windows = noise(numpy, (STEPS, batch, FEATURES))
        states = [(state["input"], state["width"]) for state in graph["states"]]

        def call():
            feed = {name: numpy.zeros((1, batch, width), "float32") for name, width in states}
            feed[graph["input"]] = windows
            return session.run([graph["output"]], feed)

        rows.append(measure(f"Python onnxruntime, {what}", batch, call))
    return rows


def noise(numpy, shape):
    return numpy.random.default_rng(1).uniform(-1, 1, shape).astype("float32")


def build():
    """The path of the daemon as it ships, without the trainer; or that which TICKCAST names."""
    if os.environ.get("TICKCAST"):
        return os.environ["TICKCAST"]
    command = ["cargo", "build", "--profile", "dist", "--locked", "--no-default-features"]
    command += ["--features", "kafka"]
    built = subprocess.run(
        [*command, "--message-format", "json"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    return [m["executable"] for m in messages if m.get("executable")][-1]


def tickcast():
    """Header and rows of the bench of the same model."""
    command = [build(), "bench", "inference", "--model", MODEL, "--batches", "1,100"]
    command += ["--seconds", str(SECONDS), "--json"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    header, *measured = [json.loads(line) for line in lines.splitlines()]
    rows = []
    for row in measured:
        if row["bench"] != "inference":
            continue
        ours, batch = row["ours"], row["batch"]
        symbols = "1 symbol" if batch == 1 else f"{batch} symbols at once"
        rows.append(
            {
                "what": f"tickcast, {row['mode']}, {symbols}",
                "seconds": ours["p50_us"] / 1e6,
                "p99": ours["p99_us"] / 1e6,
                "rate": row["forecasts_per_second"],
            }
        )
    return header, rows


if __name__ == "__main__":
    main()
