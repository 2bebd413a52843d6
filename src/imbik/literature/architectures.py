"""The four architectures of the literature at full size, measured here: real shapes with random weights.

Speed and size depend on the shape and not on what was learned, so they are real; quality does not exist and stands in a published
column instead. Needs ``imbik[compress]``.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import PreTrainedTokenizerBase

from imbik.data.bundled import bundled_base, bundled_data
from imbik.data.load import load_data
from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.parity import ParityError
from imbik.jobs.progress import Progress
from imbik.literature.comparison import ArchitectureRow, Architectures, Published, Texts
from imbik.literature.published import published
from imbik.measure.measurement import Measurement
from imbik.measure.process import Candidate
from imbik.measure.quantities import read
from imbik.measure.run import measure
from imbik.measure.values import Failure
from imbik.models.checkpoint import set_labels
from imbik.models.pretrained import auto_class
from imbik.models.tokenizer_files import load_tokenizer
from imbik.tasks.registry import DEFAULT
from imbik.types import Checkpoint, Examples, Splits, TaskName

LABELS = ("a", "b")
ROWS = 256  # texts that are measured; the speeds settle long before


def _configs() -> Mapping[str, Any]:
    """Return the configurations as published, by shape."""
    small = {"hidden_size": 312, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 1200}
    return {
        "bert-base": transformers.BertConfig(),
        "distilbert": transformers.DistilBertConfig(),
        "mobilebert": transformers.MobileBertConfig(),
        "tinybert-4l-312": transformers.BertConfig(**small),
    }


SHAPES = ("bert-base", "distilbert", "mobilebert", "tinybert-4l-312")


@dataclass(frozen=True)
class _Texts:
    """What is measured on: texts with made-up labels, since random weights have no quality."""

    test: Examples
    dev: None = None
    task: TaskName = DEFAULT
    labels: tuple[str, ...] = LABELS
    metric: str = "accuracy"
    source: str = ""


def random_checkpoint(shape: str, tokenizer: PreTrainedTokenizerBase | None, seed: int = 0) -> Checkpoint:
    """Return a classifier of the published shape with random weights.

    Raises:
        UserError: no such shape.
    """
    if shape not in SHAPES:
        raise UserError("no such architecture", where="--shape", found=shape, expected=", ".join(SHAPES))
    config = _configs()[shape]
    set_labels(config, DEFAULT, LABELS)
    torch.manual_seed(seed)
    model = auto_class(DEFAULT).from_config(config).eval()
    return Checkpoint(model, tokenizer, DEFAULT)


def compare_architectures(
    *,
    shapes: Sequence[str] = SHAPES,
    engine: str = "onnx",
    base: str | Path | None = None,
    data: str | Path | None = None,
    threads: int | None = None,
    progress: Progress,
) -> Architectures:
    """Export every shape in fp32 and int8, measure all in one interleaved run.

    Args:
        base: folder whose tokenizer is used; default: the bundled base's (BERT's English vocabulary).
        data: whose texts are measured on; default: the bundled bank messages.

    Returns:
        A row per shape and precision: sizes, speeds, ratios to BERT-base fp32, or to the first shape's where it is left out; the
        study's and the published speed-up.

    Raises:
        UserError: an unknown shape or engine, unreadable data.
    """
    splits = load_data(data) if data else load_data(bundled_data(), text="text", label="intent")
    texts = _sample(splits)
    folder = str(base or bundled_base())
    tokenizer = load_tokenizer(folder, transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False), "base model")
    with tempfile.TemporaryDirectory(prefix="imbik-shapes-") as temporary:
        candidates, failures = _export_all(shapes, engine, tokenizer, texts, Path(temporary), progress)
        if not candidates:
            raise UserError("nothing could be exported", found="; ".join(f["error"] for f in failures))
        measured = measure(candidates, texts, threads=threads, progress=progress, rounds=3)
    return Architectures(
        rows=_rows(measured.measurements),
        engine=engine,
        texts=Texts(splits.source if data else "bundled bank messages", len(texts.test.texts)),
        environment=measured.environment,
        failures=(*failures, *measured.failures),
    )


def _sample(splits: Splits) -> _Texts:
    found = list(splits.test.texts[:ROWS])
    pairs = None if splits.test.pairs is None else list(splits.test.pairs[:ROWS])
    targets = torch.arange(len(found)).numpy() % len(LABELS)
    return _Texts(Examples(found, pairs, targets, splits.test.fingerprint))


def _export_all(
    shapes: Sequence[str], engine: str, tokenizer: PreTrainedTokenizerBase | None, texts: _Texts, folder: Path, progress: Progress
) -> tuple[list[Candidate], list[Failure]]:
    """Export every shape in fp32 and int8; what an engine refuses is recorded and the others go on."""
    candidates: list[Candidate] = []
    failures: list[Failure] = []
    for shape in shapes:
        plain = random_checkpoint(shape, tokenizer)
        for precision, steps in (("fp32", ()), ("int8", ({"quantize": {"scheme": "dynamic"}},))):
            name = f"{shape}+int8" if steps else shape
            checkpoint = Checkpoint(plain.model, plain.tokenizer, plain.task, steps)
            path = folder / name
            try:
                export(checkpoint, engine, path, texts=texts.test, least=None, progress=progress)  # random weights: speed and size
            except (UserError, ParityError, RuntimeError) as error:
                failures.append({"id": f"{name}/{engine}", "name": shape, "precision": precision, "error": str(error)})
                continue
            candidates.append(Candidate(f"{name}/{engine}", name, engine, path, steps, parent=shape if steps else None))
    return candidates, failures


def _rows(measurements: Sequence[Measurement]) -> tuple[ArchitectureRow, ...]:
    """Return one row per measurement, with ratios to the first."""
    return tuple(_row(m, measurements[0]) for m in measurements)


def _row(m: Measurement, first: Measurement) -> ArchitectureRow:
    paper = published().paper(m.parent or m.name)
    study = next(model for model in published().study.models if model.name == paper.name)
    precision: Literal["fp32", "int8"] = "int8" if m.quantized else "fp32"
    return ArchitectureRow(
        name=paper.name,
        shape=paper.shape,
        precision=precision,
        engine=f"{m.engine} {precision}",
        params=m.params or 0,
        layers=m.architecture.layers or 0,
        hidden=m.architecture.hidden or 0,
        heads=m.architecture.heads or 0,
        bytes=m.bytes or 0,
        p50_ms=m.latency_ms.p50 or math.nan,
        p95_ms=m.latency_ms.p95,
        items_per_s=m.throughput.items_per_s or math.nan,
        latency_ms=m.latency_ms,
        peak_rss_bytes=m.peak_rss_bytes or 0,
        cold_start_s=m.cold_start_s or math.nan,
        cpu_s_per_1000=m.cpu_s_per_1000 or math.nan,
        speedup=read("speedup", m, first).value or math.nan,
        throughput_gain=read("throughput_gain", m, first).value or math.nan,
        study_speedup=study.speedup,
        published=Published(
            glue=paper.glue,
            convention=paper.convention,
            squad_f1=paper.squad_f1,
            speedup=paper.speedup,
            device=paper.device,
            source=paper.source,
        ),
    )
