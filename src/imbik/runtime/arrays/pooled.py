"""Bags of word pieces, gated convolutions and LSTMs, computed by NumPy from tables that are prepared once."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imbik.runtime.arrays.model import ArrayModel, Floats, Ids, register_arrays, summed

_STEEPEST = 15.0
_SHORTEST = np.float32(1e-6)
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_FAR = np.float32(1e4)
_LEAST = np.float32(1e-30)
_POINT = 1e-12
"""The least length that a vector is divided by, as PyTorch has it."""


class Head(NamedTuple):
    """relu(z / rms(z) U + c) W + b: U times the root of its rows ``(K, M)``, c ``(M,)``, W ``(M, L)``, b ``(L,)``, W turned round.

    With ``unit`` the numbers of a text are a vector of length 1, as sentence encoders give it.
    """

    inner: Floats
    inner_bias: Floats
    weight: Floats
    bias: Floats
    columns: Floats
    unit: bool = False

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Head:
        """Make the head from the arrays of a file."""
        inner = arrays["inner"]
        # z / rms(z) = sqrt(K) z / |z|: the root stands in the matrix
        scaled = np.ascontiguousarray(inner.T * np.float32(inner.shape[1] ** 0.5))
        weight = np.ascontiguousarray(arrays["weight"])
        return cls(scaled, arrays["inner_bias"], np.ascontiguousarray(weight.T), arrays["bias"], weight, "unit" in arrays)

    def row(self, pooled: Floats) -> Floats:
        """Return ``(L,)`` of the pooled numbers ``(K,)`` of one text: the same in vectors, in half the time."""
        units = pooled.dot(self.inner)
        units *= 1 / max(math.sqrt(pooled.dot(pooled)), 1e-6)
        units += self.inner_bias
        np.maximum(units, _ZERO, out=units)
        logits: Floats = self.columns.dot(units)
        logits += self.bias
        # here and not in the task, so that every engine gives finished vectors
        if self.unit:
            logits *= 1 / max(math.sqrt(logits.dot(logits)), _POINT)
        return logits

    def logits(self, pooled: Floats) -> Floats:
        """Return ``(B, L)`` of pooled numbers ``(B, K)``."""
        # not einsum, whose parsing takes longer than the sum of one text
        size = np.sqrt(np.add.reduce(pooled * pooled, axis=1))
        units = (pooled @ self.inner) / np.maximum(size, _SHORTEST)[:, None]
        units += self.inner_bias
        np.maximum(units, _ZERO, out=units)
        logits = np.asarray(units @ self.weight + self.bias)
        if self.unit:
            logits /= np.maximum(np.sqrt(np.add.reduce(logits * logits, axis=1)), np.float32(_POINT))[:, None]
        return logits


@register_arrays("bag")
class Bag(ArrayModel):
    """Logits of weighted means of piece vectors.

    exp(score) and exp(score) · vector of a piece depend on nothing else, so both stand in one table ``(V, d + H)``: a text is the
    sum of its pieces' rows, whose first d numbers are divided by the last H, and one product with the head.

    Args:
        vectors: ``(V, d)``.
        scores: ``(V, H)``.
        head: what turns pooled numbers into logits.
        padding: the id that counts for nothing.
        keys: ``(V,)``, hashes of the pieces where two neighbors have a row as well; those rows, B of them, stand behind the pieces'.
    """

    def __init__(self, vectors: Floats, scores: Floats, head: Head, padding: int, keys: NDArray[np.int32] | None = None) -> None:
        self.width, self.heads = vectors.shape[1], scores.shape[1]
        self.padding, self.keys = padding, None if keys is None else keys.astype(np.int64)
        weights = np.exp(scores.clip(-_STEEPEST, _STEEPEST))
        by_head = vectors.reshape(len(vectors), self.heads, -1) * weights[:, :, None]
        self.table = np.concatenate([by_head.reshape(vectors.shape), weights], axis=1).astype(np.float32)
        # padding adds no vector, so no mask is needed, and a weight that vanishes beside the least of any piece, e^-15: so the means of a
        # text of padding alone are zeros, and nobody has to ask whether there is a weight to divide by
        self.table[padding, : self.width], self.table[padding, self.width :] = 0.0, _LEAST
        self.head = head

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Bag:
        """Make the bag from the arrays of a file."""
        return cls(arrays["vectors"], arrays["scores"], Head.of(arrays), int(arrays["padding"]), arrays.get("keys"))

    @property
    def rows(self) -> int:
        """Rows of the table that stand for pieces."""
        return len(self.table if self.keys is None else self.keys)

    def with_pairs(self, ids: Ids) -> Ids:
        """Return ids ``(…, T)`` and behind them the rows of each two neighbors, ``(…, 2 T - 1)``: (3 k_i + k_j) mod B."""
        assert self.keys is not None
        keys = self.keys.take(ids)
        pairs = (3 * keys[..., :-1] + keys[..., 1:]) % (len(self.table) - len(self.keys)) + len(self.keys)
        padded = ids == self.padding
        pairs[padded[..., :-1] | padded[..., 1:]] = self.padding
        return np.concatenate([ids, pairs], axis=-1)

    def logits(self, ids: Ids) -> Floats:
        """Return ``(B, L)`` of token ids ``(B, T)``."""
        if self.keys is not None:
            ids = self.with_pairs(ids)
        sums: Floats = self.table.take(ids, axis=0).sum(axis=1)  # (B, d + H)
        means = sums[:, : self.width].reshape(len(ids), self.heads, -1) / sums[:, self.width :, None]
        return self.head.logits(means.reshape(len(ids), -1))

    def one(self, ids: list[int]) -> Floats:
        """Return ``(L,)`` of the ids of one text."""
        sums = summed(self.table, ids if self.keys is None else self.with_pairs(np.array(ids, np.int64)))  # (d + H,)
        means = sums[: self.width].reshape(self.heads, -1)
        means /= sums[self.width :, None]
        return self.head.row(means.reshape(-1))


Layer: TypeAlias = Callable[[Floats, Floats | None], Floats]
"""Features ``(B, T, f)`` of ``(B, T, d)`` that is zero at padding; where there is any, with a mask ``(B, T, 1)`` that is too."""


class Ordered(ArrayModel):
    """Logits of layers that read the piece vectors in their order, pooled.

    Args:
        vectors: ``(V, d)``.
        scores: ``(V, H)``.
        layers: the first one first.
        score: of the features, ``(f, H)`` and ``(H,)``.
        head: what turns pooled numbers into logits.
        padding: the id that counts for nothing.
    """

    def __init__(
        self,
        vectors: Floats,
        scores: Floats,
        layers: Sequence[Layer],
        score: tuple[Floats, Floats],
        head: Head,
        padding: int,
    ) -> None:
        self.width, self.heads, self.padding = vectors.shape[1], scores.shape[1], padding
        self.table = np.concatenate([vectors, scores + score[1]], axis=1).astype(np.float32)
        self.table[padding, : self.width] = 0.0
        self.layers, self.score = tuple(layers), np.ascontiguousarray(score[0])
        self.head = head

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make the model from the arrays of a file."""
        layers = [cls.layer(arrays, number) for number in range(int(arrays["layers"]))]
        score = (arrays["score"].T, arrays["score_bias"])
        return cls(arrays["vectors"], arrays["scores"], layers, score, Head.of(arrays), int(arrays["padding"]))

    @classmethod
    @abstractmethod
    def layer(cls, arrays: Mapping[str, NDArray[Any]], number: int) -> Layer:
        """Make one layer from the arrays of a file."""

    @property
    def rows(self) -> int:
        """Rows of the table: one for each piece."""
        return len(self.table)

    def logits(self, ids: Ids) -> Floats:
        """Return ``(B, L)`` of token ids ``(B, T)``."""
        rows = self.table.take(ids, axis=0)  # (B, T, d + H)
        vectors, scores = rows[..., : self.width], rows[..., self.width :]
        keep = None if (ids != self.padding).all() else (ids != self.padding)[..., None].astype(np.float32)
        features = vectors
        for number, layer in enumerate(self.layers):
            found = layer(features, keep)
            features = found + features if number else found
        weights = np.exp((scores + features @ self.score).clip(-_STEEPEST, _STEEPEST))
        if keep is not None:
            weights *= keep
        largest = (features if keep is None else features + (keep - _ONE) * _FAR).max(axis=1)
        pooled = [attend(vectors, weights), attend(features, weights), largest]
        return self.head.logits(np.concatenate(pooled, axis=1))


