"""The tables of quantization, from the result files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.common import origin, read_result, result_path

CASES = ("banking77-teacher", "banking77-layers-3", "sst2-teacher", "sst2-layers-3")
BESIDE = {
    "pytorch": "PyTorch float32",
    "optimum/onnx": "Optimum, onnxruntime",
    "static/onnx": "imbik `static`, onnxruntime",
    "qat/onnx": "imbik `qat`, onnxruntime",
    "optimum/openvino": "Optimum, OpenVINO",
    "static/openvino": "imbik `static`, OpenVINO",
    "qat/openvino": "imbik `qat`, OpenVINO",
}


def case(name: str) -> list[str]:
    """Return the table of one model on one task."""
    numbers = read_result(f"quantization/{name}")
    timed, judged = numbers.get("measurements", {}), numbers.get("quality", {})
    lines = ["| candidate | accuracy | 95 % | dev | MB | p50 ms | p95 ms | texts/s | int8 / float |", "|" + "---|" * 9]
    for identifier in dict.fromkeys([*timed, *judged]):
        lines.append(_row(identifier, timed, judged))
    if any("▼" in line for line in lines):
        lines += ["", "▼ slower for single requests than the same model in float on that engine."]
    return lines


def _row(identifier: str, timed: dict[str, Any], judged: dict[str, Any]) -> str:
    """Return the line of one candidate; one that was not timed has dashes."""
    m, q = timed.get(identifier), judged.get(identifier)
    test, dev = (m["quality"], m["dev_quality"]) if m else (q["test"], q["dev"])
    parity, size = (m or q)["parity"] or {}, (m or q)["bytes"]
    before = timed.get("float/" + identifier.split("/")[-1])
    slower = m and before and m["latency_ms"]["p50"] > before["latency_ms"]["p50"]
    speed = f"{m['latency_ms']['p50']:.2f} | {m['latency_ms']['p95']:.2f} | {m['throughput']['items_per_s']:.0f}" if m else "– | – | –"
    return (
        f"| {identifier}{' ▼' if slower else ''} | {100 * test['value']:.2f} | {100 * test['low']:.2f}–{100 * test['high']:.2f} "
        f"| {100 * dev['value']:.2f} | {size / 1e6:.1f} | {speed} | {parity.get('int8_ops', 0)} / {parity.get('float_matmuls', '–')} |"
    )


def beside() -> list[str]:
    """Return the Banking77 teacher beside what Optimum makes of it."""
    measured = read_result("quantization/banking77-teacher")["measurements"]
    lines = ["| | test accuracy (95 %) | MB | one request, p50 / p95 | texts/s |", "|---|---|---|---|---|"]
    for number, (identifier, title) in enumerate(BESIDE.items()):
        m = measured[identifier]
        accuracy = f"{100 * m['quality']['value']:.2f} ({100 * m['quality']['low']:.2f}–{100 * m['quality']['high']:.2f})"
        latency = f"{m['latency_ms']['p50']:.2f} / {m['latency_ms']['p95']:.2f}{'' if number else ' ms'}"
        lines.append(f"| {title} | {accuracy} | {m['bytes'] / 1e6:.1f} | {latency} | {m['throughput']['items_per_s']:,.0f} |")
    return lines


SCHEMES_CASE = "quantization/banking77-schemes"
SCHEMES = {
    "float": "float",
    "dynamic": "`dynamic`",
    "static": "`static`",
    "static-minmax-tensor": "`static`, per tensor, min-max",
    "integer": "`integer`",
    "int8-weight-only": "`weight-only`, 8 bits",
    "int4": "`weight-only`, 4 bits",
}


def schemes() -> list[str]:
    """Return one line a scheme of onnxruntime: accuracy and size."""
    judged = read_result(SCHEMES_CASE)["quality"]
    lines = ["| scheme | test accuracy (95 %) | dev | MB |", "|---|---:|---:|---:|"]
    for name, title in SCHEMES.items():
        found = judged.get(f"{name}/onnx")
        if not found:
            lines.append(f"| {title} | not run | | |")
            continue
        test, dev = found["test"], found["dev"]
        accuracy = f"{100 * test['value']:.2f} ({100 * test['low']:.2f}–{100 * test['high']:.2f})"
        lines.append(f"| {title} | {accuracy} | {100 * dev['value']:.2f} | {found['bytes'] / 1e6:.1f} |")
    return [*lines, "", origin(SCHEMES_CASE), *_seven_bits(SCHEMES_CASE)]


def _seven_bits(name: str) -> list[str]:
    """Return what to know of weights where the processor that measured has no VNNI."""
    flags = json.loads(result_path(name).read_text(encoding="utf-8"))["environment"]["flags"]
    said = "Weights of dynamic and static int8 take 7 bits on such a processor ([why](#processors))."
    return [] if any("vnni" in flag for flag in flags) else [said]


OUTLIERS = "quantization/outliers"


def outliers() -> list[str]:
    """Return the model with built-in outliers in float, by static and by quantization-aware training."""
    judged = read_result(OUTLIERS)["quality"]
    titles = {"float": "float", "static-minmax-tensor": "`static`", "qat-minmax-tensor": "`qat` with its defaults"}
    lines = ["| | dev | test (95 %) |", "|---|---:|---:|"]
    for name, title in titles.items():
        test, dev = judged[f"{name}/onnx"]["test"], judged[f"{name}/onnx"]["dev"]
        accuracy = f"{100 * test['value']:.2f} ({100 * test['low']:.2f}–{100 * test['high']:.2f})"
        lines.append(f"| {title} | {100 * dev['value']:.2f} | {accuracy} |")
    whole, static, trained = (100 * judged[f"{name}/onnx"]["test"]["value"] for name in titles)
    return [
        *lines,
        "",
        f"`qat` brings back {trained - static:.1f} of the {whole - static:.1f} points that static loses on test. One run.",
        origin(OUTLIERS),
    ]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    **{name: ((f"quantization/{name}",), lambda name=name: case(name)) for name in CASES},  # type: ignore[misc]
    "beside": (("quantization/banking77-teacher",), beside),
    "schemes": ((SCHEMES_CASE,), schemes),
    "outliers": ((OUTLIERS,), outliers),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
