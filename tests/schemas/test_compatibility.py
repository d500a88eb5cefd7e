"""The rule, column by column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.schemas.columns import TableColumn, TableSchema
from lakehouse.schemas.compatibility import Compatibility, breaking, differences

N = TableColumn("n", "Int64", nullable=False)
M = TableColumn("m", "String")
OLD = TableSchema((N, M))
CHANGES = {
    "a nullable one comes": ((N, M, TableColumn("x", "Date")), ""),
    "a required one comes": ((N, M, TableColumn("x", "Date", nullable=False)), "full backward"),
    "one goes": ((N,), "full forward"),
    "another type": ((TableColumn("n", "Int32", nullable=False), M), "full backward forward"),
    "a wider type": ((TableColumn("n", "Int128", nullable=False), M), "full backward forward"),
    "another name": ((N, TableColumn("title", "String")), "full forward"),
    "another case": ((N, TableColumn("M", "String")), "full backward forward"),
    "nullable becomes required": ((N, TableColumn("m", "String", nullable=False)), "full backward"),
    "required becomes nullable": ((TableColumn("n", "Int64"), M), "full forward"),
    "described": ((N, TableColumn("m", "String", description="text")), ""),
    "another order": ((M, N), ""),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mode", Compatibility)
def test_what_breaks_in_which_mode(change: str, mode: Compatibility) -> None:
    columns, breaks = CHANGES[change]
    assert bool(breaking(OLD, TableSchema(columns), mode)) == (mode in breaks.split())


def test_a_rename_is_told_where_it_can_be_one() -> None:
    (gone, came) = differences(OLD, TableSchema((N, TableColumn("title", "String"))))
    assert (str(gone), str(came)) == ("'m' is gone (renamed to 'title'?)", "'title' (String) is new")


def test_what_was_never_promised_breaks_nothing_unless_it_is_asked_for() -> None:
    old = TableSchema((TableColumn("n", "Int64", promised=False),))
    for columns in ((), (TableColumn("n", "String"),), (N,), (TableColumn("x", "Int8", nullable=False),)):
        new = TableSchema(columns)
        assert not breaking(old, new, Compatibility.FULL)
        assert breaking(old, new, Compatibility.FULL, unpromised=True)


words = st.sampled_from(["Int64", "String", "Date"])
schemas = st.lists(
    st.builds(TableColumn, st.sampled_from("abcAB"), words, st.booleans(), st.booleans(), st.sampled_from(["", "x"])),
    unique_by=lambda column: column.name.lower(),
    max_size=4,
).map(lambda columns: TableSchema(tuple(columns)))


@given(schemas, schemas)
def test_full_is_backward_and_forward_and_the_modes_mirror_each_other(old: TableSchema, new: TableSchema) -> None:
    backward, forward = (breaking(old, new, mode) for mode in (Compatibility.BACKWARD, Compatibility.FORWARD))
    full = breaking(old, new, Compatibility.FULL)
    assert set(full) == {*backward, *forward}
    assert breaking(old, new, Compatibility.NONE) == []
    # What can be read as the other one, the other way round: as both promise all that they have.
    old, new = (TableSchema(tuple(TableColumn(c.name, c.type, c.nullable) for c in one.columns)) for one in (old, new))
    there, back = (
        bool(breaking(*pair, mode))
        for pair, mode in (((old, new), Compatibility.FORWARD), ((new, old), Compatibility.BACKWARD))
    )
    if old.columns and {c.name for c in old.columns} <= {c.name for c in new.columns}:
        assert back <= there or not there, "who may read the new as the old may read it before"


@given(schemas, schemas)
def test_differences_are_there_where_and_only_where_schemas_differ(old: TableSchema, new: TableSchema) -> None:
    assert (old.version == new.version) == (not differences(old, new))
    assert TableSchema.from_text(old.text) == old
