"""Published numbers and the tables of the study that the business cases come from, for columns of their own beside what is measured.

The study compares BERT-base with DistilBERT, MobileBERT and TinyBERT for three business cases and claims that DistilBERT serves a bank's
support desk best, MobileBERT a mobile banking app, and TinyBERT a nightly batch of reviews.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files

import yaml
from pydantic import TypeAdapter

from imbik.literature.comparison import ArchitectureRow, Architectures
from imbik.measure.measurement import Architecture, Measurement, Quality, Throughput
from imbik.measure.results import Results
from imbik.measure.values import Data
from imbik.roi.cost import Cost, saving
from imbik.tasks.registry import DEFAULT
from imbik.types import Step

_QUANTIZE: Step = {"quantize": {"scheme": "dynamic"}}


@dataclass(frozen=True)
class Paper:
    """A model as its paper has it; ``retention`` is its average over that of the paper's own BERT-base."""

    name: str
    shape: str
    retention: float
    params_m: float
    layers: int
    hidden: int
    heads: int
    glue: float
    convention: str
    squad_f1: float
    speedup: float
    device: str
    source: str


@dataclass(frozen=True)
class StudyModel:
    """A model as the study has it."""

    name: str
    params_m: float
    layers: int
    hidden: int
    heads: int
    speedup: float
    megabytes: float
    glue: float
    squad_f1: float
    retention: float


@dataclass(frozen=True)
class StudyPrice:
    """A row of the study's cost table: one machine and its price a month."""

    name: str
    machine: str
    monthly: float


@dataclass(frozen=True)
class StudyRoi:
    """The study's cost table."""

    per_day: int
    currency: str
    rows: tuple[StudyPrice, ...]


@dataclass(frozen=True)
class Study:
    """The study's own tables, and where it differs from the papers (a text by language)."""

    models: tuple[StudyModel, ...]
    corrections: tuple[dict[str, str], ...]
    roi: StudyRoi


@dataclass(frozen=True)
class Published:
    """All of ``published.yaml``."""

    models: tuple[Paper, ...]
    study: Study

    def paper(self, shape: str) -> Paper:
        """Return the paper's numbers of a shape."""
        return next(paper for paper in self.models if paper.shape == shape)


@functools.cache
def published() -> Published:
    """Return ``published.yaml``."""
    document = yaml.safe_load(files("imbik.literature").joinpath("published.yaml").read_text("utf-8"))
    return TypeAdapter(Published).validate_python(document)


@dataclass(frozen=True)
class StudyCost:
    """A row of the study's cost table: what it states a month, and what follows from it."""

    name: str
    machine: str
    monthly: float
    yearly: float
    saved: float
    share: float


def study_costs() -> tuple[StudyCost, ...]:
    """Return the study's cost table worked out: its monthly prices, one machine each, twelve months, against its first row.

    >>> [(c.yearly, c.saved, round(c.share * 100)) for c in study_costs()]
    [(14400.0, 0.0, 0), (6000.0, 8400.0, 58), (3000.0, 11400.0, 79), (1800.0, 12600.0, 88)]
    """
    prices = published().study.roi.rows
    costs = [Cost(price.name, price.machine, count=1, yearly=price.monthly * 12) for price in prices]
    rows = []
    for price, cost in zip(prices, costs, strict=True):
        amount, share = saving(cost, costs[0]) or (0.0, 0.0)
        rows.append(
            StudyCost(
                name=price.name,
                machine=price.machine,
                monthly=price.monthly,
                yearly=cost.yearly or 0.0,
                saved=amount,
                share=share,
            )
        )
    return tuple(rows)


# Shape of the full-size comparison -> the family that the scenarios name.
_FAMILY = {"distilbert": "distilbert-6l", "mobilebert": "mobilebert", "tinybert-4l-312": "tinybert-4l-312"}


def study_results(architectures: Architectures) -> Results:
    """Return the study's three models as candidates against BERT-base, so that its decisions can be derived again from evidence.

    Speed, size and CPU time are those that ``imbik compare-architectures`` measured; retention is the published one, each on its
    paper's own scale, and is marked so (``data.quality`` is ``published``). An int8 row carries the fp32 model's retention: what int8
    costs in quality was not measured.
    """
    threads = architectures.environment.threads or 1
    rows = [row for row in architectures.rows if row.shape != "bert-base" or row.precision == "fp32"]
    measurements = tuple(_as_measurement(row, threads) for row in rows)
    baseline = next((m.id for m in measurements if m.name == "bert-base"), None)
    return Results(
        task=DEFAULT,
        data=Data(quality="published"),
        environment=architectures.environment,
        baseline=baseline,
        measurements=measurements,
    )


def _as_measurement(row: ArchitectureRow, threads: int) -> Measurement:
    """Return a row as a measurement with the quality that its paper states."""
    family = _FAMILY.get(row.shape, row.shape)
    quantized = row.precision == "int8"
    name = f"{family}+int8" if quantized else family
    return Measurement(
        id=name,
        name=name,
        engine=row.engine.split(" ")[0],  # "onnx int8"
        parent=family if quantized else None,
        steps=(_QUANTIZE,) if quantized else (),
        architecture=Architecture(family=row.shape, layers=row.layers, hidden=row.hidden, heads=row.heads),
        params=row.params,
        bytes=row.bytes,
        model_bytes=row.bytes,
        dev_quality=Quality(value=published().paper(row.shape).retention, split="published"),
        latency_ms=row.latency_ms,
        throughput=Throughput(items_per_s=row.items_per_s),
        peak_rss_bytes=row.peak_rss_bytes,
        cold_start_s=row.cold_start_s,
        cpu_s_per_1000=row.cpu_s_per_1000,
        threads=threads,
    )
