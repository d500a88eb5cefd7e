"""How the files that a raw asset keeps are read as rows: typed, lazily, one after the other."""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl
import pytest

from lakehouse import Asset, AssetGraph, Daily, PartitionRange, bronze, gold, silver
from lakehouse.checks import parses, reconcile
from lakehouse.errors import ContractViolation, DefinitionError, LakehouseError, LayerViolation, StepError
from lakehouse.io import Csv, JsonLines, Parquet, RawFile, RawFiles, Reader
from lakehouse.io.readers import scan_files, unpacked
from lakehouse.partitions import Hourly, Multi, Partitions, Static, Unpartitioned
from lakehouse.testing import MemoryLakehouse, run_asset

DAYS = Daily("2013-01-01", end="2013-02-01", column="date")
HOURS = Hourly("2013-01-01T00:00", column="at")


def read(
    reader: Reader,
    *files: bytes | RawFile,
    columns: dict[str, Any] | None = None,
    partitions: Partitions | None = None,
    key: str | None = None,
) -> pl.LazyFrame:
    sent = [one if isinstance(one, RawFile) else RawFile(f"{i}.txt", one, key) for i, one in enumerate(files)]
    return scan_files(sent, reader, partitions or Unpartitioned(), columns, where="bronze.raw")


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def as_parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_types_are_those_of_the_contract_and_without_one_all_is_text() -> None:
    line = b"n,x,day,moment,flag,amount,kind\n1,1.5,2013-01-31,2013-01-31T10:00:00Z,true,1.25,a\n,,,,,,\n"
    columns = {
        "day": pl.Date(),
        "n": pl.Int16(),
        "x": pl.Float64(),
        "moment": pl.Datetime("us", "America/New_York"),
        "flag": pl.Boolean(),
        "amount": pl.Decimal(10, 2),
        "kind": pl.Enum(["a", "b"]),
    }
    rows = read(Csv(), line, columns=columns).collect()
    assert rows.schema == columns
    moment = datetime(2013, 1, 31, 10, tzinfo=UTC)
    found = rows.row(0, named=True)
    assert (found["day"], found["n"], found["moment"], found["kind"]) == (date(2013, 1, 31), 1, moment, "a")
    assert str(found["amount"]) == "1.25"
    assert set(rows.row(1)) == {None}
    text = read(Csv(), line).collect()
    assert set(text.dtypes) == {pl.String}
    assert text.row(0)[0] == "1"


def test_values_separated_otherwise() -> None:
    lines = b"made by hand\n#a note\nn;s\n1;'a;b'\nNA;-\n"
    reader = Csv(separator=";", quote="'", null_values=("NA", "-"), skip_lines=1, comment="#")
    assert read(reader, lines, columns={"n": pl.Int64(), "s": pl.String()}).collect().rows() == [
        (1, "a;b"),
        (None, None),
    ]
    bare = read(Csv(header=False), b"1,a\n2,b\n", columns={"n": pl.Int64(), "s": pl.String()})
    assert bare.collect().rows() == [(1, "a"), (2, "b")]


def test_json_lines() -> None:
    lines = b'\n{"n": 1, "tags": ["a"], "at": "2013-01-31T10:00:00+01:00", "more": 7}\n{"n": null, "tags": []}\n'
    columns = {"n": pl.Int64(), "tags": pl.List(pl.String()), "at": pl.Datetime("us", "UTC")}
    rows = read(JsonLines(), lines, b"", columns=columns).collect()
    assert rows.rows() == [(1, ["a"], datetime(2013, 1, 31, 9, tzinfo=UTC)), (None, [], None)]


def test_parquet() -> None:
    one = as_parquet(pl.DataFrame({"n": [1], "more": [2]}))
    assert read(Parquet(), one, columns={"n": pl.Int64()}).collect().rows() == [(1,)]
    assert read(Parquet(), one, one).collect().rows() == [(1, 2), (1, 2)]


