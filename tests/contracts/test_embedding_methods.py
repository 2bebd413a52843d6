"""Every method takes sentence encoders, or refuses them before anything is made."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.compress.options import Options
from imbik.compress.plan import plan_all
from imbik.data.carving.apart import learned_apart
from imbik.errors import UserError
from imbik.finetune.classifier import finetune
from imbik.jobs.progress import Silent
from imbik.methods.registry import make_method
from imbik.models.checkpoint import labels_of
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import parse_recipe
from imbik.search.options import SearchOptions
from imbik.search.run import search
from imbik.students.catalogue import make_student
from imbik.testing.contract import EXAMPLES, check_reload, quick
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode_for
from imbik.training.prediction import predict

TASK = "embedding"
REFUSED = {"mobilebert", "dimensions"}
CASES = {name: (name, settings) for name, settings in EXAMPLES.items() if name not in REFUSED} | {
    "albert": ("share", {"groups": 1}),
    "labels": ("distill", {"hard": 0.5, "piece_dropout": 0.1}),  # as for texts of --unlabelled: the teacher's vectors alone
    "scores": ("distill", {"scores": 0.5, "nested": [4]}),
    "nested": ("distill", {"nested": [4]}),
    "distilbert": ("distilbert", {}),
    "fwsvd": ("low_rank", {"method": "fwsvd", "budget": 0.5}),
    "qat": ("quantize", {"scheme": "qat"}),
    "static": ("quantize", {"scheme": "static"}),
}


def splits_of(rows=24):
    return learned_apart(tiny_splits(TASK, rows=rows, pairs=True))


@pytest.mark.parametrize("case", CASES)
def test_a_method_takes_a_sentence_encoder(case, tmp_path):
    name, settings = CASES[case]
    splits = splits_of()
    context = tiny_context(tiny_bert(splits.labels, TASK, layers=2), splits, tmp_path)
    student = make_student({"layers": 1 if name != "share" else 2}, context.teacher, splits.train, 0)
    changed = make_method(quick({name: settings}), "r").apply(student, context)
    assert labels_of(changed) == splits.labels and changed.task == TASK
    vectors = predict(changed.model, encode_for(TASK, splits.dev, changed.tokenizer), TASK)
    assert vectors.shape == (len(splits.dev), 2, len(splits.labels))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, rtol=1e-3)
    check_reload(changed, tmp_path / "saved", splits.train)


@pytest.mark.parametrize(("step", "reason"), [("mobilebert: {}", "tinybert")])
def test_what_no_sentence_encoder_can_take_is_refused_in_the_plan(step, reason):
    splits = splits_of()
    teacher = Teacher.of(tiny_bert(splits.labels, TASK, layers=2))
    recipe = parse_recipe(f"name: mine\nsteps:\n  - {step}\n", "mine")
    with pytest.raises(UserError, match=f"mine, step 1: this step is not for the task. Found: .* of {TASK}. Expected: {reason}"):
        plan_all(teacher, splits, Options().changed({"recipes": [recipe]}))


@pytest.mark.parametrize(
    "student", ["layers-1", {"layers": 1, "hidden": 16, "heads": 2}, "distilbert-1l", "bag-16", "conv-16", "lstm-16", "mobilebert"]
)
def test_students_of_every_family_learn_the_teachers_vectors(student, tmp_path):
    splits = splits_of(60)
    context = tiny_context(tiny_bert(splits.labels, TASK, layers=2), splits, tmp_path)
    made = make_student(student, context.teacher, splits.train, 0)
    data = encode_for(TASK, splits.train, made.tokenizer)
    wanted = context.cache.logits(splits.train, context.progress).take(np.arange(len(data)))

    def near(model):
        return float((predict(model, data, TASK) * wanted).sum(1).mean())

    before = near(made.model)
    step = {"distill": {"epochs": 6, "learning_rate": 3e-3}}
    # dev must not decide here: the scores of random words are no truth for a random teacher
    after = near(make_method(step, "r").apply(made, context).model)
    assert after > min(before, 0.99) - 1e-6
    check_reload(made, tmp_path / "saved", splits.train)


def test_what_learns_from_labels_or_times_single_rows_is_refused(tmp_path):
    splits = tiny_splits(TASK, rows=24, pairs=True)
    with pytest.raises(UserError, match="not trained on labels"):
        finetune("base", splits, tmp_path / "teacher", progress=Silent(), say=print)
    teacher = tiny_bert(splits.labels, TASK, layers=2)
    with pytest.raises(UserError, match="a search is not for models that read two texts apart"):
        search(teacher, splits, tmp_path / "search", SearchOptions(), progress=Silent(), say=print)
