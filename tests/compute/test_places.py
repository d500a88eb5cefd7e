"""Places on this machine: this process, and one of its own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from lakehouse.compute.place import Place
from lakehouse.compute.process import OwnProcess
from lakehouse.execution.carry_out import InThisProcess
from lakehouse.testing import PlaceConformance


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
