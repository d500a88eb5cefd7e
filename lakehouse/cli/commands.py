"""The commands. Each imports what is heavy when it is called, so that ``--help`` is there at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from lakehouse.cli.failures import ExitCode
from lakehouse.display.page import Page
from lakehouse.errors import LakehouseError

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.definitions.asset import Asset
    from lakehouse.lake import Lakehouse
    from lakehouse.partitions import PartitionSet

Selection = Annotated[str, Parameter(name="SELECTION", help="Which assets: silver.flights, '+gold.*', tag:daily, ...")]
AssetKey = Annotated[str, Parameter(name="ASSET", help="The asset's key, such as silver.flights.")]
Partitions = Annotated[
    str | None,
    Parameter(
        name=["--partitions", "-p"],
        help="Which partitions: a key, a range a...b (both ends included), several with commas. Default: all that are "
        "missing.",
    ),
]
OfAsset = Annotated[
    str | None,
    Parameter(name=["--partitions", "-p"], help="Which partitions: a key, a range a...b, several with commas."),
]
PartitionKeys = Annotated[
    list[str] | None,
    Parameter(
        name="--partition",
        negative=(),
        help="A partition by its key, as it is, whatever it holds; may be repeated.",
    ),
]
Upstream = Annotated[
    Literal["missing", "stale", "all", "none"],
    Parameter(
        help="What to do about inputs: build those that are missing (default), also those that are stale, all of them, "
        "or none."
    ),
]
Chunk = Annotated[
    int | None, Parameter(validator=Number(gte=1), help="Partitions in a step, at most. Default: 30, or the setting.")
]
Engine = Annotated[
    Literal["prefect", "inline"] | None,
    Parameter(help="What runs it: prefect, or inline: this process alone. Default: prefect, or the setting."),
]
Runner = Annotated[
    str | None,
    Parameter(help="Where Prefect runs the steps: threads (default), or dask://host:port of a Dask scheduler."),
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Write JSON, for programs.")]

DOCS = Path(".lakehouse") / "docs"


def init(
    name: Annotated[str, Parameter(name="NAME", help="The project's name, and its folder's: my-shop.")],
    /,
    *,
    dbt: Annotated[bool, Parameter(negative=(), help="Gold is a dbt model.")] = False,
    aws: Annotated[bool, Parameter(negative=(), help="With what production in AWS needs.")] = False,
    prefect: Annotated[bool, Parameter(negative=(), help="With deployments, and schedules on assets.")] = False,
) -> ExitCode:
    """Begin a project of one's own: settings, assets in Bronze, Silver and Gold, data, tests.

    It builds as it is, and holds back a day of its data, so that there is
    something to repair. What is there already is never overwritten.

    Examples:

      lakehouse init my-shop
      lakehouse init my-shop --dbt --prefect
    """
    from lakehouse.scaffold import new_project

    folder = new_project(name, Path(), dbt=dbt, aws=aws, prefect=prefect)
    Page(sys.stdout).write(f"{folder} is there. Next:\n  cd {folder} && lakehouse refresh '+gold.*'\n")
    return ExitCode.WELL


def ls(*selection: Selection, json: Json = False) -> ExitCode:
    """List assets: what they are, how they are partitioned, checked and made.

    Examples:

      lakehouse ls
      lakehouse ls '+gold.carrier_daily'
      lakehouse ls tag:hourly --json
    """
    from lakehouse.display.catalog import catalog, catalog_json, flat_catalog

    lake = _lake()
    assets = _chosen(lake, selection) or tuple(lake.graph)
    page, now = Page(sys.stdout), datetime.now(UTC)
    if json:
        page.json(catalog_json(lake.graph, assets, now))
    else:
        page.print((catalog if page.terminal else flat_catalog)(lake.graph, assets, now))
    return ExitCode.WELL


def plan(
    *selection: Selection,
    partitions: Partitions = None,
    partition: PartitionKeys = None,
    upstream: Upstream = "missing",
    refresh: Annotated[
        bool, Parameter(negative=(), help="Plan what refresh does, not materialize: leave what is there.")
    ] = False,
    chunk: Chunk = None,
    json: Json = False,
) -> ExitCode:
    """Show what would be built, and why: the very list that is then executed.

    It is what materialize would do; with --refresh, what refresh would.

    Examples:

      lakehouse plan '+gold.*' --refresh
      lakehouse plan silver.flights --partitions 2013-01-01...2013-03-31
    """
    from lakehouse.cli.building import Command
    from lakehouse.display.plans import plan_json, planned
    from lakehouse.planning.request import Request

    lake = _lake()
    request = Request(
        "refresh" if refresh else "materialize", _required(selection), asked(partitions, partition), upstream, chunk
    )
    found = lake.plan_for(request)
    command = Command(request).text()
    page = Page(sys.stdout)
    if json:
        page.json(plan_json(found, command))
    else:
        page.print(planned(found, command, wide=page.wide))
    return ExitCode.WELL


def refresh(
    *selection: Selection,
    partitions: Partitions = None,
    partition: PartitionKeys = None,
    upstream: Upstream = "missing",
    chunk: Chunk = None,
    engine: Engine = None,
    runner: Runner = None,
) -> ExitCode:
    """Bring assets up to date: build what is missing or stale, and what they lack upstream.

    Stale is what was made by other code, or from other rows, than there are
    now. What is up to date is left as it is, so it can be called as often as
    you like, also to go on after an interruption or a repair. Only what passes
    its checks is published.

    Examples:

      lakehouse refresh '+gold.*' --partitions 2013-01-01...2013-01-31
      lakehouse refresh gold
      lakehouse refresh silver.planes --engine inline
    """
    from lakehouse.cli.building import Command, build
    from lakehouse.planning.request import Request

    request = Request("refresh", _required(selection), asked(partitions, partition), upstream, chunk)
    return build(_lake(), Command(request, engine, runner))


def backfill(
    *selection: Selection,
    partitions: Annotated[
        str | None,
        Parameter(name=["--partitions", "-p"], help="Which partitions: a range a...b, with both ends included."),
    ] = None,
    partition: PartitionKeys = None,
    chunk: Chunk = None,
    parallel: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="Chunks side by side. Default: 4, or the setting workers.")
    ] = None,
    upstream: Upstream = "missing",
    engine: Engine = None,
    runner: Runner = None,
) -> ExitCode:
    """Bring a range up to date in chunks, several side by side.

    Each chunk goes through its layers without waiting for the others. It can be
    interrupted at any moment and called again: what was published stays, and is
    not built again. A second one over the same partitions waits for the first,
    and builds what that one leaves.

    Examples:

      lakehouse backfill '+gold.*' --partitions 2013-01-01...2013-12-31
      lakehouse backfill '+gold.*' -p 2013-01-01...2013-12-31 --chunk 7 --parallel 8
      lakehouse backfill bronze.raw_flights+ -p 2013-06-01...2013-06-30
    """
    from lakehouse.cli.building import Command, build
    from lakehouse.planning.request import Request

    request = Request("backfill", _required(selection), asked(partitions, partition), upstream, chunk)
    return build(_lake(), Command(request, engine, runner, parallel))


def materialize(
    *selection: Selection,
    partitions: Partitions = None,
    partition: PartitionKeys = None,
    upstream: Upstream = "missing",
    chunk: Chunk = None,
    engine: Engine = None,
    runner: Runner = None,
) -> ExitCode:
    """Build assets, be they there or not, and what they lack upstream.

    Without --partitions: the whole of unpartitioned assets, and of others the
    partitions that are missing.

    Examples:

      lakehouse materialize silver.flights --partitions 2013-01-15
      lakehouse materialize bronze.raw_flights+ --partitions 2013-01-15
      lakehouse materialize gold.carrier_daily --partitions 2013-01-15 --upstream all
    """
    from lakehouse.cli.building import Command, build
    from lakehouse.planning.request import Request

    request = Request("materialize", _required(selection), asked(partitions, partition), upstream, chunk)
    return build(_lake(), Command(request, engine, runner))


def deploy(
    *selection: Selection,
    work_pool: Annotated[
        str | None, Parameter(help="The Prefect work pool that runs them. Default: the setting work_pool.")
    ] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only show what would be done.")] = False,
    prune: Annotated[bool, Parameter(negative=(), help="Remove deployments that no asset declares any more.")] = False,
    json: Json = False,
) -> ExitCode:
    """Write the deployments that assets declare to Prefect: what is refreshed when.

    One for each schedule of a group, or of an asset without a group. It can be
    called as often as you like: what is there already stays as it is. With a
    selection: only deployments that have to do with these assets.

    Examples:

      lakehouse deploy --work-pool lakehouse
      lakehouse deploy --dry-run
      lakehouse deploy --prune
    """
    from lakehouse.display.deployments import deployments, deployments_json
    from lakehouse.integrations.prefect.deployments import deploy as write

    lake = _lake()
    found = write(lake, _chosen(lake, selection) or None, work_pool=work_pool, dry_run=dry_run, prune=prune)
    page = Page(sys.stdout)
    if json:
        page.json(deployments_json(found))
    else:
        page.print(deployments(found, dry_run=dry_run))
    return ExitCode.WELL


def observe(*selection: Selection, json: Json = False) -> ExitCode:
    """Look at external assets, and write down what is new or changed of them.

    Every refresh looks by itself; this is to see what has arrived.

    Examples:

      lakehouse observe
      lakehouse observe source.landing --json
    """
    from lakehouse.display.formatting import count, extent
    from lakehouse.display.page import columns

    lake = _lake()
    found = lake.observe([asset.key for asset in _chosen(lake, selection)] or None)
    page = Page(sys.stdout)
    if json:
        page.json([{"asset": key, "changed": part.to_pairs()} for key, part in found.items()])
        return ExitCode.WELL
    if not found:
        page.print("no asset is external; those are declared with @source")
        return ExitCode.WELL
    table = columns("asset", "new or changed", "number", numbers=["number"])
    for key, part in found.items():
        table.add_row(key, extent(part), f"{len(part):,}")
    page.print(table)
    page.print(f"\n{count(sum(map(len, found.values())), 'partition')} new or changed")
    return ExitCode.WELL


def watch(
    *selection: Selection,
    queue: Annotated[
        str | None,
        Parameter(help="The queue (SQS) that tells of objects in buckets: its URL or name. Default: the setting."),
    ] = None,
    poll: Annotated[str, Parameter(help="How often to look at what no queue tells of.")] = "5s",
    sweep: Annotated[str, Parameter(help="How often to look at what a queue tells of, for what it lost.")] = "5m",
    settle: Annotated[str, Parameter(help="How long nothing has to arrive before a burst is over.")] = "2s",
    once: Annotated[bool, Parameter(negative=(), help="Look once, and end.")] = False,
    json: Json = False,
) -> ExitCode:
    """Watch external assets, and tell within seconds what arrives.

    It is written down, and is an event in Prefect, which starts what is
    refreshed after its inputs. It runs until it is stopped; a source declared
    with Freshness(watched=True) is watched by a deployment instead.

    Examples:

      lakehouse watch
      lakehouse watch source.landing --queue https://sqs.eu-central-1.amazonaws.com/123456789012/landing
      lakehouse watch --poll 1m --once
    """
    from json import dumps

    from lakehouse.display.formatting import extent
    from lakehouse.integrations.prefect.events import heard, tell_observed
    from lakehouse.lineage import new_id
    from lakehouse.watching import Arrived, Pace, Watch, open_queue

    lake, page = _lake(), Page(sys.stdout)
    listening = heard()

    def tell(arrived: Arrived) -> None:
        if listening:
            tell_observed(arrived, new_id(), f"watch {' '.join(arrived)}")
        for key, found in arrived.items():
            if json:
                page.write(dumps({"asset": key, "changed": found.to_pairs()}) + "\n")
            else:
                page.print(f"{datetime.now(UTC):%H:%M:%S}  {key}  {extent(found)}")

    keys = [asset.key for asset in _chosen(lake, selection)] or None
    watching = Watch(
        lake, keys, queue=open_queue(queue or lake.settings.queue), pace=Pace.of(poll, sweep, settle), tell=tell
    )
    if not json:
        page.print(f"watching {', '.join(asset.key for asset in watching.sources)}")
        if not listening:
            page.print("no Prefect API is configured: what arrives is written down, and starts nothing")
    if once:
        watching.catch_up()
    else:
        watching.run()
    return ExitCode.WELL


def partitions(
    asset: AssetKey,
    *,
    add: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Register a key, as it is; may be repeated."),
    ] = None,
    remove: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Take a key out of the register; may be repeated."),
    ] = None,
    dimension: Annotated[
        str | None, Parameter(help="The dimension that keys are of, where several of the asset's are dynamic.")
    ] = None,
    json: Json = False,
) -> ExitCode:
    """List the partitions that an asset can have by now, or register keys of dynamic ones.

    What was built of a key that is taken out of the register stays as it is.

    Examples:

      lakehouse partitions silver.flights
      lakehouse partitions bronze.orders --add acme --add globex
    """
    from lakehouse.display.formatting import count, listed

    lake = _lake()
    found = lake.graph[asset]
    if add:
        lake.add_partitions(found, add, dimension=dimension)
    if remove:
        lake.remove_partitions(found, remove, dimension=dimension)
    there = found.partitions.all(lake.present())
    page = Page(sys.stdout)
    if json:
        page.json({"asset": found.key, "kind": found.partitions.kind, "partitions": there.to_pairs()})
        return ExitCode.WELL
    for one in listed(there):
        page.write(f"{one}\n")
    if page.terminal:
        page.print(f"{count(len(there), 'partition')}: {found.partitions}")
    return ExitCode.WELL


def status(*selection: Selection, json: Json = False) -> ExitCode:
    """Show how much of each asset is there, how its last run went, what is held back.

    The exit code tells whether the question could be answered, not how the
    assets are.

    Examples:

      lakehouse status
      lakehouse status '+gold.carrier_daily'
    """
    from lakehouse.display.statuses import flat_states, states, states_json

    lake = _lake()
    now = datetime.now(UTC)
    found = lake.status(_chosen(lake, selection) or None, now=now)
    page = Page(sys.stdout)
    if json:
        page.json(states_json(found))
    else:
        page.print(states(found, now, wide=page.wide) if page.terminal else flat_states(found))
    return ExitCode.UNREACHABLE if any(one.fault for one in found) else ExitCode.WELL


def lineage(
    asset: AssetKey,
    /,
    *,
    partitions: OfAsset = None,
    partition: PartitionKeys = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="Lines in each part, at most. Default: 30.")] = 30,
    json: Json = False,
) -> ExitCode:
    """Show what an asset was made from, what was made from it, and its history.

    With the table version of each, when it was made, and the run that made it.

    Examples:

      lakehouse lineage gold.carrier_daily --partition 2013-01-15
      lakehouse lineage silver.flights
    """
    from lakehouse.display.formatting import clock, named, stamp
    from lakehouse.display.lineage import lineage_json, lineage_trees

    lake = _lake()
    found = lake.lineage(asset, asked(partitions, partition))
    page = Page(sys.stdout)
    if json:
        page.json(lineage_json(found))
    else:
        label = named(found.asset, found.partitions)
        page.print(lineage_trees(found, label, limit=limit, when=clock if page.terminal else stamp))
    return ExitCode.WELL


def show(
    asset: AssetKey,
    /,
    *,
    partitions: OfAsset = None,
    partition: PartitionKeys = None,
    limit: Annotated[
        int | None,
        Parameter(validator=Number(gte=0), help="Rows, at most. Default: 20 on a terminal, else all."),
    ] = None,
    quarantined: Annotated[
        bool, Parameter(negative=(), help="The rows that are held back now, with the reasons of each (_reasons).")
    ] = False,
) -> ExitCode:
    """Show rows of an asset, as they are published.

    On a terminal: a table of the columns that fit. Anywhere else: CSV with a
    header, all columns and, without --limit, all rows, as they are stored.

    Examples:

      lakehouse show gold.carrier_daily --partition 2013-01-15
      lakehouse show silver.flights --quarantined
      lakehouse show gold.route_delays > route_delays.csv
    """
    from lakehouse.display.rows import csv, table_of
    from lakehouse.io.columns import columns as exactly

    lake = _lake()
    found = lake.graph[asset]
    if found.external:
        hint = f"lakehouse status {found.key}"
        raise LakehouseError(f"{found.key} is external: its rows are others', and are not read here", hint=hint)
    wanted = asked(partitions, partition)
    chosen = None if wanted is None else found.partitions.select(wanted, now=lake.present())
    frame = _held_rows(lake, found, chosen) if quarantined else _rows(lake, found, chosen)
    page = Page(sys.stdout)
    if not page.terminal:
        csv(page, frame if limit is None else frame.head(limit))
        return ExitCode.WELL
    few = 20 if limit is None else limit
    columns = found.partitions.columns
    if columns and set(columns) <= set(frame.collect_schema().names()):
        frame = frame.sort(exactly(columns), maintain_order=True)
    seen = frame.head(few + 1).collect()
    page.print(table_of(seen.head(few), more=seen.height > few, width=page.console.width))
    return ExitCode.WELL


def ui(
    *,
    host: Annotated[str, Parameter(help="The address to serve at. Default: this machine alone.")] = "127.0.0.1",
    port: Annotated[
        int, Parameter(validator=Number(gte=0, lte=65535), help="The port. Default: 8765; 0: a free one.")
    ] = 8765,
    allow_host: Annotated[
        list[str] | None,
        Parameter(negative=(), help="A name that others call it by, such as a proxy's; may be repeated."),
    ] = None,
    no_source: Annotated[bool, Parameter(negative=(), help="Don't show the code of assets.")] = False,
    no_rows: Annotated[bool, Parameter(negative=(), help="Don't show rows.")] = False,
    no_open: Annotated[bool, Parameter(negative=(), help="Don't open it in the browser.")] = False,
) -> ExitCode:
    """Serve a page of all assets: what needs attention, what runs, what is made from what.

    It reads and changes nothing; commands are there to copy. Whoever reaches it
    can read it: for others than yourself put a proxy before it that asks who
    they are. Addresses hold behind any prefix. The browser is opened on a
    terminal only.

    Examples:

      lakehouse ui
      lakehouse ui --host 0.0.0.0 --allow-host lake.example.com --no-rows
    """
    from lakehouse.web.pages import Shown
    from lakehouse.web.server import Address, application, serve

    lake, address = _lake(), Address(host, port)
    shown = Shown(source=not no_source, rows=not no_rows, flow_run=_flow_runs())
    app = application(lake, shown, hosts=[*address.named, *(allow_host or [])], title=_title(lake))
    with address.open() as listening:
        place = f"http://{(address.named or ['localhost'])[0]}:{listening.getsockname()[1]}/"
        page = Page(sys.stdout)
        page.write(f"{place}\n")
        if page.terminal and not no_open:
            import webbrowser

            webbrowser.open(place)
        serve(app, listening)
    return ExitCode.WELL


def catalog(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder to write to.")],
    no_source: Annotated[bool, Parameter(negative=(), help="Don't show the code of assets.")] = False,
) -> ExitCode:
    """Write the page of all assets as files: for any browser, web server or bucket.

    What lakehouse ui serves, as it is now; of partitions those that need
    attention and the newest have a page of their own. Rows are never in it.
    Written again into the same folder, it takes the place of what was there.

    Examples:

      lakehouse catalog -o site
      lakehouse catalog -o site --no-source
    """
    _write_pages(output, source=not no_source)
    return ExitCode.WELL


def docs(
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="Folder to write to. Default: .lakehouse/docs.")
    ] = DOCS,
    no_open: Annotated[bool, Parameter(negative=(), help="Don't open it in the browser.")] = False,
) -> ExitCode:
    """Write the page of all assets as files, from Bronze to Gold, and open it.

    Descriptions, columns, checks, code, and what is made from what; dbt's models
    with their SQL. Nothing has to be built for it. The browser is opened on a
    terminal only.

    Examples:

      lakehouse docs
      lakehouse docs --output site --no-open
    """
    file = _write_pages(output, source=True)
    if sys.stdout.isatty() and not no_open:
        import webbrowser

        webbrowser.open(file.resolve().as_uri())
    return ExitCode.WELL


def leases(
    *,
    clear: Annotated[
        str | None, Parameter(help="Take away what this run holds or waits for: its id, or how that begins.")
    ] = None,
    json: Json = False,
) -> ExitCode:
    """Show which runs are building what just now, and which wait for them, in the order of their turns.

    A run that is gone holds up nobody for longer than 90 seconds; --clear is for
    those who can't wait. A run that is at work after all takes its lease again.

    Examples:

      lakehouse leases
      lakehouse leases --clear 01a21552381c
    """
    from lakehouse.display.leases import leases as shown
    from lakehouse.display.leases import leases_json
    from lakehouse.lineage.leases import clear as take_away
    from lakehouse.lineage.leases import standing
    from lakehouse.lineage.open import open_lineage
    from lakehouse.settings import load_settings

    lineage = open_lineage(load_settings().lineage)
    found = standing(lineage) if clear is None else take_away(lineage, clear)
    page = Page(sys.stdout)
    if json:
        page.json(leases_json(found))
    else:
        page.print(shown(found))
        if clear is not None:
            page.print("\nthese were taken away")
    return ExitCode.WELL


# ── what the commands have in common ──────────────────────────────────────────────────────


def asked(partitions: str | None, keys: list[str] | None) -> str | list[str] | None:
    """What was asked for: ``--partitions``, or a list of each ``--partition``.

    Raises:
        LakehouseError: both were given
    """
    if keys is None or partitions is None:
        return partitions if keys is None else keys
    raise LakehouseError(
        "--partitions and --partition were both given", hint="name them all by --partition, once for each"
    )


def _lake() -> Lakehouse:
    from lakehouse.verbs import open_lakehouse

    return open_lakehouse()


def _write_pages(folder: Path, *, source: bool) -> Path:
    """Write the pages as files; the first of them."""
    from lakehouse.web.export import write_catalog
    from lakehouse.web.pages import Shown

    lake = _lake()
    shown = Shown(source=source, flow_run=_flow_runs())
    first, *_ = write_catalog(lake, folder, shown, title=_title(lake))
    Page(sys.stdout).write(f"{first}\n")
    return first


def _title(lake: Lakehouse) -> str:
    """What a person calls their lakehouse: the package that holds its assets."""
    name = (lake.settings.module or "lakehouse").partition(".")[0]
    return name.replace("_", " ")


def _flow_runs() -> Callable[[str], str | None]:
    from lakehouse.integrations.prefect.links import flow_run_url

    return flow_run_url


def _chosen(lake: Lakehouse, selection: tuple[str, ...]) -> tuple[Asset, ...]:
    return lake.select(" ".join(selection)) if selection else ()


def _required(selection: tuple[str, ...]) -> str:
    if not selection:
        raise LakehouseError("name the assets to build", hint="for example '+gold.*'; lakehouse ls lists them")
    return " ".join(selection)


def _rows(lake: Lakehouse, asset: Asset, wanted: PartitionSet | None) -> pl.LazyFrame:
    if lake.table(asset).version() is None:
        raise LakehouseError(
            f"{asset.key} was never published", hint=f"lakehouse refresh +{asset.key} builds it, with what it needs"
        )
    if wanted is not None:
        (state,) = lake.status([asset])
        _note_absent(asset, wanted - state.present)
    return lake.load(asset, wanted)


def _note_absent(asset: Asset, absent: PartitionSet) -> None:
    from lakehouse.display.formatting import named

    if absent:
        Page(sys.stderr).print(f"note: {named(asset.key, absent)} is not there")


def _held_rows(lake: Lakehouse, asset: Asset, wanted: PartitionSet | None) -> pl.LazyFrame:
    import polars as pl

    from lakehouse.display.formatting import named
    from lakehouse.display.rows import held_rows

    (state,) = lake.status([asset])
    held = state.held if wanted is None else state.held & wanted
    apart = bool(state.quarantine) and not state.held  # rows of no partition, kept apart from what is published
    if not held and not apart:
        Page(sys.stderr).print(f"nothing of {named(asset.key, wanted) if wanted else asset.key} is held back")
    elif not state.quarantine:
        Page(sys.stderr).print(f"{named(asset.key, held)} is held back, and there are no rows to it")
    if not (held or apart) or not state.quarantine:
        return pl.LazyFrame()
    return held_rows(lake.table(asset), asset, held, state.quarantine)
