"""What is made from what, as a picture: a box an asset with the states of its partitions, lanes from left to right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final, final

from lakehouse.drawing.layout import layered
from lakehouse.drawing.state import State
from lakehouse.drawing.strips import bar, compact

_WIDE, _HIGH = 184, 46
_STEP_X, _STEP_Y = 236, 62
_EDGE, _HEAD = 14, 30
_LETTERS = 23
_ORDER: Final = (State.PUBLISHED, State.STALE, State.RUNNING, State.HELD, State.FAILED, State.WAITING, State.MISSING)


@final
@dataclass(frozen=True)
class Node:
    """A box.

    Parameters:
        key: the asset's key
        name: what stands in the box
        lane: the lane that it lies in
        counts: how many partitions are in each state
        about: a line below the name
        url: where a click leads
        title: what is said when somebody points at it
        here: whether it is what the picture is about
    """

    key: str
    name: str
    lane: str
    counts: Mapping[State, int]
    about: str
    url: str
    title: str = ""
    here: bool = False


def drawing(nodes: Sequence[Node], edges: Sequence[tuple[str, str]], lanes: Sequence[str]) -> str:
    """A graph.

    Parameters:
        nodes: the boxes, producers before consumers
        edges: what is made from what, by key
        lanes: the lanes from left to right
    """
    if not nodes:
        return ""
    found = layered({node.key: node.lane for node in nodes}, edges, lanes)
    number = {node.key: place for place, node in enumerate(nodes)}
    last = max(column for _, column in found.lanes.values())
    width, height = _x(last) + _WIDE + _EDGE, _y(found.height) + _HIGH + _EDGE
    bands = "".join(
        f'<g class="lane l-{escape(lane)}"><rect x="{_x(first) - 12}" y="4" width="{_x(end) - _x(first) + _WIDE + 24}" '
        f'height="{compact(height - 8)}" rx="8"/><text x="{_x(first)}" y="21">{escape(lane)}</text></g>'
        for lane, (first, end) in found.lanes.items()
    )
    ways = "".join(
        f'<path class="edge" data-a="{number[producer]}" data-b="{number[consumer]}" d="{_way(way)}"/>'
        for (producer, consumer), way in found.ways.items()
    )
    boxes = "".join(_box(node, place, *found.places[node.key]) for place, node in enumerate(nodes))
    return (
        f'<svg class="graph" width="{width}" height="{compact(height)}" viewBox="0 0 {width} {compact(height)}" '
        f'role="group" aria-label="what is made from what">{bands}{ways}{boxes}</svg>'
    )


def _x(column: int) -> int:
    return _EDGE + column * _STEP_X


def _y(row: float) -> float:
    return _HEAD + row * _STEP_Y


def _way(way: Sequence[tuple[int, float]]) -> str:
    """From the right of a box to the left of another, straight where it passes columns."""
    found = ""
    for (column, row), (to, below) in pairwise(way):
        x, y, end, down = _x(column) + _WIDE, _y(row) + _HIGH / 2, _x(to), _y(below) + _HIGH / 2
        middle = (x + end) / 2
        found += f"{'L' if found else 'M'}{x} {compact(y)}"
        found += f"C{middle:g} {compact(y)} {middle:g} {compact(down)} {end} {compact(down)}"
    return found


def _box(node: Node, number: int, column: int, row: float) -> str:
    worst = next((state for state in (State.FAILED, State.HELD, State.STALE) if node.counts.get(state)), None)
    if node.counts.get(State.RUNNING):
        worst = worst or State.RUNNING
    classes = f"node l-{node.lane}" + (f" bad {worst.mark}" if worst else "") + (" here" if node.here else "")
    name = node.name if len(node.name) <= _LETTERS else node.name[: _LETTERS - 1] + "…"
    states = bar(((state, node.counts.get(state, 0)) for state in _ORDER), width=_WIDE - 24, x=14, y=35, height=4)
    return (
        f'<a class="{escape(classes)}" href="{escape(node.url)}" data-k="{number}">'
        f'<g transform="translate({_x(column)} {compact(_y(row))})"><title>{escape(node.title or node.key)}</title>'
        f'<rect class="box" width="{_WIDE}" height="{_HIGH}" rx="6"/>'
        f'<rect class="band" width="4" height="{_HIGH}" rx="2"/>'
        f'<text x="14" y="17">{escape(name)}</text>'
        f'<text class="sub" x="14" y="30">{escape(node.about)}</text>{states}</g></a>'
    )
