"""Convolution kernels as products of smaller ones: functions on NumPy arrays.

A kernel is ``(O, I, h, w)``: outputs, inputs, height and width; ``(O, I, w)`` of one dimension.

* By channels (Zhang et al. 2016, arXiv 1505.06798): r filters of the kernel's own size, then 1 × 1
  from r to O. The matrix O × (I h w), factorized.
* By space (Jaderberg et al. 2014, arXiv 1405.3866): r filters h × 1, then 1 × w from r to O. The
  matrix (I h) × (O w), factorized.
* Tucker-2 (Kim et al. 2016, arXiv 1511.06530): 1 × 1 from I to r_I, a kernel h × w from r_I to r_O,
  1 × 1 from r_O to O. K ≈ G ×₁ A ×₂ B with A (O × r_O) and B (I × r_I).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def by_space(kernel: NDArray[np.floating]) -> Array:
    """Turn a kernel ``(O, I, h, w)`` into a matrix ``(I h, O w)``.

    Its factors are filters h × 1 and 1 × w.

    >>> by_space(np.zeros((5, 4, 3, 2))).shape
    (12, 10)
    """
    outputs, inputs, height, width = kernel.shape
    # (O, I, h, w) -> (I, h, O, w): what a column filter reads stands in the rows
    return np.asarray(kernel, np.float64).transpose(1, 2, 0, 3).reshape(inputs * height, outputs * width)


class Tucker:
    """Tucker-2 decomposition of a kernel ``(O, I, …)``, of any pair of ranks.

    The bases are the leading eigenvectors of K₍₁₎ K₍₁₎ᵀ and K₍₂₎ K₍₂₎ᵀ, K₍ₙ₎ the kernel unfolded
    along axis n (the higher-order singular value decomposition: De Lathauwer et al. 2000).

    Attributes:
        kernel: K in float64.
        outputs, inputs: both bases in full, ``(O, O)`` and ``(I, I)``, the leading column first.
    """

    def __init__(self, kernel: NDArray[np.floating]) -> None:
        self.kernel = np.asarray(kernel, np.float64)
        self.outputs = _basis(unfold(self.kernel, 0))
        self.inputs = _basis(unfold(self.kernel, 1))

    @property
    def losses(self) -> Array:
        """Share of ‖K‖² that is lost with r_O outputs and r_I inputs, at ``[r_O - 1, r_I - 1]``.

        Both bases are orthonormal, so that what is kept is the energy of the core's leading block.
        """
        # the core at full size: a rotation of K, so that its energy is that of K
        core = _core(self.kernel, self.outputs, self.inputs)
        energy = np.square(core).reshape(*core.shape[:2], -1).sum(axis=2)
        kept = energy.cumsum(axis=0).cumsum(axis=1)
        losses: Array = np.maximum(1.0 - kept / max(float(kept[-1, -1]), 1e-30), 0.0)
        return losses

    def factors(self, outputs: int, inputs: int, iterations: int = 3) -> tuple[Array, Array, Array]:
        """Return A ``(O, r_O)``, the core ``(r_O, r_I, …)`` and B ``(I, r_I)``.

        Better bases by turns: that of one axis for the other's held fixed (higher-order orthogonal
        iteration: De Lathauwer et al. 2000). The error never rises.

        Args:
            outputs, inputs: r_O and r_I.
            iterations: turns of both.
        """
        left, right = self.outputs[:, :outputs], self.inputs[:, :inputs]
        for _ in range(iterations):
            # the best A for this B, then the best B for that A
            left = _basis(unfold(_times(self.kernel, right, 1), 0))[:, :outputs]
            right = _basis(unfold(_times(self.kernel, left, 0), 1))[:, :inputs]
        return left, _core(self.kernel, left, right), right


def unfold(kernel: Array, axis: int) -> Array:
    """Return the kernel as a matrix whose rows are the slices along ``axis``."""
    rows: Array = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)
    return rows


def _basis(matrix: Array) -> Array:
    """Return the eigenvectors of M Mᵀ as columns, the leading one first."""
    # eigh gives rising values: the leading vector is the last
    vectors: Array = np.linalg.eigh(matrix @ matrix.T)[1]
    return vectors[:, ::-1]


def _times(kernel: Array, basis: Array, axis: int) -> Array:
    """Project the kernel on a basis along an axis."""
    # (…, n, …) · (n, r) -> (…, …, r), and r back to where n stood
    product: Array = np.tensordot(kernel, basis, axes=(axis, 0))
    return np.moveaxis(product, -1, axis)


def _core(kernel: Array, outputs: Array, inputs: Array) -> Array:
    return _times(_times(kernel, outputs, 0), inputs, 1)
