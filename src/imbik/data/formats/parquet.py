"""Parquet files as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from imbik.data.formats.table import CHUNK, Chunk, Table, check_columns
from imbik.errors import MissingExtra, UserError

_FILES = 64  # rows with files in them that are in memory at once


def open_parquet(path: Path) -> Table:
    """Open a Parquet file, which is read batch by batch.

    Raises:
        MissingExtra: without pyarrow.
        UserError: not a Parquet file.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("pyarrow") from error
    try:
        file = parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError("not a Parquet file", where=path, found=str(error).split(".")[0]) from error
    names = check_columns(str(path), file.schema_arrow.names)

    def rows_at_once(wanted: Sequence[str]) -> int:
        kinds = [file.schema_arrow.field(name).type for name in wanted]
        # of a struct as Hugging Face's datasets stores images: its fields
        flat = [one.type for kind in kinds if pyarrow.types.is_struct(kind) for one in kind] + kinds
        held = any(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind) for kind in flat)
        return _FILES if held else CHUNK

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        start = 1
        try:
            for batch in file.iter_batches(batch_size=rows_at_once(wanted), columns=list(wanted)):
                columns = {name: batch.column(name).to_pylist() for name in wanted}
                yield Chunk(columns, np.arange(start, start + batch.num_rows))
                start += batch.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError("broken Parquet file", where=f"{path}, row {start}", found=str(error)) from error

    return Table(str(path), names, stream, _class_names(file.schema_arrow.metadata))


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return the names of numbered classes that Hugging Face's ``datasets`` leaves in a Parquet file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        inner = {name: value.get("feature", value) for name, value in features.items() if isinstance(value, dict)}
        return {name: tuple(map(str, value["names"])) for name, value in inner.items() if "names" in value}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
