"""What Netflix's matrix needs: bytes, machines and seconds, computed from a measured sweep and from assumptions that stand in the table.

The measured rates are those of one actor with one thread (``cluster.py``). That more cores and machines work at the same rate each is
assumed: two cores are the most that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imbik.recommend.cluster.parts import MOST


@dataclass(frozen=True)
class Assumed:
    """A matrix, and the machines that are to factorize it.

    Attributes:
        users: subscribers; 232.5 million in the first quarter of 2023.
        items: titles.
        each: ratings of a user: 100,480,507 of 480,189 subscribers in the data of the Netflix prize.
        cores: of a machine.
        memory: of a machine that ratings and rows may fill, in bytes.
        network: bytes a second into the machine that asks.
        sweeps: of a fit, by model: as many as its default settings take.
    """

    users: float = 232.5e6
    items: float = 17_000
    each: float = 100_480_507 / 480_189
    cores: int = 32
    memory: float = 200e9
    network: float = 1.25e9
    sweeps: Mapping[str, int] = field(default_factory=lambda: {"bpmf": 250, "als": 15})


@dataclass(frozen=True)
class Needs:
    """What it takes; bytes and seconds."""

    ratings: float
    ratings_bytes: float
    factors_bytes: float
    sample_bytes: float
    asking_bytes: float
    machines: int
    up: float
    down: float
    workers_s: float
    asking_s: float
    network_s: float
    sweep_s: float
    fit_s: float


def exchanged(workers: int, items: float, dims: int) -> tuple[float, float]:
    """Return the bytes of a sweep to the machine that asks, and from it: float64 sums from each worker, float32 items to each, twice.

    With a number of workers that is a power of two each sends one sum; otherwise a few more.
    """
    return workers * items * dims * (dims + 3) / 2 * 8, workers * items * dims * 4 * 2


def needs(measured: dict[str, Any], model: str, assumed: Assumed) -> Needs:
    """Return what a model needs by the measured sweep of one actor.

    Args:
        measured: the numbers of ``recommend/cluster``.
        model: ``bpmf`` or ``als``.
        assumed: matrix and machines.
    """
    sweep = measured["sweeps"][f"{model}, 1 actor"]
    dims = measured["rank"] + sweep["biases"]
    ratings = assumed.users * assumed.each
    # A worker holds each rating by user and by item, a code and a value of 4 bytes each; events carry a weight as well.
    ratings_bytes = ratings * 2 * (8 if sweep["biases"] else 12)
    factors = (assumed.users + assumed.items) * dims * 4
    # The rows, and the normal numbers that are drawn for them; and two pointers of 8 bytes a user.
    held = ratings_bytes + 2 * factors + 8 * assumed.users
    machines = min(2 ** math.ceil(math.log2(held / assumed.memory)), MOST)
    up, down = exchanged(machines, assumed.items, dims)
    workers = (sweep["users"] + sweep["errors"]) * ratings / measured["ratings"] / (machines * assumed.cores)
    # The items are solved on one thread in the measurement; sums of more workers are added at a byte's cost of memory.
    asking = sweep["items"] * assumed.items / measured["items"]
    network = (up + down) / assumed.network
    total = workers + asking + network
    return Needs(
        ratings, ratings_bytes, factors, (assumed.users + assumed.items) * (measured["rank"] + 1) * 4, ratings * 20, machines, up, down,
        workers, asking, network, total, total * assumed.sweeps[model],
    )  # fmt: skip


def lines(measured: dict[str, Any], assumed: Assumed) -> list[tuple[str, list[str]]]:
    """Return the rows of the table: what, and a cell for each model."""
    found = [needs(measured, model, assumed) for model in ("bpmf", "als")]
    alike: list[tuple[str, str]] = [
        ("assumed: subscribers", f"{assumed.users / 1e6:.1f} million"), ("assumed: titles", f"{assumed.items:,.0f}"),
        ("assumed: ratings of a subscriber, as in the data of the prize", f"{assumed.each:.0f}"),
        ("assumed: a machine", f"{assumed.cores} cores, {assumed.memory / 1e9:.0f} GB for ratings and rows"),
        ("assumed: network of the machine that asks", f"{assumed.network / 1e9:.2f} GB/s"),
        ("rank, as measured", str(measured["rank"])),
    ]  # fmt: skip
    rows = [(what, [cell] * len(found)) for what, cell in alike]
    rows.append(("assumed: sweeps of a fit", [str(assumed.sweeps[model]) for model in ("bpmf", "als")]))
    rows.append(("measured: ratings a second on one core", [_rate(measured, model) for model in ("bpmf", "als")]))
    for what, write in (
        ("ratings", lambda n: f"{n.ratings / 1e9:.1f} billion"),
        ("their bytes on the workers, both ways round", lambda n: f"{n.ratings_bytes / 1e9:,.0f} GB"),
        ("rows of both sides, once", lambda n: f"{n.factors_bytes / 1e9:.1f} GB"),
        ("machines, a power of two", lambda n: f"{n.machines}"),
        ("sums to the machine that asks, a sweep", lambda n: f"{n.up / 1e6:,.0f} MB"),
        ("items to the workers, a sweep", lambda n: f"{n.down / 1e6:,.0f} MB"),
        ("a sweep: workers", lambda n: f"{n.workers_s:.1f} s"),
        ("a sweep: the machine that asks", lambda n: f"{n.asking_s:.2f} s"),
        ("a sweep: network", lambda n: f"{n.network_s:.2f} s"),
        ("a fit, of the sweeps above", lambda n: f"{n.fit_s / 60:.0f} min"),
        ("memory of the machine that asks, for reading", lambda n: f"{n.asking_bytes / 1e9:,.0f} GB"),
        ("a stored model: bytes of one sample", lambda n: f"{n.sample_bytes / 1e9:.1f} GB"),
    ):
        rows.append((what, [write(n) for n in found]))
    return rows


def _rate(measured: dict[str, Any], model: str) -> str:
    sweep = measured["sweeps"][f"{model}, 1 actor"]
    return f"{measured['ratings'] / (sweep['users'] + sweep['errors']) / 1e6:.1f} million"
