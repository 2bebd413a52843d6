"""Tags against conlleval's rules: by hand, and against seqeval where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.tasks.outputs import ragged
from imbik.tasks.spans.entity_metrics import ENTITY_F1, ENTITY_MACRO_F1, ENTITY_PRECISION, ENTITY_RECALL, per_type
from imbik.tasks.spans.tags import Labelling, bio, entities_of, repairs, tag_of, types_of


def spans(text: str) -> list[tuple[int, int, str]]:
    return entities_of([tag_of(tag) for tag in text.split()])


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-a I-a O B-b", [(0, 2, "a"), (3, 4, "b")]),
        ("B-a B-a", [(0, 1, "a"), (1, 2, "a")]),
        ("I-a I-a O I-b", [(0, 2, "a"), (3, 4, "b")]),  # an entity that begins with I
        ("B-a I-b I-a", [(0, 1, "a"), (1, 2, "b"), (2, 3, "a")]),
        ("B-a I-a E-a S-b O", [(0, 3, "a"), (3, 4, "b")]),
        ("B-a L-a U-b", [(0, 2, "a"), (2, 3, "b")]),  # BILOU
        ("E-a E-a", [(0, 1, "a"), (1, 2, "a")]),
        ("S-a I-a", [(0, 1, "a"), (1, 2, "a")]),
        ("B-a E-a I-a", [(0, 2, "a"), (2, 3, "a")]),
        ("O O", []),
        ("", []),
        ("B I O B", [(0, 2, "entity"), (3, 4, "entity")]),
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
    ],
)
def test_entities_by_hand(tags: str, found: list) -> None:
    assert spans(tags) == found


@pytest.mark.parametrize("text", ["X-a", "city", "b-a", "B-", "-a", ""])
def test_what_is_no_tag(text: str) -> None:
    assert tag_of(text) is None


@pytest.mark.parametrize(
    ("tags", "closes", "count"),
    [("B-a I-a O", False, 0), ("I-a B-a I-b", False, 2), ("B-a E-a S-b", True, 0), ("B-a I-a O", True, 1), ("S-a B-b", True, 1)],
)
def test_repairs_are_counted(tags: str, closes: bool, count: int) -> None:
    assert repairs([tag_of(tag) for tag in tags.split()], closes=closes) == count


def test_labels_of_foreign_models_are_understood() -> None:
    turkish = ["B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O"]
    labelling = Labelling(turkish)
    assert labelling.types == types_of(turkish) == ("LOC", "ORG", "PER") and labelling.outside == 6
    assert labelling.labels(3, 1) == [1, 4, 4]
    assert labelling.entities(np.array([6, 0, 3, 5, 2])).tolist() == [[1, 3, 0], [3, 4, 2], [4, 5, 2]]
    closed = Labelling(["O", "B-a", "I-a", "E-a", "S-a"])
    assert (closed.labels(1, 0), closed.labels(2, 0), closed.labels(4, 0)) == ([4], [1, 3], [1, 2, 2, 3])
    assert closed.labels(2, 0, goes_on=True, goes_further=True) == [2, 2]
    plain = Labelling(["O", "PER", "LOC"])
    assert plain.labels(2, 1) == [2, 2] and plain.entities(np.array([1, 1, 0, 2])).tolist() == [[0, 2, 0], [3, 4, 1]]


@pytest.mark.parametrize("scheme", [bio(["a", "b"]), ["O", "B-a", "I-a", "E-a", "S-a", "B-b", "I-b", "E-b", "S-b"]])
def test_labels_of_entities_give_the_entities_back(scheme: list[str]) -> None:
    labelling, rng = Labelling(scheme), np.random.default_rng(0)
    for _ in range(200):
        wanted, place, labels = [], 0, []
        while place < 12:
            size, kind = int(rng.integers(1, 4)), int(rng.integers(3))
            if kind == 2:
                labels += [labelling.outside] * size
            else:
                labels += labelling.labels(size, kind)
                wanted.append([place, place + size, kind])
            place += size
        assert labelling.entities(np.array(labels)).tolist() == wanted


def test_metrics_by_hand() -> None:
    # three right of five said and of four meant; type 0: 2 of 3 and 2 of 2, type 1: 1 of 2 and 1 of 2
    gold = ragged([np.array([[0, 2, 0], [5, 6, 1]]), np.array([[0, 1, 0], [3, 4, 1]]), np.zeros((0, 3), np.int64)])
    said = ragged([np.array([[0, 2, 0], [5, 6, 1]]), np.array([[0, 1, 0], [3, 5, 1]]), np.array([[0, 1, 0]])])
    assert ENTITY_PRECISION.score(said, gold) == pytest.approx(3 / 5)
    assert ENTITY_RECALL.score(said, gold) == pytest.approx(3 / 4)
    assert ENTITY_F1.score(said, gold) == pytest.approx(2 * 3 / 9)
    assert ENTITY_MACRO_F1.score(said, gold) == pytest.approx((4 / 5 + 1 / 2) / 2)
    table = per_type(said, gold, ["a", "b", "never"])
    assert table["a"] == {"precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(4 / 5), "support": 2}
    assert table["never"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    nothing = ragged([np.zeros((0, 3), np.int64)])
    assert ENTITY_F1.score(nothing, nothing) == 0.0


def test_metrics_equal_seqeval() -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    rng = np.random.default_rng(1)
    labels = ["O", *(f"{part}-{kind}" for kind in ("per", "loc", "org") for part in "BIES")]
    for size in (1, 20, 200):
        gold = [[labels[i] for i in rng.integers(0, 13, rng.integers(1, 15))] for _ in range(size)]
        said = [[tag if rng.random() < 0.7 else labels[rng.integers(13)] for tag in row] for row in gold]
        kinds = ("loc", "org", "per")
        ours = [ragged(_numbers(row, kinds) for row in rows) for rows in (said, gold)]
        assert ENTITY_F1.score(*ours) == pytest.approx(seqeval.f1_score(gold, said, zero_division=0), abs=1e-12)
        assert ENTITY_PRECISION.score(*ours) == pytest.approx(seqeval.precision_score(gold, said, zero_division=0), abs=1e-12)
        assert ENTITY_RECALL.score(*ours) == pytest.approx(seqeval.recall_score(gold, said, zero_division=0), abs=1e-12)
        assert ENTITY_MACRO_F1.score(*ours) == pytest.approx(seqeval.f1_score(gold, said, average="macro", zero_division=0), abs=1e-12)
        report = seqeval.classification_report(gold, said, output_dict=True, zero_division=0)
        for kind, row in per_type(*ours, kinds).items():
            if kind in report:
                assert row["f1"] == pytest.approx(report[kind]["f1-score"], abs=1e-12) and row["support"] == report[kind]["support"]


def _numbers(tags: list[str], kinds: tuple[str, ...]) -> np.ndarray:
    found = [(first, last, kinds.index(kind)) for first, last, kind in entities_of([tag_of(tag) for tag in tags])]
    return np.array(found, np.int64).reshape(-1, 3)
