"""Published numbers and the brief's own tables, for columns of their own beside what is measured."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from imbik.measure.results import Results
from imbik.roi.cost import Cost, saving
from imbik.tasks.registry import DEFAULT
from imbik.types import Measurement


@functools.cache
def published() -> dict[str, Any]:
    """``published.yaml``: ``models`` (from the papers, with source and convention) and ``brief`` (the requester's tables)."""
    document: dict[str, Any] = yaml.safe_load(files("imbik.literature").joinpath("published.yaml").read_text("utf-8"))
    return document


@dataclass(frozen=True)
class BriefCost:
    """A row of the brief's cost table: what it asserts a month, and what follows from it."""

    name: str
    machine: str
    monthly: float
    yearly: float
    saved: float
    share: float


def brief_costs() -> tuple[BriefCost, ...]:
    """The brief's cost table as a worked example: its monthly prices, one machine each, twelve months, against its first row.

    >>> [(c.yearly, c.saved, round(c.share * 100)) for c in brief_costs()]
    [(14400, 0, 0), (6000, 8400, 58), (3000, 11400, 79), (1800, 12600, 88)]
    """
    rows = published()["brief"]["roi"]["rows"]
    costs = [Cost(row["name"], row["machine"], count=1, yearly=row["monthly"] * 12) for row in rows]
    found = []
    for row, cost in zip(rows, costs, strict=True):
        amount, share = saving(cost, costs[0]) or (0.0, 0.0)
        found.append(BriefCost(row["name"], row["machine"], row["monthly"], cost.yearly or 0.0, amount, share))
    return tuple(found)


# Shape of the full-size comparison -> the family that the scenarios name.
_FAMILY = {"distilbert": "distilbert-6l", "mobilebert": "mobilebert", "tinybert-4l-312": "tinybert-4l-312"}


def brief_results(architectures: Mapping[str, Any]) -> Results:
    """The brief's three models as candidates against BERT-base, so that its decisions can be derived again from evidence.

    Speed, size and CPU time are those that ``imbik compare-architectures`` measured; retention is the published one, each on its
    paper's own scale, and is marked so (``data["quality"] = "published"``). An int8 row carries the fp32 model's retention: what int8
    costs in quality was not measured.
    """
    papers = {m["shape"]: m for m in published()["models"]}
    measurements = []
    environment = architectures.get("environment") or {}
    threads = int(environment.get("threads") or 1)
    for row in architectures["rows"]:
        shape = row["shape"]
        if shape == "bert-base" and row["precision"] != "fp32":
            continue
        name = _FAMILY.get(shape, shape) + ("+int8" if row["precision"] == "int8" else "")
        measurements.append(_as_measurement(name, row, papers[shape]["retention"], threads))
    baseline = next((m.id for m in measurements if m.name == "bert-base"), None)
    return Results(DEFAULT, {"quality": "published"}, environment, baseline, tuple(measurements))


def _as_measurement(name: str, row: Mapping[str, Any], retention: float, threads: int) -> Measurement:
    return Measurement(
        id=name,
        name=name,
        engine=str(row["engine"]).split(" ")[0],  # "onnx int8"
        steps=({"quantize": {"scheme": "dynamic"}},) if row["precision"] == "int8" else (),
        architecture={key: row[key] for key in ("layers", "hidden", "heads")} | {"family": row["shape"]},
        params=row["params"],
        flops_per_item=0.0,
        bytes=row["bytes"],
        model_bytes=row["bytes"],
        quality={},
        dev_quality={"value": retention, "split": "published"},
        retention=None,
        agreement=None,
        calibration=None,
        per_class=None,
        latency_ms=row["latency_ms"],
        throughput={"items_per_s": row["items_per_s"]},
        peak_rss_bytes=row["peak_rss_bytes"],
        cold_start_s=row["cold_start_s"],
        cpu_s_per_1000=row["cpu_s_per_1000"],
        train_seconds=None,
        threads=threads,
        parity=None,
    )
