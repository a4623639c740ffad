"""The usual Keras tutorial on stocks: the next day's change of AAPL, by two layers of LSTM.

    python examples/keras/train.py
"""

import os

import numpy as np
import pandas as pd
from keras import Sequential, callbacks, layers, models, utils
from sklearn.preprocessing import MinMaxScaler

DATA = ".cache/data/stocks.csv"
OUT = "target/examples/keras"
WINDOW = 30
EPOCHS = 100

os.makedirs(OUT, exist_ok=True)
utils.set_random_seed(1)

# Three features a day, scaled to (-1, 1) by the days of the training part.
days = pd.read_csv(DATA)
days = days[days["Ticker"] == "AAPL"].reset_index(drop=True)
days["Change"] = days["Adj Close"].pct_change()
days = days.dropna()
features = days[["Adj Close", "Volume", "Change"]].to_numpy()
learned = len(features) * 8 // 10
scaler = MinMaxScaler(feature_range=(-1, 1)).fit(features[:learned])
scaled = scaler.transform(features)
print("min", scaler.data_min_.tolist(), "max", scaler.data_max_.tolist())

# Windows of 30 days; what follows each is the change of the next day.
X = np.stack([scaled[end - WINDOW : end] for end in range(WINDOW, len(scaled) + 1)])
y = scaled[WINDOW:, 2]
train = learned - WINDOW

model = Sequential(
    [
        layers.Input((WINDOW, 3)),
        layers.LSTM(64, return_sequences=True, recurrent_dropout=0.2),
        layers.LSTM(32),
        layers.Dropout(0.3),
        layers.Dense(16, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(1, activation="tanh"),
    ]
)
model.compile(optimizer="adam", loss="mse", metrics=["mae"])
model.fit(
    X[:train],
    y[:train],
    batch_size=64,
    epochs=EPOCHS,
    validation_split=0.2,
    callbacks=[
        callbacks.EarlyStopping(monitor="val_loss", patience=15),
        callbacks.ModelCheckpoint(f"{OUT}/best.keras", monitor="val_loss", save_best_only=True),
    ],
    verbose=2,
)
model = models.load_model(f"{OUT}/best.keras")
print("loss and mean absolute error of the test part:", model.evaluate(X[train:-1], y[train:], verbose=0))
predicted = model.predict(X, verbose=0)

# For tickcast: the model, and what it says, so that the forecasts can be compared with it.
model.export(f"{OUT}/model.onnx", format="onnx", verbose=False)
np.savetxt(f"{OUT}/predictions.csv", predicted, header="value", comments="")
