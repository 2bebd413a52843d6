"""Structure of a compressed model: replaced layers, and modules used in several places.

The transformers config carries the list of changes (``config.imbik_structure``), in the order in
which they were made: ``{"module": path, "layer": name, "arguments": {...}}`` for a module that a
registered layer class replaced, and ``{"module": path, "same_as": path}`` for a module that is
another one. Loading builds the plain architecture, makes the same changes, then loads the weights,
name by name: the recipe is not run again. A plain transformers model carries nothing of this.

A changed model is stored as ``structured.safetensors``: transformers, which knows nothing of the
changes, then finds no weights and says so, where it would fill the new layers with random numbers
if the file had its usual name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.models.hooks import _set, put_everywhere
from imbik.models.layers.registry import Layer, layer_kinds

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

WEIGHTS = "structured.safetensors"
_FIELD = "imbik_structure"


def structure_of(config: PretrainedConfig) -> list[dict[str, Any]]:
    """Return the changes that a config lists; empty for a plain transformers model."""
    return list(getattr(config, _FIELD, None) or ())


def replace_module(model: PreTrainedModel, path: str, new: Layer) -> None:
    """Put ``new`` where the module ``path`` stands, and record it.

    ``new`` is of a registered layer class. A shared module is replaced everywhere.
    """
    put_everywhere(model, path, new)
    _record(model, path, {"module": path, "layer": new.layer_name, "arguments": new.arguments})


def tie_module(model: PreTrainedModel, path: str, original: str) -> None:
    """Let the module ``original`` stand at ``path`` too, and record it."""
    _set(model, path, model.get_submodule(original))
    _record(model, path, {"module": path, "same_as": original})


def forget_below(model: PreTrainedModel, path: str) -> None:
    """Take the changes of the module ``path`` and of what is inside it off the record.

    It is plain again.
    """
    _write(model, _outside(model, path))


def move_layers(model: PreTrainedModel, stack: str, kept: Sequence[int]) -> None:
    """Let the record follow layers of ``stack`` that have moved up.

    Layer ``kept[i]`` now stands at i, the others are gone.
    """
    old = structure_of(model.config)
    places = {f"{stack}.{before}": f"{stack}.{now}" for now, before in enumerate(kept)}

    def moved(path: str) -> str | None:
        if not path.startswith(f"{stack}."):
            return path
        number = path.removeprefix(f"{stack}.").partition(".")[0]
        place = f"{stack}.{number}"
        return places[place] + path.removeprefix(place) if place in places else None

    moves = [{key: moved(value) if key in ("module", "same_as") else value for key, value in change.items()} for change in old]
    _write(model, [change for change in moves if None not in change.values()])


def unique_state(model: nn.Module) -> dict[str, Tensor]:
    """Return every stored tensor once, a shared one under its first name."""
    seen: set[int] = set()
    out = {}
    # keep_vars: the parameters themselves, whose identity tells which are shared.
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            out[name] = tensor
    return out


def save_structured(model: PreTrainedModel, directory: Path) -> None:
    """Write ``config.json`` and ``structured.safetensors``, every tensor once."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(directory)
    # safetensors refuses tensors that share memory or are not contiguous: hence the copies.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in unique_state(model).items()}
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})


def load_structured(model: PreTrainedModel, directory: Path) -> None:
    """Make the changes that the config lists in the plain ``model``, and load its weights.

    In place.

    Raises:
        UserError: a broken list of changes, no weights, or weights that do not fit the changed
            model.
    """
    rebuild(model, f"{directory / 'config.json'}, {_FIELD}")
    file = directory / WEIGHTS
    if not file.is_file():
        raise UserError("the weights of a compressed model are missing", where=file, fix="copy the whole folder")
    try:
        stored = load_file(file)
    except SafetensorError as error:
        raise UserError("the weights cannot be read", where=file, found=str(error), fix="copy the folder again") from None
    expected = unique_state(model)
    _check_fit(expected, stored, file)
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(stored[name])
    # Layers that derive something from their tensors (unpacked indices) must forget it now.
    for module in model.modules():
        getattr(module, "after_load", _nothing)()


