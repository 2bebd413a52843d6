"""One run over made workers: cold starts in turn, who is dropped, and every figure of a measurement by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.measure import run, timing
from imbik.measure.measurement import Quality, Retention
from imbik.measure.predictions import Predictions
from imbik.measure.process import Candidate, CandidateError
from imbik.measure.run import measure, notes_of
from imbik.testing.tiny import tiny_splits

SPLITS = tiny_splits(rows=80)
RNG = np.random.default_rng(0)
SIZES = {"dev": len(SPLITS.dev.texts), "test": len(SPLITS.test.texts)}


def outputs(skill: float) -> dict[str, np.ndarray]:
    return {
        name: (np.eye(3)[np.asarray(getattr(SPLITS, name).targets)] * skill + RNG.normal(size=(size, 3))).astype(np.float32)
        for name, size in SIZES.items()
    }


LOGITS = {"teacher/onnx": outputs(3.0), "small/onnx": outputs(1.0)}
MANIFEST: dict[str, Any] = {
    "engine": "onnx",
    "model": "model.onnx",
    "files": {"model.onnx": {"bytes": 1000}, "tokenizer.json": {"bytes": 200}},
    "params": 50,
    "flops": [1.0, 20.0, 3.0],
    "architecture": {"layers": 2, "hidden": 8},
    "parity": {"max_abs": 0.5, "reverted": [], "int8_ops": 3},
    "graph": {"fused": True, "unfused_because": [], "int8_ops": 0, "float_matmuls": 0},
    "quantisation": None,
    "notes": [],
    "cpu": None,
    "precision": "fp32",
}


class Made:
    """A worker that answers at once; the figures of its clock are what the tests say."""

    def __init__(self, candidate: Candidate, house: House, number: int) -> None:
        self.candidate, self.house, self.number = candidate, house, number

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        self.house.asked.append((self.candidate.id, do))
        if (self.candidate.id, do) in self.house.dies:
            raise CandidateError(self.candidate.id, "its process ended")
        if do == "scores":
            np.save(fields["out"], LOGITS[self.candidate.id][Path(fields["out"]).stem])
        if do == "latency":
            return {"ms": [1.0] * (fields["count"] - 1) + [9.0], "tokens": [4] * fields["count"]}
        if do == "throughput":
            return {"items": fields["count"], "wall": 0.01 * fields["count"], "cpu": 0.002 * fields["count"], "batch": 5.0}
        # counting the operations of a plain checkpoint takes memory too, which is not the model's
        return {"memory": {"peak_rss_bytes": 3000}, "facts": {"peak_rss_bytes": 9000, "manifest": MANIFEST, "length_multiple": 8}}.get(
            do, {}
        )

    def close(self) -> None:
        self.house.closed.append((self.candidate.id, self.number))

    def __enter__(self) -> Made:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class House:
    """All workers of a run: how long each start takes, who cannot start, who dies at what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.closed: list[tuple[str, int]] = []
        self.started: list[str] = []
        self.seconds: dict[str, list[float]] = {}
        self.broken: set[str] = set()
        self.dies: set[tuple[str, str]] = set()
        self.texts: set[tuple[str, str | None]] = set()

    def start(self, candidate: Candidate, threads: int, text: str, pair: str | None) -> tuple[Made, float]:
        number = self.started.count(candidate.id)
        self.started.append(candidate.id)
        self.texts.add((text, pair))
        if candidate.id in self.broken:
            raise CandidateError(candidate.id, "cannot start")
        return Made(candidate, self, number), self.seconds.get(candidate.id, [1.0] * 9)[number]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    made = House()
    monkeypatch.setattr(run, "start", made.start)
    monkeypatch.setattr(run, "COLD_STARTS", 3)
    return made


def candidates(folder: Path) -> list[Candidate]:
    return [Candidate(name, name.split("/")[0], "onnx", folder) for name in LOGITS]


