"""A step's function called by a worker of a Prefect work pool: each order is a flow run of its own there."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast, final
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkPool
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling
from prefect.utilities.urls import url_for

from lakehouse.compute.order import Order
from lakehouse.compute.patience import patiently
from lakehouse.compute.place import Stop
from lakehouse.definitions import compute
from lakehouse.errors import ComputeCancelled, ComputeError, EngineError, count, describe
from lakehouse.integrations.prefect.orders import ENTRYPOINT, carry_out_order
from lakehouse.redaction import logger
from lakehouse.settings import project_folder

log = logger()

HEARTBEAT: Final = 30
"""Seconds between two signs of life of a flow run; Prefect allows no fewer."""

_MISSED = 3
"""So many signs of life are missed, and the run is taken for lost."""

_POLL = 0.5
_GRACE = 30.0
"""Seconds after the deadline, by which Prefect has to know that the run has ended."""

_SUBMISSIONS = 3
"""How often a run is submitted whose worker couldn't start anything for it."""

_NOT_STARTED = ("Failed to submit flow run to infrastructure", "Flow run could not start")
"""What workers say where nothing was started."""

_ERRORS: Final = (httpx.TransportError, PrefectHTTPStatusError)

T = TypeVar("T")


@final
@dataclass(frozen=True)
class PrefectWorkPool:
    """Carries out each order in a flow run of a work pool, linked from the task run that needs it.

    Parameters:
        declared: the pool, and what it is asked for
    """

    declared: compute.WorkPool
    shared: bool = False

    @property
    def seconds(self) -> float:
        """How long an order may take, once it is begun."""
        return self.declared.timeout

    @property
    def pending(self) -> float:
        """Seconds that may pass before it is begun."""
        return self.declared.pending

    def carry_out(self, order: Order, stop: Stop) -> None:
        """See [lakehouse.compute.place.Place][]."""
        if not PREFECT_API_URL.value():
            raise EngineError(
                f"{order.title}: {self} needs a Prefect API that its workers reach, and none is configured",
                hint="set PREFECT_API_URL, such as http://127.0.0.1:4200/api; or set compute to here on this machine",
            )
        with get_client(sync_client=True) as client:
            following = _Following(self, client, order, stop)
            for number in itertools.count(1):
                run, state = following.to_its_end(following.submit(number))
                if state.type is StateType.COMPLETED:
                    return
                message = state.message or "without a word"
                again = any(words in message for words in _NOT_STARTED) and not _is_lasting(message)
                if not again or number == _SUBMISSIONS:
                    kind = ComputeCancelled if state.type is StateType.CANCELLED else ComputeError
                    raise kind(
                        f"{order.title}: its flow run {run.name!r} in {self} ended as {state.name}: {message}",
                        hint=f"see {_url(run.id)}",
                    )
                log.info("%s: %s; it is submitted once more", order.title, message)

    def __str__(self) -> str:
        return str(self.declared)


