"""``~`` at the beginning of a path is the home folder, in every command and in the library."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import typer

from imbik.advise.scenario import load_scenario
from imbik.cli.app import build_app
from imbik.cli.paths import expand_paths
from imbik.data.load import load_data, load_texts
from imbik.errors import UserError
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_base, load_checkpoint
from imbik.recipes.recipe import load_recipe
from imbik.recommend.data.reading import read_ratings
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import tiny_bert


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def commands(group: click.Group) -> list[click.Command]:
    return [one for command in group.commands.values() for one in (commands(command) if hasattr(command, "commands") else [command])]


def test_every_command_expands_its_paths() -> None:
    found = commands(typer.main.get_command(build_app()))
    assert len(found) > 10 and all(hasattr(command.callback, "expands_paths") for command in found)


def test_paths_are_expanded_and_texts_are_not(home: Path) -> None:
    seen: dict[str, object] = {}
    app = typer.Typer()

    @app.command()
    def show(texts: list[str], out: Path = Path("x"), file: list[Path] | None = None, base: str = "") -> None:
        seen.update(texts=texts, out=out, file=file, base=base)

    expand_paths(app)
    expand_paths(app)  # an application that is built twice
    app(["~ /", "--out=~/o", "--file", "~/a", "--file", "b", "--base=~/t"], standalone_mode=False)
    assert seen == {"texts": ["~ /"], "out": home / "o", "file": [home / "a", Path("b")], "base": str(home / "t")}


def test_a_command_writes_into_the_home_folder(home: Path) -> None:
    (home / "d.csv").write_text("user,item,rating\n" + "".join(f"u{i % 7},i{i % 5},{1 + i % 5}\n" for i in range(35)))
    build_app()(["recommend", "fit", "~/d.csv", "--out=~/model", "--model", "biases"], standalone_mode=False)
    assert (home / "model").is_dir() and not Path("~").exists()


def test_the_library_takes_a_tilde_too(home: Path) -> None:
    save_checkpoint(tiny_bert(layers=1), home / "t")
    assert load_checkpoint("~/t").task == load_base("~/t", "classification", ("a", "b")).task
    assert load_artefact("~/t", threads=1).labels
    (home / "d.csv").write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40)))
    assert load_data("~/d.csv").labels == ("a", "b") and len(load_texts("~/d.csv").texts) == 40
    (home / "r.yaml").write_text("student: layers-1\nsteps: []\n")
    assert load_recipe("~/r.yaml").student is not None
    (home / "ratings.csv").write_text("user,item,rating\nu,i,1\nv,j,2\n")
    assert read_ratings("~/ratings.csv").shape == (2, 2)
    for call in (load_checkpoint, load_artefact, load_data, load_scenario):
        with pytest.raises(UserError):
            call("~nobody-of-this-name/x")
