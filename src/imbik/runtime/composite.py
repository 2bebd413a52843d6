"""Several models behind the face of one predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imbik.runtime.manifest import complete
from imbik.runtime.predictor import Predictor
from imbik.tasks.answers.asking import check_pairs
from imbik.tasks.outputs import Outputs, only
from imbik.tasks.registry import task_of


class Composite(Predictor):
    """A predictor that asks others. Several threads may ask it at once.

    Args:
        manifest: of the artefact folder.
        models: what it asks; the first one sees every text, and tells readers of lengths and tokens.
        threads: compute threads of each.
    """

    def __init__(self, manifest: Mapping[str, Any], models: Sequence[Predictor], threads: int) -> None:
        first = models[0]
        self.manifest = complete(manifest)
        self.labels = tuple(self.manifest["labels"])
        self.task, self._task = self.manifest["task"], task_of(self.manifest["task"])
        self.pairs, self.engine, self.threads = self.manifest["pairs"], self.manifest["engine"], threads
        self.max_length, self.batch_tokens, self.length_multiple = first.max_length, first.batch_tokens, first.length_multiple
        self.session = first.session
        self.models = tuple(models)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, first: int = 0) -> list[Any]:
        """Return the first model's encodings: it sees every text."""
        return self.models[0].encode(texts, pairs, first)

    def remembered(self) -> Mapping[str, Any]:
        """Return a copy of the memory for words of every model, by its number."""
        return {str(number): model.remembered() for number, model in enumerate(self.models)}

    def remember(self, words: Mapping[str, Any]) -> None:
        """Put what :meth:`remembered` gave in the place of the memories; see :meth:`Predictor.remember`."""
        for number, model in enumerate(self.models):
            model.remember(words.get(str(number), {}))

    def read(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> None:
        """Remember the words of some texts in every model, without asking one."""
        for model in self.models:
            model.read(texts, pairs)

    def warm_up(self) -> int:
        """Warm up every model; return how many shapes were run."""
        return sum(model.warm_up() for model in self.models)


class Average(Composite):
    """The mean of several models' logits."""

    def _scores(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Outputs:
        """Return the mean logits ``(N, L)``, rows in the order of the texts."""
        check_pairs(self.pairs, pairs is not None)
        # each tokenizes by itself: members may cut texts differently
        for model in self.models:
            model.batch_tokens = self.batch_tokens
        parts = [only(model.scores(texts, pairs)) for model in self.models]
        return np.asarray(np.mean(parts, axis=0, dtype=np.float32))
