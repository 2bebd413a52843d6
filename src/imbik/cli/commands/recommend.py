"""``imbik recommend``: fit, evaluate, predict, top and compare."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from imbik.cli.options import JsonOption, grouped
from imbik.cli.recommend_options import Cluster, Columns, Source
from imbik.cli.speech import Speaker, say
from imbik.errors import UserError
from imbik.locale.language import translated
from imbik.recommend.evaluation.result import Comparison, decimal

if TYPE_CHECKING:
    from imbik.recommend.data.reading import Pairs
    from imbik.recommend.models.model import Model

Prediction = dict[str, str | float]

group = typer.Typer(help="Factorize a matrix of ratings or events: SVD, NMF, PMF, logistic PMF, Bayesian PMF.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="Ratings: CSV, TSV, '::'-separated or Parquet; user, item, rating[, time].")]
Folder = Annotated[Path, typer.Argument(help="Folder of a fitted model.")]
PLAIN = Source()


@group.command()
@grouped
def fit(
    ratings: File,
    out: Annotated[Path, typer.Option("--out", help="Folder for the model.")],
    model: Annotated[str, typer.Option(help="bpmf, pmf, nmf, svd, truncated-svd, logistic, als, item-knn or a baseline.")] = "bpmf",
    rank: Annotated[int | None, typer.Option(help="Number of factors.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same model.")] = 0,
    threads: Annotated[int, typer.Option(help="0: all cores.")] = 0,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Any setting of the model as name=value; repeat.")] = None,
    link: Annotated[str | None, typer.Option(help="Of pmf: identity, or logistic for ratings between a lowest and a highest.")] = None,
    start: Annotated[Path | None, typer.Option("--continue", help="Folder of a model to start from.")] = None,
    cluster: Cluster = Cluster(),
    source: Source = PLAIN,
) -> None:
    """Learn a model from a file and write it to a folder."""
    from imbik.jobs.progress import progress_for
    from imbik.recommend.models.registry import MODELS, build, load
    from imbik.recommend.models.storage import MODEL_FILES, check_replaceable

    console = Speaker(stderr=True, highlight=False, soft_wrap=True)
    # Settings and folder are looked at before the file: a mistake is told in a second and not after an hour.
    chosen = build(model, **_settings(model, rank=rank, seed=seed, threads=threads, extra=setting), **({"link": link} if link else {}))
    cluster.check(chosen)
    check_output(out, MODEL_FILES)
    check_replaceable(out)
    data = source.read(ratings, console, MODELS[model].feedback == "implicit")
    before = load(start) if start else None
    with progress_for(console, translated).track(f"fitting {model}", 1000) as task:
        shown = 0

        def report(done: int, total: int, value: float) -> None:
            nonlocal shown
            share = 1000 * done // total
            task.advance(share - shown, note=f"train loss {value:.4g}")
            shown = share

        chosen.fit(data, start=before, report=report, ray=cluster.ray, workers=cluster.workers)
    chosen.save(out)
    console.print(f"{escape(str(out))}: {model}, {data.shape[0]} users, {data.shape[1]} items, {chosen.bytes / 1e6:.2f} MB")


@group.command()
@grouped
def evaluate(
    folder: Folder,
    ratings: File,
    k: Annotated[int, typer.Option("-k", "--k", help="Length of the list of recommendations.")] = 10,
    level: Annotated[float, typer.Option(help="Nominal level of predictive intervals.")] = 0.9,
    as_json: JsonOption = False,
    source: Source = PLAIN,
) -> None:
    """Measure a fitted model on ratings that it has not seen."""
    from imbik.recommend.evaluation.measures import evaluate as measure
    from imbik.recommend.evaluation.measures import seen_in_training
    from imbik.recommend.models.registry import load

    console = Speaker(stderr=True, highlight=False, soft_wrap=True)
    model = load(folder)
    data = source.read(ratings, console, model.feedback == "implicit")
    seen = seen_in_training(model, data)
    if seen:
        console.print(f"note: the model was fitted on {seen} of these {len(data)} cells, so the figures flatter it")
    users, items = model.align(data)
    cold = int(((users < 0) | (items < 0)).sum())
    if cold:
        console.print(f"note: {cold} of these {len(data)} cells have a user or item that training did not; ranks leave them out")
    result = measure(model, data, k=k, level=level)
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    table = Table("measure", "value")
    for name, value in result.items():
        table.add_row(name, decimal(value))
    Speaker(highlight=False).print(table)


@group.command()
@grouped
def predict(
    folder: Folder,
    user: Annotated[str | None, typer.Option("--user", help="User id.")] = None,
    item: Annotated[str | None, typer.Option("--item", help="Item id.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Pairs: CSV with user and item columns.")] = None,
    level: Annotated[float, typer.Option(help="Level of the interval (bpmf only).")] = 0.9,
    cold: Annotated[bool, typer.Option("--cold", help="Allow ids that were not in training.")] = False,
    as_json: JsonOption = False,
    columns: Columns = Columns(),
) -> None:
    """Predict ratings (or chances) for one pair or a file of pairs; CSV on standard output."""
    from imbik.recommend.models.registry import load

    model = load(folder)
    users, items = _asked(model, user, item, file, columns, cold)
    rows = _predictions(model, users, items, level, cold)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    import csv
    import sys

    writer = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: decimal(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows)


@group.command()
def top(
    folder: Folder,
    user: Annotated[str, typer.Option("--user", help="User id.")],
    k: Annotated[int, typer.Option("-k", "--k", help="How many items.")] = 10,
    seen: Annotated[bool, typer.Option("--seen", help="Also items that the user has rated.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Rank the best items for one user."""
    from imbik.recommend.models.registry import load

    best = load(folder).recommend(user, k, seen=seen)
    if not best:
        say(f"note: training has all items for user {user}; --seen ranks them too", err=True)
    if as_json:
        typer.echo(json.dumps([{"item": name, "score": score} for name, score in best]))
        return
    table = Table("", "item", "score")
    for place, (name, score) in enumerate(best, 1):
        table.add_row(str(place), Text(name), decimal(score))
    Speaker(highlight=False).print(table)


