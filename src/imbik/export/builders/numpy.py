"""Artefacts for NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imbik.export.builders.builder import PADDED, EngineBuilder, RunCode
from imbik.export.builders.registry import register_builder
from imbik.export.request import BuildRequest
from imbik.runtime.tokenizer_files import PACKED
from imbik.types import Checkpoint

_READ = """file = np.load(folder / manifest["model"])
def read(name):  # floats, or integers of 8 or 4 bits with a scale for each block of a row
    if name in file.files:
        return file[name]
    if f"{name}.int8" in file.files:
        numbers = file[f"{name}.int8"]
    else:
        packed, width = file[f"{name}.int4"], int(file[f"{name}.width"])
        numbers = np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1)[:, :width].astype(np.int8) - 8
    scale = file[f"{name}.scale"].astype(np.float32)
    return numbers * np.repeat(scale, -(-numbers.shape[1] // scale.shape[1]), 1)[:, :numbers.shape[1]]
"""

_TABLES = """vectors, scores, inner, weight = map(read, ("vectors", "scores", "inner", "weight"))
def attend(x, w):  # each head's slice by its weights: (B, T, d), (B, T, H) -> (B, d)
    return (np.einsum("bth,bthd->bhd", w, x.reshape(*w.shape, -1)) / w.sum(1)[..., None]).reshape(len(x), -1)
"""

_TOKENIZER = """from tokenizers import Tokenizer
tokenizer = Tokenizer.from_buffer(gzip.decompress((folder / manifest["tokenizer"]).read_bytes()))"""

_ROWS = """ids = np.array([row.ids for row in tokenizer.encode_batch(texts)])
keep = (ids != file["padding"])[..., None].astype(np.float32)
x = vectors[ids] * keep
"""

_BAG = """if "keys" in file:  # each two neighbors have a row behind the pieces' rows
    keys, size = file["keys"][ids].astype(int), len(file["keys"])
    pairs = (3 * keys[:, :-1] + keys[:, 1:]) % (len(vectors) - size) + size
    ids, keep = np.concatenate([ids, pairs], 1), np.concatenate([keep, keep[:, :-1] * keep[:, 1:]], 1)
    x = vectors[ids] * keep
pooled = attend(x, np.exp(scores[ids].clip(-15, 15)) * keep)
"""

_CONV = """features = x
separable = any(name.startswith("taps") for name in file)  # neighbors are summed by one weight a channel, or stand side by side
for n in range(int(file["layers"])):
    mix, size = read(f"mix.{n}"), ids.shape[1]
    taps = read(f"taps.{n}") if separable else np.ones((mix.shape[1] // features.shape[2], 1), np.float32)
    side = len(taps) // 2
    around = np.pad(features, ((0, 0), (side, side), (0, 0)))
    near = [around[:, j:j + size] * tap for j, tap in enumerate(taps)]
    both = (sum(near) if separable else np.concatenate(near, -1)) @ mix.T + file[f"mix_bias.{n}"]
    value, gate = np.split(both, 2, -1)
    found = value / (1 + np.exp(-gate)) * keep
    features = found + features if n else found
"""

_LSTM = """features = x
for n in range(int(file["layers"])):
    both = []
    for a, b, way in zip(np.split(read(f"read.{n}"), 2), np.split(read(f"remember.{n}"), 2), (1, -1)):
        gates, h, c, states = np.concatenate([features, keep], 2)[:, ::way] @ a.T, 0, 0, []
        for t in range(ids.shape[1]):
            i, f, g, o = np.split(gates[:, t] + (h @ b.T if t else 0), 4, 1)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            states.append(h)
        both.append(np.stack(states[::way], 1))
    found = np.concatenate(both, 2) * keep
    features = found + features if n else found
"""

_POOLED = """w = np.exp((scores[ids] + features @ read("score").T + file["score_bias"]).clip(-15, 15)) * keep
pooled = np.concatenate([attend(x, w), attend(features, w), (features + (keep - 1) * 1e4).max(1)], 1)
"""


_HEAD = """even = pooled * pooled.shape[1] ** 0.5 / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-6)
rows = np.maximum(even @ inner.T + file["inner_bias"], 0) @ weight.T + file["bias"]
"""

_EACH = "for row in rows:"

_UNIT = """rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)  # vectors have the length 1
"""


def _code(pooled: str) -> RunCode:
    return RunCode("numpy tokenizers", "import gzip\n", PADDED + _READ + _TABLES, _ROWS + pooled + _HEAD + _EACH, _TOKENIZER)


_NGRAMS = """known = json.loads(gzip.decompress((folder / manifest["tokenizer"]).read_bytes()))
number = {ngram: row for row, ngram in enumerate(known["ngrams"])}"""

_FOUND = """weights, squares = read("weights"), file["idf"].astype("f4") ** 2

def ngrams(text):  # runs of words, and runs of characters inside a word
    apart = unicodedata.normalize("NFD", text.lower())
    plain = "".join(c for c in apart if not unicodedata.combining(c)).replace("ı", "i")
    words = re.findall(r"\\w+|[^\\w\\s]", plain)
    found = {" ".join(words[i:i + n]) for n in range(1, known["words"] + 1) for i in range(len(words) - n + 1)}
    low, high = known["characters"] or (1, 0)
    for word in {f" {word} " for word in words}:
        found |= {"\\t" + word[i:i + n] for n in range(low, high + 1) for i in range(max(len(word) - n + 1, 1))}
    return [number[ngram] for ngram in found if ngram in number]
"""

_SUMS = """for rows in map(ngrams, texts):
    row = weights[rows].sum(0) / max(squares[rows].sum() ** 0.5, 1e-12) + file["bias"]"""

_CODES = {
    "imbik_bag": _code(_BAG),
    "imbik_conv": _code(_CONV + _POOLED),
    "imbik_lstm": _code(_LSTM + _POOLED),
    "linear": RunCode("numpy", "import gzip, re, unicodedata\n", _READ + _FOUND, _SUMS, _NGRAMS),
}


@register_builder
class NumPyBuilder(EngineBuilder):
    """``model.npz``: tables of a student without layers, in float or as integers with scales."""

    engine = "numpy"
    tokenizer = PACKED
    schemes = ("dynamic", "weight-only")
    code = _CODES["imbik_bag"]

    def takes(self, architecture: str | None) -> bool:
        """Return whether NumPy computes the architecture; one that is not known before it is made is left to the other engines."""
        from imbik.export.arrays.lowering import lowerings

        return architecture in lowerings()

    def code_for(self, manifest: Mapping[str, Any]) -> RunCode:
        """Return the page of NumPy that computes this kind of student."""
        code = _CODES[str(manifest["architecture"]["family"])]
        unit = "unit" in manifest["graph"] and manifest["graph"]["unit"]
        return replace(code, answered=code.answered.replace(_EACH, _UNIT + _EACH)) if unit else code

    def build(self, checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
        """Write ``model.npz``; see :meth:`EngineBuilder.build`."""
        from imbik.export.arrays.build import build

        return build(checkpoint, directory, request)
