"""Finished work is known by what it was made of: by content, not by the names of folders."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from imbik.compress.keys import Common, recipe_keys, teacher_key
from imbik.data.documents import open_documents
from imbik.jobs import fingerprints as room
from imbik.jobs.fingerprints import content
from imbik.methods.registry import make_method, make_methods
from imbik.models.checkpoint import save_checkpoint
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import Recipe
from imbik.students.catalogue import parse_student
from imbik.testing.tiny import tiny_bert, tiny_splits


def key(recipe: Recipe, teacher=None, splits=None) -> str:
    teacher = Teacher.of(teacher or tiny_bert(layers=1))
    return recipe_keys(recipe, recipe.reads(teacher), Common.of(teacher, splits or tiny_splits()))[-1]


def recipe_of(name: str, *steps: dict, student=None) -> Recipe:
    return Recipe(name, make_methods(steps, name), parse_student(student))


def test_a_student_folder_counts_by_its_model(tmp_path: Path) -> None:
    recipe = recipe_of("mine", {"distill": {}}, student={"from": str(tmp_path / "model")})
    save_checkpoint(tiny_bert(layers=1), tmp_path / "model")
    first = key(recipe)
    (tmp_path / "model" / "README.md").write_text("another card")
    os.utime(tmp_path / "model" / "model.safetensors")
    assert key(recipe) == first
    save_checkpoint(tiny_bert(layers=1, seed=1), tmp_path / "model")  # trained again: the same shapes, the same size
    assert key(recipe) != first


@pytest.mark.parametrize(
    "step",
    [
        {"distilbert": {"stage": "general", "corpus": "{place}/raw"}},
        {"tinybert": {"stage": "general", "corpus": "{place}/raw", "teacher": "base"}},
        {"mobilebert": {"stage": "general", "corpus": "{place}/raw"}},
        {"distill": {"augment": {"masked_model": "{place}/raw"}}},
        {"minilm": {"augment": {"masked_model": "none", "vectors": "{place}/raw/a.txt"}}},
        {"tinybert": {"augment": {"masked_model": "{place}/raw"}}},
        {"mobilebert": {"teacher": "{place}/raw"}},
    ],
)
def test_whatever_a_step_reads_counts_by_its_content(step: dict, tmp_path: Path) -> None:
    def named(value):
        inner = {k: named(v) for k, v in value.items()} if isinstance(value, dict) else value
        return inner.replace("{place}", str(tmp_path)) if isinstance(inner, str) else inner

    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.txt").write_text("where is my card")
    recipe = recipe_of("mine", named(step))
    first = key(recipe)
    assert key(recipe) == first
    (tmp_path / "raw" / "a.txt").write_text("where is my bank")
    assert key(recipe) != first


def test_the_base_of_the_teacher_counts_where_a_stage_reads_it(tmp_path: Path) -> None:
    teacher = tiny_bert(layers=1)
    teacher.model.config.imbik_base = str(tmp_path / "base")
    save_checkpoint(tiny_bert(layers=1, seed=1), tmp_path / "base")
    raw = {"stage": "general", "corpus": "someone/texts"}
    general, task = (recipe_of("mine", {"distilbert": settings}) for settings in (raw, {"stage": "task"}))
    before = [key(recipe, teacher) for recipe in (general, task)]
    save_checkpoint(tiny_bert(layers=1, seed=2), tmp_path / "base")
    after = [key(recipe, teacher) for recipe in (general, task)]
    assert before[0] != after[0] and before[1] == after[1]


def test_a_recipe_that_reads_nothing_depends_on_teacher_data_and_settings_alone() -> None:
    splits = tiny_splits()
    keys = {
        key(recipe_of("a", {"distill": {}}), splits=splits),
        key(recipe_of("a", {"distill": {}}), splits=replace(splits, metric="macro-f1")),
        key(recipe_of("a", {"distill": {}}), splits=replace(splits, fingerprint="other")),
        key(recipe_of("a", {"distill": {"hard": 0.5}}), splits=splits),
        key(recipe_of("a", {"distill": {}}), tiny_bert(layers=1, seed=1), splits),
    }
    assert len(keys) == 5
    assert key(recipe_of("a", {"distill": {}}), splits=splits) == key(recipe_of("b", {"distill": {"hard": 0}}), splits=splits)


def test_the_same_files_elsewhere_are_the_same_content(tmp_path: Path) -> None:
    (tmp_path / "one" / "deep").mkdir(parents=True)
    (tmp_path / "one" / "deep" / "a.txt").write_text("a text\n")
    (tmp_path / "one" / ".cache").write_text("noise")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / ".cache").write_text("other noise")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert open_documents(tmp_path / "one").key == open_documents(tmp_path / "two").key
    (tmp_path / "two" / "deep" / "a.txt").rename(tmp_path / "two" / "deep" / "b.txt")
    assert content(tmp_path / "one") != content(tmp_path / "two")
    assert content("owner/name-of-a-hub") is None


def test_of_a_large_file_pieces_are_read_from_start_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_WHOLE", 1000), ("_PIECE", 100), ("_PIECES", 11)):
        monkeypatch.setattr(room, name, value)
    found = set()
    for position in (None, 0, 4999, 9999):
        data = bytearray(10_000)
        if position is not None:
            data[position] = 1
        (tmp_path / f"{position}").write_bytes(data)
        found.add(content(tmp_path / f"{position}"))
    assert len(found) == 4


OLD_KEYS = {
    "4bcf5f4045f97a5518591c89": (None, [{"distill": {}}], 0),
    "eb4ead0b64c72e82ce642869": (
        "layers-1",
        [{"distill": {"hard": 0, "augment": {"masked_model": "none", "copies": 8}}}, {"quantize": {"scheme": "static"}}],
        3,
    ),
    "3797078a62c58987ac05d5f7": (
        {"layers": 2, "hidden": 48},
        [{"tinybert": {"layers": [1, 4], "epochs": 2}}, {"low_rank": {"budget": 0.5}}, {"mobilebert": {}}],
        0,
    ),
}
"""Keys of imbik 0.1 (commit 401e489), for a teacher whose fingerprint is 64 times "f" and the tiny splits."""


@pytest.mark.parametrize("old", OLD_KEYS)
def test_work_that_an_earlier_version_finished_is_found_again(old: str) -> None:
    student, steps, seed = OLD_KEYS[old]
    if old == "3797078a62c58987ac05d5f7":  # this order was never made, but its key was computed
        methods = tuple(make_method(step, "old") for step in steps)
    else:
        methods = make_methods(steps, "old")
    recipe = Recipe("old", methods, parse_student(student), seed)
    teacher = Teacher.of(tiny_bert(layers=1))
    teacher.__dict__["fingerprint"] = "f" * 64
    assert recipe_keys(recipe, recipe.reads(teacher), Common.of(teacher, tiny_splits()))[-1] == old
    assert teacher_key(Common.of(teacher, tiny_splits())) == "9f8a0dbf6161d9d909f68b99"
