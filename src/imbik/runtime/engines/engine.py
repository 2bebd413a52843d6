"""What an engine says of itself, and the sessions that it opens."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from imbik.errors import EXTRAS, MissingExtra, UserError
from imbik.images.processor import ImageProcessor
from imbik.runtime.manifest import read_manifest
from imbik.runtime.ngrams import NgramTokenizer
from imbik.runtime.tokenizer_files import read_tokenizer
from imbik.tasks.outputs import Outputs
from imbik.types import Note

Ids = NDArray[Any]
"""Token ids, a mask or token types, ``(B, T)`` int64; of images ``pixel_values`` ``(B, C, H, W)`` float32."""


_ONES = np.ones((1, 4096), np.int64)


class Session(ABC):
    """A loaded model. Several threads may ask it at once; each gets the answers to its own texts.

    Attributes:
        names: the model's inputs, in its order.
    """

    names: tuple[str, ...]

    def run(self, input_ids: Ids, attention_mask: Ids, token_type_ids: Ids | None) -> Outputs:
        """Return the outputs of token ids ``(B, T)``: logits ``(B, L)``, or what the task says, several by name.

        ``token_type_ids`` may be None for a model that does not take them.
        """
        columns = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return self.compute({name: columns[name] for name in self.names})  # type: ignore[misc]  # None only where it is not named

    def run_one(self, ids: list[int], types: list[int] | None) -> Outputs:
        """Return the outputs of one text that is not padded, as :meth:`run` does of a batch of it alone.

        Args:
            ids: its token ids, at least one.
            types: their types; None: zeros, for a model that takes types.
        """
        tokens = np.array([ids], np.int64)
        kinds = None
        if "token_type_ids" in self.names:
            kinds = np.zeros_like(tokens) if types is None else np.array([types], np.int64)
        width = len(ids)
        # a part of an array that is there: to make one takes longer
        return self.run(tokens, _ONES[:, :width] if width <= _ONES.shape[1] else np.ones_like(tokens), kinds)

    @abstractmethod
    def compute(self, feed: Mapping[str, Ids]) -> Outputs:
        """Return logits ``(B, L)``, or several outputs by name, in memory of their own.

        Args:
            feed: exactly the inputs of :attr:`names`: each ``(B, T)``, right where ``attention_mask`` is 0 nothing may count; or
                ``pixel_values``.
        """

    def facts(self) -> dict[str, Any]:
        """Return what a manifest would record and only the loaded model knows (``params``, ``architecture``, ``flops``)."""
        return {}


@dataclass(frozen=True)
class Opened:
    """A folder that is ready to answer.

    Attributes:
        manifest: what the folder says of itself, or what a manifest would say of it.
        tokenizer: its tokenizer, not shared with anybody; of images what prepares them.
        session: its model.
    """

    manifest: Mapping[str, Any]
    tokenizer: Tokenizer | NgramTokenizer | ImageProcessor
    session: Session


class Engine(ABC):
    """What runs models of one kind; one object without state for each name that users know.

    Subclass :class:`ArtefactEngine` (it runs artefacts that were built for it), :class:`CheckpointEngine` (it runs plain
    transformers folders) or :class:`CompositeEngine` (it runs artefacts made of artefacts), and put
    :func:`imbik.runtime.engines.register_engine` on the class. Its module is imported to learn what engines there are, so whatever is
    heavy must be imported inside the methods.

    Attributes:
        name: what users call it, and what a manifest records.
        title: what messages call it.
        packages: what must be installed, by the names that are imported. The first brings the engine itself: its version is recorded
            in manifests, and :data:`imbik.errors.EXTRAS` says which extra installs it.
        devices: what it computes on, ``cpu`` or ``cuda``.
        standalone: whether it answers without PyTorch.
        shown_only: measured and shown for comparison, never chosen, advised or priced.
        runs_checkpoints: whether it runs plain checkpoint folders instead of artefacts.
        order: engines are listed by it, then by name.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    standalone: ClassVar[bool] = True
    shown_only: ClassVar[bool] = False
    runs_checkpoints: ClassVar[bool] = False
    order: ClassVar[int] = 100

    @property
    def extra(self) -> str | None:
        """The extra of imbik that installs it; None for an engine that no extra brings."""
        return EXTRAS.get(self.packages[0])

    def installed(self) -> bool:
        """Return whether its own package is installed."""
        return importlib.util.find_spec(self.packages[0]) is not None

    def available(self) -> bool:
        """Return whether this machine can run it: its packages and one of its devices are here."""
        return all(importlib.util.find_spec(package) is not None for package in self.packages)

    def check_installed(self) -> None:
        """Check that what it needs is installed.

        Raises:
            MissingExtra: a package is missing.
        """
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package, self.extra)

    def notes(self, manifest: Mapping[str, Any]) -> tuple[Note, ...]:
        """Return what a reader of measurements must know of this engine."""
        return ()


