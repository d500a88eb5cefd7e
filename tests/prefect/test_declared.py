"""What assets declare, as deployments: no server is asked."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse import Asset, AssetGraph, Freshness, bronze, gold, silver, source
from lakehouse.errors import DefinitionError
from lakehouse.integrations.prefect.deployments import declared


def named(make: Any, name: str, *inputs: Asset, **more: Any) -> Asset:
    """An asset with these inputs."""
    from lakehouse import From

    def function(**frames: Any) -> Any:
        return frames

    parameters = ", ".join(f"i{n}: Annotated[object, sources[{n}]]" for n in range(len(inputs)))
    space: dict[str, Any] = {"sources": [From(one) for one in inputs]}
    exec(f"from typing import Annotated\ndef {name}({parameters}): ...", space)
    asset = make(**more)(space[name])
    assert isinstance(asset, Asset)
    return asset


HOURLY = Freshness(every="1h")
NIGHTLY = Freshness(cron="0 2 * * *", timezone="Europe/Berlin")
AFTER = Freshness(after_inputs=True)


def told(*assets: Asset) -> dict[str, tuple[str, list[str]]]:
    return {d.name: (d.when, [asset.key for asset in d.assets]) for d in declared(AssetGraph(assets))}


def test_an_asset_that_declares_nothing_is_not_deployed() -> None:
    assert told(named(bronze, "a"), named(bronze, "b", freshness=Freshness(max_age="1d"))) == {}


def test_assets_of_a_group_with_one_schedule_are_one_deployment() -> None:
    a = named(bronze, "a", group="sales", freshness=HOURLY)
    b = named(silver, "b", a, group="sales", freshness=Freshness(every="60m", max_age="2h"))
    assert told(b) == {"refresh-sales": ("every 1h", ["bronze.a", "silver.b"])}


def test_assets_without_a_group_have_a_deployment_each() -> None:
    a, b = (named(bronze, name, freshness=HOURLY) for name in "ab")
    assert told(a, b) == {
        "refresh-bronze.a": ("every 1h", ["bronze.a"]),
        "refresh-bronze.b": ("every 1h", ["bronze.b"]),
    }


def test_a_group_with_two_schedules_has_two_deployments_with_names_of_their_own() -> None:
    a = named(bronze, "a", group="sales", freshness=HOURLY)
    b = named(silver, "b", a, group="sales", freshness=NIGHTLY)
    assert told(b) == {
        "refresh-sales-a": ("every 1h", ["bronze.a"]),
        "refresh-sales-b": ("cron 0 2 * * * Europe/Berlin", ["silver.b"]),
    }


def test_names_are_such_as_prefect_takes() -> None:
    assert list(told(named(bronze, "a", group="sales/eu & uk", freshness=HOURLY))) == ["refresh-sales-eu - uk"]


def test_two_groups_that_come_to_one_name_are_refused() -> None:
    a = named(bronze, "a", group="x/y", freshness=HOURLY)
    b = named(bronze, "b", group="x%y", freshness=HOURLY)
    with pytest.raises(DefinitionError, match=r"bronze\.a and bronze\.b would both be deployed as refresh-x-y"):
        told(a, b)


def test_after_inputs_means_those_from_outside() -> None:
    a = named(bronze, "a", freshness=HOURLY)
    b = named(silver, "b", a, group="sales", freshness=AFTER)
    c = named(gold, "c", b, group="sales", freshness=AFTER)
    assert told(c)["refresh-sales"] == ("after bronze.a", ["silver.b", "gold.c"])


def test_an_input_without_a_schedule_of_its_own_is_looked_through() -> None:
    a, other = (named(bronze, name, freshness=HOURLY) for name in ("a", "other"))
    between = named(silver, "between", a)
    own = named(silver, "own", other, freshness=NIGHTLY)
    c = named(gold, "c", between, own, freshness=AFTER)
    found = {d.name: d.inputs for d in declared(AssetGraph([c]))}["refresh-gold.c"]
    assert sorted(found) == ["bronze.a", "silver.between", "silver.own"]


def test_external_assets_are_deployed_apart_from_others_of_their_group() -> None:
    landing = named(source, "landing", group="intake", freshness=HOURLY)
    raw = named(bronze, "raw", landing, group="intake", freshness=HOURLY)
    assert told(raw) == {
        "observe-intake": ("every 1h", ["source.landing"]),
        "refresh-intake": ("every 1h", ["bronze.raw"]),
    }


def test_what_is_watched_is_deployed_by_itself() -> None:
    landing = named(source, "landing", group="intake", freshness=Freshness(watched=True))
    other = named(source, "other", group="intake", freshness=HOURLY)
    raw = named(bronze, "raw", landing, other, group="intake", freshness=AFTER)
    assert told(raw) == {
        "watch-intake": ("when something arrives", ["source.landing"]),
        "observe-intake": ("every 1h", ["source.other"]),
        "refresh-intake": ("after source.landing, source.other", ["bronze.raw"]),
    }


def test_after_inputs_without_inputs_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"bronze\.a can't be refreshed after its inputs: it has none"):
        told(named(bronze, "a", freshness=AFTER))


@pytest.mark.parametrize(
    ("every", "words"), [("90m", "90m"), ("36h", "36h"), ("14d", "14d"), ("1w", "7d"), ("45s", "45s"), ("24h", "1d")]
)
def test_intervals_are_told_as_people_write_them(every: str, words: str) -> None:
    assert told(named(bronze, "a", freshness=Freshness(every=every)))["refresh-bronze.a"][0] == f"every {words}"
