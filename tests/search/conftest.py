"""What the tests of searches share."""

from __future__ import annotations

import pytest
from made_up_costs import made_up_table

from imbik.search import costs, study


@pytest.fixture
def quick_table(monkeypatch):
    """A table of made-up times: what a machine takes is not what is tested here."""
    monkeypatch.setattr(costs, "table_of", made_up_table)


@pytest.fixture
def interrupted_after(monkeypatch):
    """Returns a function: the user presses Ctrl-C once so many architectures were looked at."""

    def after(count):
        real, left = study.scored, iter(range(count))

        def scored(*arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(study, "scored", scored)

    return after
