"""The deployments that assets declare: for each schedule one of the flow ``refresh``; of ``observe`` for external ones.

Written as often as one likes: what is there already stays untouched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final
from uuid import UUID
from zoneinfo import ZoneInfo

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from lakehouse import flows
from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.definitions.policies import Freshness
from lakehouse.durations import format_duration
from lakehouse.errors import DefinitionError, EngineError, SettingsError, shorten
from lakehouse.execution.engine import Silent
from lakehouse.integrations.prefect.engine import connected
from lakehouse.integrations.prefect.events import DEPLOYMENT, ROLE, UPDATED, resource_id
from lakehouse.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import Automation, AutomationCore

    from lakehouse.definitions.selection import Targets
    from lakehouse.lake import Lakehouse

_OWNER: Final = "declared-by:"
"""Tag that says whose a deployment is: the module that declares its assets. Others are never touched."""

_ANCHOR: Final = datetime(2020, 1, 1)
"""Where intervals are counted from, so that a second call finds the same schedule."""

_WRITTEN: Final = "Written by `lakehouse deploy` from what the assets declare."

_KEYS_AS_TAGS = 20
"""Prefect relates each tag to each event of a run, and takes 100 at most; more assets stand in the description."""

_WATCHED: Final = timedelta(minutes=15)
"""How long a run watches. The next one stands in line by then; where one is lost, it is what begins again."""

_VERBS: Final[Mapping[str, str]] = {
    flows.refresh.name: "Refreshes",
    flows.observe.name: "Looks at",
    flows.watch.name: "Watches, and tells",
}

_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    flows.refresh.name: {"upstream": "stale"},
    flows.watch.name: {"minutes": _WATCHED / timedelta(minutes=1)},
}

_PAGE = 200

_POOL_HINT = "prefect work-pool create lakehouse --type process"


class Verdict(StrEnum):
    """The outcome for a deployment, or what it would be."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    LEFT = "no longer declared"
    REMOVED = "removed"


@final
@dataclass(frozen=True)
class Deployment:
    """Assets that are refreshed together, and when.

    Parameters:
        name: what it is called in Prefect
        freshness: when; None: no asset declares it any more
        assets: which
        inputs: keys of the assets whose new content starts it, if it comes after its inputs
    """

    name: str
    freshness: Freshness | None
    assets: tuple[Asset, ...] = ()
    inputs: tuple[str, ...] = ()

    @property
    def when(self) -> str:
        """When it runs, in words: ``cron 0 6 * * * UTC``, ``every 1h``, ``after silver.flights``."""
        match self.freshness:
            case None:
                return ""
            case Freshness(cron=str(cron), timezone=zone):
                return f"cron {cron} {zone}"
            case Freshness(every=timedelta() as every):
                return f"every {format_duration(every)}"
            case Freshness(watched=True):
                return "when something arrives"
            case _:
                return f"after {shorten(self.inputs)}"

    @property
    def selection(self) -> str:
        """The assets, as the flow takes them."""
        return " ".join(asset.key for asset in self.assets)

    @property
    def flow(self) -> Flow[..., Any]:
        """What it runs: external assets are only looked at, or watched."""
        if not self.assets[0].external:
            return flows.refresh
        return flows.watch if self.freshness is not None and self.freshness.watched else flows.observe


@final
@dataclass(frozen=True)
class Outcome:
    """A deployment, and its outcome.

    Parameters:
        deployment: the deployment
        verdict: its outcome; in a dry run, what it would be
        about: what differs from what is there, for one that changed
    """

    deployment: Deployment
    verdict: Verdict
    about: tuple[str, ...] = ()


def declared(graph: AssetGraph) -> tuple[Deployment, ...]:
    """The deployments that assets declare: one for each group and schedule; an asset without a group has its own.

    Parameters:
        graph: all assets

    Raises:
        DefinitionError: an asset is refreshed after its inputs and has none, or two deployments would bear one name

    Examples:
        >>> from lakehouse import AssetGraph, Freshness, bronze
        >>> @bronze(freshness=Freshness(cron="0 6 * * *"))
        ... def orders(): ...
        >>> [(d.name, d.when) for d in declared(AssetGraph([orders]))]
        [('refresh-bronze.orders', 'cron 0 6 * * * UTC')]
    """
    together: dict[tuple[str, Freshness], list[Asset]] = {}
    for asset in graph:
        if asset.freshness is not None and asset.freshness.scheduled:
            verb = "watch" if asset.freshness.watched else "observe" if asset.external else "refresh"
            group = f"{verb}-{asset.group or asset.key}"
            together.setdefault((group, _schedule(asset.freshness)), []).append(asset)
    groups = [group for group, _ in together]
    found: dict[str, Deployment] = {}
    for (group, freshness), assets in together.items():
        # A group may have several schedules; each is then called by the first of its assets, too.
        name = group + (f"-{assets[0].name}" if groups.count(group) > 1 else "")
        name = re.sub(r"[/%&><]", "-", name)  # which Prefect refuses in names
        if name in found:
            raise DefinitionError(
                f"{found[name].assets[0].key} and {assets[0].key} would both be deployed as {name}",
                hint="give one of them another group",
            )
        inputs = _inputs(graph, assets) if freshness.after_inputs else ()
        found[name] = Deployment(name, freshness, tuple(assets), inputs)
    return tuple(found.values())


