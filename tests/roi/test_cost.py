"""Costs by hand, and the queueing estimate against exact formulas and a discrete-event simulation."""

from __future__ import annotations

import heapq
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plausible
import pytest
import typer
from typer.testing import CliRunner

from imbik.cli.checks import volume
from imbik.cli.commands.decisions import roi as command
from imbik.errors import UserError
from imbik.measure.measurement import Latency, Throughput
from imbik.measure.results import write_results
from imbik.measure.values import Environment
from imbik.roi.cost import Cost, Load, cost_of, instances_needed, roi, saving, workers_on
from imbik.roi.prices import HOURS_PER_YEAR, load_prices, shipped_prices
from imbik.roi.queueing import erlang_c, highest_rate, response_quantile, service_times

PRICES = """
currency: EUR
instances:
  - {name: small, vcpu: 4, memory_gb: 4, hourly: 0.10, billing_minutes: 10, source: by hand, date: 2026-11-21}
"""


@pytest.fixture
def prices(tmp_path: Path) -> Any:
    (tmp_path / "prices.yaml").write_text(PRICES)
    return load_prices(tmp_path / "prices.yaml")


def _candidate(**changes: Any) -> Any:
    """Exactly 10 ms a request, 100 items a second, two threads, 100 MB."""
    base = {"latency_ms": Latency(p50=10.0, p95=10.0, p99=10.0), "throughput": Throughput(items_per_s=100.0), "threads": 2,
            "peak_rss_bytes": 100_000_000, "cold_start_s": 10.0}  # fmt: skip
    return replace(plausible.results().measurements[1], **base | changes)


def test_case_1_always_on_by_hand(prices: Any) -> None:
    # 8,640,000 a day = 100/s, at the peak 300/s. Two workers of 10 ms, half used: 100/s an instance. Three instances, all year.
    cost = cost_of(_candidate(), prices, Load(8_640_000, peak_factor=3, limit_ms=1000, utilisation=0.5), Environment())
    assert (cost.workers, cost.count, cost.instance) == (2, 3, "small")
    assert cost.yearly == pytest.approx(3 * 0.10 * 24 * 365)
    assert cost.busy == pytest.approx(300 * 0.010 / 6)
    assert cost.per_million == pytest.approx(0.10 / (100 * 3600) * 1e6)


def test_case_2_batch_by_hand(prices: Any) -> None:
    # 200,000 at 2 x 100/s = 1,000 s. A quarter of an hour, 60 % planned = 540 s, less 10 s to start: two instances.
    # Each runs 500 + 10 s = 510 s, billed as 10 minutes: 2 x 600 s x 365 nights x 0.10 an hour.
    cost = cost_of(_candidate(), prices, Load(200_000, "batch", window_hours=0.25), Environment())
    assert (cost.count, cost.p95_ms) == (2, None)
    assert cost.yearly == pytest.approx(2 * 600 / 3600 * 365 * 0.10)
    assert cost.busy == pytest.approx(510 / 900)


def test_the_start_of_a_night_comes_off_its_window(prices: Any) -> None:
    """Of 540 s that are planned 10 s go into starting: 530 s of work fit one instance, 535 s do not."""
    counts = [cost_of(_candidate(), prices, Load(items, "batch", window_hours=0.25), Environment()).count for items in (106_000, 107_000)]
    assert counts == [1, 2]
    never = cost_of(_candidate(cold_start_s=600.0), prices, Load(1, "batch", window_hours=0.25), Environment())
    assert never.why_not == "limit", "it would start all night"


def test_rates_and_speed_by_hand(prices: Any) -> None:
    """Two workers of 100 items a second each, n times; processors twice as fast need half the time."""
    batch = cost_of(_candidate(), prices, Load(200_000, "batch"), Environment())
    assert batch.rates == tuple(200.0 * n for n in range(1, 33))
    fast = cost_of(_candidate(), prices, Load(200_000, "batch", speed=2.0), Environment())
    assert fast.rates[0] == 400.0 and fast.busy == pytest.approx((200_000 / 400 + 10) / (8 * 3600))
    one, two = (cost_of(_candidate(), prices, Load(86_400, peak_factor=1, speed=speed), Environment()) for speed in (1.0, 2.0))
    assert (one.p95_ms, two.p95_ms) == (pytest.approx(10.0, rel=0.01), pytest.approx(5.0, rel=0.01))
    assert (one.busy, two.busy) == (pytest.approx(0.005), pytest.approx(0.0025))
    # capped by utilisation: 0.6 of two workers of 100/s, n times
    assert one.rates == pytest.approx([120.0 * n for n in range(1, 33)]) and len(one.rates) == 32


