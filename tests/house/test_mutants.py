"""The changes by hand of ``make mutants`` are of the code as it is: a stale one would stop the whole room."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

MUTATION = Path(__file__).parents[1] / "mutation"
SOURCE = Path(__file__).parents[2] / "src" / "imbik"


def _module(name: str):
    spec = importlib.util.spec_from_file_location(name, MUTATION / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name
    import sys

    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


CHANGES, ROOMS = _module("changes"), _module("rooms").ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_changes_by_hand_know_the_code(room: str) -> None:
    assert {module: CHANGES.stale(module, (SOURCE / module).read_text("utf-8")) for module in ROOMS[room].modules} == {
        module: [] for module in ROOMS[room].modules
    }


@pytest.mark.parametrize("room", ROOMS)
def test_tests_of_a_room_are_there(room: str) -> None:
    assert [test for test in ROOMS[room].tests if not (MUTATION.parent / test).is_file()] == []
