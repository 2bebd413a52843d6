"""Where students without layers start, what they are refused for, and where they stand in the ladder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.models.teacher import Teacher
from imbik.recipes.ladder import ladder
from imbik.recipes.recipe import load_recipe
from imbik.students.catalogue import make_student, parse_student
from imbik.students.pieces import piece_counts, piece_states, principal_pieces, read_alone
from imbik.students.pooled import why_not
from imbik.testing.tiny import tiny_bert, tiny_splits

SPLITS = tiny_splits()


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_a_piece_begins_as_what_the_first_layer_takes_of_it(family: str) -> None:
    if family == "distilbert":
        teacher = Teacher.of(make_student("distilbert-1l", tiny_bert(layers=2), SPLITS.train, 0))
    else:
        teacher = Teacher.of(tiny_bert(family=family, layers=2))
    states = piece_states(teacher.model, teacher.anatomy.layers[0].input.path, 118)
    ids = torch.tensor([[5], [17], [117]])
    with torch.no_grad():
        expected = teacher.model(input_ids=ids, output_hidden_states=True).hidden_states[0][:, 0]
    assert torch.allclose(states[[5, 17, 117]], expected, atol=1e-5)


def test_a_piece_read_alone_is_the_text_of_that_piece() -> None:
    teacher = Teacher.of(tiny_bert(layers=2))
    found = read_alone(teacher.model, teacher.tokenizer, 118)
    for word in ("card", "money", "late"):
        encoded = teacher.tokenizer(word, return_tensors="pt")
        first, piece, _last = encoded["input_ids"][0].tolist()
        assert first in teacher.tokenizer.all_special_ids, "a word of one piece between two special tokens"
        with torch.no_grad():
            last = teacher.model(**encoded, output_hidden_states=True).hidden_states[-1][0]
        assert torch.allclose(found[piece], torch.cat([last[0], last[1]]), atol=0.05), "bf16 where the processor has it"


def test_vectors_start_where_they_are_asked_to() -> None:
    starts = {}
    for init in ("teacher", "answers", "random"):
        student = make_student({"family": "bag", "hidden": 8, "heads": 2, "init": init}, tiny_bert(layers=2), SPLITS.train, 0)
        starts[init] = student.model.embeddings.weight[:, :8]
    assert not torch.allclose(starts["teacher"], starts["answers"]) and not torch.allclose(starts["random"], starts["answers"])


def test_a_convolution_has_a_matrix_a_neighbor_unless_it_is_separable() -> None:
    made = {flag: make_student({"family": "conv", "separable": flag}, tiny_bert(layers=1), SPLITS.train, 0) for flag in (None, False, True)}
    sizes = {flag: student.model.layers[0].mix.in_features for flag, student in made.items()}
    assert sizes == {None: 640, False: 640, True: 128} and made[True].model.config.separable


def test_principal_pieces_are_the_singular_directions_of_the_texts() -> None:
    generator = np.random.default_rng(0)
    states, counts = generator.normal(size=(50, 12)) @ generator.normal(size=(12, 12)), generator.integers(0, 9, 50)
    found = principal_pieces(torch.from_numpy(states).float(), counts, 4).double().numpy()
    # every piece as often as the texts hold it: the scores of an ordinary PCA by SVD
    corpus = np.repeat(states, counts, axis=0)
    _, _, directions = np.linalg.svd(corpus - corpus.mean(0), full_matrices=False)
    expected = (states - corpus.mean(0)) @ directions[:4].T
    expected /= np.sqrt((np.repeat(expected, counts, axis=0) ** 2).mean())
    signs = np.sign((found * expected).sum(0))
    assert np.allclose(found * signs, expected, rtol=1e-3, atol=1e-4)


def test_directions_that_the_teacher_lacks_are_drawn() -> None:
    torch.manual_seed(0)
    found = principal_pieces(torch.randn(40, 6), np.ones(40, np.int64), 10)
    assert found.shape == (40, 10) and found[:, 6:].std() > 0.5
    assert np.isfinite(principal_pieces(torch.randn(40, 6), np.zeros(40, np.int64), 3).numpy()).all(), "texts without a piece"


def test_special_tokens_are_not_counted() -> None:
    teacher = Teacher.of(tiny_bert(layers=1))
    counts = piece_counts(teacher.tokenizer, SPLITS.train, 118)
    assert counts.sum() == sum(len(text.split()) for text in SPLITS.train.texts) and (counts[:5] == 0).all()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("bag-30", "the heads do not divide the width"),
        ({"family": "bag", "layers": 2}, "unknown field"),
        ({"family": "conv", "kernel": 4}, "an odd number"),
        ({"family": "conv", "filters": 12}, "the heads do not divide the filters"),
        ({"family": "lstm", "units": 6}, "the heads do not divide the units of both directions"),
        ({"family": "lstm", "hidden": 15, "heads": 5}, "the heads do not divide the units of both directions"),
        ({"family": "conv", "separable": "yes"}, "must be true or false"),
        ({"family": "bag", "init": "zero"}, "unknown start"),
    ],
)
def test_numbers_that_cannot_be_are_refused(written: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_student(written)  # type: ignore[arg-type]


def test_pairs_are_refused_with_the_reason_and_the_ladder_knows() -> None:
    single = Teacher.of(replace(tiny_bert(layers=2), pairs=False))
    paired = Teacher.of(replace(tiny_bert(layers=2), pairs=True))
    assert why_not(single.task, single.pairs) is None
    first = ladder(single.task, single.pairs, 2, 32)[:3]
    assert first == ["bag-64+vocabulary-tight+int4", "bag+vocabulary-tight+int8", "conv-augmented+vocabulary+int8"]
    assert all(load_recipe(name).quantization for name in first)
    assert not [name for name in ladder(paired.task, paired.pairs, 2, 32) if name.startswith(("bag", "conv"))]
    with pytest.raises(UserError, match=r"cannot compare two texts.*layers-1"):
        parse_student("conv").plan(paired)


@pytest.mark.parametrize("name", ["bag-64", "bag-32-augmented", "conv-16+vocabulary+int8", "lstm-16+int8", "bag+int4"])
def test_a_name_may_carry_any_width(name: str) -> None:
    recipe, part = load_recipe(name), name.split("+")[0]
    assert recipe.student.written == part.removesuffix("-augmented")
    template = load_recipe("-".join([part.split("-")[0], *(["augmented"] if "augmented" in part else [])]))
    assert recipe.steps[0] == template.steps[0]


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_other_tasks_of_single_texts_have_their_head(task: str) -> None:
    splits = tiny_splits(task)
    teacher = tiny_bert(splits.labels, task, layers=1)
    student = make_student("bag-32", teacher, splits.train, 0)
    assert student.task == task and student.model.classifier.out_features == len(splits.labels)
    assert student.model.config.problem_type == teacher.model.config.problem_type
