"""What a module is called with and what it gives, as flat lists of tensors with names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.errors import UserError, first_line
from imbik.models.hooks import evaluating


@dataclass(frozen=True)
class Arguments:
    """Arguments of one call of a module.

    Attributes:
        names: of its inputs, as the module's ``forward`` calls them, in its order.
        values: the tensors.
    """

    names: tuple[str, ...]
    values: tuple[Tensor, ...]

    @property
    def named(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return dict(zip(self.names, self.values, strict=True))


def arguments_of(model: nn.Module, example: object) -> Arguments:
    """Bind an example to the module's ``forward``: a tensor, a tuple of positional or a mapping of keyword arguments.

    Raises:
        UserError: ``forward`` does not take it, or something in it is no tensor.
    """
    positional, keyword = _split(example)
    try:
        bound = inspect.signature(model.forward).bind(*positional, **keyword).arguments
    except TypeError as error:
        raise UserError(
            "the module does not take this example",
            where="example",
            found=str(error),
            expected="a tensor, a tuple of positional or a mapping of keyword arguments",
        ) from None
    flat: dict[str, object] = {}
    for name, value in bound.items():
        # forward(*inputs) or forward(**inputs): each gets a name of its own
        if isinstance(value, tuple):
            flat |= {f"{name}_{index}": one for index, one in enumerate(value)}
        elif isinstance(value, dict):
            flat |= value
        else:
            flat[name] = value
    for name, value in flat.items():
        # sizes and flags would be baked into a traced graph in silence
        if not isinstance(value, Tensor):
            raise UserError("an input is no tensor", where=f"example, {name}", found=type(value).__name__, expected="tensors alone")
    if not flat:
        raise UserError("the example is empty", where="example", expected="at least one tensor")
    return Arguments(tuple(flat), tuple(flat.values()))  # type: ignore[arg-type]  # checked above


def _split(example: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    return (tuple(example), {}) if isinstance(example, tuple | list) else ((example,), {})


def call(model: nn.Module, example: object) -> Any:
    """Run a module on an example or on what a batch holds."""
    positional, keyword = _split(example)
    return model(*positional, **keyword)


def answer(model: nn.Module, example: object) -> dict[str, Tensor]:
    """Run a module in evaluation mode, without gradients; return every tensor that it gives, by name.

    Raises:
        UserError: it fails, or gives no tensor.
    """
    try:
        with evaluating(model), torch.no_grad():
            given = call(model, example)
    except UserError:
        raise
    except Exception as error:
        raise UserError("the module does not run on the example", where=type(model).__name__, found=first_line(error)) from error
    # None and numbers beside tensors are left out
    named = outputs_of(given)
    if not named:
        raise UserError("the module gives no tensor", where=type(model).__name__, found=type(given).__name__)
    return named


def outputs_of(given: object, name: str = "") -> dict[str, Tensor]:
    """Return the tensors in what a module gave, by name: ``output``, ``output.0`` in a tuple, a mapping's own keys.

    >>> sorted(outputs_of({"logits": torch.zeros(1), "states": (torch.zeros(1), None, torch.zeros(1))}))
    ['logits', 'states.0', 'states.2']
    >>> sorted(outputs_of((torch.zeros(1), {"state": torch.zeros(1)})))
    ['output.0', 'output.1.state']
    """
    if isinstance(given, Tensor):
        return {name or "output": given}
    parts: Mapping[object, object] = {}
    if isinstance(given, Mapping):
        parts = given
    elif isinstance(given, tuple | list):
        parts = dict(enumerate(given))
        # a number alone is no name to ONNX
        name = name or "output"
    return {
        path: tensor for key, value in parts.items() for path, tensor in outputs_of(value, f"{name}.{key}" if name else str(key)).items()
    }


def float64(tensor: Tensor) -> NDArray[np.float64]:
    """Return a tensor as an array of float64."""
    # float32 first: NumPy has no bfloat16
    array: NDArray[np.float64] = tensor.detach().double().cpu().numpy()
    return array
