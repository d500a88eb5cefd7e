"""The flows that ``prefect.yaml`` deploys: the verbs, with parameters that a person can fill in.

Each works on the lakehouse that settings describe where it runs.
"""

from __future__ import annotations

from typing import Literal

from prefect import flow

from lakehouse.lake import open_lakehouse
from lakehouse.run import Run


@flow(name="lakehouse-refresh", persist_result=False)
def refresh(selection: str = "*", partitions: str | None = None, chunk: int | None = None) -> str:
    """Build what is missing of a selection.

    Parameters:
        selection: which assets, such as ``+gold.*``
        partitions: a key, or a range ``a...b`` with both ends; none: all that there could be by now
        chunk: partitions in a step, at most

    Returns:
        what was published, in a line

    Raises:
        MaterializationFailed: something failed or was held back
    """
    return _told(open_lakehouse().refresh(selection, partitions, engine="prefect", chunk=chunk))


@flow(name="lakehouse-materialize", persist_result=False)
def materialize(
    selection: str,
    partitions: str | None = None,
    upstream: Literal["missing", "all", "none"] = "missing",
    chunk: int | None = None,
) -> str:
    """Build a selection, whether it is there or not, and what it lacks upstream.

    Parameters:
        selection: which assets, such as ``silver.flights``
        partitions: a key, or a range ``a...b`` with both ends; none: what is missing
        upstream: what to do about inputs
        chunk: partitions in a step, at most

    Returns:
        what was published, in a line

    Raises:
        MaterializationFailed: something failed or was held back
    """
    lake = open_lakehouse()
    return _told(lake.materialize(selection, partitions, upstream=upstream, engine="prefect", chunk=chunk))


def _told(run: Run) -> str:
    if not run.plan:
        return "all is up to date"
    return f"{sum(s.rows for s in run.summaries()):,} rows of {len(run.plan.assets)} assets in {len(run.plan)} steps"
