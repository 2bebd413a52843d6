"""What machines cost: ``prices.yaml``, shipped as an example and edited by the user, read and checked."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imbik.errors import UserError
from imbik.jobs.validated import Location, Wording, dotted, parse_yaml, read_yaml, validated

HOURS_PER_YEAR = 8760.0
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Instance:
    """A kind of machine. ``sustained``: share of its processors that can be used all the time (below 1 on burstable ones).
    ``yearly`` is the price of one that runs all year: 8,760 hours, or twelve months
    where the price is monthly."""

    name: str
    vcpu: int
    memory_gb: float
    gpu: int
    hourly: float
    yearly: float
    billing_minutes: float
    sustained: float
    source: str
    date: str


@dataclass(frozen=True)
class Prices:
    """A price list; ``path`` is None for the shipped example."""

    currency: str
    instances: tuple[Instance, ...]
    path: str | None


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1)]
    vcpu: Annotated[int, Field(gt=0)]
    memory_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    gpu: Annotated[int, Field(ge=0)] = 0
    hourly: _Amount | None = None
    monthly: _Amount | None = None
    billing_minutes: Annotated[float, Field(gt=0, le=60)] = 1.0
    sustained: Annotated[float, Field(gt=0, le=1)] = 1.0
    source: Annotated[str, Field(min_length=1)]
    date: datetime.date

    @model_validator(mode="after")
    def _one_price(self) -> _Row:
        if (self.hourly is None) == (self.monthly is None):
            raise ValueError("give exactly one of hourly and monthly")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    instances: Annotated[list[_Row], Field(min_length=1)]


def load_prices(path: str | Path | None = None) -> Prices:
    """Load the price list at ``path``; the shipped example without one.

    Raises:
        UserError: no such file, broken YAML, no currency, a negative price, an unknown field, a duplicate name.

    >>> load_prices().currency
    'USD'
    """
    where = str(path) if path else "prices.yaml (shipped)"
    fix = "print the shipped one with imbik roi --show-prices"
    document = read_yaml(path, "price list", fix) if path else parse_yaml(shipped_prices(), where)
    if not isinstance(document, dict):
        raise UserError("not a price list", where=where, expected="currency: and instances:", fix="start from imbik roi --show-prices")
    if "currency" not in document:
        raise UserError("no currency", where=where, expected="currency: USD (a three-letter code)", fix="add the line")
    wording = Wording(wrong="price list not valid", place=lambda location: _place(document, location))
    file = validated(_File, document, where, wording)
    names = [row.name for row in file.instances]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise UserError("duplicate instance", where=f"{where}, instances", found=", ".join(duplicates))
    return Prices(file.currency, tuple(_instance(row) for row in file.instances), str(path) if path else None)


def shipped_prices() -> str:
    """Return the YAML of the shipped price list, comments and all."""
    return files("imbik.roi").joinpath("prices.yaml").read_text("utf-8")


def _instance(row: _Row) -> Instance:
    # a month is a twelfth of a year's hours, 730, as providers reckon
    hourly = row.hourly if row.hourly is not None else (row.monthly or 0.0) * 12 / HOURS_PER_YEAR
    yearly = row.hourly * HOURS_PER_YEAR if row.hourly is not None else (row.monthly or 0.0) * 12
    return Instance(
        name=row.name,
        vcpu=row.vcpu,
        memory_gb=row.memory_gb,
        gpu=row.gpu,
        hourly=hourly,
        yearly=yearly,
        billing_minutes=row.billing_minutes,
        sustained=row.sustained,
        source=row.source,
        date=row.date.isoformat(),
    )


def _place(document: dict[str, Any], location: Location) -> str:
    """Return a place in the list, with the instance's name where it is about one."""
    row = document["instances"][location[1]] if tuple(location[:1]) == ("instances",) and len(location) > 1 else None
    name = row.get("name") if isinstance(row, dict) else None
    return f"{dotted(location)} ({name})" if name else dotted(location)
