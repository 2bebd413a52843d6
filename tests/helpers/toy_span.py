"""A task whose answers are spans of the second text, not rows of logits: the door of tasks is wide enough for it.

``toy_span_head`` beside this file is its torch face. Both are written as a stranger would write them.
"""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np

from imbik.errors import UserError, shorten
from imbik.tasks import Metric, Task, register
from imbik.tasks.metrics import ItemMean
from imbik.tasks.outputs import PLACES, Output


def exact(predictions, targets):
    """Return which spans are the same, (N,)."""
    return (predictions == targets).all(axis=1)


def miss(predictions, targets):
    """Return how many characters both ends are off, (N,): an error."""
    return np.abs(predictions - targets).sum(axis=1)


@register
class ToySpan(Task):
    """Where in the second text the answer stands. Targets and predictions: first character and last + 1, (N, 2)."""

    name: ClassVar[str] = "toy-span"
    architecture: ClassVar[str] = "QuestionAnswering"
    outputs: ClassVar[tuple[Output, ...]] = (Output("start_logits", True, False), Output("end_logits", True, False))
    places: ClassVar[bool] = True
    pairs: ClassVar[bool] = True
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = (("answer",),)
    few_values: ClassVar[bool] = False
    metrics: ClassVar[tuple[Metric, ...]] = (
        ItemMean("toy-exact", exact, share=True),
        ItemMean("toy-miss", miss, less_is_better=True),
    )

    def read_targets(self, splits, labels, say, *, exact=True):
        targets = {}
        for name, rows in splits.items():
            (column,) = rows.labels
            spans = np.array([self._span(column, code) for code in range(len(column.values))], np.int64)
            targets[name] = spans[column.codes]
        return targets, ("start", "end")

    def _span(self, column, code):
        try:
            cell = json.loads(column.values[code])
            return cell["start"], cell["end"]
        except (ValueError, TypeError, KeyError):
            raise UserError("not a span", where=column.where(code), found=shorten(column.values[code])) from None

    def token_targets(self, targets, encoded, asked=None):
        found = np.zeros((len(targets), 2), np.int64)
        for row, (start, stop) in enumerate(targets):
            text, first, last = encoded.places(row)[:, :3].T
            inside = np.flatnonzero((text == 1) & (first < stop) & (last > start))
            found[row] = (inside[0], inside[-1]) if len(inside) else (0, 0)  # cut off: the first token stands for none
        return found

    def decode(self, outputs, asked=None):
        spans, probabilities = [], []
        for starts, ends, places in zip(outputs["start_logits"], outputs["end_logits"], outputs[PLACES], strict=True):
            inside = places[:, 0] == 1
            sure = [np.where(inside, np.exp(row - row.max()), 0.0) for row in (starts, ends)]
            joint = np.triu(np.outer(*(row / row.sum() for row in sure)))  # an end is not before its start
            first, last = np.unravel_index(joint.argmax(), joint.shape)
            spans.append((places[first, 1], places[last, 2]))
            probabilities.append(joint[first, last])
        return {"span": np.array(spans, np.int64).reshape(-1, 2), "probability": np.array(probabilities, np.float32)}

    def predicted(self, decoded):
        return decoded["span"]

    def answers(self, decoded, labels, texts, pairs, top):
        spans, probabilities = decoded["span"].tolist(), decoded["probability"].tolist()
        return [
            {"answer": pair[start:stop], "start": start, "end": stop, "probability": probability}
            for pair, (start, stop), probability in zip(pairs, spans, probabilities, strict=True)
        ]

    def lines(self, answer):
        return [(answer["answer"], answer["probability"])]
