"""Nothing that a user keeps in an output folder is lost: random trees (60, and 200 more that are slow), and all commands that write.

Each tree is a folder that may hold what the command wrote earlier, and in it strangers' files: names of our own with other content, names
that only look alike, files in the depth of what we made, links. After the command, whether it went on or refused, each is what it was.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from imbik.cli.app import build_app
from imbik.compress.run import compress
from imbik.errors import UserError
from imbik.export import artefact as export_room
from imbik.export.artefact import export
from imbik.finetune.classifier import finetune
from imbik.jobs.progress import Silent
from imbik.measure.results import load_results
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.recommend.evaluation.comparison import check_replaceable, write
from imbik.report.render import write_report
from imbik.testing.tiny import tiny_bert, tiny_splits

NAMES = (
    "manifest.json",
    "results.json",
    "report.html",
    "report.md",
    "config.json",
    "README.md",
    "model.json",
    "compare.md",
    "compare.json",
    "candidate.json",
    "model.safetensors",
    "tokenizer.json",
    "thesis.docx",
    "notes.txt",
    ".keep",
    "imbik.json",
    "arrays.safetensors",
    "a b.csv",
)
OWN = {"compare": ("compare.json", "compare.md", "compare.svg"), "report": ("report.html", "report.md")}
WEB = {"name": "a web app", "icons": [{"src": "a.png"}], "start_url": "/", "schema": 1, "files": {}, "key": 3}
SPLITS = tiny_splits()
Command = Callable[[Path], None]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "teacher"
    save_checkpoint(tiny_bert(layers=1), folder)
    return folder


@pytest.fixture(scope="module")
def commands(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Command, Path]]:
    """Name -> the command, and a folder that it filled; what takes long and writes nothing by itself is done once."""
    place, patch = tmp_path_factory.mktemp("made"), pytest.MonkeyPatch()
    run = {"source": str(teacher), "recipes": ("int8",), "progress": Silent(), "say": lambda _: None}

    def to_compress(out: Path) -> None:
        compress(load_checkpoint(teacher), SPLITS, out, **run)  # type: ignore[arg-type]

    def to_export(out: Path) -> None:
        export(tiny_bert(layers=1), "onnx", out, progress=Silent())

    ratings = place / "ratings.csv"
    ratings.write_text("user,item,rating\n" + "".join(f"u{i % 5},i{i % 7},{i % 5 + 1}\n" for i in range(60)))

    def to_fit(out: Path) -> None:
        build_app()(args=["recommend", "fit", str(ratings), "--model", "biases", "--out", str(out)], standalone_mode=False)

    def to_compare(out: Path) -> None:
        check_replaceable(out)
        write(json.loads((place / "compare" / "compare.json").read_text()), out)

    to_compress(place / "compress")
    to_export(place / "export")
    results = load_results(place / "compress" / "results.json")

    def to_report(out: Path) -> None:
        for name in ("report.html", "report.md"):
            write_report(results, out / name, scenarios=())

    (place / "report").mkdir()
    to_report(place / "report")
    to_fit(place / "fit")
    asked = ["recommend", "compare", str(ratings), "--model", "biases", "--splits", "1", "--out", str(place / "compare")]
    build_app()(args=asked, standalone_mode=False)
    measured = __import__("imbik.compress.measuring", fromlist=["measure"]).measure
    once: list[object] = []

    def measure(*arguments: object, **options: object) -> object:
        once.extend([] if once else [measured(*arguments, **options)])
        return once[0]

    def copy(writer: object, directory: Path, request: object) -> dict[str, object]:
        shutil.copytree(place / "export", directory, dirs_exist_ok=True)
        return dict(json.loads((directory / "manifest.json").read_text()))

    pages = {markdown: (place / "report" / f"report.{'md' if markdown else 'html'}").read_text() for markdown in (False, True)}
    patch.setattr("imbik.report.render.render", lambda _, markdown, **options: pages[markdown])
    patch.setattr("imbik.compress.measuring.measure", measure)
    patch.setattr(export_room._Writer, "write", copy)
    patch.setattr(export_room.Gate, "check", lambda *_: {})
    patch.setattr(export_room, "_against_float", lambda *_: {})
    every = {"compress": to_compress, "export": to_export, "report": to_report, "fit": to_fit, "compare": to_compare}
    yield {name: (command, place / name) for name, command in every.items()}
    patch.undo()


def _plant(folder: Path, dice: random.Random, names: Sequence[str]) -> dict[Path, bytes | str]:
    """Put strangers' files into a folder and say what they hold; a link counts by where it leads."""
    below = [folder, *(path for path in sorted(folder.rglob("*")) if path.is_dir() and ".imbik" not in path.parts)]
    planted: dict[Path, bytes | str] = {}
    for _ in range(dice.randint(0, 3)):
        parent = dice.choice(below)
        if dice.random() < 0.3:
            parent = parent / dice.choice(["model", "int8", "artefacts", "onnx", "teacher", "empty", ".onnx.imbik-1", "comparison"])
        path = parent / dice.choice(names)
        if path.exists() and (parent != folder or path.name not in ("results.json", "report.html", "report.md", "manifest.json")):
            continue  # our own file, edited: still ours
        if any(one.is_file() for one in path.parents):
            continue
        parent.mkdir(parents=True, exist_ok=True)
        if dice.random() < 0.1 and not path.exists():
            path.symlink_to(folder.parent / "elsewhere")
            planted[path] = str(folder.parent / "elsewhere")
        else:
            content = dice.choice([json.dumps(WEB), "years of work", "{}", "# title\n\x00", json.dumps({"measurements": 1})])
            path.write_text(content)
            planted[path] = content.encode()
    return planted


