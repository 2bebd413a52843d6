"""The Turkish twins of pages: ``PAGE.tr.md`` beside ``PAGE.md``, and whether they are as new as the English.

A twin is written, not assembled from sentences: order and examples may differ. ``translations.yaml`` holds for every twin a digest of the
English text that it was made of; where the English has changed since, the build fails until somebody has read both and run
``python docs/site/build.py --translated PAGE``. What ``make figures`` writes (tables, figures inside sentences) is no part of the digest,
since it is written into the twin as well. The twin of a notebook has a line ``%%`` in the place of each of its cells.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import yaml

SITE = Path(__file__).parent
ROOT = SITE.parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.expressions import parse, sentence_pattern  # noqa: E402
from benchmarks.figures import TABLE, ledger_path  # noqa: E402

RECORD = SITE / "translations.yaml"
CELL = re.compile(r"^```\{code-cell\}.*?^```$", re.M | re.S)
HEADER = re.compile(r"\A---\n.*?\n---\n", re.S)
FREE = ("start", "index")
"""Pages whose twin is a text of its own, not a translation."""
OF_THE_CODE = "house/"
"""Pages for those who change the code, in the language of the code; all others must have a twin."""


def twin_of(path: Path, language: str) -> Path | None:
    """Return the page in another language; None where there is none."""
    twin = path.with_suffix(f".{language}.md")
    return twin if language != "en" and twin.exists() else None


def with_cells(twin: str, english: str, name: str) -> str:
    """Put the English notebook's cells in the place of the marks of its twin.

    Raises:
        SystemExit: another number of marks than cells.
    """
    found, header = CELL.findall(english), HEADER.match(english)
    if header is None:
        return twin
    parts = re.split(r"^%%$", twin, flags=re.M)
    if len(parts) != len(found) + 1:
        raise SystemExit(f"{name}: {len(parts) - 1} marks %% in the Turkish text, {len(found)} cells in the notebook")
    return header.group() + "\n" + parts[0] + "".join(cell + part for cell, part in zip(found, parts[1:], strict=True))


def digest(page: Path) -> str:
    """Return what the record holds of an English page: its words, without the code of a notebook and without generated figures."""
    text = TABLE.sub(lambda found: found.group().replace(found.group(3), ""), CELL.sub("", page.read_text(encoding="utf-8")))
    ledger = ledger_path(page)
    for sentence in yaml.safe_load(ledger.read_text(encoding="utf-8"))["figures"] if ledger.is_file() else []:
        text = sentence_pattern(parse(sentence)).sub(lambda _, words=sentence: words, text)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def recorded() -> dict[str, str]:
    """Return the record."""
    return yaml.safe_load(RECORD.read_text(encoding="utf-8")) or {} if RECORD.exists() else {}


def faults(pages: dict[str, Path], language: str = "tr") -> list[str]:
    """Return one line for every page without a twin, every twin that is older than its English text, and every record without a twin."""
    known = recorded()
    twins = {name: path for name, path in pages.items() if twin_of(path, language) and name not in FREE}
    late = [name for name, path in twins.items() if known.get(name) != digest(path)]
    missing = [name for name, path in pages.items() if not twin_of(path, language) and not name.startswith(OF_THE_CODE)]
    return [
        *(f"{name}: no Turkish text; write {pages[name].stem}.tr.md, then: build.py --translated {name}" for name in missing),
        *(
            f"{name}: the English text changed; bring {twins[name].stem}.tr.md up to date, then: build.py --translated {name}"
            for name in late
        ),
        *(f"{name}: recorded as translated, and there is no Turkish text" for name in known if name not in twins),
    ]


def record(pages: dict[str, Path], names: list[str]) -> None:
    """Record that the twins of these pages say what the English says now."""
    known = recorded() | {name: digest(pages[name]) for name in names}
    RECORD.write_text(yaml.safe_dump(known, sort_keys=True), encoding="utf-8")
