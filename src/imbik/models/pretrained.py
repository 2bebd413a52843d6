"""Pretrained models and tokenizers from a folder or a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, PretrainedConfig

from imbik.errors import UserError
from imbik.models.checkpoint import _RECORD, _record, read_notes, read_steps, set_labels
from imbik.models.structure import load_structured, structure_of
from imbik.tasks.registry import registered, task_of
from imbik.types import Checkpoint, TaskName

MAX_LENGTH = 256
"""Texts are cut to this many tokens unless the model's folder or the user says otherwise."""


def load_checkpoint(source: str | Path, *, role: str = "teacher") -> Checkpoint:
    """Return a fine-tuned model from a folder or a hub name.

    Args:
        source: a transformers folder (or hub name) with the head of a registered task.
        role: what messages call it.

    Raises:
        UserError: not a folder or a reachable hub name, no ``config.json``, no tokenizer, pickled weights only, no trained head.
    """
    path = _existing(source, role)
    config = _config(path, role)
    record = _record(Path(path))
    task = _task_of(config, record.get("task"))
    if task is None:
        raise UserError(
            f"the {role} has no head that answers a task",
            where=source,
            found=", ".join(config.architectures or []) or "no architecture in config.json",
            expected="a model " + " or ".join(sorted({f"…For{known.architecture}" for known in registered().values()})),
            fix="make one with: imbik finetune --base " + str(source) + " --data DATA --out DIR",
        )
    model = _from_pretrained(path, config, role, auto_class(task))
    tokenizer = load_tokenizer(path, config, role)
    return Checkpoint(model.eval(), tokenizer, task, read_steps(Path(path)), read_notes(Path(path)), record.get("pairs"))


def auto_class(task: TaskName) -> Any:
    """Return transformers' class that makes the models of a task, ``AutoModelFor…``.

    >>> from imbik.tasks.registry import DEFAULT
    >>> auto_class(DEFAULT).from_config.__name__
    'from_config'
    """
    return getattr(transformers, f"AutoModelFor{task_of(task).architecture}")


def empty_model(config: PretrainedConfig, task: TaskName) -> Any:
    """Return a model of this config with a task's head, in float32 with eager attention; its weights are random (seed first)."""
    return auto_class(task).from_config(config, attn_implementation="eager", dtype=torch.float32)


def load_base(source: str | Path, task: TaskName, labels: tuple[str, ...]) -> Checkpoint:
    """Return a pretrained encoder with a new head for ``task`` and ``labels`` (head weights are random: seed first).

    Raises:
        UserError: as :func:`load_checkpoint`.
    """
    path = _existing(source, "base model")
    config = _config(path, "base model")
    set_labels(config, task, labels)
    model = _from_pretrained(path, config, "base model", auto_class(task), ignore_mismatched_sizes=True)
    return Checkpoint(model, load_tokenizer(path, config, "base model"), task)


def load_masked_lm(source: str | Path, role: str = "base model") -> tuple[Any, Any, bool]:
    """A masked language model from any encoder's folder or hub name.

    Returns:
        The ``…ForMaskedLM`` (in training mode), its tokenizer, and whether its head is new: the folder has none, and the head's
        weights are random (seed first) but for the decoder, which is the embedding table itself.

    Raises:
        UserError: as :func:`load_checkpoint`, or no masked language model exists for the architecture.
    """
    path = _existing(source, role)
    config = _config(path, role)
    model, report = _from_pretrained(path, config, role, AutoModelForMaskedLM, output_loading_info=True)
    encoder = model.base_model_prefix + "."
    tied = {name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is model.get_input_embeddings().weight}
    fresh = [name for name in report["missing_keys"] if not name.startswith(encoder) and name not in tied]
    return model, load_tokenizer(path, config, role), bool(fresh)


def base_name(source: str | Path) -> str:
    """What a model made of ``source`` records: an absolute path, which holds from every working folder, or a hub name as it is."""
    path = Path(source)
    return str(path.absolute()) if path.is_dir() else str(source)


