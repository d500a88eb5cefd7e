"""The conformance suite that every place passes where functions are called."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pandera.polars as pa
import polars as pl
import polars.testing
import pytest

from lakehouse.checks import not_null
from lakehouse.compute.order import Code, Order, read_order
from lakehouse.compute.place import Place, Stop
from lakehouse.definitions.asset import Asset, Context
from lakehouse.definitions.compute import Process
from lakehouse.definitions.decorators import bronze, silver, source
from lakehouse.definitions.signature import From
from lakehouse.errors import CodeMismatch, ComputeError, DefinitionError, StepError
from lakehouse.execution.carry_out import carry_out
from lakehouse.execution.run import Run
from lakehouse.io import Files, RawFile, RawFiles, Table
from lakehouse.io.layout import MANIFEST, ORDER
from lakehouse.io.open import open_table
from lakehouse.lake import Lakehouse
from lakehouse.lineage import Status
from lakehouse.lineage.observations import Observed
from lakehouse.partitions import All, Daily, PartitionRange

# ── what is made in the suite; another process finds it here ──────────────────────────────

daily = Daily("2013-01-01", end="2013-01-09", column="date")
_SOMEWHERE: list[Path] = []


class Numbers(pa.DataFrameModel):
    """What is promised of them; more columns come, of types that storage has no word for."""

    date: pl.Date
    n: pl.UInt8 = pa.Field(nullable=True)


@source
def script() -> Files:
    """A file that says what is to happen to whom, such as `{"2013-01-03": "raise"}`: read where the function is."""
    return Files(str(_SOMEWHERE[-1] / "script.json"))


@bronze(partitions=daily, compute=Process(), checks=[not_null("n")])
def numbers(
    partitions: PartitionRange, context: Context, script: Annotated[Observed, From("source.script", All())]
) -> Annotated[pl.LazyFrame, Numbers]:
    """A row for each day, or what the script says."""
    path = Path(script.uris[0].removeprefix("file://"))
    told: dict[str, str] = json.loads(path.read_text())
    days = partitions.keys()
    context.logger.info("making %s", ", ".join(days))
    for day in days:
        _happen(told.get(day, ""), day, path.with_name("pid"))
    rows = pl.LazyFrame(
        {
            "date": [date(2020, 1, 1) if told.get(day) == "outside" else date.fromisoformat(day) for day in days],
            "n": pl.Series([None if told.get(day) == "null" else int(day[-2:]) for day in days], dtype=pl.UInt8),
            "at": pl.Series([datetime.fromisoformat(day) for day in days], dtype=pl.Datetime("ms")),
            "size": pl.Series(["large" for _ in days], dtype=pl.Enum(["small", "large"])),
        }
    )
    late = [day for day in days if told.get(day) == "raise late"]
    return rows.map_batches(partial(_too_late, late)) if late else rows


@bronze(partitions=daily, compute=Process())
def letters(partitions: PartitionRange, script: Annotated[RawFiles, From("source.script", All())]) -> RawFiles:
    """A file for each day, as it was sent."""
    (told,) = script
    for day in list(partitions.keys()):
        yield RawFile("letter.txt", f"It is {day}.\n".encode(), day)
        _happen(json.loads(told.read()).get(day, ""), day, Path(told.uri).with_name("pid"))


@silver(partitions=daily, compute=Process())
def read(letters: RawFiles) -> pl.LazyFrame:
    """What they say."""
    said = [(letter.partition, letter.read().decode().strip()) for letter in letters]
    days, texts = zip(*said, strict=True)
    return pl.LazyFrame({"date": [date.fromisoformat(day) for day in days], "text": texts})


@silver(partitions=daily, compute=Process())
def doubled(numbers: Annotated[pl.LazyFrame, Numbers]) -> pl.LazyFrame:
    """Twice as much."""
    return numbers.with_columns(pl.col("n") * 2)


def _too_late(days: Sequence[str], rows: pl.DataFrame) -> pl.DataFrame:
    raise ValueError(f"the source broke off at {', '.join(days)}")


def _happen(what: str, day: str, pid: Path) -> None:
    if what:
        pid.write_text(str(os.getpid()))
    match what:
        case "raise":
            raise ValueError(f"the source answered 503 for {day}")
        case "memory":
            raise MemoryError("there is no more of it")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(600)
        case "spin":  # as native code does, which hears no signal
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
            while True:
                time.sleep(600)
        case _:
            pass


class PlacedLakehouse(Lakehouse):
    """A lakehouse whose functions are called in the place that is tried out, but for those that are called here."""

    elsewhere: Place | None = None
    here: Collection[str] = ()

    def place(self, asset: Asset) -> Place | None:
        """The place, for each asset that declares one."""
        return self.elsewhere if asset.compute is not None and asset.key not in self.here else None


@contextmanager
def script_in(folder: Path, told: Mapping[str, str]) -> Iterator[None]:
    """Have what is to happen to which day written down in a folder, and found there."""
    (folder / "script.json").write_text(json.dumps(told))
    _SOMEWHERE.append(folder)
    try:
        yield
    finally:
        _SOMEWHERE.pop()


class PlaceConformance:
    """What has to be so of every place.

    Subclass it in a test module, and give it a fixture ``place`` that makes one, and one called ``storage``: a root
    that both ends reach. The functions are those of this module, so it has to be installed at the other end.

    Attributes:
        apart: whether it is another process, which may die by itself
        hurry: seconds that suffice there to begin
    """

    apart: ClassVar[bool] = True
    hurry: ClassVar[float] = 10.0

    @pytest.fixture
    def storage(self, tmp_path: Path) -> str:
        """A root that both ends reach."""
        return str(tmp_path / "data")

    @pytest.fixture
    def lake(self, place: Place, storage: str, tmp_path: Path) -> Iterator[Lakehouse]:
        """A lakehouse at the place."""
        lake = PlacedLakehouse([doubled, read], storage=storage, lineage=f"sqlite:///{tmp_path}/facts.db")
        lake.elsewhere = place
        with script_in(tmp_path, {}):
            yield lake

    @staticmethod
    def tell(folder: Path, told: Mapping[str, str]) -> None:
        """Say what is to happen to which day."""
        (folder / "script.json").write_text(json.dumps(told))

    @staticmethod
    def run(lake: Lakehouse, what: str = "bronze.numbers", days: str = "2013-01-01...2013-01-04") -> Run:
        """Build some days."""
        return lake.materialize(what, days, engine="inline", raise_on_failure=False)

    @staticmethod
    def see_ended(pid: int) -> None:
        """See that a process ends."""
        end = time.monotonic() + 60
        while Path(f"/proc/{pid}/stat").exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}/stat").exists()

    @staticmethod
    def left(lake: Lakehouse) -> list[str]:
        """What lies beside the published files of the table."""
        table = lake.table(lake.graph["bronze.numbers"])
        location: Any = getattr(table, "location", None)
        if location is None or not (location.path is None or location.path.exists()):
            return []
        listed = [str(found["path"]) for page in location.store().list() for found in page]
        used = {uri.removeprefix(f"{table.uri}/") for uri in table.files()} if table.version() is not None else set()
        return [path for path in listed if path.startswith("_staged-") and path not in used]

    # ── what goes well ────────────────────────────────────────────────────────────────────

    def test_what_is_made_elsewhere_is_what_is_made_here(
        self, lake: PlacedLakehouse, storage: str, tmp_path: Path
    ) -> None:
        run = self.run(lake, "+silver.doubled")
        here = PlacedLakehouse([doubled], storage=f"{storage}-here", lineage=f"sqlite:///{tmp_path}/here.db")
        wanted = self.run(here, "+silver.doubled")
        run.raise_on_failure()
        wanted.raise_on_failure()
        for key in ("bronze.numbers", "silver.doubled"):
            made, same = (one.frame(key).sort("date").collect() for one in (run, wanted))
            polars.testing.assert_frame_equal(made, same)
            (fact,), (expected,) = (
                [f for f in one.facts if f.asset == key and f.status is Status.PUBLISHED] for one in (run, wanted)
            )
            told = ("partitions", "digests", "rows", "code_version", "schema_version", "version", "checks")
            assert {name: getattr(fact, name) for name in told} == {name: getattr(expected, name) for name in told}
        assert [pin.version for f in run.facts if f.asset == "silver.doubled" for pin in f.inputs] == [0]
        assert self.left(lake) == []

    def test_files_are_landed_and_read_elsewhere(self, lake: PlacedLakehouse) -> None:
        run = self.run(lake, "+silver.read", "2013-01-01...2013-01-02").raise_on_failure()
        assert run.frame("silver.read").sort("date").collect()["text"].to_list() == [
            "It is 2013-01-01.",
            "It is 2013-01-02.",
        ]
        table = lake.table(lake.graph["bronze.letters"])
        paths = table.scan().sort("date").collect()["_path"].to_list()
        assert [bytes(table.objects().get(path).bytes()) for path in paths] == [
            b"It is 2013-01-01.\n",
            b"It is 2013-01-02.\n",
        ]
        again = self.run(lake, "bronze.letters", "2013-01-01...2013-01-02").raise_on_failure()
        assert again.facts[-1].unchanged == (("2013-01-01", "2013-01-02"),)
        assert table.scan().sort("date").collect()["_path"].to_list() == paths, "what is there is not stored again"
        assert len([one["path"] for page in table.objects().list("_files") for one in page]) == 2

    def test_files_of_what_fails_elsewhere_are_removed(self, lake: PlacedLakehouse, tmp_path: Path) -> None:
        self.tell(tmp_path, {"2013-01-02": "raise" if not self.apart else "kill"})
        run = self.run(lake, "bronze.letters", "2013-01-02")
        assert not run.ok
        store = lake.table(lake.graph["bronze.letters"]).objects()
        assert [one["path"] for page in store.list() for one in page] == []

    def test_what_checks_hold_back_is_held_back_here(self, lake: PlacedLakehouse, tmp_path: Path) -> None:
        self.tell(tmp_path, {"2013-01-02": "null"})
        run = self.run(lake)
        assert list(run.published("bronze.numbers")) == ["2013-01-01", "2013-01-03", "2013-01-04"]
        (held,) = [f for f in run.facts if f.status is Status.REJECTED]
        assert held.quarantine
        assert lake.table(lake.graph["bronze.numbers"]).quarantined(held.quarantine).collect().height == 1

    def test_an_input_is_read_at_the_version_of_the_plan(self, lake: PlacedLakehouse) -> None:
        self.run(lake)
        plan = lake.plan("silver.doubled", "2013-01-01")
        (step,) = plan.steps
        assert step.inputs[0].version == 0
        self.run(lake, days="2013-01-05")
        run = self.run(lake, "silver.doubled", "2013-01-05")
        (fact,) = run.facts
        assert [pin.version for pin in fact.inputs] == [1]

    def test_an_order_that_is_brought_twice_is_done_once(self, place: Place, lake: PlacedLakehouse) -> None:
        class Twice(_Through):
            def carry_out(self, order: Order, stop: Stop) -> None:
                super().carry_out(order, stop)
                before = lake.table(lake.graph["bronze.numbers"]).note(order.attempt, MANIFEST)
                again = carry_out(order.uri)
                assert again.rows is None
                assert again.manifest.model_dump_json().encode() == before

        lake.elsewhere = Twice(place)
        self.run(lake).raise_on_failure()
        assert self.left(lake) == []

    # ── what goes badly ───────────────────────────────────────────────────────────────────

    def test_what_the_function_raises_arrives_with_its_traceback(self, lake: PlacedLakehouse, tmp_path: Path) -> None:
        self.tell(tmp_path, {"2013-01-02": "raise"})
        run = self.run(lake)
        # One bad partition is one bad partition, wherever it is made.
        assert list(run.published("bronze.numbers")) == ["2013-01-01", "2013-01-03", "2013-01-04"]
        (result,) = run.results
        assert "the source answered 503 for 2013-01-02" in str(result.error)
        assert isinstance(result.cause, StepError)
        traced = str(result.cause.__cause__)
        assert "_happen(told.get(day" in traced
        assert 'raise ValueError(f"the source answered 503' in traced
        (failed,) = [f for f in run.facts if f.status is Status.FAILED]
        assert "the source answered 503 for 2013-01-02" in failed.reason
        assert self.left(lake) == []

    def test_what_computing_the_rows_raises_arrives_too(self, lake: PlacedLakehouse, tmp_path: Path) -> None:
        self.tell(tmp_path, {"2013-01-02": "raise late"})
        run = self.run(lake)
        assert list(run.published("bronze.numbers")) == ["2013-01-01", "2013-01-03", "2013-01-04"]
        (result,) = run.results
        assert "the source broke off at 2013-01-02" in str(result.error)
        assert self.left(lake) == []

    def test_what_lies_in_no_partition_is_found_here(self, lake: PlacedLakehouse, tmp_path: Path) -> None:
        self.tell(tmp_path, {"2013-01-02": "outside"})
        run = self.run(lake)
        assert list(run.published("bronze.numbers")) == ["2013-01-01", "2013-01-03", "2013-01-04"]

    def test_what_fails_for_want_of_memory_is_not_divided(self, lake: PlacedLakehouse, tmp_path: Path) -> None:
        self.tell(tmp_path, {"2013-01-02": "memory"})
        run = self.run(lake)
        (result,) = run.results
        assert not result.published
        assert isinstance(result.cause, ComputeError)
        assert "MemoryError: there is no more of it" in str(result.error)
        assert len(run.facts) == 0 or {f.status for f in run.facts} == {Status.FAILED}

    def test_other_code_is_refused_and_both_are_named(self, place: Place, lake: PlacedLakehouse) -> None:
        asset = lake.graph["bronze.numbers"]
        lake.elsewhere = _OtherCode(place)
        run = self.run(lake)
        (result,) = run.results
        assert isinstance(result.cause, CodeMismatch)
        assert asset.code_version in str(result.error)
        assert "code-of-yesterday" in str(result.error)
        assert not result.published
        assert self.left(lake) == []

    @pytest.mark.parametrize("how", ["kill", "exit"])
    def test_what_dies_publishes_nothing_and_the_next_run_mends_it(
        self, lake: PlacedLakehouse, tmp_path: Path, how: str
    ) -> None:
        if not self.apart:
            pytest.skip("it would be this process")
        self.tell(tmp_path, {"2013-01-02": how})
        run = self.run(lake)
        (result,) = run.results
        assert isinstance(result.cause, ComputeError)
        assert not result.published
        (fact,) = lake.lineage_store.facts("bronze.numbers")
        assert fact.status is Status.FAILED
        assert fact.reason == result.error
        assert self.left(lake) == []
        self.tell(tmp_path, {})
        assert lake.refresh("bronze.numbers", "2013-01-01...2013-01-04", engine="inline").ok

    @pytest.mark.parametrize("how", ["sleep", "spin"])
    def test_what_takes_too_long_is_ended_at_its_deadline(
        self, place: Place, lake: PlacedLakehouse, tmp_path: Path, how: str
    ) -> None:
        if not self.apart:
            pytest.skip("it would be this process")
        self.tell(tmp_path, {"2013-01-02": how})
        lake.elsewhere = _InAHurry(place, self.hurry)
        run = self.run(lake)
        (result,) = run.results
        assert isinstance(result.cause, ComputeError)
        assert "was not done by its deadline" in str(result.error)
        assert "time.sleep(600)" in str(result.cause.__cause__)
        assert self.left(lake) == []

    def test_what_nobody_waits_for_any_more_is_ended(self, place: Place, lake: PlacedLakehouse, tmp_path: Path) -> None:
        if not self.apart:
            pytest.skip("it would be this process")
        self.tell(tmp_path, {"2013-01-02": "sleep"})
        pid, stop = tmp_path / "pid", Stop()
        lake.elsewhere = _WithStop(place, stop)
        waiting = threading.Thread(target=_once, args=(pid, lambda: stop.now("the run was interrupted")))
        waiting.start()
        run = self.run(lake)
        waiting.join()
        (result,) = run.results
        assert isinstance(result.cause, ComputeError)
        assert "the run was interrupted" in str(result.error)
        assert self.left(lake) == []
        self.see_ended(int(pid.read_text()))

    # ── orders ────────────────────────────────────────────────────────────────────────────

    def test_an_order_is_json_and_says_all_that_there_is_to_know(self, place: Place, lake: PlacedLakehouse) -> None:
        kept: list[bytes] = []
        table = lake.table(lake.graph["silver.doubled"])
        self.run(lake)

        class Reading(_Through):
            def carry_out(self, order: Order, stop: Stop) -> None:
                text = table.note(order.attempt, ORDER)
                assert text is not None
                kept.append(text)
                super().carry_out(order, stop)

        lake.elsewhere = Reading(place)
        self.run(lake, "silver.doubled").raise_on_failure()
        said = json.loads(kept[0])
        assert said["asset"] == {
            "key": "silver.doubled",
            "module": "lakehouse.testing.places",
            "name": "doubled",
            "table": table.uri,
        }
        assert [(o["key"], o["table"]) for o in said["others"]] == [
            ("bronze.numbers", lake.table(lake.graph["bronze.numbers"]).uri)
        ]
        (call,) = said["calls"]
        assert call["partitions"] == [["2013-01-01", "2013-01-04"]]
        assert [(i["parameter"], i["version"], i["partitions"]) for i in call["inputs"]] == [
            ("numbers", 0, [["2013-01-01", "2013-01-04"]])
        ]
        assert read_order(kept[0], "").model_dump_json().encode() == kept[0]
        numbers = lake.table(lake.graph["bronze.numbers"])
        pinned = numbers.pinned(daily.of_keys(["2013-01-01", "2013-01-04"]), version=0)
        rows = call["inputs"][0]["rows"]
        assert (rows is None) == (pinned is None)
        if pinned is not None:
            assert rows["columns"] == pinned.columns
            assert {f"{numbers.uri}/{path}" for path in rows["files"] + rows["shared"]} == set(numbers.files(version=0))

    def test_what_an_order_names_is_read_and_no_log(self, place: Place, lake: PlacedLakehouse) -> None:
        self.run(lake)
        if lake.table(lake.graph["bronze.numbers"]).pinned() is None:
            pytest.skip("its rows are in no files")

        class Lost(_Through):
            def carry_out(self, order: Order, stop: Stop) -> None:
                (call,) = order.calls
                (rows,) = call.inputs
                gone = call.model_copy(update={"inputs": (rows.model_copy(update={"version": 999}),)})
                super().carry_out(_rewritten(order, calls=(gone,)), stop)

        lake.elsewhere = Lost(place)
        run = self.run(lake, "silver.doubled").raise_on_failure()
        assert run.frame("silver.doubled").sort("date").collect()["n"].to_list() == [2, 4, 6, 8]

    def test_what_was_withdrawn_is_not_done(self, place: Place, lake: PlacedLakehouse) -> None:
        class Late(_Through):
            def carry_out(self, order: Order, stop: Stop) -> None:
                orders.append(order)
                raise ComputeError("nobody waits for it")

        orders: list[Order] = []
        lake.elsewhere = Late(place)
        self.run(lake)
        with pytest.raises(ComputeError, match="withdrawn"):
            carry_out(orders[0].uri)
        assert self.left(lake) == []

    def test_what_is_withdrawn_meanwhile_leaves_nothing(self, place: Place, lake: PlacedLakehouse) -> None:
        table: Table = lake.table(lake.graph["bronze.numbers"])

        class Withdrawing(_Through):
            def carry_out(self, order: Order, stop: Stop) -> None:
                with pytest.MonkeyPatch.context() as patch:

                    def stage(*given: Any) -> Any:
                        done = staged(*given)
                        table.discard(order.attempt)
                        staged(table, pl.LazyFrame({"n": [1], "_partition": ["2013-01-01"]}), order.attempt)
                        return done

                    staged = type(table).stage
                    patch.setattr(type(table), "stage", stage)
                    with pytest.raises(ComputeError, match="withdrawn"):
                        carry_out(order.uri)
                raise ComputeError("nobody waits for it")

        lake.elsewhere = Withdrawing(place)
        assert not self.run(lake).ok
        assert self.left(lake) == []

    def test_what_has_no_name_elsewhere_is_refused(self, place: Place, lake: PlacedLakehouse) -> None:
        @bronze(compute=Process())
        def nameless() -> pl.LazyFrame:
            return pl.LazyFrame({"n": [1]})

        other = PlacedLakehouse([nameless], storage=f"{lake.settings.storage}-other", lineage=lake.lineage_store)
        other.elsewhere = place
        run = other.materialize(nameless, engine="inline", raise_on_failure=False)
        (result,) = run.results
        assert isinstance(result.cause, DefinitionError)
        assert "isn't found there by a name" in str(result.error)


class _Through:
    """A place that does as another one does."""

    def __init__(self, place: Place) -> None:
        self.place, self.shared, self.seconds, self.pending = place, place.shared, place.seconds, place.pending

    def carry_out(self, order: Order, stop: Stop) -> None:
        self.place.carry_out(order, stop)

    def __str__(self) -> str:
        return str(self.place)


class _OtherCode(_Through):
    """A place whose orders mean other code than there is."""

    def carry_out(self, order: Order, stop: Stop) -> None:
        super().carry_out(_rewritten(order, code=Code.of("code-of-yesterday", order.code.schema_)), stop)


class _InAHurry(_Through):
    """A place whose orders have to be done soon."""

    def __init__(self, place: Place, time: float) -> None:
        super().__init__(place)
        self.time = timedelta(seconds=time)

    def carry_out(self, order: Order, stop: Stop) -> None:
        super().carry_out(_rewritten(order, deadline=datetime.now(UTC) + self.time), stop)


class _WithStop(_Through):
    """A place that hears another word to stop."""

    def __init__(self, place: Place, stop: Stop) -> None:
        super().__init__(place)
        self.stop = stop

    def carry_out(self, order: Order, stop: Stop) -> None:
        super().carry_out(order, self.stop)


def _rewritten(order: Order, **changes: Any) -> Order:
    """The order, written down with other words."""
    other = order.model_copy(update=changes)
    table = open_table(order.asset.table, partitioned=True)
    table.discard(order.attempt)
    table.put_note(order.attempt, ORDER, other.model_dump_json().encode())
    return other


def _once(there: Path, then: Callable[[], None]) -> None:
    """Do something once a file is there."""
    end = time.monotonic() + 120
    while not there.exists() and time.monotonic() < end:
        time.sleep(0.02)
    then()
