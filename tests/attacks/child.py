"""What a child of the server does: one thing with a lakehouse, and what happens to it meanwhile."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from lakehouse import Lakehouse, LakehouseError, MaterializationFailed
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.layout import LOG
from lakehouse.io.storage import Location
from lakehouse.lineage import Status
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.maintenance import Maintenance
from lakehouse.partitions import PartitionSet
from tests.attacks import toys

YEAR = timedelta(days=365)
Order = dict[str, Any]
Answer = dict[str, Any]


def do(order: Order) -> None:
    """Do what an order says, and write down what came of it."""
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    answer: Answer = {}
    try:
        with clock(order.get("ahead", 0)), meanwhile(order.get("meanwhile")):
            answer = VERBS[order["verb"]](order)
    except LakehouseError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    except Exception as error:
        answer = {"error": "unexpected", "message": "".join(traceback.format_exception(error))}
    written = Path(order["answer"])
    written.with_suffix(".part").write_text(json.dumps(answer))
    written.with_suffix(".part").rename(written)


def open_lake(order: Order) -> Lakehouse:
    return Lakehouse(toys.graph(Path(order["folder"])), storage=order["storage"], lineage=order["lineage"])


# ── verbs ─────────────────────────────────────────────────────────────────────────────────


def build(order: Order) -> Answer:
    """Materialize, refresh or backfill."""
    lake = open_lake(order)
    verb = getattr(lake, order["how"])
    run = verb(
        order["targets"],
        order["partitions"],
        chunk=order["chunk"],
        upstream=order["upstream"],
        engine=order.get("engine", "inline"),
        raise_on_failure=False,
    )
    said = ""
    try:
        run.raise_on_failure()
    except MaterializationFailed as error:
        said = str(error)
    published = {one.asset.key: list(one.published) for one in run.summaries()}
    return {"ok": run.ok, "published": published, "message": said}


def change(order: Order) -> Answer:
    """What `lakehouse state` does."""
    lake = open_lake(order)
    later = datetime.now(UTC) + timedelta(days=order.get("days", 0))
    maintenance = Maintenance(lake, now=later if order.get("days") else None)
    getattr(maintenance, order["how"])(*order["words"], **order.get("options", {})).apply()
    return {}


def register(order: Order) -> Answer:
    """Register keys of dynamic partitions."""
    open_lake(order).add_partitions("bronze.raw", order["keys"])
    return {}


def retire(order: Order) -> Answer:
    """Take keys of dynamic partitions out of the register."""
    open_lake(order).remove_partitions("bronze.raw", order["keys"])
    return {}


def plan(order: Order) -> Answer:
    """What a refresh of all would do."""
    lake = open_lake(order)
    return {"steps": [step.id for step in lake.plan("*", order["partitions"], refresh=True).steps]}


def read(order: Order) -> Answer:
    """Read again and again, as long as there is nobody who says that it is enough."""
    lake, enough = open_lake(order), Path(order["enough"])
    seen: dict[str, list[Any]] = {}
    while True:
        last = enough.exists()
        for asset in lake.graph:
            if not asset.external:
                try:
                    rows = toys.keys_in(lake.load(asset).collect(), columns(lake))
                except (LakehouseError, FileNotFoundError) as error:
                    see_clean(str(error))
                    continue
                rows.sort()
                if (told := seen.setdefault(asset.key, [])) and told[-1] == rows:
                    continue
                told.append(rows)
        if last:
            return {"seen": seen}


def columns(lake: Lakehouse) -> tuple[str, ...]:
    return lake.graph["bronze.raw"].partitions.columns


def look(order: Order) -> Answer:
    """All that there is to see of each asset."""
    lake = open_lake(order)
    found: Answer = {}
    for status in lake.status():
        asset = status.asset
        if asset.external:
            continue
        one: Answer = {
            "present": list(status.present),
            "held": list(status.held),
            "failed": list(status.failed),
            "fault": None if status.fault is None else str(status.fault),
            "rows": [],
        }
        try:
            one["rows"] = toys.keys_in(lake.load(asset).collect(), columns(lake))
        except (LakehouseError, FileNotFoundError) as error:  # the latter where it went back to what retention removed
            one["unread"] = str(error)
        state = lake.snapshot([asset], look=False).state(asset)
        published = [fact for fact in lake.snapshot([asset]).facts(asset.key) if fact.status is Status.PUBLISHED]
        told = Counter((f.version, key) for f in published for key in asset.partitions.from_pairs(f.partitions))
        one["twice"] = [version for version, count in told.items() if count > 1]
        one["standing"] = [key for part, _ in state.current for key in part]
        pinned = () if asset.key in order["without_pins"] else state.current
        one["pins"] = list(unlike_their_pins(lake, asset, pinned, one))
        found[asset.key] = one
    return found


def unlike_their_pins(lake: Lakehouse, asset: Any, current: Any, seen: Answer) -> Iterator[str]:
    """Partitions that are other than what is made of the versions that they were made from."""
    inputs = {given.asset.key: given.asset for given in lake.graph.inputs(asset) if not given.asset.external}
    for part, fact in current:
        for pin in fact.inputs:
            if pin.asset not in inputs or pin.version is None:
                continue
            given = inputs[pin.asset]
            # What was replaced since needs its input no longer.
            read = given.partitions.from_pairs(pin.partitions)
            needed = [key for key in read if not asset.partitioned or lies_in(asset, key, part)]
            try:
                frame = lake.load(given, needed, version=pin.version).collect()
            except (LakehouseError, FileNotFoundError) as error:
                yield f"{asset.key} {part}: its pin can't be read: {error}"
                continue
            names = columns(lake)
            there = sorted(row for row in seen["rows"] if not asset.partitioned or lies_in(asset, row[0], part))
            remade = sorted(toys.keys_in(asset.function(frame.lazy()).collect(), names))
            mine = [row for row in remade if not asset.partitioned or lies_in(asset, row[0], part)]
            if there != mine:
                yield f"{asset.key} {part}: {there[:4]} is there, its pin {pin.asset}@{pin.version} makes {mine[:4]}"


def lies_in(asset: Any, key: str, part: PartitionSet) -> bool:
    """Whether a row lies in some partitions."""
    if asset.name == "weeks":
        return any(week <= key < str(date.fromisoformat(week) + timedelta(days=7)) for week in part)
    return key in part


def command(order: Order) -> Answer:
    """A command of the command line that only looks."""
    from lakehouse.cli import main

    return {"code": main(order["words"])}


# ── harm ──────────────────────────────────────────────────────────────────────────────────


def harm(order: Order) -> Answer:
    """Do something to a table's folder that nobody should."""
    hurt(order, order["what"])
    return {}


