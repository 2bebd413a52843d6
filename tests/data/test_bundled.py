"""The bundled bank messages: counts, languages, no leak between the splits."""

from __future__ import annotations

import re
from collections import Counter

from imbik.data.bundled import bundled_data
from imbik.data.load import load_data


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def test_at_least_1200_messages_in_16_balanced_intents():
    splits = load_data(bundled_data(), text="text", label="intent")
    sizes = [len(part.texts) for part in (splits.train, splits.dev, splits.test)]
    assert sizes == [896, 160, 288] and len(splits.labels) == 16
    for part, each in ((splits.train, 56), (splits.dev, 10), (splits.test, 18)):
        assert set(Counter(part.targets.tolist()).values()) == {each}


def test_the_splits_share_no_near_duplicates():
    splits = load_data(bundled_data(), text="text", label="intent")
    train = [words(t) for t in splits.train.texts]
    for part in (splits.dev, splits.test):
        for text in part.texts:
            own = words(text)
            assert max(len(own & other) / len(own | other) for other in train) < 0.6, text


def test_every_message_has_a_turkish_translation():
    splits = load_data(bundled_data(), text="text_tr", label="intent")
    texts = [*splits.train.texts, *splits.dev.texts, *splits.test.texts]
    assert len({t.casefold() for t in texts}) == len(texts) and all(t.strip() for t in texts)
    assert sum(any(c in "çğıöşüÇĞİÖŞÜ" for c in t) for t in texts) > 0.9 * len(texts)
    assert not any(re.search(r"\b(the|please|card|account)\b", t.casefold()) for t in texts)
