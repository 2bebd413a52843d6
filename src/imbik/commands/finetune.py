"""``imbik finetune``: a teacher, where the user has none."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from imbik.commands.common import (
    DataOption,
    EncodingOption,
    LabelOption,
    OutOption,
    PairOption,
    TaskOption,
    TextOption,
    check_positive,
    consoles,
    overridden,
)
from imbik.progress import progress_for


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("finetune")
    def finetune(
        base: Annotated[str, typer.Option("--base", help="Pretrained encoder: folder or hub name.")],
        data: DataOption,
        out: OutOption,
        text: TextOption = None,
        text_pair: PairOption = None,
        label: LabelOption = None,
        task: TaskOption = None,
        encoding: EncodingOption = None,
        metric: Annotated[str | None, typer.Option("--metric", help="What quality is stated in.")] = None,
        epochs: Annotated[int | None, typer.Option(help="Passes over the data.", min=1)] = None,
        learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
        max_length: Annotated[int | None, typer.Option(help="Texts are cut to this many tokens.", min=2)] = None,
        seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
        train_encoder: Annotated[bool, typer.Option("--train-encoder", help="mlm: train the encoder too, not the head alone.")] = False,
        whole_words: Annotated[bool, typer.Option("--whole-words", help="mlm: mask whole words.")] = False,
        max_steps: Annotated[int | None, typer.Option(help="mlm: stop after this many steps.", min=1)] = None,
    ) -> None:
        """Fine-tune a pretrained encoder into a teacher (the epoch that is best on dev is kept), or, with --task mlm, fit a
        masked-language-model head on raw text: a text file, a folder of them, a table or a hub name."""
        if task == "mlm":
            changes = overridden(epochs=epochs, learning_rate=learning_rate, max_steps=max_steps)
            check_positive("--learning-rate", learning_rate)
            _refuse(text_pair=text_pair, label=label, metric=metric)
            corpus = {"source": data, "text": text, "encoding": encoding}
            _mlm(base, corpus, out, changes, encoder=train_encoder, whole_words=whole_words, length=max_length, seed=seed, as_json=as_json)
            return
        from imbik.data import load_data
        from imbik.finetune import finetune as run

        check_positive("--learning-rate", learning_rate)
        console, say = consoles()
        splits = load_data(
            data, text=text, text_pair=text_pair, label=label, task=task, metric=metric, encoding=encoding, seed=seed, say=say
        )
        changes = overridden(epochs=epochs, learning_rate=learning_rate)
        result = run(base, splits, Path(out), changes=changes, max_length=max_length, seed=seed, progress=progress_for(console), say=say)
        facts = {
            "out": str(out),
            "metric": result.metric,
            "dev": result.dev,
            "test": result.test,
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "train_seconds": round(result.seconds, 1),
        }
        if as_json:
            typer.echo(json.dumps(facts))
        else:
            typer.echo(
                f"{result.metric}: dev {result.dev:.4f}, test {result.test:.4f} (epoch {result.best_epoch} of {result.epochs}); "
                f"teacher in {out}"
            )


def _refuse(**options: str | None) -> None:
    """Options that mean nothing for raw text."""
    from imbik.errors import UserError

    for name, value in options.items():
        if value is not None:
            raise UserError(
                "raw text has no such thing", where=f"--{name.replace('_', '-')}", found=value, fix="leave it out with --task mlm"
            )


def _mlm(
    base: str, corpus: dict[str, Any], out: Path, changes: dict[str, Any], *, length: int | None, as_json: bool, **options: Any
) -> None:
    from dataclasses import replace

    from imbik.corpus import BLOCK
    from imbik.documents import open_documents
    from imbik.mlm import HEAD, WHOLE, finetune_mlm

    console, say = consoles()
    settings = replace(WHOLE if options["encoder"] else HEAD, **changes)
    result = finetune_mlm(
        base,
        open_documents(**corpus, say=say),
        out,
        settings=settings,
        length=length or BLOCK,
        progress=progress_for(console),
        say=say,
        **options,
    )
    facts = {
        "out": str(out),
        "before": asdict(result.before),
        "after": asdict(result.after),
        "blocks": result.blocks,
        "epochs": result.epochs,
        "train_seconds": round(result.seconds, 1),
    }
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        typer.echo(
            f"held-out masked tokens: perplexity {result.before.perplexity:.1f} -> {result.after.perplexity:.1f}, "
            f"accuracy {result.before.accuracy:.4f} -> {result.after.accuracy:.4f} ({result.after.tokens} tokens); model in {out}"
        )
