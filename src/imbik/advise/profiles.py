"""Which of several results files are runs to judge, and which are profiles that ``imbik measure`` wrote on a target device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from imbik.errors import UserError
from imbik.measure.measurement import Measurement
from imbik.measure.results import Results


def split_runs(runs: Sequence[Results], devices: Sequence[Results]) -> tuple[list[Results], list[Results]]:
    """Tell runs to judge from device profiles, which are ``devices``, and results without a baseline that stand beside a run that has one.

    A profile is matched with the runs by the ids of its candidates. An artefact that was copied under another folder's name is
    recognized by what it is: same engine, steps, architecture, parameters and bytes.

    Raises:
        UserError: a profile that shares no candidate with the runs, or has another model under the id of one.
    """
    # imbik measure writes no baseline: beside a run of compress such a file is a device's
    whole = [run for run in runs if run.baseline is not None] or list(runs)
    profiles = [*devices, *(run for run in runs if run not in whole)]
    return whole, [_renamed(p, [m for run in whole if same_task(p, run) for m in run.measurements]) for p in profiles]


def same_task(profile: Results, run: Results) -> bool:
    """Return whether a profile can be about this run's candidates: two tasks have candidates of the same name, but not the same labels."""
    known, asked = profile.data.labels, run.data.labels
    return known is None or asked is None or known == asked


def _renamed(profile: Results, measured: Sequence[Measurement]) -> Results:
    """Return the profile with its candidates under the ids that the runs know them by."""
    known = {m.id for m in measured}
    rows = tuple(m if m.id in known else replace(m, id=_same(m, measured) or m.id) for m in profile.measurements)
    found = [m.id for m in rows]
    if not known.intersection(found):
        raise UserError(
            "the device's measurements name no candidate of the run",
            where=profile.path,
            found=", ".join(found) or "no measurement",
            expected=f"one of {', '.join(sorted(known)) or 'a run with the same labels'}",
            fix="copy RUN/<recipe>/artefacts/<engine> of this run to the device and measure it there",
        )
    for m in rows:
        _check_model(profile, m, [other for other in measured if other.id == m.id])
    return replace(profile, measurements=rows)


def _check_model(profile: Results, m: Measurement, namesakes: Sequence[Measurement]) -> None:
    """Refuse the figures of another model: an id is a recipe and an engine, which runs of two teachers share."""
    found = [_contradiction(m, other) for other in namesakes]
    first = found[0] if found else None
    if first is None or None in found:
        return
    what, own, asked = first
    raise UserError(
        "the device's measurements are of another model",
        where=f"{profile.path}, {m.id}",
        found=f"{what} {own}",
        expected=f"{asked}, as in the run",
        fix="copy RUN/<recipe>/artefacts/<engine> of this run to the device and measure it there",
    )


def _contradiction(m: Measurement, other: Measurement) -> tuple[str, object, object] | None:
    """Return the first field of what a model is in which two measurements differ, with both values; None where none does."""
    pairs = [("params", m.params, other.params), ("steps", list(m.steps) or None, list(other.steps) or None)]
    for entry in fields(m.architecture):
        pairs.append((f"architecture.{entry.name}", getattr(m.architecture, entry.name), getattr(other.architecture, entry.name)))
    # what one of them does not say contradicts nothing
    return next((pair for pair in pairs if None not in pair and pair[1] != pair[2]), None)


def _same(m: Measurement, measured: Sequence[Measurement]) -> str | None:
    """Return the id of the one candidate that is the same artefact."""
    ids = {other.id for other in measured if m.bytes and _nature(other) == _nature(m)}
    # two artefacts that are alike in all of this cannot be told apart by their files either
    return ids.pop() if len(ids) == 1 else None


def _nature(m: Measurement) -> tuple[object, ...]:
    return m.engine, m.steps, m.architecture, m.params, m.bytes
