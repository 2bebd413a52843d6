"""How good is a model: errors and intervals of ratings, ranks of recommendations, and paired comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Compressed, Ratings, compress
from imbik.recommend.models.bayesian import PredictsIntervals
from imbik.recommend.models.model import Model


@dataclass(frozen=True)
class Ranking:
    """Ranks of the held-out items of each user among all items that the user had not seen in training.

    Attributes:
        user: who is asked, (N,); it groups the others.
        rank: from 0, ties count half, (N,).
        candidates: length of the list, (N,).
    """

    user: Array
    rank: Array
    candidates: Array


def evaluate(model: Model, test: Ratings, *, k: int = 10, level: float = 0.9, relevant: float | None = None) -> dict[str, float]:
    """Return all measures that apply.

    For models of ratings ``rmse``, ``mae`` (and ``coverage``, ``width`` of intervals); for all models ``ndcg``, ``recall``,
    ``precision`` at ``k``, ``map`` (mean average precision over the whole list) and ``mpr``. Means over users; ``mpr``
    over events, 0 best, 0.5 chance.

    Args:
        model: a fitted model.
        test: held-out ratings.
        k: length of a list of recommendations.
        level: nominal level of the intervals.
        relevant: the least value of a held-out item that counts as right in a ranking; None: all of a set of events, the
            upper half of the scale of ratings.

    Raises:
        UserError: nothing is held out, or nothing that the model knows.
    """
    if len(test) == 0:
        raise UserError("the test part is empty", found="0 rows")
    if k < 1:
        raise UserError("impossible length of a list of recommendations", found=k, expected="at least 1")
    out: dict[str, float] = {}
    if model.feedback == "explicit" and not test.implicit:
        out |= rating_errors(model.predict_for(test), test.values)
        if isinstance(model, PredictsIntervals):
            bounds = model.interval_codes(*model.align(test), level)
            out |= interval_coverage(bounds, test.values)
    floor = relevant if relevant is not None else (-np.inf if test.implicit else float(np.mean(model.range_)))
    right = test.take(test.values >= floor)
    if len(right):
        out |= ranking_measures(rank_held_out(model, right), k)
    return out


def seen_in_training(model: Model, test: Ratings) -> int:
    """Return how many cells of ``test`` the model was fitted on; measures over those say nothing about new cells."""
    users, items = model.align(test)
    width = len(model.item_ids_) + 1  # a cell as one number: user * width + item
    rows = np.repeat(np.arange(len(model.user_ids_)), np.diff(model.seen_.indptr))
    return int(np.isin(users * width + items, rows * width + model.seen_.indices)[(users >= 0) & (items >= 0)].sum())


def rating_errors(predicted: Array, true: Array) -> dict[str, float]:
    """Return ``rmse`` and ``mae``, in float64.

    >>> rating_errors(np.array([1.0, 2.0]), np.array([1.0, 4.0]))["mae"]
    1.0
    """
    error = predicted.astype(np.float64) - true
    return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}


def interval_coverage(bounds: Array, true: Array) -> dict[str, float]:
    """Return the share of true values within the raw bounds (not clipped, not rounded; ends included), and their mean width."""
    inside = (true >= bounds[:, 0]) & (true <= bounds[:, 1])
    return {"coverage": float(inside.mean()), "width": float((bounds[:, 1] - bounds[:, 0]).mean())}


def rank_held_out(model: Model, test: Ratings, batch: int = 512) -> Ranking:
    """Rank each held-out cell; leave out cells of users or items unknown to the model, which no list can hold.

    Raises:
        UserError: none is known.
    """
    from imbik.recommend.kernels.predict import ranks

    users, items = model.align(test)
    known = (users >= 0) & (items >= 0)
    users, items = users[known], items[known]
    if len(users) == 0:
        raise UserError("no held-out user and item is known to the model", found=f"{len(test)} rows, all cold")
    held_out = compress(users, items, np.ones(len(users), np.float32), len(model.user_ids_))
    asked = np.flatnonzero(np.diff(held_out.indptr) > 0)
    pieces = []
    for start in range(0, len(asked), batch):  # scores of a batch are dense: (512, items)
        rows = asked[start : start + batch]
        scores = model.scores(rows)
        _hide_seen(scores, rows, model, held_out)
        own = [held_out.indices[held_out.indptr[u] : held_out.indptr[u + 1]] for u in rows]
        sizes = np.array([len(items) for items in own])
        place = ranks(scores, np.append(0, np.cumsum(sizes)), np.concatenate(own))
        pieces.append((np.repeat(rows, sizes), place[:, 0], place[:, 1]))
    return Ranking(*(np.concatenate([piece[j] for piece in pieces]) for j in range(3)))


def _hide_seen(scores: Array, rows: Array, model: Model, held_out: Compressed) -> None:
    """Take the items of the training data out of the candidates, unless the same cell is held out too."""
    indptr, indices, _ = model.seen_
    for position, user in enumerate(rows):
        own = held_out.indices[held_out.indptr[user] : held_out.indptr[user + 1]]
        seen = indices[indptr[user] : indptr[user + 1]]
        scores[position, np.setdiff1d(seen, own)] = -np.inf


def ranking_measures(ranking: Ranking, k: int = 10) -> dict[str, float]:
    """Return NDCG@k (gain 1, ideal: all right items first), Recall@k, Precision@k and MAP, means over users, and MPR.

    >>> r = Ranking(np.array([0, 0]), np.array([0.0, 2.0]), np.array([5, 5]))
    >>> {name: round(value, 3) for name, value in ranking_measures(r, 2).items()}
    {'ndcg': 0.613, 'recall': 0.5, 'precision': 0.5, 'map': 0.833, 'mpr': 0.25}
    """
    _, group = np.unique(ranking.user, return_inverse=True)
    sizes = np.bincount(group)
    top = ranking.rank < k
    gain = np.bincount(group, np.where(top, 1.0 / np.log2(ranking.rank + 2.0), 0.0))
    ideal = np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))[np.minimum(sizes, k) - 1]
    hits = np.bincount(group, top)
    # Average precision: at the n-th right item of a list, n / its place from 1. A tie at half a rank may exceed 1.
    order = np.lexsort((ranking.rank, group))
    nth = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    precision = np.bincount(group[order], nth / (ranking.rank[order] + 1.0)) / sizes
    return {
        "ndcg": float(np.mean(gain / ideal)),
        "recall": float(np.mean(hits / sizes)),
        "precision": float(np.mean(hits / k)),
        "map": float(np.mean(np.minimum(precision, 1.0))),
        "mpr": float(np.mean(ranking.rank / np.maximum(ranking.candidates - 1, 1))),
    }


def paired(first: Array, second: Array, *, test: float = 0.1, level: float = 0.95) -> dict[str, float]:
    """Return the mean difference of one measure over the same splits with Student's interval, and the splits that ``first`` won.

    ``wins`` counts splits on which first is below second. Splits of one data set overlap, so read the interval as an
    indication: the variance of the mean is (1 / n + test / (1 - test)) s^2 with ``test`` the held-out share (Nadeau &
    Bengio 2003), where independent splits would have s^2 / n.
    """
    from scipy.stats import t

    # Both models saw the same splits: what one split makes harder for both leaves the difference.
    gap = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    count = len(gap)
    if count < 2:
        return {"difference": float(gap.mean()), "low": float("nan"), "high": float("nan"), "wins": float((gap < 0).sum())}
    half = t.ppf((1 + level) / 2, count - 1) * gap.std(ddof=1) * np.sqrt(1.0 / count + test / (1.0 - test))
    mean = float(gap.mean())
    return {"difference": mean, "low": mean - float(half), "high": mean + float(half), "wins": float((gap < 0).sum())}
