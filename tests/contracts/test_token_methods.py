"""Every method takes models that answer token by token, or refuses them before anything is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imbik.compress.options import Options
from imbik.compress.plan import plan_all
from imbik.errors import UserError
from imbik.methods.registry import make_method
from imbik.models.checkpoint import labels_of
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import parse_recipe
from imbik.students.catalogue import make_student
from imbik.tasks.outputs import numbers_of
from imbik.testing.contract import EXAMPLES, quick
from imbik.testing.task_examples import TASK_EXAMPLES
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode_for
from imbik.training.prediction import predict

TASKS = ("question-answering", "token-classification")
REFUSED = {"mobilebert", "dimensions"}
CASES = {name: (name, settings) for name, settings in EXAMPLES.items() if name not in REFUSED} | {
    "albert": ("share", {"groups": 1}),
    "fwsvd": ("low_rank", {"method": "fwsvd", "budget": 0.5}),
    "qat": ("quantize", {"scheme": "qat"}),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("case", CASES)
def test_a_method_takes_a_model_that_answers_token_by_token(case, task, tmp_path):
    name, settings = CASES[case]
    splits = tiny_splits(task, rows=24, pairs=TASK_EXAMPLES[task].pairs)
    context = tiny_context(tiny_bert(splits.labels, task, layers=2), splits, tmp_path)
    student = make_student({"layers": 1 if name != "share" else 2}, context.teacher, splits.train, 0)
    changed = make_method(quick({name: settings}), "r").apply(student, context)
    assert labels_of(changed) == splits.labels and changed.task == task
    outputs = predict(changed.model, encode_for(task, splits.dev, changed.tokenizer), task)
    assert abs(numbers_of(outputs)).max() < 1e4


@pytest.mark.parametrize("task", TASKS)
def test_what_no_model_of_the_task_can_take_is_refused_in_the_plan(task):
    splits = tiny_splits(task, rows=24, pairs=TASK_EXAMPLES[task].pairs)
    teacher = Teacher.of(tiny_bert(splits.labels, task, layers=2))
    recipe = parse_recipe("name: mine\nstudent: mobilebert\nsteps:\n  - mobilebert: {}\n", "mine")
    with pytest.raises(UserError, match=f"mine, step 1: this step is not for the task. Found: mobilebert of {task}. Expected: tinybert"):
        plan_all(teacher, splits, Options().changed({"recipes": [recipe]}))


def test_a_student_that_cuts_texts_otherwise_is_refused(tmp_path):
    task = "token-classification"
    splits = tiny_splits(task, rows=24)
    context = tiny_context(tiny_bert(splits.labels, task, layers=1), splits, tmp_path)
    student = make_student({"layers": 1}, context.teacher, splits.train, 0)
    student.tokenizer.model_max_length = 6
    teacher = replace(context.teacher, tokenizer=tiny_bert(splits.labels, task, layers=1).tokenizer)
    context = tiny_context(teacher, splits, tmp_path / "other")
    with pytest.raises(UserError, match="cut texts into different tokens"):
        make_method(quick({"distill": {}}), "r").apply(student, context)
