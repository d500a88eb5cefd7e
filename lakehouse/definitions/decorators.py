"""The decorators that make assets of functions: `source`, `bronze`, `silver`, `gold`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final, overload

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.compute import Compute
from lakehouse.definitions.policies import Freshness, Retry
from lakehouse.errors import DefinitionError
from lakehouse.partitions import Partitions, Unpartitioned

if TYPE_CHECKING:
    from lakehouse.checks import AnyCheck


@overload
def source(function: Callable[[], Any], /) -> Asset: ...


@overload
def source(
    *,
    partitions: Partitions | None = None,
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
    freshness: Freshness | None = None,
) -> Callable[[Callable[[], Any]], Asset]: ...


def source(
    function: Callable[[], Any] | None = None,
    /,
    *,
    partitions: Partitions | None = None,
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
    freshness: Freshness | None = None,
) -> Asset | Callable[[Callable[[], Any]], Asset]:
    """Declares an external asset: data that others write. It is looked at, and never materialized.

    Its function takes nothing and looks at little: it returns [lakehouse.io.Files][] (a pattern of files), or what
    changes whenever a partition does (an etag, a time, a number), by partition key; without partitions one string. A
    Bronze asset that has it as a parameter is given a [lakehouse.Observed][] of the partitions that it makes.

    Parameters:
        function: looks at it; with keywords it is left out, and comes below the decorator
        partitions: how it is partitioned; its column needs no name
        tags: words to select it by
        owners: who answers for it
        group: a word to draw it with its like
        freshness: when a deployed lakehouse looks at it: ``cron`` or ``every``; or all the time: ``watched``

    Returns:
        The asset; with keywords, what makes one of a function.

    Raises:
        DefinitionError: what can't be an asset

    Examples:
        >>> from lakehouse.io import Files
        >>> from lakehouse.partitions import Daily
        >>> @source(partitions=Daily("2013-01-01"))
        ... def landing():
        ...     "What the airport sends."
        ...     return Files("landing/{partition}.csv")
        >>> landing.key
        'source.landing'
    """
    declaration = _Declaration(Layer.SOURCE, partitions, (), tags, owners, group, None, freshness, None)
    return declaration if function is None else declaration(function)


@overload
def bronze(function: Callable[..., Any], /) -> Asset: ...


@overload
def bronze(
    *,
    partitions: Partitions | None = None,
    checks: Sequence[AnyCheck] = (),
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
    retry: Retry | None = None,
    freshness: Freshness | None = None,
    code_version: str | None = None,
    compute: Compute | None = None,
) -> Callable[[Callable[..., Any]], Asset]: ...


def bronze(
    function: Callable[..., Any] | None = None,
    /,
    *,
    partitions: Partitions | None = None,
    checks: Sequence[AnyCheck] = (),
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
    retry: Retry | None = None,
    freshness: Freshness | None = None,
    code_version: str | None = None,
    compute: Compute | None = None,
) -> Asset | Callable[[Callable[..., Any]], Asset]:
    """Declares a Bronze asset: data as its source has it.

    Its function reads what lies outside: a file, an API, or a [lakehouse.source][] that is a parameter; or files that
    another Bronze asset keeps. The return annotation is its schema. Calling the asset calls the function.

    Parameters:
        function: makes the rows from its inputs; with keywords it is left out, and comes below the decorator
        partitions: how it is partitioned, and in which column; None: not at all
        checks: what its rows must pass before they are published, see [lakehouse.checks][]
        tags: words to select it by
        owners: who answers for it
        group: a word to draw it with its like
        retry: how often a step of it is tried
        freshness: when it is refreshed, and when it is too old
        code_version: replaces the fingerprint of its code: only another one makes its partitions stale
        compute: where its function is called, e.g. [lakehouse.WorkPool][]; None: where the run is

    Returns:
        The asset; with keywords, what makes one of a function.

    Raises:
        DefinitionError: what can't be an asset

    Examples:
        >>> from lakehouse import Daily, PartitionRange
        >>> @bronze(partitions=Daily("2013-01-01", column="date"), owners=["shop"])
        ... def raw_orders(partitions: PartitionRange):
        ...     "Orders as the shop exports them."
        >>> raw_orders.key
        'bronze.raw_orders'
    """
    declaration = _Declaration(
        Layer.BRONZE, partitions, checks, tags, owners, group, retry, freshness, code_version, compute
    )
    return declaration if function is None else declaration(function)


@overload
def silver(function: Callable[..., Any], /) -> Asset: ...


@overload
def silver(
    *,
    partitions: Partitions | None = None,
    checks: Sequence[AnyCheck] = (),
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
    retry: Retry | None = None,
    freshness: Freshness | None = None,
    code_version: str | None = None,
    compute: Compute | None = None,
) -> Callable[[Callable[..., Any]], Asset]: ...


def silver(
    function: Callable[..., Any] | None = None,
    /,
    *,
    partitions: Partitions | None = None,
    checks: Sequence[AnyCheck] = (),
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
    retry: Retry | None = None,
    freshness: Freshness | None = None,
    code_version: str | None = None,
    compute: Compute | None = None,
) -> Asset | Callable[[Callable[..., Any]], Asset]:
    """Declares a Silver asset: cleansed and typed, from Bronze and Silver.

    A parameter of its function is a dependency on the asset of that name in the function's module;
    [lakehouse.From][] says it outright. The return annotation is its schema, an input's annotation what it asks
    of that input. Calling the asset calls the function.

    Parameters:
        function: makes the rows from its inputs; with keywords it is left out, and comes below the decorator
        partitions: how it is partitioned, and in which column; None: not at all
        checks: what its rows must pass before they are published, see [lakehouse.checks][]
        tags: words to select it by
        owners: who answers for it
        group: a word to draw it with its like
        retry: how often a step of it is tried
        freshness: when it is refreshed, and when it is too old
        code_version: replaces the fingerprint of its code: only another one makes its partitions stale
        compute: where its function is called, e.g. [lakehouse.WorkPool][]; None: where the run is

    Returns:
        The asset; with keywords, what makes one of a function.

    Raises:
        DefinitionError: what can't be an asset

    Examples:
        >>> import polars as pl
        >>> from lakehouse.checks import unique
        >>> @silver(checks=[unique("order")])
        ... def orders(raw_orders: pl.LazyFrame) -> pl.LazyFrame:
        ...     return raw_orders.drop_nulls("amount")
        >>> [one.name for one in orders.inputs]
        ['raw_orders']
    """
    declaration = _Declaration(
        Layer.SILVER, partitions, checks, tags, owners, group, retry, freshness, code_version, compute
    )
    return declaration if function is None else declaration(function)


@overload
def gold(function: Callable[..., Any], /) -> Asset: ...


@overload
def gold(
    *,
    partitions: Partitions | None = None,
    checks: Sequence[AnyCheck] = (),
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
    retry: Retry | None = None,
    freshness: Freshness | None = None,
    code_version: str | None = None,
    compute: Compute | None = None,
) -> Callable[[Callable[..., Any]], Asset]: ...


def gold(
    function: Callable[..., Any] | None = None,
    /,
    *,
    partitions: Partitions | None = None,
    checks: Sequence[AnyCheck] = (),
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
    retry: Retry | None = None,
    freshness: Freshness | None = None,
    code_version: str | None = None,
    compute: Compute | None = None,
) -> Asset | Callable[[Callable[..., Any]], Asset]:
    """Declares a Gold asset: the answer to a question, from Silver and Gold.

    A parameter of its function is a dependency on the asset of that name in the function's module;
    [lakehouse.From][] says it outright. The return annotation is its schema, an input's annotation what it asks
    of that input. Calling the asset calls the function.

    Parameters:
        function: makes the rows from its inputs; with keywords it is left out, and comes below the decorator
        partitions: how it is partitioned, and in which column; None: not at all
        checks: what its rows must pass before they are published, see [lakehouse.checks][]
        tags: words to select it by
        owners: who answers for it
        group: a word to draw it with its like
        retry: how often a step of it is tried
        freshness: when it is refreshed, and when it is too old
        code_version: replaces the fingerprint of its code: only another one makes its partitions stale
        compute: where its function is called, e.g. [lakehouse.WorkPool][]; None: where the run is

    Returns:
        The asset; with keywords, what makes one of a function.

    Raises:
        DefinitionError: what can't be an asset

    Examples:
        >>> import polars as pl
        >>> @gold
        ... def revenue(orders: pl.LazyFrame) -> pl.LazyFrame:
        ...     return orders.select(pl.col("amount").sum())
        >>> revenue(pl.LazyFrame({"amount": [1.5, 2.0]})).collect().item()
        3.5
    """
    declaration = _Declaration(
        Layer.GOLD, partitions, checks, tags, owners, group, retry, freshness, code_version, compute
    )
    return declaration if function is None else declaration(function)


@final
@dataclass(frozen=True)
class _Declaration:
    """What a decorator was given; called with the function, it is the asset."""

    layer: Layer
    partitions: Partitions | None
    checks: Sequence[AnyCheck]
    tags: Sequence[str]
    owners: Sequence[str]
    group: str
    retry: Retry | None
    freshness: Freshness | None
    code_version: str | None
    compute: Compute | None = None

    def __call__(self, function: Callable[..., Any]) -> Asset:
        self._refuse(function)
        return Asset(
            layer=self.layer,
            name=function.__name__,
            function=function,
            partitions=self.partitions or Unpartitioned(),
            checks=tuple(self.checks),
            description=inspect.cleandoc(function.__doc__ or ""),
            tags=tuple(self.tags),
            owners=tuple(self.owners),
            group=self.group,
            retry=self.retry or Retry(),
            freshness=self.freshness,
            declared_version=self.code_version,
            compute=self.compute,
        )

    def _refuse(self, function: Callable[..., Any]) -> None:
        """Raise for what can't be an asset."""
        name = getattr(function, "__name__", "")
        where = f"@{self.layer} {name or function!r}"
        if isinstance(function, Asset):
            raise DefinitionError(f"@{self.layer} was given {function!r}, which is an asset already")
        if (
            not callable(function)
            or inspect.isclass(function)
            or not name.isidentifier()
            or inspect.iscoroutinefunction(function)
        ):
            raise DefinitionError(f"{where}: an asset is made from a named, ordinary function (def, not async)")
        if self.layer is Layer.SOURCE and inspect.signature(function).parameters:
            raise DefinitionError(
                f"@source {name!r} has parameters; what looks at a source takes nothing",
                hint="an asset that is made from others is declared with @bronze, @silver or @gold",
            )
        self._refuse_partitions(where)
        for word, given in {"tags": self.tags, "owners": self.owners}.items():
            if (
                isinstance(given, str)
                or not isinstance(given, Collection)
                or not all(isinstance(one, str) for one in given)
            ):
                raise DefinitionError(f"{where}: {word} is a list of strings; given {given!r}")
        for word, text in {"group": self.group, "code_version": self.code_version or ""}.items():
            if not isinstance(text, str):
                raise DefinitionError(f"{where}: {word} is a string; given {text!r}")
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise DefinitionError(f"{where}: retry={self.retry!r} is no Retry", hint="e.g. Retry(times=3)")
        if self.freshness is not None and not isinstance(self.freshness, Freshness):
            raise DefinitionError(
                f"{where}: freshness={self.freshness!r} is no Freshness", hint='e.g. Freshness(max_age="1d")'
            )
        if self.compute is not None and not isinstance(self.compute, Compute):
            raise DefinitionError(f"{where}: compute={self.compute!r} is no place", hint='e.g. WorkPool("ecs-extract")')
        if self.freshness is not None and self.freshness.watched and self.layer is not Layer.SOURCE:
            raise DefinitionError(
                f"{where} can't be watched: only what others write can", hint="Freshness(after_inputs=True)"
            )
        self._refuse_checks(where)

    def _refuse_partitions(self, where: str) -> None:
        if self.partitions is None or isinstance(self.partitions, Unpartitioned):
            return
        if not isinstance(self.partitions, Partitions):
            raise DefinitionError(
                f"{where}: partitions={self.partitions!r} is no partitions definition", hint="e.g. Daily(...)"
            )
        # Nothing is stored of a source, so that no column has to hold its partition.
        if self.layer is not Layer.SOURCE and not self.partitions.columns:
            raise DefinitionError(
                f"{where}: {self.partitions} don't say which column holds the partition",
                hint=f"{type(self.partitions).__name__}(..., column='date')",
            )

    def _refuse_checks(self, where: str) -> None:
        if not isinstance(self.checks, Collection):
            raise DefinitionError(
                f"{where}: checks is a list of checks; given {self.checks!r}", hint="see lakehouse.checks"
            )
        for check in self.checks:
            if not (hasattr(check, "name") and hasattr(check, "blocking")):
                raise DefinitionError(f"{where}: {check!r} is no check", hint="see lakehouse.checks")
        names = [check.name for check in self.checks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DefinitionError(
                f"{where}: two checks are named {twice[0]!r}", hint="give one of them a name= of its own"
            )
