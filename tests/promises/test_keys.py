"""A key is one key: whatever it holds, every verb means it and no other, or it is refused before anything is built."""

from __future__ import annotations

import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lakehouse import Context, Daily, Dynamic, Lakehouse, Multi, Static, bronze
from lakehouse.cli import main
from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.lineage import LineageStore, Status
from lakehouse.lineage.dynamic_partitions import registered
from lakehouse.lineage.recorder import Recorder
from lakehouse.maintenance import Maintenance
from lakehouse.partitions import Partitions
from lakehouse.partitions.core import LONGEST_TOKEN
from lakehouse.testing import MemoryLineage

DAYS = ("2013-01-01", "2013-01-02")

# Pieces of what has a meaning elsewhere: put together they make keys that are each other's parts.
PIECES = ["a", "b", ",", "...", "*", " ", ".", "..", "/", "~", "~nowhere", "%2C", "%", "é", "e\u0301", "A", "-", "=",
          "--yes", "'", '"', "\\", "[b]", "{x}", "$HOME", "\u200d", "日", "2013-01-01", "None", "0"]  # fmt: skip
KEY = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join) | st.text(min_size=1, max_size=12)
KEYS = st.lists(KEY, min_size=2, max_size=5, unique=True)

ODD = [
    "b,c",
    "b",
    "c",
    "b, c",
    " b",
    "*",
    "...",
    "a...b",
    "..",
    "~nowhere",
    "%2C",
    "ewr",
    "EWR",
    "é",
    "e\u0301",
    "a.",
    "a ",
]


def _lake(folder: str, partitions: Partitions) -> Lakehouse:
    @bronze(partitions=partitions)
    def sales(context: Context) -> pl.LazyFrame:
        dimensions = partitions.dimensions if isinstance(partitions, Multi) else {"key": partitions}
        rows = [
            dict(zip(dimensions, key.split("|") if len(dimensions) > 1 else [key], strict=True))
            for key in _keys(context)
        ]
        return pl.LazyFrame(rows, schema=dict.fromkeys(dimensions, pl.String))

    return Lakehouse([sales], storage=folder, lineage=_lineage(folder))


def _lineage(folder: str) -> str | LineageStore:
    return MemoryLineage() if folder == "memory://" else f"sqlite:///{folder}/lineage.db"


def _keys(context: Context) -> list[str]:
    assert context.partitions is not None
    return list(context.partitions.keys())


def _static(keys: list[str]) -> tuple[Partitions, list[str]]:
    return Static(keys, column="key"), keys


def _dynamic(keys: list[str]) -> tuple[Partitions, list[str]]:
    return Dynamic("customers", column="key"), keys


def _several(keys: list[str]) -> tuple[Partitions, list[str]]:
    days = Daily(DAYS[0], end="2013-01-03", column="date")
    return Multi({"key": Static(keys, column="key"), "date": days}), [f"{key}|{day}" for key in keys for day in DAYS]


def _several_dynamic(keys: list[str]) -> tuple[Partitions, list[str]]:
    days = Daily(DAYS[0], end="2013-01-03", column="date")
    several = Multi({"date": days, "key": Dynamic("customers", column="key")})
    return several, [f"{day}|{key}" for key in keys for day in DAYS]


def _rows(lake: Lakehouse, wanted: Any = None) -> list[str]:
    frame = lake.load("bronze.sales", wanted).collect()
    return sorted("|".join(row) for row in frame.iter_rows())


