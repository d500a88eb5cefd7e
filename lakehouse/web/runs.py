"""What runs did: in a line, over time, by outcome."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime
from typing import Any, Final

from markupsafe import Markup

from lakehouse.display.formatting import ENDED, extent, of_pairs
from lakehouse.drawing.state import State
from lakehouse.lineage import Fact, LineageReader, Status
from lakehouse.redaction import redacted
from lakehouse.web.links import Links
from lakehouse.web.look import Look
from lakehouse.web.words import MARKS, spent

LINES: Final = 80
"""So many assets of a run are shown over time."""


_LAID: Final = (State.STALE.mark, State.PUBLISHED.mark, State.HELD.mark, State.FAILED.mark)

_STEPS: Final = (Status.PUBLISHED, Status.REJECTED, Status.FAILED, Status.SKIPPED)
"""What a step comes to; a run that left none of these only looked, or kept things in order."""

_AT_A_TIME, _TIMES = 100, 10


def newest(store: LineageReader, number: int, before: str | None = None) -> list[tuple[str, list[Fact]]]:
    """The newest runs that did a step, with what they did, newest first.

    Parameters:
        store: where that is read
        number: how many, at most
        before: only of runs that began before this one
    """
    found: list[tuple[str, list[Fact]]] = []
    for _ in range(_TIMES):
        ids = store.runs(_AT_A_TIME, before=before)
        for run in ids:
            facts = store.run(run)
            if any(fact.status in _STEPS for fact in facts):
                found.append((run, facts))
            if len(found) == number:
                return found
        if len(ids) < _AT_A_TIME:
            break
        before = ids[-1]
    return found


def summary(
    look: Look, run: str, facts: Sequence[Fact], links: Links, running: Container[str]
) -> dict[str, Any] | None:
    """A run in a line; None: it left nothing."""
    if not facts:
        return None
    numbers: dict[Status, int] = {}
    for fact in facts:
        numbers[fact.status] = numbers.get(fact.status, 0) + _number(look, fact)
    began, ended = min(fact.started for fact in facts), max(fact.finished for fact in facts)
    keys = list(dict.fromkeys(fact.asset for fact in sorted(facts, key=lambda fact: fact.started)))
    return {
        "id": run,
        "url": links.run(run),
        "began": began,
        "took": (ended - began).total_seconds(),
        "running": run in running,
        "assets": keys[:3],
        "more": max(len(keys) - 3, 0),
        "rows": sum(fact.rows for fact in facts if fact.status is Status.PUBLISHED),
        "outcomes": [(ENDED[status][0], MARKS.get(status, ""), number) for status, number in numbers.items()],
        "line": Markup(_line(facts, began, ended)),
        "ok": not numbers.keys() & {Status.FAILED, Status.REJECTED},
    }


def _number(look: Look, fact: Fact) -> int:
    graph = look.lake.graph
    if fact.asset not in graph:
        return max(len(fact.partitions), 1)
    return len(graph[fact.asset].partitions.from_pairs(fact.partitions)) or 1


def _line(facts: Sequence[Fact], began: datetime, ended: datetime, width: int = 240) -> str:
    """A run's steps over its time, on one line."""
    total = (ended - began).total_seconds() or 1
    paths: dict[str, str] = {}
    for fact in facts:
        x = (fact.started - began).total_seconds() / total * width
        wide = max((fact.finished - fact.started).total_seconds() / total * width, 1.5)
        mark = MARKS.get(fact.status, State.MISSING.mark)
        paths[mark] = paths.get(mark, "") + f"M{x:.1f} 5h{wide:.1f}"
    # What was skipped has the time of the step that published the rest; what went wrong is covered by nothing.
    order = sorted(paths, key=lambda mark: _LAID.index(mark) if mark in _LAID else 0)
    shapes = "".join(f'<path class="{mark}" d="{paths[mark]}"/>' for mark in order)
    return f'<svg class="strip" viewBox="0 0 {width} 10" preserveAspectRatio="none" aria-hidden="true">{shapes}</svg>'


def timeline(facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """The steps of each asset over the time of the run."""
    began, ended = min(fact.started for fact in facts), max(fact.finished for fact in facts)
    by_asset: dict[str, list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: fact.started):
        by_asset.setdefault(fact.asset, []).append(fact)
    return [
        {
            "asset": key,
            "line": Markup(_line(some, began, ended, 480)),
            "took": (max(f.finished for f in some) - min(f.started for f in some)).total_seconds(),
            "after": (min(f.started for f in some) - began).total_seconds(),
        }
        for key, some in list(by_asset.items())[:LINES]
    ]


def outcomes(look: Look, facts: Sequence[Fact], links: Links) -> list[dict[str, Any]]:
    """What became of each asset's partitions, those that went wrong first."""
    found: dict[tuple[str, Status, str], list[Fact]] = {}
    for fact in facts:
        found.setdefault((fact.asset, fact.status, redacted(fact.reason)), []).append(fact)
    graph = look.lake.graph
    listed_ = []
    for (key, status, reason), some in found.items():
        asset = graph.assets.get(key)
        pairs = [pair for fact in some for pair in fact.partitions]
        part = asset.partitions.from_pairs(pairs) if asset is not None else None
        words = extent(part, 4) if asset is not None and asset.partitioned and part else of_pairs(tuple(pairs), 4)
        bad = (f"{check.name} {check.message}".strip() for fact in some for check in fact.checks if not check.passed)
        listed_.append(
            {
                "key": key,
                "known": asset is not None,
                "word": ENDED[status][0],
                "mark": MARKS.get(status, ""),
                "partitions": "" if asset is not None and not asset.partitioned else words,
                "number": len(part) if part else max(len(pairs), 1),
                "rows": sum(fact.rows for fact in some),
                "took": spent(some),
                "reason": reason,
                "checks": [text for text in dict.fromkeys(bad) if text not in reason][:5],
                "order": [Status.FAILED, Status.REJECTED, Status.SKIPPED].index(status)
                if status in (Status.FAILED, Status.REJECTED, Status.SKIPPED)
                else 3,
            }
        )
    return sorted(listed_, key=lambda one: one["order"])
