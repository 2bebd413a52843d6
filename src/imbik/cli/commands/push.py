"""``imbik push``: a finished model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imbik.cli.checks import consoles, echo
from imbik.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push")(push)


def push(
    *,
    folder: Annotated[Path, typer.Argument(help="What compress (its choice, or a candidate in it), finetune or export wrote.")],
    repo: Annotated[str, typer.Argument(help="Repository: owner/name.")],
    license: Annotated[str | None, typer.Option("--license", help="Of the model, such as apache-2.0.")] = None,
    base_model: Annotated[str | None, typer.Option("--base-model", help="Hub name of the model that it was made from.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Hub name of its data.")] = None,
    language: Annotated[list[str] | None, typer.Option("--language", help="Code of a language, such as tr; repeat.")] = None,
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the files into this folder and send nothing.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files, write and send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Push a finished model to the Hugging Face hub: card with measured results, safetensors, ONNX where others look for it."""
    from imbik.push.card import About
    from imbik.push.run import push as run

    about = About(license, base_model, dataset, tuple(language or ()))
    done = run(folder, repo, about=about, out=out, dry_run=dry_run, private=private)
    say = consoles()[1]
    if about.license is None:
        say("the card names no license; without one nobody may use the model: --license")
    if dry_run:
        for name, size in done.files.items():
            say(f"{name}  {size:,} bytes")
    total = sum(done.files.values())
    line = f"{len(done.files)} files, {total / 1e6:.2f} MB: {done.place or 'nothing was sent'}"
    echo({"files": done.files, "place": done.place}, line, as_json)
