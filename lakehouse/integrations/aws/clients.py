"""Clients of AWS: made when they are first used, one for each process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import boto3
from botocore import exceptions as aws
from botocore.config import Config

from lakehouse.credentials import NONE_GIVEN
from lakehouse.errors import LakehouseError
from lakehouse.io.storage import cause


@final
class GlueClient:
    """boto3's client for Glue.

    Parameters:
        region: AWS region; by default what boto3 finds
        endpoint: URL of another endpoint; by default what boto3 finds
    """

    def __init__(self, region: str | None = None, endpoint: str | None = None) -> None:
        self.region = region
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None

    @property
    def boto(self) -> Any:
        """The client itself."""
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():  # connections must not be shared over a fork
                config = Config(connect_timeout=4, read_timeout=30, retries={"max_attempts": 5, "mode": "standard"})
                made = boto3.client("glue", region_name=self.region, endpoint_url=self.endpoint, config=config)
                self._made = os.getpid(), made
            return self._made[1]

    @contextmanager
    def reaching(self, doing: str, kind: type[LakehouseError], hints: Mapping[str, str]) -> Iterator[None]:
        """Turn what boto3 raises into one clear error.

        Parameters:
            doing: what is done
            kind: of the error
            hints: what to do about it, by AWS' code of the error; ``""``: about any other
        """
        try:
            yield
        except aws.ClientError as error:
            code = code_of(error)
            raise kind(f"{doing} failed: {cause(error)}", hint=hints.get(code, hints.get(""))) from error
        except aws.BotoCoreError as error:
            hint = NONE_GIVEN if isinstance(error, aws.NoCredentialsError) else "run it again later"
            raise kind(f"{doing} failed: {cause(error)}", hint=hint) from error


def code_of(error: aws.ClientError) -> str:
    """AWS' code of an error."""
    return str(error.response["Error"].get("Code", ""))


def glue_uri(given: str, client: GlueClient) -> str:
    """The URI of something in Glue, as it is written in settings."""
    options = {"region": client.region, "endpoint": client.endpoint}
    said = "&".join(f"{name}={value}" for name, value in options.items() if value)
    return f"glue://{given}" + (f"?{said}" if said else "")
