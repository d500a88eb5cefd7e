"""Assets, and what lineage says of them, in memory."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lakehouse import Asset, AssetGraph, Daily, Layer, bronze, gold, silver
from lakehouse.definitions.selection import Targets
from lakehouse.lineage import AssetState, Fact, InputPin, Status
from lakehouse.partitions import Now, Partitions, PartitionSet, Present
from lakehouse.planning.demand import ready_by
from lakehouse.planning.plan import Plan, make_plan
from lakehouse.planning.request import Request
from lakehouse.planning.snapshot import Known, Snapshot
from lakehouse.testing.lineage import sample_fact

NOW = datetime(2013, 3, 1, 12, tzinfo=UTC)
DAILY = Daily("2013-01-01", column="date")

_NEWEST: dict[str, Asset] = {}
"""The asset that was made last of each name: what a parameter of that name means."""

_MAKE = {Layer.BRONZE: bronze, Layer.SILVER: silver, Layer.GOLD: gold}


def asset(key: str, *inputs: str, partitions: Partitions | None = None) -> Asset:
    """An asset whose parameters are its inputs' names."""
    layer, _, name = key.partition(".")
    namespace: dict[str, Any] = {"__name__": "somewhere"}
    exec(f"def {name}({', '.join(inputs)}): ...", namespace)
    made = _MAKE[Layer(layer)](partitions=partitions)(namespace[name])
    _NEWEST[name] = made
    return made


def published(made: Asset, partitions: PartitionSet, number: int = 1, now: datetime = NOW, **values: Any) -> Fact:
    """A publication by an asset's present code, of what its inputs have at version 50."""
    mine: dict[str, Any] = {
        "code_version": made.code_version,
        "schema_version": made.schema_version,
        "checks_version": made.checks_version,
        "inputs": tuple(
            InputPin(asset=one.key, version=50, partitions=one.partitions.all(now).to_pairs())
            for one in (_NEWEST[p.name] for p in made.inputs)
        ),
    }
    return sample_fact(number, asset=made.key, partitions=partitions.to_pairs(), **mine | values)


def facts_of(made: Asset, present: PartitionSet, version: int | None = 3, now: datetime = NOW) -> AssetState:
    """The state of an asset whose partitions were published in one version, by its present code."""
    fact = published(made, present, now=now, version=version)
    return AssetState.fold(made.partitions, [fact] if present else [])


class World:
    """A graph, and which partitions of it are there.

    Parameters:
        assets: the assets
        present: what is published of them, by key: a selection of partitions, or a set
        versions: the table version of each; 3 by default
        now: when they were published: what there was of each input then was read
    """

    def __init__(
        self,
        assets: Sequence[Asset],
        present: Mapping[str, Any] | None = None,
        versions: Mapping[str, int] | None = None,
        now: datetime = NOW,
    ) -> None:
        self.graph = AssetGraph(assets)
        self.states: dict[str, AssetState] = {}
        for one in self.graph:
            given = (present or {}).get(one.key, [])
            there = given if isinstance(given, PartitionSet) else one.partitions.select(given)
            self.states[one.key] = facts_of(one, there, (versions or {}).get(one.key, 3), now)

    def state(self, one: Asset) -> AssetState:
        return self.states[one.key]

    def ready(self, now: datetime = NOW) -> dict[str, PartitionSet]:
        return ready_by(self.graph, list(self.graph), self.state, now)

    def plan(self, *targets: str, now: datetime = NOW, **options: Any) -> Plan:
        return self.plan_of(targets, now=now, **options)

    def plan_of(self, targets: Targets, *, now: Now = NOW, refresh: bool = False, **options: Any) -> Plan:
        request = Request("refresh" if refresh else "materialize", targets, **options)
        known = {key: Known(state) for key, state in self.states.items()}
        return make_plan(self.graph, request, Snapshot(known, Present.of(now)))


def shown(plan: Plan) -> dict[str, str]:
    """What a plan builds of each asset."""
    return {one.key: str(plan.partitions(one)) for one in plan.assets}


def failed_fact(made: Asset, partitions: str, status: Status = Status.FAILED) -> AssetState:
    """The state of an asset of which some partitions were tried in vain."""
    pairs = made.partitions.select(partitions).to_pairs()
    return AssetState.fold(made.partitions, [sample_fact(1, asset=made.key, partitions=pairs, status=status)])


States = Callable[[Asset], AssetState]
