"""The tables of the main job and of the smallest files, from the result files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.common import named, read_result, result_path
from benchmarks.common import origin as measured_at
from imbik.locale.notes import sentence
from imbik.tasks.registry import task_of
from imbik.types import Note

LEVELS = (0.97, 0.95)
SMALL = ("banking77", "sst2")
MAIN = ("banking77", "sst2", "trec", "stsb", "tquad", "tr_atis-slots", "tr_atis-intents", "xquad-passages")


def megabytes(size: float) -> str:
    """Return a size in million bytes; of a very small one, two digits that say something."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e6:.2g} MB"


def interval(value: Mapping[str, float]) -> str:
    """Return value, low and high in per cent."""
    return f"{100 * value['value']:.1f} % ({100 * value['low']:.1f} – {100 * value['high']:.1f})"


def quality(value: Mapping[str, Any], task: str) -> str:
    """Return a quality with its interval: per cent where the metric is a share, else as it is."""
    if task_of(task).metric(str(value["metric"])).share:
        return interval(value)
    return f"{value['value']:.3f} ({value['low']:.3f} – {value['high']:.3f})"


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


RIVAL = " ◇"
"""Marks a rival in a table: measured beside the candidates and never chosen."""


def main_job(data: str) -> list[str]:
    """Return the candidates of one run of the main job, the teacher in PyTorch first; the choice is bold, a rival has a mark."""
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
            f"{bold}`{identifier}`{bold}{RIVAL if m.get('rival') else ''}",
            quality(m["quality"], results["task"]),
            interval(m["retention"]),
            f"{p50:.2f} ms ({base['latency_ms']['p50'] / p50:.1f}x)",
            f"{m['latency_ms']['p95']:.2f} ms",
            f"{speed:,.0f} ({speed / base['throughput']['items_per_s']:.1f}x)",
            megabytes(m["bytes"]),
            f"{m['peak_rss_bytes'] / 1e6:,.0f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main_job_top(data: str) -> list[str]:
    """Return the short form of :func:`main_job`: each candidate once, in the engine that answers most texts a second."""
    results = read_result(f"compress/{data}")["results"]
    base = next(m for m in results["measurements"] if m["id"] == results["baseline"])
    chosen = (results.get("choice") or {}).get("id")
    fastest: dict[str, Mapping[str, Any]] = {base["name"]: base}
    for m in results["measurements"]:
        known = fastest.setdefault(m["name"], m)
        if known is not base and m["throughput"]["items_per_s"] > known["throughput"]["items_per_s"]:
            fastest[m["name"]] = m
    lines = ["| candidate | engine | accuracy (95 %) | kept | one request, p50 | texts a second | shipped |", "|---|---|" + "---:|" * 5]
    for name, m in fastest.items():
        bold, p50, speed = "**" if m["id"] == chosen else "", m["latency_ms"]["p50"], m["throughput"]["items_per_s"]
        cells = (
            f"{bold}`{name}`{bold}{RIVAL if m.get('rival') else ''}",
            m["engine"],
            interval(m["quality"]).replace(" %", ""),
            f"{100 * m['retention']['value']:.1f} %",
            f"{p50:.2f} ms ({base['latency_ms']['p50'] / p50:.0f}x)",
            f"{speed:,.0f} ({speed / base['throughput']['items_per_s']:.0f}x)",
            megabytes(m["bytes"]),
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


def why(data: str) -> list[str]:
    """Return the reasons of the choice in the run's own words."""
    said = read_result(f"compress/{data}")["results"]["choice"]["why"]
    return textwrap.wrap(f"The choice stands in bold. The run's own words: {said}", 120, break_on_hyphens=False, break_long_words=False)


def origin(data: str, up: str) -> list[str]:
    """Return where the run of the main job comes from.

    Args:
        up: leads from the page to the top of the repository; a page at the top leaves out the notes on the data.
    """
    document = json.loads(result_path(f"compress/{data}").read_text(encoding="utf-8"))
    machine, steps = document["environment"], document["numbers"]["steps"]
    state = ", with uncommitted changes" if document["dirty"] else ""
    minutes = sum(step["seconds"] for step in steps.values()) / 60
    notes = document["numbers"]["results"]["data"].get("notes", [])
    rows = document["numbers"]["results"]["data"]["rows"]
    said = [note if isinstance(note, str) else sentence(Note(note["kind"], note["values"]), "en") for note in notes]
    return [
        f"Measured at commit `{document['commit'][:7]}`{state} on {document['date'][:10]}:",
        f"{rows['train']:,} training rows, {rows['dev']:,} dev, {rows['test']:,} test; {machine['cpu']}",
        f"({', '.join(machine['flags']) or 'no flags known'}), threads: {machine['threads']}.",
        f"All steps took {minutes:.0f} minutes together; their commands stand in [the file]({up}benchmarks/results/compress/{data}.json).",
        *([""] if said and up else []),
        *(f"* {note}" for note in said if up),
    ]


def beside(name: str) -> list[str]:
    """Return a teacher's quality beside that of its rivals, and what it has over the better of them."""
    run = read_result(f"compress/{name}")
    models = run["models"]
    best = max((one for one in models if one != "teacher"), key=lambda one: float(models[one]["dev"]["value"]))
    lines = [f"| | test {models['teacher']['test']['metric']} (95 %) | dev | trained in |", "|---|---:|---:|---:|"]
    for one, row in models.items():
        lines.append(f"| `{one}` | {interval(row['test'])} | {100 * row['dev']['value']:.1f} % | {row['seconds'] / 60:.1f} minutes |")
    over, rows = models["teacher"][f"over {best}"], run["rows"]
    points = f"{100 * over['value']:+.1f} points (95 %, paired: {100 * over['low']:+.1f} to {100 * over['high']:+.1f})"
    return [
        *[*lines, ""],
        f"The teacher has {points} over `{best}`, the better of the two on dev. {rows['train']:,} training rows, {rows['dev']:,} dev, "
        f"{rows['test']:,} test.",
        "",
        measured_at(f"compress/{name}"),
    ]


def pooled() -> list[str]:
    """Return the students without layers of the main job beside one layer, and what their speed was measured on."""
    measured = read_result("compress/banking77")["results"]["measurements"]
    wanted = ("bag+vocabulary-tight+int8", "conv-augmented+vocabulary+int8", "layers-1+int8")
    lines = ["| candidate | test accuracy (95 %) | kept (95 %) | trained in | one request, p50 | texts a second | shipped |"]
    lines.append("|---|" + "---:|" * 6)
    for m in (one for name in wanted for one in named(measured, name)):
        cells = (
            f"`{m['id']}`",
            interval(m["quality"]),
            interval(m["retention"]),
            f"{m['train_seconds']:.0f} s",
            f"{1e3 * m['latency_ms']['p50']:.0f} µs",
            f"{m['throughput']['items_per_s']:,.0f}",
            f"{m['bytes'] / 1e6:.2f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", *read_before("")]


def augmented() -> list[str]:
    """Return the students of Banking77's run with made texts beside the same students without, int8 in one engine each."""
    measured = {m["id"]: m for m in read_result("compress/banking77")["results"]["measurements"]}
    lines = [
        "| Banking77, all training rows | kept without (95 %) | with eight made texts for each (95 %) | trained in |",
        "|---|---:|---:|---:|",
    ]
    for identifier, m in measured.items():
        plain = measured.get(identifier.replace("-augmented", ""))
        if plain is not None and plain is not m:
            seconds = f"{plain['train_seconds']:.0f} and {m['train_seconds']:.0f} s"
            lines.append(f"| `{plain['id']}` | {interval(plain['retention'])} | {interval(m['retention'])} | {seconds} |")
    return lines


def read_before(up: str) -> list[str]:
    """Return what texts the speeds of Banking77's run are of: since it is stated, other texts than those read before.

    Args:
        up: leads from the page to the top of the repository; empty: no link.
    """
    speeds = {m["id"]: m["throughput"] for m in read_result("compress/banking77")["results"]["measurements"]}
    bag, layer = "bag+vocabulary-tight+int8/numpy", "layers-1+int8/onnx"
    if all(speeds[name].get("first_sight_per_s") for name in (bag, layer)):
        shares = [100 * speeds[name]["first_sight_per_s"] / speeds[name]["items_per_s"] for name in (bag, layer)]
        return [
            "Texts a second are of texts that the model has not read, after others of the task: at first sight, when no word is known yet,",
            f"the bag has {shares[0]:.0f} % of that throughput and `layers-1+int8` {shares[1]:.0f} %.",
        ]
    unseen = read_result("runtime/unseen-banking77")
    other, first = ([100 * unseen[name][state] / unseen[name]["same"] for name in (bag, layer)] for state in ("other", "first sight"))
    link = f"([the file]({up}benchmarks/results/runtime/unseen-banking77.json))"
    return [
        "Texts a second were measured on the same texts again and again, whose words the runtime remembers: on other texts of the task",
        f"the bag has {other[0]:.0f} % of that throughput and `layers-1+int8` {other[1]:.0f} %, at first sight {first[0]:.0f} and "
        f"{first[1]:.0f} %{' ' + link if up else ''}.",
    ]


def derived() -> dict[str, Any]:
    """Return the measurements of Banking77's run by their ids, for sentences: ``["int8/onnx"].quality.value``."""
    return {m["id"]: m for m in read_result("compress/banking77")["results"]["measurements"]}


DERIVED_FROM = ("compress/banking77",)
TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    **{f"small-{name}": ((f"compress/small-{name}",), lambda name=name: small(name)) for name in SMALL},  # type: ignore[misc]
    **{name: ((f"compress/{name}",), lambda name=name: main_job(name)) for name in MAIN},  # type: ignore[misc]
    **{f"{name}-top": ((f"compress/{name}",), lambda name=name: main_job_top(name)) for name in MAIN},  # type: ignore[misc]
    **{f"{name}-choice": ((f"compress/{name}",), lambda name=name: choice(name)) for name in MAIN},  # type: ignore[misc]
    **{f"{name}-origin": ((f"compress/{name}",), lambda name=name: origin(name, "../../")) for name in MAIN},  # type: ignore[misc]
    **{f"{name}-origin-top": ((f"compress/{name}",), lambda name=name: origin(name, "")) for name in MAIN},  # type: ignore[misc]
    **{f"{name}-why": ((f"compress/{name}",), lambda name=name: why(name)) for name in MAIN},  # type: ignore[misc]
    "tr_reviews-teacher": (("compress/tr_reviews-teacher",), lambda: beside("tr_reviews-teacher")),
    "pruned": (("compress/small-banking77",), pruned),
    "read-before-top": (("compress/banking77", "runtime/unseen-banking77"), lambda: read_before("./")),
    "augmented": (("compress/banking77",), augmented),
    "pooled": (("compress/banking77", "runtime/unseen-banking77"), pooled),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
