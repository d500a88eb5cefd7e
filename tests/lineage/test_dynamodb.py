from __future__ import annotations

import json
import pickle
import random
import socket
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError

from lakehouse.errors import LineageError
from lakehouse.lineage import InputPin, LineageStore
from lakehouse.lineage.dynamodb import DynamoDBLineage
from lakehouse.testing.lineage import sample_fact

pytestmark = pytest.mark.aws

FACTS = [sample_fact(number) for number in range(1, 6)]

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]
"""From what was asked: HTTP status and answer."""


class Wire:
    """Between a store and its table: counts calls, and answers some of them itself.

    Parameters:
        calls: how many calls of each operation were made
        requests: what was asked, in order
    """

    def __init__(self, lineage: DynamoDBLineage) -> None:
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._answers: list[tuple[str, Answer | None]] = []
        self._lost: list[str] = []
        lineage.client.meta.events.register("before-call.dynamodb", self._before)
        lineage.client.meta.events.register("after-call.dynamodb", self._after)

    def fail(self, operation: str, code: str, *reasons: str, after: int = 0, times: int = 1, status: int = 400) -> None:
        """Let some calls of an operation through, and refuse those after them."""
        error: dict[str, Any] = {"Error": {"Code": code, "Message": "said the test"}}
        if reasons:
            error["CancellationReasons"] = [{"Code": reason} for reason in reasons]
        self._answers += [(operation, None)] * after
        self._answers += [(operation, lambda request: (status, error))] * times

    def answer(self, operation: str, make: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Answer the next call of an operation with what is made from the request."""
        self._answers.append((operation, lambda request: (200, make(request))))

    def lose_answer(self, operation: str) -> None:
        """Let the next call of an operation through, but not its answer."""
        self._lost.append(operation)

    def _before(self, model: Any, params: dict[str, Any], **rest: Any) -> tuple[AWSResponse, Any] | None:
        request = json.loads(params["body"])
        self.calls[model.name] += 1
        self.requests.append((model.name, request))
        for at, (operation, make) in enumerate(self._answers):
            if operation == model.name:
                del self._answers[at]
                if make is None:
                    return None
                status, answer = make(request)
                return AWSResponse("", status, HTTPHeaders(), None), {
                    **answer,
                    "ResponseMetadata": {"HTTPStatusCode": status},
                }
        return None

    def _after(self, model: Any, **rest: Any) -> None:
        if model.name in self._lost:
            self._lost.remove(model.name)
            raise ReadTimeoutError(endpoint_url="http://dynamodb")


@pytest.fixture
def pauses() -> list[float]:
    """How long the store waited, in seconds; it doesn't really."""
    return []


@pytest.fixture
def lineage(aws_server: str, pauses: list[float]) -> DynamoDBLineage:
    lineage = DynamoDBLineage(f"lineage-{uuid.uuid4()}", sleep=pauses.append)
    lineage.create_table()
    return lineage


@pytest.fixture
def wire(lineage: DynamoDBLineage) -> Wire:
    return Wire(lineage)


@pytest.fixture
def absent(aws_server: str, pauses: list[float]) -> DynamoDBLineage:
    """A store whose table is not there."""
    return DynamoDBLineage(f"lineage-{uuid.uuid4()}", sleep=pauses.append)


def _nothing_is_there(lineage: LineageStore) -> bool:
    return not (
        lineage.facts("silver.flights")
        or lineage.run("run-1")
        or lineage.built_from("bronze.raw_flights")
        or lineage.latest_version("silver.flights") is not None
    )


def _all_there_once(lineage: LineageStore) -> bool:
    return (
        lineage.facts("silver.flights") == FACTS
        and lineage.run("run-1") == FACTS
        and lineage.built_from("bronze.raw_flights") == FACTS
        and lineage.latest_version("silver.flights") == 5
    )


# ── reading ───────────────────────────────────────────────────────────────────────────────


def test_facts_of_more_than_a_megabyte_come_in_pages(lineage: DynamoDBLineage, wire: Wire) -> None:
    noise = random.Random(7)
    facts = [sample_fact(number, reason=noise.randbytes(40_000).hex()) for number in range(1, 61)]
    lineage.append(facts)
    assert lineage.facts("silver.flights") == facts
    assert wire.calls["Query"] == 3  # 60 facts of 45 KB, compressed


def test_pointers_come_in_pages(lineage: DynamoDBLineage, wire: Wire) -> None:
    facts = [sample_fact(number) for number in range(1, 151)]
    lineage.append(facts)
    lineage.client.meta.events.register(
        "before-parameter-build.dynamodb.Query", lambda params, **_: params.setdefault("Limit", 10) and None
    )
    for read, name in ((lineage.run, "run-1"), (lineage.built_from, "bronze.raw_flights")):
        wire.calls.clear()
        assert read(name) == facts
        assert wire.calls["Query"] > 10
        assert wire.calls["BatchGetItem"] == 2


def test_keys_that_were_left_unprocessed_are_asked_for_again(
    lineage: DynamoDBLineage, wire: Wire, pauses: list[float]
) -> None:
    lineage.append(FACTS)
    wire.answer("BatchGetItem", lambda request: {"UnprocessedKeys": request["RequestItems"]})
    assert lineage.run("run-1") == FACTS
    assert (wire.calls["BatchGetItem"], len(pauses)) == (2, 1)


@pytest.mark.parametrize("number", [10, 120])
def test_what_came_since_a_checkpoint_costs_the_same_however_much_came_before(
    lineage: DynamoDBLineage, wire: Wire, number: int
) -> None:
    lineage.append([sample_fact(n) for n in range(number)])
    assert lineage.keep("silver.flights", "kept", lineage.since("silver.flights"))
    wire.calls.clear()
    lineage.append([sample_fact(number)])
    assert wire.calls == {"BatchWriteItem": 1, "PutItem": 1}
    wire.calls.clear()
    read = lineage.since("silver.flights")
    assert (read.checkpoint, len(read.facts)) == ("kept", 1)
    assert wire.calls == {"Query": 2, "BatchGetItem": 1}
    wire.calls.clear()
    assert lineage.keep("silver.flights", "kept again", read)
    assert wire.calls == {"PutItem": 1, "Query": 1, "BatchWriteItem": 1}
    wire.calls.clear()
    assert lineage.since("silver.flights").facts == ()
    assert wire.calls == {"Query": 2}


def test_the_latest_version_is_found_without_reading_all(lineage: DynamoDBLineage, wire: Wire) -> None:
    lineage.append([sample_fact(number) for number in range(1, 101)])
    assert lineage.latest_version("silver.flights") == 100
    assert (wire.calls["Query"], wire.calls["BatchGetItem"]) == (1, 1)
    assert wire.requests[-2][1]["Limit"] == 10


def test_reads_are_strongly_consistent(lineage: DynamoDBLineage, wire: Wire) -> None:
    lineage.append(FACTS)
    assert _all_there_once(lineage)
    queries = [request for operation, request in wire.requests if operation == "Query"]
    gets = [
        r
        for operation, request in wire.requests
        if operation == "BatchGetItem"
        for r in request["RequestItems"].values()
    ]
    assert queries
    assert gets
    assert all(request["ConsistentRead"] for request in queries + gets)


# ── writing ───────────────────────────────────────────────────────────────────────────────


def test_one_fact_needs_no_transaction(lineage: DynamoDBLineage, wire: Wire) -> None:
    lineage.append(FACTS[:1])
    assert wire.calls == {"BatchWriteItem": 1, "PutItem": 1}


def test_up_to_a_hundred_facts_are_one_transaction(lineage: DynamoDBLineage, wire: Wire) -> None:
    lineage.append([sample_fact(number) for number in range(1, 101)])
    assert wire.calls["TransactWriteItems"] == 1
    lineage.append([sample_fact(number) for number in range(101, 202)])
    assert wire.calls["TransactWriteItems"] == 2
    assert wire.calls["PutItem"] == 1


def test_a_transaction_stays_below_four_megabytes(lineage: DynamoDBLineage, wire: Wire) -> None:
    noise = random.Random(7)
    lineage.append([sample_fact(number, reason=noise.randbytes(300_000).hex()) for number in range(1, 14)])
    assert wire.calls["TransactWriteItems"] == 2
    for operation, request in wire.requests:
        if operation == "TransactWriteItems":
            assert len(json.dumps(request)) * 3 / 4 < 4 * 1024**2  # binary travels as base64


def test_long_facts_are_compressed_and_short_ones_can_be_read_in_the_console(
    lineage: DynamoDBLineage,
) -> None:
    short, long = sample_fact(1), sample_fact(2, reason="the same words again, " * 1000)
    lineage.append([short, long])
    page = lineage.client.query(
        TableName=lineage.table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "asset#silver.flights"}},
    )
    bodies = [item["body"] for item in page["Items"]]
    assert bodies[0] == {"S": short.to_json()}
    assert len(bodies[1]["B"]) < 1000


