"""The schema's own checks: pandera's, by partition."""

from typing import Any, Optional

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.checks import not_null, row_count
from lakehouse.checks.gate import conform
from lakehouse.checks.schema import is_as_promised
from lakehouse.errors import CheckError, SchemaViolation
from tests.checks.audits import DAYS, ask, asset, marks, named, numbers, rows


class Nullable(pa.DataFrameModel):
    day: str
    v: int


class Unique(pa.DataFrameModel):
    v: int = pa.Field(unique=True)


class UniqueTogether(pa.DataFrameModel):
    day: str
    v: int

    class Config:
        unique = ["day", "v"]  # noqa: RUF012


class Bounds(pa.DataFrameModel):
    v: int = pa.Field(gt=0, lt=7)


class Accepted(pa.DataFrameModel):
    v: int = pa.Field(isin=[1, 2, 3])


class Own(pa.DataFrameModel):
    v: int

    @pa.check("v")
    def small(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col(data.key) < 7)  # type: ignore[no-any-return]


class OwnElementWise(pa.DataFrameModel):
    v: int

    @pa.check("v", element_wise=True)
    def small(cls, value: int) -> bool:
        return value < 7


class OwnFrame(pa.DataFrameModel):
    v: int

    @pa.dataframe_check
    @classmethod
    def small(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("v") < 7)  # type: ignore[no-any-return]


class OwnNamedLikePanderas(pa.DataFrameModel):
    v: int

    @pa.check("v")
    def uniqueness(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col(data.key) < 7)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "bad", "why", "marked"),
    [
        (Nullable, [1, None], "v: not_nullable", [None]),
        (Unique, [5, 5, 6], "v: field_uniqueness", [5, 5]),
        (UniqueTogether, [5, 5, 6], "UniqueTogether: multiple_fields_uniqueness", [5, 5]),
        (Bounds, [1, 7, 8], "v: less_than(7)", [7, 8]),
        (Accepted, [3, 4], "v: isin([1, 2, 3])", [4]),
        (Own, [1, 7, 8], "v: small", [7, 8]),
        (OwnElementWise, [1, 7, 8], "v: small", [7, 8]),
        (OwnFrame, [1, 7, 8], "OwnFrame: small", [7, 8]),
        (OwnNamedLikePanderas, [1, 7], "v: uniqueness", [7]),
    ],
)
def test_one_bad_partition_is_held_and_its_rows_are_marked(
    model: Any, bad: list[Any], why: str, marked: list[Any]
) -> None:
    frame = rows((1, 1), (1, 2), *((2, v) for v in bad), (3, 1), v=pl.Int64)
    found = ask(asset(model=model), frame, DAYS[:3])
    assert numbers(found.held) == [2]
    assert numbers(found.passed) == [1, 3]
    held, passed = named(found)["schema"]
    assert (held.passed, held.failed, held.failing_rows) == (False, ((DAYS[1], DAYS[1]),), len(marked))
    assert (passed.passed, passed.failed, passed.message) == (True, (), model.__name__)
    assert found.reason == f"schema wants {model.__name__}; found {why}"
    assert marks(found, "v") == sorted([(v, [why] if v in marked else []) for v in bad], key=repr)


class Mean(pa.DataFrameModel):
    v: int

    @pa.check("v")
    def small_on_average(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col(data.key).mean() < 7)  # type: ignore[no-any-return]


class MeanUnderABuiltInName(pa.DataFrameModel):
    v: int

    @pa.check("v")
    def in_range(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col(data.key).mean() < 7)  # type: ignore[no-any-return]


class MeanOfFrame(pa.DataFrameModel):
    v: int

    @pa.dataframe_check
    @classmethod
    def small_on_average(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("v").mean() < 7)  # type: ignore[no-any-return]


class Verdict(pa.DataFrameModel):
    v: int

    @pa.check("v")
    def small_on_average(cls, data: Any) -> bool:
        return bool(data.lazyframe.select(pl.col(data.key).mean().fill_null(0) < 7).collect().item())


@pytest.mark.parametrize("model", [Mean, MeanUnderABuiltInName, MeanOfFrame, Verdict])
def test_a_check_of_a_whole_column_looks_at_each_partition_alone(model: Any) -> None:
    # Over all of them the average is small; over the second day alone it is not.
    found = ask(asset(model=model), rows((1, 1), (1, 1), (1, 1), (2, 8), (2, 9), (3, 1)), DAYS)
    assert numbers(found.held) == [2]
    assert numbers(found.passed) == [1, 3, 4]
    assert marks(found, "v") == [(8, []), (9, [])]


