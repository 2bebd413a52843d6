"""Forward hooks by module path: read what modules take and give during a forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from imbik.errors import UserError


@dataclass(frozen=True)
class Tap:
    """Place in a network where a tensor is read.

    Attributes:
        path: the module's dotted path, as ``named_modules`` gives it; ``""`` is the network itself.
        call: which call of the module within one forward pass (a shared layer runs several times);
            -1 is the last.
        side: what the module gives, or what it takes.
        part: ``(i, n)``: the i-th of n equal pieces of the last dimension (a fused query-key-value
            matrix); None: all of it.
        copied: keep a copy, so that what works in place behind the module (``ReLU(inplace=True)``,
            ``out += x``) does not change it.
    """

    path: str
    call: int = -1
    side: Literal["input", "output"] = "output"
    part: tuple[int, int] | None = None
    copied: bool = False


@contextmanager
def capture(model: nn.Module, taps: Iterable[Tap]) -> Iterator[dict[Tap, Tensor]]:
    """Context manager: fill a dictionary with what one forward pass shows at ``taps``.

    Gradients flow through what is captured.

    A second pass overwrites the first. The hooks are gone on leaving, so the model is never
    changed.

    Raises:
        UserError: a path that the model does not have.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with capture(net, [Tap("0")]) as seen:
    ...     _ = net(torch.zeros(1, 2))
    >>> seen[Tap("0")].shape
    torch.Size([1, 3])
    """
    by_path: dict[str, list[Tap]] = {}
    for tap in taps:
        by_path.setdefault(tap.path, []).append(tap)
    captured: dict[Tap, Tensor] = {}
    recorders = {path: _Recorder(here, captured) for path, here in by_path.items()}
    with ExitStack() as stack:
        for path, recorder in recorders.items():
            module = module_at(model, path)
            stack.callback(module.register_forward_pre_hook(recorder.before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(recorder.after).remove)

        def restart(_module: nn.Module, _arguments: tuple[Any, ...]) -> None:
            for recorder in recorders.values():
                recorder.calls = 0

        # First of all hooks: the network itself may have a tap, and its count must be 0 by then.
        stack.callback(model.register_forward_pre_hook(restart, prepend=True).remove)
        yield captured


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Context manager: put ``model`` into evaluation mode.

    On leaving, after an error too, each of its modules is in the mode that it was in.

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
        # Set module by module: model.train() would also wake a dropout that had been put to sleep.
        for module, training in modes:
            module.training = training


class _Recorder:
    """Recorder of one module: it counts the calls and keeps what the taps ask for."""

    def __init__(self, taps: list[Tap], captured: dict[Tap, Tensor]) -> None:
        self.taps = taps
        self.captured = captured
        self.calls = 0

    def before(self, _module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._keep("input", (*arguments, *keywords.values()))

    def after(self, _module: nn.Module, _arguments: tuple[Any, ...], output: object) -> None:
        self._keep("output", output)
        self.calls += 1

    def _keep(self, side: str, value: object) -> None:
        for tap in self.taps:
            if tap.side == side and tap.call in (-1, self.calls):
                tensor = first_tensor(value)
                if tensor is not None:
                    tensor = tensor if tap.part is None else tensor.chunk(tap.part[1], dim=-1)[tap.part[0]]
                    self.captured[tap] = tensor.clone() if tap.copied else tensor


def module_at(model: nn.Module, path: str) -> nn.Module:
    """Return the module with this dotted path.

    Raises:
        UserError: there is none; the message lists what exists nearby.
    """
    module = dict(model.named_modules(remove_duplicate=False)).get(path)
    if module is not None:
        return module
    raise UserError("the model has no such module", where=type(model).__name__, found=repr(path), expected=_nearby(model, path))


def first_tensor(value: object) -> Tensor | None:
    """Return the tensor in a module's input or output, None where there is none.

    That is the tensor itself, ``logits`` of a model's output, or the first tensor of a tuple, list
    or mapping.

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
        return next((tensor for tensor in map(first_tensor, value) if tensor is not None), None)
    return None


def _nearby(model: nn.Module, path: str, limit: int = 40) -> str:
    """List the paths that exist under the longest part of ``path`` that does, for a message."""
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


def put_everywhere(model: nn.Module, path: str, new: nn.Module) -> None:
    """Put ``new`` in every place where the module at ``path`` stands."""
    old = model.get_submodule(path)
    # Found by identity, all names kept: a layer that is shared stands in the model under several names.
    for place in [name for name, module in model.named_modules(remove_duplicate=False) if module is old]:
        _set(model, place, new)


def _set(model: nn.Module, path: str, new: nn.Module) -> None:
    """Put ``new`` at ``path``, there alone."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)
