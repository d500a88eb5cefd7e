"""What a run did: what was published, what was not and why, and how to go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from lakehouse.display.formatting import (
    ENDED,
    HELD,
    command,
    count,
    extent,
    finding,
    named,
    options,
    place,
    places,
    seconds,
    stacked,
    verdict,
)
from lakehouse.display.page import columns, labelled
from lakehouse.execution.run import AssetSummary, Run
from lakehouse.lineage import Fact, Status
from lakehouse.partitions import PartitionSet

_ERRORS = 10
"""So many different errors of an asset are shown one by one."""


def published(run: Run, lineage: str, *, wide: bool) -> RenderableType:
    """A table of what a run published, and where it lies.

    Parameters:
        run: the run
        lineage: where its lineage is kept
        wide: whether there is room for long lines
    """
    done = [one for one in run.summaries() if one.published]
    if not done:
        return Text("nothing was published")
    table = columns("published", "partitions", "number", "rows", "checks", "time", numbers=["number", "rows", "time"])
    for one in done:
        passed, colour = verdict(one.checks)
        table.add_row(
            one.asset.key,
            extent(one.published) if wide else stacked(one.published),
            f"{len(one.published):,}" if one.asset.partitioned else "",
            f"{one.rows:,}",
            Text(passed, colour),
            seconds(one.seconds),
        )
    rows = sum(one.rows for one in done)
    parts: list[RenderableType] = [table, ""]
    warned = [(one, check) for one in done for check in one.checks if not check.passed and not check.blocking]
    if warned:
        parts.append(labelled([(Text("warning", HELD), f"{one.asset.key}: {finding(c)}") for one, c in warned]))
        parts.append("")
    parts.append(f"{count(rows, 'row')} of {count(len(done), 'asset')} in {seconds(run.seconds)}")
    parts.append(
        labelled(
            [
                ("tables", places([one.uri for one in done])),
                ("lineage", place(lineage)),
                ("run", run.id),
                ("look", f"lakehouse show {done[-1].asset.key}"),
            ]
        )
    )
    return Group(*parts)


def unpublished(run: Run, mend: Sequence[tuple[str, str]]) -> RenderableType:
    """What was held back, failed or was skipped, why, where the rows are, and what mends it.

    Parameters:
        run: the run
        mend: commands, each with the case that it is for
    """
    summaries = run.summaries()
    rows = [line for one in summaries for line in _failed(run, one)]
    rows += [line for one in summaries for line in _held(run, one)]
    rows += [line for one in summaries for line in _apart(one)]
    rows += _skipped(run)
    return Group("", labelled(rows), "", mending(mend))


def mending(mend: Sequence[tuple[str, str]]) -> RenderableType:
    """The commands that go on from here."""
    lines: list[RenderableType] = []
    for when, how in mend:
        lines += [f"{when}:", Text(f"  {how}", "bold", no_wrap=True, overflow="ignore")]
    return Group(*lines)


def _held(run: Run, one: AssetSummary) -> Iterable[tuple[str | Text, str]]:
    for fact in _facts(run, one, Status.REJECTED):
        part = one.asset.partitions.from_pairs(fact.partitions)
        rows = f" ({count(fact.rows, 'row')})" if fact.rows else ""
        text = f"{named(one.asset.key, part)}{rows}: {fact.reason}"
        if fact.quarantine:
            which = options(part) if one.asset.partitioned else []
            look = command("lakehouse", "show", one.asset.key, "--quarantined", *which)
            text += f"\nlook: {look}\nfile: {place(fact.quarantine)}"
        yield _word(Status.REJECTED), text


def _apart(one: AssetSummary) -> Iterable[tuple[str | Text, str]]:
    if one.apart:
        text = f"{one.asset.key}: {count(one.apart, 'row')} in no partition\n"
        yield Text("kept apart", HELD), text + f"look: lakehouse show {one.asset.key} --quarantined"


def _failed(run: Run, one: AssetSummary) -> Iterable[tuple[str | Text, str]]:
    """Each error once, with all the partitions that it kept from being made."""
    parts: dict[str, PartitionSet] = {}
    for result in run.results:
        if result.asset != one.asset.key or not result.failed:
            continue
        facts = [fact for fact in result.facts if fact.status is Status.FAILED]
        bad = [(one.asset.partitions.from_pairs(fact.partitions), fact.reason) for fact in facts]
        for part, error in bad or [(result.failed, result.error or "it says nothing more")]:
            # Most errors name the asset and the partitions themselves: chunks that fail alike are shown as one.
            why = error.removeprefix(f"{one.asset.key} {part}: ")
            parts[why] = parts.get(why, one.asset.partitions.empty()) | part
    listed = list(parts.items())
    for why, part in listed[:_ERRORS]:
        yield _word(Status.FAILED), why if why.startswith(one.asset.key) else f"{named(one.asset.key, part)}: {why}"
    if rest := listed[_ERRORS:]:
        others = one.asset.partitions.union(part for _, part in rest)
        yield _word(Status.FAILED), f"{named(one.asset.key, others)}: {count(len(rest), 'other error')}"


def _skipped(run: Run) -> Iterable[tuple[str | Text, str]]:
    alike: dict[tuple[str, str], list[str]] = {}
    for one in run.summaries():
        facts = _facts(run, one, Status.SKIPPED)
        if facts:
            pairs = [pair for fact in facts for pair in fact.partitions]
            which = extent(one.asset.partitions.from_pairs(pairs)) if one.asset.partitioned else ""
            reasons = dict.fromkeys(fact.reason for fact in facts)
            why = next(iter(reasons)) if len(reasons) == 1 else "what it is made from was not published"
            alike.setdefault((which, why), []).append(one.asset.key)
    for (which, why), keys in alike.items():
        yield _word(Status.SKIPPED), f"{', '.join(keys)} {which}".rstrip() + f": {why}"


def _facts(run: Run, one: AssetSummary, status: Status) -> list[Fact]:
    return [f for result in run.results if result.asset == one.asset.key for f in result.facts if f.status is status]


def _word(status: Status) -> Text:
    word, colour = ENDED[status]
    return Text(word, colour)
