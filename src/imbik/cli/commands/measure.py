"""``imbik measure``: a finished artefact on the user's data, without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from imbik.cli.checks import check_file, check_positive, consoles
from imbik.cli.options import DataOption, LabelledColumns, MultipleOption, ThreadsOption, grouped
from imbik.cli.speech import Speaker
from imbik.errors import UserError
from imbik.jobs.progress import progress_for
from imbik.locale.language import translated

if TYPE_CHECKING:
    from imbik.measure.measurement import Measurement, Quality, Retention
    from imbik.measure.predictions import Predictions
    from imbik.measure.process import Candidate
    from imbik.measure.results import Results
    from imbik.measure.run import Measured
    from imbik.tasks.retention import Evaluable
    from imbik.types import Say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("measure")(measure)


@grouped
def measure(
    *,
    artefacts: Annotated[list[Path], typer.Argument(help="Artefact folder; several are measured side by side.")],
    data: DataOption,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="DIR/teacher/predictions.npz, for retention.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="File for the measurements, as a results.json; - prints it.")] = None,
    columns: LabelledColumns,
    threads: ThreadsOption = None,
    length_multiple: MultipleOption = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="No timing round begins after this time.")] = None,
) -> None:
    """Quality, latency, throughput, memory and cold start of artefacts, one interleaved run. Without PyTorch."""
    check_positive("--minutes", minutes)
    from imbik.measure.results import is_results

    check_file("--json", as_json, is_results)
    from imbik.measure.predictions import load_predictions
    from imbik.measure.run import measure as run

    console, say = consoles()
    stored = None if baseline is None else load_predictions(baseline)
    candidates, about = _candidates(artefacts, length_multiple)
    rows = _data(data, about, stored, baseline, columns.given(), say)
    measured = run(candidates, rows, predictions=stored, threads=threads, minutes=minutes, progress=progress_for(console, translated))
    if not measured.measurements:
        raise UserError("nothing could be measured", found="; ".join(f"{f['id']}: {f['error']}" for f in measured.failures))
    _report(measured, rows, data, as_json)


def _candidates(folders: Sequence[Path], length_multiple: int | None = None) -> tuple[list[Candidate], dict[str, Any]]:
    """Return the artefacts, and the manifest that they agree with in task and labels."""
    from imbik.measure.process import Candidate
    from imbik.runtime.manifest import read_manifest

    manifests = {folder: read_manifest(folder) for folder in folders}
    first = manifests[folders[0]]
    candidates = []
    for folder, manifest in manifests.items():
        if (manifest["task"], manifest["labels"]) != (first["task"], first["labels"]):
            raise UserError("the artefacts have different labels", where=folder, expected=f"those of {folders[0]}")
        candidates.append(
            Candidate(
                id=_id(folder, folders),
                name=_recipe(folder),
                engine=manifest["engine"],
                path=folder,
                steps=tuple(manifest["steps"]),
                length_multiple=length_multiple,
                parent=_parent(folder, manifests),
            )
        )
    return candidates, first


def _recipe(folder: Path) -> str:
    """Return the recipe's name where the folder lies as compress leaves it, else the folder's."""
    parts = folder.resolve().parts
    # DIR/<recipe>/artefacts/<engine>
    return parts[-3] if len(parts) > 2 and parts[-2] == "artefacts" else folder.name


def _id(folder: Path, folders: Sequence[Path]) -> str:
    """Return ``recipe/engine`` where the folder lies as compress leaves it, else its name; its path where two would be the same."""
    parts = folder.resolve().parts
    name = f"{parts[-3]}/{parts[-1]}" if len(parts) > 2 and parts[-2] == "artefacts" else folder.name
    same = [other for other in folders if other.resolve().parts[-3:] == parts[-3:] or other.name == folder.name == name]
    return name if len(same) == 1 else str(folder)


def _parent(folder: Path, manifests: Mapping[Path, Mapping[str, Any]]) -> str | None:
    """Return the recipe of the artefact that a quantized one was before: same engine, shape and steps but for the last."""
    own = manifests[folder]
    *steps, last = own["steps"] or [{}]
    if "quantize" not in last:
        return None
    before = {"engine": own["engine"], "architecture": own["architecture"], "steps": steps}
    # `<=` on items: every field named above is the same, whatever else the manifests hold
    return next((_recipe(other) for other, manifest in manifests.items() if before.items() <= manifest.items()), None)


def _data(
    source: str, about: dict[str, Any], stored: Predictions | None, baseline: Path | None, columns: dict[str, Any], say: Say
) -> Evaluable:
    """Return the rows to measure on; with stored predictions, the rows that these were made on."""
    from imbik.data.evaluation import load_evaluation
    from imbik.data.load import load_data
    from imbik.measure.predictions import check_fits

    rows: Evaluable = load_evaluation(source, labels=about["labels"], task=about["task"], say=say, **columns)
    if stored is None:
        return rows
    if stored.fingerprints.get("test") != rows.test.fingerprint:
        # The teacher was measured by compress, which carves splits that the data does not have.
        try:
            # what was guessed of the columns has been said
            rows = load_data(source, labels=about["labels"], task=about["task"], say=lambda line: None, **columns)
        except UserError:
            check_fits(stored, rows, baseline)
    check_fits(stored, rows, baseline)
    return rows


def _report(measured: Measured, rows: Evaluable, source: str, as_json: Path | None) -> None:
    """Show tables on the terminal, the document of ``results.json`` in a file, or that document alone on standard output."""
    from imbik.measure.results import results_document, write_results

    results = _results(measured, rows, source)
    if str(as_json) == "-":
        typer.echo(json.dumps(results_document(results), ensure_ascii=False, indent=1))
        return
    if as_json is not None:
        write_results(as_json, results)
    console = Speaker(highlight=False)
    for measurement in measured.measurements:
        console.print(_table(measurement, images=results.of_images))
    for failure in measured.failures:
        console.print(f"{failure['id']}: {translated(failure['error'])}", markup=False)


def _results(measured: Measured, rows: Evaluable, source: str) -> Results:
    """Return what was measured as results without a baseline, which advise and report take as a device's profile."""
    from imbik.measure.results import Results
    from imbik.measure.values import Data

    return Results(
        task=rows.task,
        data=Data(
            source=source,
            labels=tuple(rows.labels),
            metric=rows.metric,
            fingerprint=rows.test.fingerprint,
            rows={"test": len(rows.test.texts), "dev": 0 if rows.dev is None else len(rows.dev.texts)},
        ),
        environment=measured.environment,
        baseline=None,
        measurements=measured.measurements,
        failures=measured.failures,
    )


