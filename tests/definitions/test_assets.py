import functools
import importlib
import inspect
import pickle
import pydoc
import re
import subprocess
import sys
import typing
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse import Asset, Daily, Freshness, Layer, Retry, Static, Unpartitioned, bronze, gold, silver, source
from lakehouse.checks import row_count, unique
from lakehouse.errors import DefinitionError
from tests.definitions import declared

ROOT = Path(__file__).parents[2]
LAYERS = [(bronze, Layer.BRONZE), (silver, Layer.SILVER), (gold, Layer.GOLD)]


def raw() -> pl.LazyFrame:
    """What the source has.

    As it has it.
    """
    return pl.LazyFrame({"n": [1, 2]})


@pytest.mark.parametrize(("decorator", "layer"), LAYERS)
def test_a_bare_decorator_makes_an_asset(decorator: Callable[..., Any], layer: Layer) -> None:
    asset = decorator(raw)
    assert isinstance(asset, Asset)
    assert asset.key == f"{layer}.raw"
    assert (asset.layer, asset.name, asset.function) == (layer, "raw", raw)
    assert asset.partitions == Unpartitioned()
    assert not asset.partitioned
    assert (asset.checks, asset.tags, asset.owners, asset.group) == ((), (), (), "")
    assert asset.retry == Retry()
    assert asset.description == "What the source has.\n\nAs it has it."
    assert repr(asset) == f"Asset({layer}.raw)"


@pytest.mark.parametrize("decorator", [source, bronze, silver, gold])
def test_help_shows_what_it_is_and_every_keyword_that_it_takes(decorator: Callable[..., Any]) -> None:
    assert inspect.isfunction(decorator)
    shown = pydoc.plain(pydoc.render_doc(decorator))
    assert f"Declares a{'n external' if decorator is source else f' {decorator.__name__.title()}'} asset" in shown
    parameters = inspect.signature(decorator).parameters
    keywords = [name for name, one in parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY]
    assert keywords
    assert len(keywords) <= 9
    _, with_keywords = typing.get_overloads(decorator)
    assert list(inspect.signature(with_keywords).parameters) == keywords
    said = shown.partition("Parameters:")[2].partition("Returns:")[0]
    assert re.findall(r"^ +(\w+): ", said, re.MULTILINE) == list(parameters)


@pytest.mark.parametrize(("decorator", "layer"), LAYERS)
def test_every_keyword_is_kept(decorator: Callable[..., Any], layer: Layer) -> None:
    daily = Daily("2013-01-01", column="date")
    checks = [row_count(), unique("n")]
    asset = decorator(
        partitions=daily,
        checks=checks,
        tags=["daily", "core"],
        owners=("ann",),
        group="air",
        retry=Retry(times=2, delay=1, timeout=60),
        code_version="7",
        freshness=Freshness(max_age="1d"),
    )(raw)
    assert asset.layer is layer
    assert asset.partitions == daily
    assert asset.partitioned
    assert asset.checks == tuple(checks)
    assert asset.tags == ("daily", "core")
    assert asset.owners == ("ann",)
    assert asset.group == "air"
    assert asset.retry == Retry(times=2, delay=1, timeout=60)
    assert asset.code_version == "7"
    assert asset.freshness == Freshness(max_age="1d")


