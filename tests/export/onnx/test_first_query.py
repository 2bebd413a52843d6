"""The query of the last layer, absorbed: the graph computes what the graph before computed, with less."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer, processors

from imbik.export.artefact import export
from imbik.export.onnx.build import build_graph, float_graph
from imbik.export.onnx.first_query import first_token
from imbik.export.onnx.graph import Graph, count_ops
from imbik.export.onnx.trace import random_batch
from imbik.export.request import BuildRequest
from imbik.models.tokenizers import tokenizer_of
from imbik.runtime.predictor import load_artefact
from imbik.runtime.processors import int8_preset
from imbik.testing.contract import sqnr
from imbik.testing.tiny import tiny_bert, tiny_tokenizer
from imbik.types import Checkpoint

CLS = 2
FAMILIES = ["bert", "roberta", "electra", "albert", "distilbert", "mobilebert"]
TEXTS = ["where is my card", "bad", "the new fee is not good", "please help me pay now", "", "not 7 but 8"] * 8


def _graph(checkpoint: Checkpoint, absorb: str | None) -> tuple[Graph, dict[str, Any]]:
    graph, facts = float_graph(checkpoint, BuildRequest(int8_preset()), absorb=absorb)
    return graph.copy(), facts


def _run(graph: Graph, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.finish().SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})[0])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_absorbed_graph_computes_what_the_plain_one_computes(family: str, layers: int) -> None:
    checkpoint = tiny_bert(family=family, layers=layers, hidden=64, heads=4)
    absorbed, facts = _graph(checkpoint, "any query")
    before, plain = _graph(checkpoint, None)
    # MobileBERT's embedding joins neighbors: its first token depends on the second, whatever the depth.
    assert facts["first_query"] == ("constant" if layers == 1 and family != "mobilebert" else "per text")
    assert plain["first_query"] is None
    for batch, length in ((1, 1), (4, 3), (3, 17)):
        feed = random_batch(batch, length, len(checkpoint.tokenizer), CLS)
        expected = _run(before, feed)
        np.testing.assert_allclose(_run(absorbed, feed), expected, atol=1e-5 * np.abs(expected).max())


def test_a_query_that_a_text_decides_can_be_left_alone() -> None:
    assert _graph(tiny_bert(layers=1), "constant query")[1]["first_query"] == "constant"
    assert _graph(tiny_bert(layers=2), "constant query")[1]["first_query"] is None


def test_a_constant_query_leaves_neither_query_nor_key_product() -> None:
    checkpoint = tiny_bert(layers=1, hidden=64, heads=4)
    graph, _ = _graph(checkpoint, "any query")
    model = graph.finish()
    assert count_ops(model).get("MultiHeadAttention", 0) == 0
    attention = checkpoint.model.bert.encoder.layer[0].attention.self
    stored = [value for value in graph.constants.values() if value.shape == (64, 64)]
    for module, kept in ((attention.query, False), (attention.key, False), (attention.value, True)):
        weight = module.weight.detach().numpy().T
        assert any(np.array_equal(value, weight) for value in stored) is kept
    # (K, N): one vector of 64 numbers for each of four heads
    key = next(node for node in graph.nodes if node.name == "bert.encoder.layer.0.attention.self.key")
    assert graph.constants[key.input[0]].shape == (64, 4)


def test_padding_changes_nothing() -> None:
    checkpoint = tiny_bert(layers=1)
    graph, _ = _graph(checkpoint, "any query")
    alone = random_batch(1, 6, len(checkpoint.tokenizer), CLS)
    alone["attention_mask"][:] = 1
    padded = {name: np.pad(value, ((0, 0), (0, 5))) for name, value in alone.items()}
    padded["input_ids"][:, 6:] = 7
    np.testing.assert_allclose(_run(graph, padded), _run(graph, alone), atol=1e-6)


def test_without_a_first_token_the_query_is_computed() -> None:
    checkpoint = tiny_bert(layers=1)
    bare = tokenizer_of(checkpoint)
    bare.post_processor = processors.Sequence([])
    checkpoint.tokenizer._tokenizer = bare
    graph, facts = _graph(checkpoint, "any query")
    assert facts["first_query"] == "per text"
    feed = random_batch(3, 5, len(checkpoint.tokenizer))
    with torch.no_grad():
        expected = checkpoint.model(**{name: torch.from_numpy(value) for name, value in feed.items()}).logits.numpy()
    np.testing.assert_allclose(_run(graph, feed), expected, atol=1e-5)


def test_what_every_text_begins_with() -> None:
    tokenizer: Tokenizer = tiny_tokenizer().backend_tokenizer
    assert first_token(tokenizer) == CLS
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [SEP]", pair="$A [SEP] $B [SEP]", special_tokens=[("[SEP]", 3)])
    assert first_token(tokenizer) is None, "a text of unknown words alone begins with an ordinary token"
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:1 $A:1", pair="[CLS]:1 $A:1 $B:0", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    assert first_token(tokenizer) is None, "another token type than the graph is asked with"


def test_int8_stores_the_absorbed_matrices_in_int8(tmp_path: Path) -> None:
    checkpoint = replace(tiny_bert(layers=1, hidden=64, heads=4), steps=({"quantize": {"scheme": "dynamic"}},))
    artefact = export(checkpoint, "onnx", tmp_path / "a", texts=TEXTS)
    manifest = json.loads((artefact.path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["quantisation"]["matrices"] == 2 and manifest["quantisation"]["products"] == manifest["parity"]["int8_ops"]
    assert manifest["parity"]["float_matmuls"] == 0
    constants = Graph(onnx.load(artefact.path / "model.onnx")).constants.values()
    assert {value.shape for value in constants if value.dtype == np.int8} >= {(64, 4), (64, 64)}
    assert not [value for value in constants if value.dtype == np.float32 and value.ndim == 2 and value.shape[0] == 64 and value.size > 64]
    batch = checkpoint.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = checkpoint.model(**batch).logits.numpy()
    assert sqnr(expected, load_artefact(artefact.path, threads=1).scores(TEXTS)) > 20


def test_a_scheme_with_observed_ranges_keeps_keys_and_values() -> None:
    """Its float parent too: what is put back to float must be there under the same names."""
    checkpoint = tiny_bert(layers=1)
    request = BuildRequest(
        int8_preset(), {"scheme": "weight-only", "bits": 8, "block": 32, "embeddings": True, "granularity": "per-channel"}
    )
    _, record = build_graph(checkpoint, request)
    _, parent = build_graph(checkpoint, replace(request, quantize=None))
    assert record["graph"]["first_query"] is parent["graph"]["first_query"] is None
    assert record["operators"] == parent["operators"]
