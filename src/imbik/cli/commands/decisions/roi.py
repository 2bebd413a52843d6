"""``imbik roi``: what every candidate costs a year at a volume, and what it saves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from imbik.cli.checks import volume
from imbik.cli.options import JsonOption, LangOption
from imbik.cli.speech import table_speaker
from imbik.errors import UserError
from imbik.locale.phrases import Phrases
from imbik.measure.results import load_results
from imbik.roi.cost import Cost, Load, saving
from imbik.roi.cost import roi as cost_all
from imbik.roi.prices import Prices, load_prices, shipped_prices


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("roi")(roi)


def roi(
    results: Annotated[Path | None, typer.Argument(help="results.json of a run.")] = None,
    requests_per_day: Annotated[float | None, typer.Option(help="Requests a day; items a night with --mode batch.", parser=volume)] = None,
    prices: Annotated[Path | None, typer.Option(help="Your price list (YAML); default: the shipped example.")] = None,
    mode: Annotated[str, typer.Option(help="always-on or batch.")] = "always-on",
    peak_factor: Annotated[float, typer.Option(help="Busiest hour over the day's mean.")] = 4.0,
    limit_ms: Annotated[float, typer.Option(help="p95 of response time, waiting included.")] = 100.0,
    utilisation: Annotated[float, typer.Option(help="No worker is planned busier than this.")] = 0.6,
    window_hours: Annotated[float, typer.Option(help="Of the nightly batch.")] = 8.0,
    speed: Annotated[float, typer.Option(help="An instance's processor over the measuring machine's.")] = 1.0,
    min_instances: Annotated[int, typer.Option(help="Running at least (2 for availability).")] = 1,
    show_prices: Annotated[bool, typer.Option("--show-prices", help="Print the shipped price list to edit.")] = False,
    lang: LangOption = "en",
    as_json: JsonOption = False,
) -> None:
    """Instances, yearly cost and saving for each candidate, from measured service times and a price list."""
    if show_prices:
        typer.echo(shipped_prices(), nl=False)
        return
    if results is None:
        raise UserError("no results given", where="imbik roi", expected="results.json of imbik compress")
    if requests_per_day is None:
        raise UserError("no volume given", where="--requests-per-day", expected="requests a day, e.g. 100000")
    load = Load(
        per_day=requests_per_day,
        mode=mode,
        peak_factor=peak_factor,
        limit_ms=limit_ms,
        utilisation=utilisation,
        window_hours=window_hours,
        speed=speed,
        min_instances=min_instances,
    )
    run, list_of_prices, texts = load_results(results), load_prices(prices), Phrases(lang)
    costs = cost_all(run, list_of_prices, load)
    baseline = next((c for c in costs if c.id == run.baseline), None)
    if as_json:
        typer.echo(json.dumps(_document(costs, baseline, list_of_prices, load), indent=1))
        return
    _print(costs, baseline, list_of_prices, load, texts)


def _document(costs: tuple[Cost, ...], baseline: Cost | None, prices: Prices, load: Load) -> dict[str, object]:
    """Return the costs in JSON's own types."""
    rows = [{**asdict(cost), "saving": saving(cost, baseline)} for cost in costs]
    return {"load": asdict(load), "currency": prices.currency, "costs": rows}


def _print(costs: tuple[Cost, ...], baseline: Cost | None, prices: Prices, load: Load, texts: Phrases) -> None:
    """Print the table of costs and what they assume."""
    console = table_speaker()
    console.print(_table(costs, baseline, prices, load, texts))
    console.print(texts("roi.assumption", speed=texts.number(load.speed, 1), source=texts.source(prices.path)), markup=False)


def _table(costs: tuple[Cost, ...], baseline: Cost | None, prices: Prices, load: Load, texts: Phrases) -> Table:
    volume = texts.number(load.per_day)
    table = Table(title=escape(texts(f"roi.title_{load.mode.replace('-', '_')}", volume=volume)))
    table.add_column("", overflow="fold")
    for key in ("instances", "p95" if load.mode == "always-on" else "busy", "yearly", "saving", "per_million"):
        table.add_column(texts(f"roi.{key}"), justify="right", overflow="fold")
    for cost in costs:
        table.add_row(escape(cost.id), *cost_cells(cost, baseline, prices.currency, load, texts))
    return table


def cost_cells(cost: Cost, baseline: Cost | None, currency: str, load: Load, texts: Phrases) -> list[str]:
    """Return instances, p95 or share of the window, yearly cost, saving, cost of a million."""
    if cost.instance is None or cost.yearly is None:
        return [texts(f"roi.why_{cost.why_not}"), "–", "–", "–", "–"]
    saved = saving(cost, baseline)
    middle = texts.unit(cost.p95_ms, "ms") if cost.p95_ms is not None else texts.percent(cost.busy or 0.0)
    return [
        f"{texts.number(cost.count)} × {cost.instance}",
        middle,
        texts.money(cost.yearly, currency),
        "–" if saved is None else f"{texts.money(saved.amount, currency)} ({texts.percent(saved.share, 0)})",
        "–" if cost.per_million is None else texts.money(cost.per_million, currency),
    ]