@group.command()
@grouped
def compare(
    ratings: File,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for compare.json, .md and .svg.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Models to compare; repeat. Default: all that fit the data.")] = None,
    rank: Annotated[int | None, typer.Option(help="Number of factors for all of them.")] = None,
    splits: Annotated[int, typer.Option(help="Random splits.")] = 3,
    test: Annotated[float, typer.Option(help="Share held out.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the first split.")] = 0,
    threads: Annotated[int, typer.Option(help="0: all cores.")] = 0,
    k: Annotated[int, typer.Option("-k", "--k", help="Length of the list of recommendations.")] = 10,
    as_json: JsonOption = False,
    source: Source = PLAIN,
) -> None:
    """Compare all models on the same splits: one table, JSON and a plot."""
    from imbik.recommend.evaluation import comparison as room
    from imbik.recommend.models.registry import build

    console = Speaker(stderr=True, highlight=False, soft_wrap=True)
    if out:
        check_output(out)
        room.check_replaceable(out)
    data = source.read(ratings, console)

    def make(name: str) -> Model:
        return build(name, **_settings(name, rank=rank, seed=seed, threads=threads, strict=False))

    def tell(text: str) -> None:
        console.print(f"  {escape(text)}")

    chosen, left_out = ([make(name) for name in model], []) if model else room.choose_models(data, make, rank is not None)
    result = room.compare(data, chosen, splits=splits, test=test, seed=seed, k=k, progress=tell, left_out=left_out)
    if out:
        for path in room.write(result, out):
            console.print(f"wrote {escape(str(path))}")
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _print(result)


