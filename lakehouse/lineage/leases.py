"""Who builds what just now: so that runs over the same partitions wait for each other instead of building them twice.

A run says what it is about to build before it builds it. Leases are a courtesy, not a lock: that rows are never doubled
is seen to by the table, whoever publishes. So a lease may be lost without harm, and one whose run is gone holds up
nobody for long: it ends with the process where that can be seen, and by itself where it can't.

Who has to wait stands in line: what it waits for goes to nobody who came later, so that a run over a whole year gets
its turn among those over single days. It holds nothing meanwhile, so that no two wait for each other.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Final, NoReturn, Protocol, Self, final

from lakehouse.definitions.asset import Asset
from lakehouse.errors import LakehouseError, LineageError, shorten
from lakehouse.lineage import Lease, LineageStore, new_id
from lakehouse.partitions import PartitionSet
from lakehouse.processes import has_ended, host, this_process
from lakehouse.redaction import logger

TTL: Final = timedelta(seconds=90)
"""How long a lease counts that isn't renewed. Machines' clocks may differ by a good part of it."""

_BEAT = 20.0  # seconds between renewals
_FIRST_LOOK, _LONGEST_WAIT = 0.1, 2.0  # seconds between looks at what another run holds
_INTERVALS = 200
"""An asset with more intervals than this is leased whole: the store's item stays small."""

log = logger()

Parts = Mapping[str, PartitionSet | None]
"""Partitions of assets, by key; None: all of an asset."""


class Planned(Protocol):
    """What is about to be built, such as a plan."""

    @property
    def assets(self) -> Sequence[Asset]:
        """The assets that are built."""
        ...

    def partitions(self, asset: Asset) -> PartitionSet:
        """The partitions of one of them."""
        ...


