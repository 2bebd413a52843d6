"""Why numba: one half-sweep of Bayesian PMF over the users of MovieLens 100K, compiled kernel against batched torch, by turns.

    IMBIK_DATA=... python -m benchmarks.recommend.engine [--threads 2] [--rounds 12]

torch groups users by degree (powers of two), pads, and calls baddbmm, cholesky_ex and triangular solves on whole groups; it is given
the same float32 accumulation and float64 factorization, and as many threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.common import clock, in_turns, parser, record
from benchmarks.recommend.run import ratings
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


class Work:
    """The same half-sweep for both: inputs, outputs and the two ways."""

    def __init__(self, data: Any, rank: int, cores: int) -> None:
        rng = np.random.default_rng(0)
        self.side, self.rank, self.cores = data.by_user, rank, cores
        self.parts = groups(*self.side)
        self.factors = (0.3 * rng.standard_normal((data.shape[1], rank))).astype(np.float32)
        self.noise = rng.standard_normal((data.shape[0], rank)).astype(np.float32)
        self.ours, self.theirs = np.zeros((data.shape[0], rank), np.float32), torch.zeros(data.shape[0], rank)
        self.design = torch.from_numpy(np.vstack([self.factors, np.zeros((1, rank), np.float32)]))
        self.borders, self.offset = chunks(self.side.indptr, rank), np.zeros(data.shape[1], np.float32)

    def with_numba(self) -> float:
        """Return the seconds of the compiled kernel."""
        prior = (np.eye(self.rank), np.zeros(self.rank), 1.0, False)
        with clock() as spent, threads(self.cores):
            rows = (padded(self.factors), self.offset, NO_ROWS)
            gaussian_rows(self.borders, as_side(self.side), rows, prior, self.noise, self.ours, NO_ROWS)
        return spent.wall

    def with_torch(self) -> float:
        """Return the seconds of batched torch."""
        with clock() as spent:
            with_torch(self.parts, self.design, torch.from_numpy(self.noise), self.theirs)
        return spent.wall


def main() -> None:
    options = parser(__doc__, "threads", "rounds", threads=2, rounds=12).parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for rank in (10, 32, 64):
        work = Work(ratings(), rank, options.threads)
        turns = in_turns({"numba": work.with_numba, "torch": work.with_torch}, options.rounds)
        medians = {f"{name}_ms": 1000 * float(np.median(seconds[2:])) for name, seconds in turns.items()}
        rows.append({"rank": rank, **medians, "largest_difference": float(np.abs(work.ours - work.theirs.numpy()).max())})
        print(rows[-1], flush=True)
    record("recommend/engine", rows, options)


if __name__ == "__main__":
    main()
