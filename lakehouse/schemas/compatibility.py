"""Which changes of a schema break something: a rule, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

from lakehouse.schemas.columns import TableColumn, TableSchema


class Compatibility(StrEnum):
    """What a schema has to be compatible with: what was read before, who reads it, both, or nothing.

    | change of a column | ``backward`` | ``forward`` | ``full`` |
    | --- | --- | --- | --- |
    | a nullable one comes | passes | passes | passes |
    | a required one comes | breaks | passes | breaks |
    | one goes | passes | breaks | breaks |
    | another type, another case of its name | breaks | breaks | breaks |
    | nullable becomes required | breaks | passes | breaks |
    | required becomes nullable | passes | breaks | breaks |
    | another description | passes | passes | passes |

    ``backward``: rows that were published before can be read as the new schema says. ``forward``: who reads by the old
    schema can read what is published from now on. What a schema doesn't promise breaks nothing, and with ``none``
    nothing does.
    """

    FULL = "full"
    BACKWARD = "backward"
    FORWARD = "forward"
    NONE = "none"


class Kind(StrEnum):
    """How a column differs."""

    ADDED = "added"
    ADDED_REQUIRED = "added, required"
    DROPPED = "dropped"
    RENAMED = "renamed"
    RETYPED = "another type"
    REQUIRED = "required now"
    NULLABLE = "nullable now"
    DESCRIBED = "described otherwise"

    @property
    def adds(self) -> bool:
        """Whether there was no such column."""
        return self in (Kind.ADDED, Kind.ADDED_REQUIRED)


_BREAKS: dict[Kind, frozenset[Compatibility]] = {
    Kind.ADDED: frozenset(),
    Kind.ADDED_REQUIRED: frozenset({Compatibility.BACKWARD}),
    Kind.DROPPED: frozenset({Compatibility.FORWARD}),
    Kind.RENAMED: frozenset({Compatibility.BACKWARD, Compatibility.FORWARD}),
    Kind.RETYPED: frozenset({Compatibility.BACKWARD, Compatibility.FORWARD}),
    Kind.REQUIRED: frozenset({Compatibility.BACKWARD}),
    Kind.NULLABLE: frozenset({Compatibility.FORWARD}),
    Kind.DESCRIBED: frozenset(),
}


@final
@dataclass(frozen=True)
class Difference:
    """How a column of a schema differs from the one before.

    Parameters:
        column: the column, by the name that it had, or has, if it is new
        kind: how it differs
        text: the same in words
        held: whether it was promised, so that a change of it may break something
    """

    column: str
    kind: Kind
    text: str
    held: bool = True

    def breaks(self, mode: Compatibility) -> bool:
        """Whether it breaks what a mode is to keep."""
        broken = _BREAKS[self.kind]
        return bool(broken) if mode is Compatibility.FULL else mode in broken

    def __str__(self) -> str:
        return self.text


def differences(old: TableSchema, new: TableSchema) -> list[Difference]:
    """How a schema differs from the one before, column by column; nothing: it doesn't.

    Parameters:
        old: the schema before
        new: the schema

    Examples:
        >>> from lakehouse.testing.schemas import schema_of
        >>> [str(one) for one in differences(schema_of({"a": "Int64"}), schema_of({"a": "String", "d": "Int8"}))]
        ["'a' is String, and was Int64", "'d' (Int8) is new"]
        >>> [str(one) for one in differences(schema_of({"b": "Date"}), schema_of({"c": "Date"}))]
        ["'b' is gone (renamed to 'c'?)", "'c' (Date) is new"]
    """
    there, here = old.by_name, new.by_name
    spelt = {name.lower(): name for name in here if name not in there}
    gone = [column for name, column in there.items() if name not in here]
    came = [column for name, column in here.items() if name not in there]
    found: list[Difference] = []
    for name, column in there.items():
        if name in here:
            found += _of(column, here[name])
        elif name.lower() in spelt:
            # Tables take the two for the same.
            text = f"{name!r} is {spelt[name.lower()]!r} now"
            found.append(Difference(name, Kind.RENAMED, text, column.promised))
        else:
            alike = [one.name for one in came if one.type == column.type]
            single = len(alike) == 1 and sum(one.type == column.type for one in gone) == 1
            text = f"{name!r} is gone" + (f" (renamed to {alike[0]!r}?)" if single else "")
            found.append(Difference(name, Kind.DROPPED, text, column.promised))
    lowered = {column.name.lower() for column in gone}
    for column in came:
        if column.name.lower() in lowered:
            continue
        required = "" if column.nullable else ", must have values"
        kind = Kind.ADDED if column.nullable else Kind.ADDED_REQUIRED
        text = f"{column.name!r} ({column.type or 'of any type'}{required}) is new"
        found.append(Difference(column.name, kind, text, any(one.promised for one in old.columns)))
    return found


def _of(old: TableColumn, new: TableColumn) -> list[Difference]:
    """How a column differs from the one of the same name."""
    found = []
    if old.type != new.type:
        text = f"{old.name!r} is {new.type or 'of any type'}, and was {old.type or 'of any type'}"
        found.append(Difference(old.name, Kind.RETYPED, text, old.promised))
    if old.nullable and not new.nullable:
        text = f"{old.name!r} must have values, and could lack them"
        found.append(Difference(old.name, Kind.REQUIRED, text, old.promised))
    if new.nullable and not old.nullable:
        text = f"{old.name!r} may lack values, and had them all"
        found.append(Difference(old.name, Kind.NULLABLE, text, old.promised))
    if old.promised != new.promised or old.description != new.description:
        text = (
            f"{old.name!r} is described otherwise"
            if old.promised == new.promised
            else (f"{old.name!r} is promised now" if new.promised else f"{old.name!r} isn't promised any more")
        )
        found.append(Difference(old.name, Kind.DESCRIBED, text))
    return found


def breaking(old: TableSchema, new: TableSchema, mode: Compatibility, *, unpromised: bool = False) -> list[Difference]:
    """The differences that break what a mode is to keep.

    Parameters:
        old: the schema before
        new: the schema
        mode: what is to be kept
        unpromised: whether columns count that were never promised
    """
    return [one for one in differences(old, new) if (one.held or unpromised) and one.breaks(mode)]
