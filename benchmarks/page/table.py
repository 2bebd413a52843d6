"""The table of models in a browser, from the result file."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common import origin, read_result

BROWSER = "page/banking77"


def browser() -> list[str]:
    """Return one line for each model."""
    heads = ("model", "page", "of it, the model", "texts with another answer than in Python", "largest difference")
    heads += ("ms a text", "ms in Python", "seconds until the first answer")
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    found = read_result(BROWSER)
    for run in found["runs"]:
        sizes = [f"{run[name] / 1e6:.2f} MB" for name in ("page_bytes", "model_bytes")]
        other = f"{run['other_labels']} / {run['texts']}"
        rest = (f"{run['max_abs']:.7f}", f"{run['ms']:.2f}", f"{run['python_ms']:.2f}", f"{run['first_s']:.1f}")
        lines.append("| " + " | ".join((f"`{run['model']}`", *sizes, other, *rest)) + " |")
    asked = f"Asked with the network off: {found['browser']}, onnxruntime-web {found['onnxruntime-web']}."
    return [*lines, "", asked, "", origin(BROWSER)]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"browser": ((BROWSER,), browser)}
"""Name -> the result files that it reads, and the function that makes its lines."""
