"""What is read from a function's parameters and annotations."""

from typing import Annotated, Any, Optional

import duckdb
import pandas as pd
import pandera.polars as pa
import polars as pl
import pyarrow
import pytest
from pandera.typing.polars import DataFrame, LazyFrame

from lakehouse import AssetGraph, Context, From, PartitionRange, bronze, gold, silver
from lakehouse.definitions.schema import Column, Schema
from lakehouse.definitions.signature import Parameter
from lakehouse.errors import DefinitionError
from tests.definitions import declared


class Numbers(pa.DataFrameModel):
    """Numbers."""

    n: int = pa.Field(description="how many")
    at: pl.Datetime("us", "UTC") = pa.Field(nullable=True)  # type: ignore[valid-type]
    note: Optional[str]  # noqa: UP045  (pandera reads this form alone)
    tags: pl.List(pl.String)  # type: ignore[valid-type]


@bronze
def raw() -> pl.LazyFrame:
    raise NotImplementedError


COLUMNS = (
    Column("n", pl.Int64(), description="how many"),
    Column("at", pl.Datetime("us", "UTC"), nullable=True),
    Column("note", pl.String(), required=False),
    Column("tags", pl.List(pl.String)),
)


def only(annotation: Any) -> Parameter:
    """The one input of an asset whose parameter is annotated so."""

    def made(given): ...  # type: ignore[no-untyped-def]

    if annotation is not None:
        made.__annotations__["given"] = annotation
    (found,) = silver(made).inputs
    return found


@pytest.mark.parametrize(
    ("annotation", "frame"),
    [
        (None, None),
        (Any, Any),
        (pl.LazyFrame, pl.LazyFrame),
        (pl.DataFrame, pl.DataFrame),
        (pyarrow.Table, pyarrow.Table),
        (pyarrow.RecordBatchReader, pyarrow.RecordBatchReader),
        (duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation),
        (pd.DataFrame, pd.DataFrame),
        (Annotated[pl.DataFrame, "by the way"], pl.DataFrame),
    ],
)
def test_a_plain_annotation_is_the_type_to_load(annotation: Any, frame: Any) -> None:
    found = only(annotation)
    assert found == Parameter("given", None, frame, None)


@pytest.mark.parametrize(
    ("annotation", "frame"),
    [
        (LazyFrame[Numbers], LazyFrame),
        (DataFrame[Numbers], DataFrame),
        (Annotated[pl.LazyFrame, Numbers], pl.LazyFrame),
        (Annotated[pl.DataFrame, Numbers], pl.DataFrame),
        (Annotated[pyarrow.Table, Numbers], pyarrow.Table),
        (Annotated[LazyFrame[Numbers], "by the way"], LazyFrame),
    ],
)
def test_a_model_in_an_annotation_is_the_contract(annotation: Any, frame: Any) -> None:
    found = only(annotation)
    assert found.frame is frame
    assert found.schema is not None
    assert (found.schema.name, found.schema.columns, found.schema.model) == ("Numbers", COLUMNS, Numbers)


@pytest.mark.parametrize(
    ("annotation", "key"),
    [
        (Annotated[pl.LazyFrame, From(raw)], "bronze.raw"),
        (Annotated[pl.LazyFrame, raw], "bronze.raw"),
        (Annotated[pl.LazyFrame, From("bronze.raw")], "bronze.raw"),
        (Annotated[LazyFrame[Numbers], From("bronze.raw")], "bronze.raw"),
        (Annotated[pl.LazyFrame, From("bronze.raw"), Numbers], "bronze.raw"),
    ],
)
def test_an_annotation_may_say_which_asset_it_is(annotation: Any, key: str) -> None:
    found = only(annotation)
    assert found.source is not None
    assert found.source.key == key
    assert (found.schema is not None) == ("Numbers" in str(annotation))


def test_the_return_annotation_is_the_schema() -> None:
    @bronze
    def lazy() -> LazyFrame[Numbers]: ...  # type: ignore[empty-body]

    @bronze
    def eager() -> DataFrame[Numbers]: ...  # type: ignore[empty-body]

    @bronze
    def annotated() -> Annotated[pl.LazyFrame, Numbers]: ...  # type: ignore[empty-body]

    @bronze
    def plain() -> pl.LazyFrame: ...  # type: ignore[empty-body]

    @bronze
    def silent(): ...  # type: ignore[no-untyped-def]

    for asset in (lazy, eager, annotated):
        assert asset.schema is not None
        assert asset.schema.columns == COLUMNS
    assert plain.schema is silent.schema is None


