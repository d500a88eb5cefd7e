"""Where data lives: tables that are staged, published at once, and read at a pinned version.

Knows partitions, frames and storage. It must not know planning, execution or Prefect.
"""

from lakehouse.io.files import Files, RawFile, RawFiles
from lakehouse.io.readers import Csv, JsonLines, Parquet, Reader
from lakehouse.io.spark import spark_session
from lakehouse.io.tables import PARTITION, Publication, Staged, Table, TableReader, TableVersion

__all__ = [
    "PARTITION",
    "Csv",
    "Files",
    "JsonLines",
    "Parquet",
    "Publication",
    "RawFile",
    "RawFiles",
    "Reader",
    "Staged",
    "Table",
    "TableReader",
    "TableVersion",
    "spark_session",
]
