"""The flow that workers run for steps that are done elsewhere: it carries out exactly one order."""

from __future__ import annotations

from typing import Final

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from lakehouse.errors import count
from lakehouse.execution.carry_out import carry_out
from lakehouse.integrations.prefect.logs import forward_logs
from lakehouse.project import find_modules
from lakehouse.settings import load_settings

ENTRYPOINT: Final = "lakehouse.integrations.prefect.orders.carry_out_order"
"""Where Prefect finds the flow."""


@flow(name="lakehouse-order", persist_result=False)
def carry_out_order(order: str) -> State[None]:
    """Do what an order says, and leave a manifest; nothing is published, and no lineage store is needed.

    Parameters:
        order: where it is written down: ``s3://bucket/silver/flights/_staged-.../order.json``

    Returns:
        how much was staged, in a line

    Raises:
        StepError: what the function raised; the manifest says so too
        ComputeError: the order was withdrawn, means other code, or is not done by its deadline
    """
    find_modules()
    forward_logs(())
    done = carry_out(order, load_settings().storage_options or None, alone=True)
    message = "was done before" if done.rows is None else f"{count(done.rows, 'row')} staged"
    return Completed(message=f"{message} ({flow_run.name})", data=None)
