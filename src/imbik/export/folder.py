"""What every artefact folder holds beside the engine's files: the tokenizer, and the manifest that lists all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from imbik.data.windows import cut
from imbik.images.processor import ImageProcessor
from imbik.jobs.files import sha256
from imbik.runtime.manifest import MANIFEST_FILE
from imbik.runtime.tokenizer_files import PACKED, write_packed


def write_tokenizer(tokenizer: Tokenizer | ImageProcessor, path: Path, max_length: int, side: str) -> None:
    """Write a tokenizer, which cuts texts as the model needs and leaves padding to the runtime, or the processor of images.

    Args:
        tokenizer: an own copy, which is set so.
        path: ``tokenizer.json``, or the name of its packed form, in the artefact folder.
        max_length: tokens of a text, special ones included.
        side: where longer texts are cut, ``left`` or ``right``.
    """
    if isinstance(tokenizer, ImageProcessor):
        tokenizer.save_pretrained(path.parent)
        return
    cut(tokenizer, max_length, side, 0.0, paired=False)
    if path.name == PACKED:
        write_packed(tokenizer, path)
    else:
        # without indentation, which makes the file a third smaller
        path.write_text(tokenizer.to_str(), encoding="utf-8")


def finish(directory: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest with size and digest of every file."""
    own = directory / MANIFEST_FILE
    names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file() and path != own)
    manifest["files"] = {name: {"bytes": (directory / name).stat().st_size, "sha256": sha256(directory / name)} for name in names}
    text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    (directory / MANIFEST_FILE).write_text(text, encoding="utf-8")


def folder_bytes(directory: Path) -> int:
    """Return the bytes of all files in an artefact folder."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
