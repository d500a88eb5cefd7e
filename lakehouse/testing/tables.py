"""The conformance suite that every kind of table passes."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final
from zoneinfo import ZoneInfo

import polars as pl
import polars.testing

from lakehouse.errors import (
    ColumnsChanged,
    PartitionConflict,
    PartitionError,
    SchemaViolation,
    StepError,
    StorageError,
)
from lakehouse.io import PARTITION, Publication, Table
from lakehouse.io.frames import restore
from lakehouse.io.layout import raw_file
from lakehouse.io.storage import Location
from lakehouse.io.tokens import NOWHERE, token, tokens
from lakehouse.partitions import (
    Cron,
    Daily,
    Dynamic,
    Every,
    Hourly,
    Monthly,
    Partitions,
    PartitionSet,
    Static,
    Unpartitioned,
    Weekly,
)

# ── what is published in the suite ────────────────────────────────────────────────────────

NewTable = Callable[..., Table]
"""Makes an empty table: ``new_table(partitioned=True)``."""


@final
@dataclass(frozen=True)
class PartitionCase:
    """A type of partition column: keys, and the values that lie in each.

    Parameters:
        name: what tests are called by
        partitions: how the table is cut
        values: for each key, in order, some values of the column
        dtype: the column's type
    """

    name: str
    partitions: Partitions
    values: Mapping[str, Sequence[Any]] = field(repr=False)
    dtype: Any = field(repr=False)

    @property
    def keys(self) -> list[str]:
        """Every key of the case."""
        return list(self.values)

    def select(self, *keys: str) -> PartitionSet:
        """Some keys as a set."""
        return self.partitions.of_keys(keys)

    def frame(self, keys: Sequence[str], tag: str) -> pl.LazyFrame:
        """Rows for some keys: one for each of the key's values, all of them with a tag."""
        rows = [(value, key, tag) for key in keys for value in self.values[key]]
        frame = pl.DataFrame(rows, schema={"at": pl.Object, "key": pl.String, "tag": pl.String}, orient="row")
        at = pl.Series("at", [row[0] for row in rows], dtype=self.dtype)
        return frame.with_columns(at).lazy().with_columns(self.token())

    def token(self) -> pl.Expr:
        """The expression for the partition's token, as a step has it."""
        return token(self.partitions, self.dtype, where=self.name).alias(PARTITION)


_NEW_YORK, _BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
_ODD = (
    "New York", "a/b", "a\\b", "100%", "%2F", "~2f", "x:y=z", "Zürich", "飛行機 🛫", "..", ".", "A", "a", "aa",
    "null", "__HIVE_DEFAULT_PARTITION__", "it's \"so\"", " padded ", "a,b", "a...b", "-1", "1", "01", "#?&+*[]{}\n",
)  # fmt: skip


def _days(count: int = 6) -> list[date]:
    return [date(2013, 1, 29) + timedelta(days=n) for n in range(count)]


def _weeks(count: int = 6) -> list[date]:
    return [date(2013, 1, 20) + timedelta(weeks=n) for n in range(count)]


def _thirds(zone: tzinfo = UTC) -> list[datetime]:
    return [datetime(2013, 1, 31, 21, tzinfo=zone) + timedelta(minutes=20 * n) for n in range(6)]


def _times(day: date, zone: ZoneInfo | None = None) -> list[datetime]:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    last = midnight.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return [midnight, midnight.replace(second=1), midnight.replace(hour=12, minute=30), last]


def _hours(partitions: Hourly, first: datetime, count: int) -> dict[str, list[datetime]]:
    low = partitions.parse(first)
    starts = [(partitions.key(o), partitions.instant(o)) for o in range(low, low + count)]
    return {key: [start, start + timedelta(minutes=59, seconds=59)] for key, start in starts}


def partition_cases() -> list[PartitionCase]:
    """Every type of partition column that a table must keep apart."""
    utc = Hourly("2013-01-01T00:00", column="at")
    berlin = Hourly("2013-01-01T00:00+01:00", column="at", timezone="Europe/Berlin")
    new_york = Hourly("2013-01-01T00:00-05:00", column="at", timezone="America/New_York")
    us = pl.Datetime("us")
    zoned = partial(pl.Datetime, "us")
    hours = _hours(utc, datetime(2013, 1, 31, 21, tzinfo=UTC), 6)
    months = ["2012-11", "2012-12", "2013-01", "2013-02", "2013-03"]
    monthly = Monthly("2012-01", column="at")
    firsts = {month: date.fromisoformat(f"{month}-01") for month in months}
    lasts = {m: (d + timedelta(days=31)).replace(day=1) - timedelta(days=1) for m, d in firsts.items()}
    daily = Daily("2013-01-01", column="at")
    local = Daily("2013-01-01", column="at", timezone="America/New_York")
    return [
        PartitionCase("integers", Static([2022, 2023, 2024], column="at"), {str(y): [y, y] for y in (2022, 2023, 2024)},
                      pl.Int64()),
        PartitionCase("strings", Static(["EWR", "JFK", "LGA"], column="at"), {k: [k, k] for k in ("EWR", "JFK", "LGA")},
                      pl.String()),
        PartitionCase("odd strings", Static(_ODD, column="at"), {k: [k, k] for k in _ODD}, pl.String()),
        PartitionCase("categories", Static(["b", "a", "c"], column="at"), {k: [k] for k in "bac"},
                      pl.Enum(["a", "b", "c"])),
        PartitionCase("booleans", Static(["true", "false"], column="at"), {"true": [True], "false": [False]},
                      pl.Boolean()),
        PartitionCase("dates", daily, {str(d): [d, d] for d in _days()}, pl.Date()),
        PartitionCase("days as text", daily, {str(d): [str(d)] for d in _days()}, pl.String()),
        PartitionCase("naive datetimes", daily, {str(d): _times(d) for d in _days()}, us),
        PartitionCase("zoned timestamps", local, {str(d): _times(d, _NEW_YORK) for d in _days()},
                      zoned("America/New_York")),
        PartitionCase("timestamps of another zone", local,
                      {str(d): [t.astimezone(UTC) for t in _times(d, _NEW_YORK)] for d in _days()}, zoned("UTC")),
        PartitionCase("hours", utc, hours, zoned("UTC")),
        PartitionCase("naive hours", utc, {k: [v.replace(tzinfo=None) for v in vs] for k, vs in hours.items()}, us),
        PartitionCase("hours when clocks go forward", berlin,
                      _hours(berlin, datetime(2013, 3, 31, 0, tzinfo=_BERLIN), 5), zoned("Europe/Berlin")),
        PartitionCase("hours when clocks go back", new_york,
                      _hours(new_york, datetime(2013, 11, 3, 0, tzinfo=_NEW_YORK), 5), zoned("America/New_York")),
        PartitionCase("months", monthly, {m: [firsts[m], lasts[m]] for m in months}, pl.Date()),
        PartitionCase("weeks", Weekly("2012-12-30", day="sunday", column="at"),
                      {str(d): [d, d + timedelta(days=6)] for d in _weeks()}, pl.Date()),
        PartitionCase("minutes", Every("2013-01-01T00:00", minutes=20, column="at"),
                      {f"2013-01-31T{t:%H:%M}": [t, t + timedelta(minutes=19)] for t in _thirds()}, zoned("UTC")),
        PartitionCase("ticks", Cron("*/20 * * * *", start="2013-01-01T00:00", column="at", timezone="America/New_York"),
                      {f"2013-01-31T{t:%H:%M}": [t, t + timedelta(minutes=19)] for t in _thirds(_NEW_YORK)},
                      zoned("UTC")),
        PartitionCase("registered keys", Dynamic("odd", column="at"),
                      {k: [k, k] for k in _ODD if k.isprintable()}, pl.String()),
        PartitionCase("months of datetimes", monthly, {m: _times(firsts[m]) + _times(lasts[m]) for m in months}, us),
    ]  # fmt: skip


