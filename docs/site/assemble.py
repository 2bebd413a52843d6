"""Put the pages of the repository where the site wants them, links included.

The pages stay where a code host shows them; here they are copied into a folder that Sphinx reads. A link to a page that is on the site
leads there; one to another file takes the file along; one to a folder keeps its words alone.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import yaml
from translations import twin_of, with_cells

SITE = Path(__file__).parent
ROOT = SITE.parents[1]
OTHERS = ("tr",)
"""Languages beside English that pages may have twins in."""
LINK = re.compile(r"(?<!`)(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(((?!https?:|mailto:|#)[^)\s#]+)(#[^)\s]*)?\)")
TWIN = re.compile(r"[ \n]\(\[(?:Türkçe|English)\]\(\S+\)\)")  # the site has a switch of its own
FENCE = re.compile(r"(^(?P<mark>`{3,}|~{3,}).*?^(?P=mark)[ \t]*$)", re.M | re.S)


def page_map() -> dict[str, Path]:
    """Return the file behind every page of the site that is written by hand."""
    pages = {name: ROOT / path for name, path in yaml.safe_load((SITE / "pages.yaml").read_text(encoding="utf-8")).items()}
    named = set(pages.values())
    pages |= {f"explanation/{path.stem}": path for path in _english(ROOT / "docs", "*.md") if path not in named and path.stem != "README"}
    pages |= {f"results/{path.stem}": path for path in _english(ROOT / "docs" / "results", "*.md") if path not in named}
    pages |= {f"results/{path.parent.name}_measured": path for path in sorted((ROOT / "benchmarks").glob("*/README.md"))}
    pages |= {
        path.relative_to(SITE).with_suffix("").as_posix(): path for path in sorted(SITE.rglob("*.md")) if path.suffixes != [".tr", ".md"]
    }
    return pages | {f"course/{path.stem}": path for path in _english(ROOT / "notebooks", "[0-9]*.md")}


def _english(folder: Path, pattern: str) -> list[Path]:
    """Return the pages of a folder without their Turkish twins."""
    return [path for path in sorted(folder.glob(pattern)) if ".tr" not in path.suffixes]


def assemble(source: Path, language: str) -> list[str]:
    """Write the source folder of one language.

    Returns:
        the pages that are in this language.
    """
    shutil.rmtree(source, ignore_errors=True)
    pages = page_map()
    names = {path.resolve(): name for name, path in pages.items()} | {ROOT / "docs" / "README.md": "index"}
    names |= {path.with_suffix(f".{one}.md"): name for path, name in names.items() for one in OTHERS}
    own, twins = [], {name: twin_of(path, language) for name, path in pages.items()}
    translated = {pages[name].resolve() for name, twin in twins.items() if twin is not None}
    for name, path in pages.items():
        text, twin = path.read_text(encoding="utf-8"), twins[name]
        if twin is not None:
            text = with_cells(twin.read_text(encoding="utf-8"), text, name)
            own.append(name)
        text = TWIN.sub("", text)
        target = source / f"{name}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(outside_code(text, lambda part, n=name, p=path: relink(part, n, p, names, source, translated)), encoding="utf-8")
    for folder in ("_templates", "_static"):
        shutil.copytree(SITE / folder, source / folder)
    return own


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Change what stands outside fenced code."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def relink(text: str, name: str, path: Path, names: dict[Path, str], source: Path, translated: set[Path]) -> str:
    """Lead every link of a page to its place on the site; the anchors of translated pages are those of their other language, and go."""

    def replaced(found: re.Match[str]) -> str:
        words, target, anchor = found.group(1), found.group(2), found.group(3) or ""
        to = (path.parent / target).resolve()
        here = Path(name).parent
        if path.is_relative_to(SITE) and not to.exists():
            return found.group()  # a page of the site already; Sphinx says whether it is there
        if to in names:
            anchor = "" if to in translated else anchor
            return f"{words}({os.path.relpath(names[to] + '.md', here)}{anchor})"
        if to.is_file():
            _carry(to, source)
            return f"{words}({os.path.relpath(Path('files') / to.relative_to(ROOT), here)})"
        if to.is_dir():
            return words[1:-1]
        raise SystemExit(f"{path.relative_to(ROOT)}: the link {target} leads nowhere")

    return LINK.sub(replaced, text)


def _carry(file: Path, source: Path) -> None:
    """Copy a file that a page links to, and its Turkish twin where there is one."""
    for one in (file, file.with_suffix(f".tr{file.suffix}")):
        if one.exists():
            copy = source / "files" / one.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one, copy)
