"""The way of the teacher through ``compress()`` stays straight; ``walk.py`` beside this file says how it is counted."""

from __future__ import annotations

from pathlib import Path

from layout import FLOORS
from walk import count, walk

LEVELS = {name: number for number, names in enumerate(FLOORS) for name in names}


def test_the_teacher_walks_straight():
    """At commit 401e489, by the same count: 163 stays and 143 returns in 20 files (its modules lay on one floor)."""
    found = count(walk(), LEVELS)
    # 45, one for the sixth family of students, those without layers, and three for models whose layers differ: blocks.py tells
    # anatomy and facts which heads and units a layer has; one for the rival that is the teacher's own base
    assert found.stays <= 50 and found.climbs <= 12 and found.returns <= 25, found
    assert found.files >= 20, "the walk was not followed to its end"


CROOKED = {
    "errors.py": "def deep(model):\n    return model\n",
    "compress/__init__.py": "",
    "compress/run.py": """
from imbik.compress.store import Store
from imbik.errors import deep

def compress(teacher, splits):
    store = Store(teacher, splits)
    deep(teacher.model)
    for name in ("a", "b"):
        store.key(name)
        store.clear(name)
    deep(splits)
""",
    "compress/store.py": """
from imbik.errors import deep

class Store:
    def __init__(self, teacher, splits):
        self.teacher = teacher

    def key(self, name):
        return deep(self.teacher), self.key(name)

    def clear(self, name):
        return name
""",
}


def test_the_walk_is_counted_as_its_text_says(tmp_path: Path):
    for name, text in CROOKED.items():
        path = tmp_path / "imbik" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = walk(tmp_path / "imbik")
    assert [(depth, step.name) for depth, step in found.steps()] == [
        (0, "compress"), (1, "Store.__init__"), (1, "deep"), (1, "Store.key"), (2, "deep"),
    ]  # fmt: skip
    assert found.stays() == ["imbik.compress.run", "imbik.compress.store", "imbik.errors", "imbik.compress.store", "imbik.errors"]
    assert count(found, LEVELS).climbs == 1 and count(found, LEVELS).returns == 2
