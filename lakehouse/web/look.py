"""What is known at one moment, from look to look: what came since the last one is added to what was folded then."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, final

from lakehouse.asset_status import AssetStatus, asset_statuses
from lakehouse.definitions.asset import Asset
from lakehouse.display.formatting import of_pairs
from lakehouse.display.plans import grouped
from lakehouse.drawing.state import Piece, State, disjoint
from lakehouse.errors import LakehouseError
from lakehouse.lineage import AssetState, Fact, Status
from lakehouse.lineage.kept import Late
from lakehouse.lineage.leases import Standing, standing
from lakehouse.partitions import PartitionSet
from lakehouse.planning.plan import Plan, make_plan
from lakehouse.planning.request import Request
from lakehouse.planning.snapshot import Known, Recorded, Snapshot, present, recorded
from lakehouse.redaction import redacted

if TYPE_CHECKING:
    from lakehouse.lake import Lakehouse


@final
@dataclass(frozen=True)
class Look:
    """What there is to see at one moment.

    Parameters:
        lake: the lakehouse
        snapshot: what lineage says of all assets
        statuses: what is known of each asset, by its key, without looking into its table
        pieces: the range of each asset in pieces that are in one state, by its key
        standing: who builds what, and who waits
        stamp: changes whenever something that can be seen does
    """

    lake: Lakehouse
    snapshot: Snapshot
    statuses: Mapping[str, AssetStatus]
    pieces: Mapping[str, tuple[Piece, ...]]
    standing: tuple[Standing, ...]
    stamp: str

    @property
    def now(self) -> datetime:
        """The moment."""
        return self.snapshot.now.now

    def state(self, asset: Asset) -> AssetState:
        """What an asset's facts come to."""
        return self.snapshot.state(asset)

    @cached_property
    def plan(self) -> Plan | LakehouseError:
        """What a refresh of everything would do, as far as lineage tells; or why that can't be said."""
        graph = self.lake.graph
        targets = [asset for asset in graph if not asset.external]
        try:
            return make_plan(graph, Request("refresh", targets, chunk=self.lake.settings.chunk), self.snapshot)
        except LakehouseError as error:
            return error


@final
class Looking:
    """Looks at a lakehouse again and again. What a look costs goes by what changed since the one before.

    Parameters:
        lake: the lakehouse
    """

    def __init__(self, lake: Lakehouse) -> None:
        self.lake = lake
        self._mark = ""
        self._recorded: dict[str, Recorded] = {}
        self._last: tuple[object, Look] | None = None
        self._cut: dict[str, tuple[_Told, tuple[Piece, ...]]] = {}
        self._lock = threading.Lock()

    def look(self, now: datetime | None = None) -> Look:
        """Look once.

        Parameters:
            now: another time than that of the clock

        Raises:
            LineageError: lineage can't be read
        """
        moment = now or datetime.now(UTC)
        with self._lock:
            store = self.lake.lineage_store
            changed = self._read_news()
            leased = tuple(standing(store))
            # What depends on the clock is looked at once a minute.
            seen = ([_told(one) for one in leased], moment.replace(second=0, microsecond=0))
            if not changed and self._last is not None and self._last[0] == seen:
                return self._last[1]
            found = self._made(moment, leased)
            self._last = (seen, found)
            return found

    def _made(self, moment: datetime, leased: tuple[Standing, ...]) -> Look:
        graph = self.lake.graph
        states = {asset.key: self._recorded[asset.key].kept.state for asset in graph}
        known = {
            asset.key: Known(
                states[asset.key], fault=None if asset.external else states[asset.key].meaning.fault(asset.key)
            )
            for asset in graph
        }
        snapshot = Snapshot(known, present(graph, self.lake.lineage_store, known, moment))
        statuses = asset_statuses(graph, tuple(graph), snapshot, self.lake.table, look=False)
        return Look(
            self.lake,
            snapshot,
            {one.asset.key: one for one in statuses},
            {one.asset.key: self._pieces(one, states[one.asset.key], leased) for one in statuses},
            leased,
            self._stamp(statuses, leased),
        )

    def _pieces(self, one: AssetStatus, state: AssetState, leased: Sequence[Standing]) -> tuple[Piece, ...]:
        """An asset's range in pieces: those of the look before, if nothing has changed of what they tell."""
        key = one.asset.key
        mine = [each for each in leased if key in each.lease.partitions]
        told = _Told(
            state,
            (
                one.expected.spans,
                [(reason.cause, reason.about, reason.partitions.spans) for reason in one.stale],
                None if one.waiting is None else (one.waiting.partitions.spans, str(one.waiting)),
                [_told(each) for each in mine],
            ),
        )
        before = self._cut.get(key)
        if before is None or before[0].state is not state or before[0].rest != told.rest:
            before = self._cut[key] = (told, tuple(_pieces(one, state, mine)))
        return before[1]

    def _stamp(self, statuses: Sequence[AssetStatus], leased: Sequence[Standing]) -> str:
        """What stands for all that can be seen: facts, leases, definitions, and what the clock makes of them."""
        found = hashlib.blake2b(self._mark.encode(), digest_size=12)
        for one in statuses:
            stale = [(reason.cause, reason.about, reason.partitions.spans) for reason in one.stale]
            awaited = [] if one.waiting is None else one.waiting.partitions.spans
            said = (one.asset.key, self._definitions[one.asset.key], one.expected.spans, stale, awaited)
            found.update(repr(said).encode())
        found.update(repr([_told(one) for one in leased]).encode())
        return found.hexdigest()

    @cached_property
    def _definitions(self) -> Mapping[str, tuple[str, str, str]]:
        return {
            asset.key: (asset.code_version, asset.schema_version, asset.checks_version) for asset in self.lake.graph
        }

    def _read_news(self) -> bool:
        """Add what was written since; whether anything was."""
        graph, store = self.lake.graph, self.lake.lineage_store
        news = store.news(self._mark)
        if self._recorded and news.anew == frozenset() and not news.facts:
            self._mark = news.mark
            return False
        anew = {asset.key for asset in graph} if news.anew is None or not self._recorded else set(news.anew)
        arrived: dict[str, list[Fact]] = {}
        for fact in news.facts:
            arrived.setdefault(fact.asset, []).append(fact)
        for key, facts in arrived.items():
            if key in self._recorded and key not in anew:
                one = self._recorded[key]
                try:
                    kept = one.kept.plus(facts)
                except Late:
                    anew.add(key)
                else:
                    # Asked for what isn't kept, it reads all facts when it is asked, and so these too.
                    self._recorded[key] = replace(one, kept=kept)
        while anew := {key for key in anew if key in graph}:
            beside = {key: one for key, one in self._recorded.items() if key not in anew}
            wanted = [asset for asset in graph if asset.key in anew]
            for asset, one in zip(wanted, recorded(graph, wanted, store, beside), strict=True):
                self._recorded[asset.key] = one
            epochs = {key: one.kept.epoch for key, one in self._recorded.items()}
            # What was kept of an input that is folded anew is no base for what relied on it.
            anew = {
                key
                for key, one in self._recorded.items()
                if key not in anew and any(epochs.get(source) != epoch for source, epoch in one.kept.sources.items())
            }
        self._mark = news.mark
        return True


