"""Quality checks: what has to be true of an asset's rows, partition by partition, before they are published.

Knows assets and frames. It must not know where rows are stored, planning, execution or Prefect.
"""

from lakehouse.checks.files import FileCheck, each_file, parses
from lakehouse.checks.library import (
    Check,
    FrameCheck,
    RowCheck,
    accepted_values,
    custom,
    expression,
    not_null,
    reconcile,
    row_count,
    unique,
)

AnyCheck = Check | FrameCheck | FileCheck
"""Whatever an asset may declare as a check."""

__all__ = [
    "AnyCheck",
    "Check",
    "FileCheck",
    "FrameCheck",
    "RowCheck",
    "accepted_values",
    "custom",
    "each_file",
    "expression",
    "not_null",
    "parses",
    "reconcile",
    "row_count",
    "unique",
]
