"""What `imbik recommend` may replace: folders and files that it wrote itself, by what is recorded in them."""

from __future__ import annotations

from pathlib import Path

from imbik.jobs.files import read_json, refuse_foreign, refuse_foreign_file

MODEL_FILES = frozenset({"model.json", "model.tmp", "arrays.safetensors", "arrays.tmp"})
_RECORD = {"format", "sha256", "model", "settings", "facts", "users", "items"}


def check_model_folder(folder: Path) -> None:
    """Check that a model may be written to a folder: it is empty, missing, or holds a model of ours and nothing else.

    Raises:
        UserError: naming what stands there.
    """
    ours = any(read_json(folder / name).keys() >= _RECORD for name in ("model.json", "model.tmp"))
    refuse_foreign(folder, MODEL_FILES if ours else {"arrays.tmp", "model.tmp"})  # a first save that was killed leaves these


def check_comparison_folder(folder: Path) -> None:
    """Check that a comparison may be written to a folder: its three files are missing, or were written by one.

    Raises:
        UserError: naming the file that stands there.
    """
    ours = {"models", "k"} <= read_json(folder / "compare.json").keys()
    for name in ("compare.json", "compare.md", "compare.svg"):
        refuse_foreign_file(folder / name, lambda _: ours)
