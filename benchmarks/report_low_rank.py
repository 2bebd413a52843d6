"""Writes docs/results/low_rank.md and docs/img/low-rank.svg from benchmarks/results/low_rank.json.

python benchmarks/report_low_rank.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imbik.report.plot import ticks_linear

ROOT = Path(__file__).parents[1]
METHODS = {"svd": ("#8a949b", "svd"), "fwsvd": ("#2e8b57", "fwsvd"), "asvd": ("#0b62a4", "asvd"), "nmf": ("#d9730d", "nmf")}
BUDGETS = (0.8, 0.65, 0.5, 0.35, 0.2)
TITLES = {"banking77": "Banking77", "sst2": "SST-2, 10,000 rows"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 380, 330, 56, 40, 30


def cell(run: dict[str, Any], method: str, budget: float, phase: str, split: str = "test") -> str:
    found = run["cells"].get(f"{method} {budget} {phase}")
    if found is None:
        return "not run"
    before, kept = run["cells"][f"{method} {budget} before"], found[f"{split}_retention"]
    same = " =" if phase == "after" and all(found[name] == before[name] for name in ("dev", "test")) else ""
    return f"{kept['value']:.1%}" + (f" ({kept['low']:.1%} – {kept['high']:.1%})" if split == "test" else "") + same


def table(run: dict[str, Any]) -> list[str]:
    lines = ["| method | matrices left | parameters | dev, before | test, before | dev, after | test, after |", "|---|" + "---:|" * 6]
    for method in METHODS:
        for budget in BUDGETS:
            size = run["cells"].get(f"{method} {budget} before")
            if size is None:
                continue
            cells = [cell(run, method, budget, phase, split) for phase in ("before", "after") for split in ("dev", "test")]
            lines.append(f"| {method} | {size['matrices_left']:.1%} | {size['params']:,} | {' | '.join(cells)} |")
    return lines


def page(results: dict[str, Any]) -> str:
    parts = [
        "# Low rank: measured",
        "",
        "Made by `benchmarks/bench_low_rank.py` and `benchmarks/report_low_rank.py`. The teachers are fine-tuned MiniLM encoders",
        "(6 layers, hidden 384, 22.7 million parameters, 10.6 of them in the matrices that are factorized). Retention is the share of the",
        "teacher's accuracy on the same items, with its 95 % interval on test. One seed; quality is measured in PyTorch.",
        "`=`: no epoch of the recovery was better on dev than the start, which is kept then.",
        "(SST-2's cells were trained before `distill` did that by itself; the rule was applied to their dev scores before and after.)",
        "",
        "![Retention against the share of the encoder's matrices that is left](../img/low-rank.svg)",
    ]
    for name, run in results.items():
        recovery, rows = run["recovery"], run["rows"]
        quality = run["teacher"]["test"]
        parts += [
            "",
            f"## {TITLES.get(name, name)}",
            "",
            f"Teacher: {quality['metric']} {quality['value']:.4f} on test ({rows['test']:,} rows).",
            f"After: the same short recovery for all, {recovery['max_steps']} updates on {rows['train']:,} texts at learning rate "
            f"{recovery['learning_rate']:g}; a recipe makes 1,500.",
            "",
            *table(run),
        ]
    return "\n".join(parts) + "\n"


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
    for method, (color, _) in METHODS.items():
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
    for number, (color, label) in enumerate(METHODS.values()):
        left = LEFT + 80 * number
        out.append(f'<line x1="{left}" x2="{left + 22}" y1="{HEIGHT + 8}" y2="{HEIGHT + 8}" stroke="{color}" stroke-width="2"/>')
        out.append(f'<text x="{left + 27}" y="{HEIGHT + 12}">{label}</text>')
    out.append(f'<text x="{LEFT + 340}" y="{HEIGHT + 12}">dashed: before recovery, drawn through: after it</text></svg>')
    return "\n".join(out) + "\n"


def main() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "low_rank.json").read_text(encoding="utf-8"))
    (ROOT / "docs" / "results" / "low_rank.md").write_text(page(results), encoding="utf-8")
    (ROOT / "docs" / "img" / "low-rank.svg").write_text(figure(results), encoding="utf-8")


if __name__ == "__main__":
    main()
