"""Checkpoints on disk: a model, its tokenizer and the record of what made it.

A plain transformers folder (safetensors only) that ``AutoModelFor….from_pretrained`` opens without
imbik; for a model with replaced or shared layers, one that
:func:`imbik.models.pretrained.load_checkpoint` alone opens (:mod:`imbik.models.structure`).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imbik.errors import UserError
from imbik.images.processor import ImageProcessor
from imbik.jobs.files import replacing_folder
from imbik.jobs.quiet import quiet_transformers
from imbik.jobs.reading import damage_told
from imbik.jobs.workspace import MODEL_FILES
from imbik.locale.notes import document, read
from imbik.models.sentences.writing import write_modules
from imbik.models.structure import save_structured, structure_of
from imbik.models.units import folded
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Note, Splits, Step, TaskName

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_RECORD = "imbik.json"
CARD_HEAD = "---\nlibrary_name: transformers\ntags:\n- imbik\n{tags}---\n\n"
"""How a model card begins."""
_BLANK: dict[str, Any] = {"task": None, "steps": (), "notes": (), "pairs": None}


def set_labels(config: PretrainedConfig, task: TaskName, labels: tuple[str, ...]) -> None:
    """Write task and label names into a transformers config."""
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = task_of(task).problem_type


def name_labels(config: PretrainedConfig, where: str) -> None:
    """Make every class of a config have one name, a text, by its number from 0 on.

    Raises:
        UserError: numbers that do not count from 0, a name that two classes have, or one that is no text.
    """
    given = dict(config.id2label)
    fix = 'write id2label with a name for each output of the model, such as {"0": "bad", "1": "good"}'
    if sorted(given) != list(range(len(given))):
        raise UserError(
            "the classes are not counted from 0, so that nothing says which output has which name",
            where=where,
            found=", ".join(map(str, sorted(given)[:8])) + (", …" if len(given) > 8 else ""),
            expected=f"0 to {len(given) - 1}, one number for each output",
            fix=fix,
        )
    names = [given[index] for index in range(len(given))]
    unread = [name for name in names if isinstance(name, bool) or not isinstance(name, (str, int, float))]
    if unread:
        raise UserError("the name of a class is no text", where=where, found=json.dumps(unread[0]), fix=fix)
    texts = [str(name) for name in names]
    forms = [unicodedata.normalize("NFC", text.strip()) for text in texts]
    same = sorted({form for form in forms if forms.count(form) > 1})
    if same:
        raise UserError("several classes have one name", where=where, found=", ".join(map(repr, same[:8])), fix=fix)
    config.id2label = dict(enumerate(texts))
    config.label2id = {name: index for index, name in enumerate(texts)}


def labels_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the label names in the order of the logits."""
    names = checkpoint.model.config.id2label
    return tuple(str(names[index]) for index in range(len(names)))


def label_line(splits: Splits) -> str:
    """Write the line of a model card that lists the labels, or says how wide vectors are."""
    if task_of(splits.task).apart:
        return f"Vectors of {len(splits.labels)} numbers, compared by their cosine.\n"
    return f"Labels ({len(splits.labels)}): " + ", ".join(f"`{label}`" for label in splits.labels) + "\n"


def save_checkpoint(checkpoint: Checkpoint, directory: Path, card: str | None = None) -> None:
    """Write model (safetensors), tokenizer, the steps that made it and, if given, a card."""
    record: dict[str, Any] = {"steps": [dict(step) for step in checkpoint.steps], "task": checkpoint.task}
    record |= {"notes": [document(note) for note in checkpoint.notes], "pairs": checkpoint.pairs}
    save_model(checkpoint.model, checkpoint.tokenizer, directory, record, card)


