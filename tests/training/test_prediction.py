"""What a network is given of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imbik.testing.tiny_images import IMAGE_FAMILIES, tiny_image_model
from imbik.training.encoding import encode_for
from imbik.training.prediction import model_inputs, to_batch
from imbik.types import Examples


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_pixels_lie_channels_last_and_are_answered_alike(family):
    checkpoint = tiny_image_model(family)
    images = list(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8))
    data = encode_for("image-classification", Examples(images, None, None, "four"), checkpoint.tokenizer)
    batch = to_batch(data, np.arange(4))
    given = model_inputs(batch)["pixel_values"]
    assert given.is_contiguous(memory_format=torch.channels_last) and not given.is_contiguous()
    assert torch.equal(given, batch["pixel_values"])
    with torch.inference_mode():
        found, plain = (checkpoint.model(pixel_values=pixels).logits for pixels in (given, batch["pixel_values"].contiguous()))
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)


def test_what_is_no_image_stays_as_it_is():
    ids = torch.tensor([[1, 2], [3, 4]])
    assert model_inputs({"input_ids": ids, "rows": torch.arange(2)}) == {"input_ids": ids}
