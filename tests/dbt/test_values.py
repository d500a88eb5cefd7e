"""What dbt makes is published as it is, or refused by one message that names the column, its type and the way out."""

from pathlib import Path

import polars as pl
import pytest

from lakehouse import Lakehouse, silver
from lakehouse.errors import MaterializationFailed
from lakehouse.integrations.dbt import dbt_assets

ID = "550e8400-e29b-41d4-a716-446655440000"
KEPT = {
    "id": (f"'{ID}'::uuid", pl.String(), ID),
    "document": ("""'{"a": 9007199254740993}'::json""", pl.String(), '{"a": 9007199254740993}'),
    "bits": ("'0101'::bit", pl.String(), "0101"),
    "total": ("sum(9007199254740993)", pl.Int64(), 9007199254740993),
    "nested": (
        f"[{{'i': '{ID}'::uuid, 'n': 9007199254740993::hugeint}}]",
        pl.List(pl.Struct({"i": pl.String, "n": pl.Int64})),
        [{"i": ID, "n": 9007199254740993}],
    ),
    "large": ("12345678901234567890::uhugeint", pl.Decimal(38, 0), 12345678901234567890),
    "exact": ("'2024-01-01 00:00:01.123456000'::timestamp_ns", pl.Datetime("us"), None),
    "no_number": ("'nan'::double", pl.Float64(), None),
}
REFUSED = {
    "odd_nanoseconds": ("'2024-01-01 00:00:01.123456789'::timestamp_ns", "holds 2024-01-01 00:00:01.123456789"),
    "too_large": ("170141183460469231731687303715884105727::hugeint", "has a number that is too large for BIGINT"),
    "unsigned": ("18446744073709551615::ubigint", "is of type UInt64 and holds 18446744073709551615"),
    "duration": ("interval '1 month'", "is of DuckDB's type INTERVAL, which can't be held"),
    "of_day": ("'12:34:56'::time", "is of type Time, which Delta tables can't hold"),
}


def test_values_are_kept_or_refused(tmp_path: Path) -> None:
    @silver
    def events() -> pl.LazyFrame:
        return pl.LazyFrame({"n": [1]})

    kept = ", ".join(f"{sql} as {name}" for name, (sql, *_) in KEPT.items())
    models = {"kept": kept, **{name: f"{sql} as {name}" for name, (sql, _) in REFUSED.items()}}
    project = tmp_path / "dbt"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text(
        "{name: shop, version: '1.0', profile: shop, models: {shop: {+schema: gold}}}"
    )
    (project / "models/sources.yml").write_text("{sources: [{name: silver, tables: [{name: events}]}]}")
    for name, columns in models.items():
        (project / f"models/{name}.sql").write_text(f"select {columns} from {{{{ source('silver', 'events') }}}}")
    assets = dbt_assets(project, sources=[events])
    lake = Lakehouse([events, *assets], storage=str(tmp_path), lineage=f"sqlite:///{tmp_path}/lineage.db")
    with pytest.raises(MaterializationFailed) as caught:
        lake.materialize([events, *assets], engine="inline")
    run = caught.value.run
    errors = {r.asset.partition(".")[2]: r.error or "" for r in run.results}
    hints = {r.asset.partition(".")[2]: r.cause.hint for r in run.results if r.cause}
    assert {name for name, error in errors.items() if error} == set(REFUSED)
    for name, (_, says) in REFUSED.items():
        assert f"the column {name!r}" in errors[name]
        assert says in errors[name]
        assert hints[name] or "::varchar keeps it as text" in errors[name]
    (row,) = lake.load("gold.kept").collect().iter_rows(named=True)
    assert dict(lake.load("gold.kept").collect_schema()) == {name: dtype for name, (_, dtype, _) in KEPT.items()}
    for name, (_, _, value) in KEPT.items():
        assert value is None or row[name] == value
    assert str(row["no_number"]) == "nan"
