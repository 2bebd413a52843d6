"""Losses of detectors against their formulas in NumPy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imbik.distillation.grid_losses import TrustedBoxes
from imbik.errors import UserError


def softmax(x, axis):
    found = np.exp(x - x.max(axis, keepdims=True))
    return found / found.sum(axis, keepdims=True)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 6)])
@pytest.mark.parametrize("nothing", [True, False])
@pytest.mark.parametrize("bins", [1, 5])
def test_boxes_weigh_by_what_the_teacher_trusts(shape, nothing, bins):
    draw = np.random.default_rng(bins)
    batch, *grid = shape
    s, t = (draw.normal(size=(batch, 3 + 4 * bins, *grid)) for _ in range(2))
    total = weight = 0.0
    for place in np.ndindex(batch, *grid):
        mine, teachers = s[(place[0], slice(None), *place[1:])], t[(place[0], slice(None), *place[1:])]
        trust = 1 - softmax(teachers[:3], 0)[2] if nothing else (1 / (1 + np.exp(-teachers[:3]))).max()
        boxes, wanted = mine[3:].reshape(4, bins), teachers[3:].reshape(4, bins)
        if bins == 1:
            gap = np.abs(boxes - wanted).mean()
        else:
            p, q = softmax(wanted, 1), softmax(boxes, 1)
            gap = (p * np.log(p / q)).sum(1).mean()
        total, weight = total + trust * gap, weight + trust
    loss = TrustedBoxes(3, nothing=nothing, bins=bins)
    student, teacher = torch.from_numpy(s).float(), torch.from_numpy(t).float()
    loss.bind(student, teacher)
    assert float(loss(student, teacher)) == pytest.approx(total / weight, rel=1e-4)
    assert float(loss(teacher, teacher)) == pytest.approx(0, abs=1e-6)


def test_cells_where_the_teacher_sees_nothing_teach_nothing():
    teacher = torch.zeros(1, 7, 2, 2)
    teacher[:, 2] = 60.0
    assert float(TrustedBoxes(3)(teacher + torch.randn(1, 7, 2, 2), teacher)) == pytest.approx(0, abs=1e-4)
    teacher[:, 0, 1, 1] = 99.0
    student = teacher.clone()
    student[:, 3:, 0, 0] += 5
    assert float(TrustedBoxes(3)(student, teacher)) == pytest.approx(0, abs=1e-4)
    student[:, 3:, 1, 1] += 5
    assert float(TrustedBoxes(3)(student, teacher)) == pytest.approx(5, rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "student", "teacher"),
    [
        (TrustedBoxes(3), (1, 7, 4, 4), (1, 7, 2, 2)),
        (TrustedBoxes(3), (1, 8, 4, 4), (1, 8, 4, 4)),
        (TrustedBoxes(3, bins=2), (1, 7, 4, 4), (1, 7, 4, 4)),
        (TrustedBoxes(3), (1, 7), (1, 7)),
    ],
)
def test_other_shapes_are_refused(loss, student, teacher):
    with pytest.raises(UserError, match="cannot compare"):
        loss.bind(torch.zeros(student), torch.zeros(teacher))


@pytest.mark.parametrize("settings", [{"classes": 1}, {"classes": 0, "nothing": False}, {"classes": 3, "bins": 0}])
def test_a_detector_without_classes_or_boxes_is_refused(settings):
    with pytest.raises(UserError, match="one class or more"):
        TrustedBoxes(**settings)