def test_uniqueness_is_within_a_partition() -> None:
    found = ask(asset(model=Unique), rows((1, 1), (2, 1), (3, 1), (3, 1)), DAYS[:3])
    assert numbers(found.held) == [3]


class Known(pa.DataFrameModel):
    v: int = pa.Field(unique_values_eq=[1, 2])


class Some(pa.DataFrameModel):
    v: int

    @pa.check("v")
    def some(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.len() > 0)  # type: ignore[no-any-return]


def test_a_partition_without_rows_is_checked_as_well() -> None:
    models: list[Any] = [Known, Some]
    for model in models:
        found = ask(asset(model=model), rows((1, 1), (1, 2)), DAYS[:2])
        assert numbers(found.held) == [2]
        assert found.rows is not None
        assert found.rows.height == 0
    models = [Unique, Nullable, Bounds, Mean]
    for model in models:
        assert not ask(asset(model=model), rows((1, 1)), DAYS[:2]).held
        assert not ask(asset(model=model), rows(v=pl.Int64), DAYS[:2]).held


class Optionals(pa.DataFrameModel):
    v: int = pa.Field(nullable=True, gt=0)
    w: Optional[int] = pa.Field(gt=0)  # noqa: UP045


def test_missing_values_and_columns_pass_where_they_may() -> None:
    assert not ask(asset(model=Optionals), rows((1, None), (1, 1), v=pl.Int64), DAYS[:1]).held
    found = ask(asset(model=Optionals), rows((1, {"v": 1, "w": 0}), (2, {"v": None, "w": 1})), DAYS[:2])
    assert numbers(found.held) == [1]
    assert found.reason.endswith("w: greater_than(0)")


def test_schema_and_checks_are_told_together() -> None:
    made = asset(not_null("w"), row_count(), model=Bounds)
    found = ask(made, rows((1, {"v": 9, "w": None}), (2, {"v": 1, "w": None}), (3, {"v": 1, "w": 1})), DAYS)
    assert numbers(found.held) == [1, 2, 4]
    assert [r.name for r in found.held_results] == ["schema", "not_null(w)", "row_count"]
    assert marks(found, "v") == [(1, ["not_null(w)"]), (9, ["v: less_than(7)", "not_null(w)"])]


# ── checks that raise ─────────────────────────────────────────────────────────────────────


class Odd(Exception):
    """An exception whose name doesn't say that it is one."""


class Raises(pa.DataFrameModel):
    v: int

    @pa.check("v")
    def explodes(cls, data: Any) -> pl.LazyFrame:
        raise Odd("no idea")


class RaisesOverFrame(pa.DataFrameModel):
    v: int

    @pa.dataframe_check
    @classmethod
    def explodes(cls, data: Any) -> pl.LazyFrame:
        raise Odd("no idea")


class RaisesLate(pa.DataFrameModel):
    v: int

    @pa.check("v")
    def explodes(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("nowhere") < 7)  # type: ignore[no-any-return]


class RaisesByElement(pa.DataFrameModel):
    v: int

    @pa.check("v", element_wise=True)
    def explodes(cls, value: int) -> bool:
        raise Odd("no idea")


class Compares(pa.DataFrameModel):
    v: int = pa.Field(gt="text")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Raises, ["'explodes' on 'v'", "Odd", "no idea"]),
        (RaisesOverFrame, ["'explodes' on 'RaisesOverFrame'", "no idea"]),
        (RaisesLate, ["'explodes' on 'v'", "nowhere"]),
        (RaisesByElement, ["'explodes' on 'v'", "no idea"]),
        (Compares, ["'greater_than(text)' on 'v'", "cannot compare"]),
    ],
)
def test_a_check_of_the_schema_that_raises_is_named(model: Any, says: list[str]) -> None:
    with pytest.raises(CheckError) as caught:
        ask(asset(row_count(), model=model), rows((1, 1), (2, 9)), DAYS[:2])
    for words in ["silver.trips: the schema's check", *says, "nothing was published"]:
        assert words in str(caught.value)


class LooksLikeAnError(pa.DataFrameModel):
    v: str = pa.Field(str_contains=r"Error\(")


def test_data_that_fails_a_check_on_errors_is_no_error() -> None:
    found = ask(asset(model=LooksLikeAnError), rows((1, "KeyError('x')"), (2, "fine")), DAYS[:2])
    assert numbers(found.held) == [2]


# ── columns and types ─────────────────────────────────────────────────────────────────────


class Trip(pa.DataFrameModel):
    day: str
    km: float


class Strict(Trip):
    class Config:
        strict = True


