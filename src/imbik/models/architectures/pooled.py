"""Students without a Transformer layer: word-piece vectors, pooled by learned queries; alone, or below layers that know their order."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from imbik.models.architectures.registry import architecture

_LEAST = 1e-6
"""The least length that pooled numbers are divided by: those of padding alone are zero."""

_STEEPEST = 15.0
"""Scores are cut here before exp: e^15 of a piece against 1 of another is all that a weight can mean in float32."""


class BagConfig(PretrainedConfig):  # type: ignore[misc]
    """Numbers of a bag of word pieces.

    Args:
        vocab_size: V, pieces of the tokenizer.
        hidden_size: d, the width of a piece's vector.
        num_attention_heads: H, learned queries; each pools its own d / H numbers.
        pad_token_id: the piece that counts for nothing.
        intermediate_size: units between the pooled numbers and the labels.
        bigrams: rows for pairs of neighboring pieces, which share them by a hash; 0: pieces alone count.
    """

    model_type = "imbik_bag"

    def __init__(
        self,
        vocab_size: int = 0,
        hidden_size: int = 128,
        num_attention_heads: int = 8,
        pad_token_id: int = 0,
        bigrams: int = 0,
        **more: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.bigrams = bigrams
        super().__init__(pad_token_id=pad_token_id, **{"num_hidden_layers": 0, "intermediate_size": 256} | more)


class PooledModel(PreTrainedModel):  # type: ignore[misc]
    """What all of them share: the table of pieces, the pooling and the head."""

    config_class: ClassVar[type[BagConfig]] = BagConfig
    base_model_prefix = "pooled"
    main_input_name = "input_ids"

    def __init__(self, config: BagConfig) -> None:
        super().__init__(config)
        width, heads = config.hidden_size, config.num_attention_heads
        # one table: of each piece its d numbers, and behind them what the H queries think of it
        self.embeddings = nn.Embedding(config.vocab_size, width + heads, padding_idx=config.pad_token_id)
        self.inner = nn.Linear(self.pooled_width, config.intermediate_size)
        self.classifier = nn.Linear(config.intermediate_size, config.num_labels)

    @property
    def pooled_width(self) -> int:
        """Numbers that the head reads."""
        return int(self.config.hidden_size)

    def get_input_embeddings(self) -> nn.Module:
        """Return the table, ``(V, d + H)``."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put another table in its place."""
        self.embeddings = value

    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights of a new model; called by transformers for each module."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
            nn.init.zeros_(module.weight[:, self.config.hidden_size :])
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> SequenceClassifierOutput:
        """Compute logits ``(B, L)`` of ids ``(B, T)``; what is padding, by the mask or by its id, counts for nothing."""
        keep = (input_ids != self.config.pad_token_id).to(self.classifier.weight.dtype)
        if attention_mask is not None:
            keep = keep * attention_mask.to(keep.dtype)
        keep = keep.unsqueeze(-1)  # (B, T, 1)
        rows, keep = self.read(input_ids, keep)
        width = self.config.hidden_size
        pooled = self.pool(rows[..., :width] * keep, rows[..., width:], keep)
        # divided by its root mean square (Zhang, Sennrich 2019, arXiv 1910.07467), without a gain: `inner` has one for each number
        even = nn.functional.normalize(pooled, dim=-1, eps=_LEAST) * self.pooled_width**0.5
        return SequenceClassifierOutput(logits=self.classifier(torch.relu(self.inner(even))))

    def read(self, ids: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows that are pooled, ``(B, T, d + H)``, and which of them count.

        Args:
            ids: ``(B, T)``.
            keep: ``(B, T, 1)``, 1 where there is no padding, else 0.
        """
        return self.embeddings(ids), keep

    def pool(self, vectors: Tensor, scores: Tensor, keep: Tensor) -> Tensor:
        """Return what the head reads, ``(B, pooled_width)``.

        Args:
            vectors: ``(B, T, d)``, zero where there is padding.
            scores: ``(B, T, H)``.
            keep: ``(B, T, 1)``, 1 where there is no padding, else 0.
        """
        raise NotImplementedError


def hashed(pieces: int, rows: int) -> Tensor:
    """Return a number below ``rows`` for each piece, ``(V,)``.

    It is the upper bits of the id's product with 2^32 / φ (Knuth, TAOCP 3, 6.4).

    >>> hashed(5, 1000).tolist()
    [0, 618, 236, 854, 472]
    """
    spread = (torch.arange(pieces, dtype=torch.int64) * 2654435769) % 2**32
    return (spread * rows // 2**32).int()


def attend(vectors: Tensor, weights: Tensor) -> Tensor:
    """Pool by weights: head h takes Σ_t w_th x_th / Σ_t w_th of its slice of the vectors.

    Args:
        vectors: ``(B, T, d)``.
        weights: ``(B, T, H)``, not negative; H divides d.

    >>> attend(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]), torch.tensor([[[1.0, 1.0], [1.0, 3.0]]]))
    tensor([[2., 5.]])
    """
    by_head = vectors.unflatten(-1, (weights.shape[-1], -1))  # (B, T, H, d / H)
    total = (weights.unsqueeze(-1) * by_head).sum(1)
    # a text of padding alone has no weight at all, and is answered with zeros
    return (total / weights.sum(1).clamp_min(1e-30).unsqueeze(-1)).flatten(1)


def weights_of(scores: Tensor, keep: Tensor) -> Tensor:
    """Return exp of the scores ``(B, T, H)``, zero at padding: softmax before its division."""
    return torch.exp(scores.float().clamp(-_STEEPEST, _STEEPEST)) * keep


@architecture(BagConfig, "SequenceClassification")
class BagForSequenceClassification(PooledModel):
    """A bag of word pieces: z = Σ_t softmax_t(S) ⊙ E, logits = relu(z / rms(z) U + c) W + b.

    A Transformer of one layer whose first token is read asks its text by one constant query, so it is a weighted bag of its
    pieces too; here piece i brings its vector E_i and one score a query S_i from a table, and nothing is multiplied for a token.

    With ``bigrams`` each two neighbors i, j bring a row of a second table too, number (3 k_i + k_j) mod B with k_i a hash of the piece
    below B (hashed n-grams: Weinberger et al. 2009, arXiv 0902.2206; Joulin et al. 2017, arXiv 1607.01759), pooled among the pieces. The
    hashes are kept, so that pieces may be numbered anew.
    """

    keys: Tensor

    def __init__(self, config: BagConfig) -> None:
        super().__init__(config)
        if config.bigrams:
            self.bigrams = nn.Embedding(config.bigrams, config.hidden_size + config.num_attention_heads)
            self.register_buffer("keys", hashed(config.vocab_size, config.bigrams))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Let pairs begin as if they were not there, whatever the pieces begin as."""
        super()._init_weights(module)
        if self.config.bigrams and module is self.bigrams:
            nn.init.zeros_(self.bigrams.weight)

    def keep_rows(self, rows: Tensor) -> None:
        """Let the pieces keep their hashes when those of ``rows`` stay, in that order."""
        if self.config.bigrams:
            self.keys = self.keys[rows]

    def read(self, ids: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of the pieces, and of their pairs behind them."""
        rows, keep = super().read(ids, keep)
        if not self.config.bigrams:
            return rows, keep
        keys = self.keys[ids]  # (B, T)
        pairs = self.bigrams((3 * keys[:, :-1] + keys[:, 1:]) % self.config.bigrams)
        return torch.cat([rows, pairs], dim=1), torch.cat([keep, keep[:, :-1] * keep[:, 1:]], dim=1)

    def pool(self, vectors: Tensor, scores: Tensor, keep: Tensor) -> Tensor:
        """Return the heads' weighted means ``(B, d)``."""
        return attend(vectors, weights_of(scores, keep))
