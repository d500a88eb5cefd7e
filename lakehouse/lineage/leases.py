"""Who builds what just now: so that runs over the same partitions wait for each other instead of building them twice.

A run says what it is about to build before it builds it. Leases are a courtesy, not a lock: that rows are never doubled
is seen to by the table, whoever publishes. So a lease may be lost without harm, and one whose run is gone holds up
nobody for long: it ends with the process where that can be seen, and by itself where it can't.
"""

from __future__ import annotations

import os
import platform
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol, Self, final

from lakehouse.definitions.asset import Asset
from lakehouse.errors import LineageError, shorten
from lakehouse.lineage import Lease, LineageStore
from lakehouse.partitions import PartitionSet
from lakehouse.redaction import logger

TTL: Final = timedelta(seconds=90)
"""How long a lease counts that isn't renewed. Machines' clocks may differ by a good part of it."""

_BEAT = 20.0  # seconds between renewals
_FIRST_LOOK, _LONGEST_WAIT = 0.1, 2.0  # seconds between looks at what another run holds
_INTERVALS = 200
"""An asset with more intervals than this is leased whole: the store's item stays small."""

log = logger()


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
    ) -> None:
        self.lineage = lineage
        self.run = run
        self.held: dict[str, PartitionSet] = {}
        self._clock = clock
        self._wait = wait
        self._gone = gone or _has_ended
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._heart: threading.Thread | None = None

    def cover(self, plan: Planned) -> bool:
        """Whether all that a plan builds is held."""
        wanted = {asset.key: plan.partitions(asset) for asset in plan.assets}
        return all(key in self.held and not part - self.held[key] for key, part in wanted.items())

    def take(self, plan: Planned, waiting: Callable[[str], None] | None) -> None:
        """Hold all that a plan builds, and nothing else; all of it at once, so that no two runs wait for each other.

        Parameters:
            plan: the plan
            waiting: is told which run is waited for; None: don't wait, whoever else builds the same
        """
        wanted = {asset: plan.partitions(asset) for asset in plan.assets}
        told, pause = "", _FIRST_LOOK
        while (blocker := self._replace(wanted, others=waiting is None)) is not None:
            if waiting is not None and blocker != told:
                told = blocker
                waiting(told)
            self._wait(pause)
            pause = min(2 * pause, _LONGEST_WAIT)

    def renew(self) -> None:
        """Hold what is held for another [TTL][], also if it was taken for given up meanwhile."""
        with self._lock:
            if self.held:
                self._update(lambda others: [*others, self._claim()])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._heart is not None:
            self._heart.join()
        if self.held:
            self.held = {}
            try:
                self._update(lambda others: others)
            except LineageError as error:
                log.warning("what the run was building stays leased for %d s: %s", TTL.total_seconds(), error.message)

    def _replace(self, wanted: Mapping[Asset, PartitionSet], *, others: bool) -> str | None:
        """Hold this in place of all that was held; if others hold some of it: hold nothing, and say who."""
        blocker: str | None = None

        def change(leases: list[Lease]) -> list[Lease]:
            nonlocal blocker
            blocker = None if others else next(filter(None, (_clash(lease, wanted) for lease in leases)), None)
            self.held = {} if blocker else {asset.key: part for asset, part in wanted.items()}
            return [*leases, self._claim()] if self.held else leases

        with self._lock:
            self._update(change)
        if self.held and self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="lakehouse-leases", daemon=True)
            self._heart.start()
        return blocker

    def _update(self, change: Callable[[list[Lease]], list[Lease]]) -> None:
        """Change the leases that count, of which none is this run's; again, if another run was faster."""
        while True:
            version, leases = self.lineage.leases()
            now = self._clock()
            others = [c for c in leases if c.run != self.run and c.expires > now and not self._gone(c)]
            new = change(others)
            # A store may say no although it wrote, when the answer to its first try was lost: then the next turn finds
            # it written.
            if new == leases or self.lineage.set_leases(new, version=version):
                return
            self._wait(random.uniform(0, 0.05))

    def _claim(self) -> Lease:
        pairs = {key: part.to_pairs() for key, part in self.held.items()}
        return Lease(
            run=self.run,
            partitions={key: found if len(found) <= _INTERVALS else () for key, found in pairs.items()},
            host=platform.node(),
            process=_process(),
            expires=self._clock() + TTL,
        )

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            try:
                self.renew()
            except LineageError as error:
                log.warning("what the run is building could not be leased again: %s", error.message)


def _clash(lease: Lease, wanted: Mapping[Asset, PartitionSet]) -> str | None:
    """Who holds what of the wanted partitions; None: not this lease."""
    both = {}
    for asset, part in wanted.items():
        if asset.key in lease.partitions:
            theirs = lease.partitions[asset.key]
            both[asset.key] = part & asset.partitions.from_pairs(theirs) if theirs else part
    found = [f"{key} {part}".rstrip() for key, part in both.items() if part]
    return f"run {lease.run} on {lease.host}, which builds {shorten(found, 2)}" if found else None


def _process() -> str:
    """What tells this process from all others of the machine, also from those in containers that bear its name."""
    space = Path("/proc/self/ns/pid")
    return f"{space.stat().st_ino}/{os.getpid()}" if space.exists() else str(os.getpid())


def _has_ended(lease: Lease) -> bool:
    """Whether a lease is known to be of a process that isn't there any more: one of this very machine."""
    space, _, number = lease.process.rpartition("/")
    if lease.host != platform.node() or space != _process().rpartition("/")[0] or os.name != "posix":
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