@pytest.mark.parametrize("make", [_static, _dynamic, _several, _several_dynamic])
@given(keys=KEYS, data=st.data())
@example(keys=ODD, data=None)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_verb_means_the_key_that_is_named(make: Callable[..., Any], keys: list[str], data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            partitions, every = make(keys)
            lake = _lake(folder, partitions)
            if partitions.unending:
                lake.add_partitions("bronze.sales", keys)
        except (DefinitionError, PartitionError):
            assert not list(Path(folder).rglob("_delta_log")), "refused at once"
            return
        assert lake.materialize("bronze.sales", every, engine="inline").ok
        assert _rows(lake) == sorted(every)
        assert set(lake.status()[0].present) == set(every)
        chosen = every[0] if data is None else data.draw(st.sampled_from(every))
        rest = sorted(set(every) - {chosen})
        for wanted in (
            chosen,
            [chosen],
            (chosen,),
            {chosen},
            iter([chosen]),
            lake.graph["bronze.sales"].partitions.of_keys([chosen]),
        ):
            assert _rows(lake, wanted) == [chosen]
        Maintenance(lake).forget("bronze.sales", [chosen]).apply()
        assert set(lake.status()[0].present) == set(rest)
        assert [str(part) for part in lake.plan("bronze.sales", refresh=True).partitions("bronze.sales")] == [chosen]
        assert lake.refresh("bronze.sales", engine="inline").ok
        Maintenance(lake).wipe("bronze.sales", chosen).apply()
        assert _rows(lake) == rest
        assert set(lake.status()[0].present) == set(rest)
        if isinstance(partitions, Dynamic):
            _renamed(lake, rest)
            lake.remove_partitions("bronze.sales", chosen)
            assert set(registered(lake.lineage_store, partitions)) == {*rest[1:], "a new name, with a comma"}


def _renamed(lake: Lakehouse, rest: list[str]) -> None:
    new = "a new name, with a comma"
    Maintenance(lake).rename_partition("bronze.sales", rest[0], new).apply()
    assert _rows(lake) == sorted([new, *rest[1:]])
    assert set(lake.status()[0].present) == {new, *rest[1:]}


# ── text, and lists ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def customers(tmp_path: Path) -> Lakehouse:
    lake = _lake(str(tmp_path), Dynamic("customers", column="key"))
    lake.add_partitions("bronze.sales", ["b", "c", "b,c", "d", "a...b"])
    lake.materialize("bronze.sales", engine="inline")
    return lake


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ("b,c", ["a...b", "b", "c", "d"]),
        (["b", "c"], ["a...b", "b,c", "d"]),
        (["b,c", "d"], ["a...b", "b", "c"]),
        ("b, d", ["a...b", "b,c", "c"]),
        ("a...b", ["b", "b,c", "c", "d"]),
        ("a...b,d", ["b", "b,c", "c"]),
        ("*", []),
    ],
)
def test_text_is_a_key_if_there_is_one_and_a_list_holds_keys(
    customers: Lakehouse, wanted: Any, left: list[str]
) -> None:
    Maintenance(customers).wipe("bronze.sales", wanted).apply()
    assert _rows(customers) == left


@pytest.mark.parametrize("wanted", ["b,c,d", "d, b,c", ["*"], ["b, c"], ["d,b"], " b,c"])
def test_what_could_mean_others_changes_nothing(customers: Lakehouse, wanted: Any) -> None:
    if wanted == " b,c":
        customers.add_partitions("bronze.sales", [" b"])
        customers.materialize("bronze.sales", [" b"], engine="inline")
    before = _rows(customers)
    with pytest.raises(PartitionError):
        Maintenance(customers).wipe("bronze.sales", wanted)
    assert _rows(customers) == before


def test_a_key_that_left_the_register_is_still_one_key(customers: Lakehouse) -> None:
    customers.remove_partitions("bronze.sales", "b,c")
    Maintenance(customers).wipe("bronze.sales", "b,c").apply()
    assert _rows(customers) == ["a...b", "b", "c", "d"]


def test_a_key_named_like_all_is_one_key(tmp_path: Path) -> None:
    lake = _lake(str(tmp_path), Dynamic("customers", column="key"))
    lake.add_partitions("bronze.sales", ["*", "a"])
    lake.materialize("bronze.sales", engine="inline")
    Maintenance(lake).wipe("bronze.sales", "*").apply()
    assert _rows(lake) == ["a"]


def test_lists_of_time_hold_ranges_too(tmp_path: Path) -> None:
    daily = Daily("2013-01-01", end="2014-01-01")
    assert len(daily.select(["2013-01-01...2013-01-03", "2013-02"])) == 31
    several = Multi({"key": Static(["b", "b,c"]), "date": daily})
    assert several.select(["b,c|2013-01-01...2013-01-02"]).keys() == ["b,c|2013-01-01", "b,c|2013-01-02"]
    assert several.select([{"key": "b,c", "date": "2013-01-01"}]).keys() == ["b,c|2013-01-01"]
    assert several.select({"key": "b,c", "date": "2013-01-01"}).keys() == ["b,c|2013-01-01"]
    assert several.select({"key": ["b", "b,c"], "date": "2013-01-01"}).keys() == ["b|2013-01-01", "b,c|2013-01-01"]
    with pytest.raises(PartitionError):
        several.select(["*|2013-01-01"])


# ── what can be no key ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["", "a\x00b", "\ud800", "k" * 245, "日" * 28, "é" * 41 + "k"])
def test_what_no_path_can_hold_is_refused_where_it_is_declared_or_registered(key: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError):
        Static([key, "b"])
    with pytest.raises(DefinitionError):
        Multi({"key": Static([key, "b"]), "date": Daily("2013-01-01")})
    lake = _lake(str(tmp_path), Dynamic("customers", column="key"))
    with pytest.raises(PartitionError):
        lake.add_partitions("bronze.sales", ["b", key])
    assert not list(lake.present().keys["customers"]), "none of them is"


