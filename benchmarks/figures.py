"""Write every measured figure of README and docs from the result files, or say where a page and its source differ.

    python -m benchmarks.figures            writes the pages (make figures); exit code 1 where one differed from its source
    python -m benchmarks.figures --check    the same, and changes nothing
    python -m benchmarks.figures --list     every figure with its page, line and source

On a page are read:

* a table between ``<!-- table: ROOM/NAME -->`` and ``<!-- /table -->`` is made by ``TABLES[NAME]`` of ``benchmarks/ROOM/table.py``; while
  a file that it reads is missing, one line that says so stands in its place;
* a sentence of ``benchmarks/pages/PAGE.yaml`` is found on the page by its words, and its figures are written into it, so that the
  Markdown stays free of marks (the form is that of ``expressions.py``);
* a page ``PAGE.tr.md`` is read the same way, with Turkish numbers, and a ledger ``pages/PAGE.tr.yaml`` of its own (``turkish.py``);
* ``<!-- figures: KIND -->`` says of what follows, up to the next heading or mark, that its numbers are not ours to write:
  ``published`` (of a cited paper), ``settings`` (limits, defaults, examples, arithmetic) or ``tested`` (a test that the text
  names holds them).

Every other number with a unit of measurement or a decimal point, and every number in a table, is a figure without a source: that
fails. What was measured and has no file cannot stand on a page.
"""

from __future__ import annotations

import bisect
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks import turkish
from benchmarks.common import ROOT, parser, read_result, result_path
from benchmarks.expressions import Figure, parse, sentence_pattern

PAGES = [*ROOT.glob("README*.md"), *(path for folder in ("", "results", "site") for path in sorted((ROOT / "docs" / folder).glob("*.md")))]
LEDGERS = ROOT / "benchmarks" / "pages"
KINDS = ("published", "settings", "tested")
WHOLE = {"survey": "published", "glossary": "settings", "lecturer": "settings", "course": "settings"}
"""Pages of docs/site, in every language, whose numbers are all of one kind: a reading of papers, explanations, plans of lessons."""
UNITS = r"%|ms|µs|ns|s|h|hours|minutes|[kMG]B|MiB|GiB|times|points|GFLOP/s|dB|x|texts|tokens|updates/s|rows/s|items/s|USD"
MEASURED = re.compile(
    rf"(?<![\w.,/-])[-+±−]?\d[\d,]*(?:\.\d+)?(?:\s*[–-]\s*\d[\d.,]*)?\s*(?:{UNITS})(?![\w-])"
    r"|(?<![\w.,/-])[-+±−]?\d[\d,]*\.\d+(?![\w-]|\.\d)"  # a decimal needs no unit; 1.2.3 is a version
)
IN_TABLE = re.compile(r"(?<![\w.,/-])[-+±−]?\d[\d,]*(?:\.\d+)?(?![\w-])")
TABLE = re.compile(r"<!-- table: (\S+?)/(\S+) -->\n(.*?)<!-- /table -->\n", re.S)
MARK = re.compile(r"^(?:#+ |<!-- figures: ([a-z ]+) -->)", re.M)
MASKED = re.compile(
    r"^```.*?^```|^ {4}.*?$|\$\$.*?\$\$|\$[^$\n]+\$|``[^`]+``|`[^`]+`|<!--.*?-->"  # code, mathematics, marks
    r"|\[\d{4}\.\d{4,5}\]|\]\([^)\s]*\)|https?://\S+|^#.*?$|^\|[^\n]*\|\n(?=\|[-: |]+\|$)"  # arXiv, links, headings, heads of tables
    r"|arXiv \d{4}\.\d{4,5}|(?:Python|SQuAD) \d\.\d+(?:–\d\.\d+| to \d\.\d+)?"  # names with a number
    r"|%9[05](?='(?:lik|lık)|\s+güven)"  # the same in Turkish
    r"|\(9[05] %(?:, paired)?\)|9[05] %\s+(?:bootstrap\s+)?intervals?|\(9[05] %, paired:",  # levels of intervals
    re.DOTALL | re.MULTILINE,
)


