"""Small integers packed into bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def bits_for(count: int) -> int:
    """Bits of an index into ``count`` values.

    >>> [bits_for(count) for count in (2, 16, 17, 256)]
    [1, 4, 5, 8]
    """
    return max(1, int(count - 1).bit_length())


def pack(indices: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Indices as one run of ``bits`` bits each, most significant first; ``(⌈n · bits / 8⌉,)`` bytes.

    >>> pack(np.array([1, 2, 15], dtype=np.uint8), 4).tolist()
    [18, 240]
    """
    flat = indices.reshape(-1)
    if bits == 8:
        return flat.copy()
    if bits == 4:
        even = np.append(flat, np.uint8(0)) if len(flat) % 2 else flat
        return ((even[0::2] << 4) | even[1::2]).astype(np.uint8)
    planes = np.unpackbits(flat[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(planes.reshape(-1))


def unpack(packed: NDArray[np.uint8], bits: int, shape: Any) -> NDArray[np.uint8]:
    """What :func:`pack` packed.

    >>> unpack(np.array([18, 240], dtype=np.uint8), 4, (3,)).tolist()
    [1, 2, 15]
    """
    count = int(np.prod(shape))
    if bits == 8:
        flat = packed
    elif bits == 4:
        flat = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)
    else:
        planes = np.unpackbits(packed, count=count * bits).reshape(count, bits)
        flat = (np.packbits(planes, axis=1).reshape(-1) >> (8 - bits)).astype(np.uint8)
    return flat[:count].reshape(shape)
