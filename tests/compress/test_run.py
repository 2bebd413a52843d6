"""The main job on a tiny teacher: contract of the folder and of results.json, continuing, failures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imbik.compress.options import Limits, Options
from imbik.compress.run import apply_recipe, compress
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.recipes.recipe import parse_recipe
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import logits_of, tiny_bert, tiny_splits

SHORT = "name: {0}\nstudent: {1}\nsteps:\n  - distill: {{epochs: 1}}\n  - quantize: {{}}\n"
RECIPES = ("int8", parse_recipe(SHORT.format("one", "layers-1"), "one"), parse_recipe(SHORT.format("two", "layers-2"), "two"))


def run(folder: Path, teacher: Path, said: list[str] | None = None, recipes=RECIPES, metric="accuracy", **options):
    lines = said if said is not None else []
    return compress(
        load_checkpoint(teacher),
        replace(tiny_splits(), metric=metric),
        folder,
        source=str(teacher),
        recipes=recipes,
        progress=Silent(),
        say=lines.append,
        **options,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    place = tmp_path_factory.mktemp("compress")
    save_checkpoint(tiny_bert(), place / "teacher")
    results = run(place / "out", place / "teacher")
    return place, results


def test_the_folder_holds_what_the_contract_says(done):
    place, _ = done
    out = place / "out"
    for name in ("results.json", "teacher/predictions.npz", "teacher/artefacts/onnx/model.onnx"):
        assert (out / name).is_file(), name
    for recipe in ("int8", "one", "two"):
        for name in ("model/config.json", "model/model.safetensors", "model/README.md", "artefacts/onnx/manifest.json",
                     "artefacts/onnx/tokenizer.json", "artefacts/onnx/README.md"):  # fmt: skip
            assert (out / recipe / name).is_file(), f"{recipe}/{name}"
    assert not list(out.rglob("*.tmp")) and not list((out / ".imbik").glob("running/*"))


def test_results_hold_what_the_contract_says(done):
    place, _ = done
    document = json.loads((place / "out" / "results.json").read_text())
    assert document["schema"] == 2 and document["baseline"] == "teacher/pytorch" and document["failures"] == []
    ids = [m["id"] for m in document["measurements"]]
    assert ids == ["teacher/pytorch", "teacher/onnx", "int8/onnx", "one/onnx", "two/onnx"]
    assert document["choice"]["id"] in ids[1:] and set(document["pareto"]) <= set(ids)
    for m in document["measurements"]:
        assert m["quality"]["low"] <= m["quality"]["value"] <= m["quality"]["high"] and m["quality"]["n"] == 30
        assert m["bytes"] > m["model_bytes"] > 0 and m["latency_ms"]["p50"] <= m["latency_ms"]["p95"] <= m["latency_ms"]["p99"]
        assert m["throughput"]["items_per_s"] > 0 and m["peak_rss_bytes"] > 1e6 and m["cold_start_s"] > 0
    one = next(m for m in document["measurements"] if m["id"] == "one/onnx")
    assert one["architecture"]["layers"] == 1 and one["train_seconds"] > 0 and one["parity"]["int8_ops"] > 0
    parents = {m["id"]: m["parent"] for m in document["measurements"] if m["parent"]}
    assert parents == {"int8/onnx": "teacher"}, "one and two have no float twin in this run"
    assert one["steps"][0]["distill"]["epochs"] == 1 and one["steps"][1]["quantize"]["scheme"] == "dynamic"


def test_the_model_folder_loads_in_plain_transformers(done):
    from transformers import AutoModelForSequenceClassification

    place, _ = done
    model = AutoModelForSequenceClassification.from_pretrained(place / "out" / "one" / "model")
    assert model.config.num_hidden_layers == 1 and model.config.id2label[1] == "good"


def test_a_second_run_redoes_nothing_and_judges_under_new_limits(done):
    place, first = done
    files = {p: p.stat().st_mtime_ns for p in (place / "out").rglob("*") if p.is_file() and p.suffix in (".safetensors", ".onnx")}
    said: list[str] = []
    second = run(place / "out", place / "teacher", said, limits=Limits(0.0001, max_mb=1e-9))
    assert not any("measuring" in line for line in said)
    assert {p: p.stat().st_mtime_ns for p in files} == files
    assert [m.throughput for m in second.measurements] == [m.throughput for m in first.measurements]
    assert second.choice.meets is False and "megabytes" in second.choice.shortfall


def test_options_are_one_value_or_keywords(done):
    place, first = done
    said: list[str] = []
    options = Options(source=str(place / "teacher"), recipes=RECIPES)
    common = {"progress": Silent(), "say": said.append}
    again = compress(load_checkpoint(place / "teacher"), tiny_splits(), place / "out", options, limits=Limits(0.5), **common)
    assert not any("measuring" in line for line in said) and again.measurements == first.measurements
    with pytest.raises(TypeError, match="recipies"):
        compress(load_checkpoint(place / "teacher"), tiny_splits(), place / "out", recipies=RECIPES, **common)


def test_recipes_that_begin_alike_share_their_beginning(done, tmp_path):
    place, _ = done
    said: list[str] = []
    float_twin = parse_recipe("name: one-float\nstudent: layers-1\nsteps:\n  - distill: {epochs: 1}\n", "x")
    steps = {p.name for p in (place / "out" / ".imbik" / "steps").iterdir()}
    run(place / "out", place / "teacher", said, recipes=(*RECIPES, float_twin))
    assert {p.name for p in (place / "out" / ".imbik" / "steps").iterdir()} == steps
    one = (place / "out" / "one" / "model" / "model.safetensors").read_bytes()
    assert one == (place / "out" / "one-float" / "model" / "model.safetensors").read_bytes()


def test_a_recipe_that_fails_is_recorded_and_the_others_go_on(tmp_path):
    save_checkpoint(tiny_bert(), tmp_path / "teacher")
    broken = parse_recipe("name: broken\nsteps:\n  - distill: {learning_rate: 1.0e+30, epochs: 5}\n", "broken")
    results = run(tmp_path / "out", tmp_path / "teacher", recipes=(broken, "int8"))
    assert [f["name"] for f in results.failures] == ["broken"] and "not finite" in results.failures[0]["error"]
    assert results.get("int8/onnx") is not None
    assert not (tmp_path / "out" / "broken" / "model").exists()


def test_no_minutes_left_is_recorded(tmp_path):
    save_checkpoint(tiny_bert(), tmp_path / "teacher")
    results = run(tmp_path / "out", tmp_path / "teacher", recipes=("int8",), minutes=1e-9)
    assert results.failures[0]["skipped"] and results.choice.id == "teacher/onnx"


@pytest.fixture(scope="module")
def float_only(tmp_path_factory):
    """A run whose only recipe fails, so that the teacher's own artefact is all there is."""
    place = tmp_path_factory.mktemp("float")
    save_checkpoint(tiny_bert(), place / "teacher")
    broken = parse_recipe("name: broken\nsteps:\n  - distill: {learning_rate: 1.0e+30, epochs: 5}\n", "broken")
    run(place / "out", place / "teacher", recipes=(broken,))
    return place, broken


