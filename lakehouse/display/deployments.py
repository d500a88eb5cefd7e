"""The deployments that there are, or would be: ``lakehouse deploy``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from lakehouse.display.formatting import HELD, PUBLISHED, QUIET, count
from lakehouse.display.page import columns
from lakehouse.errors import shorten

if TYPE_CHECKING:
    from lakehouse.integrations.prefect.deployments import Outcome

_COLOURS = {"new": PUBLISHED, "changed": HELD, "unchanged": QUIET, "no longer declared": HELD, "removed": HELD}


def deployments(outcomes: Sequence[Outcome], *, dry_run: bool) -> RenderableType:
    """The outcome for each deployment, and in a line what to do next, if anything."""
    if not outcomes:
        return Text("no asset declares when it is refreshed; freshness=Freshness(cron=...) on an asset does")
    table = columns("deployment", "when", "what", "", wrapped=["when", "what", ""])
    for one in outcomes:
        text = f"{one.verdict}: {', '.join(one.about)}" if one.about else str(one.verdict)
        keys = shorten([asset.key for asset in one.deployment.assets])
        table.add_row(one.deployment.name, one.deployment.when, keys, Text(text, _COLOURS[one.verdict]))
    return Group(table, *(Text(line, QUIET) for line in _notes(outcomes, dry_run)))


def deployments_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The same, for programs."""
    return [
        {
            "deployment": one.deployment.name,
            "when": one.deployment.when,
            "assets": [asset.key for asset in one.deployment.assets],
            "inputs": list(one.deployment.inputs),
            "verdict": str(one.verdict),
            "about": list(one.about),
        }
        for one in outcomes
    ]


def _notes(outcomes: Sequence[Outcome], dry_run: bool) -> list[str]:
    verdicts = [str(one.verdict) for one in outcomes]
    written = sum(verdict in ("new", "changed", "removed") for verdict in verdicts)
    left = verdicts.count("no longer declared")
    notes = []
    if dry_run:
        notes.append("a dry run: nothing was done")
    elif not written:
        notes.append("all is as declared: nothing was done")
    if left:
        notes.append(f"--prune removes {count(left, 'deployment')}")
    return notes
