"""Keys that are registered as time goes by."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Dynamic
from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.partitions import Present

NOW = datetime(2013, 2, 1, tzinfo=UTC)
CUSTOMERS = Dynamic("customers", column="customer")
PRESENT = Present(NOW, {"customers": ["acme", "Acme, Inc.", "a...b", "globex"]})

keys = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="|"), min_size=1, max_size=12)


@given(st.sets(keys, max_size=8))
def test_keys_need_no_list_of_them_to_be_read_back(chosen: set[str]) -> None:
    these = CUSTOMERS.all(Present(NOW, {"customers": chosen}))
    assert set(these.keys()) == chosen
    assert len(these) == len(chosen)
    assert CUSTOMERS.from_pairs(these.to_pairs()) == these
    assert {CUSTOMERS.key(CUSTOMERS.from_token(CUSTOMERS.token(o))) for o in these.ordinals()} == chosen


def test_what_is_registered_is_there() -> None:
    assert set(CUSTOMERS.all(PRESENT)) == {"acme", "Acme, Inc.", "a...b", "globex"}
    assert not CUSTOMERS.all(NOW)
    assert not CUSTOMERS.all(Present(NOW, {"suppliers": ["acme"]}))


@pytest.mark.parametrize(
    ("given_", "chosen"),
    [
        ("acme", {"acme"}),
        ("acme, globex", {"acme", "globex"}),
        ("Acme, Inc.", {"Acme, Inc."}),
        ("a...b", {"a...b"}),
        (["a...b", "Acme, Inc."], {"a...b", "Acme, Inc."}),
        ("*", {"acme", "Acme, Inc.", "a...b", "globex"}),
        ([], set()),
    ],
)
def test_registered_keys_can_be_asked_for(given_: object, chosen: set[str]) -> None:
    assert set(CUSTOMERS.select(given_, now=PRESENT)) == chosen


def test_a_key_that_is_not_registered_is_told_with_those_that_are() -> None:
    with pytest.raises(PartitionError) as caught:
        CUSTOMERS.select("initech", now=PRESENT)
    assert "partition initech is outside the range of dynamic customers; there are " in str(caught.value)
    assert "acme" in str(caught.value)
    assert caught.value.hint == "a dynamic partition is there once its key is registered"
    with pytest.raises(PartitionError, match="there are none yet"):
        CUSTOMERS.select("initech", now=NOW)
    assert CUSTOMERS.select("initech").keys() == ["initech"]


def test_numbers_are_keys_as_their_text() -> None:
    years = Dynamic("years").select([2013, 2014])
    assert years.keys() == ["2013", "2014"]
    assert [part.keys() for part in years.ranges] == [["2013"], ["2014"]]
    assert str(years) == "2013, 2014"


@pytest.mark.parametrize("key", ["", "a|b", "a\nb", "\x00", "\ud800", "x" * 201, "é" * 34, None, 1.5, True, b"a"])
def test_what_can_be_no_key_is_told(key: object) -> None:
    with pytest.raises(PartitionError, match="is no partition key of dynamic customers; a key looks like text of 1 to"):
        CUSTOMERS.parse(key)


def test_dynamic_keys_have_no_ranges() -> None:
    for ask in (lambda: CUSTOMERS.select("acme...globex", now=PRESENT), lambda: CUSTOMERS.range("acme", "globex")):
        with pytest.raises(PartitionError, match="dynamic keys have no order"):
            ask()


@pytest.mark.parametrize("name", ["", " ", None, 5])
def test_dynamic_partitions_have_a_name(name: object) -> None:
    with pytest.raises(DefinitionError, match="need a name"):
        Dynamic(name)  # type: ignore[arg-type]


def test_definitions_of_one_name_share_their_keys() -> None:
    other = Dynamic("customers", column="buyer")
    assert (other.select("acme") & CUSTOMERS.select("acme")).keys() == ["acme"]
    with pytest.raises(PartitionError, match="can't be combined"):
        other.select("acme") & Dynamic("suppliers").select("acme")


def test_chunks_count_keys_and_not_their_distance() -> None:
    present = Present(NOW, {"customers": [f"customer {n}" for n in range(1000)]})
    every = CUSTOMERS.all(present)
    assert [len(chunk) for chunk in every.chunks(300)] == [300, 300, 300, 100]
    some = CUSTOMERS.select([key for n, key in enumerate(every) if n % 7 == 0])
    for number, chunk in some.cells(300, anchor=every):
        assert set(chunk) <= set(list(every)[number * 300 : (number + 1) * 300])


def test_a_present_is_a_value() -> None:
    assert Present.of(NOW) == Present(NOW)
    assert Present.of(PRESENT) is PRESENT
    assert hash(Present(NOW, {"a": ["b"]})) == hash(Present(NOW, {"a": ["b"]}))
    assert Present(NOW, {"a": ["b"]}) != Present(NOW)
