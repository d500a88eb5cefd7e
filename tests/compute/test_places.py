"""Places on this machine: this process, and one of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lakehouse.compute.place import Place
from lakehouse.compute.process import OwnProcess
from lakehouse.execution.carry_out import InThisProcess
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.testing import PlaceConformance
from lakehouse.testing.places import PlacedLakehouse, doubled, script_in


class TestThisProcess(PlaceConformance):
    apart: ClassVar[bool] = False

    @pytest.fixture
    def place(self) -> Place:
        return InThisProcess()


class TestThisProcessInMemory(PlaceConformance):
    apart: ClassVar[bool] = False

    @pytest.fixture
    def place(self) -> Place:
        return InThisProcess()

    @pytest.fixture
    def storage(self, tmp_path: Path) -> str:
        return f"memory://{tmp_path.name}"


@pytest.mark.slow
class TestOwnProcess(PlaceConformance):
    @pytest.fixture
    def place(self) -> Place:
        return OwnProcess()


def test_an_order_costs_a_handful_of_small_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of rows and partitions: what it takes besides is the other end's own start."""
    asked: Counter[str] = Counter()
    for name in ("put_note", "note", "restaged"):
        monkeypatch.setattr(DeltaLakeTable, name, counting(getattr(DeltaLakeTable, name), asked))
    counts = []
    for days in ("2013-01-01", "2013-01-01...2013-01-08"):
        asked.clear()
        folder = tmp_path / days
        folder.mkdir()
        lake = PlacedLakehouse([doubled], storage=str(folder / "data"), lineage=f"sqlite:///{folder}/facts.db")
        lake.elsewhere = InThisProcess()
        with script_in(folder, {}):
            lake.materialize("bronze.numbers", days, engine="inline")
        counts.append(dict(asked))
    # The order and its manifest are written once; each end looks for what the other one has left. What is staged is
    # read back by the one that ordered it.
    assert counts == [{"put_note": 2, "note": 4, "restaged": 1}] * 2


def counting(method: Callable[..., Any], asked: Counter[str]) -> Callable[..., Any]:
    def counted(*given: Any, **more: Any) -> Any:
        asked[method.__name__] += 1
        return method(*given, **more)

    return counted


def test_a_process_that_is_out_of_memory_is_told(tmp_path: Path) -> None:
    """The core of a place of its own, for those who leave out the slow suite."""
    lake = PlacedLakehouse([doubled], storage=str(tmp_path / "data"), lineage=f"sqlite:///{tmp_path}/facts.db")
    lake.elsewhere = OwnProcess()
    with script_in(tmp_path, {"2013-01-02": "kill"}):
        run = lake.materialize("bronze.numbers", "2013-01-02", engine="inline", raise_on_failure=False)
    (result,) = run.results
    assert "its process was killed by SIGKILL, as a system does that is out of memory" in str(result.error)
    assert lake.table(lake.graph["bronze.numbers"]).version() is None
