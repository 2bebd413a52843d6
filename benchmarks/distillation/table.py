"""The tables of the ablations and of the comparison with TextBrewer, from the result files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import read_result
from benchmarks.distillation.questions import QUESTIONS, SEEDS, Variant, key

ABLATIONS = "distillation/ablations-banking77"
PEER = "distillation/textbrewer"


def matrix(cells: dict[str, Any], variant: Variant, seeds: list[int]) -> NDArray[np.float64]:
    """Return right answers ``(seeds, items)``."""
    return np.array([[float(c) for c in cells[key(variant, seed)]["right"]] for seed in seeds])


@cache
def _rows(question: str) -> tuple[list[int], dict[str, NDArray[np.float64]]]:
    """Return the seeds that all variants have, and the right answers of each variant."""
    cells, variants = read_result(ABLATIONS)["cells"], QUESTIONS[question]
    seeds = [seed for seed in SEEDS if all(key(v, seed) in cells for v in variants.values())]
    return seeds, {name: matrix(cells, variant, seeds) for name, variant in variants.items()} if seeds else {}


def difference(one: NDArray[np.float64], other: NDArray[np.float64], resamples: int = 4000) -> tuple[float, float, float]:
    """Return the mean of ``one - other`` and its 95 % interval over seeds and items drawn with replacement."""
    gap = one - other
    generator = np.random.default_rng(0)
    draws = []
    for _ in range(resamples):
        seeds, items = generator.integers(0, gap.shape[0], gap.shape[0]), generator.integers(0, gap.shape[1], gap.shape[1])
        draws.append(gap[seeds][:, items].mean())
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(gap.mean()), float(low), float(high)


@cache
def _gap(question: str, variant: str) -> tuple[float, float, float]:
    """Return the difference of a variant to the question's first one."""
    rows = _rows(question)[1]
    return difference(rows[variant], next(iter(rows.values())))


def ablation(question: str) -> list[str]:
    """Return the table of one question."""
    seeds, rows = _rows(question)
    first = next(iter(QUESTIONS[question].values()))
    updates = sum(s.get("target_steps", s.get("transfer_steps", 0)) for step in first.steps for s in step.values())
    head = f"{len(seeds)} seed{'s'[: len(seeds) > 1]}, {updates} updates"
    out = [f"| {head} | test accuracy | difference |", "| --- | ---: | ---: |"]
    for number, (name, right) in enumerate(rows.items()):
        value, low, high = _gap(question, name) if number else (0.0, 0.0, 0.0)
        gap = f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})" if number else ""
        out.append(f"| {name} | {right.mean():.1%} | {gap} |")
    return out


def textbrewer() -> list[str]:
    """Return the table of the comparison with TextBrewer."""
    found = read_result(PEER)
    titles = {"TextBrewer cached": "TextBrewer, logits computed once", "TextBrewer general": "TextBrewer, logits and hidden states"}
    out = ["| | seconds | test accuracy | imbik's, less this (95 %) |", "|---|---:|---:|---:|"]
    out.append(f"| imbik, `distill` | {found['seconds']['imbik']:.1f} | {100 * found['test']['imbik']:.1f} % | |")
    for name, title in titles.items():
        value, low, high = (100 * v for v in found["imbik's accuracy less theirs (95 %)"][name])
        seconds = f"{found['seconds'][name]:.1f} ({found['times as long as imbik'][name]:.1f} times)"
        out.append(f"| {title} | {seconds} | {100 * found['test'][name]:.1f} % | {value:+.1f} ({low:.1f} to {high:.1f}) |")
    return out


SHORT = {
    "start": "Does a start from the teacher help? (two of its layers)",
    "narrow": "Does a start from the teacher help a narrow student? (2 × 192)",
    "random": "Does intermediate transfer help a student that cannot copy layers? (2 × 192, random)",
    "copies": "And a student that copies layers? (two layers of the teacher)",
    "map": "Which map of layers? (2 × 192, random, tinybert, then logits)",
    "augmentation": "Does augmentation help with 500 rows? (two layers of the teacher)",
    "mobilebert": "Does MobileBERT's transfer help? (6 blocks, 128 between them, 48 inside)",
}


def derived() -> dict[str, Any]:
    """Return accuracies and differences of every finished question, for sentences: ``random["tinybert, then logits"].gap``."""
    found: dict[str, Any] = {}
    for short, question in SHORT.items():
        variants = {}
        for number, (name, right) in enumerate(_rows(question)[1].items()):
            value, low, high = _gap(question, name) if number else (0.0, 0.0, 0.0)
            variants[name] = {"accuracy": float(right.mean()), "gap": value, "low": low, "high": high}
        found[short] = variants
    return found


DERIVED_FROM = (ABLATIONS,)
TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    **{short: ((ABLATIONS,), lambda question=question: ablation(question)) for short, question in SHORT.items()},  # type: ignore[misc]
    "textbrewer": ((PEER,), textbrewer),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