@pytest.mark.parametrize(
    "file",
    [
        RawFile("a.csv", b"n\n1\n2\n"),
        RawFile("a.csv.gz", gzip.compress(b"n\n1\n2\n")),
        RawFile("A.CSV.XZ", lzma.compress(b"n\n1\n2\n")),
        RawFile("a.zip", packed({"x/": b"", "x/1.csv": b"n\n1\n", "x/2.csv.gz": gzip.compress(b"n\n2\n")})),
        RawFile("a.zip", packed({"a.csv": b"n\n1\n2\n", "__MACOSX/._a.csv": b"\x00"})),
        RawFile("a.zip", packed({"b.zip": packed({"a.csv": b"n\n1\n2\n"})})),
    ],
)
def test_what_is_packed_is_unpacked_to_be_read(file: RawFile) -> None:
    assert read(Csv(), file, columns={"n": pl.Int64()}).collect()["n"].to_list() == [1, 2]


def test_a_partition_column_that_files_lack_is_that_of_their_partition() -> None:
    day = {"n": pl.Int64(), "date": pl.Date()}
    assert read(Csv(), b"n\n1\n", columns=day, partitions=DAYS, key="2013-01-31").collect().rows() == [
        (1, date(2013, 1, 31))
    ]
    assert read(Csv(), b"n\n1\n", partitions=DAYS, key="2013-01-31").collect().row(0) == ("1", date(2013, 1, 31))
    hour = {"at": pl.Datetime("ms", "Europe/Berlin")}
    found = read(Csv(), b"n\n1\n", columns=hour, partitions=HOURS, key="2013-01-31T10:00").collect()
    assert (found.schema, found.item()) == (hour, datetime(2013, 1, 31, 10, tzinfo=UTC))
    lines = read(JsonLines(), b'{"n": 1}\n{"n": 2}\n', columns=hour, partitions=HOURS, key="2013-01-31T10:00").collect()
    assert lines["at"].to_list() == [found.item()] * 2
    own = read(Csv(), b"at\n2013-01-31T10:59:00Z\n", columns=hour, partitions=HOURS, key="2013-01-31T10:00").collect()
    assert own.item() == datetime(2013, 1, 31, 10, 59, tzinfo=UTC)
    both = Multi({"region": Static(["EU", "US"], column="region"), "day": DAYS})
    rows = read(Csv(), b"n\n1\n", partitions=both, key="US|2013-01-31").collect()
    assert rows.row(0, named=True) == {"n": "1", "region": "US", "date": date(2013, 1, 31)}


def test_where_a_row_came_from_is_told_to_whom_asks() -> None:
    at = datetime(2013, 1, 31, tzinfo=UTC)
    sent = [RawFile(name, b"n\n1\n", source=f"in/{name}", extracted_at=at, run="7") for name in ("a", "b")]
    columns = {
        "_file": pl.String(),
        "n": pl.Int64(),
        "_source": pl.String(),
        "_extracted_at": pl.Datetime("us", "UTC"),
        "_run_id": pl.String(),
    }
    assert read(Csv(), *sent, columns=columns).collect().rows() == [
        ("a", 1, "in/a", at, "7"),
        ("b", 1, "in/b", at, "7"),
    ]


def test_files_are_read_one_after_the_other_and_none_before_it_is_needed() -> None:
    opened: list[int] = []

    class Counting:
        def __init__(self, number: int) -> None:
            self.number = number

        def open(self, mode: str = "rb") -> io.BytesIO:
            opened.append(self.number)
            return io.BytesIO(b"n,s\n1,a\n2,b\n")

    files = [RawFile(str(i), Counting(i)) for i in range(9)]
    columns = {"n": pl.Int64(), "s": pl.String()}
    rows = read(Csv(), *files, columns=columns)
    assert opened == []
    assert rows.head(3).collect()["n"].to_list() == [1, 2, 1]
    assert opened == [0, 1]
    assert rows.filter(pl.col("n") == 2).select("s").collect()["s"].to_list() == ["b"] * 9
    assert rows.select(pl.len()).collect(engine="streaming").item() == 18
    assert read(Csv(), columns=columns).collect().is_empty()