@register_arrays("conv")
class Conv(Ordered):
    """Logits of gated convolutions over piece vectors, pooled."""

    @classmethod
    def layer(cls, arrays: Mapping[str, NDArray[Any]], number: int) -> Layer:
        """Make one convolution: taps ``(k, d)`` and half of the product behind them, ``(d, 2 f)`` and ``(2 f,)``; or no taps and
        ``(k d, 2 f)``.
        """
        # σ(g) = (1 + tanh(g / 2)) / 2: both halves are taken here, so that a text costs no division and nothing can overflow
        weight, bias = np.ascontiguousarray(arrays[f"mix.{number}"].T * _HALF), arrays[f"mix_bias.{number}"] * _HALF
        return partial(gated, taps=arrays.get(f"taps.{number}"), weight=weight, bias=bias)


@register_arrays("lstm")
class Lstm(Ordered):
    """Logits of LSTMs from both ends over piece vectors, pooled."""

    @classmethod
    def layer(cls, arrays: Mapping[str, NDArray[Any]], number: int) -> Layer:
        """Make one LSTM: ``(d + 1, 8 u)`` of what it reads and ``(2, u, 4 u)`` of what it remembers; gates i, f, g, o of both ends."""
        read, remember = arrays[f"read.{number}"], arrays[f"remember.{number}"]
        # σ(x) = (1 + tanh(x / 2)) / 2: one tanh computes all four gates
        halves = np.repeat(np.array([0.5, 0.5, 1.0, 0.5] * 2, np.float32), remember.shape[1])[:, None]
        states = (remember * halves).reshape(2, -1, remember.shape[1]).transpose(0, 2, 1)
        return partial(both_ways, read=np.ascontiguousarray((read * halves).T), remember=np.ascontiguousarray(states))


