"""The teacher cache: right values, once per text, torn files, several programs' leftovers."""

from __future__ import annotations

import numpy as np

from imbik.jobs.progress import Silent
from imbik.models.teacher import Teacher
from imbik.testing.tiny import logits_of, tiny_bert, tiny_splits
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Examples


def all_rows(cache, examples):
    return cache.logits(examples, Silent()).take(np.arange(len(examples.texts)))


def test_values_are_the_teachers_and_each_text_is_run_once(tmp_path):
    teacher, splits = tiny_bert(), tiny_splits()
    cache = TeacherCache(tmp_path, Teacher.of(teacher))
    np.testing.assert_allclose(all_rows(cache, splits.train), logits_of(teacher, splits.train), atol=0.05)
    runs = cache.runs
    assert runs == len(set(splits.train.texts))
    more = Examples([*splits.train.texts, "a new text", "a new text"], None, None, "")
    all_rows(cache, more)
    assert cache.runs == runs + 1
    again = TeacherCache(tmp_path, Teacher.of(teacher))
    all_rows(again, more)
    assert again.runs == 0


def test_another_teacher_or_length_has_a_store_of_its_own(tmp_path):
    teacher = tiny_bert()
    shorter = tiny_bert()
    shorter.tokenizer.model_max_length = 8
    stores = {TeacherCache(tmp_path, Teacher.of(t)).directory for t in (teacher, shorter, tiny_bert(seed=1))}
    assert len(stores) == 3


def test_pairs_are_told_apart(tmp_path):
    cache = TeacherCache(tmp_path, Teacher.of(tiny_bert()))
    rows = all_rows(cache, Examples(["good", "good", "bad"], ["bad", "good", "good"], None, ""))
    assert cache.runs == 3 and not np.allclose(rows[0], rows[1])


def test_a_store_torn_by_a_kill_is_mended(tmp_path):
    teacher, splits = tiny_bert(), tiny_splits()
    cache = TeacherCache(tmp_path, Teacher.of(teacher))
    expected = all_rows(cache, splits.train)
    for name, cut in (("logits.bin", 5), ("keys.bin", 40)):
        path = cache.directory / name
        path.write_bytes(path.read_bytes()[:-cut])
        mended = TeacherCache(tmp_path, Teacher.of(teacher))
        np.testing.assert_allclose(all_rows(mended, splits.train), expected, atol=0.05)
        assert 0 < mended.runs <= 3
