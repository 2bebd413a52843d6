"""Quantization schemes against float, on every engine asked for: accuracy, size, latency, throughput, all measured in one run.

    python -m benchmarks.quantization.run build CASE --work DIR --teacher DIR --data DATA [--checkpoint DIR] [--engine onnx] [--only NAME]
    python -m benchmarks.quantization.run quality CASE --work DIR --data DATA
    python -m benchmarks.quantization.run measure CASE --work DIR --data DATA [--threads 1] [--rounds 5] [--only NAME]
    python -m benchmarks.quantization.run outliers --checkpoint DIR --out DIR [--factor 64]
    python -m benchmarks.quantization.run adopt CASE --work DIR --name NAME --engine ENGINE --model FILE

``build`` quantizes a checkpoint (by default the teacher itself) by every scheme of :data:`SCHEMES` and exports it; what is there
already is kept, so a run that was stopped continues. ``quality`` predicts dev and test with every artefact (no timing, so any core
will do; continues likewise). ``measure`` starts every artefact of the case, and the checkpoint in PyTorch
float32, in processes of their own, gives them turns, and records ``benchmarks/results/quantization/CASE.json``, which table.py reads.
``outliers`` writes a checkpoint that computes the same function with outliers in it, the case that static quantization per tensor loses
most on. ``adopt`` puts another tool's model file (``peers.py``) beside the artefacts: it runs under the same tokenizer, batching and
engine settings as ours, so that the columns compare the models.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import add_shared, clock, parser, read_result, record, result_path
from imbik import UserError
from imbik.data import load_data
from imbik.export import export
from imbik.export.artefact import settled
from imbik.export.builders import refusal
from imbik.export.folder import finish, write_tokenizer
from imbik.jobs.progress import Silent
from imbik.measure import Candidate, measure
from imbik.measure.results import Results, results_document
from imbik.methods import make_method
from imbik.models import load_checkpoint, save_checkpoint
from imbik.models.blocks import layer_stack
from imbik.models.checkpoint import labels_of
from imbik.models.facts import facts, manifest_of
from imbik.models.teacher import Teacher
from imbik.models.tokenizers import tokenizer_of
from imbik.runtime import load_artefact, read_artefact
from imbik.runtime.processors import float_precision, int8_preset
from imbik.tasks.retention import quality
from imbik.training import Context
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Splits

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


def quantize(base: Checkpoint, teacher: Checkpoint, splits: Splits, name: str, folder: Path) -> Checkpoint:
    """The checkpoint under one scheme, made or found finished; calibration and training happen once for all engines."""
    done = folder / "model"
    if (done / "config.json").is_file():
        return load_checkpoint(done, role="checkpoint")
    settings = SCHEMES[name]
    if settings is None:
        return replace(base, steps=())
    step = {"quantize": settings}
    teacher = Teacher.of(teacher)
    context = Context(teacher, splits, TeacherCache(folder.parent / "teacher", teacher), 1, Silent(), folder / "step", folder / "shared")
    student = replace(base, model=copy.deepcopy(base.model))
    with clock() as spent:
        made = make_method(step, name).apply(student, context)
    made = replace(made, steps=({"quantize": settled((step,)) or {}},))
    save_checkpoint(made, done.with_suffix(".tmp"))
    (done.with_suffix(".tmp") / "seconds.json").write_text(json.dumps(spent.wall))
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
            made = made or quantize(base, teacher, splits, name, case / name)
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


@torch.no_grad()
def outliers(args: argparse.Namespace) -> None:
    """One value channel a head times ``factor``, its column of the next matrix divided by it: in float the same function."""
    checkpoint = load_checkpoint(args.checkpoint, role="checkpoint")
    heads = int(checkpoint.model.config.num_attention_heads)
    for layer in layer_stack(checkpoint.model)[1]:
        value, output = layer.attention.self.value, layer.attention.output.dense
        channels = torch.arange(0, value.out_features, value.out_features // heads)
        value.weight[channels] *= args.factor
        value.bias[channels] *= args.factor
        output.weight[:, channels] /= args.factor
    save_checkpoint(checkpoint, args.out)


def judge(args: argparse.Namespace) -> None:
    """Accuracy and size of every artefact of a case that has not been judged yet."""
    entry = _entry(args.case)
    for manifest in sorted((args.work / args.case).glob("*/*/manifest.json")):
        artefact, identifier = read_artefact(manifest.parent), f"{manifest.parts[-3]}/{manifest.parts[-2]}"
        digest = artefact.sha256["manifest.json"]
        if entry.setdefault("quality", {}).get(identifier, {}).get("sha256") == digest:
            continue
        model = load_artefact(manifest.parent, threads=args.threads)
        splits = load_data(args.data, task=model.task, labels=model.labels, say=lambda line: None)
        logits = {name: model.scores(list(rows.texts), rows.pairs) for name, rows in (("dev", splits.dev), ("test", splits.test))}
        found = {name: quality(splits, name, getattr(splits, name), logits) for name in logits}
        entry["quality"][identifier] = {**found, "bytes": artefact.bytes, "parity": artefact.parity, "sha256": digest}
        record(f"quantization/{args.case}", entry, args, continues=True)
        print(args.case, identifier, found["dev"]["value"], found["test"]["value"], flush=True)


def _entry(case: str) -> dict[str, Any]:
    """Return what is recorded of a case, or nothing."""
    name = f"quantization/{case}"
    return dict(read_result(name)) if result_path(name).is_file() else {}


def adopt(args: argparse.Namespace) -> None:
    case = args.work / args.case
    base = load_checkpoint(Path(json.loads((case / "case.json").read_text())["checkpoint"]), role="checkpoint")
    target = case / args.name / args.engine
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in (args.model, *args.model.parent.glob(f"{args.model.stem}.bin")):
        shutil.copy(file, target / f"model{file.suffix}")
    manifest = manifest_of(base) | facts(base.model) | {"schema": 1, "engine": args.engine, "model": f"model{args.model.suffix}"}
    manifest |= {"quantisation": {"scheme": args.name, "weight_bits": 8}, "steps": [{"quantize": {"scheme": args.name}}]}
    manifest |= {"shapes": {"multiple": 8}, "precision": float_precision(int8_preset())} if args.engine == "openvino" else {}
    write_tokenizer(tokenizer_of(base), target, int(manifest["max_length"]), str(manifest["truncation_side"]))
    finish(target, manifest)


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
    measured = measure(found, splits, baseline="pytorch", threads=args.threads, rounds=args.rounds)
    document = results_document(Results(environment=measured.environment, measurements=measured.measurements))
    numbers = {"failures": list(measured.failures), "measurements": {m["id"]: _kept(m) for m in document["measurements"]}}
    record(f"quantization/{args.case}", _entry(args.case) | numbers, args)


def _kept(measurement: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody reads here."""
    return {key: value for key, value in measurement.items() if key not in ("per_class", "calibration", "flops_per_item")}


def main() -> None:
    arguments = parser(__doc__)
    commands = arguments.add_subparsers(required=True)
    for name, function in (("build", build), ("adopt", adopt), ("quality", judge), ("measure", run)):
        command = commands.add_parser(name)
        command.set_defaults(run=function)
        command.add_argument("case")
        data = "data!" if name != "adopt" else "data"
        add_shared(command, "work!", data, "teacher!" if name == "build" else "teacher", "threads", "rounds", rounds=5)
        command.add_argument("--only", action="append")
        command.add_argument("--checkpoint")
        command.add_argument("--engine", action="store" if name == "adopt" else "append")
        command.add_argument("--name", required=name == "adopt")
        command.add_argument("--model", type=Path, required=name == "adopt")
    made = commands.add_parser("outliers")
    made.set_defaults(run=outliers)
    made.add_argument("--checkpoint", required=True)
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--factor", type=float, default=64.0)
    args = arguments.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
