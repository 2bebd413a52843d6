"""int8 of any module: what PyTorch imitates is what NumPy computes and what the artefact gives."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from networks import NAMES, network
from torch import nn

import imbik
from imbik.errors import UserError
from imbik.modules.int8.graph import fold_norms
from imbik.modules.int8.layers import RoundedValue, RoundedWeight, _computed, round_rows
from imbik.modules.tracing import traced
from imbik.quantization.integer import affine, dequantize, quantize, symmetric


def batches(name, count=4, seed=1):
    torch.manual_seed(seed)
    shapes = {"mlp": (16, 64), "lstm": (16, 7), "gru": (16, 7)}
    shape = shapes.get(name, (16, 3, 32, 32))
    return [torch.randint(0, 500, shape) if name in ("lstm", "gru") else torch.randn(shape) for _ in range(count)]


def sqnr(found, reference):
    return 10 * np.log10(float(reference.detach().square().sum()) / float((found - reference).detach().square().sum()))


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_and_values_are_those_of_the_integer_arithmetic(bits, per_channel):
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 5), torch.randn(6, 12)
    rounded = RoundedWeight(layer, bits, per_channel, dynamic=True).eval()
    q, scale = symmetric(layer.weight.detach().numpy(), axis=0 if per_channel else None, bits=bits)
    np.testing.assert_allclose(rounded.weight.detach().numpy(), q * scale, atol=1e-6)
    step, zero = affine(float(x.min()), float(x.max()))
    values = dequantize(quantize(x.numpy(), step, zero), step, zero)
    np.testing.assert_allclose(rounded(x).detach().numpy(), values @ (q * scale).T + layer.bias.detach().numpy(), atol=1e-5)


def test_observed_values_are_cut_and_rounded():
    x = torch.cat([torch.linspace(-1, 3, 999), torch.tensor([100.0])])
    value = RoundedValue()
    assert torch.equal(value(x), x)
    value.settle(100)
    np.testing.assert_allclose(value(x).numpy(), dequantize(quantize(x.numpy(), *affine(-1, 100)), *affine(-1, 100)), atol=1e-5)
    model = nn.Sequential(nn.Linear(1, 1))
    made = imbik.compress_module(
        model, torch.zeros(1, 1), [{"quantize": {"scheme": "static", "percentile": 99.0}}], loader=[x[:, None]]
    ).model
    (cut,) = (module for module in made.modules() if isinstance(module, RoundedValue))
    assert 255 * float(cut.scale) < 6


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 4, (3, 5), (2, 1), (1, 2), (1, 2), padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding="same", dilation=2, groups=2, padding_mode="circular"),
        nn.Conv2d(3, 4, 4, padding="same"),
        nn.Conv1d(3, 4, 4, padding="same", padding_mode="replicate", bias=False),
        nn.Conv1d(3, 4, 3, padding="valid", padding_mode="reflect"),
        nn.Conv2d(3, 4, 3, 2, 1),
    ],
)
def test_a_convolution_with_other_weights_pads_as_its_own(conv):
    x = torch.randn(2, conv.in_channels, *([11, 13][: conv.weight.ndim - 2]))
    torch.testing.assert_close(_computed(conv, x, conv.weight), conv(x))


def test_batch_norms_are_folded_exactly_and_only_where_nothing_else_reads():
    model, example = network("cnn")
    graph = traced(model, example)
    assert len(fold_norms(graph)) == 14
    torch.testing.assert_close(graph(example), model(example), atol=1e-4, rtol=1e-4)

    class Read(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.bn(y) + y

    graph = traced(Read().eval(), torch.randn(2, 3, 4, 4))
    assert fold_norms(graph) == []


@pytest.mark.parametrize("scheme", ["dynamic", "static"])
@pytest.mark.parametrize("name", NAMES)
def test_answers_are_kept_and_artefacts_are_small_integers(name, scheme, tmp_path):
    model, example = network(name)
    loader = batches(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    made = imbik.compress_module(model, example, [{"quantize": {"scheme": scheme}}], loader=loader)
    x = batches(name, 1, seed=2)[0]
    assert sqnr(made.model(x), model(x)) > 28
    whole = imbik.export_module(model, example, tmp_path / "whole", engines=["onnx"])["onnx"]
    small = imbik.export_module(made, example, tmp_path / "small", engines=["onnx", "openvino"])
    manifest = json.loads((small["onnx"].path / "manifest.json").read_text())
    assert manifest["quantisation"] == {"scheme": scheme, "weight_bits": 8} and manifest["graph"]["int8_ops"] >= 1
    if scheme == "static" or name in ("mlp", "lstm", "gru"):
        assert small["onnx"].bytes < 0.5 * whole.bytes and manifest["graph"]["float_ops"] == 0
    assert small["onnx"].parity["sqnr_db"] > 35 and small["openvino"].parity["sqnr_db"] > 35
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), "the original was changed"


def operators(path):
    """The operators of a graph as onnxruntime runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path / "model.onnx"), options)
    return Counter(node.op_type for node in onnx.load(path / "optimized.onnx").graph.node)