def test_figures_by_hand(house: House, tmp_path: Path):
    (tmp_path / "manifest.json").write_text("x" * 34)
    small = replace(candidates(tmp_path)[1], train_seconds=7.0, parent="big", steps=({"distill": {}},))
    measured = measure([candidates(tmp_path)[0], small], SPLITS, baseline="teacher/onnx", threads=3, rounds=3)
    teacher, m = measured.measurements
    assert (m.id, m.name, m.engine, m.parent, m.steps, m.train_seconds, m.threads) == (
        "small/onnx", "small", "onnx", "big", ({"distill": {}},), 7.0, 3)  # fmt: skip
    assert (m.bytes, m.model_bytes, m.params) == (1234, 1000, 50)
    assert m.flops_per_item == 1 + 20 * 4 + 3 * 4**2  # operations of four tokens
    assert (m.architecture.layers, m.parity.max_abs, m.peak_rss_bytes) == (2, 0.5, 3000)
    assert m.cpu_s_per_1000 == pytest.approx(2.0) and m.throughput.items_per_s == pytest.approx(100.0)
    assert (m.latency_ms.p50, m.latency_ms.requests, m.latency_ms.length_multiple) == (1.0, 3 * timing.REQUESTS, 8)
    answers = {name: {split: logits.argmax(1) for split, logits in of.items()} for name, of in LOGITS.items()}
    own, base = answers["small/onnx"], answers["teacher/onnx"]
    truth = np.asarray(SPLITS.test.targets)
    assert m.quality.value == pytest.approx(sk.accuracy_score(truth, own["test"])) and m.quality.split == "test"
    assert m.dev_quality.value == pytest.approx(sk.accuracy_score(SPLITS.dev.targets, own["dev"])) and m.dev_quality.split == "dev"
    assert m.retention.value == pytest.approx(sk.accuracy_score(truth, own["test"]) / sk.accuracy_score(truth, base["test"]))
    assert m.agreement == pytest.approx(np.mean(own["test"] == base["test"])) and teacher.agreement == 1.0
    recall = sk.recall_score(truth, own["test"], average=None)
    assert [m.per_class[label].recall for label in SPLITS.labels] == pytest.approx(recall.tolist())
    p = np.exp(LOGITS["small/onnx"]["test"]) / np.exp(LOGITS["small/onnx"]["test"]).sum(1, keepdims=True)
    where = np.minimum(np.ceil(p.max(1) * 15), 15)
    gaps = [abs((own["test"] == truth)[where == b].sum() - p.max(1)[where == b].sum()) for b in range(16)]
    assert m.calibration.ece == pytest.approx(sum(gaps) / len(truth), rel=1e-5)
    assert measured.environment.threads == 3 and measured.baseline == "teacher/onnx"
    np.testing.assert_array_equal(measured.logits["small/onnx"]["dev"], LOGITS["small/onnx"]["dev"])


def test_a_plain_folder_without_a_manifest_ships_its_files(house: House, tmp_path: Path):
    assert measure(candidates(tmp_path)[:1], SPLITS, rounds=1).measurements[0].bytes == 1200


def test_cold_start_is_the_median_of_three_fresh_processes_in_turn(house: House, tmp_path: Path):
    house.seconds = {"teacher/onnx": [9.0, 2.0, 3.0], "small/onnx": [1.0, 1.5, 8.0]}
    measured = measure(candidates(tmp_path), SPLITS, rounds=1)
    assert [m.cold_start_s for m in measured.measurements] == [3.0, 1.5]
    assert house.started == ["teacher/onnx", "small/onnx"] * 3
    # the first two of each are ended at once, the last ones when all is done
    assert house.closed[:4] == [("teacher/onnx", 0), ("small/onnx", 0), ("teacher/onnx", 1), ("small/onnx", 1)]
    assert sorted(house.closed[4:]) == [("small/onnx", 2), ("teacher/onnx", 2)]
    assert house.texts == {(SPLITS.test.texts[0], None)}, "one text for all"


def test_a_cold_start_answers_the_first_row(house: House, tmp_path: Path):
    pairs = replace(SPLITS, test=replace(SPLITS.test, pairs=[f"pair {i}" for i in range(SIZES["test"])]))
    measure(candidates(tmp_path)[:1], pairs, rounds=1)
    assert house.texts == {(SPLITS.test.texts[0], "pair 0")}


def test_who_cannot_start_is_told_once_and_the_others_are_measured(house: House, tmp_path: Path):
    house.broken = {"small/onnx"}
    measured = measure(candidates(tmp_path), SPLITS, rounds=1)
    assert [m.id for m in measured.measurements] == ["teacher/onnx"] and house.started.count("small/onnx") == 1
    (failure,) = measured.failures
    assert (failure["id"], failure["name"]) == ("small/onnx", "small") and "cannot start" in failure["error"]


@pytest.mark.parametrize("at", ["latency", "throughput", "scores", "facts"])
def test_who_dies_on_the_way_is_dropped_and_the_others_are_timed_again(house: House, tmp_path: Path, at: str):
    house.dies = {("small/onnx", at)}
    measured = measure(candidates(tmp_path), SPLITS, rounds=2)
    assert [m.id for m in measured.measurements] == ["teacher/onnx"] and [f["id"] for f in measured.failures] == ["small/onnx"]
    last = max(i for i, (name, _) in enumerate(house.asked) if name == "small/onnx")
    again = [do for name, do in house.asked[last:] if name == "teacher/onnx"]
    assert again.count("latency") == 3 and again.count("scores") == 2, "a warm-up and both rounds, without it"
    assert len(measured.measurements[0].throughput.rounds) == 2


