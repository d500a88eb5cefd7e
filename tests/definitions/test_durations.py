"""Durations: one reader and one writer, each the other's inverse, wherever a person may say how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Freshness
from lakehouse.durations import format_duration, parse_duration
from lakehouse.errors import DefinitionError, LakehouseError, SettingsError
from lakehouse.io.storage import Location
from lakehouse.lake import Lakehouse
from lakehouse.maintenance import Maintenance

LENGTHS = st.timedeltas(timedelta(microseconds=1), timedelta(days=365_000))
UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@given(LENGTHS)
def test_what_is_written_is_read_as_the_same(length: timedelta) -> None:
    assert parse_duration(format_duration(length)) == length == parse_duration(length)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(UNITS))), min_size=1, max_size=4))
def test_what_is_read_is_the_sum_of_its_words(words: list[tuple[int, str]]) -> None:
    expected = sum((timedelta(**{UNITS[unit]: number}) for number, unit in words), timedelta(0))
    for gap in ("", " "):
        text = gap.join(f"{number}{unit}" for number, unit in words)
        assert parse_duration(text, zero=True) == expected
        assert parse_duration(text, zero=True) == parse_duration(format_duration(expected), zero=True)


@pytest.mark.parametrize(
    "given",
    ["", " ", "5", "h", "-1h", "1y", "90 days", "0d", "1..5s", "1h 5", "0.0000001s", "٣h", 3, None, timedelta(0),
     timedelta(-1), "999999d", "9" * 5000 + "d", "999999999999999w", timedelta.max],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_duration_is_refused_everywhere_alike(given: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no length of time|longer than a thousand years"):
        parse_duration(given)
    if given is None:
        return
    for kind in ("max_age", "every"):
        with pytest.raises(DefinitionError, match="is no duration"):
            Freshness(**{kind: given})  # type: ignore[arg-type]
    lake = Lakehouse([], storage=tmp_path, lineage=f"sqlite:///{tmp_path}/lineage.db")
    with pytest.raises(LakehouseError, match="can't be kept"):
        Maintenance(lake).retain(keep=given)  # type: ignore[arg-type]
    if isinstance(given, str) and given not in ("0d",):
        with pytest.raises(SettingsError, match="is no duration"):
            _ = Location.of("s3://lake", {"retry_timeout": given}).brisk


@pytest.mark.parametrize("given", ["30m", "12h", "8w", "1h30m", "1.5h", "90d", "365000d", timedelta(minutes=5)])
def test_what_is_one_is_taken_everywhere(given: timedelta | str, tmp_path: Path) -> None:
    length = parse_duration(given)
    assert Freshness(max_age=given).max_age == Freshness(every=given).every == length
    lake = Lakehouse([], storage=tmp_path, lineage=f"sqlite:///{tmp_path}/lineage.db")
    assert not Maintenance(lake, now=datetime(2026, 1, 1, tzinfo=UTC)).retain(keep=given)
    if isinstance(given, str):
        options = Location.of("s3://lake", {"retry_timeout": given}).polars["storage_options"]
        assert options["retry_timeout_ms"] == round(length.total_seconds() * 1000)
