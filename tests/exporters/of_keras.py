"""Keras models on TensorFlow, exported by `model.export(format="onnx")` or by tf2onnx itself."""

import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
from keras import layers

from recorded import SEED, STEPS, Kind


def tutorial(dropout):
    """The network of the usual tutorial on forecasting stocks."""
    return [
        layers.LSTM(64, return_sequences=True, recurrent_dropout=dropout),
        layers.LSTM(32),
        layers.Dropout(0.3),
        layers.Dense(16, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(1, activation="tanh"),
    ]


def attention():
    x = keras.Input((STEPS, 3))
    y = layers.LSTM(16, return_sequences=True)(x)
    y = layers.GlobalAveragePooling1D()(layers.Attention()([y, y]))
    return keras.Model(x, layers.Dense(1)(y))


def normalized(days):
    """What the exporter loses: the constants of a Normalization that was adapted to data."""
    norm = layers.Normalization()
    norm.adapt(days.rows[: days.learned].astype("float32"))
    return [norm, layers.LSTM(16), layers.Dense(1)]


def sequential(parts, steps=STEPS):
    return keras.Sequential([keras.Input((steps, 3)), *parts])


def built(days, make, is_tf2onnx=False, is_raw=False):
    """A maker of an exported model. `is_raw`: it reads unscaled rows."""

    def build(folder):
        kind = Kind(folder, days)
        keras.utils.set_random_seed(SEED)
        model = make()
        if isinstance(model, list):
            model = sequential(model)
        windows = days.windows(days.rows if is_raw else None)
        predictions = model.predict(windows, batch_size=512, verbose=0)
        if is_tf2onnx:
            export_by_tf2onnx(model, kind.onnx)
        else:
            model.export(str(kind.onnx), format="onnx", verbose=False)
        kind.finish(
            np.asarray(predictions)[:, 0],
            scale="kind = 'none'" if is_raw else "sklearn = 'scaler.json'",
        )

    return build


def export_by_tf2onnx(model, path):
    import tensorflow
    import tf2onnx

    signature = (tensorflow.TensorSpec((None, STEPS, 3), tensorflow.float32, name="x"),)
    function = tensorflow.function(lambda x: model(x, training=False), input_signature=signature)
    tf2onnx.convert.from_function(
        function, input_signature=signature, opset=17, output_path=str(path)
    )


def kinds(days):
    """Every kind of this framework: its name, and what makes it in a folder."""
    recurrent = {
        "gru": lambda: [layers.GRU(16), layers.Dense(1)],
        "rnn": lambda: [layers.SimpleRNN(16), layers.Dense(1)],
        "bilstm": lambda: [layers.Bidirectional(layers.LSTM(16)), layers.Dense(1)],
        "cnn_lstm": lambda: [
            layers.Conv1D(8, 3, activation="relu"), layers.MaxPooling1D(2), layers.LSTM(16),
            layers.Dense(1),
        ],
        "tcn": lambda: [
            *(layers.Conv1D(8, 3, padding="causal", dilation_rate=2**at, activation="relu")
              for at in range(3)),
            layers.GlobalMaxPooling1D(), layers.Dense(1),
        ],
        "mlp": lambda: [layers.Flatten(), layers.Dense(24, activation="elu"), layers.Dense(1)],
        "attention": attention,
        "tutorial": lambda: tutorial(0.2),
        "tutorial_no_recurrent_dropout": lambda: tutorial(0.0),
    }
    all = {f"keras_{name}": built(days, make) for name, make in recurrent.items()}
    # Any length of the window.
    all["keras_gru_any_length"] = built(
        days, lambda: sequential([layers.GRU(16), layers.Dense(1)], None)
    )
    all["keras_normalization"] = built(days, lambda: normalized(days), is_raw=True)
    for name in ["tutorial", "tutorial_no_recurrent_dropout", "gru"]:
        all[f"tf2onnx_{name}"] = built(days, recurrent[name], is_tf2onnx=True)
    return all
