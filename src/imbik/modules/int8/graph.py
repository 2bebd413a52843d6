"""A module's graph with batch norms folded into the layers before them, and with rounded values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from imbik.models.hooks import put_everywhere
from imbik.modules.channels import operations
from imbik.modules.int8.layers import RoundedValue, RoundedWeight
from imbik.modules.places import inside

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Exact types: a subclass has a forward of its own."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_CLIPS = (nn.ReLU, nn.ReLU6)
_SAME_GRID = (nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, *_CLIPS)
"""Layers that give values on the grid of those that they read."""


def fold_norms(graph: fx.GraphModule) -> list[str]:
    """Fold every batch norm into the layer before it, where nothing else reads that layer; return the paths of those that are gone."""
    uses = Counter(str(node.target) for node in graph.graph.nodes if node.op == "call_module")
    folded = []
    for node in list(graph.graph.nodes):
        before = node.args[0] if node.args else None
        if _kind(graph, node) not in _NORMS or not isinstance(before, fx.Node) or _kind(graph, before) not in LAYERS:
            continue
        # a layer or norm that runs at several places is not the same everywhere
        if len(before.users) > 1 or uses[str(before.target)] > 1 or uses[str(node.target)] > 1:
            continue
        layer, norm = graph.get_submodule(str(before.target)), graph.get_submodule(str(node.target))
        if norm.running_mean is None:
            continue
        fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        put_everywhere(graph, str(before.target), fuse(layer, norm))
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
        folded.append(str(node.target))
    graph.recompile()
    return folded


def round_values(graph: fx.GraphModule, exclude: Sequence[str], bits: int, per_channel: bool) -> dict[str, str]:
    """Let layers read rounded values by rounded weights, and convolutions give rounded values: path -> what became of it.

    What a convolution gives is rounded behind its ReLU, so that one kernel does both. A tensor that several layers read is rounded once;
    what a residual sum reads beside them is the rounded one after convolutions, the float one after Linears.
    """
    layers = [node for node in graph.graph.nodes if _kind(graph, node) in LAYERS and not inside(str(node.target), exclude)]
    rounded: dict[fx.Node, fx.Node] = {}
    for node in layers:
        before = node.args[0]
        if not _on_grid(graph, before, rounded):
            # images: whatever reads them reads integers; vectors: residual sums and norms keep their digits
            images = _kind(graph, node) in _CONVOLUTIONS
            _insert(graph, before, rounded, [user for user in before.users if user in layers or (images and user.op != "output")])
        if _kind(graph, node) in _CONVOLUTIONS:
            _round_output(graph, node, rounded)
    done = {}
    for path in dict.fromkeys(str(node.target) for node in layers):
        put_everywhere(graph, path, RoundedWeight(graph.get_submodule(path), bits, per_channel, dynamic=False))
        done[path] = "int8 weights and values"
    graph.graph.lint()
    graph.recompile()
    return done


def _round_output(graph: fx.GraphModule, node: fx.Node, rounded: dict[fx.Node, fx.Node]) -> None:
    """Round what a convolution gives, behind its ReLU, where images read it; what turns it into tokens or vectors reads floats."""
    after = node
    (*others, user) = list(node.users) or [node]
    if not others and _clips(graph, user):
        after = user
    readers = [one for one in after.users if one.op != "output"]
    if any(not _moves(one) for one in readers) and not _on_grid(graph, after, rounded):
        _insert(graph, after, rounded, readers)


def _moves(node: fx.Node) -> bool:
    """Tell whether a node reshapes or turns one tensor."""
    return node.op in ("call_function", "call_method") and operations.kind_of(node) == "move" and len(node.all_input_nodes) == 1


def _kind(graph: fx.GraphModule, node: fx.Node) -> type | None:
    return type(graph.get_submodule(str(node.target))) if node.op == "call_module" else None


def _clips(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Tell whether a node is a ReLU, which a range from 0 does by itself."""
    name = getattr(node.target, "__name__", node.target)
    return _kind(graph, node) in _CLIPS or (node.op in ("call_function", "call_method") and name in ("relu", "relu_", "relu6"))


def _on_grid(graph: fx.GraphModule, node: Any, rounded: dict[fx.Node, fx.Node]) -> bool:
    """Tell whether a value lies on a grid already: rounded, or only moved or clipped since."""
    while isinstance(node, fx.Node):
        if node in rounded or node in rounded.values():
            return True
        same = _kind(graph, node) in _SAME_GRID or _clips(graph, node)
        if not same and not _moves(node):
            return False
        node = node.args[0]
    return False


def _insert(graph: fx.GraphModule, node: Any, rounded: dict[fx.Node, fx.Node], readers: Sequence[fx.Node]) -> None:
    """Round a value for some of its readers."""
    name = f"rounded_{len(rounded)}"
    graph.add_submodule(name, RoundedValue())
    with graph.graph.inserting_after(node):
        new = graph.graph.call_module(name, (node,))
    for reader in readers:
        reader.replace_input_with(node, new)
    rounded[node] = new
