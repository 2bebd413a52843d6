"""``imbik advise``: which candidate fits a deployment, and why."""

from __future__ import annotations

import json
import string
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from imbik.advise.advice import advise as judge_all
from imbik.advise.decision import Leaf, leaf_at, leaves, next_question, questions
from imbik.advise.profiles import split_runs
from imbik.advise.scenario import Scenario, load_scenarios, shipped_scenarios, shipped_text
from imbik.advise.sentences import requirement_text
from imbik.advise.verdict import Advice, Verdict
from imbik.cli.options import JsonOption, LangOption
from imbik.cli.speech import Speaker
from imbik.errors import UserError
from imbik.locale.phrases import GLYPHS, Phrases
from imbik.measure.results import Results, load_results
from imbik.measure.values import names_of

_IN_FULL = 2  # requirements that a table of 80 columns has room for
_STYLE = {"margin": "green", "met": "green", "borderline": "yellow", "not_met": "red", "missed": "red", "not_measured": "dim",
          "fit": "green", "caution": "yellow", "open": "dim", "unfit": "red"}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("advise")(advise)


def advise(
    results: Annotated[list[Path] | None, typer.Argument(help="results.json of a run; several for several runs.")] = None,
    scenario: Annotated[list[str] | None, typer.Option("--scenario", help="Name or YAML file; repeat. Default: all.")] = None,
    device: Annotated[list[Path] | None, typer.Option("--device", help="imbik measure's file from the target device.")] = None,
    where: Annotated[str | None, typer.Option(help="Decision path: server, cpu or device.")] = None,
    priority: Annotated[str | None, typer.Option(help="On a server: accuracy, balanced or speed.")] = None,
    power: Annotated[str | None, typer.Option(help="Of a device: good or weak.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the questions of the decision path.")] = False,
    show: Annotated[str | None, typer.Option("--show", help="Print a shipped scenario as YAML to copy and edit.")] = None,
    lang: LangOption = "en",
    as_json: JsonOption = False,
) -> None:
    """Judge every candidate against scenarios, or walk the decision path to one candidate."""
    console = Speaker(highlight=False)
    if show:
        typer.echo(shipped_text(show), nl=False)
        return
    if not results:
        raise UserError("no results given", where="imbik advise", expected="results.json of imbik compress")
    texts = Phrases(lang)
    runs, devices = split_runs([load_results(p) for p in dict.fromkeys(results)], [load_results(p) for p in device or []])
    answers = {"where": where, "priority": priority, "power": power}
    walk = ask or any(answers.values())
    if walk:
        _ask(answers, texts, ask)
    cases = load_scenarios(scenario or shipped_scenarios())
    output = []
    for run, name in zip(runs, names_of(runs), strict=True):
        if len(runs) > 1 and not as_json:
            console.rule(escape(name))
        if walk:
            found = leaves(run, devices, lang)
            output.append(_path_output(run, found, leaf_at(found, answers), texts, None if as_json else console))
            continue
        for wanted in cases:
            advice = judge_all(run, wanted, devices, lang)
            output.append(_scenario_output(run, wanted, advice, texts, None if as_json else console))
    if as_json:
        typer.echo(json.dumps(output, ensure_ascii=False, indent=1))


def show_cases(results: Results, lang: str) -> None:
    """Print the verdict of a run on each business case of the study."""
    cases = [case for case in load_scenarios(shipped_scenarios()) if case.study is not None]
    for case in cases:
        _scenario_output(results, case, judge_all(results, case, (), lang), Phrases(lang), Speaker(highlight=False))


def _ask(answers: dict[str, str | None], texts: Phrases, ask: bool) -> None:
    """Fill in what is missing by asking, on a terminal; elsewhere the missing answer is the user's mistake."""
    while (question := next_question(answers)) is not None:
        options = questions()[question]
        # a script must not wait for an answer that nobody gives
        if not (ask and sys.stdin.isatty()):
            raise UserError("an answer is missing", where=f"--{question}", expected=", ".join(options))
        typer.echo(texts(f"decision.{question}"))
        for i, option in enumerate(options, 1):
            typer.echo(f"  {i}  {texts(f'decision.{option}')}")
        given = typer.prompt(">", type=int)
        if 1 <= given <= len(options):
            answers[question] = options[given - 1]


