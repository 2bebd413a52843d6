"""The parity gate on made answers: what passes, what is refused, and which of two models is the slower one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imbik.export import parity
from imbik.export.parity import Gate, ParityError, side_by_side

# the first of three labels everywhere, by 4 or more; the largest logit is 10
REFERENCE = np.tile(np.float32([[10.0, 2.0, -1.0], [5.0, 1.0, 0.0]]), (1000, 1))


def checked(monkeypatch: pytest.MonkeyPatch, found: np.ndarray, reference: np.ndarray = REFERENCE, **manifest: Any) -> dict[str, Any]:
    known = {"task": "classification", "engine": "onnx", "quantisation": None, "precision": "fp32"}
    graph = {"int8_ops": 7, "float_matmuls": 2}
    made = SimpleNamespace(manifest=known | {"graph": graph} | manifest, scores=lambda texts, pairs: found)
    monkeypatch.setattr(parity, "load_artefact", lambda directory: made)
    return Gate(["a"] * len(reference), None, reference).check(Path("somewhere"))


def off(difference: float) -> np.ndarray:
    """The reference with one logit that differs; the answer stays."""
    found = REFERENCE.copy()
    found[5, 2] -= difference
    return found


INT8: dict[str, Any] = {"quantisation": {"scheme": "dynamic"}}


@pytest.mark.parametrize(("precision", "passes", "fails"), [("fp32", 0.009, 0.011), ("bf16", 0.49, 0.51)])
def test_a_float_artefact_may_be_off_by_a_thousandth_and_one_in_bf16_by_a_twentieth(monkeypatch, precision, passes, fails):
    found = checked(monkeypatch, off(passes), precision=precision)
    assert found["max_abs"] == pytest.approx(passes, rel=1e-3) and found["max_abs_relative"] == pytest.approx(passes / 10, rel=1e-3)
    with pytest.raises(ParityError, match="logits differ"):
        checked(monkeypatch, off(fails), precision=precision)
    assert checked(monkeypatch, off(fails), precision=precision, **INT8)["agreement"] == 1.0, "rounding is what quantizing is"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(monkeypatch, value):
    with pytest.raises(ParityError):
        checked(monkeypatch, off(value))


@pytest.mark.parametrize(
    ("precision", "turned", "by", "passes"),
    [
        ("fp32", 2, 5e-3, True),  # 99.9 % answer alike
        ("fp32", 3, 5e-3, False),
        ("fp32", 3, 5e-5, True),  # a difference of a two hundred thousandth of the largest logit: ties
        ("bf16", 60, 0.2, True),  # 97 %
        ("bf16", 61, 0.2, False),
        ("fp32", 500, 9.0, None),
    ],
)
def test_answers_must_be_alike_where_logits_differ_at_all(monkeypatch, precision, turned, by, passes):
    reference, found = REFERENCE.copy(), REFERENCE.copy()
    reference[:turned], found[:turned] = [by, 0.0, -1.0], [0.0, by, -1.0]
    if passes:
        assert checked(monkeypatch, found, reference, precision=precision)["agreement"] == pytest.approx(1 - turned / 2000)
    else:
        with pytest.raises(ParityError, match="logits differ"):
            checked(monkeypatch, found, reference, precision=precision)
        assert checked(monkeypatch, found, reference, precision=precision, **INT8)["agreement"] == pytest.approx(1 - turned / 2000)


def test_values_have_no_equal_answers_and_the_record_is_the_graphs(monkeypatch):
    found = checked(monkeypatch, off(0.001)[:, :1], REFERENCE[:, :1], task="regression")
    assert found == {
        "max_abs": 0.0,
        "max_abs_relative": 0.0,
        "agreement": None,
        "texts": 2000,
        "int8_ops": 7,
        "float_matmuls": 2,
        "reverted": [],
    }


class Clock:
    """A clock that stands still but for the texts that made models answer."""

    def __init__(self) -> None:
        self.now, self.asked = 0.0, list[tuple[str, int]]()

    def perf_counter(self) -> float:
        return self.now

    def model(self, name: str, first: float, more: float) -> Any:
        """A model that takes ``first`` seconds, and ``more`` for each text."""

        def scores(texts: list[str], pairs: list[str] | None) -> None:
            assert pairs is None or len(pairs) == len(texts)
            self.asked.append((name, len(texts)))
            self.now += first + more * len(texts)

        return SimpleNamespace(scores=scores)


@pytest.mark.parametrize("pairs", [None, ["b"] * 50])
def test_two_models_are_timed_in_turn(monkeypatch, pairs):
    """Single requests: 1 + 2 ms and 2 + 2 ms; all 50 texts: 101 ms and 102 ms."""
    clock = Clock()
    monkeypatch.setattr(parity, "time", clock)
    found = side_by_side(clock.model("float", 0.001, 0.002), clock.model("int8", 0.002, 0.002), ["a"] * 50, pairs)
    assert found == {
        "float_p50_ms": pytest.approx(3.0),
        "p50_ms": pytest.approx(4.0),
        "float_items_per_s": pytest.approx(50 / 0.101),
        "items_per_s": pytest.approx(50 / 0.102),
        "slower": True,
    }
    # both warmed up; then three rounds, in each 32 requests and one batch of either, who is first changes
    turns = [name for name, _ in clock.asked]
    assert turns[:2] == ["float", "int8"] and [turns[2 + 33 * i] for i in range(6)] == ["int8", "float", "float", "int8", "int8", "float"]
    assert [size for _, size in clock.asked] == [50, 50] + ([1] * 32 + [50]) * 6


def test_a_quantized_model_as_fast_as_its_parent_is_not_slower_and_few_texts_are_asked_once_each(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(parity, "time", clock)
    found = side_by_side(clock.model("float", 0.001, 0.002), clock.model("int8", 0.001, 0.002), ["a"] * 4, None)
    assert found["slower"] is False and [size for _, size in clock.asked] == [4, 4] + ([1] * 4 + [4]) * 6


@pytest.mark.parametrize(("seconds", "rounds"), [(1.0, 1), (3.9 / 66, 2), (4.1 / 66, 1), (1.9 / 66, 3)])
def test_slow_models_are_timed_for_some_seconds_only(monkeypatch, seconds, rounds):
    """A round is 32 requests and a batch of two models; none begins after four seconds."""
    clock = Clock()
    monkeypatch.setattr(parity, "time", clock)
    side_by_side(clock.model("float", seconds, 0.0), clock.model("int8", seconds, 0.0), ["a"] * 50, None)
    # the clock of the rounds starts behind the warm-up
    assert len(clock.asked) == 2 + 66 * rounds