@dataclass(frozen=True)
class _Following:
    """An order, while it is under way."""

    place: PrefectWorkPool
    client: SyncPrefectClient
    order: Order
    stop: Stop

    def submit(self, number: int) -> FlowRun:
        """A flow run for the order; the same one however often it has to be asked for."""
        declared = self.place.declared
        pool = self._patiently(self._pool)
        known = pool.base_job_template.get("variables", {}).get("properties", {})
        variables = {k: v for k, v in declared.job_variables.items() if k in known or k in declared.variables}
        if pool.type == "process":
            variables = {"working_dir": str(project_folder() or "."), **variables}
        fixed = known.get("task_definition_arn", {}).get("default")
        if declared.image and fixed and "task_definition_arn" not in declared.variables:
            # The worker would leave out the image without a word.
            raise ComputeError(
                f"{self.order.title}: {self.place} runs the task definition {fixed}, whose image a run can't replace",
                hint="register one with that image, and name it: "
                'WorkPool(..., variables={"task_definition_arn": "..."}); or use a pool that has no default one',
            )
        environment = {
            "PYTHONSAFEPATH": "1",  # what is run is what is installed, wherever it was started
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT),
            **declared.env,
        }
        name = self._patiently(lambda: self._deployment(pool))

        def create() -> FlowRun:
            return cast(
                "FlowRun",  # nothing is awaited outside of an event loop
                run_deployment(
                    name,
                    parameters={"order": self.order.uri},
                    flow_run_name=self.order.title,
                    timeout=0,
                    idempotency_key=f"{self.order.attempt}-{number}",
                    job_variables={**variables, "env": environment},
                    tags=["lakehouse"],
                ),
            )

        run = self._patiently(create)
        log.info("%s is made in %s: flow run %s %s", self.order.title, self.place, run.name, _url(run.id))
        return run

    def to_its_end(self, run: FlowRun) -> tuple[FlowRun, State[Any]]:
        """Follow a run until it has ended; where nobody waits for it any more, it is cancelled."""
        with self._cancelling(run):
            began = time.monotonic()
            checked = time.monotonic()
            while True:
                now = self._patiently(lambda: self.client.read_flow_run(run.id))
                state = now.state
                if state is not None and state.is_final():
                    return now, state
                under_way = state is not None and state.is_running()
                waited = time.monotonic() - began
                if not under_way and waited > self.place.declared.pending:
                    raise self._never_taken(now, waited)
                if datetime.now(UTC) > self.order.deadline + timedelta(seconds=_GRACE):
                    raise ComputeError(
                        f"{self.order.title}: not done by its deadline in {self.place}; it was cancelled",
                        hint="give it more time (timeout=), or fewer partitions in a step (chunk)",
                    )
                if time.monotonic() - checked > min(HEARTBEAT, 2 + waited / 10):
                    checked = time.monotonic()
                    self._see_that_it_is_wanted()
                    if under_way:
                        self._see_that_it_lives(now)
                why = self.stop.wait(_POLL)
                if why is not None:
                    raise ComputeCancelled(f"{self.order.title}: its flow run in {self.place} was cancelled: {why}")

    def _pool(self) -> WorkPool:
        name = self.place.declared.name
        try:
            pool: WorkPool = self.client.read_work_pool(name)
        except ObjectNotFound:
            raise ComputeError(
                f"{self.order.title}: there is no work pool {name!r} at {PREFECT_API_URL.value()}",
                hint=f"prefect work-pool create {name!r} makes one (--type process, or --type ecs)",
            ) from None
        if pool.is_paused:
            raise ComputeError(
                f"{self.order.title}: the work pool {name!r} is paused",
                hint=f"prefect work-pool resume {name!r}, or send its assets elsewhere (the setting compute)",
            )
        return pool

    def _deployment(self, pool: WorkPool) -> str:
        """The deployment that runs orders in a pool; made where there is none yet."""
        name = f"{carry_out_order.name}/{pool.name}"
        try:
            self.client.read_deployment_by_name(name)
        except ObjectNotFound:
            self.client.create_deployment(
                flow_id=self.client.create_flow(carry_out_order),
                name=pool.name,
                work_pool_name=pool.name,
                entrypoint=ENTRYPOINT,
                description="Carries out orders of steps whose functions run in this work pool.",
                tags=["lakehouse"],
                parameter_openapi_schema=carry_out_order.parameters.model_dump(mode="json"),
            )
        return name

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask the API; while it is away, ask again."""

        def away(error: Exception) -> bool:
            log.debug("%s: asked Prefect: %s", self.order.title, describe(error))
            return _is_away(error)

        def pause(seconds: float) -> None:
            why = self.stop.wait(seconds)
            if why is not None:
                raise ComputeCancelled(f"{self.order.title}: given up while Prefect was away: {why}")

        try:
            return patiently(ask, away, pause, _ERRORS)
        except _ERRORS as error:
            raise ComputeError(
                f"{self.order.title}: Prefect at {PREFECT_API_URL.value()} "
                f"{'is away' if _is_away(error) else 'refuses'}: {_said(error)}"
            ) from error

    @contextmanager
    def _cancelling(self, run: FlowRun) -> Iterator[None]:
        """Cancel a run that nobody waits for any more."""
        try:
            yield
        except BaseException as error:
            with suppress(Exception):  # what can't be cancelled ends at its deadline
                why = describe(error) if isinstance(error, Exception) else type(error).__name__
                self.client.set_flow_run_state(run.id, Cancelling(message=f"nobody waits for it any more: {why}"))
            raise

    def _see_that_it_is_wanted(self) -> None:
        """See that the run that it is done for was not cancelled by somebody."""
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return
        own = context.flow_run.id
        state = self._patiently(lambda: self.client.read_flow_run(own)).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self.stop.now("the run that it was done for was cancelled in Prefect")

    def _see_that_it_lives(self, run: FlowRun) -> None:
        """See that a run gave signs of life lately. Where the API keeps no events at all, nobody can say."""
        found = self._patiently(
            lambda: self.client.request(
                "POST",
                "/events/filter",
                json={
                    "filter": {
                        "occurred": {"since": (datetime.now(UTC) - timedelta(days=2)).isoformat()},
                        "event": {"name": [_BEAT, "prefect.flow-run.Running"]},
                        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
                        "order": "DESC",
                    },
                    "limit": 1,
                },
            )
        ).json()["events"]
        if not found:
            return
        last = datetime.fromisoformat(found[0]["occurred"])
        silent = (datetime.now(UTC) - last).total_seconds()
        if silent > HEARTBEAT * _MISSED:
            raise ComputeError(
                f"{self.order.title}: its flow run {run.name!r} in {self.place} is lost: "
                f"no sign of life since {last:%Y-%m-%d %H:%M:%S %Z}",
                hint=f"its machine may be gone, or out of memory; see {_url(run.id)}; the next run does it again",
            )

    def _never_taken(self, run: FlowRun, waited: float) -> ComputeError:
        workers: list[Any] = []
        with suppress(Exception):
            workers = self.client.read_workers_for_work_pool(self.place.declared.name)
        online = sum(one.status == "ONLINE" for one in workers)
        who = f"{count(online, 'worker')} online, and none has started it" if online else "no worker is online"
        state = run.state.name if run.state else "nothing"
        said = f"; it says: {run.state.message}" if run.state and run.state.message else ""
        return ComputeError(
            f"{self.order.title}: its flow run {run.name!r} in {self.place} was still {state} after {waited:.0f} s: "
            f"{who}{said}",
            hint=f"prefect worker start --pool {self.place.declared.name!r}; pending= says how long to wait",
        )


_BEAT = "prefect.flow-run.heartbeat"


def _is_lasting(message: str) -> bool:
    """Whether what kept a worker from starting something is there the next time as well."""
    return any(word in message for word in ("ClientException", "InvalidParameter", "ValidationError", "not found"))


def _is_away(error: Exception) -> bool:
    """Whether the same request may get another answer in a while."""
    return not isinstance(error, PrefectHTTPStatusError) or error.response.status_code >= 429


def _said(error: Exception) -> str:
    return error.response.text if isinstance(error, PrefectHTTPStatusError) else describe(error)


def _url(run: UUID) -> str:
    return url_for("flow-run", obj_id=run) or f"flow run {run}"
