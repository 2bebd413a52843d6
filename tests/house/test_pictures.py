"""The pictures are what their code draws, and say in words what they show."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("draw", ROOT / "docs" / "img" / "draw.py")
assert spec is not None and spec.loader is not None
draw = importlib.util.module_from_spec(spec)
spec.loader.exec_module(draw)
FILES = draw.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_picture_is_what_its_code_draws(path):
    assert path.read_text(encoding="utf-8") == FILES[path], "run: python docs/img/draw.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_word_stands_on_the_sheet_and_the_picture_has_a_title(path):
    name = "{http://www.w3.org/2000/svg}"
    picture = ElementTree.fromstring(FILES[path])
    _, _, width, height = map(float, picture.get("viewBox").split())
    assert picture.findtext(f"{name}title") and picture.findtext(f"{name}desc") and picture.get("role") == "img"
    for text in picture.iter(f"{name}text"):
        reach = len("".join(text.itertext())) * 3.4  # half of a generous width a character
        assert reach - 12 <= float(text.get("x")) <= width - reach + 12, text.text
        assert 0 < float(text.get("y")) < height
