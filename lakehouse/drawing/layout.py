"""Where the nodes of a graph lie, in columns from left to right: layered as Sugiyama's drawings are, in plain Python.

Each lane (a layer of the lakehouse) has columns of its own. Within a lane a node stands one column after the last that
it is made from. Edges that pass columns are bundled by what they come from. The order within columns is that with the
fewest crossings of several sweeps. The same graph always looks the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final

_SWEEPS: Final = 8
_PULLS: Final = 12

_Node = Hashable
"""A key, or a place that an edge passes."""


@final
@dataclass(frozen=True)
class Layout:
    """Where everything lies: columns are whole numbers, heights are in rows.

    Parameters:
        places: of each node, its column and its height
        ways: of each edge, from its producer to its consumer, the places that it passes
        lanes: of each lane, its first and last column
    """

    places: Mapping[str, tuple[int, float]]
    ways: Mapping[tuple[str, str], tuple[tuple[int, float], ...]]
    lanes: Mapping[str, tuple[int, int]]

    @property
    def height(self) -> float:
        """The lowest height that a node has."""
        return max((y for _, y in self.places.values()), default=0)


def layered(nodes: Mapping[str, str], edges: Sequence[tuple[str, str]], lanes: Sequence[str]) -> Layout:
    """Place nodes.

    Parameters:
        nodes: the lane of each node, by its key, producers before consumers
        edges: what is made from what: producer and consumer, each pair once
        lanes: the lanes from left to right; an edge goes to the same or a later one

    Examples:
        >>> found = layered({"a": "bronze", "b": "silver"}, [("a", "b")], ["bronze", "silver"])
        >>> found.places
        {'a': (0, 0.0), 'b': (1, 0.0)}
    """
    columns, spans = _columns(nodes, edges, lanes)
    up: dict[_Node, list[_Node]] = {node: [] for node in nodes}
    down: dict[_Node, list[_Node]] = {node: [] for node in nodes}
    rows: list[list[_Node]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for node in nodes:
        rows[columns[node]].append(node)
    chains: dict[tuple[str, str], list[_Node]] = {}
    for producer, consumer in edges:
        chain: list[_Node] = [producer]
        for column in range(columns[producer] + 1, columns[consumer]):
            passing = ("", producer, column)  # one place for all edges of a producer through a column
            if passing not in up:
                up[passing], down[passing] = [], []
                rows[column].append(passing)
            chain.append(passing)
        chain.append(consumer)
        for left, right in pairwise(chain):
            if left not in up[right]:
                up[right].append(left)
                down[left].append(right)
        chains[producer, consumer] = chain
    rows = _ordered(rows, up, down)
    heights = _heights(rows, up, down)
    low = min(heights.values(), default=0)

    def place(node: _Node) -> tuple[int, float]:
        return node[2] if isinstance(node, tuple) else columns[str(node)], heights[node] - low

    return Layout(
        {node: place(node) for node in nodes},
        {edge: tuple(place(node) for node in chain) for edge, chain in chains.items()},
        spans,
    )


def _columns(
    nodes: Mapping[str, str], edges: Sequence[tuple[str, str]], lanes: Sequence[str]
) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """The column of each node, and those of each lane that has nodes."""
    parents: dict[str, list[str]] = {node: [] for node in nodes}
    for producer, consumer in edges:
        if nodes[producer] == nodes[consumer]:
            parents[consumer].append(producer)
    within: dict[str, int] = {}
    for node in nodes:
        within[node] = max((within[parent] + 1 for parent in parents[node]), default=0)
    columns: dict[str, int] = {}
    spans: dict[str, tuple[int, int]] = {}
    first = 0
    for lane in lanes:
        members = [node for node, own in nodes.items() if own == lane]
        if members:
            wide = max(within[node] for node in members) + 1
            columns |= {node: first + within[node] for node in members}
            spans[lane] = (first, first + wide - 1)
            first += wide
    return columns, spans


def _ordered(
    rows: list[list[_Node]], up: Mapping[_Node, list[_Node]], down: Mapping[_Node, list[_Node]]
) -> list[list[_Node]]:
    """Columns in the order with the fewest crossings of several sweeps."""
    positions = {node: number for column in rows for number, node in enumerate(column)}
    best, kept = _crossings(rows, down, positions), [list(column) for column in rows]
    for sweep in range(_SWEEPS):
        if not best:
            break
        forth = sweep % 2 == 0
        near = up if forth else down
        for column in rows[1:] if forth else rows[-2::-1]:
            mean = {
                node: sum(positions[one] for one in near[node]) / len(near[node]) if near[node] else positions[node]
                for node in column
            }
            column.sort(key=lambda node: (mean[node], positions[node]))
            positions.update({node: number for number, node in enumerate(column)})
        now = _crossings(rows, down, positions)
        if now < best:
            best, kept = now, [list(column) for column in rows]
    return kept


def _crossings(
    rows: Sequence[Sequence[_Node]], down: Mapping[_Node, list[_Node]], positions: Mapping[_Node, int]
) -> int:
    total = 0
    for column in rows[:-1]:
        seen: list[int] = []
        for node in column:
            ends = sorted(positions[one] for one in down[node])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                seen.insert(bisect_right(seen, end), end)
    return total


def _heights(
    rows: Sequence[Sequence[_Node]], up: Mapping[_Node, list[_Node]], down: Mapping[_Node, list[_Node]]
) -> dict[_Node, float]:
    """Heights that keep the order: each near the middle of its neighbours, rows at least one apart."""
    heights = {node: float(number) for column in rows for number, node in enumerate(column)}
    for pull in range(_PULLS):
        forth = pull % 2 == 0
        for column in rows if forth else rows[::-1]:
            wanted = []
            for node in column:
                near = (up if forth else down)[node] or (down if forth else up)[node]
                around = sorted(heights[one] for one in near)
                middle = len(around) // 2
                wanted.append((around[middle] + around[~middle]) / 2 if around else heights[node])
            sizes = [0.5 if isinstance(node, tuple) else 1.0 for node in column]
            heights.update(zip(column, _apart(wanted, sizes), strict=True))
    return heights


def _apart(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """The places nearest to those wanted that keep order and distance: neighbours that clash are moved together."""
    blocks: list[tuple[float, int]] = []
    offsets: list[float] = []
    offset = 0.0
    for number, want in enumerate(wanted):
        offsets.append(offset)
        blocks.append((want - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (left, few), (right, more) = blocks[-2], blocks[-1]
            blocks[-2:] = [((left * few + right * more) / (few + more), few + more)]
        following = sizes[number + 1] if number + 1 < len(sizes) else 1.0
        offset += (sizes[number] + following) / 2
    flat = [place for place, number in blocks for _ in range(number)]
    return [place + offset for place, offset in zip(flat, offsets, strict=True)]
