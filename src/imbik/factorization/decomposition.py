"""A matrix as the product of two smaller ones: functions on NumPy arrays.

W (m × n) ≈ U V with U (m × r), V (r × n). r (m + n) numbers take the place of m · n, so that a rank
at or above m n / (m + n) saves nothing: :func:`largest_rank`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RIDGE = 1e-6
"""Added to second moments, as a share of their mean, so that a direction that no text used can be divided by."""


@dataclass(frozen=True)
class Decomposition:
    """Singular value decomposition W R = P diag(s) Q: the best factors of every rank.

    The best factors of rank r in the weighted norm ‖(W - U V) R‖_F are U V = P_r diag(s_r) Q_r R⁻¹
    (Eckart and Young 1936, applied to W R): what they lose is the sum of the other squared singular
    values.

    Attributes:
        values: s, ``(k,)``, falling.
        left: P diag(s)^½, ``(m, k)``, float32, as a model's weights are.
        right: diag(s)^½ Q R⁻¹, ``(k, n)``, float32. The root on either side, so that neither factor
            is much larger.
    """

    values: Array
    left: NDArray[np.float32]
    right: NDArray[np.float32]

    def factors(self, rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return U ``(m, rank)`` and V ``(rank, n)``."""
        return self.left[:, :rank], self.right[:rank]


def decompose(matrix: NDArray[np.floating], weights: NDArray[np.floating] | None = None) -> Decomposition:
    """Compute the (weighted) singular value decomposition of W ``(m, n)``.

    It is computed from the eigenvectors of the smaller of W Wᵀ and Wᵀ W in float64: ten times as
    fast as the full decomposition of a 1536 × 384 matrix. W is projected on them, W ≈ P_r P_rᵀ W,
    which is exact at full rank however small the last values are.

    Args:
        matrix: W, as y = W x.
        weights: None: plain SVD, ‖W - U V‖_F. ``(n,)``: one weight d_j per input, R = diag(d)^½.
            ``(n, n)``: the inputs' second moments C = E[x xᵀ] = R Rᵀ (Cholesky), so that ‖(W - U V)
            R‖² = E‖W x - U V x‖², the error of the layer's output.

    Raises:
        ValueError: weights of another shape, or negative ones.

    >>> up, down = decompose(np.array([[3.0, 0.0], [0.0, 1.0]])).factors(1)
    >>> np.round(np.abs(up @ down), 6).tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    """
    plain = np.asarray(matrix, dtype=np.float64)
    root, inverse = _roots(weights, plain.shape[1])
    whole = _times(plain, root)
    tall = whole.shape[0] > whole.shape[1]
    # eigh gives rising values; a singular value is the root of an eigenvalue of W Wᵀ or Wᵀ W.
    energy, vectors = np.linalg.eigh(whole.T @ whole if tall else whole @ whole.T)
    values, vectors = np.sqrt(np.maximum(energy[::-1], 0.0)), vectors[:, ::-1]
    # Values below a billionth of the first are noise of float64: without a floor they would be
    # divided by.
    scale = np.sqrt(np.maximum(values, max(float(values[0]), 1e-30) * 1e-9))
    if tall:  # W ≈ (W Q_rᵀ) Q_r
        left, right = whole @ vectors / scale, _times((vectors * scale).T, inverse)
    else:  # W ≈ P_r (P_rᵀ W)
        left, right = vectors * scale, _times((vectors / scale).T @ whole, inverse)
    return Decomposition(values, left.astype(np.float32), right.astype(np.float32))


def _roots(weights: NDArray[np.floating] | None, size: int) -> tuple[Array | None, Array | None]:
    """Return R and R⁻¹; diagonals for a vector of weights, None for none."""
    if weights is None:
        return None, None
    given = np.asarray(weights, dtype=np.float64)
    if given.shape not in ((size,), (size, size)):
        raise ValueError(f"weights of shape {given.shape} for a matrix of {size} columns")
    diagonal = given if given.ndim == 1 else given.diagonal()
    if (diagonal < 0).any():
        raise ValueError("negative weights")
    ridge = RIDGE * max(float(diagonal.mean()), 1e-30)
    if given.ndim == 1:
        root = np.sqrt(given + ridge)
        return root, 1.0 / root
    # C = R Rᵀ makes E‖A x‖² = tr(A C Aᵀ) = ‖A R‖²; the ridge keeps C positive definite.
    lower = np.linalg.cholesky(given + ridge * np.eye(size)).astype(np.float64, copy=False)
    return lower, np.linalg.inv(lower).astype(np.float64, copy=False)


def _times(matrix: Array, root: Array | None) -> Array:
    """Multiply by a root: a matrix, the diagonal of one, or none."""
    if root is None:
        return matrix
    return matrix * root if root.ndim == 1 else matrix @ root


