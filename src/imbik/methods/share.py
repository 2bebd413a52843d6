"""Layers that share their weights (Lan et al. 2020, ALBERT, arXiv 1909.11942), as a conversion of a trained model."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from imbik.data.carving.apart import each_text
from imbik.errors import UserError
from imbik.methods.registry import Method, method
from imbik.models.blocks import layer_stack
from imbik.models.structure import structure_of, tie_module
from imbik.sharing.albert import to_albert
from imbik.sharing.groups import group_of
from imbik.tasks.outputs import count_of
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import encode_for
from imbik.training.losses import moved
from imbik.training.prediction import predict_rows
from imbik.types import Checkpoint, Examples, Note

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

_ATTENTION = ("attention", "sa_layer_norm")
_FEED_FORWARD = ("intermediate", "output", "ffn", "output_layer_norm")
_PARTS = {"all": _ATTENTION + _FEED_FORWARD, "attention": _ATTENTION, "ffn": _FEED_FORWARD}
_SAMPLE = 512
"""Dev texts on which the ways to start are compared."""


State = dict[str, Tensor]


@method("share")
class Share(Method):
    """The layers of a group use one set of weights: layer i of n belongs to group ⌊i · groups / n⌋.

    It saves bytes on disk, in a download and in memory, and no time: every layer is still computed. It is lossy until a ``distill``
    step behind it lets the shared layer learn to stand for all of its group. With ``what: all`` a BERT becomes a plain
    ``AlbertFor…``, which any program opens with transformers. ``groups`` equal to the number of layers changes nothing.

    Attributes:
        groups: how many sets of weights remain; 0: one for each layer (nothing is shared), for ``embedding`` alone.
        what: ``all`` of a layer, its ``attention`` or its ``ffn`` (feed-forward network), each with its layer norm.
        init: where a group's weights start: the ``mean`` of its layers, its ``first`` layer, or the ``best`` of the mean and of every
            layer's place in the group, by the divergence from the teacher on dev texts right after sharing.
        embedding: E, the width of the embedding tables after factorizing them into V x E and E x H as ALBERT does (BERT only, with
            ``what: all``); 0 leaves them as they are.
    """

    ties_layers: ClassVar[bool] = True
    rewrites_matrices: ClassVar[bool] = True
    groups: Annotated[int, Ge(0)] = 1
    what: Literal["all", "attention", "ffn"] = "all"
    init: Literal["mean", "first", "best"] = "best"
    embedding: Annotated[int, Ge(0)] = 0

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the checkpoint with shared layers; logits as before only where nothing is shared.

        Raises:
            UserError: more groups than layers, layers that are not alike, layers that share already, or an embedding width that this
                model cannot have.
        """
        stack = layer_stack(checkpoint.model)[1]
        self._check(checkpoint, stack)
        groups = self.groups or len(stack)
        if groups == len(stack) and not self.embedding:
            return checkpoint
        # None stands for the mean of a group, a number for the layer at that place in every group
        ways: dict[str, list[int | None]] = {"mean": [None], "first": [0], "best": _places(len(stack), groups)}
        places = ways[self.init]
        tried: list[tuple[float, str, nn.Module]] = []
        for place in places:
            model = self._shared(checkpoint, groups, place, context.splits.train)
            name = "mean" if place is None else f"layer {place + 1} of the group"
            # with one way there is nothing to choose, so the models are not run for it
            tried.append((_divergence(model, checkpoint, context) if len(places) > 1 else 0.0, name, model))
        best = min(tried, key=lambda one: one[0])
        if len(tried) > 1:
            logger.info("share: divergence by start: %s", "; ".join(f"{name} {value:.3f}" for value, name, _ in tried))
        if groups == len(stack):
            note = Note.of("share_tables", width=self.embedding)
        else:
            note = Note.of("share", count=groups, what=self.what, layers=len(stack))
        return replace(checkpoint, model=best[2].eval(), notes=(*checkpoint.notes, note))

    def refuse_before(self, later: Method) -> str | None:
        """Refuse to tie layers twice."""
        return "share once, with the number of groups that is wanted in the end" if later.ties_layers else None

    def _check(self, checkpoint: Checkpoint, stack: nn.ModuleList) -> None:
        model = checkpoint.model
        layers = len(stack)
        if model.config.model_type == "albert":
            raise UserError("the layers of this model share their weights already", where="share", found=type(model).__name__)
        if self.groups > layers:
            raise UserError("more groups than layers", where="share.groups", found=self.groups, expected=f"1 to {layers}")
        parts = [{name: value.shape for name, value in _part(layer, self.what).items()} for layer in stack]
        # a weight under a name that _PARTS does not know would stay unshared without anybody
        # noticing
        whole = self.what != "all" or len(parts[0]) == len(stack[0].state_dict())
        if not parts[0] or not whole or any(part != parts[0] for part in parts):
            raise UserError(
                "the layers of this model cannot stand for one another",
                where="share",
                found=type(model).__name__,
                expected="like layers with " + ", ".join(_PARTS[self.what]),
            )
        if not self.embedding:
            return
        hidden = int(model.config.hidden_size)
        if not _is_plain_bert(model) or self.what != "all":
            raise UserError("only the tables of a plain BERT can be factorized here", where="share.embedding", expected="what: all on BERT")
        if not 2 <= self.embedding <= hidden:
            raise UserError("no such width", where="share.embedding", found=self.embedding, expected=f"2 to the hidden size, {hidden}")

    def _shared(self, checkpoint: Checkpoint, groups: int, place: int | None, texts: Examples) -> nn.Module:
        """Return a new model whose groups start from the layer at ``place`` in each, or from the mean."""
        stack = layer_stack(checkpoint.model)[1]
        members = [[i for i in range(len(stack)) if group_of(i, len(stack), groups) == group] for group in range(groups)]
        states = [_start([_part(stack[i], self.what) for i in group], place) for group in members]
        if not _is_plain_bert(checkpoint.model) or self.what != "all":
            return _tied(checkpoint.model, members, states)
        return to_albert(checkpoint, states, self.embedding or int(checkpoint.model.config.hidden_size), texts)


