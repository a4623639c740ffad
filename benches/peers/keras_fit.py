"""Fits a task with Keras on TensorFlow; task.py says how it is called."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow

from task import CALM_BATCH, Task, tell


LOSSES = {"mean_squared_error": "mean_squared_error", "binary_cross_entropy": "binary_crossentropy"}


class Tell(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        tell(epoch + 1)


def main():
    task = Task()
    tensorflow.config.threading.set_intra_op_parallelism_threads(task.threads)
    keras.utils.set_random_seed(task.seed)
    fit = task.fit
    model = network(task)
    model.compile(
        optimizer=keras.optimizers.Adam(
            fit["learning_rate"], global_clipnorm=fit["clip_norm"] or None
        ),
        loss=LOSSES[fit["loss"]],
    )
    stop = keras.callbacks.EarlyStopping(
        "val_loss", patience=fit["patience"], restore_best_weights=True
    )
    validation = task.windows("validation")
    history = model.fit(
        task.windows("training"),
        task.part("training")[1],
        batch_size=fit["batch"],
        epochs=fit["epochs_max"],
        validation_data=(validation, task.part("validation")[1]),
        validation_batch_size=CALM_BATCH,
        callbacks=[stop, Tell()],
        verbose=0,
    )
    epochs = len(history.history["loss"])
    outputs = [
        model.predict(windows, batch_size=CALM_BATCH, verbose=0)
        for windows in (validation, task.windows("test"))
    ]
    task.finish(epochs, stop.best_epoch + 1, *outputs)


def network(task):
    layers = [keras.Input((task.steps, task.rows.shape[1]))]
    for at, lstm in enumerate(task.lstm):
        # With a recurrent dropout Keras draws a mask for each gate.
        layers.append(
            keras.layers.LSTM(
                lstm["units"],
                return_sequences=at + 1 < len(task.lstm),
                recurrent_dropout=lstm.get("recurrent_dropout", 0.0),
            )
        )
        layers.append(keras.layers.Dropout(lstm.get("dropout", 0.0)))
    for dense in task.dense:
        layers.append(keras.layers.Dense(dense["units"], activation=dense["activation"]))
        layers.append(keras.layers.Dropout(dense.get("dropout", 0.0)))
    return keras.Sequential(layers)


if __name__ == "__main__":
    main()
