"""Vocabulary pruning: covered texts are cut as before, nothing crashes, the rows and ids fit, other tokenizers are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from word_piece_kinds import SENTENCES, bpe, unigram, wrapped

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.locale.notes import sentence
from imbik.methods.registry import make_method
from imbik.models.tokenizers import Merges, characters, keep_pieces, pieces_of, special_ids, wrap_spec
from imbik.runtime.predictor import load_artefact
from imbik.students.catalogue import make_student
from imbik.testing.contract import check_reload
from imbik.testing.tiny import logits_of, tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode
from imbik.types import Examples

AWKWARD = [
    "",
    " ",
    "🙂🙃",
    "ığüşöç İstanbul'da çay",
    "我丢了我的卡",
    "a" * 10_000,
    "card " * 2_000,
    "\u0000\ufeff\u200b",
    "ﬁ ½ Ⅷ",
    "[PAD] [unused3]",
]


def _prune(checkpoint, tmp_path, *, texts=None, **settings):
    splits = tiny_splits(checkpoint.task)
    if texts is not None:
        splits = replace(splits, train=Examples(texts, None, np.zeros(len(texts), dtype=np.int64), "texts"))
    context = tiny_context(checkpoint, splits, tmp_path)
    return make_method({"vocabulary": settings}, "test").apply(checkpoint, context)


def _bert(tokenizer, family="bert"):
    """A tiny model around another tokenizer."""
    plain = tiny_bert(family=family)
    plain.model.resize_token_embeddings(len(tokenizer))
    return replace(plain, tokenizer=tokenizer)


def _pieces(tokenizer, text):
    return tokenizer.backend_tokenizer.encode(text).tokens


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_texts_of_kept_pieces_are_cut_and_answered_as_before(kind, tmp_path):
    before = tiny_bert() if kind == "wordpiece" else _bert({"bpe": bpe, "unigram": unigram}[kind](), "roberta" if kind == "bpe" else "bert")
    texts = SENTENCES[:3]
    logits = logits_of(before, Examples(texts, None, None, ""))
    cut = [_pieces(before.tokenizer, text) for text in texts]
    size = before.model.config.vocab_size
    after = _prune(before, tmp_path, texts=texts, margin=3, characters="seen")
    assert [_pieces(after.tokenizer, text) for text in texts] == cut
    np.testing.assert_array_equal(logits_of(after, Examples(texts, None, None, "")), logits)
    assert len(after.tokenizer) == after.model.config.vocab_size == after.model.get_input_embeddings().num_embeddings < size
    assert after.tokenizer.pad_token_id == after.model.config.pad_token_id == after.model.get_input_embeddings().padding_idx
    check_reload(after, tmp_path / "saved", Examples([*SENTENCES, *AWKWARD], None, None, ""))


@pytest.mark.parametrize("make", [bpe, unigram])
def test_every_single_character_stays_so_that_nothing_becomes_unknown(make, tmp_path):
    tokenizer = make()
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    single = characters(spec)
    after = _prune(_bert(tokenizer), tmp_path, texts=["card"], margin=0)
    assert set(single) <= set(after.tokenizer.get_vocab())
    for text in ("cardigan", "accountant", "money"):
        assert tokenizer.unk_token not in _pieces(after.tokenizer, text)
        assert "".join(_pieces(after.tokenizer, text)) == "".join(_pieces(tokenizer, text)), "the same text in smaller pieces"


def test_the_merges_of_a_pruned_bpe_lead_to_kept_pieces_only():
    spec = json.loads(bpe().backend_tokenizer.to_str())
    piece = max(pieces_of(spec), key=len)
    kept = Merges.of(spec).close(special_ids(spec) | set(characters(spec).values()) | {pieces_of(spec)[piece]})
    small, old = keep_pieces(spec, kept)
    assert 0 < len(small["model"]["merges"]) < len(spec["model"]["merges"])
    for left, right in small["model"]["merges"]:
        assert {left, right, left + right} <= set(small["model"]["vocab"])
    assert [small["model"]["vocab"].get(name) for name in ("<pad>", "<s>", "</s>")] == [0, 1, 2]
    assert Tokenizer.from_str(json.dumps(small)).encode(piece.replace("Ġ", " ")).tokens[1:-1] == [piece]
    assert old == sorted(kept)


def test_awkward_texts_go_through_the_whole_path(tmp_path):
    after = _prune(tiny_bert(), tmp_path, margin=5)
    logits = logits_of(after, Examples(AWKWARD, None, None, ""))
    artefact = export(after, "onnx", tmp_path / "artefact", texts=AWKWARD)
    found = load_artefact(artefact.path, threads=1).scores(AWKWARD)
    assert np.isfinite(found).all() and artefact.parity["max_abs_relative"] < 1e-3 and found.shape == logits.shape
    shipped = json.loads((artefact.path / "tokenizer.json").read_text(encoding="utf-8"))
    assert len(shipped["model"]["vocab"]) == after.model.config.vocab_size, "the artefact ships the rewritten tokenizer"


def test_margin_and_min_count_do_what_they_say(tmp_path):
    texts = ["card card money", "card loan"]

    def size(name, **settings):
        return len(_prune(tiny_bert(), tmp_path / name, texts=texts, characters="seen", **settings).tokenizer)

    assert size("b", margin=7) == size("a", margin=0) + 7
    assert size("c", margin=0, min_count=2) == size("a2", margin=0) - 2, "money and loan occur once"
    assert size("d", margin=10**6) == len(tiny_bert().tokenizer)


def test_a_margin_that_takes_all_is_the_identity(tmp_path):
    before, splits = tiny_bert(), tiny_splits()
    logits = logits_of(before, splits.test)
    after = _prune(before, tmp_path, margin=10**6)
    np.testing.assert_array_equal(logits_of(after, splits.test), logits)
    np.testing.assert_array_equal(encode(splits.test, after.tokenizer).ids, encode(splits.test, tiny_bert().tokenizer).ids)


def test_the_note_reaches_the_card_and_says_what_dev_says(tmp_path):
    after = _prune(tiny_bert(), tmp_path, margin=0)
    assert len(after.notes) == 1 and "unknown pieces 0.00% before and 0.00% after" in sentence(after.notes[0])
    from imbik.models.checkpoint import save_checkpoint
    from imbik.models.pretrained import load_checkpoint

    save_checkpoint(after, tmp_path / "saved")
    assert load_checkpoint(tmp_path / "saved").notes == after.notes


def test_a_tokenizer_without_subwords_is_refused(tmp_path):
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "card": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match=r"cannot be pruned.*WordLevel"):
        _prune(_bert(wrapped(words, ["<pad>", "<s>", "</s>", "<unk>"])), tmp_path)


def test_a_bpe_that_marks_the_end_of_words_is_refused():
    spec = json.loads(Tokenizer(models.BPE(end_of_word_suffix="</w>")).to_str())
    with pytest.raises(UserError, match="marked word parts"):
        pieces_of(spec)


def test_settings_of_the_tokenizer_survive():
    tokenizer = tiny_bert().tokenizer
    tokenizer.truncation_side, tokenizer.padding_side = "left", "left"
    spec, _ = keep_pieces(json.loads(tokenizer.backend_tokenizer.to_str()), set(tokenizer.get_vocab().values()))
    made = wrap_spec(tokenizer, spec)
    for name in ("truncation_side", "padding_side", "model_max_length", "pad_token", "unk_token", "cls_token", "mask_token"):
        assert getattr(made, name) == getattr(tokenizer, name), name
    assert made.model_input_names == tokenizer.model_input_names


def test_pairs_of_pieces_keep_their_rows(tmp_path):
    student = make_student({"family": "bag", "hidden": 32, "bigrams": 50}, tiny_bert(layers=1), tiny_splits().train, 0)
    torch.manual_seed(0)
    for parameter in student.model.parameters():
        parameter.data += torch.randn_like(parameter)
    texts = SENTENCES[:3]
    rows = Examples(texts, None, np.zeros(3, dtype=np.int64), "texts")
    expected, size = logits_of(student, rows), student.model.config.vocab_size
    after = _prune(student, tmp_path, texts=texts, margin=0)
    assert len(after.model.keys) == after.model.config.vocab_size < size
    np.testing.assert_allclose(logits_of(after, rows), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("step", ["vocabulary", "share", "cluster"])
def test_what_a_step_notes_travels_to_the_artefact_and_is_said_in_turkish(step, tmp_path):
    from imbik.locale.notes import document
    from imbik.locale.phrases import Phrases

    settings = {"vocabulary": {"margin": 5}, "share": {"groups": 2, "init": "mean"}, "cluster": {}}[step]
    made = make_method({step: settings}, "test").apply(tiny_bert(), tiny_context(tiny_bert(), tiny_splits(), tmp_path))
    artefact = export(made, "onnx", tmp_path / "artefact")
    (note,) = json.loads((artefact.path / "manifest.json").read_text(encoding="utf-8"))["notes"]
    assert note == document(made.notes[0]) and note["text"] == Phrases("en").note(made.notes[0]) != Phrases("tr").note(made.notes[0])
