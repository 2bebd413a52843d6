"""Build the site: ``make site``. Both languages go into one folder; the outputs of the course are those that ``notebooks/outputs`` holds.

    python docs/site/build.py                     English and Turkish into build/site
    python docs/site/build.py --translated PAGE   the Turkish text of this page says what the English says now

A warning of Sphinx, a link that leads nowhere, a cell that differs from its stored run, and a Turkish text that is older than its English
one or missing (``translations.py``) each end the build with exit code 1. Only the pages for those who change the code, docstrings among
them, are shown in English in the Turkish site, with a line that says so. Where this system has Chromium, the survey is printed beside its
page (``survey_pdf.py``).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from accessible import accessible
from assemble import ROOT, SITE, assemble, page_map
from outputs import fill_cache
from reference import write_reference
from survey_pdf import survey_pdf
from translations import faults, record

LANGUAGES = ("en", "tr")
ALSO = ("questions", "reference/commands", "reference/recipes", "reference/results", "reference/python")  # written in the language
REDIRECT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>imbik</title>
<script>location.replace((navigator.language || "").startsWith("tr") ? "tr/index.html" : "en/index.html")</script>
<meta name="viewport" content="width=device-width"><p><a href="en/index.html">English</a> · <a lang="tr" href="tr/index.html">Türkçe</a></p>
"""


def prepare(work: Path, language: str) -> tuple[Path, dict[str, str]]:
    """Assemble the source of one language; return it and the environment that Sphinx needs."""
    source = work / "source" / language
    own = assemble(source, language)
    write_reference(source, language)
    cache = work / "outputs"
    fill_cache(source, cache)
    complete = [*own, *ALSO]
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
    parser.add_argument("--translated", nargs="+", metavar="PAGE")
    options = parser.parse_args()
    if options.translated:
        record(page_map(), options.translated)
        return
    work, found = options.work.resolve(), faults(page_map())
    for fault in found:
        print(fault, file=sys.stderr)
    for language in LANGUAGES:
        source, environment = prepare(work, language)
        made = work / "html" / language  # MyST-NB leaves a folder of its own beside what it builds
        sphinx("html", source, made, work / "doctrees" / language, environment)
        shutil.rmtree(options.out / language, ignore_errors=True)
        shutil.copytree(made, options.out / language, ignore=shutil.ignore_patterns(".buildinfo"))
        for page in (options.out / language).rglob("*.html"):
            page.write_text(accessible(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(survey_pdf(options.out, language) or f"{language}: no Chromium on this system, the survey's PDF is not made")
    (options.out / "index.html").write_text(REDIRECT, encoding="utf-8")
    if found:
        raise SystemExit(1)
    print(f"{options.out}/index.html")


if __name__ == "__main__":
    main()
