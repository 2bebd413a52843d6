"""``imbik cascade``: candidates of a run behind one another, each answering what it is sure of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from imbik.cli.checks import check_positive, check_share, consoles
from imbik.cli.options import DataOption, JsonOption, LabelledColumns, LangOption, OutOption, ThreadsOption, grouped
from imbik.errors import UserError
from imbik.jobs.progress import progress_for

if TYPE_CHECKING:
    from imbik.cascade.run import Abstain
    from imbik.measure.results import Results
    from imbik.types import Splits


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cascade")(cascade)


@grouped
def cascade(
    *,
    run: Annotated[Path, typer.Argument(help="Output folder of imbik compress.")],
    stages: Annotated[str, typer.Option("--stages", help="Candidates of the run, cheapest first, behind commas: names or name/engine.")],
    data: DataOption,
    out: OutOption,
    target: Annotated[
        float | None, typer.Option("--target", help="Share of the teacher's right answers on dev to keep, as cheaply as possible.")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", help="Instead: processor time, as a share of the last stage's, to use as well as possible."),
    ] = None,
    abstain: Annotated[
        float | None, typer.Option("--abstain", help="Largest share of wrong answers among those given; the others are not given.")
    ] = None,
    abstain_label: Annotated[str, typer.Option("--abstain-label", help="What is said instead of an answer.")] = "abstain",
    out_of_scope: Annotated[
        Path | None, typer.Option("--out-of-scope", help="Texts that are not of the task: how many are left unanswered.")
    ] = None,
    beside: Annotated[list[str] | None, typer.Option("--beside", help="Further candidates to measure; repeat.")] = None,
    columns: LabelledColumns,
    seed: Annotated[int, typer.Option(help="Of the splits that the run carved.", min=0)] = 0,
    threads: ThreadsOption = None,
    lang: LangOption = "en",
    as_json: JsonOption = False,
) -> None:
    """Put models of one run behind one another: what the first is not sure of, the next one answers.

    Thresholds are chosen on dev for the target (default: keep 0.99), the cascade is measured on test beside each of its stages.
    """
    if target is not None and max_cost is not None:
        raise UserError("one target, not two", where="imbik cascade", found="--target and --max-cost", fix="leave one of them out")
    check_share("--target", 0.99 if target is None else target)
    check_positive("--max-cost", max_cost)
    from imbik.cascade.policy import Target
    from imbik.cascade.run import cascade as make
    from imbik.cascade.stages import sources
    from imbik.jobs.files import refuse_foreign_file
    from imbik.measure.predictions import load_predictions
    from imbik.measure.results import is_results, load_results, write_results
    from imbik.report.render import is_report, write_report

    console, say = consoles()
    results = load_results(run / "results.json")
    refuse_foreign_file(out / "results.json", is_results)
    refuse_foreign_file(out / "report.html", is_report)
    splits = _splits(run, results, data, columns, seed)
    chain = sources(run, results, [name.strip() for name in stages.split(",")])
    stored = run / "teacher" / "predictions.npz"
    found = make(
        chain,
        splits,
        out,
        target=Target(keep=None, cost=max_cost) if max_cost is not None else Target(keep=0.99 if target is None else target),
        abstain=_abstain(abstain, abstain_label, out_of_scope),
        beside=sources(run, results, beside or []),
        predictions=load_predictions(stored) if stored.is_file() else None,
        threads=threads,
        progress=progress_for(console),
        say=say,
    )
    write_results(out / "results.json", found)
    write_report([found], out / "report.html", lang=lang)
    _show(found, out, lang, as_json)


def _splits(run: Path, results: Results, data: str, columns: LabelledColumns, seed: int) -> Splits:
    """Return the data as the run had them.

    Raises:
        UserError: they are others, or were split otherwise.
    """
    from imbik.data.load import load_data

    names = columns.given()
    names["metric"] = names["metric"] or results.data.metric
    splits = load_data(data, labels=results.data.labels, task=results.task, seed=seed, say=lambda line: None, **names)
    if splits.fingerprint != results.data.fingerprint:
        raise UserError(
            "the data are not those of the run, or were split otherwise",
            where=data,
            found=splits.fingerprint[:12],
            expected=f"{str(results.data.fingerprint)[:12]}, of {results.data.source} ({run / 'results.json'})",
            fix="name the run's data, columns and --seed",
        )
    return splits


def _abstain(risk: float | None, label: str, outside: Path | None) -> Abstain | None:
    if risk is None:
        if outside is not None:
            raise UserError("texts out of scope are for a model that may abstain", where="--out-of-scope", fix="give --abstain too")
        return None
    if not 0 <= risk < 1:
        raise UserError("a share of wrong answers, from 0 to below 1", where="--abstain", found=risk, expected="a number such as 0.05")
    from imbik.cascade.run import Abstain
    from imbik.data.load import load_texts

    return Abstain(risk, label, None if outside is None else load_texts(outside))


def _show(found: Results, out: Path, lang: str, as_json: bool) -> None:
    from imbik.report.selective import selective_line
    from imbik.report.terminal import results_table

    if as_json:
        typer.echo((out / "results.json").read_text(encoding="utf-8"))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    console.print(results_table(found, lang))
    for m in found.measurements:
        if m.selective:
            console.print(selective_line(m, lang), markup=False, soft_wrap=True)
    for failure in found.failures:
        console.print(f"{failure.get('name', failure.get('id'))}: {failure['error']}", markup=False)
    console.print(
        f"{out / 'cascade' / 'artefacts' / 'cascade'}  {out / 'results.json'}  {out / 'report.html'}", markup=False, soft_wrap=True
    )
