"""Texts to tokens: what is cut, what is never looked at, and what a text without tokens becomes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from imbik.data.excerpts import kind_of
from imbik.data.tokens import Stretched, encoded_rows, filled, shortened
from imbik.data.windows import cut
from imbik.errors import UserError
from imbik.testing.tiny import WORDS, tiny_tokenizer

RANDOM = random.Random(0)
CORPUS = [" ".join(RANDOM.choices(WORDS, k=8)) for _ in range(300)]


def word_piece() -> Tokenizer:
    return tiny_tokenizer().backend_tokenizer


def byte_bpe() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    made.post_processor = processors.ByteLevel()
    return made


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    return made


def unsplit_bpe() -> Tokenizer:
    """As SentencePiece's: the whole text is one word."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], show_progress=False))
    return made


KINDS = {made.__name__: made for made in (word_piece, byte_bpe, unigram, unsplit_bpe)}

TEXTS: dict[str, Callable[[int], str]] = {
    "words": lambda n: " ".join(RANDOM.choices(WORDS, k=n // 5)),
    "noise": lambda n: "".join(RANDOM.choices("abcdefghijklmnopqrstuvwxyz     .,!?é中文😀\n\t", k=n)),
    "one word": lambda n: "a" * n,
    "no spaces": lambda n: "".join(RANDOM.choices("中文银行卡片丢失", k=n)),
    "spaces": lambda n: " " * n,
    "words that are too long": lambda n: " ".join("x" * RANDOM.choice([5, 90, 150]) for _ in range(n // 80)),
    "long runs": lambda n: "".join(
        RANDOM.choice(
            ["card ", "x" * RANDOM.choice([99, 100, 101, 900]), "ş" * 700, " " * 500, "\u0301\u0323" * 300, "中", "[SEP]", ".", "Ж" * 400]
        )
        for _ in range(n // 300)
    ),
    "a word of megabytes": lambda n: "My " + "ab" * n + ", card",
    "half of a character": lambda n: "card \ud800 " * (n // 7),
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_of_a_long_text_are_those_of_all_of_it(kind: str, side: str) -> None:
    tokenizer = KINDS[kind]()
    for length in (16, 128):
        cut(tokenizer, length, side, 0.0, paired=False)
        for name, make in TEXTS.items():
            text = make(20_000)
            part = shortened(tokenizer, text, length, side)
            whole = tokenizer.encode(text.encode("utf-8", "replace").decode())
            assert tokenizer.encode(part).ids == whole.ids, f"{name}, {length} tokens"


def spotted_word_piece(**settings: bool) -> Tokenizer:
    """As BERT's, with other settings of its normalizer."""
    made = word_piece()
    made.normalizer = normalizers.BertNormalizer(**settings)
    return made


NORMALIZERS = {
    "lower": {"lowercase": True},
    "cased": {"lowercase": False, "strip_accents": False},
    "unclean": {"clean_text": False, "lowercase": False, "handle_chinese_chars": False},
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("settings", NORMALIZERS.values(), ids=NORMALIZERS)
def test_tokens_and_places_are_those_of_all_of_a_text(settings: dict[str, bool], side: str) -> None:
    tokenizer = spotted_word_piece(**settings)
    for length, name in itertools.product((16, 300), TEXTS):
        cut(tokenizer, length, side, 0.0, paired=False)
        text = TEXTS[name](20_000).encode("utf-8", "replace").decode()
        (ours,) = encoded_rows(tokenizer, [text], [0], length, side)
        wanted = tokenizer.encode(text)
        assert (ours.ids, ours.offsets) == (wanted.ids, wanted.offsets), f"{name}, {length} tokens"


def test_windows_of_a_text_and_pairs_keep_their_places() -> None:
    tokenizer = word_piece()
    text, question = TEXTS["long runs"](60_000), "where is " + "y" * 9_000 + " my card"
    cut(tokenizer, 40, "right", 0.25, paired=True)
    (ours,) = encoded_rows(tokenizer, [(question, text)], [0], None, "right")
    wanted = tokenizer.encode(question, text)
    assert isinstance(ours, Stretched) and len(wanted.overflowing) > 2
    for mine, right in zip([ours, *ours.overflowing], [wanted, *wanted.overflowing], strict=True):
        assert (mine.ids, mine.type_ids, mine.sequence_ids, mine.offsets) == (right.ids, right.type_ids, right.sequence_ids, right.offsets)


def test_an_added_token_of_letters_is_found_inside_of_a_word_of_any_length() -> None:
    tokenizer = word_piece()
    tokenizer.add_tokens([AddedToken("NEWTOKEN", normalized=False)])
    cut(tokenizer, 16, "right", 0.0, paired=False)
    text = "a" * 9_000 + "NEWTOKEN" + "a" * 9_000
    assert tokenizer.encode(shortened(tokenizer, text, 16, "right")).ids == tokenizer.encode(text).ids
    assert tokenizer.token_to_id("NEWTOKEN") in tokenizer.encode(text).ids


@pytest.mark.parametrize("kind", ["letter", "mark", "space", "dropped"])
def test_a_run_is_what_bert_makes_of_its_characters(kind: str) -> None:
    """All of Unicode: a run of letters or marks is one word behind a letter, one of spaces or of what is dropped changes nothing."""
    for settings in NORMALIZERS.values():
        tokenizer = spotted_word_piece(**settings)
        among = [chr(n) for n in (*range(0xD800), *range(0xE000, 0x11000, 7)) if kind_of(tokenizer, chr(n)) == kind]
        RANDOM.shuffle(among)
        for some in (among[first : first + 40] for first in range(0, len(among), 40)):
            words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str("x" + "".join(some) + "x"))
            size = sum(len(word) for word, _ in words)
            if kind in ("letter", "mark"):
                assert len(words) == 1 and size >= len(some) + 2, some
            else:
                assert len(words) == (2 if kind == "space" else 1) and size == 2, some


@pytest.mark.parametrize(
    "text", ["a" * 4_000_000, "My " + "ş" * 2_000_000, " " * 4_000_000 + "card", "e" + "\u0301" * 2_000_000, "ก" * 2_000_000]
)
def test_a_text_of_one_word_of_megabytes_is_answered_at_once(text: str) -> None:
    tokenizer = word_piece()
    cut(tokenizer, 128, "right", 0.0, paired=False)
    assert len(shortened(tokenizer, text, 128, "right")) < 1_000


def test_a_text_of_very_many_characters_is_looked_at_as_it_is() -> None:
    tokenizer = word_piece()
    cut(tokenizer, 16, "right", 0.0, paired=False)
    text = "".join(map(chr, range(0xAC00, 0xD7A4))) + "a" * 9_000
    assert shortened(tokenizer, text, 16, "right") == text


def test_of_a_text_of_megabytes_a_few_kilobytes_are_looked_at() -> None:
    tokenizer = word_piece()
    cut(tokenizer, 256, "right", 0.0, paired=False)
    text = "card money " * 400_000
    assert len(shortened(tokenizer, text, 256, "right")) < 10_000 and len(shortened(tokenizer, text, 256, "left")) < 10_000
    pair = shortened(tokenizer, (text, "bank"), 256, "right")
    assert isinstance(pair, tuple) and len(pair[0]) < 10_000 and pair[1] == "bank"
    assert shortened(tokenizer, "card", 256, "right") == "card" and shortened(tokenizer, None, 256, "right") is None


@pytest.mark.parametrize("side", ["right", "left"])
def test_pairs_are_cut_as_if_both_had_been_looked_at(side: str) -> None:
    tokenizer = word_piece()
    long = TEXTS["words"]
    for pair in ((long(20_000), long(20_000)), (long(20_000), "bank"), ("bank card", long(9_000)), (long(9_000), long(200))):
        cut(tokenizer, 33, side, 0.0, paired=True)
        assert tokenizer.encode(*shortened(tokenizer, pair, 33, side)).ids == tokenizer.encode(*pair).ids


def test_a_length_that_special_tokens_fill_is_refused() -> None:
    tokenizer = word_piece()
    cut(tokenizer, 3, "right", 0.0, paired=False)
    assert len(tokenizer.encode("my card").ids) == 3
    with pytest.raises(UserError, match="at least 3"):
        cut(tokenizer, 2, "right", 0.0, paired=False)
    cut(tokenizer, 5, "right", 0.0, paired=True)
    with pytest.raises(UserError, match=r"pairs of texts.*at least 5"):
        cut(tokenizer, 4, "right", 0.0, paired=True)


def test_a_text_without_tokens_is_one_token_of_padding() -> None:
    assert filled([], 7) == [7] and filled([1, 2], 7) == [1, 2]