def deploy(
    lake: Lakehouse,
    targets: Targets | None = None,
    *,
    work_pool: str | None = None,
    dry_run: bool = False,
    prune: bool = False,
) -> list[Outcome]:
    """Write the deployments that assets declare to the Prefect API that is configured.

    Runs work on this very lakehouse: the module and what the environment says of settings go along, except
    ``storage_options``, which may hold secrets and have to be set where the worker runs. In a work pool of type
    ``process`` they start in the current folder.

    Parameters:
        lake: the lakehouse
        targets: write only deployments with at least one of these assets; None: all
        work_pool: which work pool runs them; None: the one that settings name
        dry_run: only say what would be done
        prune: remove deployments that were written by this and that no asset declares any more

    Returns:
        the outcome for each deployment, at the end those that no asset declares any more

    Raises:
        EngineError: no Prefect API is configured, or it doesn't answer or refuses
        SettingsError: no work pool is named, or there is none of that name
        DefinitionError: a schedule that can't be
    """
    wanted = declared(lake.graph)
    chosen = {asset.key for asset in (lake.graph if targets is None else lake.select(targets))}
    with _api() as client:
        base = _base(client, lake.settings, work_pool)
        there = {found.name: found for found in _deployments(client)}
        # What can't be is found before anything is written.
        specs = [(one, _spec(one, base)) for one in wanted if not chosen.isdisjoint(a.key for a in one.assets)]
        for one, _ in specs:
            _check_owner(there.get(one.name), base)
        outcomes = [_settle(client, one, spec, there.get(one.name), dry_run) for one, spec in specs]
        for name in sorted(set(there) - {one.name for one in wanted}):
            if base.owner in there[name].tags:
                if prune and not dry_run:
                    _remove(client, there[name].id)
                outcomes.append(Outcome(Deployment(name, None), Verdict.REMOVED if prune else Verdict.LEFT))
    return outcomes


# ── what assets say ───────────────────────────────────────────────────────────────────────


def _schedule(freshness: Freshness) -> Freshness:
    """What of it says when, so that equal schedules are equal."""
    if freshness.after_inputs:
        return Freshness(after_inputs=True)
    if freshness.watched:
        return Freshness(watched=True)
    return Freshness(cron=freshness.cron, every=freshness.every, timezone=freshness.timezone)


def _inputs(graph: AssetGraph, assets: Sequence[Asset]) -> tuple[str, ...]:
    """The inputs from outside; and what those are made from that have no schedule of their own: they come along."""
    own = {asset.key for asset in assets}
    found: dict[str, None] = {}
    left = list(assets)
    while left:
        asset = left.pop(0)
        for edge in graph.inputs(asset):
            if edge.asset.key not in own | set(found):
                found[edge.asset.key] = None
                if edge.asset.freshness is None or not edge.asset.freshness.scheduled:
                    left.append(edge.asset)
    if not found:
        raise DefinitionError(
            f"{shorten(sorted(own))} can't be refreshed after its inputs: it has none", hint="give it cron= or every="
        )
    return tuple(found)


# ── what is to be there, and what is ──────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Base:
    """What all deployments of a lakehouse have in common."""

    owner: str
    pool: str
    variables: dict[str, Any]
    pull: list[dict[str, Any]]


def _base(client: SyncPrefectClient, settings: Settings, name: str | None) -> _Base:
    name = name or settings.work_pool
    if name is None:
        raise SettingsError(
            "no work pool is named that the deployments are to run in",
            hint=f"--work-pool NAME, LAKEHOUSE_WORK_POOL or [tool.lakehouse] work_pool; this makes one: {_POOL_HINT}",
        )
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        raise SettingsError(
            f"there is no work pool {name!r} at {PREFECT_API_URL.value()}",
            hint=f"this makes one: {_POOL_HINT.replace('lakehouse', name)}",
        ) from None
    said = {f"{ENV_PREFIX}{s.upper()}" for s in Settings.model_fields} - {f"{ENV_PREFIX}STORAGE_OPTIONS"}
    environment = {variable: value for variable, value in os.environ.items() if variable in said}
    # A project's folder isn't to stand ahead of what is installed; the module is found in it all the same.
    if settings.module is None:
        raise SettingsError(
            "no module of assets is configured, so that a deployed run would find none",
            hint="name yours: LAKEHOUSE_MODULE, or module below [tool.lakehouse] in pyproject.toml",
        )
    environment |= {f"{ENV_PREFIX}MODULE": settings.module, "PYTHONSAFEPATH": "1"}
    folder = {"prefect.deployments.steps.set_working_directory": {"directory": str(Path.cwd())}}
    return _Base(
        owner=f"{_OWNER}{settings.module}",
        pool=name,
        variables={"env": environment},
        pull=[folder] if pool.type == "process" else [],
    )


