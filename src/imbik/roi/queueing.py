"""How long a request waits: the response time of c equal workers behind one queue, from measured service
times.

Requests arrive at random (a Poisson stream), each of the c workers serves one at a time, first come first
served: M/G/c. A request waits with Erlang's probability C(c, a) (Erlang 1917; exact for exponential service,
close for others). The wait of those that do wait is taken as that of one worker who is c times as fast, by
Pollaczek and Khinchine: a geometric sum of residual service times (exact for c = 1; for c > 1 its mean is
that of Lee and Longton 1959, cf. Tijms, A First Course in Stochastic Models, 2003, ch. 9). Response = wait +
service. The service-time distribution is rebuilt from measured percentiles.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from imbik.measure.measurement import Latency

Array = NDArray[np.float64]

_BINS = 4096
_POINTS = 2000
_REACH = math.log(2.0)  # beyond the outer percentiles
_MANY = 100_000
_SATURATED = 0.98  # busier than this the queue has no steady length worth estimating


def service_times(latency: Latency, scale: float = 1.0) -> Array | None:
    """Return ``(2000,)`` equally likely service times in seconds that have the measured percentiles (milliseconds).

    ``p50`` and ``p95`` are needed; ``p99`` makes it closer. Between the
    percentiles, and beyond the outer ones, the logarithm of the time is linear in the normal quantile (piecewise
    log-normal), but no further than half the lowest and twice the highest percentile. Where ``mean`` is there
    too, all times are scaled to it: how busy a worker is follows the mean. None when p50 or p95 is missing.
    """
    if not latency.p50 or not latency.p95:
        return None
    known = [(percentile / 100, value) for percentile, value in sorted(latency.percentiles().items())]
    normal = NormalDist()
    z = np.array([normal.inv_cdf(p) for p, _ in known])
    # few requests may put p99 a little below p95: percentiles must not fall
    logs = np.maximum.accumulate(np.log([v for _, v in known]))
    # at the middle of each slice of probability, so that 0 and 1, which are infinite, are not asked
    # for
    wanted = np.array([normal.inv_cdf((i + 0.5) / _POINTS) for i in range(_POINTS)])
    slopes = np.diff(logs) / np.diff(z)
    inside = np.interp(wanted, z, logs)
    before = np.maximum(logs[0] + slopes[0] * (wanted - z[0]), logs[0] - _REACH)
    beyond = np.minimum(logs[-1] + slopes[-1] * (wanted - z[-1]), logs[-1] + _REACH)
    found = np.where(wanted < z[0], before, np.where(wanted > z[-1], beyond, inside))
    times: Array = np.exp(found) * 1e-3
    if latency.mean:
        times *= latency.mean * 1e-3 / times.mean()
    return times * scale


def erlang_c(workers: int, load: float) -> float:
    """Return the probability that a request has to wait: ``workers`` servers, offered ``load`` = arrival rate x mean
    service time.

    ``C = B / (1 - rho (1 - B))`` with Erlang's blocking recursion ``B(k) = a B(k-1) / (k + a B(k-1))``; 1
    when overloaded. Past 100,000 workers the limit of many servers is used (Halfin and Whitt 1981): ``C = 1 / (1 + b P(b) / p(b))``, with
    ``b = (workers - load) / sqrt(load)`` and the normal distribution's ``P`` and density ``p``; the recursion would take as many steps.

    >>> erlang_c(1, 0.5), round(erlang_c(2, 1.0), 4)
    (0.5, 0.3333)
    """
    if load >= workers:
        return 1.0
    if workers > _MANY:
        ahead = (workers - load) / math.sqrt(load)
        density, below = math.exp(-(ahead**2) / 2) / math.sqrt(2 * math.pi), (1 + math.erf(ahead / math.sqrt(2))) / 2
        return density / (density + ahead * below)
    blocking = 1.0
    for k in range(1, workers + 1):
        blocking = load * blocking / (k + load * blocking)
    rho = load / workers
    return blocking / (1.0 - rho * (1.0 - blocking))


def response_quantile(times: Array, workers: int, rate: float, q: float = 0.95) -> float:
    """Return the ``q`` quantile of response time (wait + service, seconds) at ``rate`` requests a second; infinite
    when the workers would be busier than 98 %.

    Args:
        times: ``(N,)`` equally likely service times in seconds, from :func:`service_times` or measured ones.
        workers: requests served at once.

    >>> exponential = -np.log(1 - (np.arange(4000) + 0.5) / 4000)      # mean 1; M/M/1: response quantile = -ln(1 - q) / (1 - rho)
    >>> round(response_quantile(exponential, 1, 0.5) / float(-np.log(0.05) / 0.5), 2)
    1.0
    """
    mean = float(times.mean())
    load = rate * mean
    if load >= _SATURATED * workers:
        return math.inf
    waits = erlang_c(workers, load)
    # practically nobody waits: the response is the service, and the grid below would only round it
    if waits < 1e-6:
        return float(np.quantile(times, q))
    step = _step(times, workers, load / workers)
    service = _histogram(times, step)
    delayed = np.convolve(_delay(times / workers, load / workers, step), service)
    response = waits * delayed
    response[: len(service)] += (1.0 - waits) * service
    found = float(np.searchsorted(np.cumsum(response), q) * step)
    return max(found, float(np.quantile(times, q)))  # nobody is answered sooner than served; the grid may be coarse


def _step(times: Array, workers: int, rho: float) -> float:
    """Return the width of a bin: the grid reaches 15 mean waits and the longest service."""
    wait = float((times**2).mean() / (2 * times.mean() * workers)) / (1.0 - rho)
    return (15 * wait + 1.05 * float(times.max())) / _BINS


def _histogram(times: Array, step: float) -> Array:
    """Return the ``(4096,)`` probabilities of the bins."""
    return np.bincount(np.minimum(np.rint(times / step).astype(int), _BINS - 1), minlength=_BINS) / len(times)


def _delay(times: Array, rho: float, step: float) -> Array:
    """Return the ``(4096,)`` distribution of a wait that is not zero: a sum of N residual service times, N geometric
    with ``rho``."""
    edges = np.arange(_BINS) * step  # mass at the bin's middle: half a bin at 0, or sums would come out short
    survive = 1.0 - np.searchsorted(np.sort(times), edges) / len(times)
    survive[0] /= 2
    residual = survive / survive.sum() if survive.sum() > 0 else np.eye(1, _BINS)[0]
    # twice the bins: a cyclic convolution would carry the tail round to zero
    spectrum = np.fft.rfft(residual, 2 * _BINS)
    # the geometric sum Σ (1 - ρ) ρⁿ Rⁿ in closed form, per frequency
    total = np.fft.irfft((1.0 - rho) * spectrum / (1.0 - rho * spectrum), 2 * _BINS)[:_BINS]
    # the transform leaves tiny negative probabilities
    clipped: Array = np.clip(total, 0.0, None)
    clipped /= clipped.sum()
    return clipped


def highest_rate(times: Array, workers: int, limit_s: float, utilisation: float, q: float = 0.95) -> float:
    """Return the requests a second that ``workers`` can take with the ``q`` quantile of response time at most
    ``limit_s`` and no worker busier than ``utilisation``; 0 when the service alone is too slow."""
    cap = utilisation * workers / float(times.mean())
    if float(np.quantile(times, q)) > limit_s:
        return 0.0
    if response_quantile(times, workers, cap, q) <= limit_s:
        return cap
    low, high = 0.0, cap
    # to 2^-24 of the cap: finer than any figure that is shown
    for _ in range(24):
        middle = (low + high) / 2
        if response_quantile(times, workers, middle, q) <= limit_s:
            low = middle
        else:
            high = middle
    return low
