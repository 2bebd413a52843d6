"""``imbik compare-architectures``: BERT-base, DistilBERT, MobileBERT and TinyBERT at full size on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from imbik.cli.checks import check_file, consoles
from imbik.cli.options import LangOption
from imbik.cli.speech import Speaker
from imbik.jobs.files import replacing
from imbik.jobs.progress import progress_for
from imbik.literature.comparison import ArchitectureRow
from imbik.locale.language import translated
from imbik.locale.phrases import Phrases
from imbik.report.columns import COLUMNS


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("compare-architectures")
    def compare_architectures(
        shape: Annotated[list[str] | None, typer.Option("--shape", help="bert-base, distilbert, mobilebert, tinybert-4l-312.")] = None,
        engine: Annotated[str, typer.Option(help="What runs them.")] = "onnx",
        base: Annotated[str | None, typer.Option("--base", help="Whose tokenizer; default: the bundled base's.")] = None,
        data: Annotated[str | None, typer.Option("--data", help="Whose texts; default: the bundled bank messages.")] = None,
        threads: Annotated[int | None, typer.Option(help="Of every engine.", min=1)] = None,
        lang: LangOption = "en",
        as_json: Annotated[Path | None, typer.Option("--json", help="File for the rows (imbik report --architectures); -: print.")] = None,
    ) -> None:
        """Size and speed of the real shapes with random weights, measured here; quality from the papers in its own column."""
        texts = Phrases(lang)
        check_file("--json", as_json, _is_comparison)
        from imbik.literature.architectures import SHAPES
        from imbik.literature.architectures import compare_architectures as compare

        console, say = consoles()
        found = compare(
            shapes=tuple(shape or SHAPES), engine=engine, base=base, data=data, threads=threads, progress=progress_for(console, translated)
        )
        for failure in found.failures:
            say(f"{failure.get('id')}: {translated(failure['error'])}")
        if as_json is not None:
            text = json.dumps(found.document(), ensure_ascii=False, indent=1) + "\n"
            if str(as_json) == "-":
                sys.stdout.write(text)
                return
            with replacing(as_json) as temporary:
                temporary.write_text(text, encoding="utf-8")
        console = Speaker(highlight=False)
        console.print(_measured(found.rows, texts))
        console.print(_published(found.rows, texts))


def _is_comparison(path: Path) -> bool:
    """Whether a file is one that this command wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(document, dict) and {"rows", "failures"} <= document.keys()


def _grid(title: str, heads: Sequence[str], texts: Phrases) -> Table:
    """Return a table with names to the left and right-aligned columns."""
    table = Table(title=texts(title))
    table.add_column(texts("published.model"), no_wrap=True)
    for head in heads:
        table.add_column(texts(head), justify="right", overflow="fold")
    return table


def _measured(rows: Sequence[ArchitectureRow], texts: Phrases) -> Table:
    """Return the table of what was measured here, a row per model and precision."""
    keys = ("megabytes", "p50", "speedup", "items_per_s", "throughput_gain")
    table = _grid("published.here", ("published.engine", "table.params", *(f"table.{key}" for key in keys)), texts)
    for row in rows:
        values = (row.bytes / 1e6, row.p50_ms, row.speedup, row.items_per_s, row.throughput_gain)
        shown = [texts.unit(value, COLUMNS[key].unit) for key, value in zip(keys, values, strict=True)]
        table.add_row(row.name, row.engine, texts.number(row.params / 1e6, 1) + " M", *shown)
    return table


def _published(rows: Sequence[ArchitectureRow], texts: Phrases) -> Table:
    """Return the table of shapes, and what the study and the papers say of them, a row per model."""
    heads = ("table.layers", "table.hidden", "table.heads", "published.study_speed", "published.speedup", "published.glue")
    table = _grid("published.title", heads, texts)
    # one row per model: what papers state does not depend on the precision measured here
    for row in {row.name: row for row in rows}.values():
        paper = row.published
        stated = ("–", "–", "–")
        if paper is not None and row.study_speedup is not None:
            stated = (
                texts.unit(row.study_speedup, "times"),
                f"{texts.unit(paper.speedup, 'times')} ({paper.device})",
                f"{texts.number(paper.glue, 1)} ({texts('published.convention_' + paper.convention)})",
            )
        table.add_row(row.name, *(texts.number(value) for value in (row.layers, row.hidden, row.heads)), *stated)
    return table
