"""A change of columns that breaks what is registered is stopped before anything is published."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl
import pytest

from lakehouse import Daily, From, Lakehouse, MaterializationFailed, bronze, gold, silver
from lakehouse.definitions.asset import Asset
from lakehouse.errors import LakehouseError, SchemaBreak, SchemaRegistryError
from lakehouse.lineage import LineageStore, Status
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.maintenance import Maintenance
from lakehouse.registries import open_contracts
from lakehouse.schemas.columns import TableSchema
from lakehouse.schemas.compatibility import Compatibility
from lakehouse.schemas.contracts import SchemaContracts
from lakehouse.schemas.registry import EmbeddedRegistry, Registered
from lakehouse.settings import load_settings

ROWS = {"n": [1], "m": ["a"]}


class First(pa.DataFrameModel):
    n: pl.Int64
    m: pl.String = pa.Field(nullable=True, description="some text")


class More(First):
    x: pl.Int8 = pa.Field(nullable=True)


class Less(pa.DataFrameModel):
    n: pl.Int64


class OnlyM(pa.DataFrameModel):
    m: pl.String = pa.Field(nullable=True)


class Lake(Lakehouse):
    """One whose registry counts what it is asked."""

    requests: list[str]

    @cached_property
    def schemas(self) -> SchemaContracts:
        found = open_contracts(self.graph, self.lineage_store, self.settings)
        return replace(found, registry=Counted(found.registry, self.requests))


class Counted:
    uri = "counted"

    def __init__(self, registry: Any, requests: list[str]) -> None:
        self.registry, self.requests = registry, requests

    def latest(self, asset: str) -> Registered | None:
        self.requests.append(f"latest {asset}")
        found: Registered | None = self.registry.latest(asset)
        return found

    def versions(self, asset: str) -> list[Registered]:
        self.requests.append(f"versions {asset}")
        found: list[Registered] = self.registry.versions(asset)
        return found

    def register(self, asset: str, schema: TableSchema, *, mode: Compatibility = Compatibility.NONE) -> int:
        self.requests.append(f"register {asset} {mode}")
        return int(self.registry.register(asset, schema, mode=mode))


def lake_of(folder: Path, model: Any, frame: Any = None, *, version: str | None = None, **settings: Any) -> Lake:
    """Flights, and three that are made from them: one reads `n`, one `m`, one doesn't say what."""

    def flights() -> pl.LazyFrame:
        made = ROWS if frame is None else frame
        return made() if callable(made) else pl.LazyFrame(made)

    flights.__annotations__["return"] = pl.LazyFrame if model is None else Annotated[pl.LazyFrame, model]
    made = silver(code_version=version)(flights)

    def consumer(name: str, wanted: Any) -> Asset:
        def function(flights: pl.LazyFrame) -> pl.LazyFrame:
            return flights.select(pl.len())

        function.__name__ = name
        hint = Annotated[pl.LazyFrame, From(made), wanted] if wanted else Annotated[pl.LazyFrame, From(made)]
        function.__annotations__.update({"flights": hint, "return": pl.LazyFrame})
        return gold(function)

    # The graph itself refuses who asks for what isn't promised.
    names = ["by_n", "by_m", "anyhow"] if model in (First, More) else ["by_n", "anyhow"]
    models = {"by_n": Less if model and hasattr(model, "n") else None, "by_m": OnlyM, "anyhow": None}
    lake = Lake(
        [made, *(consumer(name, models[name]) for name in names)],
        storage=folder / "data",
        lineage=f"sqlite:///{folder}/lineage.db",
        settings=load_settings(engine="inline", **settings),
    )
    lake.requests = []
    return lake


def registered(lake: Lakehouse) -> list[list[str]]:
    return [list(one.schema.by_name) for one in lake.schemas.registry.versions("silver.flights")]