def test_a_decorator_takes_eight_keywords_and_no_more() -> None:
    assert bronze()(raw).key == "bronze.raw"
    with pytest.raises(TypeError, match="schedule"):
        bronze(schedule="@daily")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"partitions": "daily"}, ["partitions='daily'", "Daily(...)"]),
        ({"partitions": Daily}, ["is no partitions definition"]),
        ({"partitions": Daily("2013-01-01")}, ["daily 2013-01-01...", "which column", "Daily(..., column='date')"]),
        ({"partitions": Static(["a"])}, ["static a", "which column", "Static(..., column='date')"]),
        ({"tags": "daily"}, ["tags is a list of strings", "'daily'"]),
        ({"tags": [1]}, ["tags is a list of strings", "[1]"]),
        ({"tags": None}, ["tags is a list of strings", "None"]),
        ({"tags": (tag for tag in ["a"])}, ["tags is a list of strings"]),
        ({"owners": "ann"}, ["owners is a list of strings", "'ann'"]),
        ({"owners": 5}, ["owners is a list of strings", "5"]),
        ({"checks": unique("n")}, ["checks is a list", "unique(n)"]),
        ({"checks": None}, ["checks is a list", "None"]),
        ({"checks": [row_count]}, ["row_count", "is no check"]),
        ({"checks": ["unique"]}, ["'unique' is no check", "lakehouse.checks"]),
        ({"checks": [unique("n"), unique("n")]}, ["two checks are named 'unique(n)'", "name="]),
        ({"group": 5}, ["group is a string", "5"]),
        ({"group": None}, ["group is a string", "None"]),
        ({"retry": 3}, ["retry=3 is no Retry", "Retry(times=3)"]),
        ({"code_version": 7}, ["code_version is a string", "7"]),
        ({"freshness": "1d"}, ["freshness='1d' is no Freshness", "Freshness(max_age="]),
    ],
)
def test_a_wrong_keyword_is_a_definition_error_that_names_the_asset(keywords: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(DefinitionError) as caught:
        silver(**keywords)(raw)
    for words in ["raw", "@silver", *says]:
        assert words in str(caught.value)


async def eventually() -> None: ...


class Thing:
    pass


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda: None, id="a lambda"),
        pytest.param("raw", id="a name"),
        pytest.param(Daily("2013-01-01", column="d"), id="partitions"),
        pytest.param(functools.partial(raw), id="a partial"),
        pytest.param(eventually, id="a coroutine"),
        pytest.param(Thing, id="a class"),
        pytest.param(5, id="a number"),
    ],
)
def test_only_a_named_ordinary_function_becomes_an_asset(given: Any) -> None:
    with pytest.raises(DefinitionError, match="named, ordinary function"):
        bronze(given)


def test_an_asset_does_not_become_another() -> None:
    with pytest.raises(DefinitionError, match=r"@gold was given Asset\(bronze.raw\), which is an asset already"):
        gold(bronze(raw))


@pytest.mark.parametrize("faulty", [{"times": -1}, {"delay": -0.5}, {"timeout": 0}, {"timeout": -3}])
def test_a_retry_that_can_not_be_is_refused(faulty: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="times and delay are 0 or more"):
        Retry(**faulty)


def test_an_asset_is_frozen() -> None:
    asset = bronze(raw)
    for name in ("name", "tags", "function"):
        with pytest.raises(FrozenInstanceError):
            setattr(asset, name, None)
    with pytest.raises(FrozenInstanceError):
        del asset.name


def test_an_asset_is_itself_and_no_other() -> None:
    one, other = bronze(raw), bronze(raw)
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2


def test_calling_an_asset_calls_its_function() -> None:
    @silver
    def doubled(numbers: pl.LazyFrame, by: int = 2) -> pl.LazyFrame:
        return numbers.select(pl.col("n") * by)

    numbers = bronze(raw)()
    assert doubled(numbers).collect()["n"].to_list() == [2, 4]
    assert doubled(numbers=numbers, by=3).collect()["n"].to_list() == [3, 6]


# ── pickling ──────────────────────────────────────────────────────────────────────────────


def test_a_declared_asset_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(declared.trips)) is declared.trips


def test_a_declared_asset_arrives_in_another_process() -> None:
    program = (
        "import pickle, sys; asset = pickle.load(sys.stdin.buffer); print(asset.key, asset.inputs[0].name, asset.tags)"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.append({str(ROOT)!r}); {program}"],
        input=pickle.dumps(declared.trips),
        capture_output=True,
        check=True,
    )
    assert run.stdout.decode().strip() == "silver.trips tours ('core',)"


def test_an_asset_of_a_function_within_a_function_is_pickled_with_its_code() -> None:
    cloudpickle = importlib.import_module("cloudpickle")

    @bronze(tags=["t"], checks=[row_count()])
    def local() -> pl.LazyFrame:
        return pl.LazyFrame({"n": [5]})

    assert local.inputs == ()
    back = pickle.loads(cloudpickle.dumps(local))
    assert back is not local
    assert (back.key, back.tags, back.code_version) == (local.key, local.tags, local.code_version)
    assert back().collect().item() == 5


def test_layers_say_what_they_may_read() -> None:
    assert Layer.SOURCE.reads == frozenset()
    assert Layer.BRONZE.reads == {Layer.SOURCE}
    assert Layer.SILVER.reads == {Layer.BRONZE, Layer.SILVER}
    assert Layer.GOLD.reads == {Layer.SILVER, Layer.GOLD}
    assert re.fullmatch("source bronze silver gold", " ".join(Layer))
