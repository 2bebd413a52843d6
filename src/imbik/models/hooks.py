"""Read what the modules inside a network take and give during one forward pass: forward hooks by module path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from imbik.errors import UserError


@dataclass(frozen=True)
class Tap:
    """One place in a network where a tensor is read.

    Attributes:
        path: the module's dotted path, as ``named_modules`` gives it; ``""`` is the network itself.
        call: which call of the module within one forward pass (a shared layer runs several times); -1 is the last.
        side: what the module gives, or what it takes.
        part: ``(i, n)``: the i-th of n equal pieces of the last dimension (a fused query-key-value matrix); None: all of it.
        copied: keep a copy, so that what works in place behind the module (``ReLU(inplace=True)``, ``out += x``) does not change it.
    """

    path: str
    call: int = -1
    side: Literal["input", "output"] = "output"
    part: tuple[int, int] | None = None
    copied: bool = False


@contextmanager
def capture(model: nn.Module, taps: Iterable[Tap]) -> Iterator[dict[Tap, Tensor]]:
    """Inside, one forward pass of ``model`` fills the dictionary; gradients flow through what is captured.

    A second pass overwrites the first. The hooks are gone on leaving, so the model is never changed.

    Raises:
        UserError: a path that the model does not have.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with capture(net, [Tap("0")]) as seen:
    ...     _ = net(torch.zeros(1, 2))
    >>> seen[Tap("0")].shape
    torch.Size([1, 3])
    """
    wanted: dict[str, list[Tap]] = {}
    for tap in taps:
        wanted.setdefault(tap.path, []).append(tap)
    captured: dict[Tap, Tensor] = {}
    ears = {path: _Ear(here, captured) for path, here in wanted.items()}
    with ExitStack() as stack:
        for path, ear in ears.items():
            module = module_at(model, path)
            stack.callback(module.register_forward_pre_hook(ear.before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(ear.after).remove)

        def restart(_module: nn.Module, _arguments: tuple[Any, ...]) -> None:
            for ear in ears.values():
                ear.calls = 0

        stack.callback(model.register_forward_pre_hook(restart, prepend=True).remove)
        yield captured


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, ``model`` is in evaluation mode; on leaving, after an error too, each of its modules is in the mode that it was in.

    >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with evaluating(net):
    ...     net[0].training
    False
    >>> [module.training for module in net.modules()]
    [True, True, False]
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class _Ear:
    """Counts the calls of one module and keeps what its taps ask for."""

    def __init__(self, taps: list[Tap], captured: dict[Tap, Tensor]) -> None:
        self.taps, self.captured, self.calls = taps, captured, 0

    def before(self, _module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._keep("input", (*arguments, *keywords.values()))

    def after(self, _module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        self._keep("output", output)
        self.calls += 1

    def _keep(self, side: str, value: Any) -> None:
        for tap in self.taps:
            if tap.side == side and tap.call in (-1, self.calls):
                tensor = first_tensor(value)
                if tensor is not None:
                    tensor = tensor if tap.part is None else tensor.chunk(tap.part[1], dim=-1)[tap.part[0]]
                    self.captured[tap] = tensor.clone() if tap.copied else tensor


def module_at(model: nn.Module, path: str) -> nn.Module:
    """The module with this dotted path.

    Raises:
        UserError: there is none; the message lists what exists nearby.
    """
    found = dict(model.named_modules(remove_duplicate=False)).get(path)
    if found is not None:
        return found
    raise UserError("the model has no such module", where=type(model).__name__, found=repr(path), expected=_nearby(model, path))


def first_tensor(value: Any) -> Tensor | None:
    """The tensor itself, ``logits`` of a model's output, or the first tensor of a tuple, list or mapping.

    >>> import torch
    >>> first_tensor((None, torch.ones(2)))
    tensor([1., 1.])
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        logits = value.get("logits")
        return logits if isinstance(logits, Tensor) else first_tensor(tuple(value.values()))
    if isinstance(value, tuple | list):
        return next((found for found in map(first_tensor, value) if found is not None), None)
    return None


def _nearby(model: nn.Module, path: str, limit: int = 40) -> str:
    """Paths that exist under the longest beginning of ``path`` that does."""
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    start = path
    while start and start not in names:
        start = start.rpartition(".")[0]
    near = [name for name in names if not start or name.startswith(start + ".")] or names
    depth = min(name.count(".") for name in near)
    direct = [name for name in near if name.count(".") == depth]
    shown = near if len(near) <= limit else direct
    more = f", … ({len(names)} in all)" if len(names) > len(shown[:limit]) else ""
    return "one of " + ", ".join(shown[:limit]) + more


def put_everywhere(model: Any, path: str, new: nn.Module) -> None:
    """Put ``new`` in every place where the module at ``path`` stands."""
    old = model.get_submodule(path)
    for place in [name for name, module in model.named_modules(remove_duplicate=False) if module is old]:
        _set(model, place, new)


def _set(model: Any, path: str, new: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)
