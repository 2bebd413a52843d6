"""Splitting by plain loops and largest remainders: who leaves, how many of each group, which texts are one text."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from imbik.data.load import load_data
from imbik.data.splitting import MOST, contradicting, keys_of, shared, split_groups, split_near, split_off
from imbik.errors import UserError
from imbik.tasks.registry import task_of


@pytest.mark.parametrize(
    "same",
    [
        ("Hello, World!", "hello world"),
        ("top-up  fee", "TOP UP\tfee."),
        ("straße", "STRASSE"),  # case folding, not lower case
        ("«merhaba» dünya", "merhaba — dünya"),  # punctuation beyond ASCII
        ("a\u00a0b", "a b"),
    ],
)
def test_case_punctuation_and_space_make_no_other_text(same):
    one, other = keys_of(list(same))
    assert one == other != 0


@pytest.mark.parametrize("different", [("hello world", "hello you"), ("top up", "topup"), ("good 🙂", "good 🙁"), ("कि", "क"), ("1", "2")])
def test_words_emoji_and_vowel_signs_make_another_text(different):
    one, other = keys_of(list(different))
    assert one != other


def test_rows_without_a_word_have_no_key():
    assert keys_of(["", "...", "— «»", "a"]).astype(bool).tolist() == [False, False, False, True]
    assert keys_of([]).tolist() == [] and keys_of([]).dtype == np.int64
    first, second, third = keys_of(["", "a", ""], ["", "", "a"])
    assert first == 0 and second != 0 and third != 0


def test_pairs_are_told_apart_by_both_texts_and_their_order():
    keys = keys_of(["a", "b", "a", "a", "A!"], ["b", "a", "a", "c", "B"])
    assert len(set(keys[:4].tolist())) == 4 and keys[4] == keys[0]


def test_shared_counts_rows_of_the_right_side():
    left, right = np.array([3, 5, 5, 0]), np.array([5, 5, 7, 3, 0, 0])
    assert shared(left, right) == 3  # both 5s and the 3; rows without a word are nobody's copy


@pytest.mark.parametrize("seed", range(8))
def test_contradicting_counts_texts_by_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    keys, targets = rng.integers(0, 25, 60), rng.integers(0, 3, 60)
    labels = defaultdict(set)
    for key, target in zip(keys.tolist(), targets.tolist(), strict=True):
        labels[key].add(target)
    expected = sum(1 for key, found in labels.items() if key != 0 and len(found) > 1)
    assert contradicting(keys, targets) == expected > 0
    assert contradicting(np.arange(60), targets) == 0 and contradicting(keys, np.zeros(60, int)) == 0


def by_largest_remainders(sizes: np.ndarray, seats: int) -> list[int]:
    """Hamilton's apportionment; no group gives its last row."""
    exact = [seats * size / sum(sizes) for size in sizes]
    dealt = [min(int(share), size - 1) for share, size in zip(exact, sizes, strict=True)]
    for group in sorted(range(len(sizes)), key=lambda g: (-(exact[g] - int(exact[g])), g)):
        if sum(dealt) < seats and dealt[group] < sizes[group] - 1:
            dealt[group] += 1
    return dealt


@pytest.mark.parametrize(
    "sizes", [(50, 30, 20), (33, 33, 34), (97, 1, 1, 1), (5, 14, 26, 55), (15, 15, 15), (10, 4, 1, 11), (6, 6, 6), (2, 2, 2, 2, 2)]
)
def test_each_group_leaves_in_proportion(sizes):
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    stays, leaves = split_off(groups, np.arange(1, len(groups) + 1), 0, 2000)
    assert len(leaves) == round(0.1 * len(groups))
    assert np.bincount(groups[leaves], minlength=len(sizes)).tolist() == by_largest_remainders(np.array(sizes), len(leaves))
    assert sorted([*stays, *leaves]) == list(range(len(groups)))
    assert stays.tolist() == sorted(stays) and leaves.tolist() == sorted(leaves)


def test_one_row_leaves_of_a_few_and_no_more_than_asked_of_many():
    assert len(split_off(np.zeros(4, int), np.arange(1, 5), 0, 2000)[1]) == 1
    assert len(split_off(np.zeros(400, int), np.arange(1, 401), 0, 7)[1]) == 7
    assert MOST == {"dev": 2000, "test": 5000}


