"""Lineage in memory, and the conformance suite that every lineage store passes."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import random
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from typing import Any, ClassVar, final

from lakehouse.errors import LineageError, count
from lakehouse.lineage.facts import CheckResult, Fact, InputPin, Status
from lakehouse.lineage.store import Lease, LineageStore, News, Since


@final
class MemoryLineage:
    """Facts in the memory of one process, for tests and for trying things out. Threads may share it.

    Examples:
        >>> lineage = MemoryLineage()
        >>> lineage.append([sample_fact(rows=842)])
        >>> [fact.rows for fact in lineage.facts("silver.flights")]
        [842]
    """

    uri = "memory://"

    def __init__(self) -> None:
        self._facts: dict[tuple[str, str], Fact] = {}
        self._checkpoints: dict[str, tuple[int, str]] = {}
        self._arrived: dict[str, set[str]] = {}
        self._order: list[tuple[str, str]] = []
        self._leases: dict[bool, tuple[int, list[Lease]]] = {False: (0, []), True: (0, [])}
        self._lock = threading.Lock()

    def append(self, facts: Sequence[Fact]) -> None:
        """Write facts: all of a call or none. A fact whose id the asset has already is left as it is."""
        # Through text and back, as in every other store: what can't be written fails here too.
        written = [Fact.from_json(fact.to_json()) for fact in facts]
        with self._lock:
            for fact in written:
                if self._facts.setdefault((fact.id, fact.asset), fact) is fact:
                    self._arrived.setdefault(fact.asset, set()).add(fact.id)
                    self._order.append((fact.id, fact.asset))

    def remove(self, asset: str, ids: Collection[str]) -> None:
        """Remove facts of an asset; ids that aren't there are passed over."""
        with self._lock:
            for id in ids:
                if self._facts.pop((id, asset), None) is not None:
                    self._checkpoints[asset] = self._checkpoints.get(asset, (0, ""))[0] + 1, ""

    def facts(self, asset: str) -> list[Fact]:
        """Every fact about an asset, in the order of their ids."""
        return self._of(asset)

    def since(self, asset: str) -> Since:
        """The asset's checkpoint and what came since, or all facts."""
        with self._lock:
            version, checkpoint = self._checkpoints.get(asset, (0, ""))
            arrived = self._arrived.get(asset, set())
            facts = sorted(fact for fact in self._facts if fact[1] == asset and (not checkpoint or fact[0] in arrived))
            return Since(version, checkpoint, tuple(self._facts[fact] for fact in facts))

    def keep(self, asset: str, checkpoint: str, since: Since) -> bool:
        """Put a checkpoint in the place of the one that was read; False: that one isn't there any more."""
        with self._lock:
            if self._checkpoints.get(asset, (0, ""))[0] != since.version:
                return False
            self._checkpoints[asset] = since.version + 1, checkpoint
            self._arrived[asset] = self._arrived.get(asset, set()) - {fact.id for fact in since.facts}
            return True

    def latest_version(self, asset: str) -> int | None:
        """The highest table version that a fact of the asset names; None: never published."""
        return max((f.version for f in self._of(asset) if f.version is not None), default=None)

    def newest(self, asset: str) -> list[Fact]:
        """The facts of the asset that name its highest table version, in the order of their ids."""
        version = self.latest_version(asset)
        return [fact for fact in self._of(asset) if version is not None and fact.version == version]

    def at(self, asset: str, versions: Collection[int]) -> list[Fact]:
        """The facts of the asset that name one of some table versions, in the order of their ids."""
        wanted = set(versions)
        return self._where(lambda fact: fact.asset == asset and fact.version in wanted)

    def run(self, run: str) -> list[Fact]:
        """Everything that a run did, in the order of the facts' ids."""
        return self._where(lambda fact: fact.run == run)

    def built_from(self, asset: str) -> list[Fact]:
        """Every published fact that names the asset among its inputs, in the order of their ids."""
        return self._where(
            lambda fact: fact.status is Status.PUBLISHED and any(pin.asset == asset for pin in fact.inputs)
        )

    def recent(self, asset: str, limit: int) -> list[Fact]:
        """The newest facts about an asset, newest first."""
        return self.facts(asset)[::-1][:limit]

    def runs(self, limit: int, *, before: str | None = None) -> list[str]:
        """Ids of the newest runs that left a fact, newest first."""
        found = {fact.run for fact in self._where(lambda fact: before is None or fact.run < before) if fact.run}
        return sorted(found, reverse=True)[:limit]

    def news(self, mark: str) -> News:
        """What was written since a mark."""
        with self._lock:
            kept = {asset: version for asset, (version, _) in self._checkpoints.items()}
            new = json.dumps([len(self._order), kept])
            if not mark:
                return News(new, (), None)
            number, before = json.loads(mark)
            anew = frozenset(asset for asset in kept if kept[asset] != before.get(asset))
            found = [self._facts[place] for place in self._order[number:] if place in self._facts]
        facts = sorted((fact for fact in found if fact.asset not in anew), key=lambda fact: (fact.id, fact.asset))
        return News(new, tuple(facts), anew)

    def leases(self, *, waiting: bool = False) -> tuple[int, list[Lease]]:
        """What runs are about to build, or wait for, and which version of that this is: 0 where there never was any."""
        return self._leases[waiting]

    def set_leases(self, leases: Sequence[Lease], *, version: int, waiting: bool = False) -> bool:
        """Put other leases in the place of those of a version; False: they are of another version by now."""
        with self._lock:
            if version != self._leases[waiting][0]:
                return False
            self._leases[waiting] = (version + 1, list(leases))
            return True

    def close(self) -> None:
        """Nothing is held."""

    def _of(self, asset: str) -> list[Fact]:
        return self._where(lambda fact: fact.asset == asset)

    def _where(self, holds: Callable[[Fact], bool]) -> list[Fact]:
        with self._lock:
            return [fact for _, fact in sorted(self._facts.items(), key=lambda item: item[0]) if holds(fact)]

    def __reduce__(self) -> Any:
        # A copy in another process would swallow the facts that are appended there.
        raise LineageError(
            "lineage in memory can't be handed to another process",
            hint="use SqliteLineage, or an engine that runs its tasks as threads",
        )

    def __repr__(self) -> str:
        return f"MemoryLineage({count(len(self._facts), 'fact')})"


_NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


def sample_fact(number: int = 1, **changes: Any) -> Fact:
    """A published fact about one day of ``silver.flights``, made from ``bronze.raw_flights``.

    Parameters:
        number: the id sorts by it
        changes: fields that are to differ

    Examples:
        >>> sample_fact(7, asset="gold.carrier_daily").asset
        'gold.carrier_daily'
    """
    fields: dict[str, Any] = {
        "id": f"{number:032x}",
        "asset": "silver.flights",
        "status": Status.PUBLISHED,
        "partitions": (("2013-01-01", "2013-01-01"),),
        "run": "run-1",
        "started": _NOON + timedelta(seconds=number),
        "finished": _NOON + timedelta(seconds=number, milliseconds=250),
        "inputs": (InputPin(asset="bronze.raw_flights", version=3, partitions=(("2013-01-01", "2013-01-01"),)),),
        "version": number,
    }
    return Fact(**fields | changes)


def sample_lease(run: str = "run-1", **changes: Any) -> Lease:
    """A lease on two days of ``silver.flights``.

    Parameters:
        run: the run that holds it
        changes: fields that are to differ

    Examples:
        >>> sample_lease("run-7").partitions
        {'silver.flights': (('2013-01-01', '2013-01-02'),)}
    """
    fields: dict[str, Any] = {
        "run": run,
        "partitions": {"silver.flights": (("2013-01-01", "2013-01-02"),)},
        "host": "worker-1",
        "process": "7",
        "expires": _NOON,
    }
    return Lease(**fields | changes)


