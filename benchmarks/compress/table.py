"""The tables of the main job and of the smallest files, from the result files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.common import read_result, result_path

LEVELS = (0.97, 0.95)
SMALL = ("banking77", "sst2")
MAIN = ("banking77", "sst2", "trec")


def interval(value: Mapping[str, float]) -> str:
    """Return value, low and high in per cent."""
    return f"{100 * value['value']:.1f} % ({100 * value['low']:.1f} – {100 * value['high']:.1f})"


def small(data: str) -> list[str]:
    """Return what is smallest at each level, and the table of all candidates."""
    run = read_result(f"compress/small-{data}")
    teacher, *others = run["artefacts"]
    lines = []
    for level in LEVELS:
        fit = [row for row in others if row["dev"]["value"] >= level * teacher["dev"]["value"]]
        best = min(fit, key=lambda row: int(row["bytes"]))
        lines.append(
            f"* At least {level:.0%} on dev: `{best['name']}`, **{best['bytes'] / 1e6:.2f} MB**, {teacher['bytes'] / best['bytes']:.0f} "
            f"times smaller than the\n  teacher's ONNX artefact; on test it keeps {interval(best['retention'])}."
        )
    titles = (
        "candidate",
        "parameters",
        "pieces",
        "shipped",
        "tokenizer.json",
        f"test {teacher['test']['metric']}",
        "kept, dev",
        "kept, test",
    )
    lines += ["", f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    lines += [_small_row(row, teacher) for row in [teacher, *sorted(others, key=lambda row: -int(row["bytes"]))]]
    rows = run["rows"]
    return [*lines, "", f"{rows['train']:,} training rows, {rows['dev']:,} dev, {rows['test']:,} test."]


def _small_row(row: Mapping[str, Any], teacher: Mapping[str, Any]) -> str:
    """Return the line of one artefact."""
    cells = (
        f"`{row['name']}`",
        f"{row['params']:,}",
        f"{row['vocabulary']:,}",
        f"{row['bytes'] / 1e6:.2f} MB",
        f"{row['files']['tokenizer.json'] / 1e3:.0f} kB",
        interval(row["test"]),
        f"{100 * row['dev']['value'] / teacher['dev']['value']:.1f} %",
        interval(row["retention"]),
    )
    return f"| {' | '.join(cells)} |"


def pruned() -> list[str]:
    """Return what pruning the vocabulary does to Banking77's teacher and to its one-layer student."""
    rows = {row["name"]: row for row in read_result("compress/small-banking77")["artefacts"]}
    lines = ["| | pieces | shipped | tokenizer.json | test accuracy | of the teacher kept |", "|---|" + "---:|" * 5]
    for name, title in {
        "teacher": "teacher, float32",
        "vocabulary": "`vocabulary`",
        "vocabulary+int8": "`vocabulary+int8`",
        "layers-1+vocabulary+int8": "`layers-1+vocabulary+int8`",
    }.items():
        row = rows[name]
        kept = "" if name == "teacher" else interval(row["retention"])
        size = f"{row['bytes'] / 1e6:.1f} MB | {row['files']['tokenizer.json'] / 1e3:.0f} kB"
        lines.append(f"| {title} | {row['vocabulary']:,} | {size} | {interval(row['test'])} | {kept} |")
    return lines


def main_job(data: str) -> list[str]:
    """Return the candidates of one run of the main job, the teacher in PyTorch first; the choice is bold."""
    results = read_result(f"compress/{data}")["results"]
    measured = {m["id"]: m for m in results["measurements"]}
    base = measured[results["baseline"]]
    chosen = (results.get("choice") or {}).get("id")
    titles = (
        "candidate",
        f"{base['quality']['metric']} (95 %)",
        "kept (95 %)",
        "one request, p50",
        "p95",
        "texts a second",
        "shipped",
        "peak memory",
    )
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    for identifier in dict.fromkeys([base["id"], *measured]):
        m, bold = measured[identifier], "**" if identifier == chosen else ""
        p50, speed = m["latency_ms"]["p50"], m["throughput"]["items_per_s"]
        cells = (
            f"{bold}`{identifier}`{bold}",
            interval(m["quality"]),
            interval(m["retention"]),
            f"{p50:.2f} ms ({base['latency_ms']['p50'] / p50:.1f}x)",
            f"{m['latency_ms']['p95']:.2f} ms",
            f"{speed:,.0f} ({speed / base['throughput']['items_per_s']:.1f}x)",
            f"{m['bytes'] / 1e6:.1f} MB",
            f"{m['peak_rss_bytes'] / 1e6:,.0f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def choice(data: str) -> list[str]:
    """Return what was chosen, and what it keeps and saves."""
    results = read_result(f"compress/{data}")["results"]
    measured = {m["id"]: m for m in results["measurements"]}
    base, one = measured[results["baseline"]], measured[results["choice"]["id"]]
    dev = 100 * one["dev_quality"]["value"] / base["dev_quality"]["value"]
    times = one["throughput"]["items_per_s"] / base["throughput"]["items_per_s"]
    return [
        f"The choice is `{one['id']}`: it keeps {dev:.1f} % on dev and {interval(one['retention'])} on test. A single",
        f"request takes {one['latency_ms']['p50']:.2f} ms instead of {base['latency_ms']['p50']:.2f} ms, a batch runs at {times:.1f} times",
        f"the throughput, and {one['bytes'] / 1e6:.1f} MB are shipped instead of {base['bytes'] / 1e6:.1f} MB.",
    ]


def origin(data: str, up: str) -> list[str]:
    """Return where the run of the main job comes from; ``up`` leads from the page to the top of the repository."""
    document = json.loads(result_path(f"compress/{data}").read_text(encoding="utf-8"))
    machine, steps = document["environment"], document["numbers"]["steps"]
    state = ", with uncommitted changes" if document["dirty"] else ""
    minutes = sum(step["seconds"] for step in steps.values()) / 60
    notes = document["numbers"]["results"]["data"].get("notes", [])
    made = " and ".join(f"`{step['command']}`" for step in steps.values())
    return [
        f"Measured at commit `{document['commit'][:7]}`{state} on {document['date'][:10]},",
        f"{machine['cpu']} ({', '.join(machine['flags']) or 'no flags known'}), {machine['threads']} thread(s).",
        f"{made} took {minutes:.0f} minutes together",
        f"([the file]({up}benchmarks/results/compress/{data}.json), `{document['command']}`).",
        *([""] if notes else []),
        *(f"* {note}" for note in notes if isinstance(note, str)),
    ]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    **{f"small-{name}": ((f"compress/small-{name}",), lambda name=name: small(name)) for name in SMALL},  # type: ignore[misc]
    **{name: ((f"compress/{name}",), lambda name=name: main_job(name)) for name in MAIN},  # type: ignore[misc]
    **{f"{name}-choice": ((f"compress/{name}",), lambda name=name: choice(name)) for name in MAIN},  # type: ignore[misc]
    **{f"{name}-origin": ((f"compress/{name}",), lambda name=name: origin(name, "../../")) for name in MAIN},  # type: ignore[misc]
    **{f"{name}-origin-top": ((f"compress/{name}",), lambda name=name: origin(name, "")) for name in MAIN},  # type: ignore[misc]
    "pruned": (("compress/small-banking77",), pruned),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
