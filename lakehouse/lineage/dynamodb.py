"""Lineage in one DynamoDB table: the store that many machines share.

All items lie under a partition key ``pk`` and a sort key ``sk``:

| pk | sk | other attributes |
| --- | --- | --- |
| ``asset#<asset>`` | ``<id>`` | ``body``: the fact, as JSON; compressed (binary) where it is long |
| ``run#<run>`` | ``<id>#<asset>`` | ``asset``, ``id``: where the body is |
| ``input#<asset>`` | ``<id>#<asset>`` | the same, for each input of a published fact |
| ``version#<asset>`` | ``<version, 20 digits>#<id>`` | the same, for each fact with a table version |
| ``kept#<asset>`` | ``arrived#<id>`` | the same, for each fact that the checkpoint doesn't cover |
| ``kept#<asset>`` | ``checkpoint`` | ``body``: a checkpoint, and ids of what it covers, compressed; ``version`` |
| ``kept#<asset>`` | ``part#<chance>#<number>`` | a part of such a body, where it is long |
| ``runs`` | ``<run>`` | ``asset``, ``id`` of the newest fact that the run wrote |
| ``removed`` | ``<asset>`` | ``mark``: changes whenever facts of the asset are removed |
| ``claims`` | ``all`` | ``body``: what runs are about to build, likewise; ``version`` |
| ``claims`` | ``waiting`` | the same of runs that wait for them |

A fact is there once its *body* is there. Pointers are written first and may be written twice; a pointer
without a body, which a killed process can leave behind, is passed over by readers. So a body is stored once
however many inputs it has, no index has to be kept, and every read is strongly consistent.

What has arrived is read before the checkpoint, and taken away after the checkpoint that covers it is written: so
nothing is missed. Somebody who removes a fact past this store has to remove the asset's ``checkpoint`` as well.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar, final
from urllib.parse import urlencode

import boto3
from botocore import exceptions as aws
from botocore.config import Config

from lakehouse.credentials import NONE_GIVEN, from_machine, machine_may_be_asked, tell_that_machine_is_asked
from lakehouse.errors import LineageError, count
from lakehouse.lineage.facts import Fact, Status, new_id
from lakehouse.lineage.store import Lease, News, Since, leases_from_json, leases_to_json

Item = dict[str, dict[str, Any]]
T = TypeVar("T", list[Any], bytes)

_COMPRESS_FROM = 4 * 1024
"""Bytes of JSON from which a body is compressed: writing is paid for by the kilobyte."""

_ITEM_BYTES = 400 * 1024
_TRANSACTION_ITEMS, _TRANSACTION_BYTES = 100, 3_500_000  # of 4 MB: the rest is for envelopes
_BATCH_WRITES, _BATCH_GETS = 25, 100
_PART_BYTES = 380 * 1024  # of a checkpoint; the rest of an item is for its keys

_TRIES = 12
"""How often a call is made that DynamoDB throttles: about 20 s of waiting in all."""

_TRIES_TO_CONNECT = 3
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 10.0  # seconds
_LONGEST_CREATION = 120  # seconds

_RUNS, _REMOVED = "runs", "removed"
_LOOKED_AT = 100
"""So many of the newest runs are asked what they wrote last."""

_NOT_THERE = "ResourceNotFoundException"
_IS_THERE = "ConditionalCheckFailed"
_CANCELLED = "TransactionCanceledException"

_PASSING = {
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TransactionConflict",
    "TransactionConflictException",
    "TransactionInProgressException",
}
"""Codes of errors, and of reasons for which a transaction is cancelled, that pass by themselves."""

_NOT_KNOWN = {
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
"""Codes of errors that say that the credentials don't hold."""