def tail(values: Array) -> Array:
    """Return the share of Σ s² that is lost when only the first singular values are kept.

    Of the values ``(k,)``, falling; returns ``(k,)``: with the first kept, the first two, …

    >>> tail(np.array([2.0, 1.0, 1.0, 0.0])).round(3).tolist()
    [0.333, 0.167, 0.0, 0.0]
    """
    energy = np.square(values)
    return np.maximum(1.0 - np.cumsum(energy) / max(float(energy.sum()), 1e-30), 0.0)


def largest_rank(rows: int, columns: int, pairs: int = 1) -> int:
    """Return the largest rank that makes a ``rows`` × ``columns`` matrix smaller.

    That is below m n / (m + n), divided by the number of factor pairs.

    >>> largest_rank(384, 384), largest_rank(1536, 384), largest_rank(384, 384, pairs=2), largest_rank(1, 9)
    (191, 307, 95, 0)
    """
    # -1: at m n / (m + n) itself both forms cost the same, and nothing is saved.
    return (rows * columns - 1) // (pairs * (rows + columns))


def split_nmf(matrix: NDArray[np.floating], rank: int, iterations: int = 50) -> tuple[Array, Array]:
    """Factorize W = W⁺ - W⁻, both parts non-negative, each by :func:`nmf` with ``rank``.

    Returns U ``(m, 2 rank)`` and V ``(2 rank, n)``.

    A weight matrix has no non-negative factors of its own. Two pairs cost twice as much as one: the
    break-even rank is halved. The minus sign goes into U, so that W ≈ U V.
    """
    wide = np.asarray(matrix, dtype=np.float64)
    up_plus, down_plus = nmf(np.maximum(wide, 0.0), rank, iterations)
    up_minus, down_minus = nmf(np.maximum(-wide, 0.0), rank, iterations)
    return np.hstack([up_plus, -up_minus]), np.vstack([down_plus, down_minus])


def nmf(matrix: NDArray[np.floating], rank: int, iterations: int = 50) -> tuple[Array, Array]:
    """Find non-negative A ``(m, rank)`` and B ``(rank, n)`` that minimize ‖X - A B‖_F.

    X ``(m, n)`` is non-negative.

    Hierarchical alternating least squares (Cichocki and Phan 2009): one column of A, or row of B,
    after the other takes its best value with all others held. Started from the SVD's non-negative
    halves (NNDSVD, Boutsidis and Gallopoulos 2008) with zeros filled by the mean, so that the same
    matrix gives the same factors. scikit-learn's coordinate descent reaches the same error in four
    times the time (1536 × 384, rank 76: 10.9 s against 2.4 s to a relative error of 0.400).
    """
    data = np.ascontiguousarray(matrix, dtype=np.float32)
    turned = np.ascontiguousarray(data.T)
    first, second = _nndsvda(data.astype(np.float64), rank)
    # A is held as Aᵀ (rank, m): a sweep walks over rows, which lie side by side in memory in both.
    left, right = np.ascontiguousarray(first.T, dtype=np.float32), second.astype(np.float32)
    for _ in range(iterations):
        # Best A for this B needs X Bᵀ and B Bᵀ alone; the same for B with Aᵀ X and Aᵀ A.
        _sweep(left, right @ turned, right @ right.T)
        _sweep(right, left @ data, left @ left.T)
    return left.T.astype(np.float64), right.astype(np.float64)


def _sweep(factor: NDArray[np.float32], target: NDArray[np.float32], gram: NDArray[np.float32]) -> None:
    """Give each row of ``factor`` (r, m) in turn its best value, kept non-negative, in place."""
    for k in range(len(factor)):
        # A factor that vanished has no best value; it stays as it is.
        if gram[k, k] > 1e-12:
            np.maximum(factor[k] + (target[k] - gram[k] @ factor) / gram[k, k], 0.0, out=factor[k])


def _nndsvda(data: Array, rank: int) -> tuple[Array, Array]:
    """Return the start of :func:`nmf`: non-negative halves of the SVD, zeros filled."""
    svd = decompose(data)
    first = np.zeros((data.shape[0], rank))
    second = np.zeros((rank, data.shape[1]))
    for k in range(min(rank, len(svd.values))):
        # A singular vector pair (u, v) and (-u, -v) are the same product: the half with more energy
        # is kept.
        halves = [(np.maximum(sign * svd.left[:, k], 0.0), np.maximum(sign * svd.right[k], 0.0)) for sign in (1.0, -1.0)]
        first[:, k], second[k] = max(halves, key=lambda half: float(np.linalg.norm(half[0]) * np.linalg.norm(half[1])))
    mean = float(data.mean())
    # Multiplied zeros stay zeros in some updates, so that no start has any (the "a" of NNDSVDa).
    first[first == 0], second[second == 0] = mean, mean
    return first, second
