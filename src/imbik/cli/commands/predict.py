"""``imbik predict``: labels and probabilities of texts."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.table import Table
from rich.text import Text

from imbik.cli.checks import check_file, consoles
from imbik.cli.options import MultipleOption, TextColumns, ThreadsOption, TrustOption, grouped
from imbik.cli.speech import Speaker
from imbik.errors import UserError
from imbik.jobs.files import replacing

if TYPE_CHECKING:
    from imbik.runtime.predictor import Predictor
    from imbik.tasks.task import Task


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


@grouped
def predict(
    *,
    artefact: Annotated[Path, typer.Argument(help="Artefact folder, such as DIR/<recipe>/artefacts/onnx.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts.")] = None,
    pair: Annotated[list[str] | None, typer.Option("--pair", help="Second text; one for each text, in their order.")] = None,
    context: Annotated[
        Path | None, typer.Option("--context", help="Text file that is the second text of all: what questions ask about.")
    ] = None,
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
    _check_given(texts, pair, context, file)
    if texts and context is not None:
        pair = [_whole(context, columns.encoding)] * len(texts)
    check_file("--out", out, is_answers)
    from imbik.runtime.predictor import load_artefact
    from imbik.tasks.registry import task_of
    from imbik.tasks.task import check_pairs

    predictor = load_artefact(artefact, threads=threads, batch_tokens=batch_tokens, length_multiple=length_multiple, engine_name=engine)
    rows = (texts or [], pair) if file is None else _read(file, columns)
    check_pairs(predictor.pairs, rows[1] is not None)  # before --out is opened
    answers = _answers(predictor, *rows, top)
    if as_json:
        for answer in answers:
            typer.echo(json.dumps(answer, ensure_ascii=False))
    elif out is not None or file is not None:
        _write_csv(answers, out, task_of(predictor.task))
    else:
        _show(answers, task_of(predictor.task))


def _check_given(texts: list[str] | None, pair: list[str] | None, context: Path | None, file: Path | None) -> None:
    """Refuse texts that are given twice or not at all."""
    if (file is None) == (not texts):
        raise UserError("give texts or --file", where="imbik predict", found="both" if texts else "neither")
    if texts and pair and len(pair) != len(texts):
        raise UserError("one --pair for each text", found=f"{len(texts)} texts, {len(pair)} pairs")
    if context is not None and (pair or file is not None):
        raise UserError("--context stands in the place of --pair and --file", where="--context", found="--pair" if pair else "--file")


def _read(file: Path, columns: TextColumns) -> tuple[Sequence[str], Sequence[str] | None]:
    """Return the texts of a file, and their second texts where it has them."""
    from imbik.data.load import load_texts

    examples = load_texts(file, say=consoles()[1], **columns.given())
    return examples.texts, examples.pairs


def _whole(path: Path, encoding: str | None) -> str:
    """Return a text file as it is, line ends too: places in answers count its characters."""
    from imbik.data.formats.csv import check_file as check_readable
    from imbik.data.formats.text import decoding_error, encoding_of, open_text

    path = path.expanduser()
    check_readable(path)
    form = encoding_of(path, encoding)
    with open_text(path, form, newline="") as file:
        try:
            return file.read()
        except UnicodeError as error:
            raise decoding_error(path, form) from error


def _answers(predictor: Predictor, texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> Iterator[dict[str, Any]]:
    """Yield ``{"text", ("pair",) …}`` and what the task answers: ``"labels": [{"label", "probability"}, …]``, or ``"value"`` for
    regression; a chunk in memory at a time."""
    from imbik.runtime.predictor import CHUNK
    from imbik.tasks.registry import task_of

    task = task_of(predictor.task)
    for start in range(0, len(texts), CHUNK):
        # a chunk at a time: a file may hold more texts than memory
        some = list(texts[start : start + CHUNK])
        others = None if pairs is None else list(pairs[start : start + CHUNK])
        for row, answer in enumerate(task.answers(predictor.predict(some, others), predictor.labels, some, others, top)):
            yield {"text": some[row]} | ({} if others is None else {"pair": others[row]}) | answer


def _write_csv(answers: Iterator[dict[str, Any]], out: Path | None, task: Task) -> None:
    """Columns ``text``, ``pair`` where there are pairs, then what :meth:`imbik.tasks.task.Task.records` says: ``value``, or ``label``,
    ``probability``, ``label_2``, ...; of tagged texts a row for each entity."""
    if out is None:
        _rows(answers, sys.stdout, task)
        return
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        _rows(answers, file, task)


def _rows(answers: Iterator[dict[str, Any]], file: TextIO, task: Task) -> None:
    writers: dict[bool, csv.DictWriter[str]] = {}
    for record in (record for answer in answers for record in task.records(answer)):
        row = {name: f"{cell:.6f}" if isinstance(cell, float) and name != "value" else cell for name, cell in record.items()}
        # the columns of the first answer hold for all: a task's answers have one form
        if not writers:
            names = list(row)
            writers[False] = csv.DictWriter(file, names, lineterminator="\n")
            writers[True] = csv.DictWriter(file, names, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writers[False].writeheader()
        # A carriage return ends a row for many readers, and is not quoted where lines end otherwise.
        writers[any("\r" in value for value in row.values() if isinstance(value, str))].writerow(row)


def is_answers(path: Path) -> bool:
    """Return whether a file begins like one that this command wrote."""
    with path.open(encoding="utf-8") as file:
        head = next(csv.reader(file), [])
    return head[:1] == ["text"] and any(named <= set(head) for named in ({"value"}, {"label", "probability"}, {"answer", "score"}))


def _show(answers: Iterator[dict[str, Any]], task: Task) -> None:
    console = Speaker(highlight=False)
    table = Table("text", "label", "probability")
    for answer in answers:
        shown = Text(_short(answer["text"] if "pair" not in answer else f"{answer['text']} / {answer['pair']}"))
        for number, (what, how_sure) in enumerate(task.lines(answer)):
            table.add_row(shown if number == 0 else "", Text(what), f"{how_sure:.4f}")
    console.print(table)


def _short(text: str, width: int = 60) -> str:
    """A text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
