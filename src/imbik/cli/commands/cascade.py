"""``imbik cascade``: candidates of a run behind one another, each answering what it is sure of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imbik.cli.checks import check_positive, check_share, consoles
from imbik.cli.options import DataOption, JsonOption, LabelledColumns, LangOption, OutOption, ThreadsOption, grouped
from imbik.cli.speech import table_speaker
from imbik.errors import UserError
from imbik.jobs.progress import progress_for
from imbik.locale.language import translated

if TYPE_CHECKING:
    from imbik.cascade.policy import Target
    from imbik.cascade.run import Abstain
    from imbik.measure.results import Results
    from imbik.types import Splits


@dataclass(frozen=True)
class Aim:
    """What the thresholds are chosen for."""

    target: Annotated[
        float | None, typer.Option(help="Share of the teacher's right answers on dev to keep, as cheaply as possible (default: 0.99).")
    ] = None
    max_cost: Annotated[
        float | None, typer.Option(help="Instead: processor time, as a share of the last stage's, to use as well as possible.")
    ] = None

    def asked(self) -> Target:
        """What is asked of a cascade.

        Raises:
            UserError: two targets, or one that makes no sense.
        """
        from imbik.cascade.policy import Target

        if self.target is not None and self.max_cost is not None:
            raise UserError("one target, not two", where="imbik cascade", found="--target and --max-cost", fix="leave one of them out")
        check_positive("--max-cost", self.max_cost)
        if self.max_cost is not None:
            return Target(keep=None, cost=self.max_cost)
        share = 0.99 if self.target is None else self.target
        check_share("--target", share)
        return Target(keep=share)


@dataclass(frozen=True)
class Silence:
    """When no answer is given."""

    abstain: Annotated[float | None, typer.Option(help="Largest share of wrong answers among those given; the others are not given.")] = (
        None
    )
    abstain_label: Annotated[str, typer.Option(help="What is said instead of an answer.")] = "abstain"
    out_of_scope: Annotated[Path | None, typer.Option(help="Texts that are not of the task: how many are left unanswered.")] = None

    def asked(self) -> Abstain | None:
        """What is asked of a cascade; None: it always answers.

        Raises:
            UserError: a share that is none, or texts out of scope for a cascade that always answers.
        """
        if self.abstain is None:
            if self.out_of_scope is not None:
                raise UserError("texts out of scope are for a model that may abstain", where="--out-of-scope", fix="give --abstain too")
            return None
        if not 0 <= self.abstain < 1:
            what = "a share of wrong answers, from 0 to below 1"
            raise UserError(what, where="--abstain", found=self.abstain, expected="a number such as 0.05")
        from imbik.cascade.run import Abstain
        from imbik.data.load import load_texts

        return Abstain(self.abstain, self.abstain_label, None if self.out_of_scope is None else load_texts(self.out_of_scope))


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
    aim: Aim,
    silence: Silence,
    beside: Annotated[list[str] | None, typer.Option("--beside", help="Further candidates to measure; repeat.")] = None,
    columns: LabelledColumns,
    seed: Annotated[int, typer.Option(help="Of the splits that the run carved.", min=0)] = 0,
    threads: ThreadsOption = None,
    lang: LangOption = "en",
    as_json: JsonOption = False,
) -> None:
    """Put models of one run behind one another: what the first is not sure of, the next one answers.

    Thresholds are chosen on dev for the target, the cascade is measured on test beside each of its stages.
    """
    target, abstain = aim.asked(), silence.asked()
    from imbik.cascade.run import cascade as make
    from imbik.cascade.stages import refuse_images, sources
    from imbik.measure.predictions import load_predictions
    from imbik.measure.results import load_results

    console, say = consoles()
    results = load_results(run / "results.json")
    refuse_images(results.task)
    _check_out(out)
    splits = _splits(run, results, data, columns, seed)
    stored = run / "teacher" / "predictions.npz"
    found = make(
        sources(run, results, [name.strip() for name in stages.split(",")]),
        splits,
        out,
        target=target,
        abstain=abstain,
        beside=sources(run, results, beside or []),
        predictions=load_predictions(stored) if stored.is_file() else None,
        threads=threads,
        progress=progress_for(console, translated),
        say=say,
    )
    _publish(found, out, lang, as_json)


def _check_out(out: Path) -> None:
    """Check, before any work, that nothing of the user's stands where results are written.

    Raises:
        UserError: naming it.
    """
    from imbik.jobs.files import refuse_foreign_file
    from imbik.measure.results import is_results
    from imbik.report.render import is_report

    refuse_foreign_file(out / "results.json", is_results)
    refuse_foreign_file(out / "report.html", is_report)


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


def _publish(found: Results, out: Path, lang: str, as_json: bool) -> None:
    """Write results and report, and show them."""
    from imbik.measure.results import write_results
    from imbik.report.render import write_report
    from imbik.report.selective import selective_line
    from imbik.report.terminal import results_table

    write_results(out / "results.json", found)
    write_report([found], out / "report.html", lang=lang)
    if as_json:
        typer.echo((out / "results.json").read_text(encoding="utf-8"))
        return
    console = table_speaker()
    console.print(results_table(found, lang))
    for m in found.measurements:
        if m.selective:
            console.print(selective_line(m, lang), markup=False, soft_wrap=True)
    for failure in found.failures:
        console.print(f"{failure.get('name', failure.get('id'))}: {translated(failure['error'])}", markup=False)
    console.print(
        f"{out / 'cascade' / 'artefacts' / 'cascade'}  {out / 'results.json'}  {out / 'report.html'}", markup=False, soft_wrap=True
    )
