"""Quantisation schemes against float, on every engine asked for: accuracy, size, latency, throughput, all measured in one run.

    python benchmarks/bench_quantise.py build CASE --work DIR --teacher DIR --data DATA [--checkpoint DIR] [--engine onnx] [--only NAME]
    python benchmarks/bench_quantise.py measure CASE --work DIR --data DATA [--threads 1] [--only NAME]
    python benchmarks/bench_quantise.py table

``build`` quantises a checkpoint (by default the teacher itself) by every scheme of :data:`SCHEMES` and exports it; what is there
already is kept, so a run that was stopped continues. ``measure`` starts every artefact of the case, and the checkpoint in PyTorch
float32, in processes of their own, gives them turns, and writes ``benchmarks/results/quantise.json``. ``table`` writes
``docs/results/quantise.md`` from it. Artefacts of other tools join in when they lie in ``DIR/CASE/<name>/<engine>``.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.candidate import Candidate
from imbik.checkpoint import labels_of, load_checkpoint, save_checkpoint
from imbik.context import Context
from imbik.data import load_data
from imbik.engines import refusal
from imbik.errors import UserError
from imbik.export import export, settled
from imbik.measure import measure
from imbik.methods import make_method
from imbik.progress import Silent
from imbik.runtime import read_artefact
from imbik.teacher import TeacherCache
from imbik.types import Checkpoint, Splits

RESULTS = Path(__file__).parent / "results" / "quantise.json"
TABLE = Path(__file__).parents[1] / "docs" / "results" / "quantise.md"

_HARSH = {"granularity": "per-tensor", "calibration": "min-max"}
SCHEMES: dict[str, Mapping[str, Any] | None] = {
    "float": None,
    "dynamic": {"scheme": "dynamic"},
    "static": {"scheme": "static"},
    "static-minmax-tensor": {"scheme": "static", **_HARSH},
    "qat": {"scheme": "qat"},
    "qat-minmax-tensor": {"scheme": "qat", **_HARSH},
    "int8-weight-only": {"scheme": "weight-only", "bits": 8},
    "int4": {"scheme": "weight-only", "bits": 4},
    "integer": {"scheme": "integer"},
}
"""Name -> settings of the quantize step; None: the float model."""


def quantise(base: Checkpoint, teacher: Checkpoint, splits: Splits, name: str, folder: Path) -> Checkpoint:
    """The checkpoint under one scheme, made or found finished; calibration and training happen once for all engines."""
    done = folder / "model"
    if (done / "config.json").is_file():
        return load_checkpoint(done, role="checkpoint")
    settings = SCHEMES[name]
    if settings is None:
        return replace(base, steps=())
    step = {"quantize": settings}
    context = Context(teacher, splits, TeacherCache(folder.parent / "teacher", teacher), 1, Silent(), folder / "step", folder / "shared")
    student = replace(base, model=copy.deepcopy(base.model))
    began = time.perf_counter()
    made = make_method(step, name).apply(student, context)
    made = replace(made, steps=({"quantize": settled((step,)) or {}},))
    save_checkpoint(made, done.with_suffix(".tmp"))
    (done.with_suffix(".tmp") / "seconds.json").write_text(json.dumps(time.perf_counter() - began))
    done.with_suffix(".tmp").rename(done)
    return made


def build(args: argparse.Namespace) -> None:
    teacher = load_checkpoint(args.teacher)
    base = load_checkpoint(args.checkpoint or args.teacher, role="checkpoint")
    splits = load_data(args.data, task=teacher.task, labels=labels_of(teacher), say=lambda line: None)
    case = args.work / args.case
    case.mkdir(parents=True, exist_ok=True)
    (case / "case.json").write_text(json.dumps({"checkpoint": str(args.checkpoint or args.teacher)}))
    for name in args.only or SCHEMES:
        made = None
        for engine in args.engine or ["onnx"]:
            target = case / name / engine
            steps = () if SCHEMES[name] is None else ({"quantize": SCHEMES[name]},)
            if (target / "manifest.json").is_file() or refusal(engine, steps):
                continue
            made = made or quantise(base, teacher, splits, name, case / name)
            try:
                artefact = export(made, engine, target, texts=splits.dev, calibration=splits.train)
            except UserError as error:
                print(f"{args.case} {name} {engine}: {error}", flush=True)
                continue
            beside = artefact.parity.get("float_parent") or {}
            print(
                f"{args.case} {name} {engine}: {artefact.bytes / 1e6:.2f} MB, agreement {artefact.parity['agreement']}, {beside}",
                flush=True,
            )


def run(args: argparse.Namespace) -> None:
    case = args.work / args.case
    checkpoint = Path(json.loads((case / "case.json").read_text())["checkpoint"])
    base = load_checkpoint(checkpoint, role="checkpoint")
    splits = load_data(args.data, task=base.task, labels=labels_of(base), say=lambda line: None)
    found = [Candidate("pytorch", "pytorch", "pytorch", checkpoint)]
    for manifest in sorted(case.glob("*/*/manifest.json")):
        name, engine = manifest.parts[-3:-1]
        if args.only and name not in args.only:
            continue
        seconds = case / name / "model" / "seconds.json"
        spent = json.loads(seconds.read_text()) if seconds.is_file() else None
        found.append(Candidate(f"{name}/{engine}", name, engine, manifest.parent, read_artefact(manifest.parent).steps, spent))
    measured = measure(found, splits, baseline="pytorch", threads=args.threads)
    record = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    record[args.case] = {
        "environment": measured.environment,
        "failures": list(measured.failures),
        "measurements": [_kept(asdict(m)) for m in measured.measurements],
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1, default=float) + "\n")
    print(_table(args.case, record[args.case]))


def _kept(measurement: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody reads here."""
    return {key: value for key, value in measurement.items() if key not in ("per_class", "calibration", "flops_per_item")}


