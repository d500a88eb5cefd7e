"""The decorators that make assets of functions: `source`, `bronze`, `silver`, `gold`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.policies import Freshness, Retry
from lakehouse.errors import DefinitionError
from lakehouse.partitions import Partitions, Unpartitioned

if TYPE_CHECKING:
    from lakehouse.checks import AnyCheck


class Decorator(typing.Protocol):
    """Turns a function into an asset of one layer."""

    @typing.overload
    def __call__(self, function: Callable[..., Any], /) -> Asset: ...

    @typing.overload
    def __call__(
        self,
        function: None = None,
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
    ) -> Callable[[Callable[..., Any]], Asset]: ...


def _decorator(layer: Layer) -> Decorator:
    def decorate(
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
    ) -> Any:
        def make(function: Callable[..., Any]) -> Asset:
            return _make(
                layer,
                function,
                partitions=partitions,
                checks=checks,
                words={"tags": tags, "owners": owners},
                group=group,
                retry=retry,
                freshness=freshness,
                code_version=code_version,
            )

        return make if function is None else make(function)

    decorate.__name__ = decorate.__qualname__ = str(layer)
    return typing.cast(Decorator, decorate)


def _make(
    layer: Layer,
    function: Callable[..., Any],
    *,
    partitions: Partitions | None,
    checks: Sequence[AnyCheck],
    words: Mapping[str, Sequence[str]],
    group: str,
    retry: Retry | None,
    freshness: Freshness | None,
    code_version: str | None,
) -> Asset:
    name = getattr(function, "__name__", "")
    where = f"@{layer} {name or function!r}"
    if isinstance(function, Asset):
        raise DefinitionError(f"@{layer} was given {function!r}, which is an asset already")
    if (
        not callable(function)
        or inspect.isclass(function)
        or not name.isidentifier()
        or inspect.iscoroutinefunction(function)
    ):
        raise DefinitionError(f"{where}: an asset is made from a named, ordinary function (def, not async)")
    if partitions is not None and not isinstance(partitions, Partitions):
        raise DefinitionError(f"{where}: partitions={partitions!r} is no partitions definition", hint="e.g. Daily(...)")
    # Nothing is stored of a source, so that no column has to hold its partition.
    cut = layer is not Layer.SOURCE and partitions is not None and not isinstance(partitions, Unpartitioned)
    if cut and partitions is not None and not partitions.columns:
        raise DefinitionError(
            f"{where}: {partitions} don't say which column holds the partition",
            hint=f"{type(partitions).__name__}(..., column='date')",
        )
    for word, given in words.items():
        if isinstance(given, str) or not isinstance(given, Collection) or not all(isinstance(w, str) for w in given):
            raise DefinitionError(f"{where}: {word} is a list of strings; given {given!r}")
    for what, text in {"group": group, "code_version": code_version or ""}.items():
        if not isinstance(text, str):
            raise DefinitionError(f"{where}: {what} is a string; given {text!r}")
    if retry is not None and not isinstance(retry, Retry):
        raise DefinitionError(f"{where}: retry={retry!r} is no Retry", hint="e.g. Retry(times=3)")
    if freshness is not None and not isinstance(freshness, Freshness):
        raise DefinitionError(f"{where}: freshness={freshness!r} is no Freshness", hint='e.g. Freshness(max_age="1d")')
    if not isinstance(checks, Collection):
        raise DefinitionError(f"{where}: checks is a list of checks; given {checks!r}", hint="see lakehouse.checks")
    for check in checks:
        if not (hasattr(check, "name") and hasattr(check, "blocking")):
            raise DefinitionError(f"{where}: {check!r} is no check", hint="see lakehouse.checks")
    names = [check.name for check in checks]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DefinitionError(f"{where}: two checks are named {twice[0]!r}", hint="give one of them a name= of its own")
    return Asset(
        layer=layer,
        name=name,
        function=function,
        partitions=partitions or Unpartitioned(),
        checks=tuple(checks),
        description=inspect.cleandoc(function.__doc__ or ""),
        tags=tuple(words["tags"]),
        owners=tuple(words["owners"]),
        group=group,
        retry=retry or Retry(),
        freshness=freshness,
        declared_version=code_version,
    )


@typing.overload
def source(function: Callable[[], Any], /) -> Asset: ...


@typing.overload
def source(
    *,
    partitions: Partitions | None = None,
    tags: Sequence[str] = (),
    owners: Sequence[str] = (),
    group: str = "",
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
) -> Any:
    """Declares an external asset: data that others write. It is looked at, and never materialized.

    Its function takes nothing and looks at little: it returns [lakehouse.io.Files][] (a pattern of files), or what
    changes whenever a partition does (an etag, a time, a number), by partition key; without partitions one string. A
    Bronze asset that has it as a parameter is given a
    [lakehouse.lineage.observations.Observed][] of the partitions that it makes.

    Parameters:
        partitions: how it is cut; its column needs no name
        tags: words to select it by
        owners: who answers for it
        group: a word to draw it with its like
        freshness: when a deployed lakehouse looks at it: ``cron`` or ``every``

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

    def make(function: Callable[..., Any]) -> Asset:
        made = _make(
            Layer.SOURCE,
            function,
            partitions=partitions,
            checks=(),
            words={"tags": tags, "owners": owners},
            group=group,
            retry=None,
            freshness=freshness,
            code_version=None,
        )
        if inspect.signature(function).parameters:
            raise DefinitionError(
                f"@source {made.name!r} has parameters; what looks at a source takes nothing",
                hint="an asset that is made from others is declared with @bronze, @silver or @gold",
            )
        return made

    return make if function is None else make(function)


bronze = _decorator(Layer.BRONZE)
"""Declares a Bronze asset: data as its source has it."""


silver = _decorator(Layer.SILVER)
"""Declares a Silver asset: cleansed and typed, from Bronze and Silver."""


gold = _decorator(Layer.GOLD)
"""Declares a Gold asset: the answer to a question, from Silver and Gold."""
