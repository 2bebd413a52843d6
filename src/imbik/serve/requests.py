"""Bodies of requests: what may be asked, checked before a model sees it.

The shapes are those of text-embeddings-inference's ``/predict``, so that its clients work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imbik.images.named import NamedImages
from imbik.serve.refusals import Refusal, invalid
from imbik.serve.settings import Limits

Body = TypeVar("Body", bound=BaseModel)

_Some = Annotated[list[str], Field(min_length=1, max_length=2)]


class PredictRequest(BaseModel):
    """A text, a pair ``[first, second]``, or a batch ``[[text], [first, second], …]``."""

    model_config = ConfigDict(strict=True, extra="ignore")

    inputs: str | _Some | Annotated[list[_Some], Field(min_length=1)]
    truncate: bool | None = None
    """False: a text that is longer than the model is refused instead of cut."""
    raw_scores: bool = False
    """Whether the model's own numbers are wanted, not probabilities."""
    top: int | None = Field(default=None, ge=1)
    """At most so many labels of each text; None: all. (Not in text-embeddings-inference.)"""


class Prediction(BaseModel):
    """A label of one text, and its probability (or value)."""

    score: float
    label: str


class ErrorAnswer(BaseModel):
    """Why there is no answer."""

    error: str
    error_type: str


@dataclass(frozen=True)
class Asked:
    """A request in the form that a model takes.

    Attributes:
        texts: N texts.
        pairs: their N second texts, or None.
        batch: whether the client wrote a list of texts, and gets a list of answers.
        raw: whether the model's own numbers are wanted.
        top: labels of each text, at most.
        whole: whether a text that is longer than the model is to be refused.
        images: N images, where it asks for those; texts are then their names.
    """

    texts: list[str]
    pairs: list[str] | None
    batch: bool
    raw: bool
    top: int | None
    whole: bool
    images: NamedImages | None = None

    @property
    def rows(self) -> Sequence[Any]:
        """What a model is given."""
        return self.texts if self.images is None else self.images


def read_as(kind: type[Body], body: bytes, texts: str, expected: str) -> Body:
    """Return a body as a request of some kind.

    Args:
        kind: what it must be.
        body: JSON.
        texts: the field that holds the texts.
        expected: what may stand there, for the message.

    Raises:
        Refusal: 400 for what is not JSON, 422 for another shape.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _fault_of(error, texts, expected) from None


def read_predict(body: bytes, limits: Limits) -> Asked:
    """Return what a body of ``/predict`` asks for.

    Raises:
        Refusal: 400 for what is not JSON, 422 for another shape or a request over the limits.
    """
    asked = read_as(PredictRequest, body, "inputs", '"inputs": a text, a pair ["first", "second"], or a batch [["text"], ["text"], ...]')
    rows = _rows(asked.inputs)
    check_size(rows, limits)
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise invalid("a batch holds texts or pairs, not both")
    texts = [row[0] for row in rows]
    pairs = [row[1] for row in rows] if widths == {2} else None
    batch = isinstance(asked.inputs, list) and isinstance(asked.inputs[0], list)
    return Asked(texts, pairs, batch, asked.raw_scores, asked.top, asked.truncate is False)


def check_size(rows: list[list[str]], limits: Limits) -> None:
    """Refuse more texts, or longer ones, than one request may hold.

    Args:
        rows: one text of each row, or two.
        limits: of the server.

    Raises:
        Refusal: 422.
    """
    check_count(len(rows), limits, "texts")
    for number, row in enumerate(rows, 1):
        if sum(map(len, row)) > limits.characters:
            raise invalid(f"text {number} has {sum(map(len, row))} characters; at most {limits.characters}")


def check_count(count: int, limits: Limits, what: str) -> None:
    """Refuse more rows than one request may hold.

    Args:
        count: of them.
        limits: of the server.
        what: they are, texts or images.

    Raises:
        Refusal: 422.
    """
    if count > limits.texts:
        raise invalid(f"{count} {what} in one request; at most {limits.texts}")


def check_reads(images: bool, asked: Asked) -> None:
    """Refuse texts for a model that reads images, and the other way round.

    Raises:
        Refusal: 422.
    """
    if images != (asked.images is not None):
        raise invalid("the model reads images; send one to /predict" if images else "the model reads texts, not images")


def check_kind(trained_on_pairs: bool | None, asked: Asked) -> None:
    """Refuse pairs for a model of single texts, and the other way round.

    Raises:
        Refusal: 422, saying how several texts are written where that may have been meant.
    """
    if trained_on_pairs is None or trained_on_pairs == (asked.pairs is not None):
        return
    if trained_on_pairs:
        raise invalid('the model answers pairs of texts; write "inputs": ["first", "second"], or [["first", "second"], ...]')
    raise invalid('the model answers single texts, and ["a", "b"] is a pair; for several texts write "inputs": [["a"], ["b"], ...]')


def timeout_of(header: str | None, limits: Limits) -> float:
    """Return how many seconds a request may take, by its ``X-Timeout-Ms`` and the server's own limit.

    Raises:
        Refusal: 422, the header is no number above 0.
    """
    if header is None:
        return limits.timeout_s
    try:
        asked = float(header)
    except ValueError:
        asked = math.nan
    if not asked > 0:
        raise invalid(f"X-Timeout-Ms: milliseconds, above 0; found {header[:40]!r}")
    return min(asked / 1000, limits.timeout_s)


def _rows(inputs: str | list[str] | list[list[str]]) -> list[list[str]]:
    if isinstance(inputs, str):
        return [[inputs]]
    return [row for row in inputs if isinstance(row, list)] or [[text for text in inputs if isinstance(text, str)]]


def _fault_of(error: ValidationError, texts: str, expected: str) -> Refusal:
    """Return the refusal for what pydantic found, in one sentence of the first fault and without the client's text.

    Args:
        error: what was found.
        texts: the field that holds the texts, whose own faults say less than
        expected: what may stand there.
    """
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    if any(fault["type"] == "json_invalid" for fault in faults):
        return Refusal(400, "validation", f"the body is not valid JSON: {faults[0]['msg'].removeprefix('Invalid JSON: ')}")
    if any(fault["loc"][:1] == (texts,) for fault in faults):
        return invalid(expected)
    where = ".".join(str(part) for part in faults[0]["loc"]) or "the body"
    return invalid(f"{where}: {faults[0]['msg']}")
