"""Quantization under a limit on quality: which operators go back to float, when it stops, what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from imbik.cli.app import main
from imbik.compress.candidate_folder import keeps_limit
from imbik.export import accuracy
from imbik.export.accuracy import AccuracyFloor, Trial, restore_accuracy
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

    def __init__(self, harm: dict[str, float], targets: np.ndarray, growth: dict[str, int] | None = None) -> None:
        self.harm, self.targets, self.tried = harm, targets, list[frozenset[str]]()
        self.growth = growth or {}

    def trial(self, reverted: frozenset[str]) -> Trial:
        return Trial(self.model(reverted), 1000 + sum(self.growth.get(name, 0) for name in reverted))

    def model(self, reverted: frozenset[str] | None) -> Any:
        self.tried += [] if reverted is None else [reverted]
        wrong = 0.0 if reverted is None else sum(value for name, value in self.harm.items() if name not in reverted)
        logits = np.eye(2, dtype=np.float32)[self.targets] * 4
        flipped = round(wrong * len(logits))
        logits[:flipped] = logits[:flipped, ::-1]

        class Model:
            task, labels = "classification", ("0", "1")

            def scores(self, texts: list[str], pairs: object = None) -> np.ndarray:
                return logits[: len(texts)]

        return Model()


def held(harm: dict[str, float], min_retention: float, growth: dict[str, int] | None = None, **settings: Any) -> tuple[Any, Noisy]:
    targets = np.arange(100) % 2
    engine = Noisy(harm, targets, growth)
    limit = AccuracyFloor(Examples([str(i) for i in range(100)], None, targets, ""), "accuracy", min_retention, **settings)
    return restore_accuracy(limit, engine.model(None), engine.trial, list(harm), Silent()), engine


def test_operators_are_reverted_by_damage_until_the_limit_holds() -> None:
    found, engine = held({"a": 0.02, "b": 0.2, "c": 0.0, "d": 0.1}, 0.95)
    assert found.reverted == ("b", "d") and found.record["shortfall"] == 0
    assert found.record["before"] == pytest.approx(0.68) and found.record["value"] == pytest.approx(0.98)
    damage = found.record["damage"]
    assert sorted(damage, key=lambda name: -damage[name]) == ["b", "d", "a", "c"] and damage["c"] == 0
    assert frozenset({"b", "d", "a"}) not in engine.tried, "it stops inside the limit"


def test_what_mends_most_per_byte_goes_first() -> None:
    """The table restores most and weighs six times as much as the others that restore as much together."""
    harm, growth = {"table": 0.12, "a": 0.06, "b": 0.06, "c": 0.0}, {"table": 600, "a": 50, "b": 50, "c": 10}
    found, engine = held(harm, 0.88, growth)
    assert found.reverted == ("a", "b") and found.record["bytes"] == 1100 and found.record["bytes_before"] == 1000
    assert not [one for one in engine.tried if {"table", "a"} <= one], "it was not needed"


def test_a_dear_operator_is_left_where_the_rows_do_not_show_what_it_mends() -> None:
    """One wrong row of a hundred: the paired interval of 99 % reaches 100 %."""
    found, _ = held({"table": 0.01}, 0.995, {"table": 600})
    assert found.reverted == () and found.record["left"] == {"table": 600}
    assert found.record["shortfall"] == pytest.approx(0.005) and found.record["bytes"] == 1000
    cheap, _ = held({"table": 0.01}, 0.995, {"table": 100})  # a tenth is not more than a tenth
    assert cheap.reverted == ("table",) and cheap.record["left"] == {} and cheap.record["shortfall"] == 0


def test_a_dear_operator_is_reverted_where_the_rows_show_what_it_mends() -> None:
    """20 wrong rows of a hundred: the interval ends far below 99 %."""
    found, _ = held({"table": 0.2}, 0.99, {"table": 600})
    assert found.reverted == ("table",) and found.record["left"] == {} and found.record["bytes"] == 1600


def test_a_dear_operator_is_taken_back_where_a_later_one_is_enough() -> None:
    """The table restores the logits and no label; what restores the labels comes behind it."""
    targets = np.arange(100) % 2

    def build(reverted: frozenset[str]) -> Trial:
        logits = np.eye(2, dtype=np.float32)[targets] * 4
        if "small" not in reverted:
            logits[:20] = logits[:20, ::-1]
        logits += 0 if "table" in reverted else 40
        model = SimpleNamespace(task="classification", labels=("0", "1"), scores=lambda texts, pairs=None: logits[: len(texts)])
        return Trial(model, 1000 + 300 * ("table" in reverted))

    limit = AccuracyFloor(Examples([str(i) for i in range(100)], None, targets, ""), "accuracy", 0.99)
    found = restore_accuracy(limit, build(frozenset({"small", "table"})).model, build, ["small", "table"], Silent())
    assert found.record["damage"]["table"] > 30 * found.record["damage"]["small"]
    assert found.reverted == ("small",) and found.record["bytes"] == 1000 and found.record["shortfall"] == 0


def test_inside_the_limit_nothing_is_tried() -> None:
    found, engine = held({"a": 0.02}, 0.97)
    assert found.reverted == () and engine.tried == [frozenset()] and found.record["damage"] == {}


@pytest.mark.parametrize("teacher", [None, 0.0, -0.1])
def test_where_nothing_is_to_be_kept_nothing_is_reverted_and_no_share_is_recorded(teacher: float | None) -> None:
    targets = np.arange(100) % 2
    engine = Noisy({"a": 0.5}, targets)
    floor = AccuracyFloor(Examples([str(i) for i in range(100)], None, 1 - targets, ""), "accuracy", 0.97, teacher)
    found = restore_accuracy(floor, engine.model(None), engine.trial, ["a"], Silent())
    assert found.reverted == () and found.record["reference"] == 0.0 and found.record["value"] == 0.5
    assert [found.record[name] for name in ("kept", "before", "shortfall")] == [None] * 3
    assert json.loads(json.dumps(found.record, allow_nan=False)) == found.record
    assert keeps_limit(found.record, 0.5) and engine.tried == [frozenset()]


def test_the_best_so_far_comes_back_with_its_shortfall() -> None:
    found, _ = held({"a": 0.2, "b": 0.3}, 0.99, seconds=0.0)
    assert found.reverted == ("a",) and found.record["shortfall"] == pytest.approx(0.99 - 0.7)


def test_the_teacher_is_the_reference_where_the_float_model_reaches_it() -> None:
    assert held({"a": 0.02}, 0.97, teacher=1.02)[0].record["reference"] == 1.02
    assert held({"a": 0.02}, 0.97, teacher=1.2)[0].record["reference"] == 1.0


def test_a_float_model_that_just_reaches_the_share_of_the_teacher_has_it_as_its_reference() -> None:
    found, _ = held({"a": 0.02}, 0.5, teacher=2.0)  # 1.0 is half of it
    assert found.record["reference"] == 2.0 and found.record["before"] == pytest.approx(0.49)
    assert found.record["float"] == 1.0 and held({"a": 0.02}, 0.5)[0].record["reference"] == 1.0


def test_a_limit_that_is_reached_is_kept() -> None:
    assert held({"a": 0.25}, 0.75)[1].tried == [frozenset()]
    found, _ = held({"a": 0.25, "b": 0.25}, 0.75)
    assert found.reverted == ("a",) and found.record["shortfall"] == 0 and found.record["before"] == 0.5


def test_damage_is_the_share_of_the_squared_error_that_goes_when_one_operator_is_in_float() -> None:
    """Each wrong row of the made engine has the same error: shares are those of the rows."""
    damage = held({"a": 0.02, "b": 0.2, "c": 0.0, "d": 0.1}, 0.95)[0].record["damage"]
    assert damage == {name: pytest.approx(harm / 0.32) for name, harm in {"a": 0.02, "b": 0.2, "c": 0.0, "d": 0.1}.items()}


def of_quality(quality: Callable[[frozenset[str]], float], asked: list[list[str]] | None = None) -> Callable[[frozenset[str]], Any]:
    """Regressors whose error is a function of the operators in float; what they are asked goes to ``asked``."""

    def build(reverted: frozenset[str]) -> Any:
        def scores(texts: list[str], pairs: list[str] | None = None) -> np.ndarray:
            if asked is not None:
                asked.append([text + (pairs[i] if pairs else "") for i, text in enumerate(texts)])
            return np.float32([[float(text) + quality(reverted)] for text in texts])

        return SimpleNamespace(task="regression", labels=("score",), scores=scores)

    return build


def tried_by(build: Callable[[frozenset[str]], Any]) -> Callable[[frozenset[str]], Trial]:
    return lambda reverted: Trial(build(reverted), 1000)


def rows(count: int, pairs: bool = False) -> Examples:
    return Examples([str(i) for i in range(count)], ["!"] * count if pairs else None, np.arange(count, dtype=np.float32), "")


def test_of_the_models_tried_the_best_comes_back_and_not_the_last() -> None:
    """Reverting more may cost again; of an error, kept is the reference over it."""
    error = {frozenset(): 4.0, frozenset("a"): 1.0, frozenset("b"): 2.0, frozenset("ab"): 2.0}
    build = of_quality(lambda reverted: error[reverted])
    floats = of_quality(lambda _: 0.5)(frozenset())
    found = restore_accuracy(AccuracyFloor(rows(20), "rmse", 0.9), floats, tried_by(build), ["a", "b"], Silent())
    assert found.reverted == ("a",)
    assert found.record["kept"] == pytest.approx(0.5) and found.record["value"] == pytest.approx(1.0)
    assert found.record["before"] == pytest.approx(0.125) and found.record["shortfall"] == pytest.approx(0.4)
    assert found.record["reference"] == pytest.approx(0.5)


def test_the_error_of_a_model_is_told_where_the_float_model_makes_none() -> None:
    found = restore_accuracy(
        AccuracyFloor(rows(20), "rmse", 0.9), of_quality(lambda _: 0.0)(frozenset()), tried_by(of_quality(lambda _: 2.0)), ["a"], Silent()
    )
    assert (found.record["kept"], found.record["value"], found.record["reference"]) == (0.0, pytest.approx(2.0), 0.0)


def test_half_of_the_time_is_for_ranking_and_no_operator_is_tried_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(accuracy, "time", SimpleNamespace(monotonic=lambda: clock.now))
    tried: list[frozenset[str]] = []

    def build(reverted: frozenset[str]) -> Any:
        tried.append(reverted)
        clock.now += 1.0
        return of_quality(lambda reverted: 9.0 - 0.1 * len(reverted))(reverted)

    floor = AccuracyFloor(rows(20), "rmse", 0.9, seconds=10.0)
    found = restore_accuracy(floor, of_quality(lambda _: 0.5)(frozenset()), tried_by(build), list("fedcbagh"), Silent())
    # at 1 s the first one is tried alone, at 5 s the fifth; at 6 s half of the ten seconds are over
    assert list(found.record["damage"]) == ["f", "e", "d", "c", "b"]
    # from 6 s to 10 s five are put back, the ranked ones first
    assert [len(one) for one in tried] == [0, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5] and found.reverted == tuple("fedcb")


@pytest.mark.parametrize("pairs", [False, True])
def test_so_many_rows_of_dev_decide_and_a_part_of_them_ranks(monkeypatch: pytest.MonkeyPatch, pairs: bool) -> None:
    monkeypatch.setattr(accuracy, "_RANKED_ROWS", 10)
    asked: list[list[str]] = []
    build = of_quality(lambda reverted: 2.0 - len(reverted), asked)
    floor = AccuracyFloor(rows(100, pairs), "rmse", 0.9, rows=40)
    found = restore_accuracy(floor, of_quality(lambda _: 0.5)(frozenset()), tried_by(build), ["a"], Silent())
    assert found.record["rows"] == 40 and [len(one) for one in asked] == [40, 10, 10, 40]
    numbers = [int(text.removesuffix("!")) for text in asked[0]]
    assert numbers == sorted(set(numbers)) and max(numbers) > 60, "a sample of all, in the order of dev"
    assert asked[1] == asked[0][:10] and all(text.endswith("!") is pairs for text in asked[0])


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
