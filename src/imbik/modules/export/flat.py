"""A module that takes and gives flat lists of tensors, as exporters want it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from imbik.errors import UserError, first_line
from imbik.models.layers.clustered import expanded
from imbik.modules.arguments import Arguments, answer, arguments_of, outputs_of
from imbik.modules.export.cells import plain_cells


class Flat(nn.Module):
    """A module behind positional inputs and a tuple of outputs.

    Args:
        model: a copy of it is made, with plain layers in the place of codebooks and cells, in evaluation mode.
        example: what it is called with.
        rounded: its weights lie on the grids of int8.

    Attributes:
        inputs: the example by name.
        outputs: what the module gives of it, by name.
    """

    def __init__(self, model: nn.Module, example: object, rounded: bool = False) -> None:
        super().__init__()
        self.inner = plain_cells(expanded(copy.deepcopy(model).cpu().eval()))
        self.rounded = rounded
        self.inputs: Arguments = arguments_of(model, example)
        self.outputs = answer(self.inner, example)
        for tensor in self.inner.parameters():
            tensor.requires_grad_(False)
        self.eval()

    def forward(self, *values: Tensor) -> Any:
        named = dict(zip(self.inputs.names, values, strict=True))
        found = tuple(outputs_of(self.inner(**named)).values())
        return found[0] if len(found) == 1 else found

    def answers(self, values: tuple[Tensor, ...]) -> list[Tensor]:
        """Return what the module gives of other inputs, in the order of :attr:`outputs`."""
        with torch.no_grad():
            given = self(*values)
        return list(given) if isinstance(given, tuple) else [given]

    def ports(self, batch: bool) -> dict[str, list[dict[str, Any]]]:
        """Return what a manifest says of inputs and outputs.

        Args:
            batch: the first axis of each may have any length.
        """
        return {
            side: [
                {"name": name, "shape": [None, *tensor.shape[1:]] if batch else list(tensor.shape), "type": str(tensor.numpy().dtype)}
                for name, tensor in tensors.items()
            ]
            for side, tensors in (("inputs", self.inputs.named), ("outputs", self.outputs))
        }


@contextmanager
def exporting(flat: Flat, engine: str, expected: str | None = None) -> Iterator[None]:
    """Tell whatever stops an exporter as the module's.

    Args:
        flat: the module.
        engine: as readers know it.
        expected: of a module.

    Raises:
        UserError: the exporter cannot take the module.
    """
    try:
        yield
    # exporters raise classes of their own, and whatever the module's code raises while it is traced
    except Exception as error:
        raise UserError(
            f"the module cannot be exported to {engine}",
            where=type(flat.inner).__name__,
            found=first_line(error),
            expected=expected,
            fix="choose another engine",
        ) from error
