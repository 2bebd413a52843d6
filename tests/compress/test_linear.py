"""The linear student: made beside the recipes, first and by name, found again, refused where n-grams say nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imbik.compress.linear import CUTS, asked_for
from imbik.compress.options import Options
from imbik.compress.plan import LINEAR
from imbik.compress.run import apply_recipe, compress
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.runtime.ngrams import Cut
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import tiny_bert, tiny_splits


def test_it_is_measured_chosen_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = tiny_splits(rows=90)
    options = Options(recipes=["linear", "int8"], threads=1)
    results = compress(tiny_bert(layers=1), splits, tmp_path / "out", options, progress=Silent(), say=lambda _: None)
    measured = next(m for m in results.measurements if m.name == "linear")
    assert measured.engine == "numpy" and not measured.rival and measured.quality.value is not None
    assert results.choice is not None and results.choice.id == "linear/numpy", "it beats a random teacher, and is the fastest"
    step = next(iter(measured.steps[-1].values()))
    assert measured.steps[-1].keys() == {"linear"} and step["temperature"] == 2.0
    assert load_artefact(tmp_path / "out" / "linear" / "artefacts" / "numpy").predict(["a card"]).shape == (1, 3)
    monkeypatch.setattr("imbik.compress.linear.linear_student", lambda *_: pytest.fail("made again"))
    again = compress(tiny_bert(layers=1), splits, tmp_path / "out", options, progress=Silent(), say=lambda _: None)
    assert again.measurements == results.measurements


def test_pairs_are_a_failure_and_the_others_go_on(tmp_path: Path) -> None:
    splits = tiny_splits(rows=60, pairs=True)
    options = Options(recipes=["linear", "int8"], threads=1)
    results = compress(tiny_bert(layers=1), splits, tmp_path / "out", options, progress=Silent(), say=lambda _: None)
    failure = next(failure for failure in results.failures if failure.get("name") == "linear")
    assert "pairs of texts" in failure["error"] and "int8" in {m.name for m in results.measurements}


@pytest.mark.parametrize(
    ("recipes", "rivals", "asked"),
    [
        (["linear"], False, ("linear",)),
        (["linear-words", "int8"], True, ("linear-words",)),
        (["int8"], True, ()),
        ([], True, ("linear", "linear-words")),
        ([], False, ()),
    ],
)
def test_when_they_are_asked_for(recipes: list[str], rivals: bool, asked: tuple[str, ...]) -> None:
    assert asked_for(Options(recipes=recipes, rivals=rivals), tiny_bert(layers=1)) == asked


def test_words_alone_are_a_student_of_their_own_but_where_the_other_reads_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits, said = tiny_splits(rows=90), list[str]()
    options = Options(recipes=["linear", "linear-words"], threads=1)
    monkeypatch.setitem(CUTS, "linear", (Cut(2),))
    results = compress(tiny_bert(layers=1), splits, tmp_path / "out", options, progress=Silent(), say=said.append)
    cuts = {m.name: m.steps[-1]["linear"]["words"] for m in results.measurements if m.name in LINEAR}
    assert cuts == {"linear": 2, "linear-words": 1}
    assert [line for line in said if line.startswith("[")] == ["[1/2] linear", "[2/2] linear-words"]
    monkeypatch.setitem(CUTS, "linear", (Cut(1),))
    results = compress(tiny_bert(layers=1), splits, tmp_path / "same", options, progress=Silent(), say=said.append)
    assert [m.name for m in results.measurements if m.name in LINEAR] == ["linear"]
    assert any("linear-words would be the same" in line for line in said)


def test_texts_without_labels_have_no_linear_student_beside() -> None:
    assert not asked_for(Options(recipes=[], rivals=True), replace(tiny_bert(layers=1), task="embedding"))


@pytest.mark.parametrize("name", LINEAR)
def test_no_checkpoint_is_made_of_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no network"):
        apply_recipe(tiny_bert(layers=1), tiny_splits(), name, tmp_path / "out")
