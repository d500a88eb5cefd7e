"""Files that are needed until a candidate is staged, and by nobody after that."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Self, final

from lakehouse.io.layout import staged_folder

if TYPE_CHECKING:
    from lakehouse.io.delta import DeltaLakeTable
    from lakehouse.io.tables import Table, TableReader


@final
class Scratch:
    """Where frames of engines that speak by files are put down. What is there goes at the end of the ``with`` block.

    Parameters:
        table: the table of what is made, for what several machines have to see; None: there is only this one
        attempt: what is put there is named after

    Examples:
        >>> from pathlib import Path
        >>> with Scratch() as scratch:
        ...     table = scratch.near()
        ...     there = Path(table.uri.removeprefix("file://")).parent.exists()
        >>> there, Path(table.uri.removeprefix("file://")).parent.exists()
        (True, False)
    """

    def __init__(self, table: Callable[[], TableReader] | None = None, attempt: str = "") -> None:
        self._table = table
        self._attempt = attempt
        self._near: str | None = None
        self._far: DeltaLakeTable | None = None
        self._used = 0

    def near(self) -> Table:
        """A table of its own on this machine, not partitioned, that nothing is in yet."""
        from lakehouse.io.open import open_table

        if self._near is None:
            self._near = tempfile.mkdtemp(prefix="lakehouse-")
        self._used += 1
        return open_table(self._near, str(self._used), partitioned=False)

    def far(self) -> Table | None:
        """Likewise, where all machines see it: below the table of what is made; None: it lies in no such place."""
        from lakehouse.io.delta import DeltaLakeTable

        table = self._table() if self._table is not None else None
        if not isinstance(table, DeltaLakeTable):
            return None
        self._far = table
        self._used += 1
        return DeltaLakeTable(table.location.child(self._folder, str(self._used)), partitioned=False)

    @property
    def _folder(self) -> str:
        return staged_folder(f"{self._attempt}-scratch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._near is not None:
            shutil.rmtree(self._near, ignore_errors=True)
        if self._far is not None:
            with suppress(Exception):  # it takes space, and goes with what killed runs leave behind
                self._far.discard(f"{self._attempt}-scratch")