def test_onnxruntime_runs_integer_kernels(tmp_path):
    found = {}
    for name, scheme in (("cnn", "static"), ("lstm", "dynamic"), ("mlp", "static"), ("vit", "dynamic")):
        model, example = network(name)
        made = imbik.compress_module(model, example, [{"quantize": {"scheme": scheme}}], loader=batches(name))
        found[name] = operators(imbik.export_module(made, example, tmp_path / name)["onnx"].path)
    assert found["cnn"]["QLinearConv"] == 14 and found["cnn"]["QLinearAdd"] >= 5 and found["cnn"]["Conv"] == 0
    assert found["lstm"]["DynamicQuantizeLSTM"] == 2 and found["lstm"]["LSTM"] == 0
    assert found["mlp"]["MatMulIntegerToFloat"] == 3 and found["mlp"]["Gemm"] == found["mlp"]["MatMul"] == 0
    assert found["vit"]["DynamicQuantizeMatMul"] == 13


def test_quantization_aware_training_brings_the_module_nearer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8))
    with torch.no_grad():
        model[0].weight[:, 0] *= 40  # one scale for all rows leaves the rest few values
    x = torch.randn(512, 16)
    lost = {}
    for scheme in ("static", "qat"):
        step = {"quantize": {"scheme": scheme, "per_channel": False, "epochs": 15, "learning_rate": 1e-3}}
        made = imbik.compress_module(model, x[:2], [step], loader=list(x.split(64)))
        lost[scheme] = float((made.model(x) - model(x)).detach().square().mean())
        weights = [module for module in made.model.modules() if isinstance(module, RoundedWeight)]
        assert all(float((w.weight / w.scale[:, None]).detach().abs().max()) <= 127.01 for w in weights)
    assert lost["qat"] < 0.8 * lost["static"]


def test_rows_are_rounded_in_place():
    weight = torch.randn(4, 9)
    q, scale = symmetric(weight.numpy(), axis=0, bits=7)
    weight[2] = 0
    round_rows(weight, 7)
    np.testing.assert_allclose(weight.numpy()[[0, 1, 3]], (q * scale)[[0, 1, 3]], atol=1e-6)
    assert not weight[2].any()


def test_what_cannot_be_is_refused_or_kept(tmp_path):
    model, example = network("cnn")
    made = imbik.compress_module(model, example, ["quantize"])
    assert "scheme static" in made.steps[0].kept["stem.0"] and set(made.steps[0].layers) == {"head"}
    with pytest.raises(UserError, match="observed on data"):
        imbik.compress_module(model, example, [{"quantize": {"scheme": "static"}}])
    with pytest.raises(UserError, match="cannot follow"):
        imbik.compress_module(model, example, ["quantize", "prune"])
    with pytest.raises(UserError, match="in float alone"):
        imbik.export_module(made, example, tmp_path, engines=["executorch"])
    with pytest.raises(UserError, match="applies to nothing"):
        imbik.compress_module(model, example, [{"quantize": {"exclude": ["head"]}}])
    step = {"quantize": {"scheme": "static", "exclude": ["a", "head"]}}
    made = imbik.compress_module(model, example, [step], loader=batches("cnn"))
    assert type(made.model.get_submodule("a.0.conv1")) is nn.Conv2d and isinstance(made.model.get_submodule("b.0.conv1"), RoundedWeight)
