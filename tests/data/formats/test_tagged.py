"""Tagged words in every form that they come in, and in forms that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imbik.data.load import load_data
from imbik.data.sources import find_files
from imbik.errors import UserError
from imbik.types import Splits

TASK = "token-classification"
CITIES = [
    ("fly from Ankara to New York", [(9, 15, "city"), (19, 27, "city")]),
    ("at 5 pm", [(3, 7, "time")]),
    ("İzmir ya da Van", [(0, 5, "city"), (12, 15, "city")]),
]
ROWS = [(f"{text} {number}", spans) for number in range(4) for text, spans in CITIES]


def tags_of(text: str, spans: list, scheme: str = "BIO") -> list[str]:
    tags, place = [], 0
    for word in text.split(" "):
        inside = [(start, end, kind) for start, end, kind in spans if start <= place < end]
        if not inside:
            tags.append("O")
        else:
            ((start, end, kind),) = inside
            first, last = place == start, place + len(word) == end
            parts = {"BIO": "B" if first else "I", "BIOES": "S" if first and last else "B" if first else "E" if last else "I"}
            tags.append(f"{parts[scheme]}-{kind}")
        place += len(word) + 1
    return tags


def read(path: Path, **names) -> tuple[Splits, list[str]]:
    said: list[str] = []
    return load_data(path, task=TASK, say=said.append, **names), said


def check(splits: Splits) -> None:
    """Every text of every split has the entities it was written with."""
    assert splits.labels == ("O", "B-city", "I-city", "B-time", "I-time") and splits.metric == "entity-f1"
    wanted = {text: [(start, end, ("city", "time").index(kind)) for start, end, kind in spans] for text, spans in ROWS}
    seen = 0
    for part in (splits.train, splits.dev, splits.test):
        for text, target in zip(part.texts, part.targets, strict=True):
            assert [tuple(row) for row in target.tolist()] == wanted[text]
            seen += 1
    assert seen == len(ROWS)


def columns(scheme: str = "BIO", between: str = "\t", end: str = "\n") -> str:
    blocks = [
        "\n".join(f"{word}{between}X{between}{tag}" for word, tag in zip(t.split(" "), tags_of(t, s, scheme), strict=True)) for t, s in ROWS
    ]
    return ("-DOCSTART- X O\n\n# a comment\n" + "\n\n".join(blocks) + "\n\n\n").replace("\n", end)


@pytest.mark.parametrize("name", ["d.conll", "d.iob2", "d.bio", "d.txt"])
@pytest.mark.parametrize(("scheme", "between", "end"), [("BIO", "\t", "\n"), ("BIOES", " ", "\r\n")])
def test_files_of_columns(tmp_path: Path, name: str, scheme: str, between: str, end: str) -> None:
    (tmp_path / name).write_bytes(columns(scheme, between, end).encode())
    check(read(tmp_path / name)[0])


def test_a_folder_of_columns_in_text_files(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(columns())
    (tmp_path / "test.txt").write_text(columns())
    (tmp_path / "readme.txt").write_text("This is a note.\nIt has lines.")
    assert [path.name for path in find_files(tmp_path)] == ["test.txt", "train.txt"]
    splits, _ = read(tmp_path)
    assert len(splits.test) == len(ROWS)


@pytest.mark.parametrize("form", ["objects", "lists", "rasa", "tags", "classes", "text"])
def test_json_lines(tmp_path: Path, form: str) -> None:
    def cell(text: str, spans: list) -> dict:
        kinds = {
            "objects": {"text": text, "entities": [{"start": s, "end": e, "label": k, "text": text[s:e]} for s, e, k in spans]},
            "lists": {"text": text, "label": [[s, e, k] for s, e, k in spans]},
            "rasa": {
                "text": text,
                "intent": "x",
                "entities": [{"start": s, "end": e, "value": "V", "entity": k} for s, e, k in spans[::-1]],
            },
            "tags": {"tokens": text.split(" "), "ner_tags": tags_of(text, spans), "id": "7"},
            "text": {"text": text, "tags": " ".join(tags_of(text, spans)), "intent": "x"},
        }
        return kinds[form]

    if form == "classes":
        datasets = pytest.importorskip("datasets")
        names = ["O", "B-city", "I-city", "B-time", "I-time"]
        features = datasets.Features(
            {"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": datasets.Sequence(datasets.ClassLabel(names=names))}
        )
        rows = {"tokens": [t.split(" ") for t, _ in ROWS], "ner_tags": [[names.index(tag) for tag in tags_of(t, s)] for t, s in ROWS]}
        datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(tmp_path / "hub")
        check(read(tmp_path / "hub")[0])
        return
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(cell(text, spans)) + "\n" for text, spans in ROWS))
    check(read(tmp_path / "d.jsonl")[0])
    (tmp_path / "d.json").write_text(json.dumps([cell(text, spans) for text, spans in ROWS], indent=1))
    check(read(tmp_path / "d.json")[0])


def test_parallel_folders(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "seq.in").write_text("".join(text + "\n" for text, _ in ROWS))
        (tmp_path / name / "seq.out").write_text("".join(" ".join(tags_of(*row)) + "\n" for row in ROWS))
        (tmp_path / name / "label").write_text("book\nask\n" * (len(ROWS) // 2))
    splits, _ = read(tmp_path)
    assert len(splits.dev) == len(splits.test) == len(ROWS)
    # the same folder holds a classifier's data: the whole text's intent
    assert load_data(tmp_path, task="classification", say=lambda _: None).labels == ("ask", "book")
    (tmp_path / "test" / "seq.out").write_text("O\n")
    with pytest.raises(UserError, match=r"different numbers of lines. Found: seq.in: 12, seq.out: 1"):
        read(tmp_path)


def test_the_task_is_guessed_where_tags_are_the_label(tmp_path: Path) -> None:
    (tmp_path / "d.conll").write_text(columns())
    assert load_data(tmp_path / "d.conll", say=lambda _: None).task == TASK


def test_broken_tags_are_read_and_reported(tmp_path: Path) -> None:
    broken = columns().replace("New\tX\tB-city", "New\tX\tI-city", 2)
    (tmp_path / "d.conll").write_text(broken)
    splits, said = read(tmp_path / "d.conll")
    check(splits)
    assert any("2 entities are not tagged as BIO has it (the first: " in line and "row 4, column 'tags'" in line for line in said), said


def test_tags_in_which_entities_begin_with_i_are_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "d.conll").write_text(columns().replace("B-", "I-"))
    splits, said = read(tmp_path / "d.conll")
    check(splits)
    assert not any("not tagged" in line for line in said)


def test_types_alone_are_entities_too(tmp_path: Path) -> None:
    (tmp_path / "d.conll").write_text(columns().replace("B-", "").replace("I-", ""))
    check(read(tmp_path / "d.conll")[0])


def test_spans_inside_of_words_are_counted(tmp_path: Path) -> None:
    rows = [{"text": f"Ankaralı {n}", "entities": [{"start": 0, "end": 6, "label": "city"}]} for n in range(8)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert any("8 of 8 spans" in line and "inside of a word" in line for line in read(tmp_path / "d.jsonl")[1])


def spans_file(*spans: object, text: str = "to Van") -> str:
    good = {"text": "to Bursa", "entities": [{"start": 3, "end": 8, "label": "city"}]}
    return "".join(json.dumps(row) + "\n" for row in [*[good] * 5, {"text": text, "entities": list(spans)}])


BAD = {
    "overlap": (
        "d.jsonl",
        spans_file({"start": 0, "end": 4, "label": "a"}, {"start": 3, "end": 6, "label": "b"}),
        "row 6, column 'entities': two spans overlap",
    ),
    "outside": (
        "d.jsonl",
        spans_file({"start": 3, "end": 7, "label": "a"}),
        "row 6.*outside of its text.*a 3-7. Expected: 0 <= start < end <= 6",
    ),
    "backwards": ("d.jsonl", spans_file({"start": 4, "end": 4, "label": "a"}), "row 6.*outside of its text"),
    "negative": ("d.jsonl", spans_file({"start": -2, "end": 4, "label": "a"}), "row 6.*outside of its text"),
    "bytes": (
        "d.jsonl",
        spans_file({"start": 4, "end": 6, "label": "a", "text": "Van"}),
        "row 6.*does not hold what it states.*Expected: 'Van'",
    ),
    "float": ("d.jsonl", spans_file({"start": 3.5, "end": 6, "label": "a"}), "row 6.*not a span"),
    "no type": ("d.jsonl", spans_file({"start": 3, "end": 6}), "row 6.*not a span"),
    "words": ("d.jsonl", spans_file("Van"), "row 6.*not a span.*Found: 'Van'"),
    "object": ("d.jsonl", '{"text": "a", "entities": {"start": 0}}\n' * 5, "row 1.*neither spans nor tags"),
    "no tag": ("d.conll", "a O\nb\n", "row 2: a word without its tag. Found: 'b'"),
    "no tags": ("d.conll", "a\nb\n", "row 1: a word without its tag"),
    "width": ("d.conll", "a X O\nb O\n", "row 2: wrong number of columns. Found: 'b O'. Expected: 3 columns"),
    "scheme": (
        "d.conll",
        "a O\nb B-x\n\nc Q-x\n" * 3,
        r"row 4, column 'tags': a tag of no known scheme. Found: 'Q-x'. Expected: O, or B-type",
    ),
    "mixed": ("d.conll", "a O\nb city\n\nc B-city\n" * 3, "row 1, column 'tags': a tag of no known scheme. Found: 'city'"),
    "number": (
        "d.jsonl",
        '{"tokens": ["a", "b"], "tags": ["O", "B-x"]}\n' * 4 + '{"tokens": ["a b"], "tags": ["O"]}\n',
        "row 5.*words and tags differ.*2 words",
    ),
    "nothing": ("d.conll", "a O\n\nb O\n\nc O\n\nd O\n\n", "only one class"),
    "empty cell": ("d.jsonl", '{"text": "a", "entities": []}\n' * 4 + '{"text": "b"}\n', "row 5.*a row without a label"),
    "no words": ("d.jsonl", '{"tokens": [1, 2], "tags": ["O", "O"]}\n' * 4, "row 1, column 'tokens': not a text"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_refused_with_its_row(tmp_path: Path, name: str) -> None:
    file, content, message = BAD[name]
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=f"(?s){message}"):
        read(tmp_path / file)


def test_a_teacher_names_the_types(tmp_path: Path) -> None:
    (tmp_path / "d.conll").write_text(columns())
    foreign = ("B-CITY", "B-TIME", "I-CITY", "I-TIME", "O")
    splits, said = read(tmp_path / "d.conll", labels=foreign)
    assert splits.labels == foreign and any("matched without regard to case" in line for line in said)
    with pytest.raises(UserError, match="only in the data: 'time'"):
        read(tmp_path / "d.conll", labels=("O", "B-city", "I-city"))
