"""What every model of a ratings matrix shares: ids and codes, prediction, recommendation, and its folder on disk.

A model is a dataclass: its fields are its settings, attributes that end in an underscore exist after `fit`. Rules for
the cold: a user or item without training ratings has zero factors and zero bias (Bayesian: a draw from the population),
so its prediction falls back to what is known of the other side, and to the global mean when nothing is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Compressed, Ratings

Report = Callable[[int, int, float], None]
"""Called after each pass with (passes done, passes in all, RMSE or loss on the training ratings)."""

FORMAT = 1
MODELS: dict[str, type[Model]] = {}


def register(cls: type[Model]) -> type[Model]:
    """Class decorator: makes the model known by its `name` to `load`, the command line and `compare`."""
    MODELS[cls.name] = cls
    return cls


class Model(ABC):
    """Base of all models; see `docs/recommend.md` for the contract and `imbik.recommend.MODELS` for the list."""

    name: ClassVar[str]
    feedback: ClassVar[str] = "explicit"  # what it learns from: "explicit" opinions or "implicit" events
    continues: ClassVar[bool] = False  # whether fit can start from a fitted model
    reads_events: ClassVar[bool] = False  # whether it can learn from events alone, all of weight 1
    seed: int

    user_ids_: Array
    item_ids_: Array
    range_: tuple[float, float]
    arrays_: dict[str, Array]  # everything that was learnt, float32; the last row of a side stands for the cold
    facts_: dict[str, float]
    seen_: Compressed

    # -- what a model must say ------------------------------------------------------------------------------------
    @abstractmethod
    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        """Fill `arrays_` and `facts_`."""

    @abstractmethod
    def _pairs(self, users: Array, items: Array) -> Array:
        """Predictions for pairs of codes; -1 is a cold user or item."""

    @abstractmethod
    def scores(self, users: Array) -> Array:
        """(len(users), items) float32: what the items of each user are ranked by; users are codes, -1 is cold."""

    # -- what all have ----------------------------------------------------------------------------------------------
    def fit(self, ratings: Ratings, *, start: Model | None = None, report: Report | None = None) -> Self:
        """Learn from `ratings`; `start` (a fitted model of the same kind) is continued instead of beginning at random.

        Raises UserError for settings outside their range, for too few or unusable ratings and for a rank above the
        matrix. Deterministic: equal settings, ratings and seed give equal arrays on any number of threads.
        """
        self._check(ratings)
        if start is not None and not self.continues:
            raise UserError(f"{self.name} is solved in one go and cannot continue a model", fix="leave out --continue")
        if start is not None and type(start) is not type(self):
            raise UserError(
                "a model can only be continued by its own kind", found=start.name, expected=self.name,
                fix="choose the same --model",
            )  # fmt: skip
        self.arrays_, self.facts_ = {}, {}
        self.user_ids_, self.item_ids_, self.range_ = ratings.user_ids, ratings.item_ids, ratings.range
        self._codes_: dict[str, dict[str, int]] = {}
        self.seen_ = ratings.by_user
        self._fit(ratings, start, report or (lambda done, total, value: None))
        if not all(np.isfinite(array).all() for array in self.arrays_.values()):
            del self.arrays_  # a model that predicts NaN is no model
            raise UserError(
                f"the fit of {self.name} diverged", found="numbers that are not finite",
                fix="lower learning_rate, or raise the ridges",
            )  # fmt: skip
        return self

    def predict(self, users: Sequence[Any], items: Sequence[Any], *, cold: bool = False) -> Array:
        """Predicted values for pairs of ids, clipped to the range of the training values for explicit feedback.

        Raises UserError for an id that was not in training, unless `cold=True` (then the rules above hold).
        """
        self._check_fitted()
        return self.predict_codes(self.codes("user", users, cold), self.codes("item", items, cold))

    def predict_for(self, ratings: Ratings) -> Array:
        """Predictions for the cells of `ratings`, whose tables may differ from those of the training ratings."""
        users, items = self.align(ratings)
        return self.predict_codes(users, items)

    def predict_codes(self, users: Array, items: Array) -> Array:
        """Predictions for pairs of codes, clipped like `predict`; -1 is cold."""
        values = self._pairs(users.astype(np.int64), items.astype(np.int64))
        clipped = self.feedback == "explicit" and self.range_[0] < self.range_[1]
        return np.clip(values, *self.range_) if clipped else values

    def recommend(self, user: Any, k: int = 10, *, seen: bool = False) -> list[tuple[str, float]]:
        """The `k` best (item id, predicted value, not clipped) for a user id, best first; items of the training data only if `seen`."""
        self._check_fitted()
        if k < 1:
            raise UserError("impossible number of items", found=k, expected="at least 1")
        code = self.codes("user", [user], False)
        scores = self.scores(code)[0].astype(np.float64)
        if not seen:
            scores[self.seen_.indices[self.seen_.indptr[code[0]] : self.seen_.indptr[code[0] + 1]]] = -np.inf
        best = np.lexsort((np.arange(len(scores)), -scores))[:k]
        best = best[scores[best] > -np.inf]
        values = self._pairs(np.repeat(code, len(best)), best)
        return [(str(self.item_ids_[j]), float(value)) for j, value in zip(best, values, strict=True)]

    def codes(self, side: str, ids: Sequence[Any], cold: bool) -> Array:
        """Codes of ids (`side` is "user" or "item"); unknown ids raise, or give -1 when `cold`."""
        table = self._codes_.get(side)
        if table is None:
            names = self.user_ids_ if side == "user" else self.item_ids_
            table = self._codes_[side] = {name: code for code, name in enumerate(names.tolist())}
        codes = np.array([table.get(str(i).strip(), -1) for i in ids], np.int64)
        if not cold and (codes < 0).any():
            unknown = [str(i) for i, code in zip(ids, codes, strict=True) if code < 0]
            raise UserError(
                f"unknown {side}" + ("s" if len(unknown) > 1 else ""), found=", ".join(map(repr, unknown[:5])),
                expected=f"one of {len(table)} {side}s seen in training",
                fix="check the spelling, or fit again with ratings of it",
            )  # fmt: skip
        return codes

    def align(self, ratings: Ratings) -> tuple[Array, Array]:
        """Codes of this model for the rows of `ratings`; -1 where an id was not in training."""
        if ratings.user_ids is self.user_ids_ and ratings.item_ids is self.item_ids_:
            return ratings.users.astype(np.int64), ratings.items.astype(np.int64)
        users = self.codes("user", ratings.user_ids.tolist(), True)
        items = self.codes("item", ratings.item_ids.tolist(), True)
        return users[ratings.users], items[ratings.items]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @property
    def bytes(self) -> int:
        """Size of everything learnt, without the ids."""
        return sum(a.nbytes for a in self.arrays_.values())

    def _check_fitted(self) -> None:
        if not hasattr(self, "arrays_"):
            raise UserError(f"the {self.name} model has not been fitted", fix="call fit(ratings) or load a folder first")

    def _check(self, ratings: Ratings) -> None:
        """Refuse what cannot work, before anything is computed."""
        if len(ratings) < 2:
            raise UserError("one rating is not enough to learn from", found=len(ratings), expected="at least 2 ratings")
        if self.feedback == "implicit" and (ratings.values <= 0).any():
            raise UserError(
                f"{self.name} learns from events, which have positive counts", found=f"{ratings.values.min():g}",
                expected="counts above 0", fix="choose a model of ratings, such as pmf",
            )  # fmt: skip
        enough = self.feedback == "implicit" or (ratings.implicit and self.reads_events)
        if not enough and np.ptp(ratings.values) == 0:
            raise UserError(
                "all ratings are equal: there is nothing to learn", found=f"{len(ratings)} times {ratings.values[0]:g}",
                expected="at least two different ratings", fix="for events, use --model logistic or als (with --implicit)",
            )  # fmt: skip
        rank = getattr(self, "rank", 1)
        if not 1 <= rank <= min(ratings.shape):
            raise UserError(
                "the rank does not fit the matrix", found=rank,
                expected=f"1 to {min(ratings.shape)} ({ratings.shape[0]} users, {ratings.shape[1]} items)", fix="set it with --rank",
            )  # fmt: skip
        for name, value in self.settings.items():
            least = 1 if name in ("epochs", "steps", "neighbours") else 0
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not least <= value < np.inf:
                raise UserError("a setting is out of range", where=f"{self.name}.{name}", found=value, expected=f">= {least}")

    # -- on disk ----------------------------------------------------------------------------------------------------
    def save(self, folder: str | Path) -> None:
        """Write `model.json` (settings, facts, ids) and `arrays.safetensors`.

        Killed at any moment it leaves the old model or the new one: `load` takes the `model.json`, or the `model.tmp` of
        an unfinished save, that fits the arrays.
        """
        from safetensors.numpy import save_file

        self._check_fitted()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        seen = {"seen.indptr": self.seen_.indptr, "seen.indices": self.seen_.indices}
        arrays = {k: np.ascontiguousarray(v) for k, v in {**self.arrays_, **seen}.items()}
        save_file(arrays, folder / "arrays.tmp")
        document = {
            "format": FORMAT, "sha256": _digest(folder / "arrays.tmp"), "model": self.name, "settings": self.settings, "facts": self.facts_,
            "range": self.range_, "users": self.user_ids_.tolist(), "items": self.item_ids_.tolist(),
        }  # fmt: skip
        (folder / "model.tmp").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        os.replace(folder / "arrays.tmp", folder / "arrays.safetensors")
        os.replace(folder / "model.tmp", folder / "model.json")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fitting(papers: list[Path], digest: str) -> dict[str, Any]:
    """The first of the papers that was written for arrays of this digest."""
    for path in papers:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["sha256"] == digest:
            return document
    raise UserError("the two files do not belong together", where=papers[0].parent, found="another checksum", fix="fit again")


def load(folder: str | Path) -> Model:
    """The model that `save` wrote to `folder`; predicts exactly as it did.

    Raises UserError for a folder that holds no model, or one of another format.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    papers = [path for path in (folder / "model.json", folder / "model.tmp") if path.is_file()]
    if not papers or not (folder / "arrays.safetensors").is_file():
        raise UserError(
            "this folder holds no model", where=folder, expected="model.json and arrays.safetensors",
            fix="write one with `imbik recommend fit ... --out FOLDER`",
        )  # fmt: skip
    try:
        document = _fitting(papers, _digest(folder / "arrays.safetensors"))
        if document["format"] != FORMAT:
            raise UserError(
                "a model of another format", where=folder, found=document["format"], expected=FORMAT, fix="fit again with this version"
            )
        model = MODELS[document["model"]](**document["settings"])
        arrays = load_file(folder / "arrays.safetensors")
        model.seen_ = Compressed(arrays.pop("seen.indptr"), arrays.pop("seen.indices"), np.zeros(0, np.float32))
        model.user_ids_ = np.array(document["users"], dtype=str)
        model.item_ids_ = np.array(document["items"], dtype=str)
        if len(model.user_ids_) != len(model.seen_.indptr) - 1 or len(model.item_ids_) <= model.seen_.indices.max():
            raise ValueError("users or items are missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "the model cannot be read", where=folder, found=f"{type(error).__name__}: {error}",
            expected="what `imbik recommend fit --out` wrote",
        ) from error  # fmt: skip
    model.arrays_, model.facts_ = arrays, document["facts"]
    model.range_, model._codes_ = tuple(document["range"]), {}
    return model