@dataclass(frozen=True)
class _Spec:
    """A deployment as Prefect keeps it; its fields' names are what is said to have changed."""

    description: str | None
    tags: frozenset[str]
    parameters: dict[str, Any]
    schedule: list[dict[str, Any]]
    work_pool: str | None
    job_variables: dict[str, Any]
    pull_steps: list[dict[str, Any]]
    entrypoint: str | None
    parameter_schema: dict[str, Any]
    one_at_a_time: bool
    schedules: list[DeploymentScheduleCreate] = field(default_factory=list, compare=False)

    def differences(self, other: _Spec) -> tuple[str, ...]:
        """What differs, in words."""
        names = [name for name in self.__dataclass_fields__ if name != "schedules"]
        return tuple(name.replace("_", " ") for name in names if getattr(self, name) != getattr(other, name))


def _spec(deployment: Deployment, base: _Base) -> _Spec:
    schedules = _schedules(deployment)
    assets = deployment.assets
    tags = {"lakehouse", base.owner, *(str(asset.layer) for asset in assets), *(a.group for a in assets if a.group)}
    if len(assets) <= _KEYS_AS_TAGS:
        tags |= {asset.key for asset in assets}
    lines = [f"- **{asset.key}** {asset.description.partition(chr(10))[0]}".rstrip() for asset in assets]
    about = f"{_VERBS[deployment.flow.name]} {deployment.when}:\n\n" + "\n".join(lines)
    return _Spec(
        description=f"{about}\n\n{_WRITTEN}",
        tags=frozenset(tags),
        parameters={"selection": deployment.selection} | dict(_PARAMETERS.get(deployment.flow.name, {})),
        schedule=[one.schedule.model_dump(mode="json") for one in schedules],
        work_pool=base.pool,
        job_variables=base.variables,
        pull_steps=base.pull,
        entrypoint=f"{deployment.flow.fn.__module__}.{deployment.flow.fn.__name__}",
        parameter_schema=deployment.flow.parameters.model_dump(mode="json"),
        one_at_a_time=True,
        schedules=schedules,
    )


def _schedules(deployment: Deployment) -> list[DeploymentScheduleCreate]:
    freshness = deployment.freshness
    assert freshness is not None
    if freshness.after_inputs:
        return []
    schedule: CronSchedule | IntervalSchedule
    if freshness.watched:
        freshness = Freshness(every=_WATCHED)
    if freshness.every is not None:
        anchor = _ANCHOR.replace(tzinfo=ZoneInfo(freshness.timezone))
        schedule = IntervalSchedule(interval=freshness.every, anchor_date=anchor, timezone=freshness.timezone)
    else:
        assert freshness.cron is not None
        try:
            schedule = CronSchedule(cron=freshness.cron, timezone=freshness.timezone)
        except ValueError:
            raise DefinitionError(
                f"{deployment.assets[0].key}: cron={freshness.cron!r} is no schedule that Prefect understands",
                hint='five fields: minute, hour, day, month, day of week, e.g. "0 6 * * *"',
            ) from None
    return [DeploymentScheduleCreate(schedule=schedule, slug="refresh")]


def _found(there: DeploymentResponse) -> _Spec:
    limit = there.global_concurrency_limit
    return _Spec(
        description=there.description,
        tags=frozenset(there.tags),
        parameters=there.parameters,
        schedule=[one.schedule.model_dump(mode="json") for one in there.schedules],
        work_pool=there.work_pool_name,
        job_variables=there.job_variables,
        pull_steps=there.pull_steps or [],
        entrypoint=there.entrypoint,
        parameter_schema=there.parameter_openapi_schema or {},
        one_at_a_time=limit is not None and limit.limit == 1,
    )


