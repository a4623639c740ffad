"""The input and output of a fit, shared by keras_fit.py and torch_fit.py.

    python keras_fit.py TASK.json

The file names the windows, the network, the recipe, the seed, the number of threads, and the file
for the outputs on the validation and test windows. A line `epoch N` follows each epoch. The last
line gives the number of epochs and the best one. This module needs numpy alone.
"""

import json
import sys

import numpy as np

# Windows at once where nothing is learned.
CALM_BATCH = 1024


class Task:
    def __init__(self):
        with open(sys.argv[1]) as file:
            text = json.load(file)
        self.lstm, self.dense = text["lstm"], text["dense"]
        self.fit = text["fit"]
        self.seed, self.threads, self.outputs = text["seed"], text["threads"], text["outputs"]
        with np.load(text["windows"]) as arrays:
            self.arrays = dict(arrays)
        self.rows = self.arrays["rows"]
        self.steps = int(self.arrays["steps"])

    def part(self, name):
        """Index of the first row of each window, and the labels."""
        return self.arrays[f"{name}_starts"], self.arrays[f"{name}_labels"]

    def windows(self, name):
        """A copy of the windows of one part, `[windows, steps, features]`."""
        view = np.lib.stride_tricks.sliding_window_view(self.rows, self.steps, axis=0)
        return np.ascontiguousarray(view[self.part(name)[0]].swapaxes(1, 2))

    def finish(self, epochs, best, validation, test):
        np.savez(self.outputs, validation=validation.ravel(), test=test.ravel())
        print(f"fitted {epochs} {best}", flush=True)


def tell(epoch):
    print(f"epoch {epoch}", flush=True)
