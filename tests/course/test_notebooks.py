"""Every notebook of the course runs, with trainings cut to a few steps; solutions of the exercises included."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").glob("[0-9]*.md") if ".tr" not in path.suffixes)
EXERCISES = 5

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("myst_nb")
matplotlib = pytest.importorskip("matplotlib")


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / "docs" / "site" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


outputs = load("outputs")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """One teacher for all notebooks."""
    return tmp_path_factory.mktemp("course")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, work, monkeypatch):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setenv("IMBIK_COURSE_FAST", "1")
    monkeypatch.setenv("IMBIK_COURSE_WORK", str(work))
    monkeypatch.chdir(ROOT / "notebooks")
    names: dict[str, object] = {"__name__": "notebook"}
    for number, cell in enumerate(outputs.cells(outputs.read_notebook(path))):
        exec(compile(cell.source, f"{path.stem}, cell {number}", "exec"), names)
    plt.close("all")
    stored = json.loads((ROOT / "notebooks" / "outputs" / f"{path.stem}.ipynb").read_text(encoding="utf-8"))
    assert set(names["numbers"]) == set(stored["metadata"]["imbik"]["numbers"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_its_parts_and_the_outputs_of_its_code(path):
    text = path.read_text(encoding="utf-8")
    for part in ("**After this notebook you can**", "**Running example.**", "## Pitfalls", "## Exercises", "## Sources"):
        assert part in text, part
    written = outputs.read_notebook(path)
    assert sum("hide-cell" in cell.metadata.get("tags", []) for cell in outputs.cells(written)) >= EXERCISES
    stored = nbformat.read(outputs.STORED / f"{path.stem}.ipynb", as_version=4)
    outputs.with_outputs(written, stored, path.stem)  # the code is that of the run
    assert stored.metadata["imbik"]["cpu_seconds"] <= 240
