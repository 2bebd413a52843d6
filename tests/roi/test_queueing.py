"""Waiting behind many servers: the limit of Halfin and Whitt against the recursion."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("ahead", [0.1, 0.5, 1.0, 2.0])
def test_the_limit_of_many_servers_meets_the_recursion(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    """At 100,000 servers the two differ by the order of 1 / sqrt(servers)."""
    from imbik.roi import queueing

    servers = 100_000
    load = servers - ahead * servers**0.5
    exact = queueing.erlang_c(servers, load)
    monkeypatch.setattr(queueing, "_MANY", servers - 1)
    assert queueing.erlang_c(servers, load) == pytest.approx(exact, rel=0.01)


def test_a_billion_servers_take_no_longer_than_one() -> None:
    from imbik.roi.queueing import erlang_c

    assert erlang_c(10**15, 0.98 * 10**15) == 0.0 and erlang_c(10**9, 10**9 - 1.0) == pytest.approx(1.0, abs=1e-3)
