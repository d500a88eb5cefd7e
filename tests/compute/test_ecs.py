"""ECS, with moto in AWS's place and tasks that are real processes: data on S3, lineage in DynamoDB."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from prefect.client.orchestration import SyncPrefectClient

from lakehouse.definitions.compute import WorkPool
from lakehouse.integrations.prefect.work_pool import PrefectWorkPool
from lakehouse.lineage import Status
from lakehouse.testing.places import PlacedLakehouse, doubled, read, script_in
from tests.compute.conftest import start_worker
from tests.support.waiting import end, eventually

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.aws, pytest.mark.xdist_group("prefect")]

DEPLOY = Path(__file__).parents[2] / "deploy" / "ecs"
ACCOUNT, REGION = "123456789012", "eu-central-1"


@dataclass(frozen=True)
class Aws:
    """An account with a cluster, a network, a task definition, a bucket and a work pool whose worker is at work."""

    folder: Path
    pool: str
    bucket: str
    definition: str

    @property
    def requests(self) -> list[tuple[str, Any]]:
        """What was asked of ECS and EC2, in order."""
        lines = [json.loads(line) for line in (self.folder / "requests.jsonl").read_text().splitlines()]
        return [
            (one["action"], json.loads(one["body"]) if one["body"].startswith("{") else one["body"]) for one in lines
        ]

    def forget(self) -> None:
        (self.folder / "requests.jsonl").write_text("")

    def of_tasks(self) -> list[str]:
        """What was asked in order to run tasks; not by the worker's look-out for those that ended."""
        return [action for action, _ in self.requests if action in ASKED]


ASKED = ("RegisterTaskDefinition", "DescribeTaskDefinition", "RunTask", "StopTask", "DescribeVpcs", "DescribeSubnets")


