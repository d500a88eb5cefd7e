"""A step's rows: its function called with its inputs, or what a builder made in its stead."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final

from lakehouse.definitions.asset import Asset, Context
from lakehouse.definitions.builder import Built
from lakehouse.definitions.signature import Parameter
from lakehouse.errors import LakehouseError, StepError, StorageError, panics_raised, shorten
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.home import as_promised, load
from lakehouse.execution.pins import Pins
from lakehouse.lineage.observations import Observed, Sighting, look, observation
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Input

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.io import Table
    from lakehouse.io.scratch import Scratch
    from lakehouse.io.tables import PinnedRows

Tables: TypeAlias = "Callable[[Asset], Table]"
"""Where the rows of each asset live."""


@final
@dataclass(frozen=True)
class Sources:
    """What a step reads.

    Parameters:
        pins: the version of each input
        seen: what there is of each external one, by its key
    """

    pins: Pins
    seen: Mapping[str, Sighting]


def look_at_sources(attempt: Attempt, todo: PartitionSet, pins: Pins) -> Sources:
    """Look at the external inputs of a step, and write down what isn't as it was for the plan: it is what is read.

    Parameters:
        attempt: the step
        todo: the partitions that are to be made
        pins: the versions that the plan saw, or that the run has published since

    Raises:
        StepError: a source can't be looked at
        LineageError: what was seen can't be recorded
    """
    external = [one for one in attempt.step.inputs if one.asset.external]
    seen = {one.asset.key: look(one.asset) for one in external}
    versions: dict[str, int] = {}
    for one in external:
        found = seen[one.asset.key].within(_needed(attempt, one, todo))
        fact = observation(one.asset, found.versions, one.digests, pins.versions[one.asset.key])
        if fact is not None and fact.version is not None:
            attempt.home.lineage_store.append([fact])
            versions[one.asset.key] = fact.version
    return Sources(pins.observed(versions), seen)


Rows: TypeAlias = "Sequence[tuple[PartitionSet, pl.LazyFrame]]"
"""Rows, yet to be computed: what each call of a function gave, with the partitions that it was asked for."""


@final
@dataclass(frozen=True)
class Sent:
    """What a raw asset's function returned: files that are yet to be read.

    Parameters:
        files: the files, each with the partitions that the function was asked for when it gave it
    """

    files: Iterable[tuple[PartitionSet, Any]]


@final
@dataclass(frozen=True)
class Reading:
    """What a call is given for a parameter.

    Parameters:
        parameter: the function's parameter
        asset: the asset that fills it
        partitions: which of its partitions
        version: the table version that is read; None: it was never built
        observed: what there is of an external asset; None: it isn't one
        pinned: where its rows lie, where somebody has looked already
    """

    parameter: str
    asset: Asset
    partitions: PartitionSet
    version: int | None = None
    observed: Observed | None = None
    pinned: PinnedRows | None = None

    def pinned_in(self, tables: Tables) -> PinnedRows | None:
        """Where its rows lie; None: in no files.

        Raises:
            StorageError: the table or the version is not there
        """
        if self.pinned is not None:
            return self.pinned
        partitions = self.partitions if self.asset.partitioned else None
        return tables(self.asset).pinned(partitions, version=self.version)


@final
@dataclass(frozen=True)
class Call:
    """One call of an asset's function: what it makes, and what it is given."""

    partitions: PartitionSet
    inputs: tuple[Reading, ...]


@final
@dataclass(frozen=True)
class Work:
    """All that has to be known in order to make some partitions, here or elsewhere.

    Parameters:
        asset: what is made
        todo: which partitions
        calls: how its function is called: the rows of all calls together are what is made
        context: what the function may know of the run
    """

    asset: Asset
    todo: PartitionSet
    calls: tuple[Call, ...]
    context: Context


def work_of(attempt: Attempt, todo: PartitionSet, sources: Sources) -> Work:
    """What is to be done in order to make some partitions of a step.

    Parameters:
        attempt: the step
        todo: which partitions
        sources: what it reads

    Raises:
        StepError: what is to be read of a source is gone
    """
    # A function that asks for its range gets one range at a time: it never has to think of gaps.
    alone = "partitions" in attempt.asset.takes
    parts = [PartitionSet(todo.partitions, (span,)) for span in todo.spans] if alone else [todo]
    calls = tuple(
        Call(part, tuple(_reading(attempt, one, part, sources) for one in attempt.step.inputs)) for part in parts
    )
    return Work(attempt.asset, todo, calls, attempt.context(todo))


