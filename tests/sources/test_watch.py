"""Sources that are watched: what arrives is observed, recorded, then told, and only then taken out of the queue."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Daily, Freshness, Lakehouse, bronze, source
from lakehouse.errors import DefinitionError, LineageError, PlanError, SettingsError, StorageError
from lakehouse.io import Files, RawFiles
from lakehouse.io.notifications import Message
from lakehouse.lineage.observations import Observed
from lakehouse.watching import Arrived, Pace, Watch, open_queue

DAYS = Daily("2013-01-01", end="2013-02-01")


class Clock:
    """A clock that whoever waits sets forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Stop(threading.Event):
    """Waiting takes no time; what arrives meanwhile does so."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.waited: list[float] = []
        self.meanwhile: list[Callable[[], Any]] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        self.clock.now += timeout or 0.0
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return self.is_set()


class MemoryQueue:
    """A queue whose messages stay until they are deleted; each time all that are there may be received once more."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.messages: dict[str, tuple[str, ...] | None] = {}
        self.received: list[str] = []
        self.deleted: list[str] = []
        self.meanwhile: list[Callable[[], Any]] = []

    def send(self, *objects: str | None) -> None:
        told = None if objects == (None,) else tuple(one for one in objects if one is not None)
        self.messages[str(len(self.messages) + len(self.deleted))] = told

    def receive(self, seconds: float) -> Sequence[Message]:
        new = [(receipt, told) for receipt, told in self.messages.items() if receipt not in self.received]
        if not new:
            self.clock.now += seconds
            if seconds and self.meanwhile:
                self.meanwhile.pop(0)()
        self.received += [receipt for receipt, _ in new]
        return [Message(receipt, told) for receipt, told in new]

    def delete(self, messages: Sequence[Message]) -> None:
        for one in messages:
            self.messages.pop(one.receipt, None)
            self.deleted.append(one.receipt)


class World:
    """A folder that others write to, and who watches it."""

    def __init__(self, folder: Path, pace: Pace | None = None) -> None:
        self.folder = folder / "in"
        self.folder.mkdir()
        place = self.folder

        @source(partitions=DAYS)
        def landing() -> Files:
            return Files(f"{place}/{{partition}}/*.csv")

        @bronze(partitions=Daily("2013-01-01", end="2013-02-01", column="date"))
        def raw(landing: RawFiles) -> RawFiles:
            return landing

        @bronze
        def register() -> pl.DataFrame:
            return pl.DataFrame({"n": [1]})

        self.lake = Lakehouse(
            [landing, raw, register], storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db"
        )
        self.clock = Clock()
        self.stop = Stop(self.clock)
        self.told: list[dict[str, str]] = []
        self.recorded: list[int] = []
        self.pace = pace or Pace(5, 300, 2)

    def watch(self, queue: MemoryQueue | None = None) -> Watch:
        def tell(arrived: Arrived) -> None:
            self.told.append({key: str(found) for key, found in arrived.items()})
            self.recorded.append(len(self.lake.lineage_store.facts("source.landing")))

        return Watch(self.lake, queue=queue, pace=self.pace, tell=tell, stop=self.stop, clock=self.clock)

    def arrives(self, day: int, name: str = "a", content: str = "n\n1\n") -> None:
        folder = self.folder / f"2013-01-{day:02}"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.csv").write_text(content)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


LANDING = "source.landing"


def test_what_arrives_is_recorded_and_then_told_and_once(world: World) -> None:
    world.arrives(1)
    watch = world.watch()
    assert {k: str(v) for k, v in watch.round().items()} == {LANDING: "2013-01-01"}
    assert watch.round() == {}
    world.arrives(2)
    world.arrives(3)
    assert {k: str(v) for k, v in watch.round().items()} == {LANDING: "2013-01-02...2013-01-03"}
    (world.folder / "2013-01-02/a.csv").unlink()
    assert {k: str(v) for k, v in watch.round().items()} == {LANDING: "2013-01-02"}, "gone is news as well"
    assert len(world.told) == 3
    assert world.recorded == [1, 2, 3]


def test_a_burst_is_one_piece_of_news_and_a_file_that_grows_is_waited_for(world: World) -> None:
    world.arrives(1)
    world.stop.meanwhile = [
        lambda: None,
        lambda: world.arrives(2),
        lambda: world.arrives(2, content="n\n1\n2\n"),
        lambda: world.arrives(3),
    ]
    watch = world.watch()
    assert {k: str(v) for k, v in watch.round().items()} == {LANDING: "2013-01-01...2013-01-03"}
    assert world.stop.waited[0] == 0.0
    assert set(world.stop.waited[1:]) == {2.0}
    watch.round()
    assert world.stop.waited[-1] == 5.0
    assert len(world.told) == 1