@final
@dataclass(frozen=True, eq=False)
class _Told:
    """What pieces were cut from: a state, and what the clock, the sources and leases make of it."""

    state: AssetState
    rest: tuple[object, ...]


def _told(one: Standing) -> tuple[object, ...]:
    lease = one.lease
    return lease.run, one.waits, one.over, sorted(lease.partitions.items()), lease.host


def _pieces(one: AssetStatus, state: AssetState, leased: Sequence[Standing]) -> list[Piece]:
    """An asset's range in disjoint pieces, each in one state."""
    asset, within = one.asset, one.expected | one.present
    found = [
        Piece(_leased(asset, each) & within, State.RUNNING, f"run {each.lease.run[-8:]} is at it", each.lease.run)
        for each in leased
        if asset.key in each.lease.partitions and not each.over and not each.waits
    ]
    found += [
        Piece(part & one.failed, State.FAILED, _brief(fact.reason.removeprefix(f"{asset.key}: ")), fact.run)
        for part, fact in state.attempts
        if fact.status is Status.FAILED and part & one.failed
    ]
    found += [
        Piece(part & one.held, State.HELD, _checks(fact), fact.run) for part, fact in state.rejected if part & one.held
    ]
    found += [Piece(part, State.STALE, why) for why, part in grouped(one.stale).items()]
    found.append(Piece(one.present, State.PUBLISHED))
    if one.waiting is not None:
        found.append(Piece(one.waiting.partitions & within, State.WAITING, str(one.waiting)))
    found.append(Piece(one.expected, State.MISSING))
    return disjoint(_alike(found))


def _alike(pieces: Sequence[Piece]) -> list[Piece]:
    """Pieces in one state for one reason as one."""
    found: dict[tuple[State, str], Piece] = {}
    for piece in pieces:
        kind = piece.state, piece.why
        other = found.get(kind)
        found[kind] = piece if other is None else replace(piece, partitions=piece.partitions | other.partitions)
    return list(found.values())


def _leased(asset: Asset, one: Standing) -> PartitionSet:
    pairs = one.lease.partitions[asset.key]
    return asset.partitions.from_pairs(pairs) if pairs else asset.partitions.all(datetime.now(UTC))


def _checks(fact: Fact) -> str:
    """Why something was held back."""
    bad = [check for check in fact.checks if not check.passed and check.blocking]
    return _brief("; ".join(f"{check.name} {check.message}".strip() for check in bad) or fact.reason)


def _brief(text: str) -> str:
    said = " ".join(redacted(text).split())
    return said if len(said) <= 400 else said[:399] + "…"


def leased_words(one: Standing) -> list[tuple[str, str]]:
    """What a lease is on: assets, each with its partitions in words."""
    return [(key, of_pairs(pairs, 3)) for key, pairs in one.lease.partitions.items()]
