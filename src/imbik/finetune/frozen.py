"""A pretrained encoder as it is, with a linear head: what one would try before fine-tuning, and where fine-tuning may start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import sorted_batches
from imbik.models.anatomy import anatomy, listen
from imbik.models.blocks import layer_stack
from imbik.models.hooks import evaluating
from imbik.models.inputs import reads_images
from imbik.models.units import Units, units_of
from imbik.tasks.registry import task_of
from imbik.training.encoding import Encoded, encode_for
from imbik.training.precision import precision
from imbik.training.prediction import model_inputs, to_batch
from imbik.types import Checkpoint, Splits

COSTS = (0.003, 0.03, 0.3)
"""C of the logistic regression: how much the fit counts against small weights."""

MOST_ROWS = 10_000
"""Rows of train that the head is fitted on at most: more move a few hundred weights a label by little and cost a pass each."""

_SQUEEZE = 0.5  # the head reads tanh(x / 2) of normalized states, which is nearly linear for most of them
_NEVER = -10.0  # logit of a label that train has no text of

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FrozenHead:
    """The linear head that was put on a model.

    Attributes:
        reads: ``mean``, the mean of the states below the last layer, or ``first``, what the architecture's head reads by itself.
        cost: the C that was best on dev.
        merit: the metric on dev, higher is better.
        rows: of train that it was fitted on.
    """

    reads: str
    cost: float
    merit: float
    rows: int


def fit_frozen_head(checkpoint: Checkpoint, splits: Splits, *, seed: int = 0) -> FrozenHead | None:
    """Put the best linear head on a pretrained encoder whose weights stay as they are; the checkpoint's model is changed.

    Most encoders say more in the mean of their states than in their first token, which alone the head of a classifier reads. In a model
    built like BERT the last layer is therefore rewritten where that is better on dev: its first token then attends to all tokens
    alike, takes their states unchanged, and gives LN(x_1 + mean(x)); the model remains a plain transformers model of its kind, and can be
    fine-tuned. The head is a logistic regression (one per label for several labels a text, a ridge for values) on what it reads, its C
    chosen on dev.

    Args:
        checkpoint: an encoder with a new head, of :func:`imbik.models.pretrained.load_base`.
        splits: the data.
        seed: of the rows that are drawn where train has more than :data:`MOST_ROWS`.

    Returns:
        What was fitted; None, and nothing is changed, where the task has no row of numbers a text or the model no linear head.
    """
    task = task_of(splits.task)
    head = _head(checkpoint.model) if task.one_row else None
    if head is None:
        return None
    rows = np.sort(np.random.default_rng(seed).permutation(len(splits.train.texts))[:MOST_ROWS])
    train = encode_for(task.name, splits.train, checkpoint.tokenizer).take(rows)
    dev = encode_for(task.name, splits.dev, checkpoint.tokenizer)
    reads = _Reads(checkpoint, head)
    known, asked = reads.of(train), reads.of(dev)
    targets = np.asarray(splits.train.targets)[rows]
    tried = [(*_best(known[name], targets, asked[name], checkpoint, splits), name) for name in known]
    merit, cost, weights, bias, name = max(tried, key=lambda one: one[0])
    if name == "mean":
        read_mean(checkpoint.model)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        head.bias.copy_(torch.from_numpy(bias))
    return FrozenHead(name, cost, merit, len(rows))


def _head(model: Any) -> nn.Linear | None:
    """Return the last matrix, which gives the logits; None: the model ends in something else."""
    inner = {id(module) for module in model.base_model.modules()}
    count = model.config.num_labels
    found = [m for m in model.modules() if isinstance(m, nn.Linear) and id(m) not in inner and m.out_features == count]
    return found[-1] if found and found[-1].bias is not None else None


def _squeezer(model: Any) -> nn.Linear | None:
    """Return the matrix before the tanh that the head reads; None: the architecture has another head."""
    pooler: Any = getattr(model.base_model, "pooler", None)
    if isinstance(getattr(pooler, "activation", None), nn.Tanh):
        return cast("nn.Linear", pooler.dense)
    inside: Any = getattr(model, "classifier", None)
    roberta = getattr(model.config, "model_type", "") in ("roberta", "xlm-roberta", "camembert")
    return cast("nn.Linear", inside.dense) if roberta and hasattr(inside, "out_proj") else None


def can_read_mean(model: nn.Module) -> bool:
    """Return whether :func:`read_mean` can rewrite the model: layers and head are built like BERT's."""
    layer, squeezer = layer_stack(model)[1][-1], _squeezer(model)
    parts = ("attention.self.query", "attention.self.value", "attention.output.dense", "output.dense")
    names = dict(layer.named_modules())
    matrices = all(type(names.get(part)) is nn.Linear for part in parts)
    norms = all(isinstance(names.get(part), nn.LayerNorm) for part in ("attention.output.LayerNorm", "output.LayerNorm"))
    return matrices and norms and squeezer is not None and squeezer.in_features == squeezer.out_features


@torch.no_grad()
def read_mean(model: nn.Module) -> None:
    """Rewrite the last layer so that its first token gives LN(x_1 + mean(x)) of what the layer takes, and the pooler tanh of half of it.

    Queries of zero attend to all tokens alike, the value and output matrices are the identity, and the feed-forward block adds
    nothing: all of it can learn from there.
    """
    layer, squeezer = layer_stack(model)[1][-1], _squeezer(model)
    assert squeezer is not None
    names: dict[str, Any] = dict(layer.named_modules())
    for part in ("attention.self.query", "output.dense"):
        names[part].weight.zero_()
        names[part].bias.zero_()
    for matrix, factor in ((names["attention.self.value"], 1.0), (names["attention.output.dense"], 1.0), (squeezer, _SQUEEZE)):
        matrix.weight.copy_(factor * torch.eye(len(matrix.weight)))
        matrix.bias.zero_()
    for part in ("attention.output.LayerNorm", "output.LayerNorm"):
        names[part].weight.fill_(1.0)
        names[part].bias.zero_()


