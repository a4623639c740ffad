"""Fits scikit-learn's scalers and writes tests/data/scalers_reference.json.

The reference for the scalers in src/core/features/scaler: the attributes of fitted scalers, as
docs/training.md says to write them, and what they make of rows that they were not fitted to.
`cargo test --lib scaler` compares with what is written here; running this again must change nothing.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install 'scikit-learn==1.9.1' 'pandas==3.1.1' 'numpy==2.4.6'
    /tmp/reference/bin/python tests/reference/scalers.py
"""

import json
import pathlib

import numpy as np
import pandas as pd
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

SEED = 11
FITTED = 61
ROWS = 24
FEATURES = ["close", "volume", "change", "log_range", "time_of_day"]


def rows(random: np.random.Generator, count: int) -> np.ndarray:
    """Prices, volumes, small changes, a column that is mostly zero, and one that is constant."""
    return np.column_stack(
        [
            np.round(300 + np.cumsum(random.normal(0, 2, count)), 2),
            np.round(random.lognormal(16, 1, count)),
            random.normal(0.0003, 0.02, count),
            np.where(random.random(count) < 0.2, random.random(count), 0.0),
            np.full(count, 0.875),
        ]
    )


def attributes(scaler) -> dict:
    """What a user writes: every attribute, arrays as lists."""
    return {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in vars(scaler).items()
    }


SCALERS = {
    "MinMaxScaler()": lambda: MinMaxScaler(),
    "MinMaxScaler((-1, 1))": lambda: MinMaxScaler((-1, 1)),
    "MinMaxScaler((0.1, 0.9), clip=True)": lambda: MinMaxScaler((0.1, 0.9), clip=True),
    "StandardScaler()": lambda: StandardScaler(),
    "StandardScaler(with_mean=False)": lambda: StandardScaler(with_mean=False),
    "StandardScaler(with_std=False)": lambda: StandardScaler(with_std=False),
    "RobustScaler()": lambda: RobustScaler(),
    "RobustScaler((10, 90))": lambda: RobustScaler(quantile_range=(10, 90), unit_variance=True),
    "RobustScaler(with_centering=False)": lambda: RobustScaler(with_centering=False),
    "RobustScaler(with_scaling=False)": lambda: RobustScaler(with_scaling=False),
    "MaxAbsScaler()": lambda: MaxAbsScaler(),
}


def main() -> None:
    random = np.random.default_rng(SEED)
    fitted, unseen = rows(random, FITTED), rows(random, ROWS)
    # Twice as far out as anything the scalers have seen, so that clipping shows.
    unseen[-2:, :3] *= [[2.0], [0.5]]
    scalers = []
    for name, build in SCALERS.items():
        for dtype in ("float64", "float32"):
            scaler = build().fit(pd.DataFrame(fitted.astype(dtype), columns=FEATURES))
            table = pd.DataFrame(unseen.astype(dtype), columns=FEATURES)
            # Not rounded for the model yet, so that every bit of the arithmetic is compared.
            scaled = scaler.transform(table).astype("float64")
            scalers.append(
                {
                    "name": name,
                    "dtype": dtype,
                    "attributes": attributes(scaler),
                    "scaled": scaled.tolist(),
                    "back": scaler.inverse_transform(scaled.copy()).tolist(),
                }
            )
    text = {
        "generated_by": "tests/reference/scalers.py",
        "features": FEATURES,
        "fitted": fitted.tolist(),
        "rows": unseen.tolist(),
        "scalers": scalers,
    }
    path = pathlib.Path(__file__).resolve().parent.parent / "data" / "scalers_reference.json"
    path.write_text(json.dumps(text, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    main()
