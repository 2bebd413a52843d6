"""Small integers packed into bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bits_for(count: int) -> int:
    """Return how many bits an index into ``count`` values takes.

    >>> [bits_for(count) for count in (2, 16, 17, 256)]
    [1, 4, 5, 8]
    """
    return max(1, int(count - 1).bit_length())


def pack(indices: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack indices as one run of ``bits`` bits each, most significant first.

    Returns ``(⌈n · bits / 8⌉,)`` bytes.

    >>> pack(np.array([1, 2, 15], dtype=np.uint8), 4).tolist()
    [18, 240]
    """
    flat = indices.reshape(-1)
    if bits == 8:
        return flat.copy()
    # 8 and 4 bits, the common cases, without an array of single bits eight times the size.
    if bits == 4:
        even = np.append(flat, np.uint8(0)) if len(flat) % 2 else flat
        return ((even[0::2] << 4) | even[1::2]).astype(np.uint8)
    # (n, 8) bits, of which the last `bits` count.
    planes = np.unpackbits(flat[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(planes.reshape(-1))


def unpack(packed: NDArray[np.uint8], bits: int, shape: int | tuple[int, ...]) -> NDArray[np.uint8]:
    """Undo :func:`pack`.

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
        # packbits fills with zeros on the right: shift each index down to the unit.
        flat = (np.packbits(planes, axis=1).reshape(-1) >> (8 - bits)).astype(np.uint8)
    return flat[:count].reshape(shape)
