"""Damaged and crafted files of every kind: one message and exit code 2, no traceback, nothing written outside, no code run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .readers import READERS
from .trial import attempt

KEPT: tuple[tuple[str, int], ...] = (
    ("CSV", 22),
    ("Parquet", 26),
    ("Rasa", 22),
    ("Rasa", 24),
    ("architectures", 0),
    ("config of a checkpoint", 19),
    ("finished step", 24),
    ("predictions", 18),
    ("predictions", 29),
    ("ratings", 15),
    ("results for advice", 4),
    *(("scenario", seed) for seed in (4, 22, 23, 26, 29, 30, 33)),
    ("state of a training", 23),
)
"""Damage that once ended in a traceback or in a message of 300,000 letters."""

FEW = 2
MANY = int(os.environ.get("IMBIK_FUZZ", "60"))
"""Damages of each file in the long run: 48 files, so 60 are 2,900."""


def check(name: str, seed: int, place: Path) -> None:
    outcome = attempt(name, seed, place)
    assert not outcome.fault, f"{name}, seed {seed}, {outcome.way}: {outcome.fault}"


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_told(name: str, tmp_path: Path) -> None:
    for seed in (hash_of(name) + number for number in range(FEW)):
        (tmp_path / str(seed)).mkdir()
        check(name, seed, tmp_path / str(seed))


def hash_of(name: str) -> int:
    """A number of a name, the same in every process."""
    return 1000 + sum(map(ord, name)) % 1000


@pytest.mark.parametrize(("name", "seed"), KEPT, ids=lambda value: str(value))
def test_what_once_broke_a_reader(name: str, seed: int, tmp_path: Path) -> None:
    check(name, seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files(name: str, tmp_path: Path) -> None:
    for seed in range(MANY):
        (tmp_path / str(seed)).mkdir()
        check(name, seed, tmp_path / str(seed))


@pytest.mark.parametrize("name", READERS)
def test_the_file_as_it_was_is_read(name: str, tmp_path: Path) -> None:
    """Else a message would say nothing of the damage."""
    outcome = attempt(name, -1, tmp_path)
    assert (outcome.code, outcome.fault) == (0, ""), outcome.said
