"""Why numba: one half-sweep of Bayesian PMF over the users of MovieLens 100K, compiled kernel against batched torch, by turns.

    IMBIK_DATA=... python benchmarks/bench_recommend_engine.py

torch groups users by degree (powers of two), pads, and calls baddbmm, cholesky_ex and triangular solves on whole groups; it is given
the same float32 accumulation and float64 factorization, on two threads.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imbik.recommend import read_ratings
from imbik.recommend.kernels.gaussian import chunks, gaussian_rows, padded
from imbik.recommend.models.factors import NO_ROWS, as_side, threads


def groups(indptr: Any, indices: Any, values: Any) -> list[tuple[torch.Tensor, ...]]:
    """(rows, columns padded with the index of a zero row, values padded with 0) of each group of degrees."""
    degree = np.diff(indptr)
    out, empty = [], int(indices.max()) + 1
    for power in range(int(np.log2(degree.max())) + 1):
        rows = np.flatnonzero((degree >= 2**power) & (degree < 2 ** (power + 1)))
        if not len(rows):
            continue
        width = int(degree[rows].max())
        columns, cells = np.full((len(rows), width), empty), np.zeros((len(rows), width), np.float32)
        for k, row in enumerate(rows):
            part = slice(indptr[row], indptr[row + 1])
            columns[k, : degree[row]], cells[k, : degree[row]] = indices[part], values[part]
        out.append((torch.from_numpy(rows), torch.from_numpy(columns), torch.from_numpy(cells)))
    return out


def with_torch(parts: Any, design: torch.Tensor, noise: torch.Tensor, out: torch.Tensor) -> None:
    dims = design.shape[1]
    for rows, columns, cells in parts:
        z = design[columns]
        matrix = (z.transpose(1, 2) @ z).double() + torch.eye(dims, dtype=torch.float64)
        vector = (z.transpose(1, 2) @ cells[:, :, None]).double()
        lower = torch.linalg.cholesky_ex(matrix)[0]
        half = torch.linalg.solve_triangular(lower, vector, upper=False) + noise[rows, :, None]
        out[rows] = torch.linalg.solve_triangular(lower.mT, half, upper=True)[:, :, 0].float()


def main() -> None:
    data = read_ratings(Path(os.environ.get("IMBIK_DATA", "../shared/data")) / "ml100k" / "u.data")
    torch.set_num_threads(2)
    side = data.by_user
    parts = groups(*side)
    for rank in (10, 32, 64):
        rng = np.random.default_rng(0)
        factors = (0.3 * rng.standard_normal((data.shape[1], rank))).astype(np.float32)
        noise = rng.standard_normal((data.shape[0], rank)).astype(np.float32)
        ours, theirs = np.zeros((data.shape[0], rank), np.float32), torch.zeros(data.shape[0], rank)
        design = torch.from_numpy(np.vstack([factors, np.zeros((1, rank), np.float32)]))
        borders, offset = chunks(side.indptr, rank), np.zeros(data.shape[1], np.float32)
        prior = (np.eye(rank), np.zeros(rank), 1.0, False)
        clock: dict[str, list[float]] = {"numba": [], "torch": []}
        for _ in range(12):
            start = time.perf_counter()
            with threads(2):
                gaussian_rows(borders, as_side(side), (padded(factors), offset, NO_ROWS), prior, noise, ours, NO_ROWS)
            middle = time.perf_counter()
            with_torch(parts, design, torch.from_numpy(noise), theirs)
            clock["numba"].append(middle - start)
            clock["torch"].append(time.perf_counter() - middle)
        medians = {k: 1000 * float(np.median(v[2:])) for k, v in clock.items()}
        gap = np.abs(ours - theirs.numpy()).max()
        print(f"rank {rank}: numba {medians['numba']:.1f} ms, torch {medians['torch']:.1f} ms, largest difference {gap:.1e}")


if __name__ == "__main__":
    main()