def _print(result: Comparison) -> None:
    """Print the table of a comparison, and what is not in it."""
    from imbik.recommend.evaluation import comparison as room

    head = room.columns(result)
    table = Table("model", *(title for title, _ in head))
    for entry in result["models"]:
        table.add_row(entry["name"], *(room.cell(entry, measure) for _, measure in head))
    Speaker(highlight=False, width=None if Speaker().is_terminal else 160).print(table)
    for line in room.absences(result):
        say(line)


def check_output(out: Path, own_files: tuple[str, ...] | None = None) -> None:
    """Check, before any work, that a folder can be written and, with ``own_files``, that it holds no others.

    Raises:
        UserError: it cannot, or it does.
    """
    base = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not base.is_dir():
        raise UserError("the output folder is a file, or lies in one", where=base, fix="choose another folder with --out")
    if not os.access(base, os.W_OK | os.X_OK):
        raise UserError("the output folder cannot be written", where=base, fix="choose a folder that you own with --out")
    if own_files and out.exists() and not {path.name for path in out.iterdir()} <= set(own_files):
        raise UserError("the output folder holds something else", where=out, expected="a new folder, or one of a model")


def _settings(
    name: str, *, rank: int | None, seed: int, threads: int, extra: list[str] | None = None, strict: bool = True
) -> dict[str, object]:
    """Return settings from the command line; with ``strict``, a rank for a model that has none is an error."""
    from imbik.recommend.models.registry import MODELS
    from imbik.recommend.models.settings import setting_names

    known = setting_names(MODELS[name]) if name in MODELS else []
    settings: dict[str, object] = {"seed": seed}
    if "threads" in known:
        settings["threads"] = threads
    if rank is not None and (strict or "rank" in known):
        settings["rank"] = rank
    for text in extra or []:
        key, mark, value = text.partition("=")
        if not mark:
            raise UserError("a setting without a value", where="--set", found=text, expected="name=value")
        settings[key.strip()] = value.strip()
    return settings


def _asked(
    model: Model, user: str | None, item: str | None, file: Path | None, columns: Columns, cold: bool
) -> tuple[list[str], list[str]]:
    """Return users and items to predict for; an id of a file that the model does not know is told with its row."""
    if file is not None and user is None and item is None:
        pairs = columns.pairs(file)
        _check_pairs(model, pairs, file, cold)
        return pairs.users, pairs.items
    if file is None and user is not None and item is not None:
        return [user], [item]
    raise UserError("nothing to predict, or two things at once", expected="--user U --item I, or --file pairs.csv")


def _check_pairs(model: Model, pairs: Pairs, file: Path, cold: bool) -> None:
    """Check that no id is empty or, unless ``cold``, unknown to the model.

    Raises:
        UserError: naming the row of the first one.
    """
    for side, ids in (("user", pairs.users), ("item", pairs.items)):
        codes = model.codes(side, ids, True)
        row = next((row for row, name in enumerate(ids) if not name or (codes[row] < 0 and not cold)), None)
        if row is not None:
            raise UserError(
                f"unknown {side}" if ids[row] else f"the {side} id is empty", where=f"{file}, row {row + pairs.first_row}",
                found=repr(ids[row]), expected=f"a {side} of the training data",
                fix=f"correct it, name the column with --{side}-column, or allow new ids with --cold",
            )  # fmt: skip


def _predictions(model: Model, users: list[str], items: list[str], level: float, cold: bool) -> list[Prediction]:
    from imbik.recommend.models.bayesian import PredictsIntervals

    values = model.predict(users, items, cold=cold)
    rows: list[Prediction] = [
        {"user": user, "item": item, "prediction": float(value)} for user, item, value in zip(users, items, values, strict=True)
    ]
    if isinstance(model, PredictsIntervals):
        for row, (low, high) in zip(rows, model.interval(users, items, level, cold=cold), strict=True):
            row |= {"low": float(low), "high": float(high)}
    return rows


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="recommend")
