"""Which lineage store a URI means."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from lakehouse.errors import SettingsError, nearest, shorten
from lakehouse.lineage.store import LineageStore
from lakehouse.redaction import holds_credentials

_FORMS = (
    "sqlite:///lineage.db (relative), sqlite:////data/lineage.db (absolute), "
    "dynamodb://table-name, dynamodb://table-name?region=eu-central-1"
)

_SWITCH = {"true": True, "false": False}


def open_lineage(uri: str) -> LineageStore:
    """Open a lineage store. Nothing is read, written or connected to before it is first used.

    - ``sqlite:///lineage.db``: a file, relative to the current folder; ``sqlite:///~/lineage.db``: in the
      home folder; ``sqlite:////data/lineage.db``, with a fourth slash: from the root. What follows the
      three slashes is the path as it is; there are no options.
    - ``dynamodb://table-name``: a DynamoDB table. Options: ``region``; ``endpoint`` (a URL);
      ``create=false``, so that a table that is not there is an error instead of being made.

    Parameters:
        uri: where facts are kept

    Raises:
        SettingsError: the URI means no store

    Examples:
        >>> open_lineage("sqlite:////data/lineage.db")
        SqliteLineage('/data/lineage.db')
    """
    scheme, mark, rest = uri.partition("://")
    if any(map(holds_credentials, (uri, *(value for _, value in parse_qsl(uri.partition("?")[2]))))):
        raise SettingsError(
            f"{uri!r} holds credentials, which would be written down wherever it is",
            hint="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    match scheme if mark else "":
        case "sqlite":
            path = rest.removeprefix("/")
            if path == rest or not path or path.endswith("/"):
                raise SettingsError(
                    f"{uri!r} names no file for lineage; allowed: {_FORMS}",
                    hint=f"write sqlite:///{rest.strip('/') or 'lineage.db'}",
                )
            # Each store is imported only where it is used: boto3 takes half a second.
            from lakehouse.lineage.sqlite import SqliteLineage

            return SqliteLineage(path)
        case "dynamodb":
            return _dynamodb(uri, rest)
        case "memory":
            raise SettingsError(
                f"{uri!r}: lineage in memory can't be shared by its name; allowed: {_FORMS}",
                hint="hand over the object itself: Lakehouse(..., lineage=MemoryLineage())",
            )
        case _:
            hint = nearest(scheme, ("sqlite", "dynamodb"))
            if not mark:
                hint = f"for a file, write sqlite:///{uri.removeprefix('sqlite:') or 'lineage.db'}"
            raise SettingsError(f"{uri!r} is no lineage store; allowed: {_FORMS}", hint=hint)


def _dynamodb(uri: str, rest: str) -> LineageStore:
    table, _, query = rest.partition("?")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", table):
        raise SettingsError(
            f"{uri!r} names no DynamoDB table: a name has 3 to 255 letters, digits, '_', '-' and '.'",
            hint="write dynamodb://table-name",
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    allowed = ("region", "endpoint", "create")
    for name, value in options.items():
        if name not in allowed:
            raise SettingsError(
                f"{uri!r} has an option {name!r}; allowed: {shorten(allowed)}", hint=nearest(name, allowed)
            )
        if not value or (name == "create" and value not in _SWITCH):
            hint = "write create=true or create=false" if name == "create" else "give a value, or leave it out"
            raise SettingsError(f"{uri!r} gives {name} as {value!r}", hint=hint)
    from lakehouse.lineage.dynamodb import DynamoDBLineage

    return DynamoDBLineage(
        table,
        region=options.get("region"),
        endpoint=options.get("endpoint"),
        create=_SWITCH[options.get("create", "true")],
    )
