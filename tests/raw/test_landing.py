"""A Bronze asset that keeps what the source sent: byte for byte, by partition, under every promise that tables have."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import pandera.polars as pa
import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Daily, Lakehouse, PartitionRange, Static, bronze, silver, source
from lakehouse.checks import each_file, expression, parses, row_count
from lakehouse.errors import MaterializationFailed, PartitionConflict, StepError, StorageError
from lakehouse.io import Csv, Files, RawFile, RawFiles
from lakehouse.io.layout import landed_by, raw_file
from lakehouse.io.memory import MemoryTable
from lakehouse.io.raw import land, listed, partition_columns, values
from lakehouse.io.storage import Location
from lakehouse.io.tokens import token
from lakehouse.lineage.observations import Observed
from lakehouse.maintenance import Maintenance
from lakehouse.testing import MemoryLakehouse, run_asset
from lakehouse.testing.tables import PartitionCase, partition_cases

DAYS = Daily("2013-01-01", end="2013-02-01", column="date")
WEEK = "2013-01-01...2013-01-07"
LATER = datetime.now(UTC) + timedelta(days=100)


class Line(pa.DataFrameModel):
    date: pl.Date
    n: int


class World:
    """What a source sends, by day, and a lakehouse that lands it and reads it."""

    def __init__(self, folder: Path | str, lineage: Path) -> None:
        self.sent: dict[str, list[RawFile]] = {}
        self.read: list[str] = []
        sent, read = self.sent, self.read

        @bronze(partitions=DAYS, checks=[row_count(min=1)])
        def raw(partitions: PartitionRange) -> RawFiles:
            for key in partitions:
                for file in sent.get(key, []):
                    if isinstance(file, Exception):
                        raise file
                    yield file

        @silver(partitions=DAYS)
        def lines(raw: Annotated[pl.LazyFrame, Line, Csv()]) -> Annotated[pl.LazyFrame, Line]:
            read.append("lines")
            return raw

        self.lake = Lakehouse([raw, lines], storage=folder, lineage=f"sqlite:///{lineage}/lineage.db")
        self.folder = Path(folder) / "bronze/raw"

    def sends(self, key: str, *contents: Any, **more: Any) -> None:
        self.sent[key] = [RawFile(f"{i}.csv", content, key, **more) for i, content in enumerate(contents)]

    def lands(self, partitions: str = WEEK, what: str = "bronze.raw") -> dict[str, str]:
        run = self.lake.materialize(what, partitions, engine="inline", raise_on_failure=False)
        (one,) = (one for one in run.summaries() if one.asset.key == what)
        told = {"published": one.published, "rejected": one.rejected, "failed": one.failed, "skipped": one.skipped}
        return {word: str(part) for word, part in told.items() if part}

    def kept(self, version: int | None = None) -> dict[str, bytes]:
        """What there is for readers, by day and name."""
        table, asset = self.lake.table(self.lake.graph["bronze.raw"]), self.lake.graph["bronze.raw"]
        found = listed(table, table.scan(version=version), DAYS, where=asset.key)
        return {f"{file.partition}/{file.name}": file.read() for file in found}

    def stored(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("_files/**/*") if p.is_file())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data", tmp_path)


# ── what is kept ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_files_are_kept_byte_for_byte_however_they_come(world: World, tmp_path: Path, web: str) -> None:
    content = bytes(range(256)) * 41_000  # more than is held in memory
    for place in ("web/a b.csv", "a b.csv"):
        (tmp_path / place).write_bytes(content)
    world.sent["2013-01-01"] = [
        RawFile("bytes", content),
        RawFile("stream", io.BytesIO(content)),
        RawFile("file", (tmp_path / "a b.csv").open("rb")),
        RawFile("pieces", (content[i : i + 999_999] for i in range(0, len(content), 999_999))),
        RawFile("path", tmp_path / "a b.csv"),
        RawFile.at(str(tmp_path / "a b.csv")),
        RawFile("file uri", f"file://{tmp_path}/a%20b.csv"),
        RawFile("http", f"{web}/a%20b.csv?X-Amz-Signature=secret"),
    ]
    assert world.lands("2013-01-01") == {"published": "2013-01-01"}
    kept = world.kept()
    assert set(kept) == {f"2013-01-01/{file.name}" for file in world.sent["2013-01-01"]}
    assert set(kept.values()) == {content}
    rows = world.lake.load("bronze.raw").collect()
    assert set(rows["sha256"]) == {hashlib.sha256(content).hexdigest()}
    assert set(rows["size"]) == {len(content)}
    told = dict(rows.select("name", "_source").iter_rows())
    assert told["path"] == str(tmp_path / "a b.csv")
    assert told["bytes"] == "bytes"
    assert told["http"].startswith(web)
    assert "secret" not in told["http"]


def test_a_stream_may_be_closed_before_the_next_file_comes(tmp_path: Path) -> None:
    @bronze
    def raw() -> RawFiles:
        for n in range(20):
            path = tmp_path / str(n)
            path.write_text(str(n))
            with path.open("rb") as stream:
                yield RawFile(str(n), stream)
            path.unlink()

    @silver
    def read(raw: RawFiles) -> pl.DataFrame:
        return pl.DataFrame({"name": [f.name for f in raw], "content": [f.read().decode() for f in raw]})

    lake = MemoryLakehouse([raw, read])
    lake.materialize("+silver.read")
    rows = lake.load(read).collect()
    assert rows.height == 20
    assert rows["name"].to_list() == rows["content"].to_list()


@pytest.mark.parametrize("case", partition_cases(), ids=lambda case: case.name)
def test_a_file_belongs_to_the_partition_that_its_row_tells_of(case: PartitionCase) -> None:
    whose = case.partitions
    columns = partition_columns(whose)
    for key in case.keys:
        ordinal = whose.parse(key)
        row = pl.DataFrame([values(whose, ordinal)], schema=columns)
        assert row.select(token(whose, row.schema, where="x")).item() == whose.token(ordinal)
    asked = case.select(*case.keys)
    table = MemoryTable(partitioned=True)
    sent = [RawFile("same name", key.encode(), key) for key in case.keys]
    landing = land(table, [(asked, file) for file in sent], asked, "attempt", where="x", run="run")
    found = listed(table, landing.rows, whose, where="x")
    assert {file.partition: file.read().decode() for file in found} == {key: key for key in case.keys}


@given(st.text(min_size=1, max_size=300), st.sampled_from(["", "2013-01-01"]))
def test_whatever_it_is_called_a_file_lies_below_the_table_by_itself(name: str, place: str) -> None:
    path = raw_file(place, "1f", name)
    assert landed_by(path) == "1f"
    last = path.rpartition("/")[2]
    assert last.isascii()
    assert last not in {"", ".", ".."}
    assert len(last) <= 200
    assert not last.startswith(".")
    assert raw_file(place, "1f", f"{name}x") != path


def test_names_of_users_meet_nothing_of_the_librarys(world: World) -> None:
    names = ["../../escape", "_delta_log", "a/b", "a~2fb", "100%", "Zürich 🛫", " ", "x" * 400, "x" * 401]
    world.sent["2013-01-01"] = [RawFile(name, name.encode()) for name in names]
    world.lands("2013-01-01")
    assert world.kept() == {f"2013-01-01/{name}": name.encode() for name in names}
    assert all(path.startswith("_files/_partition=2013-01-01/") for path in world.stored())


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (RawFile("a", b"", "soon"), "belongs to no partition"),
        (RawFile("a", ["text"]), "has to be bytes"),  # type: ignore[list-item]
        (RawFile("a", 7), "is int"),  # type: ignore[arg-type]
        (RawFile("a", "/no/such/file"), "there is no file /no/such/file"),
        (RawFile("a", "ftp://host/file"), "can't be read from there"),
        ("a.csv", "which is no RawFile"),
        (RawFile("", b""), "without a name"),
    ],
)
def test_what_can_not_be_kept_is_refused_and_leaves_nothing(world: World, file: Any, said: str) -> None:
    world.sent["2013-01-01"] = [RawFile("before", b"1"), file]
    with pytest.raises(MaterializationFailed, match=said):
        world.lake.materialize("bronze.raw", "2013-01-01", engine="inline")
    assert world.stored() == []


def test_two_files_of_one_name_and_a_file_that_says_no_partition_are_refused(world: World) -> None:
    world.sent["2013-01-01"] = [RawFile("a", b"1"), RawFile("A", b"2")]
    with pytest.raises(MaterializationFailed, match="two files 'A' of 2013-01-01"):
        world.lake.materialize("bronze.raw", "2013-01-01", engine="inline")
    world.sent["2013-01-01"] = world.sent["2013-01-02"] = [RawFile("a", b"1")]
    (table, asked) = MemoryTable(partitioned=True), DAYS.select(WEEK)
    with pytest.raises(StepError, match="doesn't say which partition"):
        land(table, [(asked, RawFile("a", b"1"))], asked, "x", where="bronze.raw", run="")


# ── write, audit, publish ─────────────────────────────────────────────────────────────────


def test_what_is_half_landed_is_seen_by_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sends("2013-01-01", b"n\n1\n")
    world.lands("2013-01-01")
    before = world.kept()
    seen: list[dict[str, bytes]] = []

    def pieces() -> Iterator[bytes]:
        yield b"n\n"
        seen.append(world.kept())
        raise OSError("the source hung up")

    world.sends("2013-01-01", b"n\n2\n", pieces())
    assert world.lands("2013-01-01") == {"failed": "2013-01-01"}
    assert seen == [before]
    assert world.kept() == before
    assert len(world.stored()) == 1


def test_what_was_landed_and_never_published_is_seen_by_nobody_and_removed_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException): ...

    table = type(world.lake.table(world.lake.graph["bronze.raw"]))
    world.sends("2013-01-01", b"n\n1\n")
    with monkeypatch.context() as patch:
        patch.setattr(table, "publish", lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            world.lands("2013-01-01")
    assert len(world.stored()) == 1
    world.lands("2013-01-01")
    assert len(world.stored()) == 2
    assert len(world.kept()) == 1
    Maintenance(world.lake, now=LATER).retain(versions=1).apply()
    assert len(world.stored()) == 1
    assert world.kept() == {"2013-01-01/0.csv": b"n\n1\n"}


def test_one_day_that_raises_holds_back_no_other(world: World) -> None:
    for day in range(1, 8):
        world.sends(f"2013-01-0{day}", b"n\n1\n")
    world.sent["2013-01-03"] = [RuntimeError("no file for this day")]  # type: ignore[list-item]
    assert world.lands() == {"published": "2013-01-01...2013-01-02, 2013-01-04...2013-01-07", "failed": "2013-01-03"}
    assert len(world.stored()) == 6


@pytest.mark.parametrize("chunk", [1, 30])
def test_a_file_of_a_day_that_another_call_was_for_is_elsewhere(tmp_path: Path, chunk: int) -> None:
    """A range with a gap is asked for in two calls; what the second one sends for the first one's is none of it."""

    @bronze(partitions=DAYS)
    def raw(partitions: PartitionRange) -> RawFiles:
        for key in partitions:
            yield RawFile(f"{key}.csv", b"n\n1\n", key)
            if key == "2013-01-05":
                yield RawFile("stray.csv", b"n\n2\n", "2013-01-01")

    lake = Lakehouse([raw], storage=tmp_path, lineage=f"sqlite:///{tmp_path}/lineage.db")
    wanted = ["2013-01-01", "2013-01-03", "2013-01-05"]
    run = lake.materialize(raw, wanted, chunk=chunk, engine="inline", raise_on_failure=False)
    (summary,) = run.summaries()
    assert list(summary.published) == ["2013-01-01", "2013-01-03"]
    assert list(lake.status(raw)[0].held) == ["2013-01-05"]
    assert sorted(lake.load(raw).collect()["name"]) == ["2013-01-01.csv", "2013-01-03.csv"]


