from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.command_line import Said

_numbers = count()
MODULE = """
from typing import Annotated
import pandera.polars as pa
import polars as pl
from lakehouse import bronze

class Model(pa.DataFrameModel):
    n: pl.Int64
    {more}

@bronze
def numbers() -> Annotated[pl.LazyFrame, Model]:
    return pl.LazyFrame({{"n": [1]}}).with_columns({columns})
"""


@pytest.fixture
def declare(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Have the project's module declare the asset otherwise."""
    before = list(sys.path)

    def declare(more: str, columns: str) -> None:
        name = f"schemas_of_the_command_line_{next(_numbers)}"
        (home / f"{name}.py").write_text(MODULE.format(more=more, columns=columns))
        monkeypatch.setenv("LAKEHOUSE_MODULE", name)

    yield declare
    sys.path[:] = before


def test_versions_differences_and_what_is_stopped_are_listed_and_approved(
    says: Callable[..., Said], declare: Callable[..., None]
) -> None:
    declare('m: pl.String = pa.Field(nullable=True, description="some text")', 'm=pl.lit("a")')
    assert "no schema of bronze.numbers is registered" in says("schemas", "bronze.numbers").out
    assert says("materialize", "bronze.numbers").code == 0
    declare(
        "m: pl.String = pa.Field(nullable=True); x: pl.Int8 = pa.Field(nullable=True)",
        'm=pl.lit("a"), x=pl.lit(1, dtype=pl.Int8)',
    )
    assert says("materialize", "bronze.numbers").code == 0
    declare("x: pl.Int8 = pa.Field(nullable=True)", "x=pl.lit(1, dtype=pl.Int8)")
    assert says("schemas", "approve", "bronze.numbers").code == 2
    failed = says("materialize", "bronze.numbers")
    assert failed.code == 1
    assert "'m' is gone" in failed.err
    shown = says("schemas", "bronze.numbers").out
    for said in (
        "version 2, compatibility full",
        "'x' (Int8) is new",
        "the first",
        "stopped",
        "'m' is gone, which breaks",
    ):
        assert said in shown
    told = json.loads(says("schemas", "bronze.numbers", "--json").out)
    assert [one["number"] for one in told["versions"]] == [1, 2]
    assert [d["kind"] for d in told["versions"][1]["differences"]] == ["described otherwise", "added"]
    assert [(d["column"], d["breaks"]) for d in told["stopped"]["differences"]] == [("m", True)]
    assert told["versions"][0]["columns"][1] == {
        "name": "m",
        "type": "String",
        "nullable": True,
        "promised": True,
        "description": "some text",
    }
    assert "let through: 'm' is gone" in says("schemas", "approve", "bronze.numbers").out
    assert says("materialize", "bronze.numbers").code == 0
    told = json.loads(says("schemas", "bronze.numbers", "--json").out)
    assert (len(told["versions"]), told["stopped"]) == (3, None)


def test_an_asset_that_is_not_there_is_refused(says: Callable[..., Said], declare: Callable[..., None]) -> None:
    declare("", "")
    assert says("schemas", "bronze.nothing").code == 2
