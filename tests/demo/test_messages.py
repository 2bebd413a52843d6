"""The data of the demo: dev and test are untouched, and nothing made comes near them."""

from __future__ import annotations

import csv
import random
import re

import pytest

from imbik.data.bundled import bundled_data
from imbik.data.load import load_data
from imbik.demo.messages import Apart, write_messages


def rows(file):
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def words(text):
    return set(re.findall(r"\w+", text.casefold()))


def alike(one, other):
    return len(words(one) & words(other)) / len(words(one) | words(other))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("messages")
    write_messages(place, labelled=1, unlabelled=2)
    return place


def test_dev_and_test_are_the_bundled_messages_and_train_begins_with_them(folder):
    for split in ("dev", "test"):
        assert rows(folder / "labelled" / f"{split}.csv") == rows(bundled_data() / f"{split}.csv")
    hand, train = rows(bundled_data() / "train.csv"), rows(folder / "labelled" / "train.csv")
    assert train[: len(hand)] == hand and len(train) > len(hand) + 600


def test_nothing_made_shares_half_of_its_words_with_dev_or_test(folder):
    hand = len(rows(bundled_data() / "train.csv"))
    made = rows(folder / "labelled" / "train.csv")[hand:] + rows(folder / "unlabelled.csv")
    held = rows(bundled_data() / "dev.csv") + rows(bundled_data() / "test.csv")
    for column in ("text", "text_tr"):
        bags = [words(row[column]) for row in held]
        for row in made:
            own = words(row[column])
            assert all(2 * len(own & bag) < len(own | bag) for bag in bags), row


def test_unlabelled_messages_have_no_label_and_are_not_in_train(folder):
    further = rows(folder / "unlabelled.csv")
    assert set(further[0]) == {"text", "text_tr"} and len(further) > 1200
    train = {row["text"].casefold() for row in rows(folder / "labelled" / "train.csv")}
    assert not train & {row["text"].casefold() for row in further}


def test_the_same_seed_writes_the_same_files_and_they_load(folder, tmp_path):
    write_messages(tmp_path, labelled=1, unlabelled=2)
    for name in ("labelled/train.csv", "unlabelled.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    splits = load_data(folder / "labelled", text="text_tr", label="intent", unlabelled=folder / "unlabelled.csv")
    assert len(splits.labels) == 16 and splits.unlabelled is not None and not [n for n in splits.notes if n.kind == "in_test"]


def test_nearness_is_that_of_every_pair():
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(1, 7))) for _ in range(200)]
    held, made = texts[:80], texts[80:]
    apart = Apart(held)
    expected = [any(alike(text, other) >= 0.5 for other in held) for text in made]
    assert [apart.near(text) for text in made] == expected and 0 < sum(expected) < len(expected)
