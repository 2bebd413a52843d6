"""The job: model, tokenizer and onnxruntime-web in one file that fetches nothing."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from imbik.errors import UserError
from imbik.jobs.files import refuse_foreign_file, replacing
from imbik.locale.phrases import Phrases
from imbik.page.facts import tokenizer_facts
from imbik.runtime.manifest import read_manifest
from imbik.tasks.outputs import TEXTS
from imbik.tasks.registry import task_of

RUNTIME, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
"""Of onnxruntime-web's folder ``dist``: the library with what loads its WebAssembly, and that."""

_MARK = b"<!-- made by imbik page -->"
_ANSWERED = ("single_label_classification", "multi_label_classification", "regression")


@dataclass(frozen=True)
class Written:
    """What was made.

    Attributes:
        path: the file.
        size: its bytes.
        model_bytes: of them, the model and its tokenizer as the page holds them.
    """

    path: Path
    size: int
    model_bytes: int


def write_page(artefact: Path, runtime: Path, out: Path, *, lang: str = "en") -> Written:
    """Write a page that answers texts in a browser, opened from a disk or from anywhere, without a request to anybody.

    Args:
        artefact: folder of an ONNX artefact whose task gives numbers a label of single texts.
        runtime: the folder ``dist`` of the npm package onnxruntime-web.
        out: the file; one that this wrote is replaced.
        lang: of the page, en or tr.

    Raises:
        UserError: another kind of artefact or tokenizer; files of onnxruntime-web are missing; ``out`` is a file of somebody else.
    """
    # before the work, which takes seconds
    refuse_foreign_file(out, lambda path: _MARK in path.open("rb").read(200))
    manifest = read_manifest(artefact)
    _check(artefact, manifest)
    parts = {"runtime": _runtime_file(runtime, RUNTIME), "wasm": _runtime_file(runtime, WASM)}
    facts = {
        "labels": list(manifest["labels"]),
        "answers": task_of(manifest["task"]).problem_type,
        "padding": manifest["padding"]["id"],
        "tokenizer": tokenizer_facts(artefact, manifest),
    }
    model = {"model": (artefact / manifest["model"]).read_bytes(), "facts": json.dumps(facts, ensure_ascii=False).encode()}
    packed = {name: _packed(content) for name, content in (parts | model).items()}
    text = _rendered(packed, lang)
    # whole or not at all: a page that was cut off opens and then fails
    with replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Written(out, out.stat().st_size, sum(len(packed[name]) for name in model))


def _check(artefact: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse what the page cannot answer with."""
    if Path(manifest["model"]).suffix != ".onnx":
        raise UserError("a page runs ONNX models", where=artefact, found=manifest["model"], fix="export it with --engine onnx")
    task = task_of(manifest["task"])
    if manifest["pairs"] or task.reads != TEXTS or task.problem_type not in _ANSWERED:
        found = "pairs of texts" if manifest["pairs"] else manifest["task"]
        raise UserError("a page answers single texts with labels or a number", where=artefact, found=found)


def _runtime_file(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise UserError(
            "a file of onnxruntime-web is missing",
            where=path,
            expected="the folder dist of the npm package onnxruntime-web",
            fix="npm install onnxruntime-web, then --runtime node_modules/onnxruntime-web/dist",
        )
    return path.read_bytes()


def _packed(content: bytes) -> str:
    """Return bytes as the page unpacks them: gzip, as letters."""
    # base64 has no letter that ends a script element; without a time the same model gives the same page
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _rendered(packed: Mapping[str, str], lang: str) -> str:
    shelf = PackageLoader("imbik.page", "templates")
    environment = Environment(loader=shelf, undefined=StrictUndefined, autoescape=select_autoescape())
    script = resources.files("imbik.page").joinpath("templates", "model.mjs").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(mark=_MARK.decode(), t=Phrases(lang), lang=lang, packed=packed, script=script)
