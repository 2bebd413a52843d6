"""Tables of artefacts beside the small classifiers that others make, and who stands above whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.common import origin, read_result

SETS = ("banking77", "sst2", "trec")
TITLES = {
    "fasttext": "fastText",
    "fasttext-small": "fastText, at most 1 MB",
    "model2vec": "model2vec",
    "model2vec-int8": "model2vec, 8 bits",
}


def beside(name: str) -> list[str]:
    """Return all models of one data set, fastest first, and for each peer what of ours dominates it."""
    numbers = read_result(f"rivals/{name}")
    models: dict[str, Any] = numbers["models"]
    lines = ["| | test accuracy (95 %) | texts a second | one request, p50 | shipped |", "|---|---:|---:|---:|---:|"]
    for key, one in sorted(models.items(), key=lambda item: -item[1]["texts_per_s"]):
        a = one["accuracy"]
        cells = (
            f"{TITLES[key]} ◇" if one["peer"] else f"`{key}`",
            f"{100 * a['value']:.1f} % ({100 * a['low']:.1f} – {100 * a['high']:.1f})",
            f"{one['texts_per_s']:,.0f}",
            f"{1000 * one['p50_ms']:,.0f} µs",
            f"{one['bytes'] / 1e6:,.2f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    lines += [f"* {TITLES[key]}: {verdict(one, models)}." for key, one in models.items() if one["peer"]]
    return [*lines, "", f"{numbers['rows']:,} test texts; {', '.join(numbers['versions'])}. {origin(f'rivals/{name}')}"]


def verdict(peer: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Return in words what of ours is at least as accurate and at least as fast, or as small, in points of this sample."""
    parts = []
    for word, better in (
        ("as fast", lambda one: one["texts_per_s"] >= peer["texts_per_s"]),
        ("as small", lambda one: one["bytes"] <= peer["bytes"]),
    ):
        above = [
            key for key, one in models.items() if not one["peer"] and one["accuracy"]["value"] >= peer["accuracy"]["value"] and better(one)
        ]
        best = max(above, key=lambda key: models[key]["accuracy"]["value"], default=None)
        parts.append(f"at least as accurate and {word}: {f'`{best}`' if best else 'nothing of ours'}")
    return "; ".join(parts)


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    name: ((f"rivals/{name}",), lambda name=name: beside(name))  # type: ignore[misc]
    for name in SETS
}
"""Name -> the result files that it reads, and the function that makes its lines."""
