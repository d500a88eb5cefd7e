"""What both type checkers must refuse. Nothing runs it: mypy and pyright read it (`test_types.py`, `make types`).

Each line that must fail ignores the one error that it must have, in mypy's words and in pyright's. An ignored error
that doesn't come is an error itself, for both.
"""

# pyright: reportUntypedFunctionDecorator=false

import polars as pl

from lakehouse import Daily, Retry, bronze, gold, silver, source

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
