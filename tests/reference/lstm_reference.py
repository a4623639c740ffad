"""Reference vectors for the trainer: a forward pass, a loss and one Adam step, by Keras.

Writes tests/data/lstm_reference.json and tests/data/layers_reference.json, which
src/train/reference_check.rs reads. To make them again:

    python3 -m venv .cache/reference
    .cache/reference/bin/pip install keras==3.15.1 tensorflow-cpu==2.21.0
    .cache/reference/bin/python tests/reference/lstm_reference.py

The first network is LSTM 5 (sequences), LSTM 3, Dense 4 relu, Dense 2 tanh on a batch of 6 windows of
7 x 2, with mean squared error. Weights stand as Keras has them: an LSTM has kernel [I, 4H],
recurrent kernel [H, 4H] and one bias [4H], whose gates are input, forget, candidate, output.
Keras adds Adam's epsilon outside of the bias correction: with m and v the running means and
rate' = rate sqrt(1 - b2^t) / (1 - b1^t), a parameter moves by rate' m / (sqrt(v) + epsilon). One
parameter is given a gradient as small as epsilon, so that this place shows.

The other networks have GRU layers (`reset_after`, the default: two biases [2, 3H], whose gates are
update, reset, candidate), a causal Conv1D (kernel [K, F, C]), and the losses Huber and mean absolute
error. Their gradients are stored as well, because a first step of Adam hides how large they are.
"""

import json
import os
import pathlib

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

STEPS, BATCH, FEATURES, RATE = 7, 6, 2, 0.01
DATA = pathlib.Path(__file__).resolve().parents[1] / "data"

CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
CASES = [
    {
        "name": "gru",
        "convolution": None,
        "recurrent": [["gru", 4], ["gru", 3]],
        "dense": [[3, "relu"], [2, "tanh"]],
        "loss_name": "huber",
        "delta": 0.4,
    },
    {
        "name": "convolution",
        "convolution": {"filters": 4, "kernel": 3, "activation": "relu"},
        "recurrent": [["gru", 3]],
        "dense": [[1, "tanh"]],
        "loss_name": "mean_absolute_error",
        "delta": 1.0,
    },
    {
        "name": "convolution longer than the window",
        "convolution": {"filters": 2, "kernel": 9, "activation": "tanh"},
        "recurrent": [["lstm", 3]],
        "dense": [[1, "linear"]],
        "loss_name": "huber",
        "delta": 1.0,
    },
    {
        "name": "mixed",
        "convolution": None,
        "recurrent": [["lstm", 3], ["gru", 2]],
        "dense": [[1, "tanh"]],
        "loss_name": "mean_squared_error",
        "delta": 1.0,
    },
]


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
    write("lstm_reference.json", document)
    write("layers_reference.json", [case_of(shape, random) for shape in CASES])


def case_of(shape, random):
    """One network of another shape, with its gradients."""
    layers = [keras.Input((STEPS, FEATURES))]
    if filters := shape["convolution"]:
        layers.append(
            keras.layers.Conv1D(
                filters["filters"],
                filters["kernel"],
                padding="causal",
                activation=filters["activation"],
            )
        )
    for at, (cell, units) in enumerate(shape["recurrent"]):
        last = at + 1 == len(shape["recurrent"])
        layers.append(CELLS[cell](units, return_sequences=not last))
    layers += [keras.layers.Dense(units, activation=name) for units, name in shape["dense"]]
    model = keras.Sequential(layers)
    model.set_weights(weights_of(model, random))
    loss = {
        "mean_squared_error": keras.losses.MeanSquaredError(),
        "mean_absolute_error": keras.losses.MeanAbsoluteError(),
        "huber": keras.losses.Huber(delta=shape["delta"]),
    }[shape["loss_name"]]

    inputs = random.uniform(-1, 1, (BATCH, STEPS, FEATURES)).astype("float32")
    targets = random.uniform(-0.8, 0.8, (BATCH, shape["dense"][-1][0])).astype("float32")
    before = model.get_weights()
    with tf.GradientTape() as tape:
        outputs = model(inputs)
        value = loss(targets, outputs)
    gradients = tape.gradient(value, model.trainable_variables)
    keras.optimizers.Adam(RATE).apply(gradients, model.trainable_variables)
    return shape | {
        "learning_rate": RATE,
        "inputs": short(inputs),
        "targets": short(targets),
        "outputs": short(outputs),
        "loss": float(value),
        "weights_before": [short(w) for w in before],
        "gradients": [short(g) for g in gradients],
        "weights_after": [short(w) for w in model.get_weights()],
    }


def short(array):
    """Nine digits, which are all of a 32-bit number."""
    array = np.asarray(array)
    return [short(part) for part in array] if array.ndim else float(f"{array:.9g}")


def write(name, document):
    path = DATA / name
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{name}: {path.stat().st_size} bytes")


def weights_of(model, random):
    """Initial weights that depend on this script's seed alone."""
    return [random.uniform(-0.5, 0.5, w.shape) for w in model.get_weights()]


if __name__ == "__main__":
    main()
