"""Times as programs and files write them, against Python's own calendar."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ids import Place
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.reading import read_ratings
from imbik.recommend.data.times import seconds_of

UTC = datetime.UTC
TEN = datetime.datetime(2024, 1, 31, 10, tzinfo=UTC).timestamp()
HERE = Place(None, 1)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2024-01-31 10:00:00 UTC", TEN),
        ("2024-01-31 10:00:00 GMT", TEN),
        ("2024-01-31T10:00:00z", TEN),
        ("2024-01-31 10:00:00 +0300", TEN - 3 * 3600),
        ("2024-01-31 10:00:00 -05:30", TEN + 5.5 * 3600),
        ("2024/01/31", TEN - 36_000),
    ],
)
def test_dates_of_other_programs_are_read(text: str, seconds: float, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(f"user,item,rating,time\na,x,5,{text}\nb,y,3,{text}\n", "utf-8")
    times = read_ratings(tmp_path / "r.csv").times
    assert times is not None and times.tolist() == [seconds] * 2


@pytest.mark.parametrize("text", ["31.01.2024", "01/31/2024", "10:00"])
def test_a_date_that_cannot_be_told_apart_is_asked_for(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(f"user,item,rating,time\na,x,5,{text}\n", "utf-8")
    with pytest.raises(UserError, match=r"row 2, column time.*seconds, or a date such as 2024-01-31"):
        read_ratings(tmp_path / "r.csv")


def test_dates_in_every_unit_of_numpy_reach_beyond_2262() -> None:
    for text in ("1500-06-01", "2024-01-31", "2999-01-31"):
        want = datetime.datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        for unit in ("D", "h", "m", "s", "ms", "us"):
            assert seconds_of(np.array([text], f"datetime64[{unit}]"), HERE).tolist() == [want], unit
    assert seconds_of(np.array(["2024-01-31T10"], "datetime64[25ns]"), HERE).tolist() == [TEN]
    assert np.isnan(seconds_of(np.array(["NaT"], "datetime64[D]"), HERE)).all()


def test_a_time_without_a_zone_is_of_no_computers_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    naive = datetime.datetime(2024, 1, 31, 10)
    monkeypatch.setitem(os.environ, "TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert seconds_of([naive, naive.replace(tzinfo=UTC)], HERE).tolist() == [TEN, TEN]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_days_texts_and_numbers_are_times() -> None:
    assert seconds_of([datetime.date(2024, 1, 31), None], HERE).tolist() == pytest.approx([TEN - 36_000, np.nan], nan_ok=True)
    assert seconds_of(["2024-01-31T10:00:00Z", "2024-01-31 13:00+03:00"], HERE).tolist() == [TEN, TEN]
    assert seconds_of([1, 2.5], HERE).tolist() == [1, 2.5]
    with pytest.raises(UserError, match=r"row 2.*neither a number nor a date"):
        seconds_of([datetime.date(2024, 1, 31), object()], HERE)
    with pytest.raises(UserError, match=r"row 2.*column time"):
        Ratings.of("ab", "xy", [5, 1], ["2024-01-31", None])
