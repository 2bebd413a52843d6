"""Precision, recall and F1 of whole entities: right is one whose type, first and last character are all right (CoNLL, seqeval)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from imbik.tasks.formulas import macro_from_counts, micro_from_counts, quality_of_labels, ratio
from imbik.tasks.metrics import Counted
from imbik.tasks.outputs import Array


def entity_counts(predictions: Array, targets: Array, types: int = 0) -> Array:
    """Count right, predicted and actual entities of every text and type: ``(N, 3, L)`` float32.

    Args:
        predictions, targets: of N texts, each ``(K, 3)``: start, end, type.
        types: L; more where an entity's type is beyond it.
    """
    seen = [int(row[:, 2].max()) + 1 for rows in (predictions, targets) for row in rows if len(row)]
    table = np.zeros((len(targets), 3, max([types, 1, *seen])), dtype=np.float32)
    for number, (guessed, gold) in enumerate(zip(predictions, targets, strict=True)):
        own, wanted = (Counter(map(tuple, row.tolist())) for row in (guessed, gold))
        for place, entities in enumerate((own & wanted, own, wanted)):
            for (_, _, kind), times in entities.items():
                table[number, place, kind] += times
    return table


class EntityMetric(Counted):
    """A function of entity counts.

    Args:
        name: as the user names it.
        from_counts: counts (..., 3, L) -> (...).
    """

    def totals(self, predictions: Array, targets: Array, labels: int) -> Array:
        """Return the sums of :func:`entity_counts`."""
        return np.asarray(entity_counts(predictions, targets, labels).sum(0, dtype=np.float64))

    def tables(self, predictions: Array, targets: Array, labels: int) -> Array:
        """Return :func:`entity_counts`."""
        return entity_counts(predictions, targets, labels)


def _pooled(place: int) -> Callable[[Array], Array]:
    """Return the share of right entities among the predicted (1) or the actual ones (2), all types together."""
    return lambda table: ratio(table[..., 0, :].sum(-1), table[..., place, :].sum(-1))


ENTITY_F1 = EntityMetric("entity-f1", micro_from_counts)
ENTITY_PRECISION = EntityMetric("entity-precision", _pooled(1))
ENTITY_RECALL = EntityMetric("entity-recall", _pooled(2))
ENTITY_MACRO_F1 = EntityMetric("entity-macro-f1", macro_from_counts)


def per_type(predictions: Array, targets: Array, types: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Compute ``precision``, ``recall``, ``f1`` and ``support`` of every entity type, by name."""
    return quality_of_labels(entity_counts(predictions, targets, len(types)).sum(0, dtype=np.float64), types)
