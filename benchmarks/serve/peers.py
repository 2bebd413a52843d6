"""What one would write first: FastAPI around a model, one request at a time. Imports nothing of imbik.

PYTHON benchmarks/serve/peers.py transformers CHECKPOINT PORT WORKERS
PYTHON benchmarks/serve/peers.py onnxruntime ARTEFACT PORT WORKERS
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Request(BaseModel):
    inputs: str


def with_transformers(folder: Path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    names = model.config.id2label

    def answer(text: str) -> list[dict[str, object]]:
        with torch.inference_mode():
            row = model(**tokenizer(text, truncation=True, return_tensors="pt")).logits[0].softmax(0)
        order = row.argsort(descending=True).tolist()
        return [{"score": float(row[place]), "label": names[place]} for place in order]

    return answer


def with_onnxruntime(folder: Path):
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(int(manifest["max_length"]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / manifest["model"]), options, providers=["CPUExecutionProvider"])
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}

    def answer(text: str) -> list[dict[str, object]]:
        encoded = tokenizer.encode(text)
        feed = {one.name: np.array([getattr(encoded, columns[one.name])], np.int64) for one in session.get_inputs()}
        row = session.run(None, feed)[0][0]
        shares = np.exp(row - row.max())
        shares /= shares.sum()
        return [{"score": float(shares[place]), "label": manifest["labels"][place]} for place in (-shares).argsort()]

    return answer


def build() -> FastAPI:
    kind, folder = os.environ["PEER_KIND"], Path(os.environ["PEER_FOLDER"])
    answer = {"transformers": with_transformers, "onnxruntime": with_onnxruntime}[kind](folder)
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"ready": True}

    # a plain function: FastAPI runs it in its pool of threads, as its documentation says for work that blocks
    @app.post("/predict")
    def predict(request: Request) -> list[dict[str, object]]:
        return answer(request.inputs)

    return app


if __name__ == "__main__":
    os.environ["PEER_KIND"], os.environ["PEER_FOLDER"] = sys.argv[1], sys.argv[2]
    workers = int(sys.argv[4])
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    uvicorn.run("peers:build", factory=True, host="127.0.0.1", port=int(sys.argv[3]), workers=workers, log_level="error", access_log=False)
