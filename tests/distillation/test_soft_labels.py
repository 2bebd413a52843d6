"""Pieces that are hidden from a student while it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imbik.distillation.soft_labels import thinned
from imbik.errors import UserError
from imbik.recipes.recipe import load_recipe, parse_recipe


def test_a_share_of_the_pieces_is_hidden_never_the_first_and_padding_stays_padding():
    torch.manual_seed(0)
    mask = torch.ones(400, 50, dtype=torch.long)
    mask[:, 40:] = 0
    found = thinned(mask, 0.3)
    assert found.dtype == mask.dtype and (found[:, 0] == 1).all() and (found[:, 40:] == 0).all()
    assert float(found[:, 1:40].float().mean()) == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / (400 * 39)))


def test_no_share_hides_nothing():
    mask = torch.ones(3, 7, dtype=torch.long)
    assert torch.equal(thinned(mask, 0.0), mask)


def test_a_task_that_answers_for_every_token_refuses_hidden_pieces():
    (step,) = parse_recipe("steps: [{distill: {piece_dropout: 0.2}}]", "here").steps
    assert step.refuse_task("classification") is None and "piece_dropout" in step.refuse_task("token-classification")
    (plain,) = load_recipe("layers-1").steps
    assert plain.refuse_task("token-classification") is None


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_no_share_but_one_below_one(share):
    with pytest.raises(UserError, match="piece_dropout"):
        parse_recipe(f"steps: [{{distill: {{piece_dropout: {share}}}}}]", "here")
