"""The attacks: random programs over random graphs, with kills, harm, faults and clocks that are off, held against what
may be seen.

``LAKEHOUSE_ATTACK_SEEDS=100...200`` in the environment runs those seeds instead of the few that always run.
A failure names its seed and its program.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.attacks.attack import Attack, Place, Server, serving
from tests.support.proxy import Proxy, proxy_to

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks, and kills processes")

STEPS = 7
BRISK = (
    '{"max_retries": "4", "retry_timeout": "10s", "timeout": "5s", '
    '"backoff_config.init_backoff": "10ms", "backoff_config.max_backoff": "100ms"}'
)


def seeds(few: range, many: range) -> list[object]:
    """Those that the environment names; else a few, and more that are slow."""
    first, dots, last = os.environ.get("LAKEHOUSE_ATTACK_SEEDS", "").partition("...")
    if first:
        return [*range(int(first), int(last if dots else first) + 1)]
    return [*few, *(pytest.param(seed, marks=pytest.mark.slow) for seed in many)]


@pytest.fixture(scope="module")
def proxy(aws_server: str) -> Iterator[Proxy]:
    with proxy_to(aws_server) as found:
        yield found


@pytest.fixture
def on_aws(aws_server: str, proxy: Proxy) -> Iterator[Place]:
    bucket = f"attacked-{uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{aws_server}/{bucket}", method="PUT")).close()
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    environment = {**aws, "AWS_ENDPOINT_URL": proxy.url, "LAKEHOUSE_STORAGE_OPTIONS": BRISK}
    yield Place(f"s3://{bucket}/lake", f"dynamodb://{bucket}", proxy, environment)
    proxy.forget()


@pytest.mark.parametrize("seed", seeds(range(4), range(1_000, 1_012)))
def test_on_disk(server: Server, tmp_path: Path, seed: int) -> None:
    Attack(server, tmp_path, seed, Place.on_disk(tmp_path)).run(STEPS)


@pytest.mark.aws
@pytest.mark.parametrize("seed", seeds(range(1), range(2_000, 2_003)))
def test_on_s3_and_dynamodb(server: Server, tmp_path: Path, on_aws: Place, seed: int) -> None:
    Attack(server, tmp_path, seed, on_aws).run(4)


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.parametrize("seed", seeds(range(0), range(3_000, 3_002)))
def test_with_prefect(prefect_server: str, tmp_path: Path, seed: int) -> None:
    place = Place.on_disk(tmp_path)
    place.environment["PREFECT_API_URL"] = prefect_server
    with serving("prefect") as server:
        Attack(server, tmp_path, seed, place, engine="prefect").run(3)