@final
class Leases:
    """What one run holds, from ``with`` to its end. While it holds something, a thread renews it.

    Parameters:
        lineage: where leases are kept
        run: id of the run
        clock: says what time it is (UTC)
        wait: waits for some seconds
        gone: whether the process that made a lease is known to have ended
        elapsed: seconds by a clock that nobody sets

    Raises:
        LineageError: (by every method) the store can't be reached or written

    Examples:
        >>> from lakehouse.testing import MemoryLineage
        >>> with Leases(MemoryLineage(), "run-1") as leases:
        ...     leases.held
        {}
    """

    def __init__(
        self,
        lineage: LineageStore,
        run: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wait: Callable[[float], None] = time.sleep,
        gone: Callable[[Lease], bool] | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lineage = lineage
        self.run = run
        self.held: dict[str, PartitionSet | None] = {}
        self._clock = clock
        self._wait = wait
        self._gone = gone or _has_ended
        self._elapsed = elapsed
        self._seen: dict[tuple[str, datetime], tuple[float, datetime]] = {}
        self._ticket: Lease | None = None
        self._terminates = False
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._heart: threading.Thread | None = None

    def cover(self, plan: Planned) -> bool:
        """Whether all that a plan builds is held."""
        for asset in plan.assets:
            part = plan.partitions(asset)
            held = self.held.get(asset.key, part.partitions.empty())
            if held is not None and not part <= held:
                return False
        return True

    def take(self, plan: Planned, waiting: Callable[[str], None] | None) -> None:
        """Hold all that a plan builds, and nothing else; all of it at once, so that no two runs wait for each other.

        Parameters:
            plan: the plan
            waiting: is notified of which run is waited for; None: don't wait, whoever else builds the same
        """
        self.take_parts({asset.key: plan.partitions(asset) for asset in plan.assets}, waiting)

    def take_parts(self, wanted: Parts, waiting: Callable[[str], None] | None) -> None:
        """The same of partitions that are no plan's."""
        if waiting is None:
            self._replace(wanted, others=True)
            return
        announced, pause = "", _FIRST_LOOK
        try:
            while (blocker := self._ahead(wanted) or self._replace(wanted, others=False)) is not None:
                if blocker != announced:
                    announced = blocker
                    waiting(announced)
                self._stand_in_line(wanted)
                self._wait(pause)
                pause = min(2 * pause, _LONGEST_WAIT)
        finally:
            self._leave_line()

    def renew(self) -> None:
        """Hold what is held for another [TTL][], also if it was taken for given up meanwhile."""
        with self._lock:
            if self.held:
                self._update(lambda leases: [*(one for one in leases if one.run != self.run), self._claim()])

    def __enter__(self) -> Self:
        # A process that is told to end would end at once, and leave others waiting: so it ends by way of __exit__.
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
            self._terminates = True
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._give_back()
        finally:
            if self._terminates:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _give_back(self) -> None:
        self._over.set()
        if self._heart is not None:
            self._heart.join()
        if self.held:
            self.held = {}
            self._try_to_remove("what the run was building stays leased", waiting=False)

    def _ahead(self, wanted: Parts) -> str | None:
        """Who stands in line for some of the wanted partitions, and came before; None: nobody."""
        _, line = self.lineage.leases(waiting=True)
        for one in filter(self._counts, line):
            if one.run == self.run:
                return None
            if blocker := _clash(one, wanted, "waits to build"):
                if self.held:  # it may be what that one waits for
                    self._replace({}, others=True)
                return blocker
        return None

    def _stand_in_line(self, wanted: Parts) -> None:
        """Be the last in line; or keep the place, and be seen to be there still."""
        ticket = self._ticket
        if ticket is not None and ticket.expires - self._clock() > TTL - timedelta(seconds=_BEAT):
            return
        self._ticket = ours = self._lease(wanted)

        def join(line: list[Lease]) -> list[Lease]:
            return [ours if one.run == self.run else one for one in line] if ticket in line else [*line, ours]

        self._update(join, waiting=True)

    def _leave_line(self) -> None:
        if self._ticket is not None:
            self._ticket = None
            self._try_to_remove("the run still stands in line", waiting=True)

    def remove(self, *, waiting: bool) -> None:
        """Take away what the run holds, or its place in the line of those that wait."""
        self._update(lambda leases: [one for one in leases if one.run != self.run], waiting=waiting)

    def _try_to_remove(self, otherwise: str, *, waiting: bool) -> None:
        try:
            self.remove(waiting=waiting)
        except LineageError as error:
            log.warning(f"{otherwise} for %d s: %s", TTL.total_seconds(), error.message)

    def _replace(self, wanted: Parts, *, others: bool) -> str | None:
        """Hold this in place of all that was held; if others hold some of it: hold nothing, and say who."""
        blocker: str | None = None

        def change(leases: list[Lease]) -> list[Lease]:
            nonlocal blocker
            theirs = [lease for lease in leases if lease.run != self.run]
            blocker = None if others else next(filter(None, (_clash(one, wanted, "builds") for one in theirs)), None)
            self.held = {} if blocker else dict(wanted)
            return [*theirs, self._claim()] if self.held else theirs

        with self._lock:
            self._update(change)
        if self.held and self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="lakehouse-leases", daemon=True)
            self._heart.start()
        return blocker

    def _update(self, change: Callable[[list[Lease]], list[Lease]], *, waiting: bool = False) -> None:
        """Change the leases that count, or the line of those that wait; again, if another run was faster."""
        lane = {"waiting": True} if waiting else {}
        while True:
            version, leases = self.lineage.leases(**lane)
            new = change([one for one in leases if one.run == self.run or self._counts(one)])
            # A store may say no although it wrote, when the answer to its first try was lost: then the next turn finds
            # it written.
            if new == leases or self.lineage.set_leases(new, version=version, **lane):
                return
            self._wait(random.uniform(0, 0.05))

    def _counts(self, lease: Lease) -> bool:
        """Whether a lease of another run is to be respected."""
        now = self._clock()
        if lease.expires <= now or self._gone(lease):
            return False
        if lease.expires <= now + TTL:
            return True
        # Its clock is ahead, be it by a year: it counts for as long as it is seen to be renewed.
        since, then = self._seen.setdefault((lease.run, lease.expires), (self._elapsed(), now))
        return max(self._elapsed() - since, (now - then).total_seconds()) < TTL.total_seconds()

    def _claim(self) -> Lease:
        return self._lease(self.held)

    def _lease(self, parts: Parts) -> Lease:
        pairs = {key: () if part is None else part.to_pairs() for key, part in parts.items()}
        return Lease(
            run=self.run,
            partitions={key: found if len(found) <= _INTERVALS else () for key, found in pairs.items()},
            host=host(),
            process=this_process(),
            expires=self._clock() + TTL,
        )

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            try:
                self.renew()
            except LineageError as error:
                log.warning("what the run is building could not be leased again: %s", error.message)


