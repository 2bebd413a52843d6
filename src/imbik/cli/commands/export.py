"""``imbik export``: a checkpoint becomes an artefact."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imbik.cli.checks import consoles
from imbik.cli.options import CpuOption, EngineOption, JsonOption, OutOption, TextColumns, TrustOption, grouped
from imbik.cli.speech import say
from imbik.jobs.progress import progress_for
from imbik.locale.language import translated
from imbik.runtime.processors import preset_for

if TYPE_CHECKING:
    from imbik.types import Artefact, Checkpoint, Examples


@dataclass(frozen=True)
class Precision:
    """How a checkpoint is opened, and a float one is stored."""

    quantize: Annotated[str | None, typer.Option(help="Scheme for a float checkpoint: dynamic, static, weight-only or integer.")] = None
    bits: Annotated[int, typer.Option(help="Of the weights: 8, or 4 for weight-only.")] = 8
    int8: Annotated[bool, typer.Option("--int8", help="The same as --quantize dynamic, unless the checkpoint is quantized.")] = False
    trust_remote_code: TrustOption = False

    def settings(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """Of the ``quantize`` step to add; None for the checkpoint as it is."""
        scheme = self.quantize
        if self.int8 and scheme is None and not any("quantize" in step for step in checkpoint.steps):
            scheme = "dynamic"
        return None if scheme is None else {"scheme": scheme, "bits": self.bits}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


@grouped
def export(
    *,
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder, such as DIR/<recipe>/model.")],
    out: OutOption,
    engine: EngineOption = None,
    data: Annotated[str | None, typer.Option("--data", help="Texts to compare with PyTorch on (dev), and to calibrate on (train).")] = None,
    columns: TextColumns,
    precision: Precision,
    cpu: CpuOption = "native",
    as_json: JsonOption = False,
) -> None:
    """Write the folder that an engine runs without PyTorch, and compare its predictions with PyTorch's; for several engines a folder
    each."""
    preset = preset_for(cpu)
    from imbik.export.artefact import export as run
    from imbik.export.artefact import quantized
    from imbik.locale.notes import read, sentence
    from imbik.models.pretrained import load_checkpoint
    from imbik.runtime.manifest import read_manifest

    console, say = consoles()
    loaded = load_checkpoint(checkpoint, role="checkpoint")
    rows, calibration = (None, None) if data is None else _texts(data, columns, say)
    settings = precision.settings(loaded)
    if settings is not None:
        loaded = quantized(loaded, settings, calibration, progress_for(console, translated))
    names = _engines(engine or ["onnx"], loaded, say)
    # one engine gets the folder that was named, so that scripts find the manifest where they expect
    # it
    several = engine is not None and ("auto" in engine or len(engine) > 1)
    made = []
    for name in names:
        target = out / name if several else out
        made.append(
            run(loaded, name, target, texts=rows, calibration=calibration, preset=preset, progress=progress_for(console, translated))
        )
        for note in read_manifest(target)["notes"]:
            say(f"{target}: {sentence(read(note))}")
    _show(made, as_json)


def _engines(asked: Sequence[str], checkpoint: Checkpoint, say: Callable[[str], None]) -> list[str]:
    """The engines that are meant, each once; ``auto``: all that can be built here and take the model."""
    from imbik.export.builders.registry import buildable, refusal

    if "auto" not in asked:
        return list(dict.fromkeys(asked))
    reasons = {name: refusal(name, checkpoint.steps, str(checkpoint.model.config.model_type), task=checkpoint.task) for name in buildable()}
    for reason in filter(None, reasons.values()):
        say(f"left out: {reason}")
    return [name for name, reason in reasons.items() if reason is None]


def _show(made: Sequence[Artefact], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([{"path": str(a.path), "engine": a.engine, "bytes": a.bytes, "parity": dict(a.parity)} for a in made]))
        return
    for artefact in made:
        found = artefact.parity
        same = "" if found["agreement"] is None else f", equal labels {found['agreement']:.1%}"
        say(
            f"{artefact.path}: {artefact.engine}, {artefact.bytes / 1e6:.1f} MB, int8 products {found['int8_ops']}, "
            f"float products {found['float_matmuls']}; against PyTorch on {found['texts']} texts: "
            f"largest difference {found['max_abs']:.2g}{same}"
        )


def _texts(data: str, columns: TextColumns, say: Callable[[str], None]) -> tuple[Examples, Examples]:
    """Rows to compare on and rows to calibrate on: a folder's dev and train; a single file serves for both."""
    from imbik.data.load import load_data, load_texts

    if Path(data).is_file():
        rows = load_texts(data, say=say, **columns.given())
        # a single file has no other texts to calibrate on than those that are compared
        return rows, rows
    splits = load_data(data, say=say, **columns.given())
    return splits.dev, splits.train
