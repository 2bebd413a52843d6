"""Where a fit is done when one process is not enough."""

from __future__ import annotations

from typing import NamedTuple

HERE = "here"
"""In the place of an address: the workers are objects of this process, asked by turns. The same code and the same model without Ray."""


class Place(NamedTuple):
    """A cluster, and how many workers of it.

    Attributes:
        address: as ``ray.init`` takes it, ``local``, or :data:`HERE`.
        workers: None: as many as there are processors for.
    """

    address: str
    workers: int | None = None
