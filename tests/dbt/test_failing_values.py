"""Tests that tell values instead of rows hold back the days of those values, or else everything that they looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.integrations.dbt import dbt_assets
from lakehouse.lineage import Fact, Status
from tests.dbt.conftest import lake_in
from tests.dbt.toys import ALL, small, write

WEEK = "2013-01-01...2013-01-07"
BAD = "2013-01-03"
FIRST, SECOND = (("2013-01-01", "2013-01-04"),), (("2013-01-05", "2013-01-07"),)

COUNTED = """
{% test counted(model, status) %}
select count(*) as n from {{ model }} where status = '{{ status }}' having count(*) > 0
{% endtest %}
"""
BESIDE = {
    "models/known.sql": "select 1 as customer union all select 2",
    "models/known.yml": "models: [{name: known, config: {meta: {lakehouse: null}}}]",
}
ID = """
    select *, case when status = 'lost' then 'twice' else cast(date as varchar) || customer || '-' || amount end as "Id"
    from {{ source('silver', 'orders') }}
    union all
    select *, 'twice' from {{ source('silver', 'orders') }} where status = 'lost'
"""


def column(name: str, test: str) -> str:
    return f"models: [{{name: one, columns: [{{name: {name}, data_tests: [{test}]}}]}}]"


def judged(here: Path, home: Path, name: str, files: dict[str, str]) -> dict[Status, Fact]:
    """What becomes of the model, in chunks of four days."""
    lake = lake_in(home, dbt_assets(write(here / name, files), sources=ALL))
    run = lake.materialize("gold.*", WEEK, engine="inline", chunk=4, raise_on_failure=False)
    return {f.status: f for f in run.facts if f.asset == "gold.one"}


@pytest.mark.parametrize(
    ("name", "test", "fault"),
    [
        ("status", "{accepted_values: {arguments: {values: [paid]}}}", "lost"),
        ("STATUS", "{accepted_values: {arguments: {values: [paid]}, config: {where: amount > 0}}}", "lost"),
        ("customer", "not_null", "nobody"),
        ("id", "unique", "lost"),
    ],
)
def test_a_failing_value_holds_back_the_days_that_have_it(
    here: Path, tmp_path: Path, spoil: Callable[..., None], name: str, test: str, fault: str
) -> None:
    spoil(**{fault: [BAD]})
    found = judged(here, tmp_path, f"values_{name}", small(ID, column(name, test)))
    assert found[Status.REJECTED].partitions == ((BAD, BAD),)
    assert found[Status.REJECTED].quarantine is not None
    assert "don't say" not in found[Status.REJECTED].reason


def test_a_foreign_key_that_leads_nowhere(here: Path, tmp_path: Path, spoil: Callable[..., None]) -> None:
    test = "{relationships: {arguments: {to: ref('known'), field: customer}}}"
    lost = "case when status = 'lost' then 99 else customer end as customer"
    sql = f"select * replace ({lost}) from {{{{ source('silver', 'orders') }}}}"
    spoil(lost=[BAD])
    found = judged(here, tmp_path, "keys", small(sql, column("customer", test)) | BESIDE)
    assert found[Status.REJECTED].partitions == ((BAD, BAD),)


def test_rows_left_out_of_a_report_are_held_back_as_well(
    here: Path, tmp_path: Path, spoil: Callable[..., None]
) -> None:
    spoil(lost=[BAD, "2013-01-04"])
    yml = column("status", "{accepted_values: {arguments: {values: [paid]}, config: {limit: 1}}}")
    holds = (
        "models: [{name: one, data_tests: [{holds: {arguments: {expression: status = 'paid'}, config: {limit: 1}}}]}]"
    )
    for name, files in (("limit_values", small(yml=yml)), ("limit_rows", small(yml=holds))):
        found = judged(here, tmp_path / name, name, files)
        assert found[Status.REJECTED].partitions == ((BAD, "2013-01-04"),)


@pytest.mark.parametrize(
    ("name", "yml"),
    [
        ("counted", "models: [{name: one, data_tests: [{counted: {arguments: {status: lost}}}]}]"),
        ("computed", column("lower(status)", "{accepted_values: {arguments: {values: [paid]}}}")),
    ],
)
def test_what_can_not_be_traced_to_days_holds_back_the_chunk(
    here: Path, tmp_path: Path, spoil: Callable[..., None], name: str, yml: str
) -> None:
    spoil(lost=[BAD])
    found = judged(here, tmp_path, name, small(yml=yml) | {"macros/counted.sql": COUNTED})
    assert found[Status.REJECTED].partitions == FIRST
    assert found[Status.PUBLISHED].partitions == SECOND
    assert "1 failure that doesn't say which partition" in found[Status.REJECTED].reason
