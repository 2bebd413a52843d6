"""Start a narrow student from a wide teacher: project its hidden space on its principal directions over the task's texts.

With P ``(H_T, H_S)`` the leading eigenvectors of the second moment of the teacher's layer outputs, a matrix W that reads the hidden
space becomes P^T W and one that writes it becomes W P. Attention heads and feed-forward units are kept by how much they write; a head
wider than the student's keeps the leading singular directions of its two products. A layer norm does not commute with P, so this is a
start to train from and not an approximation of the teacher; what it is worth is measured in docs/results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from imbik.models.architectures.sentence import SentenceEncoder
from imbik.models.blocks import layer_stack, roles_of
from imbik.models.teacher import Teacher
from imbik.training.encoding import encode
from imbik.training.prediction import model_inputs, to_batch
from imbik.types import Checkpoint, Examples

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# 512 texts are some ten thousand tokens, many more than the dimensions that they have to span
_SAMPLE = 512


def principal_directions(teacher: Checkpoint, texts: Examples, rank: int) -> Tensor:
    """Compute the leading ``rank`` eigenvectors ``(H, rank)`` of the hidden states' second moment over all layers.

    Args:
        teacher: the model.
        texts: up to 512 of them are read, evenly spaced.
        rank: how many directions, at most H.
    """
    moment: Tensor | None = None
    for hidden in _hidden_states(teacher, texts):
        # (N, H) to (H, H), summed over layers and batches
        part = hidden.T @ hidden
        moment = part if moment is None else moment + part
    assert moment is not None
    _, vectors = torch.linalg.eigh(moment)
    # eigh sorts eigenvalues upwards: the leading directions are the last columns
    return vectors[:, -rank:].flip(1).float()


@torch.inference_mode()
def _hidden_states(teacher: Checkpoint, texts: Examples) -> list[Tensor]:
    count = len(texts.texts)
    rows = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64))
    part = Examples([texts.texts[int(i)] for i in rows], None if texts.pairs is None else [texts.pairs[int(i)] for i in rows], None, "")
    data = encode(part, teacher.tokenizer)
    out = []
    for start in range(0, len(rows), 32):
        batch = to_batch(data, np.arange(start, min(start + 32, len(rows))))
        states = teacher.model(**model_inputs(batch), output_hidden_states=True).hidden_states
        mask = batch["attention_mask"].bool()
        # every layer's states are scaled to unit size so that the last, largest ones do not decide alone
        out += [_unit(state[mask].double()) for state in states]
    return out


def _unit(states: Tensor) -> Tensor:
    return states / states.square().mean().sqrt().clamp_min(1e-12)


@torch.no_grad()
def project(teacher: Teacher, student: Checkpoint, mapping: Sequence[int], texts: Examples) -> list[str]:
    """Fill the student's weights (a plain BERT) from the teacher's; parts that the teacher lacks stay random.

    Args:
        teacher: any encoder whose layers :func:`imbik.models.blocks.layer_stack` finds.
        student: a BERT that is not wider than the teacher; changed in place.
        mapping: the teacher layer (0-based) of each student layer.
        texts: task texts.

    Returns:
        What stayed random, in words.
    """
    directions = principal_directions(teacher, texts, int(student.model.config.hidden_size))
    random = [] if _project_embeddings(teacher.model, student.model, directions) else ["word vectors"]
    source = teacher.anatomy.layers
    for index, layer in zip(mapping, layer_stack(student.model)[1], strict=True):
        original = teacher.model.get_submodule(source[index].output.path)
        random += _project_layer(original, layer, directions, teacher.model.config, student.model.config)
    if isinstance(student.model, SentenceEncoder):
        _project_vectors(teacher.model, student.model, directions)
    return sorted(set(random))


def _project_vectors(teacher: SentenceEncoder, student: SentenceEncoder, directions: Tensor) -> None:
    """Let a sentence encoder's last matrix undo the projection: ``directions`` (H_T, H_S), below the teacher's own where it has one."""
    assert student.dense is not None, "a narrow encoder needs a matrix to give vectors as wide as its teacher's"
    student.dense.weight.copy_(directions if teacher.dense is None else teacher.dense.weight @ directions)
    if student.dense.bias is not None:
        student.dense.bias.copy_(teacher.dense.bias)  # type: ignore[union-attr]  # inherited with the matrix


_WIDENING = ("embedding_hidden_mapping_in", "embeddings_project")
"""The matrix behind narrow embedding tables in ALBERT and ELECTRA."""


def _project_embeddings(teacher: PreTrainedModel, student: PreTrainedModel, directions: Tensor) -> bool:
    """Project the word, position and token type tables; return whether that was possible."""
    embeddings = student.bert.embeddings
    # (V, H_T), or (V, E) where the table is narrower than the layers
    table, bias = teacher.get_input_embeddings().weight, 0.0
    if table.shape[1] != directions.shape[0]:
        widening = next((m for name, m in teacher.named_modules() if name.rsplit(".", 1)[-1] in _WIDENING), None)
        if not isinstance(widening, nn.Linear) or widening.weight.shape != (directions.shape[0], table.shape[1]):
            return False
        # E -> H_T -> H_S in one product, (E, H_S): the student has no narrow table
        directions, bias = widening.weight.T @ directions, widening.bias @ directions
    embeddings.word_embeddings.weight.copy_(table @ directions + bias)
    source = {name.rsplit(".", 2)[-2]: p for name, p in teacher.named_parameters() if name.endswith("embeddings.weight")}
    for name in ("position_embeddings", "token_type_embeddings"):
        old, new = source.get(name), getattr(embeddings, name).weight
        if old is not None and old.shape[1] == directions.shape[0]:
            rows = min(len(old), len(new))
            new[:rows] = old[:rows] @ directions
            # positions that the teacher does not know: as large as the others, so that the norm
            # behind treats them alike
            scale = new[:rows].std()
            new[rows:] = torch.randn_like(new[rows:]) * scale
    return True


_NEEDED = {"query", "key", "value", "out", "up", "down"}


def _linears(layer: nn.Module) -> dict[str, nn.Linear]:
    """Return the six matrices of a Transformer layer by role; a role is missing where the names say nothing."""
    return {role: module for role, (_, module) in roles_of(layer).items() if isinstance(module, nn.Linear) and role in _NEEDED}


def _project_layer(source: nn.Module, target: nn.Module, directions: Tensor, old: PretrainedConfig, new: PretrainedConfig) -> list[str]:
    """Fill one layer; return what stayed random of it."""
    have, want = _linears(source), _linears(target)
    if set(have) != _NEEDED:
        return ["layers"]
    random = []
    if not _project_attention(have, want, directions, int(old.num_attention_heads), int(new.num_attention_heads)):
        random.append("attention")
    # what a unit can write grows with |its row of up| · |its column of down|
    units = (have["up"].weight.norm(dim=1) * have["down"].weight.norm(dim=0)).argsort(descending=True)
    # sorted, so that equal widths copy the network unit by unit
    units = units[: want["up"].out_features].sort().values
    if len(units) < want["up"].out_features:
        return [*random, "feed-forward networks"]
    want["up"].weight.copy_(have["up"].weight[units] @ directions)
    want["up"].bias.copy_(have["up"].bias[units])
    want["down"].weight.copy_(directions.T @ have["down"].weight[:, units])
    want["down"].bias.copy_(directions.T @ have["down"].bias)
    return random


def _project_attention(have: dict[str, nn.Linear], want: dict[str, nn.Linear], directions: Tensor, old_heads: int, new_heads: int) -> bool:
    """Project the heads that write most; return whether that was possible: not where the student has more of them, or wider ones.

    The products qᵀk and out·v of a head are kept as well as heads of fewer numbers can: their singular value decomposition, cut.
    """
    wide, narrow = have["query"].out_features // old_heads, want["query"].out_features // new_heads
    if narrow > wide or new_heads > old_heads:
        return False
    # sorted for the same reason: with all heads kept, head i becomes head i
    for place, head in enumerate(_most_written(have, old_heads, wide)[:new_heads].sort().values.tolist()):
        rows, new = slice(head * wide, (head + 1) * wide), slice(place * narrow, (place + 1) * narrow)
        # (d, H_S + 1): the bias is one more input column, so that cutting a product counts it in
        query, key, value = (
            torch.cat([have[role].weight[rows] @ directions, have[role].bias[rows, None]], dim=1) for role in ("query", "key", "value")
        )
        out = have["out"].weight[:, rows].T @ directions
        if narrow < wide:
            query, key = (part * (narrow / wide) ** 0.25 for part in _narrowed(query, key, narrow))  # scores are divided by sqrt(size)
            out, value = _narrowed(out, value, narrow)
        for role, part in (("query", query), ("key", key), ("value", value)):
            want[role].weight[new] = part[:, :-1]
            want[role].bias[new] = part[:, -1]
        want["out"].weight[:, new] = out.T
    want["out"].bias.copy_(directions.T @ have["out"].bias)
    return True


def _most_written(layer: dict[str, nn.Linear], heads: int, size: int) -> Tensor:
    """Return the heads, those that write most first."""
    # query and key only say where a head looks; value and out say how much it writes
    value = layer["value"].weight.view(heads, size, -1).flatten(1).norm(dim=1)
    out = layer["out"].weight.view(-1, heads, size).transpose(0, 1).flatten(1).norm(dim=1)
    return (value * out).argsort(descending=True)


def _narrowed(left: Tensor, right: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return ``(size, N)`` and ``(size, M)``: leftᵀ·right is the nearest of rank ``size`` to that of ``(d, N)`` and ``(d, M)``."""
    # leftᵀ·right is (N, M) but of rank d at most: QR leaves a (d, d) matrix to decompose.
    # float64: the square roots of small singular values would magnify float32's rounding
    (left_basis, left_rest), (right_basis, right_rest) = (torch.linalg.qr(part.T.double()) for part in (left, right))
    u, values, vh = torch.linalg.svd(left_rest @ right_rest.T)
    # half of each singular value to either side, so that neither factor is much larger to train
    root = values[:size].sqrt()
    return ((left_basis @ u[:, :size]) * root).T.float(), ((right_basis @ vh[:size].T) * root).T.float()