@pytest.mark.parametrize("sizes", [(1,), (1,) * 20, (1, 1, 1, 17), (2, 1, 1, 1)])
def test_a_group_keeps_its_last_row(sizes):
    groups, keys = np.repeat(np.arange(len(sizes)), sizes), np.arange(1, sum(sizes) + 1)
    for split in (lambda: split_off(groups, keys, 0, 2000), lambda: split_near(groups, keys, 0, 2000)):
        stays, leaves = split()
        assert set(groups[stays].tolist()) == set(range(len(sizes)))
        assert sorted([*stays, *leaves]) == list(range(len(groups))) and len(leaves) == (max(sizes) > 1) * max(1, round(0.1 * sum(sizes)))


@pytest.mark.parametrize(("once", "expected"), [(4, 4), (0, 48)])
def test_a_text_of_many_rows_leaves_only_for_a_group_that_would_be_missing(once, expected):
    """Ten rows are to leave; the only copies are two texts of 48 rows, far more than the rest of the share."""
    keys = np.concatenate([np.arange(1, once + 1), np.repeat([50, 51], 48)])
    for seed in range(4):
        stays, leaves = split_off(np.zeros(len(keys), int), keys, seed, 2000)
        assert len(leaves) == expected and len(stays) == len(keys) - expected


def test_rows_that_nearly_repeat_leave_whole_in_the_order_of_the_draw_where_every_group_has_room():
    """By a plain loop: 60 rows of two classes, in threes and pairs that must not be parted."""
    near = np.repeat(np.arange(24), [3, 2] * 12)
    classes = np.random.default_rng(5).integers(0, 2, len(near))
    for seed in range(6):
        room = by_largest_remainders(np.bincount(classes), round(0.1 * len(near)))
        expected: list[int] = []
        for number in np.random.default_rng(seed).permutation(24):
            rows = np.flatnonzero(near == number)
            given = np.bincount(classes[rows], minlength=2)
            if all(given[c] <= room[c] for c in range(2)):
                room = [room[c] - given[c] for c in range(2)]
                expected += rows.tolist()
        assert split_near(classes, near, seed, 2000)[1].tolist() == sorted(expected)


def test_the_seed_draws_the_rows():
    groups, keys = np.zeros(200, int), np.arange(1, 201)
    one, again, other = (split_off(groups, keys, seed, 2000)[1].tolist() for seed in (1, 1, 2))
    assert one == again != other


def test_copies_stay_as_long_as_half_of_the_share_stands_once():
    """100 rows, 10 leave: with five texts that stand once only those are drawn from; with four whole texts of several rows join them."""
    for once, from_once in ((20, True), (5, True), (4, False)):
        keys = np.concatenate([np.arange(1, once + 1), np.repeat(np.arange(1000, 1000 + 50), 2)[: 100 - once]])
        keys[-1] = keys[-2]  # an odd rest is a copy too
        draws = [split_off(np.zeros(100, int), keys, seed, 2000) for seed in range(5)]
        assert all(max(leaves) < once for _, leaves in draws) is from_once
        assert all(len(leaves) == min(once, 10) if from_once else 9 <= len(leaves) <= 11 for _, leaves in draws)
        assert not any(set(keys[stays]) & set(keys[leaves]) for stays, leaves in draws)


def test_rows_without_a_word_are_nobodys_copies():
    keys = np.zeros(100, int)
    keys[:15] = np.arange(1, 16)
    drawn = {row for seed in range(5) for row in split_off(np.zeros(100, int), keys, seed, 2000)[1].tolist()}
    assert max(drawn) >= 15


@pytest.mark.parametrize("sizes", [(5,) * 40, (1, 2, 3, 4) * 20, (90, 90), (1, 1), (30, 1, 1, 1, 1, 1, 1)])
@pytest.mark.parametrize("most", [2000, 3])
def test_whole_groups_leave_as_long_as_they_fit(sizes, most):
    """In the order of the draw, until the next would be too many; the first leaves and the last stays, whatever their size."""
    groups = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)) * 10, sizes))
    wanted = min(max(round(0.1 * len(groups)), 1), most)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(sizes))
        chosen = [order[0]]
        for group in order[1:-1]:
            if sum(sizes[g] for g in chosen) + sizes[group] > wanted:
                break
            chosen.append(group)
        stays, leaves = split_groups(groups, seed, most)
        assert set((groups[leaves] // 10).tolist()) == set(chosen) and not set(groups[stays].tolist()) & set(groups[leaves].tolist())
        assert sorted([*stays, *leaves]) == list(range(len(groups)))
        assert leaves.tolist() == sorted(leaves) and stays.tolist() == sorted(stays)


def test_multi_label_rows_are_grouped_by_their_rarest_label():
    """A label that few rows have is then split like a class; rows without any are a group of their own."""
    on = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]], np.float32)  # labels on 4, 2 and 1 rows
    assert task_of("multi-label").strata(on).tolist() == [1, 0, 2, 3, 1]


