"""Quantization schemes: signal kept, what is lowered, ranges in the checkpoint, training that recovers, settings that are refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.artefact import quantized as as_exported
from imbik.export.onnx.graph import Graph
from imbik.jobs.progress import Silent
from imbik.methods.quantize import Quantize
from imbik.methods.registry import make_method, make_methods, registered
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.quantization.fake_quant import FakeQuantizer
from imbik.quantization.narrowing import narrow
from imbik.quantization.ranges import calibrate, ranges_of, trace_products
from imbik.runtime.predictor import load_artefact
from imbik.runtime.processors import int8_preset
from imbik.students.catalogue import make_student
from imbik.testing.contract import quick, sqnr
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training.encoding import encode
from imbik.training.prediction import model_inputs, to_batch
from imbik.types import Checkpoint, Splits, Step

SPLITS = tiny_splits(rows=400)
# dB of the logits of a random two-layer model, three below what was measured
FLOORS = {"dynamic": 26.0, "static": 25.5, "integer": 23.0, "weight-only": 26.0, "int4": 4.5}

STRUCTURAL = ({"share": {"groups": 1}}, {"cluster": {"values": 16}}, {"low_rank": {"rank": 8}}, {"vocabulary": {}})


def step(scheme: str, **settings: Any) -> Step:
    return {"quantize": {"scheme": "weight-only", "bits": 4, "block": 16} if scheme == "int4" else {"scheme": scheme, **settings}}


def quantized(teacher: Checkpoint, scheme: Step, directory: Path, splits: Splits = SPLITS) -> Checkpoint:
    student = make_student(None, teacher, splits.train, 0)
    made = make_method(scheme, "test").apply(student, tiny_context(teacher, splits, directory))
    return replace(made, steps=(scheme,))


def exact(checkpoint: Checkpoint, splits: Splits = SPLITS) -> np.ndarray:
    """Logits in float32 (training's own predictions are in bf16 where the processor has it)."""
    data = encode(splits.dev, checkpoint.tokenizer)
    with torch.no_grad():
        return checkpoint.model(**model_inputs(to_batch(data, np.arange(len(data))))).logits.numpy()


def artefact_logits(checkpoint: Checkpoint, directory: Path, splits: Splits = SPLITS) -> tuple[np.ndarray, dict[str, Any]]:
    artefact = export(checkpoint, "onnx", directory, texts=splits.dev)
    manifest = json.loads((artefact.path / "manifest.json").read_text(encoding="utf-8"))
    return load_artefact(artefact.path, threads=1).scores(list(splits.dev.texts)), manifest


@pytest.mark.parametrize("scheme", sorted(FLOORS))
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_every_scheme_keeps_the_signal_and_leaves_no_product_in_float(scheme: str, family: str, tmp_path: Path) -> None:
    teacher = tiny_bert(family=family, layers=2, hidden=64)
    found, manifest = artefact_logits(quantized(teacher, step(scheme), tmp_path / "work"), tmp_path / "a")
    assert sqnr(exact(teacher), found) > FLOORS[scheme]
    assert manifest["parity"]["float_matmuls"] == 0 and manifest["parity"]["int8_ops"] >= 9
    assert manifest["quantisation"]["products"] == manifest["parity"]["int8_ops"]
    assert manifest["quantisation"]["unobserved"] == 0


@pytest.mark.parametrize("scheme", ["dynamic", "static", "integer", "int4"])
def test_shared_weights_are_stored_once(scheme: str, tmp_path: Path) -> None:
    def size(layers: int) -> int:
        teacher = tiny_bert(family="albert", layers=layers, hidden=64)
        checkpoint = quantized(teacher, step(scheme), tmp_path / f"work{layers}")
        return int(export(checkpoint, "onnx", tmp_path / str(layers)).files["model.onnx"])

    float_size = export(tiny_bert(family="albert", layers=6, hidden=64), "onnx", tmp_path / "float").files["model.onnx"]
    assert size(6) < 0.7 * float_size
    weights = [
        v for v in Graph(onnx.load(tmp_path / "6" / "model.onnx")).constants.values() if v.dtype in (np.int8, np.uint8) and v.ndim > 1
    ]
    assert len({value.tobytes() for value in weights}) == len(weights)


@pytest.mark.parametrize("scheme", ["static", "qat", "integer", "int4"])
@pytest.mark.parametrize("before", [step for step in STRUCTURAL if next(iter(step)) in registered()])
def test_schemes_compose_with_structural_steps(scheme: str, before: Step, tmp_path: Path) -> None:
    last = quick(step(scheme)) if scheme == "qat" else step(scheme)
    try:
        methods = make_methods([before, last], "recipe")
    except UserError as refusal:
        assert (scheme, next(iter(before))) == ("qat", "cluster"), refusal
        return
    teacher, splits = tiny_bert(layers=2, hidden=64), tiny_splits(rows=60)
    checkpoint = make_student(None, teacher, splits.train, 0)
    for number, method in enumerate(methods):
        checkpoint = method.apply(checkpoint, tiny_context(teacher, splits, tmp_path / str(number)))
    save_checkpoint(replace(checkpoint, steps=(before, last)), tmp_path / "saved")
    loaded = load_checkpoint(tmp_path / "saved")
    found, manifest = artefact_logits(loaded, tmp_path / "a", splits)
    assert manifest["parity"]["float_matmuls"] == 0 and manifest["quantisation"]["unobserved"] == 0
    floor = 15.0 if int8_preset()["weight_bits"] == 8 else 12.0  # dB; a bit less where the processor asks for 7-bit weights
    assert sqnr(exact(loaded, splits), found) > (4.0 if scheme == "int4" else floor)


def test_each_use_of_a_shared_weight_has_its_own_range() -> None:
    teacher = tiny_bert(family="albert", layers=3)
    ranges = calibrate(teacher, SPLITS.train, samples=20, percentile=100, seed=0, progress=Silent())
    ffn = [value["input"] for name, value in ranges.items() if name.split("#")[0].endswith(".ffn")]
    assert len(ffn) == 3 and ffn[0] != ffn[1] != ffn[2]


def test_ranges_grow_with_the_percentile_and_hold_every_value_at_the_end() -> None:
    teacher = tiny_bert(layers=1)
    found = [
        calibrate(teacher, SPLITS.train, samples=100, percentile=p, seed=0, progress=Silent())["classifier"]["output"]
        for p in (90.0, 99.0, 100.0)
    ]
    assert found[2][0] <= found[1][0] <= found[0][0] < found[0][1] <= found[1][1] <= found[2][1]
    rows = np.random.default_rng(0).permutation(len(SPLITS.train.texts))[:100]
    drawn = replace(SPLITS.train, texts=[SPLITS.train.texts[row] for row in rows], targets=None)
    logits = exact(teacher, replace(SPLITS, dev=drawn))
    np.testing.assert_allclose(found[2], [logits.min(), logits.max()], rtol=1e-4)


def test_ranges_travel_in_a_plain_checkpoint_folder(tmp_path: Path) -> None:
    made = quantized(tiny_bert(layers=1), step("static"), tmp_path / "work")
    save_checkpoint(made, tmp_path / "saved")
    loaded = load_checkpoint(tmp_path / "saved")
    assert ranges_of(loaded.model) == ranges_of(made.model) != {}
    assert "imbik_ranges" not in quantized(made, step("dynamic"), tmp_path / "again").model.config.to_dict()
    one, _ = artefact_logits(made, tmp_path / "a")
    two, _ = artefact_logits(loaded, tmp_path / "b")
    assert np.array_equal(one, two)


needs_8_bits = pytest.mark.skipif(
    int8_preset()["weight_bits"] != 8, reason="artefacts have 7-bit weights on this processor, the imitation has 8"
)


@needs_8_bits
@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_the_imitation_computes_what_the_artefact_computes(granularity: str, tmp_path: Path) -> None:
    teacher = tiny_bert(layers=2, hidden=64)
    made = quantized(teacher, step("qat", granularity=granularity, epochs=2, learning_rate=1e-3), tmp_path / "work")
    ranges = ranges_of(made.model)
    assert all(0 < entry.get("clip", 1.0) <= 1 for entry in ranges.values())
    batch = model_inputs(to_batch(encode(SPLITS.dev, made.tokenizer), np.arange(len(SPLITS.dev.texts))))
    _, same = trace_products(made.model, batch)
    quantizer = FakeQuantizer(ranges, same, per_channel=granularity == "per-channel", embeddings=True, learn=False)
    with torch.no_grad(), quantizer.quantized(made.model):
        imitated = made.model(**batch).logits.numpy()
    found, manifest = artefact_logits(made, tmp_path / "a")
    assert manifest["quantisation"]["scheme"] == "qat"
    assert np.mean(imitated.argmax(1) == found.argmax(1)) >= 0.99
    assert sqnr(imitated, found) > sqnr(exact(made), found) + 10, "the artefact computes the imitation, not the float model"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheme": "qat", "bits": 4}, "weight-only"),
        ({"scheme": "dynamic", "bits": 4}, "weight-only"),
        ({"scheme": "weight-only", "granularity": "per-tensor"}, "one scale per block"),
        ({"scheme": "static", "percentile": 30}, "greater than 50"),
        ({"scheme": "static", "percentile": 101}, "less than or equal to 100"),
        ({"scheme": "static", "samples": 0}, "greater than or equal to 1"),
        ({"scheme": "weight-only", "block": 7}, "16, 32, 64 or 128"),
        ({"scheme": "magic"}, "dynamic"),
        ({"scheme": "static", "calibraton": "min-max"}, "unknown setting"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_method({"quantize": settings}, "recipe")


def test_a_calibrated_scheme_without_ranges_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no activation ranges.*imbik compress"):
        export(replace(tiny_bert(layers=1), steps=(step("static"),)), "onnx", tmp_path / "a")


def test_what_remains_in_float_is_reported(tmp_path: Path) -> None:
    _, manifest = artefact_logits(quantized(tiny_bert(layers=2), step("integer"), tmp_path / "work"), tmp_path / "a")
    left = manifest["graph"]["float_operators"]
    assert left["MultiHeadAttention"]["count"] == 2 and "softmax" in left["MultiHeadAttention"]["why"]
    assert left["Gelu"]["count"] == 2 and "MatMul" not in left
    assert not any("BiasGelu" in name for name in left), "biases are added in integers"


def test_a_scheme_that_needs_no_ranges_leaves_nothing_to_keep() -> None:
    assert Quantize(scheme="dynamic").lowered and Quantize(scheme="weight-only").lowered  # type: ignore[call-arg]
    assert not Quantize(scheme="static").lowered  # type: ignore[call-arg]


def _channels(model: Any, factor: float = 64.0) -> None:
    """In every head one channel of query and value times a factor, its counterpart in key and output divided by it: the same function."""
    for layer in model.bert.encoder.layer:
        attention, output = layer.attention.self, layer.attention.output.dense
        rows = torch.arange(0, output.in_features, output.in_features // model.config.num_attention_heads)
        for stretched in (attention.query, attention.value):
            stretched.weight[rows] *= factor
            stretched.bias[rows] *= factor
        attention.key.weight[rows] /= factor
        attention.key.bias[rows] /= factor
        output.weight[:, rows] /= factor


def test_only_ranges_that_outliers_stretch_are_narrowed() -> None:
    teacher = tiny_bert(layers=1, hidden=64)
    with torch.no_grad():
        _channels(teacher.model)
    inputs = model_inputs(to_batch(encode(SPLITS.train, teacher.tokenizer), np.arange(32)))
    ranges = calibrate(teacher, SPLITS.train, samples=100, percentile=100, seed=0, progress=Silent())
    quantizer = FakeQuantizer(ranges, trace_products(teacher.model, inputs)[1], per_channel=False, embeddings=True, learn=False)
    before, after = narrow(quantizer, teacher.model, inputs, Silent())
    clips = {name.split(".")[-1]: entry["clip"] for name, entry in quantizer.learned().items()}
    assert after < before / 4
    assert clips["value"] <= 1 / 8 and min(clips["key"], clips["classifier"]) >= 1 / 2


@needs_8_bits
def test_training_in_int8_recovers_half_of_what_outliers_cost(tmp_path: Path) -> None:
    """Per tensor and min-max, few outliers leave all other values a few integers. Judged by the artefacts on texts that neither training
    nor the choice of the epoch saw."""
    splits = tiny_splits(rows=800)
    teacher = tiny_bert(layers=2, hidden=64)
    with torch.no_grad():
        _channels(teacher.model)
    judged = {name: replace(getattr(splits, name), targets=None) for name in ("dev", "test")}
    labels = {name: exact(teacher, replace(splits, dev=part)).argmax(1) for name, part in judged.items()}
    splits = replace(splits, **{name: replace(part, targets=labels[name]) for name, part in judged.items()})
    harsh = {"granularity": "per-tensor", "calibration": "min-max"}
    quality = {}
    for scheme, settings in {"static": {}, "qat": {"epochs": 10, "learning_rate": 5e-4, "batch_tokens": 256}}.items():
        made = quantized(teacher, step(scheme, **harsh, **settings), tmp_path / scheme, splits)
        found, _ = artefact_logits(made, tmp_path / f"{scheme}-a", replace(splits, dev=splits.test))
        quality[scheme] = float(np.mean(found.argmax(1) == splits.test.targets))
    lost = 1.0 - quality["static"]
    assert lost > 0.01, "the case must cost something"
    assert quality["qat"] - quality["static"] >= lost / 2


@needs_8_bits
def test_training_in_int8_loses_nothing_against_calibration(tmp_path: Path) -> None:
    """Per tensor and min-max, one large weight leaves the others a few integers. Whatever training gives, the best epoch is kept, the
    calibrated start included, in the artefact too."""
    teacher = tiny_bert(layers=2, hidden=64)
    student = make_student(None, teacher, SPLITS.train, 0)
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if name.endswith("dense.weight") and "encoder" in name:
                parameter[0, 0] = 12.0  # eighty standard deviations
    teacher = Checkpoint(copy.deepcopy(student.model), student.tokenizer, student.task)
    splits = replace(SPLITS, dev=replace(SPLITS.dev, targets=exact(teacher).argmax(1)))
    harsh = {"granularity": "per-tensor", "calibration": "min-max"}
    quality = {}
    for scheme, settings in {"static": {}, "qat": {"epochs": 20, "learning_rate": 1e-3}}.items():
        made = make_method(step(scheme, **harsh, **settings), "test").apply(
            Checkpoint(copy.deepcopy(student.model), student.tokenizer, student.task), tiny_context(teacher, splits, tmp_path / scheme)
        )
        found, _ = artefact_logits(replace(made, steps=(step(scheme, **harsh),)), tmp_path / f"{scheme}-a", splits)
        quality[scheme] = float(np.mean(found.argmax(1) == splits.dev.targets))
    assert quality["static"] < 0.99, "the case must cost something"
    assert quality["qat"] >= quality["static"] - 0.005  # one row of 200


def test_a_checkpoint_made_elsewhere_is_quantized_on_the_way_out(tmp_path: Path) -> None:
    checkpoint = tiny_bert(layers=1)
    made = as_exported(checkpoint, {"scheme": "static"}, SPLITS.train, Silent())
    _, manifest = artefact_logits(made, tmp_path / "a")
    assert manifest["quantisation"]["scheme"] == "static" and manifest["parity"]["float_matmuls"] == 0
    for again, settings, texts, message in (
        (made, {"scheme": "dynamic"}, None, "quantized already"),
        (tiny_bert(layers=1), {"scheme": "qat"}, SPLITS.train, "int8-qat"),
        (tiny_bert(layers=1), {"scheme": "static"}, None, "--data"),
        (tiny_bert(layers=1), {"scheme": "static", "bits": 4}, None, "weight-only"),
    ):
        with pytest.raises(UserError, match=message):
            as_exported(again, settings, texts, Silent())
