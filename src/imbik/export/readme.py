"""The README inside an artefact folder, with code that runs it without imbik."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imbik.tasks.registry import task_of

_CODE = """import json
from pathlib import Path
import numpy as np
{imports}
from tokenizers import Tokenizer

folder = Path(__file__).parent if "__file__" in globals() else Path(".")
manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
{opened}

texts = {texts}
columns = {{"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}}
{answered}
    print({answer})
"""

_PADDED = """padding = manifest["padding"]
tokenizer.enable_padding(direction=padding["side"], pad_id=padding["id"], pad_token=padding["token"] or "")
"""

_ENGINES: dict[str, dict[str, str]] = {
    "onnx": {
        "packages": "onnxruntime tokenizers numpy",
        "imports": "import onnxruntime",
        "opened": _PADDED + 'session = onnxruntime.InferenceSession(str(folder / manifest["model"]))',
        "answered": """rows = tokenizer.encode_batch(texts)
feed = {i.name: np.array([getattr(row, columns[i.name]) for row in rows]) for i in session.get_inputs()}
for row in session.run(None, feed)[0]:""",
    },
    "openvino": {
        "packages": "openvino tokenizers numpy",
        "imports": "import openvino",
        "opened": _PADDED + 'model = openvino.Core().compile_model(str(folder / manifest["model"]), "CPU")',
        "answered": """rows = tokenizer.encode_batch(texts)
names = [i.get_any_name() for i in model.inputs]
for row in model({name: np.array([getattr(row, columns[name]) for row in rows]) for name in names})[0]:""",
    },
    "executorch": {
        "packages": "executorch torch tokenizers numpy",
        "imports": "import torch\nimport executorch.kernels.quantized\nfrom executorch.runtime import Runtime",
        "opened": 'tokenizer.enable_padding(length=None, pad_to_multiple_of=manifest["shapes"]["minimum"], '
        'pad_id=manifest["padding"]["id"])\nmethod = Runtime.get().load_program(folder / manifest["model"]).load_method("forward")',
        "answered": """for text in tokenizer.encode_batch(texts):
    feed = [torch.tensor([getattr(text, columns[name])]) for name in manifest["inputs"]]
    row = method.execute(feed)[0][0].numpy()""",
    },
}


def readme(manifest: Mapping[str, Any], *, paired: bool) -> str:
    """Markdown: what the model is, and a page of Python that runs it with the engine, tokenizers and numpy alone."""
    texts = '[("a first text", "its second text")]' if paired else '["a text", "another text"]'
    parts = _ENGINES[str(manifest["engine"])]
    pieces = {name: text for name, text in parts.items() if name != "packages"}
    answer = task_of(str(manifest["task"])).example
    quantization = manifest.get("quantisation")
    precision = f"int{quantization['weight_bits']} ({quantization['scheme']})" if quantization else "float32"
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
            *(_alone(parts["packages"], _CODE.format(texts=texts, answer=answer, **pieces)) if answer else ()),
        ]
    )


def _alone(packages: str, code: str) -> list[str]:
    """Return the lines that show how the model runs without imbik."""
    return [f"Without it (`pip install {packages}`), from this folder:", "", "```python", code.rstrip(), "```", ""]