def save_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path, record: dict[str, Any], card: str | None = None
) -> None:
    """Write a transformers folder: model (safetensors), tokenizer, record and model card."""
    save_files(model, tokenizer, directory)
    (directory / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    if card is not None:
        (directory / "README.md").write_text(card, encoding="utf-8")


def save_files(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write the files of a model (safetensors) and its tokenizer, and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        # save_pretrained would write replaced layers under names that from_pretrained cannot place.
        if structure_of(model.config):
            save_structured(model, directory)
        else:
            with folded(model.modules(), model.config):
                model.save_pretrained(directory)
            write_modules(model, tokenizer, directory)
        tokenizer.save_pretrained(directory)


def read_steps(directory: Path) -> tuple[Step, ...]:
    """Return the recipe steps recorded beside a checkpoint.

    Empty for a folder that imbik did not make.
    """
    return tuple(_record(directory)["steps"])


def read_notes(directory: Path) -> tuple[Note, ...]:
    """Return what the steps found out, see :class:`imbik.types.Checkpoint`.

    Empty for a folder that imbik did not make.
    """
    return tuple(read(note) for note in _record(directory)["notes"])


def _record(directory: Path) -> dict[str, Any]:
    """Read ``imbik.json`` of a folder; what it lacks, or all where there is none, is blank.

    Raises:
        UserError: the file is no JSON object.
    """
    path = directory / _RECORD
    if not path.is_file():
        return dict(_BLANK)
    fix = "copy the folder again, or delete this file"
    with damage_told("not what imbik wrote there", path, fix=fix):
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("no valid JSON object")
        record = _BLANK | record
        if not all(isinstance(step, dict) for step in record["steps"]):
            raise ValueError("steps that are no steps")
        [read(note) for note in record["notes"]]
    return record


def fingerprint(checkpoint: Checkpoint) -> str:
    """Compute the key of all that is cached for a model: sha256, hex.

    Over the config, every tensor and the tokenizer.
    """
    digest = hashlib.sha256()
    # Where a model was loaded from, and by which transformers, does not change what it computes.
    config = {k: v for k, v in checkpoint.model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
    # transformers writes the class into the config of a model made in memory when that is first saved.
    config["architectures"] = config.get("architectures") or [type(checkpoint.model).__name__]
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    digest.update(_reading(checkpoint.tokenizer))
    # As bytes: NumPy has no bfloat16.
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _reading(tokenizer: PreTrainedTokenizerBase | ImageProcessor) -> bytes:
    """Return all that a tokenizer, or an image processor, does with a row."""
    if isinstance(tokenizer, ImageProcessor):
        return tokenizer.to_str().encode()
    side = tokenizer.truncation_side
    parts = [tokenizer.backend_tokenizer.model.__getstate__(), str(tokenizer.model_max_length).encode(), _ways(tokenizer)]
    # right is what all had that was cached before this line
    return b"".join([*parts, side.encode() if side != "right" else b""])


_LOWERCASE = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
_SINGLE = [
    {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
    {"Sequence": {"id": "A", "type_id": 0}},
    {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
]
_PAIR = [*_SINGLE, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]


def _ways(tokenizer: PreTrainedTokenizerBase) -> bytes:
    """Return what a tokenizer does around its table of pieces; empty for what uncased BERT does, which is what all keys of before have."""
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    ways = {name: spec[name] for name in ("normalizer", "pre_tokenizer", "post_processor", "added_tokens")}
    match ways["post_processor"]:
        case {"type": "TemplateProcessing", "single": single, "pair": pair}:
            around = single == _SINGLE and pair == _PAIR
        case {"type": kind}:
            around = kind == "BertProcessing"
        case _:
            around = False
    special = [token for token in ways["added_tokens"] if not token["special"] or token["normalized"] or token["lstrip"] or token["rstrip"]]
    if around and not special and ways["normalizer"] == _LOWERCASE and ways["pre_tokenizer"] == {"type": "BertPreTokenizer"}:
        return b""
    return json.dumps(ways, sort_keys=True).encode()


def save_whole(checkpoint: Checkpoint, directory: Path, **facts: object) -> None:
    """Write a checkpoint's folder beside its place, then put the complete one there.

    An older folder at that place is replaced.

    Args:
        checkpoint: the model.
        directory: its folder; a kill leaves it as it was.
        facts: file name without ``.json`` -> what else is written there.
    """
    files = {*MODEL_FILES, *(f"{name}.json" for name in facts)}
    with replacing_folder(directory, lambda _: files) as temporary:
        save_checkpoint(checkpoint, temporary)
        for name, value in facts.items():
            (temporary / f"{name}.json").write_text(json.dumps(value, indent=1), encoding="utf-8")
