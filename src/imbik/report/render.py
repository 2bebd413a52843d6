"""The report that a manager reads and an engineer trusts: one self-contained HTML file, or Markdown for a pull request.

Both come from the same sections (:mod:`imbik.report.view`) and the same figures (:mod:`imbik.report.figures`), in English or Turkish.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from imbik import __version__
from imbik.advise.advice import advise
from imbik.advise.choice import without_shown
from imbik.advise.scenario import load_scenarios, shipped_scenarios
from imbik.errors import UserError
from imbik.jobs.files import refuse_foreign_file, replacing
from imbik.jobs.paths import with_home
from imbik.literature.comparison import Architectures, load_architectures
from imbik.literature.published import published, study_costs, study_results
from imbik.locale.phrases import GLYPHS, Phrases
from imbik.measure.results import Results
from imbik.report.columns import COLUMNS, MARKDOWN, TIPPED
from imbik.report.figures import Figures
from imbik.report.source import Source
from imbik.report.view import View
from imbik.roi.cost import Load
from imbik.roi.prices import Prices, load_prices

MADE = "<!-- made by imbik -->"
"""Last line of a Markdown report, which is not shown: it tells a report from a page of the user's."""
LOADS: Mapping[str, Load] = {"always-on": Load(100_000), "batch": Load(200_000, "batch")}


def write_report(
    results: Results | Sequence[Results],
    path: str | Path,
    *,
    lang: str = "en",
    prices: Prices | str | Path | None = None,
    scenarios: Sequence[str] | None = None,
    loads: Mapping[str, Load] | None = None,
    devices: Sequence[Results] = (),
    architectures: str | Path | None = None,
) -> None:
    """Write the report of one or several runs; ``.md`` gives Markdown, everything else HTML.

    Args:
        lang: ``en`` or ``tr``.
        prices: a price list or its file; None: the shipped example.
        scenarios: names or YAML files; None: all shipped ones.
        loads: ``always-on`` and ``batch`` (:class:`imbik.roi.cost.Load`); None: 100,000 requests a day, 200,000 items a night.
        devices: results measured on target devices.
        architectures: what ``imbik compare-architectures --json`` wrote.

    Raises:
        UserError: an unknown language or scenario, a broken price list, results without a candidate, a file at ``path`` that is no
            report.
    """
    runs, path = [results] if isinstance(results, Results) else list(results), with_home(path)
    refuse_foreign_file(path, is_report)
    markdown = path.suffix.lower() in (".md", ".markdown")
    text = render(
        runs,
        markdown=markdown,
        lang=lang,
        source=report_source(runs, prices, scenarios, loads, devices),
        architectures=None if architectures is None else load_architectures(architectures),
    )
    if not path.absolute().parent.is_dir():
        raise UserError("no such folder", where=path.parent, fix="create it, or choose another --out")
    with replacing(path) as temporary:
        temporary.write_text(text + (f"\n{MADE}\n" if markdown else ""), encoding="utf-8")


def is_report(path: Path) -> bool:
    """Return whether a file is a report: the proof that it may be replaced."""
    text = path.read_text(encoding="utf-8")
    # the head of a page, the end of a Markdown file: where a report says so, and not in any text
    # between
    return '<meta name="generator" content="imbik ' in text[:4096] or MADE in text[-200:]


def report_source(
    runs: Sequence[Results],
    prices: Prices | str | Path | None = None,
    scenarios: Sequence[str] | None = None,
    loads: Mapping[str, Load] | None = None,
    devices: Sequence[Results] = (),
) -> Source:
    """Return all that a report's figures are computed from; with it each figure can be recomputed.

    Raises:
        UserError: as :func:`write_report`.
    """
    for run in runs:
        if not [m for m in without_shown(run.measurements) if m.id != run.baseline]:
            raise UserError("no candidate was measured", where=run.path or "results.json",
                            fix="run imbik compress; its failures are listed in the same file")  # fmt: skip
    wanted = {scenario.name: scenario for scenario in load_scenarios(scenarios or shipped_scenarios())}
    price_list = prices if isinstance(prices, Prices) else load_prices(prices)
    return Source(runs, price_list, {**LOADS, **(loads or {})}, wanted, devices)


def render(runs: Sequence[Results], *, markdown: bool, lang: str, source: Source, architectures: Architectures | None = None) -> str:
    """Return the report as a string."""
    texts = Phrases(lang, images=all(run.of_images for run in runs))
    figures = Figures(source, texts)
    views = [View(figures, i, not markdown) for i in range(len(runs))]
    folder, environment = _templates(markdown)
    template = environment.get_template("report.md" if markdown else "report.html")
    return template.render(
        views=views,
        f=figures,
        t=texts,
        n=texts.number,
        texts=texts,
        lang=lang,
        title=", ".join(dict.fromkeys(_short(v.data.results.data.source) or v.data.name for v in views)),
        columns=list(COLUMNS),
        md_columns=[key for key in COLUMNS if key in MARKDOWN],
        tipped=TIPPED,
        glyphs=GLYPHS,
        modes=list(source.loads),
        loads=source.loads,
        prices=source.prices,
        shared=_shared(runs),
        published=published(),
        study_costs=study_costs(),
        architectures=architectures,
        decisions=_study_decisions(source, architectures, texts),
        hundred=texts.percent(1.0, 0),
        log10=math.log10,
        version=__version__,
        css=Markup(folder.joinpath("report.css").read_text("utf-8")),
        js=Markup(folder.joinpath("report.js").read_text("utf-8")),
    )


def _templates(markdown: bool) -> tuple[Any, jinja2.Environment]:
    """Return the folder of the templates, and the environment that renders them."""
    folder = files("imbik.report").joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        # labels and texts are the user's and may hold markup, which a page would run
        autoescape=not markdown,
        # a name misspelt in a template is an error, not an empty cell in a manager's report
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["soft"] = _soft
    return folder, environment


def _short(source: object) -> str:
    """Return the last part of a path, for the title; a hub name stays whole."""
    text = str(source or "")
    return Path(text).name if Path(text).is_absolute() or Path(text).exists() else text


def _soft(identifier: str) -> Markup:
    """Return an id that may break behind a slash or a plus, for narrow columns."""
    return Markup(str(escape(identifier)).replace("/", "/<wbr>").replace("+", "+<wbr>"))


@dataclass(frozen=True)
class _StudyDecision:
    """A case of the study, judged on its own models at full size."""

    title: str
    reasons: Sequence[str]


def _study_decisions(source: Source, architectures: Architectures | None, texts: Phrases) -> list[_StudyDecision]:
    """Return the study's cases judged on its own models; empty without a comparison that holds BERT-base and another."""
    run = study_results(architectures) if architectures else None
    if run is None or run.baseline is None or len(run.measurements) < 2:
        return []
    return [
        _StudyDecision(texts.among(scenario.title, scenario.name), advise(run, scenario, texts=texts).reasons)
        for scenario in source.scenarios.values()
        if scenario.study
    ]


def _shared(runs: Sequence[Results]) -> list[str]:
    """Return the ids that at least two runs measured, in the order of the first that has them."""
    ids = [m.id for run in runs for m in run.measurements]
    return [i for i in dict.fromkeys(ids) if ids.count(i) > 1]
