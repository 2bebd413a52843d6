"""``imbik measure``: what it calls the artefacts that it is given, and which of them came from which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imbik.cli.commands.measure import _id, _lines, _parent, _recipe
from imbik.measure.measurement import Measurement, Quality

DISTIL = {"distill": {"epochs": 1}}
INT8 = {"quantize": {"scheme": "dynamic"}}


def test_artefacts_are_named_by_where_compress_leaves_them(tmp_path: Path) -> None:
    kept, copied = tmp_path / "layers-1+int8" / "artefacts" / "onnx", tmp_path / "phone"
    assert (_id(kept, [kept, copied]), _recipe(kept)) == ("layers-1+int8/onnx", "layers-1+int8")
    assert (_id(copied, [kept, copied]), _recipe(copied)) == ("phone", "phone")
    twin = tmp_path / "other" / "phone"
    assert _id(copied, [copied, twin]) == str(copied)


def test_a_quantized_artefact_comes_from_the_one_with_the_same_steps_before() -> None:
    shape, wider = {"layers": 1, "hidden": 32}, {"layers": 1, "hidden": 64}
    manifests = {
        Path("wide"): {"engine": "onnx", "architecture": wider, "steps": [DISTIL]},
        Path("plain"): {"engine": "onnx", "architecture": shape, "steps": [DISTIL]},
        Path("vino"): {"engine": "openvino", "architecture": shape, "steps": [DISTIL]},
        Path("small"): {"engine": "onnx", "architecture": shape, "steps": [DISTIL, INT8]},
        Path("alone"): {"engine": "onnx", "architecture": shape, "steps": [INT8]},
    }
    assert {str(folder): _parent(folder, manifests) for folder in manifests} == {
        "wide": None, "plain": None, "vino": None, "small": "plain", "alone": None}  # fmt: skip


def test_the_speed_of_a_model_is_said_in_what_it_reads() -> None:
    measured = replace(Measurement("a/onnx", "a", "onnx"), quality=Quality(0.5, 0.4, 0.6, "accuracy", "test", 10))
    said = {images: " ".join(value for _, value in _lines(measured, images=images)) for images in (False, True)}
    assert "texts/s" in said[False] and "tokens" in said[False] and "images" not in said[False]
    assert "images/s" in said[True] and "1,000 images" in said[True] and not {"texts", "tokens"} & set(said[True].replace("/", " ").split())
