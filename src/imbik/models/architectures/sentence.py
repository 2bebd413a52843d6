"""Sentence encoders: any encoder of transformers below a pooling, as a model class of its own for each architecture.

Classes such as ``BertForSentenceEmbedding`` are made when they are asked for. The encoder stands in them under the name that
transformers' own classes with a head give it, so their weights load into a plain ``AutoModel`` and those of one load into them.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from imbik.errors import UserError
from imbik.models.architectures.ordered import ConvConfig, ConvForSequenceClassification, LstmConfig, LstmForSequenceClassification
from imbik.models.architectures.pooled import BagConfig, BagForSequenceClassification
from imbik.models.architectures.registry import architecture, auto
from imbik.models.sentences.pooling import finished, pooled, pooling_of

HEAD = "SentenceEmbedding"
_SUFFIX = f"For{HEAD}"


class SentenceEncoder:
    """What the made classes share; vectors ``(B, D)`` come out as ``logits``.

    Attributes:
        encoder_class: transformers' class of the encoder.
    """

    encoder_class: ClassVar[type[Any]]
    config: Any
    dense: nn.Linear | None

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        # BERT's pooler, a layer behind the first token, has no part in the vector
        takes = "add_pooling_layer" in inspect.signature(self.encoder_class.__init__).parameters
        encoder = self.encoder_class(config, **{"add_pooling_layer": False} if takes else {})
        setattr(self, self.base_model_prefix, encoder)  # type: ignore[attr-defined]
        pooling = pooling_of(config)
        self.dense = None if pooling.dense is None else nn.Linear(config.hidden_size, config.num_labels, bias=pooling.bias)
        self.post_init()  # type: ignore[attr-defined]

    def _answer(self, input_ids: Tensor, attention_mask: Tensor | None, **more: Any) -> SequenceClassifierOutput:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        given = getattr(self, self.base_model_prefix)(input_ids=input_ids, attention_mask=mask, **more)  # type: ignore[attr-defined]
        pooling = pooling_of(self.config)
        vectors = finished(pooled(given.last_hidden_state, mask, pooling.mode), pooling, self.dense)
        states, attentions = (getattr(given, name, None) for name in ("hidden_states", "attentions"))
        return SequenceClassifierOutput(logits=vectors, hidden_states=states, attentions=attentions)


class _WithTypes(SentenceEncoder):
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None, **more: Any
    ) -> SequenceClassifierOutput:
        """Return vectors of ids ``(B, T)``."""
        return self._answer(input_ids, attention_mask, token_type_ids=token_type_ids, **more)


class _WithoutTypes(SentenceEncoder):
    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **more: Any) -> SequenceClassifierOutput:
        """Return vectors of ids ``(B, T)``."""
        return self._answer(input_ids, attention_mask, **more)


@functools.cache
def _made(encoder: type[Any]) -> type[Any]:
    """Make the class over an encoder's."""
    # the signature is what tells `input_names` which inputs a model takes
    typed = "token_type_ids" in inspect.signature(encoder.forward).parameters
    # what comes before the encoder in its family: it draws new weights and knows the encoder's name
    family = encoder.__mro__[1]
    name = encoder.__name__.removesuffix("Model") + _SUFFIX
    return type(name, (_WithTypes if typed else _WithoutTypes, family), {"encoder_class": encoder, "__module__": __name__})


def __getattr__(name: str) -> type[Any]:
    """Return a class by its name: another process that is sent a model asks for it here."""
    encoder = getattr(transformers, name.removesuffix(_SUFFIX) + "Model", None) if name.endswith(_SUFFIX) else None
    if encoder is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _made(encoder)


@auto(HEAD)
class AutoModelForSentenceEmbedding:
    """Makes sentence encoders by their config, as transformers' ``Auto`` classes make others."""

    _known: ClassVar[dict[type[PretrainedConfig], type[Any]]] = {}

    @classmethod
    def register(cls, config: type[PretrainedConfig], model: type[Any], exist_ok: bool = False) -> None:
        """Register a class of ours for a config class."""
        cls._known[config] = model

    @classmethod
    def class_of(cls, config: PretrainedConfig) -> type[Any]:
        """Return the class for a config.

        Raises:
            UserError: transformers has no encoder for it.
        """
        kind = type(config)
        if kind in cls._known:
            return cls._known[kind]
        if kind not in transformers.MODEL_MAPPING:
            raise UserError("no encoder is known for this architecture", found=config.model_type, expected="an encoder of transformers")
        # a few architectures have several encoders, the plain one first
        encoder = transformers.MODEL_MAPPING[kind]
        return _made(encoder[0] if isinstance(encoder, tuple) else encoder)

    @classmethod
    def from_config(cls, config: PretrainedConfig, trust_remote_code: bool = False, **settings: Any) -> Any:
        """Return a model with random weights."""
        return cls.class_of(config)._from_config(config, **settings)

    @classmethod
    def from_pretrained(cls, path: str, *, config: PretrainedConfig, trust_remote_code: bool = False, **settings: Any) -> Any:
        """Return a model with the weights of a folder or hub name."""
        return cls.class_of(config).from_pretrained(path, config=config, **settings)


@architecture(BagConfig, HEAD)
class BagForSentenceEmbedding(BagForSequenceClassification):
    """A bag of word pieces whose logits are the vector."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **more: object) -> SequenceClassifierOutput:
        """Compute vectors ``(B, D)`` of ids ``(B, T)``."""
        return _finished(self.config, super().forward(input_ids, attention_mask, **more))


@architecture(ConvConfig, HEAD)
class ConvForSentenceEmbedding(ConvForSequenceClassification):
    """Gated convolutions whose logits are the vector."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **more: object) -> SequenceClassifierOutput:
        """Compute vectors ``(B, D)`` of ids ``(B, T)``."""
        return _finished(self.config, super().forward(input_ids, attention_mask, **more))


@architecture(LstmConfig, HEAD)
class LstmForSentenceEmbedding(LstmForSequenceClassification):
    """LSTMs whose logits are the vector."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **more: object) -> SequenceClassifierOutput:
        """Compute vectors ``(B, D)`` of ids ``(B, T)``."""
        return _finished(self.config, super().forward(input_ids, attention_mask, **more))


def _finished(config: PretrainedConfig, output: SequenceClassifierOutput) -> SequenceClassifierOutput:
    """Let the vectors of a student without layers have the length that its config asks for."""
    return SequenceClassifierOutput(logits=finished(output.logits, pooling_of(config), None))
