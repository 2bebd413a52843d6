"""Student shapes and how they start from the teacher."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.models.anatomy import depth_of
from imbik.models.blocks import layer_stack
from imbik.models.teacher import Teacher
from imbik.recipes.ladder import ladder
from imbik.sharing.albert import to_albert
from imbik.students.catalogue import make_student
from imbik.students.layer_map import uniform_layers
from imbik.students.projection import _narrowed, principal_directions
from imbik.students.shape import CATALOGUE, named_shape
from imbik.testing.tiny import logits_of, tiny_bert, tiny_splits

FAMILIES = ["bert", "roberta", "electra", "distilbert", "albert", "mpnet", "camembert"]


def test_the_uniform_map_ends_with_the_last_layer_and_never_goes_back():
    for teacher in range(1, 25):
        for student in range(1, teacher + 1):
            mapping = uniform_layers(teacher, student)
            assert len(mapping) == student and mapping[-1] == teacher - 1 and mapping[0] >= 0
            assert mapping == sorted(set(mapping))
    assert uniform_layers(12, 4) == [2, 5, 8, 11]


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("distilbert", "albert")])
def test_a_cut_student_takes_the_teachers_layers(family):
    teacher, splits = tiny_bert(family=family), tiny_splits()
    student = make_student("layers-2", teacher, splits.train, 0)
    assert type(student.model) is type(teacher.model) and len(layer_stack(student.model)[1]) == 2
    for ours, theirs in zip(layer_stack(student.model)[1], (1, 3), strict=True):
        wanted = layer_stack(teacher.model)[1][theirs].state_dict()
        assert all(torch.equal(value, wanted[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "distilbert"])
def test_as_many_layers_as_the_teacher_is_the_teacher(family):
    teacher, splits = tiny_bert(family=family), tiny_splits()
    student = make_student("layers-4", teacher, splits.train, 0)
    np.testing.assert_array_equal(logits_of(student, splits.test), logits_of(teacher, splits.test))


def test_an_albert_is_as_deep_as_its_layer_runs():
    teacher, splits = Teacher.of(tiny_bert(family="albert", layers=4)), tiny_splits()
    names = [name for name in ladder(teacher.task, True, teacher.depth, 32) if not name.startswith(("bag", "conv"))]
    assert names[:3] == ["int8", "layers-1+int8", "layers-2+int8"]
    student = make_student("layers-3", teacher, splits.train, 0)
    assert depth_of(student.model) == student.model.config.num_hidden_layers == 3
    ours, theirs = (layer_stack(one.model)[1][0].state_dict() for one in (student, teacher))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert make_student({"hidden": 16, "heads": 2}, teacher, splits.train, 0).model.config.num_hidden_layers == 4
    with pytest.raises(UserError, match="1 to 4"):
        make_student("layers-5", teacher, splits.train, 0)


def test_groups_of_albert_layers_are_cut_in_the_order_in_which_they_run():
    bert, splits = tiny_bert(layers=4), tiny_splits()
    albert = to_albert(bert, [bert.model.bert.encoder.layer[i].state_dict() for i in (0, 2)], 32, splits.train)
    teacher = replace(bert, model=albert.eval())
    student = make_student("layers-2", teacher, splits.train, 0)
    first, second = (layer_stack(student.model)[1][i].state_dict() for i in (0, 1))
    wanted = [layer_stack(albert)[1][i].state_dict() for i in (0, 1)]
    assert all(torch.equal(value, wanted[0][name]) for name, value in first.items())
    assert all(torch.equal(value, wanted[1][name]) for name, value in second.items())


def test_a_projected_student_is_nearer_to_the_teacher_than_a_random_one():
    teacher, splits = tiny_bert(hidden=64, heads=4), tiny_splits(rows=120)
    shape = {"layers": 4, "hidden": 48, "heads": 3, "intermediate": 96}
    started = make_student({**shape, "init": "teacher"}, teacher, splits.train, 0)
    random = make_student({**shape, "init": "random"}, teacher, splits.train, 0)
    table = teacher.model.get_input_embeddings().weight
    small = started.model.get_input_embeddings().weight
    # the projection keeps the angles between word vectors; a random table does not
    assert _angles(table, small) > 0.8 > _angles(table, random.model.get_input_embeddings().weight)


def _angles(one, other):
    a, b = torch.nn.functional.normalize(one.detach(), dim=1), torch.nn.functional.normalize(other.detach(), dim=1)
    return float(np.corrcoef((a @ a.T).flatten(), (b @ b.T).flatten())[0, 1])


@pytest.mark.parametrize("name", [*sorted(CATALOGUE), "mini-1x64", "mini-12x512"])
def test_heads_divide_the_width(name):
    shape = named_shape(name)
    assert shape.hidden % shape.heads == 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("layers-9", "more layers"),
        ("layers-0", "more layers"),
        ("tiny", "unknown student"),
        ("mini-2x100", "cannot have"),
        ("mini-2x0", "cannot have"),
        ("mini-0x64", "at least one layer"),
        ({"depth": 3}, "unknown field"),
        ({"layers": 2, "hidden": 30, "heads": 4}, "do not divide"),
        ({"layers": "two"}, "whole number"),
        ({"layers": 2, "init": "magic"}, "unknown start"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        make_student(spec, tiny_bert(), tiny_splits().train, 0)


def test_a_student_from_a_folder_gets_the_teachers_labels(tmp_path):
    from imbik.models.checkpoint import labels_of, save_checkpoint

    teacher, splits = tiny_bert(), tiny_splits()
    save_checkpoint(tiny_bert(labels=("x", "y"), hidden=16, seed=5), tmp_path)
    student = make_student({"from": str(tmp_path)}, teacher, splits.train, 0)
    assert labels_of(student) == labels_of(teacher) and student.model.config.hidden_size == 16
    assert logits_of(student, splits.test).shape[1] == 3


def test_tinybert_has_the_parameters_of_the_published_shape():
    student = make_student("tinybert-4l-312", tiny_bert(), tiny_splits().train, 0).model.base_model
    rows = sum(table.num_embeddings for table in (student.embeddings.word_embeddings, student.embeddings.position_embeddings))
    assert sum(p.numel() for p in student.parameters()) + (30_522 + 512 - rows) * 312 == 14_350_248  # published: 14.5M


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert", "albert", "mpnet"])
@pytest.mark.parametrize("heads", [2, 4])
def test_a_narrow_student_owes_nothing_to_chance(family, heads):
    teacher, splits = tiny_bert(family=family, hidden=64, heads=4), tiny_splits()
    shape = {"layers": 2, "hidden": 32, "heads": heads, "intermediate": 48}
    first, second = (make_student(shape, teacher, splits.train, seed) for seed in (0, 1))
    for one, other in zip(layer_stack(first.model)[1], layer_stack(second.model)[1], strict=True):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert torch.equal(first.model.get_input_embeddings().weight, second.model.get_input_embeddings().weight)
    assert first.notes == ()


def test_what_starts_at_random_is_said():
    wide = make_student({"layers": 2, "hidden": 24, "heads": 1, "intermediate": 512}, tiny_bert(), tiny_splits().train, 0)
    assert "attention, feed-forward networks started at random" in sentence(wide.notes[0])
    modern = make_student({"layers": 2, "hidden": 16, "heads": 2}, tiny_bert(family="modernbert"), tiny_splits().train, 0)
    assert "layers started at random" in sentence(modern.notes[0])
    wider = make_student({"layers": 2, "hidden": 64, "heads": 2}, tiny_bert(), tiny_splits().train, 0)
    assert "wider than its teacher" in sentence(wider.notes[0])


@pytest.mark.parametrize("size", [3, 8])
def test_narrowed_heads_keep_the_leading_singular_directions_of_their_product(size):
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(8, 12, generator=generator), torch.randn(8, 9, generator=generator)
    ours, theirs = _narrowed(left, right, size)
    assert ours.shape == (size, 12) and theirs.shape == (size, 9)
    u, values, vh = np.linalg.svd((left.T @ right).numpy().astype(np.float64))
    np.testing.assert_allclose((ours.T @ theirs).numpy(), (u[:, :size] * values[:size]) @ vh[:size], atol=1e-5)


def test_heads_as_wide_as_the_teachers_give_its_attention_scores():
    """With a full set of directions nothing is lost: q·k of the narrow heads' product is that of the teacher's."""
    teacher, splits = tiny_bert(hidden=32, heads=4), tiny_splits()
    student = make_student({"layers": 4, "hidden": 32, "heads": 4, "intermediate": 16}, teacher, splits.train, 0)
    turned = principal_directions(teacher, splits.train, 32)
    for ours, theirs in zip(layer_stack(student.model)[1], layer_stack(teacher.model)[1], strict=True):
        old, new = theirs.attention.self, ours.attention.self
        wanted = turned.T @ old.query.weight.T @ old.key.weight @ turned
        np.testing.assert_allclose((new.query.weight.T @ new.key.weight).detach(), wanted.detach(), atol=1e-5)
