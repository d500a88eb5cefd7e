"""Looking after what is there: each verb only looks, and returns a change to be applied."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.selection import Targets
from lakehouse.maintenance import rebuilding, removal, renaming, retention, upkeep
from lakehouse.maintenance.changes import Action, Change
from lakehouse.maintenance.workspace import Workspace
from lakehouse.partitions import PartitionSelection

if TYPE_CHECKING:
    from lakehouse.lake import Lakehouse


@final
class Maintenance:
    """Changes of what is stored and recorded. Each method only looks, and returns a [Change][] to be applied.

    Parameters:
        lake: the assets and their homes
        now: the present; by default the clock's

    Examples:
        >>> import tempfile
        >>> import polars as pl
        >>> from lakehouse import Lakehouse, bronze
        >>> @bronze
        ... def numbers() -> pl.LazyFrame:
        ...     return pl.LazyFrame({"n": [1, 2, 3]})
        >>> folder = tempfile.mkdtemp()
        >>> lake = Lakehouse([numbers], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")
        >>> run = lake.materialize(numbers, engine="inline")
        >>> change = Maintenance(lake).forget(numbers)
        >>> [action.text for action in change.actions]
        ['the whole of it counts as never built; its rows stay readable']
        >>> change.apply()
        >>> bool(lake.status()[0].present)
        False
    """

    def __init__(self, lake: Lakehouse, *, now: datetime | None = None) -> None:
        self.lake = lake
        self.now = now

    def rename(self, old: str, new: str) -> Change:
        """Let an asset that was renamed in code keep its history, its table and what is held back of it.

        Its facts are written under the new key, the table is moved, the table's log is marked, and then the facts
        under the old key are removed. Consumers stay as they are: what they read under the old name is known
        to be this asset.

        Parameters:
            old: the key that it had, which no asset has any more
            new: the key that it has now

        Raises:
            UnknownAsset: there is no asset of the new name, or nothing is known of the old one
            LakehouseError: the old name is still an asset's, or the new one has a history of its own
            StorageError: the two can't lie in the same place
        """
        return renaming.rename(Workspace(self.lake, now=self.now), old, new)

    def rename_partition(self, targets: Targets, old: str, new: str) -> Change:
        """Let a static or dynamic partition that is to have another key keep its rows and its history.

        The rows are the same data: the partition column takes the new value, in one commit, and nothing that was made
        from them becomes stale. A static key is renamed in the code first; a dynamic one is registered anew by this.

        Parameters:
            targets: the asset, or all that are to follow
            old: the key that it had
            new: the key that it has now

        Raises:
            PartitionError: partitions that have no names, the old key is still one, or the new one isn't or is built
            WrongFrame: the partition column can't hold the new key
        """
        return renaming.rename_partition(Workspace(self.lake, now=self.now), targets, old, new)

    def forget(self, asset: Asset | str, partitions: PartitionSelection | None = None) -> Change:
        """Let partitions count as never built: a refresh builds them again. Until then their rows stay readable.

        Parameters:
            asset: the asset, or its key
            partitions: which partitions; ``"*"``: all; None: the asset has none

        Raises:
            UnknownAsset: no such asset; PartitionError: partitions that can't be
        """
        return removal.forget(Workspace(self.lake, now=self.now), asset, partitions)

    def wipe(self, asset: Asset | str, partitions: PartitionSelection | None = None) -> Change:
        """Remove the rows of partitions in one commit; what was made from them becomes stale.

        Versions before the commit keep the rows until a retention removes them ([Maintenance.retain][]).

        Takes and raises what [Maintenance.forget][] does.
        """
        return removal.wipe(Workspace(self.lake, now=self.now), asset, partitions)

    def retain(
        self, targets: Targets | None = None, *, keep: timedelta | str | None = None, versions: int | None = None
    ) -> Change:
        """Remove what a retention no longer asks for, and what killed runs left behind.

        Files stay that belong to a version that was current within the retention (``keep``) or is one of the newest
        (``versions``), or that a current publication of a consumer was made from. Rows that were held back, but those
        held back now, and facts that were superseded go by ``keep`` alone. Nothing younger than a day is removed.

        Parameters:
            targets: which assets; None: all
            keep: how far back; a ``timedelta``, or text such as ``"90d"``, ``"12h"``, ``"8w"``
            versions: how many versions

        Raises:
            LakehouseError: neither is said, nor is there the setting ``retention``; or a retention that can't be
        """
        return retention.retain(Workspace(self.lake, now=self.now), targets, keep=keep, versions=versions)

    def maintain(
        self, targets: Targets | None = None, *, keep: timedelta | str | None = None, versions: int | None = None
    ) -> Change:
        """Tidy up, beside whatever runs: what a retention no longer asks for, and what nobody needs.

        That is what [Maintenance.retain][] removes, if a retention is said or set; what attempts that were killed had
        staged; checkpoints of tables' logs beyond the newest two and one of each 200 versions; and staging databases
        that dbt runs which were killed left in a catalog. Nothing younger than a day is removed, nor what a run that is
        at work may read or has written. A catalog that doesn't tell of tables as they are is told. What can't be read
        is left as it is, and noted.

        Parameters:
            targets: which assets; None: all
            keep: how far back; ``versions``: how many versions; both as [Maintenance.retain][] takes them; None: what
                the setting ``retention`` says, and if it says nothing, all versions are kept
            versions: how many versions

        Raises:
            LakehouseError: a retention that can't be
        """
        return upkeep.maintain(Workspace(self.lake, now=self.now), targets, keep=keep, versions=versions)

    def rebuild(self, targets: Targets | None = None) -> Change:
        """Record again what the tables' own logs say, as far as lineage doesn't know it.

        Where a table was removed, put back or replaced, so that it isn't the one that lineage tells of, lineage follows
        it: what the table doesn't have counts as not there, what it has otherwise as changed, and the table goes on
        from a version that nobody has read yet. Nothing else may be publishing to it meanwhile.

        Parameters:
            targets: which assets; None: all
        """
        return rebuilding.rebuild(Workspace(self.lake, now=self.now), targets)


__all__ = ["Action", "Change", "Maintenance"]
