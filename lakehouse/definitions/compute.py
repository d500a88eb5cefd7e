"""Where an asset's function is called: here, in a process of its own, in a Prefect work pool, or in a Glue job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, final

from lakehouse.errors import DefinitionError, nearest
from lakehouse.redaction import names_secret

TIMEOUT: Final = 6 * 3600.0
"""Seconds after which work elsewhere ends, where nobody says less: what nobody waits for any more must not run on."""

PENDING: Final = 600.0
"""Seconds that work elsewhere may wait until somebody takes it up: a machine may have to be started for it."""


@final
@dataclass(frozen=True)
class Here:
    """The function is called where the run is: what is so without a word, and outweighs what an asset declares.

    Examples:
        >>> str(Here())
        'here'
    """

    def __str__(self) -> str:
        return "here"


@final
@dataclass(frozen=True, kw_only=True)
class Process:
    """The function is called in a process of its own on this machine: its memory goes with it, and its death is told.

    Parameters:
        env: more variables of its environment
        timeout: seconds that it may take

    Raises:
        DefinitionError: a variable that bears a secret, or no time at all

    Examples:
        >>> str(Process(timeout=60))
        'a process of its own'
    """

    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        _check(self, self.env, self.timeout)

    def __str__(self) -> str:
        return "a process of its own"


@final
@dataclass(frozen=True)
class WorkPool:
    """The function is called by a worker of a Prefect work pool: in a container of ECS, say, which ends with it.

    Parameters:
        name: the work pool
        cpu: CPU units that it asks for (1024 are one core), where the pool knows of them
        memory: MiB that it asks for, where the pool knows of them
        image: another image than the pool's; not where the pool runs a task definition that was registered before
        env: more variables of its environment; Prefect shows them, so they bear no secrets
        timeout: seconds that it may take once it runs; it ends by itself then
        pending: seconds until it has to be taken up by a worker and to run
        variables: more of the pool's own job variables, by name

    Raises:
        DefinitionError: a name that can't be a pool's, a variable that bears a secret, or a number that can't be

    Examples:
        >>> str(WorkPool("ecs-extract", cpu=1024, memory=2048))
        'work pool ecs-extract'
    """

    name: str
    cpu: int | None = None
    memory: int | None = None
    image: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT
    pending: float = PENDING
    variables: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or re.search(r"[/%&><]", self.name):
            raise DefinitionError(f"WorkPool({self.name!r}) can't be: that is no name of a work pool")
        for word in ("cpu", "memory"):
            asked = getattr(self, word)
            if asked is not None and (not isinstance(asked, int) or asked <= 0):
                raise DefinitionError(f"WorkPool({word}={asked!r}) can't be: it is a whole number, more than 0")
        _check(self, self.env, self.timeout, self.pending)
        own = {"env", "image", "cpu", "memory"} & self.variables.keys()
        if own:
            word = min(own)
            raise DefinitionError(f"WorkPool(variables=...) holds {word!r}", hint=f"say {word}= outright")

    @property
    def job_variables(self) -> dict[str, Any]:
        """What the pool is told besides the environment."""
        asked = {"cpu": self.cpu, "memory": self.memory, "image": self.image}
        return {**self.variables, **{name: value for name, value in asked.items() if value is not None}}

    def __str__(self) -> str:
        return f"work pool {self.name}"


@final
@dataclass(frozen=True)
class GlueJob:
    """The function is called in a run of an AWS Glue job: on Spark, if it takes Spark frames; else on its driver.

    Parameters:
        name: the job
        worker_type: the kind of its workers, such as ``"G.1X"``; None: the job's own
        workers: how many there are, the driver among them; None: the job's own number
        timeout: seconds that it may take once it runs; it ends by itself then
        pending: seconds until it has to run: Glue starts machines, and a job runs only so many times at once
        arguments: more of the job's own arguments, by name; AWS shows them, so they bear no secrets

    Raises:
        DefinitionError: a name that can't be a job's, an argument that bears a secret, or a number that can't be

    Examples:
        >>> str(GlueJob("cleanse-flights", worker_type="G.1X", workers=2, timeout=1800))
        'Glue job cleanse-flights'
    """

    name: str
    worker_type: str | None = None
    workers: int | None = None
    timeout: float = TIMEOUT
    pending: float = PENDING
    arguments: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or len(self.name) > 255:
            raise DefinitionError(f"GlueJob({self.name!r}) can't be: that is no name of a Glue job")
        if (self.worker_type is None) != (self.workers is None):
            raise DefinitionError(
                f"{self} is told the kind of its workers or their number alone, and Glue wants both or none",
                hint='GlueJob(..., worker_type="G.1X", workers=2)',
            )
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 2):
            raise DefinitionError(f"GlueJob(workers={self.workers!r}) can't be: it is a whole number, at least 2")
        if "--order" in self.arguments:
            raise DefinitionError("GlueJob(arguments=...) holds '--order', which is the library's own")
        _check(self, {}, self.timeout, self.pending)
        for name, value in self.arguments.items():
            if not name.startswith("--") or not isinstance(value, str):
                raise DefinitionError(
                    f"GlueJob(arguments=...) holds {name!r}", hint='arguments are text, by names such as "--conf"'
                )
            if names_secret(name.lstrip("-").replace("-", "_")):
                raise DefinitionError(
                    f"GlueJob(arguments=...) names {name}, which bears a secret that others would see",
                    hint="give the job's role the rights, or have the function read it from AWS Secrets Manager",
                )

    def __str__(self) -> str:
        return f"Glue job {self.name}"


Compute = Here | Process | WorkPool | GlueJob
"""Where a function is called."""

_KINDS: Final[Mapping[str, type[WorkPool | GlueJob]]] = {"work_pool": WorkPool, "glue_job": GlueJob}
"""Places that settings name by what they are, and then by their name."""


def read_compute(given: str | Mapping[str, Any]) -> Compute:
    """What settings say of where functions are called.

    Parameters:
        given: ``"here"``, ``"process"``, or a table with ``work_pool`` or ``glue_job``, and what else a [WorkPool][] or
            a [GlueJob][] may be told

    Raises:
        DefinitionError: it can't be read

    Examples:
        >>> read_compute({"work_pool": "ecs-extract", "memory": 2048}).memory
        2048
        >>> str(read_compute({"glue_job": "cleanse", "worker_type": "G.1X", "workers": 2}))
        'Glue job cleanse'
        >>> read_compute("here")
        Here()
    """
    if given == "here":
        return Here()
    if given == "process":
        return Process()
    named = [word for word in _KINDS if isinstance(given, Mapping) and word in given]
    if not isinstance(given, Mapping) or len(named) != 1:
        raise DefinitionError(
            f"{given!r} is no place to compute at",
            hint='"here", "process", { work_pool = "name", memory = 2048 } or { glue_job = "name" }',
        )
    (word,) = named
    kind = _KINDS[word]
    known = {f.name for f in fields(kind)} - {"name"}
    more = {name: value for name, value in given.items() if name != word}
    for name in more.keys() - known:
        raise DefinitionError(
            f"a {word.replace('_', ' ')} can't be told {name!r}; it can {', '.join(sorted(known))}",
            hint=nearest(name, known),
        )
    return kind(given[word], **more)


def _check(compute: Compute, env: Mapping[str, str], *seconds: float) -> None:
    kind = type(compute).__name__
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise DefinitionError(f"{kind}(env=...) holds {name!r}, whose value is no text")
        if names_secret(name):
            raise DefinitionError(
                f"{kind}(env=...) names {name}, which bears a secret that others would see",
                hint="set it where the work is done: in the work pool's base job template, or as a secret of the task "
                "definition",
            )
    for given in seconds:
        if not isinstance(given, int | float) or not 0 < given < float("inf"):
            raise DefinitionError(f"{kind} was given {given!r} seconds; it is a number, more than 0")
