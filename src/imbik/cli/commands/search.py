"""``imbik search``: the best model under a budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imbik.cli.checks import consoles, echo, limits_of
from imbik.cli.options import (
    DataOption,
    JsonOption,
    LangOption,
    OutOption,
    TaskColumns,
    TeachersOption,
    ThreadsOption,
    TrustOption,
    grouped,
)
from imbik.jobs.progress import progress_for
from imbik.locale.language import translated

if TYPE_CHECKING:
    from imbik.measure.values import Limits
    from imbik.search.options import Found, SearchOptions


@dataclass(frozen=True)
class SearchBudget:
    """What the winner must meet."""

    max_latency_ms: Annotated[float | None, typer.Option(help="Median time of a single request, measured or by the table.")] = None
    max_mb: Annotated[float | None, typer.Option(help="Million bytes shipped, tokenizer included.")] = None
    min_retention: Annotated[float, typer.Option(help="Share of the teacher's dev quality to keep.")] = 0.97
    minutes: Annotated[float | None, typer.Option(help="Nothing new is looked at after this time; run again to go on.")] = None

    def limits(self) -> Limits:
        """What the winner must meet.

        Raises:
            UserError: what is no limit, naming the option.
        """
        return limits_of(self.min_retention, self.max_latency_ms, self.max_mb, self.minutes)


@dataclass(frozen=True)
class SearchConduct:
    """How it is looked for."""

    levers: Annotated[
        str, typer.Option(help="all, architecture (layers, heads, widths) or settings (whole recipes: kind of student, bits and so on).")
    ] = "all"
    strategy: Annotated[str, typer.Option(help="evolution, controller (REINFORCE, as in ENAS) or random.")] = "evolution"
    evaluations: Annotated[int, typer.Option(help="Architectures that are looked at.", min=1)] = 200
    sampler: Annotated[str, typer.Option(help="Who chooses recipes: optuna or random.")] = "optuna"
    recipes: Annotated[int, typer.Option(help="Recipes that are made and measured.", min=1)] = 24
    table: Annotated[Path | None, typer.Option(help="costs.json of another search, measured on another machine: nothing is timed.")] = None
    supernet_steps: Annotated[int, typer.Option(help="Updates of the supernet.", min=1)] = 600
    vocabulary: Annotated[bool, typer.Option("--vocabulary/--no-vocabulary", help="Word pieces that the task does not use go.")] = True
    make: Annotated[bool, typer.Option("--make/--no-make", help="Distil, export and measure the winner.")] = True
    threads: ThreadsOption = None
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0
    trust_remote_code: TrustOption = False
    lang: LangOption = "en"

    def options(self, limits: Limits, minutes: float | None) -> SearchOptions:
        """Return what the job takes."""
        from imbik.search.options import SearchOptions
        from imbik.search.sandwich import Sandwich

        return SearchOptions(
            limits=limits,
            levers=self.levers,
            strategy=self.strategy,
            evaluations=self.evaluations,
            sampler=self.sampler,
            recipes=self.recipes,
            table=self.table,
            minutes=minutes,
            vocabulary=self.vocabulary,
            supernet=Sandwich(target_steps=self.supernet_steps),
            seed=self.seed,
            threads=self.threads,
            make=self.make,
            lang=self.lang,
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search)


@grouped
def search(
    *,
    teacher: TeachersOption,
    data: DataOption,
    out: OutOption,
    columns: TaskColumns,
    budget: SearchBudget,
    conduct: SearchConduct,
    as_json: JsonOption = False,
) -> None:
    """Search for the best model under a budget: layers, heads and widths by a supernet, then whole recipes, each made and measured.

    Run again, with another budget or more minutes, to go on.

    best.yaml in the output folder is the best recipe so far at any time, also after Ctrl-C; imbik compress --recipe makes it. search.html
    shows what was looked at.
    """
    # refused before anything heavy is imported
    limits = budget.limits()
    from imbik.cli.commands.compress import show
    from imbik.data.load import load_data
    from imbik.models.checkpoint import labels_of
    from imbik.models.teacher import load_teachers
    from imbik.search.run import search as run

    console, say = consoles()
    loaded = load_teachers(teacher)
    named = columns.given() | {"task": columns.task or loaded.task}
    splits = load_data(data, labels=labels_of(loaded), seed=conduct.seed, say=say, **named)
    found = run(loaded, splits, out, conduct.options(limits, budget.minutes), progress=progress_for(console, translated), say=say)
    echo(_facts(found, limits), _line(found, limits), as_json)
    if found.results is not None and not as_json:
        show(found.results, Path(out) / "run", conduct.lang)
    if found.interrupted:
        # 128 + SIGINT, as shells count: what was found so far is printed, and the search is not done
        raise typer.Exit(130)


def _facts(found: Found, limits: Limits) -> dict[str, Any]:
    """Return what --json prints."""
    from imbik.search.candidate import Candidate

    best = found.best
    counts = {"looked_at": found.looked_at, "made": found.made, "finished": found.finished}
    cost = {"retention": best.retention, "ms": best.cost.ms, "bytes": best.cost.bytes, "items_per_s": 1000 / best.cost.batch_ms}
    missed = {"over": best.violation(limits), "short": best.shortfall(limits)}
    facts = {**counts, "recipe": str(found.recipe), **missed, **cost}
    if isinstance(best, Candidate):
        return {**facts, "measured": False, **best.architecture.step()["prune"]}
    return {**facts, "measured": True, "name": best.name, "engine": best.engine, "steps": best.document["steps"]}


def _line(found: Found, limits: Limits) -> str:
    """Return what was found, for a reader."""
    from imbik.search.candidate import Candidate

    best, over = found.best, found.best.violation(limits)
    rate, size = f"{1000 / best.cost.batch_ms:,.0f} texts a second", f"{best.cost.bytes / 1e6:.1f} MB"
    missed = f"; over the limits by {over:.0%}" if over else ""
    short = f"; less than the {limits.min_retention:.1%} of --min-retention" if best.shortfall(limits) else ""
    open_ = "" if found.finished else "; not finished: run the same command again to go on"
    ending = f"{short}{missed}; recipe: {found.recipe}{open_}"
    if not isinstance(best, Candidate):
        counts = f"{found.looked_at} architectures and {found.made} recipes"
        measured = f"{best.retention:.1%} of the teacher on dev, {best.cost.ms:.3f} ms, {rate} and {size}, measured"
        return f"best of {counts}: {best.name} on {best.engine}; {measured}{ending}"
    layers = ", ".join(str(place + 1) for place in best.architecture.layers)
    shape = f"layers {layers}, heads {list(best.architecture.heads)}, units {list(best.architecture.units)}"
    cost = f"{best.cost.ms:.3f} ms, {rate} and {size} by the table"
    kept = f"as a part of the supernet {best.retention:.1%} of the teacher on dev"
    return f"best of {found.looked_at}: {shape}; {kept}, {cost}{ending}"
