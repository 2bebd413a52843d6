"""Where IB-BERT and MobileBERT start: the first from a classic BERT's states, the second from the first.

An IB-BERT block reads h ``(B)``, opens it to the classic width, computes what the classic layer computes, and closes it again. With s the
classic states and P ``(H, B)`` their principal directions, turned by a random rotation so that every coordinate carries a like share,
h stands for Pᵀs: opening is the least-squares map back to s, closing is Pᵀ, and the inner matrices are the classic ones. The block's
outer residual has no counterpart in the classic model; closing is scaled up so that little of it is left. All of this is a start to
distil from, and what it is worth is measured in docs/mobilebert.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from imbik.models.anatomy import Anatomy, listen
from imbik.models.blocks import layer_stack, roles_of
from imbik.models.hooks import module_at
from imbik.models.units import Units, units_of
from imbik.students.mobilebert import stand_for_layer_norm
from imbik.training.prediction import Batch, model_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CLOSING = 8.0  # how much larger than the outer residual what a block gives is
_ALIKE = 1e-6  # a deviation below it is none: of one text, or of texts that are all the same
_FLAT = 0.01  # mean slope of a saturated pooler


@torch.no_grad()
def start_ib_bert(classic: PreTrainedModel, reader: Anatomy, ib: PreTrainedModel, mapping: list[int], batch: Batch) -> None:
    """Fill an IB-BERT from a classic encoder of the inner width, see the module's text.

    Args:
        classic: any encoder; a layer without BERT's six matrices, or of another width inside, gives its states only.
        reader: its own.
        ib: a MobileBERT-class model with layer norm.
        mapping: the classic layer (0-based) of each block.
        batch: a few hundred rows of text.
    """
    names = ["embeddings", *(f"hidden.{i}" for i in range(len(reader.layers)))]
    with listen(classic, reader, names) as states:
        classic(**model_inputs(batch))
    real = batch["attention_mask"].bool()
    tokens = {name: states[name].float()[real] for name in names}  # (N, H) of the real ones
    base = ib.base_model
    # (H, B)
    turned = _directions([tokens[name] for name in names], int(base.config.hidden_size))
    _start_embeddings(classic, base, tokens["embeddings"] @ turned, batch)
    # of every block what the layer before it in the mapping gave, (N, H)
    inputs = [tokens["embeddings"], *(tokens[f"hidden.{i}"] for i in mapping[:-1])]
    for block, index, before in zip(layer_stack(base)[1], mapping, inputs, strict=True):
        _start_block(block, module_at(classic, reader.layers[index].output.path), turned, before, tokens[f"hidden.{index}"])


def _directions(states: list[Tensor], rank: int) -> Tensor:
    """Return ``(H, B)``: leading directions of all states, each layer's at unit size, turned by a random rotation."""
    moment = sum((s.T @ s) / s.square().mean() for s in (state.double() for state in states))
    assert isinstance(moment, Tensor)
    leading = torch.linalg.eigh(moment)[1][:, -rank:]
    if leading.shape[1] < rank:  # wider between blocks than the classic model is: the rest has nothing to carry
        leading = torch.cat([leading, leading.new_zeros(len(leading), rank - leading.shape[1])], dim=1)
    rotation = torch.linalg.qr(torch.randn(rank, rank, dtype=torch.float64))[0]
    return (leading @ rotation).float()


def _start_embeddings(classic: PreTrainedModel, base: PreTrainedModel, targets: Tensor, batch: Batch) -> None:
    """Fill the word table by its leading directions; fit the map of three neighbors to ``targets`` by least squares."""
    table, embeddings = classic.get_input_embeddings().weight.float(), base.embeddings
    rank = embeddings.word_embeddings.weight.shape[1]
    leading = torch.linalg.eigh((table.T @ table).double())[1][:, -min(rank, table.shape[1]) :].float()
    embeddings.word_embeddings.weight.zero_()
    embeddings.word_embeddings.weight[:, : leading.shape[1]] = table @ leading
    # the fit below knows words alone: positions and types must stay small beside what it gives
    embeddings.position_embeddings.weight.mul_(0.1)
    embeddings.token_type_embeddings.weight.mul_(0.1)
    real = batch["attention_mask"].bool()
    words = embeddings.word_embeddings(batch["input_ids"])
    # (B, T, 3 E) in transformers' own order: next word, word, word before
    around = torch.cat([nn.functional.pad(words[:, 1:], (0, 0, 0, 1)), words, nn.functional.pad(words[:, :-1], (0, 0, 1, 0))], dim=2)
    _least_squares(embeddings.embedding_transformation, around[real], _standard(targets))


def _start_block(block: nn.Module, classic: nn.Module, turned: Tensor, before: Tensor, after: Tensor) -> None:
    # (N, B): what a block reads is the result of a layer norm
    closed = _standard(before @ turned)
    for bottleneck in (block.bottleneck.input, block.bottleneck.attention):
        _least_squares(bottleneck.dense, closed, before)
        bottleneck.LayerNorm.weight.fill_(float(before.std(dim=1).mean()))
        bottleneck.LayerNorm.bias.fill_(float(before.mean()))
    have, want = roles_of(classic), roles_of(block)
    roles = ("query", "key", "value", "out", "up", "down")
    if any(role not in have or not isinstance(have[role][1], nn.Linear) for role in roles):
        return
    if have["query"][1].weight.shape != block.attention.self.query.weight.shape or have["up"][1].weight.shape != want["up"][1].weight.shape:
        return
    inner = {
        "query": block.attention.self.query,
        "key": block.attention.self.key,
        "out": block.attention.output.dense,
        "up": block.intermediate.dense,
        "down": block.output.dense,
    }
    for role, module in inner.items():
        module.load_state_dict(have[role][1].state_dict())
    opening = block.bottleneck.input.dense
    value = have["value"][1]
    # transformers' value reads the block's input and not the bottleneck: opening is multiplied in
    block.attention.self.value.weight.copy_(value.weight @ opening.weight)
    block.attention.self.value.bias.copy_(value.bias + value.weight @ opening.bias)
    norms = [module for module in classic.modules() if isinstance(module, nn.LayerNorm)]
    for source, target in zip(norms, (block.attention.output.LayerNorm, block.output.LayerNorm), strict=False):
        target.load_state_dict(source.state_dict())
    closing = block.output.bottleneck.dense
    closing.weight.copy_(turned.T * (_CLOSING / (after @ turned).std(dim=1).mean()))
    closing.bias.zero_()