def _is_plain_bert(model: PreTrainedModel) -> bool:
    return bool(model.config.model_type == "bert") and not structure_of(model.config)


def _tied(model: PreTrainedModel, members: list[list[int]], states: list[State]) -> nn.Module:
    """Return a copy of the model in which the parts of a group's first layer are its other layers' too."""
    # a copy: the next way to start needs the layers as they were
    model = copy.deepcopy(model)
    name, stack = layer_stack(model)
    for group, state in zip(members, states, strict=True):
        # strict=False: the state holds the shared part of a layer only
        stack[group[0]].load_state_dict(state, strict=False)
        for other in group[1:]:
            for part in sorted({key.split(".")[0] for key in state}):
                tie_module(model, f"{name}.{other}.{part}", f"{name}.{group[0]}.{part}")
    return model  # type: ignore[no-any-return]


def _places(layers: int, groups: int) -> list[int | None]:
    """Return the mean and every position that all groups have; one way where every layer is a group of its own."""
    if groups == layers:
        return [0]
    # a place counts only where the smallest group has it as well
    smallest = min(sum(group_of(i, layers, groups) == group for i in range(layers)) for group in range(groups))
    return [None, *range(smallest)]


def _part(layer: nn.Module, what: str) -> State:
    """Return the weights of the shared part of a layer."""
    return {name: value for name, value in layer.state_dict().items() if name.split(".")[0] in _PARTS[what]}


def _start(layers: list[State], place: int | None) -> State:
    if place is not None:
        return layers[min(place, len(layers) - 1)]
    return {name: torch.stack([layer[name] for layer in layers]).mean(dim=0) for name in layers[0]}


def _divergence(model: nn.Module, checkpoint: Checkpoint, context: Context) -> float:
    """Measure the distance of the model's answers from the teacher's on dev texts."""
    dev = context.splits.dev
    count = len(dev.texts)
    # evenly spaced and not drawn: the choice of the start must not hang on the seed
    rows = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64))
    pairs = None if dev.pairs is None else [dev.pairs[int(row)] for row in rows]
    part = Examples([dev.texts[int(row)] for row in rows], pairs, None, "")
    part = each_text(part) if task_of(checkpoint.task).apart else part
    student = predict_rows(model, encode_for(checkpoint.task, part, checkpoint.tokenizer), checkpoint.task)
    teacher = context.cache.logits(part, context.progress).outputs(np.arange(count_of(student)))
    return moved(checkpoint.task, student, teacher)
