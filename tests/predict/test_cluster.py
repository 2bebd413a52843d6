"""Rows answered on Ray: the same files as without it, and every row once after kills of actors and of the command itself."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.predict.answering import Model
from imbik.predict.run import Asked, predict_files

FROZEN = Path(__file__).parents[1] / "frozen" / "artefacts"
ROWS = 300
KILLS = int(os.environ.get("IMBIK_KILLS", "6"))
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


def answer(folder: Path, out: Path, artefact: str = "onnx-float", **asked: Any) -> Any:
    return predict_files(
        Model(FROZEN / artefact), [folder], out, asked=Asked(**({"part_rows": 10} | asked)), progress=Silent(), say=lambda line: None
    )


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reviews")
    words, rng = ["my", "card", "is", "lost", "where", "can", "I", "pay", "a", "fee"], random.Random(3)
    rows = [{"id": n, "text": " ".join(rng.choices(words, k=rng.randint(1, 12))) + f" {n}"} for n in range(ROWS)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def test_without_ray_the_user_is_told_what_to_install(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'ray: package not installed. Do: pip install "imbik\[ray\]"'):
        answer(reviews, tmp_path / "out.csv", ray="local")


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere"])
def test_an_address_where_no_cluster_is_is_refused_at_once(reviews: Path, tmp_path: Path, address: str) -> None:
    with pytest.raises(UserError, match=f"--ray: no Ray cluster answers. Found: {address}"):
        answer(reviews, tmp_path / "out.csv", ray=address)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_the_files_are_those_without_ray(ray: Any, reviews: Path, tmp_path: Path, name: str) -> None:
    done = answer(reviews, tmp_path / name, ray="local", keep=("id",))
    answer(reviews, tmp_path / f"alone-{name}", workers=1, keep=("id",))
    assert (done.rows, done.workers) == (ROWS, 2)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"alone-{name}").read_bytes()


@pytest.mark.slow
def test_a_run_that_began_without_ray_goes_on_with_it(ray: Any, reviews: Path, tmp_path: Path) -> None:
    answer(reviews, tmp_path / "out", workers=1)
    assert answer(reviews, tmp_path / "out", ray="local").earlier == ROWS


@pytest.mark.slow
def test_a_refusal_of_an_actor_is_the_users_message(ray: Any, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the model was trained on pairs of texts"):
        answer(reviews, tmp_path / "out.csv", "pairs", ray="local")


@pytest.mark.slow
def test_more_workers_than_processors_are_refused_where_they_would_wait_for_ever(ray: Any, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"too few processors in the cluster\. Found: processors for 2 workers of 1 threads"):
        answer(reviews, tmp_path / "out.csv", ray="local", workers=3)


def actors(process: int) -> list[Any]:
    import psutil

    found = psutil.Process(process).children(recursive=True)
    return [child for child in found if b"ray::Actor" in Path(f"/proc/{child.pid}/cmdline").read_bytes()]


def check(path: Path, folder: Path) -> None:
    rows = list(csv.DictReader(path.open(newline="")))
    assert [row["text"] for row in rows] == [json.loads(line)["text"] for line in (folder / "a.jsonl").read_text().splitlines()]
    assert all(row["label"] and 0 <= float(row["probability"]) <= 1 for row in rows)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_actors_that_are_killed_are_replaced_and_every_row_is_answered_once(
    ray: Any, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imbik.predict.processes.ATTEMPTS", 10)
    stop, killed, rng = threading.Event(), list[int](), random.Random(1)

    def kill() -> None:
        while len(killed) < 3 and not stop.wait(rng.uniform(0.1, 1.0)):
            for actor in actors(os.getpid())[:1]:
                actor.kill()
                killed.append(actor.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        answer(reviews, tmp_path / "out.csv", ray="local", part_rows=2)
    finally:
        stop.set()
        killer.join()
    assert killed
    check(tmp_path / "out.csv", reviews)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@needs_ray
def test_kills_of_the_command_and_of_its_actors_lose_and_double_nothing(reviews: Path, tmp_path: Path) -> None:
    """IMBIK_KILLS=20 for as many moments as the page states; they alternate between an actor and the command."""
    command = [sys.executable, "-m", "imbik", "predict", str(FROZEN / "onnx-float"), "--file", str(reviews / "a.jsonl")]
    command += ["--out", str(tmp_path / "out.csv"), "--ray", "local", "--workers", "2", "--part-rows", "2"]
    journal, rng, killed = tmp_path / ".out.csv.imbik" / ".imbik" / "parts.jsonl", random.Random(11), {"actor": 0, "command": 0}

    def finished() -> int:
        return journal.read_text().count('"digest"') if journal.exists() else 0

    for kill in range(KILLS):
        before, wanted = finished(), rng.randint(1, 4)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and finished() < before + wanted:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        victims = actors(process.pid) if kill % 2 == 0 and process.poll() is None else []
        for actor in victims[:1]:
            actor.kill()
            killed["actor"] += 1
            time.sleep(rng.uniform(0, 2.0))
        killed["command"] += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True)
    check(tmp_path / "out.csv", reviews)
    print(killed)  # noqa: T201  what a reader of the log wants to know
    assert killed["command"] >= KILLS // 2
