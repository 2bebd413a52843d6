"""The parity gate on made answers: what passes, what is refused, and which of two models is the slower one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from imbik.export import parity
from imbik.export.parity import Gate, ParityError, side_by_side, wilson_upper
from imbik.models.facts import manifest_of
from imbik.models.tokenizers import tokenizer_of
from imbik.runtime.tokenizer import RuntimeTokenizer
from imbik.testing.tiny import tiny_bert, tiny_tokenizer

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


class Answers:
    """A model that answers each text by what ``one`` gives for it, and in a batch adds ``shift`` to what stands beside a longer text."""

    def __init__(self, one: Callable[[str], list[float]], shift: float = 0.0, quantized: bool = False, cut: int = 32) -> None:
        self.one, self.shift, self.engine, self.task = one, np.float32(shift), "onnx", "classification"
        graph = {"int8_ops": 0, "float_matmuls": 0}
        scheme = {"scheme": "dynamic"} if quantized else None
        self.manifest = {"task": self.task, "engine": "onnx", "quantisation": scheme, "precision": "f32", "graph": graph}
        self.tokenizer = RuntimeTokenizer(tiny_tokenizer().backend_tokenizer, cut)

    def scores(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        found = np.array([self.one(text) for text in texts], dtype=np.float32)
        found[[len(text) < max(map(len, texts)) for text in texts]] += self.shift * np.float32([1, -1, 0])
        return found

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Any]:
        return self.tokenizer.encodings(list(texts), range(len(texts)))


SOME = ["card", "my card is lost", "money " * 9, "", "please help me now " * 12]


@pytest.fixture(scope="module")
def gate() -> Gate:
    checkpoint = tiny_bert()
    return Gate.of(checkpoint, tokenizer_of(checkpoint), manifest_of(checkpoint) | {"engine": "onnx"}, SOME)


def against(gate: Gate, monkeypatch: pytest.MonkeyPatch, model: Answers, least: float | None = None) -> dict[str, Any]:
    monkeypatch.setattr(parity, "load_artefact", lambda directory: model)
    return gate.check(Path("somewhere"), least)


def rows(gate: Gate) -> dict[str, list[float]]:
    return {text: gate.reference[row].tolist() for row, text in enumerate(gate.texts)}


def test_the_reference_is_what_transformers_computes_alone_and_in_a_padded_batch(gate: Gate) -> None:
    checkpoint = tiny_bert()
    for row, text in enumerate(SOME):
        with torch.no_grad():
            logits = checkpoint.model(**checkpoint.tokenizer(text, truncation=True, return_tensors="pt")).logits.numpy()
        np.testing.assert_allclose(gate.alone[row], logits, atol=1e-5)
        np.testing.assert_allclose(gate.reference[row : row + 1], logits, atol=1e-5)
    assert gate.rows is not None and len(set(gate.rows.lengths.tolist())) == len(SOME), "a batch of unequal lengths"


def test_a_model_whose_answers_depend_on_its_neighbors_is_seen_and_recorded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    known = rows(gate)
    even = against(gate, monkeypatch, Answers(known.__getitem__))["alone"]
    assert even == {"max_abs": 0.0, "max_abs_relative": 0.0, "agreement": 1.0, "texts": 5}
    # in float it is refused: beside the longest text the others are off
    with pytest.raises(ParityError, match="logits differ"):
        against(gate, monkeypatch, Answers(known.__getitem__, shift=0.5))
    found = against(gate, monkeypatch, Answers(known.__getitem__, shift=50.0, quantized=True))["alone"]
    turned = [np.argmax(values) != 0 for text, values in known.items() if len(text) < len(SOME[-1])]
    assert found["max_abs"] == pytest.approx(50.0, rel=1e-5) and found["agreement"] == pytest.approx(1 - sum(turned) / 5)


def test_a_float_model_that_is_right_in_batches_and_wrong_alone_is_refused(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    known, model = rows(gate), Answers(lambda text: [0.0])
    model.scores = lambda texts, pairs=None: np.array([known[t] for t in texts], np.float32) + (len(texts) == 1)  # type: ignore[method-assign]
    with pytest.raises(ParityError, match=r"a text alone differ.*text 0"):
        against(gate, monkeypatch, model)


def test_an_artefact_that_cuts_texts_elsewhere_than_training_is_refused(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParityError, match=r"other tokens than training does.*text 4"):
        against(gate, monkeypatch, Answers(rows(gate).__getitem__, cut=16))


@pytest.mark.parametrize(("share", "count"), [(0.0, 5), (0.4, 5), (0.6, 5), (0.05, 200), (0.735, 200), (0.75, 200), (1.0, 7)])
def test_the_upper_end_of_a_share_is_wilsons(share: float, count: int) -> None:
    successes = round(share * count)
    expected = binomtest(successes, count).proportion_ci(0.95, method="wilson").high
    assert wilson_upper(successes / count, count) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("turned", "count", "refused"), [(2, 5, False), (3, 5, True), (50, 200, False), (60, 200, True), (190, 200, True)])
def test_a_quantized_model_of_which_little_is_left_is_refused(
    turned: int, count: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = np.tile(np.float32([[3.0, 0.0, -1.0]]), (count, 1))
    found = reference.copy()
    found[:turned] = [0.0, 3.0, -1.0]
    made = SimpleNamespace(
        manifest={"task": "classification", "engine": "onnx", "precision": "f32", "graph": {"int8_ops": 7, "float_matmuls": 2}} | INT8,
        scores=lambda texts, pairs: found,
    )
    monkeypatch.setattr(parity, "load_artefact", lambda directory: made)
    gate = Gate(["a"] * count, None, reference)
    if refused:
        with pytest.raises(ParityError, match=rf"{1 - turned / count:.1%} of {count} texts"):
            gate.check(Path("somewhere"), least=0.8)
    assert gate.check(Path("somewhere"), None if refused else 0.8)["agreement"] == pytest.approx(1 - turned / count)


@pytest.mark.parametrize(("constant", "refused"), [(False, False), (True, True)])
def test_values_that_follow_nothing_are_refused(constant: bool, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = np.float32([[0.0], [1.0], [2.0], [3.0]])
    found = np.full_like(reference, 4.0) if constant else reference + 0.3
    made = SimpleNamespace(
        manifest={"task": "regression", "engine": "onnx", "precision": "f32", "graph": {"int8_ops": 7, "float_matmuls": 2}} | INT8,
        scores=lambda texts, pairs: found,
    )
    monkeypatch.setattr(parity, "load_artefact", lambda directory: made)
    gate = Gate(["a"] * 4, None, reference)
    if refused:  # Σ(4 - y)² = 30, Σ(y - 1.5)² = 5
        with pytest.raises(ParityError, match=r"off by 6\.0 times"):
            gate.check(Path("somewhere"), least=0.8)
    else:
        gate.check(Path("somewhere"), least=0.8)
