"""Contracts: what a consumer's annotation asks for, a producer's has to promise."""

from typing import Annotated, Any, Optional

import pandera.polars as pa
import polars as pl
import pytest
from pandera.typing.polars import DataFrame, LazyFrame

from lakehouse import Asset, AssetGraph, From, bronze, silver
from lakehouse.checks import Check, accepted_values, expression, not_null, reconcile, row_count, unique
from lakehouse.errors import ContractViolation


def model(title: str, **columns: Any) -> Any:
    """A pandera model from columns: a type, or a type and its field."""
    annotations = {n: c[0] if isinstance(c, tuple) else c for n, c in columns.items()}
    fields = {n: c[1] for n, c in columns.items() if isinstance(c, tuple)}
    return type(title, (pa.DataFrameModel,), {"__annotations__": annotations, "__module__": __name__, **fields})


def nullable() -> Any:
    return pa.Field(nullable=True)


def pair(promised: Any, asked: Any, *, frame: Any = LazyFrame) -> list[Asset]:
    def raw(): ...  # type: ignore[no-untyped-def]

    def clean(raw): ...  # type: ignore[no-untyped-def]

    raw.__annotations__["return"] = pl.LazyFrame if promised is None else LazyFrame[promised]
    clean.__annotations__["raw"] = pl.LazyFrame if asked is None else frame[asked]
    return [bronze(raw), silver(clean)]


FLIGHT = model("Flight", id=int, delay=(float, nullable()), note=Optional[str], at=pl.Datetime("us", "UTC"))  # noqa: UP045


@pytest.mark.parametrize(
    "asked",
    [
        None,
        FLIGHT,
        model("Less", id=int),
        model("Empty"),
        model("Looser", id=(int, nullable()), delay=(float, nullable())),
        model("Optional", id=Optional[int], extra=Optional[int]),  # noqa: UP045
        model("Time", at=pl.Datetime("us", "UTC")),
        model("Valued", id=(int, pa.Field(gt=100))),
    ],
)
def test_a_consumer_may_ask_for_what_is_promised(asked: Any) -> None:
    assert len(AssetGraph(pair(FLIGHT, asked))) == 2
    assert len(AssetGraph(pair(FLIGHT, asked, frame=DataFrame))) == 2


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (model("Asked", missing=int), "column 'missing' is not promised"),
        (model("Asked", id=str), "column 'id' is promised as Int64, asked for as String"),
        (model("Asked", id=pl.Int32), "column 'id' is promised as Int64, asked for as Int32"),
        (model("Asked", delay=float), "column 'delay' may be missing a value there, must not here"),
        (model("Asked", note=str), "column 'note' is optional there, required here"),
        (model("Asked", at=pl.Datetime("us")), "column 'at' is promised as"),
        (model("Asked", at=pl.Datetime("us", "Europe/Berlin")), "column 'at' is promised as"),
        (model("Asked", at=pl.Datetime("ms", "UTC")), "column 'at' is promised as"),
        (model("Asked", id=Optional[str]), "column 'id' is promised as Int64, asked for as String"),  # noqa: UP045
    ],
)
def test_a_consumer_may_not_ask_for_more(asked: Any, says: str) -> None:
    with pytest.raises(ContractViolation) as caught:
        AssetGraph(pair(FLIGHT, asked))
    message = str(caught.value)
    assert "silver.clean asks bronze.raw for Asked: " in message
    assert says in message
    assert "Flight promises id, delay, note, at" in message


def test_all_columns_that_are_amiss_are_told_at_once() -> None:
    with pytest.raises(ContractViolation) as caught:
        AssetGraph(pair(FLIGHT, model("Asked", id=str, missing=int, delay=float)))
    for column in ("id", "missing", "delay"):
        assert f"column '{column}'" in str(caught.value)


def test_a_producer_without_a_schema_promises_nothing() -> None:
    with pytest.raises(ContractViolation) as caught:
        AssetGraph(pair(None, FLIGHT))
    assert "silver.clean asks bronze.raw for Flight, but bronze.raw promises no schema" in str(caught.value)
    assert "give raw a return annotation such as Annotated[pl.LazyFrame, Flight]" in str(caught.value)


def test_a_contract_is_kept_whatever_the_order() -> None:
    for assets in (pair(FLIGHT, model("Asked", nope=int)), pair(FLIGHT, model("Asked", nope=int))[::-1]):
        with pytest.raises(ContractViolation):
            AssetGraph(assets)


def test_columns_have_the_names_that_frames_have() -> None:
    promised = model("Promised", year_=(int, pa.Field(alias="year")))
    assert len(AssetGraph(pair(promised, model("Asked", year=int)))) == 2
    with pytest.raises(ContractViolation, match="column 'year_' is not promised"):
        AssetGraph(pair(promised, model("Asked", year_=int)))


def test_inherited_columns_are_promised() -> None:
    class Base(pa.DataFrameModel):
        id: int

    class Child(Base):
        name: str

    assert len(AssetGraph(pair(Child, model("Asked", id=int, name=str)))) == 2


class Numbers(pa.DataFrameModel):
    n: pl.Int64


@bronze
def numbers() -> Annotated[pl.LazyFrame, Numbers]:
    return pl.LazyFrame()


@pytest.mark.parametrize(
    "check",
    [
        unique("n", "typo"),
        not_null("typo"),
        accepted_values("typo", [1]),
        expression("small", pl.col("typo") < 9),
        expression("smaller", pl.col("n") < pl.col("typo")),
        reconcile("numbers", ours=pl.col("typo").sum(), theirs=pl.col("n").sum()),
        reconcile("numbers", ours=pl.col("n").sum(), theirs=pl.col("typo").sum()),
    ],
    ids=lambda check: check.name,
)
def test_a_check_looks_at_columns_that_are_promised(check: Check) -> None:
    @silver(checks=[check])
    def checked(numbers: Annotated[pl.LazyFrame, From(numbers)]) -> Annotated[pl.LazyFrame, Numbers]:
        return pl.LazyFrame()

    with pytest.raises(ContractViolation, match=r"of silver\.checked looks at the column 'typo', which Numbers of"):
        AssetGraph([checked])


def test_a_check_may_look_at_what_nobody_named() -> None:
    @silver(checks=[unique("n"), row_count(), expression("all", pl.all_horizontal(pl.all().is_not_null()))])
    def checked(numbers: Annotated[pl.LazyFrame, From(numbers)]) -> Annotated[pl.LazyFrame, Numbers]:
        return pl.LazyFrame()

    @silver(checks=[unique("whatever")])
    def untyped() -> pl.LazyFrame:
        return pl.LazyFrame()

    AssetGraph([checked, untyped])
