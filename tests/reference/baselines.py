"""Computes forecasts of the baselines with pandas and writes tests/data/baselines_reference.json.

The reference for src/core/baseline: whole columns at once, sharing nothing with the code that they
check. `cargo test --lib baseline` compares with what is written here; running this again must
change nothing.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install 'pandas==3.1.1' 'numpy==2.4.6'
    /tmp/reference/bin/python tests/reference/baselines.py
"""

import json
import pathlib

import numpy as np
import pandas as pd

SEED = 18
STEPS = 240
ROWS = 7
# Target, threshold, horizon, half-life and period.
CASES = [
    ("next_return", None, 1, 8, 5),
    ("next_return", None, 3, 1, 7),
    ("next_log_return", None, 2, 32, 2),
    ("next_direction", None, 1, 16, 5),
    ("next_direction", None, 5, 4, 3),
    ("next_volatility", None, 1, 4, 5),
    ("next_volatility", None, 4, 64, 1),
    ("next_value", None, 1, 2, 7),
    ("next_value", None, 6, 128, 24),
    ("next_event", 100.0, 1, 3, 4),
    ("next_event", 100.0, 2, 8, 2),
]


def closes() -> np.ndarray:
    """A price with calm and stormy times and a few days without a change."""
    random = np.random.default_rng(SEED)
    scale = np.where(np.arange(STEPS) // 30 % 2 == 0, 0.004, 0.02)
    change = scale * random.standard_normal(STEPS)
    change[::17] = 0.0
    return np.round(100.0 * np.exp(np.cumsum(change - change.mean())), 2)


def truths(target: str, above: float | None, horizon: int, price: pd.Series) -> pd.Series:
    """What came true at each step for the step `horizon` earlier."""
    change = price / price.shift(horizon) - 1.0
    match target:
        case "next_return":
            return change
        case "next_log_return":
            return np.log(price).diff(horizon)
        case "next_direction":
            return (price.diff(horizon) > 0.0).astype(float).where(change.notna())
        case "next_volatility":
            return change.abs()
        case "next_value":
            return price
        case "next_event":
            return (price > above).astype(float)
    raise ValueError(target)


def case(price: pd.Series, target: str, above, horizon: int, half_life: int, period: int) -> dict:
    came = truths(target, above, horizon, price)
    persistence = came * 0.0 if target.endswith("return") else came
    # From here on every target has a truth to go by.
    known = np.arange(STEPS) >= horizon + period
    level = target == "next_value"
    drift = float((price - price.shift(horizon)).mean() if level else came.mean())
    average = came.ewm(halflife=half_life, adjust=True, ignore_na=True).mean()
    periods = int(np.ceil(horizon / period))
    seasonal = came.shift(-horizon).shift(periods * period)

    random = np.random.default_rng(SEED + horizon)
    weights = np.round(random.normal(0.0, 0.01, ROWS), 4)
    intercept = round(float(came.mean()), 4)
    percent = (100.0 * (price / price.shift(1).fillna(price[0]) - 1.0)).astype(np.float32)
    ages = range(ROWS - 1, -1, -1)
    windows = np.stack([percent.shift(age).to_numpy(float) for age in ages], axis=1)
    line = intercept + windows @ weights
    if target in ("next_direction", "next_event"):
        line = np.clip(line, 0.0, 1.0)
    if target == "next_volatility":
        line = np.maximum(line, 0.0)

    def listed(values) -> list:
        values = np.where(known, np.asarray(values, float), np.nan)
        return [None if np.isnan(value) else float(value) for value in values]

    return {
        "target": target,
        "above": above,
        "horizon_steps": horizon,
        "half_life_steps": half_life,
        "period_steps": period,
        "drift": drift,
        "linear": {"rows": ROWS, "intercept": intercept, "weights": weights.tolist()},
        "persistence": listed(persistence),
        "drifts": listed((price if level else 0.0) + drift + 0.0 * price),
        "average": listed(average),
        "seasonal": listed(seasonal),
        "line": listed(line),
    }


def main() -> None:
    price = pd.Series(closes())
    path = pathlib.Path(__file__).resolve().parent.parent / "data" / "baselines_reference.json"

    def line(value: object) -> str:
        return json.dumps(value, separators=(",", ":"))

    cases = ",\n    ".join(line(case(price, *terms)) for terms in CASES)
    path.write_text(
        "{\n"
        '  "generated_by": "tests/reference/baselines.py",\n'
        f'  "closes": {line(price.tolist())},\n'
        f'  "cases": [\n    {cases}\n  ]\n'
        "}\n"
    )


if __name__ == "__main__":
    main()
