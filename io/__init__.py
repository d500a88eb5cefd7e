"""Where data lives: tables that are staged, published at once, and read at a pinned version."""

from lakehouse.io.tables import PARTITION, Publication, Staged, Table, TableReader

__all__ = ["PARTITION", "Publication", "Staged", "Table", "TableReader"]
