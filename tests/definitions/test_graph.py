"""Graphs: what fits together, and one error for each way in which assets don't."""

import random
from itertools import pairwise, permutations, product
from typing import Annotated, Any

import polars as pl
import pytest

from lakehouse import (
    Asset,
    AssetGraph,
    Daily,
    From,
    Hourly,
    Layer,
    Monthly,
    Static,
    Unpartitioned,
    bronze,
    gold,
    silver,
    source,
)
from lakehouse.checks import reconcile
from lakehouse.errors import (
    AmbiguousInput,
    CycleError,
    DefinitionError,
    DuplicateAsset,
    GraphError,
    LayerViolation,
    PartitionMismatch,
    UnknownAsset,
    UnknownInput,
)
from lakehouse.partitions import Partitions

MAKE: dict[Layer, Any] = {Layer.SOURCE: source, Layer.BRONZE: bronze, Layer.SILVER: silver, Layer.GOLD: gold}


def asset(key: str, *inputs: str | Asset, **keywords: Any) -> Asset:
    """An asset with inputs: parameters by name, or ``name=layer.name``, or assets outright."""
    layer, _, name = key.partition(".")
    annotations: dict[str, Any] = {}
    names = []
    for given in inputs:
        if isinstance(given, Asset):
            names.append(given.name)
            annotations[given.name] = Annotated[pl.LazyFrame, From(given)]
        else:
            parameter, says, named = given.partition("=")
            names.append(parameter)
            if says:
                annotations[parameter] = Annotated[pl.LazyFrame, From(named)]
    namespace: dict[str, Any] = {"__name__": "somewhere"}
    exec(f"def {name}({', '.join(names)}): ...", namespace)
    function = namespace[name]
    function.__annotations__ = annotations
    made: Asset = MAKE[Layer(layer)](**keywords)(function)
    return made


def keys(found: Any) -> list[str]:
    return [a.key for a in found]


def diamond() -> list[Asset]:
    return [
        asset("bronze.raw"),
        asset("silver.left", "raw"),
        asset("silver.right", "raw"),
        asset("gold.top", "left", "right"),
        asset("gold.tip", "top"),
        asset("bronze.lonely"),
    ]


# ── what fits ─────────────────────────────────────────────────────────────────────────────


def test_a_graph_knows_who_is_made_from_whom() -> None:
    graph = AssetGraph(diamond())
    assert len(graph) == 6
    assert keys(graph.ancestors("gold.top")) == ["bronze.raw", "silver.left", "silver.right"]
    assert keys(graph.ancestors("bronze.raw")) == []
    assert keys(graph.descendants("bronze.raw")) == ["silver.left", "silver.right", "gold.top", "gold.tip"]
    assert keys(graph.descendants("gold.tip")) == []
    assert keys(graph.consumers("bronze.raw")) == ["silver.left", "silver.right"]
    assert [(e.parameter.name, e.asset.key) for e in graph.inputs("gold.top")] == [
        ("left", "silver.left"),
        ("right", "silver.right"),
    ]
    assert graph.inputs("bronze.lonely") == ()
    assert graph["gold.tip"] is graph[graph["gold.tip"]]
    assert "gold.tip" in graph
    assert graph["gold.tip"] in graph
    assert "gold.none" not in graph


def test_producers_come_before_consumers() -> None:
    graph = AssetGraph(diamond())
    place = {key: i for i, key in enumerate(graph.assets)}
    for one in graph:
        assert all(place[edge.asset.key] < place[one.key] for edge in graph.inputs(one))


def test_the_order_of_declaration_does_not_matter() -> None:
    assets = diamond()
    expected = keys(AssetGraph(assets))
    for order in random.Random(1).sample(list(permutations(assets)), 30):
        assert keys(AssetGraph(order)) == expected


def test_what_an_asset_depends_on_comes_along() -> None:
    raw = asset("bronze.raw")
    clean = asset("silver.clean", raw)
    top = asset("gold.top", clean)
    assert keys(AssetGraph([top])) == ["bronze.raw", "silver.clean", "gold.top"]
    assert keys(AssetGraph([top, raw, top])) == ["bronze.raw", "silver.clean", "gold.top"]


def test_an_empty_graph_is_a_graph() -> None:
    assert len(AssetGraph([])) == 0


