"""PyTorch models, exported by TorchScript's exporter (`_ts`) and by the newer one (`_dyn`).

Weights are as PyTorch begins with them, from a fixed seed: what is tested is the way of a model into
the daemon, not what it learned. Every predict() is PyTorch's own, on all windows at once.
"""

import warnings

import numpy as np
import torch
from torch import nn

from recorded import SEED, STEPS, Kind

HIDDEN = 16


class Recurrent(nn.Module):
    """A recurrent network whose head reads the newest step."""

    def __init__(self, cell, columns=1, batch_first=True, **options):
        super().__init__()
        self.cell = cell(3, HIDDEN, batch_first=batch_first, **options)
        directions = 2 if options.get("bidirectional") else 1
        self.head = nn.Linear(options.get("proj_size") or HIDDEN * directions, columns)
        self.batch_first = batch_first

    def forward(self, x):
        y, _ = self.cell(x)
        return self.head(y[:, -1] if self.batch_first else y[-1])


class Stateful(Recurrent):
    """As above, with the states as inputs and outputs, all layers in one tensor."""

    def forward(self, x, *states):
        y, after = self.cell(x, states if isinstance(self.cell, nn.LSTM) else states[0])
        after = after if isinstance(after, tuple) else (after,)
        return self.head(y[:, -1]), *after


class Attention(nn.Module):
    """An LSTM, and attention of its newest step to all of them."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, HIDDEN, batch_first=True)
        self.attention = nn.MultiheadAttention(HIDDEN, 2, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        y, _ = self.lstm(x)
        seen, _ = self.attention(y[:, -1:], y, y, need_weights=False)
        return self.head(seen[:, 0])


class Transformer(nn.Module):
    """One layer of a causal transformer: mask, softmax, GELU and layer norms."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, HIDDEN)
        self.layer = nn.TransformerEncoderLayer(
            HIDDEN, 2, 32, dropout=0.0, activation="gelu", batch_first=True
        )
        self.head = nn.Linear(HIDDEN, 1)
        self.register_buffer("mask", torch.triu(torch.full((STEPS, STEPS), -torch.inf), 1))

    def forward(self, x):
        return self.head(self.layer(self.embed(x), src_mask=self.mask)[:, -1])


