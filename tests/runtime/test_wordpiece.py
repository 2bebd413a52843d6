"""Words cut in Python: the ids are those of the ``tokenizers`` library, whatever stands in a text, or the library is asked."""

from __future__ import annotations

import random
import sys
import unicodedata
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from imbik.data.bundled import bundled_base
from imbik.runtime import tokenizer as tokenizing
from imbik.runtime.tokenizer import RuntimeTokenizer
from imbik.runtime.wordpiece import AskTokenizer, WordPieces
from imbik.testing.tiny import tiny_tokenizer

STRANGE = (
    "İSTANBUL ışık IĞDIR ğüşöç ÇĞÜŞÖİ İi̇Iı",
    "e\u0301té cafe\u0301 A\u030a \u0301alone x\u0338y क्षि ก็",
    "卡在哪里 我的 カード が カ\u3099 한국어 \u1112\u1161\u11ab 𠀀𪛖",
    "👩\u200d👩\u200d👧 🙂🏽 🇹🇷 ☎\ufe0f 1️⃣",
    "a\x00b a\x07b a\x0bb a\x0cb a\x1cb a\x1fb a\x7fb a\x85b a\u2028b a\u2029b a\ufeffb a\ufffdb",
    "soft\u00adhyphen zero\u200bwidth word\u2060joiner left\u200eright \u00a0 \u2003 \u3000",
    "don't—stop… “quoted” ‘single’ «tırnak» £5.00 50% a_b a#b ##ing @x #1 http://a.b/c?d=e&f=g",
    "ΟΔΥΣΣΕΥΣ ΣΑΣ ς Straße ẞ ﬁ ﬀ ½ ² ª Ⅷ ㎏ ǅ ŉ",
    "[CLS] a [SEP] [PAD] [UNK] [MASK] [cls] [ [[x]]",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis " + "x" * 40 + " " + "ab" * 60,
    "Привет БАНК بطاقة כרטיס ไทย Ǆ ŻÓŁĆ Đđ Łł Øø Þþ",
    "",
    " \t\n\r ",
)


def bundled() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(bundled_base() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def cased() -> Tokenizer:
    tokenizer = bundled()
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    return tokenizer


def decomposed() -> Tokenizer:
    tokenizer = bundled()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    return tokenizer


def unclean() -> Tokenizer:
    tokenizer = bundled()
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=True)
    return tokenizer


def bare() -> Tokenizer:
    """Few pieces, no normalizer, short words only: unknown words are the rule."""
    pieces = ["[UNK]", "a", "b", "c", "##a", "##b", "##ab", "ab", "abc", "##c1", "1", ".", "é", "##é", "卡"]
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]", max_input_chars_per_word=6))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {"uncased": bundled, "cased": cased, "NFD": decomposed, "unclean": unclean, "bare": bare}


def drawn(count: int, seed: int) -> list[str]:
    """Return texts of strange words, pieces of them, and characters from all planes."""
    generator = random.Random(seed)
    words = [word for text in STRANGE for word in text.split(" ")] + ["card", "my", "abc", "abab", "ca", "transfering", "topup"]
    letters = "abcxyzAZ09.,!?'-_ \t\né ıİ"
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(generator.randint(1, 6)):
            kind = generator.random()
            if kind < 0.5:
                parts.append(generator.choice(words))
            elif kind < 0.8:
                parts.append("".join(generator.choice(letters) for _ in range(generator.randint(1, 12))))
            else:
                parts.append(
                    chr(
                        generator.choice(
                            [generator.randrange(0x20, 0x250), generator.randrange(0xD800), generator.randrange(0xE000, 0x30000)]
                        )
                    )
                )
        texts.append(generator.choice(["", " "]).join(parts))
    return texts


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_the_library(kind: str) -> None:
    tokenizer = KINDS[kind]()
    pieces, cut = WordPieces(tokenizer), 0
    texts = [*STRANGE, *drawn(4000, 7)]
    for text in texts:
        try:
            found = pieces.ids(text)
        except AskTokenizer:
            assert any(unicodedata.category(letter)[0] in "MC" or letter.isspace() for letter in text), text
            continue
        # special tokens are the reader's business: here they are words with brackets
        if "[" in text:
            continue
        cut += 1
        assert list(found) == tokenizer.encode(text, add_special_tokens=False).ids, (kind, text)
    assert cut > 0.6 * len(texts)


@pytest.mark.parametrize("kind", ["uncased", "cased", "unclean"])
def test_every_character_between_two_letters(kind: str) -> None:
    """One character of each 7, of all planes that have any, beside letters and at a word's end."""
    tokenizer = KINDS[kind]()
    pieces = WordPieces(tokenizer)
    texts = [f"a{chr(number)}b {chr(number)}" for number in [*range(0x3000), *range(0x3000, 0x32000, 7)] if not 0xD800 <= number < 0xE000]
    wanted = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    for text, encoding in zip(texts, wanted, strict=True):
        try:
            found = pieces.ids(text)
        except AskTokenizer:
            continue
        assert list(found) == encoding.ids, text.encode("unicode_escape")


def test_common_texts_never_ask_the_library() -> None:
    pieces = WordPieces(bundled())
    for text in (STRANGE[0].replace("i̇", "i"), STRANGE[2][:8], STRANGE[6], STRANGE[7], STRANGE[10].replace("ไทย", ""), "🙂 it's £5!"):
        pieces.ids(text)


def test_a_surrogate_and_a_mark_are_left_to_the_library() -> None:
    pieces = WordPieces(bundled())
    for text in ("a\ud800", "e\u0301", chr(0x378)):
        with pytest.raises(AskTokenizer):
            pieces.ids(text)


@pytest.mark.parametrize("length", [6, 40])
@pytest.mark.parametrize("kind", ["uncased", "cased", "NFD", "unclean"])
def test_the_reader_gives_the_librarys_ids_with_little_room(kind: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, "encoder", lambda *_: None)
    monkeypatch.setattr(tokenizing, "WORDS", 300)
    texts = [*STRANGE, *drawn(2500, length)]
    tokenizer = KINDS[kind]()
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    wanted = [one.ids for one in tokenizer.encode_batch(texts)]
    reader = RuntimeTokenizer(KINDS[kind](), length)
    assert reader.ids(texts) == wanted
    assert [reader.ids([text])[0] for text in texts] == wanted
    assert len(reader.words) <= 300


def test_new_ordinary_words_do_not_reach_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, "encoder", lambda *_: None)
    reader = RuntimeTokenizer(tiny_tokenizer().backend_tokenizer, 32)
    monkeypatch.setattr(reader, "tokenizer", None)
    reader.__dict__["_pieces"] = WordPieces(tiny_tokenizer().backend_tokenizer)
    assert reader.ids(["my card, please!", "where?"]) and "card," in reader.words


@pytest.mark.slow
def test_every_character_of_unicode() -> None:
    tokenizer = bundled()
    pieces = WordPieces(tokenizer)
    for number in range(sys.maxunicode + 1):
        if 0xD800 <= number < 0xE000:
            continue
        text = f"a{chr(number)}b"
        try:
            found = pieces.ids(text)
        except AskTokenizer:
            continue
        assert list(found) == tokenizer.encode(text, add_special_tokens=False).ids, hex(number)