def test_a_limit_is_in_thousandths_of_a_second(prices: Any) -> None:
    costs = [cost_of(_candidate(), prices, Load(1000, limit_ms=limit), Environment()) for limit in (9.995, 10.005)]
    assert [cost.why_not for cost in costs] == ["limit", None]


def test_a_queue_that_is_98_per_cent_busy_has_no_steady_length() -> None:
    times = np.ones(100)
    assert response_quantile(times, 1, 0.98) == math.inf and response_quantile(times, 1, 0.979) < math.inf
    assert len(service_times(Latency(p50=1.0, p95=2.0))) == 2000


def test_case_3_the_table_of_the_study(tmp_path: Path) -> None:
    # 100,000 requests a day on one machine each, 1,200 / 500 / 250 / 150 a month.
    text = "currency: USD\ninstances: [{name: x, vcpu: 2, memory_gb: 16, monthly: %s, source: the study, date: 2026-11-21}]"
    yearly = []
    for monthly in (1200, 500, 250, 150):
        (tmp_path / "p.yaml").write_text(text % monthly)
        cost = cost_of(_candidate(), load_prices(tmp_path / "p.yaml"), Load(100_000), Environment())
        assert cost.count == 1
        yearly.append(cost.yearly)
    assert yearly == [14_400, 6_000, 3_000, 1_800]
    baseline = Cost("teacher", "x", yearly=yearly[0])
    savings = [saving(Cost("x", "x", yearly=y), baseline) for y in yearly[1:]]
    assert [s[0] for s in savings if s] == [8_400, 11_400, 12_600]
    assert [math.floor(100 * s[1] + 0.5) for s in savings if s] == [58, 79, 88]


def test_the_latency_limit_can_ask_for_more_machines_than_the_work(prices: Any) -> None:
    load = Load(8_640_000, peak_factor=3, limit_ms=1000, utilisation=0.9)
    tight = replace(load, limit_ms=11)
    loose_count, tight_count = (cost_of(_candidate(), prices, x, Environment()).count for x in (load, tight))
    assert loose_count == math.ceil(300 * 0.010 / (0.9 * 2))
    assert tight_count > loose_count
    cost = cost_of(_candidate(), prices, tight, Environment())
    assert cost.p95_ms is not None
    assert cost.p95_ms <= 11
    assert cost_of(_candidate(), prices, replace(load, limit_ms=9), Environment()).why_not == "limit"


def test_workers_are_bound_by_processors_and_memory(prices: Any) -> None:
    instance = prices.instances[0]
    assert workers_on(_candidate(), instance, Environment()) == 2
    assert workers_on(_candidate(threads=1), instance, Environment(cores=1, logical_cores=2)) == 2
    assert workers_on(_candidate(peak_rss_bytes=2_000_000_000), instance, Environment()) == 1  # 80 % of 4 GB holds one of 2 GB
    assert cost_of(_candidate(threads=8), prices, Load(1000), Environment()).why_not == "size"
    unknown = cost_of(_candidate(peak_rss_bytes=None), prices, Load(1000), Environment())
    assert unknown.unchecked == ("memory",)


def test_what_was_not_measured_is_said(prices: Any) -> None:
    assert cost_of(_candidate(latency_ms=Latency()), prices, Load(1000), Environment()).why_not == "latency"
    assert cost_of(_candidate(throughput=Throughput()), prices, Load(1000, "batch"), Environment()).why_not == "throughput"


def test_gpu_prices_are_only_used_for_gpu_measurements() -> None:
    shipped = load_prices()
    only_gpu = replace(shipped, instances=tuple(i for i in shipped.instances if i.gpu))
    assert cost_of(_candidate(), only_gpu, Load(1000), Environment()).why_not == "instances"
    assert cost_of(_candidate(), only_gpu, Load(1000), Environment(gpu="T4")).instance == "gpu-t4"