def _table(m: Measurement, *, images: bool) -> Table:
    table = Table(title=m.id, show_header=False)
    for name, value in _lines(m, images=images):
        table.add_row(name, value)
    return table


def _lines(m: Measurement, *, images: bool) -> list[tuple[str, str]]:
    from imbik.report.columns import COLUMNS

    shown = {key: column.plain(m, None) for key, column in COLUMNS.items()}
    lines = [_line(f"{m.quality.metric} on {m.quality.split} ({m.quality.n} rows)", _interval(m.quality))]
    if m.dev_quality:
        lines.append(_line(f"{m.dev_quality.metric} on dev ({m.dev_quality.n} rows)", _interval(m.dev_quality)))
    if m.retention:
        lines.append(_line("kept of the baseline", _interval(m.retention)))
    if m.agreement is not None:
        lines.append(_line("answers as the baseline", f"{m.agreement:.2%}"))
    if m.calibration:
        lines.append(_line("calibration error (ECE)", shown["ece"]))
    return [
        *lines,
        *(_of_images(m, shown) if images else _of_texts(m, shown)),
        _line("peak memory", f"{(m.peak_rss_bytes or 0) / 1e6:,.0f} MB"),
        _line("cold start", f"{shown['cold_start']} s"),
        _line("shipped", f"{shown['megabytes']} MB, {m.params or 0:,} parameters"),
    ]


def _of_texts(m: Measurement, shown: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the lines of speed of a model that reads texts."""
    late = m.latency_ms
    return [
        _line("single request", f"p50 {shown['p50']} ms, p95 {shown['p95']}, p99 {late.p99 or 0:.2f} ({late.tokens or 0:.0f} tokens)"),
        _line("batches", f"{m.throughput.items_per_s or 0:,.0f} texts/s ({m.throughput.batch or 0:.0f} a batch)"),
        _line("batches at first sight", f"{m.throughput.first_sight_per_s or 0:,.0f} texts/s"),
        _line("processor time", f"{shown['cpu']} s per 1,000 texts, {m.threads} threads"),
    ]


def _of_images(m: Measurement, shown: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the lines of speed of a model that reads images, which remembers none of them."""
    return [
        _line("single request", f"p50 {shown['p50']} ms, p95 {shown['p95']}, p99 {m.latency_ms.p99 or 0:.2f}"),
        _line("batches", f"{m.throughput.items_per_s or 0:,.0f} images/s ({m.throughput.batch or 0:.0f} a batch)"),
        _line("processor time", f"{shown['cpu']} s per 1,000 images, {m.threads} threads"),
    ]


def _line(name: str, value: str) -> tuple[str, str]:
    return translated(name), translated(value)


def _interval(of: Quality | Retention) -> str:
    """Return a figure with its 95 % interval."""
    return f"{of.value:.4f}  (95 %: {of.low:.4f} to {of.high:.4f})"
