from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import LineageError
from lakehouse.lineage import CheckResult, Fact, InputPin, Status, new_id

_TEXT = st.text(max_size=20)
_PAIRS = st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple)
_TIME = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))
_COUNT = st.integers(0, 2**62)

_FACTS = st.builds(
    Fact,
    id=_TEXT,
    asset=_TEXT,
    status=st.sampled_from(Status),
    partitions=_PAIRS,
    run=_TEXT,
    started=_TIME,
    finished=_TIME,
    attempt=_COUNT,
    engine=_TEXT,
    flow_run=st.none() | _TEXT,
    task_run=st.none() | _TEXT,
    inputs=st.lists(st.builds(InputPin, asset=_TEXT, version=st.none() | _COUNT, partitions=_PAIRS), max_size=3).map(
        tuple
    ),
    version=st.none() | _COUNT,
    rows=_COUNT,
    bytes=_COUNT,
    checks=st.lists(
        st.builds(
            CheckResult,
            name=_TEXT,
            blocking=st.booleans(),
            passed=st.booleans(),
            failed=_PAIRS,
            message=_TEXT,
        ),
        max_size=3,
    ).map(tuple),
    reason=_TEXT,
    quarantine=st.none() | _TEXT,
)


@given(_FACTS)
def test_a_fact_is_read_back_as_it_was_written(fact: Fact) -> None:
    assert Fact.from_json(fact.to_json()) == fact
    assert Fact.from_json(fact.to_json().encode()) == fact
    assert "\n" not in fact.to_json()


def test_a_field_of_a_later_version_is_left_out() -> None:
    fact = Fact(
        id=new_id(),
        asset="silver.flights",
        status=Status.SKIPPED,
        partitions=(),
        run="run",
        started=datetime(2013, 1, 1, tzinfo=UTC),
        finished=datetime(2013, 1, 1, tzinfo=UTC),
    )
    assert Fact.from_json(fact.to_json().replace("{", '{"mood":"good",', 1)) == fact


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{"])
def test_what_is_no_fact(text: str) -> None:
    with pytest.raises(LineageError, match="a fact can't be read"):
        Fact.from_json(text)


def test_ids_differ_and_begin_with_the_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [id[:12] for id in ids] == sorted(id[:12] for id in ids)
