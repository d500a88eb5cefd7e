"""What the scripts with Dagster share: to materialize, and to say what came of it."""

from collections.abc import Sequence
from typing import Any

from dagster import materialize
from dagster_deltalake import LocalConfig
from dagster_deltalake_polars import DeltaLakePolarsIOManager


def build(root: str, assets: Sequence[Any], **how: Any) -> str:
    """That it succeeded, or the innermost error of each step that failed."""
    tables = {"io_manager": DeltaLakePolarsIOManager(root_uri=root, storage_options=LocalConfig())}
    done = materialize(assets, resources=tables, raise_on_error=False, **how)
    said = []
    for event in done.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
            said.append(error.message.strip())
    return "success" if done.success else "\n".join(["failure", *said])
