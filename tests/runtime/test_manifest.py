"""Damaged and crafted artefacts: one message to the user each time, nothing outside of the folder opened, nothing unrecorded run."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.jobs.progress import Silent
from imbik.runtime.manifest import artefact_files, read_artefact, verify
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import tiny_bert

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny_bert(layers=1), "onnx", tmp_path_factory.mktemp("manifest") / "a", progress=Silent()).path


@pytest.fixture
def folder(artefact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artefact, tmp_path / "copy"))


def _rewrite(folder: Path, change: Change) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _predict(folder: Path) -> None:
    load_artefact(folder, threads=1).predict(["my card", "other words"])


def _put(**fields: object) -> Change:
    return lambda manifest: manifest.update(fields)


@pytest.mark.parametrize(("change", "message"), [
    (_put(model="../elsewhere.onnx"), "leads out of its folder"),
    (_put(model="/etc/passwd"), "leads out of its folder"),
    (_put(model="other.onnx"), "does not record a file that would run"),
    (_put(files={}), "does not record a file that would run"),
    (lambda m: m["files"].pop("tokenizer.json"), "does not record.*tokenizer"),
    (lambda m: m["files"].update({"../elsewhere.onnx": m["files"]["model.onnx"]}), "leads out of its folder"),
    (lambda m: m["files"].update({"model.onnx": {}}), "'files'"),
    (lambda m: m["files"]["model.onnx"].update(bytes="many"), "'files'"),
    (lambda m: m["labels"].pop(), "does not fit the labels"),
    (_put(labels=[]), "'labels'"),
    (_put(labels=["a", 1, None]), "'labels'"),
    (_put(max_length=-1), "'max_length'"),
    (_put(max_length=True), "'max_length'"),
    (_put(max_length=10**30), "'max_length'"),
    (_put(padding={}), "'padding'"),
    (_put(padding={"id": 0, "side": "up"}), "'padding'"),
    (_put(truncation_side=7), "'truncation_side'"),
    (_put(inputs=["pixels"]), "'inputs'"),
    (_put(steps=[1]), "'steps'"),
    (_put(batch_tokens="all"), "'batch_tokens'"),
    (_put(shapes={"multiple": 0}), "'shapes'"),
    (_put(versions=[]), None),
    (_put(versions=[1]), "'versions'"),
])  # fmt: skip
def test_a_crafted_manifest_is_one_message(change: Change, message: str | None, folder: Path) -> None:
    shutil.copy(folder / "model.onnx", folder.parent / "elsewhere.onnx")
    shutil.copy(folder / "model.onnx", folder / "other.onnx")
    _rewrite(folder, change)
    if message is None:
        return _predict(folder)
    with pytest.raises(UserError, match=message):
        _predict(folder)
    return None


@pytest.mark.parametrize("content", ["", "[" * 100_000, "[]", "null", '{"schema": 1}', '{"schema": NaN}', "\ufeff{}", "{" * 10])
def test_a_broken_manifest_is_one_message(content: str, folder: Path) -> None:
    (folder / "manifest.json").write_text(content, encoding="utf-8")
    for use in (_predict, verify, read_artefact):
        with pytest.raises(UserError):
            use(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "model.onnx"])
def test_a_file_of_the_right_size_and_the_wrong_content_is_one_message(file: str, folder: Path) -> None:
    for content in (b"x" * (folder / file).stat().st_size, b"{}".ljust((folder / file).stat().st_size)):
        (folder / file).write_bytes(content)
        with pytest.raises(UserError, match=r"tokenizer of the artefact cannot be read|cannot open the model"):
            _predict(folder)
        with pytest.raises(UserError, match="was changed"):
            verify(folder)


def test_random_damage_is_one_message_or_none(artefact: Path, tmp_path: Path) -> None:
    """Bytes of the manifest and the tokenizer overwritten, cut and moved: an answer, or a UserError."""
    refused = 0
    for number in range(150):
        dice, folder = random.Random(number), tmp_path / str(number)
        shutil.copytree(artefact, folder)
        file = folder / dice.choice(["manifest.json", "tokenizer.json"])
        content = bytearray(file.read_bytes())
        for _ in range(dice.randint(1, 5)):
            place = dice.randrange(len(content))
            content[place : place + dice.choice([1, 1, 4])] = dice.choice([b"\x00", b"\xff", b"9", b'"', b"-1", b"null", b"{", b"1e999"])
        content = content if file.name == "manifest.json" else content[: file.stat().st_size].ljust(file.stat().st_size)
        file.write_bytes(bytes(content))
        try:
            _predict(folder)
        except UserError:
            refused += 1
        shutil.rmtree(folder)
    assert refused > 50


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to("../elsewhere.onnx")
    with pytest.raises(UserError, match="leads out of its folder"):
        _predict(folder)


def test_weights_beside_the_model_must_be_recorded(folder: Path) -> None:
    (folder / "model.onnx.data").write_bytes(b"weights")
    with pytest.raises(UserError, match=r"does not record.*model\.onnx\.data"):
        verify(folder)


def test_an_edited_readme_stops_nobody(folder: Path) -> None:
    (folder / "README.md").write_text("my own words", encoding="utf-8")
    verify(folder)
    _predict(folder)
    (folder / "README.md").unlink()
    verify(folder)
    _predict(folder)


def test_what_is_listed_is_the_proof_of_an_artefact(folder: Path) -> None:
    assert artefact_files(folder) == set(os.listdir(folder))
    _rewrite(folder, lambda m: m.pop("labels"))
    assert artefact_files(folder) is None
    assert artefact_files(folder / "none") is None
