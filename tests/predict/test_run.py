"""Files to answers: every row once and in order, after kills too; what is not ours stays."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.predict.answering import Model
from imbik.predict.run import Asked, predict_files
from imbik.predict.store import SUMMARY
from imbik.runtime.predictor import load_artefact

FROZEN = Path(__file__).parents[1] / "frozen" / "artefacts"
LABELS = ("even", "odd")


class Parity:
    """Says of a text that ends in a number whether it is odd; slowly."""

    task, labels = "classification", LABELS

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[str] = []

    def predict(self, texts: list[str], pairs: list[str] | None = None) -> Any:
        time.sleep(self.seconds)
        self.asked += texts
        odd = np.array([int(text.split()[-1]) % 2 for text in texts], np.float32)
        return np.stack([1 - odd, odd], axis=1)


@pytest.fixture
def parity(monkeypatch: pytest.MonkeyPatch) -> Parity:
    model = Parity()
    monkeypatch.setattr(Model, "load", lambda self: model)
    return model


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answer(folder: Path, out: Path | Any, artefact: str = "onnx-float", form: str | None = None, said: Any = None, **asked: Any) -> Any:
    said = [] if said is None else said
    asked = {"part_rows": 7, "workers": 1} | asked
    done = predict_files(Model(FROZEN / artefact), [folder], out, asked=Asked(**asked), form=form, progress=Silent(), say=said.append)
    return done, said


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for file, (start, stop) in enumerate([(0, 40), (40, 41), (41, 100)]):
        (folder / f"{file}.csv").write_text("id,text\n" + "".join(f"{n},number {n}\n" for n in range(start, stop)))
    return folder


def check(rows: list[dict[str, str]], count: int = 100) -> None:
    assert [row["text"] for row in rows] == [f"number {n}" for n in range(count)]
    assert [row["label"] for row in rows] == [LABELS[n % 2] for n in range(count)]


def test_every_row_is_answered_once_and_in_order(numbers: Path, parity: Parity, tmp_path: Path) -> None:
    done, _ = answer(numbers, tmp_path / "out.csv")
    check(lines(tmp_path / "out.csv"))
    assert (done.rows, done.earlier) == (100, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.csv"]


def test_a_folder_of_parts_says_when_it_is_finished_and_what_belongs_to_it(numbers: Path, parity: Parity, tmp_path: Path) -> None:
    answer(numbers, tmp_path / "out", keep=("id",))
    summary = json.loads((tmp_path / "out" / SUMMARY).read_text())
    assert summary["rows"] == 100
    check([row for part in summary["parts"] for row in lines(tmp_path / "out" / part["file"])])
    assert [part["rows"] for part in summary["parts"]] == [7] * 14 + [2]


def test_finished_parts_are_not_asked_again_and_new_rows_are(numbers: Path, parity: Parity, tmp_path: Path) -> None:
    answer(numbers, tmp_path / "out")
    parity.asked.clear()
    with (numbers / "2.csv").open("a") as file:
        file.write("100,number 100\n")
    done, _ = answer(numbers, tmp_path / "out")
    assert parity.asked == ["number 98", "number 99", "number 100"]  # the last part, which was short
    assert (done.rows, done.earlier) == (101, 98)


def test_rows_that_changed_are_answered_again_and_rows_that_went_are_gone(numbers: Path, parity: Parity, tmp_path: Path) -> None:
    answer(numbers, tmp_path / "out")
    parity.asked.clear()
    (numbers / "0.csv").write_text("id,text\n" + "".join(f"{n},number {n if n != 8 else 9}\n" for n in range(40)))
    (numbers / "2.csv").unlink()
    answer(numbers, tmp_path / "out")
    assert parity.asked == [f"number {n if n != 8 else 9}" for n in range(7, 14)] + [f"number {n}" for n in range(35, 41)]
    summary = json.loads((tmp_path / "out" / SUMMARY).read_text())
    assert summary["rows"] == 41
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".imbik", SUMMARY, *(part["file"] for part in summary["parts"])}


def test_a_bad_row_stops_with_its_place_and_the_answers_before_it_are_kept(numbers: Path, parity: Parity, tmp_path: Path) -> None:
    good = (numbers / "2.csv").read_text()
    (numbers / "2.csv").write_text(good.replace("90,number 90", "90,number 90,and more"))
    said: list[str] = []
    with pytest.raises(UserError, match=r"2\.csv, row 51: wrong number of fields"):
        answer(numbers, tmp_path / "out.csv", said=said)
    assert said[-1] == "35 rows are answered and kept; the same command goes on behind them"
    assert not (tmp_path / "out.csv").exists()
    (numbers / "2.csv").write_text(good)
    parity.asked.clear()
    answer(numbers, tmp_path / "out.csv")
    check(lines(tmp_path / "out.csv"))
    assert len(parity.asked) == 100 - 35


def test_work_of_another_model_or_other_settings_is_not_taken_over(numbers: Path, parity: Parity, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        (numbers / "3.csv").write_text("id,text\n1,2,3\n")
        answer(numbers, tmp_path / "out.csv")
    (numbers / "3.csv").unlink()
    parity.asked.clear()
    _, said = answer(numbers, tmp_path / "out.csv", top=1)
    assert any("begins anew" in line for line in said)
    assert len(parity.asked) == 100
    answer(numbers, tmp_path / "out")
    with pytest.raises(UserError, match="answers of another model, or with other settings"):
        answer(numbers, tmp_path / "out", "onnx-int8")


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.jsonl"])
def test_a_file_of_somebody_else_stays(numbers: Path, parity: Parity, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("my notes")
    with pytest.raises(UserError, match="did not make"):
        answer(numbers, tmp_path / name)
    assert (tmp_path / name).read_text() == "my notes"
    assert parity.asked == []


def test_a_folder_of_somebody_else_stays_as_it_is(numbers: Path, parity: Parity, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "part-000001.csv").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        answer(numbers, out)
    assert [path.name for path in out.iterdir()] == ["part-000001.csv"]


def test_what_somebody_put_into_our_folder_stays(numbers: Path, parity: Parity, tmp_path: Path) -> None:
    answer(numbers, tmp_path / "out")
    (tmp_path / "out" / "part-000099.csv").write_text("mine")
    with pytest.raises(UserError, match=r"holds something else.*part-000099"):
        answer(numbers, tmp_path / "out")
    assert (tmp_path / "out" / "part-000099.csv").read_text() == "mine"


def test_two_runs_do_not_work_in_one_folder(numbers: Path, parity: Parity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second(texts: list[str], pairs: list[str] | None = None) -> Any:
        with pytest.raises(UserError, match="another run is working"):
            answer(numbers, tmp_path / "out.csv")
        return np.tile(np.array([[1.0, 0.0]], np.float32), (len(texts), 1))

    monkeypatch.setattr(parity, "predict", second)
    answer(numbers, tmp_path / "out.csv")


@pytest.mark.parametrize("damage", ["", "{", '{"part": 0}\n', '{"part": "x"}\n[]\n', "[" * 100_000])
def test_a_damaged_journal_costs_work_and_no_answer(numbers: Path, parity: Parity, tmp_path: Path, damage: str) -> None:
    answer(numbers, tmp_path / "out")
    journal = tmp_path / "out" / ".imbik" / "parts.jsonl"
    journal.write_text(journal.read_text() + damage)
    answer(numbers, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / SUMMARY).read_text())
    check([row for part in summary["parts"] for row in lines(tmp_path / "out" / part["file"])])


def _forever(numbers: Path, out: Path) -> None:
    Model.load = lambda self: Parity(0.01)  # type: ignore[method-assign, assignment]
    answer(numbers, out)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("out", ["out.csv", "out"])
def test_a_run_that_is_killed_again_and_again_loses_and_doubles_nothing(numbers: Path, parity: Parity, tmp_path: Path, out: str) -> None:
    rng, fork = random.Random(7), multiprocessing.get_context("fork")
    for _ in range(8):
        process = fork.Process(target=_forever, args=(numbers, tmp_path / out))
        process.start()
        process.join(rng.uniform(0.0, 0.12))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    answer(numbers, tmp_path / out)
    files = sorted((tmp_path / out).glob("part-*.csv")) if out == "out" else [tmp_path / out]
    check([row for file in files for row in lines(file)])
    assert not [path.name for path in tmp_path.rglob("*.tmp")]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    words = ["my", "card", "is", "lost", "and", "I", "want", "a", "new", "one", "where", "can", "pay", "fee"]
    rng = random.Random(3)
    rows = [json.dumps({"text": " ".join(rng.choices(words, k=rng.randint(1, 12))) + f" {n}"}) for n in range(300)]
    (folder / "a.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def texts_of(folder: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (folder / "a.jsonl").read_text().splitlines()]


def expected(folder: Path) -> list[tuple[str, str, float]]:
    predictor = load_artefact(FROZEN / "onnx-float", threads=1)
    decoded = predictor.predict(texts_of(folder))
    return [(text, predictor.labels[row.argmax()], float(row.max())) for text, row in zip(texts_of(folder), decoded, strict=True)]


def same(rows: list[dict[str, str]], wanted: list[tuple[str, str, float]]) -> None:
    assert [row["text"] for row in rows] == [text for text, _, _ in wanted]
    np.testing.assert_allclose([float(row["probability"]) for row in rows], [p for _, _, p in wanted], atol=2e-5)
    assert sum(row["label"] != label for row, (_, label, _) in zip(rows, wanted, strict=True)) <= 1  # of nearly equal ones


def _kill_workers(stop: threading.Event, killed: list[int]) -> None:
    """Kill a process of ours that answers, again and again."""
    rng = random.Random(1)
    while not stop.wait(rng.uniform(0.1, 0.5)):
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
                ours = b"imbik.predict.worker" in (status.parent / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if ours and parent == os.getpid() and len(killed) < 3:
                os.kill(int(status.parent.name), signal.SIGKILL)
                killed.append(int(status.parent.name))
                break


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_processes_that_are_killed_are_replaced_and_every_row_is_answered_once(reviews: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("imbik.predict.processes.ATTEMPTS", 10)
    stop, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=_kill_workers, args=(stop, killed))
    killer.start()
    try:
        done, _ = answer(reviews, tmp_path / "out.csv", workers=2, part_rows=10)
    finally:
        stop.set()
        killer.join()
    assert killed and done.workers == 2
    same(lines(tmp_path / "out.csv"), expected(reviews))


def test_rows_over_which_processes_die_are_told(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imbik.jobs.child.worker_environment", lambda threads: os.environ | {"PYTHONHOME": "/nowhere"})
    with pytest.raises(UserError, match=r"rows 1 to 200: the processes that answer these rows die.*3 times"):
        answer(reviews, tmp_path / "out.csv", workers=2, part_rows=200)


def test_a_refusal_of_a_process_is_the_users_message(reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the model was trained on pairs of texts"):
        answer(reviews, tmp_path / "out.csv", "pairs", workers=2, part_rows=200)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_twenty_kills_of_the_command_itself(reviews: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imbik", "predict", str(FROZEN / "onnx-float"), "--file", str(reviews / "a.jsonl")]
    command += ["--out", str(tmp_path / "out.csv"), "--workers", "2", "--part-rows", "10"]
    rng, finished = random.Random(11), 0
    for _ in range(20):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.5, 6.0))
        finished += process.poll() == 0
        process.kill()
        process.wait()
    subprocess.run(command, check=True)
    same(lines(tmp_path / "out.csv"), expected(reviews))