@dataclass
class Page:
    """A page while it is read and written."""

    path: Path
    text: str
    sourced: list[tuple[int, int, str]] = field(default_factory=list)
    """(start, end, source) of every figure that came from a file."""
    sentences: list[re.Pattern[str]] = field(default_factory=list)
    """What finds the sentences of its ledger; numbers in their words are settings (``at 35 % of the matrices``)."""
    faults: list[str] = field(default_factory=list)

    @property
    def turkish(self) -> bool:
        """Whether it is the Turkish twin of a page: numbers are written and looked for as Turkish has them."""
        return self.path.name.endswith(".tr.md")

    @property
    def name(self) -> str:
        """Its path as a reader names it."""
        return self.path.relative_to(ROOT).as_posix()

    def line(self, offset: int) -> int:
        """Return the number of the line of an offset, from 1."""
        return self.text.count("\n", 0, offset) + 1

    def fault(self, offset: int, what: str, source: str) -> None:
        """Note that a page and a source differ."""
        self.faults.append(f"{self.name}:{self.line(offset)}: {what} (source: {source})")

    def put(self, start: int, end: int, new: str, source: str) -> None:
        """Put what the source says between two offsets, and note a difference."""
        old = self.text[start:end]
        if old != new:
            first = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
            show = slice(max(0, first - 20), first + 40) if "\n" in new else slice(None)
            self.fault(start + first, f"has {old[show]!r}, not {new[show]!r}", source)
        self.text = self.text[:start] + new + self.text[end:]
        moved = len(new) - len(old)
        self.sourced = [(a + moved, b + moved, s) if a >= end else (a, b, s) for a, b, s in self.sourced]
        self.sourced.append((start, start + len(new), source))


def files_named(names: tuple[str, ...]) -> str:
    """Return result files as they are shown to a reader."""
    return ", ".join(result_path(name).relative_to(ROOT).as_posix() for name in names)


def make_table(page: Page, offset: int, missing: tuple[str, ...], make: Callable[[], list[str]]) -> list[str]:
    """Return the lines of a table in the language of its page; one line where nothing was measured."""
    if missing:
        files = files_named(missing)
        return [turkish.not_measured(files) if page.turkish else f"Not measured yet (no {files})."]
    if not page.turkish:
        return make()
    lines, unknown = turkish.table(make())
    if unknown:
        page.fault(offset, f"no Turkish of {', '.join(map(repr, unknown))}", turkish.WORDS.relative_to(ROOT).as_posix())
    return lines


def write_tables(page: Page) -> None:
    """Make every marked table anew."""
    for found in reversed(list(TABLE.finditer(page.text))):
        room, name = found.group(1), found.group(2)
        tables = importlib.import_module(f"benchmarks.{room}.table").TABLES
        if name not in tables:
            page.fault(found.start(), f"no table {name!r}; there are {', '.join(tables)}", f"benchmarks/{room}/table.py")
            continue
        names, make = tables[name]
        missing = tuple(one for one in names if not result_path(one).is_file())
        lines = make_table(page, found.start(), missing, make)
        page.put(found.start(3), found.end(3), "\n".join(lines) + "\n", files_named(names))


def ledger_path(page: Path) -> Path:
    """Return the file of a page's sentences, which not every page has."""
    return LEDGERS / f"{page.relative_to(ROOT).as_posix().removesuffix('.md').replace('/', '.')}.yaml"


def ledger(page: Page) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return the sources of a page by their short names, the files that these are, and its sentences."""
    path = ledger_path(page.path)
    if not path.is_file():
        return {}, {}, []
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    sources, files = {}, {}
    for short, name in document["sources"].items():
        if name.endswith("/table"):
            module = importlib.import_module(f"benchmarks.{name.replace('/', '.')}")
            sources[short], files[short] = module.derived(), files_named(module.DERIVED_FROM)
        else:
            sources[short], files[short] = read_result(name), files_named((name,))
    return sources, files, document["figures"]


def write_sentences(page: Page) -> None:
    """Put the figures of the page's ledger into its sentences."""
    sources, files, sentences = ledger(page)
    for sentence in sentences:
        parts = parse(sentence)
        figures = [part for part in parts if isinstance(part, Figure)]
        page.sentences.append(sentence_pattern(parts))
        found = list(page.sentences[-1].finditer(page.text))
        if len(found) != 1 or not figures:
            page.fault(0, f"{len(found)} places read {sentence!r}; it must be one, with a figure in it", f"benchmarks/pages, {page.name}")
            continue
        for group, figure in reversed(list(enumerate(figures, start=1))):
            where = f"{', '.join(files[name] for name in sorted(figure.names()))}: {figure.expression}"
            text = figure.text(sources)
            page.put(*found[0].span(group), turkish.numbers(text) if page.turkish else text, where)