def table(args: argparse.Namespace) -> None:
    record = json.loads(RESULTS.read_text())
    text = "# Quantisation, measured\n\nWritten by `benchmarks/bench_quantise.py table` from `benchmarks/results/quantise.json`.\n\n"
    text += "Accuracy on test with its 95 % bootstrap interval; MB: all that is shipped, tokenizer included; p50, p95: one request; "
    text += "texts/s: sorted batches, tokenising included. All candidates of a table ran interleaved, in processes of their own.\n\n"
    text += "\n".join(_table(case, entry) for case, entry in record.items())
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(text)


def _table(case: str, entry: Mapping[str, Any]) -> str:
    environment = entry["environment"]
    lines = [f"## {case}", "", f"{environment['cpu']}, {environment['threads']} thread(s).", ""]
    lines += [
        "| candidate | accuracy | 95 % | dev | MB | p50 ms | p95 ms | texts/s | int8 / float products | made in s |",
        "|" + "---|" * 10,
    ]
    floats = {m["engine"]: m["latency_ms"]["p50"] for m in entry["measurements"] if m["name"] == "float"}
    for m in entry["measurements"]:
        quality, latency, parity = m["quality"], m["latency_ms"], m["parity"] or {}
        slower = m["name"] != "float" and latency["p50"] > floats.get(m["engine"], np.inf)
        lines.append(
            f"| {m['id']}{' ▼' if slower else ''} | {100 * quality['value']:.2f} | {100 * quality['low']:.2f}–{100 * quality['high']:.2f} "
            f"| {100 * m['dev_quality']['value']:.2f} | {m['bytes'] / 1e6:.1f} | {latency['p50']:.2f} | {latency['p95']:.2f} "
            f"| {m['throughput']['items_per_s']:.0f} | {parity.get('int8_ops', 0)} / {parity.get('float_matmuls', '–')} "
            f"| {'–' if m['train_seconds'] is None else format(m['train_seconds'], '.0f')} |"
        )
    lines += ["", "▼ slower for single requests than the same model in float on that engine.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in (("build", build), ("measure", run)):
        command = commands.add_parser(name)
        command.set_defaults(run=function)
        command.add_argument("case")
        command.add_argument("--work", type=Path, required=True)
        command.add_argument("--data", required=True)
        command.add_argument("--only", action="append")
        command.add_argument("--teacher", required=name == "build")
        command.add_argument("--checkpoint")
        command.add_argument("--engine", action="append")
        command.add_argument("--threads", type=int, default=1)
    commands.add_parser("table").set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
