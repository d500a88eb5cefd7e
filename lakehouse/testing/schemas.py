"""The conformance suite that every schema registry passes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from lakehouse.schemas.columns import TableColumn, TableSchema
from lakehouse.schemas.compatibility import Compatibility
from lakehouse.schemas.registry import SchemaRegistry

ONE = TableSchema((TableColumn("n", "Int64", nullable=False, description="a number"), TableColumn("day", "Date")))
TWO = TableSchema((*ONE.columns, TableColumn("dep time", "Datetime(time_unit='us', time_zone='UTC')", promised=False)))
"""The same with one more column, whose name few have a word for."""
OTHER = TableSchema((TableColumn("n", "String"),))
ASSET = "silver.flights"


def schema_of(types: dict[str, str]) -> TableSchema:
    """A schema of nullable columns.

    Parameters:
        types: polars' words for their types, by name

    Examples:
        >>> schema_of({"n": "Int64"}).columns[0].nullable
        True
    """
    return TableSchema(tuple(TableColumn(name, word) for name, word in types.items()))


class SchemaRegistryConformance:
    """What every schema registry has to do: subclass it, with a fixture ``registry`` that gives an empty one."""

    def test_nothing_is_registered_at_first(self, registry: SchemaRegistry) -> None:
        assert registry.latest(ASSET) is None
        assert registry.versions(ASSET) == []

    def test_versions_are_numbered_from_one_and_come_back_as_they_were(self, registry: SchemaRegistry) -> None:
        assert registry.register(ASSET, ONE) == 1
        assert registry.register(ASSET, TWO, mode=Compatibility.FULL) == 2
        found = registry.versions(ASSET)
        assert [one.number for one in found] == [1, 2]
        assert [one.schema.by_name for one in found] == [ONE.by_name, TWO.by_name]
        assert [one.schema.version for one in found] == [ONE.version, TWO.version]
        latest = registry.latest(ASSET)
        assert latest is not None
        assert (latest.number, latest.schema.version) == (2, TWO.version)

    def test_what_is_registered_keeps_its_number(self, registry: SchemaRegistry) -> None:
        assert [registry.register(ASSET, one) for one in (ONE, ONE, TWO, ONE, TWO)] == [1, 1, 2, 1, 2]
        reordered = TableSchema(tuple(reversed(ONE.columns)))
        assert registry.register(ASSET, reordered) == 1, "the order of columns means nothing"
        assert len(registry.versions(ASSET)) == 2

    def test_what_was_let_through_is_registered_whatever_it_breaks(self, registry: SchemaRegistry) -> None:
        registry.register(ASSET, ONE, mode=Compatibility.FULL)
        assert registry.register(ASSET, OTHER) == 2
        # What comes after goes by the rule again.
        more = TableSchema((*OTHER.columns, TableColumn("more", "Int8")))
        assert registry.register(ASSET, more, mode=Compatibility.FULL) == 3

    def test_assets_are_apart(self, registry: SchemaRegistry) -> None:
        assert registry.register(ASSET, ONE) == 1
        assert registry.register("gold.flights", OTHER) == 1
        assert [one.schema.version for one in registry.versions(ASSET)] == [ONE.version]
        assert [one.schema.version for one in registry.versions("gold.flights")] == [OTHER.version]

    def test_types_of_all_kinds_are_kept_by_their_own_words(self, registry: SchemaRegistry) -> None:
        words = (
            "Boolean", "Int8", "UInt8", "UInt64", "Float32", "String", "Binary", "Date", "Categorical", "",
            "Datetime(time_unit='us', time_zone=None)", "Datetime(time_unit='us', time_zone='UTC')",
            "Decimal(precision=10, scale=2)", "Enum(categories=['a', 'b'])", "Time", "Duration(time_unit='us')",
            "List(Struct({'a b': Int64, 'c': List(String)}))", "Array(Int8, shape=(2, 3))", "Map(String, Int64)",
        )  # fmt: skip
        schema = schema_of({f"Größe {number}": word for number, word in enumerate(words)})
        registry.register(ASSET, schema)
        assert [one.schema.by_name for one in registry.versions(ASSET)] == [schema.by_name]

    def test_columns_may_have_any_names(self, registry: SchemaRegistry) -> None:
        names = ("a", "A_", "_", "1", "a b", "a_b", "a-b", "ä", "日", '"', "\\", "_61", "x" * 300, "")
        schema = schema_of(dict.fromkeys(names, "Int64"))
        registry.register(ASSET, schema)
        assert [one.schema.by_name for one in registry.versions(ASSET)] == [schema.by_name]

    def test_several_that_register_at_once_agree_on_the_numbers(self, registry: SchemaRegistry) -> None:
        wanted = [schema_of({"n": "Int64", **{f"m{i}": "Int8" for i in range(size)}}) for size in (1, 2, 3)] * 3
        with ThreadPoolExecutor(4) as pool:
            given = list(pool.map(lambda one: registry.register(ASSET, one), wanted))
        assert sorted(set(given)) == [1, 2, 3]
        by_number = {one.number: one.schema.version for one in registry.versions(ASSET)}
        assert [by_number[number] for number in given] == [one.version for one in wanted]
