"""The size of the next day's move of AAPL, by two layers of LSTM in PyTorch.

    python examples/pytorch/train.py
"""

import json
import os

import numpy as np
import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

DATA = ".cache/data/stocks.csv"
OUT = "target/examples/pytorch"
WINDOW = 20
EPOCHS = 10

os.makedirs(OUT, exist_ok=True)
torch.manual_seed(1)

# The features as docs/features.md defines log_return, volume_change and volatility(10).
days = pd.read_csv(DATA)
days = days[days["Ticker"] == "AAPL"].reset_index(drop=True)
log_return = np.log(days["Adj Close"]).diff()
days["log_return"] = log_return
days["volume_change"] = np.log1p(days["Volume"]).diff()
days["volatility"] = log_return.rolling(10).std()
days["size"] = days["Adj Close"].pct_change().abs()
days = days.dropna()
features = days[["log_return", "volume_change", "volatility"]].to_numpy()
learned = len(features) * 8 // 10
scaler = StandardScaler().fit(features[:learned])
scaled = scaler.transform(features).astype(np.float32)

# Windows of 20 days; what follows each is the size of the next day's move.
X = torch.from_numpy(np.stack([scaled[end - WINDOW : end] for end in range(WINDOW, len(scaled) + 1)]))
y = torch.from_numpy(days["size"].to_numpy(np.float32)[WINDOW:, None])
train = learned - WINDOW


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 32, num_layers=2, batch_first=True)
        self.head = nn.Linear(32, 1)
        nn.init.ones_(self.head.bias)

    def forward(self, x):
        y, _ = self.lstm(x)
        # In per cent up to here; no move is smaller than 0.
        return torch.relu(self.head(y[:, -1])) / 100


model = Model()
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(EPOCHS):
    for batch in torch.randperm(train).split(64):
        optimizer.zero_grad()
        nn.functional.mse_loss(100 * model(X[batch]), 100 * y[batch]).backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    predicted = model(X)
error = (predicted[train:-1] - y[train:]).abs().mean().item()
print(f"mean absolute error of the test part: {error:.5f}")

# For tickcast: the model, the scaler, and what the model says, to be compared with.
batch = torch.export.Dim("batch")
torch.onnx.export(model, (X[:2],), f"{OUT}/model.onnx", dynamic_shapes=({0: batch},))
with open(f"{OUT}/scaler.json", "w") as file:
    json.dump({k: v.tolist() if hasattr(v, "tolist") else v for k, v in vars(scaler).items()}, file)
np.savetxt(f"{OUT}/predictions.csv", predicted, header="value", comments="")
