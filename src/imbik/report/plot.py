"""The Pareto plot as SVG: quality against latency, size or cost, with intervals; drawn once, so that the page needs no library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from imbik.locale.phrases import Phrases, decimals

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 18, 52
_CHAR = 6.6  # mean width of a character of the labels


@dataclass(frozen=True)
class Point:
    """A candidate on the plot: ``x`` above 0, quality ``y`` with its interval, and what it is marked as."""

    id: str
    label: str
    x: float
    y: float
    low: float | None
    high: float | None
    kind: str  # choice, front, other, rival or teacher


class Scale:
    """Data to pixels: x by its logarithm, y as it is, better ones higher."""

    def __init__(self, points: Sequence[Point], less_is_better: bool = False) -> None:
        xs = [p.x for p in points]
        ys = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
        # a third more on both sides: one candidate alone still gets an axis, and labels find room
        self.x0, self.x1 = math.log10(min(xs) / 1.35), math.log10(max(xs) * 1.35)
        # `or`: equal values would leave an axis of no height to divide by
        pad = (max(ys) - min(ys)) * 0.06 or 0.01
        self.y0, self.y1 = min(ys) - pad, max(ys) + pad
        self.less_is_better = less_is_better

    def x(self, value: float) -> float:
        """Return the place of a value from left to right, in pixels."""
        return LEFT + (math.log10(value) - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the place of a value from top to bottom, in pixels."""
        if self.less_is_better:
            return TOP + (value - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM)
        return HEIGHT - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM)


def ticks_log(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between ``low`` and ``high``; all of them where fewer than three would be left.

    >>> ticks_log(0.3, 40)
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    """
    found = [m * 10.0**k for k in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)]
    inside = [round(v, 10) for v in found if low <= v <= high]
    return inside if len(inside) <= 7 else [v for v in inside if str(v).strip("0.")[0] == "1"]


def ticks_linear(low: float, high: float, wanted: int = 6) -> list[float]:
    """Return round numbers between ``low`` and ``high``.

    >>> ticks_linear(0.86, 0.945)
    [0.86, 0.88, 0.9, 0.92, 0.94]
    """
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    # rounded: 0.3 / 0.1 is 2.9999999999999996 in floats, and a tick on the edge must not be lost
    first = math.ceil(round(low / step, 9))
    return [round(n * step, 10) for n in range(first, math.floor(round(high / step, 9)) + 1)]


def plot(
    points: Sequence[Point], texts: Phrases, *, x_label: str, y_label: str, title: str, share: bool, less_is_better: bool = False
) -> Markup:
    """Draw ``points`` (all with x > 0) as an SVG. Each is a group with ``data-id``, ``data-x`` and ``data-y``, reachable by keyboard.

    Args:
        points: the candidates.
        texts: writes numbers.
        x_label, y_label, title: as they are shown.
        share: whether y is a share, shown in per cent.
        less_is_better: whether y is an error: its axis is turned over, so that up is better.
    """
    scale = Scale(points, less_is_better)
    parts = [axes(scale, texts, x_label, y_label, share)]
    line = " ".join(f"{scale.x(p.x):.1f},{scale.y(p.y):.1f}" for p in outline(points, less_is_better))
    parts.append(f'<polyline class="frontline" points="{line}"/>')
    boxes = [_Box(scale.x(p.x) - 6, scale.y(p.y) - 6, scale.x(p.x) + 6, scale.y(p.y) + 6) for p in points]
    by_weight = sorted(points, key=lambda p: ("choice", "teacher", "rival", "front", "other").index(p.kind))
    labels = {p.id: _label(p, scale.x(p.x), scale.y(p.y), boxes) for p in by_weight}  # the first ones find room
    parts += [_point(p, scale, labels[p.id]) for p in reversed(by_weight)]  # the last ones lie on top
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")


def outline(points: Sequence[Point], less_is_better: bool = False) -> list[Point]:
    """Return, from left to right, those that are better than all to their left: the front in this plot's two numbers."""
    sign = -1 if less_is_better else 1
    found: list[Point] = []
    # of equal x the best first, so that it hides the others
    for p in sorted(points, key=lambda p: (p.x, -sign * p.y)):
        if not found or sign * p.y > sign * found[-1].y:
            found.append(p)
    return found


def axes(scale: Scale, texts: Phrases, x_label: str, y_label: str, share: bool) -> str:
    """Return grid, ticks and names of both axes; ``share``: y is shown in per cent."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    y_ticks = ticks_linear(scale.y0, scale.y1)
    step = y_ticks[1] - y_ticks[0] if len(y_ticks) > 1 else 0.01
    # as many as tell neighboring ticks apart; 1e-9, as a step such as 0.1 is not exact and its
    # logarithm may fall below the whole number
    digits = max(0, -math.floor(math.log10(step * (100 if share else 1)) + 1e-9))
    for value in y_ticks:
        y = scale.y(value)
        text = texts.percent(value, digits) if share else texts.number(value, digits)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" data-tick="{value}">{escape(text)}</text>')
    for value in ticks_log(10**scale.x0, 10**scale.x1):
        x, text = scale.x(value), texts.number(value, 0 if value.is_integer() else max(decimals(value) - 1, 1))
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" data-tick="{value}">{escape(text)}</text>')
    parts.append(f'<text class="axis" x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text class="axis" transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    return "".join(parts)


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def hits(self, other: _Box) -> bool:
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom


def _point(p: Point, scale: Scale, label: str) -> str:
    x, y = scale.x(p.x), scale.y(p.y)
    parts = []
    if p.low is not None and p.high is not None:
        parts.append(f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{scale.y(p.low):.1f}" y2="{scale.y(p.high):.1f}"/>')
    if p.kind == "rival":
        parts.append(f'<path class="mark" d="M{x:.1f},{y - 6:.1f} l6,6 l-6,6 l-6,-6 z"/>')
    elif p.kind == "teacher":
        parts.append(f'<rect class="mark" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>')
    else:
        parts.append(f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{8 if p.kind == "choice" else 5.5}"/>')
    parts.append(label)
    head = f'<g class="point {p.kind}" tabindex="0" role="img" aria-label="{escape(p.id)}" data-id="{escape(p.id)}"'
    return f'{head} data-x="{p.x!r}" data-y="{p.y!r}">{"".join(parts)}</g>'


def _label(p: Point, x: float, y: float, boxes: list[_Box]) -> str:
    """Return the name beside the point where it is free; nothing where it would cover another (hovering shows it)."""
    width = len(p.label) * _CHAR
    # right, left, above, below, then the corners: the order in which a reader would look
    places = [(x + 11, y + 4, "start"), (x - 11, y + 4, "end"), (x, y - 13, "middle"), (x, y + 22, "middle")]
    places += [(x + 9, y - 11, "start"), (x + 9, y + 18, "start"), (x - 9, y - 11, "end"), (x - 9, y + 18, "end")]
    for left, base, anchor in places:
        start = left - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        box = _Box(start, base - 11, start + width, base + 3)
        inside = start >= LEFT and start + width <= WIDTH - 4 and box.top >= 0 and box.bottom <= HEIGHT - BOTTOM
        if inside and not any(box.hits(other) for other in boxes):
            boxes.append(box)
            return f'<text class="label" x="{left:.1f}" y="{base:.1f}" text-anchor="{anchor}">{escape(p.label)}</text>'
    return ""
