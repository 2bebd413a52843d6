"""The main job on queries and documents: candidates and rivals ranked on one path, and an artefact measured by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imbik.compress.run import compress
from imbik.data.evaluation import load_evaluation
from imbik.data.load import load_data
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import labels_of
from imbik.runtime.predictor import load_artefact
from imbik.tasks.registry import task_of
from imbik.testing.tiny import WORDS, tiny_bert


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents of words, and queries that repeat some words of one."""
    random = np.random.default_rng(0)
    documents = [" ".join(random.choice(WORDS, 8)) for _ in range(40)]
    queries = [" ".join(random.permutation(text.split())[:5]) for text in documents]
    data = tmp_path / "data"
    data.mkdir()
    for name, kind, texts in (("corpus", "d", documents), ("queries", "q", queries)):
        rows = [json.dumps({"_id": f"{kind}{number}", "text": text}) for number, text in enumerate(texts)]
        (data / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (data / "qrels.tsv").write_text("".join(f"q{number}\td{number}\t1\n" for number in range(40)), encoding="utf-8")
    return data


def test_a_run_ranks_candidates_and_rivals(folder: Path, tmp_path: Path) -> None:
    teacher = tiny_bert(tuple(map(str, range(16))), "embedding", layers=1)
    splits = load_data(folder, labels=labels_of(teacher), say=lambda _: None)
    out = tmp_path / "out"
    options = {"recipes": ["int8"], "engines": ("onnx",), "rivals": True, "threads": 1, "progress": Silent(), "say": lambda _: None}
    results = compress(teacher, splits, out, **options)
    found = {m.id: m for m in results.measurements}
    assert {"teacher/pytorch", "teacher/onnx", "int8/onnx", "word-vectors/numpy", "tfidf-latent/numpy"} == set(found)
    assert all(m.quality.metric == m.dev_quality.metric == "ndcg@10" and m.quality.value is not None for m in found.values())
    assert found["tfidf-latent/numpy"].quality.value > 0.9, "queries repeat words of their documents"
    assert found["teacher/onnx"].retention.value == pytest.approx(1.0, abs=0.05)
    data = load_evaluation(folder, labels=labels_of(teacher), task="embedding", metric="recall@5", say=lambda _: None)
    vectors = load_artefact(out / "rivals" / "tfidf-latent").predict(list(data.test.texts))
    assert task_of("embedding").score(data.metric, vectors, np.asarray(data.test.targets)) > 0.9
