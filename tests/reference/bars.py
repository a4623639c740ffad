"""Computes bars of time with pandas' resample and writes tests/data/bars_reference.json.

The reference for the bars in src/core/step: whole columns at once, sharing nothing with the code that
they check. `cargo test --lib step` compares with what is written here; running this again must
change nothing.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install 'pandas==3.1.1' 'numpy==2.4.6'
    /tmp/reference/bin/python tests/reference/bars.py

With `--ticks FILE` the ticks are those of a CSV file with the columns `timestamp`, `price` and
`volume`, and with `--output FILE` the reference goes elsewhere: so real ticks can be compared by
hand.
"""

import argparse
import json
import pathlib

import numpy as np
import pandas as pd

SEED = 11
TICKS = 700
# Length, offset and the most carried bars; 0 skips empty ones.
CASES = [
    (1, 0, 0),
    (60, 0, 0),
    (60, 0, 3),
    (900, 0, 2),
    (3600, 600, 0),
    (86400, 0, 0),
    (86400, 79200, 0),
]


def made_up() -> pd.DataFrame:
    """Trades of a random walk over some days, with busy and quiet hours and whole hours of none."""
    random = np.random.default_rng(SEED)
    hour = np.arange(TICKS) // 50
    waits = random.exponential(np.where(hour % 3 == 0, 2.0, 240.0))
    waits[hour % 10 == 9] *= 20
    milliseconds = np.cumsum(np.maximum(1, waits * 1000)).astype(np.int64)
    price = (50 * np.exp(np.cumsum(random.normal(0, 0.001, TICKS)))).round(3)
    volume = random.integers(0, 500, TICKS) / 100
    sentiment = np.where(random.random(TICKS) < 0.1, random.normal(0, 1, TICKS).round(3), np.nan)
    start = pd.Timestamp("2026-02-27T20:15:00Z")
    return pd.DataFrame(
        {"price": price, "volume": volume, "sentiment": sentiment},
        index=start + pd.to_timedelta(milliseconds, unit="ms"),
    )


def recorded(path: str) -> pd.DataFrame:
    """Ticks of a file, in its order; times without a zone are UTC."""
    table = pd.read_csv(path)
    index = pd.to_datetime(table["timestamp"], utc=True, format="ISO8601").dt.floor("ms")
    table.index = pd.DatetimeIndex(index)
    volume = table["volume"] if "volume" in table else 1.0
    return pd.DataFrame({"price": table["price"], "volume": volume, "sentiment": np.nan})


def bars(ticks: pd.DataFrame, seconds: int, offset: int, carry: int) -> dict:
    resampled = ticks.resample(
        pd.Timedelta(seconds=seconds),
        origin="epoch",
        offset=pd.Timedelta(seconds=offset),
        closed="left",
        label="left",
    )
    table = resampled["price"].ohlc()
    table["volume"] = resampled["volume"].sum()
    table["sentiment"] = resampled["sentiment"].last()
    table["patched"] = resampled["price"].count() == 0
    # An empty interval has the close before it, or it is no bar at all.
    close = table["close"].ffill(limit=carry) if carry else table["close"]
    for name in ("open", "high", "low", "close"):
        table[name] = table[name].fillna(close)
    # The other fields of a flat bar are those of the bar that it repeats, also where that has none.
    whole = ~table["patched"]
    run = whole.cumsum()
    repeated = table["sentiment"].where(whole).groupby(run).transform("first")
    table["sentiment"] = repeated
    table = table[table["close"].notna()]
    end = table.index + pd.Timedelta(seconds=seconds)
    epoch = pd.Timestamp(0, tz="UTC")
    return {
        "interval_seconds": seconds,
        "offset_seconds": offset,
        "carry_steps_max": carry,
        "end": ((end - epoch) // pd.Timedelta(seconds=1)).tolist(),
        **{name: numbers(table[name]) for name in ("open", "high", "low", "close", "volume")},
        "sentiment": numbers(table["sentiment"]),
        "patched": table["patched"].tolist(),
    }


def numbers(column: pd.Series) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.13g}") for value in column]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ticks")
    parser.add_argument("--output")
    arguments = parser.parse_args()
    ticks = recorded(arguments.ticks) if arguments.ticks else made_up()
    epoch = pd.Timestamp(0, tz="UTC")
    reference = {
        "generated_by": "tests/reference/bars.py",
        "ticks": {
            "milliseconds": ((ticks.index - epoch) // pd.Timedelta(milliseconds=1)).tolist(),
            **{name: numbers(ticks[name]) for name in ("price", "volume", "sentiment")},
        },
        "cases": [bars(ticks, *case) for case in CASES],
    }
    root = pathlib.Path(__file__).resolve().parent.parent
    path = pathlib.Path(arguments.output or root / "data" / "bars_reference.json")
    path.parent.mkdir(exist_ok=True)

    def line(value: object) -> str:
        return json.dumps(value, separators=(",", ":"))

    cases = ",\n    ".join(line(case) for case in reference["cases"])
    path.write_text(
        "{\n"
        f'  "generated_by": {json.dumps(reference["generated_by"])},\n'
        f'  "ticks": {line(reference["ticks"])},\n'
        f'  "cases": [\n    {cases}\n  ]\n'
        "}\n"
    )


if __name__ == "__main__":
    main()
