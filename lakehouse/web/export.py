"""``lakehouse catalog``: the pages as files, for any folder, any web server, any bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lakehouse.definitions.asset import Asset
from lakehouse.drawing.state import State
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.web import links
from lakehouse.web.look import Look, Looking
from lakehouse.web.pages import Pages, Shown, pages_of
from lakehouse.web.runs import newest
from lakehouse.web.server import STATIC, static_file

if TYPE_CHECKING:
    from lakehouse.lake import Lakehouse

LIST: Final = ".lakehouse-catalog"
"""What was written, a file a line: so that the next time what isn't written any more goes."""

_RUNS = 50
_MOST, _LEAST, _ALL = 40, 4, 3000
"""Pages of partitions: of an asset at most, at least, and of all."""


def write_catalog(lake: Lakehouse, folder: str | Path, shown: Shown, *, title: str = "lakehouse") -> list[Path]:
    """Write all pages. Rows are never among them; of partitions those that need attention, and the newest.

    Parameters:
        lake: the lakehouse
        folder: where to; made where it isn't there. What an earlier call wrote there and this one doesn't is removed
        shown: what may be shown
        title: what stands in the head of each page

    Returns:
        the files

    Raises:
        SettingsError: it can't be written to, or holds somebody else's pages

    Examples:
        >>> import tempfile
        >>> from lakehouse import Lakehouse, bronze
        >>> from lakehouse.testing import MemoryLineage
        >>> @bronze
        ... def numbers(): ...
        >>> lake = Lakehouse([numbers], storage="memory://", lineage=MemoryLineage())
        >>> [file.name for file in write_catalog(lake, tempfile.mkdtemp(), Shown())][:4]
        ['index.html', 'runs.html', 'plan.html', 'bronze.numbers.html']
    """
    root = Path(folder)
    try:
        former = _former(root)
        written = []
        for name, content in _files(lake, replace(shown, rows=False, exported=True), title):
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            written.append(name)
        for name in former - set(written):
            (root / name).unlink(missing_ok=True)
        (root / LIST).write_text("".join(f"{name}\n" for name in written), encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"the pages can't be written to {folder}: {error.strerror or error}",
            hint="name a folder that can be written to",
        ) from error
    return [root / name for name in written]


def _former(root: Path) -> set[str]:
    """What an earlier call wrote."""
    marker = root / LIST
    if not marker.is_file():
        if (root / links.OVERVIEW).exists():
            raise SettingsError(
                f"{root} holds an {links.OVERVIEW} that lakehouse has not written", hint="name an empty folder"
            )
        return set()
    names = marker.read_text(encoding="utf-8").splitlines()
    inside = root.resolve()
    return {name for name in names if name and (root / name).resolve().is_relative_to(inside)}


def _files(lake: Lakehouse, shown: Shown, title: str) -> Iterator[tuple[str, bytes]]:
    """Every file: its name, and what is in it."""
    look = Looking(lake).look()
    runs = dict(newest(lake.lineage_store, _RUNS))
    most = max(_LEAST, min(_MOST, _ALL // max(len(lake.graph), 1)))
    partitions = [
        (asset, ordinal) for asset in lake.graph if asset.partitioned for ordinal in _worth_a_page(look, asset, most)
    ]
    there = {links.run_page(run) for run in runs} | {links.partition_page(*one) for one in partitions}
    pages = Pages(title, shown, there)
    for page in range(1, pages_of(len(lake.graph)) + 1):
        yield links.numbered(links.OVERVIEW, page), pages.overview(look, page).encode()
    yield links.RUNS, pages.runs(look).encode()
    planned = 0 if isinstance(look.plan, LakehouseError) else len(look.plan.assets)
    for page in range(1, pages_of(planned) + 1):
        yield links.numbered(links.PLAN, page), pages.plan(look, page).encode()
    for asset in lake.graph:
        yield links.asset_page(asset.key), pages.asset(look, asset).encode()
    for asset, ordinal in partitions:
        yield links.partition_page(asset, ordinal), pages.partition(look, asset, ordinal).encode()
    for run, facts in runs.items():
        yield links.run_page(run), pages.run(look, run, facts).encode()
    for name in STATIC:
        yield links.static(name), static_file(name)


def _worth_a_page(look: Look, asset: Asset, most: int) -> list[int]:
    """The partitions of an asset that need attention, then the newest that are there."""
    pieces = sorted(look.pieces[asset.key], key=lambda piece: piece.state.weight)
    found: dict[int, None] = {}
    for piece in pieces:
        if piece.state.weight <= State.STALE.weight or piece.state is State.PUBLISHED:
            for low, high in reversed(piece.partitions.spans):
                for ordinal in range(high - 1, low - 1, -1):
                    if len(found) >= most:
                        return list(found)
                    found[ordinal] = None
    return list(found)
