"""A Dask cluster for the Prefect engine's steps."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from prefect.settings import PREFECT_API_URL

from lakehouse.errors import EngineError, SettingsError

SCHEME: Final = "dask"

_CONNECT_SECONDS = 10.0


def on_cluster(uri: str) -> Callable[[], Any]:
    """What makes a task runner on the cluster of a scheduler.

    Storage and lineage have to be where all of its workers reach them, and lakehouse and the assets installed there.

    Parameters:
        uri: ``dask://host:port`` of its scheduler

    Raises:
        SettingsError: no such address can be, or prefect-dask is not installed
        EngineError: nobody answers there, or no Prefect API is configured that the workers could report to

    Examples:
        ``PrefectEngine(workers=16, task_runner=on_cluster("dask://scheduler:8786"))``
    """
    scheme, _, address = uri.partition("://")
    host, _, port = address.rpartition(":")
    if scheme != SCHEME or not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"runner={uri!r} can't be used", hint="write threads, or dask://host:port of a scheduler")
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise SettingsError(
            f"runner={uri!r} needs prefect-dask, which can't be imported: {error}",
            hint="pip install 'lakehouse[dask]'",
        ) from error
    if not PREFECT_API_URL.value():
        raise EngineError(
            f"steps at {uri} need a Prefect API that the cluster's workers reach, and none is configured",
            hint="start one (prefect server start --host 0.0.0.0), and set PREFECT_API_URL to it",
        )
    try:
        # Dask itself would try for half a minute, and say less.
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"no Dask scheduler answers at {uri}: {error}",
            hint="start it (dask scheduler), correct the address, or leave runner out",
        ) from error
    return lambda: DaskTaskRunner(address=f"tcp://{address}")