def rebuild(model: PreTrainedModel, where: str) -> None:
    """Make the changes that ``model.config`` lists; the new layers' weights are not set.

    Raises:
        UserError: an entry that is not understood, a layer or module that does not exist, arguments
            that the layer does not take.
    """
    changes = getattr(model.config, _FIELD, None)
    if not isinstance(changes, list):
        raise UserError("the list of changed layers is broken", where=where, found=type(changes).__name__, expected="a list")
    for number, change in enumerate(changes, 1):
        _apply(model, change, f"{where}, entry {number}")


def _nothing() -> None:
    """Stand in for ``after_load`` of layers that have none."""


def _apply(model: PreTrainedModel, change: object, where: str) -> None:
    """Make one change of the list, or refuse it."""
    if not isinstance(change, Mapping) or set(change) not in ({"module", "layer", "arguments"}, {"module", "same_as"}):
        expected = "module, layer and arguments, or module and same_as"
        raise UserError("not a change of a layer", where=where, found=change, expected=expected, fix="copy the folder again")
    _require(model, change["module"], where)
    if "same_as" in change:
        _require(model, change["same_as"], where)
        _check_apart(change["module"], change["same_as"], where)
        _set(model, change["module"], model.get_submodule(change["same_as"]))
        return
    kinds = layer_kinds()
    if change["layer"] not in kinds:
        names = ", ".join(sorted(kinds))
        raise UserError("unknown layer", where=where, found=change["layer"], expected=names, fix="install the imbik that wrote it")
    try:
        new = kinds[change["layer"]](**change["arguments"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            "the layer cannot be made from its arguments",
            where=where,
            found=f"{change['arguments']} ({str(error).splitlines()[0]})",
            expected=f"the arguments of {change['layer']}",
            fix="copy the folder again",
        ) from None
    # Not recorded: the change is read from the list, which it must leave as it is.
    put_everywhere(model, change["module"], new)


def _check_apart(path: str, original: str, where: str) -> None:
    """Refuse a module that would contain itself."""
    if f"{path}.".startswith(f"{original}.") or f"{original}.".startswith(f"{path}."):
        raise UserError("a module cannot contain itself", where=where, found=f"{path} as {original}", fix="copy the folder again")


def _require(model: PreTrainedModel, path: object, where: str) -> None:
    """Refuse a path at which the model has no module."""
    try:
        if not isinstance(path, str) or not path:
            raise AttributeError
        model.get_submodule(path)
    except AttributeError:
        raise UserError("the model has no such module", where=where, found=path, expected=f"a module of {type(model).__name__}") from None


def _record(model: PreTrainedModel, path: str, change: dict[str, Any]) -> None:
    """Append a change.

    Earlier ones of the same module or inside it are overwritten by it and go.
    """
    _write(model, [*_outside(model, path), change])


def _outside(model: PreTrainedModel, path: str) -> list[dict[str, Any]]:
    """Return the changes that are not of the module ``path`` or inside it."""
    # The dot keeps "layer.1" apart from "layer.10".
    return [c for c in structure_of(model.config) if c["module"] != path and not c["module"].startswith(path + ".")]


def _write(model: PreTrainedModel, changes: list[dict[str, Any]]) -> None:
    """Write the list of changes; a plain model carries none."""
    if changes:
        setattr(model.config, _FIELD, changes)
    elif hasattr(model.config, _FIELD):
        delattr(model.config, _FIELD)


def _check_fit(wanted: Mapping[str, Tensor], stored: Mapping[str, Tensor], file: Path) -> None:
    """Refuse weights whose names, types or shapes are not those of the model."""

    def shape(tensor: Tensor) -> str:
        return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"

    # Three of each kind at most: a message is read, a dump of all names is not.
    missing, extra = sorted(set(wanted) - set(stored)), sorted(set(stored) - set(wanted))
    changed = [name for name in wanted if name in stored and shape(wanted[name]) != shape(stored[name])]
    if not missing and not extra and not changed:
        return
    differences = [f"no {name}" for name in missing[:3]] + [f"an unknown {name}" for name in extra[:3]]
    differences += [f"{name} {shape(stored[name])} instead of {shape(wanted[name])}" for name in changed[:3]]
    raise UserError(
        "the weights do not fit the layers that config.json lists",
        where=file,
        found="; ".join(differences),
        fix="copy the folder again",
    )