def gated(x: Floats, keep: Floats | None, *, taps: Floats | None, weight: Floats, bias: Floats) -> Floats:
    """Compute a ⊙ σ(g), [a, g] = u W + b, of ``(B, T, d)``: ``(B, T, f)``; u by :func:`weighed` or, without taps, :func:`side_by_side`."""
    near = side_by_side(x, len(weight) // x.shape[2]) if taps is None else weighed(x, taps)
    both = near @ weight
    both += bias
    half = both.shape[-1] // 2
    gate: Floats = np.tanh(both[..., half:])
    gate += _ONE
    gate *= both[..., :half]
    if keep is not None:
        gate *= keep
    return gate


def weighed(x: Floats, taps: Floats) -> Floats:
    """Return Σ_j w_j ⊙ x_(t+j) of ``(B, T, d)``."""
    side, length = len(taps) // 2, x.shape[1]
    mixed = x * taps[side]
    for place, tap in enumerate(taps):
        shift = place - side
        if 0 < shift < length:
            mixed[:, :-shift] += x[:, shift:] * tap
        elif -length < shift < 0:
            mixed[:, -shift:] += x[:, :shift] * tap
    return np.asarray(mixed)


def side_by_side(x: Floats, kernel: int) -> Floats:
    """Return the k neighbors x_(t+j) of ``(B, T, d)`` one behind the other, zeros beyond the ends: ``(B, T, k d)``.

    >>> side_by_side(np.array([[[1.0], [2.0]]]), 3)
    array([[[0., 1., 2.],
            [1., 2., 0.]]])
    """
    batch, length, width = x.shape
    padded = np.zeros((batch, length + kernel - 1, width), x.dtype)
    padded[:, kernel // 2 : kernel // 2 + length] = x
    # k rows that follow one another are one row of k d numbers, which begins d numbers behind the one before
    rows = np.lib.stride_tricks.as_strided(padded, (batch, length, kernel * width), padded.strides, writeable=False)
    return np.ascontiguousarray(rows)  # a copy: products of rows that overlap are not left to the BLAS


def both_ways(x: Floats, keep: Floats | None, *, read: Floats, remember: Floats) -> Floats:
    """Compute the states of an LSTM from both ends of ``(B, T, d)``, ``(B, T, 2 u)``: both directions take their steps at once."""
    (batch, length, _), units = x.shape, remember.shape[1]
    bias = read[-1] if keep is None else keep * read[-1]
    gates = (x @ read[:-1] + bias).reshape(batch, length, 2, -1)
    # the second direction takes its steps from the last piece on
    steps = np.stack([gates[:, :, 0], gates[:, ::-1, 1]], axis=0).transpose(2, 0, 1, 3)  # (T, 2, B, 4 u)
    states = np.empty((length, 2, batch, units), np.float32)
    cell = np.zeros((2, batch, units), np.float32)
    for number, step in enumerate(steps):
        found = np.tanh(step + states[number - 1] @ remember if number else step)
        # of i, f and o; what it makes of the cell's own gate is not read
        opened = (found + _ONE) * _HALF
        cell = opened[..., units : 2 * units] * cell + opened[..., :units] * found[..., 2 * units : 3 * units]
        np.multiply(opened[..., 3 * units :], np.tanh(cell), out=states[number])
    ordered = np.concatenate([states[:, 0], states[::-1, 1]], axis=-1).transpose(1, 0, 2)
    return ordered if keep is None else ordered * keep


def attend(vectors: Floats, weights: Floats) -> Floats:
    """Pool each head's slice of ``(B, T, d)`` by its weights ``(B, T, H)``: Σ_t w_th x_th / Σ_t w_th, ``(B, d)``."""
    batch, length, heads = weights.shape
    # (B, H, 1, T) x (B, H, T, d / H)
    by_head = vectors.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)
    total = (weights.transpose(0, 2, 1)[:, :, None, :] @ by_head)[:, :, 0]
    return np.asarray((total / np.maximum(weights.sum(axis=1)[..., None], _LEAST)).reshape(batch, -1))