def test_what_did_not_arrive_as_it_was_sent_is_held_back_and_kept(world: World) -> None:
    good = b"n\n1\n"
    world.sends("2013-01-01", good, sha256=hashlib.sha256(good).hexdigest().upper(), size=len(good))
    world.sends("2013-01-02", good[:-1], sha256=hashlib.sha256(good).hexdigest())
    world.sends("2013-01-03", good[:-1], size=len(good))
    assert world.lands("2013-01-01...2013-01-03") == {"published": "2013-01-01", "rejected": "2013-01-02...2013-01-03"}
    assert set(world.kept()) == {"2013-01-01/0.csv"}
    (fact,) = {f.quarantine for f in world.lake.lineage_store.facts("bronze.raw") if f.quarantine}
    table = world.lake.table(world.lake.graph["bronze.raw"])
    held = listed(table, table.quarantined(str(fact)), DAYS, where="bronze.raw")
    assert [file.read() for file in held] == [good[:-1]] * 2
    Maintenance(world.lake, now=LATER).retain(keep="1d", versions=1).apply()
    assert [file.read() for file in held] == [good[:-1]] * 2, "what is held back is kept as long as nothing replaced it"
    for day in ("2013-01-02", "2013-01-03"):
        world.sends(day, good)
    world.lands("2013-01-02...2013-01-03")
    Maintenance(world.lake, now=LATER).retain(keep="1d", versions=1).apply()
    assert len(world.stored()) == 3
    with pytest.raises(StepError, match="there is no file"):
        held[0].read()


