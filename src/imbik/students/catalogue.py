"""The families of students: one table, from which a recipe's student is read, planned and started."""

from __future__ import annotations

from collections.abc import Mapping

from imbik.errors import UserError
from imbik.models.teacher import Teacher
from imbik.students.bert import Bert
from imbik.students.distilbert import DistilBert
from imbik.students.given import Copy, Given
from imbik.students.mobilebert import MobileBert
from imbik.students.pooled import Bag, Conv, Lstm
from imbik.students.spec import StudentSpec, Written, family_of
from imbik.students.stages import Stages
from imbik.types import Checkpoint, Examples

FAMILIES: dict[str, type[StudentSpec]] = {
    "copy": Copy,
    "from": Given,
    "bert": Bert,
    "distilbert": DistilBert,
    "mobilebert": MobileBert,
    "bag": Bag,
    "conv": Conv,
    "lstm": Lstm,
    "stages": Stages,
}
"""Every family by name; a student is of the first one that knows what is written."""


def student_names() -> list[str]:
    """Return all names that a recipe may use; capital letters stand for numbers."""
    return [name for family in FAMILIES.values() for name in family.names]


def parse_student(written: Written) -> StudentSpec:
    """Read what a recipe says of its student.

    Args:
        written: None (a copy of the teacher), ``layers-N``, ``mini-LxH``, a name of :data:`imbik.students.shape.CATALOGUE`, ``{"layers": …,
            "hidden": …, "heads": …, "intermediate": …, "init": "teacher" | "random"}`` (what is left out is the teacher's),
            ``{"from": folder or hub name}``, ``distilbert`` (half of the teacher's layers), ``distilbert-6l`` or ``{"family":
            "distilbert", "layers": …, "init": …}``, a MobileBERT, see
            :class:`imbik.students.mobilebert.MobileBert`, or a student without layers, see :class:`imbik.students.pooled.Bag`,
            :class:`imbik.students.pooled.Conv` and :class:`imbik.students.pooled.Lstm`; of images ``blocks-N``, see
            :class:`imbik.students.stages.Stages`.

    Raises:
        UserError: an unknown name, family or field, a value that no student can have.

    >>> parse_student("layers-3").written
    'layers-3'
    """
    spec = next((spec for family in FAMILIES.values() if (spec := family.parse(written)) is not None), None)
    if spec is not None:
        return spec
    if isinstance(written, Mapping):
        raise UserError(
            "unknown family",
            where="student.family",
            found=family_of(written),
            expected="bert, distilbert, mobilebert, bag, conv, lstm or stages",
        )
    if not isinstance(written, str):
        raise UserError("student must be a name or a mapping", where="student", found=written)
    raise UserError("unknown student", where="student", found=written, expected="one of " + ", ".join(student_names()))


def make_student(written: Written | StudentSpec, teacher: Checkpoint, texts: Examples, seed: int) -> Checkpoint:
    """Make a student of the asked shape, started from the teacher: parse, plan and start in one call.

    Args:
        written: see :func:`parse_student`.
        teacher: not changed.
        texts: task texts, for the principal directions of its hidden states.
        seed: of all weights that start at random.

    Raises:
        UserError: as :func:`parse_student` and :meth:`imbik.students.spec.StudentSpec.plan`.
    """
    spec = written if isinstance(written, StudentSpec) else parse_student(written)
    return spec.plan(Teacher.of(teacher)).start(texts, seed)
