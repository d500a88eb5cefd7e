"""The Spark session that assets are made in."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING, Final

from lakehouse.errors import ComputeError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAME_EVERYWHERE: Final = {
    # Rows depend on code and data alone: not on the machine's zone, nor on Spark's version.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Moments as Parquet has them, and days as they are, however long ago.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
}
_ON_THIS_MACHINE: Final = {
    "spark.app.name": "lakehouse",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": str(os.cpu_count() or 1),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
_STARTING = threading.Lock()


def spark_session() -> SparkSession:
    """The session that Spark assets run in: the one that is there, or one on this machine. Its clock is UTC's.

    Raises:
        ComputeError: there is no Spark here, or no Java
    """
    try:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ComputeError(
            f"Spark isn't installed here: {error}", hint='pip install "lakehouse[spark]", or run it in a Glue job'
        ) from error
    with _STARTING:
        builder = SparkSession.Builder()
        # Where it was submitted, or somebody has begun one, it is theirs to say how it is set up.
        if SparkContext._active_spark_context is None and "PYSPARK_GATEWAY_PORT" not in os.environ:
            if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
                raise ComputeError(
                    "Spark needs Java, and there is none here",
                    hint="install Java 17 (default-jre-headless), or set JAVA_HOME",
                )
            for name, value in _ON_THIS_MACHINE.items():
                builder = builder.config(name, value)
        session = builder.getOrCreate()
        for name, value in SAME_EVERYWHERE.items():
            session.conf.set(name, value)
    return session
