"""A step's function called in a run of an AWS Glue job: each order is a run of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeVar, final

import boto3
from botocore import exceptions as aws
from botocore.config import Config

from lakehouse.compute.order import Order
from lakehouse.compute.patience import OUTAGE, patiently
from lakehouse.compute.place import Stop
from lakehouse.definitions import compute
from lakehouse.errors import ComputeCancelled, ComputeError
from lakehouse.io.storage import cause
from lakehouse.redaction import logger

log = logger()

_SLOWEST = 15.0
"""Seconds between two looks at a run, at most: Glue answers only so many questions."""

_GRACE = 60.0
"""Seconds after the deadline, by which Glue has to know that the run has ended."""

_FULL: Final = ("ConcurrentRunsExceededException", "ResourceNumberLimitExceededException")
"""What Glue says where a run has to wait for others to end."""

_AWAY: Final = ("InternalServiceException", "OperationTimeoutException", "ServiceUnavailable", "ThrottlingException")
_NOT_YET: Final = ("STARTING", "WAITING")
_UNDER_WAY: Final = (*_NOT_YET, "RUNNING", "STOPPING")
_REFUSED: Final = (aws.NoCredentialsError, aws.NoRegionError, aws.ParamValidationError, aws.ProfileNotFound)
_ERRORS: Final = (aws.ClientError, aws.BotoCoreError)
_LOGS: Final = "/aws-glue/jobs/error"

T = TypeVar("T")


@final
@dataclass(frozen=True)
class AwsGlueJob:
    """Carries out each order in a run of a Glue job.

    Parameters:
        declared: the job, and what it is asked for
    """

    declared: compute.GlueJob
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
        following = _Following(self.declared, order, stop)
        run = following.start()
        with following.stopping(run):
            ended = following.to_its_end(run)
        state = str(ended["JobRunState"])
        if state == "SUCCEEDED":
            return
        said = str(ended.get("ErrorMessage") or "without a word")
        if state == "TIMEOUT":
            said = f"it took longer than its {ended.get('Timeout', '')} minutes".replace("  ", " ")
        kind = ComputeCancelled if state == "STOPPED" else ComputeError
        raise kind(
            f"{order.title}: its run {run} of {self} ended as {state}: {said}",
            hint=f"its output is in CloudWatch: log group {_LOGS}, stream {run}",
        )

    def __str__(self) -> str:
        return str(self.declared)


@dataclass(frozen=True)
class _Following:
    """An order, while it is under way."""

    job: compute.GlueJob
    order: Order
    stop: Stop

    @cached_property
    def client(self) -> Any:
        """Glue. A request is made once: what becomes of those that get no answer is decided here."""
        try:
            config = Config(connect_timeout=4, read_timeout=30, retries={"total_max_attempts": 1})
            return boto3.client("glue", config=config)
        except aws.BotoCoreError as error:
            raise self._refused(error) from error

    def start(self) -> str:
        """A run for the order; the same one however often it has to be asked for."""
        began, pause, waiting, unanswered = time.monotonic(), 1.0, False, False
        asked: dict[str, Any] = {
            "JobName": self.job.name,
            "Arguments": {**self.job.arguments, "--order": self.order.uri},
            "Timeout": math.ceil(self.order.seconds / 60),
        }
        if self.job.workers is not None:
            asked |= {"WorkerType": self.job.worker_type, "NumberOfWorkers": self.job.workers}
        while True:
            waited = time.monotonic() - began
            try:
                # One that was started without our hearing of it would do the same work beside the other.
                run = self._started() if unanswered else None
                run = run or str(self.client.start_job_run(**asked)["JobRunId"])
            except _ERRORS as error:
                if _code(error) in _FULL:
                    if waited > self.job.pending:
                        raise self._never_its_turn(error, waited) from error
                    if not waiting:
                        log.info("%s waits for its turn in %s: %s", self.order.title, self.job, cause(error))
                    waiting = True
                elif _is_away(error) and waited <= OUTAGE:
                    unanswered = True
                    log.debug("%s: Glue is away: %s", self.order.title, cause(error))
                else:
                    raise self._refused(error) from error
            else:
                log.info("%s is made in %s: run %s", self.order.title, self.job, run)
                return run
            self._pause(pause)
            pause = min(2 * pause, _SLOWEST)

    def to_its_end(self, run: str) -> Mapping[str, Any]:
        """Follow a run until it has ended."""
        began = time.monotonic()
        while True:
            now = self._patiently(lambda: self.client.get_job_run(JobName=self.job.name, RunId=run)["JobRun"])
            state, waited = str(now["JobRunState"]), time.monotonic() - began
            if state not in _UNDER_WAY:
                return now  # type: ignore[no-any-return]
            if state in _NOT_YET and waited > self.job.pending:
                raise ComputeError(
                    f"{self.order.title}: its run {run} of {self.job} was still {state} after {waited:.0f} s; "
                    "it was stopped",
                    hint="Glue had no machines for it, or other runs come first; pending= says how long to wait",
                )
            if datetime.now(UTC) > self.order.deadline + timedelta(seconds=_GRACE):
                raise ComputeError(
                    f"{self.order.title}: its run {run} of {self.job} was still {state} after its deadline: "
                    "it is lost, or hangs; it was stopped",
                    hint="give it more time (timeout=), or fewer partitions in a step (chunk)",
                )
            self._pause(min(0.5 + waited / 20, _SLOWEST))

    @contextmanager
    def stopping(self, run: str) -> Iterator[None]:
        """Stop a run that nobody waits for any more."""
        try:
            yield
        except BaseException:
            with suppress(Exception):  # what can't be stopped ends at its deadline
                self.client.batch_stop_job_run(JobName=self.job.name, JobRunIds=[run])
            raise

    def _started(self) -> str | None:
        """The run that was started for the order, if there is one."""
        for page in self.client.get_paginator("get_job_runs").paginate(JobName=self.job.name):
            for run in page["JobRuns"]:
                if run.get("Arguments", {}).get("--order") == self.order.uri:
                    return str(run["Id"])
                if run["StartedOn"] < self.order.deadline - timedelta(days=2):
                    return None  # the newest come first
        return None

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask Glue; while it is away, ask again."""

        def away(error: Exception) -> bool:
            log.debug("%s: asked Glue: %s", self.order.title, cause(error))
            return _is_away(error)

        try:
            return patiently(ask, away, self._pause, _ERRORS)
        except _ERRORS as error:
            raise self._refused(error) from error

    def _pause(self, seconds: float) -> None:
        why = self.stop.wait(seconds)
        if why is not None:
            raise ComputeCancelled(f"{self.order.title}: its run in {self.job} was stopped: {why}")

    def _never_its_turn(self, error: Exception, waited: float) -> ComputeError:
        return ComputeError(
            f"{self.order.title}: {self.job} had no turn for it in {waited:.0f} s: {cause(error)}",
            hint="let the job run more often at once (MaxConcurrentRuns), run fewer steps at once (workers), "
            "or wait longer (pending=)",
        )

    def _refused(self, error: Exception) -> ComputeError:
        code = _code(error)
        if code == "EntityNotFoundException":
            return ComputeError(
                f"{self.order.title}: there is no {self.job} here, or no such run of it: {cause(error)}",
                hint="aws glue create-job makes one; deploy/glue has what it needs",
            )
        away = "is away" if _is_away(error) else "refuses"
        return ComputeError(
            f"{self.order.title}: Glue {away}: {cause(error)}",
            hint="see that AWS can be reached, and that the credentials may start, see and stop runs of the job",
        )


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, aws.ClientError) else ""


def _is_away(error: Exception) -> bool:
    """Whether the same request may get another answer in a while."""
    if isinstance(error, aws.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _code(error) in _AWAY or status >= 500
    return not isinstance(error, _REFUSED)