def test_burstable_machines_are_not_planned_beyond_what_they_sustain(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(PRICES.replace("hourly: 0.10", "hourly: 0.10, sustained: 0.25"))
    cost = cost_of(_candidate(), load_prices(tmp_path / "p.yaml"), Load(8_640_000, peak_factor=3, limit_ms=1000), Environment())
    assert cost.count == 6  # 2 workers x 100/s x 0.25 = 50/s an instance


def test_instances_needed_grows_in_proportion_beyond_the_table() -> None:
    assert instances_needed((10.0, 22.0), 0.0) == 1
    assert instances_needed((10.0, 22.0), 22.0) == 2
    assert instances_needed((10.0, 22.0), 33.0) == 3
    assert instances_needed((10.0, 22.0), 5.0, least=2) == 2
    assert instances_needed((), 5.0) is None


def test_saving_without_costs() -> None:
    assert saving(Cost("a", None), Cost("b", "x", yearly=1.0)) is None
    assert saving(Cost("a", "x", yearly=1.0), None) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per_day": 0}, "--requests-per-day"),
        ({"per_day": -5}, "--requests-per-day"),
        ({"per_day": math.nan}, "--requests-per-day"),
        ({"utilisation": 1.0}, "--utilisation"),
        ({"peak_factor": 0.5}, "--peak-factor"),
        ({"limit_ms": 0}, "--limit-ms"),
        ({"window_hours": 25}, "--window-hours"),
        ({"min_instances": 0}, "--min-instances"),
        ({"mode": "sometimes"}, "--mode"),
    ],
)
def test_bad_loads(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        Load(**{"per_day": 1000, **change})
    assert message in str(error.value)


BAD_PRICES = {
    "no currency": (PRICES.replace("currency: EUR", ""), "no currency. Expected: currency: USD"),
    "currency in words": (PRICES.replace("EUR", "euro"), "currency"),
    "negative price": (PRICES.replace("0.10", "-0.10"), "instances.0.hourly (small): price list not valid. Found: -0.1"),
    "two prices": (PRICES.replace("hourly: 0.10", "hourly: 0.10, monthly: 5"), "exactly one of hourly and monthly"),
    "no source": (PRICES.replace("source: by hand, ", ""), "instances.0.source (small)"),
    "no date": (PRICES.replace(", date: 2026-11-21", ""), "instances.0.date (small)"),
    "no instances": ("currency: EUR\ninstances: []\n", "instances"),
    "name twice": (PRICES + PRICES.strip().splitlines()[-1] + "\n", "duplicate instance"),
    "empty": ("", "not a price list"),
    "broken": ("currency: [", "not valid YAML"),
}


@pytest.mark.parametrize("name", BAD_PRICES)
def test_bad_price_lists(tmp_path: Path, name: str) -> None:
    text, message = BAD_PRICES[name]
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        load_prices(tmp_path / "p.yaml")
    assert message in str(error.value)
    assert "p.yaml" in str(error.value)


def test_missing_price_list_and_empty_results() -> None:
    with pytest.raises(UserError, match="no such price list"):
        load_prices("nowhere.yaml")
    with pytest.raises(UserError, match="nothing was measured"):
        roi(plausible.results(measurements=()), load_prices(), Load(1000))


def test_monthly_and_hourly_prices_agree() -> None:
    assert load_prices().instances[0].yearly == pytest.approx(load_prices().instances[0].hourly * HOURS_PER_YEAR)


# ---- queueing ------------------------------------------------------------------------------------------------------------------

EXPONENTIAL = -np.log(1 - (np.arange(20_000) + 0.5) / 20_000)


def test_erlang_c_by_hand() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    # c = 2, a = 1.5: (a^2/2) / (1 - a/2) over the sum 1 + a + that = 4.5 / 7
    assert erlang_c(2, 1.5) == pytest.approx(4.5 / 7)
    assert erlang_c(3, 3.0) == 1.0


@pytest.mark.parametrize("ahead", [0.2, 0.5, 1.0, 2.0])
def test_erlang_c_of_very_many_workers_is_that_of_the_recursion(ahead: float) -> None:
    """Halfin and Whitt's limit against Erlang's own recursion, of which it spares 150,000 steps."""
    workers = 150_000
    load = (math.sqrt(ahead**2 + 4 * workers) - ahead) ** 2 / 4  # workers = load + ahead * sqrt(load)
    blocking = 1.0
    for k in range(1, workers + 1):
        blocking = load * blocking / (k + load * blocking)
    exact = blocking / (1 - load / workers * (1 - blocking))
    assert erlang_c(workers, load) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(("rate", "limit"), [(0.5, 6.0), (0.7, 10.0), (0.1, 3.4)])
def test_the_highest_rate_of_one_exponential_worker_by_formula(rate: float, limit: float) -> None:
    """M/M/1 answers 95 % within -ln 0.05 / (1 - rate), so a limit allows 1 + ln 0.05 / limit."""
    allowed = 1 + math.log(0.05) / limit
    assert allowed == pytest.approx(rate, abs=0.03)
    assert highest_rate(EXPONENTIAL, 1, limit, 0.95) == pytest.approx(allowed, rel=0.03)


def test_p95_of_a_plan_is_that_of_its_servers_at_the_peak(prices: Any) -> None:
    load = Load(8_640_000, peak_factor=3, limit_ms=1000, utilisation=0.5)
    cost = cost_of(_candidate(), prices, load, Environment())
    times = service_times(_candidate().latency_ms)
    assert times is not None
    assert cost.p95_ms == pytest.approx(1000 * response_quantile(times, 6, 300.0), rel=1e-6)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.8, 0.9])
