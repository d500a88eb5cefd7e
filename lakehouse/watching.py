"""What others write, watched: what arrives is observed within seconds, recorded, and then told.

News only says where to look. What is there is what is believed, so that news that comes twice, late, in another order
or not at all does no harm: each source is looked at anew from time to time, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.selection import Targets
from lakehouse.durations import DURATIONS, parse_duration
from lakehouse.errors import LakehouseError, PlanError, SettingsError, shorten
from lakehouse.io import Files
from lakehouse.io.notifications import Message, Queue
from lakehouse.lake import Lakehouse
from lakehouse.lineage.observations import Sighting, look
from lakehouse.partitions import PartitionSet
from lakehouse.planning.request import targets_name
from lakehouse.redaction import logger

Arrived = Mapping[str, PartitionSet]
"""What is new or changed, by the source's key."""

_TRIES = 30
"""How often it is waited for a source to come to rest, before what there is of it is taken."""

_MOST = 1_000
"""Messages that are taken together, at most."""

_UNFINISHED = 5.0
"""Seconds after which something that failed is tried again."""

log = logger()


@final
@dataclass(frozen=True)
class Pace:
    """How often a watcher looks.

    Parameters:
        poll: how often it looks at a source of which no queue tells
        sweep: how often it looks at the others, for what a queue lost
        settle: how long nothing has to arrive before a burst is over; a file that still grows isn't taken meanwhile

    Raises:
        SettingsError: a duration that is none

    Examples:
        >>> Pace.of(poll="10s").poll
        10.0
    """

    poll: float = 5.0
    sweep: float = 300.0
    settle: float = 2.0

    @classmethod
    def of(
        cls,
        poll: timedelta | str = "5s",
        sweep: timedelta | str = "5m",
        settle: timedelta | str = "2s",
    ) -> Pace:
        """The same, of durations as people write them."""
        seconds = {}
        for name, given in {"poll": poll, "sweep": sweep, "settle": settle}.items():
            try:
                seconds[name] = parse_duration(given, zero=name == "settle").total_seconds()
            except ValueError as error:
                raise SettingsError(f"{name}={given!r:.100} is no duration: {error}", hint=DURATIONS) from None
        return cls(**seconds)


