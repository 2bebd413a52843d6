"""The order of the house: floors, circles, sizes. ``layout.py`` beside this file reads the imports."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter

import pytest
from layout import FLOORS, SOURCE, circles, climbs, module_name, modules, room

LONGER: dict[str, str] = {
    "imbik.training.loop.fit": "one loop, read top to bottom; at most 70 lines",
}
"""Functions that may have more than 40 lines, with the reason."""


def size(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_every_package_has_its_floor_and_every_floor_its_packages():
    here = {room(name) for name in modules()} - {"imbik", "moved"}
    assert here == {name for names in FLOORS for name in names}


def test_a_package_imports_only_lower_floors():
    assert climbs() == []


@pytest.mark.parametrize("everywhere", [False, True], ids=["at module level", "inside functions too"])
def test_no_circles(everywhere):
    assert circles(everywhere) == []


def test_no_folder_has_more_than_fifteen_modules():
    folders = Counter(path.parent for path in SOURCE.rglob("*.py") if path.name != "__init__.py")
    assert {str(folder.relative_to(SOURCE)): count for folder, count in folders.items() if count > 15} == {}


def test_files_and_functions_keep_the_limit():
    long_files = [module_name(p) for p in SOURCE.rglob("*.py") if len(p.read_text("utf-8").splitlines()) > 300]
    long_functions = {
        f"{name}.{node.name}": size(node)
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and size(node) > 40
    }
    assert long_files == []
    assert set(long_functions) == set(LONGER), long_functions
    assert max(long_functions.values()) <= 70


FACES = sorted(path.parent for path in SOURCE.rglob("__init__.pyi"))


@pytest.mark.parametrize("folder", FACES, ids=[path.relative_to(SOURCE.parent).as_posix() for path in FACES])
def test_every_name_that_a_package_shows_is_there(folder):
    face = importlib.import_module(".".join(folder.relative_to(SOURCE.parent).parts))
    assert face.__all__
    for name in face.__all__:
        assert getattr(face, name) is not None


def test_the_picture_of_the_floors_is_the_one_that_is_checked():
    page = (SOURCE.parents[1] / "ARCHITECTURE.md").read_text("utf-8")
    picture = page.split("<!-- floors -->")[1].split("```")[1].strip().splitlines()
    drawn = {int(line.split()[0]): set(re.findall(r"[a-z_]+", line)) for line in picture}
    assert drawn == {number: set(names) for number, names in enumerate(FLOORS, 1)}
