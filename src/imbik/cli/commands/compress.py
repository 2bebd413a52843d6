"""``imbik compress``: the main job."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imbik.cli.checks import consoles, limits_of
from imbik.cli.options import (
    CpuOption,
    DataOption,
    EngineOption,
    JsonOption,
    LangOption,
    OutOption,
    TaskColumns,
    TeachersOption,
    ThreadsOption,
    TrackOption,
    TrustOption,
    grouped,
)
from imbik.cli.speech import table_speaker
from imbik.errors import UserError
from imbik.jobs.progress import progress_for
from imbik.locale.language import translated
from imbik.recipes.groups import STUDY
from imbik.runtime.processors import preset_for

if TYPE_CHECKING:
    from imbik.measure.results import Results
    from imbik.measure.values import Limits
    from imbik.types import Checkpoint, Splits


RecipeOption = Annotated[
    list[str] | None, typer.Option("--recipe", help="Name or YAML file; repeat for several; study: the three of the study.")
]


@dataclass(frozen=True)
class Budget:
    """What a candidate must keep, and how long new ones are begun."""

    min_retention: Annotated[float, typer.Option(help="Share of the teacher's dev quality to keep.")] = 0.97
    max_latency_ms: Annotated[float | None, typer.Option(help="p95 of a single request.")] = None
    max_mb: Annotated[float | None, typer.Option(help="Million bytes shipped, tokenizer included.")] = None
    minutes: Annotated[float | None, typer.Option(help="No new recipe starts after this time.")] = None

    def limits(self) -> Limits:
        """What the choice must meet.

        Raises:
            UserError: what is no limit, naming the option.
        """
        return limits_of(self.min_retention, self.max_latency_ms, self.max_mb, self.minutes)


@dataclass(frozen=True)
class Conduct:
    """How the work is done."""

    cpu: CpuOption = "native"
    threads: ThreadsOption = None
    seed: Annotated[int, typer.Option(help="Of the splits that are carved.", min=0)] = 0
    save_every: Annotated[float, typer.Option(help="Seconds between training states on disk.", min=0)] = 30.0
    track: TrackOption = None
    lang: LangOption = "en"
    trust_remote_code: TrustOption = False
    rivals: Annotated[
        bool,
        typer.Option("--rivals/--no-rivals", help="Measure what one would try first: tf-idf + linear SVM, frozen base + linear head."),
    ] = True

    def arguments(self) -> dict[str, Any]:
        """For :func:`imbik.compress.run.compress`.

        Raises:
            UserError: an unknown processor.
        """
        named = {name: getattr(self, name) for name in ("threads", "save_every", "lang", "rivals")}
        return {"preset": preset_for(self.cpu), **named}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compress")(compress)


@grouped
def compress(
    *,
    teacher: TeachersOption,
    data: DataOption,
    out: OutOption,
    recipe: RecipeOption = None,
    engine: EngineOption = None,
    unlabelled: Annotated[Path | None, typer.Option("--unlabelled", help="Further texts; the teacher labels them.")] = None,
    columns: TaskColumns,
    budget: Budget,
    conduct: Conduct,
    as_json: JsonOption = False,
) -> None:
    """Make small models of a teacher, measure them all the same way, choose one; run again to continue.

    results.json holds what this call names, measured side by side in one run. Artefacts of other engines from earlier calls stay in
    their folders; name all engines in one call to have them measured together: nothing is made twice.
    """
    how, limits = conduct.arguments(), budget.limits()
    from imbik.compress.run import compress as run
    from imbik.export.builders.registry import DEFAULT_ENGINES, buildable
    from imbik.training.tracking import tracking

    console, say = consoles()
    loaded, splits = _read(teacher, data, unlabelled, columns, conduct.seed, say)
    with tracking(conduct.track, out, {"teacher": " + ".join(teacher), "data": data, "recipes": recipe, **asdict(conduct)}):
        results = run(
            loaded,
            splits,
            out,
            recipes=recipe or (),
            engines=buildable() if engine and "auto" in engine else engine or DEFAULT_ENGINES,
            limits=limits,
            minutes=budget.minutes,
            progress=progress_for(console, translated),
            say=say,
            **how,
        )
    if as_json:
        typer.echo((out / "results.json").read_text(encoding="utf-8"))
    else:
        _show_all(results, recipe or (), out, conduct.lang)
    # last: the table with the teacher and the failures is shown all the same
    _refuse_nothing(recipe, results, out)


def _show_all(results: Results, named: Sequence[str], out: Path, lang: str) -> None:
    """Table, choice and failures, and the study's cases where its recipes were asked for."""
    show(results, out, lang)
    if STUDY in named:
        from imbik.cli.commands.advise import show_cases

        show_cases(results, lang)


def _read(
    teacher: list[str], data: str, unlabelled: Path | None, columns: TaskColumns, seed: int, say: Callable[[str], None]
) -> tuple[Checkpoint, Splits]:
    """Return the teacher, and the data in the labels and the task that it brings."""
    from imbik.data.load import load_data
    from imbik.models.checkpoint import labels_of
    from imbik.models.teacher import load_teachers

    loaded = load_teachers(teacher)
    named = columns.given() | {"task": columns.task or loaded.task}
    return loaded, load_data(data, labels=labels_of(loaded), unlabelled=unlabelled, seed=seed, say=say, **named)


def _refuse_nothing(named: list[str] | None, results: Results, out: Path) -> None:
    """Where every recipe that was named failed, the call has failed too; the measured teacher stays in the folder."""
    from imbik.compress.parents import is_teacher

    made = any(not is_teacher(one.name) and not one.rival for one in results.measurements)
    if not named or made or any(failure.get("skipped") for failure in results.failures):
        return
    told = "; ".join(f"{failure.get('name')}: {failure['error']}" for failure in results.failures)
    raise UserError("no recipe could be made", where=out, found=told, fix="fix the recipe and run the same command again")


def show(results: Results, out: Path, lang: str) -> None:
    """Table, choice, failures and where everything lies, on stdout."""
    from imbik.locale.phrases import Phrases
    from imbik.report.terminal import caution_line, choice_line, results_table

    console = table_speaker()
    console.print(results_table(results, lang))
    console.print(choice_line(results, lang), markup=False)
    if caution := caution_line(results, lang):
        console.print(caution, markup=False)
    if results.choice is not None and (chosen := results.get(results.choice.id)) is not None:
        folder = out / chosen.name / "artefacts" / chosen.engine
        if folder.is_dir():
            about = "ask_image" if results.of_images else "ask"
            console.print(Phrases(lang)(f"terminal.{about}", folder=shlex.quote(str(folder))), markup=False, soft_wrap=True)
    for failure in results.failures:
        console.print(f"{failure.get('name', failure.get('id'))}: {translated(failure['error'])}", markup=False)
    console.print(f"{out / 'results.json'}  {out / 'report.html'}", markup=False, soft_wrap=True)
