"""The README inside an artefact folder, with code that runs it without imbik."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imbik.export.builders.registry import builders
from imbik.locale.notes import read, sentence
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of

_CODE = """import json
from pathlib import Path
import numpy as np
{imports}
folder = Path(__file__).parent if "__file__" in globals() else Path(".")
manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
{reads}
{opened}

texts = {texts}
columns = {{"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}}
{answered}
    print({answer})
"""


def readme(manifest: Mapping[str, Any], *, paired: bool) -> str:
    """Markdown: what the model is, and a page of Python that runs it with the engine, tokenizers and numpy alone."""
    texts = '[("a first text", "its second text")]' if paired else '["a text", "another text"]'
    run = builders()[str(manifest["engine"])].code_for(manifest)
    answer = task_of(str(manifest["task"])).example
    code = _CODE.format(texts=texts, answer=answer, imports=run.imports, reads=run.reads, opened=run.opened, answered=run.answered)
    quantization = manifest.get("quantisation")
    precision = f"int{quantization['weight_bits']} ({quantization['scheme']})" if quantization else "float32"
    shape = manifest["architecture"]
    labels = manifest["labels"]
    images = task_of(str(manifest["task"])).reads == IMAGES
    asked = '"picture.jpg"' if images else '"a text"'
    shown = ", ".join(labels[:8]) + (f", … ({len(labels)} in all)" if len(labels) > 8 else "")
    return "\n".join(
        [
            f"# Model for {manifest['engine']}, task: {manifest['task']}",
            "",
            f"* {_shape(shape)}, {manifest['params']:,} parameters, {precision}",
            f"* vectors of {len(labels)} numbers" if task_of(str(manifest["task"])).apart else f"* labels: {shown}",
            "* images are prepared as preprocessor_config.json says" if images else f"* texts are cut to {manifest['max_length']} tokens",
            *(f"* {sentence(read(note))}" for note in manifest["notes"]),
            "",
            f'With imbik: `imbik predict . {asked}`, or `imbik.load_artefact(".").predict([{asked}])`.',
            "",
            *(_alone(run.packages, code) if answer and not images else ()),
        ]
    )


def _shape(shape: Mapping[str, Any]) -> str:
    if shape.get("hidden"):
        return f"{shape['family']}, {shape['layers']} layers of width {shape['hidden']}"
    if "vocabulary" not in shape or not shape["vocabulary"]:
        return str(shape["family"])
    return f"{shape['family']} over {shape['vocabulary']:,} n-grams"


def _alone(packages: str, code: str) -> list[str]:
    """Return the lines that show how the model runs without imbik."""
    return [f"Without it (`pip install {packages}`), from this folder:", "", "```python", code.rstrip(), "```", ""]