def _least_squares(linear: nn.Linear, inputs: Tensor, outputs: Tensor) -> None:
    """Set a product and its bias to the ridge regression of ``outputs`` on ``inputs``, both ``(N, …)``."""
    x, y = inputs.double(), outputs.double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    # small beside the inputs' size, enough for directions in which a few hundred texts say nothing
    ridge = 1e-3 * x.square().mean() * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    linear.weight.copy_(weight.T)
    linear.bias.copy_(y_mean - x_mean @ weight)


def _standard(states: Tensor) -> Tensor:
    return nn.functional.layer_norm(states, (states.shape[-1],))


@torch.no_grad()
def start_head(classic: PreTrainedModel, ib: PreTrainedModel, batch: Batch, seed: int = 0) -> None:
    """Open the pooler at random and fit the classifier behind it to the classic model's logits.

    Args:
        classic: the teacher.
        ib: a model of the MobileBERT class, whose blocks give states already.
        batch: rows that both are fitted to.
        seed: of the pooler, whatever was drawn before.
    """
    states = ib.mobilebert(**model_inputs(batch)).last_hidden_state[:, 0].float()
    width, mean = states.shape[1], states.mean(0)
    # orthogonal, so that nothing is lost; 0.7 of the deviation keeps tanh bent but not saturated. First tokens have most in common: what
    # differs is a hundredth of a state, which only huge weights behind the pooler would bring to a logit's size
    pooler = ib.mobilebert.pooler.dense
    drawn = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
    pooler.weight.copy_(torch.linalg.qr(drawn)[0] * (0.7 / (states - mean).square().mean().sqrt().clamp_min(_ALIKE)))
    pooler.bias.copy_(-pooler.weight @ mean)
    fit_classifier(classic, ib, batch)


@torch.no_grad()
def refit_head(classic: PreTrainedModel, student: PreTrainedModel, batch: Batch, seed: int = 0) -> None:
    """Fit a head that came from an IB-BERT to the student's own states: they are nearly the IB-BERT's, no more.

    The pooler stays, since one that is opened anew answers to every small change of the states; but not where these states saturate it.
    """
    pooled = student.mobilebert(**model_inputs(batch)).pooler_output.float()
    # the slope of tanh: where it is flat, all texts get one answer and nothing below learns
    if float((1 - pooled.square()).mean()) < _FLAT:
        start_head(classic, student, batch, seed)
    else:
        fit_classifier(classic, student, batch)


@torch.no_grad()
def fit_classifier(classic: PreTrainedModel, model: PreTrainedModel, batch: Batch) -> None:
    """Fit the classifier to the classic model's logits, by a ridge regression on what the pooler gives.

    It is as strong as texts that were left out of it want it: rows are about as many as numbers.
    """
    from sklearn.linear_model import RidgeCV

    # a regression's head gives z, and the model mean + scale · z
    units = units_of(model.config) or Units()
    wanted = (classic(**model_inputs(batch)).logits.float() - units.mean) / units.scale
    pooled = model.mobilebert(**model_inputs(batch)).pooler_output.float()
    ridge = RidgeCV(alphas=len(pooled) * max(float(pooled.var(0, correction=0).mean()), _ALIKE) * np.logspace(-3, 1, 9)).fit(
        pooled.numpy(), wanted.numpy()
    )
    model.classifier.weight.copy_(torch.from_numpy(ridge.coef_.reshape(model.classifier.weight.shape)))
    model.classifier.bias.copy_(torch.from_numpy(np.ravel(ridge.intercept_)))


@torch.no_grad()
def copy_from_ib(ib: PreTrainedModel, student: PreTrainedModel, batch: Batch) -> None:
    """Copy what IB-BERT and MobileBERT have alike, embeddings and head; NoNorm starts as the layer norm with its mean statistics.

    Args:
        ib, student: models of the MobileBERT class with the same width between blocks and the same embeddings.
        batch: rows that the statistics are taken from.
    """
    target, source = student.base_model.embeddings, ib.base_model.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings", "embedding_transformation"):
        target.get_submodule(name).load_state_dict(source.get_submodule(name).state_dict())
    seen: list[Tensor] = []
    # what goes into the teacher's layer norm: the states that NoNorm will have to scale
    handle = source.LayerNorm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach().float()))
    source(input_ids=batch["input_ids"])
    handle.remove()
    states = seen[0][batch["attention_mask"].bool()]
    stand_for_layer_norm(target.LayerNorm, states, source.LayerNorm.weight, source.LayerNorm.bias)
    # of a classifier the first two, of a masked language model the last
    heads = ["classifier", "mobilebert.pooler", "cls"]
    for name in heads:
        have = dict(ib.named_modules()).get(name)
        want = dict(student.named_modules()).get(name)
        if have is not None and want is not None:
            want.load_state_dict(have.state_dict())
