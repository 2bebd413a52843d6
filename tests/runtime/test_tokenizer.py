"""The runtime's tokenizer: with its memory for words it says what the tokenizer itself says, whatever the text."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from imbik.data.bundled import bundled_base
from imbik.runtime import tokenizer as tokenizing
from imbik.runtime.ngrams import Cut, NgramTokenizer
from imbik.runtime.tokenizer import RuntimeTokenizer
from imbik.testing.tiny import WORDS, tiny_tokenizer

ODD = "Card CARD ÇOK şğı İstanbul ΟΔΟΣ ß é e\u0301 \u0301 \u0338 卡 カ\u3099 한 \u1161 🙂 👩\u200d💻 ﬁ ´ don't what?! a-b ##a $5.00"
SPECIAL = "[CLS] [SEP] [PAD [ ] [unk] [MASK]s"
PIECES = [*WORDS, *"abz19", *ODD.split(), *SPECIAL.split(), "x" * 101, "y" * 60]
GAPS = [*"\n\t\x00\x0b\x1f\u00a0\u2003\u200b\u3000\ud800\ufffd\u0300", *[" "] * 12, "  ", "", ".", ", ", "\r\n"]


@pytest.fixture(autouse=True)
def _without_nanotoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory is what is tested here, whether or not there is a faster tokenizer (test_nano.py)."""
    monkeypatch.setattr(tokenizing, "encoder", lambda *_: None)


def wordpiece(
    normalizer: Any, processor: Any = None, pre_tokenizer: Any = None, added: tuple[AddedToken, ...] = ()
) -> Callable[[], Tokenizer]:
    def build() -> Tokenizer:
        vocabulary = tiny_tokenizer().get_vocab()
        pieces = [
            *sorted(vocabulary, key=vocabulary.__getitem__),
            *(p for p in ("ç", "##ç", "ş", "##ğ", "卡", "?", ".", "'", "-", "[", "]", "İ", "C", "##A")),
        ]
        made = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer or pre_tokenizers.BertPreTokenizer()
        if processor is not None:
            made.post_processor = processor
        made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        made.add_tokens(list(added))
        return made

    return build


TEMPLATE = processors.TemplateProcessing(
    single="[CLS] $A [SEP] [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
BERT = normalizers.BertNormalizer
REMEMBERING = {
    "the tests' own": lambda: tiny_tokenizer().backend_tokenizer,
    "uncased": wordpiece(BERT(lowercase=True), processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))),
    "cased": wordpiece(BERT(lowercase=False), TEMPLATE),
    "Turkish": wordpiece(normalizers.NFC(), TEMPLATE),
    "several normalizers": wordpiece(
        normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]), TEMPLATE
    ),
    "no special ids": wordpiece(BERT(lowercase=True)),
    "an added word": wordpiece(BERT(), TEMPLATE, added=(AddedToken("card my", normalized=False, lstrip=True, rstrip=True),)),
}
FORGETTING = {
    "added in normalized text": wordpiece(BERT(), TEMPLATE, added=(AddedToken("Şey", normalized=True),)),
    "added with a space": wordpiece(BERT(), TEMPLATE, added=(AddedToken(" my", normalized=False),)),
    "a normalizer that replaces": wordpiece(normalizers.Replace("a b", "c"), TEMPLATE),
    "words of another kind": wordpiece(BERT(), TEMPLATE, pre_tokenizer=pre_tokenizers.Metaspace()),
    "special ids elsewhere": wordpiece(BERT(), processors.ByteLevel()),
}


def random_texts(count: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    made = ["", " ", "  a ", "card " * 400, "card my card", "x" * 5000, "a" + "\u0301" * 90]
    while len(made) < count:
        parts = [generator.choice(PIECES) + generator.choice(GAPS) for _ in range(generator.randint(0, 12))]
        made.append("".join(parts) + ("" if generator.random() < 0.5 else chr(generator.randrange(0x110000))))
    return made


def expected(build: Callable[[], Tokenizer], texts: list[str], length: int, side: str = "right") -> list[list[int]]:
    tokenizer = build()
    tokenizer.no_padding()
    tokenizer.enable_truncation(length, direction=side)
    return [one.ids for one in tokenizer.encode_batch([text.encode("utf-8", "replace").decode("utf-8") for text in texts])]


@pytest.mark.parametrize("length", [4, 16, 64])
@pytest.mark.parametrize("name", [*REMEMBERING, *FORGETTING])
def test_ids_are_those_of_the_tokenizer(name: str, length: int) -> None:
    build = (REMEMBERING | FORGETTING)[name]
    texts = random_texts(600, length)
    tokenizer, wanted = RuntimeTokenizer(build(), length), expected(build, texts, length)
    assert tokenizer.ids(texts) == wanted, "at once"
    assert bool(tokenizer.words) == (name in REMEMBERING)
    alone = RuntimeTokenizer(build(), length)
    for _ in range(2):
        assert [alone.ids([text])[0] for text in texts] == wanted, "one by one, then remembered"


def test_a_text_cut_on_the_left_goes_the_ordinary_way() -> None:
    build, texts = REMEMBERING["uncased"], random_texts(100)
    tokenizer = RuntimeTokenizer(build(), 8, side="left")
    assert tokenizer.ids(texts) == expected(build, texts, 8, side="left") and not tokenizer.words


@pytest.mark.parametrize("many", [10, 1000])
def test_the_memory_is_bounded(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, "WORDS", 20)
    monkeypatch.setattr(tokenizing, "MANY", many)  # words without room are tokenized alone, or texts as a whole
    build, texts = REMEMBERING["uncased"], random_texts(300)
    tokenizer = RuntimeTokenizer(build(), 16)
    for start in range(0, 300, 50):
        assert tokenizer.ids(texts[start : start + 50]) == expected(build, texts[start : start + 50], 16)
    assert len(tokenizer.words) == 20 and max(map(len, tokenizer.words)) <= tokenizing.LONGEST


def test_threads_share_the_memory() -> None:
    build, texts = REMEMBERING["cased"], random_texts(400)
    tokenizer, wanted = RuntimeTokenizer(build(), 16), expected(build, texts, 16)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: tokenizer.ids([text])[0], texts)) == wanted


@pytest.mark.data
@pytest.mark.parametrize("folder", ["banking77", "sst2", "tr_reviews"])
def test_real_texts(folder: str, real_data: Path) -> None:
    with (real_data / folder / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [cell for row in csv.reader(file) for cell in row]

    def build() -> Tokenizer:
        return Tokenizer.from_file(str(bundled_base() / "tokenizer.json"))

    tokenizer, wanted = RuntimeTokenizer(build(), 64), expected(build, texts, 64)
    assert tokenizer.ids(texts) == wanted
    assert tokenizer.ids(texts) == wanted, "from memory"
    assert 1000 < len(tokenizer.words) <= tokenizing.WORDS


@pytest.mark.parametrize("words", [True, False])
def test_a_memory_is_put_back_as_it_was(words: bool):
    reader = RuntimeTokenizer(tiny_tokenizer().backend_tokenizer, 32) if words else NgramTokenizer(Cut(2, (2, 3)), ["card", "\tca", "my"])
    reader.ids(["my card"])
    warm = reader.remembered()
    assert {"my", "card"} <= set(warm)
    other = reader.ids(["where is the money", "my card"])
    assert len(reader.remembered()) > len(warm)
    reader.remember(warm)
    assert reader.remembered() == warm
    reader.remember({})
    assert reader.remembered() == {} and reader.ids(["where is the money", "my card"]) == other