@pytest.mark.parametrize(
    ("reader", "content", "columns", "said"),
    [
        (Csv(), b"n\n1\nx\n", {"n": pl.Int64()}, "could not parse `x` as dtype `i64`"),
        (Csv(), b"m\n1\n", {"n": pl.Int64()}, "it has no column 'n'; it has m"),
        (Csv(), b"", {"n": pl.Int64()}, "empty"),
        (Csv(), b"n,n\n1,2\n", {"n": pl.Int64()}, "two columns are named 'n'"),
        (Csv(), b"n\n2013-13-01\n", {"n": pl.Date()}, "conversion from `str` to `date` failed"),
        (Csv(), b"n\nd\n", {"n": pl.Enum(["a"])}, "conversion from `str` to `enum` failed"),
        (Csv(), b"n\n1,2\n", {"n": pl.Int64()}, "more fields than defined in"),
        (JsonLines(), b'{"n": "x"}\n', {"n": pl.Int64()}, ""),
        (JsonLines(), b"[1]\n", {"n": pl.Int64()}, "its first line holds no object"),
        (JsonLines(), b"{", {"n": pl.Int64()}, "JSONDecodeError"),
        (Parquet(), b"PAR1", {"n": pl.Int64()}, ""),
        (Parquet(), as_parquet(pl.DataFrame({"n": [1.5]})), {"n": pl.Int64()}, "'n' as Float64, wanted is Int64"),
    ],
)
def test_a_file_that_can_not_be_read_is_named(
    reader: Reader, content: bytes, columns: dict[str, Any], said: str
) -> None:
    files = [RawFile("good", b""), RawFile("bad.csv", content, "2013-01-02")][1:]
    rows = read(reader, *files, columns=columns, partitions=DAYS)
    with pytest.raises(StepError) as raised:
        rows.collect()
    assert raised.value.message.startswith("bronze.raw 2013-01-02: the file 'bad.csv' can't be read: ")
    assert said in raised.value.message
    assert "\n" not in raised.value.message


def test_a_damaged_archive_is_named_and_storage_that_fails_is_no_files_fault() -> None:
    for name in ("a.zip", "a.csv.gz"):
        with pytest.raises(StepError, match=f"the file '{name}' can't be read"):
            read(Csv(), RawFile(name, b"no archive"), columns={"n": pl.Int64()}).collect()
    gone = RawFile("a.csv", "http://127.0.0.1:9/a.csv")
    with pytest.raises(LakehouseError, match=r"reading http://127.0.0.1:9/a.csv failed") as raised:
        read(Csv(), gone, columns={"n": pl.Int64()}).collect()
    assert not isinstance(raised.value, StepError)


def test_files_without_a_contract_have_the_columns_of_the_first() -> None:
    rows = read(Csv(), b"a,b\n1,2\n", b"b,a\n4,3\n").collect()
    assert rows.rows() == [("1", "2"), ("3", "4")]
    with pytest.raises(StepError, match=r"1.txt' can't be read: it has the columns c"):
        read(Csv(), b"a\n1\n", b"a,c\n1,2\n").collect()
    with pytest.raises(DefinitionError, match="without a contract"):
        read(JsonLines(), b'{"a": 1}').collect()
    with pytest.raises(DefinitionError, match="without a contract"):
        read(Csv(header=False), b"1\n").collect()


class Lines:
    """A person's own reader."""

    def scan_file(self, path: Path, columns: Any, known: Any) -> pl.LazyFrame:
        return pl.LazyFrame({"line": path.read_text().splitlines()})


def test_people_write_readers_of_their_own() -> None:
    rows = read(Lines(), b"a\nb\n", RawFile("c.gz", gzip.compress(b"c")), columns={"line": pl.String()})
    assert rows.collect()["line"].to_list() == ["a", "b", "c"]


