"""Recipes: shipped names, YAML round trip."""

from __future__ import annotations

import pytest

from imbik.methods.registry import make_method
from imbik.models.checkpoint import save_checkpoint
from imbik.recipes.groups import ungrouped
from imbik.recipes.recipe import dump_recipe, load_recipe, parse_recipe, shipped
from imbik.students.catalogue import make_student
from imbik.students.stages import Stages
from imbik.tasks.classification import IMAGE_CLASSIFICATION
from imbik.testing.contract import quick
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.testing.tiny_images import tiny_image_model
from imbik.training.encoding import encode_for
from imbik.training.prediction import predict_logits


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_named_after_its_file_and_reads_back(name):
    recipe = load_recipe(name)
    assert recipe.name == name and parse_recipe(dump_recipe(recipe), "text") == recipe


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_runs_on_a_tiny_model(name, tmp_path):
    recipe = load_recipe(name)
    teacher, splits = tiny_bert(layers=6, hidden=128, heads=4), tiny_splits(rows=20)  # as wide as recipes ask for
    if isinstance(recipe.student, Stages):
        teacher, splits = tiny_image_model("resnet", ("blue", "green", "red")), tiny_splits(IMAGE_CLASSIFICATION, rows=20)
    save_checkpoint(teacher, tmp_path / "base")
    teacher.model.config.imbik_base = str(tmp_path / "base")
    student = make_student(recipe.student, teacher, splits.train, 0)
    for number, step in enumerate(recipe.steps):
        student = make_method(quick(step.written()), name).apply(student, tiny_context(teacher, splits, tmp_path / str(number)))
    data = encode_for(splits.task, splits.test, student.tokenizer)
    assert predict_logits(student.model, data).shape == (10, 3)


def test_parts_join_in_order():
    recipe = load_recipe("layers-5+int8")
    assert recipe.student.written == "layers-5" and [step.name for step in recipe.steps] == ["distill", "quantize"]


def test_a_file_is_named_after_itself_when_it_has_no_name(tmp_path):
    (tmp_path / "mine.yaml").write_text("steps:\n  - quantize: {}\n")
    assert load_recipe(tmp_path / "mine.yaml").name == "mine"


def test_a_group_stands_for_its_recipes_and_what_is_named_twice_stays_twice():
    assert ungrouped(["study"]) == ["distilbert+int8", "mobilebert+int8", "tinybert+int8"]
    assert ungrouped(["tinybert+int8", "study"]) == ["tinybert+int8", "distilbert+int8", "mobilebert+int8"]
    assert ungrouped(["int8", "int8"]) == ["int8", "int8"]  # refused later: two recipes of one name
    assert ungrouped([]) == []


def test_tinybert_has_both_stages_and_made_texts_as_the_paper_has():
    general, task, prediction = steps = load_recipe("tinybert").steps
    assert [step.name for step in steps] == ["tinybert", "tinybert", "distill"] and (general.stage, task.stage) == ("general", "task")
    assert prediction.temperature > 1
    assert [bool(step.augment) for step in steps] == [False, True, True]
