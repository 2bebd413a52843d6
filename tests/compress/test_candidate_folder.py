"""What a candidate's folder says of itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from imbik.compress.candidate_folder import CandidateFolder, Complete, Missing, Record, Stale, keeps_limit
from imbik.compress.options import Options, Run
from imbik.compress.plan import plan_all
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import parse_recipe
from imbik.testing.tiny import tiny_bert, tiny_splits

PRESET = {"name": "x86", "weight_bits": 8}
TEXT = "name: one\nstudent: layers-1\nsteps: [{distill: {epochs: %d}}, {quantize: {}}]"


def folder_of(place: Path, epochs: int = 1, engines: tuple[str, ...] = ("onnx",), **options: object) -> CandidateFolder:
    teacher, splits = Teacher.of(tiny_bert(layers=2)), tiny_splits()
    chosen = Options(recipes=[parse_recipe(TEXT % epochs, "one")], engines=engines).changed({"preset": PRESET, **options})
    (plan,) = plan_all(teacher, splits, chosen).candidates
    return CandidateFolder(plan, Run(teacher, splits, place, chosen, Silent(), lambda _: None))


PROOF = {"schema": 1, "engine": "onnx", "task": "classification", "labels": ["a"], "steps": [], "files": {}}
"""Fields by which a folder is known as an artefact."""


def write_artefact(folder: CandidateFolder, engine: str, **manifest: object) -> None:
    limit = {"kept": 1.0, "before": 1.0, "min_retention": 0.97}
    folder.artefact(engine).mkdir(parents=True)
    path = folder.artefact(engine) / "manifest.json"
    path.write_text(json.dumps({**PROOF, "cpu": PRESET, "parity": {"limit": limit}, **manifest}))


@pytest.fixture
def finished(tmp_path: Path) -> CandidateFolder:
    folder = folder_of(tmp_path)
    write_artefact(folder, "onnx")
    folder.finish(Record(folder.plan.key, 2.5, folder.plan.steps, {"openvino": "no such operator"}))
    return folder


def test_a_finished_candidate_is_complete_and_reads_back(finished: CandidateFolder) -> None:
    state = finished.state()
    assert isinstance(state, Complete)
    assert state.record.train_seconds == 2.5 and state.record.failures == {"openvino": "no such operator"}
    assert [list(step) for step in state.record.steps] == [["distill"], ["quantize"]]


def test_nothing_another_model_and_a_torn_record_are_missing(tmp_path: Path, finished: CandidateFolder) -> None:
    assert isinstance(folder_of(tmp_path / "empty").state(), Missing)
    assert isinstance(folder_of(tmp_path, epochs=2).state(), Missing)
    (finished.path / "candidate.json").write_text('{"key": "')
    assert isinstance(finished.state(), Missing)


def test_artefacts_that_todays_call_would_make_otherwise_are_stale(tmp_path: Path, finished: CandidateFolder) -> None:
    assert folder_of(tmp_path, preset={"name": "x86-vnni", "weight_bits": 8}).state() == Stale(("onnx",), finished.state().record)
    shutil.rmtree(finished.artefact("onnx"))
    assert isinstance(finished.state(), Stale)
    write_artefact(finished, "onnx", parity={})
    assert isinstance(finished.state(), Stale), "made without a limit"


def test_an_engine_that_failed_earlier_is_not_waited_for(tmp_path: Path, finished: CandidateFolder) -> None:
    pytest.importorskip("openvino")
    assert isinstance(folder_of(tmp_path, engines=("onnx", "openvino")).state(), Complete)
    record = replace(finished.state().record, failures={})
    finished.finish(record)
    assert folder_of(tmp_path, engines=("onnx", "openvino")).state() == Stale(("openvino",), record)


def test_clearing_a_stale_candidate_leaves_its_model_and_what_is_right(tmp_path: Path, finished: CandidateFolder) -> None:
    finished.model.mkdir()
    write_artefact(finished, "openvino")
    finished.clear(Stale(("onnx",), finished.state().record))
    assert finished.model.is_dir() and finished.artefact("openvino").is_dir() and not finished.artefact("onnx").exists()
    (finished.path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds something else.*notes.txt"):
        finished.clear(Missing())
    (finished.path / "notes.txt").unlink()
    finished.clear(Missing())
    assert not finished.path.exists()


def test_an_artefact_is_kept_while_it_holds_the_limit() -> None:
    inside = {"kept": 0.98, "before": 0.98, "min_retention": 0.97}
    reverted = {"kept": 0.98, "before": 0.9, "min_retention": 0.97}
    assert keeps_limit(inside, 0.97) and keeps_limit(inside, 0.5) and not keeps_limit(inside, 0.99)
    assert keeps_limit(reverted, 0.97) and not keeps_limit(reverted, 0.5) and not keeps_limit(reverted, 0.99)
    assert keeps_limit(None, None) and not keeps_limit(None, 0.97) and not keeps_limit(inside, None)
