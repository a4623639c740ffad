"""Reference vectors for the trainer: a forward pass and one Adam step, by Keras.

Writes tests/data/lstm_reference.json, which src/train/reference_check.rs reads. To make it again:

    python3 -m venv .cache/reference
    .cache/reference/bin/pip install keras==3.15.1 tensorflow-cpu==2.21.0
    .cache/reference/bin/python tests/reference/lstm_reference.py

The network is LSTM 5 (sequences), LSTM 3, Dense 4 relu, Dense 2 tanh on a batch of 6 windows of
7 x 2, with mean squared error. Weights stand as Keras has them: an LSTM has kernel [I, 4H],
recurrent kernel [H, 4H] and one bias [4H], whose gates are input, forget, candidate, output.
Keras adds Adam's epsilon outside of the bias correction: with m and v the running means and
rate' = rate sqrt(1 - b2^t) / (1 - b1^t), a parameter moves by rate' m / (sqrt(v) + epsilon). One
parameter is given a gradient as small as epsilon, so that this place shows.
"""

import json
import os
import pathlib

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

STEPS, BATCH, FEATURES, RATE = 7, 6, 2, 0.01
OUT = pathlib.Path(__file__).resolve().parents[1] / "data" / "lstm_reference.json"


def main():
    random = np.random.default_rng(20121)
    model = keras.Sequential(
        [
            keras.Input((STEPS, FEATURES)),
            keras.layers.LSTM(5, return_sequences=True),
            keras.layers.LSTM(3),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dense(2, activation="tanh"),
        ]
    )
    # Every weight moves away from its initial value, so that no bias is zero.
    model.set_weights([w + random.uniform(-0.3, 0.3, w.shape) for w in weights_of(model, random)])
    # The first relu unit is all but cut off from the loss: its gradients are about 1e-7.
    weights = model.get_weights()
    weights[-2][0] *= 1e-6
    model.set_weights(weights)

    inputs = random.uniform(-1, 1, (BATCH, STEPS, FEATURES)).astype("float32")
    targets = random.uniform(-0.8, 0.8, (BATCH, 2)).astype("float32")
    before = [w.tolist() for w in model.get_weights()]
    outputs = np.asarray(model(inputs)).tolist()
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse", jit_compile=False)
    loss = float(model.train_on_batch(inputs, targets))
    after = [w.tolist() for w in model.get_weights()]
    document = {
        "made_by": f"keras {keras.__version__} on {keras.backend.backend()}",
        "learning_rate": RATE,
        "inputs": inputs.tolist(),
        "targets": targets.tolist(),
        "outputs": outputs,
        "loss": loss,
        "weights_before": before,
        "weights_after": after,
    }
    OUT.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{OUT.name}: {OUT.stat().st_size} bytes, loss {loss:.6f}")


def weights_of(model, random):
    """Initial weights that depend on this script's seed alone."""
    return [random.uniform(-0.5, 0.5, w.shape) for w in model.get_weights()]


if __name__ == "__main__":
    main()
