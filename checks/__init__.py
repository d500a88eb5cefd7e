"""Quality checks: what has to be true of an asset's rows, partition by partition, before they are published."""

from lakehouse.checks.library import (
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
