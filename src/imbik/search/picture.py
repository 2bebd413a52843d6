"""The search as a picture: what was evaluated, in which order, the front of it and the budget; one HTML file without a library."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup, escape

from imbik.jobs.files import refuse_foreign_file, replacing
from imbik.locale.phrases import Phrases
from imbik.measure.values import Limits
from imbik.report.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, Scale, axes, outline
from imbik.search.candidate import Candidate

FILE = "search.html"
_MADE = '<meta name="generator" content="imbik search">'
_SHADES = 6
"""Shades that tell the order in time: the first sixth of the evaluations is the lightest."""
_STYLE = """
body { padding: 0 20px 40px; } main { max-width: 900px; margin: 0 auto; }
svg .seen { stroke: none; } svg .limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 7 4; }
svg .limitname { fill: var(--bad); } .shade { display: inline-block; width: 12px; height: 12px; border-radius: 6px; }
"""


def write_picture(candidates: Sequence[Candidate], best: Candidate, limits: Limits, directory: Path, lang: str) -> Path:
    """Write ``search.html``; an earlier one is replaced.

    Args:
        candidates: what was evaluated, in the order of time.
        best: the winner among them.
        limits: the budget, drawn as lines where it lies within the picture.
        directory: the search's output folder.
        lang: ``en`` or ``tr``.

    Raises:
        UserError: a file of that name that imbik did not make.
    """
    path = directory / FILE
    refuse_picture(directory)
    texts = Phrases(lang)
    style = files("imbik.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
    shades = "".join(f'<span class="shade" style="background:{_shade(i)}"></span> ' for i in range(_SHADES))
    body = [
        f"<h1>{escape(texts('search.title', count=texts.number(len(candidates))))}</h1>",
        f'<p class="about">{escape(texts("search.about"))}</p>',
        f'<p class="about">{escape(texts("search.first"))} {shades}{escape(texts("search.last"))}</p>',
        f'<div class="plotbox">{draw(candidates, best, limits, texts)}</div>',
        f"<p>{escape(texts('search.best', recipe='best.yaml', **_facts(best, texts)))}</p>",
    ]
    head = f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">{_MADE}<title>imbik search</title>'
    page = f"{head}<style>{style}{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def refuse_picture(directory: Path) -> None:
    """Refuse a folder with a ``search.html`` that is somebody else's, before hours of work.

    Raises:
        UserError: as said.
    """
    refuse_foreign_file(directory / FILE, lambda path: _MADE in path.read_text(encoding="utf-8"))


def draw(candidates: Sequence[Candidate], best: Candidate, limits: Limits, texts: Phrases) -> Markup:
    """Draw milliseconds of a request against retention on dev, a disc for each evaluation.

    Discs grow darker with time, the broken line is the front, straight lines are the budget, the winner is large.
    """
    points = [Point(str(i), "", one.cost.ms, one.retention, None, None, "other") for i, one in enumerate(candidates)]
    scale = Scale(points)
    parts = [axes(scale, texts, texts("search.x"), texts("search.y"), share=True)]
    line = " ".join(f"{scale.x(p.x):.1f},{scale.y(p.y):.1f}" for p in outline(points))
    parts.append(f'<polyline class="frontline" points="{line}"/>')
    for number, one in enumerate(candidates):
        told = escape(texts("search.point", number=number + 1, **_facts(one, texts)))
        place = f'cx="{scale.x(one.cost.ms):.1f}" cy="{scale.y(one.retention):.1f}"'
        shade = _shade(number * _SHADES // len(candidates))
        parts.append(f'<circle class="seen" {place} r="4.5" fill="{shade}" data-order="{number}"><title>{told}</title></circle>')
    parts += _limits(scale, limits, texts)
    place = f'cx="{scale.x(best.cost.ms):.1f}" cy="{scale.y(best.retention):.1f}"'
    parts.append(f'<g class="point choice"><circle class="mark" {place} r="8"><title>best.yaml</title></circle></g>')
    title = escape(texts("plot.svg", x=texts("search.x"), y=texts("search.y")))
    return Markup(f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>')


def _limits(scale: Scale, limits: Limits, texts: Phrases) -> list[str]:
    """Return the lines of the budget that lie within the axes; without a limit of time or bytes retention is one."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    if limits.max_latency_ms is not None and LEFT <= (x := scale.x(limits.max_latency_ms)) <= right:
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        name = escape(texts.unit(limits.max_latency_ms, "ms"))
        parts.append(f'<text class="limitname" x="{x - 6:.1f}" y="{bottom - 8}" text-anchor="end">{name}</text>')
    if limits.max_latency_ms is None and limits.max_mb is None and TOP <= (y := scale.y(limits.min_retention)) <= bottom:
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        name = escape(texts.percent(limits.min_retention))
        parts.append(f'<text class="limitname" x="{right - 6}" y="{y - 6:.1f}" text-anchor="end">{name}</text>')
    return parts


def _facts(one: Candidate, texts: Phrases) -> dict[str, str]:
    """Return a candidate's figures as they are shown."""
    return {
        "layers": ", ".join(str(place + 1) for place in one.architecture.layers),
        "kept": texts.percent(one.retention),
        "ms": texts.unit(one.cost.ms, "ms"),
        "size": texts.unit(one.cost.bytes / 1e6, "mb"),
    }


def _shade(step: int) -> str:
    """Return the color of a sixth of the time: from light to dark at one hue, readable on light and dark ground."""
    return f"hsl(205 62% {78 - 9 * step}%)"
