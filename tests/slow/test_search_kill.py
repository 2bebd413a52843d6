"""SIGKILL at 20 random moments of a search: every restart continues, and what is found is what an undisturbed search finds."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from random_kills import kill_at_random

from imbik.models.checkpoint import save_checkpoint
from imbik.testing.tiny import WORDS, tiny_bert

KILLS = 20
PROGRAM = """
import sys
from pathlib import Path
from imbik.data.load import load_data
from imbik.jobs.progress import Silent
from imbik.measure.values import Limits
from imbik.models.checkpoint import labels_of
from imbik.models.teacher import load_teachers
from imbik.search.options import SearchOptions
from imbik.search.run import search
from imbik.search.sandwich import Sandwich
teacher = load_teachers(["teacher"])
options = SearchOptions(
    limits=Limits(max_mb=0.3), supernet=Sandwich(epochs=30, batch_tokens=256), threads=1, save_every=0.3, make=False,
    evaluations=600, levers="architecture"
)
found = search(teacher, load_data("data.csv", labels=labels_of(teacher)), Path(sys.argv[1]), options, progress=Silent(), say=lambda _: None)
assert found.finished
"""


def start(place, out):
    command = [sys.executable, "-c", PROGRAM, out]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def ended(process):
    output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_twenty_kills_of_a_search(tmp_path):
    save_checkpoint(tiny_bert(layers=3, hidden=64, heads=4), tmp_path / "teacher")
    generator = random.Random(0)
    rows = [" ".join(generator.choices(WORDS, k=6)) + "," + generator.choice(("bad", "good", "other")) for _ in range(1500)]
    (tmp_path / "data.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    kills = kill_at_random(lambda: start(tmp_path, "broken"), generator, (4.0, 14.0), KILLS)
    ended(start(tmp_path, "broken"))
    # times are no function of the seed: the undisturbed search gets the other one's table
    table = next((tmp_path / "broken").rglob("search/*/costs.json"))
    copy = tmp_path / "straight" / table.relative_to(tmp_path / "broken")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(table.read_bytes())
    ended(start(tmp_path, "straight"))
    logs = [next((tmp_path / name).rglob("evaluations.jsonl")).read_text() for name in ("broken", "straight")]
    assert logs[0] == logs[1] and len(logs[0].splitlines()) > 100
    for name in ("best.yaml", "best.json"):
        assert (tmp_path / "broken" / name).read_text() == (tmp_path / "straight" / name).read_text()
    assert kills == KILLS, f"the search ended after {kills} kills; make it longer"