@contextmanager
def leased(lineage: LineageStore, parts: Parts) -> Iterator[None]:
    """Hold partitions for a while, so that no run builds them meanwhile.

    Parameters:
        lineage: where leases are kept
        parts: the partitions

    Raises:
        LakehouseError: a run builds some of them, or waits for its turn to
    """

    def refuse(who: str) -> None:
        raise LakehouseError(
            f"not done, and nothing was changed: {who}",
            hint="wait until it has ended; lakehouse leases shows who is at work, and takes away what a lost run left",
        )

    with Leases(lineage, new_id()) as leases:
        leases.take_parts(parts, refuse)
        yield


@final
@dataclass(frozen=True)
class Standing:
    """A lease as it stands.

    Parameters:
        lease: the lease
        waits: whether its run holds nothing, and waits for its turn
        over: whether it counts no longer: it was not renewed, or its process has ended
    """

    lease: Lease
    waits: bool
    over: bool

    @property
    def begun(self) -> datetime:
        """When its run began."""
        return run_begun(self.lease.run)


def run_begun(run: str) -> datetime:
    """When a run began, as its id says; if it doesn't, at the beginning of time.

    Examples:
        >>> run_begun("013bf3685800" + 20 * "0").isoformat()
        '2013-01-01T00:00:00+00:00'
    """
    try:
        return datetime.fromtimestamp(int(run[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def standing(lineage: LineageStore) -> list[Standing]:
    """All leases: those that are held, then those that wait for their turn, in its order.

    Raises:
        LineageError: the store can't be reached
    """
    now = datetime.now(UTC)
    return [
        Standing(lease, waits, lease.expires <= now or _has_ended(lease))
        for waits in (False, True)
        for lease in lineage.leases(waiting=waits)[1]
    ]


def clear(lineage: LineageStore, run: str) -> list[Standing]:
    """Take away what a run holds and what it waits for; a run that is at work after all takes it again.

    Parameters:
        lineage: where leases are kept
        run: id of the run, or how it begins, if that is clear

    Returns:
        what was taken away

    Raises:
        LakehouseError: no run or more than one is meant
        LineageError: the store can't be reached
    """
    there = standing(lineage)
    runs = sorted({one.lease.run for one in there})
    meant = [known for known in runs if known == run] or [known for known in runs if run and known.startswith(run)]
    if len(meant) != 1:
        raise LakehouseError(
            f"{len(meant) or 'no'} run{'s' if len(meant) > 1 else ''} that holds something or waits is called {run!r}",
            hint=f"there are {shorten(meant or runs)}" if runs else "nothing is leased just now",
        )
    for waiting in (False, True):
        Leases(lineage, meant[0]).remove(waiting=waiting)
    return [one for one in there if one.lease.run == meant[0]]


def _has_ended(lease: Lease) -> bool:
    return has_ended(lease.host, lease.process)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _clash(lease: Lease, wanted: Parts, does: str) -> str | None:
    """Who does what with the wanted partitions; None: not this lease."""
    found = []
    for key, part in wanted.items():
        if (theirs := lease.partitions.get(key)) is None:
            continue
        if part is None:
            found.append(key)
        elif both := part & part.partitions.from_pairs(theirs) if theirs else part:
            found.append(f"{key} {both}".rstrip())
    return f"run {lease.run} on {lease.host}, which {does} {shorten(found, 2)}" if found else None
