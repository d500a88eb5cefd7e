"""Where rows came from, what was made from them, and how they ended: ``lakehouse lineage``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from lakehouse.display.formatting import ENDED, QUIET, clock, count, of_pairs, place
from lakehouse.display.page import labelled
from lakehouse.lineage import Fact, Status
from lakehouse.lineage.provenance import AssetLineage, Link

_ALIKE = 3
"""Publications of one asset that are listed one by one below the same parent."""


def lineage_trees(found: AssetLineage, label: str, *, limit: int, when: Callable[[Any], str] = clock) -> RenderableType:
    """Both trees and the history of some partitions of an asset.

    Parameters:
        found: the lineage
        label: the asset with its partitions
        limit: lines in each of the three parts, at most
        when: how moments are written
    """
    parts: list[RenderableType] = [Text(label, "bold")]
    for title, links, nothing in (
        ("made from", found.sources, "nothing of it is published"),
        ("went into", found.uses, "nothing was made from it"),
    ):
        tree = Tree(Text(title, QUIET), guide_style=QUIET, highlight=False)
        budget = _Budget(limit)
        _grow(tree, links, budget, when)
        if not links:
            tree.add(nothing)
        if budget.left_out:
            tree.add(Text(f"and {count(budget.left_out, 'more line')}: name a partition, or a higher --limit", QUIET))
        parts += ["", tree]
    parts += ["", Text("history", QUIET), history(found.events, limit=limit, when=when)]
    return Group(*parts)


def history(events: Sequence[Fact], *, limit: int, when: Callable[[Any], str] = clock) -> RenderableType:
    """What was recorded, oldest first; of many events the newest."""
    if not events:
        return Text("  nothing was ever tried")
    shown = events[-limit:]
    table = labelled([(Text(when(fact.finished), QUIET), _event(fact)) for fact in shown])
    hidden = len(events) - len(shown)
    return Group(Text(f"{count(hidden, 'older event')} not shown", QUIET), table) if hidden else table


def lineage_json(found: AssetLineage) -> dict[str, Any]:
    """The same, for programs: all of it."""
    return {
        "asset": found.asset,
        "partitions": found.partitions.to_pairs(),
        "made_from": [_link_json(link) for link in found.sources],
        "went_into": [_link_json(link) for link in found.uses],
        "history": [fact.model_dump(mode="json") for fact in found.events],
    }


def short(run: str) -> str:
    """The end of a run's id, which is chance and tells it from others."""
    return run[-8:]


def _event(fact: Fact) -> Text:
    word, colour = ENDED[fact.status]
    about = [f"run {short(fact.run)}"]
    if fact.attempt > 1:
        about.append(f"attempt {fact.attempt}")
    if fact.status in (Status.PUBLISHED, Status.REJECTED):
        about.insert(0, count(fact.rows, "row"))
    which = of_pairs(fact.partitions, 3)
    version = f" v{fact.version}" if fact.status is Status.PUBLISHED else ""
    text = Text.assemble((f"{word}{version}", colour), f" {which}" if which else "", (f"  {', '.join(about)}", QUIET))
    if fact.reason:
        text.append(f"; {fact.reason}")
    if fact.quarantine:
        text.append(f"; rows in {place(fact.quarantine)}", QUIET)
    return text


class _Budget:
    """How many lines may still be drawn."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.left_out = 0

    def take(self, lines: int = 1) -> bool:
        if self.lines >= lines:
            self.lines -= lines
            return True
        self.left_out += lines
        return False


def _grow(tree: Tree, links: Sequence[Link], budget: _Budget, when: Callable[[Any], str]) -> None:
    by_asset: dict[str, list[Link]] = {}
    for link in links:
        by_asset.setdefault(link.asset, []).append(link)
    for asset, alike in by_asset.items():
        if len(alike) > _ALIKE:
            if budget.take():
                branch = tree.add(_many(asset, alike, when))
                _grow(branch, [below for link in alike for below in link.links], budget, when)
            continue
        for link in alike:
            if budget.take():
                _grow(tree.add(_one(link, when)), link.links, budget, when)


def _one(link: Link, when: Callable[[Any], str]) -> Text:
    name = f"{link.asset} {link.partitions}".rstrip()
    if link.fact is None:
        return Text.assemble(name, ("  not in lineage", QUIET))
    fact = link.fact
    about = [f"v{fact.version}", when(fact.finished), f"run {short(fact.run)}"]
    if of_pairs(fact.partitions) == link.partitions:
        # Of a part of a publication nobody recorded how many rows it has.
        about.insert(1, count(fact.rows, "row"))
    return Text.assemble(name, (f"  {', '.join(about)}", QUIET))


def _many(asset: str, links: Sequence[Link], when: Callable[[Any], str]) -> Text:
    """Several publications of one asset in a line."""
    facts = {link.fact.id: link.fact for link in links if link.fact}
    versions = sorted({fact.version for fact in facts.values() if fact.version is not None})
    runs = {fact.run for fact in facts.values()}
    newest = max(facts.values(), key=lambda fact: fact.id, default=None)
    about = [count(len(facts), "publication")]
    if versions:
        about.append(f"v{versions[0]} to v{versions[-1]}" if len(versions) > 1 else f"v{versions[0]}")
    about.append(count(sum(fact.rows for fact in facts.values()), "row"))
    about.append(count(len(runs), "run"))
    if newest is not None:
        about.append(f"newest {when(newest.finished)}, run {short(newest.run)}")
    return Text.assemble(asset, (f"  {', '.join(about)}", QUIET))


def _link_json(link: Link) -> dict[str, Any]:
    fact = link.fact
    return {
        "asset": link.asset,
        "partitions": link.partitions,
        "version": fact.version if fact else None,
        "rows": fact.rows if fact else None,
        "run": fact.run if fact else None,
        "finished": fact.finished if fact else None,
        "record": fact.id if fact else None,
        "links": [_link_json(below) for below in link.links],
    }