def load_tokenizer(path: str | Path, config: Any, role: str) -> Any:
    """The fast tokenizer of a folder, with ``model_max_length`` bounded by the model's positions and :data:`MAX_LENGTH`."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, use_fast=True)
        tokenizer.backend_tokenizer  # noqa: B018  a slow tokenizer has none
    except Exception as error:
        raise UserError(
            f"the {role} has no usable tokenizer",
            where=path,
            found=_first_line(error),
            expected="tokenizer.json (or vocab.txt) beside the model",
            fix="save the tokenizer there with tokenizer.save_pretrained(folder)",
        ) from None
    if Path(path).is_dir() and not any(
        (Path(path) / name).exists() for name in ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
    ):
        raise UserError(
            f"the {role} has no tokenizer",
            where=path,
            expected="tokenizer.json or vocab.txt beside config.json",
            fix="save the tokenizer there with tokenizer.save_pretrained(folder)",
        )
    positions = positions_of(config)
    ours = (Path(path) / _RECORD).is_file()  # a folder of ours carries the length that its user chose
    limit = int(tokenizer.model_max_length or MAX_LENGTH)
    tokenizer.model_max_length = min(limit, positions) if ours else min(limit, positions, MAX_LENGTH)
    return tokenizer


def positions_of(config: Any) -> int:
    """The longest row that a model of this config can read; a very large number where nothing bounds it."""
    return int(getattr(config, "max_position_embeddings", 0) or 10**9) - position_offset(config)


def position_offset(config: Any) -> int:
    """Row of the position table that the first token of a text reads: RoBERTa and its like begin behind the padding id."""
    return int(config.pad_token_id) + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0


def _existing(source: str | Path, role: str) -> str:
    path = Path(source)
    if path.is_file():
        raise UserError(f"the {role} must be a folder", where=source, found="a file", expected="a transformers folder or a hub name")
    looks_local = path.is_absolute() or str(source).startswith((".", "~")) or str(source).count("/") > 1
    if looks_local and not path.is_dir():
        raise UserError(f"the {role} folder does not exist", where=source, fix="check the path")
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(
            f"the {role} folder has no config.json",
            where=source,
            found=", ".join(sorted(p.name for p in path.iterdir())[:6]) or "an empty folder",
            expected="a folder written by save_pretrained",
            fix=_one_folder_down(path),
        )
    return str(source)


def _one_folder_down(path: Path) -> str | None:
    inside = sorted(path.glob("*/config.json"))
    return f"name the model's own folder, {inside[0].parent}" if inside else None


def _config(path: str, role: str) -> Any:
    try:
        return AutoConfig.from_pretrained(path)
    except Exception as error:
        raise UserError(
            f"the {role} cannot be opened",
            where=path,
            found=_first_line(error),
            expected="a transformers folder, or a hub name that can be reached from here",
        ) from None


def _from_pretrained(path: str, config: Any, role: str, auto: Any, **options: Any) -> Any:
    folder = Path(path)
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        pickles = [p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pkl", ".ckpt")]
        raise UserError(
            f"the {role} has no safetensors weights",
            where=path,
            found=", ".join(pickles) or "no weights",
            expected="model.safetensors (pickled weights can run code when they are opened, so imbik never opens them)",
            fix="in a program that you trust: AutoModel….from_pretrained(folder).save_pretrained(folder)",
        )
    try:
        if structure_of(config):
            loaded = auto.from_config(config, attn_implementation="eager", dtype=torch.float32)
            load_structured(loaded, folder)
        else:
            loaded = auto.from_pretrained(
                path, config=config, attn_implementation="eager", use_safetensors=True, dtype=torch.float32, **options
            )
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the weights of the {role} cannot be loaded", where=path, found=_first_line(error)) from None
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            raise UserError(f"the {role} has weights that are not finite", where=path, found=name, fix="train it again")
    return loaded


def _task_of(config: PretrainedConfig, recorded: str | None) -> TaskName | None:
    """Return the task whose head a model has; of several that fit, the one that imbik recorded beside it. None: no head is known."""
    heads = config.architectures or []
    tasks = registered()
    fitting = [name for name, task in tasks.items() if any(head.endswith(f"For{task.architecture}") for head in heads)]
    fitting = [name for name in fitting if tasks[name].fits(config)]
    return recorded if recorded in fitting else next(iter(fitting), None)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200] if text else ''}"
