"""``imbik predict``: labels and probabilities of texts."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imbik.cli.checks import check_file, consoles
from imbik.cli.options import MultipleOption, TextColumns, ThreadsOption, TrustOption, grouped
from imbik.errors import UserError
from imbik.jobs.files import replacing

if TYPE_CHECKING:
    from imbik.runtime.predictor import Predictor


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


@grouped
def predict(
    *,
    artefact: Annotated[Path, typer.Argument(help="Artefact folder, such as DIR/<recipe>/artefacts/onnx.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts.")] = None,
    pair: Annotated[list[str] | None, typer.Option("--pair", help="Second text; one for each text, in their order.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Texts: .txt with one a line, or a data file.")] = None,
    columns: TextColumns,
    out: Annotated[Path | None, typer.Option("--out", help="CSV file for the answers.")] = None,
    top: Annotated[int, typer.Option("--top", help="Labels shown of each text.", min=1)] = 3,
    threads: ThreadsOption = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", help="Tokens of a batch, padding included.", min=1)] = None,
    length_multiple: MultipleOption = None,
    engine: Annotated[str | None, typer.Option("--engine", help="Of a checkpoint folder: pytorch, or pytorch-cuda on a GPU.")] = None,
    trust_remote_code: TrustOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a text and line.")] = False,
) -> None:
    """Answer texts: the most probable labels first. Without PyTorch."""
    if (file is None) == (not texts):
        raise UserError("give texts or --file", where="imbik predict", found="both" if texts else "neither")
    if texts and pair and len(pair) != len(texts):
        raise UserError("one --pair for each text", found=f"{len(texts)} texts, {len(pair)} pairs")
    check_file("--out", out, is_answers)
    from imbik.runtime.predictor import load_artefact
    from imbik.tasks.task import check_pairs

    predictor = load_artefact(artefact, threads=threads, batch_tokens=batch_tokens, length_multiple=length_multiple, engine_name=engine)
    rows: tuple[Sequence[str], Sequence[str] | None] = (texts or [], pair)
    if file is not None:
        from imbik.data.load import load_texts

        found = load_texts(file, say=consoles()[1], **columns.given())
        rows = found.texts, found.pairs
    check_pairs(predictor.pairs, rows[1] is not None)  # before --out is opened
    answers = _answers(predictor, *rows, top)
    if as_json:
        for answer in answers:
            typer.echo(json.dumps(answer, ensure_ascii=False))
    elif out is not None or file is not None:
        _write_csv(answers, out)
    else:
        _show(answers)


def _answers(predictor: Predictor, texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> Iterator[dict[str, Any]]:
    """``{"text", ("pair",) "labels": [{"label", "probability"}, ...]}``, or ``"value"`` for regression; a chunk in memory at a time."""
    from imbik.runtime.predictor import CHUNK

    for start in range(0, len(texts), CHUNK):
        some = list(texts[start : start + CHUNK])
        others = None if pairs is None else list(pairs[start : start + CHUNK])
        probabilities = predictor.predict(some, others)
        order = (-probabilities).argsort(axis=1, kind="stable")[:, :top]
        for row, values in enumerate(probabilities):
            answer: dict[str, Any] = {"text": some[row]} | ({} if others is None else {"pair": others[row]})
            if predictor.task == "regression":
                yield answer | {"value": float(values[0])}
            else:
                yield answer | {"labels": [{"label": predictor.labels[i], "probability": float(values[i])} for i in order[row]]}


def _write_csv(answers: Iterator[dict[str, Any]], out: Path | None) -> None:
    """Columns ``text``, ``pair`` where there are pairs, then ``value``, or ``label``, ``probability``, ``label_2``, ..."""
    if out is None:
        _rows(answers, sys.stdout)
        return
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        _rows(answers, file)


def _rows(answers: Iterator[dict[str, Any]], file: TextIO) -> None:
    writers: dict[bool, csv.DictWriter[str]] = {}
    for answer in answers:
        labels = answer.pop("labels", [])
        for number, found in enumerate(labels, 1):
            end = "" if number == 1 else f"_{number}"
            answer |= {f"label{end}": found["label"], f"probability{end}": f"{found['probability']:.6f}"}
        if not writers:
            names = list(answer)
            writers[False] = csv.DictWriter(file, names, lineterminator="\n")
            writers[True] = csv.DictWriter(file, names, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writers[False].writeheader()
        # A carriage return ends a row for many readers, and is not quoted where lines end otherwise.
        writers[any("\r" in value for value in answer.values() if isinstance(value, str))].writerow(answer)


def is_answers(path: Path) -> bool:
    """Return whether a file begins like one that this command wrote."""
    with path.open(encoding="utf-8") as file:
        head = next(csv.reader(file), [])
    return head[:1] == ["text"] and ("value" in head or {"label", "probability"} <= set(head))


def _show(answers: Iterator[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    table = Table("text", "label", "probability")
    for answer in answers:
        shown = Text(_short(answer["text"] if "pair" not in answer else f"{answer['text']} / {answer['pair']}"))
        if "value" in answer:
            table.add_row(shown, "value", f"{answer['value']:.4f}")
            continue
        for number, found in enumerate(answer["labels"]):
            table.add_row(shown if number == 0 else "", Text(found["label"]), f"{found['probability']:.4f}")
    console.print(table)


def _short(text: str, width: int = 60) -> str:
    """A text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
