"""The files that let sentence-transformers open a folder and give the same vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbik.jobs.files import write_json
from imbik.models.architectures.sentence import SentenceEncoder
from imbik.models.sentences.folder import MODULES
from imbik.models.sentences.pooling import ACTIVATIONS, pooling_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_TYPE = "sentence_transformers.models."
_FLAGS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens"}


def write_modules(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write ``modules.json`` and the modules behind the encoder.

    Nothing for a model that is no sentence encoder of transformers'.
    """
    # bags and convolutions of ours pool inside themselves, and the package could not open them
    if not isinstance(model, SentenceEncoder):
        return
    pooling, states = pooling_of(model.config), int(model.config.hidden_size)
    _write(directory / "sentence_bert_config.json", {"max_seq_length": int(tokenizer.model_max_length), "do_lower_case": False})
    # the flags of versions before 6, which later ones read as well
    flags = {flag: mode == pooling.mode for mode, flag in _FLAGS.items()}
    _write(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": states, **flags})
    chain = [("Transformer", ""), ("Pooling", "1_Pooling")]
    if model.dense is not None and pooling.dense is not None:
        settings = {"in_features": states, "out_features": int(model.config.num_labels), "bias": pooling.bias}
        _write(directory / "2_Dense" / "config.json", settings | {"activation_function": ACTIVATIONS[pooling.dense]})
        from safetensors.torch import save_file

        weights = {f"linear.{name}": values.detach().contiguous() for name, values in model.dense.state_dict().items()}
        save_file(weights, directory / "2_Dense" / "model.safetensors")
        chain.append(("Dense", "2_Dense"))
    if pooling.normalize:
        chain.append(("Normalize", f"{len(chain)}_Normalize"))
    modules = [{"idx": place, "name": str(place), "path": path, "type": _TYPE + kind} for place, (kind, path) in enumerate(chain)]
    _write(directory / MODULES, modules)


def _write(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    write_json(path, content)