def test_reserved_parameters_are_no_inputs() -> None:
    @silver
    def made(raw: pl.LazyFrame, partitions: PartitionRange, *, context: Context) -> pl.LazyFrame:
        return raw

    assert [p.name for p in made.inputs] == ["raw"]
    assert made.takes == {"partitions", "context"}
    assert raw.takes == frozenset()


def test_parameters_keep_their_order() -> None:
    @gold
    def made(zulu: pl.LazyFrame, alpha: pl.LazyFrame, *, mike: pl.LazyFrame) -> pl.LazyFrame:
        return zulu

    assert [p.name for p in made.inputs] == ["zulu", "alpha", "mike"]


def star(*frames: pl.LazyFrame) -> None: ...


def double_star(**frames: pl.LazyFrame) -> None: ...


def positional(raw: pl.LazyFrame, /) -> None: ...


@pytest.mark.parametrize("function", [star, double_star, positional])
def test_a_parameter_that_names_no_input_is_refused(function: Any) -> None:
    with pytest.raises(DefinitionError, match=rf"silver.{function.__name__} has the parameter .*names no input"):
        _ = silver(function).inputs


@pytest.mark.parametrize("annotation", [pl.LazyFrame | None, Optional[LazyFrame[Numbers]]])  # noqa: UP045
def test_an_annotation_of_several_types_is_refused(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match=r"silver.made: given is annotated with .*more than one type"):
        only(annotation)

    def made(): ...  # type: ignore[no-untyped-def]

    made.__annotations__["return"] = annotation
    with pytest.raises(DefinitionError, match=r"bronze.made: return is annotated with"):
        _ = bronze(made).schema


# ── annotations that are text ─────────────────────────────────────────────────────────────


def test_annotations_that_are_text_are_read_when_all_is_declared() -> None:
    trips = declared.trips
    (tours,) = trips.inputs
    assert (tours.name, tours.frame) == ("tours", LazyFrame)
    assert tours.schema is not None
    assert tours.schema.model is declared.Tour
    assert trips.takes == {"context"}
    assert trips.schema is not None
    assert trips.schema.model is declared.Trip
    assert declared.tours.takes == {"partitions"}
    (given,) = declared.totals.inputs
    assert given == Parameter("given", From("silver.trips"), pl.DataFrame, None)


def test_a_graph_of_them_finds_inputs_by_name_and_by_key() -> None:
    graph = AssetGraph([declared.totals])
    assert [asset.key for asset in graph] == ["bronze.tours", "silver.trips", "gold.totals"]


@pytest.mark.parametrize(("asset", "name"), [(declared.unknown, "Nowhere"), (declared.for_type_checkers, "Series")])
def test_a_name_in_an_annotation_that_is_not_known_is_told(asset: Any, name: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        _ = asset.schema
    assert f"the annotations of {asset.key} can't be read: NameError: name '{name}' is not defined" in str(caught.value)
    assert "known in the function's own module" in str(caught.value)
    with pytest.raises(DefinitionError):
        AssetGraph([asset])


# ── schemas ───────────────────────────────────────────────────────────────────────────────


def test_a_schema_knows_its_columns() -> None:
    schema = Schema.of(Numbers)
    assert "n" in schema
    assert "x" not in schema
    assert schema["note"].required is False
    assert schema["at"].nullable is True


def test_a_model_that_can_not_be_read_is_told() -> None:
    class Odd(pa.DataFrameModel):
        n: "Nothing"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DefinitionError, match=r"the schema 'Odd' can't be read: .*Nothing") as caught:
        Schema.of(Odd)
    assert caught.value.hint == "a schema is a pandera.polars DataFrameModel"


def test_a_schema_has_a_fingerprint_of_names_types_and_nullability() -> None:
    def fingerprint(*columns: Column) -> str:
        return Schema("any", columns).fingerprint

    one = Column("a", pl.Int64())
    assert fingerprint(one) == Schema("other", (Column("a", pl.Int64(), description="a number"),)).fingerprint
    others = [
        Column("b", pl.Int64()),
        Column("a", pl.Int32()),
        Column("a", pl.Int64(), nullable=True),
        Column("a", pl.Int64(), required=False),
    ]
    assert len({fingerprint(one), *map(fingerprint, others)}) == 5
