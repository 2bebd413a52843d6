"""``imbik cascade``: bad input is one message before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imbik.cli.app import main
from imbik.data.load import load_data
from imbik.export.linear import write_linear
from imbik.linear.support import tfidf_svm
from imbik.measure.measurement import Measurement
from imbik.measure.results import Results, load_results, write_results
from imbik.measure.values import Data
from imbik.runtime.ngrams import Cut

WORDS = {"card": "where is my card number", "fee": "why is the fee so high", "money": "send the money to my account"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one candidate on a file of the user's."""
    rng = np.random.default_rng(0)
    for split, rows in (("train", 60), ("dev", 30), ("test", 30)):
        lines = [f"{' '.join(rng.permutation(WORDS[label].split())[:3])},{label}" for label in rng.choice(list(WORDS), rows)]
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    splits = load_data(tmp_path, say=lambda _: None)
    folder = tmp_path / "run"
    write_linear(tfidf_svm(splits, (Cut(1),)), folder / "few" / "artefacts" / "numpy", splits, ())
    data = Data(source=str(tmp_path), fingerprint=splits.fingerprint, labels=splits.labels, metric=splits.metric)
    write_results(folder / "results.json", Results(data=data, measurements=(Measurement("few/numpy", "few", "numpy"),)))
    return folder


def _fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["cascade", *map(str, arguments)])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") or "error: " in told
    return told


def test_bad_input_is_one_message(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = run.parent, run.parent / "out"
    common = [run, "--data", data, "--out", out]
    assert "one target, not two" in _fails(capsys, *common, "--stages", "few", "--target", 1, "--max-cost", 0.1)
    assert "--target" in _fails(capsys, *common, "--stages", "few", "--target", 99)
    assert "Expected: few" in _fails(capsys, *common, "--stages", "bag,few")
    assert "from 0 to below 1" in _fails(capsys, *common, "--stages", "few", "--abstain", 5)
    assert "--abstain" in _fails(capsys, *common, "--stages", "few", "--out-of-scope", data / "test.csv")
    (data / "dev.csv").write_text((data / "train.csv").read_text())
    assert "not those of the run" in _fails(capsys, *common, "--stages", "few")
    assert not out.exists()


def test_a_run_of_images_is_refused_before_its_images_are_read(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(run / "results.json", replace(load_results(run / "results.json"), task="image-classification"))
    # no such data: they would be missed if they were looked for
    told = _fails(capsys, run, "--data", run.parent / "gone", "--out", run.parent / "out", "--stages", "few")
    assert "texts, not images" in told


def test_a_chain_of_one_is_a_calibrated_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run.parent / "out"
    with pytest.raises(SystemExit) as stopped:
        main(["cascade", str(run), "--data", str(run.parent), "--out", str(out), "--stages", "few", "--abstain", "0.2", "--threads", "1"])
    shown = capsys.readouterr()
    assert stopped.value.code == 0, shown.err
    assert "cascade/cascade" in shown.out and "answers" in shown.out and "few/numpy 100.0%" in shown.err
    found = load_results(out / "results.json")
    assert found.measurements[0].cascade.shares == (1.0,) and (out / "report.html").is_file()
