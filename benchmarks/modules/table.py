"""The table of any module's families of compression, from the result file."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common import origin, read_result

VARIANTS = ("float", "prune", "low_rank", "share", "cluster", "int8 dynamic", "int8 static")


def families() -> list[str]:
    """Return bytes and p50 of every network and family."""
    run = read_result("modules/families")
    lines = [f"| | {' | '.join(run)} |", f"|---|{'---:|' * len(run)}"]
    for variant in VARIANTS:
        cells = []
        for network in run.values():
            one = network[variant]
            cells.append("–" if one is None else f"{one['bytes'] / 1e3:,.0f} kB, {one['p50_ms']:.3f} ms")
        lines.append(f"| {variant if variant == 'float' or variant.startswith('int8') else f'`{variant}`'} | {' | '.join(cells)} |")
    return [*lines, "", origin("modules/families")]


def detector() -> list[str]:
    """Return mAP@50 of teacher, students and int8, and their bytes."""
    run = read_result("modules/detector")
    names = {"teacher": "teacher", "alone": "student, labels alone", "distilled": "student, distilled", "int8": "student, distilled, int8"}
    lines = ["| | mAP@50 | range | bytes |", "|---|---:|---:|---:|"]
    for name, shown in names.items():
        values, size = run[name], run.get(f"{name}_bytes")
        kept = f"{size[0] / 1e3:,.0f} kB" if size else "–"
        lines.append(f"| {shown} | {100 * sum(values) / len(values):.1f} % | {100 * min(values):.1f} – {100 * max(values):.1f} | {kept} |")
    return [*lines, "", origin("modules/detector")]


def hints() -> list[str]:
    """Return the accuracy of the teacher, and of students of three seeds on logits alone and with a hint."""
    run = read_result("modules/hints")
    names = {
        "teacher": "teacher",
        "logits alone": "logits alone",
        "middle layer too": "middle layer too, `HiddenMSE()`",
        "learned projection": "middle layer too, `HiddenMSE(project=True)`",
    }
    lines = ["| student | test accuracy, each seed | mean |", "|---|---:|---:|"]
    for name, shown in names.items():
        values = run[name] if name != "teacher" else run[name][:1]
        lines.append(f"| {shown} | {', '.join(f'{100 * one:.1f} %' for one in values)} | {100 * sum(values) / len(values):.1f} % |")
    return [*lines, "", origin("modules/hints")]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    "families": (("modules/families",), families),
    "detector": (("modules/detector",), detector),
    "hints": (("modules/hints",), hints),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
