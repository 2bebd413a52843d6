"""Opening a user's text file: which encoding it is in, and which row the first bad byte stands in."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from imbik.errors import UserError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
_BINARY = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "save the sheet as CSV (UTF-8)"),
    (b"%PDF", "a PDF file", "give a text file"),
    (_GZIP, "a gzip archive", "unpack it first (gunzip)"),
    (b"PAR1", "a Parquet file", "name it *.parquet"),
    (b"\x89PNG", "a picture", "give a text file"),
)
_PACKED = ".gz"
_CHOICES = "utf-8, utf-16, windows-1254 (Turkish), windows-1252, latin-1, ..."


def encoding_of(path: Path, declared: str | None) -> str:
    """Return the encoding to read ``path`` with: the declared one, the byte-order mark's, or UTF-8.

    Raises:
        UserError: the declared encoding is not known, the file is empty or holds no text.
    """
    with open_bytes(path) as file:
        return encoding_of_head(file.read(8192), path, declared)


def encoding_of_head(head: bytes, path: Path, declared: str | None) -> str:
    """Return the same as :func:`encoding_of` for a file whose first bytes were read: a pipe cannot be read twice."""
    if not head.strip():
        raise UserError("the file is empty", where=path, expected="text, or a header and rows", fix="give a file with data")
    for mark, what, fix in _BINARY:
        if head.startswith(mark):
            raise UserError("this is not a text file", where=path, found=what, expected="text", fix=fix)
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if declared is not None:
        return marked if marked and _family(declared) == _family(marked) else _known(declared)
    if marked is None and b"\x00" in head:
        raise UserError(
            "zero bytes: binary, or UTF-16 without a mark",
            where=f"{path}, row {_row_of(head, head.index(0), 'ascii')}",
            found=f"byte 0x00 at offset {head.index(0)}",
            expected="UTF-8, or UTF-16 with a byte-order mark",
            fix="if it is text, name its encoding with --encoding utf-16-le",
        )
    return marked or "utf-8"


def _family(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").removesuffix("sig").removesuffix("le").removesuffix("be")


def _known(name: str) -> str:
    try:
        "a".encode(name)
    except (LookupError, ValueError) as error:
        raise UserError("unknown encoding", where="--encoding", found=repr(name), expected=_CHOICES) from error
    return name


def open_text(path: Path, encoding: str, newline: str | None = None) -> TextIO:
    """Open a text file. Reading it may raise ``UnicodeDecodeError``; :func:`decoding_error` says where."""
    if not _is_packed(path):
        return path.open(encoding=encoding, newline=newline)
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline=newline)


def bare_suffix(path: Path) -> str:
    """Return the suffix that says what is in a file, lower case: ``.csv`` of ``a.csv`` and of ``a.CSV.gz``.

    >>> bare_suffix(Path("a.CSV.gz")), bare_suffix(Path("a.csv")), bare_suffix(Path("a"))
    ('.csv', '.csv', '')
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() or suffix if suffix == _PACKED else suffix


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for its bytes; those of a ``.gz`` file are unpacked on the way."""
    return cast(BinaryIO, _Unpacked(path, "rb")) if _is_packed(path) else path.open("rb")


def unpacked(raw: bytes, path: Path) -> bytes:
    """Return the bytes of a file that was read, unpacked where gzip packed them; ``path`` is for messages."""
    return _Unpacked(str(path), "rb", fileobj=io.BytesIO(raw)).read() if raw.startswith(_GZIP) else raw


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == _PACKED


class _Unpacked(gzip.GzipFile):
    """A gzip file whose damage is a message."""

    def read(self, size: int | None = -1) -> bytes:
        with self._damage_told():
            return super().read(size)

    def read1(self, size: int = -1) -> bytes:
        with self._damage_told():
            return super().read1(size)

    @contextlib.contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            fix = "copy the file again, or name it without .gz if it is not packed"
            raise UserError("the gzip file cannot be unpacked", where=self.name, found=str(error), fix=fix) from error


def decoding_error(path: Path, encoding: str, raw: bytes | None = None) -> UserError:
    """Return the message for a file that is not in ``encoding``: row and offset of the first byte that is wrong.

    ``raw`` holds the bytes of a file that cannot be read twice.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    before, row = 0, 1
    with open_bytes(path) if raw is None else io.BytesIO(raw) as file:
        while block := file.read(1 << 20):
            # offsets in the error count from there, not from the block
            held = len(decoder.getstate()[0])  # bytes of a character that the last block cut in two
            try:
                text = decoder.decode(block)
            except UnicodeError as error:
                start = getattr(error, "start", 0)
                offset = before - held + start
                bad = block[max(start - held, 0) : max(start - held, 0) + 1]
                row += _row_of(block, max(start - held, 0), encoding) - 1
                return _not_in(path, encoding, row, f"byte 0x{bad.hex()} at offset {offset}")
            row += text.count("\n")
            before += len(block)
    return _not_in(path, encoding, row, "a character that is cut off at the end of the file")


def _row_of(block: bytes, stop: int, encoding: str) -> int:
    return 1 + block[:stop].decode(encoding, errors="ignore").count("\n")


def _not_in(path: Path, encoding: str, row: int, found: str) -> UserError:
    return UserError(
        f"not valid {encoding.removesuffix('-sig').upper()}",
        where=f"{path}, row {row}",
        found=found,
        expected="UTF-8, or UTF-16 with a byte-order mark",
        fix=f"name the encoding with --encoding ({_CHOICES}), or save the file as UTF-8",
    )