def call_function(work: Work, tables: Tables, scratch: Scratch) -> Rows | Sent:
    """Have the asset's function make what is to be made.

    Parameters:
        work: what is to be done
        tables: where the rows of each asset live
        scratch: where frames are put down that change hands as files; what is returned needs them to be there

    Returns:
        the rows, yet to be computed, with the columns and types that the asset's schema promises; or the files, yet to
        be read, of an asset that keeps files

    Raises:
        StepError: the function raised, or returned what it may not
        StorageError: an input can't be read
    """
    import polars as pl

    from lakehouse.checks.gate import conform
    from lakehouse.io.frames import take
    from lakehouse.io.relations import default_in_utc

    asset = work.asset
    if asset.keeps_files:
        return Sent(_files(work, tables, scratch))
    promised = {column.name: column.dtype for column in asset.schema.columns} if asset.schema else {}
    frames = []
    for call in work.calls:
        given = _arguments(work, call, tables, scratch)
        with blaming_function(asset, call.partitions), default_in_utc():
            frame = take(asset.function(**given), where=asset.key, scratch=scratch, promised=promised)
            frame.collect_schema()
        frames.append(frame)
    with blaming_function(asset, work.todo):
        if len(frames) > 1:
            pl.concat(frames, how="vertical").collect_schema()
        return [(call.partitions, conform(asset, frame)) for call, frame in zip(work.calls, frames, strict=True)]


def _files(work: Work, tables: Tables, scratch: Scratch) -> Iterator[tuple[PartitionSet, Any]]:
    """The files that the function yields, each while it is waited for, with what it was asked for then."""
    from lakehouse.io.raw import each

    for call in work.calls:
        given = _arguments(work, call, tables, scratch)
        with blaming_function(work.asset, call.partitions):
            for file in each(work.asset.function(**given), where=work.asset.key):
                yield call.partitions, file


def take_built(attempt: Attempt, todo: PartitionSet, built: Built, others: PartitionSet) -> Rows:
    """What a builder made of a step.

    Parameters:
        attempt: the step
        todo: which partitions of it are wanted
        built: what it made
        others: partitions that may be among it and aren't wanted: made for other steps, or blocked by now

    Returns:
        the rows, yet to be computed, with the columns and types that the asset's schema promises

    Raises:
        StepError: nothing was made, or what it may not be
    """
    import polars as pl

    from lakehouse.checks.gate import conform
    from lakehouse.io.columns import columns as exactly
    from lakehouse.io.tokens import token, within

    asset = attempt.asset
    if built.frame is None:
        raise StepError(f"{asset.key}: {built.error or 'it was not made'}")
    with blaming_function(asset, todo):
        frame, schema = built.frame, built.frame.collect_schema()
        columns = asset.partitions.columns
        if others and columns and set(columns) <= set(schema):
            key = token(asset.partitions, schema, where=asset.key)
            frame = frame.filter(~within(others, key) | pl.any_horizontal(one.is_null() for one in exactly(columns)))
        return [(todo, conform(asset, frame))]


def read_input(
    tables: Tables,
    asset: Asset,
    partitions: PartitionSet,
    version: int | None,
    pinned: PinnedRows | None = None,
) -> pl.LazyFrame:
    """The rows of some partitions of an input, as its schema promises them.

    Parameters:
        tables: where the rows of each asset live
        asset: the input
        partitions: which partitions
        version: at which version; None: it was never built
        pinned: where that version has them, where somebody has looked already

    Raises:
        StorageError: the table or the version is not there
    """
    if version is None and not partitions:
        # Nothing is needed of what was never built, as at the beginning of a window.
        import polars as pl

        schema = asset.schema
        return pl.LazyFrame(schema={c.name: c.dtype for c in schema.columns} if schema else None)
    if pinned is not None:
        return as_promised(asset, tables(asset).read(pinned))
    return load(tables(asset), asset, partitions, version=version)


