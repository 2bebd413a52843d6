"""Writes docs/results/recommend.md from the JSON files of the other bench_recommend scripts.

python benchmarks/report_recommend.py FOLDER_OF_JSON docs/results/recommend.md
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from imbik.recommend.evaluation.measures import paired

TITLES = {"imbik": "**imbik**", "surprise": "scikit-surprise", "smurff": "SMURFF"}


def head(*titles: str) -> list[str]:
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


def quality(folder: Path) -> list[str]:
    rows: dict[tuple[str, str, str], Any] = {}
    for path in sorted(folder.glob("quality-*.json")):
        for row in json.loads(path.read_text()):
            tuned = bool(row["settings"]) and row["library"] != "imbik"
            rows[row["library"], row["name"], "tuned" if tuned else "default"] = row
    base = np.array([s["rmse"] for s in rows["imbik", "bpmf", "default"]["splits"]])
    table = head("library", "model", "settings", "RMSE ± sd over splits", "minus bpmf, paired 95 %", "MAE", "90 % covers", "train s")
    for (library, name, kind), row in sorted(rows.items(), key=lambda r: float(np.mean([s["rmse"] for s in r[1]["splits"]]))):
        value = {k: np.array([s[k] for s in row["splits"]]) for k in row["splits"][0]}
        gap = paired(value["rmse"], base[: len(value["rmse"])])
        cover = f"{value['coverage'].mean():.3f}" if "coverage" in value else ""
        tuned = ", ".join(f"{k} {v}" for k, v in row["settings"].items())
        settings = "see below" if library == "imbik" else tuned if kind == "tuned" else "default"
        cells = (
            TITLES.get(library, library), name, settings, f"{value['rmse'].mean():.4f} ± {value['rmse'].std(ddof=1):.4f}",
            f"{gap['difference']:+.4f} ({gap['low']:+.4f}, {gap['high']:+.4f})", f"{value['mae'].mean():.4f}", cover,
            f"{np.median(value['train_seconds']):.2f}",
        )  # fmt: skip
        table.append(f"| {' | '.join(cells)} |")
    return table


def speed(folder: Path) -> list[str]:
    table = head("work, rank", "library", "ms a sweep, median (range of rounds)", "times ours")
    for task, times in json.loads((folder / "speed.json").read_text()).items():
        ours = float(np.median(times["imbik"]))
        for library, values in times.items():
            middle = float(np.median(values))
            span = f"{min(values):.1f}-{max(values):.1f}"
            table.append(f"| {task} | {TITLES.get(library, library)} | {middle:.1f} ({span}) | {middle / ours:.1f} |")
    return table


def scale(folder: Path) -> list[str]:
    result = json.loads((folder / "scale.json").read_text())
    table = head("work (rank 16)", "1 million", "3 million", "10 million", "seconds, 10 M over 1 M")
    for name in dict.fromkeys(key.split()[0] for key in result):
        cells = [result.get(f"{name} {count}") for count in (1_000_000, 3_000_000, 10_000_000)]
        if any(c is None or "error" in c for c in cells):
            continue
        memory = [(c["before_mb"] / 1024, (c["peak_mb"] - c["before_mb"]) / 1024) for c in cells]
        texts = [f"{c['seconds_a_pass']:.2f} s, {a:.2f} + {b:.2f} GB" for c, (a, b) in zip(cells, memory, strict=True)]
        table.append(f"| {name} | {' | '.join(texts)} | {cells[2]['seconds_a_pass'] / cells[0]['seconds_a_pass']:.1f} |")
    return table


def events(folder: Path) -> list[str]:
    rows = json.loads((folder / "events.json").read_text())
    table = head("library", "model", "settings", "NDCG@20", "Recall@20", "MAP", "MPR", "train s")
    chosen = {name: json.loads((folder / f"events-{name}.json").read_text()) for name in ("implicit", "imbik")}
    for library, name in dict.fromkeys((r[0], r[1]) for r in rows):
        own = [r[3] for r in rows if (r[0], r[1]) == (library, name)]
        mean = {k: float(np.mean([o[k] for o in own])) for k in own[0]}
        spread = float(np.std([o["ndcg"] for o in own]))
        settings = ", ".join(f"{k} {v}" for k, v in chosen[library].get(name, {}).items())
        seconds = f"{mean['seconds']:.2f}" if "seconds" in mean else ""
        measures = [f"{mean['ndcg']:.4f} ± {spread:.4f}", *(f"{mean[k]:.4f}" for k in ("recall", "map", "mpr"))]
        table.append(f"| {' | '.join((TITLES.get(library, library), name, settings, *measures, seconds))} |")
    return table


def environment() -> str:
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return f"{names[0]}, {os.cpu_count()} cores, Python {platform.python_version()}, commit {commit}; shared machine."


def main(folder: Path, out: Path) -> None:
    text = (Path(__file__).parent / "report_recommend.md").read_text()
    for mark, fill in (("quality", quality), ("speed", speed), ("scale", scale), ("events", events)):
        text = text.replace(f"{{{mark}}}", "\n".join(fill(folder)))
    engine = (folder / "engine.txt").read_text().strip()
    out.write_text(text.replace("{engine}", engine).replace("{environment}", environment()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
