"""Several checkpoints as one: the mean of their logits, as a user of transformers computes it.

``imbik compress`` with several teachers measures what its students learn from by it.
"""

from __future__ import annotations

from pathlib import Path

from imbik.errors import UserError
from imbik.jobs.files import inside, read_json
from imbik.runtime.composite import Average
from imbik.runtime.engines.engine import CompositeEngine
from imbik.runtime.engines.registry import BASELINE, register_engine
from imbik.runtime.manifest import read_manifest
from imbik.runtime.predictor import load_artefact
from imbik.types import Note

AVERAGE_FILE = "average.json"
"""In its folder: the folders of its members, ``{"members": [...]}``."""


@register_engine
class Averages(CompositeEngine):
    """PyTorch on the processor in float32, one model after the other."""

    name = "average"
    title = "an average of models"
    packages = ("torch",)
    standalone = False
    order = 45

    def predictor(self, directory: Path, *, threads: int, batch_tokens: int | None) -> Average:
        """Open every member; see :meth:`CompositeEngine.predictor`."""
        manifest = read_manifest(directory)
        path = directory / manifest["model"]
        names = {"members": None, **read_json(path)}["members"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise UserError(
                "the members of the average cannot be read",
                where=path,
                found=str(names)[:80],
                fix="copy the folder again, or make it again",
            )
        folders = [inside(directory, name, path) for name in names]
        models = [load_artefact(folder, threads=threads, batch_tokens=batch_tokens, engine_name=BASELINE) for folder in folders]
        for model in models:
            if model.labels != tuple(manifest["labels"]) or model.task != manifest["task"]:
                raise UserError(
                    "the members of the average do not answer alike",
                    where=path,
                    found=f"{model.task} with {len(model.labels)} labels",
                    expected=f"{manifest['task']} with {len(manifest['labels'])} labels, the same in the same order",
                    fix="copy the folder again, or make it again",
                )
        return Average(manifest, models, threads)

    def notes(self, manifest: object) -> tuple[Note, ...]:
        """Return that it needs PyTorch."""
        return (Note.of("pytorch"),)
