"""Results that look like a run on a bank's messages, made in code: eight candidates and the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imbik.advise.choice import choose, pareto
from imbik.measure.measurement import (
    Architecture,
    Calibration,
    ClassQuality,
    Latency,
    Measurement,
    Parity,
    Quality,
    Retention,
    Throughput,
)
from imbik.measure.results import Results
from imbik.measure.values import Data, Disagreement, Environment
from imbik.types import Note

LABELS = ("card_arrival", "lost_card", "top_up_failed", "exchange_rate", "cash_withdrawal", "change_pin")
TEACHER = "teacher/pytorch"
DISTIL: Mapping[str, Any] = {"distill": {"temperature": 2.0}}
QUANTIZE: Mapping[str, Any] = {"quantize": {"scheme": "dynamic"}}

# name, engine, layers, hidden, params, MB, test, dev, p50 ms, items/s, RSS MB, CPU s per 1000
_ROWS = (
    ("teacher", "pytorch", 6, 384, 22_742_477, 91.0, 0.9325, 0.9300, 38.0, 102.0, 441.0, 17.8),
    ("teacher", "onnx", 6, 384, 22_742_477, 91.4, 0.9325, 0.9300, 7.60, 310.0, 210.0, 6.3),
    ("int8", "onnx", 6, 384, 22_742_477, 23.7, 0.9315, 0.9290, 2.10, 906.0, 95.0, 2.1),
    ("layers-3+int8", "onnx", 3, 384, 17_419_000, 18.1, 0.9322, 0.9310, 3.10, 1700.0, 80.0, 1.15),
    ("layers-1", "onnx", 1, 384, 13_870_000, 56.0, 0.9230, 0.9250, 1.90, 1500.0, 120.0, 1.3),
    ("layers-1+int8", "onnx", 1, 384, 13_870_000, 14.6, 0.9225, 0.9240, 0.71, 3690.0, 66.0, 0.52),
    ("mini-2x192+int8", "onnx", 2, 192, 6_800_000, 7.4, 0.9020, 0.9010, 0.62, 4770.0, 52.0, 0.41),
    ("mini-1x128+int8", "onnx", 1, 128, 4_200_000, 4.9, 0.8710, 0.8700, 0.44, 7100.0, 47.0, 0.28),
    ("svd-50+int8", "onnx", 6, 384, 17_000_000, 19.0, 0.9120, 0.9100, 2.60, 720.0, 92.0, 2.7),
)


def measurement(row: tuple[Any, ...], n: int = 3080) -> Measurement:
    """One row of the table above with the fields that a run fills in."""
    name, engine, layers, hidden, params, mb, test, dev, p50, rate, rss, cpu = row
    steps = () if name in ("teacher", "int8") else (DISTIL,)
    half = 1.96 * (test * (1 - test) / n) ** 0.5
    kept = test / 0.9325
    recall = {label: round(test + 0.02 - 0.01 * i, 4) for i, label in enumerate(LABELS)}
    return Measurement(
        id=f"{name}/{engine}",
        name=name,
        engine=engine,
        parent=(name.removesuffix("int8").removesuffix("+") or "teacher") if "int8" in name else None,
        steps=steps + ((QUANTIZE,) if "int8" in name else ()),
        architecture=Architecture(family="bert", layers=layers, hidden=hidden, heads=12, vocabulary=30522),
        params=params,
        flops_per_item=2.0 * params * 14,
        bytes=int(mb * 1e6),
        model_bytes=int(mb * 1e6) - 711_661,
        quality=Quality(test, test - half, test + half, metric="accuracy", split="test", n=n),
        dev_quality=Quality(dev, metric="accuracy", split="dev", n=1000),
        retention=Retention(kept, kept - 0.008, min(kept + 0.008, 1.01)),
        agreement=round(kept - 0.01, 4),
        calibration=Calibration(0.021),
        per_class={label: ClassQuality(precision=r - 0.005, recall=r, f1=r - 0.002, support=n // 6) for label, r in recall.items()},
        latency_ms=Latency(p50, p50 * 1.6, p50 * 2.1, batch=1, tokens=14.1),
        throughput=Throughput(rate, batch=64.0),
        peak_rss_bytes=int(rss * 1e6),
        cold_start_s=round(0.2 + mb / 200, 3),
        cpu_s_per_1000=cpu,
        train_seconds=None if not steps else 95.0,
        threads=2,
        parity=Parity(max_abs=0.0009, agreement=1.0, int8_ops=14, float_matmuls=0),
    )


def results(**changes: Any) -> Results:
    """The whole run; ``changes`` replace fields."""
    measurements = tuple(measurement(row) for row in _ROWS)
    values: dict[str, Any] = {
        "task": "classification",
        "data": Data(
            source="banking",
            fingerprint="ab" * 32,
            labels=LABELS,
            rows={"train": 9003, "dev": 1000, "test": 3080},
            notes=(Note.of("in_train", count=25, total=3080, split="test"),),
        ),
        "environment": Environment(cpu="Example CPU", cores=2, threads=2, versions={"python": "3.11.2", "imbik": "0.1.0"}),
        "baseline": TEACHER,
        "measurements": measurements,
        "failures": ({"name": "mobilebert", "error": "loss is not finite at step 12"},),
        "choice": choose(measurements, TEACHER),
        "pareto": pareto(measurements),
        "disagreements": {
            "layers-1+int8/onnx": (
                Disagreement(text="My card is <lost> & I'm angry", gold="lost_card", teacher="lost_card", student="card_arrival", index=7),
            )
        },
    }
    return Results(**values | changes)
