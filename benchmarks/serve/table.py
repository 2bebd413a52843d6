"""The tables of a server under load, from the result file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.common import origin, read_result

LOAD, OVERLOAD = "serve/load-banking77", "serve/load-banking77-teacher"
_NAMES = {"imbik": "`imbik serve`", "onnxruntime": "FastAPI + onnxruntime", "transformers": "FastAPI + transformers"}


def load() -> list[str]:
    """Return one line for each server: the rate that it holds, and how it answers at the highest that held."""
    found = read_result(LOAD)
    servers, trials = found["servers"], found["trials"]
    rates = {server: facts["median_per_s"] for server, facts in servers.items()}
    heads = ("server", "requests/s at a p99 of 20 ms", "of single rounds", "p50, ms", "p99, ms", "imbik's rate, times this one")
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for server, facts in servers.items():
        held = [
            cell for key, cell in trials.items() if key.startswith(f"{server}/") and cell["rate"] in facts["rates"] and _all_answered(cell)
        ]
        best = max(held, key=lambda cell: cell["rate"], default={"p50_ms": float("nan"), "p99_ms": float("nan")})
        rounds = ", ".join(f"{rate:,.0f}" for rate in facts["rates"])
        times = "" if server == "imbik" or not rates[server] else f"{rates['imbik'] / rates[server]:.1f}"
        cells = (_NAMES[server], f"{rates[server]:,.0f}", rounds, f"{best['p50_ms']:.2f}", f"{best['p99_ms']:.2f}", times)
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", f"Processes of each server: {found['workers']}.", "", origin(LOAD)]


def _all_answered(cell: dict[str, Any]) -> bool:
    return set(cell["statuses"]) == {"200"}


def overload() -> list[str]:
    """Return a line at half the rate that imbik holds, and one at ten times that rate."""
    heads = ("asked, requests/s", "sent", "answered", "refused (429, 503)", "no answer", "p50, ms", "p99, ms", "memory before", "after")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---:|" * len(heads)]
    for key, cell in read_result(OVERLOAD)["trials"].items():
        if key.startswith("overload-"):
            statuses = {"200": 0, "429": 0, "503": 0, "0": 0} | cell["statuses"]
            counts = (cell["sent"], statuses["200"], statuses["429"] + statuses["503"], statuses["0"])
            sizes = (f"{cell[name] / 2**20:.0f} MiB" for name in ("rss_before", "rss_after"))
            shown = (f"{cell['rate']:,.0f}", *(f"{count:,}" for count in counts), f"{cell['p50_ms']:.1f}", f"{cell['p99_ms']:.1f}", *sizes)
            lines.append("| " + " | ".join(shown) + " |")
    return lines


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"load": ((LOAD,), load), "overload": ((OVERLOAD,), overload)}
"""Name -> the result files that it reads, and the function that makes its lines."""
