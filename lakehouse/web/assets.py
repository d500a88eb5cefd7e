"""What an asset's page shows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.builder import ShowsCode
from lakehouse.display.formatting import clock, extent, partitioning, seconds
from lakehouse.display.schemas import changes
from lakehouse.drawing.state import Piece, State, disjoint
from lakehouse.drawing.strips import bars, strip
from lakehouse.durations import format_duration
from lakehouse.lineage import CheckResult, Fact, Status
from lakehouse.redaction import redacted
from lakehouse.schemas.registry import EmbeddedRegistry
from lakehouse.web.look import Look
from lakehouse.web.text import first_line
from lakehouse.web.words import short, spent


def facts_about(look: Look, asset: Asset, uri: str) -> list[tuple[str, list[str], bool]]:
    """What is declared of an asset, in words: each a name, values, and whether they are code."""
    place = look.lake.computes.get(asset.key)
    found: list[tuple[str, list[str], bool]] = [
        ("Partitions", [partitioning(asset.partitions, look.snapshot.now)], False),
        ("Column" if len(asset.partitions.columns) == 1 else "Columns", list(asset.partitions.columns), True),
        ("Schedule", _schedule(asset), False),
        ("Owners", list(asset.owners), False),
        ("Group", [asset.group] if asset.group else [], False),
        ("Tags", list(asset.tags), False),
        ("Made by", [asset.builder.name] if asset.builder else [], False),
        ("Computed in", [redacted(str(place))] if place is not None else [], False),
        ("Code version", [] if asset.external else [asset.code_version], True),
        ("Table", [redacted(uri)] if not asset.external else [], True),
    ]
    return [one for one in found if one[1]]


def _schedule(asset: Asset) -> list[str]:
    fresh = asset.freshness
    if fresh is None:
        return []
    zone = "" if fresh.timezone == "UTC" else f" {fresh.timezone}"
    said = []
    if fresh.cron is not None:
        said.append(f"cron {fresh.cron}{zone}")
    if fresh.every is not None:
        said.append(f"every {format_duration(fresh.every)}")
    if fresh.after_inputs:
        said.append("after its inputs")
    if fresh.watched:
        said.append("watched")
    if fresh.max_age is not None:
        said.append(f"no older than {format_duration(fresh.max_age)}")
    return said


def charts(look: Look, asset: Asset, recent: Sequence[Fact]) -> list[dict[str, Any]]:
    """Rows and bytes by partition, and rows, bytes and seconds by run."""
    state = look.state(asset)
    found: list[tuple[str, list[tuple[str, float]], Callable[[float], str]]] = []
    if asset.partitioned and state.current:
        pieces = sorted((low, high, fact) for part, fact in state.current for low, high in part.spans)
        rows, sizes, times = [], [], []
        for low, high, fact in pieces:
            number = max(len(asset.partitions.from_pairs(fact.partitions)), 1)
            name = asset.partitions.text(low, high)
            rows.append((name, fact.rows / number, high - low))
            sizes.append((name, fact.bytes / number, high - low))
            times.append((name, spent([fact]) / number, high - low))
        found.append(("Rows by partition", _weighted(rows), _about))
        if any(size for _, size, _ in sizes):
            found.append(("Bytes by partition", _weighted(sizes), _bytes))
        found.append(("Time by partition", _weighted(times), seconds))
    runs: dict[str, list[Fact]] = {}
    for fact in reversed(recent):
        if fact.status is Status.PUBLISHED:
            runs.setdefault(fact.run, []).append(fact)
    if len(runs) > 1:
        names = {run: f"{clock(facts[0].started)} run {run[-8:]}" for run, facts in runs.items()}
        took = [(names[run], spent(facts)) for run, facts in runs.items()]
        found.append(("Rows by run", [(names[r], sum(f.rows for f in fs)) for r, fs in runs.items()], _about))
        if any(fact.bytes for facts in runs.values() for fact in facts):
            found.append(("Bytes by run", [(names[r], sum(f.bytes for f in fs)) for r, fs in runs.items()], _bytes))
        found.append(("Time by run", took, seconds))
    return [
        {"label": label, "chart": Markup(bars(values, label, say)), "top": say(max(number for _, number in values))}
        for label, values, say in found
        if values
    ]


def _weighted(values: Sequence[tuple[str, float, int]], limit: int = 160) -> list[tuple[str, float]]:
    """Numbers of stretches as numbers of as many columns as there is room for, each stretch as wide as it is long."""
    total = sum(length for *_, length in values)
    size = max(total / limit, 1)
    found: list[tuple[str, float]] = []
    at, names, amount, weight = 0.0, list[str](), 0.0, 0.0
    for name, number, length in values:
        left = float(length)
        while left > 1e-9:
            some = min(left, size - weight)
            amount, weight, left = amount + number * some, weight + some, left - some
            names.append(name)
            if weight >= size - 1e-9:
                found.append((_ends(names), amount / weight))
                names, amount, weight = [], 0.0, 0.0
        at += length
    if weight:
        found.append((_ends(names), amount / weight))
    return found


def _ends(names: Sequence[str]) -> str:
    return names[0] if names[0] == names[-1] else f"{names[0].split('...')[0]}...{names[-1].split('...')[-1]}"


def _about(number: float) -> str:
    return f"{number:,.0f} rows"


def _bytes(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def checks(look: Look, asset: Asset, results: Sequence[CheckResult]) -> list[dict[str, Any]]:
    """What stands before publication, with what it found by partition."""
    declared = {check.name: check for check in asset.checks}
    one = look.statuses[asset.key]
    seen = one.present | one.held
    found = []
    for result in results:
        failed = asset.partitions.from_pairs(result.failed) & seen if asset.partitioned else seen
        bad = State.HELD if result.blocking else State.STALE
        state = [Piece(failed, bad)] if not result.passed else []
        whole = [*state, Piece(seen, State.PUBLISHED), Piece(one.expected, State.MISSING)]
        check = declared.get(result.name)
        found.append(
            {
                "name": result.name,
                "wants": redacted(str(getattr(check, "wants", "") or "")) or ("" if result.passed else result.message),
                # Whether a test of a builder's holds back is known once it has failed.
                "blocking": result.blocking if not result.passed or asset.builder is None else None,
                "passed": result.passed,
                "strip": Markup(strip(disjoint(whole), width=240)),
                "failed": extent(failed, 3) if not result.passed and asset.partitioned and failed else "",
                "rows": result.failing_rows,
                "message": "" if result.passed else result.message,
            }
        )
    known = {result.name for result in results}
    names = [check.name for check in asset.checks] + list(asset.builder.tests(asset) if asset.builder else ())
    for name in names:
        if name not in known:
            check = declared.get(name)
            found.append(
                {
                    "name": name,
                    "wants": redacted(str(getattr(check, "wants", "") or "")),
                    "blocking": None if check is None else check.blocking,
                    "passed": None,
                    "strip": "",
                    "failed": "",
                    "rows": 0,
                    "message": "",
                }
            )
    return found


def columns(asset: Asset) -> list[dict[str, Any]]:
    """The columns that are promised, with their types, constraints and meaning."""
    if asset.schema is None:
        return []
    rules = _rules(asset)
    return [
        {
            "name": column.name,
            "type": "any" if column.dtype is None else _type(column.dtype),
            "nullable": column.nullable,
            "required": column.required,
            "about": first_line(column.description),
            "rules": rules.get(column.name, []),
        }
        for column in asset.schema.columns
    ]


def _type(dtype: object) -> str:
    """A type in few words.

    Examples:
        >>> import polars as pl
        >>> _type(pl.Datetime("us", "UTC")), _type(pl.List(pl.Int64))
        ('Datetime(us, UTC)', 'List(Int64)')
    """
    return re.sub(r"\w+=|'", "", str(dtype))


def _rules(asset: Asset) -> dict[str, list[str]]:
    """What a schema demands of the values of each column, in words."""
    rules = asset.schema.rules if asset.schema is not None else ()
    found: dict[str, list[str]] = {}
    for name, unique, _, regex, values, _ in rules[0] if rules else ():
        words = ["unique"] if unique else []
        words += ["a pattern of names"] if regex else []
        for check, given, *_ in values:
            said = ", ".join(short(value) for value in given.values())
            words.append(f"{str(check).replace('_', ' ')} {said}".strip())
        found[name] = [redacted(word) for word in words]
    return found


def schemas(look: Look, asset: Asset) -> list[dict[str, Any]]:
    """The versions of the schema that was published, newest first, each with what differs from the one before."""
    registry = look.lake.schemas.registry
    if registry.uri != EmbeddedRegistry.uri:
        return []  # nobody waits for another service to see a page
    if not (found := registry.versions(asset.key)):
        return []
    return [
        {
            "number": one.number,
            "since": one.since,
            "columns": len(one.schema.columns),
            "differs": [redacted(str(what)) for what in differs],
        }
        for one, differs in zip(found, changes(found), strict=True)
    ][::-1]


def versions(asset: Asset, recent: Sequence[Fact]) -> list[dict[str, Any]]:
    """The versions of code, schema and checks that made what was published lately, newest first."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for fact in recent:
        if fact.status is not Status.PUBLISHED:
            continue
        kind = fact.code_version, fact.schema_version, fact.checks_version
        one = found.setdefault(
            kind,
            {
                "code": fact.code_version,
                "schema": fact.schema_version,
                "checks": fact.checks_version,
                "last": fact.finished,
                "first": fact.finished,
                "number": 0,
                "current": asset.same_code(fact.code_version)
                and asset.same_schema(fact.schema_version)
                and asset.same_checks(fact.checks_version),
            },
        )
        one["first"] = fact.finished
        one["number"] += 1
    return list(found.values())


def sources(asset: Asset) -> list[tuple[str, str, str]]:
    """The code that makes an asset: title, language and text of each."""
    if isinstance(asset.builder, ShowsCode):
        return list(asset.builder.code(asset))
    try:
        function = inspect.unwrap(asset.function)
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return []
    return [(f"{function.__module__}, line {first}", "python", "".join(lines))]


def loading(asset: Asset) -> str:
    """Two lines of Python that load it."""
    if asset.external:
        return ""
    return f'from lakehouse import load\nframe = load("{asset.key}").collect()'
