"""Several artefacts as one: cheap models answer what they are sure of, the others what is left."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.files import inside
from imbik.runtime.cascade import Abstention, Cascade, Stage
from imbik.runtime.engines.engine import CompositeEngine
from imbik.runtime.engines.registry import register_engine
from imbik.runtime.manifest import read_manifest
from imbik.runtime.predictor import load_artefact


@register_engine
class Cascades(CompositeEngine):
    """The engines of its stages, each of which must be installed."""

    name = "cascade"
    title = "a cascade"
    packages = ("numpy",)
    order = 30

    def predictor(self, directory: Path, *, threads: int, batch_tokens: int | None) -> Cascade:
        """Open every stage; see :meth:`CompositeEngine.predictor`."""
        manifest = read_manifest(directory)
        path = directory / manifest["model"]
        plan = _plan(path)
        stages = []
        for stage in plan["stages"]:
            model = load_artefact(inside(directory, stage["folder"], path), threads=threads, batch_tokens=batch_tokens)
            if isinstance(model, Cascade):
                raise UserError("a stage is a cascade itself", where=path, found=stage["folder"], fix="name its stages one by one")
            stages.append(Stage(model, stage["weight"], stage["earlier"], stage["threshold"]))
        abstain = plan["abstain"]
        abstention = None if abstain is None else Abstention(abstain["label"], abstain["threshold"])
        _check_labels(path, manifest, stages, abstention)
        return Cascade(manifest, stages, abstention, threads)


def _plan(path: Path) -> Mapping[str, Any]:
    """Return what ``cascade.json`` holds.

    Raises:
        UserError: it is no such file.
    """
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        *earlier, last = plan["stages"]
        fits = (
            all(isinstance(one["folder"], str) and _above_zero(one["weight"]) and _number(one["earlier"]) for one in plan["stages"])
            and all(_number(one["threshold"]) for one in earlier)
            and last["threshold"] is None
            and (plan["abstain"] is None or (isinstance(plan["abstain"]["label"], str) and _number(plan["abstain"]["threshold"])))
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        fits, found = False, f"{type(error).__name__}: {error}"[:160]
    else:
        found = "fields that make no sense"
    if not fits:
        raise UserError("the stages of the cascade cannot be read", where=path, found=found, fix="copy the folder again, or make it again")
    checked: Mapping[str, Any] = plan
    return checked


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _above_zero(value: object) -> bool:
    return _number(value) and float(value) > 0  # type: ignore[arg-type]  # a number, by then


def _check_labels(path: Path, manifest: Mapping[str, Any], stages: list[Stage], abstention: Abstention | None) -> None:
    """Refuse stages that answer with other labels than the cascade says, or another task."""
    expected = tuple(manifest["labels"][: -1 if abstention is not None else None])
    for stage in stages:
        if stage.model.labels != expected or stage.model.task != manifest["task"]:
            raise UserError(
                "the stages of the cascade do not answer alike",
                where=path,
                found=f"{stage.model.task} with {len(stage.model.labels)} labels",
                expected=f"{manifest['task']} with {len(expected)} labels, the same in the same order",
                fix="copy the folder again, or make it again",
            )