@pytest.fixture(scope="module")
def aws(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    folder = tmp_path_factory.mktemp("aws")
    script = Path(__file__).parents[1] / "support" / "moto_ecs.py"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        with subprocess.Popen(
            [sys.executable, "-P", str(script), str(folder / "requests.jsonl")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            patch.setenv("AWS_ENDPOINT_URL", server.stdout.readline().strip())
            pool = set_up(folder)
            worker = start_worker(pool.pool, folder / "worker.log", kind="ecs")
            try:
                yield pool
            finally:
                end(worker)
                server.stdin.close()


def set_up(folder: Path) -> Aws:
    """What somebody sets up once, with the files of `deploy/ecs`."""
    ec2, ecs, s3 = boto3.client("ec2"), boto3.client("ecs"), boto3.client("s3")
    ecs.create_cluster(clusterName="lakehouse")
    bucket = f"lake-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    text = (DEPLOY / "task-definition.json").read_text().replace("ACCOUNT", ACCOUNT).replace("REGION", REGION)
    definition = ecs.register_task_definition(**json.loads(text))["taskDefinition"]["taskDefinitionArn"]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"][:2]]
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="steps", Description="steps", VpcId=vpc)["GroupId"]
    template = json.loads((DEPLOY / "work-pool.json").read_text())
    properties = template["variables"]["properties"]
    properties["subnets"]["default"], properties["security_groups"]["default"] = subnets, [group]
    (folder / "work-pool.json").write_text(json.dumps(template))
    pool = f"ecs-{uuid4().hex[:8]}"
    command = ["work-pool", "create", pool, "--type", "ecs", "--base-job-template", str(folder / "work-pool.json")]
    subprocess.run([sys.executable, "-P", "-m", "prefect", *command], check=True, capture_output=True)
    return Aws(folder, pool, bucket, definition)


@pytest.fixture
def lake(aws: Aws, tmp_path: Path) -> Iterator[PlacedLakehouse]:
    aws.forget()
    with script_in(tmp_path, {}):
        lake = PlacedLakehouse(
            [doubled, read],
            storage=f"s3://{aws.bucket}/{uuid4().hex[:8]}",
            lineage=f"dynamodb://facts-{uuid4().hex[:8]}",
        )
        lake.elsewhere = PrefectWorkPool(WorkPool(aws.pool, cpu=512, memory=1024, env={"TEAM": "flights"}))
        lake.here = {"silver.doubled", "silver.read"}
        yield lake


def tell(folder: Path, what: str) -> None:
    (folder / "script.json").write_text(f'{{"2013-01-02": "{what}"}}')


def pid(folder: Path) -> int:
    """The process that the function is called in, once it is."""
    file = folder / "pid"
    text = eventually(lambda: file.read_text() if file.exists() else "", what="the function's process", seconds=400)
    return int(text)


def test_bronze_is_made_in_tasks_and_silver_here(aws: Aws, lake: PlacedLakehouse) -> None:
    run = lake.materialize("+silver.doubled +silver.read", "2013-01-01...2013-01-02", engine="prefect")
    assert run.frame("silver.doubled").sort("date").collect()["n"].to_list() == [2, 4]
    assert run.frame("silver.read").sort("date").collect()["text"].to_list() == [
        "It is 2013-01-01.",
        "It is 2013-01-02.",
    ]
    # A task definition that is there, and a network that is known: nothing is looked up, and nothing registered.
    assert sorted(aws.of_tasks()) == ["DescribeTaskDefinition"] * 2 + ["RunTask"] * 2
    asked = [body for action, body in aws.requests if action == "RunTask"]
    for one in asked:
        assert one["taskDefinition"] == "lakehouse-step"
        assert one["cluster"] == "lakehouse"
        assert one["launchType"] == "FARGATE"
        assert (one["overrides"]["cpu"], one["overrides"]["memory"]) == ("512", "1024")
        assert len(one["networkConfiguration"]["awsvpcConfiguration"]["subnets"]) == 2
        assert one["networkConfiguration"]["awsvpcConfiguration"]["securityGroups"][0].startswith("sg-")
        tags = {tag["key"]: tag["value"] for tag in one["tags"]}
        assert tags["prefect.io/deployment-name"] == aws.pool
        (container,) = one["overrides"]["containerOverrides"]
        environment = {each["name"]: each["value"] for each in container["environment"]}
        assert environment["TEAM"] == "flights"
        # The other end has no lineage store, and what the worker knows of its server's database stays with it.
        assert not any(name.startswith("LAKEHOUSE_LINEAGE") for name in environment)
        assert not any("DATABASE" in name for name in environment)
    # Nothing is left of orders in the bucket, and lineage is in DynamoDB.
    listed = boto3.client("s3").list_objects_v2(Bucket=aws.bucket)["Contents"]
    assert not [one["Key"] for one in listed if one["Key"].endswith(("order.json", "manifest.json"))]
    facts = lake.lineage_store.facts("bronze.numbers")
    assert [fact.status for fact in facts] == [Status.PUBLISHED]


def test_what_the_function_raises_in_a_task_arrives(aws: Aws, lake: PlacedLakehouse, tmp_path: Path) -> None:
    tell(tmp_path, "raise")
    run = lake.materialize("bronze.numbers", "2013-01-02", engine="inline", raise_on_failure=False)
    (result,) = run.results
    assert "the source answered 503 for 2013-01-02" in str(result.error)
    assert result.cause is not None
    assert "_happen(told.get(day" in str(result.cause.__cause__)
    assert aws.of_tasks().count("RunTask") == 1


def test_another_image_is_refused_where_it_would_be_left_out(aws: Aws, lake: PlacedLakehouse) -> None:
    lake.elsewhere = PrefectWorkPool(WorkPool(aws.pool, image="registry/lakehouse:2"))
    run = lake.materialize("bronze.numbers", "2013-01-02", engine="inline", raise_on_failure=False)
    (result,) = run.results
    assert "runs the task definition lakehouse-step, whose image a run can't replace" in str(result.error)
    assert aws.of_tasks() == []


def test_an_image_that_is_missing_is_told(aws: Aws, lake: PlacedLakehouse) -> None:
    text = (DEPLOY / "task-definition.json").read_text().replace("ACCOUNT", ACCOUNT).replace("REGION", REGION)
    missing = json.loads(text.replace("lakehouse@sha256:DIGEST", "lakehouse:missing"))
    boto3.client("ecs").register_task_definition(**{**missing, "family": "lakehouse-missing"})
    pool = WorkPool(aws.pool, pending=15, variables={"task_definition_arn": "lakehouse-missing"})
    lake.elsewhere = PrefectWorkPool(pool)
    run = lake.materialize("bronze.numbers", "2013-01-02", engine="inline", raise_on_failure=False)
    (result,) = run.results
    # Without a queue nobody tells the worker why: what is known is that it was taken up, and never began.
    assert "was still Submitting after 15 s: 1 worker online, and none has started it" in str(result.error)
    assert lake.table(lake.graph["bronze.numbers"]).version() is None


def test_a_task_that_is_cancelled_ends(
    aws: Aws, client: SyncPrefectClient, lake: PlacedLakehouse, tmp_path: Path
) -> None:
    tell(tmp_path, "sleep")
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROJECT, str(tmp_path), aws.pool, f"s3://{aws.bucket}/cancelled"], env=os.environ
    )
    child = pid(tmp_path)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    eventually(lambda: not Path(f"/proc/{child}/stat").exists(), what="the end of the task")
    assert aws.of_tasks().count("RunTask") == 1


def test_a_task_that_is_killed_is_told_without_a_queue(aws: Aws, lake: PlacedLakehouse, tmp_path: Path) -> None:
    tell(tmp_path, "kill")
    lake.elsewhere = PrefectWorkPool(WorkPool(aws.pool, timeout=60))
    run = lake.materialize("bronze.numbers", "2013-01-02", engine="inline", raise_on_failure=False)
    (result,) = run.results
    assert not result.published
    assert "in work pool" in str(result.error)


PROJECT = """
import sys
from pathlib import Path

from lakehouse.definitions.compute import WorkPool
from lakehouse.integrations.prefect.work_pool import PrefectWorkPool
from lakehouse.testing.places import PlacedLakehouse, doubled, script_in

folder, pool, storage = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
lake = PlacedLakehouse([doubled], storage=storage, lineage=f"sqlite:///{folder}/facts.db")
lake.elsewhere = PrefectWorkPool(WorkPool(pool))
with script_in(folder, {"2013-01-02": "sleep"}):
    lake.materialize("bronze.numbers", "2013-01-02", engine="inline")
"""
