"""What every model of a ratings matrix shares: ids and codes, fit, prediction, recommendation.

A model is a dataclass: its fields are its settings, attributes that end in an underscore exist after ``fit``. Rules for the cold: a user
or item without training ratings has zero factors and zero bias (Bayesian: a draw from the population), so its prediction falls back to
what is known of the other side, and to the global mean.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, NoReturn, Protocol, Self

import numpy as np

from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.recommend.cluster.place import Place
from imbik.recommend.data.ids import id_text
from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.data.scale import Invariance, Scale, scale_of
from imbik.recommend.models.settings import Setting, check_settings, check_start, make_model
from imbik.recommend.models.storage import Document, write_folder

Report = Callable[[int, int, float], None]
"""Called after each pass with (passes done, passes in all, RMSE or loss on the training ratings)."""

MODELS: dict[str, type[Model]] = {}


def register(cls: type[Model]) -> type[Model]:
    """Class decorator: make the model known by its ``name`` to :mod:`imbik.recommend.models.registry`, the command line and ``compare``."""
    MODELS[cls.name] = cls
    return cls


class Model(Protocol):
    """Contract of all models, with what they share; ``docs/recommend.md`` explains it, ``MODELS`` lists them.

    A new model says how it learns (``_fit``), predicts pairs (``_pairs``) and ranks items (``scores``).

    Attributes:
        name: as on the command line.
        feedback: what it learns from: ``explicit`` opinions or ``implicit`` events.
        continues: whether ``fit`` can start from a fitted model.
        reads_events: whether it can learn from events alone, all of weight 1.
        invariance: what of the scale of ratings its settings depend on; ``fit`` takes that out.
        user_ids_: text, (users,).
        item_ids_: text, (items,).
        range_: the lowest and the highest training rating.
        arrays_: everything that was learnt; the last row of a side stands for the cold.
        facts_: single numbers that were learnt.
        seen_: the items of each user in training.
    """

    name: ClassVar[str]
    feedback: ClassVar[str] = "explicit"
    continues: ClassVar[bool] = False
    reads_events: ClassVar[bool] = False
    invariance: ClassVar[Invariance] = "free"
    seed: int

    user_ids_: Array
    item_ids_: Array
    range_: tuple[float, float]
    arrays_: dict[str, Array]
    facts_: dict[str, float]
    seen_: Compressed
    _codes_: dict[str, dict[str, int]]

    @abstractmethod
    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        """Fill ``arrays_`` and ``facts_``."""

    @abstractmethod
    def _pairs(self, users: Array, items: Array) -> Array:
        """Predict pairs of codes; -1 is a cold user or item."""

    @abstractmethod
    def scores(self, users: Array) -> Array:
        """Return what the items of each user are ranked by, (len(users), items) float32; users are codes, -1 is cold."""

    def _fit_on(self, place: Place, ratings: Ratings, start: Model | None, report: Report) -> None:
        """Fill the same with the users on the workers of a place; where :meth:`check_sharding` accepts that."""
        raise NotImplementedError

    def check_sharding(self) -> None:
        """Raise a :class:`UserError` that says why the model cannot be fitted with its users on several machines; nothing if it can."""
        raise UserError(
            f"{self.name} is fitted on one machine", where="--ray",
            found="a model whose steps need the rows of both sides in one memory",
            expected="bpmf, pmf with solver=als, or als with conjugate_steps=0", fix="leave --ray out",
        )  # fmt: skip

    def fit(
        self,
        ratings: Ratings,
        *,
        start: Model | None = None,
        report: Report | None = None,
        ray: str | None = None,
        workers: int | None = None,
    ) -> Self:
        """Learn from ratings.

        Deterministic: equal settings, ratings and seed give equal arrays on any number of threads, and on a cluster on any number of
        workers. Ratings times ten give predictions times ten, plus ten plus ten (NMF apart, which adds up from zero).

        Args:
            ratings: what to learn from.
            start: a fitted model of the same kind, to be continued instead of beginning at random.
            report: called after each pass.
            ray: address of a Ray cluster that holds the users (``host:6379``, ``auto``), or ``local``; None: this process does.
            workers: actors of the cluster; None: as many as it has processors for.

        Raises:
            UserError: settings outside their range, too few or unusable ratings, a rank above the matrix, a fit that diverges, a model
                that cannot be fitted on a cluster, a cluster that is not there.
        """
        if ray is not None:
            self.check_sharding()
        self._check(ratings)
        if start is not None:
            check_start(self, start)
            start._check_fitted()
        self.arrays_, self.facts_, self._codes_ = {}, {}, {}
        self.user_ids_, self.item_ids_, self.range_ = ratings.user_ids, ratings.item_ids, ratings.range
        self.seen_ = ratings.by_user
        # A start learnt on another unit is brought to that of these ratings.
        scale = scale_of(ratings, self.invariance)
        begin = None if start is None else start._rescaled(1.0 / scale.unit)

        def tell(done: int, total: int, value: float) -> None:
            if report is not None:
                report(done, total, value * scale.unit)

        try:
            if ray is None:
                self._fit(scale.standardize(ratings), begin, tell)
            else:
                self._fit_on(Place(ray, workers), scale.standardize(ratings), begin, tell)
            if not all(np.isfinite(array).all() for array in self.arrays_.values()):
                self._diverged("numbers that are not finite")
        except BaseException as error:
            del self.arrays_  # a fit that ended early is no model
            if isinstance(error, np.linalg.LinAlgError):
                self._diverged(str(error))
            raise
        self._restore(scale)
        return self

    def _diverged(self, found: str) -> NoReturn:
        """Say what may help against a fit that diverges."""
        raise UserError(f"the fit of {self.name} diverged", found=found, fix=self._remedy())

    def _remedy(self) -> str:
        """Return what helps against a fit that diverges, in settings that this model has."""
        advice = {"learning_rate": "lower learning_rate", "ridge": "raise ridge", "rank": "lower rank"}
        possible = [text for name, text in advice.items() if name in self.settings]
        return " or ".join(possible) or "look for ratings far away from all others"

    def _rescaled(self, factor: float) -> Model:
        """Return a fitted model whose ratings are counted in units of 1 / ``factor``; itself where it has no unit."""
        return self

    def _restore(self, scale: Scale) -> None:
        """Bring what was learnt from standardized ratings back to their scale."""
        unscaled = self._rescaled(scale.unit)
        self.arrays_, self.facts_ = unscaled.arrays_, unscaled.facts_
        if scale.center:
            self.facts_["mean"] += scale.center

    def predict(self, users: Sequence[object], items: Sequence[object], *, cold: bool = False) -> Array:
        """Predict values for pairs of ids, (N,), clipped to the range of the training values for explicit feedback.

        Raises:
            UserError: an id that was not in training, unless ``cold`` (then the rules above hold).
        """
        self._check_fitted()
        return self.predict_codes(self.codes("user", users, cold), self.codes("item", items, cold))

    def predict_for(self, ratings: Ratings) -> Array:
        """Predict the cells of ``ratings``, whose tables may differ from those of the training ratings."""
        users, items = self.align(ratings)
        return self.predict_codes(users, items)

    def predict_codes(self, users: Array, items: Array) -> Array:
        """Predict pairs of codes, clipped like :meth:`predict`; -1 is cold."""
        values = self._pairs(users.astype(np.int64), items.astype(np.int64))
        clipped = self.feedback == "explicit" and self.range_[0] < self.range_[1]
        return np.clip(values, *self.range_) if clipped else values

    def recommend(self, user: object, k: int = 10, *, seen: bool = False) -> list[tuple[str, float]]:
        """Return the ``k`` best (item id, predicted value, not clipped) for a user id, best first.

        Args:
            user: an id of the training data.
            k: how many.
            seen: whether items of the training data are ranked too.

        Raises:
            UserError: an unknown user, or ``k`` below 1.
        """
        self._check_fitted()
        if k < 1:
            raise UserError("impossible number of items", found=k, expected="at least 1")
        code = self.codes("user", [user], False)
        scores = self.scores(code)[0].astype(np.float64)  # (items,)
        if not seen:
            scores[self.seen_.indices[self.seen_.indptr[code[0]] : self.seen_.indptr[code[0] + 1]]] = -np.inf
        best = np.lexsort((np.arange(len(scores)), -scores))[:k]  # of equal scores the first item
        best = best[scores[best] > -np.inf]
        values = self._pairs(np.repeat(code, len(best)), best)
        return [(str(self.item_ids_[j]), float(value)) for j, value in zip(best, values, strict=True)]

    def codes(self, side: str, ids: Sequence[object], cold: bool) -> Array:
        """Return the codes of ids, (N,) int64.

        Args:
            side: ``user`` or ``item``.
            ids: of any kind, turned into text as :meth:`Ratings.of` does.
            cold: whether an unknown id gives -1.

        Raises:
            UserError: an unknown id, unless ``cold``.
        """
        table = self._codes_.get(side)
        if table is None:
            names = self.user_ids_ if side == "user" else self.item_ids_
            table = self._codes_[side] = {name: code for code, name in enumerate(names.tolist())}
        # Models of imbik 0.1 may hold the float 7.0 as "7.0", which is "7" now.
        codes = np.array([table.get(id_text(i), table.get(str(i).strip(), -1)) for i in ids], np.int64)
        if not cold and (codes < 0).any():
            unknown = [str(i) for i, code in zip(ids, codes, strict=True) if code < 0]
            raise UserError(
                f"unknown {side}" + ("s" if len(unknown) > 1 else ""),
                found=", ".join(map(repr, unknown[:5])),
                expected=f"one of {len(table)} {side}s seen in training",
                fix="check the spelling, or fit again with ratings of it",
            )
        return codes

    def align(self, ratings: Ratings) -> tuple[Array, Array]:
        """Return this model's codes of users and items for the rows of ``ratings``; -1 where an id was not in training."""
        if ratings.user_ids is self.user_ids_ and ratings.item_ids is self.item_ids_:
            return ratings.users.astype(np.int64), ratings.items.astype(np.int64)
        users = self.codes("user", ratings.user_ids.tolist(), True)
        items = self.codes("item", ratings.item_ids.tolist(), True)
        return users[ratings.users], items[ratings.items]

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings as plain values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    @property
    def bytes(self) -> int:
        """Size of everything learnt, without the ids."""
        return sum(array.nbytes for array in self.arrays_.values())

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder, in place of an older one; other files in it stay as they are.

        Killed at any moment it leaves the old model or the new one.

        Raises:
            UserError: the model was not fitted, or a file of others stands where one of the model belongs.
        """
        self._check_fitted()
        folder = with_home(folder)
        arrays = {**self.arrays_, "seen.indptr": self.seen_.indptr, "seen.indices": self.seen_.indices}
        document = Document(
            model=self.name,
            settings=self.settings,
            facts=self.facts_,
            range=self.range_,
            users=self.user_ids_.tolist(),
            items=self.item_ids_.tolist(),
        )
        write_folder(folder, document, arrays)

    def _check_fitted(self) -> None:
        if not hasattr(self, "arrays_"):
            raise UserError(f"the {self.name} model has not been fitted", fix="call fit(ratings) or load a folder first")

    def _check_learnt(self) -> None:
        """Check that arrays and facts that were read from a file fit each other and the ids.

        Raises:
            ValueError: they do not.
        """

    def _check(self, ratings: Ratings) -> None:
        """Refuse what cannot work, before anything is computed; settings become the types of their fields."""
        for name, value in make_model(type(self), self.settings).settings.items():
            setattr(self, name, value)
        check_settings(self, ratings)
