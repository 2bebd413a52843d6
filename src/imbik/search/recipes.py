"""Recipes that are really made and measured, one after the other, and the log of what came out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imbik.compress.run import compress
from imbik.jobs.fingerprints import key_of
from imbik.jobs.lines import append_line, read_lines
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import WORK_FOLDER
from imbik.measure.measurement import Measurement
from imbik.measure.quantities import dev_retention
from imbik.measure.results import Results
from imbik.measure.values import Limits
from imbik.models.teacher import Teacher
from imbik.pruning.table import Cost
from imbik.runtime.engines.registry import shown_only
from imbik.search.candidate import Made, front
from imbik.search.levers import Choices, Levers, recipe_of
from imbik.search.options import SearchOptions
from imbik.search.sampling import Told, ask
from imbik.types import Splits

_ASKED, _TRIES = 20, 400
"""Questions to the sampler in which a recipe is looked for that was not made, which it need not have; then chance is asked, before all are
taken for made."""


class Recipes:
    """The recipes of one search.

    Args:
        teacher: the model to compress.
        splits: the data.
        directory: the search's output folder; recipes are made in ``run`` inside.
        levers: what there is to choose.
        options: of the search.
        progress: where progress is shown.
        say: takes one line for the user.
    """

    def __init__(
        self,
        teacher: Teacher,
        splits: Splits,
        directory: Path,
        levers: Levers,
        options: SearchOptions,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.teacher, self.splits, self.levers, self.options = teacher, splits, levers, options
        self.progress, self.say = progress, say
        self.run = directory / "run"
        # limits, sampler and number are no part of the key: what is measured holds for all of them
        facts = {"teacher": teacher.fingerprint, "data": splits.fingerprint, "metric": splits.metric}
        key = key_of({**facts, "seed": options.seed, "threads": options.threads})
        work = directory / WORK_FOLDER / "recipes" / key
        work.mkdir(parents=True, exist_ok=True)
        self.log = work / "recipes.jsonl"
        self.entries: list[dict[str, Any]] = read_lines(self.log, _checked)
        self.interrupted = False
        """Whether the user stopped it."""

    def look(self, began: float, found: Callable[[], None]) -> bool:
        """Make and measure what is asked for; return whether all recipes were made.

        Args:
            began: when the minutes began.
            found: called after each recipe.
        """
        try:
            # what failed was looked at too
            while len(self.entries) < self.options.recipes:
                choices = self._next()
                if choices is None:
                    return True
                if self.options.minutes is not None and time.monotonic() - began > 60 * self.options.minutes:
                    return False
                self.make(self.levers.document(choices), choices)
                found()
        except KeyboardInterrupt:
            self.interrupted = True
            return False
        return True

    def make(self, document: dict[str, Any], choices: Choices | None = None) -> None:
        """Make one recipe and log what it keeps and costs; one that is logged is not made again.

        Args:
            document: the recipe.
            choices: that made it; None: it comes from elsewhere, and is nothing that a sampler learns from.
        """
        # the winner of the supernet may have been made by an earlier call
        if self.known(document):
            return
        name = str(document["name"])
        self.say(f"recipe {len(self.entries) + 1} of {max(self.options.recipes, len(self.entries) + 1)}: {name}")
        results = self._compressed([document])
        measured = [entry for one in results.measurements if one.name == name and (entry := _entry(one, results)) is not None]
        errors = "; ".join(
            str(failure["error"]) for failure in results.failures if "name" in failure and failure["name"].split("/")[0] == name
        )
        # every engine of the recipe: which of them is best depends on the budget
        entry = {"key": _key(document), "document": document, "choices": choices, "measured": measured}
        if not measured:
            entry["error"] = errors or "not measured"
        # on disk before it counts: what the sampler is told must be known after a kill
        append_line(self.log, entry)
        self.entries.append(entry)

    def candidates(self) -> list[Made]:
        """Return all that was ever measured, in the order of time; a recipe on each of its engines."""
        found = []
        for entry in self.entries:
            document = entry["document"]
            for one in entry["measured"]:
                cost = Cost(one["ms"], one["bytes"], one["batch_ms"])
                found.append(Made(str(document["name"]), one["engine"], document, one["retention"], cost))
        return found

    def side_by_side(self, best: Made | None) -> Results | None:
        """Measure the front again, all of it in one interleaved run, with its report; None where nothing was made.

        Args:
            best: what ``best.yaml`` makes: measured too, and marked as the choice.
        """
        names = dict.fromkeys(one.name for one in (*front(self.candidates()), *([best] if best else [])))
        documents = {str(entry["document"]["name"]): entry["document"] for entry in self.entries}
        chosen = None if best is None else f"{best.name}/{best.engine}"
        return self._compressed([documents[name] for name in names], self.options.limits, chosen) if names else None

    def _next(self) -> Choices | None:
        """Return what to make next; None where everything there is was made."""
        for start in self.levers.starts():
            if not self.known(self.levers.document(start)):
                return start
        # in the order of the log, which is that in which an undisturbed search would have told them
        told = [told for entry in self.entries if (told := _told(entry)) is not None]
        for attempt in range(_TRIES):
            sampler = self.options.sampler if attempt < _ASKED else "random"
            choices = ask(sampler, self.levers, told, (self.options.seed, len(self.entries), attempt))
            if not self.known(self.levers.document(choices)):
                return choices
        return None

    def known(self, document: dict[str, Any]) -> bool:
        """Return whether a recipe was made, or failed."""
        return any(entry["key"] == _key(document) for entry in self.entries)

    def _compressed(self, documents: list[dict[str, Any]], limits: Limits | None = None, searched: str | None = None) -> Results:
        """Make and measure recipes with ``imbik compress``.

        What is made is the same whatever the budget: quantized artefacts keep the share of quality that compress keeps unless told.
        """
        return compress(
            self.teacher,
            self.splits,
            self.run,
            recipes=[recipe_of(document, str(document["name"])) for document in documents],
            limits=limits or Limits(),
            searched=searched,
            threads=self.options.threads,
            save_every=self.options.save_every,
            lang=self.options.lang,
            progress=self.progress,
            say=self.say,
        )


def _key(document: dict[str, Any]) -> str:
    return key_of({name: value for name, value in document.items() if name != "name"})


def _checked(entry: Any) -> dict[str, Any]:
    """Return a line of the log.

    Raises:
        ValueError: imbik did not write it so.
    """
    document, choices, measured = entry["document"], entry["choices"], entry["measured"]
    costs = [one[name] for one in measured for name in ("ms", "bytes", "batch_ms")]
    numbers = [*costs, *(one["retention"] for one in measured)]
    whole = all(type(value) in (int, float) and math.isfinite(value) for value in numbers) and all(value > 0 for value in costs)
    named = isinstance(document["name"], str) and all(isinstance(one["engine"], str) for one in measured)
    told = choices is None or isinstance(choices["kind"], str)
    if not (whole and named and told and isinstance(document["steps"], list) and entry["key"] == _key(document)):
        raise ValueError("numbers, names or the key are not those of a recipe that was measured")
    if not measured and not isinstance(entry["error"], str):
        raise ValueError("neither a measurement nor an error")
    return dict(entry)


def _entry(one: Measurement, results: Results) -> dict[str, Any] | None:
    """Return what is logged of a measurement; None where a number is missing or nothing runs on its engine but for show."""
    baseline = results.get(results.baseline)
    kept = dev_retention(one, baseline) if baseline is not None else None
    ms, rate = one.latency_ms.p50, one.throughput.items_per_s
    if kept is None or not ms or not rate or not one.bytes or shown_only(one.engine):
        return None
    return {"engine": one.engine, "retention": kept, "ms": ms, "bytes": one.bytes, "batch_ms": 1000 / rate}


def _told(entry: dict[str, Any]) -> Told | None:
    """Return what a sampler is told of a recipe: its fastest engine."""
    # what failed has no figures, and what the supernet chose no choices
    if not entry["measured"] or not entry["choices"]:
        return None
    best = min(entry["measured"], key=lambda one: one["ms"])
    return Told(entry["choices"], best["retention"], best["ms"], best["bytes"])
