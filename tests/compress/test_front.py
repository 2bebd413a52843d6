"""The front as it grows: each artefact is looked at as it is made, and the first usable one is named once."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from imbik.compress.front import Front, Look
from imbik.compress.run import compress
from imbik.export.linear import write_linear
from imbik.jobs.progress import Silent
from imbik.linear.support import tfidf_svm
from imbik.runtime.ngrams import Cut
from imbik.testing.tiny import tiny_bert, tiny_splits


def test_each_artefact_is_looked_at_and_the_first_usable_one_named(tmp_path: Path) -> None:
    splits, said = tiny_splits(rows=120), list[str]()
    model = tfidf_svm(splits, (Cut(1),))
    folder = write_linear(model, tmp_path / "a", splits, ()).path
    value = float((model.scores(splits.dev.texts).argmax(axis=1) == np.asarray(splits.dev.targets)).mean())
    front = Front(splits, value / 0.98, 0.97, 1, said.append)
    front.add("one", {"numpy": folder})
    front.add("two", {"numpy": folder, "gone": tmp_path / "nothing"})
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert [look.id for look in front.seen] == ["one/numpy", "two/numpy"], "what cannot be opened is left to the measurement"
    assert front.seen[0].kept == pytest.approx(0.98) and front.seen[0].bytes == size and front.seen[0].ms > 0
    usable = [line for line in said if "may be used" in line]
    assert len(usable) == 1 and str(folder) in usable[0] and said.index(usable[0]) == 1
    assert re.search(r"one/numpy: keeps 98\.0% on dev, .* on the front", said[0])


def test_a_candidate_that_another_beats_is_not_on_the_front() -> None:
    good, worse, small = (
        Look("a", 0.9, 0.9, 0.99, 0.1, 100), Look("b", 0.8, 0.8, 0.98, 0.2, 100), Look("c", 0.7, 0.7, 0.9, 0.2, 10)
    )  # fmt: skip
    assert good.beats(worse) and not worse.beats(good) and not good.beats(small) and not good.beats(good)


@pytest.mark.parametrize("reference", [0.0, -0.2])
def test_of_a_teacher_that_is_worth_nothing_no_share_is_stated(reference: float, tmp_path: Path) -> None:
    splits, said = tiny_splits(rows=60), list[str]()
    folder = write_linear(tfidf_svm(splits, (Cut(1),)), tmp_path / "a", splits, ()).path
    front = Front(splits, reference, 0.0, 1, said.append)
    front.add("one", {"numpy": folder})
    assert front.seen[0].kept is None and front.seen[0].merit == front.seen[0].quality
    assert len(said) == 1 and f"accuracy {front.seen[0].quality:.4f} on dev, the teacher {reference:.4f}" in said[0]


def test_compress_says_it_of_every_candidate(tmp_path: Path) -> None:
    said: list[str] = []
    compress(tiny_bert(layers=1), tiny_splits(), tmp_path / "out", recipes=["int8"], threads=1, progress=Silent(), say=said.append)
    lines = [line for line in said if "int8/onnx: keeps" in line]
    assert len(lines) == 1 and said.index(lines[0]) < next(i for i, line in enumerate(said) if line.startswith("measuring"))
