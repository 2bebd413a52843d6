"""Blocks that use one set of weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.models.hooks import module_at
from imbik.modules.step import Change, Job, ModuleStep, distance, module_step, refuse_nothing
from imbik.sharing.groups import group_of

_OWN = (nn.modules.batchnorm._BatchNorm,)
"""What stays each block's own: running statistics are of the place where they were counted."""


@module_step("share")
class Share(ModuleStep):
    """Like blocks in a row use one set of weights: block i of n belongs to group ⌊i · groups / n⌋ (Lan et al. 2020, ALBERT).

    Blocks are like when they are of one class and their weights of one shape. Batch norms stay each block's own, with their running
    statistics. It saves bytes and no time: every block is still computed. It is lossy until a recovery training.

    Attributes:
        groups: how many sets of weights remain of each row of like blocks.
        stacks: paths of the ``ModuleList`` or ``Sequential`` that hold the blocks; empty: all that hold like blocks in a row.
        init: where a group's weights start: the ``mean`` of its blocks, its ``first`` block, or the ``best`` of both, by how far the
            module's answers on the first batches move.
    """

    groups: Annotated[int, Ge(1)] = 1
    stacks: tuple[str, ...] = ()
    init: Literal["mean", "first", "best"] = "best"

    def apply(self, model: nn.Module, job: Job) -> Change:
        """Tie in place.

        Raises:
            UserError: no like blocks in a row, or a stack without.
        """
        change = Change(model)
        rows = _rows(model, self.stacks)
        for members in (row for row in rows if len(row) > self.groups):
            groups = [[m for i, m in enumerate(members) if group_of(i, len(members), self.groups) == g] for g in range(self.groups)]
            for group in (one for one in groups if len(one) > 1):
                way = self._start(model, group, job)
                _tie(model, group)
                change.layers |= dict.fromkeys(group[1:], f"the weights of {group[0]}, which starts at the {way} of {len(group)}")
        if not rows:
            change.kept[""] = "it has no two like blocks in a row"
        return refuse_nothing(change, self, model)

    def _start(self, model: nn.Module, group: list[str], job: Job) -> str:
        """Give the first block of a group the weights that all will have; return which they are."""
        # the blocks as they are: views, so that loading changes them
        states = [dict(model.get_submodule(path).state_dict()) for path in group]
        ways: dict[str, Mapping[str, Tensor]] = {"mean": _mean(states), "first": states[0]}
        if self.init != "best":
            _load_shared(model.get_submodule(group[0]), ways[self.init])
            return self.init
        before = job.answers(model)
        kept = {path: {name: value.clone() for name, value in state.items()} for path, state in zip(group, states, strict=True)}
        moved: dict[str, float] = {}
        # each way is tried in the place of the group, and the group restored
        for name, state in ways.items():
            for path in group:
                _load_shared(model.get_submodule(path), state)
            moved[name] = distance(job.answers(model), before)
            for path in group:
                model.get_submodule(path).load_state_dict(kept[path])
        best = min(moved, key=lambda name: moved[name])
        _load_shared(model.get_submodule(group[0]), _mean(list(kept.values())) if best == "mean" else kept[group[0]])
        return best


def _rows(model: nn.Module, stacks: tuple[str, ...]) -> list[list[str]]:
    """List the paths of like blocks that stand in a row, at least two.

    Raises:
        UserError: a stack that is named and holds none.
    """
    found: list[list[str]] = []
    outer: list[str] = []
    for path, module in model.named_modules():
        # blocks inside of blocks that are tied are tied with them
        if (stacks and path not in stacks) or any(path.startswith(f"{one}.") for one in outer):
            continue
        if isinstance(module, nn.ModuleList | nn.Sequential):
            rows = _like(path, module)
            found += rows
            outer += [one for row in rows for one in row]
    for stack in stacks:
        module_at(model, stack)
        if not any(member.startswith(f"{stack}.") for row in found for member in row):
            raise UserError("the stack has no two like blocks in a row", where="share.stacks", found=stack)
    return found


def _like(path: str, stack: nn.Module) -> list[list[str]]:
    """List the like blocks in a row of one stack."""

    def kind(child: tuple[str, nn.Module]) -> object:
        state = {name: tuple(value.shape) for name, value in child[1].named_parameters()}
        # activations, pools: what has no weights has nothing to share, and is like nothing
        return (type(child[1]), tuple(state.items())) if state else id(child[1])

    rows = [[f"{path}.{name}" if path else name for name, _ in row] for _, row in groupby(stack.named_children(), kind)]
    return [row for row in rows if len(row) > 1]


def _mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    # counters of batch norms are whole numbers, which have no mean
    floats = {name for name, value in states[0].items() if value.is_floating_point()}
    return {name: torch.stack([state[name] for state in states]).mean(0) if name in floats else states[0][name] for name in states[0]}


def _load_shared(block: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what a group shares into a block: all but its batch norms."""
    own = tuple(f"{path}." for path, module in block.named_modules() if isinstance(module, _OWN))
    block.load_state_dict({name: value for name, value in state.items() if not own or not name.startswith(own)}, strict=False)


def _tie(model: nn.Module, group: list[str]) -> None:
    """Let the parameters of a group's first block be those of the others."""
    first = model.get_submodule(group[0])
    for path in group[1:]:
        for inner, module in model.get_submodule(path).named_modules():
            if isinstance(module, _OWN):
                continue
            source = first.get_submodule(inner)
            # parameters and not modules: a batch norm inside stays the block's own
            for name, _ in list(module.named_parameters(recurse=False)):
                setattr(module, name, getattr(source, name))
