"""Quantization under a limit on quality: which operators go back to float, when it stops, what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imbik.cli.app import main
from imbik.export.accuracy import AccuracyFloor, restore_accuracy
from imbik.export.artefact import export, quantized
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import save_checkpoint
from imbik.quantization.ranges import FIELD
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.training.encoding import encode
from imbik.training.prediction import model_inputs, to_batch
from imbik.types import Examples

SPLITS = tiny_splits(rows=400)


class Noisy:
    """An engine whose quantized models lose what their operators in int8 lose: made to know which ones hurt."""

    def __init__(self, harm: dict[str, float], targets: np.ndarray) -> None:
        self.harm, self.targets, self.tried = harm, targets, list[frozenset[str]]()

    def model(self, reverted: frozenset[str] | None) -> Any:
        self.tried += [] if reverted is None else [reverted]
        wrong = 0.0 if reverted is None else sum(value for name, value in self.harm.items() if name not in reverted)
        logits = np.eye(2, dtype=np.float32)[self.targets] * 4
        flipped = round(wrong * len(logits))
        logits[:flipped] = logits[:flipped, ::-1]

        class Model:
            task = "classification"

            def scores(self, texts: list[str], pairs: object = None) -> np.ndarray:
                return logits[: len(texts)]

        return Model()


def held(harm: dict[str, float], min_retention: float, **settings: Any) -> tuple[Any, Noisy]:
    targets = np.arange(100) % 2
    engine = Noisy(harm, targets)
    limit = AccuracyFloor(Examples([str(i) for i in range(100)], None, targets, ""), "accuracy", min_retention, **settings)
    return restore_accuracy(limit, engine.model(None), engine.model, list(harm), Silent()), engine


def test_operators_are_reverted_by_damage_until_the_limit_holds() -> None:
    found, engine = held({"a": 0.02, "b": 0.2, "c": 0.0, "d": 0.1}, 0.95)
    assert found.reverted == ("b", "d") and found.record["shortfall"] == 0
    assert found.record["before"] == pytest.approx(0.68) and found.record["value"] == pytest.approx(0.98)
    damage = found.record["damage"]
    assert sorted(damage, key=lambda name: -damage[name]) == ["b", "d", "a", "c"] and damage["c"] == 0
    assert frozenset({"b", "d", "a"}) not in engine.tried, "it stops inside the limit"


def test_inside_the_limit_nothing_is_tried() -> None:
    found, engine = held({"a": 0.02}, 0.97)
    assert found.reverted == () and engine.tried == [frozenset()] and found.record["damage"] == {}


def test_the_best_so_far_comes_back_with_its_shortfall() -> None:
    found, _ = held({"a": 0.2, "b": 0.3}, 0.99, seconds=0.0)
    assert found.reverted == ("a",) and found.record["shortfall"] == pytest.approx(0.99 - 0.7)


def test_the_teacher_is_the_reference_where_the_float_model_reaches_it() -> None:
    assert held({"a": 0.02}, 0.97, teacher=1.02)[0].record["reference"] == 1.02
    assert held({"a": 0.02}, 0.97, teacher=1.2)[0].record["reference"] == 1.0


def test_a_real_model_gives_back_the_operator_that_was_spoiled(tmp_path: Path) -> None:
    teacher = tiny_bert(layers=2, hidden=64)
    data = encode(SPLITS.dev, teacher.tokenizer)
    with torch.no_grad():
        answers = teacher.model(**model_inputs(to_batch(data, np.arange(len(data))))).logits.argmax(1).numpy()
    made = quantized(teacher, {"scheme": "static"}, SPLITS.train, Silent())
    spoiled = "bert.encoder.layer.1.output.dense"
    getattr(made.model.config, FIELD)[spoiled]["input"] = [-0.001, 0.001]
    limit = AccuracyFloor(replace(SPLITS.dev, targets=answers), "accuracy", 0.97)
    artefact = export(made, "onnx", tmp_path / "a", texts=SPLITS.dev, limit=limit)
    assert artefact.parity["limit"]["before"] < 0.97 <= artefact.parity["limit"]["kept"]
    assert artefact.parity["reverted"][0] == spoiled and artefact.parity["float_matmuls"] == len(artefact.parity["reverted"])
    assert artefact.parity["float_parent"]["p50_ms"] > 0


def _main(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_the_command_line_quantizes_for_another_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(tiny_bert(layers=1), tmp_path / "model")
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "\n".join(SPLITS.train.texts), encoding="utf-8")
    out = tmp_path / "out"
    assert _main("export", tmp_path / "model", "--out", out, "--quantize", "static", "--data", texts, "--cpu", "x86") == 0
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["cpu"] == {"name": "x86", "weight_bits": 7} and manifest["quantisation"]["weight_bits"] == 7
    capsys.readouterr()
    assert _main("export", tmp_path / "model", "--out", tmp_path / "no", "--cpu", "abacus") == 2
    assert "unknown processor" in capsys.readouterr().err
    assert _main("export", tmp_path / "model", "--out", tmp_path / "no", "--quantize", "static") == 2
    assert "--data" in capsys.readouterr().err
