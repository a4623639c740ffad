"""The recorded AAPL days as a model sees them, and the files beside an exported model.

Three features a day, `close` (adjusted), `volume` and `change`, scaled by min-max to (-1, 1) over
the first 80 % of the days, in windows of 30. A window's prediction is that of the next day's return,
scaled the same way.
"""

import csv
import json
import os
import pathlib

import numpy as np
from sklearn.preprocessing import MinMaxScaler

STEPS = 30
FEATURES = ["close", "volume", "change"]
SEED = 20130301


class Recorded:
    """One symbol's days: prices and volumes of all, and rows of features from the second on."""

    def __init__(self, path, symbol="AAPL"):
        with open(path, newline="") as file:
            days = [day for day in csv.DictReader(file) if day["Ticker"] == symbol]
        self.close = np.array([float(day["Adj Close"]) for day in days])
        self.volume = np.array([float(day["Volume"]) for day in days])
        self.days = [day["Date"] for day in days]
        # The first day has no change, so rows begin with the second.
        self.change = self.close[1:] / self.close[:-1] - 1
        self.times = self.days[1:]
        self.rows = np.column_stack([self.close[1:], self.volume[1:], self.change])
        self.learned = len(self.rows) * 8 // 10
        self.scaler = MinMaxScaler((-1, 1)).fit(self.rows[: self.learned])
        self.returns = MinMaxScaler((-1, 1)).fit(self.change[: self.learned, None])

    def windows(self, rows=None, steps=STEPS):
        """float32 [N, steps, features]: each row with the ones before it, oldest first."""
        scaled = self.scaler.transform(self.rows) if rows is None else rows
        whole = np.lib.stride_tricks.sliding_window_view(scaled, steps, axis=0)
        return np.ascontiguousarray(whole.transpose(0, 2, 1), dtype=np.float32)

    def lessons(self, rows=None, steps=STEPS):
        """Windows of the first 80 %, and the scaled return of the day after each."""
        windows = self.windows(rows, steps)[: self.learned - steps]
        truths = self.returns.transform(self.change[steps : self.learned, None])
        return windows, truths[:, 0].astype(np.float32)


def recorded():
    return Recorded(os.environ["STOCKS"])


def write_scaler(scaler, path):
    """A fitted scaler of scikit-learn as JSON, which `scaler.sklearn` of a seal file names."""
    plain = {name: getattr(value, "tolist", lambda: value)() for name, value in vars(scaler).items()}
    path.write_text(json.dumps(plain, indent=1) + "\n")


def write_predictions(path, times, values, names):
    """The framework's own predictions in the model's unit, [N] or [N, K], by the newest day."""
    values = np.asarray(values, dtype=np.float64).reshape(len(times), len(names))
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *names])
        for time, row in zip(times, values, strict=True):
            writer.writerow([time, *map(float, row)])


SEAL = """\
model = "model.onnx"
name = "{name}"
{extra}
[window]
steps = {steps}
features = {features}

[step]
interval_seconds = 86400

[scaler]
{scale}

[target]
kind = "{target}"
horizon_steps = {horizons}

[target.scaler]
{target_scale}

[output]
{output}

[data]
path = "{data}"
columns = "symbol=Ticker,time=Date,close=Adj Close,volume=Volume"
symbols = ["AAPL"]
trained_until = "{until}"

[expect]
path = "predictions.csv"
tolerance = {tolerance}
"""


class Kind:
    """The folder of one exported model: model.onnx, predictions.csv, scalers and seal.toml."""

    def __init__(self, folder, days):
        self.folder = pathlib.Path(folder)
        self.days = days
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def onnx(self):
        return self.folder / "model.onnx"

    def finish(self, predictions, *, names=("value",), scaler=None, scale="sklearn = 'scaler.json'",
               target="next_return", target_scale="sklearn = 'target.json'", horizons=1,
               output="value = 0", extra="", tolerance=1e-5, steps=STEPS, features=FEATURES,
               times=None):
        """Writes everything beside the model. `names`: of the columns of predictions; `times`: their
        days, by default those of all windows of rows."""
        days = self.days
        write_scaler(scaler or days.scaler, self.folder / "scaler.json")
        write_scaler(days.returns, self.folder / "target.json")
        path = self.folder / "predictions.csv"
        write_predictions(path, times or days.times[STEPS - 1 :], predictions, names)
        text = SEAL.format(
            name=self.folder.name, extra=extra, steps=steps, features=json.dumps(features),
            scale=scale, target=target, horizons=horizons, target_scale=target_scale,
            output=output, data=os.environ["STOCKS"], until=days.times[days.learned],
            tolerance=tolerance,
        )
        (self.folder / "seal.toml").write_text(text)
