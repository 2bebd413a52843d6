"""Pretrained models and tokenizers from a folder or a hub."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForMaskedLM, PretrainedConfig

from imbik.errors import UserError, first_line
from imbik.jobs.paths import with_home
from imbik.jobs.quiet import quiet_transformers
from imbik.jobs.trust import remote_code_trusted
from imbik.locale.notes import sentence
from imbik.models.architectures.registry import auto_of, introduce
from imbik.models.checkpoint import _record, name_labels, read_notes, read_steps, set_labels
from imbik.models.image_files import has_no_weights, load_processor
from imbik.models.inputs import reads_images
from imbik.models.sentences.reading import SentenceFolder, sentence_folder
from imbik.models.structure import load_structured, structure_of
from imbik.models.tokenizer_files import check_ids, check_remote_code, check_tokenizer, load_tokenizer, open_tokenizer
from imbik.models.units import attach_units, forget_units, unfold
from imbik.models.weights import check_weights
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import registered, task_of
from imbik.types import Checkpoint, Note, TaskName

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

log = logging.getLogger(__name__)


def load_checkpoint(source: str | Path, *, role: str = "teacher") -> Checkpoint:
    """Load a fine-tuned model from a folder or a hub name.

    Args:
        source: a transformers folder (or hub name) with the head of a registered task.
        role: what messages call it.

    Raises:
        UserError: not a folder or a reachable hub name, no ``config.json``, no tokenizer or one that the model's tables
            cannot hold, pickled weights only, weights that are not complete, no trained head, or no name for each class.
    """
    path = _existing(source, role)
    config = _config(path, role)
    record = _record(Path(path))
    beside = sentence_folder(path, config) if record["task"] is None else None
    if beside is not None:
        beside.tell(config)
    task = _task_of(config, record["task"])
    if task is None:
        raise UserError(
            f"the {role} has no head that answers a task",
            where=source,
            found=", ".join(map(str, config.architectures or [])) or "no architecture in config.json",
            expected="a model " + " or ".join(sorted({f"…For{known.architecture}" for known in registered().values()})),
            fix="make one with: imbik finetune --base " + str(source) + " --data DATA --out DIR",
        )
    name_labels(config, f"{path}, id2label in config.json")
    model, tokenizer, notes = _opened(path, config, role, auto_class(task), beside)
    for note in notes:
        log.warning("%s: %s", path, sentence(note))
    return Checkpoint(model.eval(), tokenizer, task, read_steps(Path(path)), (*read_notes(Path(path)), *notes), record["pairs"])


def auto_class(task: TaskName) -> Any:
    """Return transformers' class that makes the models of a task, ``AutoModelFor…``.

    >>> from imbik.tasks.registry import DEFAULT
    >>> auto_class(DEFAULT).from_config.__name__
    'from_config'
    """
    return auto_of(task_of(task).architecture)


def empty_model(config: PretrainedConfig, task: TaskName) -> Any:
    """Return a model of this config with a task's head and random weights (seed first).

    It is in float32 and computes attention eagerly.
    """
    model = auto_class(task).from_config(config, attn_implementation="eager", dtype=torch.float32)
    attach_units(model)
    return model


def load_base(source: str | Path, task: TaskName, labels: tuple[str, ...]) -> Checkpoint:
    """Load a pretrained encoder and give it a new head for ``task`` and ``labels``.

    The weights of the head are random: seed first. Of a network that reads images a folder with a config and no weights will do: then
    all are random, which a note says.

    Raises:
        UserError: as :func:`load_checkpoint`.
    """
    path = _existing(source, "base model")
    config = _config(path, "base model")
    if not task_of(task).fits(config):
        forget_units(config)
    set_labels(config, task, labels)
    if task_of(task).reads == IMAGES and has_no_weights(path):
        config.architectures = config.architectures or []  # transformers walks through them
        model = empty_model(config, task)
        return Checkpoint(model, load_processor(path, model, "base model", needed=False), task, notes=(Note.of("random_weights"),))
    model, tokenizer, _ = _opened(path, config, "base model", auto_class(task), new_head=True)
    return Checkpoint(model, tokenizer, task)


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
    model, report = _from_pretrained(path, config, role, AutoModelForMaskedLM)
    check_weights(model, report, path, role, new_head=True)
    # A decoder tied to the table is missing in the file and yet not random.
    encoder = model.base_model_prefix + "."
    tied = {name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is model.get_input_embeddings().weight}
    fresh = [name for name in report["missing_keys"] if not name.startswith(encoder) and name not in tied]
    tokenizer = load_tokenizer(path, model, role)
    check_tokenizer(model, tokenizer, path, role)
    return model, tokenizer, bool(fresh)


def load_whole(source: str | Path, role: str = "model") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load an encoder with the head that its config names, or none, and its tokenizer.

    An encoder whose folder holds no pooler (a layer behind the first token's state) has none.

    Raises:
        UserError: as :func:`load_checkpoint`, or a model that writes text.
    """
    path = _existing(source, role)
    config = _config(path, role)
    head = str((config.architectures or [""])[0]).rpartition("For")[2]
    if config.is_encoder_decoder or head in ("CausalLM", "ConditionalGeneration") or getattr(config, "is_decoder", False):
        found = ", ".join(config.architectures or [config.model_type])
        raise UserError(f"the {role} writes text; an encoder is expected", where=path, found=found)
    model, report = _from_pretrained(path, config, role, auto_of(head))
    missing = report["missing_keys"]
    if missing and all(name.startswith("pooler.") for name in missing):
        model.pooler, report = None, {**report, "missing_keys": ()}
    check_weights(model, report, path, role, new_head=False)
    unfold(model, path)
    tokenizer = open_tokenizer(path, role)
    check_ids(model, tokenizer, path, role)
    return model.eval(), tokenizer


