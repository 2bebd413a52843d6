"""A cut that is made in several steps, with a distillation between them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from imbik.locale.notes import sentence
from imbik.methods.distill import Distill
from imbik.training.context import Context
from imbik.types import Checkpoint, Note

logger = logging.getLogger(__name__)

Cut = Callable[[Checkpoint, float], tuple[Checkpoint, tuple[Note, ...]]]
"""Cuts a checkpoint as far as a share of the whole way, up to 1; returns it and what is to be said of all that is cut by then."""


def in_stages(checkpoint: Checkpoint, context: Context, cut: Cut, name: str, stages: int, recovery: Mapping[str, Any]) -> Checkpoint:
    """Cut a model in ``stages`` steps, with a distillation after each but the last.

    Args:
        name: of the step, for messages.
        recovery: settings of that distillation.
    """
    notes = checkpoint.notes
    for stage in range(1, stages + 1):
        checkpoint, report = cut(checkpoint, stage / stages)
        # the last report alone remains: it compares with the whole model and so covers earlier cuts
        notes = (*checkpoint.notes, *report)
        logger.info("%s, stage %d of %d: %s", name, stage, stages, "; ".join(map(sentence, report)))
        if stage < stages:
            # own folder and seed: fit goes on from whatever state lies in its folder, so that a
            # second stage would otherwise find the finished training of the first
            inner = replace(context, directory=context.directory / f"stage-{stage}", seed=context.seed + stage)
            checkpoint = Distill.of(recovery, f"{name}.recovery").apply(checkpoint, inner)
    return replace(checkpoint, notes=notes)
