"""``imbik finetune``: a teacher, where the user has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

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
    ) -> None:
        """Fine-tune a pretrained encoder into a teacher; the epoch that is best on dev is kept."""
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
