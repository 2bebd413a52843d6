"""Training takes as many threads as serve it: by a trial where the work is long, as the quota allows, as it began."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from imbik.training import threads
from imbik.training.threads import LONG, best_of, chosen_threads


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four threads on a machine of four cores, and a user who has set nothing."""
    old = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "physical_cores", lambda: 4)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(old)


@pytest.mark.parametrize(("many", "chosen"), [(30.0, 4), (9.1, 4), (8.9, 1), (2.0, 1)])
def test_one_thread_is_taken_where_several_are_clearly_slower(many: float, chosen: int, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    assert best_of(4, {1: 10.0, 4: many}.__getitem__) == chosen
    said = [record.getMessage() for record in caplog.records]
    assert said == (
        [] if chosen == 4 else [f"training takes 1 thread: 4 are {many / 10:.2f} times as fast beside the other work on this machine"]
    )


def test_one_disturbed_turn_decides_nothing():
    turns = {1: iter([10.0] * 5), 4: iter([30.0, 1.0, 30.0, 2.0, 30.0])}
    assert best_of(4, lambda count: next(turns[count])) == 4


@pytest.mark.parametrize(
    ("work", "before", "cores", "trial", "chosen"),
    [
        (LONG, 0, 4, 1, 1),  # long work: what the trial finds
        (LONG / 2, 0, 4, 1, 4),  # short work: no trial
        (LONG, 0, 1, 4, 1),  # a quota of one processor: nothing to try
        (LONG / 2, 0, 2, 1, 2),  # the quota counts for short work as well
        (LONG, 3, 4, 1, 3),  # as an earlier part of it
        (LONG, 3, 2, 1, 2),  # but no more than there are now
    ],
)
def test_which_count_is_taken(monkeypatch: pytest.MonkeyPatch, work: float, before: int, cores: int, trial: int, chosen: int):
    monkeypatch.setattr(threads, "physical_cores", lambda: cores)
    monkeypatch.setattr(threads, "best_of", lambda most, rate: trial)
    with chosen_threads(work, before) as found:
        assert found == torch.get_num_threads() == chosen
    assert torch.get_num_threads() == 4


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(threads, "physical_cores", lambda: 1)
    with chosen_threads(LONG, 2) as found:
        assert found == torch.get_num_threads() == 4


def test_the_trial_computes_in_the_threads_that_it_is_asked_for():
    assert threads._rate(2) > 0 and torch.get_num_threads() == 2
