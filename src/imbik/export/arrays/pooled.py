"""Arrays of bags, gated convolutions and LSTMs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imbik.export.arrays.lowering import Arrays, floats, lowers
from imbik.models.architectures.sentence import BagForSentenceEmbedding, ConvForSentenceEmbedding, LstmForSentenceEmbedding
from imbik.models.sentences.pooling import pooling_of
from imbik.models.units import folded

_VECTORS = (BagForSentenceEmbedding, ConvForSentenceEmbedding, LstmForSentenceEmbedding)


@lowers("imbik_bag")
def arrays_of_bag(model: Any) -> Arrays:
    """Return the arrays of :class:`imbik.runtime.arrays.pooled.Bag`."""
    arrays = {"kind": np.array("bag"), **_shared(model)}
    if model.config.bigrams:
        pairs, width = floats(model.bigrams(torch.arange(model.config.bigrams))), int(model.config.hidden_size)
        # one table: the pairs' rows stand behind the pieces'
        arrays["vectors"] = np.concatenate([arrays["vectors"], pairs[:, :width]])
        arrays["scores"] = np.concatenate([arrays["scores"], pairs[:, width:]])
        arrays["keys"] = model.keys.numpy()
    return arrays


@lowers("imbik_conv")
def arrays_of_conv(model: Any) -> Arrays:
    """Return the arrays of :class:`imbik.runtime.arrays.pooled.Conv`."""
    arrays = {"kind": np.array("conv"), **_ordered(model)}
    for number, layer in enumerate(model.convolutions):
        arrays |= {f"mix.{number}": floats(layer.mix.weight), f"mix_bias.{number}": floats(layer.mix.bias)}
        if layer.taps is not None:
            arrays[f"taps.{number}"] = floats(layer.taps)
    return arrays


@lowers("imbik_lstm")
def arrays_of_lstm(model: Any) -> Arrays:
    """Return the arrays of :class:`imbik.runtime.arrays.pooled.Lstm`: matrices of both directions, one above the other."""
    arrays = {"kind": np.array("lstm"), **_ordered(model)}
    for number, layer in enumerate(model.layers):
        for name, stem in (("read", "weight_ih_l0"), ("remember", "weight_hh_l0")):
            both = [floats(getattr(layer.lstm, stem + direction)) for direction in ("", "_reverse")]
            arrays[f"{name}.{number}"] = np.concatenate(both)
    return arrays


def _ordered(model: Any) -> Arrays:
    score = {"score": floats(model.score.weight), "score_bias": floats(model.score.bias)}
    return {**_shared(model), "layers": np.array(len(model.layers)), **score}


@torch.no_grad()
def _shared(model: Any) -> Arrays:
    config = model.config
    # asked for its rows and not for its weight: the table may be factorized or clustered
    table = floats(model.get_input_embeddings()(torch.arange(config.vocab_size)))
    width = int(config.hidden_size)
    head = {"inner": floats(model.inner.weight), "inner_bias": floats(model.inner.bias)}
    # a regression's mean and scale go into its last matrix; copied, as the model gets its own back
    with folded(model.modules(), config):
        head |= {"weight": floats(model.classifier.weight).copy(), "bias": floats(model.classifier.bias).copy()}
    if isinstance(model, _VECTORS) and pooling_of(config).normalize:
        head["unit"] = np.array(1)
    return {"vectors": table[:, :width], "scores": table[:, width:], **head, "padding": np.array(int(config.pad_token_id))}
