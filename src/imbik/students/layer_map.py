"""Which teacher layer each student layer learns from or starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from imbik.errors import UserError

MapName = Literal["uniform", "top", "bottom"]


def uniform_layers(teacher: int, student: int) -> list[int]:
    """Return the teacher layer (0-based) of each student layer: evenly spaced, ending with the last.

    TinyBERT's map g(m) = m · M / N (arXiv 1909.10351); where N does not divide M it is rounded.

    >>> uniform_layers(12, 4), uniform_layers(6, 1), uniform_layers(6, 4)
    ([2, 5, 8, 11], [5], [1, 2, 4, 5])
    """
    # + 0.5 and not round(): Python rounds halves to even, so that 2.5 and 3.5 would fall 2 apart
    return [int(m * teacher / student + 0.5) - 1 for m in range(1, student + 1)]


def layer_map(spec: MapName | Sequence[int], teacher: int, student: int) -> list[int]:
    """Return the teacher layer (0-based) of each student layer.

    ``uniform``: evenly spaced (:func:`uniform_layers`); ``top``: the teacher's last ``student`` layers, g(m) = m + M - N; ``bottom``: its
    first ones, g(m) = m; a list: as it says, 1-based as papers count.

    Args:
        spec: a name or one teacher layer per student layer.
        teacher: M, layers of the teacher.
        student: N, layers of the student.

    Raises:
        UserError: a student deeper than its teacher (a named map), a list of another length or with a layer that does not exist.

    >>> layer_map("top", 6, 2), layer_map("bottom", 6, 2), layer_map([3, 6], 6, 2)
    ([4, 5], [0, 1], [2, 5])
    """
    if isinstance(spec, str):
        if student > teacher:
            raise UserError(
                "the student has more layers than the teacher",
                where="layers",
                found=f"{student} and {teacher}",
                expected="a list that gives each student layer one of the teacher's",
            )
        maps = {"uniform": uniform_layers(teacher, student), "top": range(teacher - student, teacher), "bottom": range(student)}
        return list(maps[spec])
    listed = list(spec)
    if len(listed) != student or not all(1 <= layer <= teacher for layer in listed):
        raise UserError(
            "the map of layers does not fit",
            where="layers",
            found=listed,
            expected=f"{student} numbers (one per student layer) from 1 to {teacher}",
        )
    # papers and recipes count layers from 1, modules from 0
    return [layer - 1 for layer in listed]
