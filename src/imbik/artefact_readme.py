"""The README inside an artefact folder, with code that runs it without imbik."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CODE = """import json
from pathlib import Path
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = Path(__file__).parent if "__file__" in globals() else Path(".")
manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
padding = manifest["padding"]
tokenizer.enable_padding(direction=padding["side"], pad_id=padding["id"], pad_token=padding["token"] or "")
session = onnxruntime.InferenceSession(str(folder / manifest["model"]))

texts = {texts}
rows = tokenizer.encode_batch(texts)
columns = {{"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}}
feed = {{i.name: np.array([getattr(row, columns[i.name]) for row in rows]) for i in session.get_inputs()}}
for row in session.run(None, feed)[0]:
    print({answer})
"""

_ANSWER = {
    "classification": 'manifest["labels"][row.argmax()], row.max()',
    "multi-label": '[label for label, score in zip(manifest["labels"], row) if score > 0]',
    "regression": "float(row[0])",
}


def readme(manifest: Mapping[str, Any], *, paired: bool) -> str:
    """Markdown: what the model is, and twenty lines of Python that run it with onnxruntime, tokenizers and
    numpy alone.
    """
    texts = '[("a first text", "its second text")]' if paired else '["a text", "another text"]'
    code = _CODE.format(texts=texts, answer=_ANSWER[str(manifest["task"])])
    quantisation = manifest.get("quantisation")
    precision = f"int8 ({quantisation['scheme']})" if quantisation else "float32"
    shape = manifest["architecture"]
    labels = manifest["labels"]
    shown = ", ".join(labels[:8]) + (f", … ({len(labels)} in all)" if len(labels) > 8 else "")
    return "\n".join(
        [
            f"# A {manifest['task']} model for {manifest['engine']}",
            "",
            f"* {shape['family']}, {shape['layers']} layers of width {shape['hidden']}, {manifest['params']:,} parameters, {precision}",
            f"* labels: {shown}",
            f"* texts are cut to {manifest['max_length']} tokens",
            "",
            'With imbik: `imbik predict . "a text"`, or `imbik.load_artefact(".").predict(["a text"])`.',
            "",
            "Without it (`pip install onnxruntime tokenizers numpy`), from this folder:",
            "",
            "```python",
            code.rstrip(),
            "```",
            "",
        ]
    )