@final
class DynamoDBLineage:
    """Facts in one DynamoDB table, which any number of machines may share.

    An append of up to 100 facts (3.5 MB) is all-or-nothing. A longer one is cut between facts, and when it
    fails in the middle it can be repeated: what is there already is left as it is. Calls that DynamoDB
    throttles are repeated with exponential back-off and jitter.

    Parameters:
        table: the table's name
        region: AWS region; by default ``AWS_REGION``, or what boto3 finds (the profile's)
        endpoint: URL of another endpoint; by default what boto3 finds (``AWS_ENDPOINT_URL``)
        create: make the table (on-demand billing) at the first append if it is not there, and read a
            table that is not there as empty. False: both are errors.
        sleep: waits for some seconds; given by tests

    Raises:
        LineageError: (by every method) the table is not there and may not be made, access is refused,
            credentials or region are missing, DynamoDB can't be reached or keeps throttling, or a fact
            is longer than 400 KB when compressed

    Examples:
        >>> DynamoDBLineage("lakehouse-lineage", region="eu-central-1").uri
        'dynamodb://lakehouse-lineage?region=eu-central-1'
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        create: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.table = table
        self.region = region
        self.endpoint = endpoint
        self.create = create
        self._sleep = sleep
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None

    @property
    def uri(self) -> str:
        """What `open_lineage` opens this very store with."""
        options = {
            "region": self.region,
            "endpoint": self.endpoint,
            "create": None if self.create else "false",
        }
        given = urlencode({name: value for name, value in options.items() if value is not None}, safe=":/")
        return f"dynamodb://{self.table}" + (f"?{given}" if given else "")

    @property
    def client(self) -> Any:
        """The boto3 client, made when it is first asked for."""
        made = self._made
        if made is None or made[0] != os.getpid():  # connections must not be shared over a fork
            with self._lock:
                made = self._made
                if made is None or made[0] != os.getpid():
                    made = self._made = (os.getpid(), self._new_client())
        return made[1]

    # ── writing ───────────────────────────────────────────────────────────────────────────

    def append(self, facts: Sequence[Fact]) -> None:
        """Write facts: all of a call or none. A fact whose id the asset has already is left as it is."""
        bodies: dict[tuple[str, str], Item] = {}
        pointers: dict[tuple[str, str], Item] = {}
        for fact in facts:
            bodies.setdefault((fact.asset, fact.id), _body(fact))
            pointers.update(((p["pk"]["S"], p["sk"]["S"]), p) for p in _pointers(fact))
        self._write([{"PutRequest": {"Item": pointer}} for pointer in pointers.values()])
        for group in _transactions(bodies.values()):
            self._put_bodies(group)

    def remove(self, asset: str, ids: Collection[str]) -> None:
        """Remove facts of an asset, each of them wholly or not at all; ids that aren't there are passed over."""
        wanted = [fact for fact in self.facts(asset) if fact.id in set(ids)]
        if not wanted:
            return
        self._drop_checkpoint(asset)
        # The bodies first: a fact is gone once its body is, and readers pass over what points to it.
        for items in ([_body(f) for f in wanted], [pointer for f in wanted for pointer in _pointers(f)]):
            # The run may have written more; who finds nothing of it passes it over.
            self._delete(item for item in items if item["pk"]["S"] != _RUNS)
        # Another time, for whoever read in the middle of it.
        self._drop_checkpoint(asset)
        self._write([{"PutRequest": {"Item": {"pk": {"S": _REMOVED}, "sk": {"S": asset}, "mark": {"S": new_id()}}}}])

    def keep(self, asset: str, checkpoint: str, since: Since) -> bool:
        """Put a checkpoint in the place of the one that was read; False: that one isn't there any more."""
        covered = {fact.id for fact in since.facts}
        body = zlib.compress(json.dumps([checkpoint, sorted(covered)]).encode())
        parts = [
            {**_checkpoint(asset, f"part#{new_id()}#{number:04d}"), "body": {"B": some}}
            for number, some in enumerate(_cut(body, _PART_BYTES))
        ]
        content: Item = {"body": {"B": body}}
        if len(parts) > 1:
            content = {"parts": {"SS": [part["sk"]["S"] for part in parts]}}
            for part in parts:
                self._write([{"PutRequest": {"Item": part}}])
        old = self._replace_checkpoint(asset, since.version, content)
        if old is None:
            self._delete(parts if len(parts) > 1 else [])
            return False
        arrived = self._query(f"kept#{asset}", " AND begins_with(sk, :sk)", "arrived#")
        spare = [item for item in arrived if item["id"]["S"] in covered]
        self._delete([*spare, *(_checkpoint(asset, part) for part in old.get("parts", {}).get("SS", ()))])
        return True

    def _replace_checkpoint(self, asset: str, version: int, content: Item) -> Item | None:
        """Write a checkpoint of the next version; gives back the one before, or None: that is of another version."""
        item = {**_checkpoint(asset), **content, "version": {"N": str(version + 1)}}
        try:
            answer = self._do(
                "put_item",
                expected=(f"{_IS_THERE}Exception",),
                TableName=self.table,
                Item=item,
                ReturnValues="ALL_OLD",
                **_of_version(version),
            )
        except aws.ClientError:
            return None
        old: Item = answer.get("Attributes", {})
        return old

    def _drop_checkpoint(self, asset: str) -> None:
        for _ in range(_TRIES):
            version, _, _ = self._checkpoint(asset)
            if self._replace_checkpoint(asset, version, {}) is not None:
                return
        raise self._error("put_item", None, _TRIES)

    def _delete(self, items: Iterable[Item]) -> None:
        self._write([{"DeleteRequest": {"Key": {"pk": item["pk"], "sk": item["sk"]}}} for item in items])

    def set_leases(self, leases: Sequence[Lease], *, version: int, waiting: bool = False) -> bool:
        """Put other leases in the place of those of a version; False: they are of another version by now."""
        item = {**_LEASES[waiting], "body": _packed(leases_to_json(leases)), "version": {"N": str(version + 1)}}
        there = _of_version(version)
        try:
            self._do("put_item", expected=(f"{_IS_THERE}Exception",), TableName=self.table, Item=item, **there)
        except aws.ClientError:
            return False
        return True

    def create_table(self) -> None:
        """Make the table, unless it is there, and wait until it can be used (two minutes at most)."""
        with contextlib.suppress(aws.ClientError):  # it is there, or another process is making it
            self._do(
                "create_table",
                expected=("ResourceInUseException",),
                TableName=self.table,
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
                KeySchema=_KEYS,
                BillingMode="PAY_PER_REQUEST",
            )
        for _ in range(_LONGEST_CREATION):
            try:
                found = self._do("describe_table", expected=(_NOT_THERE,), TableName=self.table)["Table"]
            except aws.ClientError:
                found = {}  # just made: not every server of DynamoDB has heard of it
            if found.get("TableStatus") in ("ACTIVE", "UPDATING"):
                self._see_keys(found["KeySchema"])
                return
            self._sleep(1.0)
        raise LineageError(
            f"the DynamoDB table {self._place} was not ready {_LONGEST_CREATION} s after it was asked for",
            hint=f"see what keeps it: {self._cli('describe-table')}",
        )

    def _write(self, requests: list[dict[str, Any]]) -> None:
        """Put or delete items, in batches; what is left unprocessed is sent again."""
        for some in _cut(requests, _BATCH_WRITES):
            left: Any = {self.table: some}
            for attempt in itertools.count(1):
                left = self._do("batch_write_item", RequestItems=left).get("UnprocessedItems")
                if not left:
                    break
                self._wait("batch_write_item", attempt)

    def _put_bodies(self, bodies: list[Item]) -> None:
        new: dict[str, Any] = {"TableName": self.table, "ConditionExpression": "attribute_not_exists(pk)"}
        while bodies:
            try:
                if len(bodies) == 1:
                    self._do("put_item", expected=(f"{_IS_THERE}Exception",), Item=bodies[0], **new)
                else:
                    puts = [{"Put": {"Item": body, **new}} for body in bodies]
                    self._do("transact_write_items", expected=(_CANCELLED,), TransactItems=puts)
                return
            except aws.ClientError as error:
                there = [reason == _IS_THERE for reason in _reasons(error)]
                if not any(there):
                    raise self._error("transact_write_items", error) from error
                bodies = [body for body, is_there in zip(bodies, there, strict=True) if not is_there]

    # ── reading ───────────────────────────────────────────────────────────────────────────

    def facts(self, asset: str) -> list[Fact]:
        """Every fact about an asset, in the order of their ids."""
        return [_fact(item) for item in self._query(f"asset#{asset}")]

    def since(self, asset: str) -> Since:
        """The asset's checkpoint and what came since, or all facts."""
        arrived = list(self._query(f"kept#{asset}", " AND begins_with(sk, :sk)", "arrived#"))
        version, checkpoint, covered = self._checkpoint(asset)
        if not checkpoint:
            return Since(version, checkpoint, tuple(self.facts(asset)))
        return Since(version, checkpoint, tuple(self._pointed_at(p for p in arrived if p["id"]["S"] not in covered)))

    def _checkpoint(self, asset: str) -> tuple[int, str, Collection[str]]:
        """The version of an asset's checkpoint, its text, and the ids of what it covers and the one before didn't."""
        items = {item["sk"]["S"]: item for item in self._query(f"kept#{asset}", " AND sk >= :sk", "checkpoint")}
        head = items.get("checkpoint")
        if head is None:
            return 0, "", ()
        version = int(head["version"]["N"])
        try:
            parts = [items[name] for name in sorted(head["parts"]["SS"])] if "parts" in head else [head]
            text, covered = json.loads(zlib.decompress(b"".join(part["body"]["B"] for part in parts)))
        except (KeyError, ValueError, zlib.error):
            return version, "", ()  # there is none, or not all of it
        return version, text, set(covered)

    def latest_version(self, asset: str) -> int | None:
        """The highest table version that a fact of the asset names; None: never published."""
        newest = self.newest(asset)
        return newest[0].version if newest else None

    def newest(self, asset: str) -> list[Fact]:
        """The facts of the asset that name its highest table version, in the order of their ids."""
        found: list[Fact] = []
        for pointer in self._query(f"version#{asset}", ScanIndexForward=False, Limit=10):
            key = pointer["sk"]["S"]
            if found and not key.startswith(_version_key(found[0].version or 0, "")):
                break
            facts = self._pointed_at([pointer])
            found += [one for one in facts if one.version is not None and _version_key(one.version, one.id) == key]
        return sorted(found, key=lambda fact: fact.id)

    def at(self, asset: str, versions: Collection[int]) -> list[Fact]:
        """The facts of the asset that name one of some table versions, in the order of their ids."""
        wanted = set(versions)
        pointers: list[Item] = []
        for low, high in _close_together(wanted):
            # What lies between them is read too, which is a pointer for each fact.
            limit = min(2 * (high - low + 1) + 10, 1_000)
            for item in self._query(f"version#{asset}", " AND sk >= :sk", _version_key(low, ""), Limit=limit):
                version = int(item["sk"]["S"].partition("#")[0])
                if version > high:
                    break
                pointers += [item] if version in wanted else []
        return [fact for fact in self._pointed_at(pointers) if fact.version in wanted]

    def run(self, run: str) -> list[Fact]:
        """Everything that a run did, in the order of the facts' ids."""
        return [fact for fact in self._pointed_at(self._query(f"run#{run}")) if fact.run == run]

    def built_from(self, asset: str) -> list[Fact]:
        """Every published fact that names the asset among its inputs, in the order of their ids."""
        return [
            fact
            for fact in self._pointed_at(self._query(f"input#{asset}"))
            if fact.status is Status.PUBLISHED and any(pin.asset == asset for pin in fact.inputs)
        ]

    def recent(self, asset: str, limit: int) -> list[Fact]:
        """The newest facts about an asset, newest first."""
        found = self._query(f"asset#{asset}", ScanIndexForward=False, Limit=limit)
        return [_fact(item) for item in itertools.islice(found, limit)]

    def runs(self, limit: int, *, before: str | None = None) -> list[str]:
        """Ids of the newest runs that left a fact, newest first: of those written since runs are listed here."""
        return [item["sk"]["S"] for item in self._recent_runs(limit, before)]

    def _recent_runs(self, limit: int, before: str | None = None) -> list[Item]:
        older = ("", "") if before is None else (" AND sk < :sk", before)
        return list(itertools.islice(self._query(_RUNS, *older, ScanIndexForward=False, Limit=limit), limit))

    def news(self, mark: str) -> News:
        """What was written since a mark: the newest runs, and those that are at work, say what they wrote last."""
        at_work = {lease.run for lease in self.leases()[1]}
        runs = {item["sk"]["S"]: item["id"]["S"] for item in self._recent_runs(_LOOKED_AT)}
        for run in at_work - runs.keys():
            runs |= {item["sk"]["S"]: item["id"]["S"] for item in self._query(_RUNS, " AND sk = :sk", run)}
        removed = {item["sk"]["S"]: item["mark"]["S"] for item in self._query(_REMOVED)}
        new = json.dumps([runs, removed], separators=(",", ":"))
        if not mark:
            return News(new, (), None)
        known, gone = json.loads(mark)
        changed = [run for run, last in runs.items() if known.get(run) != last]
        anew = {asset for asset, text in removed.items() if gone.get(asset) != text}
        anew.update(pointer["asset"]["S"] for run in changed for pointer in self._query(f"run#{run}"))
        # So many runs since that some are not listed any more.
        unseen = len(changed) >= _LOOKED_AT
        return News(new, (), None if unseen else frozenset(anew))

    def leases(self, *, waiting: bool = False) -> tuple[int, list[Lease]]:
        """What runs are about to build, or wait for, and which version of that this is: 0 where there never was any."""
        place = _LEASES[waiting]
        for item in self._query(place["pk"]["S"]):
            if item["sk"] == place["sk"]:
                return int(item["version"]["N"]), leases_from_json(_unpacked(item["body"]))
        return 0, []

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None and made[0] == os.getpid():
            made[1].close()

    def _query(self, key: str, condition: str = "", sort: str = "", **options: Any) -> Iterator[Item]:
        """The items under a partition key, page by page; those whose sort key, ``:sk``, fulfils a condition."""
        start: dict[str, Any] = {}
        while True:
            page = self._do(
                "query",
                TableName=self.table,
                ConsistentRead=True,
                KeyConditionExpression="pk = :key" + condition,
                ExpressionAttributeValues={":key": {"S": key}, **({":sk": {"S": sort}} if sort else {})},
                **options,
                **start,
            )
            yield from page.get("Items", [])
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _pointed_at(self, pointers: Iterable[Item]) -> list[Fact]:
        keys = [{"pk": {"S": f"asset#{p['asset']['S']}"}, "sk": p["id"]} for p in pointers]
        facts = []
        for some in _cut(keys, _BATCH_GETS):
            left: Any = {self.table: {"Keys": some, "ConsistentRead": True}}
            for attempt in itertools.count(1):
                answer = self._do("batch_get_item", RequestItems=left)
                facts += [_fact(item) for item in answer.get("Responses", {}).get(self.table, [])]
                left = answer.get("UnprocessedKeys")
                if not left:
                    break
                self._wait("batch_get_item", attempt)
        return sorted(facts, key=lambda fact: (fact.id, fact.asset))

    # ── calling ───────────────────────────────────────────────────────────────────────────

    def _do(self, operation: str, *, expected: Collection[str] = (), **request: Any) -> dict[str, Any]:
        """Make a call, again where that may help; errors with an expected code are passed on as they are."""
        created = False
        for attempt in itertools.count(1):
            try:
                answer: dict[str, Any] = getattr(self.client, operation)(**request)
                return answer
            except aws.ClientError as error:
                code = _code(error)
                if code == _NOT_THERE and self.create and code not in expected:
                    if operation in ("query", "batch_get_item"):
                        return {}
                    if not created:
                        self.create_table()
                        created = True
                        continue
                elif not _passes(error):
                    if code in expected:
                        raise
                    raise self._error(operation, error) from error
                self._wait(operation, attempt, error)
            except (aws.HTTPClientError, aws.ConnectionError) as error:
                self._wait(operation, attempt, error, tries=_TRIES_TO_CONNECT)
            except aws.BotoCoreError as error:
                raise self._error(operation, error) from error
        raise AssertionError("counting goes on")

    def _wait(self, operation: str, attempt: int, error: Exception | None = None, *, tries: int = _TRIES) -> None:
        """Wait before the next attempt, a random part of a time that doubles, or give up."""
        if attempt >= tries:
            raise self._error(operation, error, attempt) from error
        self._sleep(random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)))

    def _new_client(self) -> Any:
        if from_machine({}) and machine_may_be_asked():
            tell_that_machine_is_asked(f"dynamodb://{self.table}")
        try:
            # A session of its own: boto3's default one is not safe to make clients from in many threads.
            return boto3.session.Session().client(
                "dynamodb",
                # boto3 itself reads AWS_DEFAULT_REGION alone; every other SDK, and ECS, say AWS_REGION.
                region_name=self.region or os.environ.get("AWS_REGION"),
                endpoint_url=self.endpoint,
                # Tries are counted here, where waiting can be seen and every call is idempotent.
                config=Config(
                    connect_timeout=5,
                    read_timeout=10,
                    max_pool_connections=32,
                    retries={"mode": "standard", "total_max_attempts": 1},
                ),
            )
        except (aws.BotoCoreError, ValueError) as error:
            raise self._error("connect", error) from error

    # ── explaining ────────────────────────────────────────────────────────────────────────

    def _see_keys(self, keys: list[dict[str, str]]) -> None:
        if keys != _KEYS:
            given = ", ".join(f"{key['AttributeName']} ({key['KeyType']})" for key in keys)
            raise LineageError(
                f"the DynamoDB table {self._place} is no lineage store: its keys are {given}, "
                "not pk (HASH), sk (RANGE)",
                hint="name another table; it is made by the first append",
            )

    def _error(self, operation: str, error: Exception | None, attempts: int = 1) -> LineageError:
        """What went wrong, as one clear error."""
        reason, hint = self._explain(operation, error)
        tried = f" (tried {attempts} times)" if attempts > 1 else ""
        return LineageError(f"the DynamoDB table {self._place}: {reason}{tried}", hint=hint)

    def _explain(self, operation: str, error: Exception | None) -> tuple[str, str | None]:
        match error:
            case aws.NoRegionError():
                return "no AWS region is set", f"say dynamodb://{self.table}?region=... or set AWS_REGION"
            case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
                return f"AWS credentials are missing: {error}", NONE_GIVEN
            case aws.ConnectionError() | aws.HTTPClientError():
                return (
                    f"can't be reached: {error}",
                    "is the endpoint, or the region, spelled right, and the network up?",
                )
            case aws.ClientError():
                code, message = _code(error), error.response["Error"].get("Message", "")
            case None:
                code, message = "ThrottlingException", "items were left unprocessed"
            case _:
                return f"{operation} failed: {error}", None
        if code == _NOT_THERE:
            return "is not there", f"make it: {self._cli('create-table')}"
        if code == "AccessDeniedException" and operation == "create_table":
            return (
                f"is not there, and may not be made with these credentials: {message}",
                f"have it made: {self._cli('create-table')}",
            )
        if code == "AccessDeniedException":
            return f"may not be used with these credentials: {message}", f"allow {_ACTIONS} on the table"
        if code in _NOT_KNOWN:
            return f"these AWS credentials don't hold ({code}): {message}", NONE_GIVEN
        if isinstance(error, aws.ClientError) and not _passes(error):
            hint = f"see whether its keys are pk and sk, both strings: {self._cli('describe-table')}"
            return f"{operation} was refused ({code}): {message}", (hint if code == "ValidationException" else None)
        return (
            f"{operation} is throttled ({code}): {message}",
            "run again later: what was recorded stays, and nothing is recorded twice",
        )

    @property
    def _place(self) -> str:
        place = ", ".join(part for part in (self.region, self.endpoint) if part)
        return f"{self.table} ({place})" if place else self.table

    def _cli(self, verb: str) -> str:
        """A command that a person can paste."""
        command = f"aws dynamodb {verb} --table-name {self.table}"
        if verb == "create-table":
            command += (
                " --billing-mode PAY_PER_REQUEST"
                " --attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S"
                " --key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE"
            )
        options = (("--region", self.region), ("--endpoint-url", self.endpoint))
        return command + "".join(f" {name} {value}" for name, value in options if value)

    def __reduce__(self) -> tuple[Any, ...]:
        make = functools.partial(DynamoDBLineage, region=self.region, endpoint=self.endpoint, create=self.create)
        return make, (self.table,)

    def __repr__(self) -> str:
        return f"DynamoDBLineage({self.table!r})"


