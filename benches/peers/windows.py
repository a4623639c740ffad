"""The windows of a training configuration, computed without tickcast.

What src/train/dataset.rs does, from the documentation alone: rows by the formulas of
tests/reference/features.py, parts that are divided in time, an embargo between them, and the scaler
`minmax`, fitted on the training part. `benches/train_peers.py` compares counts, ranges and errors
with those of the trainer, so neither is trusted alone.
"""

import dataclasses
import pathlib
import sys
import tomllib

import numpy as np
import pandas as pd

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reference"))
import features as reference  # noqa: E402

PARTS = ("training", "validation", "test")
# What this folder does as the trainer does it; everything else stays at its default.
KNOWN = {
    "window": {"steps", "features", "extra_fields"},
    "target": {"kind", "field", "above", "horizon_steps"},
    "split": {"test", "validation"},
    "network": {"lstm", "dense"},
    "fit": {"epochs_max", "batch", "patience", "learning_rate", "loss", "clip_norm", "lanes"},
}
LOSSES = {"mean_squared_error", "binary_cross_entropy"}


@dataclasses.dataclass
class Part:
    """Index of the first row of each window, and what came true behind it."""

    starts: np.ndarray
    truths: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass
class Windows:
    """Scaled rows of all symbols `[rows, features]`, and the windows of each part in them."""

    rows: np.ndarray
    parts: dict[str, Part]
    ranges: dict[str, tuple[float, float]]
    # The range of the labels, -1 to 1 in model units; None where the label is a probability.
    target_range: tuple[float, float] | None
    steps: int

    def of(self, part):
        """A view of all windows, `[windows, steps, features]`, and the indices of one part."""
        view = np.lib.stride_tricks.sliding_window_view(self.rows, self.steps, axis=0)
        return view.swapaxes(1, 2), self.parts[part].starts

    def values(self, outputs):
        """Outputs of a network in the unit of the target."""
        outputs = np.asarray(outputs, "float64")
        if self.target_range is None:
            return outputs
        low, high = self.target_range
        return low + (outputs + 1) * (high - low) / 2

    def save(self, path):
        arrays = {"rows": self.rows, "steps": self.steps}
        for name, part in self.parts.items():
            arrays[f"{name}_starts"] = part.starts
            arrays[f"{name}_labels"] = part.labels
        np.savez(path, **arrays)


def configuration(path):
    """A training configuration over the defaults, section by section."""
    laid = tomllib.loads((ROOT / "config/train/default.toml").read_text())
    own = tomllib.loads(pathlib.Path(path).read_text())
    for section, values in own.items():
        for key, value in values.items():
            known = key in KNOWN.get(section, {key})
            if not known and value != laid[section].get(key):
                raise ValueError(f"{path}: {section}.{key} is not written for the frameworks")
        laid.setdefault(section, {}).update(values)
    # The frameworks get no schedule and no weights, and neither does the trainer.
    for section in ("schedule", "weights"):
        laid["fit"].pop(section, None)
    if laid["fit"]["loss"] == "auto":
        probability = is_probability(laid["target"])
        laid["fit"]["loss"] = "binary_cross_entropy" if probability else "mean_squared_error"
    if laid["fit"]["loss"] not in LOSSES:
        raise ValueError(f"{path}: the loss is not written for the frameworks")
    data = laid["data"]
    if "path" in data:
        data["path"] = str((pathlib.Path(path).parent / data["path"]).resolve())
    return laid


def history(data):
    """The bars of every symbol in a CSV file, oldest first."""
    # The parser that pandas takes by itself is not exact to the last bit.
    table = pd.read_csv(data["path"], float_precision="round_trip")
    names = dict(pair.split("=") for pair in data["columns"].split(",") if pair)
    chosen = {name: table[column] for name, column in names.items()} or dict(table)
    if "symbol" not in chosen:
        chosen["symbol"] = pd.Series([data["symbol"]] * len(table))
    bars = pd.DataFrame(chosen)
    unit = None if bars["time"].dtype.kind in "OU" or bars["time"].dtype == "str" else "ms"
    bars["time"] = pd.to_datetime(bars["time"], utc=True, unit=unit)
    symbols = data["symbols"] or list(bars["symbol"].unique())
    return [bars[bars["symbol"] == symbol].reset_index(drop=True) for symbol in symbols]


