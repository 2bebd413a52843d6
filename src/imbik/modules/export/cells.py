"""Cells of LSTM and GRU in operations that every exporter has: the exporter of ONNX cannot cut gates whose batch may have any length."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from imbik.models.hooks import put_everywhere


class PlainLSTMCell(nn.Module):
    """An ``nn.LSTMCell``, gate by gate.

    i, f, g, o = σ, σ, tanh, σ of x W + h U + b; c' = f c + i g; h' = o tanh(c') (Hochreiter and Schmidhuber 1997, with forget gates).
    """

    def __init__(self, cell: nn.LSTMCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        cell = self.cell
        hidden, memory = state if state is not None else (x.new_zeros(*x.shape[:-1], cell.hidden_size),) * 2
        gates = F.linear(x, cell.weight_ih, cell.bias_ih) + F.linear(hidden, cell.weight_hh, cell.bias_hh)
        enter, forget, new, leave = (_gate(gates, place, cell.hidden_size) for place in range(4))
        memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * memory.tanh(), memory


class PlainGRUCell(nn.Module):
    """An ``nn.GRUCell``, gate by gate.

    r, z = σ of x W + h U + b; n = tanh(x W + b + r (h U + b)); h' = (1 - z) n + z h (Cho et al. 2014, arXiv 1406.1078).
    """

    def __init__(self, cell: nn.GRUCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        cell = self.cell
        if hidden is None:
            hidden = x.new_zeros(*x.shape[:-1], cell.hidden_size)
        read, kept = F.linear(x, cell.weight_ih, cell.bias_ih), F.linear(hidden, cell.weight_hh, cell.bias_hh)
        reset, update = ((_gate(read, place, cell.hidden_size) + _gate(kept, place, cell.hidden_size)).sigmoid() for place in range(2))
        new = (_gate(read, 2, cell.hidden_size) + reset * _gate(kept, 2, cell.hidden_size)).tanh()
        return (1 - update) * new + update * hidden


def _gate(gates: Tensor, place: int, width: int) -> Tensor:
    return gates[..., place * width : (place + 1) * width]


def plain_cells(model: nn.Module) -> nn.Module:
    """Return the module with its cells replaced, in place; the module itself may be one."""
    for path, module in list(model.named_modules()):
        plain: nn.Module
        # exact types: a subclass may have a forward of its own
        if type(module) is nn.LSTMCell:
            plain = PlainLSTMCell(module)
        elif type(module) is nn.GRUCell:
            plain = PlainGRUCell(module)
        else:
            continue
        if not path:
            return plain.eval()
        put_everywhere(model, path, plain)
    return model
