"""What the documents show runs: every command and option exists, every Python block is executed, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import typer

from imbik.cli.app import build_app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.tr.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    text = re.sub(r"^ {3}", "", page.read_text(encoding="utf-8"), flags=re.M)
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.S | re.M)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in [*blocks(page, ""), *blocks(page, "bash"), *blocks(page, "sh"), *blocks(page, "console")]:
            joined = block.replace("\\\n", " ")
            lines = [line.strip().removeprefix("$ ") for line in joined.splitlines()]
            found += [(page.name, line) for line in lines if re.match(r"(\S*bin/)?imbik [a-z]", line)]
    return found


def test_there_are_commands_to_check():
    assert len(commands()) >= 5


@pytest.mark.parametrize(("page", "line"), commands(), ids=[f"{p}-{i}" for i, (p, _) in enumerate(commands())])
def test_every_documented_command_and_option_exists(page, line):
    command = typer.main.get_command(build_app())
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"{page}: no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{page}: {line!r}: no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=[p.name for p in PAGES])
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)#\s]+)[)#]", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_method_of_the_contributing_page_keeps_the_contract(tmp_path):
    from imbik.methods import registry
    from imbik.testing.contract import check_method

    (code,) = (block for block in blocks(ROOT / "CONTRIBUTING.md", "python") if '@method("halve")' in block)
    try:
        module = types.ModuleType("contributing")
        sys.modules["contributing"] = module  # dataclasses look their module up
        exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
        check_method({"halve": {"factor": 0.5}}, tmp_path)
    finally:
        registry._METHODS.pop("halve", None)
        sys.modules.pop("contributing", None)


def test_the_task_of_the_contributing_page_keeps_the_contract(tmp_path, monkeypatch):
    from sklearn.metrics import cohen_kappa_score

    from imbik.tasks import registry
    from imbik.testing import check_task
    from imbik.testing.task_examples import TaskExample
    from imbik.training import heads

    registry.registered()
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))
    monkeypatch.setattr(heads, "_HEADS", dict(heads._HEADS))
    (code,) = (block for block in blocks(ROOT / "CONTRIBUTING.md", "python") if "quadratic_kappa" in block)
    module = {"__name__": "contributing"}
    exec(compile(code, "CONTRIBUTING.md", "exec"), module)
    heads.register_head("ordinal")(heads.ClassificationHead)
    stars = TaskExample(
        ("1", "2", "10"), lambda texts, _: np.array([len(text) % 3 for text in texts]), lambda _t, _p, y: ("1", "2", "10")[y]
    )
    splits = check_task("ordinal", tmp_path, example=stars)
    assert splits.labels == ("1", "2", "10")  # in their order as numbers, not as words
    one, other = np.random.default_rng(0).integers(0, 4, (2, 50))
    assert module["quadratic_kappa"](one, other) == pytest.approx(cohen_kappa_score(one, other, weights="quadratic"))


def test_the_engine_of_the_contributing_page_keeps_the_contract(tmp_path, monkeypatch):
    from imbik.export.builders import builders, registry
    from imbik.runtime.engines import engines
    from imbik.runtime.engines import registry as runtime_registry
    from imbik.testing import check_engine

    assert "onnx-parallel" not in engines() | builders()
    monkeypatch.setattr(runtime_registry, "_ENGINES", dict(runtime_registry._ENGINES))
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    (code,) = (block for block in blocks(ROOT / "CONTRIBUTING.md", "python") if "@register_engine" in block)
    exec(compile(code, "CONTRIBUTING.md", "exec"), {"__name__": "contributing"})
    folder = check_engine("onnx-parallel", tmp_path)
    assert "onnxruntime" in (folder / "README.md").read_text(encoding="utf-8")
