"""The reference pages: commands, recipes, the fields of ``results.json`` and the Python interface, read from the code itself."""

from __future__ import annotations

import ast
import dataclasses
import html
import importlib
import inspect
import re
import typing
from pathlib import Path
from typing import Any

import typer
import yaml

from imbik.locale.language import speaking, translated

SRC = Path(__file__).parents[2] / "src" / "imbik"
PACKAGES = (
    "", "data", "models", "students", "training", "distillation", "quantization", "compress", "finetune", "measure", "advise", "roi",
    "report", "recipes", "runtime", "predict", "serve", "literature", "pretraining", "linear", "recommend", "testing",
)  # fmt: skip


def write_reference(source: Path, language: str) -> None:
    """Write all of them, and the questions of the lecturer's pack in the language."""
    (source / "questions.md").write_text(questions(language), encoding="utf-8")
    folder = source / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    said = SAID[language]
    with speaking(language):
        for name, text in (("commands", commands(said)), ("recipes", recipes(said)), ("results", results(said))):
            (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (folder / "python").mkdir(exist_ok=True)
    names = [package for package in PACKAGES if public(package)]
    seen: dict[int, str] = {}
    for package in reversed(names):  # the face of imbik itself last: it only repeats names
        (folder / "python" / f"{package or 'imbik'}.rst").write_text(python(package, seen), encoding="utf-8")
    entries = "\n".join(f"python/{package or 'imbik'}" for package in names)
    (folder / "python.md").write_text(f"# Python\n\n{said['python']}\n\n```{{toctree}}\n:maxdepth: 2\n\n{entries}\n```\n", encoding="utf-8")


SAID = {
    "en": {
        "python": "Programs import from the face of a package, such as `from imbik.compress import compress`; names load when first used.",
        "commands": "# Commands\n\nWhat `imbik COMMAND --help` prints. Exit code 0: done; 2: something you can mend, said in one message.",
        "arguments": "| argument | default | |",
        "required": "required",
        "recipes": "# Recipes\n\nShipped recipes; `imbik recipes NAME` prints one, and a copy of it is a recipe of your own.",
        "results": "# results.json\n\n`imbik compress` and `imbik measure` write it; `advise`, `roi` and `report` read it.",
        "fields": "| field | type |",
        "or": "or",
    },
    "tr": {
        "python": "Programlar bir paketin yüzünden alır: `from imbik.compress import compress`; adlar ilk kullanıldıklarında\n"
        "yüklenir. Belge dizgileri kodun dilinde, İngilizcedir.",
        "commands": "# Komutlar\n\n`imbik KOMUT --help --lang tr` ne yazdırıyorsa. Çıkış kodu 0: bitti; 2: düzeltebileceğiniz bir şey,\n"
        "tek iletide söylenir.",
        "arguments": "| argüman | varsayılan | |",
        "required": "zorunlu",
        "recipes": "# Tarifler\n\nimbik ile gelen tarifler; `imbik recipes AD` birini yazdırır, onun kopyası kendi tarifinizdir.",
        "results": "# results.json\n\nBunu `imbik compress` ve `imbik measure` yazar; `advise`, `roi` ve `report` okur.",
        "fields": "| alan | tür |",
        "or": "ya da",
    },
}
"""The words of the generated pages; what a command says of itself comes from the catalogue of the command line."""


def commands(said: dict[str, str]) -> str:
    """Return the page of the command line, as `--help` says it in the language that is spoken."""
    from imbik.cli.app import build_app

    lines = [said["commands"], ""]
    for name, command in typer.main.get_command(build_app()).commands.items():  # type: ignore[attr-defined]
        lines += _command(f"imbik {name}", command, 2, said)
        for inner, part in getattr(command, "commands", {}).items():
            lines += _command(f"imbik {name} {inner}", part, 3, said)
    return "\n".join(lines)


def _command(name: str, command: Any, depth: int, said: dict[str, str]) -> list[str]:
    """Return the section of one command."""
    lines = [f"{'#' * depth} `{name}`", "", _plain(command.help or ""), ""]
    rows = [parameter for parameter in command.params if "--help" not in parameter.opts]
    if not rows or hasattr(command, "commands"):
        return lines
    lines += [said["arguments"], "|---|---|---|"]
    for row in rows:
        option = row.param_type_name == "option"
        called = ", ".join(f"`{one}`" for one in [*row.opts, *row.secondary_opts]) if option else f"`{row.metavar or row.name.upper()}`"
        default = (
            said["required"] if row.required else "" if row.default in (None, False, ()) or callable(row.default) else f"`{row.default}`"
        )
        lines.append(f"| {called} | {default} | {_plain(row.help or '').replace('|', chr(92) + '|')} |")
    return [*lines, ""]


def _plain(text: str) -> str:
    """Return help as Markdown: what is no markup there must be none here."""
    paragraphs = text.replace("\f", "").replace("\b", "").split("\n\n")
    joined = "\n\n".join(translated(" ".join(one.split())) for one in paragraphs).strip()
    return re.sub(r"([*_<>\[\]$])", r"\\\1", re.sub(r"(?<![`\w])(--[a-z][a-z-]+)", r"`\1`", joined))


def recipes(said: dict[str, str]) -> str:
    """Return the page of the shipped recipes."""
    lines = [said["recipes"], ""]
    for path in sorted((SRC / "recipes").glob("*.yaml")):
        lines += [f"## {path.stem}", "", "```yaml", path.read_text(encoding="utf-8").strip(), "```", ""]
    return "\n".join(lines)


def results(said: dict[str, str]) -> str:
    """Return the page of the fields of results.json."""
    from imbik.measure.schema import _Document

    lines = [said["results"], ""]
    seen: set[type] = set()
    waiting: list[type] = [_Document]
    while waiting:
        cls = waiting.pop(0)
        if cls in seen:
            continue
        seen.add(cls)
        lines += [f"## {cls.__name__.lstrip('_')}", "", said["fields"], "|---|---|"]
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            hint = hints[field.name]
            lines.append(f"| `{field.name}` | `{_hint(hint, said['or'])}` |")
            waiting += [part for part in _parts(hint) if dataclasses.is_dataclass(part)]
        lines.append("")
    return "\n".join(lines)


def _parts(hint: Any) -> list[Any]:
    """Return the types inside a type."""
    inner = [part for one in typing.get_args(hint) for part in _parts(one)]
    return inner or [hint]


def _hint(hint: Any, either: str) -> str:
    text = str(hint) if typing.get_args(hint) else getattr(hint, "__name__", str(hint))
    return re.sub(r"\b(?:[a-z_]+\.)+([A-Z]\w*)", r"\1", text).replace("|", either).replace("NoneType", "None")


def questions(language: str) -> str:
    """Return the question bank: every answer opens under its question."""
    topics = yaml.safe_load(Path(__file__).with_name("questions.yaml").read_text(encoding="utf-8"))
    turkish, number = language == "tr", 0
    lines = ["# Sorular ve yanıtlar" if turkish else "# Questions and answers", ""]
    for topic in topics:
        lines += [f"## {topic['topic'][turkish]}", ""]
        for entry in topic["questions"]:
            number += 1
            asked, answer = entry[2:] if turkish else entry[:2]
            shown = "Yanıt" if turkish else "Answer"
            lines += [f"**{number}.** {asked}", "", f"<details><summary>{shown}</summary><p>{html.escape(answer)}</p></details>", ""]
    return "\n".join(lines)


def public(package: str) -> list[str]:
    """Return the public names of a package, from the stub that its face is."""
    stub = SRC / package / "__init__.pyi"
    if not stub.exists():
        return []
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    return [alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]


def python(package: str, seen: dict[int, str]) -> str:
    """Return the page of one package; what another page has already is named alone."""

    module = f"imbik.{package}" if package else "imbik"
    lines = [module, "=" * len(module), ""]
    loaded = importlib.import_module(module)
    for name in public(package):
        value = getattr(loaded, name)
        if not callable(value):
            lines += [f"``{module}.{name}``: a {type(value).__name__} of {len(value)}: {', '.join(map(str, value))}", ""]
        elif id(value) in seen:
            lines += [f"``{module}.{name}`` is :py:obj:`{seen[id(value)]}`.", ""]
        else:
            seen[id(value)] = f"{module}.{name}"
            kind = "autoclass" if inspect.isclass(value) else "autofunction"
            lines += [f".. {kind}:: {module}.{name}", *(["   :members:"] if kind == "autoclass" else []), ""]
    return "\n".join(lines)
