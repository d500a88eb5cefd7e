"""Assets: what a dataset is made from, as frozen values, and the decorators that make them.

Nothing here runs anything or knows where data lies. Annotations are read when they are first asked for (by the
graph), so that assets may be declared in any order.
"""

from __future__ import annotations

import inspect
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lakehouse.errors import DefinitionError
from lakehouse.fingerprint import digest, fingerprint
from lakehouse.partitions import Partitions, PartitionSet, Rule, Unpartitioned, last_tick

if TYPE_CHECKING:
    import logging

    from lakehouse.checks import AnyCheck
    from lakehouse.maker import Maker

RESERVED = ("partitions", "context")
"""Parameters that are no inputs: the partitions to make, and the run's context."""


class Layer(StrEnum):
    """Where a dataset stands: outside, raw, cleansed, or answering a question."""

    SOURCE = "source"
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"

    @property
    def reads(self) -> frozenset[Layer]:
        """The layers that it may read from."""
        match self:
            case Layer.SOURCE:
                return frozenset()
            case Layer.BRONZE:
                return frozenset({Layer.SOURCE})
            case Layer.SILVER:
                return frozenset({Layer.BRONZE, Layer.SILVER})
            case Layer.GOLD:
                return frozenset({Layer.SILVER, Layer.GOLD})


@final
@dataclass(frozen=True)
class From:
    """Says outright which asset a parameter is, and which of its partitions.

    Parameters:
        asset: the asset, or its key
        rule: which of its partitions are read; None: what is obvious from how the two are cut

    Examples:
        >>> From("bronze.flights").key
        'bronze.flights'
    """

    asset: Asset | str
    rule: Rule | None = None

    @property
    def key(self) -> str:
        """The asset's key."""
        return self.asset if isinstance(self.asset, str) else self.asset.key


