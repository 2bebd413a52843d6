"""What of a model's weights came from its file: what is missing has random numbers, what is unused was left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from imbik.errors import UserError
from imbik.types import Note

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SHOWN = 4
"""Tensors that a message names of each kind: it is read, a list of all would not be."""

_WRAPPERS = {
    "_orig_mod.": "torch.compile",
    "module.": "DataParallel",
    "base_model.model.": "PEFT",
    "model.": "another class",
}
"""What a name begins with that was saved from a model inside of another one, and what the other one was."""


def check_weights(model: PreTrainedModel, report: Mapping[str, Any], where: str, role: str, *, new_head: bool) -> tuple[Note, ...]:
    """Refuse a model of which tensors that answers need did not come from its file.

    Args:
        model: as it was loaded.
        report: what transformers says of the loading: ``missing_keys``, ``unexpected_keys``, ``mismatched_keys``.
        where: folder or hub name, for messages.
        role: what messages call it.
        new_head: whether the head (and a pooler before it) is to be trained anew, so that only the encoder must be there.

    Returns:
        What a reader must know: tensors of the file that the model does not use.

    Raises:
        UserError: naming what is missing, has another shape, or belongs to layers that the config does not have.
    """
    missing, unused = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    encoder = model.base_model_prefix + "."

    def needed(name: str) -> bool:
        return not new_head or (name.startswith(encoder) and "pooler" not in name)

    _check_shapes(report["mismatched_keys"], needed, where, role)
    lacking = [name for name in missing if needed(name)]
    if lacking:
        found = f"missing: {_listed(lacking)}" + (f"; not used: {_listed(unused)}" if unused else "")
        raise UserError(
            f"the weights of the {role} are not complete; what is missing would be random",
            where=where,
            found=found,
            expected=f"every tensor of {type(model).__name__}",
            fix=_remedy(lacking, unused, where),
        )
    layers = [] if new_head else _further_layers(unused, dict(model.named_parameters(remove_duplicate=False)))
    if layers:
        raise UserError(
            f"the weights of the {role} have layers that its config.json does not have",
            where=where,
            found=f"not used: {_listed(layers)}",
            expected="weights and config.json of one model",
            fix="copy the folder again, or save model and config together with save_pretrained",
        )
    if unused and not new_head:
        return (Note.of("unused_weights", count=len(unused), names=tuple(unused[:_SHOWN])),)
    return ()


def _check_shapes(mismatched: Iterable[Sequence[Any]], needed: Callable[[str], bool], where: str, role: str) -> None:
    """Refuse tensors of another shape than the config asks for; transformers would fill them with random numbers."""
    wrong = [(str(name), tuple(stored), tuple(asked)) for name, stored, asked in mismatched if needed(str(name))]
    if wrong:
        shown = "; ".join(f"{name} {stored} instead of {asked}" for name, stored, asked in wrong[:_SHOWN])
        raise UserError(
            f"the weights of the {role} do not fit its config.json",
            where=where,
            found=shown + (f"; … ({len(wrong)} in all)" if len(wrong) > _SHOWN else ""),
            expected="weights and config.json of one model (sizes, number of labels in id2label)",
            fix="copy the folder again, or save model and config together with save_pretrained",
        )


def _listed(names: Sequence[str]) -> str:
    """Return the first names of a list and how many there are."""
    return ", ".join(names[:_SHOWN]) + (f", … ({len(names)} in all)" if len(names) > _SHOWN else "")


def _remedy(missing: Sequence[str], unused: Sequence[str], where: str) -> str:
    """Return what to do about missing tensors, by what stands in the file in their place."""
    if any(".lora_" in name for name in unused):
        return "merge the adapter into the model (PEFT's merge_and_unload) and save the merged model with save_pretrained"
    for prefix, wrapper in _WRAPPERS.items():
        if any(prefix + name in unused for name in missing):
            return f"the names begin with '{prefix}' ({wrapper}): save the model inside of it with save_pretrained"
    train = f"imbik finetune --base {where} --data DATA --out DIR"
    return f"save the whole fine-tuned model with save_pretrained, or train what is missing: {train}"


def _further_layers(unused: Sequence[str], used: Mapping[str, object]) -> list[str]:
    """Return unused tensors that are a used one but for the number of their layer.

    >>> _further_layers(["bert.layer.2.dense.weight", "cls.bias"], {"bert.layer.0.dense.weight": None})
    ['bert.layer.2.dense.weight']
    """
    known = {_without_numbers(name) for name in used}
    return [name for name in unused if name not in used and _without_numbers(name) in known]


def _without_numbers(name: str) -> str:
    """Return a tensor's name with a mark in the place of each number."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "N", name)