def _arguments(work: Work, call: Call, tables: Tables, scratch: Scratch) -> dict[str, Any]:
    """What the function is called with."""
    from lakehouse.io.frames import give, kind

    asset = work.asset
    parameters = {parameter.name: parameter for parameter in asset.inputs}
    arguments: dict[str, Any] = {}
    for one in call.inputs:
        wanted = parameters[one.parameter]
        if one.observed is not None:
            arguments[one.parameter] = one.observed.files if wanted.files else one.observed
            continue
        try:
            if one.asset.keeps_files:
                files = _landed(one, tables)
                arguments[one.parameter] = (
                    files if wanted.files else give(_scanned(files, one.asset, wanted), wanted.frame, scratch)
                )
            elif kind(wanted.frame) == "spark" and (pinned := one.version is not None and one.pinned_in(tables)):
                from lakehouse.io.spark_frames import pinned_to_spark

                # As they lie there: its workers read them side by side.
                arguments[one.parameter] = pinned_to_spark(tables(one.asset), pinned, scratch)
            else:
                rows = read_input(tables, one.asset, one.partitions, one.version, one.pinned)
                arguments[one.parameter] = give(rows, wanted.frame, scratch)
        except LakehouseError:
            raise
        except Exception as error:
            raise StorageError(
                f"{asset.key}: its input {one.asset.key} at version {one.version} "
                f"can't be read: {type(error).__name__}: {error}"
            ) from error
    if "partitions" in asset.takes:
        arguments["partitions"] = call.partitions.hull
    if "context" in asset.takes:
        arguments["context"] = work.context
    return arguments


def _landed(given: Reading, tables: Tables) -> tuple[Any, ...]:
    """The files of some partitions of an input that keeps files."""
    from lakehouse.io.raw import listed

    if given.version is None and not given.partitions:
        return ()
    rows = read_input(tables, given.asset, given.partitions, given.version, given.pinned)
    return listed(tables(given.asset), rows, given.asset.partitions, where=given.asset.key)


def _scanned(files: Sequence[Any], given: Asset, wanted: Parameter) -> pl.LazyFrame:
    """Files as rows, as the parameter's annotation has it."""
    from lakehouse.io.readers import scan_files

    return scan_files(files, wanted.reader, given.partitions, _columns(wanted), where=given.key)


def _columns(wanted: Parameter) -> dict[str, Any] | None:
    return None if wanted.schema is None else {column.name: column.dtype for column in wanted.schema.columns}


def to_compare(
    tables: Tables, reader: Asset, given: Input, partitions: PartitionSet, version: int | None
) -> pl.LazyFrame:
    """What an asset was given of an input, with [PARTITION][lakehouse.io.PARTITION], for checks that compare.

    Parameters:
        tables: where assets live
        reader: the asset that reads
        given: what it reads
        partitions: which partitions of that
        version: the version that it read
    """
    import polars as pl

    from lakehouse.io import PARTITION
    from lakehouse.io.readers import scan_files
    from lakehouse.io.tokens import token

    asset = given.asset
    wanted = next((one for one in reader.inputs if one.name == given.parameter), None)
    if not asset.keeps_files or wanted is None or wanted.files:
        rows = read_input(tables, asset, partitions, version)
        return rows.with_columns(token(asset.partitions, rows.collect_schema(), where=asset.key).alias(PARTITION))
    files = _landed(Reading(given.parameter, asset, partitions, version), tables)
    columns = _columns(wanted) or dict(_scanned(files, asset, wanted).collect_schema())
    return scan_files(files, wanted.reader, asset.partitions, {**columns, PARTITION: pl.String()}, where=asset.key)


def _reading(attempt: Attempt, given: Input, part: PartitionSet, sources: Sources) -> Reading:
    """What some partitions of a step are made from; of an external asset, if all that is needed of it is there."""
    needed = _needed(attempt, given, part)
    if not given.asset.external:
        return Reading(given.parameter, given.asset, needed, sources.pins.version(given))
    found = sources.seen[given.asset.key].within(needed)
    absent = [key for key in needed if key not in found.versions]
    if absent:
        raise StepError(
            f"{attempt.asset.key}: {given.asset.key} {shorten(absent)} is gone since it was observed",
            hint="what was made from it before stays as it is; lakehouse observe looks again",
        )
    return Reading(given.parameter, given.asset, needed, observed=found)


def _needed(attempt: Attempt, given: Input, partitions: PartitionSet) -> PartitionSet:
    """The partitions of an input that some of the step's are made from."""
    return attempt.step.mapping(given).upstream(partitions) & given.partitions


@contextmanager
def blaming_function(asset: Asset, part: PartitionSet) -> Iterator[None]:
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
