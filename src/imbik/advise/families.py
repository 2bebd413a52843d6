"""Which of the study's three models a candidate is: told by what it is and how it was made, never by its recipe's name alone."""

from __future__ import annotations

from imbik.measure.measurement import Measurement

DISTILBERT, MOBILEBERT, TINYBERT = "distilbert", "mobilebert", "tinybert"

_TINYBERT_SHAPE = (4, 312, 12)
"""Layers, width and heads of the published small TinyBERT, which is a plain BERT otherwise."""


def family_of(m: Measurement) -> str | None:
    """Return the family of a candidate, None where it is of none of the three.

    The published architecture decides where there is one (MobileBERT's, DistilBERT's, the 4 × 312 TinyBERT); a plain BERT of another
    shape belongs to the paper whose losses taught it.
    """
    shape = m.architecture
    if shape is not None and shape.family == "mobilebert":
        return MOBILEBERT
    methods = {method for step in m.steps for method in step}
    if TINYBERT in methods or (shape is not None and (shape.layers, shape.hidden, shape.heads) == _TINYBERT_SHAPE):
        return TINYBERT
    return DISTILBERT if DISTILBERT in methods or (shape is not None and shape.family == "distilbert") else None


def in_family(m: Measurement, family: str) -> bool:
    """Return whether a candidate is of a family that a scenario names.

    Args:
        family: ``distilbert``, ``mobilebert`` or ``tinybert``, with or without a size (``tinybert-4l-312``); any other is the first part
            of a recipe's name, as a scenario of one's own may have it.
    """
    known = next((name for name in (DISTILBERT, MOBILEBERT, TINYBERT) if family == name or family.startswith(f"{name}-")), None)
    if known is not None:
        return family_of(m) == known
    return m.name == family or m.name.startswith((f"{family}+", f"{family}-"))
