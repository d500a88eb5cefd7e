"""Pictures say what is: no state is lost, nothing lies outside, the same is drawn the same."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Daily
from lakehouse.drawing.graph import Node, drawing
from lakehouse.drawing.layout import layered
from lakehouse.drawing.state import Piece, State, counts, disjoint, stretches
from lakehouse.drawing.strips import bars, calendar, strip
from lakehouse.partitions import PartitionSet

DAYS = Daily("2013-01-01", end="2023-01-01")
LOW, HIGH = DAYS.select("*").spans[0]
LANES = ["source", "bronze", "silver", "gold"]

spans = st.tuples(st.integers(LOW, HIGH - 1), st.integers(1, 400)).map(lambda s: (s[0], min(s[0] + s[1], HIGH)))
parts = st.lists(spans, min_size=1, max_size=40).map(lambda found: PartitionSet(DAYS, tuple(found)))
pieces = st.lists(st.tuples(parts, st.sampled_from(State)), min_size=1, max_size=6).map(
    lambda found: disjoint(Piece(part, state) for part, state in found)
)


def shapes(svg: str) -> list[tuple[str, float, float]]:
    """The class, the place and the width of each stretch."""
    found = []
    for mark, lines in re.findall(r'<path class="(s-\w)" d="([^"]*)"', svg):
        found += [(mark, float(x), float(w)) for x, w in re.findall(r"M([\d.]+) 5h([\d.]+)", lines)]
    return found


@given(pieces)
def test_disjoint_pieces_hold_what_was_given_once(found: list[Piece]) -> None:
    every = [number for piece in found for low, high in piece.partitions.spans for number in range(low, high)]
    assert len(every) == len(set(every)) == sum(counts(found).values())
    assert sum(map(len, stretches(found))) == len(every)


@given(pieces, st.sampled_from([20, 80, 240, 720]))
def test_a_strip_is_full_and_loses_no_state_that_needs_attention(found: list[Piece], width: int) -> None:
    drawn = shapes(strip(found, width=width))
    assert min(x for _, x, _ in drawn) == 0
    assert all(x + w <= width + 0.02 for _, x, w in drawn)
    assert max(x + w for _, x, w in drawn) >= width - 0.02
    if len(stretches(found)) <= width:
        for piece in found:
            wide = sum(w for mark, _, w in drawn if mark == piece.state.mark)
            assert wide > 0, piece.state


@given(pieces)
def test_the_more_stretches_the_less_a_strip_grows(found: list[Piece]) -> None:
    assert len(strip(found, width=80)) < 80 * 16 + 600


def test_a_failed_day_among_ten_years_can_be_seen() -> None:
    one = PartitionSet(DAYS, ((LOW + 1000, LOW + 1001),))
    found = disjoint([Piece(one, State.FAILED), Piece(DAYS.select("*"), State.PUBLISHED)])
    ((_, _, wide),) = [shape for shape in shapes(strip(found)) if shape[0] == State.FAILED.mark]
    assert wide >= 2


@settings(max_examples=30)
@given(pieces)
def test_a_calendar_has_a_square_for_each_day_of_the_years_that_it_shows(found: list[Piece]) -> None:
    svg = calendar(found)
    assert svg.count("h11v11h-11z") == sum(counts(found).values())
    top = float(re.search(r'viewBox="0 0 \d+ (\d+)"', svg)[1])  # type: ignore[index]
    assert all(0 <= float(y) < top for _, y in re.findall(r"M(\d+) (\d+)h11", svg))


@given(st.lists(st.tuples(st.text(max_size=5), st.floats(0, 1e12)), max_size=500))
def test_bars_stay_within_their_picture(values: list[tuple[str, float]]) -> None:
    svg = bars(values, "rows", lambda number: f"{number:.0f}")
    assert bool(svg) is bool(values)
    for x, y, wide, high in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg):
        assert float(x) + float(wide) <= 720.1
        assert abs(float(y) + float(high) - 60) < 0.02
    assert svg.count("<rect") <= 160


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, str], list[tuple[str, str]]]:
    number = draw(st.integers(1, 30))
    lanes = sorted(draw(st.lists(st.integers(0, 3), min_size=number, max_size=number)))
    nodes = {f"n{place}": LANES[lane] for place, lane in enumerate(lanes)}
    pairs = [(f"n{a}", f"n{b}") for b in range(number) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=60)) if pairs else []
    return nodes, edges


@given(graphs())
def test_everything_goes_from_left_to_right_and_nothing_overlaps(
    found: tuple[dict[str, str], list[tuple[str, str]]],
) -> None:
    nodes, edges = found
    layout = layered(nodes, edges, LANES)
    assert layout == layered(nodes, edges, LANES)
    columns: dict[int, list[float]] = {}
    for column, row in layout.places.values():
        columns.setdefault(column, []).append(row)
        assert row >= 0
    for rows in columns.values():
        assert all(below - above >= 0.99 for above, below in pairwise(sorted(rows)))
    for edge, way in layout.ways.items():
        assert way[0] == layout.places[edge[0]]
        assert way[-1] == layout.places[edge[1]]
        assert [column for column, _ in way] == list(range(way[0][0], way[-1][0] + 1))
        assert len(way) > 1
    for key, lane in nodes.items():
        first, last = layout.lanes[lane]
        assert first <= layout.places[key][0] <= last


@given(graphs())
def test_a_graph_is_drawn_whole(found: tuple[dict[str, str], list[tuple[str, str]]]) -> None:
    nodes, edges = found
    boxes = [Node(key, key, lane, {State.PUBLISHED: 1}, "1 of 1", f"{key}.html") for key, lane in nodes.items()]
    svg = drawing(boxes, edges, LANES)
    assert svg.count('class="edge"') == len(edges)
    assert svg.count('class="box"') == len(nodes)
