"""Vectors of texts without training: weighted means of a table of word pieces, as bags that every engine for bags runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig

from imbik.models.architectures.pooled import BagConfig
from imbik.models.architectures.registry import introduce
from imbik.models.checkpoint import labels_of, set_labels
from imbik.models.pretrained import empty_model
from imbik.models.sentences.pooling import Pooling, pool_as
from imbik.models.teacher import Teacher
from imbik.students.pieces import piece_counts
from imbik.training.encoding import Encoded, encode
from imbik.types import Checkpoint, Examples

SMOOTHING = 1e-3
"""a of the weights a / (a + p): the authors' own."""

LATENT = 256
"""Directions that are kept of tf-idf, at most."""

_MOST_TEXTS = 10_000
"""Texts that tell the direction which all have in common, at most."""

_NEVER = -15.0
"""The score of special tokens, which stand in every text: all that a bag's weights can mean."""


def word_vectors(teacher: Teacher, texts: Examples) -> Checkpoint:
    """Return smooth inverse frequency over the teacher's own table of word pieces.

    v = (I - u uᵀ) Σ_t w_t E_t with w = a / (a + p), p the share of a piece in the texts, E the table of the teacher's pieces, u the leading
    singular vector of the texts' means (Arora, Liang, Ma 2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings").

    Args:
        teacher: a model that gives vectors; its layers are not used.
        texts: of train.
    """
    data = encode(texts, teacher.tokenizer)
    table = teacher.model.get_input_embeddings().weight.detach().float()
    counts = piece_counts(teacher.tokenizer, texts, len(table))
    share = counts / max(counts.sum(), 1)
    scores = torch.from_numpy(np.log(SMOOTHING / (SMOOTHING + share))).float()
    scores[_special(teacher, len(table))] = _NEVER
    some = data.take(np.sort(np.random.default_rng(0).permutation(len(data))[:_MOST_TEXTS]))
    means = _means(some, table, scores.exp()).double()
    # the leading right singular vector of the means is the leading eigenvector of their squares
    common = torch.linalg.eigh(means.T @ means)[1][:, -1].float()
    return _bag(teacher, table, scores, torch.eye(table.shape[1]) - torch.outer(common, common))


def latent_vectors(teacher: Teacher, texts: Examples, width: int = LATENT) -> Checkpoint:
    """Return tf-idf of word pieces on its leading singular directions (latent semantic analysis, Deerwester et al. 1990).

    v = Σ_t idf_t V_t with idf = ln((1 + N) / (1 + n)) + 1 of N texts, n of which hold the piece, and V the right singular vectors of the
    texts' tf-idf rows of length 1, ``(V, width)``. Where ``width`` is all there are, cosines of the texts are those of tf-idf.

    Args:
        teacher: whose tokenizer cuts the texts.
        texts: of train.
        width: directions.
    """
    from scipy.sparse import csr_matrix, diags
    from sklearn.decomposition import TruncatedSVD

    data, rows = encode(texts, teacher.tokenizer), len(teacher.model.get_input_embeddings().weight)
    owners = np.repeat(np.arange(len(data)), data.lengths)
    counts = csr_matrix((np.ones(len(data.ids), np.float64), (owners, data.ids)), shape=(len(data), rows))
    words = np.ones(rows)
    words[_special(teacher, rows)] = 0
    counts = counts @ diags(words)
    idf = np.log((1 + len(data)) / (1 + (counts > 0).sum(0).A1)) + 1
    weighted = counts @ diags(idf)
    lengths = np.sqrt(weighted.multiply(weighted).sum(1)).A1
    weighted = diags(1 / np.where(lengths == 0, 1, lengths)) @ weighted
    size = max(1, min(width, *(side - 1 for side in weighted.shape)))
    directions = TruncatedSVD(size, random_state=0).fit(weighted).components_  # (size, V)
    table = torch.from_numpy((directions * idf).T.astype(np.float32))
    scores = torch.zeros(rows)
    special = _special(teacher, rows)
    table[special], scores[special] = 0.0, _NEVER
    return _bag(teacher, table, scores, torch.eye(size))


def _special(teacher: Teacher, rows: int) -> NDArray[np.int64]:
    """Return the special tokens that a table has a row of, but for the unknown one: it stands for words."""
    tokenizer = teacher.tokenizer
    return np.array([index for index in tokenizer.all_special_ids if index < rows and index != tokenizer.unk_token_id], np.int64)


def _means(data: Encoded, table: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of each text's rows, ``(N, H)``."""
    ids = torch.from_numpy(data.ids.astype(np.int64))
    offsets = torch.from_numpy(np.asarray(data.offsets[:-1], np.int64))
    total = torch.nn.functional.embedding_bag(ids, table, offsets, mode="sum", per_sample_weights=weights[ids])
    shares = torch.nn.functional.embedding_bag(ids, weights.unsqueeze(1), offsets, mode="sum")
    return total / shares.clamp_min(1e-30)


def _bag(teacher: Teacher, table: Tensor, scores: Tensor, matrix: Tensor) -> Checkpoint:
    """Return a bag that gives ``matrix @ Σ_t exp(score_t) E_t``, of length 1.

    Its head has a ReLU: x = relu(x) - relu(-x).

    Args:
        table: E, ``(V, d)``.
        scores: ``(V,)``.
        matrix: ``(d, d)``.
    """
    introduce()
    width = table.shape[1]
    shape = {"hidden_size": width, "num_attention_heads": 1, "intermediate_size": 2 * width}
    config = AutoConfig.for_model(BagConfig.model_type, vocab_size=len(table), pad_token_id=teacher.tokenizer.pad_token_id or 0, **shape)
    names = labels_of(teacher)
    set_labels(config, teacher.task, names[:width] if width <= len(names) else tuple(map(str, range(width))))
    pool_as(config, Pooling("mean", True, None, False))
    model: Any = empty_model(config, teacher.task)
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    with torch.no_grad():
        model.embeddings.weight.copy_(torch.cat([table, scores.unsqueeze(1)], dim=1))
        for layer, weight in ((model.inner, both), (model.classifier, torch.cat([matrix, -matrix], dim=1))):
            layer.weight.copy_(weight)
            layer.bias.zero_()
    return Checkpoint(model.eval(), teacher.tokenizer, teacher.task, pairs=teacher.pairs)
