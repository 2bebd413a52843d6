"""Tagged texts from a file through students, engines and measurements to answers on the command line."""

from __future__ import annotations

import csv
import json

import pytest

from imbik.cli.app import main
from imbik.compress.run import compress
from imbik.data.load import load_data
from imbik.jobs.progress import Silent
from imbik.measure.results import load_results
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.testing.task_examples import TASK_EXAMPLES
from imbik.testing.tiny import tiny_bert, tiny_splits

TASK = "token-classification"
EXAMPLE = TASK_EXAMPLES[TASK]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A compressed tagger: folder of the run, folder of the data."""
    folder = tmp_path_factory.mktemp("tagging")
    (folder / "data").mkdir()
    splits = tiny_splits(TASK, rows=60)
    for name in ("train", "dev", "test"):
        part = getattr(splits, name)
        rows = [{"text": t, "entities": EXAMPLE.cell(t, None, row)} for t, row in zip(part.texts, part.targets, strict=True)]
        (folder / "data" / f"{name}.json").write_text(json.dumps(rows))
    save_checkpoint(tiny_bert(EXAMPLE.labels, TASK, layers=2), folder / "teacher")
    teacher = load_checkpoint(folder / "teacher")
    data = load_data(folder / "data", task=TASK, labels=EXAMPLE.labels, say=lambda _: None)
    recipe = folder / "small.yaml"
    recipe.write_text("name: small\nstudent: {layers: 1}\nsteps:\n  - distill: {epochs: 2}\n  - quantize: {scheme: dynamic}\n")
    compress(
        teacher, data, folder / "run", source=str(folder / "teacher"), recipes=[recipe], threads=1, progress=Silent(), say=lambda _: None
    )
    return folder / "run", folder / "data"


@pytest.fixture
def run(capsys):
    """The command line: arguments -> what it prints."""

    def command(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert ended.value.code == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return command


def test_candidates_are_measured_by_their_entities(made):
    results = load_results(made[0] / "results.json")
    assert not results.failures
    assert [m.id for m in results.measurements] == ["teacher/pytorch", "teacher/onnx", "small/onnx"]
    teacher, artefact, small = results.measurements
    assert teacher.quality.metric == "entity-f1" and set(teacher.per_class) == {"place", "thing"}
    assert artefact.quality.value == pytest.approx(teacher.quality.value, abs=0.02) and artefact.parity.max_abs_relative < 1e-3
    assert small.parity.int8_ops > 0 and small.retention.low <= small.retention.value <= small.retention.high
    assert "place" in (made[0] / "report.html").read_text("utf-8")


def test_answers_are_spans_of_the_text(made, run):
    artefact = made[0] / "small" / "artefacts" / "onnx"
    text = "my bank card 👍🏽 İstanbul\r\n" * 30
    answer = json.loads(run("predict", artefact, text, "--json"))
    assert answer["text"] == text and answer["entities"]
    for one in answer["entities"]:
        assert text[one["start"] : one["end"]] == one["entity"] and one["label"] in ("place", "thing") and 0 < one["probability"] <= 1
    assert answer["entities"][-1]["end"] > 400, "the last windows of the text are answered too"
    run("predict", artefact, "--file", made[1] / "test.json", "--text", "text", "--out", made[0] / "answers.csv")
    with (made[0] / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["text"] for row in rows} == {row["text"] for row in json.loads((made[1] / "test.json").read_text())}
    assert all(row["text"][int(row["start"]) : int(row["end"])] == row["entity"] for row in rows if row["label"])
    run("predict", artefact, "my card", "--out", made[0] / "answers.csv")


def test_an_artefact_is_measured_alone(made, run):
    artefact, stored = made[0] / "small" / "artefacts" / "onnx", made[0] / "teacher" / "predictions.npz"
    document = json.loads(run("measure", artefact, "--data", made[1], "--baseline", stored, "--json", "-", "--threads", 1))
    (measured,) = document["measurements"]
    expected = load_results(made[0] / "results.json").get("small/onnx")
    assert measured["quality"]["value"] == expected.quality.value and measured["retention"]["value"] == expected.retention.value


def test_the_code_in_the_artefacts_readme_runs(made, monkeypatch, capsys):
    artefact = made[0] / "small" / "artefacts" / "onnx"
    code = (artefact / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(artefact)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.count("[") == 2
