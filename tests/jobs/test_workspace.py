"""Output folders: one run at a time, nothing of the user's deleted, no work under the wrong name."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imbik.errors import UserError
from imbik.jobs.files import read_json, write_json
from imbik.jobs.workspace import Workspace, locked

HOLD = """
import sys, time
from pathlib import Path
from imbik.jobs.workspace import locked
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
    assert os.listdir(tmp_path / ".imbik") == ["lock"]


def test_a_folder_with_another_model_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds a model already"), Workspace(tmp_path, {"a": 1}):
        raise AssertionError("the other model would be overwritten")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".imbik", "config.json"]


def test_a_model_half_written_by_the_same_run_is_continued(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Workspace(tmp_path, {"a": 1}):
        (tmp_path / "config.json").write_text("{}")
        raise RuntimeError
    with Workspace(tmp_path, {"a": 1}):
        pass


@pytest.mark.parametrize("name", ["README.md", "tokenizer.json", "vocab.txt"])
def test_a_folder_with_a_file_of_a_model_s_name_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("the user's own")
    with pytest.raises(UserError, match=name), Workspace(tmp_path, {"a": 1}):
        raise AssertionError("the file would be overwritten")
    assert (tmp_path / name).read_text() == "the user's own"


def test_a_file_that_comes_while_the_model_is_made_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"README\.md.*what was finished is kept"), Workspace(tmp_path, {"a": 1}) as work:
        _make(work)
        (tmp_path / "README.md").write_text("the user's own")
        work.publish(work.path("made"))
    assert (tmp_path / "README.md").read_text() == "the user's own" and not (tmp_path / "config.json").exists()
    (tmp_path / "README.md").unlink()
    with pytest.raises(RuntimeError), Workspace(tmp_path, {"a": 1}) as work:
        work.publish(work.path("made"))
        raise RuntimeError
    with Workspace(tmp_path, {"a": 1}) as work:
        _make(work)
        work.publish(work.path("made"))  # what an earlier call of the same work put there is its own
    assert {path.name for path in tmp_path.iterdir()} == {".imbik", "README.md", "config.json"}
    assert os.listdir(tmp_path / ".imbik") == ["lock"]


def _make(work: Workspace) -> None:
    work.path("made").mkdir(parents=True, exist_ok=True)
    for name in ("README.md", "config.json"):
        (work.path("made") / name).write_text(name)


CONTEND = """
import sys, time
from pathlib import Path
from imbik.errors import UserError
from imbik.jobs.workspace import Workspace
folder, inside, end = Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic() + float(sys.argv[3])
held = refused = double = 0
while time.monotonic() < end:
    try:
        with Workspace(folder, {"a": sys.argv[4]}):
            try:
                inside.mkdir()
            except FileExistsError:
                double += 1
            else:
                held += 1
                inside.rmdir()
    except UserError as error:
        assert "another run is working" in str(error), error
        refused += 1
print(held, refused, double)
"""


def test_of_six_processes_one_holds_the_folder_and_the_others_are_told_so(tmp_path: Path) -> None:
    """Each takes and leaves the folder as often as it can; a second one inside would find the first one's mark."""
    arguments = [str(tmp_path / "out"), str(tmp_path / "inside"), "4"]
    runs = [subprocess.Popen([sys.executable, "-c", CONTEND, *arguments, str(i)], stdout=subprocess.PIPE, text=True) for i in range(6)]
    counts = [[int(number) for number in run.communicate()[0].split()] for run in runs]
    assert [run.returncode for run in runs] == [0] * 6
    held, refused, double = (sum(column) for column in zip(*counts, strict=True))
    assert double == 0 and held > 20 and refused > 0, counts


def test_two_threads_cannot_share_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), ThreadPoolExecutor(1) as pool, pytest.raises(UserError, match="another run"):
        pool.submit(lambda: locked(tmp_path).__enter__()).result()
    with locked(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(UserError, match="has no locks"), locked(tmp_path):
        raise AssertionError("every run would be let through")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path):
        raise AssertionError


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for place in (tmp_path / "a", tmp_path / "a" / "below"):
        with pytest.raises(UserError, match="is a file, or lies in one"), locked(place):
            raise AssertionError


def test_a_torn_file_reads_as_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a":')
    assert read_json(tmp_path / "a.json") == {} == read_json(tmp_path / "none.json")
    write_json(tmp_path / "a.json", {"a": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1} and len(list(tmp_path.iterdir())) == 1
