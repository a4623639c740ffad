"""Reference numbers for the loop of a fit, by Keras and PyTorch.

Writes tests/data/fitting_reference.json, which tests in src/train/fit and src/train/reference_check.rs
read. To make it again:

    python3 -m venv .cache/reference
    .cache/reference/bin/pip install keras==3.15.1 torch==2.15.0
    .cache/reference/bin/python -P tests/reference/fitting_reference.py

(`-P` keeps statistics.py beside this file from being taken for Python's own.)

It holds: learning rates (StepLR, CosineAnnealingLR and LinearLR of PyTorch, CosineDecay and
ReduceLROnPlateau of Keras), three steps of AdamW of both, in which biases do not decay, the loss and
the gradient of a batch with sample weights, gradients clipped by `global_clipnorm`, and an LSTM with
given recurrent masks. It also checks what docs/fitting.md says of Keras: an LSTM with
recurrent_dropout applies it, with one mask for each gate.
"""

import json
import os
import pathlib

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras.src.optimizers.base_optimizer import clip_by_global_norm

RATE = 0.02
OUT = pathlib.Path(__file__).resolve().parents[1] / "data" / "fitting_reference.json"


def main():
    random = np.random.default_rng(20126)
    document = {
        "made_by": f"keras {keras.__version__} on torch {torch.__version__.split('+')[0]}",
        "rate": RATE,
        "step": by_torch(torch.optim.lr_scheduler.StepLR, 10, step_size=3, gamma=0.5),
        "cosine": cosine(),
        "warm_up": by_torch(
            torch.optim.lr_scheduler.LinearLR, 12, start_factor=0.1, total_iters=9
        ),
        "plateau": [
            plateau(2, 0.5, 0.0, 0, 0.0, [1, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8, 0.7]),
            plateau(1, 0.5, 0.15, 2, 0.0, [1, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.5, 0.6, 0.6]),
            plateau(1, 0.1, 0.0, 0, 0.05, [1, 1, 1, 1, 0.5, 0.5]),
        ],
        "adamw": adamw(random),
        "weighted": weighted(random),
        "clip": clip(random),
        "recurrent": recurrent(random),
    }
    OUT.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{OUT.name}: {OUT.stat().st_size} bytes, {document['made_by']}")


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor).tolist()


def by_torch(schedule, count, **settings):
    """The rates of a scheduler of PyTorch that moves on `count` times."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
    scheduler = schedule(optimizer, **settings)
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def cosine():
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR
    rates = by_torch(theirs, 8, T_max=7, eta_min=0.1 * RATE)
    decay = keras.optimizers.schedules.CosineDecay(RATE, 7, alpha=0.1)
    keras_rates = [float(decay(step)) for step in range(10)]
    np.testing.assert_allclose(keras_rates[:8], rates, rtol=1e-5)
    # Behind its end Keras stays at the floor.
    return rates + keras_rates[8:]


def plateau(patience, factor, min_delta, cooldown, floor, values):
    """The rates that ReduceLROnPlateau of Keras leaves after each of these values."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse")
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor="val_loss",
        mode="min",
        factor=factor,
        patience=patience,
        min_delta=min_delta,
        cooldown=cooldown,
        min_lr=floor * RATE,
    )
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        rates.append(float(model.optimizer.learning_rate))
    return {
        "patience": patience,
        "factor": factor,
        "min_delta": min_delta,
        "cooldown": cooldown,
        "floor": floor,
        "values": values,
        "rates": rates,
    }


