"""Image classifiers as artefacts: what they answer, from whatever an image comes, and what is refused."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from picture_data import LABELS, picture, stored
from PIL import Image

from imbik.errors import UserError
from imbik.export.artefact import export, quantized
from imbik.export.builders.registry import refusal
from imbik.export.parity import ParityError
from imbik.images.processor import ImageProcessor
from imbik.jobs.progress import Silent
from imbik.runtime.predictor import load_artefact
from imbik.tasks.classification import softmax
from imbik.testing.tiny_images import IMAGE_FAMILIES, tiny_image_model
from imbik.types import Examples

PICTURES = [np.asarray(picture(label, number, 20)) for number in range(4) for label in LABELS]


def reference(checkpoint, images) -> np.ndarray:
    """What PyTorch answers on what our processor gives, which tests/images compares with transformers'."""
    with torch.inference_mode():
        return softmax(checkpoint.model.eval()(pixel_values=torch.from_numpy(checkpoint.tokenizer.batch(images))).logits.numpy())


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    checkpoint = tiny_image_model("vit", LABELS)
    export(checkpoint, "onnx", (folder := tmp_path_factory.mktemp("vit") / "onnx"), texts=PICTURES)
    return checkpoint, folder


@pytest.mark.parametrize("family", [name for name in IMAGE_FAMILIES if name != "vit"])
def test_every_family_answers_as_pytorch(family, tmp_path):
    checkpoint = tiny_image_model(family, LABELS)
    artefact = export(checkpoint, "onnx", tmp_path / "a", texts=PICTURES)
    assert set(artefact.files) == {"README.md", "manifest.json", "model.onnx", "preprocessor_config.json"}
    found = load_artefact(tmp_path / "a", threads=1).predict(PICTURES)
    np.testing.assert_allclose(found, reference(checkpoint, PICTURES), atol=1e-4)


def test_an_image_is_answered_alike_from_wherever_it_comes(vit, tmp_path):
    checkpoint, folder = vit
    predictor = load_artefact(folder, threads=1)
    path = tmp_path / "a.png"
    path.write_bytes(stored(Image.fromarray(PICTURES[0])))
    mixed = [path, str(path), path.read_bytes(), PICTURES[0], Image.fromarray(PICTURES[0])]
    found = predictor.predict(mixed)
    np.testing.assert_allclose(found, np.repeat(reference(checkpoint, PICTURES[:1]), 5, axis=0), atol=1e-5)
    np.testing.assert_allclose(predictor.predict(np.stack(PICTURES)), reference(checkpoint, PICTURES), atol=1e-5)
    assert predictor.predict([]).shape == (0, 3)


def test_batches_of_any_size_answer_alike(vit):
    _, folder = vit
    whole = load_artefact(folder, threads=1).scores(PICTURES)
    for tokens in (1, 8, 24):
        np.testing.assert_allclose(load_artefact(folder, threads=1, batch_tokens=tokens).scores(PICTURES), whole, atol=1e-5)
    again = pickle.loads(pickle.dumps(load_artefact(folder, threads=1)))
    np.testing.assert_allclose(again.scores(PICTURES[:2]), whole[:2], atol=1e-5)


def test_it_answers_without_pytorch(vit, tmp_path):
    _, folder = vit
    (tmp_path / "a.png").write_bytes(stored(Image.fromarray(PICTURES[0])))
    code = (
        f"import sys; from imbik.runtime.predictor import load_artefact; p = load_artefact({str(folder)!r}, threads=1); "
        f"print(p.predict([{str(tmp_path / 'a.png')!r}]).shape, [m for m in ('torch', 'transformers', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(1, 3) []", done.stderr


def test_what_cannot_be_answered_is_named(vit, tmp_path):
    predictor = load_artefact(vit[1], threads=1)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.jpg: not an image"):
        predictor.predict([tmp_path / "a.jpg"])
    with pytest.raises(UserError, match="image 2: not an image"):
        predictor.predict([PICTURES[0], b"GIF"])
    with pytest.raises(UserError, match="list of images"):
        predictor.predict(str(tmp_path / "a.jpg"))
    with pytest.raises(UserError, match="pair"):
        predictor.predict(PICTURES[:1], PICTURES[:1])


def test_a_manifest_that_mixes_texts_and_images_is_refused(vit, tmp_path):
    checkpoint, _ = vit
    export(checkpoint, "onnx", tmp_path / "a", texts=PICTURES)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text("utf-8"))
    for inputs in (["input_ids"], ["pixel_values", "input_ids"], []):
        (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest | {"inputs": inputs}), encoding="utf-8")
        with pytest.raises(UserError, match="'inputs'"):
            load_artefact(tmp_path / "a")


