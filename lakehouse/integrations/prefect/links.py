"""Where Prefect shows what it ran."""

from __future__ import annotations

from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from prefect.utilities.urls import url_for


def flow_run_url(id: str) -> str | None:
    """The page of a flow run; None: no Prefect is configured whose pages could be opened.

    Parameters:
        id: the flow run's id
    """
    if not (PREFECT_UI_URL.value() or PREFECT_API_URL.value()):
        return None
    found = url_for("flow-run", obj_id=id)
    return found if found and found.startswith(("https://", "http://")) else None
