"""The table of memory while a corpus grows, from the result file."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common import origin, read_result

NAME = "pretraining/memory"


def memory() -> list[str]:
    """Return one line a corpus."""
    lines = ["| corpus | blocks on disk | a tenth tokenized | all tokenized | peak of tokenizing | peak of the whole, training included |"]
    lines.append("|" + "---:|" * 6)
    for run in read_result(NAME)["runs"]:
        resident = [f"{mib:,} MiB" for mib in run["rss_mib"].values()]  # in the order of the columns
        lines.append(f"| {run['corpus_mb']:,} MB | {run['blocks_mb']:,} MB | {' | '.join(resident)} |")
    return lines


HEAD = "pretraining/head"


def head() -> list[str]:
    """Return a new head before training and after."""
    found = read_result(HEAD)
    lines = ["| | perplexity | accuracy | training |", "|---|---:|---:|---:|"]
    lines.append(f"| new head, before | {found['before']['perplexity']:,.0f} | {found['before']['accuracy']:.1%} | |")
    after = found["after"]
    title = f"head alone, {found['epochs']} epochs"
    lines.append(f"| {title} | {after['perplexity']:,.0f} | {after['accuracy']:.1%} | {found['training_s']:.0f} s |")
    said = f"On {after['tokens']:,} masked tokens of held-out blocks; trained on {found['blocks']:,} blocks of a text of"
    return [*lines, "", f"{said} {found['corpus_bytes'] / 1e6:.1f} MB.", origin(HEAD)]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"memory": ((NAME,), memory), "head": ((HEAD,), head)}
"""Name -> the result files that it reads, and the function that makes its lines."""
