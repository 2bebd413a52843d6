"""Linear models as artefacts: the answers of scikit-learn's parts, NumPy alone, in few bytes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from imbik.errors import UserError
from imbik.export.linear import write_linear
from imbik.export.parity import ParityError
from imbik.linear.support import tfidf_svm
from imbik.runtime.ngrams import Cut
from imbik.runtime.predictor import load_artefact
from imbik.testing.tiny import tiny_splits

SPLITS = tiny_splits(rows=120)
MODEL = tfidf_svm(SPLITS, (Cut(2, (2, 3)),))
TEXTS = [*SPLITS.test.texts, "", "nothing that was ever seen: ŞIK", "card " * 300]


def test_the_artefact_answers_as_the_model(tmp_path: Path) -> None:
    artefact = write_linear(MODEL, tmp_path / "a", SPLITS, ({"tfidf": {}},))
    found = load_artefact(artefact.path, threads=1)
    np.testing.assert_allclose(found.scores(TEXTS), MODEL.scores(TEXTS), atol=1e-3 * np.abs(MODEL.scores(TEXTS)).max())
    assert artefact.parity["agreement"] == 1.0 and found.engine == "numpy"
    with np.load(artefact.path / "model.npz") as file:
        assert file["weights.int8"].dtype == np.int8 and file["weights.int8"].shape == MODEL.weights.shape


def test_the_readme_runs_with_numpy_alone(tmp_path: Path) -> None:
    artefact = write_linear(MODEL, tmp_path / "a", SPLITS, ())
    code = re.search(r"```python\n(.*?)```", (artefact.path / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    hidden = "import sys; sys.modules['imbik'] = sys.modules['tokenizers'] = sys.modules['scipy'] = None\n"
    page = hidden + code.group(1).replace('["a text", "another text"]', repr(["where is my card", "the fee is BAD, ışık"]))
    done = subprocess.run([sys.executable, "-c", page], cwd=artefact.path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    model = load_artefact(artefact.path, threads=1)
    scores = model.scores(["where is my card", "the fee is BAD, ışık"])
    for line, row in zip(done.stdout.splitlines(), softmax(scores, axis=1), strict=True):
        label, value = line.rsplit(" ", 1)
        assert label == model.labels[row.argmax()] and float(value) == pytest.approx(row.max(), abs=1e-3)


def test_an_artefact_that_answers_otherwise_is_not_called_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imbik.export.linear.NgramTokenizer.write", _shuffled)
    with pytest.raises(ParityError, match="logits differ"):
        write_linear(MODEL, tmp_path / "a", SPLITS, ())
    assert not (tmp_path / "a").exists()


def _shuffled(self: object, path: Path) -> None:
    import gzip

    ngrams = list(reversed(self.ngrams))  # type: ignore[attr-defined]
    path.write_bytes(gzip.compress(json.dumps({"words": 2, "characters": [2, 3], "ngrams": ngrams}).encode()))


def test_ngrams_of_another_model_are_refused(tmp_path: Path) -> None:
    path = write_linear(MODEL, tmp_path / "a", SPLITS, ()).path
    other = tmp_path / "b"
    write_linear(replace(MODEL, vocabulary=MODEL.vocabulary.take(np.arange(9)), weights=MODEL.weights[:9]), other, SPLITS, ())
    (path / "ngrams.json.gz").write_bytes((other / "ngrams.json.gz").read_bytes())
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["ngrams.json.gz"]["bytes"] = (path / "ngrams.json.gz").stat().st_size
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UserError, match="do not belong together"):
        load_artefact(path)


def test_an_artefact_of_the_engine_table_still_answers(tmp_path: Path) -> None:
    path = write_linear(MODEL, tmp_path / "a", SPLITS, ()).path
    expected = load_artefact(path, threads=1).scores(TEXTS)
    rows, scale = MODEL.rows()
    idf, bias = MODEL.vocabulary.idf.astype(np.float16), MODEL.bias
    np.savez_compressed(path / "model.npz", rows=rows, scale=scale, idf=idf, bias=bias)  # as it was written before there was one engine
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8")) | {"engine": "table"}
    manifest["files"]["model.npz"]["bytes"] = (path / "model.npz").stat().st_size
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    old = load_artefact(path, threads=1)
    assert old.engine == "numpy"
    np.testing.assert_array_equal(old.scores(TEXTS), expected)
