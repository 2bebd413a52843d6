"""Channels of convolutions, units of Linear and recurrent layers and columns of embeddings that go, with all that reads them."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from imbik.errors import UserError
from imbik.models.hooks import evaluating, module_at, put_everywhere
from imbik.modules.arguments import arguments_of
from imbik.modules.channels.cut import cut
from imbik.modules.channels.follow import Channels, Follower
from imbik.modules.channels.importance import Scores, by_magnitude, by_taylor, relative
from imbik.modules.channels.unions import FIXED
from imbik.modules.places import inside, tied_weights
from imbik.modules.step import Change, Job, ModuleStep, module_step, refuse_nothing
from imbik.modules.tracing import traced

_FIXED = "its channels are given out, normalized, mixed or reshaped as they are"
"""Why channels stay, where no layer of their own is the reason."""

_LEAST = 0.125
"""Share of a family's channels that stays at least where all layers share one ranking."""


@module_step("prune")
class Prune(ModuleStep):
    """The least important channels go: layers become narrower, and whatever reads them with them.

    Which channels belong together is found by tracing (:mod:`imbik.modules.channels.follow`): a residual sum ties those of its branches, a
    depthwise convolution and a batch norm those that they read. What is normalized or mixed over channels (a layer norm, attention),
    grouped, or given out by the module stays as wide as it is, and the report says so.

    Attributes:
        amount: share of the channels that go: of every family of tied layers, or of all in the ``network``.
        scope: ``family``: each loses the same share; ``network``: the least important of all, each family's scores over their mean, and
            an eighth of a family stays.
        importance: by ``magnitude`` of the weights that make and read a channel, or by ``taylor``, the change of the loss to first order,
            which needs a loader and ``label_loss``.
        multiple: as many channels stay as a multiple of this, where a family has at least twice as many.
        only: paths of layers that are pruned; empty: all that can be.
        exclude: paths of modules whose channels stay, with all inside.
    """

    amount: Annotated[float, Gt(0), Lt(1)] = 0.5
    scope: Literal["family", "network"] = "family"
    importance: Literal["magnitude", "taylor"] = "magnitude"
    multiple: Annotated[int, Ge(1)] = 1
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def apply(self, model: nn.Module, job: Job) -> Change:
        """Prune in place.

        Raises:
            UserError: a module that cannot be traced, a layer of ``only`` whose channels are fixed, or nothing to prune.
        """
        # channels are numbered and tied before any is judged
        found = follow(model, job)
        change = Change(model)
        self._fix(model, found)
        families = _families(found)
        change.kept |= {path: reason for path, reason in found.reasons.items() if not any(path in one for one in families)}
        scores = by_taylor(model, found, job) if self.importance == "taylor" else by_magnitude(found)
        gone = self._gone(families, scores)
        widths = {path: len(slots.outputs) for path, slots in found.layers.items()}
        for path, slots in found.layers.items():
            kept = torch.from_numpy(np.flatnonzero(~np.isin(found.sets.roots(slots.outputs), gone)))
            read = None if slots.inputs is None else torch.from_numpy(np.flatnonzero(~np.isin(found.sets.roots(slots.inputs), gone)))
            if len(kept) == widths[path] and (read is None or slots.inputs is None or len(read) == len(slots.inputs)):
                continue
            put_everywhere(model, path, cut(slots.module, read, kept))
            if slots.makes and len(kept) < widths[path]:
                change.layers[path] = f"{len(kept)} of {widths[path]} channels"
        return refuse_nothing(change, self, model)

    def _fix(self, model: nn.Module, found: Channels) -> None:
        """Keep what the settings keep, and whatever shares its weights with another module."""
        for path in (*self.only, *self.exclude):
            module_at(model, path)
        shared = tied_weights(model)
        for path, slots in found.layers.items():
            if path in shared:
                found.reasons.setdefault(path, "another module uses its weights too")
                for ids in (slots.outputs, slots.inputs):
                    if ids is not None:
                        found.sets.fix(ids)
            if slots.makes and inside(path, self.exclude):
                found.reasons.setdefault(path, "it is excluded")
                found.sets.fix(slots.outputs)
        # what is named is checked after all else is fixed
        if self.only:
            self._keep_others(found)
        for path, slots in found.layers.items():
            if slots.makes and (found.sets.roots(slots.outputs) == FIXED).all():
                found.reasons.setdefault(path, _FIXED)

    def _keep_others(self, found: Channels) -> None:
        """Keep the channels of all layers that ``only`` does not name.

        Raises:
            UserError: one that it names has fixed channels.
        """
        for path in self.only:
            own = [one for name, one in found.layers.items() if inside(name, (path,)) and one.makes]
            if not any((found.sets.roots(one.outputs) != FIXED).any() for one in own):
                raise UserError("the channels of this layer are fixed", where=path, found=found.reasons.get(path, _FIXED))
        wanted = {int(r) for path, one in found.layers.items() if inside(path, self.only) for r in found.sets.roots(one.outputs)}
        for slots in found.layers.values():
            roots = found.sets.roots(slots.outputs)
            found.sets.fix(slots.outputs[~np.isin(roots, list(wanted))])

    def _gone(self, families: list[dict[str, list[int]]], scores: Scores) -> list[int]:
        """Return the sets of channels that go."""
        rows = [sorted({root for roots in family.values() for root in roots}) for family in families]
        if self.scope == "family":
            return [root for row in rows for root in self._least(row, scores, round(self.amount * len(row)))]
        # a network-wide ranking must not compare the units of weights of different sizes
        compared = {root: score for row in rows for root, score in relative({root: scores[root] for root in row}).items()}
        worst = sorted(compared, key=lambda root: compared[root])[: round(self.amount * len(compared))]
        counts = [len(set(row) & set(worst)) for row in rows]
        most = [len(row) - max(1, int(np.ceil(_LEAST * len(row)))) for row in rows]
        return [root for row, n, top in zip(rows, counts, most, strict=True) for root in self._least(row, scores, min(n, top))]

    def _least(self, row: list[int], scores: Scores, count: int) -> list[int]:
        """Return the least important ones of a family, so many that what stays is a multiple."""
        kept = max(1, len(row) - count)
        if len(row) >= 2 * self.multiple:
            kept = min(len(row), -(-kept // self.multiple) * self.multiple)
        return sorted(row, key=lambda root: scores[root])[: len(row) - kept]


def follow(model: nn.Module, job: Job) -> Channels:
    """Trace a module and follow its channels through a run on the example.

    Raises:
        UserError: a module that cannot be traced.
    """
    graph = traced(model, job.example, job.opaque)
    follower = Follower(graph)
    given = arguments_of(model, job.example).named
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    # an argument that the example leaves out is fixed in the graph: what is handed in its place is not read
    values = [given.get(str(node.target).lstrip("*")) for node in placeholders]
    with evaluating(graph), torch.no_grad():
        follower.run(*values)
    return follower.found


def _families(found: Channels) -> list[dict[str, list[int]]]:
    """Group layers that share channels: path -> the sets of its own channels that may go."""
    own = {path: [int(r) for r in found.sets.roots(slots.outputs) if r != FIXED] for path, slots in found.layers.items() if slots.makes}
    homes: dict[int, list[str]] = defaultdict(list)
    for path, roots in own.items():
        for root in set(roots):
            homes[root].append(path)
    families: list[dict[str, list[int]]] = []
    seen: set[str] = set()
    for path in own:
        if path in seen or not own[path]:
            continue
        # every layer that is reached through a channel in common
        family, waiting = {}, [path]
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                family[one] = own[one]
                waiting += [other for root in set(own[one]) for other in homes[root]]
        families.append(family)
    return families
