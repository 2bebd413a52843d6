"""What a user has on disk since imbik 0.1.0 opens and answers as it did (``tests/frozen``, made by its ``make_frozen.py``)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from frozen_answers import (
    FROZEN,
    RUNS,
    SECONDS,
    TEXTS,
    artefact,
    checkpoint,
    imbik,
    imbik_json,
    in_frozen,
    judged,
    predicted,
    recommended,
    reported,
)

from imbik.locale.notes import read, sentence
from imbik.measure.results import load_results

EXPECTED: dict[str, Any] = json.loads((FROZEN / "expected.json").read_text("utf-8"))
MODELS = list(EXPECTED["checkpoints"])
ARTEFACTS = [name for name in EXPECTED["artefacts"] if name not in MODELS]
ROUNDED = 0.05
"""What an int8 artefact may differ by on another processor, where a rounding falls the other way; floats: 1e-5."""

CHANGED = {"mobilebert": ("learning_rate: 0.0005", "learning_rate: 0.0002")}
"""Shipped recipes that are others now, on purpose: what they said, and what they say."""


def same(found: Any, expected: Any, tolerance: float = 1e-5, place: str = "") -> None:
    """Equal, numbers within the tolerance (relative above 1)."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and expected.keys() <= found.keys(), f"{place}: {expected.keys()} in {found}"
        for key in expected:
            same(found[key], expected[key], tolerance, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            same(one, other, tolerance, f"{place}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance), place
    elif place.rpartition(".")[2].startswith("notes["):  # a sentence of 0.1, known again as the note that it was
        assert found == sentence(read(expected)), place
    else:
        assert found == expected, place


def model_folder(name: str) -> Path:
    return FROZEN / name if name == "teacher" else FROZEN / "students" / name


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMBIK_CACHE", "")


def test_all_frozen_pieces_are_here():
    assert EXPECTED["commit"] == "401e489"
    assert {path.name for path in (FROZEN / "students").iterdir()} == set(MODELS) - {"teacher"}
    assert {path.name for path in (FROZEN / "artefacts").iterdir()} == set(ARTEFACTS)
    assert sum(path.stat().st_size for path in FROZEN.rglob("*") if path.is_file()) < 900_000


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_opens_and_gives_its_logits(name):
    same(checkpoint(model_folder(name)), EXPECTED["checkpoints"][name])


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_answers_as_an_engine_does(name):
    same(artefact(model_folder(name)), EXPECTED["artefacts"][name])


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_is_saved_and_opened_again(name, tmp_path):
    from imbik import load_checkpoint, save_checkpoint

    save_checkpoint(load_checkpoint(model_folder(name)), tmp_path / "saved")
    same(checkpoint(tmp_path / "saved"), EXPECTED["checkpoints"][name])


@pytest.mark.parametrize("name", ARTEFACTS)
def test_an_artefact_answers_as_it_did(name):
    if name.split("-")[0] in ("openvino", "executorch"):
        pytest.importorskip(name.split("-")[0])
    expected = EXPECTED["artefacts"][name]
    found = artefact(FROZEN / "artefacts" / name)
    same(found, expected, 1e-5 if name.endswith("float") else ROUNDED)


@pytest.mark.parametrize("name", ["artefacts/onnx-int8", "students/mixed"])
def test_the_command_line_answers_texts(name):
    expected = EXPECTED["artefacts"][Path(name).name]
    answers = predicted(str(FROZEN / name))
    assert [one["text"] for one in answers] == TEXTS
    for answer, row in zip(answers, expected["predictions"], strict=True):
        for found in answer["labels"]:
            assert found["probability"] == pytest.approx(row[expected["labels"].index(found["label"])], abs=ROUNDED)


def test_the_command_line_answers_pairs():
    answers = predicted(str(FROZEN / "artefacts" / "pairs"), *(word for second in SECONDS for word in ("--pair", second)))
    same([[one["value"]] for one in answers], EXPECTED["artefacts"]["pairs"]["predictions"], ROUNDED)


@pytest.mark.parametrize("name", ["teacher", "low-rank", "mixed", "qat"])
def test_a_frozen_checkpoint_is_exported(name, tmp_path):
    """To float: ranges and steps that it carries are left where they are."""
    found = imbik_json("export", model_folder(name), "--out", tmp_path / "out", "--cpu", "x86", "--data", FROZEN / "data", "--json")
    assert found[0]["engine"] == "onnx" and (found[0]["parity"]["agreement"] or 1) > 0.9
    same(artefact(tmp_path / "out")["scores"], EXPECTED["artefacts"][name]["scores"], 0.2 if name in ("mixed", "low-rank", "qat") else 1e-4)


def test_the_masked_language_model_becomes_a_teacher(tmp_path):
    options = ("--epochs", 1, "--max-length", 32, "--json")
    found = imbik_json("finetune", "--base", FROZEN / "base", "--data", FROZEN / "data", "--out", tmp_path / "teacher", *options)
    assert found["metric"] == "accuracy" and (tmp_path / "teacher" / "model.safetensors").is_file()


@pytest.mark.parametrize("run", RUNS)
def test_results_lead_to_the_same_advice_and_costs(run):
    same(judged(run), EXPECTED["runs"][run])


@pytest.mark.parametrize("run", RUNS)
def test_results_make_the_same_report(run, tmp_path):
    """Its summary names the choice that the file holds."""
    found = reported(run, tmp_path)
    same(found, EXPECTED["reports"][run])
    assert json.loads((FROZEN / run / "results.json").read_text(encoding="utf-8"))["choice"]["id"] in found["summary"]


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_a_report_takes_everything_at_once(lang, tmp_path):
    out = tmp_path / "report.html"
    scenarios = ("--scenario", "scenario.yaml", "--scenario", "mobile")
    more = ("--device", "measured/phone.json", "--architectures", "measured/architectures.json", "--prices", "prices.yaml")
    with in_frozen():
        imbik("report", "run/results.json", "engines-run/results.json", "--out", out, "--lang", lang, *scenarios, *more)
    text = out.read_text(encoding="utf-8")
    assert "low-rank/onnx" in text and "narrow/openvino" in text and ("Şube gişesi" if lang == "tr" else "Branch counter") in text


def test_a_device_profile_is_matched_with_its_run():
    with in_frozen():
        found = imbik_json("advise", "run/results.json", "--device", "measured/phone.json", "--scenario", "scenario.yaml", "--json")
        alone = imbik_json("advise", "measured/with-baseline.json", "--scenario", "offline", "--json")
    late = {name: one["requirements"][1] for name, one in found[0]["verdicts"].items()}
    assert {name for name, one in late.items() if one["origin"] == "device"} == {"int8/onnx", "mixed/onnx"}
    assert set(alone[0]["verdicts"]) == {"int8/onnx", "mixed/onnx"}


def test_a_run_without_candidates_says_so():
    results = json.loads((FROZEN / "skipped-run" / "results.json").read_text(encoding="utf-8"))
    assert results["failures"][0]["skipped"] is True
    found = imbik_json("advise", FROZEN / "skipped-run" / "results.json", "--scenario", "offline", "--json")
    assert set(found[0]["verdicts"]) == {"teacher/pytorch", "teacher/onnx"}


def test_an_artefact_is_measured_against_stored_predictions():
    """The teacher's predictions.npz, an artefact and the data lead to the quality and retention that compress found."""
    with in_frozen():
        options = ("--data", "data", "--baseline", "run/teacher/predictions.npz", "--threads", 1, "--json", "-")
        found = imbik_json("measure", "artefacts/onnx-int8", *options)["measurements"][0]
    run = json.loads((FROZEN / "run" / "results.json").read_text(encoding="utf-8"))
    before = next(one for one in run["measurements"] if one["id"] == "int8/onnx")
    same(found["quality"], before["quality"], ROUNDED)
    same(found["retention"], before["retention"], ROUNDED)
    assert (found["params"], found["model_bytes"]) == (before["params"], before["model_bytes"])


def test_a_finished_run_is_not_made_again(tmp_path, monkeypatch):
    """The same command in a copy of the folder, with the packages it was made with: every piece is found by its key."""
    for name in ("finished", "teacher", "data", "recipes"):
        shutil.copytree(FROZEN / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = load_results(tmp_path / "finished" / "results.json")
    task = ("compress", "--teacher", "teacher", "--data", "data", "--cpu", "x86", "--threads", 1, "--min-retention", 0.8, "--no-rivals")
    said = imbik(*task, "--out", "finished", "--recipe", "recipes/run/nmf.yaml")[1]
    assert "nmf: finished earlier" in said and "measuring" not in said
    after = load_results(tmp_path / "finished" / "results.json")  # written anew, in today's schema
    assert after.measurements == before.measurements and after.choice.id == before.choice.id
    assert (tmp_path / "finished" / "report.html").is_file()


@pytest.mark.parametrize("path", sorted((FROZEN / "recipes" / "shipped").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_says_what_it_said(path):
    from imbik import load_recipe

    said = path.read_text(encoding="utf-8")
    assert imbik("recipes", path.stem)[0] == said.replace(*CHANGED.get(path.stem, ("", "")))
    found, printed = load_recipe(path.stem), load_recipe(path)
    # what was printed then stays what it was, whatever the shipped one says now
    assert imbik("recipes", path)[0] == said
    assert (found.student, found.steps, found.seed) == (printed.student, printed.steps, printed.seed) or path.stem in CHANGED


@pytest.mark.parametrize("path", sorted((FROZEN / "recipes").glob("[mr]*/*.y*ml")), ids=lambda path: path.stem)
def test_a_recipe_of_the_users_is_read_as_it_was(path):
    from imbik import load_recipe

    recipe = load_recipe(path)
    assert recipe.name and recipe.steps
    printed = path.with_suffix(".printed")
    if printed.is_file():
        assert imbik("recipes", path)[0] == printed.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXPECTED["recommend"])
def test_a_fitted_recommender_recommends_as_it_did(name):
    pytest.importorskip("numba")
    same(recommended(name), EXPECTED["recommend"][name])


def test_a_fitted_recommender_goes_on(tmp_path):
    pytest.importorskip("numba")
    start = FROZEN / "recommend" / "pmf"
    imbik("recommend", "fit", FROZEN / "ratings.csv", "--model", "pmf", "--rank", 2, "--continue", start, "--out", tmp_path / "more")
    assert (tmp_path / "more" / "model.json").is_file()