def _scenario_output(run: Results, scenario: Scenario, advice: Advice, texts: Phrases, console: Console | None) -> dict[str, Any]:
    if console:
        title = texts.among(scenario.title, scenario.name)
        console.print(_matrix(advice, texts, title))
        for sentence in advice.reasons:
            console.print(f"  {sentence}", markup=False)
        console.print()
    return {"results": str(run.path), "scenario": scenario.name, **advice_json(advice)}


def advice_json(advice: Advice) -> dict[str, Any]:
    """Return advice in JSON's own types."""
    return {
        "choice": advice.choice,
        "verdicts": {identifier: asdict(verdict) for identifier, verdict in advice.verdicts.items()},
        "reasons": advice.reasons,
        "pareto": advice.pareto,
    }


def _matrix(advice: Advice, texts: Phrases, title: str) -> Table:
    """Return candidates by requirements; the choice marked. Several requirements stand under letters, with their words below."""
    verdicts = [r for verdict in advice.verdicts.values() for r in verdict.requirements]
    asked = [requirement_text(r, texts) for r in next(iter(advice.verdicts.values())).requirements]
    # letters, where sentences as headings would leave no room for the figures
    heads = asked if len(asked) <= _IN_FULL else list(string.ascii_lowercase[: len(asked)])
    table = Table(title=escape(title), caption=escape(_legend(verdicts, [] if heads is asked else asked, texts)), caption_justify="left")
    table.add_column("", no_wrap=True)
    for head in heads:
        table.add_column(escape(head), overflow="fold")
    table.add_column("")
    for identifier, verdict in advice.verdicts.items():
        mark = "► " if identifier == advice.choice else "  "
        cells = []
        for r in verdict.requirements:
            value = "" if r.value is None else f"{texts.unit(r.value, r.unit)} "
            proxy = "*" if r.origin == "proxy" else ""
            cells.append(f"[{_STYLE[r.shown]}]{value}{GLYPHS[r.shown]}{proxy}[/]")
        whole = verdict.overall
        table.add_row(mark + escape(identifier), *cells, f"[{_STYLE[whole]}]{texts(f'overall.{whole}').split(':')[0]}[/]")
    return table


def _legend(verdicts: Sequence[Verdict], asked: Sequence[str], texts: Phrases) -> str:
    """Return what the letters and signs of a matrix mean."""
    signs = [f"{GLYPHS[s]} {texts(f'status.{s}')}" for s in dict.fromkeys(v.shown for v in verdicts)]
    if any(v.origin == "proxy" for v in verdicts):
        signs.append(f"* {texts('origin.proxy')}")
    letters = [f"{letter}  {text}" for letter, text in zip(string.ascii_lowercase, asked, strict=False)]
    return "\n".join([*letters, " · ".join(signs)])


def _path_output(run: Results, found: Sequence[Leaf], leaf: Leaf, texts: Phrases, console: Console | None) -> dict[str, Any]:
    if console:
        console.print(_tree(found, leaf, texts))
        for sentence in leaf.advice.reasons:
            console.print(f"  {sentence}", markup=False)
    return {"results": str(run.path), "answers": dict(leaf.answers), "study": leaf.study, **advice_json(leaf.advice)}


def _tree(found: Sequence[Leaf], taken: Leaf, texts: Phrases) -> Tree:
    """Return the questions as a tree; the path that was taken in bold."""
    root = Tree(f"[bold]{texts('decision.title')}[/]")
    nodes: dict[tuple[tuple[str, str], ...], Tree] = {(): root}
    for leaf in found:
        path: tuple[tuple[str, str], ...] = ()
        for question, answer in leaf.answers.items():
            parent, path = nodes[path], (*path, (question, answer))
            if path in nodes:
                continue
            on_path = all(taken.answers.get(q) == a for q, a in path)
            label = f"{texts(f'decision.{question}')} {texts(f'decision.{answer}')}"
            end = f" → {escape(str(leaf.advice.choice))}" if path == tuple(leaf.answers.items()) else ""
            nodes[path] = parent.add(f"[bold green]{label}{end}[/]" if on_path else f"[dim]{label}{end}[/]")
    return root
