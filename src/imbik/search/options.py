"""How a search goes, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.measure.results import Results
from imbik.measure.values import Limits
from imbik.search.candidate import Candidate, Made
from imbik.search.sandwich import Sandwich

LEVERS = ("all", "architecture", "settings")


@dataclass(frozen=True)
class SearchOptions:
    """How a search goes.

    Attributes:
        limits: what the winner must meet: the time of a single request, bytes, and the share of the teacher's dev quality.
        levers: what is searched: ``architecture`` (layers, heads and widths, by a supernet), ``settings`` (whole recipes, each made and
            measured), or ``all``: settings behind the architecture.
        strategy: ``evolution``, ``controller`` or ``random``: who chooses architectures.
        evaluations: architectures that are looked at.
        sampler: ``optuna`` or ``random``: who chooses recipes.
        recipes: that are made and measured.
        minutes: nothing new is looked at after this time.
        vocabulary: the word pieces that the task does not use go before an architecture is cut.
        table: a ``costs.json`` that another search measured, on another machine too; None: it is measured here.
        supernet: how the supernet is trained.
        distill: settings of the ``distill`` step of students with the teacher's layers.
        seed: of everything random.
        threads: of the engine that times; None: the physical cores.
        save_every: seconds between training states on disk.
        make: distil, export and measure the winner, and measure the front of the recipes side by side.
        lang: of the picture, ``en`` or ``tr``.
    """

    limits: Limits = field(default_factory=Limits)
    levers: str = "all"
    strategy: str = "evolution"
    evaluations: int = 200
    sampler: str = "optuna"
    recipes: int = 24
    minutes: float | None = None
    vocabulary: bool = True
    table: Path | None = None
    supernet: Sandwich = field(default_factory=Sandwich)
    distill: dict[str, Any] = field(default_factory=lambda: {"target_steps": 1500, "learning_rate": 3e-4})
    seed: int = 0
    threads: int | None = None
    save_every: float = 30.0
    make: bool = True
    lang: str = "en"

    def check_levers(self) -> None:
        """Refuse levers that there are not.

        Raises:
            UserError: as said.
        """
        if self.levers not in LEVERS:
            raise UserError("unknown levers", where="--levers", found=self.levers, expected=", ".join(LEVERS))


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        best: the best one so far.
        recipe: the file that makes it.
        looked_at: how many architectures were evaluated, those of earlier calls included.
        made: how many recipes were made.
        finished: whether all that was asked for was looked at.
        results: of the winner, measured, or of the front of the recipes side by side; None where that was not made.
        interrupted: whether the user stopped it (Ctrl-C).
    """

    best: Candidate | Made
    recipe: Path
    looked_at: int
    made: int
    finished: bool
    results: Results | None
    interrupted: bool = False
