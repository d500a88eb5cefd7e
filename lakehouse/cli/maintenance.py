"""``lakehouse state``: what is stored and recorded, renamed, forgotten, wiped, thinned out or rebuilt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from lakehouse.cli.commands import PartitionKeys, asked
from lakehouse.cli.failures import ExitCode
from lakehouse.display.page import Page
from lakehouse.errors import LakehouseError

if TYPE_CHECKING:
    from lakehouse.maintenance import Change, Maintenance

AssetKey = Annotated[str, Parameter(name="ASSET", help="The asset's key, such as silver.flights.")]
Selection = Annotated[str, Parameter(name="SELECTION", help="Which assets. Default: all.")]
Partitions = Annotated[
    str | None,
    Parameter(
        name=["--partitions", "-p"], help="Which partitions: a key, a range a...b, several with commas; '*': all."
    ),
]
DryRun = Annotated[bool, Parameter(negative=(), help="Only show what would be done.")]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative=(), help="Do it without asking.")]
Json = Annotated[
    bool, Parameter(name="--json", negative=(), help="Write JSON, for programs, with all that is touched.")
]


def rename(
    old: Annotated[str, Parameter(name="OLD", help="The key that the asset had.")],
    new: Annotated[str, Parameter(name="NEW", help="The key that it has now, in the code.")],
    /,
    *,
    dry_run: DryRun = False,
    json: Json = False,
) -> ExitCode:
    """Let an asset that was renamed in the code keep its history and its table.

    First rename it in the code, then call this, before anything is built under
    the new name. The table moves (on disk at once, in a bucket object by object),
    and what was made from it stays as it is. Interrupted, call it again.

    Examples:

      lakehouse state rename silver.trips silver.flights --dry-run
      lakehouse state rename silver.trips silver.flights
    """
    return _do(_maintenance().rename(old, new), dry_run=dry_run, json=json)


def rename_partition(
    asset: AssetKey,
    old: Annotated[str, Parameter(name="OLD", help="The key that the partition had.")],
    new: Annotated[str, Parameter(name="NEW", help="The key that it has now.")],
    /,
    *,
    dry_run: DryRun = False,
    json: Json = False,
) -> ExitCode:
    """Let a static or dynamic partition with another key keep its rows and history.

    A static key is renamed in the code first; a dynamic one is registered anew by
    this. The rows count as the same data: the partition column gets the new value,
    in one commit, and nothing becomes stale. A selection of several assets renames
    it in all of them.

    Examples:

      lakehouse state rename-partition bronze.sales US us
      lakehouse state rename-partition 'bronze.sales silver.sales' US us --dry-run
    """
    return _do(_maintenance().rename_partition(asset, old, new), dry_run=dry_run, json=json)


def forget(
    asset: AssetKey,
    /,
    *,
    partitions: Partitions = None,
    partition: PartitionKeys = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> ExitCode:
    """Let partitions count as never built: a refresh builds them again.

    Their rows stay readable until then.

    Examples:

      lakehouse state forget silver.flights -p 2013-01-01...2013-01-31
      lakehouse state forget gold.route_delays --yes
    """
    return _do(_maintenance().forget(asset, asked(partitions, partition)), dry_run=dry_run, yes=yes, json=json)


def wipe(
    asset: AssetKey,
    /,
    *,
    partitions: Partitions = None,
    partition: PartitionKeys = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> ExitCode:
    """Remove the rows of partitions; what was made from them becomes stale.

    One commit does it, and runs see it as any other publication. Older versions
    of the table keep the rows until `lakehouse state retain` removes them.

    Examples:

      lakehouse state wipe silver.flights -p 2013-01-15
      lakehouse state wipe silver.flights -p 2013-01-15 --dry-run
    """
    return _do(_maintenance().wipe(asset, asked(partitions, partition)), dry_run=dry_run, yes=yes, json=json)


def retain(
    *selection: Selection,
    keep: Annotated[str | None, Parameter(help="How far back: 12h, 90d, 8w.")] = None,
    versions: Annotated[int | None, Parameter(validator=Number(gte=1), help="How many versions, at least.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> ExitCode:
    """Keep what a retention says, and remove the rest of what is out of use.

    That is: files of versions that were replaced before, but those that something
    published was made from; files of killed runs; with --keep also older rows
    that were held back, and superseded facts. Nothing younger than a day goes.

    Examples:

      lakehouse state retain --keep 90d --dry-run
      lakehouse state retain bronze --keep 8w --versions 10 --yes
    """
    found = _maintenance().retain(" ".join(selection) or None, keep=keep, versions=versions)
    return _do(found, dry_run=dry_run, yes=yes, json=json)


def maintain(
    *selection: Selection,
    keep: Annotated[str | None, Parameter(help="How far back: 12h, 90d, 8w. Default: the setting retention.")] = None,
    versions: Annotated[int | None, Parameter(validator=Number(gte=1), help="How many versions, at least.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> ExitCode:
    """Tidy up: what a retention no longer asks for, and what nobody needs.

    That is: what `lakehouse state retain` removes, if a retention is said or set;
    files of killed runs; needless checkpoints of tables' logs; staging databases
    that killed dbt runs left in Glue; and a catalog that is set is told of tables
    that it doesn't tell of as they are. Nothing younger than a day goes, nor what a
    run at work may read or has written, so that it can be called at any time.

    Examples:

      lakehouse maintain --dry-run
      lakehouse maintain 'silver.*' --keep 30d --yes
    """
    found = _maintenance().maintain(" ".join(selection) or None, keep=keep, versions=versions)
    return _do(found, dry_run=dry_run, yes=yes, json=json)


def rebuild(*selection: Selection, dry_run: DryRun = False, yes: Yes = False, json: Json = False) -> ExitCode:
    """Rebuild lineage from the tables' own logs, as far as it is missing or wrong.

    Into an empty store, or into the one that there is. Where a table was removed,
    put back or replaced, lineage follows it: what isn't there counts as not there,
    and what was made from it becomes stale. Do that while nothing runs. Attempts
    that failed, were skipped, or were held back as a whole are in no log.

    Examples:

      lakehouse state rebuild --dry-run
      lakehouse state rebuild silver.flights
    """
    return _do(_maintenance().rebuild(" ".join(selection) or None), dry_run=dry_run, yes=yes, json=json)


COMMANDS: Final[dict[Callable[..., ExitCode], str]] = {
    rename: "OLD NEW",
    rename_partition: "ASSET OLD NEW",
    forget: "ASSET",
    wipe: "ASSET",
    retain: "[SELECTION...]",
    rebuild: "[SELECTION...]",
}
"""The commands, each with the pattern of what it takes."""

ABOUT: Final = """\
With --dry-run each of them only shows what it would do. Those that lose something
ask before they do it; where nobody can be asked, they want --yes. Interrupted at
any moment, they can be called again.
"""


def _maintenance() -> Maintenance:
    from lakehouse.maintenance import Maintenance
    from lakehouse.verbs import open_lakehouse

    return Maintenance(open_lakehouse())


def _do(change: Change, *, dry_run: bool, yes: bool = False, json: bool) -> ExitCode:
    """Show what is to be done, ask where something is lost by it, and do it."""
    from lakehouse.display.changes import changes, changes_json, outcome

    page = Page(sys.stdout)
    ask = bool(change) and change.destructive and not (dry_run or yes)
    if ask and not (page.terminal and sys.stdin.isatty()):
        raise LakehouseError(
            f"{change.title}: not done, for nobody is there to be asked",
            hint="--yes does it without asking; --dry-run shows what would be done",
        )
    if not json:
        page.print(changes(change))
    if ask and not _agreed():
        page.print("nothing was done")
        return ExitCode.REFUSED
    if not dry_run:
        change.apply()
    if json:
        page.json(changes_json(change, dry_run=dry_run))
    else:
        page.print(outcome(change, dry_run=dry_run))
    return ExitCode.WELL


def _agreed() -> bool:
    print("do it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
