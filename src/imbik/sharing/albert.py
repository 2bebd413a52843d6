"""BERT -> ALBERT: the same computation in the class whose layers share their weights.

ALBERT is by Lan et al. (2020, arXiv 1909.11942).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig

from imbik.models.checkpoint import labels_of, set_labels
from imbik.models.pretrained import empty_model
from imbik.models.sentences.pooling import inherit_pooling
from imbik.models.units import inherit_units
from imbik.training.encoding import encode
from imbik.training.prediction import to_batch
from imbik.types import Checkpoint, Examples

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Where ALBERT keeps what a BERT layer holds.
_LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm",
    "intermediate.dense": "ffn",
    "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}
_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_SAMPLE = 512
"""Texts that the directions are computed on, evenly spread."""


def to_albert(checkpoint: Checkpoint, layers: Sequence[Mapping[str, Tensor]], embedding: int, texts: Examples) -> nn.Module:
    """Build the ALBERT classifier that computes what the BERT of ``checkpoint`` computes.

    With the given layers; it is a plain ALBERT of transformers.

    Args:
        checkpoint: a BERT; not changed.
        layers: the state of one BERT layer per group; group g stands for the layers i with
            ``group_of(i) == g``.
        embedding: E, the width of the factorized tables (V x E, then E x H); H for tables as they
            are. ALBERT always has the second factor; where E = H it starts as the identity and
            nothing is lost.
        texts: whose pieces decide what E < H keeps, see :func:`factorized_embeddings`.
    """
    bert = checkpoint.model
    hidden = int(bert.config.hidden_size)
    albert: PreTrainedModel = empty_model(_config(checkpoint, len(layers), embedding), checkpoint.task)
    # the head under its own name; models that answer token by token have no pooler
    state = {name: value for name, value in bert.state_dict().items() if not name.startswith("bert.")}
    if bert.bert.pooler is not None:
        state |= {f"albert.pooler.{name}": value for name, value in bert.bert.pooler.dense.state_dict().items()}
    for group, layer in enumerate(layers):
        # One inner layer per group: ALBERT could repeat several, which BERT has no counterpart for.
        stem = f"albert.encoder.albert_layer_groups.{group}.albert_layers.0"
        state |= {f"{stem}.{_LAYER[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value for name, value in layer.items()}
    if embedding == hidden:
        state |= {f"albert.embeddings.{name}": value for name, value in _named(bert.bert.embeddings).items()}
        # ALBERT multiplies by an E x H matrix even where E = H: the identity leaves all as it was.
        state |= {"albert.encoder.embedding_hidden_mapping_in.weight": torch.eye(hidden)}
        state |= {"albert.encoder.embedding_hidden_mapping_in.bias": torch.zeros(hidden)}
    else:
        state |= factorized_embeddings(checkpoint, embedding, texts)
    albert.load_state_dict(state)
    return albert.eval()


def _named(embeddings: nn.Module) -> dict[str, Tensor]:
    """Return the weights and biases of the embeddings, without their buffers."""
    return {name: value for name, value in embeddings.state_dict().items() if name.endswith((".weight", ".bias"))}


def _config(checkpoint: Checkpoint, groups: int, embedding: int) -> PretrainedConfig:
    """Return ALBERT's config with BERT's sizes."""
    old = checkpoint.model.config
    # BERT falls back on the hidden dropout, ALBERT has a number of its own.
    dropout = old.classifier_dropout if old.classifier_dropout is not None else old.hidden_dropout_prob
    same = (
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps"),
        *("hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size", "initializer_range"),
        *("pad_token_id", "bos_token_id", "eos_token_id"),
    )
    config = AutoConfig.for_model(
        "albert",
        **{name: getattr(old, name) for name in same},
        embedding_size=embedding,
        num_hidden_groups=groups,
        inner_group_num=1,
        classifier_dropout_prob=dropout,
    )
    set_labels(config, checkpoint.task, labels_of(checkpoint))
    inherit_units(config, checkpoint.model.config)
    inherit_pooling(config, checkpoint.model.config)
    return config


@torch.no_grad()
def factorized_embeddings(checkpoint: Checkpoint, width: int, texts: Examples) -> dict[str, Tensor]:
    """Compute ALBERT's factorized embeddings nearest to BERT's on ``texts``.

    These are the tables of width E, the layer norm and the E x H matrix; the fit is to what BERT's
    embeddings give on the texts.

    BERT's norm sees the centered sum c of three rows and gives γ ⊙ √H c / |c| + β. With P (H × E-1)
    the leading eigenvectors of the second moment of c / |c| over the tokens of the texts, and Q (E
    × E-1) an orthonormal basis of what is orthogonal to (1, …, 1), the tables become T C P Qᵀ (C
    centers): their sum has mean zero, so ALBERT's norm at width E gives √E Q u / |u| with u = Pᵀ c,
    and the matrix diag(γ) P Qᵀ √(H / E) with bias β brings it back. For E = H nothing is lost; for
    E < H what is lost is the part of c outside of the directions P, and the change of its length.
    """
    embeddings = checkpoint.model.bert.embeddings
    hidden = int(checkpoint.model.config.hidden_size)
    directions = _directions(checkpoint, width - 1, texts)
    ones = torch.ones(width, 1, dtype=torch.float64)
    # The first column of Q is (1, …, 1) up to a factor; the others are orthonormal and orthogonal to it.
    basis = torch.linalg.qr(torch.cat([ones, torch.eye(width, dtype=torch.float64)[:, : width - 1]], dim=1)).Q[:, 1:]
    turn = directions @ basis.T  # (H, E-1) @ (E-1, E) -> (H, E)
    state = {}
    for name in _TABLES:
        table = getattr(embeddings, name).weight.double()
        # (V, H) @ (H, E) -> (V, E); minus the mean, since BERT's norm sees the centered sum.
        state[f"albert.embeddings.{name}.weight"] = ((table - table.mean(dim=1, keepdim=True)) @ turn).float()
    norm = embeddings.LayerNorm
    # √(H / E): the norm at width E gives vectors of length √E, that at width H √H.
    back = norm.weight.double()[:, None] * turn * (hidden / width) ** 0.5
    state |= {"albert.embeddings.LayerNorm.weight": torch.ones(width), "albert.embeddings.LayerNorm.bias": torch.zeros(width)}
    state["albert.encoder.embedding_hidden_mapping_in.weight"] = back.float()
    state["albert.encoder.embedding_hidden_mapping_in.bias"] = norm.bias.detach().clone()
    return state


def _directions(checkpoint: Checkpoint, rank: int, texts: Examples) -> Tensor:
    """Return the leading eigenvectors ``(H, rank)``, float64, of the embedding sums.

    Of the second moment of the centered, unit-length sums.

    Directions that no text uses get what the whole table has there, at a thousandth of the weight:
    new texts bring new pieces.
    """
    embeddings = checkpoint.model.bert.embeddings
    data = encode(texts, checkpoint.tokenizer)
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), _SAMPLE)).astype(np.int64))
    table = _unit(embeddings.word_embeddings.weight.double())
    moment = table.T @ table / len(table) * 1e-3
    for start in range(0, len(rows), 64):
        batch = to_batch(data, rows[start : start + 64])
        ids = batch["input_ids"]
        types = batch.get("token_type_ids", torch.zeros_like(ids))
        # (B, T, H): the sum that BERT's norm sees.
        total = embeddings.word_embeddings(ids) + embeddings.token_type_embeddings(types)
        total = total + embeddings.position_embeddings(torch.arange(ids.shape[1]))
        part = _unit(total[batch["attention_mask"].bool()].double())
        moment += part.T @ part / len(rows)
    # eigh gives rising eigenvalues: the last columns lead, and are turned round.
    return torch.linalg.eigh(moment).eigenvectors[:, -rank:].flip(1)


def _unit(rows: Tensor) -> Tensor:
    """Center the rows and scale them to length 1."""
    rows = rows - rows.mean(dim=-1, keepdim=True)
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)