def test_a_fact_that_no_item_can_hold(lineage: DynamoDBLineage, wire: Wire) -> None:
    noise = random.Random(7).randbytes(500_000).hex()
    with pytest.raises(LineageError, match=r"takes \d+ KB compressed; an item of DynamoDB holds 400 KB"):
        lineage.append([sample_fact(1), sample_fact(2, reason=noise)])
    assert not wire.calls
    assert _nothing_is_there(lineage)


# ── throttling, and calls that fail in the middle ─────────────────────────────────────────


@pytest.mark.parametrize(
    ("operation", "code", "reasons"),
    [
        ("BatchWriteItem", "ProvisionedThroughputExceededException", ()),
        ("BatchWriteItem", "ThrottlingException", ()),
        ("TransactWriteItems", "ThrottlingException", ()),
        ("TransactWriteItems", "TransactionInProgressException", ()),
        (
            "TransactWriteItems",
            "TransactionCanceledException",
            ("None", "ThrottlingError", "None", "None", "None"),
        ),
        ("TransactWriteItems", "TransactionCanceledException", ("TransactionConflict", *["None"] * 4)),
        (
            "TransactWriteItems",
            "TransactionCanceledException",
            ("ConditionalCheckFailed", *["None"] * 3, "ProvisionedThroughputExceeded"),
        ),
        ("Query", "ProvisionedThroughputExceededException", ()),
        ("BatchGetItem", "RequestLimitExceeded", ()),
    ],
)
def test_throttled_calls_are_repeated_with_growing_pauses(
    lineage: DynamoDBLineage,
    wire: Wire,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    code: str,
    reasons: tuple[str, ...],
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    wire.fail(operation, code, *reasons, times=9)
    lineage.append(FACTS)
    assert _all_there_once(lineage)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_pauses_are_random(lineage: DynamoDBLineage, wire: Wire, pauses: list[float]) -> None:
    wire.fail("PutItem", "ThrottlingException", times=6)
    lineage.append(FACTS[:1])
    assert len(set(pauses)) == 6
    assert all(0 <= pause <= 0.05 * 2**n for n, pause in enumerate(pauses, start=1))


def test_a_failing_server_is_asked_again(lineage: DynamoDBLineage, wire: Wire) -> None:
    wire.fail("PutItem", "SomethingNew", status=500)
    wire.fail("Query", "", status=503)
    lineage.append(FACTS[:1])
    assert lineage.facts("silver.flights") == FACTS[:1]


def test_endless_throttling_is_an_error_after_which_an_append_can_be_repeated(
    lineage: DynamoDBLineage, wire: Wire, pauses: list[float]
) -> None:
    wire.fail("TransactWriteItems", "ThrottlingException", times=12)
    with pytest.raises(LineageError, match=r"throttled .*\(tried 12 times\)\n  hint: run again later"):
        lineage.append(FACTS)
    assert 0 < sum(pauses) < 60
    assert _nothing_is_there(lineage)
    lineage.append(FACTS)
    assert _all_there_once(lineage)


def test_pointers_that_were_left_unprocessed_are_written_again(
    lineage: DynamoDBLineage, wire: Wire, pauses: list[float]
) -> None:
    wire.answer("BatchWriteItem", lambda request: {"UnprocessedItems": request["RequestItems"]})
    lineage.append(FACTS)
    assert _all_there_once(lineage)
    assert (wire.calls["BatchWriteItem"], len(pauses)) == (2, 1)


def test_items_that_are_always_left_unprocessed_are_an_error(lineage: DynamoDBLineage, wire: Wire) -> None:
    for _ in range(12):
        wire.answer("BatchWriteItem", lambda request: {"UnprocessedItems": request["RequestItems"]})
    with pytest.raises(LineageError, match="left unprocessed"):
        lineage.append(FACTS)
    assert _nothing_is_there(lineage)
    lineage.append(FACTS)
    assert _all_there_once(lineage)


@pytest.mark.parametrize("operation", ["BatchWriteItem", "TransactWriteItems"])
def test_a_write_whose_answer_is_lost_is_written_once(lineage: DynamoDBLineage, wire: Wire, operation: str) -> None:
    wire.lose_answer(operation)
    lineage.append(FACTS)
    assert wire.calls[operation] == 2
    assert _all_there_once(lineage)


def test_one_fact_whose_answer_is_lost_is_written_once(lineage: DynamoDBLineage, wire: Wire) -> None:
    wire.lose_answer("PutItem")
    lineage.append(FACTS[:1])
    assert wire.calls["PutItem"] == 2
    assert lineage.run("run-1") == FACTS[:1]


def test_pointers_without_a_fact_are_passed_over(lineage: DynamoDBLineage, wire: Wire) -> None:
    # What a process leaves that is killed after it wrote the pointers and before the fact.
    lost = sample_fact(9, version=99)
    wire.fail("PutItem", "AccessDeniedException")
    with pytest.raises(LineageError):
        lineage.append([lost])
    assert _nothing_is_there(lineage)

    lineage.append(FACTS)
    assert _all_there_once(lineage)
    lineage.append([lost])
    assert lineage.run("run-1") == [*FACTS, lost]
    assert lineage.latest_version("silver.flights") == 99


def test_a_long_append_that_fails_in_the_middle_can_be_repeated(lineage: DynamoDBLineage, wire: Wire) -> None:
    facts = [sample_fact(number) for number in range(1, 151)]
    wire.fail("TransactWriteItems", "AccessDeniedException", after=1)
    with pytest.raises(LineageError):
        lineage.append(facts)
    assert lineage.facts("silver.flights") == facts[:100]
    assert lineage.run("run-1") == facts[:100]
    lineage.append(facts)
    assert lineage.facts("silver.flights") == facts
    assert lineage.built_from("bronze.raw_flights") == facts


def test_a_transaction_that_is_refused_for_good(lineage: DynamoDBLineage, wire: Wire) -> None:
    wire.fail("TransactWriteItems", "TransactionCanceledException", *["ValidationError"] * 5)
    with pytest.raises(LineageError, match="refused"):
        lineage.append(FACTS)
    assert _nothing_is_there(lineage)


# ── the table ─────────────────────────────────────────────────────────────────────────────


def _tables(lineage: DynamoDBLineage) -> list[str]:
    return [name for page in lineage.client.get_paginator("list_tables").paginate() for name in page["TableNames"]]


def test_the_first_append_makes_the_table_and_reading_does_not(absent: DynamoDBLineage) -> None:
    assert _nothing_is_there(absent)
    assert absent.table not in _tables(absent)
    absent.append(FACTS)
    assert _all_there_once(absent)
    table = absent.client.describe_table(TableName=absent.table)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_a_table_that_must_be_there(absent: DynamoDBLineage) -> None:
    strict = DynamoDBLineage(absent.table, region="us-east-1", create=False)
    for use in (
        lambda: strict.append(FACTS),
        lambda: strict.facts("silver.flights"),
        lambda: strict.run("run-1"),
    ):
        with pytest.raises(LineageError, match="is not there") as caught:
            use()
        assert f"aws dynamodb create-table --table-name {absent.table} --billing-mode" in str(caught.value.hint)
        assert "--region us-east-1" in str(caught.value.hint)
    assert absent.table not in _tables(absent)


def test_a_table_may_be_made_many_times_at_once(absent: DynamoDBLineage) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda fact: absent.append([fact]), FACTS))
    absent.create_table()
    assert _all_there_once(absent)


