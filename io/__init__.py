"""Where data lives: tables that are staged, published at once, and read at a pinned version.

Knows partitions, frames and storage. It must not know planning, execution or Prefect.
"""

from lakehouse.io.files import Files
from lakehouse.io.tables import PARTITION, Publication, Staged, Table, TableReader, TableVersion

__all__ = ["PARTITION", "Files", "Publication", "Staged", "Table", "TableReader", "TableVersion"]