@pytest.mark.parametrize("trees", [range(60), pytest.param(range(60, 260), marks=pytest.mark.slow)], ids=["60", "200 more"])
def test_every_file_of_a_stranger_is_still_there(trees: range, commands: dict[str, tuple[Command, Path]], tmp_path: Path) -> None:
    went = {name: [0, 0] for name in commands}
    for number in trees:
        dice = random.Random(number)
        name = list(commands)[number % len(commands)]
        command, made = commands[name]
        out = tmp_path / str(number) / "out"
        if dice.random() < 0.6:
            shutil.copytree(made, out)
        else:
            out.mkdir(parents=True)
        planted = _plant(out, dice, NAMES + 9 * OWN.get(name, ()))
        try:
            command(out)
        except UserError as error:
            went[name][1] += 1
            refusals = ("something else", "did not make", "a folder stands", "is a file", "no comparison wrote")
            assert any(part in str(error) for part in refusals), error
        else:
            went[name][0] += 1
        for path, content in planted.items():
            assert path.is_symlink() if isinstance(content, str) else path.is_file(), f"tree {number}, {name}: {path} is gone"
            assert (str(path.readlink()) if isinstance(content, str) else path.read_bytes()) == content, f"tree {number}: {path}"
        shutil.rmtree(out.parent)
    assert all(done and refused for done, refused in went.values()), f"each command went on and refused: {went}"


def test_a_command_replaces_what_it_made(commands: dict[str, tuple[Command, Path]], tmp_path: Path) -> None:
    for name, (command, made) in commands.items():
        out = Path(shutil.copytree(made, tmp_path / name))
        command(out)
        assert {path.relative_to(out) for path in out.rglob("*")} == {path.relative_to(made) for path in made.rglob("*")}, name


def test_a_folder_of_a_web_app_is_not_an_artefact(commands: dict[str, tuple[Command, Path]], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(WEB))
    (tmp_path / "index.html").write_text("years of work")
    with pytest.raises(UserError, match=r"index\.html, manifest\.json"):
        commands["export"][0](tmp_path)
    assert (tmp_path / "index.html").read_text() == "years of work"


def test_finetune_leaves_a_readme_alone(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("years of work")
    with pytest.raises(UserError, match=r"README\.md"):
        finetune(teacher, SPLITS, tmp_path, changes={"epochs": 1}, progress=Silent(), say=lambda _: None)
    assert (tmp_path / "README.md").read_text() == "years of work"
