"""Folders of sentence-transformers -> how a model pools, read from the files beside the encoder; what is not supported is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imbik.errors import UserError
from imbik.jobs.reading import damage_told
from imbik.models.architectures.sentence import HEAD
from imbik.models.sentences.folder import MODULES, SETTINGS, local_folder, modules_of
from imbik.models.sentences.pooling import ACTIVATIONS, MODES, Pooling, pool_as

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Flags that versions before 6 write -> the mode that each stands for."""

_CHAIN = ("Transformer", "Pooling", "Dense", "Normalize")
"""Modules that a folder may list, in this order; the last two may be missing."""

_FIX = "save a model whose modules are a Transformer, one pooling, at most one Dense, and Normalize"


@dataclass(frozen=True)
class SentenceFolder:
    """What stands beside the encoder.

    Attributes:
        pooling: how states become a vector.
        width: D of the vector; None: that of the states.
        weights: ``weight`` and ``bias`` of the matrix behind the pooling; empty where there is none.
        max_length: texts are cut to this many tokens; None: it is not said.
    """

    pooling: Pooling
    width: int | None
    weights: Mapping[str, Tensor]
    max_length: int | None

    def tell(self, config: PretrainedConfig) -> None:
        """Write into a config that its model is a sentence encoder.

        The dimensions of its vectors have their numbers as names.
        """
        width = self.width or int(config.hidden_size)
        config.architectures = [f"{name.partition('For')[0].removesuffix('Model')}For{HEAD}" for name in config.architectures or [""]]
        config.id2label = {number: str(number) for number in range(width)}
        config.label2id = {str(number): number for number in range(width)}
        pool_as(config, self.pooling)

    def complete(self, model: PreTrainedModel, report: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fill the matrix behind the pooling.

        Returns:
            The report of the loading, without what is right as it is.
        """
        with torch.no_grad():
            for name, values in self.weights.items():
                getattr(model.dense, name).copy_(values)
        filled = {f"dense.{name}" for name in self.weights}
        # BERT's pooler, a layer for classifiers behind the first token, is in the file and has no part in the vector
        unused = [name for name in report["unexpected_keys"] if not name.split(".", 1)[-1].startswith("pooler.")]
        unused = [name for name in unused if not name.startswith("pooler.")]
        return {**report, "missing_keys": set(report["missing_keys"]) - filled, "unexpected_keys": unused}

    def shorten(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Let the tokenizer cut texts as the folder says."""
        if self.max_length is not None:
            tokenizer.model_max_length = min(self.max_length, int(tokenizer.model_max_length))


def sentence_folder(source: str, config: PretrainedConfig) -> SentenceFolder | None:
    """Return what stands beside an encoder in a folder or hub name.

    None where sentence-transformers did not write it, or where the model has a head.

    Raises:
        UserError: modules that imbik does not compute, or damaged files.
    """
    heads = [name for name in config.architectures or [] if "For" in name and not name.endswith(f"For{HEAD}")]
    # a folder of transformers with a head is what its config says, whatever lies beside it
    if heads or (not Path(source).is_dir() and not _listed(source)):
        return None
    folder = local_folder(source)
    modules = [(one["type"].rpartition(".")[2], one["path"]) for one in modules_of(folder)]
    if not modules:
        return None
    kinds = [kind for kind, _ in modules]
    order = [_CHAIN.index(kind) for kind in kinds if kind in _CHAIN]
    if kinds[:2] != list(_CHAIN[:2]) or len(order) < len(kinds) or order != sorted(set(order)):
        raise UserError("modules that imbik cannot compute", where=folder / MODULES, found=", ".join(kinds), expected=_FIX)
    paths = dict(modules)
    dense, width, weights = _dense(folder / paths["Dense"]) if "Dense" in paths else (None, None, {})
    pooling = Pooling(_mode(folder / paths["Pooling"] / "config.json"), "Normalize" in paths, dense, "bias" in weights)
    return SentenceFolder(pooling, width, weights, _max_length(folder))


def _listed(source: str) -> bool:
    """Return whether a hub name has a list of modules."""
    from huggingface_hub import file_exists

    try:
        return bool(file_exists(source, MODULES))
    except Exception:  # the hub cannot be reached, as loading the model itself tells better
        return False


def _settings(path: Path) -> dict[str, Any]:
    """Read the settings of a module.

    Raises:
        UserError: the file is missing or no JSON object.
    """
    with damage_told("no settings of a module of sentence-transformers", path, fix="copy the folder again"):
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    return found


def _mode(path: Path) -> str:
    found = _settings(path)
    if "pooling_mode" in found:
        given = found["pooling_mode"]
        modes = [given] if isinstance(given, str) else list(map(str, given)) if isinstance(given, list) else [repr(given)]
    else:
        modes = [mode for flag, mode in _LEGACY.items() if _set(found, flag)]
    if len(modes) != 1 or modes[0] not in MODES:
        told = " and ".join(modes) or "no pooling"
        raise UserError("a pooling that imbik does not compute", where=path, found=told, expected="one of " + ", ".join(MODES), fix=_FIX)
    return modes[0]


def _dense(folder: Path) -> tuple[str, int, dict[str, Tensor]]:
    """Return the activation, the width and the weights of the matrix behind the pooling."""
    settings, names = _settings(folder / "config.json"), {path: name for name, path in ACTIVATIONS.items()}
    # as the package has it where the file says nothing
    activation = str(settings["activation_function"]) if "activation_function" in settings else ACTIVATIONS["tanh"]
    if activation not in names or _set(settings, "use_residual"):
        found = activation if activation not in names else "use_residual"
        raise UserError(
            "a Dense module that imbik does not compute", where=folder / "config.json", found=found, expected=" or ".join(names)
        )
    path = folder / "model.safetensors"
    with damage_told("no weights of a Dense module", path, fix="copy the folder again, or save the model with safe_serialization=True"):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            weights = {name.removeprefix("linear."): values.float() for name, values in load_file(path).items()}
        except SafetensorError as error:  # of no class that others expect
            raise ValueError(str(error)) from None
        if "weight" not in weights or not set(weights) <= {"weight", "bias"}:
            raise ValueError(f"tensors {', '.join(sorted(weights))}")
    return names[activation], int(weights["weight"].shape[0]), weights


def _max_length(folder: Path) -> int | None:
    """Return the length that texts are cut to, and refuse what would change a text before it is read."""
    length = None
    for name in (name for name in SETTINGS if (folder / name).is_file()):
        settings = _settings(folder / name)
        for field in ("do_lower_case", "default_prompt_name"):
            if _set(settings, field):
                raise UserError(
                    "texts are changed before they are tokenized, which imbik does not do",
                    where=f"{folder / name}, {field}",
                    found=settings[field],
                    expected="false or null",
                    fix="put the change into the tokenizer or into your texts, and take the setting out",
                )
        if _set(settings, "max_seq_length") and isinstance(settings["max_seq_length"], int):
            length = settings["max_seq_length"]
    return length


def _set(settings: Mapping[str, Any], field: str) -> bool:
    """Return whether a setting is there and says something."""
    return bool(field in settings) and bool(settings[field])
