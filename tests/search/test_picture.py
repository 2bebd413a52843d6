"""The picture of a search: one disc for each evaluation in its place, order in time, budget, winner; files of others stay."""

from __future__ import annotations

import re

import pytest

from imbik.errors import UserError
from imbik.locale.phrases import Phrases
from imbik.measure.values import Limits
from imbik.pruning.table import Architecture, Cost
from imbik.search.candidate import Candidate
from imbik.search.picture import draw, write_picture


def candidate(retention: float, ms: float) -> Candidate:
    return Candidate(Architecture((0, 2), (2, 2), (64, 32)), retention, Cost(ms, 3e6, ms))


SEEN = [candidate(0.80, 1.0), candidate(0.99, 4.0), candidate(0.95, 2.0), candidate(0.90, 3.0)]


def discs(svg: str) -> dict[int, tuple[float, float]]:
    found = re.findall(r'class="seen" cx="([\d.]+)" cy="([\d.]+)"[^>]*data-order="(\d+)"', svg)
    return {int(order): (float(x), float(y)) for x, y, order in found}


def test_every_evaluation_has_a_disc_where_its_figures_say():
    svg = str(draw(SEEN, SEEN[2], Limits(max_latency_ms=2.5), Phrases("en")))
    places = discs(svg)
    assert set(places) == {0, 1, 2, 3}
    by_time = sorted(places, key=lambda order: places[order][0])
    by_quality = sorted(places, key=lambda order: -places[order][1])  # pixels count downwards
    assert by_time == [0, 2, 3, 1] and by_quality == [0, 3, 2, 1]
    # equal steps of the logarithm are equal distances: 1, 2 and 4 ms
    assert places[2][0] - places[0][0] == pytest.approx(places[1][0] - places[2][0], abs=0.11)
    front = re.search(r'frontline" points="([^"]+)"', svg)[1].split()
    assert [tuple(map(float, pair.split(","))) for pair in front] == [places[0], places[2], places[1]]
    # the budget of 2.5 ms lies between 2 and 3 ms
    (limit,) = re.findall(r'class="limit" x1="([\d.]+)"', svg)
    assert places[2][0] < float(limit) < places[3][0]
    winner = re.search(r'class="mark" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert (float(winner[1]), float(winner[2])) == places[2]


def test_later_discs_are_darker():
    many = [candidate(0.9 + i / 1000, 1 + i / 10) for i in range(12)]
    shades = [int(value) for value in re.findall(r'class="seen"[^>]*62% (\d+)%', str(draw(many, many[0], Limits(), Phrases("en"))))]
    assert shades == sorted(shades, reverse=True) and len(set(shades)) == 6


@pytest.mark.parametrize(("limits", "lines"), [(Limits(min_retention=0.9), 1), (Limits(min_retention=0.2), 0), (Limits(max_mb=5.0), 0)])
def test_a_line_stands_where_the_budget_lies_within_the_picture(limits, lines):
    assert str(draw(SEEN, SEEN[1], limits, Phrases("en"))).count('class="limit"') == lines


def test_one_page_in_either_language_that_needs_nothing_else(tmp_path):
    for lang, said in (("en", "The search: 4 evaluated"), ("tr", "Arama: değerlendirilen 4 mimari")):
        page = write_picture(SEEN, SEEN[2], Limits(), tmp_path, lang).read_text(encoding="utf-8")
        assert said in page and f'lang="{lang}"' in page and "http" not in page and "<script" not in page
    assert "%95,0" in page and "2,0 ms" in page.replace("2,00 ms", "2,0 ms")


def test_a_page_of_somebody_else_stays(tmp_path):
    (tmp_path / "search.html").write_text("<html>mine</html>")
    with pytest.raises(UserError, match="did not make"):
        write_picture(SEEN, SEEN[2], Limits(), tmp_path, "en")
    assert (tmp_path / "search.html").read_text() == "<html>mine</html>"
