"""Texts made from texts: where candidates come from, what is exchanged, that it is made once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from imbik.distillation.augmentation import Augmentation, augmented, with_augmented
from imbik.distillation.word_candidates import MaskedWords, VectorWords
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.methods.registry import make_method
from imbik.models.teacher import Teacher
from imbik.testing.tiny import WORDS, tiny_bert, tiny_context, tiny_splits, tiny_tokenizer
from imbik.types import Examples

NEAR = {"card": "account", "money": "fee", "lost": "found"}


def vectors(tmp_path):
    """A GloVe file in which the words of NEAR lie beside one another."""
    generator = np.random.default_rng(0)
    rows = {}
    for word, other in NEAR.items():
        rows[word] = generator.normal(size=5)
        rows[other] = rows[word] + 0.01
    file = tmp_path / "glove.txt"
    file.write_text("".join(f"{word} {' '.join(f'{x:.4f}' for x in row)}\n" for word, row in rows.items()))
    return file


def examples(*texts, pairs=None):
    return Examples(list(texts), pairs, None, "-".join(texts))


def test_words_are_exchanged_for_their_nearest_neighbours_and_the_rest_stays(tmp_path):
    settings = Augmentation("none", vectors=str(vectors(tmp_path)), copies=40, probability=0.4, candidates=1)
    made = augmented(examples("My card, 12 lost!", "why?"), settings, Teacher.of(tiny_bert()), tmp_path, Silent())
    assert set(made.texts) == {"My account, 12 lost!", "My card, 12 found!", "My account, 12 found!"}, "distinct, without the source"


@pytest.mark.parametrize("probability", [0.1, 0.4, 1.0])
def test_a_word_is_exchanged_with_the_given_probability(tmp_path, probability):
    settings = Augmentation("none", vectors=str(vectors(tmp_path)), copies=1, probability=probability, candidates=1)
    texts = [f"card {i}" for i in range(2000)]
    made = augmented(examples(*texts), settings, Teacher.of(tiny_bert()), tmp_path, Silent())
    assert len(made.texts) / 2000 == pytest.approx(probability, abs=0.04)


def test_made_once_and_the_same_again(tmp_path):
    settings, teacher, splits = Augmentation("none", copies=3), tiny_bert(), tiny_splits()
    first = list(augmented(splits.train, settings, Teacher.of(teacher), tmp_path, Silent()).texts)
    (file,) = tmp_path.glob("*.jsonl")
    stamp = file.stat().st_mtime_ns
    assert (
        list(augmented(splits.train, settings, Teacher.of(teacher), tmp_path, Silent()).texts) == first and file.stat().st_mtime_ns == stamp
    )
    elsewhere = augmented(splits.train, settings, Teacher.of(teacher), tmp_path / "new", Silent())
    assert list(elsewhere.texts) == first
    other = augmented(splits.train, replace(settings, seed=1), Teacher.of(teacher), tmp_path, Silent())
    assert list(other.texts) != first and len(list(tmp_path.glob("*.jsonl"))) == 2
    assert not set(first) & set(splits.train.texts) or all(t not in first[:3] for t in splits.train.texts[:1])


def test_a_text_gets_the_same_copies_whatever_stands_beside_it(tmp_path):
    settings, teacher = Augmentation("none", copies=5), tiny_bert()
    one = augmented(examples("my card is lost", "good bank"), settings, Teacher.of(teacher), tmp_path, Silent())
    two = augmented(examples("good bank", "my card is lost"), settings, Teacher.of(teacher), tmp_path, Silent())
    assert sorted(one.texts) == sorted(two.texts)


def test_of_many_rows_the_longest_are_copied(tmp_path):
    """As many as ``most`` has room for, three times each at least, with the copies that they get among all."""
    rows = examples("good bank", "my card is lost again", "card", "my good card is lost")
    settings, teacher = Augmentation("none", copies=3), Teacher.of(tiny_bert())
    every = list(augmented(rows, settings, teacher, tmp_path, Silent()).texts)
    alone = list(augmented(examples("my card is lost again", "my good card is lost"), settings, teacher, tmp_path, Silent()).texts)
    assert list(augmented(rows, replace(settings, most=6), teacher, tmp_path, Silent()).texts) == alone
    assert list(augmented(rows, replace(settings, most=8), teacher, tmp_path, Silent()).texts) == alone
    assert list(augmented(rows, replace(settings, most=12), teacher, tmp_path, Silent()).texts) == every
    fewer = list(augmented(rows, Augmentation("none", copies=9, most=12), teacher, tmp_path, Silent()).texts)
    assert fewer == every, "the first three of nine"
    assert settings.written() == Augmentation("none", copies=3).written() and "most" not in settings.written()
    assert replace(settings, most=6).written()["most"] == 6


def test_pairs_stay_pairs(tmp_path):
    settings = Augmentation("none", vectors=str(vectors(tmp_path)), copies=20, candidates=1)
    made = augmented(examples("card", pairs=["money"]), settings, Teacher.of(tiny_bert()), tmp_path, Silent())
    assert set(zip(made.texts, made.pairs, strict=True)) == {("account", "money"), ("card", "fee"), ("account", "fee")}


def test_vectors_of_the_teachers_own_table():
    words = VectorWords(["a", "b", "c"], np.array([[1.0, 0], [0.9, 0.1], [0, 1]], dtype=np.float32), 1, "key")
    assert words.candidates("A") == ["b"] and words.candidates("c") == ["b"] and words.candidates("zebra") == []


def masked_model(seed=0):
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    config = AutoConfig.for_model(
        "bert",
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    return AutoModelForMaskedLM.from_config(config, attn_implementation="eager"), tokenizer


def test_masked_candidates_are_the_models_most_probable_whole_words():
    model, tokenizer = masked_model()
    words = MaskedWords(model, tokenizer, 3, "key")
    text = "my card hopeless late"
    spans = [(0, 2), (3, 7), (8, 16), (17, 21)]
    (found,) = words.candidates([text], [spans])
    assert found[2] is None, "several pieces: left to the word vectors"
    ids = tokenizer(text)["input_ids"]
    position = ids.index(tokenizer.convert_tokens_to_ids("late"))
    masked = [tokenizer.mask_token_id if i == position else token for i, token in enumerate(ids)]
    with torch.no_grad():
        order = model(input_ids=torch.tensor([masked])).logits[0, position].argsort(descending=True)
    pieces = [tokenizer.convert_ids_to_tokens(int(i)) for i in order]
    wanted = [p for p in pieces if p.isalpha() and not p.startswith("##") and p != "late"][:3]
    assert found[3] == wanted or sorted(found[3]) == sorted(wanted)


def test_a_masked_model_from_a_folder_makes_texts(tmp_path):
    model, tokenizer = masked_model()
    model.save_pretrained(tmp_path / "mlm")
    tokenizer.save_pretrained(tmp_path / "mlm")
    teacher, splits = tiny_bert(), tiny_splits(rows=10)
    context = tiny_context(teacher, splits, tmp_path)
    both = with_augmented(splits.train, {"masked_model": str(tmp_path / "mlm"), "copies": 4}, context)
    assert list(both.texts[:10]) == list(splits.train.texts) and 10 < len(both.texts) <= 50
    assert all(set(text.lower().split()) <= {*WORDS, *"abcdefghijklmnopqrstuvwxyz"} for text in both.texts)


def test_a_model_without_a_masked_head_is_refused(tmp_path):
    from imbik.models.checkpoint import save_checkpoint

    save_checkpoint(tiny_bert(), tmp_path / "teacher")
    settings = Augmentation(str(tmp_path / "teacher"))
    with pytest.raises(UserError, match="no masked-language-model head"):
        augmented(examples("card"), settings, Teacher.of(tiny_bert()), tmp_path, Silent())
    with pytest.raises(UserError, match="does not exist"):
        augmented(examples("card"), Augmentation(str(tmp_path / "nothing")), Teacher.of(tiny_bert()), tmp_path, Silent())


@pytest.mark.parametrize(
    ("content", "message"),
    [("card 0.1 0.2\nmoney 0.1\n", "line 2"), ("card x y\n", "line 1"), ("\xff\x00\n", "line 1"), ("", "empty"), (None, "no such file")],
)
def test_broken_word_vectors_are_refused(tmp_path, content, message):
    file = tmp_path / "v.txt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=message):
        augmented(examples("card"), Augmentation("none", vectors=str(file)), Teacher.of(tiny_bert()), tmp_path, Silent())


def test_word_vectors_may_hold_words_with_spaces_and_letters_that_are_no_utf8(tmp_path):
    file = vectors(tmp_path)
    file.write_bytes(file.read_bytes() + b". . . 1 2 3 4 5\ncaf\xe9 5 4 3 2 1\n")
    settings = Augmentation("none", vectors=str(file), candidates=1)
    assert list(augmented(examples("card"), settings, Teacher.of(tiny_bert()), tmp_path, Silent()).texts) == ["account"]


def test_word2vec_text_files_open_too(tmp_path):
    file = vectors(tmp_path)
    file.write_text(f"6 5\n{file.read_text()}")
    made = augmented(examples("card"), Augmentation("none", vectors=str(file), candidates=1), Teacher.of(tiny_bert()), tmp_path, Silent())
    assert list(made.texts) == ["account"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "masked_model"),
        ({}, "masked_model"),
        ({"masked_model": "none", "copies": 0}, "copies"),
        ({"masked_model": "none", "probability": 1.5}, "probability"),
        ({"masked_model": "none", "words": 3}, "words"),
    ],
)
def test_settings_that_say_too_little_or_too_much_are_refused(value, message):
    with pytest.raises(UserError, match=message):
        make_method({"distill": {"augment": value}}, "recipe")


def test_settings_are_written_out():
    made = make_method({"distill": {"augment": {"masked_model": "none"}}}, "recipe")
    assert made.augment == {"masked_model": "none", "vectors": "teacher", "copies": 20, "probability": 0.4, "candidates": 15, "seed": 0}
