"""The engine of NumPy alone: its file, its answers beside PyTorch's, and the page that runs without imbik."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.builders import builders
from imbik.export.builders.registry import refusal
from imbik.runtime.arrays.file import pack_nibbles, read_arrays, scaled, unpack_nibbles
from imbik.runtime.arrays.linear import Linear
from imbik.runtime.arrays.pooled import Bag, Head
from imbik.runtime.predictor import load_artefact
from imbik.students.catalogue import make_student
from imbik.testing.contract import sqnr
from imbik.testing.engines import reference_logits
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Artefact, Checkpoint

SPLITS = tiny_splits()
TEXTS = ["my card", "", "please send the money to my old account", "card " * 100, "why is the fee so late", "[PAD] card"]
WRITTEN = {
    "bag": {"family": "bag", "hidden": 32},
    "bigrams": {"family": "bag", "hidden": 32, "bigrams": 50},
    "conv": {"family": "conv", "hidden": 32, "filters": 16, "layers": 2},
    "lstm": {"family": "lstm", "hidden": 32, "units": 8, "layers": 2},
    "separable": {"family": "conv", "hidden": 32, "filters": 16, "layers": 2, "separable": True},
}


def _student(kind: str) -> Checkpoint:
    made = make_student(WRITTEN[kind], tiny_bert(layers=1), SPLITS.train, 0)
    torch.manual_seed(1)
    for parameter in made.model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def _made(checkpoint: Checkpoint, folder: Path, **quantize: object) -> Artefact:
    steps = ({"quantize": quantize},) if quantize else ()
    return export(replace(checkpoint, steps=steps), "numpy", folder, texts=SPLITS.dev)


@pytest.mark.parametrize("kind", sorted(WRITTEN))
def test_numpy_answers_as_pytorch_does(kind: str, tmp_path: Path) -> None:
    checkpoint = _student(kind)
    predictor = load_artefact(_made(checkpoint, tmp_path / "float").path, threads=1)
    expected = reference_logits(checkpoint, TEXTS)
    assert np.allclose(predictor.scores(TEXTS), expected, rtol=1e-4, atol=1e-4)
    assert np.allclose(np.concatenate([predictor.scores([text]) for text in TEXTS]), expected, rtol=1e-4, atol=1e-4)


def _mean_by_head(ids: list[int], vectors: np.ndarray, scores: np.ndarray, padding: int) -> np.ndarray:
    """Σ_t w_th E_th / Σ_t w_th of each head's slice, w = exp(score cut at 15), over what is no padding."""
    kept = [piece for piece in ids if piece != padding]
    slices = np.split(vectors.astype(np.float64), scores.shape[1], axis=1)
    pooled = []
    for head, part in enumerate(slices):
        weights = [math.exp(min(max(float(scores[piece, head]), -15.0), 15.0)) for piece in kept]
        total = sum((weight * part[piece] for weight, piece in zip(weights, kept, strict=True)), np.zeros(part.shape[1]))
        pooled.append(total / sum(weights) if kept else total)
    return np.concatenate(pooled)