def test_checks_count_files_and_look_into_them(tmp_path: Path) -> None:
    @each_file
    def ended(file: RawFile) -> bool:
        "the line that ends a file"
        return file.read().endswith(b"9\n")

    contents = {1: [b"n\n9\n"], 2: [], 3: [b"n\nx9\n"], 4: [b"n\n8\n"], 5: [b"n\n1\n9\n", b"n\n9\n"], 6: [b"n\n" * 90]}

    @bronze(
        partitions=DAYS,
        checks=[row_count(max=1), parses(Csv(), Line), ended, expression("small", pl.col("size") < 100)],
    )
    def raw() -> RawFiles:
        return [
            RawFile(f"{i}.csv", content, f"2013-01-0{day}")
            for day, listed in contents.items()
            for i, content in enumerate(listed)
        ]

    lake = Lakehouse([raw], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    run = lake.materialize(raw, "2013-01-01...2013-01-06", engine="inline", raise_on_failure=False)
    (one,) = run.summaries()
    assert (str(one.published), str(one.rejected)) == ("2013-01-01", "2013-01-02...2013-01-06")
    assert "parses(Csv) wants Csv that can be read as Line; found 0.csv: ComputeError: could not parse `x9`" in str(one)
    assert "ended wants the line that ends a file; found 0.csv: it fails" in str(one)


# ── again and again ───────────────────────────────────────────────────────────────────────


def test_what_is_landed_again_keeps_the_earlier_version_until_retention_says_so(world: World) -> None:
    for day in ("2013-01-01", "2013-01-02"):
        world.sends(day, b"n\n1\n")
    world.lands("2013-01-01...2013-01-02")
    world.sends("2013-01-01", b"n\n2\n", b"n\n3\n")
    world.lands("2013-01-01")
    assert world.kept(0) == {"2013-01-01/0.csv": b"n\n1\n", "2013-01-02/0.csv": b"n\n1\n"}
    now = {"2013-01-01/0.csv": b"n\n2\n", "2013-01-01/1.csv": b"n\n3\n", "2013-01-02/0.csv": b"n\n1\n"}
    assert world.kept() == now
    Maintenance(world.lake, now=LATER).retain(versions=2).apply()
    assert len(world.stored()) == 4
    Maintenance(world.lake, now=LATER).retain(versions=1).apply()
    assert len(world.stored()) == 3
    assert world.kept() == now
    with pytest.raises(FileNotFoundError):
        world.kept(0)


def test_what_a_publication_was_made_from_stays_readable(world: World) -> None:
    world.sends("2013-01-01", b"n\n1\n")
    world.lands("2013-01-01", "silver.lines")
    world.sends("2013-01-01", b"n\n2\n")
    world.lands("2013-01-01")
    Maintenance(world.lake, now=LATER).retain(versions=1).apply()
    assert world.kept(0) == {"2013-01-01/0.csv": b"n\n1\n"}


def test_the_same_bytes_change_nothing_downstream_and_others_do(world: World) -> None:
    for day in range(1, 8):
        world.sends(f"2013-01-0{day}", b"n\n1\n")
    world.lands(WEEK, "silver.lines")
    world.sends("2013-01-01", b"n\n1\n", rows=1, source="elsewhere")
    world.sends("2013-01-02", b"n\n2\n")
    world.lands()
    plan = world.lake.plan("silver.lines", WEEK, refresh=True)
    assert [step.id for step in plan.steps] == ["silver.lines/2013-01-02"]
    world.lake.refresh("silver.lines", WEEK, engine="inline")
    assert sorted(world.lake.load("silver.lines").collect()["n"]) == [1] * 6 + [2]


def test_what_is_there_is_not_stored_again(world: World) -> None:
    world.sends("2013-01-01", b"n\n1\n", b"n\n2\n")
    world.sends("2013-01-02", b"n\n1\n")
    world.lands("2013-01-01...2013-01-02")
    first = world.stored()
    world.lands("2013-01-01...2013-01-02")
    assert world.stored() == first
    assert world.lake.load("bronze.raw").collect()["_run_id"].n_unique() == 1
    assert [fact.unchanged for fact in world.lake.lineage_store.facts("bronze.raw")][1] == (
        ("2013-01-01", "2013-01-02"),
    )
    # Another name, another day, other bytes: another file. What went and came back is stored again.
    world.sent["2013-01-01"] = [RawFile("0.csv", b"n\n1\n"), RawFile("2.csv", b"n\n2\n"), RawFile("1.csv", b"n\n3\n")]
    world.lands("2013-01-01")
    assert len(world.stored()) == len(first) + 2
    kept = {"2013-01-01/0.csv": b"n\n1\n", "2013-01-01/2.csv": b"n\n2\n", "2013-01-01/1.csv": b"n\n3\n"}
    assert world.kept() == {**kept, "2013-01-02/0.csv": b"n\n1\n"}
    Maintenance(world.lake, now=LATER).retain(versions=1).apply()
    assert len(world.stored()) == 4
    assert world.kept() == {**kept, "2013-01-02/0.csv": b"n\n1\n"}


def test_what_is_not_stored_again_outlives_whatever_becomes_of_the_attempt(world: World) -> None:
    world.sends("2013-01-01", b"n\n1\n")
    world.lands("2013-01-01")
    before, first = world.kept(), world.stored()

    def breaks_off() -> Iterator[bytes]:
        yield b"n\n"
        raise OSError("the source hung up")

    world.sends("2013-01-01", b"n\n1\n", breaks_off())
    assert world.lands("2013-01-01") == {"failed": "2013-01-01"}
    assert (world.kept(), world.stored()) == (before, first)

    # Held back, it has a copy of its own: the version's may go before it.
    world.sends("2013-01-01", b"n\n1\n", b"n\n2\n", size=4)
    world.sent["2013-01-01"].append(RawFile("bad.csv", b"", size=7))
    assert world.lands("2013-01-01") == {"rejected": "2013-01-01"}
    Maintenance(world.lake).wipe("bronze.raw", "2013-01-01").apply()
    Maintenance(world.lake, now=LATER).retain(versions=1).apply()
    (uri,) = {f.quarantine for f in world.lake.lineage_store.facts("bronze.raw") if f.quarantine}
    table = world.lake.table(world.lake.graph["bronze.raw"])
    held = listed(table, table.quarantined(str(uri)), DAYS, where="bronze.raw")
    assert {file.name: file.read() for file in held} == {"0.csv": b"n\n1\n", "1.csv": b"n\n2\n", "bad.csv": b""}


def test_what_is_lost_is_stored_again(world: World) -> None:
    world.sends("2013-01-01", b"n\n1\n")
    world.lands("2013-01-01")
    (lost,) = world.stored()
    (world.folder / lost).unlink()
    with pytest.raises(StepError, match="there is no file"):
        world.kept()
    world.lands("2013-01-01")
    assert world.kept() == {"2013-01-01/0.csv": b"n\n1\n"}


def test_of_two_who_land_the_same_day_one_wins_and_the_others_files_go(world: World) -> None:
    world.sends("2013-01-01", b"n\n1\n")

    def meanwhile() -> Iterator[bytes]:
        world.sends("2013-01-01", b"n\n2\n")
        world.lands("2013-01-01")
        yield b"n\n3\n"

    world.sends("2013-01-01", meanwhile())
    with pytest.raises(MaterializationFailed, match="published by another run") as raised:
        world.lake.materialize("bronze.raw", "2013-01-01", engine="inline")
    assert isinstance(raised.value.run.results[0].cause, PartitionConflict | None)
    assert world.kept() == {"2013-01-01/0.csv": b"n\n2\n"}
    assert len(world.stored()) == 1


def test_what_is_held_back_stays_where_the_rest_is_in_conflict(world: World) -> None:
    def meanwhile() -> Iterator[bytes]:
        world.sends("2013-01-01", b"n\n2\n")
        world.lands("2013-01-01")
        yield b"n\n3\n"

    world.sends("2013-01-01", meanwhile())
    world.sends("2013-01-02", b"n\n1\n", size=7)
    assert "failed" in world.lands("2013-01-01...2013-01-02")
    (uri,) = {f.quarantine for f in world.lake.lineage_store.facts("bronze.raw") if f.quarantine}
    table = world.lake.table(world.lake.graph["bronze.raw"])
    held = listed(table, table.quarantined(str(uri)), DAYS, where="bronze.raw")
    assert [file.read() for file in held] == [b"n\n1\n"]


def test_wiped_and_renamed_files_go_with_their_rows(world: World, tmp_path: Path) -> None:
    for day in ("2013-01-01", "2013-01-02"):
        world.sends(day, b"n\n1\n")
    world.lands("2013-01-01...2013-01-02")
    Maintenance(world.lake).wipe("bronze.raw", "2013-01-01").apply()
    assert set(world.kept()) == {"2013-01-02/0.csv"}
    Maintenance(world.lake, now=LATER).retain(versions=1).apply()
    assert len(world.stored()) == 1

    @bronze(partitions=DAYS)
    def received(partitions: PartitionRange) -> RawFiles:
        return []

    renamed = Lakehouse([received], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    Maintenance(renamed).rename("bronze.raw", "bronze.received").apply()
    table = renamed.table(renamed.graph["bronze.received"])
    (file,) = listed(table, table.scan(), DAYS, where="bronze.received")
    assert file.read() == b"n\n1\n"
    assert not world.folder.exists()


def test_files_of_a_partition_that_was_renamed_stay_where_they_are_and_are_found(tmp_path: Path) -> None:
    def lake(*keys: str) -> Lakehouse:
        @bronze(partitions=Static(keys, column="region"))
        def raw(partitions: PartitionRange) -> RawFiles:
            return [RawFile("a.csv", key.encode(), key) for key in partitions]

        return Lakehouse([raw], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")

    lake("US", "EU").materialize("bronze.raw", engine="inline")
    renamed = lake("USA", "EU")
    Maintenance(renamed).rename_partition(["bronze.raw"], "US", "USA").apply()
    Maintenance(renamed, now=LATER).retain(versions=1).apply()
    table, asset = renamed.table(renamed.graph["bronze.raw"]), renamed.graph["bronze.raw"]
    found = listed(table, table.scan(), asset.partitions, where=asset.key)
    assert {file.partition: file.read() for file in found} == {"USA": b"US", "EU": b"EU"}


def test_whoever_vacuums_the_table_leaves_the_files(world: World) -> None:
    world.sends("2013-01-01", b"n\n1\n")
    world.lands("2013-01-01")
    DeltaTable(str(world.folder)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert world.kept() == {"2013-01-01/0.csv": b"n\n1\n"}


# ── from a source ─────────────────────────────────────────────────────────────────────────


def test_what_a_source_has_is_landed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()

    @source(partitions=Daily("2013-01-01", end="2013-02-01"))
    def landing() -> Files:
        return Files(f"{tmp_path}/in/{{partition}}/*.csv.gz")

    @bronze(partitions=DAYS)
    def raw(landing: RawFiles) -> RawFiles:
        return landing

    @bronze(partitions=DAYS)
    def counted(landing: Observed) -> pl.DataFrame:
        return pl.DataFrame([{"date": f.partition, "size": len(f.read())} for f in landing.files])

    @silver(partitions=DAYS)
    def lines(raw: Annotated[pl.LazyFrame, Line, Csv()]) -> pl.LazyFrame:
        return raw

    lake = Lakehouse([landing, raw, counted, lines], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/l.db")
    for day in (1, 3):
        (tmp_path / f"in/2013-01-0{day}").mkdir()
        (tmp_path / f"in/2013-01-0{day}/a.csv.gz").write_bytes(gzip.compress(f"n\n{day}\n".encode()))
    lake.refresh(["silver.lines", "bronze.counted"], engine="inline", upstream="stale")
    rows = lake.load("silver.lines").collect().sort("date")
    assert rows.rows() == [(date(2013, 1, 1), 1), (date(2013, 1, 3), 3)]
    assert lake.load("bronze.counted").collect().height == 2
    (tmp_path / "in/2013-01-03/b.csv.gz").write_bytes(gzip.compress(b"n\n33\n"))
    assert [str(s.partitions) for s in lake.plan("+silver.lines", refresh=True).steps] == ["2013-01-03"] * 2
    lake.refresh("+silver.lines", engine="inline")
    assert sorted(lake.load("silver.lines").collect()["n"]) == [1, 3, 33]


@bronze
def one() -> RawFiles:
    yield RawFile("a.csv", b"n\n7\n")


@bronze(partitions=DAYS)
def several() -> RawFiles:
    return []


@silver(partitions=DAYS)
def read_lines(several: Annotated[pl.LazyFrame, Line, Csv()]) -> Annotated[pl.LazyFrame, Line]:
    return several


def test_an_asset_that_reads_files_is_tried_out_with_files_at_hand() -> None:
    made = run_asset(read_lines, {"several": [RawFile("a.csv", b"n\n7\n", "2013-01-02")]}, WEEK)
    assert made.rows() == [(date(2013, 1, 2), 7)]
    assert run_asset(one)["size"].to_list() == [4]


# ── in a bucket ───────────────────────────────────────────────────────────────────────────


@pytest.mark.aws
def test_in_a_bucket_each_object_tells_where_it_came_from(aws_server: str, tmp_path: Path) -> None:
    bucket = f"raw-{uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{aws_server}/{bucket}", method="PUT")).close()
    world = World(f"s3://{bucket}/lake", tmp_path)
    world.sends("2013-01-01", b"n\n1\n", source="s3://Zürich/a b", rows=1)
    world.sends("2013-01-02", b"n\nx\n")
    assert world.lands("2013-01-01...2013-01-02", "silver.lines") == {"published": "2013-01-01", "failed": "2013-01-02"}
    assert world.lake.load("silver.lines").collect().rows() == [(date(2013, 1, 1), 1)]
    store = Location.of(f"s3://{bucket}/lake/bronze/raw").store()
    (path,) = (one["path"] for page in store.list("_files/_partition=2013-01-01") for one in page)
    said = {str(name): value for name, value in store.get(path).attributes.items()}
    assert said["Content-Type"] == "text/csv"
    assert said["lakehouse-sha256"] == hashlib.sha256(b"n\n1\n").hexdigest()
    assert (said["lakehouse-source"], said["lakehouse-rows"]) == ("s3://Z%C3%BCrich/a b", "1")
    assert said["lakehouse-run"]
    assert datetime.fromisoformat(said["lakehouse-extracted-at"])
    world.sends("2013-01-01", b"n\n2\n")
    world.lands("2013-01-01")
    world.sends("2013-01-01", b"n\n3\n")
    world.lands("2013-01-01")
    Maintenance(world.lake, now=LATER).retain(versions=1).apply()
    found = sorted(one["path"] for page in store.list("_files/_partition=2013-01-01") for one in page)
    assert len(found) == 2, "what is published, and what silver.lines was made from"
    s3 = RawFile.at(f"s3://{bucket}/lake/bronze/raw/{found[-1]}")
    assert s3.read() == b"n\n3\n"
    assert RawFile.at(f"s3://{bucket}/none").uri == f"s3://{bucket}/none"
    with pytest.raises(StepError, match="there is no file"):
        RawFile.at(f"s3://{bucket}/none").read()
    with pytest.raises(StorageError):
        RawFile.at("s3://no-such-bucket-at-all/x", options={"aws_endpoint_url": "http://127.0.0.1:9"}).read()
