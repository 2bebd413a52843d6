"""``imbik serve``: artefacts behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from imbik.cli.checks import check_positive
from imbik.cli.options import LangOption, ThreadsOption
from imbik.errors import UserError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    artefacts: Annotated[list[str], typer.Argument(help="Artefact folder, or NAME=FOLDER; the first also answers /predict.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen at; 0.0.0.0: every one of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0: one that is free.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option("--workers", help="Processes that answer.", min=1, max=256)] = 1,
    threads: ThreadsOption = None,
    queue: Annotated[int, typer.Option("--queue", help="Texts that may wait for a model; beyond it clients get 429.", min=1)] = 512,
    batch: Annotated[int, typer.Option("--batch", help="Texts computed at once, at most.", min=1)] = 64,
    max_wait_ms: Annotated[float | None, typer.Option("--max-wait-ms", help="Refuse with 429 what would wait longer for a model.")] = None,
    max_texts: Annotated[int, typer.Option("--max-texts", help="Texts of one request.", min=1)] = 256,
    max_body_mb: Annotated[float, typer.Option("--max-body-mb", help="Size of one request, in MiB.")] = 4.0,
    timeout_ms: Annotated[float, typer.Option("--timeout-ms", help="How long a request may take; X-Timeout-Ms asks for less.")] = 30_000,
    tokens: Annotated[Path | None, typer.Option("--tokens", help="File with the tokens of clients, one a line.")] = None,
    reload_s: Annotated[float, typer.Option("--reload-s", help="Look for new versions of the folders this often; 0: never.", min=0)] = 2.0,
    lang: LangOption = "en",
) -> None:
    """Answer over HTTP: POST /predict, /models, /health, /metrics, /openapi.json, and a page to try it. Without PyTorch."""
    from imbik.locale.phrases import Phrases
    from imbik.serve.server import serve as run
    from imbik.serve.settings import Limits, Settings, named, read_tokens

    phrases = Phrases(lang)
    limits = Limits(texts=max_texts, queue=queue, batch=batch, **_in_units(max_body_mb, timeout_ms, max_wait_ms))
    settings = Settings(
        models=named(artefacts),
        limits=limits,
        threads=threads,
        workers=workers,
        tokens=read_tokens(tokens) if tokens else (),
        reload_s=reload_s,
        lang=lang,
    )
    # at once also into a pipe: what waits for the server reads it there
    run(settings, host, port, lambda address: typer.echo(phrases("serve.listening", address=address)))


def _in_units(max_body_mb: float, timeout_ms: float, max_wait_ms: float | None) -> dict[str, Any]:
    """Return the limits that are asked for in MiB and milliseconds, in bytes and seconds."""
    check_positive("--max-body-mb", max_body_mb)
    check_positive("--timeout-ms", timeout_ms)
    if max_wait_ms is not None:
        check_positive("--max-wait-ms", max_wait_ms)
    body = int(max_body_mb * 2**20)
    if not body:
        raise UserError("no room for a request", where="--max-body-mb", found=max_body_mb, expected="a millionth, or more")
    return {"body_bytes": body, "timeout_s": timeout_ms / 1000, "wait_s": None if max_wait_ms is None else max_wait_ms / 1000}
