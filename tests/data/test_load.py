from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imbik.data.evaluation import load_evaluation
from imbik.data.load import load_data, load_texts
from imbik.data.splitting import keys_of, shared, split_off
from imbik.data.text_store import TextStore
from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.tasks.label_cells import natural_order
from imbik.types import Note

ROWS = [(f"text number {i}", "ab"[i % 2]) for i in range(40)]


def table(rows: list[tuple[str, ...]], header: str = "text,label") -> str:
    return header + "\n" + "".join(",".join(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text(table(ROWS))
    return tmp_path


def said(source: Path, **options: Any) -> tuple[Any, list[str]]:
    lines: list[str] = []
    return load_data(source, say=lines.append, **options), lines


# --- the text store


def test_store_is_a_sequence() -> None:
    texts = ["a", "", "çok güzel 🥰", "x\ny", "b" * 100_000] * 2000
    store = TextStore.of(texts)
    assert list(store) == texts and len(store) == 10_000
    assert store[2] == "çok güzel 🥰" and store[-1] == "b" * 100_000
    assert list(store[3:0:-1]) == texts[3:0:-1]
    rows = np.random.default_rng(0).integers(0, len(texts), 5000)
    view = store.take(rows)
    assert list(view) == [texts[i] for i in rows] and view[7] == texts[rows[7]]
    assert list(view.take([4, 2])) == [texts[rows[4]], texts[rows[2]]]
    with pytest.raises(IndexError):
        store[10_000]
    assert list(TextStore.of([])) == []


def test_digest_is_of_the_content() -> None:
    store = TextStore.of(["a", "bc", "é"] * 3000)
    assert store.digest() == TextStore.of(list(store)).digest()
    assert store.take([1, 0]).digest() == TextStore.of(["bc", "a"]).digest()
    assert TextStore.of(["ab", "c"]).digest() != TextStore.of(["a", "bc"]).digest()


# --- splits


def test_three_files_stay_as_they_are(folder: Path) -> None:
    (folder / "validation.csv").write_text(table(ROWS[:6]))
    (folder / "test.csv").write_text(table([("new", "b"), ("newer", "a")]))
    splits = load_data(folder)
    assert list(splits.train.texts) == [text for text, _ in ROWS]
    assert splits.test.targets.tolist() == [1, 0] and splits.labels == ("a", "b")
    assert splits.notes == (Note.of("in_train", count=6, total=6, split="dev"),)


def test_dev_is_carved_and_said(folder: Path) -> None:
    (folder / "test.csv").write_text(table([("new", "b")]))
    splits, lines = said(folder)
    assert (len(splits.train.texts), len(splits.dev.texts)) == (36, 4)
    assert sorted(splits.dev.targets) == [0, 0, 1, 1]
    assert any(re.search(r"dev: 4 rows carved from train .*seed 0", line) for line in lines)
    assert set(splits.train.texts).isdisjoint(splits.dev.texts)


def test_a_single_file_gives_all_three(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(table(ROWS))
    splits = load_data(tmp_path / "all.csv")
    parts = [set(part.texts) for part in (splits.train, splits.dev, splits.test)]
    assert sum(map(len, parts)) == 40 and len(set.union(*parts)) == 40
    assert all("carved from the file" in sentence(note) for note in splits.notes) and len(splits.notes) == 2
    again, other = load_data(tmp_path / "all.csv"), load_data(tmp_path / "all.csv", seed=1)
    assert again.fingerprint == splits.fingerprint != other.fingerprint


@pytest.mark.parametrize("test", [table([("x", ""), ("y", "")]), table([("x",)], "text"), table([("x", "-1")])])
def test_without_labels_in_test_dev_is_reported_on(folder: Path, test: str) -> None:
    (folder / "dev.csv").write_text(table(ROWS[:10]))
    (folder / "test.csv").write_text(test)
    splits = load_data(folder)
    assert list(splits.test.texts) == [text for text, _ in ROWS[:10]] and len(splits.dev.texts) == 4
    assert Note.of("no_labels", split="test") in splits.notes
    assert any("the labelled dev (10 rows) is reported on" in sentence(note) for note in splits.notes)


def test_twins_never_part(tmp_path: Path) -> None:
    rows = [(f"text {i}", "ab"[i % 2]) for i in range(100)] + [(f"TEXT {i}!", "ab"[i % 2]) for i in range(30)]
    (tmp_path / "all.csv").write_text(table(rows))
    splits = load_data(tmp_path / "all.csv")
    keys = [keys_of(list(part.texts)) for part in (splits.train, splits.dev, splits.test)]
    assert shared(keys[0], keys[1]) == shared(keys[0], keys[2]) == shared(keys[1], keys[2]) == 0


def test_carving_keeps_every_class_in_train_and_its_share() -> None:
    groups = np.repeat([0, 1, 2, 3], [700, 250, 49, 1])
    stay, go = split_off(groups, np.arange(1, 1001), 0, 2000)
    assert np.bincount(groups[go], minlength=4).tolist() == [70, 25, 5, 0]
    assert sorted([*stay, *go]) == list(range(1000))
    assert len(split_off(groups, np.arange(1, 1001), 0, 40)[1]) == 40


def test_contradictions_are_counted(folder: Path) -> None:
    (folder / "train.csv").write_text(table([*ROWS, ("Text number 0!", "b"), ("text number 2", "a")]))
    (folder / "test.csv").write_text(table([("TEXT NUMBER 1", "b"), ("other", "a")]))
    notes = [sentence(note) for note in load_data(folder).notes]
    assert "1 texts of train stand there more than once with different labels" in notes
    assert "1 of 2 test texts also stand in train" in notes


# --- formats and encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "windows-1254"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json"])
def test_formats_and_encodings(tmp_path: Path, encoding: str, suffix: str) -> None:
    rows = [(f'çok, "güzel" şey {i}', "ğü"[i % 2]) for i in range(30)]
    path = tmp_path / f"all.{suffix}"
    objects = [json.dumps({"text": t, "label": y}, ensure_ascii=False) for t, y in rows]
    with path.open("w", encoding=encoding, newline="") as file:
        if suffix == "jsonl":
            file.write("\n".join(objects))
        elif suffix == "json":
            file.write("[" + ",\n".join(objects) + "]")
        else:
            writer = csv.writer(file, delimiter="\t" if suffix == "tsv" else ",")
            writer.writerows([("text", "label"), *rows])
    declared = encoding if encoding in ("utf-16-le", "windows-1254") else None
    splits = load_data(path, encoding=declared)
    assert splits.labels == ("ü", "ğ")  # by code point: no language is assumed
    assert {*splits.train.texts, *splits.dev.texts, *splits.test.texts} == {text for text, _ in rows}


def test_parquet_with_class_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = {"text": [f"t{i}" for i in range(40)], "label": [i % 2 for i in range(40)]}
    data = datasets.Dataset.from_dict(rows, features=features)
    data.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    assert load_data(tmp_path).labels == ("no", "yes")
    saved = tmp_path / "saved"
    datasets.DatasetDict({"train": data, "validation": data, "test": data}).save_to_disk(str(saved))
    splits = load_data(saved)
    assert splits.labels == ("no", "yes") and len(splits.test.texts) == 40
    assert splits.test.targets.tolist() == rows["label"]


def test_hub_name(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name: str, configuration: str | None, *, trust_remote_code: bool) -> Any:
        assert not trust_remote_code
        asked.append((name, configuration))
        part = datasets.Dataset.from_dict({"sentence": [f"t{i}" for i in range(20)], "label": ["a", "b"] * 10})
        blank = datasets.Dataset.from_dict({"sentence": ["x", "y"], "label": [-1, -1]})
        return datasets.DatasetDict({"train": part, "validation": part, "test": blank})

    monkeypatch.setattr(datasets, "load_dataset", load)
    splits = load_data("glue:sst2")
    assert asked == [("glue", "sst2")] and len(splits.test.texts) == 20 and splits.source == "glue:sst2"

    def fail(name: str, configuration: str | None, **options: object) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UserError, match=r"no such file or folder, and no data set.*no route"):
        load_data("owner/unknown")


def test_unquoted_tsv_keeps_its_stray_quotes(tmp_path: Path) -> None:
    body = "".join(f'"quoted {i} start\t{"ab"[i % 2]}\n' for i in range(20))
    (tmp_path / "all.tsv").write_text("sentence\tlabel\n" + body)
    splits = load_data(tmp_path / "all.tsv")
    assert sum(len(part.texts) for part in (splits.train, splits.dev, splits.test)) == 20


def test_semicolons_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(table(ROWS).replace(",", ";"))
    splits, lines = said(tmp_path / "all.csv")
    assert splits.labels == ("a", "b") and any("semicolons" in line for line in lines)


# --- columns, tasks and labels


def test_guesses_are_said_and_named_columns_are_not(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(table([(t, "pair", y) for t, y in ROWS], "premise,hypothesis,intent"))
    splits, lines = said(tmp_path / "d.csv")
    assert splits.train.pairs is not None and splits.train.pairs[0] == "pair"
    assert any("text = premise, text-pair = hypothesis, label = intent" in line for line in lines)
    _, lines = said(tmp_path / "d.csv", text="premise", label="intent", task="classification")
    assert not any("guessed" in line for line in lines)


@pytest.mark.parametrize(
    ("values", "task", "labels"),
    [
        (["0", "1"], "classification", ("0", "1")),
        (["10", "9", "2"], "classification", ("2", "9", "10")),
        (["1.0", "0.0"], "classification", ("0", "1")),
        (["0.5", "1.5"], "regression", ("label",)),
        ([str(i) for i in range(21)], "classification", tuple(str(i) for i in range(21))),  # numbers of classes, six rows each
        ([str(i * i) for i in range(90)], "regression", ("label",)),
        ([str(i) for i in range(20)], "classification", tuple(str(i) for i in range(20))),
        (["yes", "1.5"], "classification", ("1.5", "yes")),
    ],
)
def test_task_guess(tmp_path: Path, values: list[str], task: str, labels: tuple[str, ...]) -> None:
    rows = [(f"text {i}", values[i % len(values)]) for i in range(120)]
    (tmp_path / "d.csv").write_text(table(rows))
    splits = load_data(tmp_path / "d.csv")
    assert splits.task == task and splits.labels == labels
    assert splits.train.targets.dtype == (np.float32 if task == "regression" else np.int64)


def test_teachers_labels_give_the_order(folder: Path) -> None:
    splits = load_data(folder, labels=("b", "a"))
    where = list(splits.train.texts).index("text number 0")
    assert splits.labels == ("b", "a") and splits.train.targets[where] == 1
    splits, lines = said(folder, labels=("B", "A"))
    assert splits.labels == ("B", "A") and any("a = A, b = B" in line for line in lines)


def test_generic_label_names_match_by_number(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(table([(t, "01"[i % 2]) for i, (t, _) in enumerate(ROWS)]))
    assert load_data(tmp_path / "d.csv", labels=("LABEL_0", "LABEL_1")).labels == ("LABEL_0", "LABEL_1")


def test_several_label_columns(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(table([(t, y, y * 2) for t, y in ROWS], "text,coarse,fine"))
    splits = load_data(tmp_path / "d.csv", label="coarse,fine")
    assert splits.task == "multi-label" and splits.labels == ("a", "aa", "b", "bb")
    where = list(splits.train.texts).index("text number 1")
    assert splits.train.targets[where].tolist() == [0, 0, 1, 1]
    (tmp_path / "d.csv").write_text(table([(t, y, y) for t, y in ROWS], "text,one,two"))
    assert load_data(tmp_path / "d.csv", label="one,two").labels == ("one=a", "one=b", "two=a", "two=b")
    (tmp_path / "d.csv").write_text(table([(t, "1", "01"[y == "a"]) for t, y in ROWS], "text,toxic,rude"))
    splits = load_data(tmp_path / "d.csv", label="toxic,rude")
    assert splits.labels == ("rude", "toxic") and splits.train.targets[:, 1].all()


@pytest.mark.parametrize("cells", [('"[""x"", ""y""]"', "[]"), ("x|y", ""), ("x; y", "")])
def test_lists_in_one_column(tmp_path: Path, cells: tuple[str, str]) -> None:
    rows = [(f"t{i}", cells[0] if i % 3 else cells[1]) for i in range(40)]
    (tmp_path / "d.csv").write_text(table(rows))
    splits = load_data(tmp_path / "d.csv", task="multi-label")
    assert splits.labels == ("x", "y") and set(splits.train.targets.sum(1)) == {0.0, 2.0}


def test_json_lists_are_multi_label(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"t{i}", "labels": ["x", "y"][: i % 3]}) for i in range(40)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    assert load_data(tmp_path / "d.jsonl").task == "multi-label"


def test_very_many_different_numbers(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=60_000)
    (tmp_path / "d.csv").write_text(table([(f"t{i}", repr(float(v))) for i, v in enumerate(values)]))
    splits = load_data(tmp_path / "d.csv")
    got = {t: y for part in (splits.train, splits.dev, splits.test) for t, y in zip(part.texts, part.targets, strict=True)}
    assert all(got[f"t{i}"] == np.float32(v) for i, v in enumerate(values))


def test_natural_order() -> None:
    assert natural_order(["10", "9", "-1"]) == ("-1", "9", "10")
    assert natural_order(["c2", "c10", "B", "a", "3x"]) == ("3x", "a", "B", "c2", "c10")


# --- texts alone, and evaluation


def test_texts_and_unlabelled(folder: Path) -> None:
    (folder / "u.txt").write_text("one\n\ntext number 0\n")
    assert list(load_texts(folder / "u.txt").texts) == ["one", "", "text number 0"]
    (folder / "test.csv").write_text(table([("Text number 0", "a"), ("z", "b")]))
    splits = load_data(folder, unlabelled=folder / "u.txt")
    assert splits.unlabelled is not None and splits.unlabelled.targets is None
    assert Note.of("in_test", count=1) in splits.notes
    assert splits.fingerprint != load_data(folder).fingerprint


def test_evaluation(folder: Path) -> None:
    (folder / "test.csv").write_text(table([("x", "b")]))
    (folder / "dev.csv").write_text(table([("y", "a")]))
    found = load_evaluation(folder, labels=("b", "a"), task="classification")
    assert found.test.targets.tolist() == [0] and found.dev is not None and found.dev.targets.tolist() == [1]
    assert load_data(folder, labels=("b", "a")).test.fingerprint == found.test.fingerprint
    (folder / "test.csv").write_text("text\nx\n")
    found = load_evaluation(folder, labels=("b", "a"), task="classification")
    assert list(found.test.texts) == ["y"] and found.dev is None and "no labelled test" in sentence(found.notes[0])
    whole = load_evaluation(folder / "train.csv", labels=("a", "b"), task="classification")
    assert len(whole.test.texts) == 40


def test_rows_cost_no_more_memory_than_their_numbers(tmp_path: Path) -> None:
    """Peak memory of 200,000 rows is above that of 2,000 by far less than the texts' own size (24 MB)."""
    peaks = []
    for count in (2_000, 200_000):
        path = tmp_path / f"{count}.csv"
        path.write_text(table([(f"{i} " + "word " * 22, "ab"[i % 2]) for i in range(count)]))
        code = (
            "import resource, sys; from imbik.data.load import load_data; load_data(sys.argv[1]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        pytest.importorskip("resource")
        run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout) / (1024 if sys.platform != "darwin" else 1 << 20))
    assert peaks[1] - peaks[0] < 60, peaks


# --- the real sets


DATA = Path(os.environ.get("IMBIK_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = [
    ("banking77", {}, (9003, 1000, 3080), "classification", 77, "25 of 3,080 test texts also stand in train"),
    ("sst2", {}, (65349, 2000, 872), "classification", 2, "dev: 2,000 rows carved from train"),
    ("trec", {}, (4907, 545, 500), "classification", 6, "11 of 500 test texts also stand in train"),
    ("trec", {"label": "label,fine"}, (4908, 544, 500), "multi-label", 56, "dev: 544 rows"),
    ("rte", {}, (2241, 249, 277), "classification", 2, "dev: 249 rows carved from train"),
    ("stsb", {}, (5749, 1500, 1379), "regression", 1, "7 of 1,379 test texts also stand in train"),
    ("tr_reviews", {}, (9124, 1141, 1141), "classification", 3, "21 of 1,141 test texts also stand in train"),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "options", "sizes", "task", "labels", "note"), REAL)
def test_real(name: str, options: dict[str, str], sizes: tuple, task: str, labels: int, note: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip("IMBIK_DATA is not there")
    splits = load_data(DATA / name, **options)
    parts = (splits.train, splits.dev, splits.test)
    assert tuple(len(part.texts) for part in parts) == sizes
    assert splits.task == task and len(splits.labels) == labels
    assert any(note in sentence(line) for line in splits.notes), splits.notes
    assert all(len(part.targets) == len(part.texts) and np.isfinite(part.targets).all() for part in parts)
    assert (splits.train.pairs is not None) == (name in ("rte", "stsb"))


def test_a_rare_label_that_only_test_has_counts_as_an_error_and_is_said(tmp_path):
    write_csv(tmp_path / "train.csv", [(f"text {i}", "ab"[i % 2]) for i in range(60)])
    write_csv(tmp_path / "test.csv", [(f"other {i}", "ab"[i % 2]) for i in range(60)] + [("strange", "c")])
    said: list[str] = []
    splits = load_data(tmp_path, say=said.append)
    assert splits.labels == ("a", "b", "c")
    assert set(splits.train.targets) == {0, 1}
    assert splits.test.targets[-1] == 2
    assert any("row 62" in line and "'c'" in line and "count as errors" in line for line in said)


def write_csv(path, rows):
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
