"""What a builder of artefacts says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from imbik.export.request import BuildRequest, quantize_step
from imbik.runtime.manifest import TOKENIZER_FILE
from imbik.types import Checkpoint, Step


@dataclass(frozen=True)
class RunCode:
    """Python that runs an artefact without imbik, in the pieces that differ from engine to engine.

    Attributes:
        packages: what ``pip install`` must bring.
        imports: import lines.
        opened: lines that open ``folder / manifest["model"]``; ``tokenizer`` is there and does not pad yet.
        answered: lines that end inside a loop over ``row``, the logits of each of ``texts``; ``columns`` maps an input's name to the
            attribute of an encoding.
        reads: lines that read the tokenizer.
    """

    packages: str
    imports: str
    opened: str
    answered: str
    reads: str = """from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(str(folder / manifest["tokenizer"]))"""


PADDED = """padding = manifest["padding"]
tokenizer.enable_padding(direction=padding["side"], pad_id=padding["id"], pad_token=padding["token"] or "")
"""
"""Lines for :attr:`RunCode.opened` of an engine that takes batches: encodings are padded to the longest."""


class EngineBuilder(ABC):
    """Makes artefacts for one engine; one object without state.

    Put :func:`imbik.export.builders.register_builder` on the subclass. Its module is imported to learn what can be built, so whatever
    is heavy must be imported inside the methods.

    Attributes:
        engine: name of the engine that runs what it builds (:class:`imbik.runtime.engines.Engine`).
        schemes: quantization schemes that it lowers (:class:`imbik.methods.quantize.Quantize`).
        code: how an artefact's README runs it without imbik.
        image_schemes: the same of networks that read images; None: it builds none of them.
        tokenizer: name, and so the form, of the tokenizer's file (:mod:`imbik.runtime.tokenizer_files`).
    """

    engine: ClassVar[str]
    tokenizer: ClassVar[str] = TOKENIZER_FILE
    image_schemes: ClassVar[tuple[str, ...] | None] = None
    schemes: ClassVar[tuple[str, ...]] = ()
    code: ClassVar[RunCode]

    @abstractmethod
    def build(self, checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
        """Write the engine's files into an existing folder.

        Args:
            checkpoint: the model; it comes back as it was.
            directory: the artefact folder to be; the tokenizer and the manifest are written by others.
            request: what is to be built.

        Returns:
            What the manifest records: ``model`` (file name), ``inputs`` (names in their order), ``quantisation`` (None, or ``scheme``
            and ``weight_bits``), ``graph`` (``int8_ops`` and ``float_matmuls``, and what else is worth knowing); where it applies
            ``shapes`` (``minimum``, ``multiple``), ``precision``, and ``operators``, the names that :attr:`BuildRequest.reverted` takes.

        Raises:
            UserError: the architecture or the settings cannot be built.
        """

    def takes(self, architecture: str | None) -> bool:
        """Return whether models of an architecture can be built.

        Args:
            architecture: ``model_type`` of the model's config; None: nobody knows it before the model is made.
        """
        return True

    def code_for(self, manifest: Mapping[str, Any]) -> RunCode:
        """Return how the README of one artefact runs it without imbik; :attr:`code` unless models differ in it."""
        return self.code

    def refusal(self, steps: Sequence[Step], *, images: bool = False) -> str | None:
        """Return why a model with these steps cannot be built, or None when it can.

        Args:
            steps: that made it.
            images: whether it reads images.
        """
        if images and self.image_schemes is None:
            return f"{self.engine} does not run models that read images"
        schemes = (self.image_schemes or ()) if images else self.schemes
        settings = quantize_step(steps)
        if settings is None or settings.get("scheme", "dynamic") in schemes:
            return None
        known = ", ".join(schemes) or "none"
        return f"{self.engine} cannot lower the quantization scheme '{settings['scheme']}' (it lowers {known})"
