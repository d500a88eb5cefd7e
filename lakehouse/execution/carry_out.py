"""The other end: an order is read, the function called, its rows staged, and at last the manifest written.

Needs no lineage store, and no rights but on inputs and on the order's own folder.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, final

from lakehouse.compute.order import (
    Code,
    Fault,
    Manifest,
    Named,
    Order,
    OrderedFile,
    OrderedInput,
    agree,
    read_manifest,
    read_order,
)
from lakehouse.compute.place import Stop
from lakehouse.definitions.asset import Asset, Context
from lakehouse.errors import (
    ComputeError,
    LakehouseError,
    StepError,
    StorageError,
    describe,
    panics_raised,
)
from lakehouse.execution.candidate import discard, discarding_on_error, write
from lakehouse.execution.compute import Call, Reading, Work, call_function
from lakehouse.execution.divide import blames_partitions
from lakehouse.io.dtypes import dtypes_to_text
from lakehouse.io.files import RawFile
from lakehouse.io.layout import MANIFEST, ORDER, staged_in
from lakehouse.io.open import open_table
from lakehouse.io.scratch import Scratch
from lakehouse.io.tables import PinnedRows
from lakehouse.lineage.observations import Observed
from lakehouse.redaction import logger

if TYPE_CHECKING:
    from lakehouse.io import Table

GRACE: Final = 3.0
"""Seconds after the deadline until the process is ended by force."""

OVERDUE: Final = 124
"""Its exit status then."""


@final
@dataclass(frozen=True)
class CarriedOut:
    """What became of an order.

    Parameters:
        order: the order
        manifest: what is left of it
        rows: how many rows are staged; None: it had been carried out before
    """

    order: Order
    manifest: Manifest
    rows: int | None


def carry_out(uri: str, options: Mapping[str, str] | None = None, *, alone: bool = False) -> CarriedOut:
    """Do what an order says, and leave a manifest.

    Parameters:
        uri: where the order is written down
        options: more for the storage libraries, by object_store's names
        alone: whether this process does nothing else, so that it may be ended at the deadline

    Raises:
        ComputeError: there is no such order, or it was withdrawn meanwhile; its deadline has passed
        CodeMismatch: other code is meant than there is here
        StepError, StorageError: what a step would raise; the manifest says so too
    """
    table, attempt = _place_of(uri, options)
    text = table.note(attempt, ORDER)
    if text is None:
        raise _withdrawn(uri)
    order = read_order(text, uri)
    done = table.note(attempt, MANIFEST)
    if done is not None:  # whoever brings orders may bring one twice
        return CarriedOut(order, read_manifest(done, uri), None)
    begun = datetime.now(UTC)
    code = Code.of("", "")

    def leave(fault: Fault | None, **more: Any) -> Manifest:
        if table.note(attempt, ORDER) is None:
            raise _withdrawn(uri)
        manifest = Manifest(attempt=attempt, code=code, begun=begun, fault=fault, **more)
        table.put_note(attempt, MANIFEST, manifest.model_dump_json().encode())
        return manifest

    def overdue(error: ComputeError) -> None:
        with suppress(LakehouseError):  # nobody may be left who waits for it
            leave(Fault.of(error, shared=True))

    try:
        with _until(order, overdue, alone=alone), panics_raised():
            asset = _find(order.asset)
            code = Code.of(asset.code_version, asset.schema_version)
            agree(asset.key, order.code, code, "the other end")
            found = open_table(order.asset.table, partitioned=asset.partitioned, options=options)
            work, tables = _work(order, asset, options)
            there = {(token, name, sha256): path for token, name, sha256, path in order.there}
            with Scratch(lambda: found, attempt) as scratch:
                made = call_function(work, tables, scratch)
                staged, dtypes = write(asset, found, made, work.todo, attempt, run=order.run, there=there)
    except BaseException as error:
        known = _known(order, error)
        # What is staged beside the order goes with it once whoever gave it has read why; if he has gone, it goes here.
        try:
            with suppress(StorageError):
                leave(Fault.of(known, shared=not blames_partitions(known)))
        except ComputeError:
            discard(table, attempt)
        if known is error or not isinstance(error, Exception | _Overdue):
            raise
        raise known from error
    with discarding_on_error(found, staged):
        manifest = leave(None, dtypes=dtypes_to_text(dtypes), files=staged.files)
    return CarriedOut(order, manifest, sum(staged.rows.values()))


def carry_out_alone(uri: str, options: Mapping[str, str] | None = None) -> None:
    """Do what an order says in a process that was started for it, and log as it would be logged elsewhere.

    Parameters:
        uri: where the order is written down
        options: more for the storage libraries, by object_store's names
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    logger().setLevel(logging.INFO)
    try:
        carry_out(uri, options, alone=True)
    except LakehouseError:
        sys.exit(1)  # the manifest says why


def _place_of(uri: str, options: Mapping[str, str] | None) -> tuple[Table, str]:
    """The table of an order, as far as notes need one, and the attempt."""
    table, _, rest = uri.removesuffix(f"/{ORDER}").rpartition("/")
    folder = staged_in(rest)
    if not table or folder is None or not uri.endswith(f"/{ORDER}"):
        raise ComputeError(f"{uri} is no order", hint="orders lie at <table>/_staged-<attempt>/order.json")
    return open_table(table, partitioned=False, options=options), folder.partition("-")[2]


def _withdrawn(uri: str) -> ComputeError:
    return ComputeError(f"there is no order at {uri}: it was withdrawn, or never given; nothing is done")