def stopped(lake: Lakehouse) -> SchemaBreak:
    with pytest.raises(MaterializationFailed) as caught:
        lake.materialize("silver.flights")
    assert isinstance(caught.value.__cause__, SchemaBreak)
    return caught.value.__cause__


def test_the_first_publication_registers_and_its_record_says_so(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, First)
    (fact,) = lake.materialize("silver.flights").facts
    assert fact.registered == 1
    assert fact == lake.lineage_store.facts("silver.flights")[-1]
    (one,) = lake.schemas.registry.versions("silver.flights")
    assert [(c.name, c.type, c.nullable, c.description) for c in one.schema.columns] == [
        ("n", "Int64", False, ""),
        ("m", "String", True, "some text"),
    ]


def test_a_schema_that_stays_costs_no_request_and_one_that_changes_two(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, First)
    lake.materialize("silver.flights")
    assert lake.requests == ["latest silver.flights", "register silver.flights full"]
    lake = lake_of(tmp_path, First)
    for _ in range(3):
        (fact,) = lake.materialize("silver.flights").facts
        assert (fact.registered, fact.columns) == (1, "")
    assert lake.requests == []
    lake = lake_of(tmp_path, More, {**ROWS, "x": pl.Series([None], dtype=pl.Int8)})
    (fact,) = lake.materialize("silver.flights").facts
    assert fact.registered == 2
    assert lake.requests == ["latest silver.flights", "register silver.flights full"]


