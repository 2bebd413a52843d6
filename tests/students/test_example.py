"""examples/lstm.py: a Transformer's answers taught to an LSTM, by its teacher and on labels alone."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "lstm.py"


@pytest.mark.slow
def test_the_example_in_full(tmp_path: Path) -> None:
    result = runpy.run_path(str(EXAMPLE))["main"](tmp_path)
    assert result["distilled"] > result["labels alone"] > 0.2, "of eighteen intents"
    assert abs(result["distilled, int8"] - result["distilled"]) < 0.1
    assert result["bytes of its artefact"] < 6_000_000
