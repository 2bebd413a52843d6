"""``imbik page``: a model as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imbik.cli.checks import consoles
from imbik.cli.options import LangOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("page")(page)


def page(
    *,
    artefact: Annotated[Path, typer.Argument(help="Folder of an ONNX artefact, such as DIR/<recipe>/artefacts/onnx.")],
    runtime: Annotated[Path, typer.Option("--runtime", help="Of npm's onnxruntime-web: node_modules/onnxruntime-web/dist.")],
    out: Annotated[Path, typer.Option("--out", help="The page, an .html file.")],
    lang: LangOption = "en",
) -> None:
    """Write one HTML file that answers texts in a browser, with the network off."""
    from imbik.page.write import write_page

    done = write_page(artefact, runtime, out, lang=lang)
    consoles()[1](f"{done.path}: {done.size / 1e6:.2f} MB, of them model and tokenizer {done.model_bytes / 1e6:.2f}")
