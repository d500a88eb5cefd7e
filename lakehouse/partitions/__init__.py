"""Partitions: how an asset is divided, and sets of its parts as values.

A partition has a *key* (what people write: ``2013-01-31``) and an *ordinal* (an integer; what sets are made of).
Sets are intervals of ordinals, so that a thousand days are one pair of numbers and not a list of a
thousand strings. It must not know the clock (where "now" matters it is an argument), nor assets.
"""

from lakehouse.partitions.core import (
    FOREVER,
    WHOLE_MARK,
    Key,
    Now,
    Pairs,
    PartitionRange,
    Partitions,
    PartitionSelection,
    PartitionSet,
    Present,
)
from lakehouse.partitions.cron import Cron, last_tick
from lakehouse.partitions.keyed import Dynamic, Static, Unpartitioned
from lakehouse.partitions.mappings import (
    All,
    Last,
    Overlap,
    PartitionMapping,
    PerDimension,
    Rule,
    Same,
    Window,
    carry,
    misfit,
)
from lakehouse.partitions.multi import Multi
from lakehouse.partitions.time import WEEKDAYS, Daily, Every, Hourly, Monthly, TimePartitions, Weekly

__all__ = [
    "FOREVER",
    "WEEKDAYS",
    "WHOLE_MARK",
    "All",
    "Cron",
    "Daily",
    "Dynamic",
    "Every",
    "Hourly",
    "Key",
    "Last",
    "Monthly",
    "Multi",
    "Now",
    "Overlap",
    "Pairs",
    "PartitionMapping",
    "PartitionRange",
    "PartitionSelection",
    "PartitionSet",
    "Partitions",
    "PerDimension",
    "Present",
    "Rule",
    "Same",
    "Static",
    "TimePartitions",
    "Unpartitioned",
    "Weekly",
    "Window",
    "carry",
    "last_tick",
    "misfit",
]
