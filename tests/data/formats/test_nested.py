"""Questions in SQuAD's form, in JSON lines and in tables; whole articles on one side of a cut; what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imbik.data.formats.csv import open_table
from imbik.data.load import load_data
from imbik.errors import UserError

TASK = "question-answering"


def squad(start=str, none: bool = False) -> dict:
    """Ten articles with two paragraphs of two questions."""
    articles = []
    for number in range(10):
        paragraphs = []
        for part in "ab":
            context = f"Şehir {number}{part} küçüktür. Nehir {number}{part} uzundur."
            qas = []
            for what in ("Şehir", "Nehir"):
                text = f"{what} {number}{part}"
                answers = [] if none and what == "Nehir" else [{"text": text, "answer_start": start(context.index(text))}]
                qas.append(
                    {"question": f"{what}? {number}{part}", "id": f"{number}{part}{what}", "answers": answers, "is_impossible": not answers}
                )
            paragraphs.append({"context": context, "qas": qas})
        articles.append({"title": f"Başlık {number}", "paragraphs": paragraphs})
    return {"version": "2.0", "data": articles}


def read(path: Path, **names):
    said: list[str] = []
    return load_data(path, task=TASK, say=said.append, **names), said


def check(splits, none: bool = False) -> None:
    count = 0
    for part in (splits.train, splits.dev, splits.test):
        for question, context, target in zip(part.texts, part.pairs, part.targets, strict=True):
            count += 1
            if none and question.startswith("Nehir"):
                assert target.shape == (0, 2)
                continue
            ((start, text),) = target.tolist()
            assert context[int(start) : int(start) + len(text)] == text and text.split()[1] == question.split()[1]
    assert count == 40 and splits.metric == "squad-f1"


@pytest.mark.parametrize("start", [str, int, float])
def test_squad_with_places_as_texts_and_as_numbers(tmp_path: Path, start) -> None:
    (tmp_path / "d.json").write_text(json.dumps(squad(start), indent=1))
    check(read(tmp_path / "d.json")[0])


def test_squad_2_has_questions_without_an_answer(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps(squad(none=True)))
    check(read(tmp_path / "d.json")[0], none=True)


def test_an_article_stands_on_one_side_of_a_cut(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps(squad()))
    for seed in range(5):
        splits, said = read(tmp_path / "d.json", seed=seed)
        articles = [{context.split()[1][:-1] for context in part.pairs} for part in (splits.train, splits.dev, splits.test)]
        assert all(articles) and not articles[0] & articles[1] and not articles[0] & articles[2] and not articles[1] & articles[2]
        assert any("whole articles or contexts only" in line for line in said)


@pytest.mark.parametrize("form", ["hub", "objects", "single", "text", "spans", "columns"])
def test_rows(tmp_path: Path, form: str) -> None:
    rows = []
    for article in squad(int)["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                ((answer,),) = (qa["answers"],)
                text, start = answer["text"], answer["answer_start"]
                cell = {
                    "hub": {"answers": {"text": [text], "answer_start": [start]}},
                    "objects": {"answers": [answer]},
                    "single": {"answer": answer},
                    "text": {"answer": text},
                    "spans": {"answer": {"text": text, "start": start}},
                    "columns": {"answer": text, "answer_start": start},
                }[form]
                rows.append({"question": qa["question"], "context": paragraph["context"], **cell})
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = {"label": "answer,answer_start"} if form == "columns" else {}
    splits, said = read(tmp_path / "d.jsonl", **names)
    check(splits)
    assert any("come without their place" in line for line in said) == (form == "text")


def test_an_answer_that_stands_elsewhere_is_moved_and_counted(tmp_path: Path) -> None:
    document = squad(int)
    document["data"][3]["paragraphs"][0]["qas"][1]["answers"][0]["answer_start"] += 2
    (tmp_path / "d.json").write_text(json.dumps(document))
    splits, said = read(tmp_path / "d.json")
    check(splits)
    assert any("1 answers of" in line and "stand elsewhere" in line for line in said)


def row(**cells: object) -> str:
    good = {"question": "q", "context": "the old town", "answers": {"text": ["old"], "answer_start": [4]}}
    return "".join(json.dumps(one) + "\n" for one in [*[good | {"question": f"q{n}"} for n in range(5)], good | cells])


BAD = {
    "not in the context": (
        row(answers={"text": ["new"], "answer_start": [4]}),
        "row 6, column 'answers': an answer that is not in its context.*'new'; at 4 stands 'old'",
    ),
    "no text": (row(answers={"answer_start": [4]}), "row 6, column 'answers': not an answer"),
    "numbers": (row(answers={"text": ["old", "town"], "answer_start": [4]}), "row 6.*not an answer"),
    "start": (row(answers={"text": ["old"], "answer_start": ["four"]}), "row 6.*not an answer"),
    "a number": (row(answers=[3.5]), "row 6.*an answer that is not in its context.*3.5"),
    "missing": (row(answers=None), "row 6.*a row without a label"),
    "context": (row(context=None), "row 6, column 'context': the text is missing"),
}


def test_a_column_called_answers_says_the_task(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(row(question=f"p{n}", context=f"the old town {n}") for n in range(4)))
    said: list[str] = []
    splits = load_data(tmp_path / "d.jsonl", say=said.append)
    assert splits.task == "question-answering" and "task guessed from column answers: question-answering" in said
    (tmp_path / "o.jsonl").write_text('{"question": "q", "context": "c", "answers": "a", "label": "yes"}\n' * 2)
    with pytest.raises(UserError, match="column 'label': only one class"):  # a column that is called as labels are is meant
        load_data(tmp_path / "o.jsonl", task=None, say=lambda _: None)


def test_labels_without_texts_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"ner_tags": ["O", "B-a"]}\n' * 9)
    with pytest.raises(UserError, match=r"labels without texts. Found: column ner_tags. Expected: a column of texts or words"):
        load_data(tmp_path / "t.jsonl", task="token-classification", say=lambda _: None)


@pytest.mark.parametrize("name", BAD)
def test_rows_that_are_refused(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    (tmp_path / "d.jsonl").write_text(content)
    with pytest.raises(UserError, match=f"(?s){message}"):
        read(tmp_path / "d.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["data"][2]["paragraphs"][1].pop("context"), "article 3, paragraph 2: no 'context' here"),
        (lambda d: d["data"][0]["paragraphs"][0]["qas"][0].pop("answers"), "article 1, paragraph 1: no 'answers' here"),
        (lambda d: d["data"][0]["paragraphs"][0]["qas"][0]["answers"][0].pop("text"), "no 'text' here"),
        (lambda d: d.pop("data"), "no 'data' here"),
        (lambda d: d.update(data=[]), "no rows"),
    ],
)
def test_documents_that_are_refused(tmp_path: Path, change, message: str) -> None:
    document = squad() | {"paragraphs": 0}
    change(document)
    (tmp_path / "d.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=message):
        read(tmp_path / "d.json")
    (tmp_path / "d.json").write_text('{"data": [{"paragraphs": [')
    with pytest.raises(UserError, match="broken JSON"):
        read(tmp_path / "d.json")


def test_rasa_examples_are_tagged_texts(tmp_path: Path) -> None:
    examples = [
        {"text": f"to Van {n}", "intent": "go", "entities": [{"start": 3, "end": 6, "value": "Van", "entity": "city"}]} for n in range(9)
    ]
    (tmp_path / "nlu.json").write_text(json.dumps({"rasa_nlu_data": {"common_examples": examples}}))
    assert load_data(tmp_path / "nlu.json", task="token-classification", say=lambda _: None).labels == ("O", "B-city", "I-city")


ROWS = [{"text": f"text number {i}", "label": "ab"[i % 2], "id": i} for i in range(40)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "form",
    [
        lambda: {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ("text", "label", "id")},  # DataFrame.to_json()
        lambda: {"version": 1, "note": 'a "list"', "data": ROWS},
        lambda: {"rows": ROWS, "count": 40},
    ],
    ids=["columns", "data", "rows"],
)
def test_rows_that_stand_in_a_value_are_read(form, indent, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps(form(), indent=indent))
    table = open_table(tmp_path / "d.json")
    assert table.columns == ("text", "label", "id")
    chunks = list(table.stream(("text", "label")))
    assert [pair for chunk in chunks for pair in zip(chunk.columns["text"], chunk.columns["label"], strict=True)] == [
        (row["text"], row["label"]) for row in ROWS
    ]


@pytest.mark.parametrize(
    "row", [{"meta": {"a": 1, "b": 2}, "text": "x"}, {"spans": [{"start": 1}], "text": "x"}, {"a": {"k": 1}, "b": {"l": 2}}]
)
def test_lines_that_begin_with_an_object_or_a_list_are_lines(row, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(2 * (json.dumps(row) + "\n"))
    table = open_table(tmp_path / "d.json")
    assert table.columns == tuple(row)
    assert sum(len(chunk.rows) for chunk in table.stream(table.columns)) == 2
    (tmp_path / "one.json").write_text(json.dumps(row))
    assert open_table(tmp_path / "one.json").columns == tuple(row), "and a single one is a row"