def test_a_source_that_never_comes_to_rest_is_told_all_the_same(world: World) -> None:
    world.arrives(1)
    world.stop.meanwhile = [lambda n=n: world.arrives(1, f"{n}") for n in range(1000)]  # type: ignore[misc]
    assert {k: str(v) for k, v in world.watch().round().items()} == {LANDING: "2013-01-01"}


def test_what_was_observed_and_never_told_is_told_by_the_next_to_watch(world: World) -> None:
    world.arrives(1)
    world.arrives(2)

    def killed(_: Arrived) -> None:
        raise KeyboardInterrupt

    first = Watch(world.lake, tell=killed, stop=world.stop, clock=world.clock)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    world.watch().run(1.0)
    assert world.told == [{LANDING: "2013-01-01...2013-01-02"}]
    world.lake.refresh("bronze.raw", engine="inline")
    world.watch().run(1.0)
    assert len(world.told) == 1


def test_a_source_that_can_not_be_looked_at_is_tried_again_and_stops_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.folder.rename(world.folder.with_name("away"))
    watch = world.watch()
    assert watch.round() == {}
    assert "there is no folder" in caplog.text
    world.folder.with_name("away").rename(world.folder)
    world.arrives(1)
    assert set(watch.round()) == {LANDING}


def test_lineage_that_is_out_of_reach_loses_no_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = MemoryQueue(world.clock)
    watch = world.watch(queue)
    watch.round()
    world.arrives(1)
    queue.send(f"{world.folder}/2013-01-01/a.csv")
    with monkeypatch.context() as patch:
        patch.setattr(world.lake.lineage_store, "append", lambda _: (_ for _ in ()).throw(LineageError("away")))
        assert watch.round() == {}
    assert world.told == []
    assert queue.deleted == []
    queue.received.clear()  # after a while it is there once more
    assert set(watch.round()) == {LANDING}
    assert queue.deleted == ["0"]


# ── told by a queue ───────────────────────────────────────────────────────────────────────


def test_a_message_goes_when_what_it_says_is_recorded_and_told(world: World) -> None:
    queue = MemoryQueue(world.clock)
    watch = world.watch(queue)
    watch.round()
    world.arrives(1)
    queue.send(f"{world.folder}/2013-01-01/a.csv")
    deleted: list[list[str]] = []
    watch._tell = lambda arrived: deleted.append(list(queue.deleted))
    watch.round()
    assert deleted == [[]]
    assert queue.messages == {}
    assert len(world.lake.lineage_store.facts(LANDING)) == 1


def test_messages_of_others_stay_and_are_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    queue = MemoryQueue(world.clock)
    watch = world.watch(queue)
    queue.send(f"{world.folder}/2013-01-01/a.csv")
    queue.send("s3://other/file.csv")
    queue.send(None)
    queue.send(f"{world.folder}/2013-01-01/a.csv", "s3://other/file.csv")
    queue.send()
    for _ in range(3):
        queue.received.clear()
        watch.round()
    assert set(queue.messages) == {"1", "2", "3"}
    assert caplog.text.count("in no watched source") == 1


@given(
    order=st.permutations([1, 2, 3, 3, 2]),
    lost=st.sets(st.integers(1, 3)),
    rounds=st.lists(st.integers(1, 3), max_size=4),
)
def test_however_news_comes_the_facts_are_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], lost: set[int], rounds: list[int]
) -> None:
    world = World(tmp_path_factory.mktemp("watch"))
    queue = MemoryQueue(world.clock)
    watch = world.watch(queue)
    watch.round()
    for day in (1, 2, 3):
        world.arrives(day)
    waiting = [day for day in order if day not in lost]
    for size in [*rounds, len(order)]:
        for day in waiting[:size]:
            queue.send(f"{world.folder}/2013-01-0{day}/a.csv")
        waiting = waiting[size:]
        watch.round()
    world.clock.now += 301
    watch.round()
    assert queue.messages == {}
    told = DAYS.union(DAYS.select(one[LANDING].split(", ")) for one in world.told)
    assert told == DAYS.select("2013-01-01...2013-01-03")
    assert len(world.lake.lineage_store.facts(LANDING)) == len(world.told)


def test_what_is_said_of_how_to_watch() -> None:
    with pytest.raises(SettingsError, match="poll='often' is no duration"):
        Pace.of(poll="often")
    assert Pace.of("1m", "1h", "0s") == Pace(60, 3600, 0)
    with pytest.raises(DefinitionError, match="one of cron, every, after_inputs and watched"):
        Freshness(watched=True, every="1h")
    with pytest.raises(DefinitionError, match="can't be watched"):
        bronze(freshness=Freshness(watched=True))(_nothing)
    with pytest.raises(PlanError, match="names no external asset"):
        Watch(Lakehouse([bronze(_nothing)], storage="memory://"))
    assert open_queue(None) is None


def _nothing() -> pl.DataFrame:
    raise AssertionError


