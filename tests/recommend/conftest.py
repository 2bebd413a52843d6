"""Fixtures of the recommenders' tests."""

from __future__ import annotations

import pytest
from small_ratings import low_rank, two_groups

from imbik.recommend.data.ratings import Ratings


@pytest.fixture(scope="session")
def ratings() -> Ratings:
    return low_rank()


@pytest.fixture(scope="session")
def events() -> Ratings:
    return two_groups()
