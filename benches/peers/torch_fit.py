"""Fits a task with PyTorch; task.py says how it is called.

Initial values are those of Keras and of the trainer: Glorot-uniform, orthogonal, one for the
forget gate. The second bias of PyTorch's LSTM stays at zero. The optimiser has Keras's epsilon.
Batches are gathered by index from one tensor of rows, which is faster than a DataLoader.
"""

import copy

import torch
from torch import nn

from task import CALM_BATCH, Task, tell

EPSILON = 1e-7
ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class Network(nn.Module):
    def __init__(self, task):
        super().__init__()
        width = task.rows.shape[1]
        self.plan = task
        self.lstm, self.dense = nn.ModuleList(), nn.ModuleList()
        for layer in task.lstm:
            units = layer["units"]
            lstm = nn.LSTM(width, units, batch_first=True)
            nn.init.xavier_uniform_(lstm.weight_ih_l0)
            nn.init.orthogonal_(lstm.weight_hh_l0)
            nn.init.zeros_(lstm.bias_ih_l0)
            nn.init.ones_(lstm.bias_ih_l0.data[units : 2 * units])
            nn.init.zeros_(lstm.bias_hh_l0)
            lstm.bias_hh_l0.requires_grad_(False)
            self.lstm.append(lstm)
            width = units
        for layer in task.dense:
            dense = nn.Linear(width, layer["units"])
            nn.init.xavier_uniform_(dense.weight)
            nn.init.zeros_(dense.bias)
            self.dense.append(dense)
            width = layer["units"]

    def forward(self, x):
        """The sums before the last activation, `[windows]`."""
        last = len(self.lstm) - 1
        for at, (lstm, layer) in enumerate(zip(self.lstm, self.plan.lstm)):
            rate = layer.get("recurrent_dropout", 0.0)
            x = masked(lstm, x, rate) if self.training and rate else lstm(x)[0]
            x = x[:, -1] if at == last else x
            x = nn.functional.dropout(x, layer.get("dropout", 0.0), self.training)
        for dense, layer in zip(self.dense[:-1], self.plan.dense):
            x = ACTIVATIONS[layer["activation"]](dense(x))
            x = nn.functional.dropout(x, layer.get("dropout", 0.0), self.training)
        return self.dense[-1](x).squeeze(-1)

    def values(self, x):
        return ACTIVATIONS[self.plan.dense[-1]["activation"]](self(x))


def masked(lstm, x, rate):
    """An LSTM with recurrent dropout, which PyTorch lacks: one mask for all steps and gates."""
    hidden = cell = x.new_zeros(len(x), lstm.hidden_size)
    mask = (torch.rand_like(hidden) >= rate) / (1 - rate)
    inputs = nn.functional.linear(x, lstm.weight_ih_l0, lstm.bias_ih_l0)
    outputs = []
    for step in inputs.unbind(1):
        sums = step + nn.functional.linear(hidden * mask, lstm.weight_hh_l0)
        enter, forget, candidate, leave = sums.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs, 1)


def main():
    task = Task()
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    fit, network = task.fit, Network(task)
    # [windows, features, steps], of which a batch is chosen by index.
    views = torch.from_numpy(task.rows).unfold(0, task.steps, 1)
    parts = {
        name: tuple(torch.from_numpy(array) for array in task.part(name))
        for name in ("training", "validation", "test")
    }
    loss = loss_of(task, network)
    # The fused form is the fastest that there is for a processor.
    learned = [p for p in network.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learned, fit["learning_rate"], eps=EPSILON, fused=True)
    best, best_epoch, lowest = None, 0, float("inf")
    epoch = 0
    while epoch < fit["epochs_max"] and epoch < best_epoch + fit["patience"]:
        epoch += 1
        starts, labels = parts["training"]
        order = torch.randperm(len(starts))
        network.train()
        for chosen in order.split(fit["batch"]):
            adam.zero_grad()
            loss(views[starts[chosen]].transpose(1, 2), labels[chosen]).backward()
            if fit["clip_norm"]:
                nn.utils.clip_grad_norm_(learned, fit["clip_norm"])
            adam.step()
        network.eval()
        found = validate(loss, views, *parts["validation"])
        if found < lowest:
            lowest, best_epoch, best = found, epoch, copy.deepcopy(network.state_dict())
        tell(epoch)
    network.load_state_dict(best)
    network.eval()
    outputs = [predict(network, views, parts[name][0]) for name in ("validation", "test")]
    task.finish(epoch, best_epoch, *outputs)


def loss_of(task, network):
    """The mean loss of some windows. Cross-entropy is that of the sums before the sigmoid."""
    if task.fit["loss"] == "mean_squared_error":
        return lambda x, labels: nn.functional.mse_loss(network.values(x), labels)
    if task.dense[-1]["activation"] != "sigmoid":
        raise ValueError("cross-entropy needs a network that ends in a sigmoid")
    entropy = nn.functional.binary_cross_entropy_with_logits
    return lambda x, labels: entropy(network(x), labels)


@torch.no_grad()
def validate(loss, views, starts, labels):
    total = 0.0
    for some, came in zip(starts.split(CALM_BATCH), labels.split(CALM_BATCH)):
        total += loss(views[some].transpose(1, 2), came).item() * len(some)
    return total / len(starts)


@torch.no_grad()
def predict(network, views, starts):
    batches = [network.values(views[some].transpose(1, 2)) for some in starts.split(CALM_BATCH)]
    return torch.cat(batches).numpy()


if __name__ == "__main__":
    main()