def hurt(order: Order, what: str) -> None:
    """Whatever it is, on disk or in a bucket."""
    lake = open_lake(order)
    location = Location.of(lake.table(lake.graph[order["asset"]]).uri, lake.settings.storage_options)
    store = location.store()
    kept = Path(order["folder"], "kept", order["asset"])
    names = sorted(str(one["path"]) for page in store.list() for one in page)
    commits = [name for name in names if name.startswith(LOG) and name.endswith(".json")]
    match what:
        case "keep a copy":
            kept.mkdir(parents=True, exist_ok=True)
            for old in kept.iterdir():
                old.unlink()
            (kept / "names").write_text(json.dumps(names))
            for number, name in enumerate(names):
                (kept / str(number)).write_bytes(bytes(store.get(name).bytes()))
        case "remove":
            store.delete(names)
        case "put the copy back":
            if not (kept / "names").exists():
                return
            store.delete(names)
            for number, name in enumerate(json.loads((kept / "names").read_text())):
                store.put(name, (kept / str(number)).read_bytes())
        case "lose the newest commit":
            if len(commits) > 1 and not any("checkpoint" in name for name in names):
                store.delete([commits[-1]])
        case "cut off the newest commit" | "empty the newest commit" | "cut off a file":
            chosen = commits if "commit" in what else [name for name in names if name.endswith(".parquet")]
            if chosen:
                whole = bytes(store.get(chosen[-1]).bytes())
                store.put(chosen[-1], b"" if "empty" in what else whole[: len(whole) // 2])
        case _:
            raise AssertionError(what)


VERBS: dict[str, Callable[[Order], Answer]] = {
    verb.__name__: verb for verb in (build, change, register, retire, plan, read, look, command, harm)
}

# ── meanwhile ─────────────────────────────────────────────────────────────────────────────

BOUNDARIES = {
    DeltaLakeTable: ("stage", "staged", "publish", "mark", "discard", "quarantine", "restart", "newest", "_commit"),
    SqliteLineage: ("append", "remove", "set_leases", "newest"),
}


def boundaries() -> Iterator[tuple[type, str]]:
    """What the library calls of its tables and lineage stores, wherever something may happen."""
    for cls, names in BOUNDARIES.items():
        yield from ((cls, name) for name in names)
    if "lakehouse.lineage.dynamodb" in sys.modules:
        store = sys.modules["lakehouse.lineage.dynamodb"].DynamoDBLineage
        yield from ((store, name) for name in BOUNDARIES[SqliteLineage])


@contextmanager
def meanwhile(happens: dict[str, Any] | None) -> Iterator[None]:
    """Let something happen before or after the so-manieth call of those; or have there be no room, or a lock."""
    if happens is None:
        yield
        return
    if "room" in happens:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (happens["room"], resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return
    if "locked" in happens:
        real = SqliteLineage.__init__

        def impatient(self: SqliteLineage, path: Any, *, timeout: float = 0.2) -> None:
            real(self, path, timeout=timeout)

        SqliteLineage.__init__ = impatient  # type: ignore[method-assign]
        with sqlite3.connect(happens["locked"], isolation_level=None) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            try:
                yield
            finally:
                connection.rollback()
        return
    calls = iter(range(1_000_000))

    def hooked(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            now = next(calls) == happens["call"]
            if now and not happens["after"]:
                strike(happens)
            result = method(*args, **options)
            if now and happens["after"]:
                strike(happens)
            return result

        return call

    for cls, name in boundaries():
        setattr(cls, name, hooked(vars(cls)[name]))
    yield


def strike(happens: dict[str, Any]) -> None:
    """Be killed; or have something be done to a table."""
    Path(happens["struck"]).touch()
    if happens["what"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    hurt(happens, happens["what"])


@contextmanager
def clock(seconds: float) -> Iterator[None]:
    """A clock that is off."""
    if seconds:
        by, real, real_ns = timedelta(seconds=seconds), time.time, time.time_ns

        class Kind(type(datetime)):  # type: ignore[misc]
            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, datetime)

        class Off(datetime, metaclass=Kind):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + by

        time.time = lambda: real() + seconds
        time.time_ns = lambda: real_ns() + int(seconds * 1e9)
        for name, module in list(sys.modules.items()):
            if name.startswith("lakehouse.") and vars(module).get("datetime") is datetime:
                module.datetime = Off  # type: ignore[attr-defined]
    yield


def see_clean(message: str) -> None:
    """An error is one clear message, whatever it came from."""
    for sign in ("panick", "PanicException", "Traceback (most", "RUST_BACKTRACE", "stack backtrace", "Backtrace"):
        if sign in message:
            raise AssertionError(f"no clear message: {message}")