def test_artefacts_of_other_engines_stay_while_the_model_is_the_same(done, tmp_path):
    place, _ = done
    shutil.copytree(place / "out", tmp_path / "out")
    one = tmp_path / "out" / "one"
    shutil.copytree(one / "artefacts" / "onnx", one / "artefacts" / "openvino")  # as an earlier call with that engine left it
    kept = {path: path.stat().st_mtime_ns for path in (*one.glob("artefacts/openvino/*"), *one.glob("model/*"))}
    shutil.rmtree(one / "artefacts" / "onnx")
    results = run(tmp_path / "out", place / "teacher", recipes=RECIPES[1:2])
    assert results.get("one/onnx") is not None and (one / "artefacts" / "onnx" / "manifest.json").is_file()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    other = parse_recipe(SHORT.format("one", "layers-1").replace("epochs: 1", "epochs: 2"), "one")
    run(tmp_path / "out", place / "teacher", recipes=(other,))
    assert not (one / "artefacts" / "openvino").exists(), "of another model"


def test_another_metric_is_measured_anew_though_no_recipe_was_built(float_only):
    place, broken = float_only
    results = run(place / "out", place / "teacher", recipes=(broken,), metric="macro-f1")
    assert {m.quality.metric for m in results.measurements} == {"macro-f1"}