def _known(order: Order, error: BaseException) -> LakehouseError:
    """An error as one of ours."""
    made: LakehouseError
    if isinstance(error, _Overdue):
        made = _overdue(order)
        made.__cause__ = error
        return made
    if isinstance(error, LakehouseError):
        return error
    if isinstance(error, Exception):
        made = StepError(f"{order.title}: {describe(error)}")
    else:
        made = ComputeError(f"{order.title}: it was interrupted ({describe(error)})")
    made.__cause__ = error
    return made


def _find(named: Named) -> Asset:
    """An asset by its name.

    Raises:
        ComputeError: it isn't found here
    """
    found: object
    try:
        found = importlib.import_module(named.module)
        for part in named.name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ComputeError(
            f"{named.key} can't be found here: {named.module}.{named.name}: {describe(error)}",
            hint="install the module that holds the assets where its function is to run",
        ) from error
    if not isinstance(found, Asset) or found.key != named.key:
        raise ComputeError(f"{named.module}.{named.name} is not {named.key} here, but {found!r:.100}")
    return found


def _work(order: Order, asset: Asset, options: Mapping[str, str] | None) -> tuple[Work, Callable[[Asset], Table]]:
    """What an order says, in values."""
    others = {named.key: _find(named) for named in order.others}
    places = {named.key: named.table for named in (*order.others, order.asset)}

    def tables(of: Asset) -> Table:
        return open_table(places[of.key], partitioned=of.partitioned, options=options)

    def file(given: OrderedFile) -> RawFile:
        said = given.model_dump(exclude={"uri"})
        found = RawFile.at(given.uri, options=options or {})
        return replace(found, **{name: value for name, value in said.items() if value not in ("", None)})

    def reading(given: OrderedInput) -> Reading:
        other = others[given.asset]
        partitions = other.partitions.from_pairs(given.partitions)
        seen = None
        if given.versions is not None:
            files = tuple(map(file, given.files))
            seen = Observed(partitions, given.versions, tuple(one.uri for one in given.files), files)
        pinned = None
        if given.rows is not None:
            whose = partitions if other.partitioned else None
            pinned = PinnedRows(whose, given.rows.columns, given.rows.files, given.rows.shared)
        return Reading(given.parameter, other, partitions, given.version, seen, pinned)

    calls = tuple(
        Call(asset.partitions.from_pairs(one.partitions), tuple(map(reading, one.inputs))) for one in order.calls
    )
    todo = asset.partitions.from_pairs(order.partitions)
    context = Context(
        run_id=order.run,
        asset=asset.key,
        partitions=todo,
        attempt=order.number,
        started_at=order.started,
        logger=logger(f"lakehouse.{asset.key}"),
    )
    return Work(asset, todo, calls, context), tables


# ── the deadline ──────────────────────────────────────────────────────────────────────────


class _Overdue(BaseException):
    """It is time. No ``Exception``, so that nobody takes it for an error of theirs."""


def _overdue(order: Order) -> ComputeError:
    return ComputeError(
        f"{order.title}: it was not done by its deadline, in {order.seconds:.0f} s or by "
        f"{order.deadline:%Y-%m-%d %H:%M:%S %Z}",
        hint="give it more time (timeout=), or fewer partitions in a step (chunk)",
    )


@contextmanager
def _until(order: Order, overdue: Callable[[ComputeError], None], *, alone: bool) -> Iterator[None]:
    """Let nothing go on after the order's deadline: an error where Python code runs, the process' end where none does.

    Parameters:
        order: the order
        overdue: says what went on too long, before it is ended
        alone: whether this process does nothing else, so that it may be ended
    """
    left = min((order.deadline - datetime.now(UTC)).total_seconds(), order.seconds)
    if left <= 0:
        raise ComputeError(f"{order.title}: its deadline {order.deadline:%Y-%m-%d %H:%M:%S %Z} had passed already")
    main = threading.main_thread()
    if not alone or threading.current_thread() is not main:
        yield
        return
    over = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not over.is_set():
            raise _Overdue

    def watch() -> None:
        if over.wait(left):
            return
        where = "".join(traceback.format_stack(sys._current_frames()[main.ident or 0]))
        signal.pthread_kill(main.ident or 0, signal.SIGALRM)
        if over.wait(GRACE):
            return
        late = _overdue(order)
        late.__cause__ = TimeoutError(f"it was here:\n{where}")
        overdue(late)
        os._exit(OVERDUE)

    signal.signal(signal.SIGALRM, interrupt)
    threading.Thread(target=watch, name="lakehouse-deadline", daemon=True).start()
    try:
        yield
    finally:
        over.set()


# ── places ────────────────────────────────────────────────────────────────────────────────


@final
@dataclass(frozen=True)
class InThisProcess:
    """Carries out orders here and now, as they would be elsewhere: to see what becomes of one.

    Parameters:
        options: more for the storage libraries, by object_store's names
    """

    options: Mapping[str, str] | None = None
    shared: bool = True
    seconds: float = 24 * 3600.0
    pending: float = 0.0

    def carry_out(self, order: Order, stop: Stop) -> None:
        """See [lakehouse.compute.place.Place][]."""
        why = stop.wait(0)
        if why is not None:
            raise ComputeError(f"{order.title}: not begun: {why}")
        with suppress(LakehouseError):  # which the manifest tells of
            carry_out(order.uri, self.options)

    def __str__(self) -> str:
        return "this process"
