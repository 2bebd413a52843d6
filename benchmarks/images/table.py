"""The tables of the images' benchmark, from the result file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import read_result, result_path
from benchmarks.compress.table import RIVAL, interval
from benchmarks.distillation.table import difference

CIFAR, VIT = "images/cifar10", "images/cifar10-vit"
KEPT, FASTER, SMALLER = 0.97, 4.0, 4.0
"""The bars of students: quality kept, times the images a second, times fewer bytes."""
TEACHER = 0.88
"""The bar of the teacher: accuracy on test."""


def candidates(name: str = CIFAR) -> list[str]:
    """Return what was measured, the teacher in PyTorch first; those that reach all bars are bold."""
    measured, base = _measured(name)
    lines = ["| candidate | test accuracy (95 %) | kept (95 %) | one image, p50 | images a second | shipped |", "|---|" + "---:|" * 5]
    for m in measured:
        bold = "**" if m is not base and not m.get("rival") and _reaches(m, base) else ""
        cells = (
            f"{bold}`{m['id']}`{bold}{RIVAL if m.get('rival') else ''}",
            interval(m["quality"]),
            interval(m["retention"]),
            f"{m['latency_ms']['p50']:.2f} ms",
            f"{_speed(m):,.0f} ({_speed(m) / _speed(base):.1f}x)",
            f"{m['bytes'] / 1e6:.2f} MB ({base['bytes'] / m['bytes']:.1f}x)",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def bars() -> list[str]:
    """Return whether the teacher is as good as was asked, and which candidates reach all bars, against it in PyTorch and its fastest
    artefact.
    """
    measured, base = _measured(CIFAR)
    artefacts = [m for m in measured if m["name"] == base["name"] and m is not base]
    fastest = max(artefacts, key=_speed)
    others = [m for m in measured if m["name"] != base["name"] and not m.get("rival")]
    reached = "reached" if base["quality"]["value"] >= TEACHER else "missed"
    lines = [f"* A teacher of at least {TEACHER:.0%} on test was asked for: {reached}, {100 * base['quality']['value']:.1f} %."]
    for against in (base, fastest):
        met = ", ".join(f"`{m['id']}`" for m in others if _reaches(m, against)) or "none"
        lines.append(f"* {KEPT:.0%} kept, {FASTER:.0f} times the images a second and a quarter of the bytes of `{against['id']}`: {met}.")
    return lines


def seeds() -> list[str]:
    """Return the narrow student trained by its teacher and on labels alone, and the difference over seeds and test images."""
    run = read_result(CIFAR)
    rows = {arm: _right(run["right"], arm) for arm in ("labels", "distilled")}
    titles = {"labels": "labels alone, `imbik finetune`", "distilled": "its teacher, `distill`"}
    count = len(next(iter(rows.values())))
    lines = [f"| {run['epochs']['narrow']} epochs, {count} seeds | test accuracy, each seed | mean |", "|---|---:|---:|"]
    for arm, right in rows.items():
        each = ", ".join(f"{100 * one:.1f} %" for one in right.mean(1))
        lines.append(f"| {titles[arm]} | {each} | {100 * right.mean():.1f} % |")
    value, low, high = (100 * part for part in difference(rows["distilled"], rows["labels"]))
    said = f"Distilled less labels alone: {value:+.1f} points (95 %, over seeds and images: {low:+.1f} to {high:+.1f})."
    verdict = "Distillation wins." if low > 0 else "The interval holds zero: after so few epochs distillation is not shown to win."
    return [*lines, "", said, "", verdict]


def origin(name: str = CIFAR) -> list[str]:
    """Return what the teacher took, and where the run comes from."""
    document = json.loads(result_path(name).read_text(encoding="utf-8"))
    machine, run = document["environment"], document["numbers"]
    rows, steps = run["results"]["data"]["rows"], run["steps"]
    minutes = {name: f"{part['seconds'] / 60:.0f}" for name, part in {**steps, "all": {"seconds": _seconds(steps)}}.items()}
    return [
        f"The teacher took {run['epochs']['epochs']} epochs and {minutes['teacher']} minutes, all steps {minutes['all']} minutes.",
        f"{rows['train']:,} training images, {rows['dev']:,} dev, {rows['test']:,} test.",
        "",
        f"Measured at commit `{document['commit'][:7]}` on {document['date'][:10]}: {machine['cpu']} ({', '.join(machine['flags'])}), "
        f"threads: {machine['threads']}.",
    ]


def _seconds(steps: Mapping[str, Any]) -> float:
    return float(sum(part["seconds"] for part in steps.values()))


def _measured(name: str) -> tuple[list[Any], Any]:
    results = read_result(name)["results"]
    base = next(m for m in results["measurements"] if m["id"] == results["baseline"])
    return [base, *(m for m in results["measurements"] if m is not base)], base


def _speed(m: Mapping[str, Any]) -> float:
    return float(m["throughput"]["items_per_s"])


def _reaches(m: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Return whether a candidate keeps enough at enough of the speed and few enough bytes."""
    return bool(m["retention"]["value"] >= KEPT and _speed(m) >= FASTER * _speed(base) and base["bytes"] >= SMALLER * m["bytes"])


def _right(answers: Mapping[str, str], arm: str) -> NDArray[np.float64]:
    """Return right answers ``(seeds, images)`` of one way to train."""
    found: Iterable[str] = (digits for name, digits in answers.items() if name.split()[0] == arm)
    return np.array([[float(digit) for digit in digits] for digits in found])


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    "cifar10": ((CIFAR,), candidates),
    "cifar10-bars": ((CIFAR,), bars),
    "cifar10-seeds": ((CIFAR,), seeds),
    "cifar10-origin": ((CIFAR,), origin),
    "vit": ((VIT,), partial(candidates, VIT)),
    "vit-origin": ((VIT,), partial(origin, VIT)),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