def test_values_are_grouped_by_deciles():
    values = np.random.default_rng(0).permutation(np.arange(200.0) ** 2)
    strata = task_of("regression").strata(values)
    assert np.bincount(strata).tolist() == [20] * 10
    assert all(values[strata == k].max() < values[strata == k + 1].min() for k in range(9))


# --- whole files: no text on both sides, every class on both, whatever is repeated


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), "utf-8")
    return path


def counts(splits) -> dict[str, list[int]]:
    return {name: np.bincount(getattr(splits, name).targets, minlength=len(splits.labels)).tolist() for name in ("train", "dev", "test")}


@pytest.mark.parametrize("copies", [2, 5, 9, 30])
def test_a_class_of_copies_is_in_every_split(tmp_path: Path, copies: int) -> None:
    rows = [(f"ordinary message {i}", "ok") for i in range(90)] + [(f"strange transfer {i}", "fraud") for i in range(10)] * copies
    splits = load_data(write(tmp_path / "d.csv", rows))
    assert all(min(found) > 0 for found in counts(splits).values()), counts(splits)
    texts = [set(part.texts) for part in (splits.train, splits.dev, splits.test)]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 100, "a text on both sides"
    assert sum(len(part.texts) for part in (splits.train, splits.dev, splits.test)) == len(rows), "a row is lost"


@pytest.mark.parametrize("seed", range(5))
def test_the_draw_keeps_shares_texts_and_groups(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 6, 800)
    keys = np.concatenate([np.arange(1, 501), generator.integers(1, 101, 200), generator.integers(600, 620, 100)])
    stay, go = split_off(groups, keys, seed, 2000)
    assert sorted([*stay, *go]) == list(range(800))
    assert not set(keys[stay]) & set(keys[go])
    assert set(groups[stay]) == set(range(6)) and abs(len(go) - 80) <= 40
    assert all(np.array_equal(a, b) for a, b in zip(split_off(groups, keys, seed, 2000), (stay, go), strict=True))


def test_the_draw_does_not_hang_on_the_numbers_of_the_keys() -> None:
    """They are hashes that differ from process to process."""
    groups = np.repeat([0, 1], 60)
    keys = np.concatenate([np.arange(1, 61), np.repeat(np.arange(100, 110), 6)])
    other = np.random.default_rng(0).permutation(np.arange(1, 200))[keys]
    assert np.array_equal(split_off(groups, keys, 0, 2000)[1], split_off(groups, other, 0, 2000)[1])


def test_texts_with_several_labels_stay_together(tmp_path: Path) -> None:
    """Each text was given to three people: no text stands alone, and some have several labels."""
    rows = [(f"message {i}", "ab"[(i + (i % 5 == 0) * k) % 2]) for i in range(60) for k in range(3)]
    splits = load_data(write(tmp_path / "d.csv", rows))
    keys = [set(keys_of(list(part.texts))) for part in (splits.train, splits.dev, splits.test)]
    assert sum(map(len, keys)) == 60 and min(map(len, keys)) >= 3


@pytest.mark.parametrize(
    "rows",
    [
        [(f"text {i}", f"c{i}") for i in range(40)],
        [(f"text {i}", f"c{i // 2 if i < 4 else i}") for i in range(40)],
        [("the same", "ab"[i % 2]) for i in range(40)],
    ],
    ids=["every label once", "nearly every label once", "one text"],
)
def test_nothing_to_carve_is_one_message(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    try:
        splits = load_data(write(tmp_path / "d.csv", rows), task="classification")
    except UserError as error:
        assert "carve" in str(error) and "--label" in str(error)
    else:
        assert min(len(part.texts) for part in (splits.train, splits.dev, splits.test)) > 0


@pytest.mark.parametrize("rows", [4, 7, 10, 15, 30])
def test_few_numbers_are_split_too(tmp_path: Path, rows: int) -> None:
    splits = load_data(write(tmp_path / "d.csv", [(f"text {i}", f"{i / 7:.3f}") for i in range(rows)]), task="regression")
    assert min(len(part.texts) for part in (splits.train, splits.dev, splits.test)) > 0


def test_a_split_of_one_label_is_noted(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [(f"text {i}", "ab"[i % 2]) for i in range(40)])
    write(tmp_path / "test.csv", [(f"other {i}", "a") for i in range(10)])
    said: list[str] = []
    load_data(tmp_path, say=said.append)
    assert any("every row of test has the same label" in line for line in said)