@final
@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and how patiently a step is tried again.

    Parameters:
        times: further attempts after the first
        delay: seconds between attempts
        timeout: seconds that one attempt may take; None: as long as it needs

    Raises:
        DefinitionError: a negative number

    Examples:
        >>> Retry(times=2, delay=30).times
        2
    """

    times: int = 0
    delay: float = 0
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.times < 0 or self.delay < 0 or (self.timeout is not None and self.timeout <= 0):
            raise DefinitionError(f"{self} can't be: times and delay are 0 or more, a timeout is more than 0 seconds")


@final
@dataclass(frozen=True, kw_only=True)
class Freshness:
    """How fresh an asset is kept: when it is refreshed, and when what is there is too old.

    Parameters:
        max_age: a published partition older than this is built anew; of partitions of time, only the newest one is
            held to it, for those before it are history. A ``timedelta``, or text such as ``"26h"``, ``"7d"``
        cron: when a deployed lakehouse refreshes it: five fields, such as ``"0 6 * * *"``. What has no inputs and isn't
            cut by time is built anew each time, for nothing else tells whether it is still right
        every: instead of ``cron``, the time between two refreshes
        after_inputs: instead of both, when one of its inputs publishes
        timezone: an IANA name; the clock that ``cron`` is of

    Raises:
        DefinitionError: a duration that is none, or more than one answer to when

    Examples:
        >>> Freshness(cron="0 6 * * *", max_age="26h").max_age
        datetime.timedelta(days=1, seconds=7200)
    """

    max_age: timedelta | None = None
    cron: str | None = None
    every: timedelta | None = None
    after_inputs: bool = False
    timezone: str = "UTC"

    def __init__(
        self,
        *,
        max_age: timedelta | str | None = None,
        cron: str | None = None,
        every: timedelta | str | None = None,
        after_inputs: bool = False,
        timezone: str = "UTC",
    ) -> None:
        if sum((cron is not None, every is not None, after_inputs)) > 1:
            raise DefinitionError("Freshness takes one of cron, every and after_inputs; more than one was given")
        set_ = object.__setattr__
        set_(self, "max_age", _duration("max_age", max_age))
        set_(self, "cron", cron)
        set_(self, "every", _duration("every", every))
        set_(self, "after_inputs", after_inputs)
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
            raise DefinitionError(
                f"{timezone!r} is no time zone", hint="use an IANA name such as Europe/Berlin"
            ) from None
        set_(self, "timezone", timezone)
        if cron is not None:
            last_tick(cron, datetime(2000, 1, 1, tzinfo=UTC), timezone)  # says what is wrong with it

    def due(self, made: datetime, now: datetime) -> bool:
        """Whether its schedule has come round since something was made.

        Parameters:
            made: when that was begun; now: the present
        """
        if self.cron is not None:
            return made < last_tick(self.cron, now, self.timezone)
        # A schedule's runs begin when a worker is free, so two of them may lie nearer together than its ticks.
        return self.every is not None and now - made >= 0.5 * self.every

    @property
    def scheduled(self) -> bool:
        """Whether it says when the asset is refreshed."""
        return self.cron is not None or self.every is not None or self.after_inputs


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(name: str, given: timedelta | str | None) -> timedelta | None:
    if given is None:
        return None
    if isinstance(given, str):
        number, unit = given.strip()[:-1], given.strip()[-1:]
        if number.isdecimal() and unit in _UNITS:
            given = timedelta(**{_UNITS[unit]: int(number)})
    if not isinstance(given, timedelta) or given <= timedelta(0):
        raise DefinitionError(f"{name}={given!r} is no duration", hint='a timedelta, or text: "30m", "26h", "7d"')
    return given


@final
@dataclass(frozen=True)
class Context:
    """What a step may know about the run it belongs to.

    Parameters:
        run_id: the run's id
        asset: key of the asset that is being made
        partitions: all partitions that the step makes
        attempt: 1 for the first try
        started_at: when the run started (UTC)
        logger: where a function may log
    """

    run_id: str
    asset: str
    partitions: PartitionSet
    attempt: int
    started_at: datetime
    logger: logging.Logger = field(repr=False, compare=False)


# ── schemas ───────────────────────────────────────────────────────────────────────────────


@final
@dataclass(frozen=True)
class Column:
    """A column that a schema names.

    Parameters:
        name: its name
        dtype: its type, a polars data type; None: any
        nullable: whether values may be missing
        required: whether a frame must have it
        description: what it means
    """

    name: str
    dtype: Any = None
    nullable: bool = False
    required: bool = True
    description: str = ""


@final
@dataclass(frozen=True)
class Schema:
    """The columns that an asset promises, or that a consumer asks for.

    Parameters:
        name: what people call it
        columns: the columns, in order
        model: the pandera model behind it, which also checks values
        rules: the checks of values, as text
    """

    name: str
    columns: tuple[Column, ...]
    model: Any = field(default=None, compare=False, repr=False)
    rules: str = field(default="", repr=False)

    @classmethod
    def of(cls, model: Any) -> Schema:
        """Read a pandera model.

        Raises:
            DefinitionError: it can't be read
        """
        try:
            found = model.to_schema()
            columns = tuple(
                Column(
                    name,
                    getattr(column.dtype, "type", None),
                    bool(column.nullable),
                    bool(column.required),
                    str(column.description or ""),
                )
                for name, column in found.columns.items()
            )
            rules = _rules(found)
        except Exception as error:
            raise DefinitionError(
                f"the schema {getattr(model, '__name__', model)!r} can't be read: {type(error).__name__}: {error}",
                hint="a schema is a pandera.polars DataFrameModel",
            ) from error
        return cls(getattr(model, "__name__", str(model)), columns, model, rules)

    def __getitem__(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    def __contains__(self, name: object) -> bool:
        return any(c.name == name for c in self.columns)

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of names, types, nullability and rules."""
        return digest(*(f"{c.name}:{c.dtype}:{c.nullable}:{c.required}" for c in self.columns), self.rules)

    def lacks(self, asked: Schema) -> list[tuple[str, str]]:
        """What a consumer asks for and this schema doesn't promise: (column, why)."""
        faults = []
        for want in asked.columns:
            if want.name not in self:
                if want.required:
                    faults.append((want.name, "is not promised"))
                continue
            have = self[want.name]
            if want.dtype is not None and have.dtype is not None and want.dtype != have.dtype:
                faults.append((want.name, f"is promised as {have.dtype}, asked for as {want.dtype}"))
            elif have.nullable and not want.nullable:
                faults.append((want.name, "may be missing a value there, must not here"))
            elif want.required and not have.required:
                faults.append((want.name, "is optional there, required here"))
        return faults


def _rules(schema: Any) -> str:
    """The value checks of a pandera schema as text, in the order in which they are declared."""

    def told(checks: Any) -> list[Any]:
        return [
            (c.name, repr(c.statistics)) if c.statistics else (c.name, fingerprint(c._check_fn)) for c in checks or ()
        ]

    columns = [(name, c.unique, c.coerce, told(c.checks)) for name, c in schema.columns.items()]
    plain = all(not (unique or coerce or checks) for _, unique, coerce, checks in columns)
    whole = (told(schema.checks), schema.unique, schema.strict, schema.coerce)
    return "" if plain and whole == ([], None, False, False) else repr((columns, whole))


# ── assets ────────────────────────────────────────────────────────────────────────────────


@final
@dataclass(frozen=True)
class Parameter:
    """A parameter of an asset's function that is an input.

    Parameters:
        name: the parameter
        source: the asset that its annotation names outright, if it does
        frame: the type that the function wants to be given
        schema: the contract, if its annotation has one
    """

    name: str
    source: From | None
    frame: Any
    schema: Schema | None


@final
@dataclass(frozen=True)
class Signature:
    """What an asset is made from and what it promises.

    Parameters:
        inputs: its inputs
        takes: which of the reserved parameters it wants
        frame: the type of frame that it is
        schema: what it promises
    """

    inputs: tuple[Parameter, ...]
    takes: frozenset[str]
    frame: Any
    schema: Schema | None


