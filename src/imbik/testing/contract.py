"""What an author of a method runs on it, in our tests and outside of them: tiny models, tiny data, and the contract as checks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imbik.jobs.validated import field_names
from imbik.methods.registry import make_method, registered
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.recipes.recipe import Recipe, dump_recipe, parse_recipe
from imbik.students.catalogue import make_student, parse_student
from imbik.tasks.registry import DEFAULT
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits
from imbik.types import Checkpoint, Examples, Step

EXAMPLES: dict[str, dict[str, Any]] = {
    "cluster": {"values": 16},
    "dimensions": {"size": 4},
    "distilbert": {"hard": 0.0},
    "distill": {"temperature": 2.0},
    "embedding": {"rank": 8},
    "low_rank": {"method": "svd", "budget": 0.5},
    "minilm": {"relations": ["qq", "vv"], "relation_heads": 4},
    "mobilebert": {"schedule": "joint"},
    "prune": {"budget": 0.6, "multiple": 8, "alike": True},
    "quantize": {"scheme": "dynamic"},
    "share": {"groups": 2, "init": "mean"},
    "tinybert": {"augment": {"masked_model": "none", "copies": 2}},
    "vocabulary": {"margin": 10},
}
"""Settings of one representative step of every method, fit for :func:`tiny_bert`: what the tests of all pairs run."""

EXAMPLE_STUDENTS = {"mobilebert": "mobilebert"}
"""What a method starts from in those tests where it does not take a copy of the teacher."""


def takes(name: str, task: str = DEFAULT) -> bool:
    """Return whether a method's example takes models of a task, as far as a plan can know it."""
    return make_method({name: EXAMPLES[name]}, "example").why_not(task) is None


def quick(step: Step) -> Step:
    """The step with training cut to two short epochs, where it trains."""
    ((name, settings),) = step.items()
    fields = field_names(registered()[name])
    short = {"epochs": 2} if "epochs" in fields else {}
    short |= {field: 12 for field in fields if field in ("bridge_steps", "transfer_steps", "predict_steps")}
    return {name: {**settings, **short}}


def check_method(step: Step, directory: Path, *, teacher: Checkpoint | None = None, student: str | None = None) -> Checkpoint:
    """Run a registered method through the contract; an AssertionError says which clause it breaks.

    Checked: settings survive YAML; it runs; same labels, shape ``(N, L)`` and finite logits; the teacher is untouched; the same seed
    gives the same model; the result is saved and reloaded bit-equal.

    Args:
        step: e.g. ``{"distill": {"temperature": 2.0}}``; training is cut to two epochs.
        directory: empty.
        teacher: default: :func:`tiny_bert`.
        student: what the method starts from, for one that takes a certain kind only; default: a copy of the teacher.
    """
    step = quick(step)
    recipe = Recipe("checked", (make_method(step, "checked"),), parse_student(student))
    assert parse_recipe(dump_recipe(recipe), "checked") == recipe, "settings do not survive YAML"
    teacher = teacher or tiny_bert()
    splits = tiny_splits(teacher.task)
    # a copy: state_dict gives the very tensors that a careless method would change
    before = copy.deepcopy(teacher.model.state_dict())
    results = []
    # folders of their own: the second run must not find the first one's training finished
    for run in ("first", "second"):
        torch.manual_seed(0)
        started = make_student(student, teacher, splits.train, 0)
        context = tiny_context(teacher, splits, directory / run)
        results.append(recipe.steps[0].apply(started, context))
    first: Checkpoint = results[0]
    second: Checkpoint = results[1]
    _check_equal_state(teacher.model.state_dict(), before, "the teacher was changed")
    _check_equal_state(first.model.state_dict(), second.model.state_dict(), "the same seed gives another model")
    logits = logits_of(first, splits.test)
    assert logits.shape == (len(splits.test.texts), teacher.model.config.num_labels), f"logits have the shape {logits.shape}"
    assert np.isfinite(logits).all(), "logits are not finite"
    check_reload(first, directory / "saved", splits.test)
    return first


def check_reload(checkpoint: Checkpoint, directory: Path, examples: Examples) -> None:
    """Check that a model comes back from the disk with the same bits in every weight, and the same logits.

    Logits to a rounding: where a weight lies in memory decides the order in which some processors add.
    """
    save_checkpoint(checkpoint, directory)
    loaded = load_checkpoint(directory)
    _check_equal_state(loaded.model.state_dict(), checkpoint.model.state_dict(), "a weight changed on the way through the disk")
    same = np.allclose(logits_of(loaded, examples), logits_of(checkpoint, examples), rtol=1e-6, atol=1e-6)
    assert same, "logits changed on the way through the disk"


def _check_equal_state(one: dict[str, Any], other: dict[str, Any], message: str) -> None:
    assert one.keys() == other.keys(), message
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), f"{message}: {name}"


def sqnr(exact: NDArray[Any], approximate: NDArray[Any]) -> float:
    """Signal to quantization noise in dB: 20 · log10(‖x‖ / ‖x - y‖).

    >>> round(sqnr(np.array([1.0, 0.0]), np.array([0.9, 0.0])))
    20
    """
    noise = float(np.linalg.norm(np.asarray(exact) - np.asarray(approximate)))
    return float("inf") if noise == 0 else 20 * float(np.log10(float(np.linalg.norm(exact)) / noise))
