"""A masked language model: the head that an encoder lacks, fitted on raw text (``imbik finetune --task mlm``)."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.data.documents import Documents
from imbik.errors import UserError
from imbik.jobs.fingerprints import content
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import Workspace
from imbik.models.cards import mlm_card
from imbik.models.checkpoint import base_name, load_masked_lm, positions_of, save_model
from imbik.pretraining.corpus import BLOCK, Blocks, build_blocks
from imbik.pretraining.masking import IGNORED, Masker, masked_output
from imbik.training.encoding import sorted_batches
from imbik.training.loop import Batch, Training, fit, mixed, model_inputs, precision, to_batch

HEAD = Training(epochs=2, learning_rate=1e-3, batch_tokens=4096, weight_decay=0.01)
"""Settings for the head alone: it is small and new."""

WHOLE = Training(epochs=2, learning_rate=2e-4, batch_tokens=4096, weight_decay=0.01)
"""Settings for head and encoder together."""


@dataclass(frozen=True)
class MlmQuality:
    """On held-out blocks, at the masked tokens: mean cross-entropy in nats, exp of it, share predicted right, and how many they were."""

    loss: float
    perplexity: float
    accuracy: float
    tokens: int


@dataclass(frozen=True)
class FittedMlm:
    """What :func:`finetune_mlm` gives."""

    model: Any
    tokenizer: Any
    before: MlmQuality
    after: MlmQuality
    blocks: int
    epochs: int
    seconds: float


class MaskedLoss(nn.Module):
    """Cross-entropy at the masked tokens; masks are drawn anew for every batch."""

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self.masker = masker

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        inputs, labels = self.masker(batch["input_ids"])
        where = labels != IGNORED
        logits = masked_output(model, model_inputs(batch) | {"input_ids": inputs}, where).logits
        return F.cross_entropy(logits.float(), labels[where])


@torch.inference_mode()
def mlm_quality(model: nn.Module, blocks: Blocks, masker: Masker, seed: int = 0) -> MlmQuality:
    """Quality on some blocks; the masks follow from ``seed``, so that two models are asked the same."""
    model.eval()
    device = next(model.parameters()).device
    total, right, count = 0.0, 0, 0
    with torch.random.fork_rng(devices=[]), precision(device):
        torch.manual_seed(mixed(seed, 77))
        for rows in sorted_batches(blocks.lengths, 4096):
            batch = to_batch(blocks, rows)
            inputs, labels = masker(batch["input_ids"])
            where = labels != IGNORED
            values = {name: value.to(device) for name, value in (model_inputs(batch) | {"input_ids": inputs}).items()}
            logits = masked_output(model, values, where.to(device)).logits.float().cpu()
            total += float(F.cross_entropy(logits, labels[where], reduction="sum"))
            right += int((logits.argmax(1) == labels[where]).sum())
            count += int(where.sum())
    return MlmQuality(total / count, math.exp(min(total / count, 700.0)), right / count, count)


def finetune_mlm(
    base: str | Path,
    documents: Documents,
    directory: Path,
    *,
    settings: Training | None = None,
    encoder: bool = False,
    length: int = BLOCK,
    whole_words: bool = False,
    share: float = 0.15,
    seed: int = 0,
    progress: Progress,
    say: Callable[[str], None],
    save_every: float = 30.0,
) -> FittedMlm:
    """Fit a tied masked-language-model head on raw text; the result is a plain ``…ForMaskedLM`` folder. Continues after a kill.

    The decoder of the head is the embedding table; without ``encoder`` the table stays as it is, so that only the head's transform
    and its bias learn, and the encoder that a teacher was fine-tuned from is still the one in the folder.

    Args:
        base: folder or hub name of any encoder.
        documents: see :func:`imbik.data.documents.open_documents`.
        directory: gets the model.
        settings: default :data:`HEAD`, or :data:`WHOLE` with ``encoder``.
        encoder: train the encoder and the table too.
        length: tokens of a block.
        whole_words: mask words instead of pieces.
        share: of the tokens that are masked.
        seed: of a new head, the order of blocks, masks and dropout.
        progress: where progress is shown.
        say: takes one line for the user.
        save_every: seconds between training states on disk.

    Raises:
        UserError: the base cannot be opened, too little text, a length that the model cannot read.
    """
    settings = settings or (WHOLE if encoder else HEAD)
    model, tokenizer = _opened(base, length, seed, say)
    masker = Masker.of(tokenizer, share, whole_words)
    arguments = {"base": [str(base), content(base)], "data": documents.key, "settings": settings.__dict__, "seed": seed, "length": length}
    with Workspace(directory, arguments | {"encoder": encoder, "whole_words": whole_words, "share": share}) as workspace:
        blocks = build_blocks(documents, tokenizer, workspace.root / "corpus", length=length, progress=progress)
        train, held = blocks.held_out()
        say(f"{len(blocks)} blocks of {length} tokens, {len(held)} of them held out")
        if not encoder:
            freeze_encoder(model)
        before = mlm_quality(model, held, masker, seed)
        state = fit(
            model, MaskedLoss(masker), train, settings, what="masked language modelling", seed=seed,
            directory=workspace.path("mlm"), progress=progress, save_every=save_every,
            evaluate=lambda trained: -mlm_quality(trained, held, masker, seed).loss,
        )  # fmt: skip
        after = mlm_quality(model, held, masker, seed)
        model.requires_grad_(True)
        model.config.imbik_base = base_name(base)
        result = FittedMlm(model, tokenizer, before, after, len(train), state.epoch, state.seconds)
        save_model(model, tokenizer, directory, {"steps": [], "task": "mlm"}, mlm_card(result, documents.source, str(base)))
        shutil.rmtree(workspace.root / "corpus", ignore_errors=True)
    return result


def _opened(base: str | Path, length: int, seed: int, say: Callable[[str], None]) -> tuple[Any, Any]:
    """Model and tokenizer; says whether the head is new."""
    torch.manual_seed(seed)
    model, tokenizer, fresh = load_masked_lm(base)
    check_length(length, model.config, "--max-length")
    say("the base has no masked-language-model head: a new one is fitted" if fresh else "the base has a masked-language-model head")
    return model, tokenizer


def freeze_encoder(model: Any) -> None:
    """Leave only the head to train; the encoder loses its dropout, which would only blur what the head reads."""
    model.base_model.requires_grad_(False)
    for module in model.base_model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def check_length(length: int, config: Any, where: str) -> None:
    """Refuse blocks that the model cannot read.

    Raises:
        UserError: longer than its positions, or shorter than 8.
    """
    if not 8 <= length <= positions_of(config):
        raise UserError("blocks of this length cannot be read", where=where, found=length, expected=f"8 to {positions_of(config)} tokens")
