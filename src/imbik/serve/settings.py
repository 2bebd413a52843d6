"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from imbik.errors import UserError
from imbik.machine import physical_cores


@dataclass(frozen=True)
class Limits:
    """What one client, and all of them together, may ask of a server. Over a limit it refuses at once: it never grows without bound.

    Attributes:
        body_bytes: size of a request's body.
        header_bytes: size of its head: address and header lines.
        texts: texts of one request.
        characters: of one text, or of both texts of a pair.
        queue: texts that wait for a model; further requests are refused until there is room.
        batch: texts that are computed at once, at most.
        wait_s: how long the line before a model may be, in seconds of its computing: requests that would find a longer one are refused, and
            no batch takes longer; None: whatever ``queue`` and ``batch`` allow.
        timeout_s: how long a request may wait for its answer; ``X-Timeout-Ms`` may ask for less.
        body_s: how long a client may take to send its head, and then its body.
        connections: open connections, at most.
    """

    body_bytes: int = 4 * 2**20
    header_bytes: int = 64 * 2**10
    texts: int = 256
    characters: int = 100_000
    queue: int = 512
    batch: int = 64
    wait_s: float | None = None
    timeout_s: float = 30.0
    body_s: float = 10.0
    connections: int = 1024


@dataclass(frozen=True)
class Served:
    """An artefact folder under a name."""

    name: str
    path: Path


@dataclass(frozen=True)
class Settings:
    """All that a worker process needs.

    Attributes:
        models: the artefacts; the first also answers ``/predict``.
        limits: what may be asked.
        threads: compute threads of a model; None: the physical cores, shared among the workers.
        workers: processes that answer.
        tokens: of clients that may ask; empty: everybody may.
        reload_s: seconds between two looks at the artefacts for a new version; 0: never.
        lang: language of the page at ``/``.
    """

    models: tuple[Served, ...]
    limits: Limits = field(default_factory=Limits)
    threads: int | None = None
    workers: int = 1
    tokens: tuple[str, ...] = field(default=(), repr=False)
    reload_s: float = 2.0
    lang: str = "en"

    @property
    def compute_threads(self) -> int:
        """Compute threads of each model in each worker."""
        return self.threads or max(1, physical_cores() // self.workers)


def named(arguments: list[str]) -> tuple[Served, ...]:
    """Return the artefacts of a command line, each ``FOLDER`` or ``NAME=FOLDER``.

    A folder without a name has that of its recipe, where it lies in the output of ``compress``, else its own.

    Raises:
        UserError: two of one name, or a name that is no part of an address.

    >>> [one.name for one in named(["out/layers-1+int8/artefacts/onnx", "b=other"])]
    ['layers-1+int8', 'b']
    """
    found = [_named(argument) for argument in arguments]
    for number, one in enumerate(found):
        if not one.name or set(one.name) - _LETTERS or one.name in (".", ".."):
            raise UserError(
                "not a name for a model",
                found=repr(one.name),
                expected="letters, digits and - _ . +",
                fix="write NAME=FOLDER with another NAME",
            )
        if any(one.name == other.name for other in found[:number]):
            raise UserError("two artefacts of one name", found=one.name, fix="name them: a=FOLDER b=FOLDER")
    return tuple(found)


_LETTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+")


def _named(argument: str) -> Served:
    path = Path(argument).expanduser()
    if "=" in argument and not path.exists():
        name, _, folder = argument.partition("=")
        return Served(name, Path(folder).expanduser())
    inside = path.resolve()
    return Served(inside.parents[1].name if inside.parent.name == "artefacts" else inside.name, path)


def read_tokens(file: Path) -> tuple[str, ...]:
    """Return the tokens of a file, one a line; empty lines and lines that begin with ``#`` are none.

    Raises:
        UserError: the file cannot be read, holds none, or one that no client could send.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError("the file of tokens cannot be read", where=file, found=str(error)[:80], expected="a UTF-8 text file") from None
    tokens = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not tokens:
        raise UserError("no token", where=file, expected="one a line", fix="leave --tokens out to let everybody ask")
    for number, token in enumerate(tokens, 1):
        # the token itself is a secret and is not shown
        if not token.isascii() or not token.isprintable() or " " in token:
            raise UserError("not a token", where=f"{file}, token {number}", expected="printable ASCII letters without spaces")
    return tuple(tokens)