def _sending(file: RawFile, check: Any) -> Asset:
    @bronze(checks=[check])
    def sent() -> RawFiles:
        yield file

    return sent


def test_a_parser_that_must_accept_reads_every_column() -> None:
    bad: dict[str, tuple[Reader, bytes]] = {
        "a.csv": (Csv(), b"n,x\n1,2\n1,no\n"),
        "b.jsonl": (JsonLines(), b'{"n": 1, "x": 2}\n{"n": 1, "x": "no"}\n'),
        "c.csv.gz": (Csv(), gzip.compress(b"n,x\n1,no\n")),
        "d.zip": (Csv(), packed({"good.csv": b"n,x\n1,2\n", "bad.csv": b"n,x\n1,no\n"})),
    }

    for name, (reader, content) in bad.items():
        with pytest.raises(StepError, match=f"parses.*{name}"):
            run_asset(_sending(RawFile(name, content), parses(reader, Pair)))


# ── declared ──────────────────────────────────────────────────────────────────────────────


class Line(pa.DataFrameModel):
    n: int


class Dated(Line):
    date: pl.Date


class Pair(Line):
    x: int


@bronze
def raw() -> RawFiles:
    return []


@bronze
def table() -> pl.LazyFrame:
    raise AssertionError


def _taken(annotation: Any) -> Any:
    def made(given: Any) -> pl.LazyFrame:
        raise AssertionError

    made.__annotations__["given"] = annotation
    return made


