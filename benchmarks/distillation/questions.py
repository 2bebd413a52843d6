"""The questions that the ablations of distillation ask, and the variants that answer them; imports nothing heavy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

UPDATES = 400  # of a variant, all steps together
LONG = 1200  # where the student starts from random weights or learns in two stages, and 400 are too few for either
RATE = 1e-3
SEEDS = (0, 1, 2)


def answers(updates: int = UPDATES, **settings: Any) -> dict[str, Any]:
    return {"distill": {"target_steps": updates, "learning_rate": RATE, **settings}}


def layers_first(updates: int = LONG, **settings: Any) -> list[dict[str, Any]]:
    return [{"tinybert": {"target_steps": updates // 2, "learning_rate": RATE, **settings}}, answers(updates // 2)]


RELATIONS_FIRST = [{"minilm": {"target_steps": LONG // 2, "learning_rate": RATE}}, answers(LONG // 2)]
RANDOM = {"layers": 2, "hidden": 192, "heads": 6, "intermediate": 768, "init": "random"}
CUT_RANDOM = {"layers": 2, "init": "random"}
MOBILE_RATE = 2.5e-4  # without norms, a higher one leaves the student near chance
MOBILE = {"family": "mobilebert", "layers": 6, "hidden": 128, "bottleneck": 48}


def blocks_first(schedule: str) -> list[dict[str, Any]]:
    """Transfer block by block or at once, then the answers; ``auxiliary`` has both in one sum all the time."""
    steps = LONG if schedule == "auxiliary" else LONG // 2
    transfer = {"mobilebert": {"schedule": schedule, "bridge_steps": 400, "transfer_steps": steps}}
    return [transfer] if schedule == "auxiliary" else [transfer, answers(LONG // 2, learning_rate=MOBILE_RATE)]


@dataclass(frozen=True)
class Variant:
    """One way of doing it; ``rows`` training rows, or all."""

    student: Any
    steps: list[dict[str, Any]]
    rows: int = 0


QUESTIONS: dict[str, dict[str, Variant]] = {
    "Does a start from the teacher help? (two of its layers)": {
        "random weights": Variant(CUT_RANDOM, [answers()]),
        "the teacher's layers": Variant("layers-2", [answers()]),
    },
    "Does a start from the teacher help a narrow student? (2 × 192)": {
        "random weights": Variant(RANDOM, [answers()]),
        "the teacher's principal directions": Variant("mini-2x192", [answers()]),
    },
    "Does intermediate transfer help a student that cannot copy layers? (2 × 192, random)": {
        "logits alone": Variant(RANDOM, [answers(LONG)]),
        "tinybert, then logits": Variant(RANDOM, layers_first()),
        "minilm, then logits": Variant(RANDOM, RELATIONS_FIRST),
    },
    "And a student that copies layers? (two layers of the teacher)": {
        "logits alone": Variant("layers-2", [answers()]),
        "tinybert, then logits": Variant("layers-2", layers_first(UPDATES)),
    },
    "Which map of layers? (2 × 192, random, tinybert, then logits)": {
        "uniform": Variant(RANDOM, layers_first()),
        "top": Variant(RANDOM, layers_first(layers="top")),
        "bottom": Variant(RANDOM, layers_first(layers="bottom")),
    },
    "Does augmentation help with 500 rows? (two layers of the teacher)": {
        "the rows alone": Variant("layers-2", [answers()], rows=500),
        "20 copies of each": Variant("layers-2", [answers(augment={"masked_model": "none"})], rows=500),
    },
    "Does MobileBERT's transfer help? (6 blocks, 128 between them, 48 inside)": {
        "logits alone": Variant(MOBILE, [answers(LONG, learning_rate=MOBILE_RATE)]),
        "progressive, then logits": Variant(MOBILE, blocks_first("progressive")),
    },
    "Which of MobileBERT's schedules? (6 blocks, 128 between them, 48 inside)": {
        "progressive, then logits": Variant(MOBILE, blocks_first("progressive")),
        "joint, then logits": Variant(MOBILE, blocks_first("joint")),
        "auxiliary": Variant(MOBILE, blocks_first("auxiliary")),
    },
}

REMARKS = {
    "Which map": """TinyBERT's paper finds uniform better than top; top is no worse here. Two layers of six are 3 and 6, or 5 and 6: both
maps hold the last layer, whose first token the classifier reads. The paper maps four layers on twelve.""",
    "copies layers": """In the paper every student starts at random; one that starts as two of the teacher's layers already has what the
transfer would give it.""",
    "MobileBERT's transfer": "Without it, the student has a random start and no norms to learn from; more updates would narrow the gap.",
}


def key(variant: Variant, seed: int) -> str:
    """Return the name of a cell in the file."""
    return json.dumps([variant.student, variant.steps, variant.rows, seed])
