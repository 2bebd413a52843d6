"""``imbik finetune``: a teacher, where the user has none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from imbik.cli.checks import check_positive, consoles, echo, overridden
from imbik.cli.options import DataOption, JsonOption, OutOption, TaskColumns, TrackOption, TrustOption, grouped
from imbik.jobs.progress import progress_for
from imbik.locale.language import translated


@dataclass(frozen=True)
class Schedule:
    """How long and how fast it learns."""

    epochs: Annotated[int | None, typer.Option(help="Passes over the data.", min=1)] = None
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None
    max_length: Annotated[int | None, typer.Option(help="Texts are cut to this many tokens.", min=2)] = None
    views: Annotated[
        str | None, typer.Option(help="Images: how each is changed at every step: crop, flip, crop,flip (default) or none.")
    ] = None
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0
    track: TrackOption = None
    trust_remote_code: TrustOption = False


@dataclass(frozen=True)
class Masked:
    """What only ``--task mlm`` has."""

    train_encoder: Annotated[bool, typer.Option("--train-encoder", help="mlm: train the encoder too, not the head alone.")] = False
    whole_words: Annotated[bool, typer.Option("--whole-words", help="mlm: mask whole words.")] = False
    max_steps: Annotated[int | None, typer.Option(help="mlm: stop after this many steps.", min=1)] = None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("finetune")(finetune)


@grouped
def finetune(
    *,
    base: Annotated[str, typer.Option("--base", help="Pretrained encoder: folder or hub name.")],
    data: DataOption,
    out: OutOption,
    columns: TaskColumns,
    schedule: Schedule,
    masked: Masked,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a pretrained encoder into a teacher (the epoch that is best on dev is kept), or, with --task mlm, fit a
    masked-language-model head on raw text: a text file, a folder of them, a table or a hub name."""
    check_positive("--learning-rate", schedule.learning_rate)
    from imbik.training.tracking import tracking

    with tracking(schedule.track, out, {"base": base, "data": data, **asdict(schedule)}):
        _finetune(base, data, out, columns, schedule, masked, as_json)


def _finetune(base: str, data: str, out: Path, columns: TaskColumns, schedule: Schedule, masked: Masked, as_json: bool) -> None:
    if columns.task == "mlm":
        # options that would do nothing are refused: the user meant something by them
        _refuse(text_pair=columns.text_pair, label=columns.label, metric=columns.metric, views=schedule.views)
        _mlm(base, {"source": data, "text": columns.text, "encoding": columns.encoding}, out, schedule, masked, as_json)
        return
    _refuse_masked(masked)
    from imbik.data.load import load_data
    from imbik.finetune.classifier import finetune as run
    from imbik.training.images.views import parse_views

    console, say = consoles()
    views = parse_views(schedule.views)
    splits = load_data(data, seed=schedule.seed, say=say, **columns.given())
    _refuse_views(schedule.views, splits.task)
    changes = overridden(epochs=schedule.epochs, learning_rate=schedule.learning_rate)
    options: dict[str, Any] = {"changes": changes, "max_length": schedule.max_length, "seed": schedule.seed, "views": views}
    result = run(base, splits, out, progress=progress_for(console, translated), say=say, **options)
    facts = {name: getattr(result, name) for name in ("metric", "dev", "test", "epochs", "best_epoch")}
    # more were asked for, and dev had stopped rising
    early = ", stopped early" if schedule.epochs and result.epochs < schedule.epochs else ""
    epoch = f"epoch {result.best_epoch} of {result.epochs}{early}" if result.best_epoch else "the start was better than every epoch"
    line = f"{result.metric}: dev {result.dev:.4f}, test {result.test:.4f} ({epoch}); teacher in {out}"
    echo({"out": str(out), **facts, "train_seconds": round(result.seconds, 1)}, line, as_json)


def _refuse(**options: str | None) -> None:
    """Options that mean nothing for raw text."""
    from imbik.errors import UserError

    for name, value in options.items():
        if value is not None:
            raise UserError(
                "not available with raw text", where=f"--{name.replace('_', '-')}", found=value, fix="leave it out with --task mlm"
            )


def _refuse_views(views: str | None, task: str) -> None:
    """``--views`` of what is no image."""
    from imbik.errors import UserError
    from imbik.tasks.outputs import IMAGES
    from imbik.tasks.registry import task_of

    if views is not None and task_of(task).reads != IMAGES:
        raise UserError("texts have no views", where="--views", found=f"the task {task}", fix="leave it out")


def _refuse_masked(masked: Masked) -> None:
    """Options of ``--task mlm`` that mean nothing for a classifier."""
    from imbik.errors import UserError

    for name, value in asdict(masked).items():
        if value:
            where = f"--{name.replace('_', '-')}"
            raise UserError("only masked language modeling has this", where=where, fix="leave it out, or add --task mlm")


def _mlm(base: str, corpus: dict[str, Any], out: Path, schedule: Schedule, masked: Masked, as_json: bool) -> None:
    from dataclasses import replace

    from imbik.data.documents import open_documents
    from imbik.finetune.mlm import HEAD, WHOLE, finetune_mlm
    from imbik.pretraining.corpus import BLOCK

    console, say = consoles()
    changes = overridden(epochs=schedule.epochs, learning_rate=schedule.learning_rate, max_steps=masked.max_steps)
    result = finetune_mlm(
        base,
        open_documents(**corpus, say=say),
        out,
        settings=replace(WHOLE if masked.train_encoder else HEAD, **changes),
        encoder=masked.train_encoder,
        length=schedule.max_length or BLOCK,
        whole_words=masked.whole_words,
        seed=schedule.seed,
        progress=progress_for(console, translated),
        say=say,
    )
    facts = {"before": asdict(result.before), "after": asdict(result.after), "blocks": result.blocks, "epochs": result.epochs}
    line = (
        f"held-out masked tokens: perplexity {result.before.perplexity:.1f} -> {result.after.perplexity:.1f}, "
        f"accuracy {result.before.accuracy:.4f} -> {result.after.accuracy:.4f} ({result.after.tokens} tokens); model in {out}"
    )
    echo({"out": str(out), **facts, "train_seconds": round(result.seconds, 1)}, line, as_json)