def _automation(deployment: Deployment, id: UUID) -> AutomationCore | None:
    """What starts a deployment after its inputs: a run that gave one of them new content, but none of its own runs."""
    if not deployment.inputs:
        return None
    trigger = DeploymentEventTrigger(
        name=f"{deployment.name} {deployment.when}",
        description=_WRITTEN,
        expect={UPDATED},
        match={"prefect.resource.id": "lakehouse.run.*", DEPLOYMENT: f"!{id}"},
        match_related={
            "prefect.resource.id": [resource_id(key) for key in deployment.inputs],
            "prefect.resource.role": ROLE,
        },
    )
    trigger.set_deployment_id(id)
    return trigger.as_automation()


def _same(wanted: AutomationCore | None, there: Sequence[Automation]) -> bool:
    if wanted is None or len(there) != 1:
        return wanted is None and not there
    parts = {"name", "description", "trigger", "actions"}
    return wanted.model_dump(include=parts) == there[0].model_dump(include=parts)


# ── making it so ──────────────────────────────────────────────────────────────────────────


def _check_owner(there: DeploymentResponse | None, base: _Base) -> None:
    if there is not None and base.owner not in there.tags:
        whose = next((tag for tag in there.tags if tag.startswith(_OWNER)), "not written by lakehouse deploy")
        raise SettingsError(
            f"there is a deployment {there.name} already that is another's ({whose})",
            hint="give the assets another group, or use a Prefect API of your own",
        )


def _settle(
    client: SyncPrefectClient, deployment: Deployment, spec: _Spec, there: DeploymentResponse | None, dry_run: bool
) -> Outcome:
    about: tuple[str, ...] = ()
    automations: list[Automation] = []
    if there is not None:
        about = spec.differences(_found(there))
        automations = _automations(client, there.id)
        if not _same(_automation(deployment, there.id), automations):
            about += ("trigger",)
        if not about:
            return Outcome(deployment, Verdict.UNCHANGED)
    if not dry_run:
        # What a person has paused stays paused.
        paused = there is not None and bool(there.schedules) and not any(one.active for one in there.schedules)
        id = _write(client, deployment, spec, paused=paused)
        if there is None and deployment.flow is flows.watch:
            client.create_flow_run_from_deployment(id)  # its schedule begins in a quarter of an hour at the latest
        wanted = _automation(deployment, id)
        if not _same(wanted, automations):
            client.delete_resource_owned_automations(f"prefect.deployment.{id}")
            if wanted is not None:
                enabled = not automations or any(one.enabled for one in automations)
                client.create_automation(wanted.model_copy(update={"enabled": enabled}))
    return Outcome(deployment, Verdict.NEW if there is None else Verdict.CHANGED, about)


def _write(client: SyncPrefectClient, deployment: Deployment, spec: _Spec, *, paused: bool) -> UUID:
    return client.create_deployment(
        flow_id=client.create_flow(deployment.flow),
        name=deployment.name,
        description=spec.description,
        tags=sorted(spec.tags),
        parameters=spec.parameters,
        schedules=[one.model_copy(update={"active": not paused}) for one in spec.schedules],
        work_pool_name=spec.work_pool,
        job_variables=spec.job_variables,
        pull_steps=spec.pull_steps,
        entrypoint=spec.entrypoint,
        parameter_openapi_schema=spec.parameter_schema,
        enforce_parameter_schema=True,
        # Two refreshes of the same assets at once would only get in each other's way.
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    )


def _remove(client: SyncPrefectClient, id: UUID) -> None:
    client.delete_resource_owned_automations(f"prefect.deployment.{id}")
    client.delete_deployment(id)


def _deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    """All deployments of the flows that assets can declare one of."""
    flow = FlowFilter(name=FlowFilterName(any_=[flows.refresh.name, flows.observe.name, flows.watch.name]))
    offset = 0
    while page := client.read_deployments(flow_filter=flow, limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)


def _automations(client: SyncPrefectClient, id: UUID) -> list[Automation]:
    """The automations that belong to a deployment, not those that others made about it."""
    related = client.read_resource_related_automations(f"prefect.deployment.{id}")
    return [one for one in related if one.description == _WRITTEN]  # the API keeps to itself who owns them


@contextmanager
def _api() -> Iterator[SyncPrefectClient]:
    """The Prefect API that is configured; a temporary one would forget what is written to it."""
    url = PREFECT_API_URL.value()
    if not url:
        raise EngineError(
            "no Prefect API is configured that deployments could be written to",
            hint="set PREFECT_API_URL, such as http://127.0.0.1:4200/api; prefect server start runs one there",
        )
    with connected(Silent()), get_client(sync_client=True) as client:
        try:
            yield client
        except PrefectHTTPStatusError as error:
            raise EngineError(f"Prefect at {url} refuses: {error.response.text}") from error


__all__ = ["Deployment", "Outcome", "Verdict", "declared", "deploy"]
