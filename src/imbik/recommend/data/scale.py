"""The unit of ratings: inside, a model sees ratings whose spread is that of stars, whatever scale they came on.

Ridges, learning rates, priors and the size of random starts are numbers in units of the ratings. Their defaults were
chosen on stars from 1 to 5. A model that has such settings learns from

    z = (r - center) / unit,    unit = standard deviation of r / 1.125

and what it has learnt is brought back to the scale of r, so that ratings in dollars, percent or stars give the same
model in dollars, percent or stars.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import numpy as np

from imbik.recommend.data.ratings import Array, Ratings

STAR_DEVIATION = 1.125
"""Standard deviation of stars from 1 to 5 (MovieLens 100K: 1.126), on which the defaults were chosen."""

Invariance = Literal["free", "interval", "ratio"]
"""What of a scale a model's settings depend on: nothing; its unit and its zero (both are taken out); its unit alone."""


class Scale(NamedTuple):
    """``r = center + unit z``."""

    center: float
    unit: float

    def standardize(self, ratings: Ratings) -> Ratings:
        """Return the ratings as z."""
        if self == UNCHANGED:
            return ratings
        values = (ratings.values.astype(np.float64) - self.center) / self.unit
        return dataclasses.replace(ratings, values=values.astype(np.float32))


UNCHANGED = Scale(0.0, 1.0)


def scale_of(ratings: Ratings, kind: Invariance) -> Scale:
    """Return the scale that the settings of a model are freed from.

    >>> scale_of(Ratings.of("ab", "xy", [10, 50]), "interval").center
    30.0
    """
    if kind == "free":
        return UNCHANGED
    values = ratings.values.astype(np.float64)
    unit = float(values.std()) / STAR_DEVIATION
    return Scale(float(values.mean()) if kind == "interval" else 0.0, unit)


def relative_counts(values: Array) -> Array:
    """Return counts of events divided by their median: ten times the events everywhere is the same taste.

    The median and not the mean: a few users who play one song a thousand times would make all other counts vanish.

    >>> relative_counts(np.array([2, 2, 8], np.float32)).tolist()
    [1.0, 1.0, 4.0]
    """
    return np.asarray(values / np.float32(np.median(values)), np.float32)
