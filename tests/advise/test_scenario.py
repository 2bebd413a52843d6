"""Scenario files: what is wrong in one is named with its place; a shipped one can be copied and edited."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from imbik.advise.scenario import load_scenario, load_scenarios, parse_scenario, shipped_text
from imbik.errors import UserError

BAD = {
    "unknown quantity": ({"quantity": "latency", "at_most": 5}, "unknown quantity. Found: latency"),
    "close quantity": ({"quantity": "latency_p95", "at_most": 5}, "did you mean latency_p95_ms?"),
    "two limits": ({"quantity": "ece", "at_most": 5, "at_least": 1}, "give exactly one of at_least and at_most"),
    "no limit": ({"quantity": "ece"}, "give exactly one of at_least and at_most"),
    "negative weight": ({"quantity": "ece", "at_most": 5, "weight": -1}, "requirements.0.weight"),
    "limit as text": ({"quantity": "ece", "at_most": "fast"}, "requirements.0.at_most"),
    "unknown field": ({"quantity": "ece", "at_most": 5, "unit": "ms"}, "requirements.0.unit"),
    "batch without a size": ({"quantity": "batch_hours", "at_most": 5}, "batch_hours needs the size of the batch"),
    "a percentage": ({"quantity": "retention", "at_least": 95}, "a share is wanted, not a percentage"),
    "decimal comma": ({"quantity": "retention", "at_least": "0,95"}, "requirements.0.at_least"),
    "infinite": ({"quantity": "ece", "at_most": float("inf")}, "requirements.0.at_most"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_scenarios_are_named_with_their_place(tmp_path: Path, name: str) -> None:
    requirement, message = BAD[name]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "requirements": [requirement]}))
    with pytest.raises(UserError) as error:
        load_scenario(str(path))
    assert message in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_other_bad_scenarios(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean bank-support"):
        load_scenario("bank-suport")
    with pytest.raises(UserError, match="no such scenario file"):
        load_scenario("nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("name: [\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load_scenario(str(tmp_path / "broken.yaml"))
    with pytest.raises(UserError, match="scenario not valid"):
        parse_scenario([1, 2], "a list")


def test_a_shipped_scenario_can_be_copied_and_edited(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(shipped_text("bank-support").replace("at_least: 0.95", "at_least: 0.5"), encoding="utf-8")
    assert load_scenario(str(path)).requirements[0].at_least == 0.5


def test_a_file_written_for_imbik_0_1_calls_the_study_by_its_older_key() -> None:
    limit = {"quantity": "retention", "at_least": 0.9}
    old = {"name": "mine", "requirements": [{**limit, "source": "brief"}], "brief": {"model": "TinyBERT", "family": "tinybert-4l-312"}}
    new = {"name": "mine", "requirements": [{**limit, "source": "study"}], "study": old["brief"]}
    assert parse_scenario(old, "old.yaml") == parse_scenario(new, "new.yaml")
    assert parse_scenario(old, "old.yaml").study is not None


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("quality, at_least: 90", "a share is wanted, not a percentage"),
        ("quality, at_least: 1.5", "a share is wanted"),
        ("latency_p95_ms, at_least: 5", "wrong direction.*write at_most"),
        ("megabytes, at_least: 5", "wrong direction.*write at_most"),
        ("retention, at_most: 0.9", "wrong direction.*write at_least"),
        ("items_per_s, at_most: 100", "wrong direction.*write at_least"),
        ("latency_p95_ms, at_most: 0", "no candidate can keep this limit"),
        ("megabytes, at_most: -1", "no candidate can keep this limit"),
        ("retention, at_least: -0.5", "no candidate can keep this limit, or each does"),
        ("agreement, at_least: 1.2", "no candidate can keep.*0 to 1"),
        ("ece, at_most: 5", "no candidate can keep this limit, or each does.*0 to 1"),
        ("retention, at_least: 0.9}\n  - {quantity: retention, at_least: 0.95", r"requirements.1: two limits on one quantity"),
        ("quality, at_least: 0.9}\n  - {quantity: quality, at_most: 0.5", "requirements.1: no value keeps both limits"),
        ("quality, at_most: 0.5}\n  - {quantity: quality, at_least: 0.9", "requirements.1: no value keeps both limits"),
    ],
)
def test_limits_without_sense_are_refused(tmp_path: Path, limit: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"name: x\nrequirements:\n  - {{quantity: {limit}}}\n", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_scenario(str(path))


def test_an_error_may_be_limited_either_way_and_be_large(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: x\nrequirements:\n  - {quantity: quality, at_most: 90}\n  - {quantity: quality, at_least: 0.9}\n", encoding="utf-8"
    )
    assert [one.limit for one in load_scenario(str(path)).requirements] == [90.0, 0.9]


def test_two_scenarios_of_one_name_are_not_taken_for_one(tmp_path: Path) -> None:
    text = "name: mine\nrequirements:\n  - {quantity: retention, at_least: 0.9}\n"
    files = {
        "a.yaml": text,
        "b.yaml": text.replace("0.9", "0.99"),
        "c.yaml": text,
        "d.yaml": text.replace("mine", "edge"),
        "e.yaml": "name: ''",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    paths = {name: str(tmp_path / name) for name in files}
    with pytest.raises(UserError, match=r"b.yaml: two scenarios have the same name. Found: name: mine, as in .*a.yaml"):
        load_scenarios([paths["a.yaml"], paths["b.yaml"]])
    with pytest.raises(UserError, match="two scenarios have the same name"):
        load_scenarios(["edge", paths["d.yaml"]])
    assert [one.name for one in load_scenarios([paths["a.yaml"], paths["c.yaml"], "edge"])] == ["mine", "edge"]
    with pytest.raises(UserError, match=r"e.yaml, name"):
        load_scenario(paths["e.yaml"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_what_powershell_writes_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes("name: Dağıtım\r\nrequirements:\r\n  - {quantity: retention, at_least: 0.9}\r\n".encode(encoding))
    assert load_scenario(str(path)).name == "Dağıtım"


@pytest.mark.parametrize("encoding", ["windows-1254", "utf-16-le", "utf-32"])
def test_another_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes("name: Dağıtım\nrequirements:\n  - {quantity: retention, at_least: 0.9}\n".encode(encoding))
    with pytest.raises(UserError, match=r"s.yaml: not (UTF-8 text|valid YAML)"):
        load_scenario(str(path))
