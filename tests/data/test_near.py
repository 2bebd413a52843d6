"""Rows that nearly repeat one another: found as a plain comparison of all with all finds them, and kept on one side of a cut."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from imbik.data.carving.near import CONTAINED, near_groups
from imbik.data.load import load_data
from imbik.data.splitting import split_near

WORDS = [
    "the",
    "film",
    "is",
    "a",
    "slow",
    "and",
    "lovely",
    "story",
    "of",
    "two",
    "old",
    "friends",
    "who",
    "never",
    "met",
    "but",
    "write",
    "letters",
    "every",
    "week",
    "from",
    "far",
    "away",
]


def contained(small: str, large: str) -> float:
    """Share of the different word trigrams of one text that stand in another, by a plain loop."""
    one, two = (re.findall(r"\w+", text.lower()) for text in (small, large))
    length = min(3, len(one))
    ngrams = {tuple(one[i : i + length]) for i in range(len(one) - length + 1)}
    there = {tuple(two[i : i + length]) for i in range(len(two) - length + 1)}
    return len(ngrams & there) / len(ngrams)


def fragments(seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    sentences = [" ".join(generator.permutation(WORDS)) for _ in range(5)]
    parts = []
    for sentence in sentences:
        words = sentence.split()
        for _ in range(6):
            start = int(generator.integers(0, len(words) - 4))
            parts.append(" ".join(words[start : start + int(generator.integers(4, 12))]))
    rows = [*sentences, *parts]
    return [rows[number] for number in generator.permutation(len(rows))]


@pytest.mark.parametrize("seed", range(6))
def test_a_text_joins_the_longer_text_that_holds_most_of_it(seed: int) -> None:
    texts = fragments(seed)
    leaders: list[int] = []
    expected: dict[int, int] = {}
    for row in sorted(range(len(texts)), key=lambda number: (-len(texts[number].split()), number)):
        shares = sorted((-contained(texts[row], texts[leader]), leader) for leader in leaders)
        if shares and -shares[0][0] >= CONTAINED:
            expected[row] = shares[0][1]
        else:
            expected[row] = row
            leaders.append(row)
    first = {leader: min(row for row, of in expected.items() if of == leader) for leader in leaders}
    assert near_groups(texts).tolist() == [first[expected[row]] for row in range(len(texts))]
    assert len(leaders) < len(texts) / 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How deep is a fathom?", "how DEEP is a fathom", True),
        ("is my card lost or stolen", "my card lost or stolen", True),
        ("is my card lost or stolen", "my phone lost or broken", False),
        ("where is it", "it is where", False),  # the order of words counts
        ("", "...", False),  # nothing repeats nothing
        ("我想知道我的卡在哪里", "我的卡在哪里", True),  # without spaces every sign is a word
    ],
)
def test_what_nearly_repeats_a_text(one: str, other: str, same: bool) -> None:
    first, second = near_groups([one, other])
    assert bool(first == second) is same


def test_words_that_many_texts_have_tell_nothing() -> None:
    texts = [f"{name} pays the bill" for name in ["ann", "bob", "cem", "dan", "eda", "fay", "gul", "han", "ivo", "joe", "kim"]]
    assert len(set(near_groups([*texts, "the bill"]).tolist())) == 12


def test_groups_do_not_run_together() -> None:
    """Each text holds half of the next one: no chain, for a text joins by what leads a group."""
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join(words[start : start + 10]) for start in range(0, 50, 5)]
    assert len(set(near_groups(texts).tolist())) == len(texts)


def test_both_texts_of_a_pair_count() -> None:
    groups = near_groups(["a man sings a song"] * 3, ["a man is singing now", "a man is singing now", "dogs run over wet grass today"])
    assert groups.tolist() == [0, 0, 2]


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_parts_no_group_and_keeps_shares(seed: int) -> None:
    generator = np.random.default_rng(seed)
    near = np.sort(generator.integers(0, 400, 1500))
    classes = generator.choice(4, 1500, p=[0.4, 0.3, 0.2, 0.1])
    order = generator.permutation(1500)
    stays, leaves = split_near(classes[order], near[order], seed, 2000)
    assert sorted([*stays, *leaves]) == list(range(1500))
    assert not set(near[order][stays]) & set(near[order][leaves])
    share = np.bincount(classes[order][leaves], minlength=4) / np.bincount(classes, minlength=4)
    assert len(leaves) <= 150 and (share <= 0.11).all() and (share >= 0.08).all(), share
    assert len(split_near(classes, near, seed, 40)[1]) <= 40


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), "utf-8")
    return path


def test_fragments_of_one_sentence_are_on_one_side_and_it_is_said(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = []
    for number in range(80):
        words = [f"{word}{number}" for word in generator.permutation(WORDS)[:12]]
        rows += [(" ".join(words[start : start + length]), "ab"[number % 2]) for start, length in ((0, 12), (0, 7), (5, 7), (3, 5))]
    said: list[str] = []
    splits = load_data(write(tmp_path / "d.csv", rows), say=said.append)
    sides = [
        {text.split()[0].lstrip("abcdefghijklmnopqrstuvwxyz") for text in part.texts} for part in (splits.train, splits.dev, splits.test)
    ]
    assert sum(map(len, sides)) == 80 and min(map(len, sides)) >= 5
    assert any("320 of 320 rows nearly repeat another row" in line for line in said)
    assert [note.kind for note in splits.notes].count("near") == 1
    assert np.bincount(splits.dev.targets).min() >= 10


def test_rows_that_all_repeat_one_another_are_split_as_texts_and_it_is_said(tmp_path: Path) -> None:
    rows = [
        (f"your order number {number} has been sent to you by post today and will be there soon", "ab"[number % 2]) for number in range(60)
    ]
    said: list[str] = []
    splits = load_data(write(tmp_path / "d.csv", rows), say=said.append)
    assert (len(splits.test.texts), len(splits.dev.texts)) == (6, 5)
    assert sum("too many rows nearly repeat one another" in line for line in said) == 1


def test_data_without_such_rows_are_split_as_ever(tmp_path: Path) -> None:
    rows = [(" ".join(f"{word}{number}" for word in WORDS[:6]), "ab"[number % 2]) for number in range(60)]
    splits = load_data(write(tmp_path / "d.csv", rows + rows[:3]), say=lambda _: None)
    assert "near" not in [note.kind for note in splits.notes]
