"""LSTMs in the artefacts of every engine and scheme: the answers of PyTorch, integers in the file, refusals."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.builders.registry import refusal
from imbik.export.onnx.build import build_graph, float_graph
from imbik.export.onnx.recurrent import lstms, rounded
from imbik.export.request import BuildRequest
from imbik.jobs.progress import Silent
from imbik.methods.registry import make_methods
from imbik.quantization.ranges import set_ranges
from imbik.runtime.predictor import load_artefact
from imbik.students.catalogue import make_student
from imbik.testing.contract import sqnr
from imbik.testing.engines import TEXTS, reference_logits
from imbik.testing.tiny import tiny_bert, tiny_splits
from imbik.types import Checkpoint

SPLITS = tiny_splits()
F32 = {"name": "x86", "weight_bits": 8}


@pytest.fixture
def student() -> Checkpoint:
    made = make_student({"family": "lstm", "hidden": 32, "units": 16, "layers": 2}, tiny_bert(layers=1), SPLITS.train, 0)
    torch.manual_seed(1)
    for parameter in made.model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_in_float_a_text_is_answered_as_by_pytorch_alone_and_beside_others(student: Checkpoint, engine: str, tmp_path: Path) -> None:
    folder = export(student, engine, tmp_path / engine, texts=SPLITS.dev, preset=F32).path
    predictor, expected = load_artefact(folder, threads=1), reference_logits(student, TEXTS)
    np.testing.assert_allclose(predictor.scores(TEXTS), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.concatenate([predictor.scores([text]) for text in TEXTS]), expected, rtol=1e-3, atol=1e-4)
    assert manifest_of(folder)["parity"]["float_matmuls"] >= 3


SCHEMES = [("dynamic", 8), ("static", 8), ("qat", 8), ("integer", 8), ("weight-only", 8), ("weight-only", 4)]
CELLS = [("onnx", *scheme) for scheme in SCHEMES] + [
    # NNCF takes seconds for each
    pytest.param("openvino", *scheme, marks=pytest.mark.slow)
    for scheme in SCHEMES
    if scheme[0] != "integer"
]


@pytest.mark.parametrize(("engine", "scheme", "bits"), CELLS)
def test_fewer_bits_are_smaller_and_near(student: Checkpoint, engine: str, scheme: str, bits: int, tmp_path: Path) -> None:
    (step,) = make_methods([{"quantize": {"scheme": scheme, "bits": bits}}], "test")
    made = replace(student, model=copy.deepcopy(student.model), steps=(step.record(),))
    if scheme in ("static", "qat", "integer"):
        set_ranges(made.model, step.observe(made, SPLITS.train, 0, Silent()))
    whole = export(student, engine, tmp_path / "float", texts=SPLITS.dev, preset=F32)
    small = export(made, engine, tmp_path / "small", texts=SPLITS.dev, calibration=SPLITS.train, preset=F32)
    file = {"onnx": "model.onnx", "openvino": "model.bin"}[engine]
    parity = manifest_of(small.path)["parity"]
    assert small.files[file] < 0.55 * whole.files[file] and parity["float_matmuls"] == 0 and parity["reverted"] == []
    # a step of max / 127 is noise some 30 dB below, one of max / 7 of some weights more, and ranges that few texts have shown cut
    floor = 15 if bits == 4 or scheme in ("static", "integer") else 25
    assert sqnr(reference_logits(student, TEXTS), load_artefact(small.path, threads=1).scores(TEXTS)) > floor
    if engine == "onnx":
        operators = Counter(node.op_type for node in onnx.load(small.path / file).graph.node)
        assert operators["DynamicQuantizeLSTM" if bits * (scheme != "weight-only") == 8 else "LSTM"] == 2


@pytest.mark.parametrize("bits", [7, 8])
def test_both_matrices_are_rounded_with_a_scale_for_each_row_of_each_direction(student: Checkpoint, bits: int) -> None:
    graph, _ = float_graph(student, BuildRequest(F32, None))
    node = lstms(graph)[0]
    for (q, scale), name in zip(rounded(graph, node, bits), node.input[1:3], strict=True):
        matrix = graph.constants[name]
        assert q.shape == matrix.shape and scale.shape == matrix.shape[:2] == (2, 64)
        largest = np.abs(matrix).max(-1)
        np.testing.assert_allclose(scale, largest / (2 ** (bits - 1) - 1), rtol=1e-5)
        assert np.abs(q * scale[..., None] - matrix).max() <= 0.5001 * scale.max()


def test_an_lstm_may_be_put_back_to_float(student: Checkpoint) -> None:
    floats = BuildRequest(F32, None)
    _, record = build_graph(student, floats)
    names = [name for name in record["operators"] if "lstm" in name.lower()]
    settings = {"scheme": "dynamic", "bits": 8, "block": 32, "embeddings": True, "granularity": "per-channel"}
    model, record = build_graph(student, replace(floats, quantize=settings, reverted=frozenset(names[:1])))
    kinds = Counter(node.op_type for node in model.graph.node)
    assert len(names) == 2 and kinds["LSTM"] == kinds["DynamicQuantizeLSTM"] == 1 and record["graph"]["float_matmuls"] == 1


def test_executorch_is_refused_before_anything_is_made(student: Checkpoint, tmp_path: Path) -> None:
    assert refusal("executorch", (), "imbik_lstm") and refusal("executorch", (), "imbik_conv") is None
    with pytest.raises(UserError, match="does not run models of the architecture imbik_lstm"):
        export(student, "executorch", tmp_path / "a", texts=SPLITS.dev)
    assert not (tmp_path / "a").exists()