def test_what_ends_a_line_elsewhere_ends_none_in_a_tables_log(tmp_path: Path) -> None:
    keys = ["\x85", "\u2028", "\u2029", "\x0b", "\x1c", "\r\n", "b"]
    lake = _lake(str(tmp_path), Static(keys, column="key"))
    assert lake.materialize("bronze.sales", engine="inline").ok
    assert _rows(lake) == sorted(keys)
    Maintenance(lake).wipe("bronze.sales", ["\u2028"]).apply()
    assert _rows(lake) == sorted({*keys} - {"\u2028"})


@pytest.mark.parametrize("alphabet", ["k", "é", "日", "\U0001f600", "."])
def test_the_longest_key_of_any_alphabet_is_built(alphabet: str, tmp_path: Path) -> None:
    def longest(most: int) -> str:
        size = 1 if alphabet == "k" else 3 * len(alphabet.encode())
        return alphabet * (most // size)

    for place, (partitions, most) in enumerate(
        [(Static([longest(LONGEST_TOKEN)], column="key"), LONGEST_TOKEN), (Dynamic("customers", column="key"), 200)]
    ):
        lake = _lake(str(tmp_path / str(place)), partitions)
        if partitions.unending:
            lake.add_partitions("bronze.sales", longest(most))
        assert lake.materialize("bronze.sales", engine="inline").ok
        assert _rows(lake) == [longest(most)]


def test_keys_that_are_too_long_together_are_refused(tmp_path: Path) -> None:
    long, date = Static(["k" * 240, "b"], column="key"), Daily("2013-01-01", end="2013-01-02", column="date")
    with pytest.raises(DefinitionError, match="together too long"):
        Multi({"key": long, "date": date})
    customers, shops = Dynamic("customers", column="customer"), Dynamic("shops", column="shop")
    both = Multi({"customer": customers, "shop": shops, "date": date})
    assert both.room == (LONGEST_TOKEN - len("2013-01-01") - 2) // 2

    @bronze(partitions=both)
    def sales(context: Context) -> pl.LazyFrame:
        rows = [dict(zip(("customer", "shop", "date"), key.split("|"), strict=True)) for key in _keys(context)]
        return pl.LazyFrame(rows)

    @bronze(partitions=customers)
    def contracts(context: Context) -> pl.LazyFrame:
        return pl.LazyFrame({"customer": _keys(context)})

    lake = Lakehouse([sales, contracts], storage=tmp_path, lineage=f"sqlite:///{tmp_path}/lineage.db")
    with pytest.raises(PartitionError, match="it isn't said which are meant"):
        lake.add_partitions("bronze.sales", "x")
    for asset, dimension in (("bronze.sales", "customer"), ("bronze.contracts", None)):
        with pytest.raises(PartitionError, match="there is room for 116"):
            lake.add_partitions(asset, "k" * 117, dimension=dimension)
    lake.add_partitions("bronze.contracts", "k" * 116)
    lake.add_partitions("bronze.sales", "s" * 116, dimension="shop")
    assert lake.materialize("*", engine="inline").ok
    assert lake.load(sales).collect().height == 1

    # Registered by somebody who doesn't know of the other dimensions: told before anything is built.
    alone = Lakehouse([contracts], storage=tmp_path, lineage=f"sqlite:///{tmp_path}/lineage.db")
    alone.add_partitions("bronze.contracts", "k" * 130)
    with pytest.raises(PartitionError, match="together too long for a name in storage"):
        lake.plan("bronze.sales")
    with pytest.raises(PartitionError, match="together too long for a name in storage"):
        lake.plan("bronze.sales", [f"{'k' * 130}|{'s' * 116}|2013-01-01"])


# ── the command line ──────────────────────────────────────────────────────────────────────

PROJECT = """
import polars as pl
from lakehouse import Context, Daily, Dynamic, Multi, bronze

customers = Dynamic("customers", column="customer")


@bronze(partitions=customers)
def sales(context: Context) -> pl.LazyFrame:
    return pl.LazyFrame({"customer": list(context.partitions.keys())})


@bronze(partitions=Multi({"customer": customers, "date": Daily("2013-01-01", end="2013-01-03", column="date")}))
def daily_sales(context: Context) -> pl.LazyFrame:
    return pl.LazyFrame([dict(zip(("customer", "date"), key.split("|"))) for key in context.partitions.keys()])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys_of_the_command_line.py").write_text(PROJECT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LAKEHOUSE_MODULE", "keys_of_the_command_line")
        patch.setenv("LAKEHOUSE_ENGINE", "inline")
        before = list(sys.path)
        yield folder
        sys.path[:] = before


@given(keys=KEYS, data=st.data())
@example(keys=ODD, data=None)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_the_command_line_can_name_every_key(project: Path, keys: list[str], data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKEHOUSE_STORAGE", folder)
        patch.setenv("LAKEHOUSE_LINEAGE", f"sqlite:///{folder}/lineage.db")

        from lakehouse.verbs import open_lakehouse

        lake = open_lakehouse()
        refused = any(unicodedata.category(c) == "Cs" or c == "|" for key in keys for c in key)
        code = main(["partitions", "bronze.sales", *(f"--add={key}" for key in keys)])
        if code == 2 or refused:
            assert code == 2
            assert not lake.present().keys["customers"], "all of a call or none"
            return
        assert code == 0
        assert set(lake.present().keys["customers"]) == set(keys)
        assert main(["materialize", "bronze", "--chunk", "100"]) == 0
        pairs = [f"{key}|{day}" for key in keys for day in DAYS]
        for asset, every in (("bronze.sales", keys), ("bronze.daily_sales", pairs)):
            chosen = every[0] if data is None else data.draw(st.sampled_from(every))
            assert main(["show", asset, f"--partition={chosen}"]) == 0
            assert main(["lineage", asset, f"--partition={chosen}"]) == 0
            assert main(["plan", asset, f"--partition={chosen}"]) == 0
            assert main(["state", "forget", asset, f"--partition={chosen}", "--yes"]) == 0
            assert set(_present(lake, asset)) == {*every} - {chosen}
            assert main(["refresh", asset, f"--partition={chosen}"]) == 0
            assert set(_present(lake, asset)) == {*every}
            assert main(["state", "wipe", asset, f"--partition={chosen}", "--yes"]) == 0
            assert set(_present(lake, asset)) == {*every} - {chosen}
            assert lake.load(asset).collect().height == len(every) - 1
            assert main(["backfill", asset, *(f"--partition={key}" for key in every)]) == 0
            assert set(_present(lake, asset)) == {*every}
        old, *rest = keys
        assert main(["state", "rename-partition", "bronze.sales", "--", old, "new, and long"]) == 0
        assert set(_present(lake, "bronze.sales")) == {*rest, "new, and long"}
        assert main(["partitions", "bronze.sales", "--remove=new, and long"]) == 0
        assert set(lake.present().keys["customers"]) == set(rest)


def _present(lake: Lakehouse, asset: str) -> list[str]:
    (one,) = lake.status(asset)
    return list(one.present)


def test_the_two_ways_to_name_partitions_are_not_mixed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "bronze.sales", "-p", "a", "--partition", "b"]) == 2
    assert "--partitions and --partition were both given" in capsys.readouterr().err


# ── the register ──────────────────────────────────────────────────────────────────────────


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(-400, 400)), max_size=12))
@settings(max_examples=25, deadline=None)
def test_what_was_done_last_to_a_key_counts_whatever_the_clocks_say(turns: list[tuple[str, bool, int]]) -> None:
    lake = _lake("memory://", Dynamic("customers", column="key"))
    clock = time.time_ns
    expected: set[str] = set()
    for key, added, days in turns:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time_ns", lambda days=days: clock() + days * 86_400 * 10**9)
            if added:
                assert set(lake.add_partitions("bronze.sales", key)) == {key} - expected
                expected.add(key)
            else:
                assert set(lake.remove_partitions("bronze.sales", key)) == {key} & expected
                expected.discard(key)
        assert set(registered(lake.lineage_store, Dynamic("customers"))) == expected


def test_facts_of_the_register_that_bear_no_number_come_first() -> None:
    customers = Dynamic("customers", column="key")
    lake = _lake("memory://", customers)
    lineage = lake.lineage_store
    recorder = Recorder(asset="partitions.customers")
    for number, (status, keys) in enumerate([(Status.REGISTERED, ["a", "b"]), (Status.RETIRED, ["b"])]):
        fact = recorder.fact(status, customers.of_keys(keys))
        lineage.append([fact.model_copy(update={"id": f"{number:032x}"})])
    assert set(registered(lineage, customers)) == {"a"}
    assert set(lake.add_partitions("bronze.sales", ["a", "b"])) == {"b"}
    assert set(lake.remove_partitions("bronze.sales", ["a"])) == {"a"}
    assert set(registered(lineage, customers)) == {"b"}