def test_it_waits_until_the_table_is_ready(absent: DynamoDBLineage, pauses: list[float]) -> None:
    wire = Wire(absent)
    wire.fail("DescribeTable", "ResourceNotFoundException")
    wire.answer("DescribeTable", lambda request: {"Table": {"TableStatus": "CREATING"}})
    absent.append(FACTS)
    assert pauses == [1.0, 1.0]
    assert _all_there_once(absent)


def test_it_does_not_wait_for_ever(absent: DynamoDBLineage, pauses: list[float]) -> None:
    wire = Wire(absent)
    for _ in range(120):
        wire.answer("DescribeTable", lambda request: {"Table": {"TableStatus": "CREATING"}})
    with pytest.raises(LineageError, match="not ready 120 s after"):
        absent.create_table()
    assert sum(pauses) == 120


def test_a_table_that_some_servers_do_not_know_yet(absent: DynamoDBLineage, pauses: list[float]) -> None:
    wire = Wire(absent)
    wire.fail("BatchWriteItem", "ResourceNotFoundException", times=3)
    absent.append(FACTS)
    assert (wire.calls["CreateTable"], len(pauses)) == (1, 2)
    assert _all_there_once(absent)


def test_a_table_that_may_not_be_made(absent: DynamoDBLineage) -> None:
    Wire(absent).fail("CreateTable", "AccessDeniedException")
    with pytest.raises(LineageError, match="may not be made with these credentials") as caught:
        absent.append(FACTS)
    assert "aws dynamodb create-table" in str(caught.value.hint)


