"""``results.json``: read and checked with one clear message, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.files import refuse_foreign_file, replacing
from imbik.jobs.paths import with_home
from imbik.jobs.reading import read_text
from imbik.measure.schema import document_of, parse_results
from imbik.measure.values import Disagreement, Results

__all__ = ["Results", "disagreements", "load_results", "results_document", "write_results"]


def load_results(path: str | Path) -> Results:
    """Read and check a ``results.json``, or the JSON of a single measurement that ``imbik measure --json`` wrote.

    Raises:
        UserError: no such file, not JSON, an unknown schema, a field of the wrong kind (named with its place), a duplicate id, or a
            baseline, choice or front that names an id which was not measured.
    """
    path = with_home(path)
    return parse_results(_text(path), path)


def results_document(results: Results) -> dict[str, Any]:
    """Return ``results.json`` as JSON's own types.

    Numbers that are not finite become ``None``; NumPy scalars and arrays become numbers and lists.

    >>> results_document(Results())["schema"]
    2
    """
    return document_of(results)


def write_results(path: str | Path, results: Results) -> None:
    """Write :func:`results_document`: to a temporary name beside the file, flushed to the disk, then renamed, so that a reader or a
    killed run never sees half a file.

    Raises:
        UserError: the folder of ``path`` does not exist, or ``path`` is a folder or a file that is no results.json.
    """
    path = with_home(path)
    if path.is_dir() or not path.parent.is_dir():
        found = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise UserError("cannot write the results", where=path, found=found, expected="a file's name in a folder that exists")
    refuse_foreign_file(path, is_results)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        json.dump(results_document(results), stream, ensure_ascii=False, indent=1, allow_nan=False)
        stream.write("\n")


def is_results(path: Path) -> bool:
    """Return whether a file is a ``results.json``, of any schema: the proof that it may be replaced."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(document, dict) and {"schema", "measurements"} <= document.keys()


def _text(path: Path) -> str:
    """Return the file's text, which is not empty."""
    expected = "a results.json that imbik compress or imbik measure wrote"
    text = read_text(path, "file", expected=expected, fix="name the file inside the folder that was given to --out")
    if not text.strip():
        fix = "run imbik compress again; it continues"
        raise UserError("the file is empty", where=path, expected="a results.json", fix=fix)
    return text


def disagreements(
    texts: Sequence[str],
    gold: Sequence[int],
    teacher: Sequence[int],
    student: Sequence[int],
    labels: Sequence[str],
    limit: int = 20,
) -> tuple[Disagreement, ...]:
    """Return up to ``limit`` texts on which teacher and student answer differently, for ``Results.disagreements[id]``.

    Those where the teacher is right come first, then those where the student is, then those where both are wrong; as they come within
    each group.

    >>> disagreements(["a", "b"], [0, 1], [0, 1], [0, 0], ["no", "yes"])
    (Disagreement(text='b', gold='yes', teacher='yes', student='no', index=1),)
    """
    differ = [i for i in range(len(texts)) if int(teacher[i]) != int(student[i])]
    differ.sort(key=lambda i: (int(teacher[i]) != int(gold[i]), int(student[i]) != int(gold[i])))
    return tuple(
        Disagreement(
            text=str(texts[i]),
            gold=labels[int(gold[i])],
            teacher=labels[int(teacher[i])],
            student=labels[int(student[i])],
            index=i,
        )
        for i in differ[:limit]
    )
