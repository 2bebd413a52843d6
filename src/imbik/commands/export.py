"""``imbik export``: a checkpoint becomes an artefact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from imbik.commands.common import CpuOption, OutOption, PairOption, TextOption, consoles
from imbik.environment import preset_for
from imbik.progress import progress_for
from imbik.types import Examples


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("export")
    def export(
        checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder, such as DIR/<recipe>/model.")],
        out: OutOption,
        engine: Annotated[
            list[str] | None, typer.Option("--engine", help="onnx, openvino, executorch, or auto: all installed; several: a folder each.")
        ] = None,
        data: Annotated[
            str | None, typer.Option("--data", help="Texts to compare with PyTorch on (dev), and to calibrate on (train).")
        ] = None,
        text: TextOption = None,
        text_pair: PairOption = None,
        quantize: Annotated[
            str | None, typer.Option("--quantize", help="Scheme for a float checkpoint: dynamic, static, weight-only or integer.")
        ] = None,
        bits: Annotated[int, typer.Option("--bits", help="Of the weights: 8, or 4 for weight-only.")] = 8,
        int8: Annotated[bool, typer.Option("--int8", help="The same as --quantize dynamic, unless the checkpoint is quantised.")] = False,
        cpu: CpuOption = "native",
        as_json: Annotated[bool, typer.Option("--json", help="Print the artefacts as JSON.")] = False,
    ) -> None:
        """Write the folder that an engine runs without PyTorch, and compare its predictions with PyTorch's."""
        preset = preset_for(cpu)
        from imbik.checkpoint import load_checkpoint
        from imbik.engines import buildable, refusal
        from imbik.export import export as run
        from imbik.export import quantised

        console, say = consoles()
        asked = engine or ["onnx"]
        several = "auto" in asked or len(asked) > 1
        names = buildable() if "auto" in asked else list(dict.fromkeys(asked))
        loaded = load_checkpoint(checkpoint, role="checkpoint")
        rows, calibration = (None, None) if data is None else _texts(data, text, text_pair, say)
        if int8 and quantize is None and not any("quantize" in step for step in loaded.steps):
            quantize = "dynamic"
        if quantize is not None:
            loaded = quantised(loaded, {"scheme": quantize, "bits": bits}, calibration, progress_for(console))
        if "auto" in asked:
            for reason in filter(None, (refusal(name, loaded.steps) for name in names)):
                say(f"left out: {reason}")
            names = [name for name in names if refusal(name, loaded.steps) is None]
        made = []
        for name in names:
            target = out / name if several else out
            made.append(run(loaded, name, target, texts=rows, calibration=calibration, preset=preset, progress=progress_for(console)))
        if as_json:
            facts = [{"path": str(a.path), "engine": a.engine, "bytes": a.bytes, "parity": dict(a.parity)} for a in made]
            typer.echo(json.dumps(facts))
            return
        for artefact in made:
            found = artefact.parity
            same = "" if found["agreement"] is None else f", equal labels {found['agreement']:.1%}"
            typer.echo(
                f"{artefact.path}: {artefact.engine}, {artefact.bytes / 1e6:.1f} MB, int8 products {found['int8_ops']}, "
                f"float products {found['float_matmuls']}; against PyTorch on {found['texts']} texts: "
                f"largest difference {found['max_abs']:.2g}{same}"
            )


def _texts(data: str, text: str | None, text_pair: str | None, say: Callable[[str], None]) -> tuple[Examples, Examples]:
    """Rows to compare on and rows to calibrate on: a folder's dev and train; a single file serves for both."""
    from imbik.data import load_data, load_texts

    if Path(data).is_file():
        rows = load_texts(data, text=text, text_pair=text_pair, say=say)
        return rows, rows
    splits = load_data(data, text=text, text_pair=text_pair, say=say)
    return splits.dev, splits.train
