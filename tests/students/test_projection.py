"""A narrow student's start against its formulas, written out in NumPy: directions, word tables, heads, units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from imbik.models.blocks import layer_stack
from imbik.models.teacher import Teacher
from imbik.students import projection
from imbik.students.catalogue import make_student
from imbik.students.projection import principal_directions
from imbik.testing.tiny import tiny_bert, tiny_splits

HIDDEN, HEADS, WIDTH = 32, 4, 8


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


@pytest.fixture(scope="module")
def texts():
    return tiny_splits(rows=24).train


@pytest.fixture(scope="module")
def teacher():
    """A BERT whose heads, units and layers count differently, with biases that are not zero."""
    checkpoint = tiny_bert(hidden=HIDDEN, heads=HEADS)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in checkpoint.model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
        for number, layer in enumerate(layer_stack(checkpoint.model)[1]):
            layer.output.LayerNorm.weight.mul_(0.3 + 4.0 * number)  # states smaller and larger than 1
            # each side alone ranks heads and units otherwise than their product does
            read, write = torch.randperm(HEADS), torch.randperm(HEADS)
            layer.attention.self.value.weight.mul_((1.0 + read).repeat_interleave(WIDTH)[:, None])
            layer.attention.output.dense.weight.mul_((1.0 + write).repeat_interleave(WIDTH)[None])
            layer.intermediate.dense.weight.mul_((1.0 + torch.randperm(2 * HIDDEN))[:, None] / HIDDEN)
            layer.output.dense.weight.mul_((1.0 + torch.randperm(2 * HIDDEN))[None] / HIDDEN)
    return Teacher.of(checkpoint)


def directions_by_numpy(teacher, texts) -> np.ndarray:
    """All eigenvectors, the leading one first, of Σ hᵀh over layers, each layer's real tokens scaled to a mean square of 1."""
    batch = teacher.tokenizer(list(texts.texts), padding=True, return_tensors="pt")
    with torch.no_grad():
        states = teacher.model(**batch, output_hidden_states=True).hidden_states
    moment = np.zeros((HIDDEN, HIDDEN))
    for state in states:
        real = numbers(state)[batch["attention_mask"].numpy() == 1]
        moment += real.T @ real / np.mean(real**2)
    return np.linalg.eigh(moment)[1][:, ::-1]


def test_directions_are_the_leading_eigenvectors_of_the_states_second_moment(teacher, texts):
    found, expected = numbers(principal_directions(teacher, texts, 6)), directions_by_numpy(teacher, texts)[:, :6]
    assert found.shape == (HIDDEN, 6)
    # column by column, up to the sign
    np.testing.assert_allclose(np.abs(np.sum(found * expected, axis=0)), 1.0, atol=1e-4)


def test_directions_come_from_texts_spread_evenly_over_all(teacher, texts, monkeypatch):
    monkeypatch.setattr(projection, "_SAMPLE", 4)
    found = numbers(principal_directions(teacher, texts, 6))
    few = type(texts)([texts.texts[i] for i in (0, 7, 15, 23)], None, None, "")
    np.testing.assert_allclose(np.abs(np.sum(found * directions_by_numpy(teacher, few)[:, :6], axis=0)), 1.0, atol=1e-4)


def test_both_texts_of_a_pair_are_read(teacher):
    pairs = tiny_splits(rows=24, pairs=True).train
    alone = principal_directions(teacher, type(pairs)(pairs.texts, None, None, ""), 6)
    assert float((principal_directions(teacher, pairs, 6) - alone).abs().max()) > 1e-3


def small(teacher, texts, **shape):
    return make_student({"layers": 2, "hidden": 16, "heads": 2, "intermediate": 24} | shape, teacher, texts, 0).model


def pairs_of_layers(teacher, student):
    theirs = layer_stack(teacher.model)[1]
    return [(theirs[index], layer) for index, layer in zip((1, 3), layer_stack(student)[1], strict=True)]


def test_word_position_and_type_tables_are_projected(teacher, texts):
    student, turned = small(teacher, texts), numbers(principal_directions(teacher, texts, 16))
    ours, theirs = student.bert.embeddings, teacher.model.bert.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        np.testing.assert_allclose(numbers(getattr(ours, name).weight), numbers(getattr(theirs, name).weight) @ turned, atol=1e-5)


def test_positions_that_the_teacher_lacks_are_as_large_as_the_others(texts):
    """MPNet and RoBERTa count from behind their padding id; here the student simply has more positions."""
    teacher = tiny_bert(hidden=HIDDEN, heads=HEADS)
    student = tiny_bert(hidden=16, heads=2, layers=2)
    more = nn.Embedding(2000, 16)
    student.model.bert.embeddings.position_embeddings = more
    projection.project(Teacher.of(teacher), student, (1, 3), texts)
    rows = numbers(teacher.model.bert.embeddings.position_embeddings.weight) @ numbers(principal_directions(teacher, texts, 16))
    np.testing.assert_allclose(numbers(more.weight)[:64], rows, atol=1e-5)
    assert numbers(more.weight)[64:].std() == pytest.approx(rows.std(), rel=0.05)


