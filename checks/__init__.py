"""Quality checks: what has to be true of an asset's rows, partition by partition, before they are published."""

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
