"""Which engine a name means."""

from __future__ import annotations

from typing import Literal

from lakehouse.errors import SettingsError
from lakehouse.execution.engine import Engine
from lakehouse.settings import THREADS

EngineName = Literal["prefect", "inline"]


def open_engine(engine: EngineName | Engine, workers: int, runner: str = THREADS) -> Engine:
    """The engine of a name; an engine is what it is.

    Parameters:
        engine: ``"prefect"``, ``"inline"``, or an engine
        workers: steps at a time
        runner: where Prefect runs them: ``"threads"``, or ``"dask://host:port"``

    Raises:
        SettingsError: no such engine, or no such runner; EngineError: the runner can't be reached
    """
    if not isinstance(engine, str):
        return engine
    if engine == "inline":
        from lakehouse.execution.inline import InlineEngine

        return InlineEngine()
    if engine == "prefect":
        from lakehouse.integrations.prefect.engine import PrefectEngine

        if runner == THREADS:
            return PrefectEngine(workers=workers)
        from lakehouse.integrations.prefect.dask import on_cluster

        return PrefectEngine(workers=workers, task_runner=on_cluster(runner))
    raise SettingsError(f"engine={engine!r} is not known; there are prefect and inline")
