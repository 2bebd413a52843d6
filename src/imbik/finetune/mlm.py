"""Masked language models: the head that an encoder lacks, fitted on a corpus (``imbik finetune --task mlm``)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imbik.data.documents import Documents
from imbik.finetune.cards import mlm_card
from imbik.finetune.results import FittedMlm
from imbik.jobs.fingerprints import content
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import Workspace
from imbik.models.checkpoint import save_model
from imbik.models.pretrained import base_name, load_masked_lm
from imbik.pretraining.corpus import BLOCK, build_blocks
from imbik.pretraining.masking import Masker
from imbik.pretraining.mlm import MaskedLoss, check_length, mlm_quality
from imbik.training.loop import fit
from imbik.training.settings import RunSettings, Training

HEAD = Training(epochs=2, learning_rate=1e-3, batch_tokens=4096, weight_decay=0.01)
"""Settings for the head alone: it is small and new."""

WHOLE = Training(epochs=2, learning_rate=2e-4, batch_tokens=4096, weight_decay=0.01)
"""Settings for head and encoder together."""


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
    model, tokenizer = _opened(base, length, seed, encoder, say)
    masker = Masker.of(tokenizer, share, whole_words)
    arguments = {"base": [str(base), content(base)], "data": documents.key, "settings": settings.__dict__, "seed": seed, "length": length}
    directory = with_home(directory)
    with Workspace(directory, arguments | {"encoder": encoder, "whole_words": whole_words, "share": share}) as workspace:
        blocks = build_blocks(documents, tokenizer, workspace.root / "corpus", length=length, progress=progress)
        train, held_out = blocks.held_out()
        say(f"{len(blocks)} blocks of {length} tokens, {len(held_out)} of them held out")
        before = mlm_quality(model, held_out, masker, seed)
        state = fit(
            model,
            MaskedLoss(masker),
            train,
            settings,
            RunSettings(seed, workspace.path("mlm"), progress, save_every),
            what="masked language modeling",
            evaluate=lambda trained: -mlm_quality(trained, held_out, masker, seed).loss,
        )
        result = FittedMlm(model, tokenizer, before, mlm_quality(model, held_out, masker, seed), len(train), state.epoch, state.seconds)
        _save(result, workspace, documents.source, base)
        shutil.rmtree(workspace.root / "corpus", ignore_errors=True)
    return result


def _save(result: FittedMlm, workspace: Workspace, corpus: str, base: str | Path) -> None:
    result.model.requires_grad_(True)
    result.model.config.imbik_base = base_name(base)
    folder = workspace.path("made")
    save_model(result.model, result.tokenizer, folder, {"steps": [], "task": "mlm"}, mlm_card(result, corpus, str(base)))
    workspace.publish(folder)


def _opened(base: str | Path, length: int, seed: int, encoder: bool, say: Callable[[str], None]) -> tuple[Any, Any]:
    """Return model and tokenizer, the encoder frozen unless it is to train; say whether the head is new."""
    torch.manual_seed(seed)
    model, tokenizer, fresh = load_masked_lm(base)
    check_length(length, model.config, "--max-length")
    say("the base has no masked-language-model head: a new one is fitted" if fresh else "the base has a masked-language-model head")
    if not encoder:
        freeze_encoder(model)
    return model, tokenizer


def freeze_encoder(model: Any) -> None:
    """Leave only the head to train; the encoder loses its dropout, which would only blur what the head reads."""
    # called before fit(), whose optimizer takes what requires a gradient; the tied decoder is the
    # table, and so frozen with it
    model.base_model.requires_grad_(False)
    for module in model.base_model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
