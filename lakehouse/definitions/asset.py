"""Assets: what a dataset is made from, as frozen values, and the decorators that make them.

Nothing here runs anything or knows where data lies. Annotations are read when they are first asked for (by the
graph), so that assets may be declared in any order.
"""

from __future__ import annotations

import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.code_version import CodeVersion, code_version
from lakehouse.definitions.compute import Compute
from lakehouse.definitions.policies import Freshness, Retry
from lakehouse.definitions.schema import Schema
from lakehouse.definitions.signature import Parameter, Signature, read_signature
from lakehouse.errors import shorten
from lakehouse.partitions import Partitions, PartitionSet, Unpartitioned
from lakehouse.redaction import logger

if TYPE_CHECKING:
    import logging

    from lakehouse.checks import AnyCheck
    from lakehouse.definitions.builder import Builder
    from lakehouse.definitions.former import FormerVersions

log = logger("lakehouse")


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


@final
@dataclass(frozen=True, eq=False)
class Asset:
    """A dataset as a value: how it is made, partitioned, checked, named. Built by [source][], [bronze][] and the like.

    Calling an asset calls its plain function, so that a unit test is a function call.

    Parameters:
        layer: where it stands
        name: its name; the key is ``layer.name``
        function: makes it from its inputs
        partitions: how it is partitioned
        checks: what stands before publication, besides its schema
        description: what it is
        tags: words to select it by
        owners: who answers for it
        group: a word to draw it with its like
        retry: how often a step of it is tried
        freshness: when it is refreshed, and when it is too old
        declared_version: its code version, where a person gives one
        builder: what computes it together with others; None: its function does
        compute: where its function is called; None: where the run is
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
    builder: Builder | None = None
    compute: Compute | None = None
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
        """Whether it is partitioned."""
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
    def keeps_files(self) -> bool:
        """Whether it keeps files as they are: its table is the list of them."""
        return self._signature.files

    @property
    def schema(self) -> Schema | None:
        """What the return annotation promises."""
        return self._signature.schema

    @property
    def code_version(self) -> str:
        """The declared version, or a fingerprint of the function with its helpers, blind to comments and formatting."""
        return self.declared_version or self._code.text

    @property
    def unseen(self) -> tuple[str, ...]:
        """What its code uses and none of its versions sees a change of, unless a version is declared."""
        if self.declared_version:
            return ()
        schema = self.schema.code.unseen if self.schema else ()
        return tuple(dict.fromkeys((*self._code.unseen, *schema, *self._checks.unseen)))

    @cached_property
    def _code(self) -> CodeVersion:
        return self._warned(code_version(self.function))

    @cached_property
    def _checks(self) -> CodeVersion:
        parts = [check.parts for check in sorted(self.checks, key=lambda check: check.name)]
        return self._warned(code_version(parts, module=self.function.__module__))

    def _warned(self, found: CodeVersion) -> CodeVersion:
        if found.unseen and not self.declared_version:
            log.warning(
                "%s: a change of %s makes nothing stale, for nobody can say whether it is the same in another process\n"
                '  hint: declare @%s(code_version="1"), and another one when it changes; or make it in the function',
                self.key,
                shorten(found.unseen),
                self.layer,
            )
        return found

    @property
    def schema_version(self) -> str:
        """A fingerprint of its schema; empty: it has none."""
        return self.schema.fingerprint if self.schema else ""

    @property
    def checks_version(self) -> str:
        """A fingerprint of its checks; empty: it has none."""
        return self._checks.text if self.checks else ""

    def same_code(self, recorded: str) -> bool:
        """Whether a code version that is recorded stands for the code as it is."""
        return recorded == self.code_version or (self.declared_version is None and recorded in self._former.code)

    def same_schema(self, recorded: str) -> bool:
        """Whether a schema version that is recorded stands for the schema as it is, or a declared version covers it."""
        return self.declared_version is not None or recorded == self.schema_version or recorded in self._former.schema

    def same_checks(self, recorded: str) -> bool:
        """Whether a checks version that is recorded stands for the checks as they are, or a declared one covers it."""
        return self.declared_version is not None or recorded == self.checks_version or recorded in self._former.checks

    @cached_property
    def _former(self) -> FormerVersions:
        from lakehouse.definitions.former import FormerVersions

        return FormerVersions.of(self.function, self.schema, self.checks)

    @cached_property
    def _signature(self) -> Signature:
        return self.declared or read_signature(self.key, self.function, lambda one: isinstance(one, Asset))

    @property
    def address(self) -> tuple[str, str] | None:
        """The module that another process finds it in, and its name there; None: it isn't found by a name."""
        module = inspect.getmodule(self.function)
        name = getattr(self.function, "__qualname__", "")
        return None if module is None or getattr(module, name, None) is not self else (module.__name__, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Asset({self.key})"

    def __reduce_ex__(self, protocol: typing.SupportsIndex) -> Any:
        # The decorator has put the asset where the function's name points, so the function can't
        # be pickled by reference, but the asset can. One that isn't found there goes by its parts.
        if self.address is not None:
            return _by_name, self.address
        _ = self.code_version  # where it arrives, its source may not be to be had
        return super().__reduce_ex__(protocol)


def _by_name(module: str, name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(module), name)


class AssetSource(ABC):
    """Something that a module may hold besides assets, and that has assets of its own, such as a dbt project.

    They count as the module's own, but are asked for only when a lakehouse is built or a name is looked up.
    """

    @property
    @abstractmethod
    def assets(self) -> tuple[Asset, ...]:
        """The assets."""