@final
class Watch:
    """Looks after external assets: what arrives is observed, recorded, and told, in this order.

    Parameters:
        lake: the lakehouse
        targets: which external assets; None: all
        queue: where news of objects in buckets arrives; None: nowhere
        pace: how often it looks
        tell: is told what is new or changed, after it is recorded; its messages are taken out of the queue after that
        stop: ends it
        clock: tells the time in seconds

    Raises:
        PlanError: none of the targets is external
    """

    def __init__(
        self,
        lake: Lakehouse,
        targets: Targets | None = None,
        *,
        queue: Queue | None = None,
        pace: Pace | None = None,
        tell: Callable[[Arrived], None] = lambda _: None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        chosen = lake.graph if targets is None else lake.select(targets)
        self.sources = tuple(asset for asset in chosen if asset.external)
        if not self.sources:
            raise PlanError(
                f"{targets_name(targets) if targets is not None else 'the lakehouse'} names no external asset",
                hint="watched are those declared with @source",
            )
        self._lake = lake
        self._queue = queue
        self._pace = pace or Pace()
        self._tell = tell
        self._stop = stop or threading.Event()
        self._clock = clock
        self._due = {asset.key: clock() for asset in self.sources}
        self._seen: dict[str, Sighting] = {}
        self._strange = False

    def run(self, seconds: float | None = None) -> None:
        """Watch until it is stopped.

        Parameters:
            seconds: how long at most; None: for ever
        """
        ends = None if seconds is None else self._clock() + seconds
        self.catch_up()
        while not self._stop.is_set() and (ends is None or self._clock() < ends):
            self.round(ends)

    def catch_up(self) -> Arrived:
        """Look at all sources; tell also of what nothing is made from yet: who saw it may have been stopped."""
        found: dict[str, PartitionSet] = {}
        for asset in self.sources:
            sighting = self._look(asset)
            arrived = None if sighting is None else self._observe(asset, sighting)
            if arrived:
                found[asset.key] = arrived
        try:
            for key, pending in self._pending().items():
                found[key] = pending | found.get(key, pending)
        except LakehouseError as error:
            log.warning("what is still to be made from what has arrived can't be told: %s", error.message)
        if found:
            self._tell(found)
        return found

    def round(self, until: float | None = None) -> Arrived:
        """Wait for what comes next; observe, record and tell it.

        Parameters:
            until: when waiting ends at the latest, by the clock

        Returns:
            what is new or changed
        """
        next_due = min([*self._due.values(), *([] if until is None else [until])])
        messages = self._receive(max(next_due - self._clock(), 0.0))
        named = self._named(messages)
        now = self._clock()
        due = [a for a in self.sources if a.key in named or self._due[a.key] <= now]
        sightings = {asset.key: one for asset in due if (one := self._look(asset)) is not None}
        news = {k for k, one in sightings.items() if k in named or not self._as_seen(one)}
        if news:
            messages += self._settle(news, sightings)
            news |= self._named(messages) & {asset.key for asset in self.sources}
        arrived: dict[str, PartitionSet] = {}
        done: set[str] = set()
        for asset in self.sources:
            if asset.key in news:
                found = self._observe(asset, sightings.get(asset.key))
                if found is not None:
                    done.add(asset.key)
                    arrived |= {asset.key: found} if found else {}
            elif asset.key in sightings:
                self._wait_for(asset)
        if arrived:
            self._tell(arrived)
        if self._queue is not None:
            self._queue.delete([one for one in messages if self._is_ours(one, done)])
        return arrived

    def _receive(self, seconds: float) -> list[Message]:
        if self._queue is None:
            self._stop.wait(seconds)
            return []
        try:
            came = list(self._queue.receive(seconds))
            while came and len(came) < _MOST and (more := self._queue.receive(0)):
                came += more
            return came
        except LakehouseError as error:
            log.warning("%s; what it would have told is found when its sources are looked at", error.message)
            self._stop.wait(min(seconds, _UNFINISHED))
            return []

    def _settle(self, news: Collection[str], sightings: dict[str, Sighting]) -> list[Message]:
        """Wait until nothing more arrives, so that a burst of files is one piece of news, and no file is half there."""
        more: list[Message] = []
        for _ in range(_TRIES if self._pace.settle else 0):
            came = self._receive(self._pace.settle)
            more += came
            still = True
            for asset in self.sources:
                if asset.key not in news and asset.key not in self._named(came):
                    continue
                again = self._look(asset)
                if again is not None:
                    before = sightings.get(asset.key)
                    still = still and before is not None and before.versions == again.versions
                    sightings[asset.key] = again
            if (still and not came) or self._stop.is_set():
                break
        return more

    def _look(self, asset: Asset) -> Sighting | None:
        try:
            return look(asset)
        except LakehouseError as error:
            log.warning("%s", error.message)
            self._due[asset.key] = self._clock() + max(_UNFINISHED, self._pace.poll)
            return None

    def _as_seen(self, sighting: Sighting) -> bool:
        before = self._seen.get(sighting.asset.key)
        return before is not None and before.versions == sighting.versions

    def _observe(self, asset: Asset, sighting: Sighting | None) -> PartitionSet | None:
        """What is new or changed of a source, recorded; None: it couldn't be."""
        try:
            (found,) = self._lake.observe(asset).values()
        except LakehouseError as error:
            log.warning("%s", error.message)
            self._due[asset.key] = self._clock() + _UNFINISHED
            return None
        if sighting is not None:
            self._seen[asset.key] = sighting
        self._wait_for(asset)
        return found

    def _wait_for(self, asset: Asset) -> None:
        sighting = self._seen.get(asset.key)
        finder = sighting.finder if sighting is not None else None
        told = self._queue is not None and isinstance(finder, Files) and finder.in_bucket
        self._due[asset.key] = self._clock() + (self._pace.sweep if told else self._pace.poll)

    def _named(self, messages: Sequence[Message]) -> set[str]:
        """The sources that objects are of."""
        objects = {one for message in messages for one in message.objects or ()}
        return {asset.key for asset in self.sources for one in objects if self._is_of(one, asset)}

    def _is_of(self, uri: str, asset: Asset) -> bool:
        seen = self._seen.get(asset.key)
        return seen is not None and isinstance(seen.finder, Files) and seen.finder.may_hold(uri)

    def _is_ours(self, message: Message, done: Collection[str]) -> bool:
        """Whether a message can go: all that it tells of our sources is recorded, and it tells of nothing else."""
        whose = [{a.key for a in self.sources if self._is_of(uri, a)} for uri in message.objects or ()]
        ours = message.objects is not None and all(keys and keys <= set(done) for keys in whose)
        others = message.objects is None or not all(whose)
        if others and not self._strange:
            self._strange = True
            log.warning(
                "the queue also tells of what is in no watched source (%s); that is left in it",
                shorten(message.objects or ["something else"]),
            )
        return ours

    def _pending(self) -> dict[str, PartitionSet]:
        consumers = {one.key: one for source in self.sources for one in self._lake.graph.consumers(source)}
        if not consumers:
            return {}
        found: dict[str, PartitionSet] = {}
        watched = {source.key for source in self.sources}
        for step in self._lake.plan([*consumers.values()], upstream="none", refresh=True).steps:
            for given in step.inputs:
                if given.asset.key in watched:
                    needed = step.mapping(given).upstream(step.partitions) & given.partitions
                    if needed:
                        before = found.get(given.asset.key)
                        found[given.asset.key] = needed if before is None else before | needed
        return found


def open_queue(queue: str | None) -> Queue | None:
    """The queue of a URL or name; None: there is none.

    Parameters:
        queue: the URL or name

    Raises:
        SettingsError: there is none that can be used, or the extra ``aws`` isn't installed
        StorageError: it can't be reached
    """
    if not queue:
        return None
    try:
        from lakehouse.integrations.aws.queue import SqsQueue
    except ImportError as error:
        raise SettingsError(
            f"the queue {queue!r} needs {error.name}, which isn't installed", hint="pip install 'lakehouse[aws]'"
        ) from error
    return SqsQueue(queue)


__all__ = ["Arrived", "Pace", "Watch", "open_queue"]