@pytest.mark.parametrize("texts", [[[1, 2, 3, 3], [4, 0, 0, 0], [0, 0, 0, 0], [5, 1, 0, 6]], [[7]], [[0]], [[2, 5, 2, 2, 0, 1] * 120]])
def test_a_bag_is_its_formula(texts: list[list[int]]) -> None:
    draw = np.random.default_rng(3)
    vectors, scores = draw.normal(size=(8, 6)).astype(np.float32), (9 * draw.normal(size=(8, 3))).astype(np.float32)
    inner, bias, weight, last = (draw.normal(size=shape).astype(np.float32) for shape in ((5, 6), (5,), (4, 5), (4,)))
    head = Head.of({"inner": inner, "inner_bias": bias, "weight": weight, "bias": last})
    bag = Bag(vectors, scores, head, padding=0)
    expected = []
    for ids in texts:
        z = _mean_by_head(ids, vectors, scores, 0)
        even = z * math.sqrt(6) / max(float(np.linalg.norm(z)), 1e-6)
        expected.append(np.maximum(even @ inner.T + bias, 0) @ weight.T + last)
    assert np.allclose(bag.logits(np.array(texts)), expected, rtol=1e-4, atol=1e-5)
    assert np.allclose([bag.one(ids) for ids in texts], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ids", [[1, 3], [0], [2] * 1, list(range(1, 5)) * 200])
def test_a_linear_model_is_its_formula(ids: list[int]) -> None:
    draw = np.random.default_rng(4)
    weights, idf, bias = draw.normal(size=(4, 3)).astype(np.float32), draw.uniform(1, 5, 4), draw.normal(size=3).astype(np.float32)
    rows = [number - 1 for number in ids if number]
    expected = weights[rows].astype(np.float64).sum(0) / max(math.sqrt((idf[rows] ** 2).sum()), 1e-12) + bias
    model = Linear(weights, idf, bias)
    assert np.allclose(model.one(ids), expected, rtol=1e-4) and np.allclose(model.logits(np.array([ids]))[0], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(WRITTEN))
def test_fewer_bits_are_smaller_and_near(kind: str, tmp_path: Path) -> None:
    checkpoint = _student(kind)
    made = {
        "float": _made(checkpoint, tmp_path / "float"),
        "int8": _made(checkpoint, tmp_path / "int8", scheme="dynamic"),
        "int4": _made(checkpoint, tmp_path / "int4", scheme="weight-only", bits=4, block=16),
    }
    size = {name: artefact.files["model.npz"] for name, artefact in made.items()}
    assert size["int8"] < 0.65 * size["float"] and size["int4"] < 0.95 * size["int8"]
    logits = {name: load_artefact(artefact.path, threads=1).scores(TEXTS) for name, artefact in made.items()}
    # a uniform step of max / 127 leaves noise some 40 dB below; a bit is 6 dB
    assert sqnr(logits["float"], logits["int8"]) > 30 and sqnr(logits["float"], logits["int4"]) > 8


@pytest.mark.parametrize("width", [1, 6, 7])
def test_nibbles_come_back(width: int) -> None:
    numbers = np.random.default_rng(width).integers(-8, 8, (5, width)).astype(np.int8)
    assert np.array_equal(unpack_nibbles(pack_nibbles(numbers), width), numbers)


def test_a_file_of_integers_is_read_as_numbers(tmp_path: Path) -> None:
    integers, scales = np.array([[1, -2, 3], [4, 5, -6]], np.int8), np.array([[0.5, 2.0], [1.0, 0.25]], np.float16)
    np.savez(tmp_path / "m.npz", **{"w.int4": pack_nibbles(integers), "w.scale": scales, "w.width": np.array(3), "b": np.ones(2)})
    arrays = read_arrays(tmp_path / "m.npz")
    assert arrays["w"].tolist() == [[0.5, -1.0, 6.0], [4.0, 5.0, -1.5]] == scaled(integers, scales).tolist()
    assert set(arrays) == {"w", "b"}


@pytest.mark.parametrize(
    ("kind", "quantize"),
    [
        ("bag", {}),
        ("bigrams", {}),
        ("conv", {}),
        ("separable", {"scheme": "weight-only", "bits": 4}),
        ("bag", {"scheme": "dynamic"}),
        ("lstm", {}),
    ],
)
def test_the_readme_runs_without_imbik(kind: str, quantize: dict[str, object], tmp_path: Path) -> None:
    artefact = _made(_student(kind), tmp_path / "a", **quantize)
    code = re.search(r"```python\n(.*?)```", (artefact.path / "README.md").read_text(encoding="utf-8"), re.S)
    assert code is not None
    head = "import sys\nfor name in ('imbik', 'torch', 'transformers', 'onnxruntime'): sys.modules[name] = None\n"
    done = subprocess.run([sys.executable, "-c", head + code[1]], cwd=artefact.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    predictor = load_artefact(artefact.path)
    labels = [predictor.labels[int(row.argmax())] for row in predictor.scores(["a text", "another text"])]
    assert [line.split()[0] for line in done.stdout.strip().splitlines()] == labels


def test_running_loads_numpy_and_no_other_engine(tmp_path: Path) -> None:
    artefact = _made(_student("bag"), tmp_path / "a")
    code = (
        "import sys\nfrom imbik.runtime.predictor import load_artefact\n"
        f"load_artefact({str(artefact.path)!r}).predict(['a card', 'b'])\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'onnxruntime', 'openvino', 'numba', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_other_architectures_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="numpy does not run models of the architecture bert"):
        export(tiny_bert(layers=1), "numpy", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert refusal("numpy", (), None) and refusal("numpy", (), "imbik_conv") is None
    assert builders()["onnx"].takes(None)


def test_a_file_of_another_kind_or_padding_is_told(tmp_path: Path) -> None:
    artefact = _made(_student("bag"), tmp_path / "a")
    arrays = dict(np.load(artefact.path / "model.npz"))
    manifest = json.loads((artefact.path / "manifest.json").read_text())
    for change, message in (({"kind": np.array("star")}, "unknown kind of model"), ({"padding": np.array(3)}, "pad with different ids")):
        np.savez_compressed(artefact.path / "model.npz", **arrays | change)
        manifest["files"]["model.npz"]["bytes"] = (artefact.path / "model.npz").stat().st_size
        (artefact.path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(UserError, match=message):
            load_artefact(artefact.path)
