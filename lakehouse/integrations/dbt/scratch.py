"""Where dbt builds: a database of one call's own, which no reader looks into."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final

from lakehouse.definitions.builder import BuildRequest
from lakehouse.partitions import PartitionSet

if TYPE_CHECKING:
    import polars as pl

_OLD = 24 * 60 * 60


@final
@dataclass(frozen=True)
class Load:
    """Partitions of an input that have to be there before dbt begins.

    Parameters:
        node: the unique id of the node that dbt will look for
        request: for whom
        parameter: the request's name for the input
        partitions: which partitions
        beside: whether dbt makes other partitions of the same node in this call, which these are to join
    """

    node: str
    request: BuildRequest
    parameter: str
    partitions: PartitionSet
    beside: bool


class Scratch(Protocol):
    """Where dbt builds for one call."""

    @property
    def folder(self) -> Path:
        """A folder on disk that is its own."""
        ...

    @property
    def output(self) -> Mapping[str, Any]:
        """What dbt's profile says of it."""
        ...

    def settle(self, node: Any) -> None:
        """Have dbt make a node here and nowhere else."""
        ...

    def fill(self, manifest: Any, loads: Iterable[Load]) -> None:
        """Put inputs where dbt looks for them; what is loaded into one node adds up."""
        ...

    def close(self) -> None:
        """Have dbt let go of it."""
        ...

    def rows(self, node: Any, promised: Mapping[str, Any]) -> pl.LazyFrame:
        """What dbt made of a node; readable until it is removed.

        Parameters:
            node: the node
            promised: the types of its columns, as far as they are known

        Raises:
            StepError: it can't be read
        """
        ...

    def announce(self) -> None:
        """Have other engines find what is published of it by now."""
        ...

    def remove(self) -> None:
        """Leave nothing behind."""
        ...


def sweep(work: Path) -> None:
    """Remove what killed processes left behind of scratch folders, a day ago or earlier."""
    for folder in work.glob("scratch-*"):
        with suppress(OSError):  # another run may be at it
            if time.time() - folder.stat().st_mtime > _OLD:
                shutil.rmtree(folder)


def digest(requests: Sequence[BuildRequest]) -> str:
    """What tells a call's run, requests and attempt from others."""
    text = "\n".join(f"{o.context.run_id} {o.asset.key} {o.partitions.spans} {o.context.attempt}" for o in requests)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
