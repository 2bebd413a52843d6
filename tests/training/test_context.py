"""What a method is given: runs of the loop in folders of their own, models that are made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.types import Checkpoint


def test_a_model_that_several_recipes_use_is_made_once(tmp_path: Path) -> None:
    context, made = tiny_context(tiny_bert(), tiny_splits(), tmp_path), list[Checkpoint]()

    def make() -> Checkpoint:
        made.append(tiny_bert(layers=1, seed=len(made)))
        return made[-1]

    first, second = (context.kept("IB-BERT", "key", make) for _ in range(2))
    assert len(made) == 1 and (tmp_path / "shared" / "ib-bert" / "key" / "config.json").is_file()
    weights = made[0].model.state_dict()
    for kept in (first, second):
        assert all(torch.equal(value, weights[name]) for name, value in kept.model.state_dict().items())
    context.kept("IB-BERT", "other", make)
    assert len(made) == 2


def test_a_model_that_was_not_written_to_its_end_is_made_again(tmp_path: Path) -> None:
    context, runs = tiny_context(tiny_bert(), tiny_splits(), tmp_path), []

    def killed() -> Checkpoint:
        runs.append(1)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            context.kept("IB-BERT", "key", killed)
    assert len(runs) == 2


def test_every_training_of_a_step_has_a_folder(tmp_path: Path) -> None:
    context = tiny_context(tiny_bert(), tiny_splits(), tmp_path, seed=7)
    run = context.training("block-1")
    assert (run.seed, run.directory, run.save_every) == (7, tmp_path / "step" / "block-1", context.save_every)
    assert context.training().directory == tmp_path / "step"
