"""Writes docs/results/small.md from results.json files of imbik compress.

python benchmarks/report_small.py docs/results/small.md RESULTS.json...

What is kept of each run (measurements, data, environment) is written beside the other results as benchmarks/results/small-DATA.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LEVELS = (0.97, 0.95)
KEPT = Path(__file__).parent / "results"
HEAD = """# The smallest files

How small a classifier can be shipped when 97 % or 95 % of the teacher's quality must stay. `shipped` is every byte of the artefact
folder: model, tokenizer, manifest and README. Recipes are joined names of the shipped parts, so each row is one command:
`imbik compress --teacher DIR --data DATA --recipe NAME --out DIR`. Candidates of a table were measured in one interleaved run, as
artefacts, tokenising included. Retention is paired on the same test items, with its 95 % interval; what is called the smallest is
chosen by the retention on dev, and its retention on test stands beside it.

A codebook (`cluster-16`), shared layers (`albert`), factorised tables (`embedding-128`) and a pruned vocabulary save bytes and no time;
what is faster here is faster because it has fewer or narrower layers, or int8 arithmetic.
"""


def dev_retention(m: dict[str, Any], teacher: dict[str, Any]) -> float:
    return float(m["dev_quality"]["value"] / teacher["dev_quality"]["value"])


def smallest(run: dict[str, Any], level: float) -> dict[str, Any] | None:
    teacher = baseline(run)
    fit = [m for m in run["measurements"] if m["id"] != teacher["id"] and dev_retention(m, teacher) >= level]
    return min(fit, key=lambda m: int(m["bytes"])) if fit else None


def baseline(run: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(m for m in run["measurements"] if m["id"] == run["baseline"])
    return found


def row(m: dict[str, Any], teacher: dict[str, Any]) -> str:
    quality, kept = m["quality"], m["retention"]
    cells = (
        f"`{m['id']}`",
        f"{m['params']:,}",
        f"{m['architecture']['vocabulary']:,}",
        f"{m['bytes'] / 1e6:.2f} MB",
        f"{m['model_bytes'] / 1e6:.2f} MB",
        f"{100 * quality['value']:.2f} % ({100 * quality['low']:.1f} – {100 * quality['high']:.1f})",
        f"{100 * dev_retention(m, teacher):.1f} %",
        f"{100 * kept['value']:.1f} % ({100 * kept['low']:.1f} – {100 * kept['high']:.1f})",
        f"{m['latency_ms']['p50']:.2f} ms",
        f"{m['throughput']['items_per_s']:,.0f}/s",
        f"{m['cold_start_s']:.2f} s",
    )
    return f"| {' | '.join(cells)} |"


def section(name: str, run: dict[str, Any]) -> list[str]:
    teacher = baseline(run)
    lines = [f"## {name}", ""]
    for level in LEVELS:
        best = smallest(run, level)
        if best is None:
            lines.append(f"* At least {level:.0%} on dev: none.")
            continue
        kept = best["retention"]
        lines.append(
            f"* At least {level:.0%} on dev: `{best['id']}`, **{best['bytes'] / 1e6:.2f} MB** shipped "
            f"({teacher['bytes'] / best['bytes']:.0f} times smaller than the teacher's {teacher['bytes'] / 1e6:.1f} MB); on test it keeps "
            f"{100 * kept['value']:.1f} % ({100 * kept['low']:.1f} – {100 * kept['high']:.1f})."
        )
    titles = ("candidate", "parameters", "pieces", "shipped", "model", f"test {teacher['quality']['metric']}", "kept, dev", "kept, test")
    titles += ("p50", "batch", "cold start")
    lines += ["", f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    lines += [row(m, teacher) for m in sorted(run["measurements"], key=lambda m: -int(m["bytes"]))]
    rows, where = run["data"]["rows"], run["environment"]
    lines += ["", f"{rows['train']:,} training rows, {rows['dev']:,} dev, {rows['test']:,} test; {where['cpu']}, {where['threads']} thread(s)."]
    return [*lines, ""]


def main(out: Path, sources: list[Path]) -> None:
    lines = [HEAD]
    for source in sources:
        run = json.loads(source.read_text(encoding="utf-8"))
        name = Path(run["data"]["source"]).name if "source" in run["data"] else source.stem.removeprefix("small-")
        kept = {key: run[key] for key in ("schema", "task", "baseline", "environment")}
        kept["data"] = {**run["data"], "source": name}
        kept["measurements"] = [{k: v for k, v in m.items() if k != "per_class"} for m in run["measurements"]]
        (KEPT / f"small-{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        lines += section(name, run)
    out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
