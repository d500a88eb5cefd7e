"""Silver on Spark: the same asset as its twin in `silver`, for those whose rows outgrow a machine.

It needs `pip install "lakehouse[spark]"`, and is no part of the reference lakehouse by itself: a project that has it
publishes the very rows that the other one publishes.
"""

from typing import Annotated

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import lakehouse.assets.silver as twins
from lakehouse import silver
from lakehouse.assets.bronze import LINES, RawWeather
from lakehouse.assets.bronze import raw_weather as raw_weather
from lakehouse.assets.silver import Weather


@silver(
    partitions=twins.weather.partitions,
    tags=twins.weather.tags,
    owners=twins.weather.owners,
    group=twins.weather.group,
    checks=twins.weather.checks,
)
def weather(raw_weather: Annotated[DataFrame, RawWeather, LINES]) -> Annotated[DataFrame, Weather]:
    """The weather at EWR, JFK and LGA, hour by hour: see `silver.weather`, whose rules these are."""
    impossible = F.col("wind_speed") > 150
    freezing = F.month("date").between(5, 9) & (F.col("temp") < 32)
    calm = (F.col("wind_speed") == 0) & (F.col("wind_dir") == 0)
    return raw_weather.select(
        "date",
        "origin",
        F.try_to_timestamp("time_hour", F.lit("yyyy-MM-dd'T'HH:mm:ss'Z'")).alias("observed_at"),
        _unless(freezing, "temp").alias("temp_f"),
        _unless(freezing, "dewp").alias("dewpoint_f"),
        _unless(freezing, "humid").alias("humidity_pct"),
        _unless(calm, "wind_dir").alias("wind_dir_deg"),
        _unless(impossible, "wind_speed").alias("wind_mph"),
        F.col("wind_gust").alias("gust_mph"),
        F.col("precip").alias("precip_in"),
        F.col("pressure").alias("pressure_mb"),
        F.col("visib").alias("visibility_mi"),
        _repairs(wind_impossible=impossible, freezing_summer=freezing, calm=calm).alias("repairs"),
    )


def _unless(rule: Column, column: str) -> Column:
    """A column, missing where a rule applies."""
    return F.when(~F.coalesce(rule, F.lit(False)), F.col(column))


def _repairs(**rules: Column) -> Column:
    """The names of the rules that apply, or missing if none does."""
    said = F.concat_ws(",", *[F.when(applies, F.lit(rule)) for rule, applies in rules.items()])
    return F.when(said != "", said)
