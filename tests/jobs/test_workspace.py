"""Output folders: one run at a time, nothing of the user's deleted, no work under the wrong name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imbik.errors import UserError
from imbik.jobs.files import read_json, refuse_foreign, write_json
from imbik.jobs.workspace import Workspace, locked

HOLD = """
import sys, time
from pathlib import Path
from imbik.workspace import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_runs_cannot_share_a_folder_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run is working in this folder"), locked(tmp_path):
            raise AssertionError("both held the lock")
    finally:
        other.kill()
        other.communicate()
    with locked(tmp_path):
        pass


def test_a_failed_run_keeps_its_work_and_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Workspace(tmp_path, {"a": 1}) as work:
        write_json(work.path("state.json"), {"step": 3})
        raise RuntimeError
    with Workspace(tmp_path, {"a": 1}) as work:
        assert read_json(work.path("state.json")) == {"step": 3}
    assert not (tmp_path / ".imbik").exists()


def test_a_folder_with_another_model_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds a model already"), Workspace(tmp_path, {"a": 1}):
        raise AssertionError("the other model would be overwritten")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_model_half_written_by_the_same_run_is_continued(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Workspace(tmp_path, {"a": 1}):
        (tmp_path / "config.json").write_text("{}")
        raise RuntimeError
    with Workspace(tmp_path, {"a": 1}):
        pass


def test_a_folder_with_foreign_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    refuse_foreign(tmp_path, {"model"})
    (tmp_path / "thesis.docx").write_text("x")
    with pytest.raises(UserError, match="thesis"):
        refuse_foreign(tmp_path, {"model"})
    refuse_foreign(tmp_path / "none", set())


def test_a_torn_file_reads_as_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a":')
    assert read_json(tmp_path / "a.json") == {} == read_json(tmp_path / "none.json")
    write_json(tmp_path / "a.json", {"a": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1} and len(list(tmp_path.iterdir())) == 1