def test_another_teacher_gets_artefacts_of_its_own(float_only):
    place, broken = float_only
    other = tiny_bert(seed=5)
    save_checkpoint(other, place / "teacher")  # trained again, in the same place
    results = run(place / "out", place / "teacher", recipes=(broken,))
    texts = tiny_splits().test
    found = load_artefact(place / "out" / "teacher" / "artefacts" / "onnx", threads=1).scores(list(texts.texts))
    np.testing.assert_allclose(found, logits_of(other, texts), atol=0.05)  # bf16 where the processor has it
    assert results.get("teacher/onnx").agreement == 1.0


def test_results_of_one_call_are_never_taken_for_those_of_another(done, monkeypatch, tmp_path):
    """Killed between results.json and its key, the next call must not find the key of the call before."""
    place, _ = done
    shutil.copytree(place, tmp_path / "copy")
    out = tmp_path / "copy" / "out"
    monkeypatch.setattr("imbik.compress.measuring.write_json", _killed)
    with pytest.raises(KeyboardInterrupt):
        run(out, place / "teacher", recipes=("int8",))
    monkeypatch.undo()
    again = run(out, place / "teacher")
    assert [m.id for m in again.measurements] == ["teacher/pytorch", "teacher/onnx", "int8/onnx", "one/onnx", "two/onnx"]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_files_of_the_user_are_not_deleted(tmp_path):
    save_checkpoint(tiny_bert(), tmp_path / "teacher")
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "thesis.docx").write_text("years of work")
    with pytest.raises(UserError, match=r"thesis\.docx"):  # before any work
        run(tmp_path, tmp_path / "teacher", recipes=("int8",))
    assert (tmp_path / "int8" / "thesis.docx").read_text() == "years of work"


def test_whether_a_model_answers_pairs_goes_from_the_data_to_the_artefact(tmp_path):
    save_checkpoint(replace(tiny_bert(), pairs=True), tmp_path / "teacher")
    common = {"source": str(tmp_path / "teacher"), "recipes": ("int8",), "progress": Silent(), "say": lambda _: None}
    with pytest.raises(UserError, match="the teacher was trained on pairs of texts"):
        compress(load_checkpoint(tmp_path / "teacher"), tiny_splits(), tmp_path / "out", **common)
    save_checkpoint(tiny_bert(), tmp_path / "teacher")  # of elsewhere: nothing says what it was trained on
    compress(load_checkpoint(tmp_path / "teacher"), tiny_splits(rows=24, pairs=True), tmp_path / "out", **common)
    for name in ("teacher", "int8"):
        assert load_artefact(tmp_path / "out" / name / "artefacts" / "onnx").pairs is True
    assert load_checkpoint(tmp_path / "out" / "int8" / "model").pairs is True


def test_names_that_differ_in_case_only_are_one_folder_on_many_systems(tmp_path):
    one, two = (parse_recipe(SHORT.format(name, "layers-1"), name) for name in ("Mine", "mine"))
    with pytest.raises(UserError, match="same name"):
        save_checkpoint(tiny_bert(), tmp_path / "teacher")
        run(tmp_path / "out", tmp_path / "teacher", recipes=(one, two))


def test_a_recipe_applied_alone_is_the_model_of_the_candidate(done, tmp_path):
    place, _ = done
    teacher, splits = load_checkpoint(place / "teacher"), replace(tiny_splits(), metric="accuracy")
    alone = apply_recipe(teacher, splits, RECIPES[1], tmp_path / "alone")
    candidate = load_checkpoint(place / "out" / "one" / "model")
    assert np.allclose(logits_of(alone, splits.dev), logits_of(candidate, splits.dev), atol=1e-5)
    assert not alone.model.training
    kept = [path for path in (tmp_path / "alone").rglob("*.safetensors")]
    assert kept and not (tmp_path / "alone" / "results.json").exists()
    again = apply_recipe(teacher, splits, RECIPES[1], tmp_path / "alone")
    assert np.array_equal(logits_of(alone, splits.dev), logits_of(again, splits.dev))
