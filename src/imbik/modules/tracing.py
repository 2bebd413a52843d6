"""The graph of a module's forward pass (torch.fx), or the path of what cannot be traced."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import fx, nn

from imbik.errors import UserError, first_line
from imbik.models.hooks import module_at
from imbik.models.layers.clustered import Clustered
from imbik.modules.arguments import arguments_of


class _Tracer(fx.Tracer):
    """A tracer that knows where it is.

    Attributes:
        failed: path of the innermost module whose forward pass could not be traced.
    """

    def __init__(self, opaque: Sequence[str]) -> None:
        super().__init__()
        self.opaque = frozenset(opaque)
        self.failed = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a module is taken as one operation."""
        own = module_qualified_name in self.opaque or isinstance(m, Clustered)
        return own or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Trace one call of a module."""
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed = self.failed or self.path_of_module(m)
            raise


def traced(model: nn.Module, example: object, opaque: Sequence[str] = ()) -> fx.GraphModule:
    """Return the module as a graph; its layers are those of ``model`` and not copies.

    Args:
        model: any module.
        example: what it is called with: an argument that is not in it keeps its default.
        opaque: paths of modules that are taken as one operation.

    Raises:
        UserError: it cannot be traced: the message names the module inside of it.
    """
    for path in opaque:
        module_at(model, path)
    tracer = _Tracer(opaque)
    given = arguments_of(model, example).names
    # an argument that the caller leaves out is a constant of the graph
    parameters = inspect.signature(model.forward).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    fixed = {one.name: one.default for one in parameters if one.kind in plain and one.name not in given}
    try:
        graph = tracer.trace(model, concrete_args=fixed or None)
    except Exception as error:
        raise UserError(
            "the module cannot be traced",
            where=tracer.failed or type(model).__name__,
            found=first_line(error),
            expected="a forward pass that does not branch on the values of its tensors",
            fix="name this module in opaque, so that it is left as it is" if tracer.failed else "take only steps that need no graph",
        ) from error
    module = fx.GraphModule(tracer.root, graph)
    _drop_fixed(module.graph, fixed)
    module.recompile()
    return module


def _drop_fixed(graph: fx.Graph, fixed: Mapping[str, object]) -> None:
    """Take the arguments that keep their defaults out of a graph, and the checks that they do."""
    # last ones first: a node goes when nothing reads it
    for node in reversed(list(graph.nodes)):
        if getattr(node.target, "__name__", "") in ("_assert", "_assert_is_none"):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        if node.op == "placeholder" and not node.users and any(str(node.target).startswith(name) for name in fixed):
            graph.erase_node(node)
