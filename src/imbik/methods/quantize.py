"""Quantisation. The arithmetic is lowered where the artefact is built (:mod:`imbik.export`); here the recipe asks for it."""

from __future__ import annotations

from typing import ClassVar, Literal

from imbik.context import Context
from imbik.methods import Method, method
from imbik.types import Checkpoint


@method("quantize")
class Quantize:
    """int8 weights and activations (Jacob et al. 2018, arXiv 1712.05877: r = S(q - Z)).

    ``dynamic``: weights are quantised per output channel when the artefact is built, activations at run time from the range of each
    tensor; embedding tables per row. The PyTorch checkpoint stays float: the artefact holds the integers.

    Attributes:
        scheme: ``dynamic``.
        bits: 8.
        embeddings: whether embedding tables are stored as integers too.
    """

    lowered: ClassVar[bool] = True  # the model itself stays as it is: nothing to keep on disk

    scheme: Literal["dynamic"] = "dynamic"
    bits: Literal[8] = 8
    embeddings: bool = True

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """The checkpoint itself; its recorded step tells the exporter what to do."""
        return checkpoint

    def refuse_before(self, later: Method) -> str | None:
        """quantize is last: a later step would change weights that are integers already."""
        return f"quantize is the last step; put {later.name} before it"
