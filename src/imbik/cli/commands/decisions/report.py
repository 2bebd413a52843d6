"""``imbik report``: one file that shows what was made, measured, chosen and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from imbik.advise.profiles import split_runs
from imbik.cli.checks import check_file, check_positive, volume
from imbik.cli.options import LangOption
from imbik.errors import UserError
from imbik.measure.results import load_results
from imbik.report.render import LOADS, is_report, write_report


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("report")
    def report(
        results: Annotated[list[Path], typer.Argument(help="results.json of a run; several stand side by side.")],
        out: Annotated[Path, typer.Option(help="report.html, or report.md for a pull request.")] = Path("report.html"),
        lang: LangOption = "en",
        scenario: Annotated[list[str] | None, typer.Option("--scenario", help="Name or YAML file; repeat. Default: all.")] = None,
        device: Annotated[list[Path] | None, typer.Option("--device", help="imbik measure's file from the target device.")] = None,
        prices: Annotated[Path | None, typer.Option(help="Your price list (YAML); default: the shipped example.")] = None,
        requests_per_day: Annotated[float | None, typer.Option(help="Volume that the costs start from.", parser=volume)] = None,
        items_per_night: Annotated[float | None, typer.Option(help="Size of the nightly batch.", parser=volume)] = None,
        limit_ms: Annotated[float | None, typer.Option(help="p95 of response time, waiting included.")] = None,
        architectures: Annotated[Path | None, typer.Option(help="What imbik compare-architectures --json wrote.")] = None,
    ) -> None:
        """Write a self-contained HTML page, or Markdown."""
        if not results:
            raise UserError("no results given", where="imbik report", expected="results.json of imbik compress")
        _check_kind(out)
        check_file("--out", out, is_report)
        for name, value in (("--requests-per-day", requests_per_day), ("--items-per-night", items_per_night), ("--limit-ms", limit_ms)):
            check_positive(name, value)
        runs, devices = split_runs([load_results(p) for p in dict.fromkeys(results)], [load_results(p) for p in device or []])
        always, batch = LOADS["always-on"], LOADS["batch"]
        loads = {
            "always-on": replace(always, per_day=requests_per_day or always.per_day, limit_ms=limit_ms or always.limit_ms),
            "batch": replace(batch, per_day=items_per_night or batch.per_day),
        }
        write_report(runs, out, lang=lang, prices=prices, scenarios=scenario, loads=loads, devices=devices, architectures=architectures)
        typer.echo(str(out), err=True)


def _check_kind(out: Path) -> None:
    """Refuse a name that promises another kind of file than a report is."""
    kinds = (".html", ".htm", ".md", ".markdown")
    if out.suffix.lower() not in kinds:
        raise UserError(
            "a report is a page or Markdown", where="--out", found=out.name, expected=" or ".join(kinds), fix="name it report.html"
        )
