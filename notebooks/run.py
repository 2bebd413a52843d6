"""Run notebooks of the course in full and keep what they gave, or write them as ``.ipynb`` for Jupyter.

    python notebooks/run.py                   run all; notebooks/outputs/NAME.ipynb gets outputs, numbers and seconds
    python notebooks/run.py 04_soft_labels    one
    python notebooks/run.py --write DIR       nothing runs; DIR/en and DIR/tr, the stored outputs included

The text of a notebook quotes numbers by the role ``{num}``; they come from the dictionary ``numbers`` of the notebook itself.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "docs" / "site"))

from numbers_of_outputs import written  # noqa: E402
from outputs import STORED, cells, read_notebook, with_outputs  # noqa: E402
from translations import twin_of, with_cells  # noqa: E402

BEFORE = "import time as _time\n_began = _time.monotonic(), _time.process_time()"
AFTER = """import json as _json
print(_json.dumps({"numbers": {key: float(value) for key, value in numbers.items()}, "threads": __import__("torch").get_num_threads(),
"seconds": round(_time.monotonic() - _began[0], 1), "cpu_seconds": round(_time.process_time() - _began[1], 1)}))"""
NUMBER = re.compile(r"\{num\}`([^`]+)`")
PAGE = re.compile(r"(?<=\]\()\.\./((?:docs|benchmarks|examples)/[^)#]+\.(?:md|py))")
PICTURE = re.compile(r"(?<=\]\()(\.\./docs/img/[\w-]+\.svg)(?=\))")


def execute(name: str) -> nbformat.NotebookNode:
    """Run a notebook and return it with its outputs; its metadata hold numbers and seconds."""
    notebook = read_notebook(HERE / f"{name}.md")
    first, last = nbformat.v4.new_code_cell(BEFORE), nbformat.v4.new_code_cell(AFTER)
    notebook.cells = [first, *notebook.cells, last]
    NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(HERE)}}).execute()
    told = json.loads("".join(output.text for output in last.outputs if output.output_type == "stream").strip().splitlines()[-1])
    notebook.cells = cells(notebook)[1:-1]  # the text is not kept twice
    for cell in cells(notebook):
        cell.outputs = [output for output in cell.outputs if not (output.output_type == "stream" and output.name == "stderr")]
        cell.execution_count = None
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        for output in cell.outputs:
            output.pop("execution_count", None)
            output.get("data", {}).pop("text/plain", None) if "image/png" in output.get("data", {}) else None
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "imbik": told}
    return notebook


def own_picture(link: str, language: str) -> str:
    """Return the link to a picture in a language, where it is drawn in that one; the site finds it by itself."""
    own = Path(link).with_suffix(f".{language}.svg")
    return own.as_posix() if (HERE / own).exists() else link


def for_jupyter(name: str, language: str, folder: Path) -> nbformat.NotebookNode:
    """Return a notebook with its stored outputs, the numbers written into its text, its links leading from a folder to the repository."""
    root = os.path.relpath(HERE.parent, folder)
    path = HERE / f"{name}.md"
    twin = twin_of(path, language)
    text = path.read_text(encoding="utf-8")
    notebook = read_notebook(path, text if twin is None else with_cells(twin.read_text(encoding="utf-8"), text, name))
    notebook = with_outputs(notebook, nbformat.read(STORED / f"{name}.ipynb", as_version=4), name)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = NUMBER.sub(lambda found: written(name, found.group(1), language), cell.source)
            cell.source = PAGE.sub(lambda found: Path(root, found.group(1)).as_posix(), cell.source)
            cell.source = PICTURE.sub(lambda found: own_picture(found.group(1), language), cell.source)
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    return notebook


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    for name in options.names or sorted(path.stem for path in HERE.glob("[0-9]*.md") if ".tr" not in path.suffixes):
        if options.write:
            for language in ("en", "tr"):
                folder = options.write / language
                folder.mkdir(parents=True, exist_ok=True)
                nbformat.write(for_jupyter(name, language, folder), folder / f"{name}.ipynb")
                shutil.copytree(HERE / "data", folder / "data", dirs_exist_ok=True)
            shutil.copytree(HERE.parent / "docs" / "img", options.write / "docs" / "img", dirs_exist_ok=True)
            continue
        notebook = execute(name)
        STORED.mkdir(exist_ok=True)
        nbformat.write(notebook, STORED / f"{name}.ipynb")
        print(f"{name}: {notebook.metadata['imbik']['seconds']} s, {notebook.metadata['imbik']['cpu_seconds']} s of the processor")


if __name__ == "__main__":
    main()
