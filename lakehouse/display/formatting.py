"""Numbers, times and partitions in the words that every screen uses."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Final

from lakehouse.errors import count as count
from lakehouse.lineage import CheckResult, Status
from lakehouse.partitions import (
    Now,
    Pairs,
    Partitions,
    PartitionSelection,
    PartitionSet,
    TimePartitions,
    Unpartitioned,
)

PUBLISHED: Final = "green"
HELD: Final = "yellow"
FAILED: Final = "red"
QUIET: Final = "dim"

_STACK = 2

ENDED: Final = {
    Status.PUBLISHED: ("published", PUBLISHED),
    Status.REJECTED: ("held back", HELD),
    Status.FAILED: ("failed", FAILED),
    Status.SKIPPED: ("skipped", HELD),
    Status.OBSERVED: ("observed", PUBLISHED),
    Status.FORGOTTEN: ("forgotten", HELD),
    Status.WIPED: ("wiped", HELD),
    Status.RENAMED: ("renamed", QUIET),
    Status.REGISTERED: ("registered", PUBLISHED),
    Status.RETIRED: ("retired", QUIET),
}
"""How an attempt ended, in words, and the colour of it."""


def seconds(duration: float) -> str:
    """How long something took.

    Examples:
        >>> seconds(0.34), seconds(42.2), seconds(185)
        ('0.34 s', '42 s', '3 min 05 s')
    """
    if duration < 0.995:
        return f"{duration:.2f} s"
    if duration < 9.95:
        return f"{duration:.1f} s"
    whole = round(duration)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def left(duration: float) -> str:
    """How long something will still take, as far as that can be known: no better than to the minute.

    Examples:
        >>> left(7), left(185), left(5400)
        ('less than a minute left', 'about 3 min left', 'about 1 h 30 min left')
    """
    minutes = round(duration / 60)
    if minutes < 1:
        return "less than a minute left"
    return f"about {minutes} min left" if minutes < 60 else f"about {minutes // 60} h {minutes % 60:02} min left"


def ago(moment: datetime, now: datetime) -> str:
    """When something was, seen from now.

    Examples:
        >>> ago(datetime(2013, 1, 1, 12, 0, tzinfo=UTC), datetime(2013, 1, 1, 12, 5, tzinfo=UTC))
        '5m ago'
    """
    passed = max((now - moment).total_seconds(), 0)
    if passed < 60:
        return f"{passed:.0f}s ago"
    if passed < 3600:
        return f"{passed // 60:.0f}m ago"
    if passed < 48 * 3600:
        return f"{passed // 3600:.0f}h ago"
    return f"{passed // 86400:.0f}d ago"


def stamp(moment: datetime) -> str:
    """When something was, for programs: UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def clock(moment: datetime) -> str:
    """When something was, for people: UTC, to the minute, so that two people on two machines see the same."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def extent(partitions: PartitionSet, limit: int = 4) -> str:
    """Which partitions, as ranges; ``whole`` for an asset that has none.

    Examples:
        >>> from lakehouse import Daily
        >>> extent(Daily("2013-01-01").select(["2013-01-01...2013-01-04", "2013-01-09"]))
        '2013-01-01...2013-01-04, 2013-01-09'
    """
    if not partitions:
        return "none"
    if isinstance(partitions.partitions, Unpartitioned):
        return "whole"
    parts = listed(partitions)
    rest = len(parts) - limit
    return f"{', '.join(parts[:limit])} and {rest:,} more" if rest > 0 else ", ".join(parts)


def stacked(partitions: PartitionSet) -> str:
    """The same where there is little room: a range to a line; where there are many, the one around them."""
    if not partitions or isinstance(partitions.partitions, Unpartitioned):
        return extent(partitions)
    parts = listed(partitions)
    if len(parts) <= _STACK:
        return "\n".join(parts)
    if not partitions.partitions.ordered:
        return "\n".join([*parts[:_STACK], f"and {len(parts) - _STACK:,} more"])
    return f"{partitions.extent}\nwith {count(len(parts) - 1, 'gap')}"


def listed(partitions: PartitionSet) -> list[str]:
    """Ranges; keys where those between two keys aren't known from the two."""
    return [str(r) for r in partitions.ranges] if partitions.partitions.ordered else partitions.keys()


