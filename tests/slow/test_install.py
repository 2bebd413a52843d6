"""`pip install .` into an empty environment: no torch, under 250 MB, and it serves an artefact that was copied there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from imbik.export.artefact import export
from imbik.testing.tiny import tiny_bert, tiny_splits

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_thin_install(tmp_path):
    export(tiny_bert(), "onnx", tmp_path / "artefact", texts=tiny_splits().dev)
    shutil.copytree(tmp_path / "artefact", tmp_path / "elsewhere" / "copied")
    venv.create(tmp_path / "venv", with_pip=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    before = size(tmp_path / "venv")
    command = [scripts / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", str(ROOT)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)
    grown = size(tmp_path / "venv") - before
    packages = subprocess.run([scripts / "python", "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout.lower()
    assert not any(name in packages for name in ("torch", "transformers", "datasets", "scikit"))
    print(f"installed: {grown / 1e6:.0f} MB")  # noqa: T201  the figure is what this test is for
    assert grown < 250e6
    done = subprocess.run(
        [scripts / "imbik", "predict", tmp_path / "elsewhere" / "copied", "my card is lost", "good money"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "good" in done.stdout or "bad" in done.stdout or "other" in done.stdout
    refused = subprocess.run(
        [scripts / "imbik", "compress", "--teacher", "x", "--data", "y", "--out", "z"], capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 2 and 'pip install "imbik[compress]"' in refused.stderr, sys.version + refused.stderr


def size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
