"""Pretrained models and tokenizers from a folder or a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, PretrainedConfig

from imbik.errors import UserError
from imbik.jobs.quiet import quiet_transformers
from imbik.jobs.trust import TRUST, remote_code_trusted
from imbik.models.checkpoint import _RECORD, _record, read_notes, read_steps, set_labels
from imbik.models.structure import load_structured, structure_of
from imbik.tasks.registry import registered, task_of
from imbik.types import Checkpoint, TaskName

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

MAX_LENGTH = 256
"""Texts are cut to this many tokens unless the model's folder or the user says otherwise."""


def _check_remote_code(path: str, error: Exception, role: str) -> None:
    """Say what a model that needs code of its own is to be opened with.

    Raises:
        UserError: ``error`` is transformers' refusal to run the code.
    """
    if "trust_remote_code" in str(error) and not remote_code_trusted():
        raise UserError(
            f"the {role} brings code of its own, which is not run",
            where=path,
            expected="an architecture that transformers has",
            fix=f"read that code; if you trust it, run the command with --trust-remote-code (in a program: {TRUST}=1)",
        ) from None


def load_checkpoint(source: str | Path, *, role: str = "teacher") -> Checkpoint:
    """Load a fine-tuned model from a folder or a hub name.

    Args:
        source: a transformers folder (or hub name) with the head of a registered task.
        role: what messages call it.

    Raises:
        UserError: not a folder or a reachable hub name, no ``config.json``, no tokenizer, pickled
            weights only, no trained head.
    """
    path = _existing(source, role)
    config = _config(path, role)
    record = _record(Path(path))
    task = _task_of(config, record["task"])
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
    return Checkpoint(model.eval(), tokenizer, task, read_steps(Path(path)), read_notes(Path(path)), record["pairs"])


def auto_class(task: TaskName) -> Any:
    """Return transformers' class that makes the models of a task, ``AutoModelFor…``.

    >>> from imbik.tasks.registry import DEFAULT
    >>> auto_class(DEFAULT).from_config.__name__
    'from_config'
    """
    return getattr(transformers, f"AutoModelFor{task_of(task).architecture}")


def empty_model(config: PretrainedConfig, task: TaskName) -> Any:
    """Return a model of this config with a task's head and random weights (seed first).

    It is in float32 and computes attention eagerly.
    """
    return auto_class(task).from_config(config, attn_implementation="eager", dtype=torch.float32)


def load_base(source: str | Path, task: TaskName, labels: tuple[str, ...]) -> Checkpoint:
    """Load a pretrained encoder and give it a new head for ``task`` and ``labels``.

    The weights of the head are random: seed first.

    Raises:
        UserError: as :func:`load_checkpoint`.
    """
    path = _existing(source, "base model")
    config = _config(path, "base model")
    set_labels(config, task, labels)
    model = _from_pretrained(path, config, "base model", auto_class(task), ignore_mismatched_sizes=True)
    return Checkpoint(model, load_tokenizer(path, config, "base model"), task)


def load_masked_lm(source: str | Path, role: str = "base model") -> tuple[PreTrainedModel, PreTrainedTokenizerBase, bool]:
    """Load a masked language model from any encoder's folder or hub name.

    Returns:
        The ``…ForMaskedLM`` (in training mode), its tokenizer, and whether its head is new: the
        folder has none, and the head's weights are random (seed first) but for the decoder, which
        is the embedding table itself.

    Raises:
        UserError: as :func:`load_checkpoint`, or no masked language model exists for the
            architecture.
    """
    path = _existing(source, role)
    config = _config(path, role)
    model, report = _from_pretrained(path, config, role, AutoModelForMaskedLM, output_loading_info=True)
    # A decoder tied to the table is missing in the file and yet not random.
    encoder = model.base_model_prefix + "."
    tied = {name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is model.get_input_embeddings().weight}
    fresh = [name for name in report["missing_keys"] if not name.startswith(encoder) and name not in tied]
    return model, load_tokenizer(path, config, role), bool(fresh)


def base_name(source: str | Path) -> str:
    """Return what a model made of ``source`` records as its base.

    An absolute path, which holds from every working folder, or a hub name as it is.
    """
    path = Path(source)
    return str(path.absolute()) if path.is_dir() else str(source)


def load_tokenizer(path: str | Path, config: PretrainedConfig, role: str) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a folder.

    Its ``model_max_length`` is bounded by the model's positions and :data:`MAX_LENGTH`.
    """
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(path, use_fast=True, trust_remote_code=remote_code_trusted())
        tokenizer.backend_tokenizer  # noqa: B018  a slow tokenizer has none
    except Exception as error:
        _check_remote_code(str(path), error, role)
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


def positions_of(config: PretrainedConfig) -> int:
    """Return the longest row that a model of this config can read.

    A very large number where nothing bounds it.
    """
    return int(getattr(config, "max_position_embeddings", 0) or 10**9) - position_offset(config)


def position_offset(config: PretrainedConfig) -> int:
    """Return the row of the position table that the first token of a text reads.

    RoBERTa and its like begin behind the padding id.
    """
    return int(config.pad_token_id) + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0


def _existing(source: str | Path, role: str) -> str:
    """Refuse a source that is no transformers folder and cannot be a hub name."""
    path = Path(source)
    if path.is_file():
        raise UserError(f"the {role} must be a folder", where=source, found="a file", expected="a transformers folder or a hub name")
    # A hub name is "name" or "owner/name"; whatever looks like a path is not asked for on the hub.
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
    """Say where a model lies, if it is in a folder inside this one."""
    inside = sorted(path.glob("*/config.json"))
    return f"name the model's own folder, {inside[0].parent}" if inside else None


def _config(path: str, role: str) -> PretrainedConfig:
    """Read the config of a folder or hub name."""
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(path, trust_remote_code=remote_code_trusted())
    except Exception as error:
        _check_remote_code(path, error, role)
        raise UserError(
            f"the {role} cannot be opened",
            where=path,
            found=_first_line(error),
            expected="a transformers folder, or a hub name that can be reached from here",
        ) from None
    if not remote_code_trusted() and hasattr(config, "auto_map"):
        del config.auto_map  # transformers has the architecture; nothing that is made of this model may look for code again
    return config


def _from_pretrained(path: str, config: PretrainedConfig, role: str, auto: type[_BaseAutoModelClass], **options: bool) -> Any:
    """Load the weights with the class ``auto``, from safetensors only, in float32.

    Raises:
        UserError: no safetensors, weights that do not load or are not finite.
    """
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
            loaded = auto.from_config(config, attn_implementation="eager", dtype=torch.float32, trust_remote_code=remote_code_trusted())
            load_structured(loaded, folder)
        else:
            with quiet_transformers():
                loaded = auto.from_pretrained(
                    path,
                    config=config,
                    attn_implementation="eager",
                    use_safetensors=True,
                    dtype=torch.float32,
                    trust_remote_code=remote_code_trusted(),
                    **options,
                )
    except UserError:
        raise
    except Exception as error:
        _check_remote_code(path, error, role)
        raise UserError(f"the weights of the {role} cannot be loaded", where=path, found=_first_line(error)) from None
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    # NaN in one weight makes every answer NaN, and arg max then gives class 0 without a word.
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
    """Return the kind of an error and the first line of its text, for a message."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200] if text else ''}"