def test_a_table_of_something_else(absent: DynamoDBLineage) -> None:
    absent.client.create_table(
        TableName=absent.table,
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(LineageError, match=r"its keys are key \(HASH\), not pk \(HASH\), sk \(RANGE\)"):
        absent.create_table()
    with pytest.raises(LineageError, match="refused"):
        absent.append(FACTS)


# ── the client ────────────────────────────────────────────────────────────────────────────


def test_a_table_that_may_not_be_used(lineage: DynamoDBLineage, wire: Wire) -> None:
    wire.fail("Query", "AccessDeniedException")
    with pytest.raises(LineageError, match="may not be used with these credentials: said the test") as caught:
        lineage.facts("silver.flights")
    assert "BatchGetItem" in str(caught.value.hint)


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "ExpiredTokenException"])
def test_credentials_that_do_not_hold(lineage: DynamoDBLineage, wire: Wire, code: str) -> None:
    wire.fail("Query", code)
    with pytest.raises(LineageError, match=rf"credentials don't hold \({code}\)(.|\n)*hint: log in"):
        lineage.facts("silver.flights")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment in which AWS was never set up."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "DEFAULT_REGION", "PROFILE", "ENDPOINT_URL"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.mark.usefixtures("bare")
def test_no_region() -> None:
    with pytest.raises(LineageError, match=r"no AWS region is set\n  hint: say dynamodb://lineage\?region="):
        DynamoDBLineage("lineage").append(FACTS)


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_of_the_environment(bare: pytest.MonkeyPatch, name: str) -> None:
    bare.setenv(name, "eu-central-1")
    assert DynamoDBLineage("lineage").client.meta.region_name == "eu-central-1"


