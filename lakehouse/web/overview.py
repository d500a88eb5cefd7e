"""What the overview shows: lines of its table, what runs, the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from markupsafe import Markup

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.display.formatting import ENDED
from lakehouse.drawing.graph import Node, drawing
from lakehouse.drawing.state import State, counts, said
from lakehouse.drawing.strips import strip
from lakehouse.lineage import Status
from lakehouse.lineage.leases import Standing
from lakehouse.web.links import Links
from lakehouse.web.look import Look, leased_words
from lakehouse.web.words import MARKS

_LANES: Final = tuple(str(layer) for layer in Layer)


def is_well(look: Look, asset: Asset) -> bool:
    """Whether an asset is up to date."""
    one, states = look.statuses[asset.key], counts(look.pieces[asset.key])
    return one.fault is None and not (states.keys() - {State.PUBLISHED, State.RUNNING})


def row(look: Look, asset: Asset, links: Links) -> dict[str, Any]:
    """A line of the table of assets."""
    one, pieces = look.statuses[asset.key], look.pieces[asset.key]
    bad = [check for check in one.checks if not check.passed]
    last = one.last
    word, _ = ENDED[last.status] if last else ("never", "")
    settled = last is not None and last.status in (Status.FAILED, Status.REJECTED) and not (one.held or one.failed)
    return {
        "asset": asset,
        "url": links.asset(asset.key),
        "strip": Markup(strip(pieces, width=240)),
        "there": len(one.present),
        "of": len(one.expected | one.present),
        "rows": one.rows,
        "checks": f"{len(one.checks) - len(bad)}/{len(one.checks)}" if one.checks else "",
        "bad": State.HELD.mark if any(c.blocking for c in bad) else State.STALE.mark if bad else "",
        "word": word,
        "mark": "" if last is None or settled else MARKS.get(last.status, ""),
        "when": last.finished if last else None,
        "words": " ".join([asset.group, *asset.tags, *asset.owners, *map(str, counts(pieces))]),
    }


def running(one: Standing) -> dict[str, Any]:
    """A run that is at work, or waits for its turn."""
    lease = one.lease
    return {
        "run": lease.run,
        "waits": one.waits,
        "host": lease.host,
        "begun": one.begun,
        "what": leased_words(one)[:8],
        "more": max(len(lease.partitions) - 8, 0),
    }


def graph_of(look: Look, assets: Iterable[Asset], links: Links, here: Asset | None = None) -> str:
    """What is made from what, among some assets; with one of them in the middle, what it has to do with alone."""
    shown = {asset.key: asset for asset in assets}
    graph = look.lake.graph
    nodes = []
    for key, asset in shown.items():
        one, states = look.statuses[key], counts(look.pieces[key])
        total, there = sum(states.values()), len(one.present)
        about = f"{there:,} of {total:,}" if asset.partitioned else ("published" if there else "not there yet")
        worst = next((state for state in (State.FAILED, State.HELD, State.STALE) if states.get(state)), None)
        if worst is not None:
            about += f" · {worst}"
        title = f"{key}: {said(look.pieces[key])}"
        nodes.append(Node(key, asset.name, str(asset.layer), states, about, links.asset(key), title, asset is here))
    order = {asset.key: place for place, asset in enumerate(graph)}
    nodes.sort(key=lambda node: order[node.key])
    edges = [
        (source.key, asset.key)
        for asset in shown.values()
        for source in dict.fromkeys(edge.asset for edge in graph.inputs(asset))
        if source.key in shown and (here is None or here in (source, asset))
    ]
    return drawing(nodes, sorted(edges, key=lambda edge: (order[edge[1]], order[edge[0]])), _LANES)
