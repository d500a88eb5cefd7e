"""What both type checkers must refuse. Nothing runs it: mypy and pyright read it (`test_types.py`, `make types`).

Each line that must fail ignores the one error that it must have, in mypy's words and in pyright's. An ignored error
that doesn't come is an error itself, for both.
"""

# pyright: reportUntypedFunctionDecorator=false

import polars as pl

from lakehouse import Daily, Lakehouse, Retry, backfill, bronze, gold, materialize, plan, refresh, silver, source

daily = Daily("2013-01-01", column="date")


def look() -> str:
    return "1"


def make() -> pl.LazyFrame:
    return pl.LazyFrame()


# ── decorators: a typo, a value of another kind, what has no meaning for a source ─────────

source(partition=daily)(look)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
source(retry=Retry(times=3))(look)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
source(code_version="1")(look)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
bronze(partition=daily)(make)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
silver(check=[])(make)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
gold(owner=["shop"])(make)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
gold(daily)(make)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
bronze(checks=["unique"])(make)  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
silver(partitions="daily")(make)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
gold(retry=3)(make)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
source(freshness="1h")(look)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


# ── verbs: a typo, a value of another kind ────────────────────────────────────────────────


def verbs(lake: Lakehouse) -> None:
    lake.materialize("gold.*", partition="2013")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    lake.materialize("gold.*", enginee="inline")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    lake.refresh("gold.*", engine="dagster")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lake.refresh("gold.*", 2013.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lake.refresh("gold.*", upstream="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lake.backfill("gold.*")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    lake.plan("gold.*", chunk="7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def module_level_verbs() -> None:
    materialize("gold.*", partition="2013")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    materialize("gold.*", enginee="inline")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    refresh("gold.*", parallel=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    backfill("gold.*", "2013-01", parallel="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plan("gold.*", upstream="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
