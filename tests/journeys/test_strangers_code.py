"""Code that is not ours never runs: neither what lies in the working folder nor what a model's folder brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import imbik
from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.jobs.progress import Silent
from imbik.measure.process import Candidate, Process
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_base, load_checkpoint
from imbik.testing.tiny import tiny_bert
from imbik.types import Artefact

SOURCE = str(Path(imbik.__file__).parents[1])
# Modules of the standard library that Python has not loaded by itself, and packages that imbik imports.
TRAPS = ("re", "json", "csv", "typing", "numpy", "tokenizers", "onnxruntime", "typer", "rich", "yaml", "lazy_loader", "filelock", "_pytest")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return export(tiny_bert(layers=1), "onnx", tmp_path_factory.mktemp("strangers") / "a", progress=Silent())


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder of modules that leave a mark when they are imported."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write({name!r} + ' ')\nraise SystemExit(77)\n")
    return folder


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCE}


def test_the_working_folder_is_not_imported_from_by_the_command(artefact: Artefact, trapped: Path) -> None:
    command = [sys.executable, "-m", "imbik", "predict", str(artefact.path), "a card"]
    done = subprocess.run(command, cwd=trapped, env=_environment(), capture_output=True, text=True)
    assert (done.returncode, (trapped.parent / "mark").exists()) == (0, False), done.stderr
    assert "a card" in done.stdout


def test_a_program_of_the_user_still_imports_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("import imbik\n")
    (tmp_path / "mine" / "__main__.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("print('found')\n")
    done = subprocess.run([sys.executable, "-m", "mine"], cwd=tmp_path, env=_environment(), capture_output=True, text=True)
    assert done.stdout == "found\n", done.stderr


def test_the_working_folder_is_not_imported_from_by_a_process_that_measures(
    artefact: Artefact, trapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trapped)
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    with Process(Candidate("a/onnx", "a", "onnx", artefact.path), 1) as process:
        assert process.ask("predict", texts=["a card"]) == {"count": 1}
    assert not (trapped.parent / "mark").exists()


def test_every_process_that_imbik_starts_keeps_the_working_folder_out() -> None:
    """A new subprocess must be started with -P, and this list says where there are any."""
    found = [path for path in Path(imbik.__file__).parent.rglob("*.py") if "subprocess." in path.read_text(encoding="utf-8")]
    assert [path.name for path in found] == ["child.py"]
    assert found[0].read_text(encoding="utf-8").count("sys.executable") == found[0].read_text(encoding="utf-8").count(
        'sys.executable, "-P"'
    )


def _with_code(folder: Path, mark: Path, what: str) -> Path:
    """A checkpoint that brings code: its architecture is unknown to transformers, or its tokenizer is, or neither."""
    save_checkpoint(tiny_bert(layers=1), folder)
    (folder / "strange.py").write_text(f"open({str(mark)!r}, 'w')\nraise ImportError('ran')\n")
    file = folder / ("tokenizer_config.json" if what == "tokenizer" else "config.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    if what == "architecture":
        content |= {"model_type": "strange", "auto_map": {"AutoConfig": "strange.Strange"}}
    elif what == "tokenizer":
        content |= {"tokenizer_class": "Strange", "auto_map": {"AutoTokenizer": ["strange.Strange", "strange.Strange"]}}
    else:
        content |= {"auto_map": {"AutoModelForSequenceClassification": "strange.Strange"}}
    file.write_text(json.dumps(content), encoding="utf-8")
    return folder


def _export(folder: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "imbik", "export", str(folder), "--out", str(out), *options]
    return subprocess.run(command, input="y\ny\ny\n", env=_environment(), capture_output=True, text=True, timeout=120)


def test_code_of_a_model_is_refused_without_a_question(tmp_path: Path) -> None:
    folder, mark = _with_code(tmp_path / "model", tmp_path / "mark", "architecture"), tmp_path / "mark"
    done = _export(folder, tmp_path / "out")
    assert (done.returncode, mark.exists()) == (2, False), done.stderr
    assert "--trust-remote-code" in done.stderr and "[y/N]" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    done = _export(folder, tmp_path / "out", "--trust-remote-code")
    assert (done.returncode, mark.exists()) == (2, True), "the option runs the code, which fails by itself"


@pytest.mark.parametrize("open_it", [load_checkpoint, lambda folder: load_base(folder, "classification", ("a", "b"))])
@pytest.mark.parametrize("what", ["architecture", "tokenizer", "neither"])
def test_no_way_in_runs_the_code(what: str, open_it, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    def asked(*_: object) -> str:
        raise AssertionError("the user was asked")

    monkeypatch.setattr("builtins.input", asked)
    folder = _with_code(tmp_path / "model", tmp_path / "mark", what)
    try:
        checkpoint = open_it(folder)
    except UserError as error:
        assert what != "neither" and "brings code of its own" in error.what, error
    else:
        assert not hasattr(checkpoint.model.config, "auto_map"), "what is made of it would look for the code again"
    assert not (tmp_path / "mark").exists()
