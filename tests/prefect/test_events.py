"""The events that publications are in Prefect, and what is told of steps that published nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lakehouse import Lakehouse
from lakehouse.errors import EngineError
from lakehouse.integrations.prefect import events
from lakehouse.integrations.prefect.engine import PrefectEngine
from tests.support.toys import ROWS, clean, totals

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]

DAYS = "2013-01-01...2013-01-20"


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The events of the library, in the order in which they were emitted."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(
        events, "emit_event", lambda event, resource, **more: found.append({"event": event, **resource, **more})
    )
    return found


def of(emitted: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [one for one in emitted if one["event"] == event]


def test_each_publication_is_an_event(lake: Lakehouse, emitted: list[dict[str, Any]]) -> None:
    run = lake.materialize(clean, DAYS, chunk=10)
    published = of(emitted, events.PUBLISHED)
    assert sorted((e["prefect.resource.name"], e["payload"]["partitions"]) for e in published) == [
        (key, days)
        for key in ("bronze.events", "silver.clean")
        for days in ("2013-01-01...2013-01-10", "2013-01-11...2013-01-20")
    ]
    one = next(e for e in published if e["prefect.resource.name"] == "silver.clean")
    assert one["prefect.resource.id"] == "lakehouse.asset.silver.clean"
    assert one["lakehouse.layer"] == "silver"
    assert one["lakehouse.changed"] == "true"
    assert one["payload"]["run"] == run.id
    assert one["payload"]["rows"] == 10 * ROWS
    versions = {f.version for f in run.facts if f.asset == "silver.clean"}
    assert {e["payload"]["version"] for e in published if e["prefect.resource.name"] == "silver.clean"} == versions


def test_a_run_is_one_event_however_many_steps_it_has(
    lake: Lakehouse,
    emitted: list[dict[str, Any]],
) -> None:
    run = lake.materialize(clean, DAYS, chunk=5)
    assert len(of(emitted, events.PUBLISHED)) == 8
    (one,) = of(emitted, events.UPDATED)
    assert emitted[-1] is one
    assert one["prefect.resource.id"] == f"lakehouse.run.{run.id}"
    assert one["prefect.resource.name"] == "silver.clean 2013-01-01...2013-01-20"
    assert one["lakehouse.deployment"] == "none"
    assert {(r["prefect.resource.id"], r["prefect.resource.role"]) for r in one["related"]} == {
        ("lakehouse.asset.bronze.events", "updated"),
        ("lakehouse.asset.silver.clean", "updated"),
    }
    assert one["payload"]["changed"] == {"bronze.events": DAYS, "silver.clean": DAYS}


def test_rows_that_come_out_as_they_were_are_published_and_change_nothing(
    lake: Lakehouse,
    emitted: list[dict[str, Any]],
) -> None:
    lake.materialize("bronze.events", DAYS, engine="inline")
    assert emitted == [], "the inline engine tells nobody"
    lake.materialize("bronze.events", DAYS)
    (one,) = emitted
    assert (one["event"], one["lakehouse.changed"]) == (events.PUBLISHED, "false")
    assert (one["payload"]["partitions"], one["payload"]["changed"]) == (DAYS, "none")


def test_only_what_changed_is_told_as_changed(
    lake: Lakehouse,
    spoil: Callable[..., None],
    emitted: list[dict[str, Any]],
) -> None:
    lake.materialize("bronze.events", DAYS, engine="inline")
    spoil(negative=["2013-01-05"])
    lake.materialize("bronze.events", DAYS)
    published, updated = emitted
    assert published["lakehouse.changed"] == "true"
    assert published["payload"]["changed"] == "2013-01-05"
    assert updated["payload"]["changed"] == {"bronze.events": "2013-01-05"}


def test_what_was_held_back_is_no_publication(
    lake: Lakehouse,
    spoil: Callable[..., None],
    emitted: list[dict[str, Any]],
) -> None:
    spoil(negative=["2013-01-05"])
    lake.materialize(clean, "2013-01-05", raise_on_failure=False)
    assert [e["prefect.resource.name"] for e in of(emitted, events.PUBLISHED)] == ["bronze.events"]
    (one,) = of(emitted, events.UPDATED)
    assert list(one["payload"]["changed"]) == ["bronze.events"]


def test_a_skipped_step_is_no_materialization(
    lake: Lakehouse,
    spoil: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, str]] = []

    def keep(event: str, resource: dict[str, str], **_: Any) -> None:
        told.append((event, resource.get("prefect.resource.name", "")))

    monkeypatch.setattr("prefect.events.emit_event", keep)
    spoil(negative=["2013-01-05"])
    lake.materialize(totals, "2013-01-05", raise_on_failure=False)
    assert [one for one in told if "materialization" in one[0]] == [
        ("prefect.asset.materialization.succeeded", "bronze.events"),
        ("prefect.asset.materialization.failed", "silver.clean"),
    ]


def test_an_event_that_can_not_be_sent_fails_no_step(
    lake: Lakehouse,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no way to send it")

    monkeypatch.setattr(events, "emit_event", broken)
    assert lake.materialize(clean, DAYS).ok
    assert "lakehouse.asset.published of silver.clean could not be sent: no way to send it" in caplog.text


def test_a_crowd_of_assets_is_told_in_events_that_prefect_takes(
    lake: Lakehouse,
    emitted: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "_ASSETS_IN_EVENT", 2)
    lake.materialize(["gold.totals"], DAYS)
    parts = of(emitted, events.UPDATED)
    assert [len(one["related"]) for one in parts] == [2, 1]
    assert len({r["prefect.resource.id"] for one in parts for r in one["related"]}) == 3


def test_inside_needs_a_flow_run(lake: Lakehouse) -> None:
    with pytest.raises(EngineError, match="no flow run is under way"):
        lake.materialize(clean, DAYS, engine=PrefectEngine(inside=True))
    assert lake.table(clean).version() is None