class LineageConformance:
    """What every lineage store must do. Subclass it, and give it a fixture ``lineage``: an empty store.

    Parameters:
        across_processes: whether a pickled store, opened in another process, writes to the same facts;
            False: pickling it must be refused with a LineageError

    Examples:
        In a file of your tests::

            class TestMine(LineageConformance):
                @pytest.fixture
                def lineage(self, tmp_path):
                    return SqliteLineage(tmp_path / "lineage.db")
    """

    across_processes: ClassVar[bool] = True

    # ── what comes back ───────────────────────────────────────────────────────────────────

    def test_nothing_is_there_at_first(self, lineage: LineageStore) -> None:
        assert lineage.facts("silver.flights") == []
        assert lineage.run("run-1") == []
        assert lineage.built_from("bronze.raw_flights") == []
        assert lineage.latest_version("silver.flights") is None

    def test_an_empty_append_is_nothing(self, lineage: LineageStore) -> None:
        lineage.append([])
        assert lineage.facts("silver.flights") == []

    def test_a_fact_comes_back_equal(self, lineage: LineageStore) -> None:
        fact = _full_fact()
        lineage.append([fact])
        assert lineage.facts(fact.asset) == [fact]
        assert lineage.run(fact.run) == [fact]
        assert lineage.built_from("bronze.raw_weather") == [fact]
        assert lineage.latest_version(fact.asset) == fact.version

    def test_a_fact_with_nothing_in_it_comes_back_equal(self, lineage: LineageStore) -> None:
        fact = sample_fact(status=Status.SKIPPED, partitions=(), inputs=(), version=None)
        lineage.append([fact])
        assert lineage.facts(fact.asset) == [fact]

    def test_any_text_comes_back(self, lineage: LineageStore) -> None:
        text = "Zürich 飛行機 🛫 'quoted' \"twice\" 100% a#b a/b a\\b \u0000 \n {} $1 :key ?"
        fact = sample_fact(asset=f"silver.{text}", run=text, reason=text, inputs=(InputPin(asset=text, version=0),))
        lineage.append([fact])
        assert lineage.facts(fact.asset) == [fact]
        assert lineage.run(text) == [fact]
        assert lineage.built_from(text) == [fact]

    def test_facts_come_in_the_order_of_their_ids(self, lineage: LineageStore) -> None:
        facts = [sample_fact(number, asset=f"silver.{'ab'[number % 2]}") for number in range(1, 60)]
        shuffled = random.Random(7).sample(facts, len(facts))
        for start in range(0, len(shuffled), 20):
            lineage.append(shuffled[start : start + 20])
        assert lineage.run("run-1") == facts
        assert lineage.built_from("bronze.raw_flights") == facts
        assert lineage.facts("silver.a") == [fact for fact in facts if fact.asset == "silver.a"]

    # ── access paths ──────────────────────────────────────────────────────────────────────

    def test_the_latest_version_is_the_highest(self, lineage: LineageStore) -> None:
        for number, version in enumerate([9, 100, None, 23], start=1):
            lineage.append([sample_fact(number, version=version)])
        lineage.append([sample_fact(9, asset="silver.weather", version=500)])
        assert lineage.latest_version("silver.flights") == 100

    def test_the_facts_of_some_versions_are_found(self, lineage: LineageStore) -> None:
        assert lineage.at("silver.flights", [0]) == []
        facts = [sample_fact(number, version=number // 2 if number % 3 else None) for number in range(1, 40)]
        far = sample_fact(50, version=10**16, partitions=(("2013-01-01", "2013-01-01"),))
        other = sample_fact(51, asset="silver.other", version=3)
        lineage.append([*facts, far, other])
        for wanted in ([], [3], [3, 3, 4, 19], range(20), [0, 10**16], [10**9]):
            expected = [fact for fact in (*facts, far) if fact.version in set(wanted)]
            assert lineage.at("silver.flights", wanted) == expected

    def test_the_newest_facts_are_those_of_the_highest_version(self, lineage: LineageStore) -> None:
        assert lineage.newest("silver.flights") == []
        facts = [
            sample_fact(number, version=version) for number, version in enumerate([9, 100, None, 23, 100], start=1)
        ]
        lineage.append([*facts, sample_fact(9, asset="silver.weather", version=500)])
        assert lineage.newest("silver.flights") == [facts[1], facts[4]]
        lineage.remove("silver.flights", [facts[1].id, facts[4].id])
        assert lineage.newest("silver.flights") == [facts[3]]
        lineage.append([sample_fact(7, asset="silver.none", status=Status.FAILED, version=None)])
        assert lineage.newest("silver.none") == []

    def test_version_zero_is_a_version(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(version=0)])
        assert lineage.latest_version("silver.flights") == 0

    def test_no_version_is_no_version(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(status=Status.FAILED, version=None)])
        assert lineage.latest_version("silver.flights") is None

    def test_only_published_facts_count_as_built(self, lineage: LineageStore) -> None:
        facts = [sample_fact(number, status=status) for number, status in enumerate(Status, start=1)]
        lineage.append(facts)
        assert lineage.built_from("bronze.raw_flights") == [f for f in facts if f.status is Status.PUBLISHED]
        assert lineage.facts("silver.flights") == facts

    def test_an_input_that_is_read_twice_counts_once(self, lineage: LineageStore) -> None:
        fact = sample_fact(inputs=[InputPin(asset="bronze.x", version=v) for v in (1, 2)])
        lineage.append([fact])
        assert lineage.built_from("bronze.x") == [fact]

    def test_names_that_begin_alike_are_kept_apart(self, lineage: LineageStore) -> None:
        names = ["silver.flight", "silver.flights", "silver.flights_daily", "silver.f", "silver.Flights"]
        runs = ["run", "run-1", "run-10", "RUN", "run-1 "]
        facts = [
            sample_fact(number, asset=name, run=run, version=number, inputs=(InputPin(asset=name, version=1),))
            for number, (name, run) in enumerate(zip(names, runs, strict=True), start=1)
        ]
        lineage.append(facts)
        for fact in facts:
            assert lineage.facts(fact.asset) == [fact]
            assert lineage.run(fact.run) == [fact]
            assert lineage.built_from(fact.asset) == [fact]
            assert lineage.latest_version(fact.asset) == fact.version

    # ── size ──────────────────────────────────────────────────────────────────────────────

    def test_megabytes_come_back_by_every_path(self, lineage: LineageStore) -> None:
        noise = random.Random(7)
        facts = [sample_fact(number, reason=noise.randbytes(20_000).hex()) for number in range(1, 121)]
        for start in range(0, len(facts), 20):
            lineage.append(facts[start : start + 20])
        assert sum(len(fact.to_json()) for fact in facts) > 4_000_000
        assert lineage.facts("silver.flights") == facts
        assert lineage.run("run-1") == facts
        assert lineage.built_from("bronze.raw_flights") == facts
        assert lineage.latest_version("silver.flights") == 120

    def test_one_fact_may_be_long(self, lineage: LineageStore) -> None:
        days = tuple((key, key) for key in (f"{n % 7}-key-{n:06d}" for n in range(40_000)))
        fact = sample_fact(partitions=days)
        assert len(fact.to_json()) > 1_000_000
        lineage.append([fact])
        assert lineage.facts("silver.flights") == [fact]

    def test_a_fact_may_have_many_inputs(self, lineage: LineageStore) -> None:
        fact = sample_fact(inputs=[InputPin(asset=f"bronze.source_{n}", version=n) for n in range(150)])
        lineage.append([fact])
        assert lineage.facts("silver.flights") == [fact]
        assert lineage.built_from("bronze.source_0") == [fact]
        assert lineage.built_from("bronze.source_149") == [fact]

    def test_a_call_may_hold_many_facts(self, lineage: LineageStore) -> None:
        facts = [sample_fact(number) for number in range(1, 231)]
        lineage.append(facts)
        assert lineage.facts("silver.flights") == facts
        assert lineage.built_from("bronze.raw_flights") == facts

    # ── once, and all or none ─────────────────────────────────────────────────────────────

    def test_appending_again_changes_nothing(self, lineage: LineageStore) -> None:
        facts = [sample_fact(number) for number in (1, 2, 3)]
        for _ in range(3):
            lineage.append(facts)
        lineage.append(facts[1:2])
        assert lineage.facts("silver.flights") == facts
        assert lineage.run("run-1") == facts
        assert lineage.built_from("bronze.raw_flights") == facts

    def test_a_fact_twice_in_a_call_is_there_once(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(1), sample_fact(2), sample_fact(1)])
        assert lineage.facts("silver.flights") == [sample_fact(1), sample_fact(2)]

    def test_a_fact_is_never_overwritten(self, lineage: LineageStore) -> None:
        first = sample_fact(1, rows=1)
        other = sample_fact(1, rows=2, run="run-2", version=99, inputs=(InputPin(asset="bronze.other", version=1),))
        later = sample_fact(2, run="run-3", version=5, inputs=())
        lineage.append([first, later])
        lineage.append([other])
        assert lineage.facts("silver.flights") == [first, later]
        assert lineage.run("run-1") == [first]
        assert lineage.built_from("bronze.raw_flights") == [first]
        assert lineage.run("run-2") == []
        assert lineage.built_from("bronze.other") == []
        assert lineage.latest_version("silver.flights") == 5

    def test_what_is_new_in_a_call_is_written_beside_what_is_there(self, lineage: LineageStore) -> None:
        facts = [sample_fact(number) for number in range(1, 9)]
        lineage.append([facts[2], facts[5]])
        lineage.append(facts)
        assert lineage.facts("silver.flights") == facts
        assert lineage.run("run-1") == facts

    def test_a_call_that_fails_leaves_nothing(self, lineage: LineageStore) -> None:
        broken = sample_fact(3).model_copy(update={"reason": "\ud800"})  # can't be written as UTF-8
        try:
            lineage.append([sample_fact(1), sample_fact(2), broken])
        except Exception:
            assert lineage.facts("silver.flights") == []
            assert lineage.run("run-1") == []
            assert lineage.built_from("bronze.raw_flights") == []
            assert lineage.latest_version("silver.flights") is None
        else:
            raise AssertionError("a fact that can't be written was taken")

    def test_a_store_can_be_used_after_close(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(1)])
        lineage.close()
        lineage.close()
        lineage.append([sample_fact(2)])
        assert lineage.facts("silver.flights") == [sample_fact(1), sample_fact(2)]

    # ── removed ───────────────────────────────────────────────────────────────────────────

    def test_what_is_removed_is_gone_by_every_path_and_the_rest_stays(self, lineage: LineageStore) -> None:
        facts = [sample_fact(number) for number in range(1, 61)]
        other = sample_fact(3, asset="silver.weather")
        lineage.append([*facts, other])
        lineage.remove("silver.flights", [fact.id for fact in facts[:2] + facts[4:]])
        assert lineage.facts("silver.flights") == facts[2:4]
        assert lineage.run("run-1") == [facts[2], other, facts[3]]
        assert lineage.built_from("bronze.raw_flights") == [facts[2], other, facts[3]]
        assert lineage.latest_version("silver.flights") == 4
        assert lineage.facts("silver.weather") == [other]

    def test_a_fact_without_inputs_and_one_with_many_can_be_removed(self, lineage: LineageStore) -> None:
        many = sample_fact(2, inputs=[InputPin(asset=f"bronze.source_{n}", version=n) for n in range(40)])
        lineage.append([sample_fact(1, inputs=(), version=None, status=Status.FAILED), many])
        lineage.remove("silver.flights", {sample_fact(1).id, many.id})
        assert lineage.facts("silver.flights") == []
        assert lineage.built_from("bronze.source_39") == []
        assert lineage.latest_version("silver.flights") is None

    def test_removing_what_is_not_there_is_nothing(self, lineage: LineageStore) -> None:
        lineage.remove("silver.flights", ["1"])
        lineage.append([sample_fact(1)])
        for _ in range(2):
            lineage.remove("silver.flights", ["x", sample_fact(2).id])
            lineage.remove("silver.other", [sample_fact(1).id])
            lineage.remove("silver.flights", [])
        assert lineage.facts("silver.flights") == [sample_fact(1)]

    def test_what_was_removed_can_be_written_again(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(1)])
        lineage.remove("silver.flights", [sample_fact(1).id])
        lineage.append([sample_fact(1, rows=7)])
        assert lineage.facts("silver.flights") == [sample_fact(1, rows=7)]
        assert lineage.run("run-1") == lineage.built_from("bronze.raw_flights") == [sample_fact(1, rows=7)]

    # ── checkpoints ───────────────────────────────────────────────────────────────────────

    def test_without_a_checkpoint_everything_came_since(self, lineage: LineageStore) -> None:
        assert lineage.since("silver.flights") == Since(0, "", ())
        lineage.append([sample_fact(2), sample_fact(1), sample_fact(3, asset="silver.weather")])
        assert lineage.since("silver.flights") == Since(0, "", (sample_fact(1), sample_fact(2)))

    def test_a_checkpoint_and_what_came_since(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(2), sample_fact(3)])
        read = lineage.since("silver.flights")
        # What arrives between is not covered, whatever its id.
        lineage.append([sample_fact(1)])
        text = "kept: é\n" + "x" * 1_000_000
        assert lineage.keep("silver.flights", text, read)
        lineage.append([sample_fact(4), sample_fact(5, asset="silver.weather")])
        read = lineage.since("silver.flights")
        assert (read.checkpoint, read.facts) == (text, (sample_fact(1), sample_fact(4)))
        assert read.version > 0
        assert lineage.since("silver.weather") == Since(0, "", (sample_fact(5, asset="silver.weather"),))
        assert lineage.facts("silver.flights") == [sample_fact(n) for n in range(1, 5)]
        assert lineage.keep("silver.flights", "shorter", read)
        read = lineage.since("silver.flights")
        assert (read.checkpoint, read.facts) == ("shorter", ())

    def test_a_checkpoint_is_only_put_in_the_place_of_the_one_that_was_read(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(1)])
        first = lineage.since("silver.flights")
        lineage.append([sample_fact(2)])
        second = lineage.since("silver.flights")
        assert lineage.keep("silver.flights", "of one", first)
        assert not lineage.keep("silver.flights", "of two", second)
        assert not lineage.keep("silver.flights", "again", first)
        read = lineage.since("silver.flights")
        assert (read.checkpoint, read.facts) == ("of one", (sample_fact(2),))

    def test_what_is_removed_takes_the_checkpoint_along(self, lineage: LineageStore) -> None:
        facts = [sample_fact(n) for n in range(1, 5)]
        lineage.append([*facts, sample_fact(9, asset="silver.weather")])
        for asset in ("silver.flights", "silver.weather"):
            assert lineage.keep(asset, "kept", lineage.since(asset))
        before = lineage.since("silver.flights")
        lineage.remove("silver.flights", [facts[1].id, "nobody"])
        read = lineage.since("silver.flights")
        assert (read.checkpoint, read.facts) == ("", (facts[0], *facts[2:]))
        assert not lineage.keep("silver.flights", "what was there", before)
        assert lineage.keep("silver.flights", "what is left", read)
        lineage.append([facts[1]])
        assert lineage.since("silver.flights").facts == (facts[1],)
        assert lineage.since("silver.weather").checkpoint == "kept"

    def test_what_is_removed_before_there_is_a_checkpoint(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(1), sample_fact(2)])
        read = lineage.since("silver.flights")
        lineage.remove("silver.flights", [sample_fact(1).id])
        assert not lineage.keep("silver.flights", "of both", read)
        assert lineage.since("silver.flights").facts == (sample_fact(2),)

    def test_who_keeps_and_who_writes_at_once_lose_nothing(self, lineage: LineageStore) -> None:
        writers, each = 3, 12
        start = threading.Barrier(writers + 1)

        def write(writer: int) -> None:
            start.wait()
            for number in range(each):
                lineage.append([sample_fact(100 * writer + number)])

        def ids(since: Since) -> set[str]:
            return {*since.checkpoint.split(), *(fact.id for fact in since.facts)}

        with ThreadPoolExecutor(writers) as pool:
            written = [pool.submit(write, writer) for writer in range(writers)]
            start.wait()
            while not all(one.done() for one in written):
                read = lineage.since("silver.flights")
                lineage.keep("silver.flights", " ".join(sorted(ids(read))), read)
            for one in written:
                one.result()
        assert ids(lineage.since("silver.flights")) == {
            sample_fact(100 * writer + number).id for writer in range(writers) for number in range(each)
        }

    # ── leases ────────────────────────────────────────────────────────────────────────────

    def test_the_newest_facts_come_first_and_no_more_than_asked(self, lineage: LineageStore) -> None:
        facts = [sample_fact(n, run=f"run-{n}") for n in (1, 2, 3, 4)]
        lineage.append([facts[2], facts[0], sample_fact(5, asset="gold.other")])
        lineage.append([facts[3], facts[1]])
        assert lineage.recent("silver.flights", 3) == [facts[3], facts[2], facts[1]]
        assert lineage.recent("silver.flights", 9) == facts[::-1]
        assert lineage.recent("silver.nothing", 9) == []

    def test_the_newest_runs_come_first_and_older_ones_page_by_page(self, lineage: LineageStore) -> None:
        assert lineage.runs(5) == []
        for n in (2, 4, 1, 3):
            lineage.append([sample_fact(n, run=f"run-{n}"), sample_fact(10 + n, run=f"run-{n}", asset="gold.other")])
        assert lineage.runs(3) == ["run-4", "run-3", "run-2"]
        assert lineage.runs(3, before="run-2") == ["run-1"]
        assert lineage.runs(3, before="run-1") == []
        lineage.append([sample_fact(99, run="", asset="schemas.other")])
        assert lineage.runs(9) == ["run-4", "run-3", "run-2", "run-1"]

    def test_the_news_are_what_was_written_since(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(1), sample_fact(2, asset="gold.other")])
        first = lineage.news("")
        assert first.anew is None
        again = lineage.news(first.mark)
        assert (again.facts, again.anew, again.mark) == ((), frozenset(), first.mark)
        new = sample_fact(3, run="run-3")
        lineage.append([new])
        news = lineage.news(first.mark)
        assert "silver.flights" in {*(fact.asset for fact in news.facts), *(news.anew or ())}
        assert "gold.other" not in {*(fact.asset for fact in news.facts), *(news.anew or ())}
        assert all(fact == new for fact in news.facts)
        assert lineage.news(news.mark).facts == ()
        assert lineage.news(news.mark).anew == frozenset()

    def test_what_is_removed_is_news(self, lineage: LineageStore) -> None:
        facts = [sample_fact(n, run=f"run-{n}") for n in (1, 2, 3)]
        lineage.append([*facts, sample_fact(9, asset="gold.other")])
        mark = lineage.news("").mark
        lineage.remove("silver.flights", [facts[2].id])
        lineage.append([sample_fact(4, run="run-4")])
        news = lineage.news(mark)
        assert news.anew is None or "silver.flights" in news.anew
        assert lineage.news(news.mark).anew == frozenset()

    def test_a_run_that_goes_on_is_news_again(self, lineage: LineageStore) -> None:
        lineage.append([sample_fact(n, run=f"run-{n}") for n in (1, 2)])
        mark = lineage.news("").mark
        lineage.append([sample_fact(3, run="run-1", asset="gold.other")])
        news = lineage.news(mark)
        assert "gold.other" in {*(fact.asset for fact in news.facts), *(news.anew or ())}

    def test_claims_come_back_equal(self, lineage: LineageStore) -> None:
        assert lineage.leases() == (0, [])
        held = [sample_lease("run-1"), sample_lease("run-2", partitions={"silver.x": (), "gold.Zürich": (("é", "é"),)})]
        assert lineage.set_leases(held, version=0)
        version, found = lineage.leases()
        assert found == held
        assert lineage.set_leases([], version=version)
        assert lineage.leases()[1] == []
        assert lineage.facts("silver.flights") == []

    def test_claims_are_only_put_in_the_place_of_those_that_were_read(self, lineage: LineageStore) -> None:
        first, second = [sample_lease("run-1")], [sample_lease("run-2")]
        assert lineage.set_leases(first, version=0)
        assert not lineage.set_leases(second, version=0)
        assert lineage.leases()[1] == first
        version, _ = lineage.leases()
        assert lineage.set_leases([], version=version)
        # Nobody may take what is empty again for what was empty before.
        assert not lineage.set_leases(second, version=0)
        assert not lineage.set_leases(second, version=version)
        assert lineage.leases()[1] == []

    def test_claims_may_be_long(self, lineage: LineageStore) -> None:
        days = tuple((f"2013-{n:06d}", f"2013-{n:06d}") for n in range(0, 4_000, 2))
        held = [sample_lease(f"run-{n}", partitions={"silver.flights": days}) for n in range(10)]
        assert lineage.set_leases(held, version=0)
        assert lineage.leases()[1] == held

    def test_runs_that_wait_stand_in_a_line_of_their_own(self, lineage: LineageStore) -> None:
        held, waiting = [sample_lease("run-1")], [sample_lease("run-3"), sample_lease("run-2")]
        assert lineage.leases(waiting=True) == (0, [])
        assert lineage.set_leases(waiting, version=0, waiting=True)
        assert lineage.leases() == (0, [])
        assert lineage.set_leases(held, version=0)
        assert not lineage.set_leases([], version=0, waiting=True)
        assert lineage.leases()[1] == held
        version, found = lineage.leases(waiting=True)
        assert found == waiting
        assert lineage.set_leases([], version=version, waiting=True)
        assert lineage.leases(waiting=True)[1] == []
        assert lineage.leases()[1] == held

    def test_of_several_that_claim_at_once_one_wins(self, lineage: LineageStore) -> None:
        writers = 6
        start = threading.Barrier(writers)

        def take(writer: int) -> bool:
            start.wait()
            return lineage.set_leases([sample_lease(f"run-{writer}")], version=0)

        with ThreadPoolExecutor(writers) as pool:
            won = list(pool.map(take, range(writers)))
        assert won.count(True) == 1
        assert [lease.run for lease in lineage.leases()[1]] == [f"run-{won.index(True)}"]

    # ── several at once ───────────────────────────────────────────────────────────────────

    def test_threads_may_write_at_once(self, lineage: LineageStore) -> None:
        writers = 6
        start = threading.Barrier(writers)

        def write(writer: int) -> None:
            start.wait()
            for call in _calls_of(writer):
                lineage.append(call)

        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(write, range(writers)))
        _see_all_calls(lineage, writers)

    def test_processes_may_write_at_once(self, lineage: LineageStore) -> None:
        if not self.across_processes:
            try:
                pickle.dumps(lineage)
            except LineageError:
                return
            raise AssertionError("a store that one process holds let itself be pickled")
        writers = 2
        # Not by fork: it copies locks that other threads of a test run may hold.
        spawn = multiprocessing.get_context("spawn")
        start = spawn.Barrier(writers)
        processes = [
            spawn.Process(target=_write_calls, args=(pickle.dumps(lineage), writer, start)) for writer in range(writers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * writers
        _see_all_calls(lineage, writers)


def _full_fact() -> Fact:
    """A fact with nothing at its default."""
    day = (("2013-01-03", "2013-01-04"), ("2013-01-08", "2013-01-08"))
    return sample_fact(
        5,
        partitions=day,
        attempt=2,
        engine="prefect",
        flow_run="flow",
        task_run="task",
        inputs=(
            InputPin(asset="bronze.raw_flights", version=3, partitions=day),
            InputPin(asset="bronze.raw_weather", version=None),
        ),
        table="s3://lake/silver/flights",
        code_version="1f2e",
        schema_version="3d4c",
        rows=2**40,
        bytes=2**50,
        checks=(
            CheckResult(name="unique", blocking=False, passed=False, failed=day, failing_rows=3, message="3 twice"),
            CheckResult(name="row_count", blocking=True, passed=True),
        ),
        host="worker-1",
        reason="spoiled",
        quarantine="s3://lake/quarantine/5",
    )


def _calls_of(writer: int) -> list[list[Fact]]:
    """What one of several writers appends: facts of its own, and some that all of them write."""
    own = [sample_fact(1000 * (writer + 1) + n, run=f"run-{writer}", version=n) for n in range(20)]
    shared = [sample_fact(n, run="shared") for n in range(1, 11)]
    return [own[:1], shared[:5], own[1:9], shared[4:5], own[9:], shared]


def _write_calls(pickled: bytes, writer: int, start: Barrier) -> None:
    lineage: LineageStore = pickle.loads(pickled)
    calls = _calls_of(writer)
    start.wait(timeout=60)  # if the other one died, so does this
    for call in calls:
        lineage.append(call)


def _see_all_calls(lineage: LineageStore, writers: int) -> None:
    wanted = {fact.id: fact for writer in range(writers) for call in _calls_of(writer) for fact in call}
    assert lineage.facts("silver.flights") == [wanted[id] for id in sorted(wanted)]
    assert len(lineage.run("shared")) == 10
    assert [len(lineage.run(f"run-{writer}")) for writer in range(writers)] == [20] * writers
    assert len(lineage.built_from("bronze.raw_flights")) == len(wanted)