def test_many_partitions_cost_no_more_than_one(tmp_path: Path) -> None:
    daily = Daily("2024-01-01", end="2024-02-01", column="day")

    @bronze(partitions=daily)
    def raw(partitions: Any) -> Annotated[pl.LazyFrame, First]:
        return pl.LazyFrame({"day": partitions.keys()}).with_columns(n=pl.lit(1, dtype=pl.Int64), m=pl.lit("a"))

    lake = Lake([raw], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    lake.requests = []
    lake.materialize("bronze.raw", "2024-01-01...2024-01-31", engine="inline", chunk=3)
    assert lake.requests == ["latest bronze.raw", "register bronze.raw full"]
    assert {fact.registered for fact in lake.lineage_store.facts("bronze.raw")} == {1}


def test_a_break_is_stopped_naming_the_column_and_who_reads_it(tmp_path: Path) -> None:
    lake_of(tmp_path, First).materialize("*")
    lake = lake_of(tmp_path, First, lambda: pl.LazyFrame(ROWS).with_columns(m=pl.lit("b")))
    before = lake.load("silver.flights").collect()
    version = lake.table(lake.graph["silver.flights"]).version()

    lake = lake_of(tmp_path, Less, {"n": [1]})
    error = stopped(lake)
    assert "'m' is gone" in error.message
    assert "version 1" in error.message
    assert "gold.anyhow" in error.message, "it doesn't say what it reads"
    assert "gold.by_n" not in error.message, "it reads another column"
    assert error.hint is not None
    assert "lakehouse schemas approve silver.flights" in error.hint
    assert lake.load("silver.flights").collect().equals(before), "nothing was published"
    assert lake.table(lake.graph["silver.flights"]).version() == version
    last = lake.lineage_store.facts("silver.flights")[-1]
    assert (last.status, last.registered) == (Status.FAILED, None)
    assert "'m' is gone" in last.reason
    assert len(list((tmp_path / "data" / "silver" / "flights").glob("_staged-*"))) == 1, "what was published before"
    assert registered(lake) == [["n", "m"]]


def test_the_columns_that_a_consumer_asks_for_are_named(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, First)
    flights = lake.graph["silver.flights"]
    assert lake.schemas.readers(flights, ["m"]) == {"gold.by_m": ["m"], "gold.anyhow": []}
    assert lake.schemas.readers(flights, ["n", "m"])["gold.by_n"] == ["n"]


def test_what_is_approved_passes_and_nothing_else(tmp_path: Path) -> None:
    lake_of(tmp_path, First).materialize("silver.flights")
    lake = lake_of(tmp_path, Less, {"n": [1]})
    flights = lake.graph["silver.flights"]
    with pytest.raises(LakehouseError, match=r"no schema of silver\.flights waits"):
        lake.schemas.approve(flights)
    stopped(lake)
    refused = lake.schemas.refused(flights)
    assert refused is not None
    assert [str(one) for one in refused.breaking] == ["'m' is gone"]

    class Other(pa.DataFrameModel):
        k: pl.Int64

    lake.schemas.approve(flights)
    assert lake.schemas.refused(flights) is None
    stopped(lake_of(tmp_path, Other, {"k": [1]}))
    run = lake_of(tmp_path, Less, {"n": [1]}).materialize("silver.flights")
    assert [fact.registered for fact in run.facts] == [2]
    assert registered(lake) == [["n", "m"], ["n"]]
    # Back and forth once more: what was approved followed on the first version, and follows on no other.
    lake_of(tmp_path, First).materialize("silver.flights")
    stopped(lake_of(tmp_path, Other, {"k": [1]}))


def test_a_new_version_in_code_lets_a_break_through_and_the_same_one_does_not(tmp_path: Path) -> None:
    lake_of(tmp_path, First, version="1").materialize("silver.flights")
    stopped(lake_of(tmp_path, Less, {"n": [1]}, version="1"))
    assert lake_of(tmp_path, Less, {"n": [1]}, version="2").materialize("silver.flights").ok


@pytest.mark.parametrize("mode", Compatibility)
def test_a_mode_may_be_set_by_selection(tmp_path: Path, mode: Compatibility) -> None:
    modes = {"*": "full", "silver.*": str(mode)}
    lake_of(tmp_path, First, compatibility=modes).materialize("silver.flights")
    lake = lake_of(tmp_path, Less, {"n": [1]}, compatibility=modes)
    if mode in (Compatibility.FULL, Compatibility.FORWARD):
        stopped(lake)
    else:
        assert lake.materialize("silver.flights").ok


def test_an_asset_that_promises_nothing_is_told_of_and_held_to_it_only_where_settings_say_so(tmp_path: Path) -> None:
    lake_of(tmp_path, None).materialize("silver.flights")
    lake = lake_of(tmp_path, None, {"n": [1]})
    run = lake.materialize("silver.flights")
    assert run.ok
    assert [c.message for fact in run.facts for c in fact.checks if not c.passed] == ["there is no 'm' any more"]
    strict = lake_of(tmp_path, None, {"k": [1]}, compatibility={"silver.flights": "full"})
    assert "'n' is gone (renamed to 'k'?)" in stopped(strict).message
    # To promise what was not promised before is no break.
    assert lake_of(tmp_path, First).materialize("silver.flights").ok


def test_optional_columns_may_come_and_go(tmp_path: Path) -> None:
    class Optional(Less):
        m: pl.String | None = pa.Field(nullable=True)

    for frame in (ROWS, {"n": [1]}, ROWS):
        assert lake_of(tmp_path, Optional, frame).materialize("silver.flights").ok
    assert registered(lake_of(tmp_path, Optional)) == [["n", "m"]]


def kill(where: str, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a process end at some moment, as far as that can be done from inside."""

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    target: tuple[Any, str] = {
        "registering": (EmbeddedRegistry, "register"),
        "recording": (SqliteLineage, "append"),
    }[where]
    with monkeypatch.context() as patched:
        patched.setattr(*target, killed)
        with pytest.raises(KeyboardInterrupt):
            lake.materialize("silver.flights")


@pytest.mark.parametrize("where", ["registering", "recording"])
def test_what_a_kill_left_unregistered_the_next_run_registers(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake_of(tmp_path, First).materialize("silver.flights")
    more = {**ROWS, "x": pl.Series([None], dtype=pl.Int8)}
    kill(where, lake_of(tmp_path, More, more), monkeypatch)
    # Whatever that one makes, and also if there is nothing to make: the schema in between is known.
    lake = lake_of(tmp_path, More, more)
    lake.refresh("silver.flights")
    assert registered(lake) == [["n", "m"], ["n", "m", "x"]]
    assert lake.lineage_store.facts("silver.flights")[-1].registered == 2
    assert "'x' is gone" in stopped(lake_of(tmp_path, First)).message


def test_a_registry_out_of_reach_fails_no_publication_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lake = lake_of(tmp_path, First)

    def down(*_: Any, **__: Any) -> Any:
        raise SchemaRegistryError("the registry can't be reached")

    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedRegistry, "register", down)
        run = lake.materialize("silver.flights")
    assert run.ok
    (fact,) = run.facts
    assert fact.registered is None
    assert [c.message for c in fact.checks if not c.passed] == [
        "published, but its schema isn't registered: the registry can't be reached"
    ]
    assert "the registry can't be reached" in caplog.text
    assert registered(lake) == []
    (fact,) = lake_of(tmp_path, First).materialize("silver.flights").facts
    assert fact.registered == 1


def test_maintenance_in_between_makes_no_difference(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, First)
    lake.materialize("silver.flights")
    Maintenance(lake).wipe("silver.flights").apply()
    stopped(lake_of(tmp_path, Less, {"n": [1]}))
    lake = lake_of(tmp_path, First)
    lake.materialize("silver.flights")
    assert registered(lake) == [["n", "m"]]


def test_a_renamed_asset_keeps_its_versions(tmp_path: Path) -> None:
    lake_of(tmp_path, First).materialize("silver.flights")

    def trips() -> Annotated[pl.LazyFrame, Less]:
        return pl.LazyFrame({"n": [1]})

    settings = load_settings(engine="inline")
    store: LineageStore = SqliteLineage(tmp_path / "lineage.db")
    lake = Lakehouse([silver(trips)], storage=tmp_path / "data", lineage=store, settings=settings)
    Maintenance(lake).rename("silver.flights", "silver.trips").apply()
    assert [list(one.schema.by_name) for one in lake.schemas.registry.versions("silver.trips")] == [["n", "m"]]
    with pytest.raises(MaterializationFailed, match="'m' is gone"):
        lake.materialize("silver.trips")


def test_facts_without_columns_are_read_as_ever(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, First)
    lake.materialize("silver.flights")
    store = lake.lineage_store
    (fact,) = store.facts("silver.flights")
    older = fact.model_copy(update={"columns_version": "", "registered": None, "columns": ""})
    assert '"columns' not in older.to_json()
    store.remove("silver.flights", [fact.id])
    store.append([older])
    (one,) = lake_of(tmp_path, First).materialize("silver.flights").facts
    assert one.registered == 1


def test_the_error_arrives_whole_from_another_process(tmp_path: Path) -> None:
    error = SchemaBreak("no", refused="[]", hint="h")
    again: SchemaBreak = pickle.loads(pickle.dumps(error))
    assert (again.message, again.refused, again.hint, again.retryable) == ("no", "[]", "h", False)


def test_where_what_is_registered_cannot_be_read_nothing_is_published_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake_of(tmp_path, First).materialize("silver.flights")

    def down(*_: Any, **__: Any) -> Any:
        raise SchemaRegistryError("the registry can't be reached")

    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedRegistry, "latest", down)
        # What stays as it is needs no registry.
        assert lake_of(tmp_path, First).materialize("silver.flights").ok
        lake = lake_of(tmp_path, Less, {"n": [1]})
        with pytest.raises(MaterializationFailed, match="the registry can't be reached"):
            lake.materialize("silver.flights")
    assert lake.lineage_store.facts("silver.flights")[-1].status is Status.FAILED
    assert lake.load("silver.flights").collect().columns == ["n", "m"]
