"""Build the site: ``make site``. Both languages go into one folder; the outputs of the course are those that ``notebooks/outputs`` holds.

    python docs/site/build.py                English and Turkish into build/site
    python docs/site/build.py --catalogs       bring docs/site/locale/tr up to date with the English text (then translate what is new)

A warning of Sphinx, a link that leads nowhere, a cell that differs from its stored run, and an entry of a page declared Turkish
(``locale/tr/complete.txt``) that is not translated or fuzzy each end the build with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from assemble import ROOT, SITE, assemble
from catalogs import faults, update
from outputs import fill_cache
from reference import write_reference

LANGUAGES = ("en", "tr")
COMPLETE = SITE / "locale" / "tr" / "complete.txt"
REDIRECT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>imbik</title>
<script>location.replace((navigator.language || "").startsWith("tr") ? "tr/index.html" : "en/index.html")</script>
<meta name="viewport" content="width=device-width"><p><a href="en/index.html">English</a> · <a lang="tr" href="tr/index.html">Türkçe</a></p>
"""


def prepare(work: Path, language: str) -> tuple[Path, dict[str, str]]:
    """Assemble the source of one language; return it and the environment that Sphinx needs."""
    source = work / "source" / language
    own = assemble(source, language)
    write_reference(source)
    cache = work / "outputs"
    fill_cache(source, cache)
    shutil.copytree(SITE / "locale", source / "_locale")
    complete = [*own, *COMPLETE.read_text(encoding="utf-8").split()] if COMPLETE.exists() else own
    more = {
        "IMBIK_SITE": str(SITE),
        "IMBIK_SITE_LANGUAGE": language,
        "IMBIK_SITE_COMPLETE": " ".join(complete),
        "IMBIK_SITE_CACHE": str(cache),
    }
    return source, {**os.environ, **more, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}


def sphinx(builder: str, source: Path, out: Path, doctrees: Path, environment: dict[str, str]) -> None:
    """Run Sphinx; a warning is an error, all of them are shown."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, "-c", str(SITE), "-d", str(doctrees)]
    if subprocess.run([*command, str(source), str(out)], env=environment).returncode:
        raise SystemExit(1)


def main() -> None:
    """Build what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "site-work")
    parser.add_argument("--catalogs", action="store_true")
    options = parser.parse_args()
    work = options.work.resolve()
    source, environment = prepare(work, "en")
    sphinx("gettext", source, work / "gettext", work / "doctrees" / "gettext", environment)
    if options.catalogs:
        update(work / "gettext", SITE / "locale")
    found = faults(work / "gettext", SITE / "locale" / "tr", COMPLETE)
    for fault in found:
        print(fault, file=sys.stderr)
    for language in LANGUAGES:
        source, environment = prepare(work, language)
        sphinx("html", source, options.out / language, work / "doctrees" / language, environment)
    (options.out / "index.html").write_text(REDIRECT, encoding="utf-8")
    if found:
        raise SystemExit(1)
    print(f"{options.out}/index.html")


if __name__ == "__main__":
    main()