class ConvolutionLstm(nn.Module):
    """Convolution, batch normalization and pooling in front of an LSTM."""

    def __init__(self):
        super().__init__()
        self.before = nn.Sequential(
            nn.Conv1d(3, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2)
        )
        # A norm whose statistics are those of real data is no identity.
        self.before[1].running_mean.uniform_(-0.2, 0.2)
        self.before[1].running_var.uniform_(0.5, 1.5)
        self.lstm = nn.LSTM(8, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        y, _ = self.lstm(self.before(x.transpose(1, 2)).transpose(1, 2))
        return self.head(y[:, -1])


class Convolutions(nn.Module):
    """A TCN: convolutions that look back 1, 2 and 4 steps, padded on the left."""

    def __init__(self):
        super().__init__()
        widths = [3, 8, 8, 8]
        self.layers = nn.ModuleList(
            nn.Conv1d(widths[at], widths[at + 1], 3, dilation=2**at) for at in range(3)
        )
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        y = x.transpose(1, 2)
        for at, layer in enumerate(self.layers):
            y = torch.relu(layer(nn.functional.pad(y, (2 * 2**at, 0))))
        return self.head(y[..., -1])


class Normalized(nn.Module):
    """Each window by its own mean and deviation (instance normalization), then an LSTM."""

    def __init__(self):
        super().__init__()
        self.norm = nn.InstanceNorm1d(3, affine=True)
        self.lstm = nn.LSTM(3, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        y, _ = self.lstm(self.norm(x.transpose(1, 2)).transpose(1, 2))
        return self.head(y[:, -1])


class Quantiles(Recurrent):
    """Lower end, value and upper end, which never cross."""

    def forward(self, x):
        y = super().forward(x)
        step = nn.functional.softplus(y[:, 1:]) * 0.1
        value = y[:, :1] * 0.1
        return torch.cat([value - step[:, :1], value, value + step[:, 1:]], dim=1)


class Mlp(nn.Sequential):
    """Two dense layers on the flattened window."""

    def __init__(self, *before):
        super().__init__(*before, nn.Linear(STEPS * 3, 24), nn.ReLU(), nn.Linear(24, 1))


def export(model, kind, exporter, inputs, names=("x",), outputs=("y",), time_major=False,
           is_static=False):
    """Exports by one exporter; the batch is free unless is_static, time only with `ts`."""
    if exporter == "ts":
        state = {1: "batch"}
        rows = {1: "batch", 0: "time"} if time_major else {0: "batch", 1: "time"}
        if inputs[0].ndim == 2:
            rows = {0: "batch"}
        free = {name: state for name in (*names[1:], *outputs[1:])}
        free |= {names[0]: rows, outputs[0]: {0: "batch"}}
        options = {"dynamo": False, "dynamic_axes": None if is_static else free}
    else:
        batch = torch.export.Dim("batch")
        rows = {1: batch} if time_major else {0: batch}
        shapes = (rows, *({1: batch} for _ in names[1:]))
        # *states is one argument that is a tuple.
        if len(names) > 1:
            shapes = (rows, shapes[1:])
        options = {"dynamo": True, "verbose": False, "dynamic_shapes": None if is_static else shapes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, inputs, str(kind.onnx), input_names=list(names), output_names=list(outputs),
            **options,
        )


def plain(days, make, exporter, convert=None, seal=None, **options):
    """A maker of models that read nothing but the window. `seal`: what Kind.finish is given."""

    def build(folder):
        kind = Kind(folder, days)
        torch.manual_seed(SEED)
        model = make().eval()
        windows = torch.from_numpy(days.windows())
        if convert:
            model, windows = convert(model, windows)
        if options.get("time_major"):
            windows = windows.transpose(0, 1).contiguous()
        example = windows[:, :1] if options.get("time_major") else windows[:1]
        if not options.get("is_static"):
            # A free batch is seen as free only where it is not 1.
            example = windows[:, :2] if options.get("time_major") else windows[:2]
        with torch.no_grad():
            predictions = model(windows).float().numpy()
        export(model, kind, exporter, (example,), **options)
        kind.finish(predictions, **(seal or {}))

    return build


def stateful(days, cell, layers, exporter):
    def build(folder):
        kind = Kind(folder, days)
        torch.manual_seed(SEED)
        model = Stateful(cell, num_layers=layers).eval()
        windows = torch.from_numpy(days.windows())
        count = 2 if cell is nn.LSTM else 1
        zeros = [torch.zeros(layers, len(windows), HIDDEN) for _ in range(count)]
        with torch.no_grad():
            predictions = model(windows, *zeros)[0].numpy()
        names = ["h0", "c0"][:count]
        export(
            model, kind, exporter, (windows[:2], *(zero[:, :2] for zero in zeros)),
            names=("x", *names), outputs=("y", *(name.replace("0", "n") for name in names)),
        )
        kind.finish(predictions[:, 0])

    return build


def carried(days):
    """A state that never begins again: PyTorch's own run over the whole history at once."""

    def build(folder):
        kind = Kind(folder, days)
        stateful(days, nn.LSTM, 2, "ts")(folder)
        torch.manual_seed(SEED)
        model = Stateful(nn.LSTM, num_layers=2).eval()
        rows = torch.from_numpy(days.scaler.transform(days.rows).astype(np.float32))
        with torch.no_grad():
            states, _ = model.cell(rows[None])
            predictions = model.head(states[0, STEPS - 1 :]).numpy()
        kind.finish(predictions, extra="carried = true")

    return build


def quantized(days, is_dynamic, extra=""):
    """ONNX Runtime's own quantization of the MLP; its predictions are of one window at a time."""

    def build(folder):
        import onnxruntime
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat
        from onnxruntime.quantization import quantize_dynamic, quantize_static

        kind = Kind(folder, days)
        torch.manual_seed(SEED)
        windows = days.windows()
        whole = kind.folder / "float.onnx"
        kind.onnx.unlink(missing_ok=True)
        export(Mlp(nn.Flatten()).eval(), kind, "ts", (torch.from_numpy(windows[:2]),))
        kind.onnx.rename(whole)
        if is_dynamic:
            quantize_dynamic(whole, kind.onnx)
        else:
            class Learned(CalibrationDataReader):
                rest = iter(windows[: days.learned : 10])

                def get_next(self):
                    window = next(self.rest, None)
                    return None if window is None else {"x": window[None]}

            quantize_static(whole, kind.onnx, Learned(), quant_format=QuantFormat.QDQ)
        whole.unlink()
        session = onnxruntime.InferenceSession(kind.onnx)
        alone = [session.run(None, {"x": window[None]})[0][0, 0] for window in windows]
        kind.finish(np.array(alone), extra=extra)

    return build


def kinds(days):
    """Every kind of this framework: its name, and what makes it in a folder."""
    cells = {"lstm": nn.LSTM, "gru": nn.GRU}
    all = {}
    for exporter in ["ts", "dyn"]:
        for name, cell in cells.items():
            for layers in [1, 2]:
                make = lambda cell=cell, layers=layers: Recurrent(cell, num_layers=layers)
                all[f"torch_{name}{layers}_{exporter}"] = plain(days, make, exporter)
                all[f"torch_{name}{layers}_states_{exporter}"] = stateful(
                    days, cell, layers, exporter
                )
        all[f"torch_mlp_{exporter}"] = plain(days, lambda: Mlp(nn.Flatten()), exporter)
        all[f"torch_quantiles_{exporter}"] = plain(
            days, lambda: Quantiles(nn.LSTM, 3), exporter,
            seal={
                "names": ["lower", "value", "upper"],
                "output": "value = 1\nlower = 0\nupper = 2",
            },
        )

    def flat(model, windows):
        return model, windows.flatten(1)

    def double(model, windows):
        return model.double(), windows.double()

    def half(model, windows):
        return model.half(), windows.half()

    # Half precision has three decimal digits.
    coarse = {"tolerance": 2e-3}
    time_major = lambda: Recurrent(nn.GRU, num_layers=2, batch_first=False)
    all |= {
        "torch_gru2_time_major_ts": plain(days, time_major, "ts", time_major=True),
        "torch_gru2_time_major_dyn": plain(days, time_major, "dyn", time_major=True),
        "torch_lstm1_static_ts": plain(days, lambda: Recurrent(nn.LSTM), "ts", is_static=True),
        "torch_lstm1_static_dyn": plain(days, lambda: Recurrent(nn.LSTM), "dyn", is_static=True),
        "torch_lstm1_double_dyn": plain(days, lambda: Recurrent(nn.LSTM), "dyn", double),
        "torch_lstm1_half_dyn": plain(days, lambda: Recurrent(nn.LSTM), "dyn", half, coarse),
        "torch_mlp_double_ts": plain(days, lambda: Mlp(nn.Flatten()), "ts", double),
        "torch_mlp_half_ts": plain(days, lambda: Mlp(nn.Flatten()), "ts", half, coarse),
        "torch_rnn_ts": plain(days, lambda: Recurrent(nn.RNN), "ts"),
        "torch_rnn_states_ts": stateful(days, nn.RNN, 1, "ts"),
        "torch_bilstm_ts": plain(days, lambda: Recurrent(nn.LSTM, bidirectional=True), "ts"),
        "torch_attention_dyn": plain(days, Attention, "dyn"),
        "torch_transformer_dyn": plain(days, Transformer, "dyn"),
        "torch_cnn_lstm_ts": plain(days, ConvolutionLstm, "ts"),
        "torch_tcn_dyn": plain(days, Convolutions, "dyn"),
        "torch_instance_norm_dyn": plain(days, Normalized, "dyn"),
        "torch_mlp_flat_ts": plain(days, Mlp, "ts", flat),
        "torch_horizons_ts": plain(
            days, lambda: Recurrent(nn.LSTM, 3), "ts",
            seal={
                "names": ["value_1", "value_5", "value_20"], "output": "value = [0, 1, 2]",
                "horizons": [1, 5, 20],
            },
        ),
        "torch_lstm2_carried_ts": carried(days),
        "torch_lstm_projection_dyn": plain(days, lambda: Recurrent(nn.LSTM, proj_size=8), "dyn"),
        "torch_quantized_dynamic": quantized(days, True),
        "torch_quantized_dynamic_alone": quantized(days, True, 'rows_mix = "alone"'),
        "torch_quantized_static": quantized(days, False),
    }
    return all
