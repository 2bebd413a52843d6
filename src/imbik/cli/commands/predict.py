"""``imbik predict``: labels and probabilities of texts or images, one or millions."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from imbik.cli.checks import check_file, consoles
from imbik.cli.options import MultipleOption, SkipOption, TextColumns, ThreadsOption, TrustOption, grouped
from imbik.cli.speech import Speaker
from imbik.errors import UserError
from imbik.jobs.files import replacing
from imbik.jobs.progress import progress_for
from imbik.locale.catalogue import with_marks
from imbik.locale.language import language, translated

if TYPE_CHECKING:
    from imbik.predict.answering import Model
    from imbik.tasks.task import Task

FileOption = Annotated[
    list[Path] | None, typer.Option("--file", help="Rows: .txt with a text a line, a data file, images, a folder, or a pattern; repeat.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


@grouped
def predict(
    *,
    artefact: Annotated[Path, typer.Argument(help="Artefact folder, such as DIR/<recipe>/artefacts/onnx.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; paths of images where the model reads images.")] = None,
    pair: Annotated[list[str] | None, typer.Option("--pair", help="Second text; one for each text, in their order.")] = None,
    context: Annotated[
        Path | None, typer.Option("--context", help="Text file that is the second text of all: what questions ask about.")
    ] = None,
    file: FileOption = None,
    columns: TextColumns,
    keep: Annotated[str | None, typer.Option("--keep", help="Columns of the file to hand on, comma-separated.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="For the answers: .csv, .jsonl, .parquet, or a folder of parts. A killed run continues.")
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help="Of a folder's parts: csv, jsonl or parquet.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes for --file (default: one a core).", min=1)] = None,
    ray: Annotated[str | None, typer.Option("--ray", help="Answer --file on a Ray cluster: its address, auto, or local.")] = None,
    part_rows: Annotated[int | None, typer.Option("--part-rows", help="Rows that are answered and kept together.", min=1)] = None,
    skip_broken: SkipOption = False,
    top: Annotated[int, typer.Option("--top", help="Labels shown of each text.", min=1)] = 3,
    threads: ThreadsOption = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", help="Tokens of a batch, padding included.", min=1)] = None,
    length_multiple: MultipleOption = None,
    engine: Annotated[str | None, typer.Option("--engine", help="Of a checkpoint folder: pytorch, or pytorch-cuda on a GPU.")] = None,
    trust_remote_code: TrustOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a text and line.")] = False,
) -> None:
    """Answer texts or images: the most probable labels first. Without PyTorch."""
    _check_given(texts, pair, context, file, ray)
    pair = pair if context is None else [_whole(context, columns.encoding)] * len(texts or ())
    from imbik.predict.answering import Model

    model = Model(artefact, engine, threads, batch_tokens, length_multiple, skip_broken)
    if texts:
        _answer_given(model, texts, pair, _file_format(out, form), as_json, top)
        return
    from imbik.predict.run import Asked

    asked = Asked(columns.names(), _names_in(keep), top, workers, part_rows, ray)
    _answer_files(model, file or [], out, "jsonl" if as_json and form is None else form, asked)


def _names_in(listed: str | None) -> tuple[str, ...]:
    """Return the names of a comma-separated list."""
    return tuple(name.strip() for name in (listed or "").split(",") if name.strip())


def _check_given(texts: list[str] | None, pair: list[str] | None, context: Path | None, file: list[Path] | None, ray: str | None) -> None:
    """Refuse texts that are given twice or not at all."""
    if (not file) == (not texts):
        raise UserError("give texts or --file", where="imbik predict", found="both" if texts else "neither")
    if texts and ray is not None:
        raise UserError("a cluster answers the rows of --file", where="--ray", found="texts", fix="leave --ray out")
    if texts and pair and len(pair) != len(texts):
        raise UserError("one --pair for each text", found=f"{len(texts)} texts, {len(pair)} pairs")
    if context is not None and (pair or file):
        raise UserError("--context stands in the place of --pair and --file", where="--context", found="--pair" if pair else "--file")


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


def _file_format(out: Path | None, form: str | None) -> tuple[Path, str] | None:
    """Return the file that answers of given texts go to, and its format."""
    if out is None:
        return None
    from imbik.predict.formats import FORMATS
    from imbik.predict.run import format_of

    name, folder = format_of(out, form)
    if folder:
        raise UserError("a folder of parts is for the rows of --file", where="--out", found=out, expected=".csv, .jsonl or .parquet")
    check_file("--out", out, FORMATS[name].ours)
    return out, name


def _answer_given(
    model: Model, texts: Sequence[str], pair: list[str] | None, out: tuple[Path, str] | None, as_json: bool, top: int
) -> None:
    from imbik.data.kinds.reading import refuse_skipping
    from imbik.images.named import NamedImages
    from imbik.predict.formats import FORMATS
    from imbik.predict.run import image_task
    from imbik.predict.sources import Rows
    from imbik.predict.worker import Answerer
    from imbik.tasks.registry import task_of

    images = None if image_task(model) is None else NamedImages(texts, texts)
    refuse_skipping(model.skip_broken and images is None)
    answers, broken = Answerer(model, "csv", top).of_readable(Rows(list(texts), pair, images=images))
    if broken:
        consoles()[1](f"{len(broken):,} images could not be read and were left out; the first: {texts[broken[0]]}")
    if out is not None:
        with replacing(out[0]) as temporary:
            FORMATS[out[1]].write(answers, temporary)
    elif as_json:
        for answer in answers.objects():
            typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        _show(list(answers.objects()), task_of(answers.task))


def _answer_files(model: Model, files: list[Path], out: Path | None, form: str | None, asked: Any) -> None:
    from imbik.predict.formats import FORMATS
    from imbik.predict.run import format_of, predict_files

    if form is not None and form not in FORMATS:
        raise UserError("unknown format", where="--format", found=form, expected=" or ".join(FORMATS))
    if out is not None and not format_of(out, form)[1]:
        check_file("--out", out, FORMATS[format_of(out, form)[0]].ours)
    if out is None and form == "parquet":
        raise UserError("Parquet is no text; it needs a file", where="--format", found=form, fix="name one with --out")
    console, say = consoles()
    place = sys.stdout.buffer if out is None else out
    done = predict_files(model, files, place, asked=asked, form=form, progress=progress_for(console, translated), say=say)
    if out is not None:
        earlier = f" ({done.earlier:,} of them earlier)" if done.earlier else ""
        say(f"{out}: {done.rows:,} rows answered in {done.seconds:.1f} s, processes: {done.workers}{earlier}")


def _show(answers: Sequence[dict[str, Any]], task: Task) -> None:
    console = Speaker(highlight=False)
    asked = "image" if answers and "image" in answers[0] else "text"
    table = Table(asked, "label", "probability")
    for answer in answers:
        shown = Text(_short(answer[asked] if "pair" not in answer else f"{answer[asked]} / {answer['pair']}"))
        for number, (what, how_sure) in enumerate(task.lines(answer)):
            table.add_row(shown if number == 0 else "", Text(what), with_marks(f"{how_sure:.4f}", language()))
    console.print(table)


def _short(text: str, width: int = 60) -> str:
    """A text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