def test_an_asset_may_be_two_inputs() -> None:
    raw = asset("bronze.raw")
    graph = AssetGraph([asset("silver.both", "one=bronze.raw", "two=bronze.raw"), raw])
    assert [e.asset for e in graph.inputs("silver.both")] == [raw, raw]
    assert keys(graph.consumers(raw)) == ["silver.both"]


def test_a_name_may_be_used_in_each_layer() -> None:
    graph = AssetGraph(
        [
            asset("bronze.flights"),
            asset("silver.flights", "flights=bronze.flights"),
            asset("gold.flights", "flights=silver.flights"),
        ]
    )
    assert keys(graph) == ["bronze.flights", "silver.flights", "gold.flights"]


def test_a_parameter_of_an_assets_own_name_is_the_other_one_of_that_name() -> None:
    raw = asset("bronze.flights")
    clean = asset("silver.flights", "flights")
    assert AssetGraph([clean, raw]).inputs(clean)[0].asset is raw


def test_a_functions_module_says_what_a_parameter_means() -> None:
    inner, outer = asset("bronze.raw"), asset("silver.raw")
    clean = asset("silver.clean", "raw")
    clean.function.__globals__["raw"] = inner
    assert AssetGraph([clean, outer]).inputs(clean)[0].asset is inner


def test_a_module_may_hold_an_asset_under_another_name() -> None:
    raw = asset("bronze.raw")
    clean = asset("silver.clean", "trips")
    clean.function.__globals__["trips"] = raw
    assert AssetGraph([clean]).inputs(clean)[0].asset is raw


def test_an_asset_that_is_there_twice_is_there_once() -> None:
    raw = asset("bronze.raw")
    assert keys(AssetGraph([raw, raw])) == ["bronze.raw"]


# ── what does not ─────────────────────────────────────────────────────────────────────────


def test_two_assets_with_one_key_are_refused() -> None:
    with pytest.raises(DuplicateAsset) as caught:
        AssetGraph([asset("bronze.raw"), asset("bronze.raw")])
    assert "two assets are named bronze.raw: in somewhere, line 1 and in somewhere, line 1" in str(caught.value)


def test_a_twin_that_comes_along_is_refused_too() -> None:
    clean = asset("silver.clean", asset("bronze.raw"))
    with pytest.raises(DuplicateAsset, match=r"bronze\.raw"):
        AssetGraph([clean, asset("bronze.raw")])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("flihgts", ["silver.clean", "'flihgts'", "somewhere", "bronze.flights", "did you mean flights?"]),
        ("zebra", ["'zebra'", "import the asset there", "zebra: Annotated[..., From(asset)]"]),
        ("x=bronze.flihgts", ["'x'", "'bronze.flihgts'", "did you mean bronze.flights or bronze.weather?"]),
        ("x=flights", ["'flights'"]),
    ],
)
def test_an_unknown_input_is_told_with_the_nearest(given: str, says: list[str]) -> None:
    with pytest.raises(UnknownInput) as caught:
        AssetGraph([asset("bronze.flights"), asset("bronze.weather"), asset("silver.clean", given)])
    for words in says:
        assert words in str(caught.value)


def test_an_input_where_there_is_no_asset_at_all_is_told() -> None:
    with pytest.raises(UnknownInput, match=r"holds no asset 'raw'; assets there: silver\.clean"):
        AssetGraph([asset("silver.clean", "raw")])


def test_an_ambiguous_parameter_is_told_with_what_it_could_be() -> None:
    with pytest.raises(AmbiguousInput) as caught:
        AssetGraph([asset("bronze.flights"), asset("silver.flights"), asset("gold.top", "flights")])
    assert "'flights' of gold.top could be bronze.flights or silver.flights" in str(caught.value)
    assert 'flights: Annotated[..., From("bronze.flights")]' in str(caught.value)


def test_an_asset_that_is_made_from_itself_is_a_circle() -> None:
    with pytest.raises(CycleError, match=r"silver\.own <- silver\.own"):
        AssetGraph([asset("silver.own", "own=silver.own")])


def test_a_circle_is_told_whole() -> None:
    with pytest.raises(CycleError) as caught:
        AssetGraph([asset("silver.a", "b"), asset("silver.b", "c"), asset("silver.c", "a"), asset("silver.d", "a")])
    circle = str(caught.value).partition("circle: ")[2].partition("\n")[0].split(" <- ")
    assert len(circle) == 4
    assert circle[0] == circle[-1]
    assert set(circle) == {"silver.a", "silver.b", "silver.c"}
    made_from = {"silver.a": "silver.b", "silver.b": "silver.c", "silver.c": "silver.a"}
    assert all(made_from[down] == up for down, up in pairwise(circle))