@pytest.mark.parametrize(
    ("pattern", "uri", "held"),
    [
        ("s3://lake/in/{partition}.csv", "s3://lake/in/2013-01-01.csv", True),
        ("s3://lake/in/{partition}.csv", "s3://lake/in/2013-01-01.txt", False),
        ("s3://lake/in/{partition}.csv", "s3://lake/inn/2013-01-01.csv", False),
        ("s3://lake/{partition:%Y/%m/%d}/*.csv", "s3://lake/2013/01/01/a b.csv", True),
        ("s3://lake/a b/*.csv", "s3://lake/a b/c.csv", True),
        ("s3://other/*.csv", "s3://lake/c.csv", False),
    ],
)
def test_which_source_an_object_is_of(pattern: str, uri: str, held: bool) -> None:
    assert Files(pattern).may_hold(uri) is held


# ── S3 and SQS, over HTTP ─────────────────────────────────────────────────────────────────


@pytest.fixture
def bucket(aws_server: str) -> tuple[str, str]:
    """A bucket that notifies a queue."""
    import boto3

    name = f"watched-{uuid4().hex}"
    s3: Any = boto3.client("s3")
    sqs: Any = boto3.client("sqs")
    s3.create_bucket(Bucket=name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=told)
    return name, url


def _waiting(url: str) -> int:
    import boto3

    sqs: Any = boto3.client("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(map(int, found.values()))


@pytest.mark.aws
def test_a_bucket_tells_by_its_queue(bucket: tuple[str, str], tmp_path: Path) -> None:
    name, url = bucket

    @source(partitions=DAYS)
    def landing() -> Files:
        return Files(f"s3://{name}/in/{{partition}}/*.csv")

    @bronze(partitions=Daily("2013-01-01", end="2013-02-01", column="date"))
    def raw(landing: Observed) -> pl.DataFrame:
        raise AssertionError

    lake = Lakehouse([landing, raw], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    told: list[dict[str, str]] = []
    pace = Pace(poll=3600, sweep=3600, settle=0.1)
    queue = open_queue(name)
    assert queue is not None
    watch = Watch(lake, queue=queue, pace=pace, tell=lambda a: told.append({k: str(v) for k, v in a.items()}))
    watch.round()
    store = Files(f"s3://{name}/in/*")._folder.store()
    for day in (1, 2, 3):
        for part in range(5):
            store.put(f"2013-01-0{day}/part {part}=+.csv", b"n\n1\n")
    while not told:
        watch.round()
    while _waiting(url):
        watch.round()
    assert told[0][LANDING].startswith("2013-01-01")
    assert str(lake.snapshot("source.landing").known[LANDING].state.present) == "2013-01-01...2013-01-03"
    assert len(lake.lineage_store.facts(LANDING)) == len(told)


@pytest.mark.aws
def test_a_queue_that_is_not_there_is_refused_and_one_out_of_reach_is_survived(
    aws_server: str, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="there is no queue 'none-of-that-name'"):
        open_queue("none-of-that-name")
    with pytest.raises(SettingsError, match="with credentials"):
        open_queue("https://key:secret@sqs/queue")
    queue = open_queue(f"{aws_server}/123456789012/none")
    assert queue is not None
    with pytest.raises(StorageError, match="can't be read"):
        queue.receive(0)
    queue.delete([Message("receipt", ())])
    assert "messages stay in the queue" in caplog.text
    world.arrives(1)
    watch = Watch(world.lake, queue=queue, pace=Pace(5, 300, 0), stop=world.stop, clock=world.clock)
    assert set(watch.round()) == {LANDING}


# ── the command ───────────────────────────────────────────────────────────────────────────

PROJECT = """
from lakehouse import Daily, source
from lakehouse.io import Files


@source(partitions=Daily("2013-01-01", end="2013-02-01"))
def landing() -> Files:
    return Files("{pattern}")
"""


@pytest.mark.aws
def test_the_command_tells_what_arrives_until_it_is_stopped(bucket: tuple[str, str], tmp_path: Path) -> None:
    name, url = bucket
    (tmp_path / "own_assets.py").write_text(PROJECT.replace("{pattern}", f"s3://{name}/in/{{partition}}.csv"))
    (tmp_path / "pyproject.toml").write_text('[tool.lakehouse]\nmodule = "own_assets"\n')
    command = [sys.executable, "-P", "-m", "lakehouse", "watch", "--queue", url, "--settle", "0s", "--json"]
    environment = {"PYTHONPATH": str(tmp_path)}
    import os

    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        assert process.stdout is not None
        urllib.request.urlopen(
            urllib.request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/{name}/in/2013-01-07.csv", b"n\n", method="PUT")
        ).close()
        told = process.stdout.readline()
        process.terminate()
        assert process.wait() in (143, -15)
    assert json.loads(told) == {"asset": LANDING, "changed": [["2013-01-07", "2013-01-07"]]}
