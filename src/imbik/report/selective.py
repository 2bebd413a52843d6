"""What models leave unanswered: coverage and risk in a sentence, and as a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from imbik.locale.phrases import Phrases
from imbik.measure.measurement import Measurement
from imbik.report.data import ReportData
from imbik.report.plot import ticks_linear

_WIDTH, _HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 14, 44


@dataclass(frozen=True)
class Row:
    """A model that may abstain: what it leaves unanswered, and its curve (HTML only)."""

    id: str
    said: Sequence[str]
    svg: Markup


class Selectives:
    """What models leave unanswered."""

    def __init__(self, data: ReportData) -> None:
        self.data = data

    def rows(self) -> list[Row]:
        """Return the models of the run that may abstain; mostly none."""
        return [self._row(m) for m in self.data.results.measurements if m.selective]

    def _row(self, m: Measurement) -> Row:
        data = self.data
        shown = {
            name: data.stored(m.id, f"selective.{name}", unit)
            for name, unit in (("coverage", "share"), ("risk", "share"), ("aurc", "number"), ("refused", "share"), ("auroc", "number"))
        }
        said = [data.say("selective.said", id=m.id, label=m.selective.label, **{k: shown[k] for k in ("coverage", "risk", "aurc")})]
        if m.selective.outside is not None:
            count = data.stored(m.id, "selective.outside", "number")
            said.append(data.say("selective.outside", count=count, refused=shown["refused"], auroc=shown["auroc"]))
        return Row(m.id, said, curve(m.selective.curve_coverage, m.selective.curve_risk, data.texts))


def selective_line(m: Measurement, lang: str) -> str:
    """Return what a model leaves unanswered in one line, for the terminal."""
    texts, found = Phrases(lang), m.selective
    shares = {"coverage": texts.percent(found.coverage or 0.0, 1), "risk": texts.percent(found.risk or 0.0, 1)}
    line = texts("selective.said", id=m.id, label=found.label, aurc=texts.number(found.aurc or 0.0, 4), **shares)
    if found.outside is None:
        return line
    refused, auroc = texts.percent(found.refused or 0.0, 1), texts.number(found.auroc or 0.0, 3)
    return f"{line} {texts('selective.outside', count=texts.number(found.outside), refused=refused, auroc=auroc)}"


def curve(coverage: Sequence[float], risk: Sequence[float], texts: Phrases) -> Markup:
    """Draw risk over coverage as an SVG: both from 0, right is more answers, up is more wrong ones."""
    most = max(max(risk, default=0.0), 0.01) * 1.08
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def place(x: float, y: float) -> str:
        return f"{_LEFT + x * (right - _LEFT):.1f},{bottom - y / most * (bottom - _TOP):.1f}"

    parts = []
    for value in ticks_linear(0.0, 1.0, 5):
        x = _LEFT + value * (right - _LEFT)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" data-tick="{value}">{texts.percent(value, 0)}</text>'
        )
    digits = 0 if most > 0.05 else 1
    for value in ticks_linear(0.0, most, 4):
        y = bottom - value / most * (bottom - _TOP)
        shown = texts.percent(value, digits)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" data-tick="{value}">{shown}</text>')
    line = " ".join(place(x, y) for x, y in zip(coverage, risk, strict=True))
    parts.append(f'<polyline class="frontline" points="{line}"/>')
    below, beside, title = (escape(texts(f"selective.{name}")) for name in ("coverage", "risk", "title"))
    parts.append(f'<text class="axis" x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{below}</text>')
    parts.append(f'<text class="axis" transform="translate(13 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">{beside}</text>')
    head = f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
    return Markup(head + "".join(parts) + "</svg>")