DATES = next(case for case in partition_cases() if case.name == "dates")
WHOLE = PartitionSet(Unpartitioned(), ((0, 1),))
_attempts = itertools.count(1)


def selections(case: PartitionCase) -> dict[str, list[str]]:
    """What to publish beside neighbours: one key, a range, keys with gaps, all."""
    keys = case.keys
    asked = {"one": keys[1:2], "range": keys[:2], "gaps": keys[::2], "all": keys}
    return {name: chosen for name, chosen in asked.items() if chosen}


def publish(
    table: Table,
    frame: pl.LazyFrame,
    partitions: PartitionSet,
    *,
    payload: str = "",
    since: int | None = -1,
) -> int:
    """Stage, publish and clean up, as a step does.

    Parameters:
        table: where to
        frame: the candidate
        partitions: what is replaced
        payload: what the log keeps
        since: the version that the step began with; -1: the newest
    """
    began = table.version() if since == -1 else since
    staged = table.stage(frame, f"attempt-{next(_attempts)}")
    version = table.publish(staged, partitions, payload=payload, since=began)
    table.discard(staged, published=partitions)
    return version


def content(frame: pl.LazyFrame) -> dict[str, list[str]]:
    """What a case's frame holds: for each key the tags of its rows."""
    found: dict[str, list[str]] = {}
    for key, tag in frame.select("key", "tag").collect().sort("key", "tag").iter_rows():
        found.setdefault(key, []).append(tag)
    return found


def expect(case: PartitionCase, tags: Mapping[str, str]) -> dict[str, list[str]]:
    """What a case's table is to hold, where each key has rows of one tag."""
    return {key: [tags[key]] * len(case.values[key]) for key in sorted(tags)}


@contextmanager
def refused(kind: type[Exception], *saying: str) -> Iterator[None]:
    """See that something is refused, with an error of a kind that says certain things."""
    try:
        yield
    except kind as error:
        text = str(error)
    else:
        raise AssertionError(f"no {kind.__name__} was raised")
    for words in saying:
        assert words in text


# ── types ─────────────────────────────────────────────────────────────────────────────────

_AT = datetime(2013, 1, 31, 23, 59, 59, 123_456)
KEPT: dict[str, pl.Series] = {
    "integers": pl.Series([1, -(2**63), None], dtype=pl.Int64),
    "small integers": pl.Series([1, -128, None], dtype=pl.Int8),
    "UInt8": pl.Series([0, 255, None], dtype=pl.UInt8),
    "UInt32": pl.Series([0, 2**32 - 1, None], dtype=pl.UInt32),
    "UInt64": pl.Series([0, 2**63 - 1, None], dtype=pl.UInt64),
    "floats": pl.Series([1.5, float("inf"), float("nan"), None], dtype=pl.Float64),
    "Float32": pl.Series([1.5, None], dtype=pl.Float32),
    "booleans": pl.Series([True, False, None]),
    "text": pl.Series(["", "Zürich 飛行機", "\x00", None]),
    "bytes": pl.Series([b"", b"\x00\xff", None]),
    "decimals": pl.Series(["1.50", "-99999999.99", None]).cast(pl.Decimal(10, 2)),
    "dates": pl.Series([date(1, 1, 1), date(9999, 12, 31), None]),
    "naive timestamps": pl.Series([_AT, None], dtype=pl.Datetime("us")),
    "milliseconds": pl.Series([_AT, None], dtype=pl.Datetime("us")).cast(pl.Datetime("ms")),
    "nanoseconds": pl.Series([_AT, None], dtype=pl.Datetime("ns")),
    "UTC": pl.Series([_AT, None], dtype=pl.Datetime("us")).dt.replace_time_zone("UTC"),
    "zoned timestamps": pl.Series([_AT, None], dtype=pl.Datetime("us")).dt.replace_time_zone("America/New_York"),
    "Categorical": pl.Series(["a", "b", None], dtype=pl.Categorical()),
    "Enum": pl.Series(["a", "b", None], dtype=pl.Enum(["b", "a"])),
    "lists": pl.Series([[1, None], [], None], dtype=pl.List(pl.Int64)),
    "lists of categories": pl.Series([["a"], None], dtype=pl.List(pl.Categorical())),
    "arrays": pl.Series([[1, 2], None], dtype=pl.Array(pl.UInt8, 2)),
    "structs": pl.Series([{"a": 1, "b": None}, None], dtype=pl.Struct({"a": pl.UInt32, "b": pl.String})),
    "lists of UInt64": pl.Series([[2**63 - 1, None], None], dtype=pl.List(pl.UInt64)),
    "lists of nanoseconds": pl.Series([[_AT, None], None], dtype=pl.List(pl.Datetime("ns"))),
    "decimals of 38 digits": pl.Series(["9" * 38, None]).cast(pl.Decimal(38, 0)),
}
"""Values that come back as they were, once [lakehouse.io.frames.restore][] has been told their types."""

