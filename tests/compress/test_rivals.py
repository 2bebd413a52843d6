"""Rivals beside the candidates: made once, marked, never chosen, and said in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imbik.advise.advice import advise
from imbik.advise.scenario import load_scenario
from imbik.compress.rivals import FROZEN, TABLES, TFIDF
from imbik.compress.run import compress
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.locale.notes import sentence
from imbik.measure.results import Results, load_results
from imbik.models.checkpoint import save_checkpoint
from imbik.report.render import write_report
from imbik.report.terminal import results_table
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results, list[str]]:
    folder, said = tmp_path_factory.mktemp("rivals") / "out", []
    splits = tiny_splits(rows=90)
    results = compress(tiny_bert(layers=1), splits, folder, recipes=["int8"], rivals=True, threads=1, progress=Silent(), say=said.append)
    return folder, results, said


def test_every_rival_is_measured_and_marked(run: tuple[Path, Results, list[str]]) -> None:
    folder, results, _ = run
    rivals = [m for m in results.measurements if m.rival]
    assert [m.name for m in rivals] == list(TFIDF) and {m.engine for m in rivals} == {"numpy"}
    assert all(m.latency_ms.p50 and m.throughput.items_per_s and m.bytes and m.quality.value is not None for m in rivals)
    assert load_results(folder / "results.json").measurements == results.measurements


def test_a_rival_is_never_chosen_or_advised(run: tuple[Path, Results, list[str]]) -> None:
    _, results, _ = run
    # a random teacher: the rivals are better and faster than anything made of it
    best = max(results.measurements, key=lambda m: m.quality.value or 0.0)
    assert best.rival and results.choice is not None
    chosen = results.get(results.choice.id)
    assert chosen is not None and not chosen.rival
    advised = results.get(advise(results, load_scenario("offline")).choice)
    assert advised is not None and not advised.rival


def test_what_the_choice_has_over_the_best_rival_is_paired_on_test(run: tuple[Path, Results, list[str]]) -> None:
    _, results, _ = run
    assert results.choice is not None
    chosen = results.get(results.choice.id)
    assert chosen is not None and chosen.over_rival.id is not None
    rival = results.get(chosen.over_rival.id)
    assert rival is not None and rival.rival
    others = [m.dev_quality.value or 0.0 for m in results.measurements if m.rival]
    assert rival.dev_quality.value == max(others)
    gained = chosen.over_rival
    assert gained.value == pytest.approx((chosen.quality.value or 0.0) - (rival.quality.value or 0.0))
    assert gained.low is not None and gained.high is not None and gained.low <= gained.value <= gained.high
    note = next(note for note in results.choice.reasons if note.kind == "choice_rival")
    assert rival.id in sentence(note) and f"{100 * gained.value:+.1f} points" in sentence(note)


@pytest.mark.parametrize(("lang", "word"), [("en", "what one would try first"), ("tr", "lk denenecek")])
def test_the_report_and_the_table_say_it(run: tuple[Path, Results, list[str]], lang: str, word: str) -> None:
    folder, results, _ = run
    write_report([results], folder / f"{lang}.html", lang=lang)
    page = (folder / f"{lang}.html").read_text(encoding="utf-8")
    assert word in page and 'class="point rival"' in page
    assert results_table(results, lang).caption is not None


def test_a_second_call_makes_no_rival_again(run: tuple[Path, Results, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, results, _ = run
    monkeypatch.setattr("imbik.compress.rivals.tfidf_svm", lambda *_: pytest.fail("made again"))
    again = compress(
        tiny_bert(layers=1), tiny_splits(rows=90), folder, recipes=["int8"], rivals=True, threads=1, progress=Silent(), say=lambda _: None
    )
    assert again.measurements == results.measurements


def test_pairs_have_no_rivals_and_it_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    results = compress(
        tiny_bert(layers=1),
        tiny_splits(rows=60, pairs=True),
        tmp_path / "out",
        recipes=["int8"],
        rivals=True,
        threads=1,
        progress=Silent(),
        say=said.append,
    )
    assert not [m for m in results.measurements if m.rival]
    assert [note.kind for note in results.data.notes if note.kind == "rivals_pairs"] and any("n-grams" in line for line in said)


def test_vectors_have_rivals_of_their_own(tmp_path: Path) -> None:
    splits = tiny_splits("embedding", rows=60, pairs=True)
    teacher = tiny_bert(splits.labels, "embedding", layers=1)
    options = {"recipes": ["int8"], "rivals": True, "threads": 1, "progress": Silent(), "say": lambda _: None}
    results = compress(teacher, splits, tmp_path / "out", **options)
    rivals = [m for m in results.measurements if m.rival]
    assert [m.name for m in rivals] == list(TABLES) and {m.engine for m in rivals} == {"numpy"}
    assert all(m.quality.metric == "spearman" and m.quality.value is not None and m.latency_ms.p50 for m in rivals)


def based(folder: Path, pairs: bool = False) -> Checkpoint:
    """A teacher that says what it was made of."""
    if not folder.exists():
        save_checkpoint(tiny_bert(layers=2), folder)
    teacher = tiny_bert(layers=1)
    teacher.model.config.imbik_base = str(folder)
    return replace(teacher, pairs=pairs)


@pytest.mark.parametrize("pairs", [False, True])
def test_the_base_of_the_teacher_is_a_rival_too(tmp_path: Path, pairs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = tiny_splits(rows=60, pairs=pairs)
    options = {"recipes": ["int8"], "rivals": True, "threads": 1, "progress": Silent(), "say": lambda _: None}
    results = compress(based(tmp_path / "base", pairs), splits, tmp_path / "out", **options)
    rivals = {m.name: m for m in results.measurements if m.rival}
    assert set(rivals) == ({FROZEN} if pairs else {*TFIDF, FROZEN})
    frozen = rivals[FROZEN]
    assert frozen.engine == "onnx" and frozen.quality.value is not None and frozen.architecture.layers == 2 and frozen.bytes
    assert frozen.parity.agreement == 1.0, "exported and gated like a candidate"
    monkeypatch.setattr("imbik.compress.rivals.fit_frozen_head", lambda *_: pytest.fail("made again"))
    assert compress(based(tmp_path / "base", pairs), splits, tmp_path / "out", **options).measurements == results.measurements


def test_a_teacher_that_does_not_name_its_base_has_one_rival_fewer_and_it_is_said(run: tuple[Path, Results, list[str]]) -> None:
    _, results, said = run
    assert "rivals_no_base" in [note.kind for note in results.data.notes] and any(FROZEN in line for line in said)


def test_a_base_that_is_gone_is_a_note_and_the_others_go_on(tmp_path: Path) -> None:
    teacher = tiny_bert(layers=1)
    teacher.model.config.imbik_base = str(tmp_path / "gone")
    options = {"recipes": ["int8"], "rivals": True, "threads": 1, "progress": Silent(), "say": lambda _: None}
    results = compress(teacher, tiny_splits(rows=60), tmp_path / "out", **options)
    note = next(note for note in results.data.notes if note.kind == "rivals_failed")
    assert note.values["name"] == FROZEN and "gone" in str(note.values["error"])
    assert {m.name for m in results.measurements if m.rival} == set(TFIDF)


def test_files_of_the_users_are_not_overwritten(tmp_path: Path) -> None:
    theirs = tmp_path / "out" / "rivals" / "tfidf-words" / "notes.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        compress(tiny_bert(layers=1), tiny_splits(), tmp_path / "out", recipes=["int8"], rivals=True, progress=Silent(), say=lambda _: None)
    assert theirs.read_text() == "mine"


def test_a_gain_turns_round_for_an_error() -> None:
    from imbik.tasks.intervals import paired_gain

    targets = np.linspace(0, 5, 40)
    near, far = targets[:, None] + 0.1, targets[:, None] + 1.0
    value, low, high = paired_gain("rmse", near, far, targets, "regression")
    assert value == pytest.approx(0.9) and low == pytest.approx(0.9) and high == pytest.approx(0.9)
