"""A small SVG writer: one row for each model, a dot with its interval for quality, bars for seconds. No plotting library."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from imbik.recommend.evaluation.result import Comparison, decimal

ROW, LEFT, WIDTH, GAP, BAR = 26, 130, 330, 40, 200


def dot_plot(result: Comparison) -> str:
    """Return an SVG of a comparison: the chosen metric left, training seconds (logarithmic) right.

    Colors follow the reader's light or dark scheme; the text alternative lists the values. Models that are not in the
    table are named below.
    """
    metric, rows = result["metric"], result["models"]
    height = 60 + ROW * len(rows)
    absent = ", ".join(entry["name"] for entry in result["left_out"])
    measured = [row["measures"][metric] for row in rows]
    low, high = min(m["low"] for m in measured), max(m["high"] for m in measured)
    span = (high - low) or 1.0
    low, high = low - 0.05 * span, high + 0.05 * span
    # From a millisecond to an hour: seconds need a logarithm, and a zero has none.
    seconds = [max(row["measures"]["train_seconds"]["mean"], 1e-4) for row in rows]
    first, last = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)) + 1e-9)
    title = "; ".join(f"{r['name']} {decimal(m['mean'])}" for r, m in zip(rows, measured, strict=True))
    parts = [_head(height + (ROW if absent else 0), f"{metric} by model: {title}"), *_axis(metric, low, high, height)]
    for number, (row, spread, duration) in enumerate(zip(rows, measured, seconds, strict=True)):
        y = 48 + ROW * number
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(row["name"])}</text>')
        parts += _dot(y, *(LEFT + WIDTH * (value - low) / (high - low) for value in (spread["low"], spread["mean"], spread["high"])))
        length = BAR * (math.log10(duration) - first) / max(last - first, 1)
        parts.append(f'<rect class="bar" x="{LEFT + WIDTH + GAP}" y="{y - 7}" width="{length:.1f}" height="14"/>')
        parts.append(f'<text x="{LEFT + WIDTH + GAP + length + 5:.1f}" y="{y + 4}">{duration:.3g} s</text>')
    if absent:
        parts.append(f'<text x="10" y="{height + 12}">left out: {escape(absent)} (reasons in compare.md)</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _head(height: int, title: str) -> str:
    width = LEFT + WIDTH + GAP + BAR + 70
    style = (
        "text{font:13px sans-serif;fill:#222}.grid{stroke:#ccc}.dot{fill:#0b62a4}.span{stroke:#0b62a4;stroke-width:2}"
        ".bar{fill:#9aa7b1}@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.dot{fill:#6db3f2}"
        ".span{stroke:#6db3f2}.bar{fill:#5c6a75}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{style}</style>"
    )


def _axis(metric: str, low: float, high: float, height: int) -> list[str]:
    parts = [
        f'<text x="{LEFT}" y="16">{metric.upper()} (95 % interval over splits)</text>',
        f'<text x="{LEFT + WIDTH + GAP}" y="16">training seconds, log scale</text>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LEFT + WIDTH * share
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="28" y2="{height - 26}"/>')
        label = decimal(low + share * (high - low), 3)
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{label}</text>')
    return parts


def _dot(y: int, low: float, mean: float, high: float) -> list[str]:
    return [
        f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>',
        f'<circle class="dot" cx="{mean:.1f}" cy="{y}" r="5"/>',
    ]
