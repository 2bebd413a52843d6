"""The page: every figure is in results.json or a documented function of it, says what it shows, and stands alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import figures
import plausible
import pytest
import typer
from typer.testing import CliRunner

import imbik
from imbik.cli.commands.decisions import report as command
from imbik.errors import UserError
from imbik.literature.published import published, study_costs
from imbik.measure.measurement import Latency
from imbik.measure.results import load_results, write_results
from imbik.measure.values import Environment
from imbik.report.render import MADE, report_source, write_report
from imbik.report.source import Source

ROOT = Path(imbik.__file__).parent
FLAGS = {"yes": 1.0, "no": 0.0, "evet": 1.0, "hayır": 0.0}
VOID = {"wbr", "meta", "link", "br", "input", "img", "hr"}


class Reader(HTMLParser):
    """All ``<data>`` elements, all texts with the tags around them, all links and sources."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[dict[str, Any]] = []
        self.texts: list[tuple[str, list[tuple[str, dict[str, str | None]]]]] = []
        self.points: list[dict[str, str | None]] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.references += [str(v) for k, v in attributes.items() if k in ("href", "src")]
        if attributes.get("id"):
            self.ids.append(str(attributes["id"]))
        if tag == "g" and "data-x" in attributes:
            self.points.append(attributes)
        if tag == "data":
            self.figures.append({**attributes, "text": ""})
        if tag not in VOID and tag not in ("line", "rect", "circle", "polyline"):
            self.stack.append((tag, attributes))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.stack]
        if tags and tags[-1] == "data":
            self.figures[-1]["text"] += data
        if tags and tags[-1] == "script":
            self.scripts.append(data)
        if data.strip() and not {"style", "script"} & set(tags):
            self.texts.append((data, list(self.stack)))


def shown(text: str, lang: str) -> tuple[float, int]:
    """The number in a text and how many decimals it shows."""
    match = re.search(r"[\d.,]+", text)
    assert match, text
    digits = match.group().strip(".,")
    group, mark = (".", ",") if lang == "tr" else (",", ".")
    digits = digits.replace(group, "")
    decimals = len(digits.split(mark)[1]) if mark in digits else 0
    return float(digits.replace(mark, ".")) * (-1 if "\N{MINUS SIGN}" in text else 1), decimals


