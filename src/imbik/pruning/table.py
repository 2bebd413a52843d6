"""What the parts of an encoder cost on one machine: a table that is fitted to measured artefacts, and its file.

cost = base + Σ over layers (layer + steps of its heads + steps of its units); a step is what the next width costs. A model of one layer
has a base and steps of its own: its query is the same for every text, and is folded into the keys. So has the last of several, of which
artefacts compute the first token alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.jobs.files import refuse_foreign_file, write_json
from imbik.jobs.paths import with_home
from imbik.jobs.reading import damage_told, read_text
from imbik.jobs.validated import validated

FORMAT = "imbik costs"
"""What the file says of itself."""

Count = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Architecture:
    """An encoder that was cut out of a larger one.

    Attributes:
        layers: places of the layers that stay in the teacher, counted from 0, ascending.
        heads, units: how many each of them keeps.
    """

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    units: tuple[int, ...]

    def step(self) -> dict[str, Any]:
        """Return the recipe step that makes it of a teacher.

        >>> Architecture((0, 2), (4, 2), (64, 32)).step()
        {'prune': {'layers': [1, 3], 'heads': [4, 2], 'units': [64, 32]}}
        """
        return {"prune": {"layers": [place + 1 for place in self.layers], "heads": list(self.heads), "units": list(self.units)}}


@dataclass(frozen=True)
class Cost:
    """What one architecture costs.

    Attributes:
        ms: median time of a single request.
        bytes: of its artefact.
        batch_ms: time of a text in batches.
    """

    ms: float
    bytes: float
    batch_ms: float


class Widths(Protocol):
    """What has the widths that a layer may have, ascending."""

    @property
    def heads(self) -> tuple[int, ...]:
        """Numbers of heads."""

    @property
    def units(self) -> tuple[int, ...]:
        """Numbers of units."""


@dataclass(frozen=True)
class Table:
    """Fitted costs of the parts of an architecture.

    Attributes:
        heads, units: the widths that were measured.
        terms: name of a part (:func:`terms_of`) -> ``[ms, bytes, batch_ms]``.
        measured: what they were fitted to: one entry for each artefact.
    """

    heads: list[Count]
    units: list[Count]
    terms: dict[str, list[float]]
    measured: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def fitted(cls, space: Widths, architectures: Sequence[Architecture], costs: Sequence[Cost]) -> Table:
        """Return the table that explains measured costs best, in the relative error."""
        heads, units = list(space.heads), list(space.units)
        counted = [terms_of(one, heads, units) for one in architectures]
        names = sorted({name for counts in counted for name in counts})
        known = np.array([[counts[name] for name in names] for counts in counted], dtype=np.float64)
        wanted = np.array([[cost.ms, cost.bytes, cost.batch_ms] for cost in costs])
        # every row divided by what was measured: a percent counts alike in small models and large ones
        terms = np.stack([np.linalg.lstsq(known / own[:, None], np.ones(len(own)), rcond=None)[0] for own in wanted.T], 1)
        measured = [{**asdict(one), "cost": asdict(cost)} for one, cost in zip(architectures, costs, strict=True)]
        return cls(heads, units, dict(zip(names, terms.tolist(), strict=True)), measured)

    def cost(self, chosen: Architecture) -> Cost:
        """Return what an architecture costs by the table."""
        counts = terms_of(chosen, self.heads, self.units)
        total = np.sum([count * np.array(self.terms[name]) for name, count in counts.items()], 0)
        return Cost(*(float(value) for value in total))

    def least(self, layers: int) -> NDArray[np.float64]:
        """Return the least that an architecture of up to so many layers costs: ms, bytes and batch_ms, each on its own.

        >>> Table([1], [4, 8], {"one layer": [2.0, 9.0, 1.0], "only units 8": [-0.5, 1.0, 0.0]}).least(1).tolist()
        [1.5, 9.0, 1.0]
        """
        terms = {name: np.asarray(values, dtype=np.float64) for name, values in self.terms.items()}

        def narrowest(where: str) -> NDArray[np.float64]:
            kinds = (("heads", self.heads), ("units", self.units))
            steps = [[np.zeros(3), *(terms[f"{where} {kind} {width}"] for width in widths[1:])] for kind, widths in kinds]
            return np.asarray(sum(np.cumsum(own, 0).min(0) for own in steps))

        found = [terms["one layer"] + narrowest("only")]
        if layers > 1:
            base, inner = terms["several layers"] + narrowest("last"), terms["inner layer"] + narrowest("inner")
            found += [base + inner, base + (layers - 1) * inner]
        return np.asarray(np.min(found, 0))

    def fixed_ms(self, layers: int) -> float:
        """Return the milliseconds of a model of so many layers that none of its heads and units above the least can save."""
        return self._ms("several layers" if layers > 1 else "one layer") + (layers - 1) * self._ms("inner layer")

    def block_ms(self, kind: Literal["heads", "units"], place: int, layers: int) -> NDArray[np.float64]:
        """Return what 0, 1, …, all heads or units of a layer cost above the narrowest that was measured, ``(count + 1,)``, rising.

        Between two measured widths on the line through them. Below the narrowest nothing is saved: nothing was measured there, and what
        the narrowest costs is part of the layer. A step that measured negative, which is noise, costs nothing.

        Args:
            kind: ``heads`` or ``units``.
            place: of the layer, from 0, among those of the model.
            layers: of the model.

        >>> table = Table([1], [4, 8], {"only units 8": [0.5, 0.0, 0.0]})
        >>> [float(ms) for ms in table.block_ms("units", 0, 1)]
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.125, 0.25, 0.375, 0.5]
        """
        widths = {"heads": self.heads, "units": self.units}[kind]
        where = place_of(place, layers)
        # rising, as every budget needs it
        steps = [max(0.0, self._ms(f"{where} {kind} {width}")) for width in widths[1:]]
        return np.asarray(np.interp(np.arange(widths[-1] + 1), widths, np.concatenate([[0.0], np.cumsum(steps)])))

    def _ms(self, name: str) -> float:
        return self.terms[name][0]


def place_of(place: int, layers: int) -> str:
    """Return which steps a layer has: ``inner``, ``last`` of several, or the ``only`` one."""
    return "inner" if place < layers - 1 else "last" if layers > 1 else "only"


def terms_of(chosen: Architecture, heads: Sequence[int], units: Sequence[int]) -> Counter[str]:
    """Return how often each part stands in an architecture.

    >>> sorted(terms_of(Architecture((0, 3), (4, 2), (64, 32)), [2, 4], [32, 64]))
    ['inner heads 4', 'inner layer', 'inner units 64', 'several layers']
    """
    count = len(chosen.layers)
    found = Counter(["several layers" if count > 1 else "one layer"])
    for place, (own_heads, own_units) in enumerate(zip(chosen.heads, chosen.units, strict=True)):
        kind = place_of(place, count)
        # there is always one last layer: its own constant is part of the base
        found.update(["inner layer"] if kind == "inner" else [])
        found.update(f"{kind} heads {width}" for width in heads[1:] if width <= own_heads)
        found.update(f"{kind} units {width}" for width in units[1:] if width <= own_units)
    return found


@dataclass(frozen=True)
class Shape:
    """The model whose parts were measured.

    Attributes:
        architecture: ``model_type`` of its config.
        hidden: its hidden size.
        layers: its depth.
        heads, units: of each layer.
        pieces: rows of its word table; they weigh bytes and cost no time.
    """

    architecture: str
    hidden: Count
    layers: Count
    heads: Count
    units: Count
    pieces: Count

    def differs(self, other: Shape, *, pieces: bool) -> str | None:
        """Return in what another model is different, for a message; None where its parts cost the same.

        Args:
            other: the other model.
            pieces: whether the word tables count: they do where bytes do.
        """
        own, asked = asdict(self), asdict(other)
        names = [name for name in own if own[name] != asked[name] and (pieces or name != "pieces")]
        return ", ".join(f"{name} {own[name]}" for name in names) or None


@dataclass(frozen=True)
class CostFile:
    """A table with what it was measured of and on: ``costs.json``.

    Attributes:
        shape: the model.
        engine, threads, scheme: how artefacts were built and run.
        machine: what :func:`imbik.machine.environment` says of it.
        table: the costs.
        format: always :data:`FORMAT`.
    """

    shape: Shape
    engine: str
    threads: Count
    scheme: str
    machine: Mapping[str, Any]
    table: Table
    format: Literal["imbik costs"] = "imbik costs"

    @classmethod
    def read(cls, path: str | Path) -> CostFile:
        """Read the file.

        Raises:
            UserError: no such file, or none that ``imbik search`` wrote.
        """
        fix = "name the costs.json in the output folder of imbik search"
        expected = "a costs.json that imbik search wrote"
        text = read_text(with_home(path), "table of costs", expected=expected, fix=fix)
        with damage_told("not a table of costs", path, expected=expected, fix=fix):
            document = json.loads(text)
        found = validated(cls, document, path)
        # a part that is not there would be found out only when a model needs it
        missing = sorted(found._names() - found.table.terms.keys())
        if missing or any(len(values) != 3 for values in found.table.terms.values()):
            raise UserError("the table lacks parts", where=path, found=", ".join(missing) or "parts without three numbers", fix=fix)
        least = found.table.least(found.shape.layers)
        # a part may have come out negative, which is noise; no whole model costs nothing, and none NaN
        if not np.isfinite(list(found.table.terms.values())).all() or not (least > 0).all():
            shown = ", ".join(f"{value:.4g}" for value in least)
            expected = "finite numbers by which every architecture costs more than nothing"
            raise UserError("the table gives a model no cost", where=path, found=shown, expected=expected, fix=fix)
        return found

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            UserError: a file of that name that imbik did not make.
        """
        refuse_costs(path)
        write_json(path, asdict(self))

    def check(self, shape: Shape, where: object, *, pieces: bool) -> None:
        """Refuse another model than the one that was measured.

        Raises:
            UserError: as said.
        """
        told = self.shape.differs(shape, pieces=pieces)
        if told is not None:
            expected = f"a table of {shape.differs(self.shape, pieces=pieces)}"
            fix = "measure this model's parts: imbik search writes costs.json"
            raise UserError("the table is one of another model", where=where, found=told, expected=expected, fix=fix)

    def _names(self) -> set[str]:
        """Return the parts that architectures of this model may have."""
        table, layers = self.table, self.shape.layers
        ascending = all(widths == sorted(set(widths)) for widths in (table.heads, table.units))
        if not ascending or table.heads[-1:] != [self.shape.heads] or table.units[-1:] != [self.shape.units]:
            return {"the widths of the whole model"}
        kinds = ["only", *(["inner", "last"] if layers > 1 else [])]
        steps = {f"{kind} {name} {width}" for kind in kinds for name in ("heads", "units") for width in getattr(table, name)[1:]}
        return steps | {"one layer"} | ({"several layers"} if layers > 1 else set()) | ({"inner layer"} if layers > 1 else set())


def refuse_costs(path: Path) -> None:
    """Refuse a file of somebody else in the place of the table's, before hours of work.

    Raises:
        UserError: as said.
    """
    refuse_foreign_file(path, lambda own: f'"{FORMAT}"' in own.read_text(encoding="utf-8"))
