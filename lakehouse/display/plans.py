"""What would be built, and why: ``lakehouse plan``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lakehouse.definitions.asset import Asset
from lakehouse.display.formatting import FAILED, HELD, QUIET, count, extent, named, stacked
from lakehouse.display.page import columns, labelled
from lakehouse.errors import shorten
from lakehouse.partitions import PartitionSet
from lakehouse.planning.plan import Plan
from lakehouse.planning.staleness import Cause, Reason
from lakehouse.planning.steps import Step


def planned(plan: Plan, how: str, *, wide: bool) -> RenderableType:
    """A plan by asset: which partitions, in how many steps, why; then the command that does it.

    Parameters:
        plan: the plan
        how: the command
        wide: whether there is room for long lines
    """
    if not plan:
        return Group(up_to_date(plan), *not_planned(plan))
    headers = ["asset", "partitions", "number", "steps", "rows", "why"]
    table = columns(*headers, numbers=["number", "steps", "rows"], wrapped=["why"])
    for asset in plan.assets:
        steps = plan.of(asset)
        partitions = plan.partitions(asset)
        table.add_row(
            asset.key,
            extent(partitions) if wide else stacked(partitions),
            f"{len(partitions):,}" if asset.partitioned else "",
            f"{len(steps):,}",
            _rows(steps),
            "\n".join(_reasons(asset, plan)),
        )
    total = sum(len(step.partitions) for step in plan.steps)
    parts: list[RenderableType] = [
        table,
        f"\n{count(len(plan.assets), 'asset')}, {count(total, 'partition')}, {count(len(plan), 'step')}",
    ]
    if any(step.rows is not None for step in plan.steps):
        parts.append(Text("rows: as many as may be expected, going by what was published before", QUIET))
    there = [len(part) for part in plan.current.values() if part]
    if there:
        parts.append(Text(f"there already: {count(sum(there), 'partition')} of {count(len(there), 'asset')}", QUIET))
    parts += not_planned(plan)
    parts += ["\nthis does it:", f"  {how}"]
    return Group(*parts)


def not_planned(plan: Plan) -> list[RenderableType]:
    """What was asked for and is left, and why; nothing, if nothing is."""
    if not plan.left:
        return []
    alike: dict[tuple[str, str], list[str]] = {}
    for one in plan.left:
        word = "waiting" if one.fault is None else "unreadable"
        alike.setdefault((word, str(one)), []).append(
            named(one.asset.key, one.partitions) if one.awaited else one.asset.key
        )
    return [
        "",
        labelled(
            [
                (Text(word, HELD if word == "waiting" else FAILED), f"{shorten(which)}: {why}")
                for (word, why), which in alike.items()
            ]
        ),
    ]


def up_to_date(plan: Plan) -> RenderableType:
    """That there is nothing to do, and what was looked at."""
    there = sum(len(part) for part in plan.current.values())
    if plan.left:
        return f"nothing to do about what can be built: {count(there, 'partition')} there already"
    return Text.assemble(
        ("up to date", "green"),
        f": {count(len(plan.targets), 'asset')}, {count(there, 'partition')}, nothing to do",
    )


def plan_json(plan: Plan, how: str) -> dict[str, Any]:
    """A plan, for programs."""
    return {
        "targets": [asset.key for asset in plan.targets],
        "command": how,
        "now": plan.now,
        "left": [
            {
                "asset": one.asset.key,
                "partitions": one.partitions.to_pairs(),
                "awaited": [{"asset": key, "partitions": part.to_pairs()} for key, part in one.awaited],
                "fault": str(one.fault) if one.fault else None,
            }
            for one in plan.left
        ],
        "current": {key: part.to_pairs() for key, part in plan.current.items() if part},
        "steps": [
            {
                "id": step.id,
                "asset": step.asset.key,
                "partitions": step.partitions.to_pairs(),
                "number": len(step.partitions),
                "rows": step.rows,
                "maybe": step.maybe.to_pairs(),
                "after": list(step.after),
                "reasons": [
                    {"cause": _cause(r), "partitions": r.partitions.to_pairs(), "about": r.about} for r in step.reasons
                ],
                "inputs": [
                    {
                        "parameter": given.parameter,
                        "asset": given.asset.key,
                        "partitions": given.partitions.to_pairs(),
                        "version": given.version,
                        "steps": list(given.steps),
                    }
                    for given in step.inputs
                ],
            }
            for step in plan.steps
        ],
    }


def grouped(reasons: Iterable[Reason]) -> dict[str, PartitionSet]:
    """Reasons in words, each with all partitions that it holds for."""
    found: dict[str, PartitionSet] = {}
    for reason in reasons:
        why = _why(reason)
        found[why] = found[why] | reason.partitions if why in found else reason.partitions
    return found


def _reasons(asset: Asset, plan: Plan) -> list[str]:
    found = grouped(reason for step in plan.of(asset) for reason in step.reasons)
    if len(found) == 1 or not asset.partitioned:
        return list(found)
    return [f"{why}: {extent(part, 2)}" for why, part in found.items()]


def _rows(steps: Iterable[Step]) -> str:
    known = [step.rows for step in steps if step.rows is not None]
    return f"~{sum(known):,}" if known else ""


def _why(reason: Reason) -> str:
    return f"needed by {reason.about}" if reason.cause is Cause.UPSTREAM else str(reason)


def _cause(reason: Reason) -> str:
    return reason.cause.name.lower()
