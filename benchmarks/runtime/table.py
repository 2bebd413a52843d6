"""The tables of engines in float and of the memory for words, from the result files."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common import origin, read_result

PRECISION = "runtime/precision-banking77"
WORDS = ("runtime/words-bag+vocabulary-tight+int8",)
NAMES = {
    "openvino f32": "OpenVINO float32",
    "openvino bf16": "OpenVINO bfloat16",
    "onnx f32": "onnxruntime float32",
    "onnx dynamic": "onnxruntime dynamic int8",
}


def precision() -> list[str]:
    """Return one line an engine and precision."""
    found = read_result(PRECISION)
    lines = ["| model | one request, p50 | texts a processor second, in batches |", "|---|---:|---:|"]
    for name, title in NAMES.items():
        if name in found:  # a processor without bfloat16 has one line less
            lines.append(f"| {title} | {found[name]['single_p50_ms']:.2f} ms | {1e6 / found[name]['batch_processor_us']:,.0f} |")
    shapes = found["new shapes"]
    first, second = shapes["first_ms"], shapes["second_ms"]
    said = (
        f"OpenVINO's first request of a length takes {first:.1f} ms, the second {second:.1f} ms (medians of {shapes['lengths']} lengths)."
    )
    return [*lines, "", said, origin(PRECISION)]


def words() -> list[str]:
    """Return each model with and without the memory."""
    lines = ["| | one request, p50 | processor time of a text in batches |", "|---|---:|---:|"]
    for name in WORDS:
        for state, one in read_result(name).items():
            model = name.removeprefix("runtime/words-")
            lines.append(f"| `{model}`, {state} | {one['single_p50_ms']:.3f} ms | {one['batch_processor_us']:.1f} µs |")
    return [*lines, "", origin(WORDS[0])]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"precision": ((PRECISION,), precision), "words": (WORDS, words)}
"""Name -> the result files that it reads, and the function that makes its lines."""
