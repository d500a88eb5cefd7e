"""The reference lakehouse from raw files to Gold, one day of it spoiled, told and mended."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lakehouse import Lakehouse
from lakehouse.lineage import Status
from tests.support.spoil import spoil

DAYS = "2013-01-10...2013-01-20"
BAD = "2013-01-15"
FED_BY_FLIGHTS = {"silver.flights", "gold.departures", "gold.carrier_daily", "gold.route_delays", "gold.weather_delays"}


def test_a_spoiled_day_is_held_back_told_and_mended(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = spoil(tmp_path / "spoiled", BAD, fault="impossible", first="2013-01-10", last="2013-01-20")
    monkeypatch.setenv("LAKEHOUSE_FLIGHTS_SOURCE", str(spoiled))
    run = lake.refresh("+gold.*", DAYS, engine="inline", raise_on_failure=False)

    # Held back in Silver and in what depends on it; all else is there.
    done = {s.asset.key: s for s in run.summaries()}
    assert len(done) == 12  # planes and their raw file feed no Gold asset
    assert {key for key, s in done.items() if BAD in s.rejected} == {"silver.flights"}
    assert {key for key, s in done.items() if BAD in s.skipped} == FED_BY_FLIGHTS - {"silver.flights"}
    assert not any(s.failed for s in done.values())
    for key in FED_BY_FLIGHTS:
        assert len(done[key].published) == 10
        dates = set(lake.load(key).select(pl.col("date").cast(pl.String)).collect()["date"])
        assert BAD not in dates
        assert len(dates) == 10

    # Status and lineage tell the story.
    status = {s.asset.key: s for s in lake.status()}
    assert status["silver.flights"].held.keys() == [BAD]
    assert status["silver.flights"].rows == done["silver.flights"].rows
    failing = [c for c in status["silver.flights"].checks if not c.passed and c.blocking]
    assert failing
    assert failing[0].failed == ((BAD, BAD),)
    (kept,) = status["silver.flights"].quarantine
    rows = lake.table(lake.graph["silver.flights"]).quarantined(kept).collect()
    assert rows.height > 500
    assert rows["_reasons"].list.len().max() == 1
    told = lake.lineage("silver.flights", BAD)
    assert told.sources == ()
    assert [e.status for e in told.events] == [Status.REJECTED]
    assert "air_time" in told.events[0].reason

    # The source is repaired: one command takes the day anew, and nothing else.
    mended = spoil(tmp_path / "mended", BAD, fault="none", first="2013-01-10", last="2013-01-20")
    monkeypatch.setenv("LAKEHOUSE_FLIGHTS_SOURCE", str(mended))
    run = lake.materialize("bronze.raw_flights+", BAD, engine="inline")
    assert {s.asset.key: s.published.keys() for s in run.summaries()} == {
        key: [BAD] for key in FED_BY_FLIGHTS | {"bronze.raw_flights"}
    }
    again = lake.refresh("+gold.*", DAYS, engine="inline")
    assert not again.plan
    assert not any(s.held for s in lake.status())

    # From Gold back to the file, by versions that can still be read.
    (link,) = lake.lineage("gold.carrier_daily", BAD).sources
    path = []
    while link.fact is not None:
        path.append(link.asset)
        source = lake.graph[link.asset]
        at = lake.load(source, BAD if source.partitioned else None, version=link.fact.version)
        assert at.select(pl.len()).collect().item() > 0
        link = next((x for x in link.links if "flights" in x.asset), None) or type(link)("", "", None)
    assert path == ["gold.carrier_daily", "silver.flights", "bronze.raw_flights"]


def test_a_crowd_of_days_is_one_record_for_each_step(lake: Lakehouse) -> None:
    run = lake.materialize("bronze.raw_weather", "2013-02-01...2013-04-30", engine="inline", chunk=45)
    assert len(run.plan) == 2
    facts = lake.lineage_store.facts("bronze.raw_weather")
    assert [f.partitions for f in facts] == [(("2013-02-01", "2013-03-17"),), (("2013-03-18", "2013-04-30"),)]
    assert lake.lineage_store.run(run.id) == facts
    assert sum(f.rows for f in facts) == lake.load("bronze.raw_weather").select(pl.len()).collect().item()
