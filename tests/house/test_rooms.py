"""The rooms of ``make mutants`` name modules and tests that there are."""

from __future__ import annotations

import runpy
from pathlib import Path

import yaml
from layout import SOURCE

FOLDER = Path(__file__).parents[1] / "mutation"


def test_every_room_names_files_that_there_are():
    rooms = runpy.run_path(str(FOLDER / "rooms.py"), run_name="rooms")["ROOMS"].values()
    modules, tests = ({file for room in rooms for file in getattr(room, kind)} for kind in ("modules", "tests"))
    assert [module for module in sorted(modules) if not (SOURCE / module).is_file()] == []
    assert [test for test in sorted(tests) if not (FOLDER.parent / test).is_file()] == []
    by_hand = yaml.safe_load((FOLDER / "by_hand.yaml").read_text("utf-8"))
    assert by_hand.keys() <= modules, "a change that no room tries"
