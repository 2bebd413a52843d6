"""Measurement of tiny models: every field, paired retention, failures, stored predictions, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from imbik.cli import app as cli
from imbik.data.evaluation import load_evaluation
from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.measure import timing
from imbik.measure.measurement import Retention
from imbik.measure.predictions import load_predictions, save_predictions
from imbik.measure.process import Candidate
from imbik.measure.results import Results, load_results, results_document
from imbik.measure.run import Measured, measure
from imbik.models.checkpoint import save_checkpoint
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Splits

INT8 = ({"quantize": {"scheme": "dynamic"}},)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return tiny_splits()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measure")
    teacher = tiny_bert(layers=3)
    save_checkpoint(teacher, folder / "teacher")
    export(replace(teacher, steps=INT8), "onnx", folder / "int8" / "artefacts" / "onnx")
    export(tiny_bert(layers=1, seed=1), "onnx", folder / "other" / "artefacts" / "onnx")
    return folder


@pytest.fixture(scope="module")
def measured(folder: Path, splits: Splits) -> Measured:
    candidates = [
        Candidate("teacher/pytorch", "teacher", "pytorch", folder / "teacher"),
        Candidate("int8/onnx", "int8", "onnx", folder / "int8" / "artefacts" / "onnx", INT8, 1.5),
        Candidate("gone/onnx", "gone", "onnx", folder / "gone"),
        Candidate("other/onnx", "other", "onnx", folder / "other" / "artefacts" / "onnx"),
    ]
    return measure(candidates, splits, baseline="teacher/pytorch", threads=1, rounds=3)


def test_every_field_is_there(measured: Measured, splits: Splits) -> None:
    assert [m.id for m in measured.measurements] == ["teacher/pytorch", "int8/onnx", "other/onnx"]
    for m in measured.measurements:
        assert m.params > 1000 and m.flops_per_item > 1000 and m.bytes > m.model_bytes > 0
        assert m.quality.low <= m.quality.value <= m.quality.high
        assert m.quality.split == "test" and m.quality.n == len(splits.test.texts)
        assert m.dev_quality.split == "dev"
        late = m.latency_ms
        assert 0 < late.p50 <= late.p95 <= late.p99 and late.batch == 1 and late.tokens > 2
        assert late.requests == 3 * timing.REQUESTS and len(m.throughput.rounds) == 3 and m.throughput.items_per_s > 0
        assert m.peak_rss_bytes > 20e6 and 0 < m.cold_start_s < 120 and m.cpu_s_per_1000 > 0 and m.threads == 1
        assert m.calibration and set(m.per_class) == set(splits.labels)
    assert measured.measurements[1].train_seconds == 1.5
    assert measured.environment.threads == 1
    json.dumps(results_document(Results(environment=measured.environment, measurements=measured.measurements)))


def test_what_is_shipped_is_every_file_that_the_artefact_needs(measured: Measured, folder: Path) -> None:
    made = folder / "int8" / "artefacts" / "onnx"
    manifest = json.loads((made / "manifest.json").read_text("utf-8"))
    m = measured.measurements[1]
    assert m.bytes == sum((made / name).stat().st_size for name in (*manifest["files"], "manifest.json"))
    assert m.model_bytes == (made / manifest["model"]).stat().st_size
    # operations of a text of the mean length: a polynomial in the number of tokens
    assert m.flops_per_item == pytest.approx(np.polynomial.Polynomial(manifest["flops"])(m.latency_ms.tokens))
    assert (m.params, m.architecture.layers, m.parity.agreement) == (manifest["params"], 3, manifest["parity"]["agreement"])


def test_figures_of_a_measurement_are_those_of_its_logits(measured: Measured, splits: Splits) -> None:
    from sklearn import metrics as sk

    for m in measured.measurements:
        answers = {split: measured.logits[m.id][split].argmax(1) for split in ("dev", "test")}
        assert m.quality.value == pytest.approx(sk.accuracy_score(splits.test.targets, answers["test"]))
        assert m.dev_quality.value == pytest.approx(sk.accuracy_score(splits.dev.targets, answers["dev"]))
        assert m.agreement == pytest.approx(np.mean(answers["test"] == measured.logits["teacher/pytorch"]["test"].argmax(1)))
        recall = sk.recall_score(splits.test.targets, answers["test"], average=None, zero_division=0)
        assert [m.per_class[label].recall for label in splits.labels] == pytest.approx(recall.tolist())
        assert m.cpu_s_per_1000 > 0 and m.throughput.items_per_s == pytest.approx(np.median(m.throughput.rounds), abs=0.01)


def test_retention_is_against_the_baseline(measured: Measured) -> None:
    teacher, int8, other = measured.measurements
    assert teacher.retention == Retention(1.0, 1.0, 1.0) and teacher.agreement == 1.0
    assert int8.agreement is not None and int8.agreement > 0.9
    assert other.agreement is not None and other.agreement < int8.agreement
    assert int8.retention
    assert int8.retention.value == pytest.approx(int8.quality.value / teacher.quality.value)


def test_one_path_for_all(measured: Measured, folder: Path, splits: Splits) -> None:
    from imbik.runtime.predictor import load_artefact

    expected = load_artefact(folder / "int8" / "artefacts" / "onnx", threads=1, batch_tokens=512).scores(splits.dev.texts)
    np.testing.assert_allclose(measured.logits["int8/onnx"]["dev"], expected, atol=0.05)
    assert measured.logits["teacher/pytorch"]["test"].shape == (len(splits.test.texts), 3)


def test_a_candidate_that_cannot_run_is_recorded(measured: Measured) -> None:
    (failure,) = measured.failures
    assert failure["id"] == "gone/onnx" and "no such artefact folder" in failure["error"]


def test_a_baseline_that_cannot_run_stops(folder: Path, splits: Splits) -> None:
    gone = Candidate("gone/onnx", "gone", "onnx", folder / "gone")
    with pytest.raises(UserError, match="the baseline cannot be run"):
        measure([gone], splits, baseline="gone/onnx", threads=1)
    with pytest.raises(UserError, match="the baseline is not among"):
        measure([gone], splits, baseline="teacher/pytorch")
    with pytest.raises(UserError, match="the same id"):
        measure([gone, gone], splits)


def test_stored_predictions_come_back(measured: Measured, splits: Splits, tmp_path: Path) -> None:
    save_predictions(tmp_path / "p.npz", measured.predictions("teacher/pytorch", splits))
    stored = load_predictions(tmp_path / "p.npz")
    assert stored.labels == splits.labels and stored.fingerprints["test"] == splits.test.fingerprint
    np.testing.assert_array_equal(stored.logits["test"], measured.logits["teacher/pytorch"]["test"])
    for content in (b"", b"PK\x03\x04 nonsense", b"hello"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(UserError, match="not a file of stored predictions"):
            load_predictions(tmp_path / "bad.npz")


def _data(folder: Path, splits: Splits) -> Path:
    """The splits' test and dev as files."""
    folder.mkdir()
    for name in ("test", "dev"):
        part = getattr(splits, name)
        rows = [json.dumps({"text": t, "label": splits.labels[int(k)]}) for t, k in zip(part.texts, part.targets, strict=True)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


def _imbik(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.build_app(), [str(a) for a in arguments])
    if isinstance(done.exception, UserError):
        return 2, str(done.exception)
    assert done.exception is None, done.exception
    return done.exit_code, done.output


def test_the_command_measures_and_keeps_to_the_stored_teacher(measured: Measured, folder: Path, splits: Splits, tmp_path: Path) -> None:
    data = _data(tmp_path / "data", splits)
    rows = load_evaluation(data, labels=splits.labels, task=splits.task)
    save_predictions(tmp_path / "p.npz", measured.predictions("teacher/pytorch", rows))
    artefact = folder / "int8" / "artefacts" / "onnx"
    code, out = _imbik("measure", artefact, "--data", data, "--baseline", tmp_path / "p.npz", "--json", tmp_path / "m.json", "--threads", 1)
    assert code == 0 and "kept of the baseline" in out
    (m,) = json.loads((tmp_path / "m.json").read_text())["measurements"]
    assert m["id"] == "int8/onnx" and m["agreement"] == pytest.approx(measured.measurements[1].agreement, abs=0.03)
    code, out = _imbik("measure", artefact, "--data", data, "--json", "-", "--threads", 1)
    (tmp_path / "printed.json").write_text(out[out.index("{") :], encoding="utf-8")
    printed = load_results(tmp_path / "printed.json")
    assert code == 0 and json.loads((tmp_path / "printed.json").read_text())["schema"] == 2
    assert printed.baseline is None and printed.measurements[0].id == "int8/onnx" and printed.task == "classification"
    (data / "test.jsonl").write_text('{"text": "other", "label": "bad"}\n' * 3)
    code, out = _imbik("measure", artefact, "--data", data, "--baseline", tmp_path / "p.npz")
    assert code == 2 and "other test rows" in out


def test_the_predict_command(folder: Path, tmp_path: Path) -> None:
    artefact = folder / "other" / "artefacts" / "onnx"
    code, out = _imbik("predict", artefact, "my card is lost", "[b]good[/b]", "--json", "--top", 2)
    answers = [json.loads(line) for line in out.strip().splitlines()]
    assert code == 0 and [a["text"] for a in answers] == ["my card is lost", "[b]good[/b]"]
    assert all(len(a["labels"]) == 2 and a["labels"][0]["probability"] >= a["labels"][1]["probability"] for a in answers)
    (tmp_path / "in.txt").write_text("bad\nnew fee\n", encoding="utf-8")
    code, _ = _imbik("predict", artefact, "--file", tmp_path / "in.txt", "--out", tmp_path / "out.csv", "--top", 1)
    assert code == 0 and (tmp_path / "out.csv").read_text().splitlines()[0] == "text,label,probability"
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
    assert _imbik("predict", artefact)[0] == 2
    assert _imbik("predict", artefact, "a", "--pair", "b", "--pair", "c") == (2, "one --pair for each text. Found: 1 texts, 2 pairs.")
    code, out = _imbik("predict", artefact, "my [card]")
    assert code == 0 and "[card]" in out


def test_the_export_command(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("bad card\ngood\n", encoding="utf-8")
    arguments = ("export", folder / "teacher", "--data", tmp_path / "texts.txt", "--int8", "--cpu", "x86", "--json")
    code, out = _imbik(*arguments, "--engine", "auto", "--out", tmp_path / "out")
    made = next(one for one in json.loads(out.strip().splitlines()[-1]) if one["engine"] == "onnx")  # auto: all that are installed
    assert code == 0 and made["parity"]["float_matmuls"] == 0 and made["parity"]["texts"] == 2
    assert _imbik("export", folder / "teacher", "--out", tmp_path / "x", "--cpu", "z80")[0] == 2
