"""The size of the next day's move of AAPL, by LightGBM on lag features.

    python examples/sklearn/train.py
"""

import os

import lightgbm
import numpy as np
import pandas as pd
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

DATA = ".cache/data/stocks.csv"
OUT = "target/examples/sklearn"
LAGS = 5

os.makedirs(OUT, exist_ok=True)

# The features as docs/features.md defines change, volume_change and volatility(10).
days = pd.read_csv(DATA)
days = days[days["Ticker"] == "AAPL"].reset_index(drop=True)
close = days["Adj Close"]
today = pd.DataFrame(
    {
        "change": close.pct_change(),
        "volume_change": np.log1p(days["Volume"]).diff(),
        "volatility": np.log(close).diff().rolling(10).std(),
    }
)
# Each with its last five days, oldest first: the window of the daemon, flattened.
X = pd.concat([today.shift(lag).add_suffix(f"_{lag}") for lag in reversed(range(LAGS))], axis=1)
size = close.pct_change().abs()
y = size.shift(-1)
usable = X.notna().all(axis=1)
X, y = X[usable].to_numpy(np.float32), y[usable].to_numpy()
learned = len(X) * 8 // 10

model = lightgbm.LGBMRegressor(
    n_estimators=150, learning_rate=0.03, num_leaves=8, random_state=1, verbose=-1
)
model.fit(X[:learned], y[:learned])
predicted = model.predict(X)
error = np.abs(predicted[learned:-1] - y[learned:-1]).mean()
print(f"mean absolute error of the test part: {error:.5f}")

# For tickcast: the model, and what it says, so that the forecasts can be compared with it.
onnx = convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, X.shape[1]]))])
with open(f"{OUT}/model.onnx", "wb") as file:
    file.write(onnx.SerializeToString())
np.savetxt(f"{OUT}/predictions.csv", predicted, header="value", comments="")
