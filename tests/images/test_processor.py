"""Images as a network reads them, against transformers' own processors."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.images.processor import ImageProcessor

SIZES = [(33, 47), (47, 33), (32, 32), (200, 120), (16, 300), (9, 9)]


def pictures(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    # smooth ones beside noise: resampling differs most where neighbors do
    found = []
    for number, (height, width) in enumerate(SIZES):
        noise = random.integers(0, 256, (height, width, 3))
        ramp = np.linspace(0, 255, height * width).reshape(height, width, 1).repeat(3, axis=2)
        found.append(np.asarray(noise if number % 2 else ramp, np.uint8))
    return found


CASES = [
    ("vit", "ViTImageProcessor", {"size": {"height": 30, "width": 20}}),
    ("vit", "ViTImageProcessor", {"size": {"height": 48, "width": 48}, "resample": 3}),
    ("vit", "ViTImageProcessor", {"size": {"height": 24, "width": 24}, "resample": 0, "do_normalize": False}),
    ("vit", "ViTImageProcessor", {"size": {"height": 24, "width": 24}, "do_rescale": False, "do_normalize": False}),
    ("vit", "ViTImageProcessor", {"size": {"height": 24, "width": 24}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.1]}),
    ("deit", "DeiTImageProcessor", {"size": {"height": 36, "width": 36}, "crop_size": {"height": 32, "width": 31}}),
    ("bit", "BitImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}),
    ("bit", "BitImageProcessor", {"size": {"shortest_edge": 24}, "crop_size": {"height": 32, "width": 33}}),
    ("convnext", "ConvNextImageProcessor", {"size": {"shortest_edge": 28}}),
    ("convnext", "ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    ("mobilenet_v2", "MobileNetV2ImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}),
    ("mobilenet_v1", "MobileNetV1ImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}),
    ("efficientnet", "EfficientNetImageProcessor", {"size": {"height": 30, "width": 30}}),
    ("efficientnet", "EfficientNetImageProcessor", {"size": {"height": 30, "width": 30}, "rescale_offset": True, "include_top": False}),
]


def of_transformers(module: str, kind: str, settings: dict):
    package = importlib.import_module(f"transformers.models.{module}.image_processing_pil_{module}")
    return getattr(package, f"{kind}Pil")(**settings)


@pytest.mark.parametrize(("module", "kind", "settings"), CASES, ids=[f"{number}-{case[1]}" for number, case in enumerate(CASES)])
def test_equal_to_the_processor_of_transformers(module, kind, settings, tmp_path):
    theirs = of_transformers(module, kind, settings)
    theirs.save_pretrained(tmp_path)
    ours = ImageProcessor.read(tmp_path / "preprocessor_config.json")
    scale, _ = ours.affine()
    for image in pictures():
        expected = np.asarray(theirs(image, return_tensors="np")["pixel_values"][0], np.float64)
        found = ours.batch([image])[0]
        assert found.shape == expected.shape == (3, ours.height, ours.width)
        # in gray levels: 1 level is the largest that may differ, and nothing does
        assert np.abs((found - expected) / scale[:, None, None]).max() < 1e-3


@pytest.mark.parametrize(("module", "kind", "settings"), CASES[::3])
def test_what_is_written_is_read_by_transformers(module, kind, settings, tmp_path):
    ours = ImageProcessor.of({"image_processor_type": kind, **settings})
    ours.save_pretrained(tmp_path)
    image = pictures()[1]
    theirs = of_transformers(module, kind, json.loads((tmp_path / "preprocessor_config.json").read_text("utf-8")))
    assert np.allclose(theirs(image, return_tensors="np")["pixel_values"], ours.batch([image]), atol=1e-5)


def test_older_files_write_a_size_as_one_number():
    square = ImageProcessor.of({"feature_extractor_type": "ViTFeatureExtractor", "size": 24})
    assert (square.height, square.width) == (24, 24)
    edge = ImageProcessor.of({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 24})
    assert edge.settings["size"] == {"shortest_edge": 24} and edge.height == 24


def test_gray_levels_have_one_channel():
    processor = ImageProcessor.plain(8, 8, channels=1)
    found = processor.batch([np.full((8, 8), 255, np.uint8), np.zeros((8, 8, 3), np.uint8)])
    assert found.shape == (2, 1, 8, 8) and found[0].max() == pytest.approx(1.0) and found[1].min() == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"image_processor_type": "OwlViTImageProcessor"}, "OwlViTImageProcessor"),
        ({"do_pad": True}, "do_pad"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std"),
        ({"size": {"height": 10_000_000, "width": 3}}, "size"),
        ({"size": "large"}, "size"),
        ({"resample": 17}, "resample"),
        ({"rescale_factor": float("nan")}, "rescale_factor"),
        ({"do_resize": "no"}, "do_resize"),
        ({"size": {"shortest_edge": 40}}, "different sizes"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(given, named):
    with pytest.raises(UserError, match=named):
        ImageProcessor.of(given)


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "preprocessor_config.json"
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        ImageProcessor.read(path)


def test_images_of_another_size_are_refused_where_nothing_resizes():
    processor = ImageProcessor.of({"do_resize": False, "size": {"height": 8, "width": 8}})
    assert processor.batch([np.zeros((8, 8, 3), np.uint8)]).shape == (1, 3, 8, 8)
    with pytest.raises(UserError, match="9 x 8 pixels"):
        processor.pixels(np.zeros((8, 9, 3), np.uint8), "a.png")


def test_an_image_counts_eight_tokens_or_one_for_each_32_by_32_pixels():
    assert ImageProcessor.plain(32, 32).model_max_length == 8
    assert ImageProcessor.plain(224, 224).model_max_length == 49
