"""The torch face of the task in ``toy_span``."""

from __future__ import annotations

import toy_span  # noqa: F401  the task that this head belongs to
from torch.nn import functional as F

from imbik.training.heads import Head, register_head, softened_kl


@register_head("toy-span")
class ToySpanHead(Head):
    """Cross-entropy over the tokens, of the first and the last one."""

    def loss(self, outputs, targets):
        ends = (outputs["start_logits"], outputs["end_logits"])
        return sum(F.cross_entropy(logits, targets[:, side]) for side, logits in enumerate(ends)) / 2

    def distillation_loss(self, student, teacher, temperature, mask=None):
        def hidden(logits):
            return logits.masked_fill(mask == 0, -1e4)  # padding is no answer

        names = ("start_logits", "end_logits")
        return sum(softened_kl(hidden(student[name]), hidden(teacher[name]), temperature) for name in names) / 2
