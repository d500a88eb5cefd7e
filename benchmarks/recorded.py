"""A table that isn't there, for benchmarks of lineage and planning alone."""

from __future__ import annotations

from lakehouse.io import Publication
from lakehouse.lineage import Fact


class Recorded:
    """A table of which lineage knows everything.

    Parameters:
        newest: the facts of its newest publications
    """

    uri = "table"

    def __init__(self, newest: list[Fact]) -> None:
        self.newest = newest

    def publications(self, *, after: int | None = None) -> list[Publication]:
        return [
            Publication(version=fact.version or 0, payload=f'[{{"id":"{fact.id}"}}]', mark="") for fact in self.newest
        ]