_LEASES = {waiting: {"pk": {"S": "claims"}, "sk": {"S": name}} for waiting, name in ((False, "all"), (True, "waiting"))}

_KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]


_ACTIONS = "dynamodb:Query, BatchGetItem, PutItem and BatchWriteItem"


# ── items ─────────────────────────────────────────────────────────────────────────────────


def _body(fact: Fact) -> Item:
    item = {"pk": {"S": f"asset#{fact.asset}"}, "sk": {"S": fact.id}, "body": _packed(fact.to_json())}
    if _size(item) > _ITEM_BYTES:
        raise LineageError(
            f"the fact about {count(len(fact.partitions), 'interval')} of {fact.asset} takes {_size(item) // 1024} KB "
            f"compressed; an item of DynamoDB holds {_ITEM_BYTES // 1024} KB",
            hint="build fewer partitions in one step, or write shorter messages",
        )
    return item


def _fact(item: Item) -> Fact:
    return Fact.from_json(_unpacked(item["body"]))


def _packed(text: str) -> dict[str, Any]:
    return {"B": zlib.compress(text.encode())} if len(text) > _COMPRESS_FROM else {"S": text}


def _unpacked(body: dict[str, Any]) -> str | bytes:
    return body["S"] if "S" in body else zlib.decompress(body["B"])


