"""The pages as HTML: what a look found, arranged for the templates."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any, Final, final

from markupsafe import Markup

from lakehouse.definitions.asset import Asset
from lakehouse.display.catalog import by_layer
from lakehouse.display.formatting import (
    ENDED,
    clock,
    extent,
    of_pairs,
    seconds,
    stamp,
)
from lakehouse.display.plans import grouped
from lakehouse.drawing.state import Piece, State, counts, said, stretches
from lakehouse.drawing.strips import calendar, has_calendar, strip
from lakehouse.errors import LakehouseError
from lakehouse.lineage import Fact
from lakehouse.lineage.leases import run_begun
from lakehouse.partitions import PartitionSet
from lakehouse.redaction import redacted
from lakehouse.web import assets, overview, partitions, runs
from lakehouse.web import links as where
from lakehouse.web.attention import build, notices
from lakehouse.web.links import Links
from lakehouse.web.look import Look
from lakehouse.web.text import code, markdown
from lakehouse.web.words import MARKS

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
)
"""What a page may do: nothing but what lies beside it."""

PER_PAGE: Final = 200
"""So many assets are drawn as a graph, and stand in a page of a table."""

_NOTICES = 60
_RANGES = 150
_HISTORY = 100
_RUNS = 50
_NEIGHBOURS = 40
_UNBROKEN = 44


@final
@dataclass(frozen=True)
class Shown:
    """What may be shown, and how.

    Parameters:
        source: whether the code of functions is
        rows: whether rows are, of tables and of quarantine
        exported: whether the pages are files, that tell of one moment
        flow_run: says where Prefect shows a flow run; None: nobody knows
    """

    source: bool = True
    rows: bool = True
    exported: bool = False
    flow_run: Callable[[str], str | None] = field(default=lambda _: None, compare=False)


@final
class Pages:
    """Makes pages.

    Parameters:
        title: what is shown in the head
        shown: what may be shown
        there: the pages that there are besides overviews and assets; None: all that are asked for
    """

    def __init__(self, title: str, shown: Shown, there: Container[str] | None = None) -> None:
        self.title = title
        self.shown = shown
        self.there = there

    @cached_property
    def _templates(self) -> Any:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("lakehouse.web"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        environment.globals |= {
            "lakehouse": self.title,
            "release": version("lakehouse"),
            "exported": self.shown.exported,
            "policy": POLICY,
            "states": tuple(State),
        }
        environment.filters |= {
            "time": _time,
            "seconds": seconds,
            "number": lambda number: f"{number:,}",
            "listed": lambda text: _unbroken(text, ", "),
            "words": lambda text: _unbroken(text, " "),
        }
        return environment

    def _page(self, name: str, at: str, look: Look, **values: Any) -> str:
        links = Links.of(at, self.there)
        filled: str = self._templates.get_template(f"{name}.html").render(link=links, at=at, now=look.now, **values)
        return filled

    def error(self, at: str, now: datetime, title: str, message: str, hint: str = "") -> str:
        """What is said where there is no page, or nothing can be read."""
        filled: str = self._templates.get_template("error.html").render(
            link=Links.of(at, self.there), at=at, now=now, heading=title, message=redacted(message), hint=redacted(hint)
        )
        return filled

    # ── overview ──────────────────────────────────────────────────────────────────────────

    def overview(self, look: Look, page: int = 1) -> str:
        """What needs attention, what runs, the graph, and all assets; of many, those of one page of the table.

        Parameters:
            look: what is known
            page: which page, from 1 on
        """
        at = where.numbered(where.OVERVIEW, page)
        links = Links.of(at, self.there)
        assets = by_layer(list(look.lake.graph))
        found = notices((look.statuses[asset.key], look.pieces[asset.key]) for asset in assets) if page == 1 else []
        return self._page(
            "overview",
            at,
            look,
            notices=found[:_NOTICES],
            unlisted=len(found) - min(len(found), _NOTICES),
            running=[overview.running(one) for one in look.standing if not one.over] if page == 1 else [],
            assets=[overview.row(look, asset, links) for asset in _of_page(assets, page)],
            total=len(assets),
            well=sum(overview.is_well(look, asset) for asset in assets),
            graph=None if len(assets) > PER_PAGE else Markup(overview.graph_of(look, assets, links)),
            others=_others(where.OVERVIEW, len(assets), page, links),
            names=[asset.key for asset in assets] if len(assets) > PER_PAGE else [],
        )

    # ── an asset ──────────────────────────────────────────────────────────────────────────

    def asset(self, look: Look, asset: Asset) -> str:
        """All that is known of one asset."""
        at = where.asset_page(asset.key)
        links = Links.of(at, self.there)
        graph, one, pieces = look.lake.graph, look.statuses[asset.key], look.pieces[asset.key]
        recent = look.lake.lineage_store.recent(asset.key, _HISTORY)
        found = stretches(pieces)
        near = dict.fromkeys([*(edge.asset for edge in graph.inputs(asset)), asset, *graph.consumers(asset)])
        shown = [a for a in graph if a in list(near)[:_NEIGHBOURS] or a is asset]
        return self._page(
            "asset",
            at,
            look,
            asset=asset,
            about=markdown(asset.description),
            facts=assets.facts_about(look, asset, one.uri),
            notices=notices([(one, pieces)])[:_NOTICES],
            one=one,
            counts=counts(pieces),
            said=said(pieces),
            strip=Markup(strip(pieces, titles=True)) if asset.partitioned else None,
            calendar=Markup(calendar(pieces)) if asset.partitioned and has_calendar(asset.partitions) else None,
            folder=links.to(f"partitions/{asset.key}/") if self.there is None else "",
            by_day=asset.partitions.kind == "daily",
            ranges=[self._range(asset, stretch, links) for stretch in found[:_RANGES]],
            unlisted=max(len(found) - _RANGES, 0),
            charts=assets.charts(look, asset, recent),
            graph=Markup(overview.graph_of(look, shown, links, here=asset)) if len(near) > 1 else None,
            left_out=len(near) - len(shown),
            checks=assets.checks(look, asset, one.checks),
            columns=assets.columns(asset),
            schema=asset.schema.name if asset.schema else "",
            schemas=assets.schemas(look, asset),
            versions=assets.versions(asset, recent),
            history=[self._event(fact, links) for fact in recent],
            code=self._code(asset),
            loading=assets.loading(asset),
        )

    def _range(self, asset: Asset, stretch: Any, links: Links) -> dict[str, Any]:
        first, last = stretch.low, stretch.high - 1
        ends = [(asset.partitions.key(at), links.partition(asset, at)) for at in dict.fromkeys((first, last))]
        piece = stretch.piece
        return {
            "ends": ends,
            "number": len(stretch),
            "state": piece.state,
            "why": piece.why,
            "run": links.run(piece.run),
            "partitioned": asset.partitioned,
        }

    def _event(self, fact: Fact, links: Links) -> dict[str, Any]:
        word, _ = ENDED[fact.status]
        return {
            "fact": fact,
            "word": word,
            "mark": MARKS.get(fact.status, ""),
            "partitions": of_pairs(fact.partitions, 3),
            "took": (fact.finished - fact.started).total_seconds(),
            "run": links.run(fact.run),
            "pins": [(pin.asset, pin.version, of_pairs(pin.partitions, 2)) for pin in fact.inputs],
            "reason": redacted(fact.reason),
        }

    def _code(self, asset: Asset) -> list[dict[str, Any]]:
        if not self.shown.source:
            return []
        return [{"title": title, "code": code(text, language)} for title, language, text in assets.sources(asset)]

    # ── a partition ───────────────────────────────────────────────────────────────────────

    def partition(self, look: Look, asset: Asset, ordinal: int) -> str:
        """What one partition was made from, what it went into, what its checks found."""
        at = where.partition_page(asset, ordinal)
        links = Links.of(at, self.there)
        own = asset.partitions
        part = PartitionSet(own, ((ordinal, ordinal + 1),))
        piece = next((p for p in look.pieces[asset.key] if p.partitions & part), None)
        state = look.state(asset)
        current = next((fact for _, fact in state.within(part)), None)
        held = next((fact for of, fact in state.rejected if of & part), None)
        judged = held or current
        key = own.key(ordinal)
        events = [
            fact for fact in look.lake.lineage_store.recent(asset.key, 1000) if own.from_pairs(fact.partitions) & part
        ]
        alone = [] if piece is None else [Piece(part, piece.state, piece.why, piece.run)]
        rows = partitions.Rows(look, asset, part, links, self.shown.rows and not self.shown.exported)
        return self._page(
            "partition",
            at,
            look,
            asset=asset,
            key=key,
            around=[(own.key(o), links.partition(asset, o)) for o in partitions.neighbours(look, asset, ordinal)],
            piece=piece,
            notices=notices([(look.statuses[asset.key], alone)], warnings=False) if alone else [],
            current=current,
            single=current is not None and own.from_pairs(current.partitions) <= part,
            run=links.run(current.run) if current is not None else None,
            sources=list(partitions.sources_of(look, asset, part, current, links)),
            uses=list(partitions.uses_of(look, asset, part, links)),
            checks=[
                {"check": check, "passed": not own.from_pairs(check.failed) & part}
                for check in (judged.checks if judged is not None else ())
            ],
            judged="held back" if held is not None else "published",
            held=rows.held(held),
            preview=rows.published() if current is not None else None,
            history=[self._event(fact, links) for fact in events[:_HISTORY]],
            again=build("materialize", asset.key, part),
        )

    # ── runs ──────────────────────────────────────────────────────────────────────────────

    def runs(self, look: Look, *, before: str | None = None) -> str:
        """The newest runs."""
        listed = runs.newest(look.lake.lineage_store, _RUNS + 1, before)
        links = Links.of(where.RUNS, self.there)
        running = {one.lease.run for one in look.standing if not one.over}
        found = [runs.summary(look, run, facts, links, running) for run, facts in listed[:_RUNS]]
        return self._page(
            "runs",
            where.RUNS,
            look,
            runs=[one for one in found if one is not None],
            running=[overview.running(one) for one in look.standing if not one.over],
            older=listed[_RUNS - 1][0] if len(listed) > _RUNS and not self.shown.exported else None,
            newer=before is not None,
        )

    def run(self, look: Look, run: str, facts: Sequence[Fact]) -> str:
        """What one run did."""
        at = where.run_page(run)
        links = Links.of(at, self.there)
        leased = [one for one in look.standing if one.lease.run == run and not one.over]
        summary = runs.summary(look, run, facts, links, {run} if leased else set())
        flow = next((fact.flow_run for fact in facts if fact.flow_run), None)
        return self._page(
            "run",
            at,
            look,
            run=run,
            one=summary,
            running=[overview.running(one) for one in leased],
            outcomes=runs.outcomes(look, facts, links),
            lines=runs.timeline(facts),
            cut=max(len({fact.asset for fact in facts}) - runs.LINES, 0),
            url=self.shown.flow_run(flow) if flow else None,
            host=next((fact.host for fact in facts if fact.host), ""),
            engine=next((fact.engine for fact in facts if fact.engine), ""),
            began=run_begun(run),
        )

    # ── plan ──────────────────────────────────────────────────────────────────────────────

    def plan(self, look: Look, page: int = 1) -> str:
        """What a refresh of everything would do, and why; of many assets, those of one page.

        Parameters:
            look: what is known
            page: which page, from 1 on
        """
        plan = look.plan
        at = where.numbered(where.PLAN, page)
        links = Links.of(at, self.there)
        if isinstance(plan, LakehouseError):
            return self._page("plan", at, look, error=plan, assets=[], total=0, left=[], steps=0, others=[])
        planned = []
        for asset in _of_page(plan.assets, page):
            wanted = plan.partitions(asset)
            each = look.state(asset).rows_per_partition
            whys = grouped(plan.steps.reasons(asset.key))
            planned.append(
                {
                    "asset": asset,
                    "partitions": extent(wanted, 3) if asset.partitioned else "",
                    "number": len(wanted),
                    "rows": None if each is None else round(each * len(wanted)),
                    "whys": [
                        (why, extent(part, 2) if len(whys) > 1 and asset.partitioned else "")
                        for why, part in whys.items()
                    ],
                    "command": build("refresh", asset.key, wanted),
                }
            )
        left = [
            (one.asset, extent(one.partitions, 3) if one.asset.partitioned else "", redacted(str(one)))
            for one in plan.left
        ]
        return self._page(
            "plan",
            at,
            look,
            error=None,
            assets=planned,
            total=len(plan.assets),
            left=left[:_NOTICES],
            steps=len(plan.steps),
            others=_others(where.PLAN, len(plan.assets), page, links),
        )


def _time(moment: datetime) -> Markup:
    """A moment, to the minute; the script says how long ago it was."""
    return Markup('<time datetime="{}">{}</time>').format(stamp(moment), clock(moment))


def _of_page(assets: Sequence[Asset], page: int) -> Sequence[Asset]:
    return assets[(page - 1) * PER_PAGE : page * PER_PAGE]


def _others(name: str, number: int, page: int, links: Links) -> list[tuple[int, str, bool]]:
    """The pages of a table: the number of each, its address, and whether it is this one; none, where one is enough."""
    pages = range(1, pages_of(number) + 1)
    return [(n, links.to(where.numbered(name, n)), n == page) for n in pages] if len(pages) > 1 else []


def pages_of(number: int) -> int:
    """How many pages a table of so many assets has."""
    return max(-(-number // PER_PAGE), 1)


def _unbroken(text: str, mark: str) -> Markup:
    """Text that is broken into lines after a mark alone, as long as what stands between is not too long for that."""
    first, *rest = text.split(mark)
    found = [first]
    for one in rest:
        # A comma belongs to what stands before it.
        found[-1] += mark.rstrip()
        found.append(one)
    kept = (Markup('<span class="nb">{}</span>' if len(one) <= _UNBROKEN else "{}").format(one) for one in found)
    return Markup(" ").join(kept)
