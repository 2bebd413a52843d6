"""Finished steps on disk: the last one of a recipe is found, torn ones are not."""

from __future__ import annotations

from pathlib import Path

import torch

from imbik.compress.step_store import StepStore
from imbik.testing.tiny import tiny_bert


def test_the_last_finished_step_is_found(tmp_path: Path) -> None:
    store = StepStore(tmp_path / "steps")
    assert store.latest(["one", "two", "three"]) is None
    for key, seed in (("one", 1), ("two", 2)):
        store.keep(key, tiny_bert(layers=1, seed=seed), seconds=1.5 * seed)
    found = store.latest(["one", "two", "three"])
    assert found is not None and (found.count, found.seconds) == (2, 3.0)
    wanted = tiny_bert(layers=1, seed=2).model.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in found.checkpoint.model.state_dict().items())
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_step_that_was_not_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    store = StepStore(tmp_path / "steps")
    store.keep("one", tiny_bert(layers=1), seconds=1.0)
    store.keep("two", tiny_bert(layers=1), seconds=2.0)
    (tmp_path / "steps" / "two").rename(tmp_path / "steps" / "two.tmp")  # as a kill leaves it
    found = store.latest(["one", "two"])
    assert found is not None and found.count == 1
    store.keep("two", tiny_bert(layers=1), seconds=3.0)
    found = store.latest(["one", "two"])
    assert found is not None and (found.count, found.seconds) == (2, 3.0)