def _pointers(fact: Fact) -> Iterator[Item]:
    here = {"asset": {"S": fact.asset}, "id": {"S": fact.id}}
    sort = {"S": f"{fact.id}#{fact.asset}"}
    yield {"pk": {"S": f"run#{fact.run}"}, "sk": sort, **here}
    yield {"pk": {"S": f"kept#{fact.asset}"}, "sk": {"S": f"arrived#{fact.id}"}, **here}
    if fact.run:
        yield {"pk": {"S": _RUNS}, "sk": {"S": fact.run}, **here}
    if fact.version is not None:
        yield {"pk": {"S": f"version#{fact.asset}"}, "sk": {"S": _version_key(fact.version, fact.id)}, **here}
    if fact.status is Status.PUBLISHED:
        for name in sorted({pin.asset for pin in fact.inputs}):
            yield {"pk": {"S": f"input#{name}"}, "sk": sort, **here}


def _close_together(versions: Collection[int]) -> list[tuple[int, int]]:
    """The first and last of versions that one query may read."""
    spans: list[tuple[int, int]] = []
    for version in sorted(versions):
        if spans and version - spans[-1][1] <= _BATCH_GETS:
            spans[-1] = spans[-1][0], version
        else:
            spans.append((version, version))
    return spans


def _version_key(version: int, id: str) -> str:
    return f"{version:020d}#{id}"


