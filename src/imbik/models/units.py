"""Answers of a regression model in its user's units, while inside it computes standardized ones.

Targets far from zero (prices, years) or of another size than one cannot be learned by a head that starts near zero at an ordinary
learning rate. So the network learns ``z = (y - mean) / scale``, and a hook on the model gives ``y = mean + scale * z``, in float32 also
where the network runs in bf16, whose numbers near 2,000 are 8 apart. Everybody who calls the model sees ``y``.

``config.imbik_units`` holds mean and scale. A plain transformers folder on disk has them multiplied into the last matrix, so that it
answers in the user's units without imbik too; a compressed model's folder, which imbik alone opens, has the matrix as it is.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imbik.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_FIELD = "imbik_units"
_FAR = 8.0  # scales from zero: there bf16's steps are a thirtieth of the scale
_NEAR, _LIKE = 2.0, 4.0  # units of an older model that are near enough to begin with: shift in scales, ratio of scales


@dataclass(frozen=True)
class Units:
    """What a value is counted in: ``y = mean + scale * z``.

    Attributes:
        mean, scale: of the targets, scale > 0.
    """

    mean: float = 0.0
    scale: float = 1.0

    @property
    def far(self) -> bool:
        """Return whether bf16 cannot tell the values apart.

        It has eight significant bits, too few far from zero.
        """
        return abs(self.mean) > _FAR * self.scale

    @classmethod
    def of(cls, targets: NDArray[np.generic]) -> Units:
        """Return mean and standard deviation (of the population) of targets.

        The scale is 1 where they are all the same.

        >>> Units.of(np.array([1.0, 3.0]))
        Units(mean=2.0, scale=1.0)
        """
        values = np.asarray(targets, np.float64)
        spread = float(values.std())
        return cls(float(values.mean()), spread if spread > 1e-12 * max(1.0, float(np.abs(values).max())) else 1.0)


def units_of(config: PretrainedConfig, where: object = "config.json") -> Units | None:
    """Return the units that a config records.

    None: the model computes its answers as they are.

    Raises:
        UserError: what stands there is no mean and scale.
    """
    found = getattr(config, _FIELD, None)
    if found is None:
        return None
    try:
        units = Units(float(found["mean"]), float(found["scale"]))
    except (TypeError, KeyError, ValueError):
        units = Units(scale=0.0)
    if not (np.isfinite([units.mean, units.scale]).all() and units.scale > 0):
        raise UserError("broken units of a regression", where=f"{where}, {_FIELD}", found=found, expected="mean, and scale above zero")
    return units


def answer_in(model: PreTrainedModel, units: Units) -> None:
    """Let a model answer in these units from now on.

    One that was trained in others which are near keeps its answers.
    """
    before = units_of(model.config)
    if before is not None:
        ratio, shift = before.scale / units.scale, (before.mean - units.mean) / units.scale
        if abs(shift) < _NEAR and 1 / _LIKE < ratio < _LIKE:
            head = _head(model.modules())
            if head is not None:
                _write(head, _rescaled(_numbers(head), ratio, shift))
    setattr(model.config, _FIELD, {"mean": units.mean, "scale": units.scale})
    attach_units(model)


def inherit_units(config: PretrainedConfig, teacher: PretrainedConfig) -> None:
    """Write a teacher's units into the config of a student."""
    units = units_of(teacher)
    if units is not None:
        setattr(config, _FIELD, {"mean": units.mean, "scale": units.scale})


def forget_units(config: PretrainedConfig) -> None:
    """Take the units out of a config: its model gets a head for something else."""
    if hasattr(config, _FIELD):
        delattr(config, _FIELD)


def attach_units(model: PreTrainedModel) -> None:
    """Let a model give its answers in the units of its config, where it has some."""
    units = units_of(model.config)
    for key in [key for key, hook in model._forward_hooks.items() if isinstance(hook, _InUnits)]:
        del model._forward_hooks[key]
    if units is not None:
        model.register_forward_hook(_InUnits(units))


class _InUnits:
    """The hook; an object, so that a copied model has its own."""

    def __init__(self, units: Units) -> None:
        self.units = units

    def __call__(self, _module: nn.Module, _inputs: object, output: Any) -> Any:
        output.logits = output.logits.float() * self.units.scale + self.units.mean
        return output


@contextlib.contextmanager
def folded(modules: Iterable[nn.Module], config: PretrainedConfig) -> Iterator[None]:
    """Context manager: let the last matrix compute in units, as the config then says.

    Both are put back on leaving.

    Args:
        modules: of the model.
        config: its config.
    """
    units = units_of(config)
    head = None if units is None else _head(modules)
    if units is None or head is None:
        yield
        return
    before = _numbers(head)
    fields = {"mean": units.mean, "scale": units.scale}
    # the matrix as it was, so that what is loaded is what was saved to the last bit
    setattr(config, _FIELD, fields | {"folded": base64.b85encode(before.tobytes()).decode()})
    _write(head, _rescaled(before, units.scale, units.mean))
    try:
        yield
    finally:
        _write(head, before)
        setattr(config, _FIELD, fields)


def unfold(model: PreTrainedModel, where: object) -> None:
    """Undo what :func:`folded` wrote to disk, in a model that was loaded from there.

    It then answers in its units.

    Raises:
        UserError: the units are broken, or the model has no last matrix of one output.
    """
    units = units_of(model.config, where)
    if units is None:
        return
    stored = getattr(model.config, _FIELD).get("folded")  # absent in a compressed model's folder
    if stored is not None:
        head = _head(model.modules())
        if head is None:
            raise UserError("the model has no head of one number", where=where, expected="a regression model", fix="copy the folder again")
        now, before = _numbers(head), _decoded(str(stored))
        # trained further by another program: then the numbers that were stored are old
        if before is None or not np.array_equal(_rescaled(before, units.scale, units.mean), now):
            before = _rescaled(now, 1 / units.scale, -units.mean / units.scale)
        _write(head, before)
    setattr(model.config, _FIELD, {"mean": units.mean, "scale": units.scale})
    attach_units(model)


def _decoded(text: str) -> NDArray[np.float32] | None:
    try:
        return np.frombuffer(base64.b85decode(text), "<f4")
    except ValueError:
        return None


def _head(modules: Iterable[nn.Module]) -> nn.Linear | None:
    """Return the matrix that gives the one number.

    The last one, as an inner matrix may have one output too.
    """
    heads = [module for module in modules if type(module) is nn.Linear and module.out_features == 1 and module.bias is not None]
    return heads[-1] if heads else None


def _numbers(head: nn.Linear) -> NDArray[np.float32]:
    """Return the weights and, last, the bias of a head, (H + 1,)."""
    return np.append(head.weight.detach().numpy().ravel(), head.bias.detach().numpy()).astype("<f4")


@torch.no_grad()
def _write(head: nn.Linear, numbers: NDArray[np.float32]) -> None:
    head.weight.copy_(torch.from_numpy(numbers[:-1].astype(np.float32)).reshape(head.weight.shape))
    head.bias.copy_(torch.from_numpy(numbers[-1:].astype(np.float32)))


def _rescaled(numbers: NDArray[np.float32], scale: float, shift: float) -> NDArray[np.float32]:
    """Return the numbers of a head that gives ``scale * z + shift`` in the place of z.

    Computed in float64, as the shift may be large.
    """
    changed = numbers.astype(np.float64) * scale
    changed[-1] += shift
    return changed.astype("<f4")
