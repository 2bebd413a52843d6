"""A multilingual encoder trimmed to Turkish: bytes, equal answers, held-back texts, seconds, and the memory of a long corpus.

    python -m benchmarks.trim.turkish --base DIR --data DIR [--gigabytes 1]

DIR of --base is any multilingual encoder's folder (the figures in docs: 12 layers of 384, 250,037 pieces, 4-bit values in float32); --data
holds tr_reviews, tr_atis, tquad and tr_tqp. The int8 artefact is that of a classifier with an untrained head: its bytes are those of a
trained one. The memory of a long corpus is measured with the bundled base's WordPiece tokenizer, three times as fast as a Unigram one.
The result is benchmarks/results/trim/turkish.json.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from benchmarks.common import clock, parser, record
from imbik.data import bundled_base
from imbik.data.documents import Documents, open_split
from imbik.export.artefact import export, quantized
from imbik.jobs.progress import Silent
from imbik.models.pretrained import load_base
from imbik.trim import trim

SETS = ("tr_reviews", "tr_atis", "tquad", "tr_tqp")
_CHILD = """
import re, sys, tempfile
from pathlib import Path
from imbik.data.documents import open_documents
from imbik.jobs.progress import Silent
from imbik.models.pretrained import load_whole
from imbik.trim.checks import whole
from imbik.trim.usage import count_pieces
tokenizer = whole(load_whole(sys.argv[1])[1])
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
with tempfile.TemporaryDirectory() as folder:
    rows = tokenizer.get_vocab_size()
    usage = count_pieces([open_documents(sys.argv[2])], tokenizer, rows, 0.02, Path(folder) / "count.npz", Silent())
print(before, peak(), usage.characters)
"""


def pooled(folder: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    """Return the mean state of every text by transformers alone, ``(N, H)``."""
    model, tokenizer = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        states = [model(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state for text in texts]
    return np.stack([one[0].mean(0).numpy() for one in states])


def differences(base: Path, made: Path, documents: list[Documents], count: int = 300) -> dict[str, float]:
    """Compare both models on counted texts, and on texts of them that need no piece that is gone."""
    texts = [text[:400] for one in documents for _, text in zip(range(count // len(documents)), one.stream(), strict=False)]
    one, other = pooled(base, texts), pooled(made, texts)
    old, new = (AutoTokenizer.from_pretrained(folder) for folder in (base, made))
    same = [old.tokenize(text) == new.tokenize(text) for text in texts]
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    equal = np.array(same)
    return {
        "texts": len(texts),
        "cut_alike": int(equal.sum()),
        "largest_difference_cut_alike": float(np.abs(one - other)[equal].max()),
        "least_cosine_cut_otherwise": float(cosine[~equal].min()) if (~equal).any() else 1.0,
    }


def int8_bytes(made: Path, documents: list[Documents], folder: Path) -> dict[str, Any]:
    """Return the bytes of an int8 artefact, tokenizer included, of a classifier on the trimmed encoder."""
    torch.manual_seed(0)
    checkpoint = quantized(load_base(made, "classification", ("a", "b", "c")), {"scheme": "dynamic", "bits": 8}, None, Silent())
    texts = [text for _, text in zip(range(50), documents[0].stream(), strict=False)]
    artefact = export(checkpoint, "onnx", folder / "artefact", texts=texts, least=None)
    return {"bytes": artefact.bytes, "files": dict(artefact.files)}


def memory(documents: list[Documents], megabytes: int, folder: Path) -> dict[str, float]:
    """Return the peak of memory while a file of so many megabytes is counted, and the seconds."""
    path, written, number = folder / f"{megabytes}.txt", 0, 0
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1_000_000:
            for one in documents:
                for text in one.stream():
                    number += 1
                    written += len(text.encode()) + len(str(number)) + 2
                    file.write(f"{' '.join(text.split())} {number}\n")
    with clock() as spent:
        done = subprocess.run([sys.executable, "-c", _CHILD, str(bundled_base()), str(path)], capture_output=True, text=True, check=True)
    before, peak, characters = (int(word) for word in re.findall(r"\d+", done.stdout.splitlines()[-1]))
    size = path.stat().st_size
    path.unlink()
    return {"bytes": size, "peak_before": before, "peak": peak, "characters": characters, "seconds": spent.wall}


def main() -> None:
    arguments = parser(__doc__, "data!")
    arguments.add_argument("--base", type=Path, required=True)
    arguments.add_argument("--gigabytes", type=float, default=0.0, help="of text whose memory is measured; 0: none")
    options = arguments.parse_args()
    documents = [open_split(Path(options.data) / name, joined=False) for name in SETS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.set_num_threads(1)
        result = trim(options.base, documents, folder / "made", progress=Silent(), say=print)
        numbers: dict[str, Any] = {"sets": list(SETS), **{key: value for key, value in asdict(result).items() if key != "directory"}}
        numbers["share_of_bytes"] = result.bytes_after / result.bytes_before
        numbers["answers"] = differences(options.base, folder / "made", documents)
        numbers["int8"] = int8_bytes(folder / "made", documents, folder)
        if options.gigabytes:
            sizes = (max(1, int(options.gigabytes * 100)), int(options.gigabytes * 1000))
            numbers["memory"] = [memory(documents, size, folder) for size in sizes]
    record("trim/turkish", numbers, options)


if __name__ == "__main__":
    main()
