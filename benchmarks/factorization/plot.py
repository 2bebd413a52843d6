"""Draws docs/img/low-rank.svg from benchmarks/results/factorization.

python -m benchmarks.factorization.plot
"""

from __future__ import annotations

from typing import Any

from benchmarks.common import ROOT, read_result
from benchmarks.factorization.table import BUDGETS, DATA
from imbik.report import ticks_linear

COLORS = {"svd": "#8a949b", "fwsvd": "#2e8b57", "asvd": "#0b62a4", "nmf": "#d9730d"}
TITLES = {"banking77": "Banking77", "sst2": "SST-2, 10,000 rows"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 380, 330, 56, 40, 30


def panel(run: dict[str, Any], title: str, left: float) -> list[str]:
    """One data set: dashed before recovery, drawn through after it."""
    right, bottom = left + WIDTH - LEFT - GAP, HEIGHT - 50

    def x(budget: float) -> float:
        return left + (0.85 - budget) / 0.7 * (right - left)

    lowest = min(found["test_retention"]["value"] for found in run["cells"].values())
    low = max(0.0, int(lowest * 10) / 10)

    def y(value: float) -> float:
        return bottom - (value - low) / (1.02 - low) * (bottom - TOP)

    out = [f'<text x="{(left + right) / 2}" y="{TOP - 16}" text-anchor="middle" class="title">{title}</text>']
    for value in ticks_linear(low, 1.02):
        out.append(f'<line x1="{left}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="grid"/>')
        out.append(f'<text x="{left - 7}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.0%}</text>')
    for budget in BUDGETS:
        out.append(f'<text x="{x(budget):.1f}" y="{bottom + 18}" text-anchor="middle">{budget:.0%}</text>')
    out.append(f'<text x="{(left + right) / 2}" y="{bottom + 38}" text-anchor="middle">of the encoder\'s matrices left</text>')
    for method, color in COLORS.items():
        for phase in ("before", "after"):
            found = [(b, run["cells"][key]["test_retention"]["value"]) for b in BUDGETS if (key := f"{method} {b} {phase}") in run["cells"]]
            points = " ".join(f"{x(b):.1f},{y(value):.1f}" for b, value in found)
            dash = ' stroke-dasharray="4 3"' if phase == "before" else ""
            out.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.8"{dash}/>')
            fill = color if phase == "after" else "white"
            out += [f'<circle cx="{x(b):.1f}" cy="{y(value):.1f}" r="3" fill="{fill}" stroke="{color}"/>' for b, value in found]
    return out


def figure(results: dict[str, Any]) -> str:
    names = list(results)
    whole = WIDTH * len(names)
    style = "text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#e2e6e9}"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {HEIGHT + 24}" role="img">']
    out += ["<title>Share of the teacher's test accuracy kept, against size</title>", f"<style>{style}</style>"]
    out.append(f'<rect width="{whole}" height="{HEIGHT + 24}" fill="white"/>')
    for number, name in enumerate(names):
        out += panel(results[name], TITLES.get(name, name), LEFT + number * WIDTH)
    for number, (label, color) in enumerate(COLORS.items()):
        left = LEFT + 80 * number
        out.append(f'<line x1="{left}" x2="{left + 22}" y1="{HEIGHT + 8}" y2="{HEIGHT + 8}" stroke="{color}" stroke-width="2"/>')
        out.append(f'<text x="{left + 27}" y="{HEIGHT + 12}">{label}</text>')
    out.append(f'<text x="{LEFT + 340}" y="{HEIGHT + 12}">dashed: before recovery, drawn through: after it</text></svg>')
    return "\n".join(out) + "\n"


def main() -> None:
    results = {name: read_result(f"factorization/{name}") for name in DATA}
    (ROOT / "docs" / "img" / "low-rank.svg").write_text(figure(results), encoding="utf-8")


if __name__ == "__main__":
    main()
