"""The rest of what a report says about one run: costs, classes, texts that differ, the machine, what did not help."""

from __future__ import annotations

from typing import Any

from imbik.advise.choice import slower_than_parent
from imbik.advise.profiles import same_task
from imbik.locale.phrases import decimals
from imbik.measure.quantities import less_is_better
from imbik.report.view import Judged, Shown
from imbik.roi.cost import options

_TEXTS = 12  # disagreements shown
_ENVIRONMENT = ("cpu", "flags", "cores", "logical_cores", "threads", "os", "load")


class View(Judged):
    """One run of a report, all of it."""

    def shortfall(self) -> list[str]:
        """What the choice lacks, a sentence per limit."""
        units = {"retention": ("share", 1), "latency_p95_ms": ("ms", 1), "megabytes": ("mb", 1)}
        found = []
        for name, s in (self.choice.get("shortfall") or {}).items():
            if s["value"] is None or name not in units:
                found.append(self.say("shortfall.not_measured", text=name))
                continue
            value, limit = (self.of("shortfall", name, part, unit=units[name][0]) for part in ("value", "limit"))
            found.append(self.say(f"shortfall.{name}", value=value, limit=limit))
        return found

    def cautions(self) -> list[str]:
        """What makes these results weaker than they look: a busy machine, a teacher that seems to have learned the dev rows."""
        found = []
        load, cores = (self.results.environment.get(k) for k in ("load", "cores"))
        if load and cores and load > 2 * cores:  # the run's own training leaves a load of about the cores
            shown = [self.of("environment", k, unit=unit) for k, unit in (("load", "plain"), ("cores", "count"))]
            found.append(self.say("caution.busy", load=shown[0], cores=shown[1]))
        if self.baseline and self._dev_is_too_good():
            dev, test = (self.at(self.baseline.id, f"{k}.value", "quality") for k in ("dev_quality", "quality"))
            found.append(self.say("caution.dev", dev=dev, test=test))
        return found

    def _dev_is_too_good(self) -> bool:
        """Return whether the teacher is better on dev than its whole test interval by as much as that is wide."""
        base = self.baseline
        if base is None:
            return False
        dev, low, high = base.dev_quality.get("value"), base.quality.get("low"), base.quality.get("high")
        if dev is None or low is None or high is None:
            return False
        margin = high - low
        return bool(dev < low - margin if less_is_better(base) else dev > high + margin)

    def environment(self) -> list[tuple[str, str]]:
        """The machine, as far as the results say."""
        known = self.results.environment
        found = [(key, self._fact(known[key])) for key in _ENVIRONMENT if known.get(key) not in (None, "", [])]
        if known.get("memory_bytes"):
            found.append(("memory", f"{self.texts.number(known['memory_bytes'] / 2**30, 1)} GiB"))
        if known.get("versions"):
            found.append(("versions", ", ".join(f"{k} {v}" for k, v in known["versions"].items())))
        return found

    def _fact(self, value: Any) -> str:
        return self.texts.number(value, decimals(value)) if isinstance(value, float) else _said(value)

    def costs(self, mode: str) -> list[dict[str, Any]]:
        """A row per candidate: instances, capacity of one, yearly cost, saving, cost of a million."""
        found = []
        for m in self.results.measurements:
            cost = self.page.source.cost(self.run, m.id, mode)
            row: dict[str, Any] = {"id": m.id, "kind": self.kind(m), "instance": cost.instance if cost else None,
                   "why_not": None if cost is None or cost.instance else cost.why_not}  # fmt: skip
            for name, unit in (("count", "count"), ("capacity", "per_s"), ("yearly", "money"), ("per_million", "money")):
                row[name] = self.of("cost", m.id, mode, name, unit=unit)
            row["saved"], row["share"] = (self.of("saving", m.id, mode, part, unit=u) for part, u in enumerate(("money", "share")))
            found.append(row)
        return found

    def cost_data(self) -> dict[str, Any]:
        """What the page's sliders compute from: per mode the load, per candidate every machine that can carry it."""
        source, found = self.page.source, {}
        for mode, load in source.loads.items():
            rows = []
            for m in self.results.measurements:
                fitting, _ = options(m, source.prices, load, self.results.environment)
                rows.append({"id": m.id, "options": [
                    {"instance": i.name, "hourly": i.hourly, "yearly": i.yearly, "billing_s": i.billing_minutes * 60, "rates": c.rates,
                     "per_million": c.per_million, "window_s": load.window_hours * 3600 * min(load.utilisation, i.sustained),
                     "cold_s": m.cold_start_s or 0.0} for i, c in fitting]})  # fmt: skip
            found[mode] = {"per_day": load.per_day, "peak": load.peak_factor, "least": load.min_instances, "rows": rows}
        return {"modes": found, "baseline": self.results.baseline, "currency": source.prices.currency, "lang": self.texts.lang}

    def classes(self) -> list[dict[str, Any]]:
        """Labels by how much F1 the choice loses against the teacher, worst first; empty where either lacks them."""
        chosen = self.results.get(self.choice["id"])
        if not chosen or not self.baseline or not chosen.per_class or not self.baseline.per_class:
            return []
        rows = []
        for label in chosen.per_class:
            gap = self.of("class_gap", chosen.id, label, unit="points")
            if gap.value is None:
                continue
            rows.append({"label": label, "gap": gap, "support": self._class(chosen.id, label, "support", "count"),
                         "student": self._class(chosen.id, label, "f1", "share"),
                         "teacher": self._class(str(self.results.baseline), label, "f1", "share")})  # fmt: skip
        return sorted(rows, key=lambda r: r["gap"].value)

    def _class(self, identifier: str, label: str, name: str, unit: str) -> Shown:
        return self.page.of("per_class", self.run, identifier, label, name, unit=unit)

    def disagreements(self) -> list[dict[str, Any]]:
        """Texts on which teacher and choice differ."""
        return [dict(d) for d in self.results.disagreements.get(self.choice["id"], ())][:_TEXTS]

    def remarks(self) -> list[dict[str, Any]]:
        """What was noted on candidates while they were made and measured."""
        found = []
        for m in self.results.measurements:
            if m.notes:
                found.append({"id": m.id, "said": [self.texts.note(note) for note in m.notes]})
        return found

    def data_notes(self) -> list[str]:
        """What a reader must know about the data."""
        return [self.texts.note(str(note)) for note in self.results.data.get("notes") or ()]

    def profiles(self) -> list[str]:
        """The files that were measured on target devices and count for this run."""
        used = [d for d in self.page.source.devices if same_task(d, self.results)]
        return [", ".join(filter(None, (d.path.name if d.path else None, d.environment.get("cpu")))) for d in used]

    def slower(self) -> list[dict[str, Any]]:
        """Quantized candidates that are slower than their float parents."""
        found = []
        for m in self.results.measurements:
            parent = slower_than_parent(m, self.results.measurements)
            if parent:
                found.append({"id": m.id, "other": parent.id, "p50": self.at(m.id, "latency_ms.p50", "ms"),
                              "before": self.at(parent.id, "latency_ms.p50", "ms")})  # fmt: skip
        return found


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
