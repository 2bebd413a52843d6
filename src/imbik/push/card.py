"""The model card of a repository: metadata that the hub reads, measured results, and how the files are opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from imbik import __version__
from imbik.measure.measurement import Measurement
from imbik.push.parcel import Parcel, hub_name
from imbik.tasks.registry import DEFAULT, task_of

_PIPELINES: Mapping[str, str] = {
    "SequenceClassification": "text-classification",
    "TokenClassification": "token-classification",
    "QuestionAnswering": "question-answering",
    "SentenceEmbedding": "sentence-similarity",
}
"""What the hub calls what a model does, by transformers' name of its head."""


@dataclass(frozen=True)
class About:
    """What no file says of a model.

    Attributes:
        license: its identifier, such as ``apache-2.0``.
        base_model: hub name of the model that it was made from; None: the name that the config records, if it is one of a hub.
        dataset: hub name of its data.
        languages: codes of its languages, such as ``tr``.
    """

    license: str | None = None
    base_model: str | None = None
    dataset: str | None = None
    languages: tuple[str, ...] = ()


def card(parcel: Parcel, repository: str, about: About) -> str:
    """Return README.md: YAML that the hub reads (tags, license, base model, data set, a model index of what was measured), and a text."""
    data = ModelCardData(
        base_model=about.base_model or hub_name(parcel.fact("imbik_base")),
        datasets=about.dataset,
        eval_results=_results(parcel, about) or None,
        language=list(about.languages) or None,
        library_name=(task_of(parcel.task).library if parcel.task else "transformers") if parcel.config and _is_plain(parcel) else "imbik",
        license=about.license,
        metrics=sorted({one.quality.metric for one in parcel.measured if one.quality.metric}) or None,
        model_name=repository.rpartition("/")[2],
        pipeline_tag=_pipeline(parcel),
        tags=_tags(parcel),
    )
    return f"---\n{data.to_yaml()}\n---\n\n" + _text(parcel, repository)


def _is_plain(parcel: Parcel) -> bool:
    """Return whether transformers alone opens the model."""
    return "model.safetensors" in parcel.files and not str(parcel.fact("model_type")).startswith("imbik")


def _pipeline(parcel: Parcel) -> str | None:
    return _PIPELINES.get(task_of(parcel.task).architecture) if parcel.task else None


def _tags(parcel: Parcel) -> list[str]:
    tags = ["imbik"]
    if parcel.onnx:
        tags += ["onnx"]
        if parcel.config:  # it reads config.json
            tags += ["transformers.js"]
    steps = {name for one in parcel.measured for step in one.steps for name in step}
    return tags + sorted(
        tag for tag, wanted in {"distillation": "distill", "quantization": "quantize", "pruning": "prune"}.items() if wanted in steps
    )


def _results(parcel: Parcel, about: About) -> list[EvalResult]:
    """Return what was measured of each artefact, on the split that it was measured on."""
    if parcel.results is None:
        return []
    source = parcel.results.data.source or "data"
    name = about.dataset or hub_name(source) or PurePath(source).name
    found = []
    for one in parcel.measured:
        engine = one.id.rpartition("/")[2]
        # both in one index, so that a reader of the hub sees what the small size cost
        figures = [(one.quality.metric, one.quality.value, f"{one.quality.metric} ({engine})")]
        figures += [("retention", one.retention.value, f"share of the teacher's quality that is kept ({engine})")]
        for metric, value, shown in figures:
            if metric is not None and value is not None:
                found.append(
                    EvalResult(
                        task_type=_pipeline(parcel) or parcel.task,
                        dataset_type=about.dataset or name,
                        dataset_name=name,
                        dataset_split=one.quality.split or "test",
                        metric_type=metric,
                        metric_value=round(float(value), 4),
                        metric_name=shown,
                    )
                )
    return found


def _text(parcel: Parcel, repository: str) -> str:
    title = repository.rpartition("/")[2]
    lines = [f"# {title}", "", f"A {parcel.task or 'transformers'} model, made small by imbik {__version__} (`{parcel.name}`).", ""]
    labels = next((manifest["labels"] for manifest in parcel.manifests.values()), None) or list((parcel.fact("id2label") or {}).values())
    # a tagger has many: the first ones show what kind they are
    if labels and not (parcel.task and task_of(parcel.task).apart):
        shown = ", ".join(map(str, labels[:8])) + (f", … ({len(labels)} in all)" if len(labels) > 8 else "")
        lines += [f"Labels: {shown}.", ""]
    return "\n".join([*lines, *_table(parcel), *_use(parcel, repository)])


def _table(parcel: Parcel) -> list[str]:
    if not parcel.measured:
        return []
    metric = parcel.measured[0].quality.metric
    assert parcel.results is not None, "measurements come from results"
    environment = parcel.results.environment
    machine = f"On {environment.cpu or 'one machine'}, {environment.threads or '?'} threads"
    rows = [_row(one) for one in parcel.measured]
    rate = "images/s" if parcel.results.of_images else "texts/s"
    return [
        "## Measured",
        "",
        f"| engine | {metric} (95 %) | kept of the teacher | bytes shipped | single request, p50 | {rate} |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"{machine}; all engines and the teacher in one run.",
        "",
    ]


def _row(one: Measurement) -> str:
    quality, retention = one.quality, one.retention
    interval = f"{_number(quality.value)} ({_number(quality.low)} – {_number(quality.high)})"
    kept = "–" if retention.value is None else f"{retention.value:.1%}"
    p50, rate = one.latency_ms.p50, one.throughput.items_per_s
    size = "–" if one.bytes is None else f"{one.bytes:,}"
    cells = (
        one.id.rpartition("/")[2],
        interval,
        kept,
        size,
        "–" if p50 is None else f"{p50:.2f} ms",
        "–" if rate is None else f"{rate:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _use(parcel: Parcel, repository: str) -> list[str]:
    lines = ["## Use", ""]
    task = task_of(parcel.task or DEFAULT)
    architecture = task.architecture
    if parcel.config and _is_plain(parcel):
        lines += _code("python", task.opening(repository))
    # those who open the graph elsewhere expect the head that transformers gives it
    if parcel.onnx and parcel.config and _is_plain(parcel) and task.library == "transformers":
        file = next(name for name in parcel.files if name.startswith(f"{parcel.onnx}/") and name.endswith(".onnx")).partition("/")[2]
        optimum = f'model = ORTModelFor{architecture}.from_pretrained("{repository}", subfolder="{parcel.onnx}", file_name="{file}")'
        lines += _code("python", [f"from optimum.onnxruntime import ORTModelFor{architecture}", "", optimum])
        kind = "q8" if "quantized" in file else "fp32"
        browser = f'const run = await pipeline("{_pipeline(parcel)}", "{repository}", {{ dtype: "{kind}" }});'
        lines += _code("js", ['import { pipeline } from "@huggingface/transformers";', "", browser])
    # last, as it opens every engine
    for engine in sorted(parcel.manifests):
        opened = f'imbik.load_artefact(snapshot_download("{repository}") + "/{engine}").predict(["a text"])'
        lines += _code("python", ["import imbik", "from huggingface_hub import snapshot_download", "", opened])
    return lines


def _code(language: str, lines: Sequence[Any]) -> list[str]:
    return [f"```{language}", *lines, "```", ""]
