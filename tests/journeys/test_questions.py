"""Questions from SQuAD's form through a student and an artefact to answers on the command line."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from imbik.cli.app import main
from imbik.compress.run import compress
from imbik.data.load import load_data
from imbik.finetune.classifier import finetune
from imbik.jobs.progress import Silent
from imbik.measure.results import load_results
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import WORDS, tiny_bert
from imbik.training.settings import Training

TASK = "question-answering"


def squad(seed: int) -> dict:
    """Articles whose questions name a word; every fifth names one that its context lacks."""
    draw, articles = np.random.default_rng(seed), []
    for number in range(20):
        context = " ".join(draw.permutation(WORDS[:20])[:8])
        words = [*draw.choice(context.split(), 4), "never"]
        qas = [
            {"question": str(word), "id": f"{number}", "answers": [{"text": str(word), "answer_start": f" {context} ".index(f" {word} ")}]}
            if word in context.split()
            else {"question": word, "id": f"{number}x", "answers": [], "is_impossible": True}
            for word in words
        ]
        articles.append({"title": f"{number}", "paragraphs": [{"context": context, "qas": qas}]})
    return {"version": "v2.0", "data": articles}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run folder and the file of its data."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "d.json").write_text(json.dumps(squad(0)))
    save_checkpoint(tiny_bert(("a", "b"), layers=2), folder / "base")
    splits = load_data(folder / "d.json", task=TASK, say=lambda _: None)
    settings = Training(epochs=4, learning_rate=3e-3, batch_tokens=256)
    finetune(folder / "base", splits, folder / "teacher", settings=settings, progress=Silent(), say=lambda _: None)
    teacher = load_checkpoint(folder / "teacher")
    recipe = folder / "small.yaml"
    recipe.write_text("name: small\nstudent: {layers: 1}\nsteps:\n  - distill: {epochs: 2}\n")
    data = load_data(folder / "d.json", task=TASK, labels=("start", "end"), say=lambda _: None)
    compress(
        teacher, data, folder / "run", source=str(folder / "teacher"), recipes=[recipe], threads=1, progress=Silent(), say=lambda _: None
    )
    return folder


def test_the_threshold_for_no_answer_travels_with_every_model(made):
    config = json.loads((made / "teacher" / "config.json").read_text())
    assert isinstance(config["imbik_decision"], float)
    manifests = [json.loads(path.read_text()) for path in (made / "run").rglob("manifest.json")]
    assert len(manifests) == 2 and all(isinstance(manifest["decision"], float) for manifest in manifests)
    predictor = load_artefact(made / "run" / "small" / "artefacts" / "onnx", threads=1)
    scores = predictor.scores(["card"], ["my bank card"])
    assert scores["decision"] == pytest.approx(predictor.manifest["decision"])


def test_candidates_are_measured_by_their_answers(made):
    results = load_results(made / "run" / "results.json")
    assert not results.failures and [m.id for m in results.measurements] == ["teacher/pytorch", "teacher/onnx", "small/onnx"]
    teacher, artefact, _ = results.measurements
    assert teacher.quality.metric == "squad-f1" and artefact.quality.value == teacher.quality.value and artefact.agreement == 1.0
    assert not teacher.per_class


def test_one_question_is_asked_of_a_file(made, capsys):
    artefact, context = made / "run" / "small" / "artefacts" / "onnx", "the card\r\nis  lost 👍🏽 today " * 12
    (made / "context.txt").write_bytes(context.encode())
    arguments = ["predict", str(artefact), "card", "lost", "--context", str(made / "context.txt")]
    for more in (["--json"], ["--out", str(made / "answers.csv")], []):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *more])
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        if more == ["--json"]:
            answers = [json.loads(line) for line in printed.splitlines()]
    assert [answer["text"] for answer in answers] == ["card", "lost"]
    for answer in answers:
        assert answer["start"] == answer["end"] == -1 or context[answer["start"] : answer["end"]] == answer["answer"] != ""
    with (made / "answers.csv").open(newline="") as file:
        assert [row["answer"] for row in csv.DictReader(file)] == [answer["answer"] for answer in answers]
    for wrong, message in (
        (["--pair", "x", "--pair", "y"], "stands in the place of"),
        (["--context", str(made / "none.txt")], "no such file"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*(arguments if wrong[0] == "--pair" else arguments[:4]), *wrong])
        assert ended.value.code == 2 and message in capsys.readouterr().err
