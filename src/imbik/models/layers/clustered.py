"""Layers whose weights are indices into a short codebook of values that they share."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from imbik.models.hooks import put_everywhere
from imbik.models.layers.packing import bits_for, pack, unpack
from imbik.models.layers.registry import layer

_Model = TypeVar("_Model", bound=nn.Module)


def expanded(model: _Model) -> _Model:
    """Return a model with plain layers in the place of clustered ones.

    For engines that know no codebook; the model itself if it has no such layer.
    """
    if not any(isinstance(module, Clustered) for module in model.modules()):
        return model
    # A copy: the model that trains keeps its codebooks.
    plain = copy.deepcopy(model)
    # A list first: the loop changes the modules that named_modules walks over.
    for name, module in [(n, m) for n, m in plain.named_modules() if isinstance(m, Clustered)]:
        put_everywhere(plain, name, module.expanded())
    plain.train(model.training)
    return plain


class Lookup(torch.autograd.Function):  # type: ignore[misc]
    """Lookup ``codebook[indices]`` that trains.

    The gradient of an entry is the sum of its members' gradients (Han, Mao, Dally 2016, section
    3.3).
    """

    @staticmethod
    def forward(ctx: FunctionCtx, codebook: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.count = len(codebook)
        return codebook[indices.long()]

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        # Summed in float64: one entry may have hundreds of thousands of members.
        total = torch.bincount(indices.reshape(-1), weights=grads[0].reshape(-1).double(), minlength=ctx.count)
        return total.to(grads[0].dtype), None


class Clustered(nn.Module):
    """Matrix ``(rows, columns)`` of ``values`` shared values.

    A codebook that trains, and packed indices that do not.
    """

    packed: Tensor

    def __init__(self, rows: int, columns: int, values: int) -> None:
        super().__init__()
        self.shape = (rows, columns)
        self.values = values
        self.bits = bits_for(values)
        self.codebook = nn.Parameter(torch.zeros(values))
        # ⌈rows · columns · bits / 8⌉ bytes.
        self.register_buffer("packed", torch.zeros(-(-rows * columns * self.bits // 8), dtype=torch.uint8))
        self._indices: Tensor | None = None
        # Whoever loads a state_dict changes the packed indices behind the unpacked ones.
        self.register_load_state_dict_post_hook(lambda module, _: module.after_load())

    def after_load(self) -> None:
        """Forget what was unpacked: the packed indices have changed."""
        self._indices = None

    def expanded(self) -> nn.Module:
        """Return the same layer as a plain one."""
        raise NotImplementedError(type(self).__name__)

    @property
    def tied_weights(self) -> int:
        """Number of weights beyond the entries of the codebook."""
        return self.shape[0] * self.shape[1] - self.values

    @property
    def indices(self) -> Tensor:
        """Indices into the codebook, ``(rows, columns)`` uint8, unpacked once."""
        if self._indices is None or self._indices.device != self.packed.device:
            unpacked = unpack(self.packed.cpu().numpy(), self.bits, self.shape)
            # They outlive the forward pass that asks first, which may be one without gradients.
            with torch.inference_mode(False):
                self._indices = torch.from_numpy(np.ascontiguousarray(unpacked)).to(self.packed.device)
        return self._indices

    @property
    def weight(self) -> Tensor:
        """Matrix in full, ``(rows, columns)`` float32, looked up at every call."""
        weight: Tensor = Lookup.apply(self.codebook, self.indices)
        return weight

    @torch.no_grad()
    def set(self, codebook: NDArray[np.float32], indices: NDArray[np.uint8]) -> None:
        """Fill from what :func:`imbik.sharing.kmeans.nearest_values` returned."""
        self.codebook.copy_(torch.from_numpy(codebook))
        self.packed.copy_(torch.from_numpy(pack(indices, self.bits)))
        self.after_load()


@layer("clustered_linear")
class ClusteredLinear(Clustered):
    """Linear layer y = W x + b where W has ``values`` different entries."""

    def __init__(self, in_features: int, out_features: int, values: int, bias: bool = True) -> None:
        super().__init__(out_features, in_features, values)
        self.in_features, self.out_features = in_features, out_features
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    @classmethod
    def of(cls, linear: nn.Linear, codebook: NDArray[np.float32], indices: NDArray[np.uint8]) -> ClusteredLinear:
        """Make the layer of a Linear, a codebook ``(values,)`` and indices ``(out, in)``.

        The bias is the Linear's.
        """
        new = cls(linear.in_features, linear.out_features, len(codebook), linear.bias is not None)
        new.set(codebook, indices)
        if new.bias is not None:
            new.bias.data.copy_(linear.bias.data)
        return new

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, see :class:`imbik.models.layers.registry.Layer`."""
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "values": self.values,
            "bias": self.bias is not None,
        }

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def expanded(self) -> nn.Linear:
        """Return the same layer as a plain Linear."""
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
        plain.weight.data.copy_(self.weight.detach())
        if self.bias is not None:
            plain.bias.data.copy_(self.bias.detach())
        return plain


@layer("clustered_embedding")
class ClusteredEmbedding(Clustered):
    """Embedding table of ``values`` different entries.

    Only the rows that a text needs are looked up in the codebook.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, values: int, padding_idx: int | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim, values)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx

    @classmethod
    def of(cls, table: nn.Embedding, codebook: NDArray[np.float32], indices: NDArray[np.uint8]) -> ClusteredEmbedding:
        """Make the table of an Embedding, codebook ``(values,)`` and indices ``(rows, columns)``."""
        new = cls(table.num_embeddings, table.embedding_dim, len(codebook), table.padding_idx)
        new.set(codebook, indices)
        return new

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, see :class:`imbik.models.layers.registry.Layer`."""
        return {
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "values": self.values,
            "padding_idx": self.padding_idx,
        }

    def forward(self, ids: Tensor) -> Tensor:
        # ids (B, T) -> indices (B, T, H) -> values (B, T, H)
        rows: Tensor = Lookup.apply(self.codebook, self.indices[ids])
        return rows

    def keep_rows(self, rows: Tensor, padding_idx: int | None) -> ClusteredEmbedding:
        """Return a table of some of the rows, in the given order."""
        new = ClusteredEmbedding(len(rows), self.embedding_dim, self.values, padding_idx)
        new.set(self.codebook.detach().cpu().numpy(), self.indices[rows].cpu().numpy())
        return new

    def expanded(self) -> nn.Embedding:
        """Return the same table as a plain Embedding."""
        plain = nn.Embedding(self.num_embeddings, self.embedding_dim, padding_idx=self.padding_idx)
        plain.weight.data.copy_(self.weight.detach())
        return plain
