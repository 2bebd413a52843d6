"""Files and folders: written whole, never in the place of a stranger's, never outside of their folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imbik.errors import UserError
from imbik.jobs.files import foreign_files, inside, refuse_foreign, refuse_foreign_file, remove_folder, replacing, replacing_folder

MADE = frozenset({"a.txt", "sub/b.txt"})


def _listed(folder: Path) -> frozenset[str] | None:
    """Folders of these tests are ours when they hold a.txt."""
    return MADE if (folder / "a.txt").is_file() else None


def _fill(folder: Path, text: str) -> None:
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    for name in MADE:
        (folder / name).write_text(text)


def _read(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / ("n" * 200)
    place.write_text("old")
    with pytest.raises(KeyError), replacing(place) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert _read(tmp_path) == {place.name: "old"}
    with replacing(place) as temporary:
        temporary.write_text("new")
    assert _read(tmp_path) == {place.name: "new"}


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "..", "", ".", "C:\\x", "C:x", "..\\x", "a\0b", "link/x", "out"])
def test_a_name_that_leaves_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "out").symlink_to(tmp_path / "elsewhere" / "none")
    with pytest.raises(UserError, match="leads out of its folder"):
        inside(folder, name, "a test")


def test_a_name_that_stays_is_taken(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("a", "a/b.c", "..a", "link/x", "real"):
        assert inside(tmp_path, name, "a test") == tmp_path / name


def test_the_links_of_a_hub_cache_are_taken(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "repository" / "blobs", tmp_path / "repository" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "123").write_text("x")
    (snapshot / "model.onnx").symlink_to("../../blobs/123")
    (snapshot / "evil").symlink_to("../../../secret")
    assert inside(snapshot, "model.onnx", "a test").read_text() == "x"
    with pytest.raises(UserError):
        inside(snapshot, "evil", "a test")


def test_a_stranger_s_file_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "results.json"
    refuse_foreign_file(place, lambda path: False)
    place.touch()
    refuse_foreign_file(place, lambda path: False)
    place.write_text("thesis")
    refuse_foreign_file(place, lambda path: path.read_text() == "thesis")
    for proof in (lambda path: False, lambda path: {}["no such key"]):
        with pytest.raises(UserError, match="imbik did not make"):
            refuse_foreign_file(place, proof)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="imbik did not make"):
        refuse_foreign_file(tmp_path / "link", lambda path: True)
    with pytest.raises(UserError, match="a folder stands"):
        refuse_foreign_file(tmp_path, lambda path: True)


def test_what_is_not_listed_is_foreign(tmp_path: Path) -> None:
    _fill(tmp_path, "x")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    assert foreign_files(tmp_path, MADE) == []
    refuse_foreign(tmp_path / "none", None)
    (tmp_path / "empty" / "deep" / "thesis.docx").write_text("x")
    (tmp_path / "away").symlink_to(tmp_path.parent)
    assert foreign_files(tmp_path, MADE) == ["away", "empty/deep/thesis.docx"]
    for listed in (MADE, None):
        with pytest.raises(UserError, match=r"thesis\.docx"):
            remove_folder(tmp_path, listed)
    assert len(_read(tmp_path)) == 3, "nothing was removed"
    (tmp_path / "empty" / "deep" / "thesis.docx").unlink()
    (tmp_path / "away").unlink()
    remove_folder(tmp_path, MADE)
    assert not tmp_path.exists()


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "out"
    for text in ("one", "two"):
        with replacing_folder(place, _listed) as new:
            _fill(new, text)
        assert _read(tmp_path) == {f"out/{name}": text for name in MADE}
    with pytest.raises(KeyError), replacing_folder(place, _listed) as new:
        _fill(new, "three")
        raise KeyError
    assert _read(tmp_path) == {f"out/{name}": "two" for name in MADE}


def test_a_file_that_comes_while_a_folder_is_made_stays(tmp_path: Path) -> None:
    place = tmp_path / "out"
    _fill(place, "old")
    with pytest.raises(UserError, match="thesis"), replacing_folder(place, _listed) as new:
        _fill(new, "new")
        (place / "thesis.docx").write_text("x")
    assert _read(tmp_path) == {f"out/{name}": "old" for name in MADE} | {"out/thesis.docx": "x"}


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    _fill(tmp_path / "disk", "old")
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with replacing_folder(tmp_path / "out", _listed) as new:
        _fill(new, "new")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk" / "a.txt").read_text() == "new"


KILLED = """
import os, sys
from pathlib import Path
from imbik.jobs import files
listed = lambda folder: {"a.txt"} if (folder / "a.txt").is_file() else None
steps, stop = [], int(sys.argv[2])
def counted(plain):
    def run(*arguments, **options):
        if len(steps) == stop:
            os._exit(9)
        steps.append(plain)
        return plain(*arguments, **options)
    return run
for name in ("rename", "unlink", "rmdir", "mkdir"):
    setattr(Path, name, counted(getattr(Path, name)))
files._flush, files.shutil.rmtree, files.os.rmdir = counted(files._flush), counted(files.shutil.rmtree), counted(files.os.rmdir)
files._exchange = counted(files._exchange) if sys.argv[3] == "exchange" else lambda one, other: False
with files.replacing_folder(Path(sys.argv[1]), listed) as new:
    (new / "a.txt").write_text("new")
"""


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_kill_at_any_step_loses_no_folder(way: str, tmp_path: Path) -> None:
    """Killed before each step in turn; then the next call finds the old folder or the new one, and leaves nothing behind."""
    for stop in range(40):
        place = tmp_path / str(stop) / "out"
        place.mkdir(parents=True)
        (place / "a.txt").write_text("old")
        done = subprocess.run([sys.executable, "-c", KILLED, str(place), str(stop), way], capture_output=True, text=True)
        assert done.returncode in (0, 9), done.stderr
        if way == "exchange":
            assert (place / "a.txt").read_text() in ("old", "new")
        with pytest.raises(KeyError), replacing_folder(place, lambda folder: {"a.txt"} if (folder / "a.txt").is_file() else None):
            raise KeyError
        assert _read(place)["a.txt"] in ("old", "new"), "the folder was lost"
        assert os.listdir(place.parent) == ["out"], "something was left beside it"
        if done.returncode == 0:
            return
    raise AssertionError("more steps than were tried")
