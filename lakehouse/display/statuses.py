"""How much of each asset is there, and how its last run went: ``lakehouse status``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lakehouse.asset_status import AssetStatus
from lakehouse.definitions.asset import Asset
from lakehouse.display.catalog import by_layer
from lakehouse.display.formatting import (
    ENDED,
    FAILED,
    HELD,
    PUBLISHED,
    QUIET,
    ago,
    count,
    extent,
    finding,
    share,
    stacked,
    stamp,
    verdict,
)
from lakehouse.display.page import columns, labelled
from lakehouse.display.plans import grouped
from lakehouse.errors import shorten
from lakehouse.lineage import Status
from lakehouse.partitions import PartitionSet, Static

_WARNING = "warning"


def states(found: Sequence[AssetStatus], now: datetime, *, wide: bool) -> RenderableType:
    """A line for each asset, and below them what needs attention.

    Parameters:
        found: the states
        now: the present
        wide: whether there is room for the partitions that are there
    """
    headers = ["asset", "there", "rows", "last run", "checks", *(["partitions"] if wide else [])]
    table = columns(*headers, numbers=["there", "rows"] if wide else ["rows"], wrapped=["last run", "partitions"])
    for one in _sorted(found):
        passed, colour = verdict(one.checks)
        there = [Text(share(len(one.present), len(one.expected)), _amount(one))]
        if not wide and one.asset.partitioned and one.present and one.present != one.expected:
            there.append(Text(stacked(one.present), QUIET))
        table.add_row(
            one.asset.key,
            Text("\n").join(there),
            "-" if one.rows is None else f"{one.rows:,}",
            _last(one, now),
            Text(passed if one.last else "-", colour),
            *([extent(one.present) if one.present else "-"] if wide else []),
        )
    notes = _all_notes(found)
    return Group(table, "", labelled(notes)) if notes else table


def flat_states(found: Sequence[AssetStatus]) -> RenderableType:
    """The same, one line for an asset, with no word that depends on when it is read."""
    table = columns(
        "asset", "there", "expected", "rows", "held", "failed", "last", "when", "checks", "partitions",
        numbers=["there", "expected", "rows", "held", "failed"],
    )  # fmt: skip
    for one in _sorted(found):
        table.add_row(
            one.asset.key,
            str(len(one.present)),
            str(len(one.expected)),
            "-" if one.rows is None else str(one.rows),
            str(len(one.held)),
            str(len(one.failed)),
            str(one.last.status) if one.last else "never",
            stamp(one.last.finished) if one.last else "-",
            verdict(one.checks)[0] if one.last else "-",
            extent(one.present) if one.present else "-",
        )
    notes = _all_notes(found)
    return Group(table, "", labelled(notes)) if notes else table


def states_json(found: Sequence[AssetStatus]) -> list[dict[str, Any]]:
    """The same, for programs."""
    return [
        {
            "asset": one.asset.key,
            "expected": len(one.expected),
            "present": len(one.present),
            "partitions": one.present.to_pairs(),
            "held": one.held.to_pairs(),
            "failed": one.failed.to_pairs(),
            "stale": [
                {"cause": r.cause.name.lower(), "about": r.about, "partitions": r.partitions.to_pairs()}
                for r in one.stale
            ],
            "rows": one.rows,
            "last": one.last.model_dump(mode="json", include={"status", "run", "finished", "version", "reason"})
            if one.last
            else None,
            "checks": [check.model_dump(mode="json") for check in one.checks],
            "quarantine": list(one.quarantine),
            "uri": one.uri,
            "outside": list(one.outside),
            "unrecorded": one.unrecorded.to_pairs() if one.unrecorded else [],
            "waiting": [
                {"asset": key, "partitions": part.to_pairs()}
                for key, part in (one.waiting.awaited if one.waiting else ())
            ],
            "fault": str(one.fault) if one.fault else None,
        }
        for one in _sorted(found)
    ]


def _sorted(found: Sequence[AssetStatus]) -> list[AssetStatus]:
    known = {one.asset.key: one for one in found}
    return [known[asset.key] for asset in by_layer([one.asset for one in found])]


def _amount(one: AssetStatus) -> str:
    if one.fault:
        return FAILED
    if one.held or one.failed:
        return HELD if one.held else FAILED
    if one.stale:
        return HELD
    return PUBLISHED if one.present and one.present == one.expected else ""


def _last(one: AssetStatus, now: datetime) -> Text:
    if one.last is None:
        return Text("never", QUIET)
    word, colour = ENDED[one.last.status]
    if one.last.status in (Status.FAILED, Status.REJECTED) and not (one.held or one.failed):
        colour = QUIET  # nothing is left to do about it
    return Text.assemble((word, colour), f" {ago(one.last.finished, now)}")


def _all_notes(found: Sequence[AssetStatus]) -> list[tuple[Text, str]]:
    listed = [note for one in _sorted(found) for note in _notes(one)]
    return sorted(listed, key=lambda note: note[0].plain == _WARNING)


def _notes(one: AssetStatus) -> Iterable[tuple[Text, str]]:
    """What is held back or failed, with its reason, and what the checks of what is published warn of."""
    if one.fault is not None:
        yield Text("unreadable", FAILED), f"{one.asset.key}: {one.fault}"
    blocking = [check for check in one.checks if not check.passed and check.blocking]
    if one.held:
        word, colour = ENDED[Status.REJECTED]
        why = "; ".join(f"{c.name} {c.message}" for c in blocking) or "lakehouse lineage tells why"
        text = f"{_where(one.asset, one.held)}: {why}"
        if one.quarantine:
            text += f"\nlook: lakehouse show {one.asset.key} --quarantined"
        yield Text(word, colour), text
    if one.failed:
        word, colour = ENDED[Status.FAILED]
        reason = one.last.reason if one.last and one.last.status is Status.FAILED else "lakehouse lineage tells why"
        yield Text(word, colour), f"{_where(one.asset, one.failed)}: {reason}"
    for why, part in grouped(one.stale).items():
        yield Text("stale", HELD), f"{_where(one.asset, part)}: {why}"
    if one.waiting is not None:
        yield Text("waiting", QUIET), f"{_where(one.asset, one.waiting.partitions)}: {one.waiting}"
    if one.unrecorded:
        text = f"{_where(one.asset, one.unrecorded)}: its rows are there, and no record tells of them"
        yield Text("unrecorded", FAILED), f"{text}\nmend: lakehouse state rebuild {one.asset.key}"
    if one.outside:
        key = one.asset.key
        text = f"{key}: stored, but not declared (any more), so nothing is made from it: {shorten(one.outside)}"
        named = " ".join(f"--partition={shlex.quote(words)}" for words in one.outside[:3])
        text += f"\nremove: lakehouse state wipe {key} {named}"
        if isinstance(one.asset.partitions, Static):
            text += f"\nor let another key take it over: lakehouse state rename-partition {key} OLD NEW"
        yield Text("outside", QUIET), text
    for check in one.checks:
        if not check.passed and not check.blocking:
            yield Text(_WARNING, HELD), f"{one.asset.key}: {finding(check)}"
    if one.quarantine and not one.held:
        text = f"{one.asset.key}: rows that lie in no partition\nlook: lakehouse show {one.asset.key} --quarantined"
        yield Text("kept apart", HELD), text


def _where(asset: Asset, partitions: PartitionSet) -> str:
    if not asset.partitioned:
        return asset.key
    return f"{asset.key} {extent(partitions)}" + (
        f" ({count(len(partitions), 'partition')})" if len(partitions) > 1 else ""
    )
