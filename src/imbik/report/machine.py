"""On what and how it was measured."""

from __future__ import annotations

from imbik.advise.profiles import same_task
from imbik.locale.phrases import decimals
from imbik.report.data import ReportData


class Machine:
    """On what and how it was measured."""

    def __init__(self, data: ReportData) -> None:
        self.data = data

    def facts(self) -> list[tuple[str, str]]:
        """Return the machine, as far as the results say: (key of the text ``method.<key>``, what it is)."""
        known, texts = self.data.results.environment, self.data.texts
        facts = [
            ("cpu", known.cpu),
            ("flags", ", ".join(known.flags)),
            ("cores", known.cores),
            ("logical_cores", known.logical_cores),
            ("threads", known.threads),
            ("batches", self._batches()),
            ("os", known.os),
            ("load", None if known.load is None else texts.number(known.load, decimals(known.load))),
            ("memory", known.memory_bytes and f"{texts.number(known.memory_bytes / 2**30, 1)} GiB"),
            ("versions", ", ".join(f"{name} {version}" for name, version in known.versions.items())),
        ]
        return [(key, str(fact)) for key, fact in facts if fact not in (None, "", 0)]

    def _batches(self) -> str | None:
        """Return how batches were timed; None where none were."""
        texts, timed = self.data.texts, [m.throughput for m in self.data.results.measurements if m.throughput.rounds]
        if not timed:
            return None
        of = next((one for one in timed if one.texts), None)
        if of is None:
            return texts("method.batches_again")
        shares = [one.first_sight_per_s / one.items_per_s for one in timed if one.first_sight_per_s and one.items_per_s]
        counts = {"texts": texts.number(of.texts or 0), "before": texts.number(of.read_before or 0)}
        return texts("method.batches_once", **counts, least=texts.percent(min(shares), 0), most=texts.percent(max(shares), 0))

    def notes(self) -> list[str]:
        """Return what a reader must know about the data."""
        return [self.data.texts.note(note) for note in self.data.results.data.notes]

    def profiles(self) -> list[str]:
        """Return the files that were measured on target devices and count for this run."""
        used = [profile for profile in self.data.source.devices if same_task(profile, self.data.results)]
        return [", ".join(filter(None, (p.path.name if p.path else None, p.environment.cpu))) for p in used]

    def failures(self) -> list[tuple[str, str]]:
        """Return what failed: (recipe or candidate, why)."""
        texts = self.data.texts
        return [
            (f.get("name") or f.get("id") or "", texts.note(f["note"]) if "note" in f else f["error"]) for f in self.data.results.failures
        ]
