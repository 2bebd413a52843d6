"""Sums of a graph: the same numbers from fewer operators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from imbik.export.onnx.build import float_graph
from imbik.export.onnx.graph import Graph, count_ops
from imbik.export.onnx.sums import join_token_types, plain_sums, slice_positions
from imbik.export.onnx.trace import random_batch
from imbik.export.request import BuildRequest
from imbik.runtime.processors import int8_preset
from imbik.testing.tiny import tiny_bert
from imbik.types import Checkpoint


def _graph(checkpoint: Checkpoint, absorb: str | None = "any query") -> Graph:
    return float_graph(checkpoint, BuildRequest(int8_preset()), absorb=absorb)[0].copy()


def _answers(graph: Graph, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.finish().SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})[0])


def _torch(checkpoint: Checkpoint, feed: dict[str, np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(checkpoint.model(**{name: torch.from_numpy(value) for name, value in feed.items()}).logits.numpy())


def test_onnxruntime_finds_no_sum_to_join_with_a_norm(tmp_path: Path) -> None:
    """Every residual sum is a Sum; onnxruntime itself, on opening the file, makes no SkipLayerNormalization of them."""
    model = _graph(tiny_bert(layers=3)).finish()
    # two sums a layer and one of the embedding; the last layer's first residual is a constant in no model of three layers
    assert count_ops(model)["Sum"] == 7
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = count_ops(onnx.load(tmp_path / "optimized.onnx"))
    assert "SkipLayerNormalization" not in found and found["LayerNormalization"] == 7


@pytest.mark.parametrize("family", ["bert", "electra", "distilbert"])
def test_positions_are_cut_not_looked_up(family: str) -> None:
    checkpoint = tiny_bert(family=family, layers=2)
    graph = _graph(checkpoint)
    assert not slice_positions(graph), "nothing is left to cut"
    gathers = [node for node in graph.nodes if node.op_type == "Gather" and node.input[0] in graph.constants]
    assert "input_ids" in {node.input[1] for node in gathers}
    assert {node.input[1] for node in gathers} <= {"input_ids", "token_type_ids"}
    feed = random_batch(3, 11, len(checkpoint.tokenizer), 2)
    np.testing.assert_allclose(_answers(graph, feed), _torch(checkpoint, feed), atol=1e-5)


def test_positions_that_follow_the_padding_stay_a_look_up() -> None:
    """RoBERTa counts the tokens that are no padding: its positions differ from text to text."""
    checkpoint = tiny_bert(family="roberta", layers=2)
    feed = random_batch(3, 11, len(checkpoint.tokenizer), 2)
    feed["input_ids"][1, 8:] = 0
    np.testing.assert_allclose(_answers(_graph(checkpoint), feed), _torch(checkpoint, feed), atol=1e-5)


def test_single_texts_need_no_token_types() -> None:
    single, either = replace(tiny_bert(layers=1), pairs=False), tiny_bert(layers=1)
    feed = random_batch(3, 7, len(single.tokenizer), 2)
    graph = _graph(single)
    assert [value.name for value in graph.finish().graph.input] == ["input_ids", "attention_mask"]
    np.testing.assert_allclose(_answers(graph, feed), _torch(single, feed), atol=1e-5)
    assert not join_token_types(graph)
    # A model of pairs, or one that does not say, still tells its two texts apart.
    feed["token_type_ids"][:, 4:] = 1
    graph = _graph(either)
    np.testing.assert_allclose(_answers(graph, feed), _torch(either, feed), atol=1e-5)
    assert np.abs(_answers(graph, feed) - _torch(either, feed | {"token_type_ids": np.zeros_like(feed["token_type_ids"])})).max() > 1e-3


def test_a_sum_with_a_constant_stays_an_addition() -> None:
    graph = _graph(replace(tiny_bert(layers=1), pairs=False))
    assert plain_sums(graph) == 0
    added = [node for node in graph.nodes if node.op_type == "Add"]
    assert added and all(any(name in graph.constants for name in node.input) for node in added)
