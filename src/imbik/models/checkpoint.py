"""Load and save a Checkpoint: a plain transformers folder (safetensors only) that ``AutoModelFor….from_pretrained`` opens without imbik;
for a model with replaced or shared layers, one that :func:`load_checkpoint` alone opens (:mod:`imbik.models.structure`)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from imbik.errors import UserError
from imbik.models.structure import save_structured, structure_of
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Step, TaskName

_RECORD = "imbik.json"

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def set_labels(config: Any, task: TaskName, labels: tuple[str, ...]) -> None:
    """Write task and label names into a transformers config."""
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = task_of(task).problem_type


def labels_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Label names in the order of the logits."""
    names = checkpoint.model.config.id2label
    return tuple(names[index] for index in range(len(names)))


def save_checkpoint(checkpoint: Checkpoint, directory: Path, card: str | None = None) -> None:
    """Write model (safetensors), tokenizer, the steps that made it and, if given, a model card."""
    record: dict[str, Any] = {"steps": [dict(step) for step in checkpoint.steps], "task": checkpoint.task}
    record |= {"notes": list(checkpoint.notes), "pairs": checkpoint.pairs}
    save_model(checkpoint.model, checkpoint.tokenizer, directory, record, card)


def save_model(model: Any, tokenizer: Any, directory: Path, record: dict[str, Any], card: str | None = None) -> None:
    """A transformers folder: model (safetensors), tokenizer, our record, and a model card."""
    directory.mkdir(parents=True, exist_ok=True)
    if structure_of(model.config):
        save_structured(model, directory)
    else:
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    if card is not None:
        (directory / "README.md").write_text(card, encoding="utf-8")


def read_steps(directory: Path) -> tuple[Step, ...]:
    """The recipe steps recorded beside a checkpoint; empty for a folder that imbik did not make."""
    return tuple(_record(directory).get("steps", ()))


def read_notes(directory: Path) -> tuple[str, ...]:
    """What the steps found out, see :class:`imbik.types.Checkpoint`; empty for a folder that imbik did not make."""
    return tuple(_record(directory).get("notes", ()))


def _record(directory: Path) -> dict[str, Any]:
    path = directory / _RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise UserError(
            "not what imbik wrote there", where=path, found="no valid JSON object", fix="copy the folder again, or delete this file"
        )
    return record


def fingerprint(checkpoint: Checkpoint) -> str:
    """sha256 (hex) over the config, every tensor and the tokenizer: the key of all that is cached for a model."""
    digest = hashlib.sha256()
    config = {k: v for k, v in checkpoint.model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    digest.update(checkpoint.tokenizer.backend_tokenizer.model.__getstate__())
    digest.update(str(checkpoint.tokenizer.model_max_length).encode())
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
