"""What the thop installed books for recurrent layers: gates and states as well as products.

Source: thop 0.1.1.post2209072238, rnn_hooks.py.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from vidcost.bench.count.counter import Shape

CELLS: dict[type[nn.Module], tuple[int, int]] = {
    nn.RNN: (1, 0),
    nn.RNNCell: (1, 0),
    nn.GRU: (3, 4),
    nn.GRUCell: (3, 4),
    nn.LSTM: (4, 4),
    nn.LSTMCell: (4, 4),
}
"""How many gates of a product each, and operations per element of the state beside them."""


def booked(module: Any, input_shape: Shape) -> int:
    """The operations of one call of a recurrent layer or cell; packed sequences are not known."""
    gates, beside = CELLS[type(module)]

    def step(inputs: int) -> int:
        hidden = int(module.hidden_size)
        gate = hidden * (inputs + hidden) + hidden * (3 if module.bias else 1)
        return gates * gate + beside * hidden

    if not isinstance(module, nn.RNNBase):
        return step(module.input_size) * input_shape[0]
    directions = 2 if module.bidirectional else 1
    widths = [module.input_size, *[directions * module.hidden_size] * (module.num_layers - 1)]
    # the first two axes are batch and steps, or steps and batch
    return directions * sum(map(step, widths)) * input_shape[0] * input_shape[1]
