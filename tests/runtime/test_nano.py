"""The faster tokenizer: used where it gives the same ids, left with a warning where it does not, and never missed."""

from __future__ import annotations

import importlib.machinery
import logging
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from imbik.data.bundled import bundled_base
from imbik.errors import UserError
from imbik.runtime.tokenizer import RuntimeTokenizer
from imbik.testing.tiny import tiny_tokenizer

TEXTS = ["where is my card", "", "card " * 80, "ŞIK 我的卡 e\u0301", "[SEP] my [PAD]", "why\n is  it"]


class _Like:
    """What nanotoken does, by the tokenizer itself; ``wrong`` changes one id in a hundred texts."""

    wrong = False
    asked: list[int] = []  # noqa: RUF012  how many texts each call had

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_truncation()

    def encode(self, text: str) -> np.ndarray:
        return np.array(self.encode_batch([text], parallel=False).to_list()[0], np.uint32)

    def encode_batch(self, texts: Sequence[str], *, parallel: bool) -> Any:
        assert parallel is False
        self.asked.append(len(texts))
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]
        if self.wrong:
            rows[-1] = [*rows[-1][:-1], 7]
        batch = ModuleType("batch")
        batch.to_list = lambda: rows  # type: ignore[attr-defined]
        return batch


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[_Like]:
    module = ModuleType("nanotoken")
    module.__spec__ = importlib.machinery.ModuleSpec("nanotoken", None)
    module.Tokenizer = type("Tokenizer", (_Like,), {"asked": []})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nanotoken", module)
    return module.Tokenizer  # type: ignore[attr-defined, no-any-return]


def _fresh() -> Tokenizer:
    """A tokenizer of its own each time: readers set truncation on theirs."""
    return Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())


def _expected(tokenizer: Tokenizer, length: int) -> list[list[int]]:
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return [tokenizer.encode(text).ids for text in TEXTS]


@pytest.mark.parametrize("length", [3, 8, 32])
def test_it_is_asked_and_cuts_as_the_tokenizer_does(stand_in: type[_Like], length: int) -> None:
    reader = RuntimeTokenizer(_fresh(), length)
    stand_in.asked.clear()
    assert reader.ids(TEXTS) == _expected(_fresh(), length) and stand_in.asked == [len(TEXTS)]
    assert [reader.ids([text])[0] for text in TEXTS] == _expected(_fresh(), length)


def test_what_is_no_text_or_no_unicode_goes_the_long_way(stand_in: type[_Like]) -> None:
    reader = RuntimeTokenizer(_fresh(), 16)
    assert reader.ids(["my \ud800 card"]) == RuntimeTokenizer(_fresh(), 16).ids(["my ? card"])
    with pytest.raises(UserError, match="not a string"):
        reader.ids(["card", 7])  # type: ignore[list-item]


def test_other_ids_are_seen_and_said(stand_in: type[_Like], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(stand_in, "wrong", True)
    with caplog.at_level(logging.WARNING, "imbik.runtime.nano"):
        reader = RuntimeTokenizer(_fresh(), 16)
    assert "gives other ids" in caplog.text
    assert reader.ids(TEXTS) == _expected(_fresh(), 16)


def test_one_that_fails_is_said_and_not_missed(
    stand_in: type[_Like], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: object, tokenizer: Tokenizer) -> None:
        raise NotImplementedError("no such normalizer")

    monkeypatch.setattr(stand_in, "__init__", fails)
    with caplog.at_level(logging.WARNING, "imbik.runtime.nano"):
        reader = RuntimeTokenizer(_fresh(), 16)
    assert "no such normalizer" in caplog.text and reader.ids(TEXTS) == _expected(_fresh(), 16)


def test_the_package_itself_gives_the_same_ids() -> None:
    pytest.importorskip("nanotoken")
    path = str(bundled_base() / "tokenizer.json")
    reader = RuntimeTokenizer(Tokenizer.from_file(path), 32)
    assert reader._encode is not None and reader.ids(TEXTS) == _expected(Tokenizer.from_file(path), 32)
