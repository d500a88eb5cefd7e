"""What is written down: facts for the outcomes of steps, and leases while runs are at work; who may read and write."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from enum import StrEnum

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from lakehouse.errors import LineageError
from lakehouse.partitions import Pairs
from lakehouse.redaction import redacted


def new_id() -> str:
    """An id whose text sorts by the time it was made: 12 hexadecimal digits of milliseconds, 20 of chance.

    Examples:
        >>> len(new_id())
        32
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


_Json = str | bytes  # named here: among a fact's fields, bytes is a number


DIGEST = 16
"""Characters that stand for a partition's rows, in [Fact][]'s ``digests``."""


class Status(StrEnum):
    """The outcome of some partitions: in a step, in an external asset, or by ``lakehouse state``."""

    PUBLISHED = "published"
    REJECTED = "rejected"
    FAILED = "failed"
    SKIPPED = "skipped"
    OBSERVED = "observed"
    REGISTERED = "registered"
    RETIRED = "retired"
    FORGOTTEN = "forgotten"
    WIPED = "wiped"
    RENAMED = "renamed"

    @property
    def committed(self) -> bool:
        """Whether a version of the table stands behind it, and not an attempt that came to nothing."""
        return self not in (Status.REJECTED, Status.FAILED, Status.SKIPPED)


class Record(BaseModel):
    """What lineage keeps: never changed; fields that this version doesn't know are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class InputPin(Record):
    """An input as a step read it.

    Parameters:
        asset: its key
        version: the table version that was read; None: the table was not there
        partitions: which of its partitions were read
    """

    asset: str
    version: int | None
    partitions: Pairs = ()


class CheckResult(Record):
    """What a check found in a step's rows.

    Parameters:
        name: the check
        blocking: whether a failure holds partitions back
        passed: whether it held in every partition
        failed: the partitions in which it didn't
        failing_rows: how many rows failed it, where it looks at rows
        message: what it wanted and what it found
    """

    name: str
    blocking: bool
    passed: bool
    failed: Pairs = ()
    failing_rows: int = 0
    message: str = ""

    @field_validator("message")
    @classmethod
    def _no_secret(cls, value: str, known: ValidationInfo) -> str:
        return value if known.data.get("passed") else redacted(value)


class Fact(Record):
    """The outcome of some partitions of an asset in one step. Never changed once it is written.

    Parameters:
        id: time-ordered, from [new_id][]
        asset: the asset's key
        status: the outcome
        partitions: which ones, as intervals
        run: id of the run, empty where none did it; attempt: 1 for the first try of the step
        engine: what ran it
        flow_run: Prefect's flow run; task_run: Prefect's task run
        inputs: what was read, with the table versions
        table: URI of the table
        version: the table version that this publication made
        code_version: of the asset's function; schema_version: fingerprint of its schema; checks_version: of its checks
        columns_version: fingerprint of the columns as they are published; registered: number of that schema in the
            registry; None: it isn't registered yet
        columns: those columns, where they are others than before, or were refused; see
            [lakehouse.schemas.columns.TableSchema][]
        cataloged: what a catalog knows of the table; see [lakehouse.schemas.catalog][]
        after: the table version that the attempt began with; -1: there was no table; None: it isn't known
        sequence: more than that of every fact that was known when it was planned: so it orders what has no version
        spec: what gave the keys of partitions their meaning; see [Partitions.spec][]; empty: an older release wrote it,
            or it says nothing of rows
        digests: for each partition, in their order, the [DIGEST][] characters that stand for its rows
        digested: how these were made, which may be another way with another polars; empty: as an external asset's are,
            or by an older release, which didn't say
        unchanged: those whose rows are what they were before, at the table version ``compared``
        renamed: old and new key of partitions that were renamed
        formerly: the asset's key until it was renamed
        rows: how many rows; bytes: of files, as stored
        checks: what every check found
        started: when the step began; finished: when it ended (UTC)
        host: where it ran
        reason: why, where it was not published
        quarantine: URI of the rows that were held back
    """

    id: str
    asset: str
    status: Status
    partitions: Pairs
    run: str
    started: datetime
    finished: datetime
    attempt: int = 1
    engine: str = ""
    flow_run: str | None = None
    task_run: str | None = None
    inputs: tuple[InputPin, ...] = ()
    table: str = ""
    version: int | None = None
    code_version: str = ""
    schema_version: str = ""
    checks_version: str = ""
    columns_version: str = ""
    registered: int | None = None
    columns: str = ""
    cataloged: str = ""
    after: int | None = None
    sequence: int = 0
    spec: str = ""
    # Stored under the name that it had first.
    digests: str = Field(
        default="", validation_alias=AliasChoices("digests", "contents"), serialization_alias="contents"
    )
    digested: str = ""
    unchanged: Pairs = ()
    compared: int | None = None
    renamed: Pairs = ()
    formerly: str = ""
    rows: int = 0
    bytes: int = 0
    checks: tuple[CheckResult, ...] = ()
    host: str = ""
    reason: str = ""
    quarantine: str | None = None

    @field_validator("reason")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        return redacted(value) if value else value

    def to_json(self) -> str:
        """As one line of JSON; what is at its default is left out."""
        return self.model_dump_json(exclude_defaults=True, by_alias=True)

    @classmethod
    def from_json(cls, text: _Json) -> Fact:
        """Read back what [Fact.to_json][] wrote; fields that this version doesn't know are left out.

        Raises:
            LineageError: it is no fact
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"])) or "its text"
            raise LineageError(
                f"a fact can't be read: {where}: {fault['msg']}",
                hint="was it written by a newer lakehouse? then upgrade this one",
            ) from error

    def moved(self, asset: str, table: str) -> Fact:
        """The same of an asset that has another name, or whose table lies elsewhere, by now."""
        if (self.asset, self.table) == (asset, table):
            return self
        quarantine = self.quarantine
        # What lies in a table or beside it bears the table's URI at the beginning of its own, and moves with it.
        if quarantine is not None and self.table and quarantine.startswith(self.table):
            quarantine = table + quarantine.removeprefix(self.table)
        return self.model_copy(update={"asset": asset, "table": self.table and table, "quarantine": quarantine})
