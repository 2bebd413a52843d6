"""examples/vision.py: teacher, student, int8, artefact and answers on drawn images."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "vision.py"


@pytest.mark.slow
def test_the_example(tmp_path):
    result = runpy.run_path(str(EXAMPLE))["main"](tmp_path)
    # of three classes
    assert result["teacher"] > 0.8 and result["student"] > 0.8
    assert result["student_bytes"] < result["teacher_bytes"] / 3
    manifest = json.loads((tmp_path / "student-onnx" / "manifest.json").read_text("utf-8"))
    assert manifest["parity"]["int8_ops"] == 7 and manifest["parity"]["float_matmuls"] == 0, "six convolutions and the head"
