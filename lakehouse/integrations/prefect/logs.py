"""What is logged and printed while a step is done goes to Prefect, with its task run, and without secrets."""

from __future__ import annotations

import logging
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import prefect
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import APILogHandler

from lakehouse.definitions.asset import Asset
from lakehouse.redaction import REDACTING, logger

_FLOWS, _TASKS = "prefect.flow_runs", "prefect.task_runs"
"""Where Prefect logs what it says of runs, their errors' tracebacks, and what is printed in them."""

_LIBRARIES = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
_PREFECT = str(Path(prefect.__file__).parent)


def forward_logs(assets: Iterable[Asset]) -> None:
    """Have Prefect keep what the library, the assets' functions and people's own modules log.

    Of other libraries it keeps warnings and errors.

    Parameters:
        assets: those that are being made
    """
    logger(_FLOWS)
    logger(_TASKS)
    root = logging.getLogger()  # noqa: TID251
    handler = next((found for found in root.handlers if isinstance(found, _RunLog)), None)
    if handler is None:
        handler = _RunLog()
        root.addHandler(handler)
    modules = [getattr(asset.function, "__module__", None) or "lakehouse" for asset in assets]
    packages = {"lakehouse", *map(_package, modules)} - handler.packages
    for package in packages:
        own = logging.getLogger(package)  # noqa: TID251
        if own.level == logging.NOTSET:
            own.setLevel(logging.INFO)
    handler.packages |= packages


def show_prints() -> None:
    """Write what functions print to standard error as well: Prefect has it for its log alone."""
    setup_logging()  # which would take the handler away, when the first run sets it up
    tasks = logger(_TASKS)
    if not any(isinstance(found, _Screen) for found in tasks.handlers):
        tasks.addHandler(_Screen())


class _RunLog(APILogHandler):
    """Sends to Prefect's API what belongs to a run and does not come from Prefect, which has ways of its own.

    Parameters:
        packages: whose loggers are heard from `INFO` on
    """

    def __init__(self) -> None:
        super().__init__()
        self.packages: set[str] = set()
        self.addFilter(self._concerns_a_run)
        self.addFilter(REDACTING)

    def _concerns_a_run(self, record: logging.LogRecord) -> bool:
        package = _package(record.name)
        inside = TaskRunContext.get() or FlowRunContext.get()
        if inside is None or package == "prefect":
            return False
        own = package in self.packages or not record.pathname.startswith(_LIBRARIES)
        return own or record.levelno >= logging.WARNING


class _Screen(logging.Handler):
    """Shows what was not said by Prefect itself."""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.pathname.startswith(_PREFECT):
            # Not by print, which is what comes here.
            sys.stderr.write(f"{record.getMessage()}\n")


def _package(module: str) -> str:
    return module.partition(".")[0]