READS = {Layer.BRONZE: ("source",), Layer.SILVER: ("bronze", "silver"), Layer.GOLD: ("silver", "gold")}


@pytest.mark.parametrize(("down", "up"), list(product(Layer, Layer)))
def test_layers_read_only_what_they_may(down: Layer, up: Layer) -> None:
    producer = asset(f"{up}.producer")
    if down is Layer.SOURCE:
        with pytest.raises(DefinitionError, match="what looks at a source takes nothing"):
            asset("source.consumer", "producer")
        return
    consumer = asset(f"{down}.consumer", "producer")
    if up in READS[down]:
        assert len(AssetGraph([consumer, producer])) == 2
        return
    with pytest.raises(LayerViolation) as caught:
        AssetGraph([consumer, producer])
    assert f"{down}.consumer reads {up}.producer, but {down} may read" in str(caught.value)
    assert "move consumer or producer to another layer" in str(caught.value)
    if down is Layer.BRONZE:
        assert "sources alone" in str(caught.value)


DAILY = Daily("2013-01-01", column="d")


@pytest.mark.parametrize(
    ("down", "up", "says"),
    [
        (DAILY, Daily("2014-01-01", column="d"), "its input only at 2014-01-01"),
        (DAILY, Static(["a"], column="k"), "can't be made from static ones"),
        (Static(["a", "b"], column="k"), Static(["a"], column="k"), "no partitions b"),
        (DAILY, Daily("2013-01-01", end="2014-01-01", column="d"), "its input already at 2014-01-01"),
        (DAILY, Hourly("2013-01-01T01:00", column="h"), "it begins at 2013-01-01"),
    ],
)
def test_partitions_that_do_not_fit_are_refused(down: Partitions, up: Partitions, says: str) -> None:
    with pytest.raises(PartitionMismatch) as caught:
        AssetGraph([asset("bronze.up", partitions=up), asset("silver.down", "up", partitions=down)])
    assert f"silver.down ({down}) can't be made from bronze.up ({up})" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (DAILY, Hourly("2013-01-01T00:00", column="h")),
        (Hourly("2013-01-01T00:00", column="h"), DAILY),
        (Monthly("2013-01", column="m"), DAILY),
        (Unpartitioned(), DAILY),
        (DAILY, Unpartitioned()),
        (Static(["b"], column="k"), Static(["a", "b"], column="k")),
    ],
)
def test_partitions_that_fit_are_taken(down: Partitions, up: Partitions) -> None:
    assert len(AssetGraph([asset("bronze.up", partitions=up), asset("silver.down", "up", partitions=down)])) == 2


def test_a_check_that_compares_with_what_is_no_input_is_refused() -> None:
    graph = AssetGraph([asset("bronze.raw"), asset("silver.clean", "raw", checks=[reconcile("raw")])])
    assert len(graph) == 2
    with pytest.raises(UnknownInput) as caught:
        AssetGraph([asset("bronze.raw"), asset("silver.clean", "raw", checks=[reconcile("rwa")])])
    assert "the check 'reconcile(rwa)' of silver.clean compares with 'rwa'" in str(caught.value)
    assert "did you mean raw?" in str(caught.value)


@pytest.mark.parametrize("given", [5, "silver.flights", lambda: None])
def test_what_is_no_asset_is_in_no_graph(given: Any) -> None:
    with pytest.raises(DefinitionError, match="is no asset"):
        AssetGraph([given])


def test_an_asset_that_is_not_there_is_told_with_the_nearest() -> None:
    graph = AssetGraph(diamond())
    for verb in (graph.__getitem__, graph.inputs, graph.ancestors, graph.descendants, graph.consumers):
        with pytest.raises(UnknownAsset) as caught:
            verb("gold.tob")
        assert "there is no asset 'gold.tob'" in str(caught.value)
        assert "gold.top" in str(caught.value.hint)
    with pytest.raises(UnknownAsset):
        graph[asset("gold.other")]


def test_every_fault_of_a_graph_is_a_graph_error() -> None:
    for fault in (AmbiguousInput, CycleError, DuplicateAsset, LayerViolation, PartitionMismatch, UnknownInput):
        assert issubclass(fault, GraphError)
