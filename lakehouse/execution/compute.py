"""A step's rows: its function called with its inputs, or what a builder made in its stead."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.builder import Built
from lakehouse.errors import LakehouseError, StepError, StorageError, panics_raised, shorten
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.home import load
from lakehouse.execution.pins import Pins
from lakehouse.lineage.observations import Sighting, look, observation
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Input

if TYPE_CHECKING:
    import polars as pl


@final
@dataclass(frozen=True)
class Computed:
    """Rows that are yet to be computed, with the columns and types that the asset's schema promises.

    Parameters:
        frame: the rows
        pins: the versions that they are made from
    """

    frame: pl.LazyFrame
    pins: Pins


def call_function(attempt: Attempt, todo: PartitionSet, pins: Pins) -> Computed:
    """Have the asset's function make some partitions.

    Parameters:
        attempt: the step
        todo: which partitions
        pins: the versions of its inputs, as far as they are settled: external ones are looked at now

    Raises:
        StepError: the function raised, or returned what it may not
        StorageError: an input can't be read
    """
    import polars as pl

    from lakehouse.checks.gate import conform
    from lakehouse.io.frames import take
    from lakehouse.io.relations import default_in_utc

    asset = attempt.asset
    seen = {one.asset.key: look(one.asset) for one in attempt.step.inputs if one.asset.external}
    pins = _record_seen(attempt, todo, pins, seen)
    # A function that asks for its range gets one range at a time: it never has to think of gaps.
    alone = "partitions" in asset.takes
    parts = [PartitionSet(todo.partitions, (span,)) for span in todo.spans] if alone else [todo]
    frames = []
    for part in parts:
        given = _arguments(attempt, part, todo, pins, seen)
        with _blaming_function(asset, part), default_in_utc():
            frame = take(asset.function(**given), where=asset.key)
            frame.collect_schema()
        frames.append(frame)
    with _blaming_function(asset, todo):
        frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="vertical")
        return Computed(conform(asset, frame), pins)


def take_built(attempt: Attempt, todo: PartitionSet, pins: Pins, built: Built, others: PartitionSet) -> Computed:
    """What a builder made of a step.

    Parameters:
        attempt: the step
        todo: which partitions of it are wanted
        pins: the versions that the builder read
        built: what it made
        others: partitions that may be among it and aren't wanted: made for other steps, or blocked by now

    Raises:
        StepError: nothing was made, or what it may not be
    """
    import polars as pl

    from lakehouse.checks.gate import conform
    from lakehouse.io.tokens import token, within

    asset = attempt.asset
    if built.frame is None:
        raise StepError(f"{asset.key}: {built.error or 'it was not made'}")
    with _blaming_function(asset, todo):
        frame, schema = built.frame, built.frame.collect_schema()
        columns = asset.partitions.columns
        if others and columns and set(columns) <= set(schema):
            key = token(asset.partitions, schema, where=asset.key)
            frame = frame.filter(~within(others, key) | pl.any_horizontal(pl.col(columns).is_null()))
        return Computed(conform(asset, frame), pins)


def read_input(attempt: Attempt, given: Input, partitions: PartitionSet, version: int | None) -> pl.LazyFrame:
    """The rows of some partitions of an input, at a version; None: it was never built.

    Raises:
        StorageError: the table or the version is not there
    """
    if version is None and not partitions:
        # Nothing is needed of what was never built, as at the beginning of a window.
        import polars as pl

        schema = given.asset.schema
        return pl.LazyFrame(schema={c.name: c.dtype for c in schema.columns} if schema else None)
    return load(attempt.home.table(given.asset), given.asset, partitions, version=version)


def _arguments(
    attempt: Attempt, part: PartitionSet, todo: PartitionSet, pins: Pins, seen: Mapping[str, Sighting]
) -> dict[str, Any]:
    """What the function is called with, for one part of what is to be made."""
    from lakehouse.io.frames import give

    asset = attempt.asset
    frame_types = {parameter.name: parameter.frame for parameter in asset.inputs}
    arguments: dict[str, Any] = {}
    for one in attempt.step.inputs:
        needed = _needed(attempt, one, part)
        if one.asset.external:
            arguments[one.parameter] = seen[one.asset.key].within(needed)
            continue
        version = pins.version(one)
        frame = read_input(attempt, one, needed, version)
        try:
            arguments[one.parameter] = give(frame, frame_types[one.parameter])
        except LakehouseError:
            raise
        except Exception as error:
            raise StorageError(
                f"{asset.key}: its input {one.asset.key} at version {version} "
                f"can't be read: {type(error).__name__}: {error}"
            ) from error
    if "partitions" in asset.takes:
        arguments["partitions"] = part.hull
    if "context" in asset.takes:
        arguments["context"] = attempt.context(todo)
    return arguments


def _needed(attempt: Attempt, given: Input, partitions: PartitionSet) -> PartitionSet:
    """The partitions of an input that some of the step's are made from."""
    return attempt.step.mapping(given).upstream(partitions) & given.partitions


def _record_seen(attempt: Attempt, todo: PartitionSet, pins: Pins, seen: Mapping[str, Sighting]) -> Pins:
    """Write down what of external assets isn't as it was for the plan: it is what is read; returns the pins with it."""
    versions: dict[str, int] = {}
    for one in attempt.step.inputs:
        if not one.asset.external:
            continue
        needed = _needed(attempt, one, todo)
        found = seen[one.asset.key].within(needed).versions
        absent = [key for key in needed if key not in found]
        if absent:
            raise StepError(
                f"{attempt.asset.key}: {one.asset.key} {shorten(absent)} is gone since it was observed",
                hint="what was made from it before stays as it is; lakehouse observe looks again",
            )
        fact = observation(one.asset, found, one.digests)
        if fact is not None and fact.version is not None:
            attempt.home.lineage_store.append([fact])
            versions[one.asset.key] = fact.version
    return pins.observed(versions)


@contextmanager
def _blaming_function(asset: Asset, part: PartitionSet) -> Iterator[None]:
    """Say whose function it was that raised, for which partitions, and where."""
    try:
        with panics_raised():
            yield
    except LakehouseError:
        raise
    except Exception as error:
        what = f"{asset.key} {part}".rstrip() if asset.partitioned else asset.key
        text = str(error).strip() or "nothing more"
        raise StepError(
            f"{what}: the function raised {type(error).__name__}: {text}{_own_line(asset, error)}"
        ) from error


def _own_line(asset: Asset, error: Exception) -> str:
    """The last line of the asset's own module that an error went through."""
    code = getattr(asset.function, "__code__", None)
    own = [f for f in traceback.extract_tb(error.__traceback__) if code is not None and f.filename == code.co_filename]
    return f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""