class SessionEngine(Engine):
    """Opens a folder as one model behind one tokenizer."""

    @abstractmethod
    def open(self, directory: Path, threads: int) -> Opened:
        """Open a folder.

        Args:
            directory: an artefact or a checkpoint folder.
            threads: compute threads.

        Raises:
            UserError: the folder is incomplete or damaged, or this machine cannot run it.
        """


class CompositeEngine(Engine):
    """Runs artefacts that hold several models, each a whole artefact for an engine of its own: they open as a predictor."""

    @abstractmethod
    def predictor(self, directory: Path, *, threads: int, batch_tokens: int | None) -> Any:
        """Open an artefact folder as an :class:`imbik.runtime.predictor.Predictor`.

        Args:
            directory: the folder.
            threads: compute threads.
            batch_tokens: tokens of a batch, padding included; None: what the artefact was made for.

        Raises:
            UserError: the folder is incomplete or damaged, or this machine cannot run it.
        """


class ArtefactEngine(SessionEngine):
    """Runs artefact folders, which were built for it (:mod:`imbik.export.builders`)."""

    @abstractmethod
    def load(self, path: Path, manifest: Mapping[str, Any], threads: int) -> Session:
        """Load the model of an artefact. Whatever error it raises becomes one message to the user.

        Args:
            path: the model's file, which is there and has the recorded size.
            manifest: the artefact's, checked.
            threads: compute threads.
        """

    def open(self, directory: Path, threads: int) -> Opened:
        """Open an artefact folder; see :meth:`SessionEngine.open`."""
        manifest = read_manifest(directory)
        session = self.session(directory / manifest["model"], manifest, threads)
        return Opened(manifest, read_tokenizer(directory / manifest["tokenizer"]), session)

    def session(self, path: Path, manifest: Mapping[str, Any], threads: int) -> Session:
        """Load the model as :meth:`load` does.

        Raises:
            UserError: it cannot be loaded, whatever the reason.
        """
        try:
            return self.load(path, manifest, threads)
        except UserError:
            raise
        except Exception as error:
            raise self._unreadable(path, manifest, error) from None

    def _unreadable(self, path: Path, manifest: Mapping[str, Any], error: Exception) -> UserError:
        written = manifest["versions"].get(self.packages[0], "?")
        try:
            installed = version(self.packages[0])
        except PackageNotFoundError:
            installed = "?"
        again = f"export it again (written for {self.packages[0]} {written}, installed: {installed})"
        return UserError(
            f"{self.title} cannot open the model",
            where=path,
            # the last line: before the reason engines name places in their own source
            found=(str(error).strip().splitlines() or [type(error).__name__])[-1][:200],
            # of the same version it is no matter of age: the engine lacks what the graph asks for
            fix=again if written != installed else "export it again; if that does not help, choose another --engine",
        )


class CheckpointEngine(SessionEngine):
    """Runs plain transformers folders: nothing is built for it."""

    runs_checkpoints = True
    standalone = False
