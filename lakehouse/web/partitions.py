"""What a partition's page shows: what it was made from, what it went into, its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.display.formatting import extent
from lakehouse.display.rows import cell, held_rows
from lakehouse.errors import LakehouseError
from lakehouse.lineage import Fact
from lakehouse.partitions import PartitionSet
from lakehouse.redaction import redacted
from lakehouse.web.links import Links
from lakehouse.web.look import Look
from lakehouse.web.words import short


def neighbours(look: Look, asset: Asset, ordinal: int) -> list[int]:
    """The partitions before and after one, among those that there are."""
    spans = (look.statuses[asset.key].expected | look.statuses[asset.key].present).spans
    before = [min(high - 1, ordinal - 1) for low, high in spans if low < ordinal][-1:]
    after = [max(low, ordinal + 1) for low, high in spans if high - 1 > ordinal][:1]
    return [*before, *after]


def sources_of(
    look: Look, asset: Asset, part: PartitionSet, current: Fact | None, links: Links
) -> Iterable[dict[str, Any]]:
    """What a partition is made from: of each input the partitions, and the version that was read."""
    graph, now = look.lake.graph, look.snapshot.now
    pins = {pin.asset: pin for pin in (current.inputs if current is not None else ())}
    for edge in graph.inputs(asset):
        source = edge.asset
        there = look.state(source).present | look.statuses[source.key].expected
        needed = graph.mapping(asset, edge, now, there).upstream(part) if source.partitioned or part else part
        pin = pins.get(source.key)
        changed = pin is not None and bool(look.state(source).changed_since(pin.version) & needed)
        yield _link(source, needed, links, version=pin.version if pin else None, changed=changed)


def uses_of(look: Look, asset: Asset, part: PartitionSet, links: Links) -> Iterable[dict[str, Any]]:
    """What a partition went into: of each consumer the partitions that are there."""
    graph, now = look.lake.graph, look.snapshot.now
    there = look.state(asset).present | look.statuses[asset.key].expected
    for consumer in graph.consumers(asset):
        edge = next(edge for edge in graph.inputs(consumer) if edge.asset is asset)
        fed = graph.mapping(consumer, edge, now, there).downstream(part) & look.state(consumer).present
        if fed:
            yield _link(consumer, fed, links, version=look.state(consumer).version, changed=False)


def _link(asset: Asset, part: PartitionSet, links: Links, *, version: int | None, changed: bool) -> dict[str, Any]:
    single = part.spans[0][0] if asset.partitioned and len(part) == 1 else None
    return {
        "asset": asset,
        "url": links.asset(asset.key),
        "partitions": extent(part, 3) if asset.partitioned else "",
        "partition": links.partition(asset, single) if single is not None else None,
        "version": version,
        "changed": changed,
    }


@final
@dataclass(frozen=True)
class Rows:
    """Rows of a partition, where they may be shown."""

    look: Look
    asset: Asset
    part: PartitionSet
    links: Links
    allowed: bool

    def published(self) -> dict[str, Any] | None:
        if not self.allowed:
            return None
        return self._table(lambda: self.look.lake.load(self.asset, self.part))

    def held(self, fact: Fact | None) -> dict[str, Any] | None:
        if not self.allowed or fact is None or fact.quarantine is None:
            return None
        uri = fact.quarantine
        return self._table(lambda: held_rows(self.look.lake.table(self.asset), self.asset, self.part, [uri]))

    def _table(self, load: Callable[[], Any]) -> dict[str, Any]:
        try:
            frame = load().head(11).collect()
        except (LakehouseError, OSError) as error:
            said = error.message if isinstance(error, LakehouseError) else str(error)
            return {"error": redacted(said), "columns": [], "rows": [], "more": False}
        columns = frame.columns[:40]
        rows = [[short(cell(value)) for value in row[: len(columns)]] for row in frame.head(10).iter_rows()]
        return {"error": "", "columns": columns, "rows": rows, "more": frame.height > 10}
