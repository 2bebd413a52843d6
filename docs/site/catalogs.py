"""The Turkish catalogs: brought up to date by sphinx-intl, and checked where a page is declared complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po


def update(pots: Path, locale: Path) -> None:
    """Bring the catalogs up to date; entries that are gone are removed."""
    command = [sys.executable, "-m", "sphinx_intl", "update", "-p", str(pots), "-d", str(locale), "-l", "tr", "-w", "0", "--no-obsolete"]
    subprocess.run(command, check=True)


def faults(pots: Path, turkish: Path, complete: Path) -> list[str]:
    """Return one line for every entry of a complete page that is missing, empty or fuzzy."""
    found = []
    for page in complete.read_text(encoding="utf-8").split() if complete.exists() else []:
        pot, po = pots / f"{page}.pot", turkish / "LC_MESSAGES" / f"{page}.po"
        if not pot.exists():
            found.append(f"{complete.name}: there is no page {page}")
            continue
        translated = _read(po) if po.exists() else Catalog()
        for message in _read(pot):
            if not message.id:
                continue
            have = translated.get(message.id)
            if have is None or not have.string or have.fuzzy:
                state = "fuzzy" if have is not None and have.fuzzy else "not translated"
                found.append(f"{page}: {state}: {str(message.id)[:80]!r}")
    return found


def _read(path: Path) -> Catalog:
    with path.open("rb") as stream:
        return read_po(stream)
