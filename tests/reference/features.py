"""Computes every feature with pandas and writes tests/data/features_reference.json.

The reference for the features in src/core/features: the published formulas, on whole columns at once,
sharing nothing with the code they check. `cargo test --lib features` compares with what is written
here; running this again must change nothing. benches/train_peers.py makes its rows by `feature`.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install 'pandas==3.1.1' 'numpy==2.4.6'
    /tmp/reference/bin/python tests/reference/features.py
"""

import json
import pathlib
import re

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


def macd_column(close: pd.Series, fast: int, slow: int, signal: int | None = None) -> pd.Series:
    """The line, or with a third parameter the histogram."""
    return macd(close, fast, slow, 1)[0] if signal is None else macd(close, fast, slow, signal)[2]


def ppo(close: pd.Series, fast: int, slow: int) -> pd.Series:
    return 100 * (ema(close, fast) - ema(close, slow)) / ema(close, slow)


def volatility(close: pd.Series, returns: int) -> pd.Series:
    return np.log(close).diff().rolling(returns).std()


def calendar(time: pd.Series, name: str) -> pd.Series:
    """A place in the day, the week or the year; also as a point on a circle."""
    cycle, _, side = name.rpartition("_")
    if side in ("sin", "cos"):
        place = calendar(time, cycle) / (7 if cycle == "day_of_week" else 1)
        return (np.sin if side == "sin" else np.cos)(2 * np.pi * place)
    if name == "time_of_day":
        return (time - time.dt.normalize()) / pd.Timedelta(days=1)
    if name == "day_of_week":
        return time.dt.day_of_week.astype(float)
    seconds = (time - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return np.mod(seconds / (365.2425 * 24 * 60 * 60), 1)


FORMULAS = {
    "change": lambda bars: bars["close"].pct_change(),
    "absolute_return": lambda bars: bars["close"].pct_change().abs(),
    "log_return": lambda bars: np.log(bars["close"]).diff(),
    "volume_change": lambda bars: np.log(bars["volume"] + 1).diff(),
    "log_range": lambda bars: np.log(bars["high"]) - np.log(bars["low"]),
    "ema": lambda bars, span: ema(bars["close"], span),
    "ema_gap": lambda bars, span: bars["close"] / ema(bars["close"], span) - 1,
    "macd": lambda bars, *periods: macd_column(bars["close"], *periods),
    "macd_signal": lambda bars, fast, slow, signal: macd(bars["close"], fast, slow, signal)[1],
    "ppo": lambda bars, fast, slow: ppo(bars["close"], fast, slow),
    "rsi": lambda bars, period: rsi(bars["close"], period),
    "volatility": lambda bars, returns: volatility(bars["close"], returns),
}

NAMES = """
    high close volume change absolute_return log_return volume_change log_range log(close)
    log(high) lag(close,1) lag(volume,7) ema(1) ema(20) ema_gap(20) macd(12,26)
    macd_signal(12,26,9) macd(12,26,9) ppo(12,26) rsi(14) rsi(2) volatility(2) volatility(20)
    time_of_day time_of_day_sin time_of_day_cos day_of_week day_of_week_sin day_of_week_cos
    time_of_year time_of_year_sin time_of_year_cos
""".split()


def feature(bars: pd.DataFrame, name: str) -> pd.Series:
    """One column by the name that a configuration gives it."""
    if name in bars:
        return bars[name]
    word, *arguments = re.findall(r"\w+", name)
    if word == "log":
        return np.log(bars[arguments[0]])
    if word == "lag":
        return bars[arguments[0]].shift(int(arguments[1]))
    if word.startswith(("time_of_", "day_of_")):
        return calendar(bars["time"], word)
    return FORMULAS[word](bars, *map(int, arguments))


def features(bars: pd.DataFrame) -> dict[str, pd.Series]:
    return {name: feature(bars, name) for name in NAMES}


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