@pytest.mark.parametrize(
    ("annotation", "error", "said"),
    [
        (Annotated[pl.LazyFrame, raw], ContractViolation, "keeps files, and doesn't say how they are read"),
        (Annotated[pl.LazyFrame, Line, raw], ContractViolation, "keeps files, and doesn't say how they are read"),
        (Annotated[pl.LazyFrame, table, Csv()], ContractViolation, "as files, and it keeps none"),
        (Annotated[RawFiles, table], ContractViolation, "as files, and it keeps none"),
    ],
)
def test_how_files_are_read_is_said_before_anything_runs(annotation: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        AssetGraph([silver(_taken(annotation))])


@pytest.mark.parametrize(
    "annotation",
    [Annotated[RawFiles, raw], Annotated[Sequence[RawFile], raw], Annotated[pl.DataFrame, raw, Line, Csv()]],
)
def test_what_may_be_asked_of_files(annotation: Any) -> None:
    assert AssetGraph([silver(_taken(annotation))])["bronze.raw"].keeps_files


def test_what_keeps_files_is_bronze_and_says_nothing_of_what_is_in_them() -> None:
    def loose() -> RawFiles:
        raise AssertionError

    def typed() -> Annotated[RawFiles, Line]:
        raise AssertionError

    def read() -> Annotated[pl.LazyFrame, Csv()]:
        raise AssertionError

    def named() -> RawFiles:
        raise AssertionError

    for layer in (silver, gold):
        with pytest.raises(LayerViolation, match="Bronze alone"):
            AssetGraph([layer(loose)])
    for wrong in (typed, read):
        with pytest.raises(DefinitionError, match="is said by whoever reads them"):
            AssetGraph([bronze(wrong)])
    with pytest.raises(DefinitionError, match="has a column 'name' already"):
        AssetGraph([bronze(partitions=Static(["a"], column="name"))(named)])
    with pytest.raises(ContractViolation, match="looks at files, and the asset keeps none"):
        AssetGraph([bronze(checks=[parses(Csv())])(_plain)])
    with pytest.raises(DefinitionError, match="needs what reads files"):
        parses("csv")  # type: ignore[arg-type]


def test_bronze_may_have_the_files_that_it_keeps_as_rows_too() -> None:
    @bronze
    def sent() -> RawFiles:
        yield RawFile("a.zip", packed({"1.csv": b"n\n1\n", "2.csv": b"n\n2\n"}))

    @bronze
    def members(sent: RawFiles) -> RawFiles:
        for file in sent:
            with unpacked(file) as paths:
                for i, path in enumerate(paths):
                    yield RawFile(f"{i}.csv", path.read_bytes())

    @bronze
    def typed(members: Annotated[pl.LazyFrame, Line, Csv()]) -> Annotated[pl.LazyFrame, Line]:
        return members

    @silver
    def clean(typed: Annotated[pl.LazyFrame, Line]) -> Annotated[pl.LazyFrame, Line]:
        return typed

    lake = MemoryLakehouse([sent, members, typed, clean])
    lake.materialize("*")
    assert lake.load(clean).collect()["n"].to_list() == [1, 2]
    with pytest.raises(LayerViolation, match="bronze may read sources alone, and files that Bronze keeps"):
        AssetGraph([bronze(_taken(Annotated[pl.LazyFrame, table]))])


def test_what_is_compared_with_files_is_what_is_read_of_them() -> None:
    contents = {
        "2013-01-01": [b"n,s\n1,a\n2,b\n", b"n,s\n3,c\n"],
        "2013-01-02": [],
        "2013-01-03": [b"date,n,s\n2013-01-03,1,a\n2013-01-04,2,b\n"],
        "2013-01-04": [b"n,s\n1,a\n"],
    }

    @bronze(partitions=DAYS)
    def days(partitions: PartitionRange) -> RawFiles:
        return [RawFile(f"{i}.csv", one, key) for key in partitions for i, one in enumerate(contents[key])]

    @silver(partitions=DAYS, checks=[reconcile("days")])
    def counted(days: Annotated[pl.LazyFrame, Dated, Csv()]) -> pl.LazyFrame:
        return days.select("date", "n")

    @silver(partitions=DAYS, checks=[reconcile("days", ours=pl.col("files").max(), theirs=pl.len())])
    def listed(days: RawFiles) -> pl.DataFrame:
        dates = [date.fromisoformat(str(file.partition)) for file in days]
        return pl.DataFrame({"date": dates}).group_by("date").agg(files=pl.len().cast(pl.Int64))

    lake = MemoryLakehouse([days, counted, listed])
    run = lake.materialize("*", "2013-01-01...2013-01-04", raise_on_failure=False)
    done = {one.asset.name: (str(one.published), str(one.rejected)) for one in run.summaries()}
    # A row of another day than its file's is found missing there, and found too many where it lies.
    assert done["counted"] == ("2013-01-01...2013-01-02", "2013-01-03...2013-01-04")
    assert done["listed"] == ("2013-01-01...2013-01-04", "none")


def test_what_is_compared_with_files_of_no_contract() -> None:
    @bronze
    def sent() -> RawFiles:
        return [RawFile("a.csv", b"n\n1\n2\n"), RawFile("b.csv", b"n\n3\n")]

    @silver(checks=[reconcile("sent", ours=pl.col("n").sum(), theirs=pl.col("n").cast(pl.Int64).sum() + 1)])
    def more(sent: Annotated[pl.LazyFrame, Csv()]) -> pl.LazyFrame:
        return pl.concat([sent.select(pl.col("n").cast(pl.Int64)), pl.LazyFrame({"n": [1]})])

    lake = MemoryLakehouse([sent, more])
    lake.materialize("*")
    assert lake.load(more).collect()["n"].to_list() == [1, 2, 3, 1]


def _plain() -> pl.LazyFrame:
    raise AssertionError


def test_another_way_of_reading_makes_what_was_read_stale_and_the_files_not() -> None:
    def read(given: Annotated[pl.LazyFrame, raw, Csv()]) -> pl.LazyFrame:
        raise AssertionError

    before = silver(read).code_version

    def read(given: Annotated[pl.LazyFrame, raw, Csv(separator=";")]) -> pl.LazyFrame:  # type: ignore[no-redef]
        raise AssertionError

    assert silver(read).code_version != before
