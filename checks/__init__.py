"""Quality checks: what has to be true of an asset's rows, partition by partition, before they are published.

Knows assets and frames. It must not know where rows are stored, planning, execution or Prefect.
"""

from lakehouse.checks.library import (
    AnyCheck,
    Check,
    FrameCheck,
    accepted_values,
    custom,
    expression,
    not_null,
    reconcile,
    row_count,
    unique,
)

__all__ = [
    "AnyCheck",
    "Check",
    "FrameCheck",
    "accepted_values",
    "custom",
    "expression",
    "not_null",
    "reconcile",
    "row_count",
    "unique",
]
