"""Selections: a few words that name many assets."""

from typing import Any

import pytest

from lakehouse import AssetGraph, bronze, gold, silver
from lakehouse.definitions.selection import select
from lakehouse.errors import SelectionError, UnknownAsset


@bronze(tags=["daily", "air"], owners=["ann@x.org"], group="air")
def raw_flights() -> None: ...


@bronze(tags=["daily"], owners=["bob@x.org"], group="sky")
def raw_weather() -> None: ...


@silver(tags=["air"], group="air")
def flights(raw_flights: Any) -> None: ...


@silver(owners=["ann@x.org"])
def weather(raw_weather: Any) -> None: ...


@gold(tags=["daily"])
def delays(flights: Any, weather: Any) -> None: ...


@gold
def carriers(flights: Any) -> None: ...


GRAPH = AssetGraph([delays, carriers])
RF, RW, F, W, D, C = (
    "bronze.raw_flights",
    "bronze.raw_weather",
    "silver.flights",
    "silver.weather",
    "gold.delays",
    "gold.carriers",
)
ALL = {RF, RW, F, W, D, C}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        # one asset, a pattern, a layer
        ("silver.flights", {F}),
        ("  silver.flights  ", {F}),
        ("gold.*", {D, C}),
        ("*.raw_*", {RF, RW}),
        ("*flights", {RF, F}),
        ("silver.?eather", {W}),
        ("*.[cd]*", {C, D}),
        ("*", ALL),
        ("gold", {D, C}),
        ("bronze", {RF, RW}),
        # words that assets bear
        ("tag:daily", {RF, RW, D}),
        ("tag:a*", {RF, F}),
        ("group:air", {RF, F}),
        ("group:*", {RF, RW, F}),
        ("owner:ann@x.org", {RF, W}),
        ("owner:*@x.org", {RF, RW, W}),
        ("layer:silver", {F, W}),
        # reach
        ("+silver.flights", {RF, F}),
        ("silver.flights+", {F, D, C}),
        ("+silver.flights+", {RF, F, D, C}),
        ("+gold.*", ALL),
        ("bronze+", ALL),
        ("+gold.carriers", {RF, F, C}),
        ("tag:air+", {RF, F, D, C}),
        ("+group:sky", {RW}),
        ("bronze.raw_weather+", {RW, W, D}),
        # combinations
        ("gold or bronze", {D, C, RF, RW}),
        ("gold, bronze", {D, C, RF, RW}),
        ("gold,bronze", {D, C, RF, RW}),
        ("gold bronze", {D, C, RF, RW}),
        ("tag:daily and bronze", {RF, RW}),
        ("not gold", {RF, RW, F, W}),
        ("not not gold", {D, C}),
        ("tag:daily and not bronze", {D}),
        ("+gold.* and not gold", {RF, RW, F, W}),
        ("(gold or bronze) and tag:air", {RF}),
        ("not (gold or bronze)", {F, W}),
        ("((silver.flights))", {F}),
        ("(gold)(bronze)", {D, C, RF, RW}),
        # "not" binds tighter than "and", "and" than "or", comma and space
        ("not gold and tag:daily", {RF, RW}),
        ("gold or bronze and tag:air", {D, C, RF}),
        ("gold, bronze and tag:air", {D, C, RF}),
        ("gold bronze and tag:air", {D, C, RF}),
        ("bronze and tag:air or gold", {RF, D, C}),
        ("not gold or gold", ALL),
    ],
)
def test_a_selection_names_assets(selection: str, expected: set[str]) -> None:
    found = select(GRAPH, selection)
    assert {asset.key for asset in found} == expected
    assert [a.key for a in found] == [key for key in GRAPH.assets if key in expected]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (flights, {F}),
        ([flights, "gold.*"], {F, D, C}),
        (("+silver.weather", "silver.weather"), {RW, W}),
        ({"gold", "bronze"}, {D, C, RF, RW}),
        ([[flights], carriers], {F, C}),
    ],
)
def test_assets_and_several_selections_are_targets_too(targets: Any, expected: set[str]) -> None:
    assert {asset.key for asset in select(GRAPH, targets)} == expected


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ("silver.flihgts", ["'silver.flihgts'", "did you mean", "silver.flights"]),
        ("flights", ["'flights'", "silver.flights"]),
        ("gold or silver.wether", ["'silver.wether'", "silver.weather"]),
        ("SILVER", ["'SILVER'"]),
        ("platinum.*", ["'platinum.*'", "bronze.raw_flights"]),
        ("++gold.delays", ["'+gold.delays'", "gold.delays"]),
    ],
)
def test_an_unknown_asset_is_told_with_the_nearest(selection: str, says: list[str]) -> None:
    with pytest.raises(UnknownAsset) as caught:
        select(GRAPH, selection)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ("", "the selection is empty"),
        ("   ", "the selection is empty"),
        ("(gold", "a parenthesis is not closed"),
        ("(gold or (bronze)", "a parenthesis is not closed"),
        ("gold)", "')' is not expected there"),
        ("()", "a name is missing before ')'"),
        ("gold and", "ends where a name should stand"),
        ("gold or", "ends where a name should stand"),
        ("gold,", "ends where a name should stand"),
        ("not", "ends where a name should stand"),
        ("and gold", "a name is missing before 'and'"),
        (", gold", "a name is missing before ','"),
        ("gold and or bronze", "a name is missing before 'or'"),
        ("+", "'+' names nothing"),
        ("++", "'++' names nothing"),
        ("kind:x", "there are tag:, group:, owner:, layer:"),
        ("tag:dayly", "no asset has the tag 'dayly'; there are air, daily"),
        ("tag:", "no asset has the tag ''"),
        ("group:", "no asset has the group ''"),
        ("owner:eve", "there are ann@x.org, bob@x.org"),
        ("gold and bronze", "'gold and bronze' selects no asset"),
        ("not *", "selects no asset"),
        ([], "[] selects no asset"),
        (5, "5 is no asset"),
        (None, "None is no asset"),
        ([None], "None is no asset"),
    ],
)
def test_what_can_not_be_read_or_names_nothing_says_so(selection: Any, says: str) -> None:
    with pytest.raises(SelectionError) as caught:
        select(GRAPH, selection)
    assert says in str(caught.value)


def test_the_nearest_word_is_told() -> None:
    with pytest.raises(SelectionError) as caught:
        select(GRAPH, "tag:dayly")
    assert caught.value.hint == "did you mean daily?"


def test_a_layer_without_assets_selects_nothing() -> None:
    with pytest.raises(SelectionError, match="'gold' selects no asset"):
        select(AssetGraph([flights]), "gold")


def test_an_asset_of_another_graph_is_not_there() -> None:
    with pytest.raises(UnknownAsset, match=r"gold\.carriers"):
        select(AssetGraph([weather]), carriers)
