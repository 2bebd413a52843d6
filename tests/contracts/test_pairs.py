"""Every ordered pair of registered methods composes and reloads bit-equal, or is refused by declaration; exports of all of them: slow.

A new method joins by itself, with its line in :data:`imbik.testing.contract.EXAMPLES`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.methods.registry import make_methods, registered
from imbik.students.catalogue import make_student
from imbik.testing.contract import EXAMPLE_STUDENTS, EXAMPLES, check_reload, quick, sqnr, takes
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits

PAIRS = list(itertools.product(filter(takes, sorted(registered())), repeat=2))
INT8 = {"quantize": {"scheme": "dynamic"}}


def made(names, directory):
    """The tiny teacher's copy after these methods, its steps recorded, or None where they are refused by declaration."""
    steps = [quick({name: EXAMPLES[name]}) for name in names]
    try:
        methods = make_methods(steps, "pair")
    except UserError as refusal:
        assert refusal.expected and names[0] in str(refusal.found)
        return None
    teacher, splits = tiny_bert(), tiny_splits()
    kind = next((EXAMPLE_STUDENTS[name] for name in names if name in EXAMPLE_STUDENTS), None)
    student = make_student(kind, teacher, splits.train, 0)
    for number, method in enumerate(methods):
        try:
            student = method.apply(student, tiny_context(teacher, splits, directory / str(number)))
        except UserError as refusal:  # a method may not take the architecture that another one needs
            assert kind is not None and refusal.where and "model" in refusal.what, refusal
            return None
    return replace(student, steps=tuple(steps))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_every_ordered_pair_composes_and_reloads_or_is_refused(first, second, tmp_path):
    student = made((first, second), tmp_path)
    if student is not None:
        check_reload(student, tmp_path / "saved", tiny_splits().test)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_every_pair_is_exported_and_lowered_to_int8(first, second, tmp_path):
    student = made((first, second), tmp_path)
    if student is None or first == "quantize":
        return
    splits = tiny_splits()
    if second != "quantize":
        artefact = export(student, "onnx", tmp_path / "float", texts=splits.test)
        assert artefact.parity["max_abs_relative"] < 1e-3 and artefact.parity["agreement"] == 1.0
        student = replace(student, steps=(*student.steps, INT8))
    artefact = export(student, "onnx", tmp_path / "int8", texts=splits.test)
    assert artefact.parity["float_matmuls"] == 0 and artefact.parity["int8_ops"] > 0
    from imbik.runtime.predictor import load_artefact

    found = load_artefact(artefact.path, threads=1).scores(list(splits.test.texts))
    assert sqnr(logits_of(student, splits.test), found) > 12
