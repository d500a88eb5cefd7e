"""Where pages are: addresses that hold behind any prefix, on any server and as files."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final, final
from urllib.parse import quote

from lakehouse.definitions.asset import Asset
from lakehouse.lake import asset_page as asset_page

OVERVIEW: Final = "index.html"
RUNS: Final = "runs.html"
PLAN: Final = "plan.html"


def numbered(name: str, page: int) -> str:
    """The file of one page of a table.

    Examples:
        >>> numbered("index.html", 1), numbered("index.html", 2)
        ('index.html', 'index-2.html')
    """
    return name if page == 1 else name.replace(".", f"-{page}.", 1)


def partition_page(asset: Asset, ordinal: int) -> str:
    """The file of a partition's page, from the root; its name is what storage calls the partition."""
    return f"partitions/{asset.key}/{asset.partitions.token(ordinal)}.html"


def run_page(run: str) -> str:
    """The file of a run's page, from the root."""
    return f"runs/{run}.html"


def static(name: str) -> str:
    """A file that pages share, from the root."""
    return f"static/{name}"


@final
@dataclass(frozen=True)
class Links:
    """Addresses as a page that lies so and so deep has to write them.

    Parameters:
        up: what leads from the page to the root: empty, ``../`` or ``../../``
        there: the pages that there are besides overviews and assets; None: all that are asked for
    """

    up: str
    there: Container[str] | None = None

    @classmethod
    def of(cls, page: str, there: Container[str] | None = None) -> Links:
        """Those of a page."""
        return cls("../" * page.count("/"), there)

    def to(self, page: str) -> str:
        """The address of a page, or of a file that pages share."""
        return self.up + quote(page)

    def asset(self, key: str) -> str:
        """The address of an asset's page."""
        return self.to(asset_page(key))

    def partition(self, asset: Asset, ordinal: int) -> str | None:
        """The address of a partition's page; None: there is none."""
        return self._if_there(partition_page(asset, ordinal)) if asset.partitioned else None

    def run(self, run: str) -> str | None:
        """The address of a run's page; None: there is none."""
        return self._if_there(run_page(run)) if run else None

    def _if_there(self, page: str) -> str | None:
        return self.to(page) if self.there is None or page in self.there else None
