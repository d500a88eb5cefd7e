from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Asset, Lakehouse
from lakehouse.integrations.dbt import DbtProject
from tests.dbt.toys import ALL, SHOP, WORLD, doubled, write


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the module's own, and the current one: dbt's files go below it."""
    folder = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def shop(here: Path) -> DbtProject:
    """The whole shop, parsed once."""
    return DbtProject(write(here / "shop", SHOP), sources=ALL)


@pytest.fixture(scope="module")
def models(shop: DbtProject) -> dict[str, Asset]:
    return {asset.name: asset for asset in shop.assets}


@pytest.fixture
def spoil() -> Iterator[Callable[..., None]]:
    """Set what is wrong with the source from now on."""

    def set_world(**faults: list[str]) -> None:
        WORLD.clear()
        WORLD.update({name.replace("_", " "): days for name, days in faults.items()})

    set_world()
    yield set_world
    set_world()


def lake_in(folder: Path, assets: Any) -> Lakehouse:
    return Lakehouse(assets, storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")


@pytest.fixture
def lake(shop: DbtProject, tmp_path: Path, spoil: Callable[..., None]) -> Lakehouse:
    """The shop in an empty home."""
    return lake_in(tmp_path, [*shop.assets, doubled])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The variables of each build that dbt is asked for."""
    seen: list[dict[str, Any]] = []
    real = DbtProject._invoke

    def invoke(self: DbtProject, manifest: Any, command: Any, scratch: Any, variables: Any = None) -> Any:
        if command[0] == "build":
            seen.append(dict(variables or {}))
        return real(self, manifest, command, scratch, variables)

    monkeypatch.setattr(DbtProject, "_invoke", invoke)
    return seen


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """However a test ends, no scratch database is left."""
    yield
    assert list(Path(".lakehouse").glob("dbt/*/scratch-*")) == []