def adamw(random):
    rate, decay = 0.01, 0.5
    start = [random.uniform(-1, 1, count).astype("float32") for count in (4, 2)]
    gradients = [
        [random.uniform(-1, 1, part.shape).astype("float32") for part in start] for _ in range(3)
    ]
    variables = [
        keras.Variable(part, name=name) for part, name in zip(start, ["kernel", "bias"])
    ]
    optimizer = keras.optimizers.AdamW(rate, weight_decay=decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables)
    by_keras = []
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(part) for part in step], variables)
        by_keras.append([numbers(variable) for variable in variables])

    tensors = [torch.tensor(part, requires_grad=True) for part in start]
    groups = [{"params": [tensor], "weight_decay": d} for tensor, d in zip(tensors, [decay, 0.0])]
    optimizer = torch.optim.AdamW(groups, lr=rate, eps=1e-7)
    by_pytorch = []
    for step in gradients:
        for tensor, part in zip(tensors, step):
            tensor.grad = torch.tensor(part)
        optimizer.step()
        by_pytorch.append([tensor.detach().numpy().tolist() for tensor in tensors])
    return {
        "rate": rate,
        "weight_decay": decay,
        "kernel": start[0].tolist(),
        "bias": start[1].tolist(),
        "gradients": [[part.tolist() for part in step] for step in gradients],
        "keras": by_keras,
        "pytorch": by_pytorch,
    }


def weighted(random):
    values = random.uniform(-2, 2, 6).astype("float32")
    targets = (random.uniform(0, 1, 6) < 0.5).astype("float32")
    weights = random.uniform(0.2, 3, 6).astype("float32")

    def of(loss):
        logits = torch.tensor(values[:, None], requires_grad=True)
        result = loss(targets[:, None], logits, sample_weight=weights)
        result.backward()
        return [float(result.detach()), logits.grad[:, 0].tolist()]

    return {
        "values": values.tolist(),
        "targets": targets.tolist(),
        "weights": weights.tolist(),
        "squared_error": of(keras.losses.MeanSquaredError()),
        "cross_entropy": of(keras.losses.BinaryCrossentropy(from_logits=True)),
    }


def clip(random):
    parts = [random.uniform(-1, 1, count).astype("float32") for count in (5, 3)]
    norm = 0.7
    clipped = clip_by_global_norm([keras.ops.convert_to_tensor(part) for part in parts], norm)
    return {
        "norm": norm,
        "gradients": np.concatenate(parts).tolist(),
        "clipped": sum((numbers(part) for part in clipped), []),
    }


def recurrent(random):
    batch, steps, features, units = 3, 5, 2, 4
    inputs = random.uniform(-1, 1, (batch, steps, features)).astype("float32")
    layer = keras.layers.LSTM(units, recurrent_dropout=0.5)
    layer.build(inputs.shape)
    layer.set_weights([random.uniform(-1, 1, w.shape) for w in layer.get_weights()])

    # What the documentation says of this release.
    assert layer.cell.implementation == 1, layer.cell.implementation
    used, trained = numbers(layer(inputs)), numbers(layer(inputs, training=True))
    assert np.abs(np.subtract(used, trained)).max() > 0.01, "recurrent dropout is ignored"
    masks = keras.layers.LSTMCell(units, recurrent_dropout=0.5, seed=1)
    masks = masks.get_recurrent_dropout_mask(keras.ops.ones((9, units)))
    masks = [numbers(mask) for mask in masks]
    assert len(masks) == 4 and masks[0] != masks[1], "one mask for all gates"

    def states(masks):
        masks = [keras.ops.convert_to_tensor(mask) for mask in masks]
        layer.cell.get_recurrent_dropout_mask = lambda _: masks
        return numbers(layer(inputs, training=True))

    drawn = [2.0 * (random.uniform(0, 1, (batch, units)) < 0.5).astype("float32") for _ in range(4)]
    # No mask of zeros alone, which would show nothing.
    drawn[0][:, 0], drawn[0][:, 1] = 2.0, 0.0
    return {
        "inputs": inputs.tolist(),
        "weights": [w.tolist() for w in layer.get_weights()] + [[[0.0]] * units, [0.0]],
        "mask": drawn[0].tolist(),
        "states": states([drawn[0]] * 4),
        "states_by_gate": states(drawn),
    }


if __name__ == "__main__":
    main()
