"""Vectors over HTTP: what ``/embed`` of text-embeddings-inference and ``/v1/embeddings`` of OpenAI ask, and what each is answered."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imbik.serve.refusals import invalid
from imbik.serve.requests import Asked, check_size, read_as
from imbik.serve.settings import Limits
from imbik.tasks.task import Answer

_Texts = str | Annotated[list[str], Field(min_length=1)]


class EmbedRequest(BaseModel):
    """A text, or several."""

    model_config = ConfigDict(strict=True, extra="ignore")

    inputs: _Texts
    truncate: bool | None = None
    """False: a text that is longer than the model is refused instead of cut."""
    normalize: bool = True
    """Whether vectors get the length 1; false: they are as the model gives them."""


class EmbeddingsRequest(BaseModel):
    """The same in OpenAI's words."""

    model_config = ConfigDict(strict=True, extra="ignore")

    input: _Texts
    model: str | None = None
    """Which of the served models; none: the first."""
    encoding_format: Literal["float", "base64"] = "float"
    """Numbers, or base64 of float32, the lowest byte first."""


def read_embed(body: bytes, limits: Limits) -> tuple[Asked, EmbedRequest]:
    """Return what a body of ``/embed`` asks for.

    Raises:
        Refusal: 400 for what is not JSON, 422 for another shape or a request over the limits.
    """
    request = read_as(EmbedRequest, body, "inputs", '"inputs": a text, or a list of texts')
    return _asked(request.inputs, request.truncate, limits), request


def read_embeddings(body: bytes, limits: Limits) -> tuple[Asked, EmbeddingsRequest]:
    """Return what a body of ``/v1/embeddings`` asks for.

    Raises:
        Refusal: as :func:`read_embed`.
    """
    request = read_as(EmbeddingsRequest, body, "input", '"input": a text, or a list of texts')
    return _asked(request.input, None, limits), request


def _asked(texts: str | list[str], truncate: bool | None, limits: Limits) -> Asked:
    rows = [texts] if isinstance(texts, str) else texts
    check_size([[text] for text in rows], limits)
    return Asked(rows, None, batch=True, raw=False, top=None, whole=truncate is False)


def vectors_of(answers: Sequence[Answer]) -> list[list[float]]:
    """Return the vectors of a model's answers.

    Raises:
        Refusal: 422, the model gives none.
    """
    if any("vector" not in answer for answer in answers):
        raise invalid("the model gives no vectors; ask it at /predict")
    return [answer["vector"] for answer in answers]


def normalized(vectors: list[list[float]]) -> list[list[float]]:
    """Return vectors of length 1; one of zeros stays.

    >>> normalized([[3.0, 4.0], [0.0, 0.0]])
    [[0.6, 0.8], [0.0, 0.0]]
    """
    rows = np.asarray(vectors, np.float64)
    # as PyTorch: the vector of a text without a single known piece is zero, and stays
    found: list[list[float]] = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).round(8).tolist()
    return found


def as_openai(vectors: Sequence[list[float]], request: EmbeddingsRequest, model: str, tokens: int) -> dict[str, Any]:
    """Return vectors in the form of OpenAI's answer.

    Args:
        vectors: of the texts.
        request: says how numbers are written.
        model: the name of the model that answered.
        tokens: that it read.
    """
    packed = request.encoding_format == "base64"
    # OpenAI's own client asks for base64 and reads it as little-endian float32
    shown: list[Any] = [base64.b64encode(np.asarray(one, "<f4").tobytes()).decode() if packed else one for one in vectors]
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(shown)]
    return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
