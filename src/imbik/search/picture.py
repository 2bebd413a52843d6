"""The search as a picture: what was evaluated and made, in which order, the front of it and the budget; one HTML file without a library."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup, escape

from imbik.jobs.files import refuse_foreign_file, replacing
from imbik.locale.phrases import Phrases
from imbik.measure.values import Limits
from imbik.report.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, Scale, axes, outline
from imbik.search.candidate import Candidate, Made, front

One = Candidate | Made
FILE = "search.html"
_MADE = '<meta name="generator" content="imbik search">'
_SHADES = 6
"""Shades that tell the order in time: the first sixth of the evaluations is the lightest."""
_STYLE = """
body { padding: 0 20px 40px; } main { max-width: 900px; margin: 0 auto; }
svg .seen { stroke: none; } svg .best { stroke: currentColor; stroke-width: 1.5; }
svg .limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 7 4; }
svg .limitname { fill: var(--bad); } .shade { display: inline-block; width: 12px; height: 12px; border-radius: 6px; }
"""


def write_picture(candidates: Sequence[One], best: One, limits: Limits, directory: Path, lang: str) -> Path:
    """Write ``search.html``; an earlier one is replaced.

    Args:
        candidates: what was evaluated and made, in the order of time.
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
    made = [one for one in candidates if isinstance(one, Made)]
    told = ["search.about"] * (len(made) < len(candidates)) + ["search.about_made"] * bool(made)
    recipes = len({one.name for one in made})
    looked_at = texts.number(len(candidates) - len(made))
    kind = "" if not made else "_made" if len(made) < len(candidates) else "_settings"
    title = texts(f"search.title{kind}", count=looked_at, made=texts.number(recipes))
    last = "search.last_made" if made else "search.last"
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="about">{escape(texts(name))}</p>' for name in told),
        f'<p class="about">{escape(texts("search.first"))} {shades}{escape(texts(last))}</p>',
        f'<div class="plotbox">{draw(candidates, best, limits, texts)}</div>',
        f"<p>{escape(texts(f'search.{_kind(best)}best', recipe='best.yaml', **_facts(best, texts)))}</p>",
        _front(made, texts) if made else "",
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


def draw(candidates: Sequence[One], best: One, limits: Limits, texts: Phrases) -> Markup:
    """Draw milliseconds of a request against retention on dev, a disc for each evaluation and a square for each recipe that was made.

    They grow darker with time, the broken line is the front of these two numbers, squares with an edge are the front with bytes too,
    straight lines are the budget, the winner is large.
    """
    points = [Point(str(i), "", one.cost.ms, one.retention, None, None, "other") for i, one in enumerate(candidates)]
    scale = Scale(points)
    x_name = texts("search.x_made" if any(isinstance(one, Made) for one in candidates) else "search.x")
    parts = [axes(scale, texts, x_name, texts("search.y"), share=True)]
    line = " ".join(f"{scale.x(p.x):.1f},{scale.y(p.y):.1f}" for p in outline(points))
    parts.append(f'<polyline class="frontline" points="{line}"/>')
    # bytes are no axis of the picture: an edge says what the third number adds
    edged = front([one for one in candidates if isinstance(one, Made)])
    for number, one in enumerate(candidates):
        told = escape(texts(f"search.{_kind(one)}point", number=number + 1, **_facts(one, texts)))
        x, y = scale.x(one.cost.ms), scale.y(one.retention)
        mark = f'fill="{_shade(number * _SHADES // len(candidates))}" data-order="{number}"><title>{told}</title>'
        if isinstance(one, Made):
            edge = " best" if one in edged else ""
            parts.append(f'<rect class="seen{edge}" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" {mark}</rect>')
        else:
            parts.append(f'<circle class="seen" cx="{x:.1f}" cy="{y:.1f}" r="4.5" {mark}</circle>')
    parts += _limits(scale, limits, texts)
    place = f'cx="{scale.x(best.cost.ms):.1f}" cy="{scale.y(best.retention):.1f}"'
    parts.append(f'<g class="point choice"><circle class="mark" {place} r="8"><title>best.yaml</title></circle></g>')
    title = escape(texts("plot.svg", x=x_name, y=texts("search.y")))
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


def _facts(one: One, texts: Phrases) -> dict[str, str]:
    """Return a candidate's figures as they are shown."""
    figures = {"kept": texts.percent(one.retention), "ms": texts.unit(one.cost.ms, "ms"), "size": texts.unit(one.cost.bytes / 1e6, "mb")}
    if isinstance(one, Made):
        return {"name": one.name, "engine": one.engine, **figures}
    return {"layers": ", ".join(str(place + 1) for place in one.architecture.layers), **figures}


def _kind(one: One) -> str:
    """Return the beginning of the phrases about a candidate."""
    return "made_" if isinstance(one, Made) else ""


def _front(made: Sequence[Made], texts: Phrases) -> str:
    """Return the front of the recipes as a table: no other is as good in quality, time and bytes at once."""
    heads = "".join(f"<th>{escape(texts(f'search.{name}'))}</th>" for name in ("recipe", "engine", "y", "time", "size"))
    rows = []
    for one in sorted(front(made), key=lambda one: one.cost.ms):
        facts = _facts(one, texts)
        rows.append("<tr>" + "".join(f"<td>{escape(facts[name])}</td>" for name in ("name", "engine", "kept", "ms", "size")) + "</tr>")
    title = escape(texts("search.front"))
    return f"<h2>{title}</h2><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _shade(step: int) -> str:
    """Return the color of a sixth of the time: from light to dark at one hue, readable on light and dark ground."""
    return f"hsl(205 62% {78 - 9 * step}%)"
