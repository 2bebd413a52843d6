"""Who chooses recipes: Optuna's tree-structured Parzen estimator for several objectives, or chance.

Both are functions of the seed and of what was measured before, in its order: nothing else is remembered, so that a search that was killed
goes on as if it had not been.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from imbik.errors import MissingExtra, UserError
from imbik.jobs.fingerprints import key_of
from imbik.search.levers import Choices, Levers, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

SAMPLERS = ("optuna", "random")


@dataclass(frozen=True)
class Told:
    """A recipe that was measured.

    Attributes:
        choices: that made it.
        retention: share of the teacher's dev quality.
        ms: of a single request.
        bytes: shipped.
    """

    choices: Choices
    retention: float
    ms: float
    bytes: float


def check_sampler(name: str) -> None:
    """Refuse a sampler that there is not, before any work.

    Raises:
        UserError: there is none of that name.
        MissingExtra: Optuna is not installed.
    """
    if name not in SAMPLERS:
        raise UserError("unknown sampler", where="--sampler", found=name, expected=", ".join(SAMPLERS))
    if name == "optuna" and importlib.util.find_spec("optuna") is None:
        raise MissingExtra("optuna")


def ask(sampler: str, levers: Levers, told: Sequence[Told], place: Sequence[int]) -> Choices:
    """Return what to make next.

    Args:
        sampler: one of :data:`SAMPLERS`.
        levers: what there is to choose.
        told: what was measured, in its order.
        place: numbers of this question, the seed among them: what is random about the answer is a function of them.
    """
    # 32 bits: the most that Optuna takes
    seed = int(key_of({"place": list(place)})[:8], 16)
    if sampler == "random":
        return levers.draw(_Chance(np.random.default_rng(seed)))
    return levers.draw(_Asked(_trial(levers, told, seed)))


@dataclass(frozen=True)
class _Chance:
    """Draws at random."""

    generator: np.random.Generator

    def one_of(self, name: str, options: Sequence[Value]) -> Any:
        return options[int(self.generator.integers(len(options)))]

    def share(self, name: str) -> float:
        return float(self.generator.random())


@dataclass(frozen=True)
class _Asked:
    """Lets Optuna's trial draw."""

    trial: Trial

    def one_of(self, name: str, options: Sequence[Value]) -> Any:
        return self.trial.suggest_categorical(name, list(options))

    def share(self, name: str) -> float:
        return float(self.trial.suggest_float(name, 0.0, 1.0))


@dataclass
class _Replayed:
    """Draws what was chosen before, and notes among what."""

    choices: Choices
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)

    def one_of(self, name: str, options: Sequence[Value]) -> Any:
        from optuna.distributions import CategoricalDistribution

        self.distributions[name] = CategoricalDistribution(list(options))
        return self._chosen(name, options)

    def share(self, name: str) -> float:
        from optuna.distributions import FloatDistribution

        self.distributions[name] = FloatDistribution(0.0, 1.0)
        return float(self._chosen(name))

    def _chosen(self, name: str, options: Sequence[Value] | None = None) -> Any:
        if name not in self.choices or (options is not None and self.choices[name] not in options):
            raise _NoChoiceError(name)
        return self.choices[name]


class _NoChoiceError(Exception):
    """What was measured cannot be chosen here: an engine is not installed any more, or an older imbik had other choices."""


def _trial(levers: Levers, told: Sequence[Told], seed: int) -> Trial:
    """Return the next trial of a study that is made anew of all that was measured."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # in memory: the log is the database, and the seed of each question makes its answer a function of it
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=optuna.samplers.TPESampler(seed=seed))
    study.add_trials([trial for one in told if (trial := _finished(levers, one)) is not None])
    return study.ask()


def _finished(levers: Levers, one: Told) -> FrozenTrial | None:
    """Return a measured recipe as Optuna knows it; None where it is none of the choices that there are."""
    import optuna

    replayed = _Replayed(one.choices)
    try:
        levers.draw(replayed)
    except _NoChoiceError:
        return None
    # logarithms: half the time counts alike in fast models and slow ones
    values = [one.retention, math.log(one.ms), math.log(one.bytes)]
    params = {name: one.choices[name] for name in replayed.distributions}
    return optuna.trial.create_trial(values=values, params=params, distributions=replayed.distributions)