def test_a_narrow_table_is_widened_first(texts):
    """ALBERT: (table @ W.T + b) @ P."""
    teacher = tiny_bert(family="albert", hidden=HIDDEN, heads=HEADS)
    with torch.no_grad():
        teacher.model.albert.encoder.embedding_hidden_mapping_in.bias.normal_()
    student = small(teacher, texts)
    wide = teacher.model.albert.encoder.embedding_hidden_mapping_in(teacher.model.get_input_embeddings().weight)
    expected = numbers(wide) @ numbers(principal_directions(teacher, texts, 16))
    np.testing.assert_allclose(numbers(student.get_input_embeddings().weight), expected, atol=1e-5)


def test_the_heads_that_write_most_are_kept_in_their_order(teacher, texts):
    """|V_h| · |O_h|, Frobenius norms; a head as wide as the student's is projected as it is."""
    turned = numbers(principal_directions(teacher, texts, 16))
    for theirs, ours in pairs_of_layers(teacher, small(teacher, texts)):
        old, new = theirs.attention.self, ours.attention.self
        rows = [slice(h * WIDTH, (h + 1) * WIDTH) for h in range(HEADS)]
        value, out = numbers(old.value.weight), numbers(theirs.attention.output.dense.weight)
        written = [np.linalg.norm(value[r]) * np.linalg.norm(out[:, r]) for r in rows]
        kept = np.concatenate([np.arange(HEADS * WIDTH)[rows[h]] for h in sorted(np.argsort(written)[-2:])])
        for role in ("query", "key", "value"):
            np.testing.assert_allclose(numbers(getattr(new, role).weight), numbers(getattr(old, role).weight)[kept] @ turned, atol=1e-5)
            np.testing.assert_allclose(numbers(getattr(new, role).bias), numbers(getattr(old, role).bias)[kept], atol=1e-6)
        found = ours.attention.output.dense
        np.testing.assert_allclose(numbers(found.weight), turned.T @ out[:, kept], atol=1e-5)
        np.testing.assert_allclose(numbers(found.bias), turned.T @ numbers(theirs.attention.output.dense.bias), atol=1e-5)


def test_the_units_that_write_most_are_kept_in_their_order(teacher, texts):
    """|row of up| · |column of down|."""
    turned = numbers(principal_directions(teacher, texts, 16))
    for theirs, ours in pairs_of_layers(teacher, small(teacher, texts)):
        up, down = numbers(theirs.intermediate.dense.weight), numbers(theirs.output.dense.weight)
        kept = np.sort(np.argsort(np.linalg.norm(up, axis=1) * np.linalg.norm(down, axis=0))[-24:])
        np.testing.assert_allclose(numbers(ours.intermediate.dense.weight), up[kept] @ turned, atol=1e-5)
        np.testing.assert_allclose(numbers(ours.intermediate.dense.bias), numbers(theirs.intermediate.dense.bias)[kept], atol=1e-6)
        np.testing.assert_allclose(numbers(ours.output.dense.weight), turned.T @ down[:, kept], atol=1e-5)
        np.testing.assert_allclose(numbers(ours.output.dense.bias), turned.T @ numbers(theirs.output.dense.bias), atol=1e-5)


def cut(product: np.ndarray, rank: int) -> np.ndarray:
    u, values, vh = np.linalg.svd(product)
    return (u[:, :rank] * values[:rank]) @ vh[:rank]


def test_narrower_heads_keep_the_best_part_of_their_scores_and_of_what_they_write(teacher, texts):
    """q·k / √d and out·v of each head, biases counted in, are the nearest of rank 4 to the teacher's (Eckart and Young 1936)."""
    turned, narrow = numbers(principal_directions(teacher, texts, 16)), 4
    for theirs, ours in pairs_of_layers(teacher, small(teacher, texts, heads=4)):
        old, new = theirs.attention.self, ours.attention.self
        for head in range(HEADS):
            wide, thin = slice(head * WIDTH, (head + 1) * WIDTH), slice(head * narrow, (head + 1) * narrow)
            of_teacher = {
                role: np.hstack([numbers(getattr(old, role).weight)[wide] @ turned, numbers(getattr(old, role).bias)[wide, None]])
                for role in ("query", "key", "value")
            }
            of_student = {
                role: np.hstack([numbers(getattr(new, role).weight)[thin], numbers(getattr(new, role).bias)[thin, None]])
                for role in ("query", "key", "value")
            }
            scores = of_student["query"].T @ of_student["key"] / np.sqrt(narrow)
            expected = cut(of_teacher["query"].T @ of_teacher["key"], narrow) / np.sqrt(WIDTH)
            np.testing.assert_allclose(scores, expected, atol=1e-4 * np.abs(expected).max())
            written = numbers(ours.attention.output.dense.weight)[:, thin] @ of_student["value"]
            expected = cut(turned.T @ numbers(theirs.attention.output.dense.weight)[:, wide] @ of_teacher["value"], narrow)
            np.testing.assert_allclose(written, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"heads": 1}, "attention"),  # 16 numbers a head; the teacher's have 8
        ({"heads": 8}, "attention"),
        ({"intermediate": 65}, "feed-forward networks"),
        ({"intermediate": 64}, None),
    ],
)
def test_what_cannot_be_projected_is_told(teacher, texts, shape, said):
    made = make_student({"layers": 2, "hidden": 16, "heads": 2, "intermediate": 24} | shape, teacher, texts, 0)
    assert [note.values["names"] for note in made.notes] == ([] if said is None else [(said,)])