class _Reads:
    """What a linear head may read of a model: one pass over the texts gives all of it.

    Args:
        checkpoint: the model.
        head: its last matrix.
    """

    def __init__(self, checkpoint: Checkpoint, head: nn.Linear) -> None:
        self.model, self.head = checkpoint.model, head
        self.mean = not reads_images(checkpoint.model) and can_read_mean(checkpoint.model)

    @torch.inference_mode()
    def of(self, data: Encoded) -> dict[str, Floats]:
        """Return ``first`` and, where the model can be rewritten, ``mean``: (N, H) each."""
        found: dict[str, Floats] = {}
        device = next(self.model.parameters()).device
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.model))
            taken, states = stack.enter_context(_taken(self.head)), self._below(stack)
            stack.enter_context(precision(device))
            for rows in sorted_batches(data.lengths, 4096):
                batch = to_batch(data, rows, device)
                self.model(**model_inputs(batch))
                parts = {"first": taken[-1].float()}
                if states is not None:
                    parts["mean"] = _mean(next(iter(states.values())).float(), batch["attention_mask"])
                for name, part in parts.items():
                    found.setdefault(name, np.zeros((len(data), part.shape[1]), np.float32))[rows] = part.cpu().numpy()
        return found

    def _below(self, stack: ExitStack) -> Mapping[str, Tensor] | None:
        """Return the states below the last layer, which each pass fills; None where no head could read their mean."""
        if not self.mean:
            return None
        below = "hidden.-2" if len(layer_stack(self.model)[1]) > 1 else "embeddings"
        states: Mapping[str, Tensor] = stack.enter_context(listen(self.model, anatomy(self.model), [below]))
        return states


@contextmanager
def _taken(head: nn.Linear) -> Iterator[list[Tensor]]:
    """Context manager: what the head takes in a forward pass inside stands at the end of the list."""
    taken: list[Tensor] = []

    def take(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        taken[:] = [inputs[0]]

    hook = head.register_forward_pre_hook(take)
    try:
        yield taken
    finally:
        hook.remove()


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return what the head reads of a rewritten model, ``(B, H)``, from states ``(B, T, H)``."""
    weights = (mask / mask.sum(1, keepdim=True)).unsqueeze(-1)
    mixed = states[:, 0] + (states * weights).sum(1)
    return torch.tanh(_SQUEEZE * nn.functional.layer_norm(mixed, mixed.shape[-1:]))


def _best(rows: Floats, targets: NDArray[Any], dev: Floats, checkpoint: Checkpoint, splits: Splits) -> tuple[float, float, Floats, Floats]:
    """Return merit on dev, C, weights ``(L, H)`` and bias ``(L,)`` of the best head on some rows."""
    task, metric = task_of(splits.task), task_of(splits.task).metric(splits.metric)
    units = units_of(checkpoint.model.config) or Units()
    best: tuple[float, float, Floats, Floats] | None = None
    # By its root mean square and not by its deviation: what the penalty then asks for is what dropout asks for (Wager, Wang, Liang 2013),
    # and a state that hardly differs from text to text gets no weight that dropout would turn into noise a hundred times the signal.
    center, size = rows.mean(0), np.sqrt(np.square(rows).mean(0))
    spread = np.maximum(size, 1e-3 * max(float(np.median(size)), 1e-6))
    aims = (targets - units.mean) / units.scale if targets.dtype.kind == "f" and targets.ndim == 1 else targets
    for cost in COSTS:
        weights, bias = _solve((rows - center) / spread, aims, cost, splits)
        weights = (weights / spread).astype(np.float32)
        bias = (bias - weights @ center).astype(np.float32)
        logits = (dev @ weights.T + bias) * np.float32(units.scale) + np.float32(units.mean)
        merit = metric.merit(float(task.score(splits.metric, task.decode(logits), np.asarray(splits.dev.targets))))
        if best is None or merit > best[0]:
            best = merit, cost, weights, bias
    assert best is not None
    return best


def _solve(rows: Floats, targets: NDArray[Any], cost: float, splits: Splits) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return weights ``(L, H)`` and bias ``(L,)``."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if targets.dtype.kind == "f" and targets.ndim == 1:
        ridge = Ridge(alpha=0.5 / cost).fit(rows, targets)
        return np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)
    if targets.ndim == 2:
        columns = [_solve_one(rows, targets[:, label], cost) for label in range(targets.shape[1])]
        return np.stack([weights for weights, _ in columns]), np.array([bias for _, bias in columns])
    machine = LogisticRegression(C=cost, max_iter=200, tol=1e-3).fit(rows, targets)
    weights, bias = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:  # one column tells both apart
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    full, floor = np.zeros((len(splits.labels), rows.shape[1])), np.full(len(splits.labels), _NEVER)
    full[machine.classes_], floor[machine.classes_] = weights, bias
    return full, floor


def _solve_one(rows: Floats, targets: NDArray[Any], cost: float) -> tuple[Floats, float]:
    """Return weights ``(H,)`` and bias that tell whether a text has a label; constants where all or none do."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(targets)) < 2:
        return np.zeros(rows.shape[1], np.float32), -_NEVER if targets[0] else _NEVER
    machine = LogisticRegression(C=cost, max_iter=200, tol=1e-3).fit(rows, targets.astype(int))
    return machine.coef_[0], float(machine.intercept_[0])
