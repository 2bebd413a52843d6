"""What machines cost: ``prices.yaml``, shipped as an example and edited by the user, read and checked."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imbik.errors import UserError

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
    """The price list at ``path``; the shipped example without one.

    Raises:
        UserError: no such file, broken YAML, no currency, a negative price, an unknown field, a name that
            stands twice.

    >>> load_prices().currency
    'USD'
    """
    where = str(path) if path else "prices.yaml (shipped)"
    try:
        text = Path(path).read_text(encoding="utf-8-sig") if path else shipped_prices()
    except (FileNotFoundError, IsADirectoryError):
        raise UserError("no such price list", where=where, fix="print the shipped one with imbik roi --show-prices") from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise UserError("not valid YAML", where=place, found=getattr(error, "problem", None)) from None
    if not isinstance(document, dict):
        raise UserError("not a price list", where=where, expected="currency: and instances:", fix="start from imbik roi --show-prices")
    try:
        file = _File.model_validate(document)
    except ValidationError as error:
        raise _mistake(where, document, error) from None
    names = [row.name for row in file.instances]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UserError("an instance stands twice", where=f"{where}, instances", found=", ".join(twice))
    return Prices(file.currency, tuple(_instance(row) for row in file.instances), str(path) if path else None)


def shipped_prices() -> str:
    """The YAML of the shipped price list, comments and all."""
    return files("imbik.roi").joinpath("prices.yaml").read_text("utf-8")


def _instance(row: _Row) -> Instance:
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


def _mistake(where: str, document: dict[str, Any], error: ValidationError) -> UserError:
    """The first finding, with the instance's name where it is about one."""
    first = error.errors()[0]
    location = list(first["loc"])
    place = ".".join(str(part) for part in location)
    if location[:1] == ["instances"] and len(location) > 1:
        row = document["instances"][location[1]]
        name = row.get("name") if isinstance(row, dict) else None
        place += f" ({name})" if name else ""
    if location == ["currency"] and first["type"] == "missing":
        return UserError("no currency", where=where, expected="currency: USD (a three-letter code)", fix="add the line")
    found = None if first["type"] == "missing" else repr(first["input"])[:80]
    return UserError("price list not valid", where=f"{where}, {place}", found=found, expected=first["msg"].removeprefix("Value error, "))