def windows(laid, series):
    """Divides and scales the bars of every symbol as a configuration says."""
    names, steps = laid["window"]["features"], laid["window"]["steps"]
    horizon = laid["target"]["horizon_steps"]
    warm = max(warm_up(name) for name in names)
    bars = [one.iloc[warm:].reset_index(drop=True) for one in series]
    raw = [
        np.column_stack([reference.feature(one, name) for name in names])[warm:] for one in series
    ]
    truths = [truth(laid["target"], one) for one in bars]
    cuts = instants(bars, laid["split"])
    ranges = [
        [tuple(np.searchsorted(one["time"].array.asi8, cuts[at : at + 2])) for one in bars]
        for at in range(len(PARTS))
    ]

    learned = np.concatenate([rows[slice(*where)] for rows, where in zip(raw, ranges[0])])
    low, high = learned.min(axis=0), learned.max(axis=0)
    rows = np.concatenate([(one - low) * (2 / (high - low)) - 1 for one in raw])
    offsets = np.cumsum([0, *map(len, raw)])
    parts, target_range = {}, None
    for name, places in zip(PARTS, ranges):
        starts, came = [], []
        for (first, end), offset, after in zip(places, offsets, truths):
            # The naive forecast looks back as far as the label looks ahead.
            newest = np.arange(max(first + steps - 1, horizon - warm), end - horizon)
            starts.append(offset + newest - steps + 1)
            came.append(after[newest])
        came = np.concatenate(came)
        if name == "training" and not is_probability(laid["target"]):
            target_range = (came.min(), came.max())
        labels = came
        if target_range:
            smallest, largest = target_range
            labels = (came - smallest) * (2 / (largest - smallest)) - 1
        parts[name] = Part(np.concatenate(starts), came, labels.astype("float32"))
    return Windows(
        rows.astype("float32"),
        parts,
        {name: (low[at], high[at]) for at, name in enumerate(names)},
        target_range,
        steps,
    )


def warm_up(name):
    """Steps before the first row that has this feature; docs/features.md has them."""
    word, _, numbers = name.rstrip(")").partition("(")
    match word:
        case "rsi":
            return 8 * int(numbers) + 1
        case "volatility":
            return int(numbers)
        case "change" | "absolute_return" | "log_return" | "volume_change":
            return 1
        case "log_range" | "precipitation" | "temp_max" | "temp_min" | "wind":
            return 0
        case _ if word.startswith(("time_of_", "day_of_")):
            return 0
    raise ValueError(f"the warm-up of `{name}` is not written here")


def is_probability(target):
    return target["kind"] in ("next_event", "next_direction")


def truth(target, bars):
    """What comes true behind each row; the last rows have nothing behind them."""
    horizon = target["horizon_steps"]
    match target["kind"]:
        case "next_event":
            later = bars[target["field"]].to_numpy()[horizon:]
            return np.where(later > target["above"], 1.0, 0.0)
        case "next_direction":
            close = bars["close"].to_numpy()
            return np.where(close[horizon:] > close[:-horizon], 1.0, 0.0)
        case "next_volatility":
            close = bars["close"].to_numpy()
            return np.abs(close[horizon:] / close[:-horizon] - 1)
    raise ValueError(f"the target {target['kind']} is not written here")


def instants(bars, split):
    """The times at which the parts begin, and one behind the end. All rows are divided by count."""
    times = np.sort(np.concatenate([one["time"].array.asi8 for one in bars]))
    test = int(len(times) * (1 - split["test"]))
    validation = int(test * (1 - split["validation"]))
    return np.array([times[0], times[validation], times[test], times[-1] + 1])
