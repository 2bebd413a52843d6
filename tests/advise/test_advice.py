"""Advice: every status by hand, no verdict from an unmarked assumption, the choice by its rule, messages for bad scenarios."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import plausible
import pytest
import typer
from typer.testing import CliRunner

from imbik.advise.advice import advise
from imbik.advise.decision import leaf_at, leaves, next_question, questions
from imbik.advise.families import family_of, in_family
from imbik.advise.profiles import split_runs
from imbik.advise.requirement import Requirement
from imbik.advise.scenario import Scenario, load_scenario, shipped_scenarios, shipped_text
from imbik.advise.verdict import judge, overall, score
from imbik.cli.commands import advise as command
from imbik.errors import UserError
from imbik.measure.measurement import Architecture, Latency, Measurement, Quality
from imbik.measure.quantities import QUANTITIES, Reading, read
from imbik.measure.results import Results, write_results
from imbik.measure.values import Data, Environment

AT_LEAST = Requirement("retention", at_least=0.95)
AT_MOST = Requirement("latency_p95_ms", at_most=100)


def _profile(*measurements: Measurement, **more: Any) -> Results:
    """What ``imbik measure`` writes on another machine."""
    return Results(measurements=measurements, **more)


def _status(requirement: Requirement, value: float | None, low: float | None = None, high: float | None = None) -> tuple[str, Any]:
    verdict = judge(requirement, Reading(value, low, high, value), "here")
    return verdict.status, verdict.meets


@pytest.mark.parametrize(
    ("value", "low", "high", "status", "meets"),
    [
        (0.99, 0.98, 1.00, "margin", True),  # 0.98 is 0.03 above the limit, half the width is 0.01
        (0.96, 0.951, 0.969, "met", True),  # 0.001 above, half the width is 0.009
        (0.955, 0.945, 0.965, "borderline", True),
        (0.945, 0.935, 0.955, "borderline", False),
        (0.90, 0.89, 0.91, "not_met", False),
        (0.96, 0.92, 0.94, "borderline", True),  # dev keeps the limit, the whole interval on test does not
        (0.94, 0.96, 0.98, "borderline", False),  # the other way round
        (None, None, None, "not_measured", None),
    ],
)
def test_status_with_an_interval(value: Any, low: Any, high: Any, status: str, meets: Any) -> None:
    assert _status(AT_LEAST, value, low, high) == (status, meets)


@pytest.mark.parametrize(
    ("value", "status", "meets"),
    [(80.0, "margin", True), (81.0, "met", True), (100.0, "met", True), (100.1, "not_met", False)],
)
def test_status_without_an_interval(value: float, status: str, meets: bool) -> None:
    assert _status(AT_MOST, value) == (status, meets)


def test_overall_and_score() -> None:
    met, failed = judge(AT_MOST, Reading(50.0), "here"), judge(replace(AT_MOST, weight=3), Reading(150.0), "here")
    open_, wish = judge(AT_MOST, Reading(None), "here"), judge(replace(AT_MOST, weight=0), Reading(150.0), "here")
    edge = judge(AT_LEAST, Reading(0.955, 0.945, 0.965, 0.955), "data")
    assert [overall(v) for v in ([met], [met, edge], [met, open_], [met, open_, failed], [met, wish])] == [
        "fit", "caution", "open", "unfit", "fit"]  # fmt: skip
    assert score([met, failed]) == 0.25
    assert failed.headroom == pytest.approx(-0.5)


def test_retention_is_judged_on_dev_and_reported_with_the_test_interval() -> None:
    run = plausible.results()
    m, base = run.measurements[5], run.measurements[0]
    reading = read("retention", m, base)
    assert reading.value == pytest.approx(0.9240 / 0.9300)
    assert (reading.reported, reading.low) == (m.retention.value, m.retention.low)
    assert read("retention", replace(m, dev_quality=Quality()), base).value == m.retention.value


def test_derived_quantities_by_hand() -> None:
    run = plausible.results()
    m, base = run.measurements[5], run.measurements[0]
    assert read("speedup", m, base).value == pytest.approx(38.0 / 0.71)
    assert read("cpu_share", m, base).value == pytest.approx(0.52 / 17.8)
    assert read("batch_hours", m, base, 200_000).value == pytest.approx(200_000 / 3690 / 3600)
    assert read("megabytes", m, base).value == pytest.approx(14.6)
    assert [read("standalone", x, base).value for x in (m, base)] == [1.0, 0.0]


@pytest.mark.parametrize("name", shipped_scenarios())
@pytest.mark.parametrize("lang", ["en", "tr"])
def test_every_shipped_scenario_names_a_candidate_with_reasons(name: str, lang: str) -> None:
    advice = advise(plausible.results(), load_scenario(name), lang=lang)
    assert advice.choice in advice.verdicts
    assert advice.choice != plausible.TEACHER
    assert len(advice.reasons) >= 1 + len(load_scenario(name).requirements)
    assert not [r for r in advice.reasons if "{" in r]


def test_nothing_that_depends_on_the_machine_is_judged_for_another_device() -> None:
    for name in ("cloud-gpu", "edge", "mobile", "iot"):
        for verdict in advise(plausible.results(), load_scenario(name)).verdicts.values():
            for v in verdict.requirements:
                machine = QUANTITIES[v.quantity].kind == "machine"
                assert (v.status == "not_measured") == machine
                assert v.origin == ("none" if machine else {"quality": "data"}.get(QUANTITIES[v.quantity].kind, v.origin))


def test_a_device_profile_is_judged_and_marked() -> None:
    run = plausible.results()
    slow = replace(run.measurements[5], latency_ms=Latency(p50=90.0, p95=140.0))
    profile = _profile(slow, environment=Environment(cpu="phone"))
    verdict = advise(run, load_scenario("mobile"), [profile]).verdicts[slow.id]
    latency = next(v for v in verdict.requirements if v.quantity == "latency_p95_ms")
    assert (latency.origin, latency.status, latency.value, latency.here) == ("device", "not_met", 140.0, pytest.approx(0.71 * 1.6))
    assert any("140 ms to 100 ms (by 28.6%)" in need for need in verdict.needs)


def test_a_ratio_to_the_teacher_is_never_taken_across_two_machines() -> None:
    run = plausible.results()
    faster = Scenario("faster", (Requirement("speedup", at_least=2.0),), target="phone")
    teacher, m = run.measurements[0], run.measurements[5]
    alone = _profile(replace(m, latency_ms=Latency(p50=5.0)))
    assert advise(run, faster, [alone]).verdicts[m.id].overall == "open"
    both = replace(alone, measurements=(*alone.measurements, replace(teacher, latency_ms=Latency(p50=40.0))))
    (verdict,) = advise(run, faster, [both]).verdicts[m.id].requirements
    assert (verdict.value, verdict.status) == (8.0, "margin")


def test_a_profile_of_another_task_is_never_used() -> None:
    run = plausible.results()
    m = run.measurements[5]
    other = _profile(m, data=Data(labels=tuple(["positive", "negative"])))
    assert advise(run, load_scenario("mobile"), [other]).verdicts[m.id].overall == "open"
    same = replace(other, data=Data(labels=run.data.labels))
    assert advise(run, load_scenario("mobile"), [same]).verdicts[m.id].overall == "fit"
    with pytest.raises(UserError, match="a run with the same labels"):
        split_runs([run], [other])


def test_battery_is_marked_as_a_proxy() -> None:
    verdict = advise(plausible.results(), load_scenario("mobile-banking")).verdicts["layers-1+int8/onnx"]
    assert {v.quantity: v.origin for v in verdict.requirements}["cpu_share"] == "proxy"


def test_cases_of_the_study_choose_by_their_rule() -> None:
    chosen = {name: advise(plausible.results(), load_scenario(name)).choice for name in shipped_scenarios()[6:]}
    assert chosen == {
        "bank-support": "layers-1+int8/onnx",  # within 1 % of the best quality, least CPU time
        "mobile-banking": "layers-1+int8/onnx",
        "review-batch": "mini-2x192+int8/onnx",  # least CPU time among those that fit; mini-1x128 is borderline
    }


def _changed(name: str, **values: Any) -> Results:
    run = plausible.results()
    rows = tuple(replace(m, **values) if m.name == name else m for m in run.measurements)
    return replace(run, measurements=rows, pareto=(), choice=None)


def test_the_study_is_agreed_with_contradicted_or_left_open() -> None:
    case = load_scenario("bank-support")
    assert "neither confirmed nor refuted" in advise(plausible.results(), case).reasons[-1]
    for made in ({"steps": ({"distilbert": {}},)}, {"architecture": Architecture(family="distilbert")}):
        assert "the measurements agree" in advise(_changed("layers-1+int8", **made), case).reasons[-1]
    differs = advise(_changed("mini-1x128+int8", steps=({"distilbert": {}},)), case).reasons[-1]
    assert "prefer layers-1+int8/onnx" in differs
    assert differs.endswith("mini-1x128+int8/onnx: does not fit.")


@pytest.mark.parametrize(
    ("family", "what"),
    [
        ("distilbert", {"architecture": Architecture(family="distilbert", layers=6, hidden=768, heads=12)}),
        ("distilbert", {"architecture": Architecture(family="bert", layers=3), "steps": ({"distilbert": {}}, {"quantize": {}})}),
        ("mobilebert", {"architecture": Architecture(family="mobilebert"), "steps": ({"distill": {}},)}),
        ("tinybert", {"architecture": Architecture(family="bert", layers=4, hidden=312, heads=12)}),
        ("tinybert", {"architecture": Architecture(family="bert", layers=2, hidden=192), "steps": ({"tinybert": {}},)}),
        (None, {"architecture": Architecture(family="bert", layers=3), "steps": ({"distill": {}},)}),
    ],
)
def test_a_family_is_told_by_what_a_candidate_is_and_not_by_its_name(family: str | None, what: dict[str, Any]) -> None:
    for name in ("mine", "mobilebert+int8", "distilbert-3l", "tinybert-4l-312"):
        m = Measurement(id=f"{name}/onnx", name=name, engine="onnx", **what)
        assert family_of(m) == family
        of_each = {known: in_family(m, known) for known in ("distilbert", "mobilebert", "tinybert-4l-312")}
        assert [known.split("-")[0] for known, is_it in of_each.items() if is_it] == ([family] if family else [])
    assert in_family(Measurement(id="a/onnx", name="mine-2+int8", engine="onnx"), "mine")
    assert not in_family(Measurement(id="a/onnx", name="miner", engine="onnx"), "mine")


def test_when_nobody_fits_the_closest_is_named_as_such() -> None:
    hard = Scenario("hard", (Requirement("retention", at_least=1.2), Requirement("megabytes", at_most=5)))
    advice = advise(plausible.results(), hard)
    assert advice.choice == "mini-1x128+int8/onnx"  # the only one that keeps one of the two
    assert advice.reasons[0].startswith("No candidate fits")


def test_of_two_that_miss_the_same_limit_the_nearer_is_named_whatever_the_other_has_to_spare() -> None:
    run = plausible.results()
    far, near = (
        replace(run.measurements[1], id=f"{name}/onnx", name=name, bytes=size, latency_ms=Latency(p50=p95 / 2, p95=p95, p99=p95))
        for name, size, p95 in (("far", 100_000, 2.0), ("near", 4_900_000, 1.5))
    )
    hard = Scenario("hard", (Requirement("megabytes", at_most=5), Requirement("latency_p95_ms", at_most=1.0)))
    for order in ((far, near), (near, far)):
        assert advise(replace(run, measurements=(run.measurements[0], *order)), hard).choice == "near/onnx"


def test_int8_slower_than_its_parent_is_passed_over() -> None:
    run = plausible.results()
    rows = tuple(
        replace(m, latency_ms=Latency(p50=9.0, p95=12.0), cpu_s_per_1000=0.1) if m.name == "layers-1+int8" else m
        for m in run.measurements
        if m.name in ("teacher", "layers-1", "layers-1+int8")
    )
    assert advise(replace(run, measurements=rows, pareto=()), load_scenario("bank-support")).choice == "layers-1/onnx"


def test_missing_measurements_are_said_and_never_chosen_over_measured_ones() -> None:
    run = plausible.results()
    empty = Measurement(id="bare/onnx", name="bare", engine="onnx")
    advice = advise(replace(run, measurements=(*run.measurements, empty)), load_scenario("bank-support"))
    assert advice.verdicts["bare/onnx"].overall == "open"
    assert advice.choice == "layers-1+int8/onnx"
    assert any("has to be measured on this machine" in need for need in advice.verdicts["bare/onnx"].needs)


def test_no_candidate_is_a_message() -> None:
    with pytest.raises(UserError, match="no candidate was measured"):
        advise(plausible.results(measurements=plausible.results().measurements[:1]), load_scenario("edge"))


def test_decision_path() -> None:
    assert questions() == {"where": ("server", "cpu", "device"), "priority": ("accuracy", "balanced", "speed"), "power": ("good", "weak")}
    found = leaves(plausible.results())
    assert len(found) == 6
    leaf = leaf_at(found, {"where": "server", "priority": "speed", "power": None})
    assert (leaf.advice.choice, leaf.study) == ("mini-2x192+int8/onnx", "TinyBERT")
    with pytest.raises(UserError, match="no such answer"):
        next_question({"where": "moon"})
    with pytest.raises(UserError, match="this path does not ask that"):
        next_question({"where": "cpu", "power": "weak"})


@pytest.fixture
def cli() -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["advise", *map(str, arguments)])


def test_a_copied_artefact_is_recognized_under_another_name() -> None:
    run = plausible.results()
    m = run.measurements[5]
    profile = _profile(replace(m, id="model", name="model", latency_ms=Latency(p50=9.0)))
    _, (found,) = split_runs([run], [profile])
    assert found.get(m.id) == replace(m, name="model", latency_ms=Latency(p50=9.0))
    other = replace(profile, measurements=(replace(m, id="model", bytes=m.bytes + 1),))
    with pytest.raises(UserError, match="name no candidate of the run"):
        split_runs([run], [other])
    with pytest.raises(UserError, match="Found: no measurement"):
        split_runs([run], [replace(profile, measurements=())])


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_the_questions_are_asked_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, plausible.results())
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"7\nx\n1\n3\n")  # no such answer, no number, then: server, speed
    command_line = [sys.executable, "-m", "imbik", "advise", str(path), "--ask"]
    done = subprocess.run(command_line, stdin=terminal, capture_output=True, text=True, timeout=120)
    os.close(keyboard)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert "2  balanced" in done.stdout
    assert "mini-2x192+int8/onnx fits “server or cloud · speed first”" in done.stdout


def test_command(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, plausible.results())
    out = cli(path, "--scenario", "bank-support", "--json")
    assert json.loads(out.output)[0]["choice"] == "layers-1+int8/onnx"
    assert "► layers-1+int8/onnx" in cli(path, "--scenario", "bank-support").output
    assert "uygun" in cli(path, "--scenario", "bank-support", "--lang", "tr").output
    assert "mini-2x192+int8/onnx" in cli(path, "--where", "cpu").output
    other = tmp_path / "other" / "results.json"
    other.parent.mkdir()
    write_results(other, plausible.results())
    assert "other/results.json" in cli(path, other, "--where", "cpu").output
    assert cli("--show", "edge").output == shipped_text("edge")
    m = plausible.results().measurements[5]
    profile, other = tmp_path / "phone.json", tmp_path / "other.json"
    write_results(profile, _profile(replace(m, latency_ms=Latency(p50=50.0, p95=70.0))))
    write_results(other, _profile(replace(m, id="elsewhere", bytes=1)))
    for arguments in ([path, profile], [path, "--device", profile]):
        found = json.loads(cli(*arguments, "--scenario", "mobile", "--json").output)
        assert [v["origin"] for v in found[0]["verdicts"][m.id]["requirements"]].count("device") == 2
    for arguments, message in (
        ([path, "--device", other], "name no candidate of the run"),
        ([path, "--where", "server"], "--priority: an answer is missing"),
        ([path, "--scenario", "edge", "--lang", "de"], "no such language"),
        ([], "no results given"),
    ):
        failed = cli(*arguments)
        assert isinstance(failed.exception, UserError)
        assert message in str(failed.exception)


@pytest.mark.parametrize(
    "other",
    [
        {"params": 1_000_001},
        {"architecture": Architecture(family="bert", layers=12)},
        {"steps": ({"distill": {"temperature": 9.0}},)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_profile_of_another_model_under_the_same_id_is_refused(other: dict[str, object]) -> None:
    """Runs of two teachers have candidates of one name: an id alone proves nothing."""
    run = plausible.results()
    m = run.measurements[5]
    # the same labels, so that nothing but the model tells them apart
    profile = _profile(replace(m, **other), data=Data(labels=run.data.labels))
    with pytest.raises(UserError, match=f"of another model.*|{next(iter(other))}") as caught:
        split_runs([run], [profile])
    assert m.id in str(caught.value) and "as in the run" in str(caught.value)
    # what an early profile does not say contradicts nothing
    quiet = _profile(replace(m, params=None, architecture=Architecture(), steps=()), data=Data(labels=run.data.labels))
    assert split_runs([run], [quiet])[1][0].get(m.id) is not None