def test_one_exponential_worker_is_exact(rho: float) -> None:
    assert response_quantile(EXPONENTIAL, 1, rho) == pytest.approx(-math.log(0.05) / (1 - rho), rel=0.01)


def test_overload_never_answers() -> None:
    assert response_quantile(EXPONENTIAL, 2, 2.0) == math.inf


def test_service_times_have_the_measured_percentiles() -> None:
    times = service_times(Latency(p50=2.0, p95=5.0, p99=9.0))
    assert times is not None
    assert np.quantile(times, [0.5, 0.95, 0.99]) * 1e3 == pytest.approx([2.0, 5.0, 9.0], rel=0.01)
    faster = service_times(Latency(p50=2.0, p95=5.0, p99=9.0), 0.5)
    assert faster is not None
    assert np.quantile(faster, [0.5, 0.95]) * 1e3 == pytest.approx([1.0, 2.5], rel=0.01)
    mean = service_times(Latency(p50=2.0, p95=5.0, mean=2.5))
    assert mean is not None
    assert mean.mean() == pytest.approx(0.0025)
    assert service_times(Latency(p50=2.0)) is None


def test_a_tail_from_a_busy_machine_does_not_break_the_estimate() -> None:
    times = service_times(Latency(p50=0.12, p95=0.24, p99=4.2, mean=0.25))
    assert times is not None
    assert times.max() < 2.2 * 4.2e-3
    for rate in (1.0, 500.0, 3000.0):
        assert response_quantile(times, 1, rate) >= np.quantile(times, 0.95)


def test_highest_rate_keeps_both_limits() -> None:
    times = service_times(Latency(p50=2.0, p95=5.0, p99=9.0))
    assert times is not None
    rate = highest_rate(times, 2, 0.008, 0.8)
    assert response_quantile(times, 2, rate) <= 0.008 < response_quantile(times, 2, rate * 1.05)
    assert highest_rate(times, 2, 1.0, 0.8) == pytest.approx(0.8 * 2 / times.mean())
    assert highest_rate(times, 2, 0.004, 0.8) == 0.0


def simulate(times: np.ndarray, workers: int, rate: float, n: int = 120_000, seed: int = 0) -> float:
    """p95 of response time of a simulated queue: random arrivals, ``workers`` servers, service times drawn from ``times``."""
    random = np.random.default_rng(seed)
    arrivals, service = np.cumsum(random.exponential(1 / rate, n)), random.choice(times, n)
    free = [0.0] * workers
    response = np.empty(n)
    for i in range(n):
        start = max(heapq.heappop(free), arrivals[i])
        heapq.heappush(free, start + service[i])
        response[i] = start + service[i] - arrivals[i]
    return float(np.quantile(response[n // 10 :], 0.95))


MEASURED = json.loads((Path(__file__).parent / "reference" / "service_times.json").read_text("utf-8"))["milliseconds"]


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("workers", [1, 4])
def test_p95_estimate_against_a_simulation_with_measured_service_times(name: str, workers: int) -> None:
    measured = np.array(MEASURED[name])
    latency = Latency(*(float(np.percentile(measured, q)) for q in (50, 95, 99)))
    percentiles = service_times(latency)
    with_mean = service_times(replace(latency, mean=float(measured.mean())))
    assert percentiles is not None
    assert with_mean is not None
    for busy in (0.3, 0.6, 0.8):
        rate = busy * workers / (measured.mean() / 1e3)
        simulated = np.mean([simulate(measured / 1e3, workers, rate, seed=seed) for seed in range(3)])
        assert response_quantile(percentiles, workers, rate) == pytest.approx(simulated, rel=0.15)
        assert response_quantile(with_mean, workers, rate) == pytest.approx(simulated, rel=0.10)


@pytest.fixture
def cli() -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["roi", *map(str, arguments)])


@pytest.mark.parametrize("text", ["100.000", "1,000,000", "2 500", "1'000", "many", "0,5"])
def test_volumes_that_can_be_read_in_two_ways(text: str) -> None:
    with pytest.raises(UserError, match="number of requests or texts"):
        volume(text)


def test_command(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, plausible.results())
    out = json.loads(cli(path, "--requests-per-day", "100000", "--json").output)
    assert out["currency"] == "USD"
    assert len(out["costs"]) == 9
    assert "layers-1+int8/onnx" in cli(path, "--requests-per-day", "100000").output
    assert "Gecelik" in cli(path, "--requests-per-day", "200000", "--mode", "batch", "--lang", "tr").output
    assert cli("--show-prices").output == shipped_prices()
    for arguments, message in (([path], "no volume given"), (["--requests-per-day", "5"], "no results given")):
        failed = cli(*arguments)
        assert isinstance(failed.exception, UserError)
        assert message in str(failed.exception)
