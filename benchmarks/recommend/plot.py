"""The figures of docs/recommend.md from MovieLens 100K and Last.fm; needs matplotlib, which imbik does not.

IMBIK_DATA=... python -m benchmarks.recommend.plot docs/img [svd nmf ...]
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from benchmarks.common import parser
from benchmarks.recommend.run import data_folder
from imbik.recommend import Ratings, evaluate, random_split, read_ratings
from imbik.recommend.models.baselines import fit_biases
from imbik.recommend.models.registry import build

matplotlib.use("svg")
from matplotlib import pyplot as plt

DATA = data_folder()
BLUE, ORANGE, GREY, GREEN = "#0b62a4", "#d9730d", "#8a949b", "#2e8b57"
plt.rcParams.update({
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e2e6e9",
    "axes.axisbelow": True,
    "svg.fonttype": "none", "svg.hashsalt": "imbik", "figure.facecolor": "white", "lines.linewidth": 1.6,
})  # fmt: skip


def validation() -> Any:
    """A split of the training part of split 0: what settings are chosen on."""
    return random_split(random_split(read_ratings(DATA / "ml100k" / "u.data"), 0.1, 0).train, 0.1, 100)


def titles() -> dict[str, str]:
    lines = (DATA / "ml100k" / "u.item").read_text(encoding="latin-1").splitlines()
    return {line.split("|")[0]: line.split("|")[1] for line in lines}


def svd(axes: Any) -> None:
    train = validation().train
    mean, user_bias, item_bias = fit_biases(train, 5.0, 5.0)
    rest = train.values - (mean + user_bias[train.users] + item_bias[train.items])
    rng = np.random.default_rng(0)
    for values, label, color in ((rest, "ratings less biases", BLUE), (rng.permutation(rest), "the same, shuffled", GREY)):
        matrix = np.zeros(train.shape)
        matrix[train.users, train.items] = values
        axes[0].plot(np.arange(1, 61), np.linalg.svd(matrix, compute_uv=False)[:60], ".-", color=color, label=label, ms=4)
    axes[0].set(xlabel="k", ylabel="k-th singular value", title="How many factors stand out of the noise")
    axes[0].legend(frameon=False)
    ranks = [1, 2, 3, 5, 8, 12, 20, 30]
    split = validation()
    for fill, color in ((0, GREY), (2, BLUE), (10, ORANGE)):
        found = [evaluate(build("truncated-svd", rank=r, fill=fill).fit(split.train), split.test)["rmse"] for r in ranks]
        axes[1].plot(ranks, found, ".-", color=color, label=f"fill = {fill}")
    axes[1].set(xlabel="rank", ylabel="RMSE, validation", title="Empty cells are not zeros")
    axes[1].legend(frameon=False)


def nmf(axes: Any) -> None:
    model = build("nmf", rank=6, biases=False, ridge=8.0).fit(validation().train)
    parts = model.arrays_["items"][:-1, 1:]
    counts = np.diff(model_counts(model))
    share = parts / parts.sum(axis=1, keepdims=True)
    share[counts < 80] = 0
    best = [j for k in range(6) for j in np.argsort(-share[:, k])[:3]]
    axes[0].imshow(share[best], cmap="Blues", aspect="auto", vmin=0, vmax=share[best].max())
    names = titles()
    axes[0].set_yticks(range(len(best)), [names[str(model.item_ids_[j])][:34] for j in best], fontsize=7)
    axes[0].set(xlabel="part", title="Films that lean most on each part")
    axes[0].grid(False)
    axes[1].hist(model.arrays_["users"][:-1, 1:].ravel(), bins=60, color=BLUE, label="users")
    axes[1].hist(parts[counts > 0].ravel(), bins=60, color=ORANGE, alpha=0.7, label="films")
    axes[1].set(xlabel="loading", ylabel="entries", title="Nothing is negative")
    axes[1].legend(frameon=False)


def model_counts(model: Any) -> Any:
    return np.append(0, np.cumsum(np.bincount(model.seen_.indices, minlength=len(model.item_ids_))))


def pmf(axes: Any) -> None:
    split, ranks = validation(), [2, 4, 8, 16, 32]
    kinds = {
        "fixed prior, too weak": ("pmf", {"prior": "fixed", "ridge": 4.0}, GREY),
        "fixed prior, chosen": ("pmf", {"prior": "fixed", "ridge": 14.0}, ORANGE),
        "adaptive prior": ("pmf", {}, GREEN), "Bayesian": ("bpmf", {}, BLUE),
    }  # fmt: skip
    for label, (name, settings, color) in kinds.items():
        found = [evaluate(build(name, rank=r, **settings).fit(split.train), split.test)["rmse"] for r in ranks]
        axes[0].plot(ranks, found, ".-", color=color, label=label)
    axes[0].set(xscale="log", xlabel="rank", ylabel="RMSE, validation", title="What a prior is for")
    axes[0].set_xticks(ranks, [str(r) for r in ranks])
    axes[0].minorticks_off()
    axes[0].legend(frameon=False)
    curve: dict[str, list[float]] = {"als": [], "sgd": []}
    for solver, values in curve.items():
        settings = {"solver": solver, "prior": "fixed", "ridge": 14.0 if solver == "als" else 10.0, "epochs": 40, "learning_rate": 0.02}
        build("pmf", **settings).fit(split.train, report=lambda d, t, v, out=values: out.append(v))
    axes[1].plot(curve["als"], color=BLUE, label="alternating least squares")
    axes[1].plot(curve["sgd"], color=ORANGE, label="stochastic gradient")
    axes[1].set(xlabel="pass over the ratings", ylabel="RMSE, training", title="Two ways to the mode")
    axes[1].legend(frameon=False)


def logistic(axes: Any) -> None:
    train, test = (events(name) for name in ("train.txt", "valid.txt"))
    model = build("logistic").fit(train)
    users, items = model.align(test)
    known = (users >= 0) & (items >= 0)
    rng = np.random.default_rng(0)
    event = model._pairs(users[known], items[known])
    other = model._pairs(rng.integers(0, train.shape[0], 20_000), rng.integers(0, train.shape[1], 20_000))
    grid = np.linspace(0, 1, 41)
    axes[0].hist(other, grid, density=True, color=GREY, label="random artists")
    axes[0].hist(event, grid, density=True, color=BLUE, alpha=0.7, label="artists heard later")
    axes[0].set(xlabel="P(event)", ylabel="density", yscale="log", title="Events that the model has not seen")
    axes[0].legend(frameon=False)
    for name, color in (("most-popular", GREY), ("als", ORANGE), ("logistic", BLUE)):
        found = [evaluate(build(name).fit(train), test, k=k)["recall"] for k in (1, 5, 10, 20, 50, 100)]
        axes[1].plot([1, 5, 10, 20, 50, 100], found, ".-", color=color, label=name)
    axes[1].set(xlabel="k", ylabel="Recall@k, validation", title="Found among the first k")
    axes[1].legend(frameon=False)


def events(name: str) -> Ratings:
    rows = [line.split() for line in (DATA / "lastfm" / name).read_text().splitlines()]
    return Ratings.of([r[0] for r in rows for _ in r[1:]], [i for r in rows for i in r[1:]])


def bpmf(axes: Any) -> None:
    split = validation()
    model = build("bpmf", samples=400).fit(split.train)
    counts = np.bincount(split.train.users, minlength=len(model.user_ids_))
    item = int(np.bincount(split.train.items).argmax())
    axis = np.linspace(0, 7, 300)
    for user, color in ((int(np.argmin(np.where(counts > 0, counts, 9999))), ORANGE), (int(counts.argmax()), BLUE)):
        means, sds = model.samples_for(np.array([user]), np.array([item]))
        axes[0].hist(means[0], 40, density=True, color=color, alpha=0.35)
        density = np.exp(-0.5 * ((axis[:, None] - means[0]) / sds) ** 2) / (sds * np.sqrt(2 * np.pi))
        axes[0].plot(axis, density.mean(axis=1), color=color, label=f"user with {counts[user]} ratings")
    axes[0].set(xlabel="rating", ylabel="density", title="Samples of the mean (bars), of a new rating (lines)")
    axes[0].legend(frameon=False)
    levels = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99])
    found = [evaluate(model, split.test, level=float(q))["coverage"] for q in levels]
    axes[1].plot([0, 1], [0, 1], color=GREY)
    axes[1].plot(levels, found, ".-", color=BLUE)
    axes[1].set(xlabel="nominal level", ylabel="share of held-out ratings inside", title="Are the intervals honest?")


def draw(name: str, fill: Callable[[Any], None], folder: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.1), layout="constrained")
    fill(axes)
    figure.savefig(folder / f"recommend-{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("names", nargs="*")
    options = arguments.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for kind in (svd, nmf, pmf, logistic, bpmf):
        if not options.names or kind.__name__ in options.names:
            draw(kind.__name__, kind, options.folder)


if __name__ == "__main__":
    main()
