"""Computes every feature with pandas and writes tests/data/features_reference.json.

The reference for the features in src/core/features: the published formulas, on whole columns at once,
sharing nothing with the code they check. `cargo test --lib features` compares with what is written
here; running this again must change nothing.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install 'pandas==3.1.1' 'numpy==2.4.6'
    /tmp/reference/bin/python tests/reference/features.py
"""

import json
import pathlib

import numpy as np
import pandas as pd

SEED = 7
STEPS = 300


def history() -> pd.DataFrame:
    """A made-up price: a random walk with calm and wild times, bars around it, uneven times."""
    random = np.random.default_rng(SEED)
    deviation = np.where(np.arange(STEPS) // 50 % 2 == 0, 0.005, 0.03)
    close = 100 * np.exp(np.cumsum(random.normal(0.0002, deviation)))
    # Days on which nothing moves and nothing is traded.
    close[120:130] = close[119]
    spread = np.abs(random.normal(0, deviation))
    volume = np.round(random.lognormal(10, 1, STEPS))
    volume[120:130] = 0
    minutes = np.cumsum(random.integers(1, 3000, STEPS))
    return pd.DataFrame(
        {
            "time": pd.Timestamp("2019-11-05T09:30:00Z") + pd.to_timedelta(minutes, unit="min"),
            "high": (close * np.exp(spread)).round(4),
            "low": (close * np.exp(-spread)).round(4),
            "close": close.round(4),
            "volume": volume,
        }
    )


def ema(values: pd.Series, span: int) -> pd.Series:
    return values.ewm(span=span, adjust=False).mean()


def rsi(close: pd.Series, period: int) -> pd.Series:
    """Wilder (1978): 100 - 100 / (1 + RS), RS the ratio of the smoothed rises and falls."""
    move = close.diff()
    rises = move.clip(lower=0).ewm(alpha=1 / period, adjust=False).mean()
    falls = (-move).clip(lower=0).ewm(alpha=1 / period, adjust=False).mean()
    return 100 - 100 / (1 + rises / falls)


def macd(close: pd.Series, fast: int, slow: int, signal: int) -> tuple[pd.Series, ...]:
    """Appel: line, signal and histogram."""
    line = ema(close, fast) - ema(close, slow)
    return line, ema(line, signal), line - ema(line, signal)


def cycle(name: str, place: pd.Series) -> dict[str, pd.Series]:
    angle = 2 * np.pi * place
    return {f"{name}_sin": np.sin(angle), f"{name}_cos": np.cos(angle)}


def features(bars: pd.DataFrame) -> dict[str, pd.Series]:
    close, time = bars["close"], bars["time"]
    log_return = np.log(close).diff()
    line, signal, histogram = macd(close, 12, 26, 9)
    midnight = time.dt.normalize()
    day = (time - midnight) / pd.Timedelta(days=1)
    week = time.dt.day_of_week.astype(float)
    seconds = (time - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    year = np.mod(seconds / (365.2425 * 24 * 60 * 60), 1)
    return {
        "high": bars["high"],
        "close": close,
        "volume": bars["volume"],
        "change": close.pct_change(),
        "absolute_return": close.pct_change().abs(),
        "log_return": log_return,
        "volume_change": np.log(bars["volume"] + 1).diff(),
        "log_range": np.log(bars["high"]) - np.log(bars["low"]),
        "log(close)": np.log(close),
        "log(high)": np.log(bars["high"]),
        "lag(close,1)": close.shift(1),
        "lag(volume,7)": bars["volume"].shift(7),
        "ema(1)": ema(close, 1),
        "ema(20)": ema(close, 20),
        "ema_gap(20)": close / ema(close, 20) - 1,
        "macd(12,26)": line,
        "macd_signal(12,26,9)": signal,
        "macd(12,26,9)": histogram,
        "ppo(12,26)": 100 * line / ema(close, 26),
        "rsi(14)": rsi(close, 14),
        "rsi(2)": rsi(close, 2),
        "volatility(2)": log_return.rolling(2).std(),
        "volatility(20)": log_return.rolling(20).std(),
        "time_of_day": day,
        **cycle("time_of_day", day),
        "day_of_week": week,
        **cycle("day_of_week", week / 7),
        "time_of_year": year,
        **cycle("time_of_year", year),
    }


def numbers(column: pd.Series) -> list[float | None]:
    """The column as JSON has it: no value is null, and as many digits as every processor gives."""
    return [None if np.isnan(value) else float(f"{value:.13g}") for value in column]


def main() -> None:
    bars = history()
    text = {
        "generated_by": "tests/reference/features.py",
        "bars": {
            "time": [time.isoformat() for time in bars["time"]],
            **{name: numbers(bars[name]) for name in ("high", "low", "close", "volume")},
        },
        "features": {name: numbers(column) for name, column in features(bars).items()},
    }
    root = pathlib.Path(__file__).resolve().parent.parent
    path = root / "data" / "features_reference.json"
    path.parent.mkdir(exist_ok=True)
    columns = []
    for group in ("bars", "features"):
        lines = (f'    {json.dumps(name)}: {json.dumps(values, separators=(",", ":"))}'
                 for name, values in text[group].items())
        columns.append(f'  "{group}": {{\n' + ",\n".join(lines) + "\n  }")
    head = f'  "generated_by": {json.dumps(text["generated_by"])}'
    path.write_text("{\n" + ",\n".join([head, *columns]) + "\n}\n")


if __name__ == "__main__":
    main()
