"""A pushed folder: what transformers, ONNX Runtime with transformers' tokenizer, and imbik open, with the answers of the artefact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from imbik.errors import UserError
from imbik.push.card import About
from imbik.push.run import push
from imbik.runtime.manifest import verify
from imbik.runtime.predictor import load_artefact

FROZEN = Path(__file__).parents[1] / "frozen"
FINISHED = FROZEN / "finished"
TEXTS = ["where is my card", "lost money today", "a good new account"]


def front(folder: Path) -> dict[str, Any]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return data


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A candidate that transformers opens, with a float ONNX artefact, as compress lays them out."""
    from imbik.export.artefact import export
    from imbik.models.checkpoint import save_checkpoint
    from imbik.testing.tiny import tiny_bert

    folder = tmp_path_factory.mktemp("run") / "small"
    checkpoint = tiny_bert(seed=2)
    checkpoint.model.config.imbik_base = "/home/somebody/models/base"
    save_checkpoint(checkpoint, folder / "model", "a card")
    export(checkpoint, "onnx", folder / "artefacts" / "onnx", texts=TEXTS)
    return folder


def test_transformers_onnxruntime_and_imbik_open_what_was_pushed(plain: Path, tmp_path: Path) -> None:
    import onnxruntime
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    push(plain, "me/small", out=tmp_path / "repo")
    expected = load_artefact(plain / "artefacts" / "onnx", threads=1).scores(TEXTS)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "repo").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "repo")
    with torch.no_grad():
        found = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # as Optimum and transformers.js do: onnx/model.onnx, int64 inputs by transformers' names, the output `logits`
    session = onnxruntime.InferenceSession(tmp_path / "repo" / "onnx" / "model.onnx")
    encoded = tokenizer(TEXTS, padding=True, return_tensors="np")
    feed = {one.name: encoded[one.name].astype(np.int64) for one in session.get_inputs()}
    assert {one.type for one in session.get_inputs()} == {"tensor(int64)"}
    np.testing.assert_allclose(session.run(["logits"], feed)[0], expected, atol=1e-4)
    verify(tmp_path / "repo" / "onnx")
    np.testing.assert_array_equal(load_artefact(tmp_path / "repo" / "onnx", threads=1).scores(TEXTS), expected)


def test_no_path_of_this_machine_is_pushed(plain: Path, tmp_path: Path) -> None:
    push(plain, "me/small", out=tmp_path / "repo")
    assert json.loads((tmp_path / "repo" / "config.json").read_text())["imbik_base"] == "base"
    for path in (tmp_path / "repo").rglob("*"):
        if path.is_file():
            assert b"/home/somebody" not in path.read_bytes(), path


def test_an_integer_model_bears_the_name_that_transformers_js_asks_for(tmp_path: Path) -> None:
    push(FROZEN / "artefacts" / "onnx-int8", "me/small", out=tmp_path / "repo")
    assert (tmp_path / "repo" / "onnx" / "model_quantized.onnx").is_file()
    verify(tmp_path / "repo" / "onnx")
    here = load_artefact(tmp_path / "repo" / "onnx", threads=1).scores(TEXTS)
    np.testing.assert_array_equal(here, load_artefact(FROZEN / "artefacts" / "onnx-int8", threads=1).scores(TEXTS))


def test_the_card_says_what_was_measured(tmp_path: Path) -> None:
    about = About("apache-2.0", "google/tiny", "me/messages", ("en",))
    push(FINISHED / "nmf", "me/nmf", about=about, out=tmp_path / "repo")
    card = ModelCard.load(tmp_path / "repo" / "README.md")
    assert (card.data.license, card.data.base_model, card.data.datasets) == ("apache-2.0", "google/tiny", "me/messages")
    assert card.data.pipeline_tag == "text-classification"
    measured = {one["id"]: one for one in json.loads((FINISHED / "results.json").read_text())["measurements"]}["nmf/onnx"]
    found = {(one.metric_type, one.dataset_name, one.dataset_split): one.metric_value for one in card.data.eval_results}
    assert found["accuracy", "me/messages", "test"] == round(measured["quality"]["value"], 4)
    assert found["retention", "me/messages", "test"] == round(measured["retention"]["value"], 4)
    assert f"{measured['quality']['value']:.4f}" in card.text


def test_a_run_means_its_choice(tmp_path: Path) -> None:
    done = push(FINISHED, "me/chosen", dry_run=True)
    assert json.loads((FINISHED / "results.json").read_text())["choice"]["id"] == "teacher/onnx"
    assert {"README.md", "onnx/manifest.json", "onnx/tokenizer.json"} < done.files.keys()
    assert done.place is None


def test_a_model_that_transformers_cannot_open_is_not_said_to_be_one(tmp_path: Path) -> None:
    push(FINISHED / "nmf", "me/nmf", out=tmp_path / "repo")
    assert front(tmp_path / "repo")["library_name"] == "imbik"
    assert "AutoModel" not in (tmp_path / "repo" / "README.md").read_text()


def test_a_folder_may_be_written_again_and_nobody_elses_is(plain: Path, tmp_path: Path) -> None:
    push(FINISHED / "nmf", "me/nmf", out=tmp_path / "repo")
    push(plain, "me/small", out=tmp_path / "repo")
    assert not (tmp_path / "repo" / "structured.safetensors").exists()
    (tmp_path / "repo" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds something else.*notes\.txt"):
        push(plain, "me/small", out=tmp_path / "repo")
    assert (tmp_path / "repo" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("missing", "me/small", "no such folder"),
        ("empty", "me/small", "nothing to push in the folder"),
        ("half", "me/small", "no safetensors weights"),
        ("good", "small", "not the name of a repository"),
        ("good", "me/a b", "not the name of a repository"),
    ],
)
def test_what_cannot_be_pushed_is_told(folder: str, name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    shutil.copytree(FROZEN / "artefacts" / "onnx-int8", tmp_path / "good")
    with pytest.raises(UserError, match=message):
        push(tmp_path / folder, name, dry_run=True)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class FakeHub:
    """Takes what is sent."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.made = (repo_id, options)

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> Any:
        sent[repo_id] = everything(Path(folder_path))
        return type("Commit", (), {"commit_url": f"https://hub/{repo_id}/commit/1"})


sent: dict[str, dict[str, bytes]] = {}


def test_the_hub_gets_what_a_folder_gets(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    done = push(plain, "me/small")
    assert done.place == "https://hub/me/small/commit/1"
    push(plain, "me/small", out=tmp_path / "repo")
    there = everything(tmp_path / "repo")
    del there[".imbik-push.json"]
    assert sent["me/small"] == there
    assert {name: len(content) for name, content in there.items()} == done.files


def test_a_hub_that_cannot_be_reached_is_one_message(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *args: Any, **options: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(FakeHub, "create_repo", refuse)
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    with pytest.raises(UserError, match=r"the hub did not take the model.*no route to host.*--out FOLDER"):
        push(plain, "me/small")