def kinds(page: Page) -> Iterator[tuple[int, int, str]]:
    """Yield the stretches of a page that are marked, with their kinds."""
    marks = list(MARK.finditer(page.text))
    for number, mark in enumerate(marks):
        if mark.group(1) is not None:
            yield mark.start(), marks[number + 1].start() if number + 1 < len(marks) else len(page.text), mark.group(1)


def check_marks(page: Page) -> None:
    """Note marks of an unknown kind."""
    for start, _, kind in kinds(page):
        if kind not in KINDS:
            page.fault(start, f"unknown kind {kind!r}; it must be one of {', '.join(KINDS)}", "the page itself")


def unsourced(page: Page) -> Iterator[tuple[int, str, str]]:
    """Yield (offset, text, kind) of every measured number that no file gave; kind is empty where none is said."""
    masked = MASKED.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), page.text)
    sentences = [found.span() for pattern in page.sentences for found in pattern.finditer(page.text)]
    for start, end in [*((start, end) for start, end, _ in page.sourced), *sentences]:
        masked = masked[:start] + re.sub(r"[^\n]", " ", masked[start:end]) + masked[end:]
    in_table, measured = (turkish.IN_TABLE, turkish.MEASURED) if page.turkish else (IN_TABLE, MEASURED)
    stretches = list(kinds(page))
    whole = WHOLE.get(page.path.name.split(".")[0], "") if page.path.parent.name == "site" else ""
    starts = [start for start, _, _ in stretches]
    offset = 0
    for line in masked.splitlines(keepends=True):
        pattern = in_table if line.lstrip().startswith("|") else measured
        for found in pattern.finditer(line):
            place = bisect.bisect_right(starts, offset + found.start()) - 1
            inside = place >= 0 and offset + found.start() < stretches[place][1]
            yield offset + found.start(), found.group().strip(), stretches[place][2] if inside else whole
        offset += len(line)


def read(path: Path) -> tuple[Page, list[tuple[int, str, str]]]:
    """Return a page as its sources want it, and its numbers without a source."""
    page = Page(path, path.read_text(encoding="utf-8"))
    write_tables(page)
    write_sentences(page)
    check_marks(page)
    rest = list(unsourced(page))
    for offset, text, kind in rest:
        if not kind:
            page.fault(offset, f"{text} has no source", "none")
    return page, rest


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--check", action="store_true", help="change nothing")
    arguments.add_argument("--list", action="store_true", help="print every figure")
    arguments.add_argument("pages", nargs="*", type=Path, help="only these")
    options = arguments.parse_args()
    faults = []
    for path in [page.resolve() for page in options.pages] or PAGES:
        page, rest = read(path)
        if options.list:
            listed = [(a, page.text[a:b] if "\n" not in page.text[a:b] else "a table", s) for a, b, s in page.sourced]
            listed += [(offset, text, kind or "WITHOUT A SOURCE") for offset, text, kind in rest]
            for offset, text, source in sorted(listed):
                print(f"{page.name}:{page.line(offset)}: {text} <- {source}")
        elif not options.check and page.text != path.read_text(encoding="utf-8"):
            path.write_text(page.text, encoding="utf-8")
            print(f"wrote {page.name}")
        faults += page.faults
    if not options.list:
        print("\n".join(faults), file=sys.stderr)
    return 1 if faults and not options.list else 0


if __name__ == "__main__":
    sys.exit(main())