@final
@dataclass(frozen=True, eq=False)
class Asset:
    """A dataset as a value: how it is made, cut, checked, named. Made by [source][], [bronze][] and the like.

    Calling an asset calls its plain function, so that a unit test is a function call.

    Parameters:
        layer: where it stands
        name: its name; the key is ``layer.name``
        function: makes it from its inputs
        partitions: how it is cut
        checks: what stands before publication, besides its schema
        description: what it is
        tags: words to select it by
        owners: who answers for it
        group: a word to draw it with its like
        retry: how often a step of it is tried
        freshness: when it is refreshed, and when it is too old
        declared_version: its code version, where a person gives one
        maker: what computes it together with others; None: its function does
        declared: its signature, where it isn't read from the function's annotations
    """

    layer: Layer
    name: str
    function: Callable[..., Any]
    partitions: Partitions = field(default_factory=Unpartitioned)
    checks: tuple[AnyCheck, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    group: str = ""
    retry: Retry = field(default_factory=Retry)
    freshness: Freshness | None = None
    declared_version: str | None = None
    maker: Maker | None = None
    declared: Signature | None = None

    @property
    def key(self) -> str:
        """Layer and name: ``silver.flights``."""
        return f"{self.layer}.{self.name}"

    @property
    def external(self) -> bool:
        """Whether others write it: it is observed, and never materialized."""
        return self.layer is Layer.SOURCE

    @property
    def partitioned(self) -> bool:
        """Whether it is cut at all."""
        return not isinstance(self.partitions, Unpartitioned)

    @property
    def inputs(self) -> tuple[Parameter, ...]:
        """The parameters that are inputs, in order."""
        return self._signature.inputs

    @property
    def takes(self) -> frozenset[str]:
        """Which of the reserved parameters the function has."""
        return self._signature.takes

    @property
    def schema(self) -> Schema | None:
        """What the return annotation promises."""
        return self._signature.schema

    @cached_property
    def code_version(self) -> str:
        """The declared version, or a fingerprint of the function with its helpers, blind to comments and formatting."""
        return self.declared_version or fingerprint(self.function)

    @property
    def schema_version(self) -> str:
        """A fingerprint of its schema; empty: it has none."""
        return self.schema.fingerprint if self.schema else ""

    @cached_property
    def checks_version(self) -> str:
        """A fingerprint of its checks; empty: it has none."""
        return digest(*sorted(check.fingerprint for check in self.checks)) if self.checks else ""

    @cached_property
    def _signature(self) -> Signature:
        return self.declared or _read_signature(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Asset({self.key})"

    def __reduce_ex__(self, protocol: typing.SupportsIndex) -> Any:
        # The decorator has put the asset where the function's name points, so the function can't
        # be pickled by reference, but the asset can. One that isn't found there goes by its parts.
        module = inspect.getmodule(self.function)
        if module is not None and getattr(module, getattr(self.function, "__qualname__", ""), None) is self:
            return _by_name, (module.__name__, self.function.__qualname__)
        return super().__reduce_ex__(protocol)


def _by_name(module: str, name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(module), name)


def _read_signature(asset: Asset) -> Signature:
    function = asset.function
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise DefinitionError(
            f"the annotations of {asset.key} can't be read: {type(error).__name__}: {error}",
            hint="every name in an annotation must be known in the function's own module",
        ) from error
    inputs: list[Parameter] = []
    takes: set[str] = set()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DefinitionError(
                f"{asset.key} has the parameter {parameter}, which names no input",
                hint="give each input a parameter of its own",
            )
        if name in RESERVED:
            takes.add(name)
        else:
            frame, schema, source = _read_annotation(asset, name, hints.get(name))
            inputs.append(Parameter(name, source, frame, schema))
    frame, schema, _ = _read_annotation(asset, "return", hints.get("return"))
    return Signature(tuple(inputs), frozenset(takes), frame, schema)


def _read_annotation(asset: Asset, name: str, hint: Any) -> tuple[Any, Schema | None, From | None]:
    """Take an annotation apart: the type of frame, the schema, and the asset it names."""
    source: From | None = None
    schema: Schema | None = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        for extra in extras:
            if isinstance(extra, From):
                source = extra
            elif isinstance(extra, Asset):
                source = From(extra)
            elif hasattr(extra, "to_schema"):
                schema = Schema.of(extra)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        raise DefinitionError(
            f"{asset.key}: {name} is annotated with {hint}, which is more than one type",
            hint="name one type of frame, e.g. LazyFrame[Model]",
        )
    arguments = typing.get_args(hint)
    if arguments and hasattr(arguments[0], "to_schema"):
        schema = Schema.of(arguments[0])
    return typing.get_origin(hint) or hint, schema, source


class AssetSource(ABC):
    """Something that a module may hold besides assets, and that has assets of its own, such as a dbt project.

    They count as the module's own, but are asked for only when a lakehouse is built or a name is looked up.
    """

    @property
    @abstractmethod
    def assets(self) -> tuple[Asset, ...]:
        """The assets."""


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
    Bronze asset that has it as a parameter is given a [lakehouse.observe.Observed][] of the partitions that it makes.

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
