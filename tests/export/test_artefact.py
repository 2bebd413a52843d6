"""Export: parity, int8 lowering, shared weights, the artefact's own README, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from imbik.errors import UserError
from imbik.export.artefact import _SENTENCES, export
from imbik.export.onnx.graph import Graph, count_ops, matmul_counts
from imbik.export.parity import ParityError
from imbik.quantization.integer import symmetric
from imbik.runtime.predictor import load_artefact
from imbik.runtime.processors import int8_preset
from imbik.testing.contract import sqnr
from imbik.testing.tiny import tiny_bert
from imbik.types import Artefact, Checkpoint, Examples

INT8 = ({"quantize": {"scheme": "dynamic"}},)
TEXTS = ["where is my card", "bad", "the new fee is not good", "please help me pay now", "", "not 7 but 8"] * 8


def _manifest(artefact: Artefact) -> dict[str, object]:
    return dict(json.loads((artefact.path / "manifest.json").read_text(encoding="utf-8")))


def _logits(checkpoint: Checkpoint, texts: list[str]) -> np.ndarray:
    batch = checkpoint.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        return checkpoint.model(**batch).logits.numpy()


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "albert", "distilbert", "mpnet", "mobilebert"])
def test_every_family_computes_what_pytorch_computes(family: str, tmp_path: Path) -> None:
    checkpoint = tiny_bert(family=family, layers=2)
    artefact = export(checkpoint, "onnx", tmp_path / "a", texts=TEXTS)
    assert artefact.parity["max_abs_relative"] < 1e-4 and artefact.parity["agreement"] == 1.0
    np.testing.assert_allclose(load_artefact(artefact.path, threads=1).scores(TEXTS), _logits(checkpoint, TEXTS), atol=1e-4)
    graph = _manifest(artefact)["graph"]
    assert graph["fused"] is (family != "mpnet")  # type: ignore[index]


@pytest.mark.parametrize("family", ["bert", "albert", "electra", "mpnet", "distilbert", "mobilebert"])
def test_int8_leaves_no_product_in_float(family: str, tmp_path: Path) -> None:
    checkpoint = replace(tiny_bert(family=family, layers=3), steps=INT8)
    artefact = export(checkpoint, "onnx", tmp_path / "a", texts=TEXTS)
    assert artefact.parity["float_matmuls"] == 0
    assert artefact.parity["int8_ops"] >= 4 * 3
    assert sqnr(_logits(checkpoint, TEXTS), load_artefact(artefact.path, threads=1).scores(TEXTS)) > 20


def test_shared_weights_are_stored_once(tmp_path: Path) -> None:
    sizes = [
        export(replace(tiny_bert(family="albert", layers=layers, hidden=64), steps=INT8), "onnx", tmp_path / str(layers)).bytes
        for layers in (1, 6)
    ]
    assert sizes[1] < sizes[0] * 1.7, "five more layers of the same weights cost nodes, not weights"


def test_the_last_layer_is_computed_for_the_first_token_only(tmp_path: Path) -> None:
    artefact = export(tiny_bert(layers=2), "onnx", tmp_path / "a", texts=TEXTS)
    model = onnx.load(artefact.path / "model.onnx")
    assert _manifest(artefact)["graph"]["first_token_nodes"] > 8  # type: ignore[index]
    slices = [node for node in model.graph.node if node.op_type == "Slice" and "imbik.first" in node.output[0]]
    assert len(slices) == 1, "the query and the residual read the same first token"


def test_large_tables_become_int8_rows(tmp_path: Path) -> None:
    checkpoint = replace(tiny_bert(hidden=128, layers=1), steps=INT8)
    artefact = export(checkpoint, "onnx", tmp_path / "a", texts=TEXTS)
    assert _manifest(artefact)["quantisation"]["tables"] >= 1  # type: ignore[index]
    constants = Graph(onnx.load(artefact.path / "model.onnx")).constants.values()
    assert max(value.size for value in constants if value.dtype == np.float32) < 4096


def test_a_seven_bit_preset_stores_seven_bits(tmp_path: Path) -> None:
    preset = int8_preset(frozenset({"avx2"}))
    artefact = export(replace(tiny_bert(), steps=INT8), "onnx", tmp_path / "a", preset=preset)
    constants = Graph(onnx.load(artefact.path / "model.onnx")).constants.values()
    assert max(int(np.abs(value).max()) for value in constants if value.dtype == np.int8) == 63
    assert _manifest(artefact)["cpu"] == {"name": "x86", "weight_bits": 7}


@pytest.mark.parametrize(("bits", "floor"), [(8, 40.0), (7, 34.0)])
def test_quantized_weights_keep_their_signal(bits: int, floor: float) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)
    q, scale = symmetric(weight, axis=1, bits=bits)
    assert sqnr(weight, q * scale) > floor
    assert np.abs(weight - q * scale).max() <= scale.max() / 2 + 1e-7


def test_the_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint = tiny_bert()
    checkpoint.model.train()
    before = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    attention = checkpoint.model.config._attn_implementation
    export(replace(checkpoint, steps=INT8), "onnx", tmp_path / "a")
    assert checkpoint.model.training and checkpoint.model.config._attn_implementation == attention
    assert all(torch.equal(before[name], tensor) for name, tensor in checkpoint.model.state_dict().items())


def test_the_readme_runs_without_imbik(tmp_path: Path) -> None:
    artefact = export(replace(tiny_bert(), steps=INT8), "onnx", tmp_path / "a")
    code = re.search(r"```python\n(.*?)```", (artefact.path / "README.md").read_text(encoding="utf-8"), re.S)
    assert code is not None and len(code[1].strip().splitlines()) <= 20
    blocked = "import sys\nfor name in ('imbik', 'torch', 'transformers'): sys.modules[name] = None\n"
    done = subprocess.run([sys.executable, "-c", blocked + code[1]], cwd=artefact.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    expected = load_artefact(artefact.path).scores(["a text", "another text"])
    assert len(lines) == 2
    assert lines[0].split()[0] == ("bad", "good", "other")[int(expected[0].argmax())]


@pytest.mark.parametrize(("task", "labels"), [("multi-label", ("a", "b")), ("regression", ("value",))])
def test_other_tasks(task: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    rows = Examples(TEXTS, [text[::-1] for text in TEXTS], None, "")
    artefact = export(tiny_bert(labels, task), "onnx", tmp_path / "a", texts=rows)  # type: ignore[arg-type]
    assert (artefact.parity["agreement"] is None) is (task == "regression")
    assert load_artefact(artefact.path).predict(TEXTS, rows.pairs).shape == (len(TEXTS), len(labels))


def test_a_graph_that_computes_something_else_is_not_called_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imbik.export.onnx import build as module

    build = module.build

    def spoiled(checkpoint: Checkpoint, directory: Path, request: object) -> dict[str, object]:
        record = build(checkpoint, directory, request)  # type: ignore[arg-type]
        graph = Graph(onnx.load(directory / "model.onnx"))
        name = next(name for name, value in graph.constants.items() if value.ndim == 2 and value.dtype == np.float32)
        graph.constants[name] = graph.constants[name] * 1.5
        (directory / "model.onnx").write_bytes(graph.finish().SerializeToString())
        return record

    monkeypatch.setattr(module, "build", spoiled)
    with pytest.raises(ParityError, match="logits differ"):
        export(tiny_bert(), "onnx", tmp_path / "a", texts=TEXTS)
    assert list(tmp_path.iterdir()) == [], "neither the artefact nor a half-written one"


def test_an_artefact_is_replaced_and_a_foreign_folder_is_not(tmp_path: Path) -> None:
    checkpoint = tiny_bert()
    export(checkpoint, "onnx", tmp_path / "a")
    again = export(replace(checkpoint, steps=INT8), "onnx", tmp_path / "a")
    assert matmul_counts(onnx.load(again.path / "model.onnx"))[1] == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"holds something else.*thesis\.txt"):
        export(checkpoint, "onnx", tmp_path / "mine")
    with pytest.raises(UserError, match="no artefacts are made for this engine"):
        export(checkpoint, "abacus", tmp_path / "b")


def test_the_manifest_counts_what_lies_there(tmp_path: Path) -> None:
    artefact = export(tiny_bert(), "onnx", tmp_path / "a")
    assert artefact.bytes == sum(path.stat().st_size for path in artefact.path.iterdir())
    assert set(artefact.sha256) == {path.name for path in artefact.path.iterdir()}
    assert count_ops(onnx.load(artefact.path / "model.onnx"))["MultiHeadAttention"] == 3  # the last one has one query, which is absorbed


def test_a_dynamic_artefact_says_how_its_answers_depend_on_the_batch(tmp_path: Path) -> None:
    checkpoint = replace(tiny_bert(), steps=INT8)
    artefact = export(checkpoint, "onnx", tmp_path / "a")
    alone = artefact.parity["alone"]
    model, texts = load_artefact(artefact.path, threads=1), list(_SENTENCES)
    apart = np.abs(np.concatenate([model.scores([text]) for text in texts]) - model.scores(texts)).max()
    assert alone["max_abs"] == pytest.approx(float(apart), rel=1e-3) and alone["texts"] == len(texts)
    note = next(note for note in model.manifest["notes"] if note["kind"] == "batch")
    assert "in a batch than alone" in note["text"] and note["text"] in (artefact.path / "README.md").read_text(encoding="utf-8")
    floats = export(tiny_bert(), "onnx", tmp_path / "f")
    assert floats.parity["alone"]["max_abs_relative"] < 1e-5 and _manifest(floats)["notes"] == []


def test_texts_without_tokens_are_answered_alike_alone_and_beside_others(tmp_path: Path) -> None:
    checkpoint = tiny_bert()
    checkpoint.tokenizer.backend_tokenizer.post_processor = None  # neither [CLS] nor [SEP]
    for engine in ("onnx", "openvino"):
        pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
        model = load_artefact(export(checkpoint, engine, tmp_path / engine, texts=TEXTS).path, threads=1)
        padding = torch.zeros((1, 1), dtype=torch.long)
        with torch.no_grad():
            expected = checkpoint.model(input_ids=padding, attention_mask=torch.ones_like(padding)).logits.numpy()
        tolerance = 5e-2 if model.manifest["precision"] == "bf16" else 1e-4
        np.testing.assert_allclose(model.scores([""]), expected, atol=tolerance)
        np.testing.assert_allclose(model.scores(["my card", "", "where is my money"])[1:2], expected, atol=tolerance)


def test_an_int8_model_that_collapsed_is_refused_by_export_alone(tmp_path: Path) -> None:
    """Outliers in what a product reads leave int8 steps that are wider than all the rest: answers are no longer the model's."""
    checkpoint = tiny_bert(layers=1)
    with torch.no_grad():
        checkpoint.model.bert.encoder.layer[0].output.LayerNorm.weight[0] = 100_000.0
        checkpoint.model.bert.pooler.dense.weight[:, 0] = 0.0
    int8 = replace(checkpoint, steps=INT8)
    export(checkpoint, "onnx", tmp_path / "float", texts=TEXTS)
    with pytest.raises(ParityError, match="answers otherwise than the one it was made of"):
        export(int8, "onnx", tmp_path / "int8", texts=TEXTS)
    assert not (tmp_path / "int8").exists()
    assert export(int8, "onnx", tmp_path / "measured", texts=TEXTS, least=None).parity["agreement"] < 0.8