def of_pairs(pairs: Pairs, limit: int = 4) -> str:
    """Stored partitions, as ranges."""
    listed = [first if first == last else f"{first}...{last}" for first, last in pairs if first]
    rest = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {rest:,} more" if rest > 0 else "")


def named(asset: str, partitions: PartitionSet) -> str:
    """An asset with its partitions; the name alone for one that has none."""
    whole = isinstance(partitions.partitions, Unpartitioned)
    return asset if whole else f"{asset} {extent(partitions)}"


def options(wanted: PartitionSelection) -> list[str]:
    """Words of a command line that name partitions: text as it is; keys that may hold anything, each by itself.

    Examples:
        >>> from lakehouse import Daily, Static
        >>> options(Daily("2013-01-01").select("2013-01-01...2013-01-04,2013-01-09"))
        ['--partitions', '2013-01-01...2013-01-04,2013-01-09']
        >>> options(Static(["a", "b,c", "-d"]).select(["b,c", "-d"]))
        ['--partition', 'b,c', '--partition=-d']
    """
    if isinstance(wanted, str):
        return ["--partitions", wanted]
    if isinstance(wanted, PartitionSet):
        words = listed(wanted)
        if isinstance(wanted.partitions, TimePartitions):
            return ["--partitions", ",".join(words)]
    else:
        words = [str(one) for one in wanted] if isinstance(wanted, Iterable) else [str(wanted)]
    return [word for one in words for word in _option(one)]


def _option(key: str) -> tuple[str, ...]:
    return (f"--partition={key}",) if key.startswith("-") or not key else ("--partition", key)


def partitioning(partitions: Partitions, now: Now) -> str:
    """How an asset is partitioned, with the first and the last partition that can be there.

    Examples:
        >>> from lakehouse import Daily
        >>> partitioning(Daily("2013-01-01", end="2014-01-01"), datetime(2024, 1, 1, tzinfo=UTC))
        'daily 2013-01-01...2013-12-31'
    """
    if isinstance(partitions, Unpartitioned):
        return "unpartitioned"
    there = partitions.all(now)
    return f"{partitions.label} {extent(there) if there else 'none yet'}"


def share(part: int, whole: int) -> str:
    """How much is there.

    Examples:
        >>> share(31, 365), share(1, 1)
        ('31 of 365', '1 of 1')
    """
    return f"{part:,} of {whole:,}"


def verdict(checks: Sequence[CheckResult]) -> tuple[str, str]:
    """How many checks passed, and the colour of it."""
    if not checks:
        return "none", QUIET
    bad = [check for check in checks if not check.passed]
    colour = FAILED if any(c.blocking for c in bad) else HELD if bad else ""
    return f"{len(checks) - len(bad)}/{len(checks)}", colour


def finding(check: CheckResult) -> str:
    """What a failed check found, and where, in a few words.

    Examples:
        >>> finding(CheckResult(name="small", blocking=False, passed=False, failing_rows=2, failed=(("a", "a"),)))
        'small: 2 rows in a'
    """
    rows = count(check.failing_rows, "row") if check.failing_rows else ""
    where = f"in {of_pairs(check.failed, 3)}" if of_pairs(check.failed) else ""
    return f"{check.name}: {' '.join(filter(None, (rows, where))) or check.message}"


def place(uri: str) -> str:
    """Where something lies, as a person would write it: a path, from here if it is below, else the URI."""
    scheme, _, rest = uri.partition("://")
    if scheme not in ("file", "sqlite"):
        return uri
    path = Path(rest if scheme == "file" else rest[1:])
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def places(uris: Sequence[str]) -> str:
    """Where several tables lie: the folder that they share, or each of their folders."""
    folders = [uri.split("/")[:-1] for uri in uris]
    common = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))]
    found = ["/".join(common)] if len(common) > 3 else sorted({"/".join(folder) for folder in folders})
    return ", ".join(place(folder) for folder in found)


def command(*words: str) -> str:
    """A command line that can be pasted into a shell."""
    return shlex.join(words)