class Filters(Trip):
    class Config:
        strict = "filter"


class Coerces(Trip):
    class Config:
        coerce = True


class Ordered(Trip):
    class Config:
        ordered = True


def trips(**columns: Any) -> pl.LazyFrame:
    return pl.LazyFrame({"day": [DAYS[0]], "km": [1.5]} | columns)


@pytest.mark.parametrize(
    ("model", "frame", "says"),
    [
        (Trip, trips().drop("km"), "km is missing"),
        (Trip, trips().drop("km", "day"), "day is missing"),
        (Trip, trips(km=[1]), "km: has type Int64, promised is 'Float64'"),
        (Trip, trips(km=["1.5"]), "km: has type String"),
        (Trip, trips().with_columns(pl.col("km").cast(pl.Float32)), "km: has type Float32"),
        (Strict, trips(more=[1]), "more is not in the schema"),
        (Ordered, trips().select("km", "day"), "column_ordered"),
        (Coerces, trips().drop("km"), "km is missing"),
    ],
)
def test_columns_and_types_are_what_the_schema_promises(model: Any, frame: pl.LazyFrame, says: str) -> None:
    with pytest.raises(SchemaViolation) as caught:
        conform(asset(model=model), frame)
    message = str(caught.value)
    assert f"silver.trips returned what {model.__name__} doesn't allow: " in message
    assert says in message
    assert "mend the function" in message


@pytest.mark.parametrize(
    ("model", "frame", "columns"),
    [
        (None, trips(more=[1]), {"day": pl.String, "km": pl.Float64, "more": pl.Int64}),
        (Trip, trips(more=[1]), {"day": pl.String, "km": pl.Float64, "more": pl.Int64}),
        (Trip, trips().clear(), {"day": pl.String, "km": pl.Float64}),
        (Filters, trips(more=[1]), {"day": pl.String, "km": pl.Float64}),
        (Coerces, trips(km=[1]), {"day": pl.String, "km": pl.Float64}),
        (Coerces, trips(km=["1.5"]), {"day": pl.String, "km": pl.Float64}),
        (Optionals, pl.LazyFrame({"v": [1]}), {"v": pl.Int64}),
    ],
)
def test_a_schema_repairs_what_it_says_that_it_repairs(
    model: Any, frame: pl.LazyFrame, columns: dict[str, Any]
) -> None:
    assert dict(conform(asset(model=model), frame).collect_schema()) == columns


def test_conforming_computes_no_row() -> None:
    def compute(frame: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("computed")

    lazy = trips().map_batches(compute, schema={"day": pl.String, "km": pl.Float64})
    assert isinstance(conform(asset(model=Trip), lazy), pl.LazyFrame)


def test_values_are_no_matter_of_conforming() -> None:
    assert conform(asset(model=Bounds), pl.LazyFrame({"v": [99]})).collect().item() == 99


DTYPES: list[Any] = [
    pl.Int64,
    pl.Int32,
    pl.Float64,
    pl.String,
    pl.Date,
    pl.Datetime,
    pl.Datetime("ms"),
    pl.Datetime("us", "UTC"),
    pl.List(pl.Int64),
    pl.List,
    pl.Decimal(10, 2),
    pl.Categorical,
    pl.Enum(["a", "b"]),
    None,
]
STORED = [pl.Datetime("us") if t is pl.Datetime else pl.List(pl.String) if t is pl.List else t for t in DTYPES if t]


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    columns = {}
    for name in draw(st.sets(st.sampled_from("abc"), min_size=1)):
        dtype, coerce = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 4)) == 4
        columns[name] = pa.Column(dtype, required=draw(st.booleans()), coerce=coerce)
    return pa.DataFrameSchema(columns, strict=draw(st.sampled_from([False, True, "filter"])))


@settings(max_examples=300, deadline=None)
@given(schemas(), st.dictionaries(st.sampled_from("abcd"), st.sampled_from(STORED), max_size=4))
def test_what_is_taken_without_asking_pandera_is_what_pandera_takes_as_it_is(schema: Any, dtypes: Any) -> None:
    frame = pl.LazyFrame(schema=dtypes)
    if is_as_promised(schema, frame.collect_schema()):
        assert schema.validate(frame, lazy=True).collect_schema() == frame.collect_schema()


def test_a_plain_schema_is_taken_without_asking_pandera(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("pandera was asked")

    monkeypatch.setattr(pa.DataFrameSchema, "validate", asked)
    frame = pl.LazyFrame({"day": ["a"], "v": [1], "more": [2]})
    assert conform(asset(model=Nullable), frame) is frame
