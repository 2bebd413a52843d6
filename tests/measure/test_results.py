"""results.json: what is written reads back, what is wrong is named with its place, the choice keeps its rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plausible
import pytest

from imbik.advise.choice import choose, pareto, slower_than_parent
from imbik.errors import UserError
from imbik.measure.measurement import Calibration, ClassQuality, Latency, Quality, Throughput
from imbik.measure.results import disagreements, load_results, write_results
from imbik.measure.values import Data, Limits, Use, Uses
from imbik.types import Note


def _document(tmp_path: Path) -> dict[str, Any]:
    write_results(tmp_path / "results.json", plausible.results())
    return json.loads((tmp_path / "results.json").read_text("utf-8"))


def _load(tmp_path: Path, document: Any) -> Any:
    path = tmp_path / "results.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return load_results(path)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    run = plausible.results()
    write_results(tmp_path / "results.json", run)
    assert replace(load_results(tmp_path / "results.json"), path=None) == run


def test_numpy_and_non_finite_numbers_become_json(tmp_path: Path) -> None:
    first, *rest = plausible.results().measurements
    odd = replace(first, params=np.int64(5), calibration=Calibration(float("nan")), per_class={"a": ClassQuality(f1=np.float32(0.5))})
    write_results(tmp_path / "r.json", plausible.results(measurements=(odd, *rest)))
    row = json.loads((tmp_path / "r.json").read_text())["measurements"][0]
    assert (row["params"], row["calibration"], row["per_class"]) == (5, {"ece": None}, {"a": {"f1": 0.5}})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, plausible.results())
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_results(path, plausible.results(data=Data(source=object())))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_lone_measurement_reads_as_results_without_baseline(tmp_path: Path) -> None:
    run = _load(tmp_path, {"id": "x/onnx", "name": "x", "engine": "onnx", "latency_ms": {"p50": 1.0}})
    assert run.baseline is None
    assert run.measurements[0].latency_ms == Latency(p50=1.0)
    assert not run.measurements[0].quality and run.measurements[0].quality == Quality()
    assert run.measurements[0].peak_rss_bytes is None


def test_what_measure_prints_reads_as_results(tmp_path: Path) -> None:
    assert len(_load(tmp_path, {"environment": {}, "measurements": [{"id": "x", "name": "x", "engine": "onnx"}]}).measurements) == 1


def _broken(change: Any) -> Any:
    def make(document: dict[str, Any]) -> Any:
        change(document)
        return document

    return make


BAD = {
    "empty": (lambda d: "  ", "the file is empty"),
    "not JSON": (lambda d: '{"schema": 1,', "line 1, column"),
    "a list": (lambda d: [], "a JSON list"),
    "other schema": (_broken(lambda d: d.update(schema=7)), "unknown schema. Found: 7"),
    "no measurements": (_broken(lambda d: d.pop("measurements")), "measurements: field missing"),
    "no id": (_broken(lambda d: d["measurements"][1].pop("id")), "measurements[1].id: field missing"),
    "text for a number": (
        _broken(lambda d: d["measurements"][2]["latency_ms"].update(p50="fast")),
        "measurements[2].latency_ms.p50: a field is wrong. Found: 'fast'",
    ),
    "negative bytes": (_broken(lambda d: d["measurements"][0].update(bytes=-1)), "measurements[0].bytes"),
    "NaN": (_broken(lambda d: d["measurements"][0]["quality"].update(value=float("nan"))), "quality.value"),
    "id twice": (_broken(lambda d: d["measurements"].append(d["measurements"][0])), "duplicate id"),
    "unknown baseline": (_broken(lambda d: d.update(baseline="nobody")), "baseline: names a candidate that"),
    "unknown choice": (_broken(lambda d: d["choice"].update(id="nobody")), "choice.id: names a candidate"),
    "layers in words": (
        _broken(lambda d: d["measurements"][1]["architecture"].update(layers="six")),
        "measurements[1].architecture.layers",
    ),
    "a class without figures": (
        _broken(lambda d: d["measurements"][1].update(per_class={"a": 5})),
        "per_class.a: a field is wrong. Found: 5. Expected: a JSON object",
    ),
    "reverted as text": (_broken(lambda d: d["measurements"][1].update(parity={"reverted": "all"})), "measurements[1].parity.reverted"),
    "rows in words": (_broken(lambda d: d["data"].update(rows={"train": "many"})), "data.rows.train"),
    "versions as a list": (_broken(lambda d: d["environment"].update(versions=["a"])), "environment.versions"),
    "a difference without a text": (
        _broken(lambda d: d.update(disagreements={"x": [{"gold": "a"}]})),
        "disagreements.x[0].text: field missing",
    ),
    "a shortfall without a value": (
        _broken(lambda d: d["choice"].update(shortfall={"retention": {"limit": 1}})),
        "choice.shortfall.retention.value",
    ),
    "a failure without an error": (_broken(lambda d: d.update(failures=[{"name": "x"}])), "failures[0].error: field missing"),
    "a note without a kind": (
        _broken(lambda d: d["measurements"][1].update(notes=[{"values": {}, "text": "x"}])),
        "measurements[1].notes[0].kind: field missing",
    ),
    "a parent in numbers": (_broken(lambda d: d["measurements"][2].update(parent=3)), "measurements[2].parent: a field is wrong. Found: 3"),
    "flags as text": (_broken(lambda d: d["environment"].update(flags="avx2")), "environment.flags"),
    "notes as text": (_broken(lambda d: d["data"].update(notes="none")), "data.notes"),
    "unknown front": (_broken(lambda d: d.update(pareto=["nobody"])), "pareto: names a candidate"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_their_place(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(UserError) as error:
        _load(tmp_path, make(_document(tmp_path)))
    assert message in str(error.value)
    assert "results.json" in str(error.value)


OLD = Path(__file__).parent / "reference" / "results-schema-1.json"  # written by imbik 0.1


@pytest.mark.parametrize(("written", "read"), [(20_000_000.0, 20_000_000), (2e7, 20_000_000), (0.0, 0)])
def test_a_count_may_be_written_with_a_point(tmp_path: Path, written: float, read: int) -> None:
    document = _document(tmp_path)
    document["measurements"][0]["params"] = written
    found = _load(tmp_path, document).measurements[0].params
    assert found == read and isinstance(found, int)


def test_a_count_has_no_fraction(tmp_path: Path) -> None:
    document = _document(tmp_path)
    document["measurements"][0]["params"] = 2.5
    with pytest.raises(UserError, match="params"):
        _load(tmp_path, document)


def test_a_file_of_schema_1_reads_with_its_notes_and_parents() -> None:
    run = load_results(OLD)
    _, small, quantized = run.measurements
    assert (small.parent, quantized.parent) == (None, "layers-1")
    assert [note.kind for note in quantized.notes] == ["low_rank", "slower", "text"]
    assert run.data.notes == (Note.of("in_train", count=25, total=3080, split="test"),)
    assert run.data.rows == {"train": 9003, "dev": 1000, "test": 3080}
    assert [failure.get("note") for failure in run.failures] == [None, Note.of("not_started", minutes=0.5)]
    assert run.choice is not None and run.choice.why.startswith("6 of 8 candidates") and run.choice.reasons == ()
    assert quantized.parity.float_parent is not None and quantized.parity.float_parent.slower
    assert quantized.latency_ms.p50 == 0.71 and quantized.per_class["lost_card"].support == 513


def test_a_file_of_schema_1_is_written_as_schema_2_and_reads_the_same(tmp_path: Path) -> None:
    run = load_results(OLD)
    write_results(tmp_path / "results.json", run)
    document = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert document["schema"] == 2
    assert document["measurements"][2]["notes"][1] == {
        "kind": "slower",
        "values": {"own": 2.1, "parent": 1.9},
        "text": "slower than its float parent on this machine: 2.10 ms against 1.90 ms",
    }
    assert replace(load_results(tmp_path / "results.json"), path=OLD) == run


def test_what_schema_1_measured_stands_under_the_same_names(tmp_path: Path) -> None:
    """A program that reads fields of results.json finds them where they were, with the same numbers."""
    write_results(tmp_path / "results.json", load_results(OLD))
    old, new = (json.loads(path.read_text("utf-8")) for path in (OLD, tmp_path / "results.json"))
    for before, after in zip(old["measurements"], new["measurements"], strict=True):
        assert {key: value for key, value in after.items() if key not in ("notes", "parent")} == {
            key: value for key, value in before.items() if key != "notes"
        }
    assert [new[key] for key in ("task", "baseline", "pareto", "disagreements")] == [
        old[key] for key in ("task", "baseline", "pareto", "disagreements")
    ]
    for group, keys in {"environment": ("cpu", "cores", "threads"), "choice": tuple(old["choice"])}.items():
        for key in set(keys) - {"single", "batch"}:
            assert new[group][key] == old[group][key], key
    assert new["choice"]["single"] == old["choice"]["single"]


@pytest.mark.parametrize("change", [{"single": "layers-1/onnx"}, {"single": {"id": "layers-1/onnx"}}])
def test_a_use_that_names_its_candidate_alone_is_read(tmp_path: Path, change: dict[str, Any]) -> None:
    document = json.loads(OLD.read_text("utf-8"))
    document["choice"] |= change
    assert _load(tmp_path, document).choice.single == Use("layers-1/onnx")


def test_a_parent_is_what_the_recipe_recorded_not_what_a_name_suggests() -> None:
    teacher, *_ = plausible.results().measurements
    parent = replace(teacher, id="calm/onnx", name="calm", engine="onnx", latency_ms=Latency(p50=1.0))
    quantized = replace(parent, id="wild/onnx", name="wild", parent="calm", latency_ms=Latency(p50=2.0))
    namesake = replace(parent, id="calm+int8/onnx", name="calm+int8", latency_ms=Latency(p50=3.0))
    assert slower_than_parent(quantized, (teacher, parent, quantized, namesake)) == parent
    assert slower_than_parent(namesake, (teacher, parent, quantized, namesake)) is None


def test_missing_file() -> None:
    with pytest.raises(UserError, match="no such file"):
        load_results("nowhere/results.json")


def test_pareto_by_hand() -> None:
    assert pareto(plausible.results().measurements) == (
        "teacher/pytorch",  # dominated by teacher/onnx in latency, but 0.4 MB smaller
        "teacher/onnx",
        "int8/onnx",
        "layers-3+int8/onnx",
        "layers-1/onnx",
        "layers-1+int8/onnx",
        "mini-2x192+int8/onnx",
        "mini-1x128+int8/onnx",
    )


def test_pareto_leaves_out_what_was_not_measured() -> None:
    first, *rest = plausible.results().measurements
    assert first.id not in pareto([replace(first, latency_ms=Latency()), *rest])


def test_choice_is_the_fastest_that_keeps_enough() -> None:
    run = plausible.results()
    choice = choose(run.measurements, run.baseline)
    assert (choice.id, choice.meets, choice.shortfall) == ("layers-1+int8/onnx", True, {})
    assert "keeps 99.4% of the baseline" in choice.why
    assert choose(run.measurements, run.baseline, Limits(min_retention=0.995)).id == "int8/onnx"


def test_choice_is_made_on_dev_not_on_test() -> None:
    run = plausible.results()
    rows = [replace(m, quality=replace(m.quality, value=0.1)) if m.name == "layers-1+int8" else m for m in run.measurements]
    assert choose(rows, run.baseline).id == "layers-1+int8/onnx"


def test_candidates_as_fast_as_each_other_are_told_apart_by_dev_quality() -> None:
    run = plausible.results()
    close = [replace(m, latency_ms=Latency(p50=0.66, p95=1.0)) if m.name == "layers-1+int8" else m for m in run.measurements]
    assert choose(close, run.baseline, Limits(min_retention=0.95)).id == "layers-1+int8/onnx"
    assert choose(run.measurements, run.baseline, Limits(min_retention=0.95)).id == "mini-2x192+int8/onnx"


def test_int8_slower_than_its_float_parent_is_not_chosen_for_speed() -> None:
    run = plausible.results()
    slow = [replace(m, latency_ms=Latency(p50=1.95, p95=3.0)) if m.name == "layers-1+int8" else m for m in run.measurements]
    wanted = [m for m in slow if m.name in ("teacher", "layers-1", "layers-1+int8")]
    assert choose(wanted, run.baseline, Limits(min_retention=0.99)).id == "layers-1/onnx"
    small = choose(wanted, run.baseline, Limits(min_retention=0.99, max_mb=20))
    assert small.id == "layers-1+int8/onnx"
    assert "slower than its float parent layers-1/onnx" in small.why


def test_when_nothing_meets_the_shortfall_is_said() -> None:
    run = plausible.results()
    choice = choose(run.measurements, run.baseline, Limits(min_retention=0.99, max_mb=10, max_latency_ms=5))
    assert choice.meets is False
    assert choice.id == "mini-2x192+int8/onnx"
    retention = choice.shortfall["retention"]
    assert retention.value == pytest.approx(0.9010 / 0.9300)
    assert retention.by == pytest.approx((0.99 - 0.9010 / 0.9300) / 0.99)
    assert "keeps 96.9% of the baseline on dev, 99.0% asked" in choice.why


def test_nothing_measured() -> None:
    assert choose([], None).id is None
    run = plausible.results()
    assert choose(run.measurements[:1], run.baseline).why == "No candidate was measured."


def test_limit_on_something_unmeasured_is_not_met() -> None:
    run = plausible.results()
    rows = [replace(m, latency_ms=Latency()) for m in run.measurements]
    choice = choose(rows, run.baseline, Limits(max_latency_ms=5))
    assert choice.meets is False
    assert "latency_p95_ms was not measured" in choice.why


def test_disagreements_put_the_teacher_is_right_first() -> None:
    found = disagreements(list("abcd"), [0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 1], ["no", "yes"])
    assert [d.index for d in found] == [1, 0, 2]
    assert len(disagreements(list("abcd"), [0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 1], ["no", "yes"], limit=2)) == 2


def test_disagreements_go_by_who_is_right_then_by_their_order() -> None:
    """teacher, student of texts whose label is 0: the teacher right, the student right, both wrong."""
    answers = [(1, 2), (1, 0), (0, 1), (2, 2), (2, 1), (2, 0), (0, 2), (0, 0)]
    teacher, student = zip(*answers, strict=True)
    found = disagreements(list("abcdefgh"), [0] * 8, teacher, student, ["x", "y", "z"])
    assert [d.index for d in found] == [2, 6, 1, 5, 0, 4]
    assert (found[0].text, found[0].gold, found[0].teacher, found[0].student) == ("c", "x", "x", "y")
    assert len(disagreements(["t"] * 30, [0] * 30, [0] * 30, [1] * 30, ["x", "y"])) == 20, "twenty unless another number is given"


def test_the_best_for_single_requests_and_the_best_for_batches_differ() -> None:
    run = plausible.results()
    one, other = (m for m in run.measurements if m.name in ("layers-1+int8", "layers-1"))
    rows = [
        replace(run.measurements[0]),
        replace(one, id="x/onnx", name="x", latency_ms=Latency(p50=1.0, p95=2.0), throughput=Throughput(items_per_s=1000.0)),
        replace(
            other,
            id="x/openvino",
            name="x",
            engine="openvino",
            latency_ms=Latency(p50=3.0, p95=4.0),
            throughput=Throughput(items_per_s=3000.0),
        ),
    ]
    choice = choose(rows, run.baseline)
    assert choice.id == choice.single.id == "x/onnx" and choice.single.p50_ms == 1.0
    assert choice.batch == Use("x/openvino", items_per_s=3000.0)
    assert choice.engines == {"x": Uses(choice.single, choice.batch)}
    assert choose(rows, run.baseline, Limits(min_retention=2.0)).engines == choice.engines, "also where nothing meets the limits"
