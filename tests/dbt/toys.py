"""A shop whose source can be spoiled, and a dbt project over it: models of every kind, with tests that can fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import pandera.polars as pa
import polars as pl
from pandera.typing.polars import LazyFrame

from lakehouse import Asset, Daily, From, PartitionRange, bronze, gold, silver

ROWS = 4
daily = Daily("2013-01-01", end="2013-01-08", column="date")
WORLD: dict[str, list[str]] = {}
"""What is wrong with the source just now: days by fault."""


class Sums(pa.DataFrameModel):
    """What a consumer asks of a dbt model."""

    date: pl.Date
    amount: pl.Int64


@bronze(partitions=daily)
def raw_orders(partitions: PartitionRange) -> pl.LazyFrame:
    """Four orders a day."""
    days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True).alias("date")
    frame = days.to_frame().lazy().with_columns(number=pl.int_ranges(0, ROWS)).explode("number")
    day, third = pl.col("date").cast(pl.String), pl.col("number") == 3

    def on(fault: str) -> pl.Expr:
        return day.is_in(WORLD.get(fault, []))

    return frame.select(
        "date",
        customer=pl.when(on("nobody") & third).then(None).otherwise(pl.col("number") % 2 + 1),
        amount=pl.when(on("negative") & third)
        .then(-1)
        .when(on("large"))
        .then(5000)
        .when(on("odd"))
        .then(77)
        .when(on("odd once") & third)
        .then(77)
        .otherwise(pl.col("number") * 10),
        status=pl.when(on("lost") & third).then(pl.lit("lost")).otherwise(pl.lit("paid")),
    )


@silver(partitions=daily)
def orders(raw_orders: pl.LazyFrame) -> pl.LazyFrame:
    """The orders."""
    return raw_orders


@bronze
def raw_customers() -> pl.LazyFrame:
    """Two customers."""
    return pl.LazyFrame({"customer": [1, 2], "name": ["Ann", "Bob"]})


@silver
def customers(raw_customers: pl.LazyFrame) -> pl.LazyFrame:
    """The customers."""
    return raw_customers


@gold(partitions=daily)
def doubled(sums: Annotated[LazyFrame[Sums], From("gold.sums")]) -> pl.LazyFrame:
    """In polars, between two dbt models."""
    return cast(pl.LazyFrame, sums).with_columns(twice=pl.col("amount") * 2)


PROJECT = """
name: shop
version: "1.0"
profile: whatever
models:
  shop:
    +materialized: table
    +meta: {owner: ann, lakehouse: {partitions: silver.orders, column: date}}
"""

SOURCES = """
sources:
  - name: silver
    tables: [{name: orders}, {name: customers}]
"""

HOLDS = """
{% test holds(model, expression) %} select * from {{ model }} where not ({{ expression }}) {% endtest %}
"""

MODELS = """
models:
  - name: every_order
    description: All of them.
    config: {tags: [core]}
    data_tests:
      - holds: {name: not_negative, arguments: {expression: amount >= 0}}
      - holds: {name: not_large, arguments: {expression: amount < 1000}, config: {severity: warn}}
      - holds: {name: rarely_77, arguments: {expression: amount <> 77}, config: {error_if: ">1", warn_if: ">0"}}
    columns:
      - name: status
        data_tests: [{accepted_values: {name: known_status, arguments: {values: [paid]}}}]
  - name: sums
    description: A sum for each day.
    config: {group: money, tags: [core, daily], contract: {enforced: true}}
    columns:
      - {name: date, data_type: date, description: The day., data_tests: [not_null]}
      - {name: n, data_type: bigint, constraints: [{type: not_null}]}
      - {name: amount, data_type: bigint, data_tests: [not_null]}
      - {name: named, data_type: varchar}
  - name: shares
    config: {materialized: view}
  - name: by_region
    config: {meta: {lakehouse: null}}
  - name: tops
    description: Downstream of polars, which is downstream of dbt.
seeds:
  - {name: regions, description: Where customers are.}
groups:
  - name: money
    owner: {name: ann}
"""

SHOP: dict[str, str] = {
    "dbt_project.yml": PROJECT,
    "macros/holds.sql": HOLDS,
    "macros/called.sql": "{% macro called() %} count(*) {% endmacro %}",
    "seeds/regions.csv": "customer,region\n1,east\n2,west\n",
    "models/sources.yml": SOURCES + "  - {name: gold, tables: [{name: doubled}]}\n",
    "models/models.yml": MODELS,
    "models/plain.sql": "{{ config(materialized='ephemeral') }} select * from {{ source('silver', 'orders') }}",
    "models/every_order.sql": """
        {{ config(materialized='incremental', unique_key='date', incremental_strategy='delete+insert') }}
        select * from {{ source('silver', 'orders') }}
        {% if is_incremental() %} where date > (select max(date) from {{ this }}) {% endif %}
    """,
    "models/sums.sql": """
        select date, {{ called() }} as n, cast(sum(amount) as bigint) as amount, max(name) as named
        from {{ ref('plain') }} left join {{ source('silver', 'customers') }} using (customer) group by date
    """,
    "models/shares.sql": "select date, amount / nullif(n, 0) as mean, sum(amount) as whole "
    "from {{ ref('sums') }} group by all",
    "models/by_region.sql": "select region, sum(amount) as amount from {{ ref('every_order') }} "
    "join {{ ref('regions') }} using (customer) group by region",
    "models/tops.sql": "select date, twice from {{ source('gold', 'doubled') }}",
}

ALL: tuple[Asset, ...] = (orders, customers, doubled)


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def small(sql: str = "select * from {{ source('silver', 'orders') }}", yml: str = "", **more: str) -> dict[str, Any]:
    """A project of one model."""
    files = {
        "dbt_project.yml": PROJECT,
        "macros/holds.sql": HOLDS,
        "models/sources.yml": SOURCES,
        "models/one.sql": sql,
    }
    return files | ({"models/models.yml": yml} if yml else {}) | more
