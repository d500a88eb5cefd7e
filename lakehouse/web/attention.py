"""What needs attention, most urgent first: which partitions, why, and the command that repairs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

from lakehouse.asset_status import AssetStatus
from lakehouse.definitions.asset import Asset
from lakehouse.display.formatting import command, count, extent, finding, options
from lakehouse.drawing.state import Piece, State
from lakehouse.partitions import PartitionSet, Unpartitioned

WARNING: Final = "warning"
UNREADABLE: Final = "unreadable"

_RANGES = 6


@final
@dataclass(frozen=True)
class Notice:
    """Something that needs attention.

    Parameters:
        word: what it is
        mark: the class that it is drawn in
        asset: of which asset
        partitions: which of its partitions, in words; empty: all of it
        why: the reason
        commands: what to do about it, each with the case that it is for
    """

    word: str
    mark: str
    asset: Asset
    partitions: str
    why: str
    commands: tuple[tuple[str, str], ...] = ()


_ORDER: Final = (UNREADABLE, State.FAILED, State.HELD, State.STALE, State.WAITING, WARNING)


def notices(found: Iterable[tuple[AssetStatus, Iterable[Piece]]], *, warnings: bool = True) -> list[Notice]:
    """What needs attention, the most urgent first.

    Parameters:
        found: what is known of each asset, and its range in pieces
        warnings: whether what checks only warn of is told
    """
    listed = [notice for one, pieces in found for notice in (*_of(one, pieces), *(_warned(one) if warnings else ()))]
    return sorted(listed, key=lambda notice: _ORDER.index(notice.word))


def _of(one: AssetStatus, pieces: Iterable[Piece]) -> Iterator[Notice]:
    asset = one.asset
    if one.fault is not None:
        hint = one.fault.hint or ""
        yield Notice(UNREADABLE, State.FAILED.mark, asset, "", one.fault.message + (f"; {hint}" if hint else ""))
    for piece in pieces:
        part, which = piece.partitions, which_of(asset, piece.partitions)
        refresh = ("build it", build("refresh", asset.key, part))
        # The cause may lie in what it is made from, which is looked at, too.
        repair = ("once the cause is repaired", build("refresh", f"+{asset.key}", part))
        match piece.state:
            case State.FAILED:
                commands = [repair]
            case State.HELD:
                look = ("look at the rows", command("lakehouse", "show", asset.key, "--quarantined", *_named(part)))
                commands = [look, repair]
            case State.STALE:
                commands = [refresh]
            case State.WAITING:
                sources = [key for key, _ in one.waiting.awaited] if one.waiting else []
                commands = [("look again", command("lakehouse", "observe", *sources))] if sources else []
            case _:
                continue
        yield Notice(str(piece.state), piece.state.mark, asset, which, piece.why, tuple(commands))


def _warned(one: AssetStatus) -> Iterator[Notice]:
    asset = one.asset
    for check in one.checks:
        if not check.passed and not check.blocking:
            failed = asset.partitions.from_pairs(check.failed)
            again = build("materialize", f"{asset.key}+", failed)
            commands = [("after a repair, this builds it again with what is made from it", again)]
            which = which_of(asset, failed)
            text = finding(check) if not which else f"{check.name}: {_rows(check.failing_rows) or check.message}"
            yield Notice(WARNING, State.STALE.mark, asset, which, text, tuple(commands))


def _rows(number: int) -> str:
    return count(number, "row") if number else ""


def which_of(asset: Asset, part: PartitionSet) -> str:
    """Some partitions in words; empty for an asset that has none."""
    return "" if not asset.partitioned or not part else extent(part, 3)


def build(verb: str, targets: str, part: PartitionSet) -> str:
    """The command that builds some partitions; where they are many, all that the verb finds."""
    return command("lakehouse", verb, targets, *_named(part))


def _named(part: PartitionSet) -> list[str]:
    few = 0 < len(part.spans) <= _RANGES and (part.partitions.ordered or len(part) <= _RANGES)
    return options(part) if few and not isinstance(part.partitions, Unpartitioned) else []
