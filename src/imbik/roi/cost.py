"""What a candidate costs a year: machines needed for a volume at a latency limit, always on or in a nightly
window.

Assumed, and said in every output: a worker is one process with as many processors as the measurement used,
and an instance's processors are as fast as the measuring machine's; ``speed`` scales that. Sizing is for the
peak, without autoscaling.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from imbik.errors import UserError
from imbik.measure.measurement import Latency, Measurement
from imbik.measure.results import Results
from imbik.measure.values import Environment
from imbik.roi.prices import HOURS_PER_YEAR, Instance, Prices
from imbik.roi.queueing import highest_rate, response_quantile, service_times
from imbik.runtime.engines.registry import shown_only

MEMORY_SHARE = 0.8  # of an instance's memory that workers may fill; the rest is the system's
TABLE = 32  # instances up to which the highest rate is computed; beyond, it grows in proportion
DAY_S = 86_400.0


@dataclass(frozen=True)
class Load:
    """What has to be served.

    Attributes:
        per_day: requests a day, or items a night.
        mode: ``always-on`` (each request answered as it comes) or ``batch`` (all items within
            ``window_hours``).
        peak_factor: the busiest hour's rate over the day's mean rate.
        limit_ms: p95 of response time, waiting included.
        utilisation: no worker is planned busier than this.
        window_hours: of a batch.
        speed: an instance's processor over the measuring machine's; 1 is an assumption, not a measurement.
        min_instances: running at least (2 for availability).
    """

    per_day: float
    mode: str = "always-on"
    peak_factor: float = 4.0
    limit_ms: float = 100.0
    utilisation: float = 0.6
    window_hours: float = 8.0
    speed: float = 1.0
    min_instances: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("per_day", 0, math.inf), ("limit_ms", 0, math.inf), ("speed", 0, math.inf),
            ("utilisation", 0, 0.95), ("window_hours", 0, 24),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low < value <= high or value == math.inf:
                option = "--" + {"per_day": "requests-per-day"}.get(name, name).replace("_", "-")
                asked = f"above 0, at most {high:g}" if high < math.inf else "a finite number above 0"
                raise UserError("out of range", where=option, found=value, expected=asked)
        if not 1 <= self.peak_factor < math.inf:
            raise UserError("out of range", where="--peak-factor", found=self.peak_factor, expected="1 (no peak) or more")
        if self.min_instances < 1:
            raise UserError("out of range", where="--min-instances", found=self.min_instances, expected="1 or more")
        if self.mode not in ("always-on", "batch"):
            raise UserError("no such mode", where="--mode", found=self.mode, expected="always-on or batch")

    @property
    def peak_rate(self) -> float:
        """Requests a second in the busiest hour."""
        return self.per_day * self.peak_factor / DAY_S


@dataclass(frozen=True)
class Cost:
    """The cheapest way to run a candidate under a load.

    Attributes:
        id: the candidate.
        instance: name in the price list; None when none can carry it, with ``why_not``.
        workers: on one instance.
        count: instances.
        p95_ms: of response time in the busiest hour (always-on).
        busy: share of a worker's time in the busiest hour (always-on) or of the window (batch).
        hours: billed a year, over all instances.
        yearly: in the price list's currency.
        per_million: marginal cost of a million requests at the planned utilisation.
        rates: ``rates[n - 1]``: requests a second that n instances can take (always-on), items a second
            (batch).
        unchecked: what was not measured and therefore not checked (``memory``).
    """

    id: str
    instance: str | None
    workers: int = 0
    count: int = 0
    p95_ms: float | None = None
    busy: float | None = None
    hours: float = 0.0
    yearly: float | None = None
    per_million: float | None = None
    rates: tuple[float, ...] = ()
    why_not: str | None = None
    unchecked: tuple[str, ...] = ()


def workers_on(m: Measurement, instance: Instance, environment: Environment) -> int:
    """Return the workers that fit on an instance: by processors (the threads that were measured, as logical processors)
    and by 80 % of memory."""
    cores, logical = environment.cores, environment.logical_cores
    per_core = logical / cores if cores and logical else 1.0
    # clouds sell logical processors, threads were measured on physical cores
    by_cpu = int(instance.vcpu / max(1.0, (m.threads or 1) * per_core))
    if not m.peak_rss_bytes:
        return by_cpu
    return min(by_cpu, int(instance.memory_gb * 1e9 * MEMORY_SHARE / m.peak_rss_bytes))


def instances_needed(rates: tuple[float, ...], rate: float, least: int = 1) -> int | None:
    """Return the fewest instances whose highest rate carries ``rate``; beyond the table in proportion to its last
    entry; None when no number of instances keeps the limit. The page's sliders compute the same.

    >>> instances_needed((1.0, 2.5), 2.0), instances_needed((1.0, 2.5), 6.0), instances_needed((0.0,), 1.0)
    (2, 5, None)
    """
    for n, highest in enumerate(rates, 1):
        if rate <= highest * (1 + 1e-9):
            # the factor above forgives the last digits of rates that were multiplied and divided
            # again
            return max(n, least)
    last = rates[-1] if rates else 0.0
    return max(math.ceil(rate / last * len(rates) - 1e-9), least) if last > 0 else None


@functools.lru_cache(maxsize=4096)
def _rates(latency: Latency, workers: int, limit_s: float, utilisation: float, speed: float) -> tuple[float, ...]:
    times = service_times(latency, 1.0 / speed)
    assert times is not None  # the caller has asked
    found: list[float] = []
    cap = utilisation * workers / float(times.mean())
    for n in range(1, TABLE + 1):
        # once utilisation and not waiting is the bound, it stays so: no more bisections are needed
        pooled = found and found[-1] >= cap * (n - 1) * (1 - 1e-9)  # more workers behind one queue only wait less
        found.append(cap * n if pooled else highest_rate(times, workers * n, limit_s, utilisation))
    return tuple(found)


def _always_on(m: Measurement, instance: Instance, workers: int, load: Load) -> Cost:
    times = service_times(m.latency_ms, 1.0 / load.speed)
    if times is None:
        return Cost(m.id, None, why_not="latency")
    rates = _rates(m.latency_ms, workers, load.limit_ms / 1000, load.utilisation, load.speed)
    count = instances_needed(rates, load.peak_rate, load.min_instances)
    if count is None:
        return Cost(m.id, None, why_not="limit")
    # all workers behind one queue, as behind a load balancer that sends to whoever is free
    servers = count * workers
    return Cost(
        id=m.id,
        instance=instance.name,
        workers=workers,
        count=count,
        p95_ms=response_quantile(times, servers, load.peak_rate) * 1000,
        busy=load.peak_rate * float(times.mean()) / servers,
        hours=count * HOURS_PER_YEAR,
        yearly=count * instance.yearly,
        per_million=instance.hourly / 3600 / rates[0] * 1e6 if rates[0] else None,
        rates=rates,
    )


def _batch(m: Measurement, instance: Instance, workers: int, load: Load) -> Cost:
    rate = m.throughput.items_per_s
    if not rate:
        return Cost(m.id, None, why_not="throughput")
    each = rate * load.speed * workers
    start = m.cold_start_s or 0.0
    # the cold start is paid once per night and instance, before the first item
    window = load.window_hours * 3600 * load.utilisation - start
    if window <= 0:
        return Cost(m.id, None, why_not="limit")
    count = max(math.ceil(load.per_day / each / window - 1e-9), load.min_instances)
    seconds = load.per_day / each / count + start
    unit = instance.billing_minutes * 60
    # the small number keeps 60.000000001 s from being billed as two minutes
    hours = count * math.ceil(seconds / unit - 1e-9) * unit / 3600 * 365
    rates = tuple(each * n for n in range(1, TABLE + 1))
    return Cost(
        id=m.id,
        instance=instance.name,
        workers=workers,
        count=count,
        busy=seconds / (load.window_hours * 3600),
        hours=hours,
        yearly=hours * instance.hourly,
        per_million=instance.hourly / 3600 / (each * instance.sustained) * 1e6,
        rates=rates,
    )


def options(m: Measurement, prices: Prices, load: Load, environment: Environment) -> tuple[list[tuple[Instance, Cost]], list[str]]:
    """Return every instance of the price list that can carry the load with ``m``, with its cost; and why the others cannot.

    GPU instances are only considered for measurements made on a GPU. What runs on an engine that is only shown has no
    price: how many workers share a GPU was not measured.
    """
    if shown_only(m.engine):
        return [], ["instances"]
    found: list[tuple[Instance, Cost]] = []
    reasons: list[str] = []
    for instance in prices.instances:
        if instance.gpu and not environment.gpu:
            continue
        workers = workers_on(m, instance, environment)
        if workers < 1:
            reasons.append("size")
            continue
        # a burstable machine cannot be planned above what it may use all the time
        planned = replace(load, utilisation=min(load.utilisation, instance.sustained))
        cost = (_batch if load.mode == "batch" else _always_on)(m, instance, workers, planned)
        if cost.why_not:
            reasons.append(cost.why_not)
        else:
            found.append((instance, cost if m.peak_rss_bytes else replace(cost, unchecked=("memory",))))
    return found, reasons or ["instances"]


def cost_of(m: Measurement, prices: Prices, load: Load, environment: Environment) -> Cost:
    """Return the cheapest of :func:`options`; equal costs: the fewest instances, then the lowest marginal cost.

    Always-on: the fewest instances whose p95 response time at the peak rate keeps the limit (:mod:`imbik.roi.queueing`), all year. Batch:
    items / (items/s x workers) on as few instances as keep the window at the planned utilisation, billed in whole units, 365 nights.
    """
    found, reasons = options(m, prices, load, environment)
    if not found:
        return Cost(m.id, None, why_not=reasons[0])
    return min((cost for _, cost in found), key=lambda c: (c.yearly or 0.0, c.count, c.per_million or 0.0))


def roi(results: Results, prices: Prices, load: Load) -> tuple[Cost, ...]:
    """Compute one :class:`Cost` per measurement, in the order of the results.

    Raises:
        UserError: nothing was measured.
    """
    if not results.measurements:
        raise UserError("nothing was measured", where=results.path or "results.json", fix="run imbik compress or imbik measure first")
    return tuple(cost_of(m, prices, load, results.environment) for m in results.measurements)


class Saving(NamedTuple):
    """What one cost is below another: an amount a year, and its share of the other."""

    amount: float
    share: float


def saving(cost: Cost, baseline: Cost | None) -> Saving | None:
    """Return what ``cost`` saves against the baseline's; None where one of them has no cost.

    >>> saving(Cost("a", "x", yearly=6000.0), Cost("b", "x", yearly=14400.0))
    Saving(amount=8400.0, share=0.5833333333333334)
    """
    if cost.yearly is None or baseline is None or not baseline.yearly:
        return None
    amount = baseline.yearly - cost.yearly
    return Saving(amount, amount / baseline.yearly)
