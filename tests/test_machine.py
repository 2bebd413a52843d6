"""Facts about the machine: the processors that a container may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imbik import machine


def system(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    """A file system with the groups of a process and their limits."""
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu"
CASES = {
    "v2, one and a half": ("0::/\n", {f"{V2}/cpu.max": "150000 100000\n"}, 1.5),
    "v2, no limit": ("0::/\n", {f"{V2}/cpu.max": "max 100000\n"}, None),
    "v2, own group": ("0::/app\n", {f"{V2}/app/cpu.max": "50000 100000\n"}, 0.5),
    "v2, a group above is tighter": ("0::/a/b\n", {f"{V2}/a/cpu.max": "100000 100000\n", f"{V2}/a/b/cpu.max": "300000 100000\n"}, 1.0),
    "v2, the path is the host's": ("0::/docker/0123\n", {f"{V2}/cpu.max": "200000 100000\n"}, 2.0),
    "v1": ("4:cpu,cpuacct:/x\n0::/\n", {f"{V1}/x/cpu.cfs_quota_us": "250000\n", f"{V1}/x/cpu.cfs_period_us": "100000\n"}, 2.5),
    "v1, no limit": ("4:cpu,cpuacct:/\n", {f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, None),
    "v1, another controller": ("4:memory:/x\n", {f"{V1}/x/cpu.cfs_quota_us": "100000\n", f"{V1}/x/cpu.cfs_period_us": "100000\n"}, None),
    "nothing mounted": ("0::/app\n", {}, None),
    "not understood": ("nonsense\n0::/\n", {f"{V2}/cpu.max": "soon\n"}, None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_quota_of_a_control_group_is_read(tmp_path, name):
    cgroup, files, quota = CASES[name]
    assert machine.cpu_quota(system(tmp_path, cgroup, files)) == quota


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path):
    assert machine.cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "threads"), [(None, 4), (0.5, 1), (1.5, 1), (2.0, 2), (64.0, 4)])
def test_threads_are_what_cores_and_quota_allow(monkeypatch, quota, threads):
    four = tuple({"processor": str(i), "physical id": "0", "core id": str(i)} for i in range(4))
    monkeypatch.setattr(machine, "_cpuinfo", lambda: four)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    assert machine.physical_cores() == threads


def test_hardware_threads_of_one_core_count_once(monkeypatch):
    pairs = tuple({"processor": str(i), "physical id": "0", "core id": str(i // 2)} for i in range(8))
    monkeypatch.setattr(machine, "_cpuinfo", lambda: pairs)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    assert machine.physical_cores() == 2


def test_threads_that_wait_sleep_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("KMP_BLOCKTIME", "")
    monkeypatch.delenv("KMP_BLOCKTIME")
    monkeypatch.setattr(machine, "_SET_HERE", set())
    machine.wait_passively()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["KMP_BLOCKTIME"]) == ("active", "0")
    # a process that is timed gets what the user has set, and nothing of ours
    assert machine.users_environment() == {name: value for name, value in os.environ.items() if name != "KMP_BLOCKTIME"}
