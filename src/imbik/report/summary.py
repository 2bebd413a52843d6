"""What is chosen, what it keeps, gains and costs."""

from __future__ import annotations

from imbik.measure.measurement import Measurement
from imbik.measure.quantities import least_steady
from imbik.report.data import ReportData

_LIMIT_UNITS = {"retention": "share", "latency_p95_ms": "ms", "megabytes": "mb"}


class Summary:
    """What is chosen, what it keeps, gains and costs, and what makes that weaker than it looks."""

    def __init__(self, data: ReportData) -> None:
        self.data = data

    def sentences(self) -> list[str]:
        """Return three sentences: what is chosen and what it keeps, what it gains, what it costs."""
        data = self.data
        chosen, base = data.chosen, data.results.baseline
        # measured without a teacher: nothing to keep, gain or save against
        if base is None:
            return [data.say("summary.alone", id=chosen)]
        keeps = data.say(
            "summary.keeps" if data.choice.meets else "summary.closest",
            id=chosen,
            metric=data.texts("metric.quality") if data.error_metric else data.metric_name,
            retention=data.cell(chosen, "retention"),
            low=data.stored(chosen, "retention.low", "share"),
            high=data.stored(chosen, "retention.high", "share"),
            quality=data.cell(chosen, "quality"),
        )
        gains = data.say(
            "summary.gains",
            p50=data.cell(chosen, "p50"),
            base_p50=data.cell(base, "p50"),
            speedup=data.cell(chosen, "speedup"),
            gain=data.cell(chosen, "throughput_gain"),
            size=data.cell(chosen, "megabytes"),
            base_size=data.cell(base, "megabytes"),
        )
        return [keeps, gains, *self._over_rival(chosen), self._cost(chosen, base)]

    def _over_rival(self, chosen: str) -> list[str]:
        """Return what the choice has over the best of what a user would try first, in points and in cost."""
        data = self.data
        found = data.results.get(chosen)
        rival = found.over_rival.id if found is not None else None
        if rival is None or data.results.get(rival) is None:
            return []
        return [
            data.say(
                "summary.rival",
                id=chosen,
                other=rival,
                points=data.stored(chosen, "over_rival.value", "points"),
                low=data.stored(chosen, "over_rival.low", "points"),
                high=data.stored(chosen, "over_rival.high", "points"),
                p50=data.cell(chosen, "p50"),
                rival_p50=data.cell(rival, "p50"),
                size=data.cell(chosen, "megabytes"),
                rival_size=data.cell(rival, "megabytes"),
            )
        ]

    def _cost(self, chosen: str, base: str) -> str:
        data = self.data
        own, teacher = (data.figures.cost(data.run, identifier, "always-on") for identifier in (chosen, base))
        per_day = data.figures.load("always-on", "per_day")
        if own.yearly.value is None or teacher.yearly.value is None:
            return data.say("summary.no_cost", per_day=per_day)
        return data.say(
            "summary.same_cost" if own.yearly.value == teacher.yearly.value else "summary.cost",
            per_day=per_day,
            yearly=own.yearly,
            base_yearly=teacher.yearly,
            million=own.per_million,
            base_million=teacher.per_million,
            carries=own.carries,
            base_carries=teacher.carries,
        )

    def by_use(self) -> str | None:
        """Return which candidate is best for single requests and which for batches, where the choice names both and they differ."""
        single, batch = self.data.choice.single, self.data.choice.batch
        if single is None or batch is None or single.id == batch.id:
            return None
        return self.data.say("summary.by_use", single=single.id, batch=batch.id)

    def shortfall(self) -> list[str]:
        """Return what the choice lacks, a sentence per limit."""
        data, sentences = self.data, []
        for name, missed in data.choice.shortfall.items():
            if name == "retention" and missed.value is None and data.baseline and data.baseline.dev_quality.value is not None:
                sentences.append(data.say("shortfall.no_share", quality=data.stored(data.baseline.id, "dev_quality.value", "quality")))
                continue
            if missed.value is None or name not in _LIMIT_UNITS:
                sentences.append(data.say("shortfall.not_measured", text=name))
                continue
            value, limit = data.figures.shortfall(data.run, name, _LIMIT_UNITS[name])
            sentences.append(data.say(f"shortfall.{name}", value=value, limit=limit))
        return sentences

    def cautions(self) -> list[str]:
        """Return what makes these results weaker than they look.

        A busy machine, rounds of a candidate that disagree, a teacher that seems to have learned the dev rows.
        """
        data, sentences = self.data, []
        load, cores = data.results.environment.load, data.results.environment.cores
        if load and cores and load > 2 * cores:  # the run's own training leaves a load of about the cores
            shown = data.figures.machine_load(data.run), data.figures.machine_cores(data.run)
            sentences.append(data.say("caution.busy", load=shown[0], cores=shown[1]))
        if worst := least_steady(data.results.measurements):
            sentences.append(data.say("caution.unsteady", id=worst.id, ratio=data.figures.unsteadiness(data.run, worst.id)))
        if data.baseline and self._dev_is_too_good(data.baseline):
            dev = data.stored(data.baseline.id, "dev_quality.value", "quality")
            sentences.append(data.say("caution.dev", dev=dev, test=data.cell(data.baseline.id, "quality")))
        return sentences

    def _dev_is_too_good(self, base: Measurement) -> bool:
        """Return whether the teacher is better on dev than its whole test interval by as much as that is wide."""
        dev, low, high = base.dev_quality.value, base.quality.low, base.quality.high
        if dev is None or low is None or high is None:
            return False
        # as far again as the interval is wide: a dev set that is a little easier is no reason for
        # alarm
        margin = high - low
        return dev < low - margin if self.data.error_metric else dev > high + margin
