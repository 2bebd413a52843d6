"""Slips in recipes: settings that contradict each other and files that are not there get one message, before anything is trained."""

from __future__ import annotations

import json

import pytest

from imbik.cli.app import main
from imbik.compress.run import compress
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.methods.registry import make_method
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import base_name
from imbik.recipes.recipe import parse_recipe
from imbik.testing.tiny import tiny_bert, tiny_splits

NEIGHBOURS = {"masked_model": "none"}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"tinybert": {"layers": "auto"}}, r"tinybert\.layers: .*'uniform', 'top' or 'bottom' or a list"),
        ({"tinybert": {"layers": [0, 1]}}, r"tinybert\.layers: .*Found: \[0, 1\].*greater than or equal to 1"),
        ({"tinybert": {"epochs": "many"}}, r"tinybert\.epochs: .*Found: 'many'.*'auto'"),
        ({"tinybert": {"augment": NEIGHBOURS | {"probability": "often"}}}, "probability: above 0.*'often'"),
        ({"tinybert": {"augment": NEIGHBOURS | {"copies": 1.5}}}, r"copies: a whole number.*1\.5"),
        ({"tinybert": {"augment": NEIGHBOURS | {"seed": -1}}}, "seed: a whole number, 0 at least.*-1"),
        ({"tinybert": {"augment": NEIGHBOURS | {"vectors": 3}}}, "vectors: teacher.*3"),
        ({"distill": {"temperature": float("inf")}}, r"distill\.temperature: .*finite"),
        ({"tinybert": {"hidden_weight": float("inf")}}, r"tinybert\.hidden_weight: .*finite"),
        ({"tinybert": {"stage": "general"}}, "needs raw text"),
        ({"mobilebert": {"stage": "general"}}, "needs raw text"),
        ({"mobilebert": {"corpus": "wiki/"}}, "task's texts"),
        ({"mobilebert": {"attention": 0, "hidden": 0, "mean": 0, "variance": 0}}, "nothing to learn"),
        ({"minilm": {"relations": []}}, "some of qq, kk and vv"),
        ({"minilm": {"relations": ["qq", "qq"]}}, "each once"),
        ({"minilm": {"weights": [0, 0, 0]}}, "nothing to learn"),
    ],
)
def test_a_slip_is_refused_when_the_recipe_is_read(step, message):
    with pytest.raises(UserError, match=message):
        make_method(step, "mine.yaml, step 1")


def _compress(directory, teacher, text):
    splits, recipe = tiny_splits(rows=12), parse_recipe("name: mine\n" + text, "mine.yaml")
    return compress(
        teacher,
        splits,
        directory,
        source="t",
        recipes=[recipe],
        progress=Silent(),
        say=lambda _: None,
    )


def test_files_that_are_not_there_are_told_before_anything_is_made(tmp_path):
    teacher = tiny_bert()
    text = "steps: [{distill: {}}, {tinybert: {augment: {masked_model: lm/}}}]"
    with pytest.raises(UserError, match=r"mine: no such file or folder. Found: lm/.*the working folder is"):
        _compress(tmp_path / "out", teacher, text)
    teacher.model.config.imbik_base = "../gone/base"
    (tmp_path / "raw.txt").write_text("pay the card\n")
    text = "steps: [{tinybert: {stage: general, corpus: HERE/raw.txt, teacher: base}}]".replace("HERE", str(tmp_path))
    with pytest.raises(UserError, match=r"not where it was. Found: ../gone/base.*teacher: FOLDER"):
        _compress(tmp_path / "out", teacher, text)
    assert not (tmp_path / "out").exists()


def test_a_student_that_cannot_be_made_is_told_with_its_recipe(tmp_path):
    with pytest.raises(UserError, match=r"mine, student: .*Found: 9"):
        _compress(tmp_path / "out", tiny_bert(), "student: layers-9\nsteps: [{distill: {}}]")


def test_a_base_is_recorded_for_every_working_folder(tmp_path, monkeypatch):
    save_checkpoint(tiny_bert(), tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    assert base_name("base") == str(tmp_path / "base") and base_name("someone/encoder") == "someone/encoder"


def _rows(place):
    place.mkdir()
    for name in ("train", "dev", "test"):
        lines = [f"{text} {i % 9},{label}" for i in range(12) for text, label in (("good new card", "good"), ("late bad fee", "bad"))]
        (place / f"{name}.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return str(place)


def test_a_call_whose_every_recipe_fails_has_failed(tmp_path, capsys):
    data, out = _rows(tmp_path / "data"), tmp_path / "out"
    save_checkpoint(tiny_bert(labels=("bad", "good")), tmp_path / "teacher")
    (tmp_path / "mine.yaml").write_text("student: layers-2\nsteps: [{tinybert: {layers: [1, 9]}}]\n")
    with pytest.raises(SystemExit) as ended:
        main(
            ["compress", "--teacher", str(tmp_path / "teacher"), "--data", data, "--recipe", str(tmp_path / "mine.yaml"), "--out", str(out)]
        )
    assert ended.value.code == 2
    assert "no recipe could be made. Found: mine: layers: the map of layers does not fit" in capsys.readouterr().err
    assert json.loads((out / "results.json").read_text())["failures"][0]["name"] == "mine"


def test_options_of_raw_text_are_refused_for_a_classifier(tmp_path, capsys):
    save_checkpoint(tiny_bert(), tmp_path / "base")
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "finetune",
                "--base",
                str(tmp_path / "base"),
                "--data",
                _rows(tmp_path / "data"),
                "--out",
                str(tmp_path / "o"),
                "--whole-words",
            ]
        )
    assert ended.value.code == 2 and "--whole-words: only masked language modeling" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
