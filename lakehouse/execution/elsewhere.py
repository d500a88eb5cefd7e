"""A step's function called elsewhere: the order is written, its end awaited, and what was staged taken over.

Audit, publication and record stay here: the other end needs no lineage store, and rights on inputs and its own folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from lakehouse.compute.order import (
    Code,
    Manifest,
    Named,
    Order,
    OrderedCall,
    OrderedFile,
    OrderedInput,
    OrderedRows,
    agree,
    read_manifest,
)
from lakehouse.compute.place import Place
from lakehouse.definitions.asset import Asset
from lakehouse.errors import ComputeCancelled, ComputeError, DefinitionError
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.candidate import Candidate, discarding_on_error, kept_before, stage, take_staged
from lakehouse.execution.compute import Reading, Sources, Work, call_function, work_of
from lakehouse.io.layout import MANIFEST, ORDER, landing_folder
from lakehouse.io.open import MEMORY
from lakehouse.io.scratch import Scratch
from lakehouse.lineage import new_id
from lakehouse.partitions import PartitionSet
from lakehouse.redaction import logger

_MOST_TOLD = 10_000
"""Files that an order names as being there; of more, the rest is stored again."""


def make_candidate(attempt: Attempt, todo: PartitionSet, sources: Sources) -> Candidate:
    """Have the asset's function make some partitions, wherever it is called, and stage them.

    Parameters:
        attempt: the step
        todo: which partitions
        sources: what it reads

    Raises:
        StepError: the function raised, or returned what it may not
        ComputeError: the other place failed
        StorageError: an input can't be read, or the rows can't be written
    """
    work = work_of(attempt, todo, sources)
    place = attempt.home.place(attempt.asset)
    if place is None:
        with Scratch(lambda: attempt.table, new_id()) as scratch:
            return stage(attempt, call_function(work, attempt.home.table, scratch), todo)
    order = order_of(attempt, work, place)
    table = attempt.table
    with discarding_on_error(table, order.attempt), _removing_landed(attempt, order, todo):
        table.put_note(order.attempt, ORDER, order.model_dump_json().encode())
        try:
            place.carry_out(order, attempt.run.stop)
        except ComputeCancelled:
            raise
        except ComputeError as error:
            # Whoever ended by itself knows best why.
            told = _told_by(attempt, order)
            if told is None or told.fault is None:
                raise
            logger().info("%s: %s", order.title, error.message)
        found = _told_by(attempt, order)
        if found is None:
            raise ComputeError(
                f"{order.title}: {place} ended without a word of what became of it",
                hint="see its logs; the next run does it again",
            )
        if found.fault is not None:
            raise found.fault.error
        agree(attempt.asset.key, order.code, found.code, f"{place} ({found.host}, Python {found.python})")
        staged = replace(table.restaged(order.attempt), files=found.files)
        return take_staged(attempt, staged, found.types, todo)


@contextmanager
def _removing_landed(attempt: Attempt, order: Order, todo: PartitionSet) -> Iterator[None]:
    """Where something goes wrong with a raw asset, remove the files that were landed by then."""
    try:
        yield
    except BaseException:
        if attempt.asset.keeps_files:
            from lakehouse.io.raw import remove
            from lakehouse.io.tokens import tokens

            try:
                store = attempt.table.objects()
                places = [landing_folder(token, order.attempt) for token in tokens(todo)]
                remove(attempt.table, [one["path"] for place in places for page in store.list(place) for one in page])
            except Exception as error:
                logger().warning("%s: files were left behind: %s", attempt.table.uri, error)
        raise


def order_of(attempt: Attempt, work: Work, place: Place) -> Order:
    """What is to be done elsewhere, in words.

    Parameters:
        attempt: the step
        work: what is to be done
        place: where

    Raises:
        DefinitionError: another process can't find the asset or an input, or couldn't read it
        StorageError: an input's version is not there
    """
    asset = work.asset
    seconds = min(place.seconds, asset.retry.timeout or place.seconds)
    others = {reading.asset.key: reading.asset for call in work.calls for reading in call.inputs}
    return Order(
        attempt=new_id(),
        asset=_named(attempt, asset, place),
        others=tuple(_named(attempt, other, place) for other in others.values()),
        partitions=work.todo.to_pairs(),
        calls=tuple(
            OrderedCall(
                partitions=call.partitions.to_pairs(),
                inputs=tuple(_input(reading, _rows(attempt, reading)) for reading in call.inputs),
            )
            for call in work.calls
        ),
        code=Code.of(asset.code_version, asset.schema_version),
        run=attempt.run.id,
        number=attempt.number,
        started=attempt.run.started,
        deadline=datetime.now(UTC) + timedelta(seconds=place.pending + seconds),
        seconds=seconds,
        there=tuple((*file, path) for file, path in islice(kept_before(attempt, work.todo).items(), _MOST_TOLD)),
    )


def _named(attempt: Attempt, asset: Asset, place: Place) -> Named:
    if asset.address is None or asset.address[0] == "__main__":
        raise DefinitionError(
            f"{attempt.asset.key} can't be made in {place}: {asset.key} isn't found there by a name",
            hint="declare it at the top level of a module that can be imported there",
        )
    table = "" if asset.external else attempt.home.table(asset).uri
    if table.startswith(MEMORY) and not place.shared:
        raise DefinitionError(
            f"{attempt.asset.key} can't be made in {place}: {table} is in the memory of this process",
            hint="give the lakehouse a storage that both ends reach, such as s3://bucket",
        )
    module, name = asset.address
    return Named(key=asset.key, module=module, name=name, table=table)


def _rows(attempt: Attempt, reading: Reading) -> OrderedRows | None:
    """Where the rows of an input lie; None: in no files, or there are none yet."""
    if reading.asset.external or reading.version is None:
        return None
    pinned = reading.pinned_in(attempt.home.table)
    return pinned and OrderedRows(columns=pinned.columns, files=pinned.files, shared=pinned.shared)


def _input(reading: Reading, rows: OrderedRows | None) -> OrderedInput:
    seen = reading.observed
    return OrderedInput(
        parameter=reading.parameter,
        asset=reading.asset.key,
        partitions=reading.partitions.to_pairs(),
        version=reading.version,
        rows=rows,
        versions=None if seen is None else dict(seen.versions),
        files=() if seen is None else tuple(map(_file, seen.files)),
    )


def _file(found: Any) -> OrderedFile:
    """A file of a source, which may be of a kind of the source's own: then no more is known than where it lies."""
    said = {name: getattr(found, name, None) for name in OrderedFile.model_fields}
    partition = said.pop("partition")
    known = {name: value for name, value in said.items() if value is not None}
    return OrderedFile(**known, partition=None if partition is None else str(partition))


def _told_by(attempt: Attempt, order: Order) -> Manifest | None:
    """What the other end has left, if it has."""
    text = attempt.table.note(order.attempt, MANIFEST)
    return None if text is None else read_manifest(text, f"{attempt.table.uri} {MANIFEST}")