@pytest.mark.usefixtures("bare")
def test_no_credentials() -> None:
    with pytest.raises(LineageError, match=r"credentials are missing(.|\n)*hint: log in"):
        DynamoDBLineage("lineage", region="us-east-1").facts("silver.flights")


def test_half_of_the_credentials(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "test")
    with pytest.raises(LineageError, match=r"credentials are missing(.|\n)*hint: log in"):
        DynamoDBLineage("lineage", region="us-east-1").facts("silver.flights")


def test_a_profile_that_is_not_there(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(LineageError, match="nobody"):
        DynamoDBLineage("lineage", region="us-east-1").facts("silver.flights")


def test_an_endpoint_that_is_no_url(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(LineageError, match="Invalid endpoint: nonsense"):
        DynamoDBLineage("lineage", region="us-east-1", endpoint="nonsense").facts("silver.flights")


@pytest.mark.parametrize("create", [True, False])
def test_an_endpoint_where_nobody_answers(aws_server: str, pauses: list[float], create: bool) -> None:
    with socket.socket() as held:  # bound, but not listening
        held.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{held.getsockname()[1]}"
        lineage = DynamoDBLineage("lineage", endpoint=endpoint, create=create, sleep=pauses.append)
        for use in (lambda: lineage.append(FACTS), lambda: lineage.facts("silver.flights")):
            pauses.clear()
            with pytest.raises(LineageError, match=rf"lineage \({endpoint}\): can't be reached.*\(tried 3 times\)"):
                use()
            assert len(pauses) == 2


def test_it_is_pickled_as_its_settings(lineage: DynamoDBLineage) -> None:
    lineage.append(FACTS)
    given = DynamoDBLineage(lineage.table, region="us-east-1", create=False)
    assert given.facts("silver.flights") == FACTS
    copy = pickle.loads(pickle.dumps(given))
    assert (copy.uri, copy.create) == (f"dynamodb://{lineage.table}?region=us-east-1&create=false", False)
    assert copy.facts("silver.flights") == FACTS


def test_a_forked_process_makes_a_client_of_its_own(lineage: DynamoDBLineage, monkeypatch: pytest.MonkeyPatch) -> None:
    parents = lineage.client
    assert lineage.client is parents
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert lineage.client is not parents


def test_many_threads_make_one_client(aws_server: str) -> None:
    lineage = DynamoDBLineage("lineage")
    with ThreadPoolExecutor(8) as pool:
        assert len({id(client) for client in pool.map(lambda _: lineage.client, range(8))}) == 1


def test_an_input_of_two_facts_finds_both(lineage: DynamoDBLineage) -> None:
    pins = (InputPin(asset="bronze.raw_flights", version=1), InputPin(asset="bronze.raw_flights", version=2))
    facts = [sample_fact(1, asset="silver.a", inputs=pins), sample_fact(2, asset="silver.b", inputs=pins)]
    lineage.append(facts)
    assert lineage.built_from("bronze.raw_flights") == facts
