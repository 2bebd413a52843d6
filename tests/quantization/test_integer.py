"""The integer arithmetic: exact against onnxruntime's operators, and within a unit of its float counterpart."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from imbik.quantization.integer import accumulate, affine, dequantize, fixed_point, quantize, requantize, symmetric
from imbik.runtime.processors import int8_preset
from imbik.testing.contract import sqnr

SEEDS = range(5)
LARGEST = 2 ** (int8_preset()["weight_bits"] - 1) - 1
"""Of a weight on this processor: without VNNI onnxruntime's 8-bit products saturate at 16 bits, so artefacts have 7 bits there."""


def _run(op: str, inputs: dict[str, np.ndarray], kind: int, **attributes: object) -> np.ndarray:
    node = helper.make_node(op, list(inputs), ["y"], **attributes)
    constants = [numpy_helper.from_array(value, name) for name, value in inputs.items()]
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", kind, None)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    result: np.ndarray = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, {})[0]
    return result


def _layer(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, (7, 96), dtype=np.uint8)
    w = random.integers(-LARGEST, LARGEST + 1, (96, 24)).astype(np.int8)
    return x, w, int(random.integers(0, 256))


@pytest.mark.parametrize("seed", SEEDS)
def test_sums_are_bit_exact(seed: int) -> None:
    x, w, zero = _layer(seed)
    found = _run("MatMulInteger", {"x": x, "w": w, "zx": np.uint8(zero)}, TensorProto.INT32)  # type: ignore[dict-item]
    assert np.array_equal(accumulate(x, w, zero), found)


@pytest.mark.parametrize("seed", SEEDS)
def test_requantized_outputs_are_within_a_unit_of_the_float_scale(seed: int) -> None:
    x, w, zero = _layer(seed)
    random = np.random.default_rng(seed)
    scale_x, scale_y = np.float32(0.02), np.float32(random.uniform(0.5, 2.0))
    scale_w = random.uniform(0.001, 0.02, w.shape[1]).astype(np.float32)
    inputs = {"x": x, "sx": scale_x, "zx": np.uint8(zero), "w": w, "sw": scale_w, "zw": np.zeros(w.shape[1], np.int8)}
    inputs |= {"sy": scale_y, "zy": np.uint8(100)}
    engine = _run("QLinearMatMul", inputs, TensorProto.UINT8)  # type: ignore[arg-type]
    m0, n = fixed_point(np.float64(scale_x) * scale_w / scale_y)
    ours = requantize(accumulate(x, w, zero), m0, n, zero=100)
    assert np.abs(ours.astype(int) - engine.astype(int)).max() <= 1
    assert np.mean(ours == engine) > 0.999
    exact = np.clip(np.floor(accumulate(x, w, zero) * (np.float64(scale_x) * scale_w / scale_y) + 0.5) + 100, 0, 255)
    assert np.abs(ours - exact).max() <= 1


def test_a_multiplier_keeps_thirty_bits() -> None:
    multiplier = 2.0 ** np.random.default_rng(0).uniform(-20, 4, 1000)
    m0, n = fixed_point(multiplier)
    assert (m0 >= 2**30).all() and (m0 < 2**31).all()
    assert np.abs(m0 / 2.0**n / multiplier - 1).max() <= 2.0**-31


@pytest.mark.parametrize("multiplier", [0.0, -0.1, 2.0**31, 2.0**-30, float("nan")])
def test_a_multiplier_out_of_range_is_refused(multiplier: float) -> None:
    with pytest.raises(ValueError, match="multiplier"):
        fixed_point(multiplier)


def test_halves_round_upwards_whatever_the_sign() -> None:
    m0, n = fixed_point(0.5)
    assert requantize(np.array([1, 3, -1, -3], dtype=np.int32), m0, n, zero=10).tolist() == [11, 12, 10, 9]


@pytest.mark.parametrize(("low", "high"), [(-3.0, 5.0), (0.5, 5.0), (-7.0, -1.0), (0.0, 0.0), (-1e-40, 1e-40)])
def test_zero_is_exact_and_the_round_trip_loses_at_most_half_a_step(low: float, high: float) -> None:
    scale, zero = affine(low, high)
    assert dequantize(np.array([zero], dtype=np.uint8), scale, zero)[0] == 0.0
    values = np.linspace(low, high, 1001, dtype=np.float32)
    back = dequantize(quantize(values, scale, zero), scale, zero)
    assert np.abs(back - values).max() <= float(scale) * 0.501 + (1.0 if zero in (0, 255) else 0.51) * float(scale) * 0.5


@pytest.mark.parametrize(("bits", "floor"), [(8, 40.0), (7, 34.0), (4, 15.0)])
def test_weights_keep_their_signal(bits: int, floor: float) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)
    q, scale = symmetric(weight, axis=1, bits=bits)
    one, single = symmetric(weight, axis=None, bits=bits)
    assert sqnr(weight, q * scale) > floor
    assert sqnr(weight, q * scale) > sqnr(weight, one * single), "a scale per channel loses less than one for all"


def test_quantizing_equals_onnxruntime() -> None:
    values = (np.random.default_rng(0).standard_normal(1000) * 3).astype(np.float32)
    scale, zero = affine(float(values.min()), float(values.max()))
    found = _run("QuantizeLinear", {"x": values, "s": np.float32(scale), "z": np.uint8(zero)}, TensorProto.UINT8)  # type: ignore[dict-item]
    assert np.array_equal(quantize(values, scale, zero), found)