REFUSED: dict[str, pl.Series] = {
    "Time": pl.Series([None], dtype=pl.Time),
    "Duration": pl.Series([timedelta(1)], dtype=pl.Duration),
    "Null": pl.Series([None], dtype=pl.Null),
    "Int128": pl.Series([1], dtype=pl.Int128),
    "large UInt64": pl.Series([2**63], dtype=pl.UInt64),
    "lists of large UInt64": pl.Series([[1, 2**64 - 1]], dtype=pl.List(pl.UInt64)),
    "odd nanoseconds": pl.Series([1_001]).cast(pl.Datetime("ns")),
    "structs with odd nanoseconds": pl.Series([1_001]).cast(pl.Datetime("ns", "UTC")).to_frame("at").to_struct("x"),
    "milliseconds beyond microseconds": pl.Series([2**62]).cast(pl.Datetime("ms")),
    "lists of Durations": pl.Series([[timedelta(1)]]),
    "structs with a Time": pl.Series([{"a": None}], dtype=pl.Struct({"a": pl.Time})),
}
"""Values that no table takes."""


# ── the suite ─────────────────────────────────────────────────────────────────────────────


class TableConformance:
    """What every kind of table must do. Subclass it, and give it a fixture ``new_table``, a function that makes an
    empty table: ``new_table(partitioned=True)``.

    Examples:
        In a file of your tests::

            class TestMine(TableConformance):
                @pytest.fixture
                def new_table(self, tmp_path):
                    folders = itertools.count()
                    return lambda partitioned=True: DeltaLakeTable(
                        Location.of(tmp_path / str(next(folders))), partitioned=partitioned
                    )
    """

    brief: ClassVar[bool] = False
    """For slow stores: try all types of partition column at what matters most, and a few of them at the rest."""
    in_files: ClassVar[bool] = True
    """Whether rows are kept in files, which other engines could read; without them the table has to say so."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run a test for each type that it asks for."""
        cases = {case.name: case for case in partition_cases()}
        kept: Mapping[str, Any] = KEPT
        if self.brief and metafunc.function.__name__ != "test_publishing_replaces_exactly_the_partitions_asked_for":
            cases = {name: cases[name] for name in ("integers", "odd strings", "hours when clocks go back")}
            kept = {name: KEPT[name] for name in ("UInt32", "naive timestamps", "structs")}
        for name, values in (("case", cases), ("kept", kept), ("turned_down", REFUSED)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, list(values.values()), ids=list(values))

    # ── before anything was published ─────────────────────────────────────────────────────

    def test_nothing_is_there_at_first(self, new_table: NewTable) -> None:
        table = new_table()
        assert table.version() is None
        assert table.rows() == {}
        assert list(table.publications(after=None)) == []
        with refused(StorageError, table.uri):
            table.scan()

    def test_what_is_staged_is_seen_by_no_reader(self, new_table: NewTable) -> None:
        table, first, last = new_table(), DATES.keys[0], DATES.keys[-1]
        table.stage(DATES.frame(DATES.keys, "unseen"), "before")
        assert table.version() is None
        assert table.rows() == {}
        version = publish(table, DATES.frame([first], "seen"), DATES.select(first))
        table.stage(DATES.frame([first, last], "unseen"), "after")
        assert table.version() == version
        assert content(table.scan()) == expect(DATES, {first: "seen"})
        assert table.rows() == {first: len(DATES.values[first])}

    def test_a_candidate_can_be_read_and_is_counted(self, new_table: NewTable, case: PartitionCase) -> None:
        table = new_table()
        frame = case.frame(case.keys, "new")
        staged = table.stage(frame, "candidate")
        found = restore(table.staged(staged), frame.collect_schema()).collect()
        order = ["key", "at"]
        pl.testing.assert_frame_equal(found.sort(order), frame.collect().sort(order), check_column_order=False)
        assert staged.rows == dict(frame.collect().group_by(PARTITION).len().iter_rows())
        assert set(staged.bytes) == set(staged.rows)
        assert all(size > 0 for size in staged.bytes.values())

    # ── exactly what was asked ────────────────────────────────────────────────────────────

    def test_publishing_replaces_exactly_the_partitions_asked_for(
        self, new_table: NewTable, case: PartitionCase
    ) -> None:
        table = new_table()
        tags = dict.fromkeys(case.keys, "old")
        publish(table, case.frame(case.keys, "old"), case.select(*case.keys))
        assert content(table.scan()) == expect(case, tags)
        for name, chosen in selections(case).items():
            publish(table, case.frame(chosen, name), case.select(*chosen))
            tags |= dict.fromkeys(chosen, name)
            assert content(table.scan()) == expect(case, tags), name
            assert content(table.scan(case.select(*chosen))) == expect(case, dict.fromkeys(chosen, name))
        rows = dict(zip(tokens(case.select(*case.keys)), map(len, case.values.values()), strict=True))
        assert {t: n for t, n in table.rows().items() if n} == rows

    def test_partitions_are_added_one_by_one(self, new_table: NewTable, case: PartitionCase) -> None:
        table = new_table()
        chosen = case.keys[:6]
        for key in chosen:
            publish(table, case.frame([key], key), case.select(key))
        assert content(table.scan()) == expect(case, {key: key for key in chosen})

    def test_values_come_back_as_they_were(self, new_table: NewTable, case: PartitionCase) -> None:
        table = new_table()
        frame = case.frame(case.keys, "new").drop(PARTITION)
        publish(table, case.frame(case.keys, "new"), case.select(*case.keys))
        found = restore(table.scan(), frame.collect_schema()).collect()
        pl.testing.assert_frame_equal(found.sort("key", "at"), frame.collect().sort("key", "at"))

    def test_a_partition_without_rows_becomes_empty(self, new_table: NewTable, case: PartitionCase) -> None:
        table, (bare, *full) = new_table(), case.keys
        publish(table, case.frame(case.keys, "old"), case.select(*case.keys))
        publish(table, case.frame(full[:1], "new"), case.select(bare, full[0]))
        tags = dict.fromkeys(full, "old") | {full[0]: "new"}
        assert content(table.scan()) == expect(case, tags)
        assert content(table.scan(case.select(bare))) == {}
        assert sum(table.rows(case.select(bare)).values()) == 0

    def test_staged_rows_of_other_partitions_never_appear(self, new_table: NewTable, case: PartitionCase) -> None:
        table, (first, *others) = new_table(), case.keys
        publish(table, case.frame(others, "old"), case.select(*others))
        publish(table, case.frame(case.keys, "new"), case.select(first))
        assert content(table.scan()) == expect(case, {first: "new"} | dict.fromkeys(others, "old"))

    def test_rows_that_belong_nowhere_never_appear(self, new_table: NewTable) -> None:
        table = new_table()
        frame = DATES.frame(DATES.keys, "new").with_columns(
            pl.when(pl.col("key") == DATES.keys[0]).then(pl.lit(NOWHERE)).otherwise(PARTITION).alias(PARTITION)
        )
        publish(table, frame, DATES.select(*DATES.keys))
        assert content(table.scan()) == expect(DATES, dict.fromkeys(DATES.keys[1:], "new"))

    def test_all_at_once_may_become_empty(self, new_table: NewTable) -> None:
        table = new_table()
        publish(table, DATES.frame(DATES.keys, "old"), DATES.select(*DATES.keys))
        publish(table, DATES.frame([], "new"), DATES.select(*DATES.keys))
        assert table.scan().collect().is_empty()
        assert sum(table.rows().values()) == 0
        publish(table, DATES.frame(DATES.keys, "again"), DATES.select(*DATES.keys))
        assert content(table.scan()) == expect(DATES, dict.fromkeys(DATES.keys, "again"))

    def test_an_empty_frame_makes_a_table(self, new_table: NewTable) -> None:
        table = new_table()
        version = publish(table, DATES.frame([], "new"), DATES.select(DATES.keys[0]), payload="nothing")
        assert table.version() == version
        found = table.scan().collect()
        assert found.is_empty()
        assert found.columns == ["at", "key", "tag"]
        assert list(table.publications(after=None)) == [Publication(version, "nothing")]

    def test_no_partitions_are_refused(self, new_table: NewTable) -> None:
        table = new_table()
        version = publish(table, DATES.frame(DATES.keys, "old"), DATES.select(*DATES.keys))
        staged = table.stage(DATES.frame(DATES.keys, "new"), "nothing")
        with refused(PartitionError, table.uri):
            table.publish(staged, DATES.partitions.empty(), payload="", since=version)
        assert table.version() == version
        assert content(table.scan()) == expect(DATES, dict.fromkeys(DATES.keys, "old"))

    def test_partitions_of_another_kind_are_refused(self, new_table: NewTable) -> None:
        table = new_table()
        version = publish(table, DATES.frame(DATES.keys, "old"), DATES.select(*DATES.keys))
        months = Monthly("2013-01", column="at")
        new_york = Daily("2013-01-01", column="at", timezone="America/New_York")
        for other in (months.select("2013-01"), new_york.select(DATES.keys[0])):
            key = tokens(other)[0]
            frame = DATES.frame(DATES.keys[:1], "new").with_columns(pl.lit(key).alias(PARTITION))
            staged = table.stage(frame, f"other-{key}")
            with refused(SchemaViolation, table.uri, "daily UTC", other.partitions.kind):
                table.publish(staged, other, payload="", since=version)
        assert table.version() == version
        assert content(table.scan()) == expect(DATES, dict.fromkeys(DATES.keys, "old"))

    def test_partitions_that_are_not_there_read_as_no_rows(self, new_table: NewTable) -> None:
        table = new_table()
        publish(table, DATES.frame(DATES.keys[:1], "old"), DATES.select(DATES.keys[0]))
        found = table.scan(DATES.select(DATES.keys[-1])).collect()
        assert found.is_empty()
        assert found.columns == ["at", "key", "tag"]
        assert table.rows(DATES.select(DATES.keys[-1])) == {}

    def test_a_candidate_may_be_published_in_parts(self, new_table: NewTable) -> None:
        table = new_table()
        staged = table.stage(DATES.frame(DATES.keys, "new"), "parts")
        for key in DATES.keys[:2]:
            table.publish(staged, DATES.select(key), payload="the same", since=table.version())
        assert content(table.scan()) == expect(DATES, dict.fromkeys(DATES.keys[:2], "new"))

    # ── versions ──────────────────────────────────────────────────────────────────────────

    def test_pinned_versions_stay_readable(self, new_table: NewTable) -> None:
        table, keys = new_table(), DATES.keys
        pinned = {}
        for number in range(4):
            chosen = keys[number:]
            version = publish(table, DATES.frame(chosen, f"v{number}"), DATES.select(*chosen))
            pinned[version] = {key: f"v{min(number, i)}" for i, key in enumerate(keys)}
        assert table.version() == max(pinned)
        assert sorted(pinned) == list(pinned)
        for version, tags in pinned.items():
            assert content(table.scan(version=version)) == expect(DATES, tags)
            assert content(table.scan(DATES.select(keys[2]), version=version)) == expect(
                DATES, {keys[2]: tags[keys[2]]}
            )
            assert table.rows(version=version) == {key: len(DATES.values[key]) for key in keys}

    def test_the_files_of_a_version_hold_exactly_its_rows(self, new_table: NewTable, case: PartitionCase) -> None:
        table, keys = new_table(), case.keys
        if self.in_files:
            with refused(StorageError, table.uri):
                table.files()
        pinned = publish(table, case.frame(keys, "old"), case.select(*keys))
        publish(table, case.frame(keys[:1], "new"), case.select(keys[0]))
        if not self.in_files:
            with refused(StorageError, table.uri, "hint"):
                table.files()
            return
        for chosen in selections(case).values():
            apart = Location.of(tempfile.mkdtemp())
            rows = self.read_files(table.files(case.select(*chosen), version=pinned, apart=apart))
            assert content(rows) == expect(case, dict.fromkeys(chosen, "old"))
        assert content(self.read_files(table.files())) == expect(case, dict.fromkeys(keys, "old") | {keys[0]: "new"})

    def test_what_is_pinned_is_read_without_the_log(self, new_table: NewTable, case: PartitionCase) -> None:
        table, keys = new_table(), case.keys
        version = publish(table, case.frame(keys, "old"), case.select(*keys))
        chosen = selections(case)
        pinned = {name: table.pinned(case.select(*some), version=version) for name, some in chosen.items()}
        publish(table, case.frame(keys[:1], "new"), case.select(keys[0]))
        if not self.in_files:
            assert set(pinned.values()) == {None}
            return
        store = table.objects()
        for log in [str(one["path"]) for page in store.list("_delta_log") for one in page]:
            store.delete(log)
        for name, some in chosen.items():
            found = pinned[name]
            assert found is not None
            assert content(table.read(found)) == expect(case, dict.fromkeys(some, "old"))

    def test_what_is_pinned_has_the_columns_of_its_version(self, new_table: NewTable) -> None:
        table, (first, second) = new_table(), DATES.keys[:2]
        publish(table, DATES.frame([first], "v0"), DATES.select(first))
        version = publish(table, DATES.frame([second], "v1").with_columns(more=pl.lit(1)), DATES.select(second))
        publish(table, DATES.frame([second], "v2").with_columns(other=pl.lit("x")), DATES.select(second))
        both = DATES.select(first, second)
        pinned = table.pinned(both, version=version)
        read = table.scan(both, version=version) if pinned is None else table.read(pinned)
        assert dict(read.sort("at").select("tag", "more").unique().collect().iter_rows()) == {"v0": None, "v1": 1}
        assert "other" not in read.collect_schema()

    def read_files(self, uris: Sequence[str]) -> pl.LazyFrame:
        """Read Parquet files as anybody could. Override it where they need more than their URIs."""
        places = [Location.of(uri) if uri.startswith("s3://") else Location(uri) for uri in uris]
        parts = [pl.scan_parquet(p.target, glob=False, hive_partitioning=False, **p.polars) for p in places]
        return pl.concat(parts, how="diagonal")

    def test_what_is_being_read_does_not_change_under_the_reader(self, new_table: NewTable) -> None:
        table, keys = new_table(), DATES.keys
        publish(table, DATES.frame(keys, "old"), DATES.select(*keys))
        reading = table.scan()
        publish(table, DATES.frame(keys, "new"), DATES.select(*keys))
        assert content(reading) == expect(DATES, dict.fromkeys(keys, "old"))

    def test_a_version_that_is_not_there_is_refused(self, new_table: NewTable) -> None:
        table = new_table()
        version = publish(table, DATES.frame(DATES.keys, "old"), DATES.select(*DATES.keys))
        with refused(StorageError, str(version + 7), table.uri):
            table.scan(version=version + 7).collect()
        with refused(StorageError, str(version + 7), table.uri):
            table.rows(version=version + 7)

    def test_publications_come_in_order_with_their_payload(self, new_table: NewTable) -> None:
        table = new_table()
        payloads = ["", "plain", 'Zürich 飛行機 🛫 "quoted" \\ {"a": [1]}\n\t\u0001', "x" * 200_000]
        made = [
            Publication(publish(table, DATES.frame([key], "new"), DATES.select(key), payload=payload), payload)
            for key, payload in zip(DATES.keys, payloads, strict=False)
        ]
        assert list(table.publications(after=None)) == made
        for index, publication in enumerate(made):
            assert list(table.publications(after=publication.version)) == made[index + 1 :]

    # ── the fence ─────────────────────────────────────────────────────────────────────────

    def test_a_partition_that_another_published_meanwhile_is_refused(
        self, new_table: NewTable, case: PartitionCase
    ) -> None:
        keys = case.keys
        for first in ([], keys):
            table = new_table()
            since = publish(table, case.frame(first, "base"), case.select(*first)) if first else None
            mine = table.stage(case.frame(keys[:2], "mine"), "mine")
            version = publish(table, case.frame(keys[1:2], "theirs"), case.select(keys[1]), since=since)
            with refused(PartitionConflict, keys[1], table.uri):
                table.publish(mine, case.select(*keys[:2]), payload="", since=since)
            assert table.version() == version
            assert content(table.scan()) == expect(case, dict.fromkeys(first, "base") | {keys[1]: "theirs"})

    def test_other_partitions_are_no_conflict(self, new_table: NewTable, case: PartitionCase) -> None:
        table, keys = new_table(), case.keys
        since = table.version()
        mine = table.stage(case.frame(keys[::2], "mine"), "mine")
        publish(table, case.frame(keys[1::2], "theirs"), case.select(*keys[1::2]), since=since)
        table.publish(mine, case.select(*keys[::2]), payload="", since=since)
        tags = {key: ("mine", "theirs")[i % 2] for i, key in enumerate(keys)}
        assert content(table.scan()) == expect(case, tags)

    def test_what_was_there_before_is_no_conflict(self, new_table: NewTable) -> None:
        table, key = new_table(), DATES.keys[0]
        for tag in ("first", "second"):
            publish(table, DATES.frame([key], tag), DATES.select(key), since=table.version())
        assert content(table.scan()) == expect(DATES, {key: "second"})

    def test_an_emptied_partition_is_fenced_too(self, new_table: NewTable) -> None:
        table, key = new_table(), DATES.keys[0]
        since = publish(table, DATES.frame([key], "old"), DATES.select(key))
        publish(table, DATES.frame([], "gone"), DATES.select(key), since=since)
        with refused(PartitionConflict, key):
            publish(table, DATES.frame([key], "mine"), DATES.select(key), since=since)
        assert content(table.scan()) == {}

    def test_threads_that_publish_different_partitions_all_succeed(self, new_table: NewTable) -> None:
        table = new_table()
        keys = [str(date(2013, 1, 1) + timedelta(days=n)) for n in range(16)]
        case = PartitionCase("days", DATES.partitions, {k: [date.fromisoformat(k)] for k in keys}, pl.Date())
        start = threading.Barrier(8)

        def work(number: int) -> list[int]:
            start.wait(timeout=60)
            mine = keys[number::8]
            return [publish(table, case.frame([key], f"by {number}"), case.select(key), since=None) for key in mine]

        with ThreadPoolExecutor(8) as pool:
            versions = [version for made in pool.map(work, range(8)) for version in made]
        assert len(set(versions)) == 16
        assert content(table.scan()) == expect(case, {key: f"by {i % 8}" for i, key in enumerate(keys)})

    def test_of_threads_that_publish_the_same_new_partition_one_wins(self, new_table: NewTable) -> None:
        table, key = new_table(), DATES.keys[0]
        start = threading.Barrier(4)

        def work(number: int) -> str | None:
            staged = table.stage(DATES.frame([key], f"by {number}"), f"thread-{number}")
            start.wait(timeout=60)
            try:
                table.publish(staged, DATES.select(key), payload=str(number), since=None)
            except PartitionConflict:
                return None
            return f"by {number}"

        with ThreadPoolExecutor(4) as pool:
            winners = [won for won in pool.map(work, range(4)) if won]
        assert len(winners) == 1
        assert content(table.scan()) == expect(DATES, {key: winners[0]})

    # ── a table that is not the one it was ────────────────────────────────────────────────

    def save(self, table: Any) -> Callable[[], None]:
        """Make a backup of a table; what is returned puts it back, whatever became of the table. Override it where a
        table is no folder on disk.
        """
        if hasattr(table, "save"):
            return table.save()  # type: ignore[no-any-return]
        folder = Path(table.uri.removeprefix("file://"))
        backup = Path(tempfile.mkdtemp()) / "table"
        if folder.exists():
            shutil.copytree(folder, backup)

        def put_back() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            if backup.exists():
                shutil.copytree(backup, folder)

        return put_back

    def test_a_table_that_was_removed_while_the_step_ran_is_a_conflict(self, new_table: NewTable) -> None:
        table, (old, new, *_) = new_table(), DATES.keys
        nothing = self.save(table)
        publish(table, DATES.frame([old], "old"), DATES.select(old))
        began = table.newest()
        nothing()
        mine = table.stage(DATES.frame([new], "mine"), "mine")
        with refused(PartitionConflict, table.uri, "removed", "hint"):
            table.publish(mine, DATES.select(new), payload="", since=began)
        assert table.version() is None
        assert table.rows() == {}

    def test_a_table_that_went_back_while_the_step_ran_is_a_conflict(self, new_table: NewTable) -> None:
        table, (old, new, *_) = new_table(), DATES.keys
        first = publish(table, DATES.frame([old], "old"), DATES.select(old))
        backup = self.save(table)
        publish(table, DATES.frame([old], "newer"), DATES.select(old))
        began = table.newest()
        backup()
        for since in (began, began and began.number):
            mine = table.stage(DATES.frame([new], "mine"), f"mine-{since}")
            with refused(PartitionConflict, table.uri, "hint"):
                table.publish(mine, DATES.select(new), payload="", since=since)
        assert table.version() == first
        assert content(table.scan()) == expect(DATES, {old: "old"})

    def test_another_table_of_as_many_versions_is_a_conflict(self, new_table: NewTable) -> None:
        table, (old, new, other, *_) = new_table(), DATES.keys
        nothing = self.save(table)
        for tag in ("old", "newer"):
            publish(table, DATES.frame([old], tag), DATES.select(old))
        began = table.newest()
        nothing()
        for tag in ("theirs", "theirs", "theirs"):
            version = publish(table, DATES.frame([other], tag), DATES.select(other))
        mine = table.stage(DATES.frame([new], "mine"), "mine")
        with refused(PartitionConflict, table.uri, "replaced", "hint"):
            table.publish(mine, DATES.select(new), payload="", since=began)
        assert table.version() == version
        assert content(table.scan()) == expect(DATES, {other: "theirs"})

    def test_a_table_that_was_put_back_as_it_was_is_the_same(self, new_table: NewTable) -> None:
        table, (old, new, *_) = new_table(), DATES.keys
        publish(table, DATES.frame([old], "old"), DATES.select(old))
        began = table.newest()
        self.save(table)()
        mine = table.stage(DATES.frame([new], "mine"), "mine")
        table.publish(mine, DATES.select(new), payload="", since=began)
        assert content(table.scan()) == expect(DATES, {old: "old", new: "mine"})

    def test_a_candidate_that_was_removed_is_not_published(self, new_table: NewTable) -> None:
        table, key = new_table(), DATES.keys[0]
        for since in (None, publish(new_table(), DATES.frame([key], "x"), DATES.select(key))):
            if since is not None:
                publish(table, DATES.frame([key], "old"), DATES.select(key))
            mine = table.stage(DATES.frame([key], "mine"), f"mine-{since}")
            table.discard(mine)
            with refused(PartitionConflict, table.uri, "removed"):
                table.publish(mine, DATES.select(key), payload="", since=since)
        assert content(table.scan()) == expect(DATES, {key: "old"})

    def test_the_newest_version_is_known_by_its_number_and_by_what_made_it(self, new_table: NewTable) -> None:
        table, other, key = new_table(), new_table(), DATES.keys[0]
        assert table.newest() is None
        for one in (table, other):
            publish(one, DATES.frame([key], "same"), DATES.select(key), payload="same")
        made, theirs = table.newest(), other.newest()
        assert made is not None
        assert theirs is not None
        assert (made.number, made) == (table.version(), table.newest())
        assert (made.mark, made.number) != (theirs.mark, theirs.number), "two tables, however alike"
        assert [one.mark for one in table.publications(after=None)] == [made.mark]

    # ── tables that are not partitioned ───────────────────────────────────────────────────

    def test_an_unpartitioned_table_is_replaced_as_a_whole(self, new_table: NewTable) -> None:
        table = new_table(partitioned=False)
        for rows in ([1, 2, 3], [4], [], [5, 6]):
            publish(table, pl.LazyFrame({"n": rows}, schema={"n": pl.Int64}), WHOLE)
            assert table.scan().collect()["n"].sort().to_list() == rows
            assert sum(table.rows().values()) == len(rows)
        assert sorted(table.scan(version=0).collect()["n"]) == [1, 2, 3]

    def test_an_unpartitioned_table_may_change_its_columns(self, new_table: NewTable) -> None:
        table = new_table(partitioned=False)
        first = publish(table, pl.LazyFrame({"n": [1], "gone": ["x"]}), WHOLE)
        publish(table, pl.LazyFrame({"n": ["text"], "new": [datetime(2013, 1, 1)]}), WHOLE)
        assert table.scan().collect().rows() == [("text", datetime(2013, 1, 1))]
        assert table.scan(version=first).collect().rows() == [(1, "x")]

    def test_an_unpartitioned_table_is_fenced(self, new_table: NewTable) -> None:
        table = new_table(partitioned=False)
        publish(table, pl.LazyFrame({"n": [1]}), WHOLE, since=None)
        with refused(PartitionConflict, table.uri):
            publish(table, pl.LazyFrame({"n": [2]}), WHOLE, since=None)
        assert table.scan().collect()["n"].to_list() == [1]

    def test_a_candidate_for_an_unpartitioned_table_can_be_read(self, new_table: NewTable) -> None:
        table = new_table(partitioned=False)
        full = table.stage(pl.LazyFrame({"n": [1, 2]}), "full")
        assert table.staged(full).collect()["n"].sort().to_list() == [1, 2]
        assert full.rows == {"": 2}
        empty = table.stage(pl.LazyFrame({"n": []}, schema={"n": pl.Int64}), "empty")
        assert table.staged(empty).collect().schema == {"n": pl.Int64}
        assert sum(empty.rows.values()) == 0

    # ── columns and types ─────────────────────────────────────────────────────────────────

    def test_a_new_column_is_null_in_what_was_there(self, new_table: NewTable, kept: pl.Series) -> None:
        table, (old, new, *_) = new_table(), DATES.keys
        publish(table, DATES.frame([old], "old"), DATES.select(old))
        added = DATES.frame([new], "new").with_columns(extra=pl.lit(kept.head(1)).first())
        version = publish(table, added, DATES.select(new))
        found = restore(table.scan(), {"extra": kept.dtype}).sort("key").collect()
        value = kept.to_list()[0]
        assert found["extra"].to_list() == [None] * len(DATES.values[old]) + [value] * len(DATES.values[new])
        assert restore(table.scan(DATES.select(old)), {"extra": kept.dtype}).collect().schema["extra"] == kept.dtype
        assert "extra" not in table.scan(version=version - 1).collect_schema()

    def test_a_column_that_is_left_out_is_null_from_then_on(self, new_table: NewTable) -> None:
        table, (old, new, *_) = new_table(), DATES.keys
        publish(table, DATES.frame([old], "old").with_columns(extra=pl.lit(1)), DATES.select(old))
        publish(table, DATES.frame([new], "new").select(PARTITION, "tag", "key", "at"), DATES.select(new))
        found = table.scan().sort("key").collect()
        assert found["extra"].to_list() == [1] * len(DATES.values[old]) + [None] * len(DATES.values[new])
        assert content(table.scan()) == expect(DATES, {old: "old", new: "new"})

    def test_another_type_is_refused_and_nothing_changes(self, new_table: NewTable) -> None:
        table, (old, new, *_) = new_table(), DATES.keys
        version = publish(table, DATES.frame([old], "old").with_columns(n=pl.lit(1, dtype=pl.Int64)), DATES.select(old))
        for other in (pl.lit("1"), pl.lit(1.0), pl.lit(1, dtype=pl.Int32)):
            with refused(SchemaViolation, "'n'", table.uri):
                publish(table, DATES.frame([new], "new").with_columns(n=other), DATES.select(new))
            assert table.version() == version
            assert content(table.scan()) == expect(DATES, {old: "old"})

    def test_who_would_stay_beside_another_type_is_told(self, new_table: NewTable) -> None:
        table, (first, second, third, *_) = new_table(), DATES.keys
        there = [first, second]
        publish(table, DATES.frame(there, "old").with_columns(N=pl.lit(1)), DATES.select(*there))
        for column in (pl.lit("1").alias("N"), pl.lit(1).alias("n")):
            with refused(ColumnsChanged, "'N'", str(DATES.select(first)), table.uri):
                publish(table, DATES.frame([second, third], "new").with_columns(column), DATES.select(second, third))
        assert content(table.scan()) == expect(DATES, dict.fromkeys(there, "old"))

    def test_where_no_other_row_stays_columns_may_change_in_every_way(
        self, new_table: NewTable, kept: pl.Series
    ) -> None:
        table, keys = new_table(), DATES.keys[:2]
        old = DATES.frame(keys, "old").with_columns(n=pl.lit("x"), S=pl.struct(a=pl.lit(1)), gone=pl.lit(1))
        before = publish(table, old, DATES.select(*keys))
        new = DATES.frame(keys, "new").with_columns(
            n=pl.lit(kept.head(1)).first(), s=pl.struct(a=pl.struct(b=pl.lit([1.5])))
        )
        publish(table, new, DATES.select(*keys))
        found = table.scan().collect_schema()
        assert {"gone", "S"}.isdisjoint(found)
        assert found["s"] == pl.Struct({"a": pl.Struct({"b": pl.List(pl.Float64)})})
        value, size = kept.to_list()[0], sum(len(DATES.values[key]) for key in keys)
        assert restore(table.scan(), {"n": kept.dtype}).collect()["n"].to_list() == [value] * size
        assert content(table.scan()) == expect(DATES, dict.fromkeys(keys, "new"))
        assert table.scan(version=before).collect()["gone"].to_list() == [1] * size

    def test_where_all_was_taken_away_columns_may_change(self, new_table: NewTable) -> None:
        table, (old, new, *_) = new_table(), DATES.keys
        publish(table, DATES.frame([old], "old").with_columns(n=pl.lit("x"), gone=pl.lit(1)), DATES.select(old))
        publish(table, DATES.frame([], "none").with_columns(n=pl.lit("x"), gone=pl.lit(1)), DATES.select(old))
        publish(table, DATES.frame([new], "new").with_columns(n=pl.lit(True)), DATES.select(new))
        assert table.scan().collect_schema()["n"] == pl.Boolean()
        assert "gone" not in table.scan().collect_schema()
        assert content(table.scan()) == expect(DATES, {new: "new"})

    def test_a_column_goes_with_the_last_partition_that_has_it(self, new_table: NewTable) -> None:
        table, (first, second, third, fourth, *_) = new_table(), DATES.keys
        there = [first, second, third]
        publish(table, DATES.frame(there, "old").with_columns(leaves=pl.lit(1)), DATES.select(*there))
        for key in (second, fourth, first):
            publish(table, DATES.frame([key], "new"), DATES.select(key))
            assert "leaves" in table.scan().collect_schema()
            assert "leaves" not in table.scan(DATES.select(key)).collect_schema()
            assert "leaves" not in table.columns()
        assert table.scan(DATES.select(third)).collect()["leaves"].to_list() == [1] * len(DATES.values[third])
        publish(table, DATES.frame([third], "new"), DATES.select(third))
        assert "leaves" not in table.scan().collect_schema()
        assert content(table.scan()) == expect(DATES, dict.fromkeys([*there, fourth], "new"))

    def test_its_columns_are_those_that_are_written(self, new_table: NewTable) -> None:
        table, (old, new, *_) = new_table(), DATES.keys
        assert table.columns() == {}
        publish(table, DATES.frame([old], "old").with_columns(n=pl.lit(1)), DATES.select(old))
        assert table.columns() == {"at": pl.Date(), "key": pl.String(), "tag": pl.String(), "n": pl.Int32()}
        publish(table, DATES.frame([new], "new").with_columns(extra=pl.lit("x")), DATES.select(new))
        assert set(table.columns()) == {"at", "key", "tag", "extra"}

    def test_every_type_comes_back(self, new_table: NewTable, kept: pl.Series) -> None:
        table = new_table(partitioned=False)
        frame = pl.DataFrame({"n": range(len(kept)), "x": kept})
        staged = table.stage(frame.lazy(), "types")
        seen = restore(table.staged(staged), frame.schema).sort("n").collect()
        pl.testing.assert_frame_equal(seen, frame)
        table.publish(staged, WHOLE, payload="", since=None)
        table.discard(staged, published=WHOLE)
        pl.testing.assert_frame_equal(restore(table.scan(), frame.schema).sort("n").collect(), frame)

    def test_what_no_table_can_hold_is_refused(self, new_table: NewTable, turned_down: pl.Series) -> None:
        table = new_table(partitioned=False)
        with refused(SchemaViolation, "'x'", table.uri, "hint"):
            table.stage(pl.LazyFrame({"n": [1], "x": turned_down}), "refused")
        assert table.version() is None

    def test_a_frame_that_fails_while_it_is_computed_leaves_nothing(self, new_table: NewTable) -> None:
        table = new_table()

        def fail(frame: pl.DataFrame) -> pl.DataFrame:
            raise ValueError("spoiled on purpose")

        frame = DATES.frame(DATES.keys, "new")
        broken = frame.map_batches(fail, schema=frame.collect_schema())
        with refused(StepError, "spoiled on purpose"):
            table.stage(broken, "broken")
        table.discard("broken")
        assert table.version() is None
        assert table.rows() == {}

    # ── leftovers ─────────────────────────────────────────────────────────────────────────

    def test_what_was_published_survives_its_candidate(self, new_table: NewTable) -> None:
        table, (first, second, *_) = new_table(), DATES.keys
        staged = table.stage(DATES.frame([first, second], "new"), "candidate")
        table.publish(staged, DATES.select(first), payload="", since=None)
        for _ in range(2):
            table.discard(staged, published=DATES.select(first))
            assert content(table.scan()) == expect(DATES, {first: "new"})

    def test_a_candidate_that_was_not_published_can_be_discarded(self, new_table: NewTable) -> None:
        table, key = new_table(), DATES.keys[0]
        publish(table, DATES.frame([key], "old"), DATES.select(key))
        for way in ("by itself", "by its attempt"):
            staged = table.stage(DATES.frame(DATES.keys, "new"), f"candidate-{way.replace(' ', '-')}")
            for _ in range(2):
                table.discard(staged if way == "by itself" else staged.attempt)
            with refused(Exception):
                table.staged(staged).collect()
        assert content(table.scan()) == expect(DATES, {key: "old"})

    def test_files_beside_the_rows_make_no_table_and_are_nobodys_candidate(self, new_table: NewTable) -> None:
        table, path = new_table(partitioned=True), raw_file("2013-01-29", "attempt", "a.csv")
        table.objects().put(path, b"n")
        assert table.version() is None
        table.discard(table.stage(DATES.frame(DATES.keys[:1], "new"), "attempt"))
        assert table.version() is None
        publish(table, DATES.frame(DATES.keys, "new"), DATES.select(*DATES.keys))
        assert content(table.scan()) == expect(DATES, dict.fromkeys(DATES.keys, "new"))
        assert bytes(table.objects().get(path).bytes()) == b"n"

    def test_discarding_what_never_was_is_nothing(self, new_table: NewTable) -> None:
        table = new_table()
        table.discard("never")
        assert table.version() is None
        publish(table, DATES.frame(DATES.keys, "old"), DATES.select(*DATES.keys))
        table.discard("never")
        assert content(table.scan()) == expect(DATES, dict.fromkeys(DATES.keys, "old"))

    # ── quarantine ────────────────────────────────────────────────────────────────────────

    def test_quarantined_rows_come_back_and_no_reader_sees_them(self, new_table: NewTable) -> None:
        table = new_table()
        rows = DATES.frame(DATES.keys, "held").collect().with_columns(_reasons=pl.lit(["null", "twice"]))
        uri = table.quarantine(rows, "quarantined")
        pl.testing.assert_frame_equal(table.quarantined(uri).collect(), rows)
        other = table.quarantine(rows.head(1), "another")
        assert other != uri
        assert table.quarantined(uri).collect().height == rows.height
        assert table.version() is None
        publish(table, DATES.frame(DATES.keys[:1], "old"), DATES.select(DATES.keys[0]))
        assert content(table.scan()) == expect(DATES, {DATES.keys[0]: "old"})


__all__ = ["PartitionCase", "TableConformance", "partition_cases"]
