"""Seconds per epoch of the trainer beside those of Keras, on the same machine in one go.

    make bench-train

Both fit the seed model (LSTM 64, LSTM 32, dropout 0.3, Dense 16 relu, dropout 0.2, Dense 1 tanh;
no recurrent dropout, for which Keras has no fast kernel) to 2,048 windows of 30 x 3 noise in
batches of 64, with Adam and mean squared error. Each is a process of its own, and the two take
turns, so that whatever else the machine does falls on both. The cold start is the time from the
start of the process to the end of its first epoch. Epochs after the first give the median.
"""

import json
import os
import statistics
import subprocess
import sys
import time

WINDOWS, STEPS, FEATURES, BATCH = 2048, 30, 3, 64
ROUNDS = 3
EPOCHS = int(os.environ.get("BENCH_EPOCHS", "11"))


def main():
    if sys.argv[1:] == ["--keras"]:
        return keras_epochs()
    commands = {
        "tickcast": [built_bench(), "--lines", str(EPOCHS)],
        "keras": [sys.executable, __file__, "--keras"],
    }
    runs = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            runs[name].append(measure(command))
    medians = {}
    print(f"{'':10}{'median':>10}{'fastest':>10}{'slowest':>10}{'cold start':>12}{'memory':>10}")
    for name, measured in runs.items():
        later = [seconds for run in measured for seconds in run["epochs"][1:]]
        medians[name] = statistics.median(later)
        cold = statistics.median(run["cold"] for run in measured)
        memory = max(run["memory"] for run in measured)
        print(
            f"{name:10}{medians[name]:8.3f} s{min(later):8.3f} s{max(later):8.3f} s"
            f"{cold:10.2f} s{memory:7.0f} MB   ({len(later)} epochs)"
        )
    ratio = medians["tickcast"] / medians["keras"]
    print(f"an epoch takes {ratio:.2f} of the time that Keras takes, on {os.cpu_count()} cores")


def built_bench():
    """Builds the bench and gives the path of its program."""
    command = ["cargo", "bench", "--profile", "dist", "--bench", "train", "--no-run"]
    command += ["--message-format", "json"]
    command[command.index("dist")] = os.environ.get("BENCH_PROFILE", "dist")
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    benches = [m for m in messages if m.get("target", {}).get("kind") == ["bench"]]
    return benches[-1]["executable"]


def measure(command):
    """Runs a process that prints `epoch SECONDS` after each epoch."""
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    epochs, cold = [], None
    for line in process.stdout:
        if line.startswith("epoch "):
            cold = cold or time.monotonic() - start
            epochs.append(float(line.split()[1]))
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0 or len(epochs) != EPOCHS:
        code = os.waitstatus_to_exitcode(status)
        sys.exit(f"{' '.join(command)}: exit {code} after {len(epochs)} epochs")
    # Linux counts in kilobytes.
    return {"epochs": epochs, "cold": cold, "memory": usage.ru_maxrss / 1024}


def keras_epochs():
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import keras
    import numpy

    class Lines(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.monotonic()

        def on_epoch_end(self, epoch, logs=None):
            print(f"epoch {time.monotonic() - self.start:.6f}", flush=True)

    random = numpy.random.default_rng(1)
    inputs = random.uniform(-1, 1, (WINDOWS, STEPS, FEATURES)).astype("float32")
    labels = random.uniform(-1, 1, (WINDOWS, 1)).astype("float32")
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
    model.compile(optimizer="adam", loss="mse")
    model.fit(inputs, labels, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[Lines()])


if __name__ == "__main__":
    main()
