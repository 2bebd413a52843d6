"""SIGKILL at 20 random moments of a compress run: every restart continues, and the end is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from random_kills import kill_at_random

from imbik.measure.results import load_results
from imbik.models.checkpoint import save_checkpoint
from imbik.testing.tiny import WORDS, tiny_bert

KILLS = 20


def write(place: Path) -> None:
    save_checkpoint(tiny_bert(layers=4, hidden=64, heads=4), place / "teacher")
    generator = random.Random(0)
    rows = [" ".join(generator.choices(WORDS, k=6)) + "," + generator.choice(("bad", "good", "other")) for _ in range(1500)]
    (place / "data.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    for name, layers in (("one", 1), ("two", 2)):
        (place / f"{name}.yaml").write_text(
            f"name: {name}\nstudent: layers-{layers}\nsteps:\n  - distill: {{epochs: 40, batch_tokens: 256}}\n  - quantize: {{}}\n"
        )


def start(place: Path, out: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "imbik", "compress", "--teacher", "teacher", "--data", "data.csv", "--out", out,
               "--recipe", "one.yaml", "--recipe", "two.yaml", "--save-every", "0.3"]  # fmt: skip
    return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def weights(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name / "model" / "model.safetensors").read_bytes() for name in ("one", "two")}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_twenty_kills(tmp_path):
    write(tmp_path)
    undisturbed = start(tmp_path, "straight")
    output = undisturbed.communicate(timeout=900)[0]
    assert undisturbed.returncode == 0, output
    generator = random.Random(1)
    kills = kill_at_random(lambda: start(tmp_path, "broken"), generator, (5.0, 16.0), KILLS)
    last = start(tmp_path, "broken")
    output = last.communicate(timeout=900)[0]
    assert last.returncode == 0, output
    assert weights(tmp_path / "broken") == weights(tmp_path / "straight")
    results = load_results(tmp_path / "broken" / "results.json")
    assert [m.id for m in results.measurements] == [m.id for m in load_results(tmp_path / "straight" / "results.json").measurements]
    assert not results.failures and json.loads((tmp_path / "broken" / "results.json").read_text())["schema"] == 2
    print(f"{kills} kills")  # noqa: T201  what a reader of the log wants to know
    assert kills == KILLS, f"the run ended after {kills} kills; make it longer"