def test_stored_predictions_stand_in_for_a_baseline_that_is_not_measured(house: House, tmp_path: Path):
    stored = Predictions("t", SPLITS.labels, "classification", {}, LOGITS["teacher/onnx"])
    (m,) = measure(candidates(tmp_path)[1:], SPLITS, predictions=stored, rounds=1).measurements
    truth = np.asarray(SPLITS.test.targets)
    own, base = (LOGITS[name]["test"].argmax(1) for name in ("small/onnx", "teacher/onnx"))
    assert m.agreement == pytest.approx(np.mean(own == base)) and m.retention.value == pytest.approx(
        np.mean(own == truth) / np.mean(base == truth)
    )
    (alone,) = measure(candidates(tmp_path)[1:], SPLITS, rounds=1).measurements
    assert alone.agreement is None and alone.retention == Retention()


def test_without_a_dev_split_there_is_no_dev_quality(house: House, tmp_path: Path):
    (m,) = measure(candidates(tmp_path)[:1], replace(SPLITS, dev=None), rounds=1).measurements
    assert m.dev_quality == Quality() and m.quality.n == SIZES["test"]


@pytest.mark.parametrize(("minutes", "rounds"), [(0.0, 3), (60.0, 5), (None, 5)])
def test_three_rounds_are_measured_however_short_the_time(house: House, tmp_path: Path, minutes: float | None, rounds: int):
    (m,) = measure(candidates(tmp_path)[:1], SPLITS, minutes=minutes).measurements
    assert len(m.throughput.rounds) == rounds


class Bar:
    """Counts what a progress bar is told."""

    total = steps = 0

    @contextmanager
    def track(self, what: str, total: int, done: int = 0) -> Iterator[Bar]:
        self.total = total
        yield self

    def advance(self, n: int = 1, note: str = "") -> None:
        self.steps += n


def test_a_bar_is_full_when_all_is_measured(house: House, tmp_path: Path):
    bar = Bar()
    measure(candidates(tmp_path), SPLITS, rounds=4, progress=bar)
    assert bar.steps == bar.total == 2 * (3 + 1 + 4 + 2), "cold starts, a warm-up, rounds, two splits"


def test_ids_must_differ_and_the_baseline_be_among_them(tmp_path: Path):
    one, other = candidates(tmp_path)
    with pytest.raises(UserError, match=r"the same id. Found: small/onnx\."):
        measure([one, other, other], SPLITS)
    with pytest.raises(UserError, match="baseline is not among"):
        measure([one, other], SPLITS, baseline="gone")


def test_without_labels_there_is_nothing_to_measure_against(house: House, tmp_path: Path):
    with pytest.raises(UserError, match="no labels to measure against"):
        measure(candidates(tmp_path), replace(SPLITS, test=replace(SPLITS.test, targets=None)), rounds=1)


def test_notes_of_a_manifest():
    assert notes_of(MANIFEST) == ()
    beside = {"float_p50_ms": 2.0, "p50_ms": 3.0, "slower": True}
    limit = {"shortfall": 0.1, "kept": 0.8, "min_retention": 0.9}
    parity = {"float_parent": beside, "reverted": ["a", "b"], "limit": limit, "float_matmuls": 4}
    told = notes_of(
        MANIFEST | {"parity": parity, "quantisation": {"scheme": "x"}, "graph": {"fused": False, "unfused_because": ["u", "v"]}}
    )
    assert [(note.kind, dict(note.values)) for note in told] == [
        ("slower", {"own": 3.0, "parent": 2.0}),
        ("reverted", {"names": ("a", "b")}),
        ("below", {"kept": 0.8, "asked": 0.9}),
        ("float_left", {"count": 4}),
        ("unfused", {"reasons": "u; v"}),
    ]
    assert all(sentence(note) for note in told)
    kept = {"float_parent": beside | {"slower": False}, "limit": limit | {"shortfall": 0.0}, "float_matmuls": 4}
    assert notes_of(MANIFEST | {"parity": kept}) == (), "a float model's products are in float"
    assert notes_of(MANIFEST | {"parity": {"float_matmuls": 0}, "quantisation": {"scheme": "x"}}) == ()
