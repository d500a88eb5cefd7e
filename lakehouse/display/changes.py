"""What a change of state comes to: ``lakehouse state``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from lakehouse.display.formatting import QUIET
from lakehouse.display.page import labelled

if TYPE_CHECKING:
    from lakehouse.maintenance import Change


def changes(found: Change) -> RenderableType:
    """What is done, line by line, and what else there is to know."""
    rows: list[tuple[str | Text, str | Text]] = [(action.about, action.text) for action in found.actions]
    rows += [(Text("note", QUIET), note) for note in found.notes]
    return Group(labelled(rows)) if rows else Group()


def outcome(found: Change, *, dry_run: bool) -> Text:
    """Its outcome, in a line."""
    if not found.actions:
        return Text(f"{found.title}: nothing to do")
    return Text(f"{found.title}: a dry run, nothing was done" if dry_run else f"{found.title}: done")


def changes_json(found: Change, *, dry_run: bool) -> dict[str, Any]:
    """The same, for programs, with every file, fact and partition."""
    return {
        "title": found.title,
        "done": bool(found.actions) and not dry_run,
        "actions": [
            {"about": action.about, "text": action.text, "items": list(action.items)} for action in found.actions
        ],
        "notes": list(found.notes),
    }