def _size(item: Item) -> int:
    """Bytes of an item as DynamoDB counts them: names and values in UTF-8."""
    return sum(
        len(name) + len(value if isinstance(value, bytes) else value.encode())
        for name, typed in item.items()
        for value in typed.values()
    )


def _checkpoint(asset: str, sort: str = "checkpoint") -> Item:
    return {"pk": {"S": f"kept#{asset}"}, "sk": {"S": sort}}


def _of_version(version: int) -> dict[str, Any]:
    """The condition that an item is there in a version; 0: that there is none."""
    if not version:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "version = :version",
        "ExpressionAttributeValues": {":version": {"N": str(version)}},
    }


def _cut(items: T, size: int) -> Iterator[T]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _transactions(bodies: Iterable[Item]) -> Iterator[list[Item]]:
    group: list[Item] = []
    bytes_ = 0
    for body in bodies:
        size = _size(body)
        if group and (len(group) == _TRANSACTION_ITEMS or bytes_ + size > _TRANSACTION_BYTES):
            yield group
            group, bytes_ = [], 0
        group.append(body)
        bytes_ += size
    if group:
        yield group


# ── errors of boto3 ───────────────────────────────────────────────────────────────────────


def _code(error: aws.ClientError) -> str:
    return str(error.response["Error"].get("Code", ""))


def _reasons(error: aws.ClientError) -> list[str]:
    """Why nothing was written, for each item; a single item's reason is the error itself."""
    reasons: Any = error.response.get("CancellationReasons", [])
    return [reason.get("Code", "None") for reason in reasons] or [_code(error).removesuffix("Exception")]


def _passes(error: aws.ClientError) -> bool:
    """Whether the same call may succeed in a moment."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or not _PASSING.isdisjoint([_code(error), *_reasons(error)])
