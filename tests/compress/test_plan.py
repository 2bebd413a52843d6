"""Plans are made, or refused, before anything is trained."""

from __future__ import annotations

import pytest

from imbik.compress.options import Options
from imbik.compress.plan import plan_all, refuse_without_engine
from imbik.errors import UserError
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import parse_recipe
from imbik.testing.tiny import tiny_bert, tiny_splits


def plans_of(*recipes: str, engines: tuple[str, ...] = ("onnx",), teacher: Teacher | None = None):
    named = [parse_recipe(text, f"r{number}", default_name=f"r{number}") for number, text in enumerate(recipes)]
    return plan_all(teacher or Teacher.of(tiny_bert(layers=2)), tiny_splits(), Options(recipes=named, engines=engines).changed({}))


def test_recipes_that_begin_alike_have_the_same_first_keys() -> None:
    one = "student: layers-1\nsteps: [{distill: {epochs: 1}}, {quantize: {}}]"
    two = "student: layers-1\nsteps: [{distill: {epochs: 1}}, {quantize: {scheme: static}}]"
    first, second = plans_of(one, two).candidates
    assert len(first.keys) == 3 and first.keys[:2] == second.keys[:2] and first.key != second.key
    assert first.quantized and [list(step) for step in first.steps] == [["distill"], ["quantize"]]


def test_engines_that_cannot_build_a_candidate_are_left_out_with_the_reason() -> None:
    pytest.importorskip("executorch")
    text = "steps: [{quantize: {scheme: weight-only}}]"
    (plan,) = plans_of(text, engines=("onnx", "executorch")).candidates
    assert plan.engines == ("onnx",) and plan.refusal is None
    (plan,) = plans_of(text, engines=("executorch",)).candidates
    assert plan.engines == ()
    with pytest.raises(UserError, match=r"executorch cannot lower.*weight-only.*choose another engine"):
        refuse_without_engine(plan.refusal)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("student: layers-3\nsteps: []", r"r0, student: .*no more layers.*Found: 3"),
        ("student: {family: distilbert, layers: 3}\nsteps: []", r"r0, student: .*more layers than its teacher.*Found: 3"),
        ("student: {family: mobilebert, bottleneck: 10, heads: 4}\nsteps: []", r"r0, student: .*do not divide"),
        ("student: {from: ./nowhere}\nsteps: []", r"r0: no such file or folder. Found: ./nowhere"),
    ],
)
def test_a_student_that_cannot_be_made_is_refused(recipe: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plans_of(recipe)


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="recipies"):
        Options().changed({"recipies": ()})
    with pytest.raises(UserError, match="no artefacts are made for this engine"):
        plans_of("steps: []", engines=("steam",))
