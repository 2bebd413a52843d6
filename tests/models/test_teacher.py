"""What is asked of a teacher again and again is found out once."""

from __future__ import annotations

from dataclasses import replace

from imbik.models.anatomy import anatomy
from imbik.models.checkpoint import fingerprint
from imbik.models.teacher import Teacher
from imbik.recipes.ladder import ladder
from imbik.students.catalogue import parse_student
from imbik.testing.tiny import tiny_bert


def test_the_model_runs_once_whoever_asks_for_its_layers() -> None:
    checkpoint = tiny_bert(layers=3, hidden=64)
    teacher, runs = Teacher.of(checkpoint, "models/bank"), []
    checkpoint.model.register_forward_pre_hook(lambda *_: runs.append(1))
    assert teacher.depth == 3 and teacher.anatomy == anatomy(tiny_bert(layers=3, hidden=64).model)
    ladder(teacher.task, teacher.pairs, teacher.depth, 64)
    for written in ("layers-2", "distilbert", "mobilebert", {"layers": 1, "hidden": 32, "heads": 2}):
        parse_student(written).plan(teacher)
    assert len(runs) == 1


def test_a_teacher_is_a_checkpoint_with_a_name() -> None:
    checkpoint = replace(tiny_bert(layers=1), pairs=True, notes=("a note",))
    teacher = Teacher.of(checkpoint, "models/bank")
    assert (teacher.model, teacher.pairs, teacher.notes, teacher.source) == (checkpoint.model, True, ("a note",), "models/bank")
    assert teacher.fingerprint == fingerprint(checkpoint)
    assert Teacher.of(teacher) is teacher and Teacher.of(teacher, "other").source == "other"
