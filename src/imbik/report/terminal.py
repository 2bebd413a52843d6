"""A run as a table on the terminal: one line a candidate, the Pareto front and the choice marked."""

from __future__ import annotations

from rich.table import Table

from imbik.advise.choice import slowed_down
from imbik.locale.phrases import Phrases
from imbik.measure.measurement import Measurement
from imbik.measure.quantities import least_steady
from imbik.measure.results import Results
from imbik.report.columns import COLUMNS, TERMINAL


def results_table(results: Results, lang: str = "en") -> Table:
    """Return the candidates in the order they were measured; ``●`` on the Pareto front (quality, latency, size), ``►`` the choice."""
    texts = Phrases(lang, images=results.of_images)
    base = results.get(results.baseline)
    metric = results.data.metric or next((m.quality.metric for m in results.measurements if m.quality.metric), "quality")
    title = texts("terminal.title", source=results.data.source or "", metric=metric)
    if base is not None:
        title += texts("terminal.against", baseline=base.id)
    table = Table(title=title)
    captions = [texts("terminal.front")]
    if any(m.rival for m in results.measurements):
        captions.append(texts("terminal.rival"))
    if any(slowed_down(m, results.measurements) for m in results.measurements):
        captions.append(texts("terminal.slower"))
    table.caption = "\n".join(captions) or None
    table.add_column("")
    table.add_column(texts("terminal.candidate"), no_wrap=True)
    for heading in (metric, *(texts(f"terminal.{key}") for key in ("interval", *TERMINAL))):
        table.add_column(heading, justify="right", no_wrap=True)
    for m in results.measurements:
        shown = [COLUMNS[key].plain(m, base) for key in TERMINAL]
        table.add_row(_mark(m, results), m.id, COLUMNS["quality"].plain(m, base), _interval(m), *shown)
    return table


def _mark(m: Measurement, results: Results) -> str:
    chosen = results.choice is not None and results.choice.id == m.id
    mark = ("►" if chosen else " ") + ("●" if m.id in results.pareto else " ")
    return mark + ("◇" if m.rival else "") + ("▼" if slowed_down(m, results.measurements) else "")


def _interval(m: Measurement) -> str:
    low, high = ("–" if end is None else f"{end:.3f}" for end in (m.quality.low, m.quality.high))
    return f"{low}–{high}"


def caution_line(results: Results, lang: str = "en") -> str | None:
    """Return what is said where the rounds of a candidate disagree, or None where the timings are steady."""
    worst = least_steady(results.measurements)
    if worst is None:
        return None
    texts = Phrases(lang)
    return texts("caution.unsteady", id=worst.id, ratio=texts.unit(worst.throughput.unsteadiness or 0.0, "times"))


def choice_line(results: Results, lang: str = "en") -> str:
    """Return the choice and its reason in one line; a choice of schema 1 gives its reason in English."""
    texts, choice = Phrases(lang, images=results.of_images), results.choice
    if choice is None:
        return texts("terminal.choice", id=texts("terminal.no_choice"), why="")
    why = " ".join(texts.note(reason) for reason in choice.reasons) or choice.why
    line = texts("terminal.choice", id=choice.id or texts("terminal.no_choice"), why=why)
    # said only where it is another candidate
    batch = choice.batch
    if batch and batch.id != choice.id and batch.items_per_s:
        line += " " + texts("terminal.batch", id=batch.id, rate=texts.number(batch.items_per_s))
    return line
