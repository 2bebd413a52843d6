"""Several teachers as one: what students learn from, what they are compared with, what cannot answer together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imbik.cascade.stages import sources
from imbik.compress.keys import Common, teacher_key
from imbik.compress.run import compress
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.measure.predictions import load_predictions
from imbik.models.teacher import Teacher, averaged
from imbik.recipes.recipe import parse_recipe
from imbik.testing.tiny import logits_of, tiny_bert, tiny_splits
from imbik.training.precision import full_precision
from imbik.training.teacher_cache import TeacherCache

ONE = parse_recipe("name: one\nstudent: layers-1\nsteps:\n  - distill: {epochs: 1}\n", "one")


def two() -> Teacher:
    return averaged([tiny_bert(), tiny_bert(seed=1)], ["a", "b"])


def run(folder, teacher, said):
    return compress(teacher, tiny_splits(), folder, recipes=[ONE, "int8"], progress=Silent(), say=said.append)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    return folder, run(folder, two(), [])


def test_students_learn_from_the_mean_of_the_logits(tmp_path):
    members = [tiny_bert(), tiny_bert(seed=1)]
    cache, rows = TeacherCache(tmp_path, averaged(members, ["a", "b"])), tiny_splits().train
    count = np.arange(len(rows.texts))
    known = cache.logits(rows, Silent())
    expected = np.mean([logits_of(member, rows) for member in members], axis=0)
    np.testing.assert_allclose(known.take(count), expected, atol=0.05)
    np.testing.assert_array_equal(known.outputs(count), known.take(count))
    alone = [TeacherCache(tmp_path, Teacher.of(member)) for member in members]
    parts = [one.logits(rows, Silent()).take(count) for one in alone]
    assert [one.runs for one in alone] == [0, 0], "a teacher that is known alone is not asked again"
    np.testing.assert_allclose(known.take(count), (parts[0] + parts[1]) / 2, atol=1e-6)


def test_candidates_are_compared_with_the_average(done):
    folder, results = done
    ids = ["teacher/average", "teacher-1/onnx", "teacher-2/onnx", "one/onnx", "int8/onnx"]
    assert results.baseline == ids[0] and [m.id for m in results.measurements] == ids
    test = tiny_splits().test
    stored = load_predictions(folder / "teacher" / "predictions.npz").logits["test"]
    with full_precision():  # as the workers compute that measure
        of_first, of_second = (logits_of(member, test) for member in (tiny_bert(), tiny_bert(seed=1)))
    expected = (of_first + of_second) / 2
    np.testing.assert_allclose(stored, expected, atol=1e-4)
    average, one, other = results.measurements[:3]
    for measured, logits in ((average, expected), (one, of_first), (other, of_second)):
        assert measured.quality.value == pytest.approx(np.mean(logits.argmax(1) == test.targets))
    assert average.params == one.params + other.params and average.bytes > 4 * average.params
    assert one.agreement == pytest.approx(np.mean(of_first.argmax(1) == expected.argmax(1)))
    assert [m.parent for m in results.measurements if m.name == "int8"] == ["teacher-1"]
    note = next(note for note in results.data.notes if note.kind == "teachers_averaged")
    assert note.values == {"count": 2, "teachers": "teacher-1: a; teacher-2: b", "first": "teacher-1"}


def test_finished_work_is_that_of_these_teachers(done):
    folder, first = done
    said: list[str] = []
    again = run(folder, two(), said)
    assert again.measurements == first.measurements and not any("measuring" in line for line in said)
    splits, pair = tiny_splits(), [tiny_bert(), tiny_bert(seed=1)]
    teachers = [two(), averaged(pair[::-1], ["b", "a"]), averaged([pair[0], tiny_bert(seed=2)], ["a", "c"]), Teacher.of(pair[0])]
    keys = [teacher_key(Common.of(teacher, splits)) for teacher in teachers]
    assert len(set(keys)) == 4
    assert keys[3] == teacher_key(Common.of(two().members["teacher-1"], splits)), "one teacher has the key that it had"


def test_the_average_is_no_stage_of_a_cascade_but_each_teacher_is(done):
    folder, results = done
    assert [source.id for source in sources(folder, results, ["teacher-2", "one"])] == ["teacher-2/onnx", "one/onnx"]
    with pytest.raises(UserError, match="no such candidate"):
        sources(folder, results, ["teacher"])


def renamed(labels):
    other = tiny_bert(seed=1)
    other.model.config.id2label = dict(enumerate(labels))
    return other


def test_teachers_that_cannot_answer_together_are_refused():
    first = tiny_bert()
    labels = list(first.model.config.id2label.values())
    cases = {
        "named twice": tiny_bert(),
        "different tasks": replace(tiny_bert(seed=1), task="multi-label"),
        rf"id2label\[0\].*different labels.*{labels[-1]}": renamed(labels[::-1]),
        rf"id2label\[{len(labels) - 1}\].*different labels.*Expected: {labels[-1]}": renamed(labels[:-1]),
        "one teacher reads pairs": replace(tiny_bert(seed=1), pairs=True),
    }
    for message, other in cases.items():
        with pytest.raises(UserError, match=f"(?s){message}"):
            averaged([replace(first, pairs=False), other], ["a", "b"])
    tagger = replace(first, task="token-classification")
    with pytest.raises(UserError, match="one row of logits a text"):
        averaged([tagger, tagger], ["a", "b"])
    assert averaged([first], ["a"]).fingerprint == Teacher.of(first).fingerprint