def _opened(
    path: str,
    config: PretrainedConfig,
    role: str,
    auto: type[_BaseAutoModelClass],
    beside: SentenceFolder | None = None,
    *,
    new_head: bool = False,
) -> tuple[Any, Any, tuple[Note, ...]]:
    """Load a model and its tokenizer, and check that nothing of either is missing; with what a reader must know of it."""
    model, report = _from_pretrained(path, config, role, auto)
    if beside is not None:
        report = beside.complete(model, report)
    notes = check_weights(model, report, path, role, new_head=new_head)
    unfold(model, path)
    if reads_images(model):
        return model, load_processor(path, model, role, needed=not new_head), notes
    tokenizer = load_tokenizer(path, model, role)
    if beside is not None:
        beside.shorten(tokenizer)
    check_tokenizer(model, tokenizer, path, role)
    return model, tokenizer, notes


def base_name(source: str | Path) -> str:
    """Return what a model made of ``source`` records as its base.

    An absolute path, which holds from every working folder, or a hub name as it is.
    """
    path = with_home(source)
    return str(path.absolute()) if path.is_dir() else str(source)


def _existing(source: str | Path, role: str) -> str:
    """Refuse a source that is no transformers folder and cannot be a hub name."""
    path = with_home(source)
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
            fix=_instead(path),
        )
    return str(path) if path.is_dir() else str(source)


def _instead(path: Path) -> str | None:
    """Say what to do about a folder that holds no model: merge an adapter, or go into the folder inside this one that holds one."""
    if (path / "adapter_config.json").is_file():
        return (
            "merge the adapter (LoRA) into its base model in Python and name the new folder: "
            f"model = AutoPeftModelForSequenceClassification.from_pretrained('{path}').merge_and_unload(); "
            "model.save_pretrained('merged'); save the base's tokenizer there too, and write the names of the classes, which an adapter "
            "does not keep, into id2label and label2id of merged/config.json"
        )
    inside = sorted(path.glob("*/config.json"))
    return f"name the model's own folder, {inside[0].parent}" if inside else None


def _config(path: str, role: str) -> PretrainedConfig:
    """Read the config of a folder or hub name."""
    introduce()
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(path, trust_remote_code=remote_code_trusted())
    except Exception as error:
        check_remote_code(path, error, role)
        none = f"there is no such folder for the {role}, and no hub gives a model of this name"
        what = f"the {role} cannot be opened" if Path(path).is_dir() else none
        expected = "a transformers folder, or a hub name that can be reached from here"
        raise UserError(what, where=path, found=first_line(error), expected=expected) from None
    if not remote_code_trusted() and hasattr(config, "auto_map"):
        del config.auto_map  # transformers has the architecture; nothing that is made of this model may look for code again
    return config


def _from_pretrained(path: str, config: PretrainedConfig, role: str, auto: type[_BaseAutoModelClass]) -> tuple[Any, Mapping[str, Any]]:
    """Load the weights with the class ``auto``, from safetensors only, in float32; with what transformers says of the loading.

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
            model = auto.from_config(config, attn_implementation="eager", dtype=torch.float32, trust_remote_code=remote_code_trusted())
            load_structured(model, folder)
            report: Mapping[str, Any] = dict.fromkeys(("missing_keys", "unexpected_keys", "mismatched_keys"), ())
        else:
            with quiet_transformers():
                model, report = auto.from_pretrained(
                    path,
                    config=config,
                    attn_implementation="eager",
                    use_safetensors=True,
                    dtype=torch.float32,
                    trust_remote_code=remote_code_trusted(),
                    ignore_mismatched_sizes=True,  # they come back in the report, and are refused with their names
                    output_loading_info=True,
                )
    except UserError:
        raise
    except Exception as error:
        check_remote_code(path, error, role)
        raise UserError(f"the weights of the {role} cannot be loaded", where=path, found=first_line(error)) from None
    # NaN in one weight makes every answer NaN, and arg max then gives class 0 without a word.
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            raise UserError(f"the {role} has weights that are not finite", where=path, found=name, fix="train it again")
    return model, report


def _task_of(config: PretrainedConfig, recorded: str | None) -> TaskName | None:
    """Return the task whose head a model has: the one that imbik recorded beside it, or one that takes plain transformers models. None:
    no head is known."""
    heads = [head for head in config.architectures or [] if isinstance(head, str)]
    tasks = registered()
    fitting = [name for name, task in tasks.items() if any(head.endswith(f"For{task.architecture}") for head in heads)]
    fitting = [name for name in fitting if tasks[name].fits(config)]
    return recorded if recorded in fitting else next((name for name in fitting if tasks[name].plain_models), None)
