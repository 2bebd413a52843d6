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
    titles = ("", "test accuracy (95 %)", "texts a second", "one request, p50", "shipped", "as good and as fast", "as good and as small")
    lines = [f"| {' | '.join(titles)} |", "|---|---:|---:|---:|---:|---|---|"]
    for key, one in sorted(models.items(), key=lambda item: -item[1]["texts_per_s"]):
        a = one["accuracy"]
        cells = (
            f"{TITLES[key]} ◇" if one["peer"] else f"`{key}`",
            f"{100 * a['value']:.1f} % ({100 * a['low']:.1f} – {100 * a['high']:.1f})",
            f"{one['texts_per_s']:,.0f}",
            f"{1000 * one['p50_ms']:,.0f} µs",
            f"{one['bytes'] / 1e6:,.2f} MB",
            *((above(one, models, "texts_per_s", 1), above(one, models, "bytes", -1)) if one["peer"] else ("", "")),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", f"{numbers['rows']:,} test texts; {' and '.join(numbers['versions'])}.", "", origin(f"rivals/{name}")]


def above(peer: Mapping[str, Any], models: Mapping[str, Any], cost: str, sign: int) -> str:
    """Return the most accurate of ours that is no less accurate than a peer, and no worse in bytes or speed; a dash where none is."""
    found = {
        key: one["accuracy"]["value"]
        for key, one in models.items()
        if not one["peer"] and one["accuracy"]["value"] >= peer["accuracy"]["value"] and sign * one[cost] >= sign * peer[cost]
    }
    return f"`{max(found, key=lambda key: found[key])}`" if found else "–"


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    name: ((f"rivals/{name}",), lambda name=name: beside(name))  # type: ignore[misc]
    for name in SETS
}
"""Name -> the result files that it reads, and the function that makes its lines."""