def test_the_gate_notices_another_processor(vit, tmp_path, monkeypatch):
    checkpoint, _ = vit
    pixels = ImageProcessor.pixels

    def brighter(self, image, where=None):
        levels = pixels(self, image, where)
        return np.clip(levels.astype(int) + 3, 0, 255).astype(np.uint8)

    monkeypatch.setattr(
        "imbik.runtime.images.ImagePredictor.encode", lambda self, texts, pairs=None, first=0: [brighter(self.processor, t) for t in texts]
    )
    with pytest.raises(ParityError, match="3 gray levels apart"):
        export(checkpoint, "onnx", tmp_path / "a", texts=PICTURES)


@pytest.mark.parametrize(("family", "scheme", "share"), [("vit", "dynamic", 1.0), ("vit", "static", 0.8), ("resnet", "static", 1.0)])
def test_int8_multiplies_in_integers_and_answers_nearly_alike(family, scheme, share, tmp_path):
    checkpoint = tiny_image_model(family, LABELS)
    examples = Examples(PICTURES, None, None, "")
    lowered = quantized(checkpoint, {"scheme": scheme, "samples": 12}, examples, Silent())
    artefact = export(lowered, "onnx", tmp_path / "int8", texts=PICTURES, calibration=examples)
    graph = json.loads((tmp_path / "int8" / "manifest.json").read_text("utf-8"))["graph"]
    assert graph["int8_ops"] >= share * (graph["int8_ops"] + graph["float_matmuls"])
    found, wanted = load_artefact(tmp_path / "int8", threads=1).scores(PICTURES), np.log(reference(checkpoint, PICTURES))
    found, wanted = found - found.mean(1, keepdims=True), wanted - wanted.mean(1, keepdims=True)
    # signal to quantization noise, in dB
    assert 10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()) > 15
    assert artefact.parity["float_parent"]["items_per_s"] > 0


@pytest.mark.parametrize("family", ["resnet", "efficientnet"])
def test_openvino_answers_as_pytorch(family, tmp_path):
    pytest.importorskip("openvino")
    checkpoint = tiny_image_model(family, LABELS)
    export(checkpoint, "openvino", tmp_path / "a", texts=PICTURES)
    np.testing.assert_allclose(load_artefact(tmp_path / "a", threads=1).predict(PICTURES), reference(checkpoint, PICTURES), atol=1e-4)


@pytest.mark.parametrize("engine", ["numpy", "executorch"])
def test_engines_that_run_no_images_say_so(engine):
    assert "read images" in refusal(engine, (), "vit", task="image-classification")
    assert refusal("onnx", ({"quantize": {"scheme": "qat"}},), "vit", task="image-classification")


def test_gray_images_are_read_by_a_network_of_one_channel(tmp_path):
    checkpoint = tiny_image_model("vit", LABELS, num_channels=1)
    export(checkpoint, "onnx", tmp_path / "a", texts=PICTURES)
    found = load_artefact(tmp_path / "a", threads=1).predict([np.asarray(Image.fromarray(one).convert("L")) for one in PICTURES])
    np.testing.assert_allclose(found, reference(checkpoint, PICTURES), atol=1e-5)
    assert replace(checkpoint).tokenizer.channels == 1
