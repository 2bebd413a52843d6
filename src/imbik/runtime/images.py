"""A predictor of images: decode, resize, batch, run, put back in order. NumPy and Pillow prepare what the network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.data.batches import token_batches
from imbik.errors import UserError
from imbik.images.named import NamedImages
from imbik.images.processor import ImageProcessor
from imbik.images.settings import PIXELS
from imbik.images.store import ImageStore
from imbik.runtime.given import cannot_answer, sequence_of
from imbik.runtime.text_predictor import Predictor
from imbik.tasks.answers.asking import check_pairs
from imbik.tasks.outputs import Collector, Outputs


class ImagePredictor(Predictor):
    """A model that answers images: paths, the bytes of files, arrays ``(H, W, 3)`` of 8-bit gray levels, Pillow images, mixed as they come.

    Attributes:
        processor: prepares them.
    """

    processor: ImageProcessor

    def _reader(self, tokenizer: Any, manifest: Mapping[str, Any]) -> Any:
        self.processor = tokenizer
        return tokenizer

    def _checked_rows(self, texts: Any, pairs: Any) -> tuple[Sequence[Any], None]:
        """Return the images as a sequence; an array ``(N, H, W, C)`` is N images."""
        check_pairs(False, pairs is not None)
        # an array of four dimensions is a batch, not a table
        return (list(texts) if isinstance(texts, np.ndarray) else sequence_of(texts, "images")), None

    def _scores(self, texts: Sequence[Any], pairs: Sequence[Any] | None) -> Outputs:
        out = Collector(len(texts), self._task.outputs, len(self.labels))
        for rows in token_batches(self.lengths(texts), self.batch_tokens):
            # prepared batch by batch: pixels take far more memory than the files that they come from
            images = [texts[int(row)] for row in rows]
            names = [_called(texts, image, int(row)) for row, image in zip(rows, images, strict=True)]
            out.put(rows, self._run_pixels(self.processor.batch(images, names)))
        return out.result()

    def lengths(self, texts: Sequence[Any], pairs: Sequence[Any] | None = None) -> list[int]:
        """Return what each image counts in a budget of tokens: all alike."""
        return [self.processor.model_max_length] * len(texts)

    def encode(self, texts: Sequence[Any], pairs: Sequence[Any] | None = None, first: int = 0) -> list[Any]:
        """Return the gray levels that the network reads of each image, ``(H, W, C)``."""
        return [self.processor.pixels(image, _called(texts, image, row, first)) for row, image in enumerate(texts)]

    def readable(self, texts: Sequence[Any]) -> list[int]:
        """Return the rows whose images can be read."""
        found = []
        for row, image in enumerate(texts):
            with suppress(UserError):
                self.processor.pixels(image)
                found.append(row)
        return found

    def remembered(self) -> Mapping[str, Any]:
        """Return nothing: an image that was seen before is as much work as any other."""
        return {}

    def remember(self, words: Mapping[str, Any]) -> None:
        """Do nothing; see :meth:`remembered`."""

    def read(self, texts: Sequence[Any], pairs: Sequence[Any] | None = None) -> None:
        """Do nothing; see :meth:`remembered`."""

    def warm_up(self) -> int:
        """Run one image; return 1, the number of shapes."""
        # all images have one size: there is one shape to prepare
        processor = self.processor
        self._run_pixels(np.zeros((1, processor.channels, processor.height, processor.width), np.float32))
        return 1

    def _run_pixels(self, pixels: NDArray[np.float32]) -> Outputs:
        """Ask the session for the outputs of ``(B, C, H, W)``."""
        try:
            outputs = self.session.compute({PIXELS: pixels})
        except Exception as error:
            raise cannot_answer(self.engine, error) from error
        return self._checked(outputs, (len(pixels), 1))


def _called(images: Sequence[Any], image: object, row: int, first: int = 0) -> str | None:
    """Return what messages call an image: its name where there are names, None for its path, else its number."""
    if isinstance(images, (NamedImages, ImageStore)):
        return images.name(row)
    return None if isinstance(image, str) or hasattr(image, "__fspath__") else f"image {first + row + 1}"