def lookup(documents: list[dict[str, Any]], path: str) -> float:
    """``results[0].measurements[3].latency_ms.p50`` in the JSON as it was written."""
    value: Any = {"results": documents}
    for part in re.findall(r"[^.\[\]]+", path):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return float(value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "results.json"
    write_results(path, plausible.results())
    return path


def _page(run: Path, lang: str, **options: Any) -> tuple[str, Reader, Source]:
    results = load_results(run)
    out = run.with_name(f"report-{lang}.html")
    write_report(results, out, lang=lang, **options)
    text = out.read_text("utf-8")
    return text, Reader(text), report_source([results])


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_every_figure_is_what_it_says(run: Path, lang: str) -> None:
    _, page, source = _page(run, lang)
    documents = [json.loads(run.read_text("utf-8"))]
    assert len(page.figures) > 700
    for figure in page.figures:
        value = float(figure["value"])
        if "data-path" in figure:
            assert value == lookup(documents, figure["data-path"]), figure
        else:
            _check_function(figure, value, source)
        if figure["text"] in FLAGS:
            assert value == FLAGS[figure["text"]]
            continue
        number, decimals = shown(figure["text"], lang)
        scaled = value * float(figure.get("data-scale", 1))
        if "data-figures" in figure:
            assert number == float(f"{scaled:.{figure['data-figures']}g}")
            continue
        assert abs(number - scaled) <= 0.5 * 10**-decimals * 1.0001, figure


def _check_function(figure: dict[str, Any], value: float, source: Source) -> None:
    arguments = json.loads(figure["data-args"])
    if figure["data-fn"] == "advice":
        assert value in figures.advice_numbers(source, *arguments), figure
    elif figure["data-fn"] == "decision":
        assert value in figures.decision_numbers(source, *arguments), figure
    else:
        assert value == figures.FUNCTIONS[figure["data-fn"]](source, *arguments), figure


def test_functions_by_hand(run: Path) -> None:
    source = report_source([load_results(run)])
    identifier = "layers-1+int8/onnx"
    assert figures.FUNCTIONS["retention_dev"](source, 0, identifier) == pytest.approx(0.9240 / 0.9300)
    assert figures.FUNCTIONS["quantity"](source, 0, identifier, "speedup") == pytest.approx(38.0 / 0.71)
    gap = figures.FUNCTIONS["class_gap"](source, 0, identifier, "lost_card")
    assert gap == pytest.approx(0.9225 - 0.9325)
    assert figures.FUNCTIONS["verdict"](source, 0, "bank-support", identifier, 1, "headroom") == pytest.approx((100 - 0.71 * 1.6) / 100)
    assert figures.FUNCTIONS["per_class"](source, 0, identifier, "lost_card", "support") == 3080 // 6
    assert figures.FUNCTIONS["load"](source, "always-on", "per_day") == 100_000
    assert figures.FUNCTIONS["saving"](source, 0, identifier, "always-on", 0) == 0.0
    assert figures.FUNCTIONS["cost"](source, 0, identifier, "always-on", "yearly") == pytest.approx(0.0208 * 8760)
    assert figures.FUNCTIONS["split_rows"](source, 0, "test") == 3080


def _words(lang: str) -> set[str]:
    """Digit groups that fixed texts may hold: ``95%``, ``p50``, ``1,000``."""
    documents = [*(ROOT / "locale").glob(f"{lang}.yaml"), *(ROOT / "advise" / "scenarios").glob("*.yaml")]
    found: set[str] = set()
    for path in documents:
        found |= set(re.findall(r"\d[\d.,]*", path.read_text("utf-8")))
    return {f.strip(".,") for f in found}


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_no_number_stands_outside_a_data_element(run: Path, lang: str) -> None:
    _, page, _ = _page(run, lang)
    allowed = _words(lang) | set(re.findall(r"\d[\d.]*", imbik.__version__))
    for text, stack in page.texts:
        tags = [tag for tag, _ in stack]
        marked = any({"data-user", "data-published", "data-study-roi", "data-architectures"} & set(a) for _, a in stack)
        if {"data", "code", "svg"} & set(tags) or marked or tags[-1] in ("output", "title", "h1"):
            continue
        assert {n.strip(".,") for n in re.findall(r"\d[\d.,]*", text)} <= allowed, text


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_published_numbers_are_those_of_the_file(run: Path, lang: str) -> None:
    _, page, _ = _page(run, lang)
    texts = [t for t, stack in page.texts if any("data-study-roi" in a for _, a in stack) and stack[-1][0] == "td"]
    numbers = [shown(t, lang)[0] for t in texts if re.search(r"\d", t) and "T4" not in t]
    expected = [v for c in study_costs() for v in (c.monthly, c.yearly, c.saved, round(c.share * 100))]
    assert numbers == expected
    table = [t.strip() for t, stack in page.texts if any("data-published" in a for _, a in stack)]
    for model in published().models:
        assert model.name in table
        assert any(shown(t, lang)[0] == model.glue for t in table if re.fullmatch(r"[\d.,]+", t))


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_points_of_the_plots_stand_where_their_numbers_say(run: Path, lang: str) -> None:
    text, page, source = _page(run, lang)
    results = source.runs[0]
    assert len(page.points) == 3 * len(results.measurements)
    for i, svg in enumerate(re.findall(r"<svg.*?</svg>", text, re.S)):
        groups = re.findall(r'data-id="(.*?)" data-x="(.*?)" data-y="(.*?)">(.*?)</g>', svg, re.S)
        places = []
        for identifier, x, y, body in groups:
            m = results.get(identifier)
            assert m is not None
            cost = source.cost(0, identifier, "always-on")
            assert float(x) == (m.latency_ms.p50, m.bytes / 1e6, cost and cost.per_million)[i]
            assert float(y) == m.quality.value
            mark = re.search(r'class="mark" (?:cx|x)="(.*?)" (?:cy|y)="(.*?)"', body)
            assert mark
            shift = 5.0 if "<rect" in body else 0.0  # a square is placed by its corner
            places.append((float(x), float(mark.group(1)) + shift, float(y), float(mark.group(2)) + shift))
        assert [p[1] for p in sorted(places)] == sorted(p[1] for p in places)
        assert [p[3] for p in sorted(places, key=lambda p: -p[2])] == sorted(p[3] for p in places)
        for value, label in re.findall(r'data-tick="(.*?)">(.*?)<', svg):
            scale = 100 if "%" in label else 1
            assert shown(label, lang)[0] == pytest.approx(float(value) * scale)


def test_sliders_start_from_the_figures_of_the_page(run: Path) -> None:
    _, page, source = _page(run, "en")
    data = json.loads(next(s for s in page.scripts if s.startswith('{"baseline"')))
    for mode, entry in data["modes"].items():
        for row in entry["rows"]:
            cost = source.cost(0, row["id"], mode)
            assert cost is not None
            option = next(o for o in row["options"] if o["instance"] == cost.instance)
            assert option["rates"] == list(cost.rates)
            assert option["per_million"] == cost.per_million
            if mode == "always-on":
                assert option["yearly"] * cost.count == cost.yearly


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_the_page_stands_alone(run: Path, lang: str) -> None:
    text, page, _ = _page(run, lang)
    assert len(text.encode()) < 3_000_000
    assert all(r.startswith("#") or r == "data:," for r in page.references)
    assert not re.search(r"https?://|@import|url\(", text.replace("http://www.w3.org", ""))
    assert len(page.ids) == len(set(page.ids))
    assert {r[1:] for r in page.references if r.startswith("#")} <= set(page.ids)
    assert f'<html lang="{lang}">' in text
    assert "{" not in "".join(t for t, _ in page.texts)
    assert page.stack == []


def test_user_texts_are_escaped(run: Path) -> None:
    text, page, _ = _page(run, "en")
    assert "My card is &lt;lost&gt; &amp; I&#39;m angry" in text
    assert "My card is <lost> & I'm angry" in "".join(t for t, _ in page.texts)


@pytest.mark.parametrize("name", ["{0}", "{}", "{x[", "[/b]<i>", "%s"])
def test_names_of_scenarios_and_candidates_are_no_formats(run: Path, tmp_path: Path, name: str) -> None:
    text = run.read_text("utf-8").replace("layers-1+int8", "odd").replace('"odd', f'"{name}')
    (tmp_path / "results.json").write_text(text, "utf-8")
    (tmp_path / "s.yaml").write_text(f"name: '{name}'\nrequirements:\n  - {{quantity: retention, at_least: 0.9}}\n", "utf-8")
    for out in ("report.html", "report.md"):
        write_report(load_results(tmp_path / "results.json"), tmp_path / out, scenarios=[str(tmp_path / "s.yaml")])
    page = Reader((tmp_path / "report.html").read_text("utf-8"))
    assert any(name in text for text, _ in page.texts) and any(json.loads(f.get("data-args") or "[0]")[-1:] == [name] for f in page.figures)


def test_of_a_teacher_that_is_worth_nothing_the_report_states_no_share(run: Path, tmp_path: Path) -> None:
    document = json.loads(run.read_text("utf-8"))
    teacher = next(m for m in document["measurements"] if m["id"] == document["baseline"])
    teacher["dev_quality"]["value"] = 0.0
    document["choice"] |= {"meets": False, "shortfall": {"retention": {"limit": 0.97, "value": None, "by": 1.0}}}
    (tmp_path / "results.json").write_text(json.dumps(document), "utf-8")
    write_report(load_results(tmp_path / "results.json"), tmp_path / "r.md")
    assert "quality on dev is 0.0%: no share of it can be kept" in (tmp_path / "r.md").read_text("utf-8")


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_markdown_has_the_same_figures(run: Path, lang: str) -> None:
    out = run.with_name("report.md")
    write_report(load_results(run), out, lang=lang)
    text = out.read_text("utf-8")
    assert "<" not in text.replace("<lost>", "").replace(MADE, "")
    assert re.search(r"\*\*`layers-1\+int8/onnx`\*\* \| %?92[.,]2.*\| 0[.,]71 ms.*\| 14[.,]6 MB \| 13[.,]870[.,]000 \|", text)
    for line in text.splitlines():
        if line.startswith("| `"):
            assert line.count("|") in (7, 12)


def test_several_runs_side_by_side(tmp_path: Path) -> None:
    one = plausible.results()
    slow = tuple(replace(m, latency_ms=Latency(*(4 * ms for ms in m.latency_ms.percentiles().values()))) for m in one.measurements)
    other = replace(one, measurements=slow, environment=Environment(cpu="Small CPU"))
    paths = [tmp_path / name / "results.json" for name in ("server", "board")]
    for path, run in zip(paths, (one, other), strict=True):
        path.parent.mkdir()
        write_results(path, run)
    write_report([load_results(p) for p in paths], tmp_path / "r.html")
    page = Reader((tmp_path / "r.html").read_text("utf-8"))
    documents = [json.loads(p.read_text("utf-8")) for p in paths]
    paths_shown = [f for f in page.figures if "data-path" in f]
    assert {f["data-path"][:10] for f in paths_shown} == {"results[0]", "results[1]"}
    assert all(float(f["value"]) == lookup(documents, f["data-path"]) for f in paths_shown)
    assert {"run-0", "run-1", "runs"} <= set(page.ids)


@pytest.fixture
def cli() -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_command(cli: Any, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert cli(run, "--out", out, "--lang", "tr", "--requests-per-day", "5000000").exit_code == 0
    assert "5.000.000" in out.read_text("utf-8")
    empty = tmp_path / "empty.json"
    write_results(empty, plausible.results(measurements=(), baseline=None, choice=None, pareto=()))
    for arguments, message in (
        ([run, "--out", out, "--lang", "de"], "no such language"),
        ([run, "--out", tmp_path / "nowhere" / "r.html"], "no such folder"),
        ([run, "--out", out, "--scenario", "moon"], "no such scenario"),
        ([run, "--out", out, "--requests-per-day", "-1"], "must be a number above zero"),
        ([empty, "--out", out], "no candidate was measured"),
        ([run, "--out", out, "--architectures", run], "not an architecture comparison"),
        ([run, "--out", out, "--architectures", "nowhere.json"], "no such file"),
    ):
        failed = cli(*arguments)
        assert isinstance(failed.exception, UserError), (arguments, failed.output)
        assert message in str(failed.exception)


def test_runs_of_one_folder_name_are_told_apart_and_another_kind_of_file_is_refused(cli: Any, tmp_path: Path) -> None:
    paths = [tmp_path / shop / "run" / "results.json" for shop in ("bank", "shop")]
    for path in paths:
        path.parent.mkdir(parents=True)
        write_results(path, plausible.results())
    assert cli(*paths, "--out", tmp_path / "r.md").exit_code == 0
    heads = [line for line in (tmp_path / "r.md").read_text("utf-8").splitlines() if line.endswith("results.json")]
    assert heads == ["## bank/run/results.json", "## shop/run/results.json"]
    refused = cli(paths[0], "--out", tmp_path / "r.pdf")
    assert isinstance(refused.exception, UserError) and ".html or" in str(refused.exception)
    assert not (tmp_path / "r.pdf").exists()
