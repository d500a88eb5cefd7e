"""Speaking with dbt: its runner, its events, its messages."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from lakehouse.errors import SettingsError
from lakehouse.redaction import logger

log = logger("lakehouse.dbt")

ONE_AT_A_TIME = threading.RLock()
"""dbt keeps its flags, its adapter and its connections in globals."""


_warned: set[str] = set()


def listener() -> Callable[[Any], None]:
    """Passes dbt's events on to the log: what is made and tested, and each warning once.

    On behalf of whoever asks for it: dbt's own threads know nothing of the run that they work for.
    """
    context = copy_context()
    return lambda event: context.copy().run(_hear, event)


def _hear(event: Any) -> None:
    name, text = event.info.name, (event.info.msg or "").strip()
    if name in ("LogStartLine", "LogModelResult", "LogSeedResult", "LogTestResult"):
        node = event.data.node_info
        if name != "LogStartLine":
            log.info("%s %s: %s", node.resource_type, node.node_name, _ended(event.data))
        elif node.resource_type != "test":
            log.info("%s %s: started", node.resource_type, node.node_name)
    elif event.info.level == "warn" and not name.startswith("RunResult"):
        if text not in _warned:
            _warned.add(text)
            log.warning("dbt: %s", in_a_line(text.removeprefix("[WARNING]: ")))
    else:
        log.debug("%s", text)


def _ended(data: Any) -> str:
    failures = getattr(data, "num_failures", 0)
    found = f"{failures:,} failure{'' if failures == 1 else 's'}" if failures else str(data.status).lower()
    return f"{found} in {data.execution_time:.2f} s"


def lenient() -> dict[str, Any]:
    """Options by which dbt's warnings stay warnings, whatever the project or the environment wants of them.

    To dbt a failing test is a warning; as an error it would stop the models after it. To be called after a parse, for
    dbt lets only that option be overruled which was used.
    """
    from dbt.flags import get_flags
    from dbt_common.helper_types import WarnErrorOptionsV2

    strict = get_flags().WARN_ERROR  # type: ignore[no-untyped-call]
    return {"warn_error": False} if strict else {"warn_error_options": WarnErrorOptionsV2()}


def said(result: Any) -> str:
    """dbt's own message, once."""
    error = result.exception
    text = str(error or "it didn't say why")  # with the file, where it knows one
    return in_a_line(text)


def message(outcome: Any) -> str:
    """What dbt says of a node that did not succeed."""
    return "dbt didn't come to it" if outcome is None else in_a_line(outcome.message or outcome.status)


def in_a_line(text: object) -> str:
    """A message as one line, not too long."""
    return re.sub(r"\s*\n\s*", " ", str(text).strip())[:1000]


def dbt_runner() -> Any:
    """dbt's own runner, the class.

    Raises:
        SettingsError: dbt is not installed
    """
    handlers = list(logging.root.handlers)
    try:
        from dbt.cli.main import dbtRunner
    except ImportError as error:
        raise SettingsError(
            f"dbt can't be imported: {error}", hint="install it: pip install dbt-core dbt-duckdb"
        ) from error
    finally:
        # Something that dbt imports configures everybody's logging.
        logging.root.handlers[:] = handlers
    return dbtRunner
