"""The command line: collects the commands and turns a user's mistake into one message and exit code 2."""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import io
import logging
import os
import re
import sys
from typing import Annotated

import typer

from imbik import __version__
from imbik.cli.languages import add_language
from imbik.cli.options import LangOption
from imbik.cli.paths import expand_paths
from imbik.cli.speech import say, translated_help
from imbik.errors import EXTRAS, MissingExtra, UserError
from imbik.locale.language import asked_language, speaking, told
from imbik.machine import wait_passively

# In the order of `imbik --help`: the life of a model.
_COMMANDS = (
    "demo",
    "trim",
    "finetune",
    "compress",
    "cascade",
    "search",
    "recipes",
    "export",
    "predict",
    "serve",
    "page",
    "measure",
    "advise",
    "decisions.roi",
    "decisions.report",
    "push",
    "decisions.compare_architectures",
    "recommend",
)

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file is larger than this system lets it be",
    errno.EROFS: "the file system is read-only",
}


def build_app(*, only: str | None = None) -> typer.Typer:
    """The typer application with its commands registered.

    Args:
        only: the module of the one command that will be called, see :func:`asked_command`; None: every command.
    """
    app = typer.Typer(
        name="imbik",
        help="Make Transformer models small, fast and cheap, and prove it.",
        no_args_is_help=True,
        add_completion=False,
        # a defect of ours shows Python's own traceback, which is what a bug report needs
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def _root(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
        lang: LangOption = "en",
    ) -> None:
        if version:
            typer.echo(f"imbik {__version__}")
            raise typer.Exit()
        if context.invoked_subcommand is None:  # a language alone: the help that no word at all shows, in it
            typer.echo(context.get_help(), nl=False)

    for name in _COMMANDS if only is None else (only,):
        # these modules import what is heavy inside their functions, so that --help answers at once
        importlib.import_module(f"imbik.cli.commands.{name}").register(app)
    add_language(app)
    expand_paths(app)
    return app


def asked_command(words: list[str]) -> str | None:
    """Return the module of the command that the words begin with, or None where they ask for help or name no command.

    A nightly job starts imbik for every file: what other commands need is not loaded for it.

    >>> asked_command(["--lang", "tr", "roi", "run"]), asked_command(["--help", "roi"]), asked_command(["ro"])
    ('decisions.roi', None, None)
    """
    known = {name.rpartition(".")[2].replace("_", "-"): name for name in _COMMANDS}
    for before, word in zip(["", *words], words, strict=False):
        if word in known and before != "--lang":
            return known[word]
        if "--lang" not in (before, word) and not word.startswith("--lang="):
            return None
    return None


def _user_error(error: Exception) -> UserError | None:
    """Return the message for an error that the user can fix, or None for a defect of ours."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.split(".")[0]
        # a package that no extra brings is missing by our own fault: the traceback tells more
        if package in EXTRAS:
            return MissingExtra(package)
    number = _os_error(error)
    if number in _FULL:
        return UserError(
            _FULL[number], where=getattr(error, "filename", None), fix="make room, or choose another --out, and run the same command again"
        )
    if isinstance(error, PermissionError):
        return UserError("no permission to write or read", where=error.filename, fix="choose a folder that you own with --out")
    return None


def _os_error(error: Exception) -> int | None:
    """The operating system's error number; libraries written in Rust give it in their message only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``imbik``. Exit codes: 0 done, 2 bad input (one message on stderr), 130 interrupted.

    Raises:
        SystemExit: always, with the exit code.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name in ("torchao", "torch.utils._pytree"):  # transformers imports torchao where it is installed, and it warns of its insides
        logging.getLogger(name).setLevel(logging.ERROR)
    # setdefault: what the user has set stays
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    wait_passively()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a letter that the console lacks is written as its number, not as a traceback
            stream.reconfigure(errors="backslashreplace")
    with contextlib.ExitStack() as stack:
        _run(sys.argv[1:] if arguments is None else arguments, stack)


def _run(arguments: list[str], stack: contextlib.ExitStack) -> None:
    """Run a command in the language that is asked for; say a mistake of the user in it."""
    try:
        stack.enter_context(speaking(asked_language(arguments)))
        stack.enter_context(translated_help())
        if "WORLD_SIZE" in os.environ:  # PyTorch is loaded only where several processes may have been started together
            from imbik.training.team import led

            if not stack.enter_context(led()):
                return
        build_app(only=asked_command(arguments))(args=arguments)
    except KeyboardInterrupt:
        say("interrupted; run the same command again: what was finished is kept", err=True)
        # 128 + SIGINT, as shells count
        raise SystemExit(130) from None
    except Exception as error:
        mistake = _user_error(error)
        if mistake is None:
            raise
        say(f"error: {told(mistake)}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
