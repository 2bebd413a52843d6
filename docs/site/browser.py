"""Open every page of the built site in Chromium, as its readers do: wide and light, wide and dark, on a phone.

    pip install playwright && npm install --prefix build axe-core
    python docs/site/browser.py                  all pages of build/site, both languages (half an hour); exit code 1 for a fault
    python docs/site/browser.py en/survey.html   these alone

A fault is an error on the console, a request that leaves the disk, a page wider than a phone's screen, and what axe-core calls serious
or critical. The browser is the ``chromium`` of the system; nothing is fetched.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
AXE = ROOT / "build" / "node_modules" / "axe-core" / "axe.min.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LOOKS: dict[str, tuple[tuple[int, int], str, list[str]]] = {
    "light": ((1280, 900), "light", []),
    "dark": ((1280, 900), "dark", ["color-contrast", "link-in-text-block"]),
    "phone": ((390, 844), "light", ["scrollable-region-focusable", "target-size", "meta-viewport", "css-orientation-lock"]),
}
"""Name -> width and height of the window, the reader's color scheme, and the rules that this look may change (none: all are judged)."""
HARD = ("serious", "critical")
LOCAL = ("file:", "data:", "blob:", "about:")


def chromium() -> str | None:
    """Return the browser of this system; None where there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def pages(site: Path) -> list[Path]:
    """Return the pages of a built site."""
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)


@contextmanager
def opened() -> Iterator[Any]:
    """Yield a window of the browser.

    Raises:
        SystemExit: there is no browser, or no playwright.
    """
    program = chromium()
    if program is None:
        raise SystemExit(f"no Chromium on this system; looked for {', '.join(BROWSERS)}")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("playwright is missing: pip install playwright") from None
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program)
        yield browser.new_page()
        browser.close()


def look(window: Any, page: Path, axe: str) -> list[str]:
    """Return the faults of one page, each with the look that shows it."""
    faults: list[str] = []
    now = "while it loads"
    told = lambda line: faults.append(f"{now}: {line}")  # noqa: E731
    listeners = {
        "console": lambda message: told(f"console: {message.text}") if message.type == "error" else None,
        "pageerror": lambda error: told(f"error: {error}"),
        "request": lambda request: None if request.url.startswith(LOCAL) else told(f"request to {request.url}"),
        "requestfailed": lambda request: told(f"not found: {request.url}"),
    }
    for event, listener in listeners.items():
        window.on(event, listener)
    for number, (name, ((width, height), scheme, changed)) in enumerate(LOOKS.items()):
        window.set_viewport_size({"width": width, "height": height})
        window.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        if number == 0:
            window.goto(page.as_uri(), wait_until="load")
            window.evaluate(axe)
        now = name
        wide = window.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wide > 0:
            told(f"{wide} pixels wider than the window")
        rules = {"runOnly": {"type": "rule", "values": changed}} if changed else {}
        # axe would fetch the style sheets again, which a page from the disk may not
        found = window.evaluate("rules => axe.run(document, {resultTypes: ['violations'], preload: false, ...rules})", rules)
        for one in found["violations"]:
            if one["impact"] in HARD:
                told(f"axe, {one['impact']}, {one['id']}, {len(one['nodes'])} places: {one['nodes'][0]['html'][:160]}")
    for event, listener in listeners.items():
        window.remove_listener(event, listener)
    return faults


def main() -> int:
    """Look at what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", help="below the site (default: all)")
    parser.add_argument("--site", type=Path, default=SITE)
    parser.add_argument("--axe", type=Path, default=AXE)
    options = parser.parse_args()
    if not options.axe.is_file():
        raise SystemExit(f"no {options.axe}; npm install --prefix build axe-core")
    asked = [options.site / name for name in options.pages] or pages(options.site)
    axe, bad = options.axe.read_text(encoding="utf-8"), 0
    with opened() as window:
        for page in asked:
            faults = look(window, page.resolve(), axe)
            bad += bool(faults)
            for fault in faults:
                print(f"{page.relative_to(options.site)}: {fault}", flush=True)
    print(f"{len(asked)} pages, {len(LOOKS)} looks each: {bad} with faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
