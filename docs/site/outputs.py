"""What the cells of the course gave, from the runs that ``notebooks/outputs`` stores, put where MyST-NB looks for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import read_myst_markdown_notebook

ROOT = Path(__file__).parents[2]
STORED = ROOT / "notebooks" / "outputs"


def read_notebook(path: Path, text: str | None = None) -> nbformat.NotebookNode:
    """Read a notebook that is written as MyST text; ``text`` in the place of what the file holds."""
    return read_myst_markdown_notebook(path.read_text(encoding="utf-8") if text is None else text, path=path, add_source_map=False)


def cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def with_outputs(written: nbformat.NotebookNode, stored: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Give every cell of a notebook the output of its stored run.

    Raises:
        SystemExit: the code is not that of the run.
    """
    ours, theirs = cells(written), cells(stored)
    if [cell.source for cell in ours] != [cell.source for cell in theirs]:
        raise SystemExit(f"notebooks/{name}.md: the code is not that of the stored run; run: make course NOTEBOOKS={name}")
    for cell, ran in zip(ours, theirs, strict=True):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    return written


def fill_cache(source: Path, cache: Path) -> None:
    """Put the stored outputs of all notebooks into a new cache."""
    shutil.rmtree(cache, ignore_errors=True)
    ready = get_cache(cache)
    for path in sorted((source / "course").glob("[0-9]*.md")):
        stored = nbformat.read(STORED / f"{path.stem}.ipynb", as_version=4)
        notebook = with_outputs(read_notebook(path), stored, path.stem)
        ready.cache_notebook_bundle(
            CacheBundleIn(nb=notebook, uri=str(path), data={"execution_seconds": 0.0}), check_validity=False, overwrite=True
        )
