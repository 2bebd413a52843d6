"""A teacher of images: from a config with random weights, into a folder that transformers opens."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from picture_data import LABELS, split_folder

from imbik.cli.app import main
from imbik.data.load import load_data
from imbik.errors import UserError
from imbik.finetune.classifier import finetune
from imbik.images.processor import ImageProcessor
from imbik.jobs.progress import Silent
from imbik.models.checkpoint import save_checkpoint
from imbik.models.pretrained import load_base, load_checkpoint
from imbik.testing.tiny_images import config_folder, tiny_image_model
from imbik.training.images.views import Views, parse_views, viewed
from imbik.training.settings import Training

TASK = "image-classification"
QUICK = Training(epochs=8, learning_rate=3e-3, batch_tokens=128)


def read(folder):
    return load_data(folder, task=TASK, say=lambda line: None)


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_random_weights_become_a_teacher_that_transformers_opens(family, tmp_path):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    data, said = read(split_folder(tmp_path / "data", train=16)), []
    base = config_folder(tmp_path / "base", family, LABELS)
    result = finetune(base, data, tmp_path / "teacher", settings=QUICK, progress=Silent(), say=said.append)
    assert sum("random weights" in line for line in said) == 1
    assert result.checkpoint.notes[0].kind == "random_weights"
    assert result.test > 0.6, "colors can be told apart"
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "teacher").eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path / "teacher")
    images = [data.test.texts[row] for row in range(len(data.test))]
    from io import BytesIO

    from PIL import Image

    opened = [Image.open(BytesIO(image)).convert("RGB") for image in images]
    with torch.inference_mode():
        answers = model(**processor(opened, return_tensors="pt")).logits.argmax(-1).numpy()
    assert np.mean(answers == data.test.targets) == pytest.approx(result.test)
    assert model.config.id2label == dict(enumerate(LABELS))
    again = finetune(base, data, tmp_path / "teacher", settings=QUICK, progress=Silent(), say=said.append)
    assert "finished earlier" in said[-1] and again.test == result.test


def test_a_pretrained_base_starts_from_its_best_linear_head(tmp_path):
    data, said = read(split_folder(tmp_path / "data", train=16)), []
    save_checkpoint(tiny_image_model("resnet", ("x", "y")), tmp_path / "base")
    finetune(tmp_path / "base", data, tmp_path / "teacher", settings=QUICK, progress=Silent(), say=said.append)
    assert any("linear head" in line for line in said) and not any("random weights" in line for line in said)


def test_bases_that_say_too_little_are_refused(tmp_path):
    base = config_folder(tmp_path / "base", "resnet", LABELS)
    (base / "preprocessor_config.json").unlink()
    config = json.loads((base / "config.json").read_text("utf-8"))
    del config["image_size"]  # which networks of convolutions do not have
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match=r"does not say how images are prepared.*preprocessor_config\.json"):
        load_base(base, TASK, LABELS)
    vit = config_folder(tmp_path / "vit", "vit", LABELS)
    (vit / "preprocessor_config.json").unlink()
    assert load_base(vit, TASK, LABELS).tokenizer == ImageProcessor.plain(16, 16)  # its config says its size
    ImageProcessor.plain(24, 24).save_pretrained(vit)
    with pytest.raises(UserError, match="cannot read images of the size"):
        load_base(vit, TASK, LABELS)


def test_a_teacher_needs_its_processor(tmp_path):
    save_checkpoint(tiny_image_model("vit", LABELS), tmp_path / "a")
    assert load_checkpoint(tmp_path / "a").task == TASK
    (tmp_path / "a" / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="does not say how images are prepared"):
        load_checkpoint(tmp_path / "a")


def test_a_processor_that_transformers_follows_otherwise_is_refused(tmp_path, monkeypatch):
    save_checkpoint(tiny_image_model("vit", LABELS), tmp_path / "a")
    monkeypatch.setattr(ImageProcessor, "affine", lambda self: (np.full(3, 1 / 255, np.float32), np.zeros(3, np.float32)))
    with pytest.raises(UserError, match="otherwise than imbik's runtime"):
        load_checkpoint(tmp_path / "a")


def test_views_move_mirror_and_mix():
    torch.manual_seed(0)
    images = torch.arange(2 * 3 * 6 * 8, dtype=torch.float32).reshape(2, 3, 6, 8)
    assert torch.equal(viewed(images, Views(0.0, flip=False, mix=0.0)), images)
    for _ in range(20):
        mirrored = viewed(images, Views(0.0, flip=True, mix=0.0))
        assert all(torch.equal(one, image) or torch.equal(one, image.flip(-1)) for one, image in zip(mirrored, images, strict=True))
        moved = viewed(images, Views(0.25, flip=False, mix=0.0))
        # NumPy's reflection is the reference: every view is a window of the padded image
        for one, image in zip(moved, images, strict=True):
            padded = np.pad(image.numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
            windows = [padded[:, y : y + 6, x : x + 8] for y in range(5) for x in range(5)]
            assert any(np.array_equal(one.numpy(), window) for window in windows)
    mixed = viewed(images, Views(0.0, flip=False, mix=1.0))
    assert mixed.shape == images.shape and float(mixed.mean()) == pytest.approx(float(images.mean()), rel=0.6)


def test_views_are_named():
    assert parse_views("none") is None and parse_views(None).mix == 0.0
    assert parse_views("crop").flip is False and parse_views("flip").crop == 0.0
    with pytest.raises(UserError, match="unknown views"):
        parse_views("rotate")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return int(done.value.code or 0)


def test_the_command_line(tmp_path, capsys):
    data, base = split_folder(tmp_path / "data"), config_folder(tmp_path / "base", "vit", LABELS)
    arguments = ["finetune", "--base", base, "--task", TASK, "--data", data, "--out", tmp_path / "out"]
    assert run(*arguments, "--epochs", "1", "--views", "flip", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metric"] == "accuracy"
    assert run(*arguments, "--max-length", "8") == 2
    assert "no tokens to cut" in capsys.readouterr().err
    (data / "train" / "red" / "0.png").write_bytes(b"broken")
    assert run(*arguments, "--epochs", "1") == 2
    assert "0.png: not an image" in capsys.readouterr().err
