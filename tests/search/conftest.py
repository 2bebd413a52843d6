"""What the tests of searches share."""

from __future__ import annotations

import pytest
from made_up_costs import made_up_table

from imbik.search import costs


@pytest.fixture
def quick_table(monkeypatch):
    """A table of made-up times: what a machine takes is not what is tested here."""
    monkeypatch.setattr(costs, "table_of", made_up_table)
