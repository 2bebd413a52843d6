"""The worker process: answers, clean standard output, sleeping threads, and death."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.measure.process import Candidate, CandidateError, Process, start
from imbik.measure.timing import write_rows
from imbik.measure.worker import read_rows
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import tiny_bert

TEXTS = ["where is my card", "bad", "line one\nline two", '"quoted", and ünïcode 🙂', ""] * 4


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    artefact = export(tiny_bert(layers=2), "onnx", tmp_path_factory.mktemp("worker") / "onnx")
    return Candidate("tiny/onnx", "tiny", "onnx", artefact.path)


def test_rows_survive_the_file(tmp_path: Path) -> None:
    pairs = TEXTS[::-1]
    assert write_rows(tmp_path / "rows", TEXTS, pairs) == len(TEXTS)
    assert [chunk for chunk in read_rows(tmp_path / "rows")] == [(TEXTS, pairs)]


def test_a_worker_answers_as_the_runtime_does(candidate: Candidate, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows", TEXTS, None)
    process, cold = start(candidate, 1, TEXTS[0], None)
    with process:
        process.ask("scores", rows=str(tmp_path / "rows"), count=len(TEXTS), out=str(tmp_path / "out.npy"), budget=256)
        single = process.ask("latency", rows=str(tmp_path / "rows"), start=18, count=7)
        many = process.ask("throughput", rows=str(tmp_path / "rows"), count=10, budget=256, seconds=0.05)
        facts = process.ask("facts")
    expected = load_artefact(candidate.path, threads=1).scores(TEXTS)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)
    assert 0 < cold < 60
    assert len(single["ms"]) == len(single["tokens"]) == 7 and min(single["ms"]) > 0
    assert many["items"] >= 10 and many["items"] % 10 == 0 and many["wall"] >= 0.05 and many["cpu"] > 0
    assert facts["peak_rss_bytes"] > 10e6 and facts["manifest"]["params"] > 0


def test_an_idle_worker_takes_no_processor_time(candidate: Candidate, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows", TEXTS, None)
    process, _ = start(candidate, 2, TEXTS[0], None)
    with process:
        process.ask("throughput", rows=str(tmp_path / "rows"), count=20, budget=1024, seconds=0.1)
        stat = Path(f"/proc/{process._child.process.pid}/stat")
        if not stat.exists():
            pytest.skip("needs /proc")
        # on a busy machine what is left of the request takes a while; threads that spin never end
        for _ in range(40):
            before = _ticks(stat)
            time.sleep(0.5)
            if _ticks(stat) - before <= 2:
                return
        pytest.fail("its threads spin")


def _ticks(stat: Path) -> int:
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_broken_artefact_is_the_users_message(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 7}))
    with pytest.raises(UserError, match="another schema"):
        start(Candidate("x/onnx", "x", "onnx", tmp_path), 1, "a", None)


def test_a_worker_that_dies_names_its_candidate(candidate: Candidate) -> None:
    with Process(candidate, 1) as process:
        process._child.process.kill()
        with pytest.raises(CandidateError, match="ended with code") as caught:
            process.ask("predict", texts=["a"])
        assert caught.value.candidate == "tiny/onnx"


def test_a_failing_request_does_not_end_the_worker(candidate: Candidate) -> None:
    with Process(candidate, 1) as process:
        with pytest.raises(CandidateError, match="FileNotFoundError"):
            process.ask("latency", rows="/no/such/file", start=0, count=1)
        assert process.ask("predict", texts=["a"])["count"] == 1


def test_peak_memory_grows_with_what_is_held() -> None:
    # in a process of its own: a peak that earlier tests have reached does not grow
    code = (
        "import numpy as np; from imbik.measure.worker import peak_rss_bytes; before = peak_rss_bytes(); "
        "held = np.ones(30_000_000, dtype=np.float32); print(peak_rss_bytes() - before, held[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert int(done.stdout.split()[0]) > 60e6
