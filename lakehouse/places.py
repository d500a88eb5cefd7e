"""Which place a declaration means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from lakehouse.compute.place import Place
from lakehouse.definitions.compute import Compute, GlueJob, Here, Process, WorkPool, read_compute
from lakehouse.definitions.graph import AssetGraph
from lakehouse.definitions.selection import among
from lakehouse.errors import SelectionError, SettingsError
from lakehouse.redaction import logger
from lakehouse.settings import Settings

log = logger("lakehouse")


def computes(graph: AssetGraph, settings: Settings) -> dict[str, Compute]:
    """Where each asset's function is called, by its key; those that aren't named are called where the run is.

    Parameters:
        graph: the assets
        settings: what outweighs their declarations

    Raises:
        SettingsError: a selection that can't be read, or one that names only what no function makes
    """
    found = {asset.key: asset.compute for asset in graph if asset.compute is not None}
    for selection, given in settings.compute.items():
        try:
            keys = among(graph, selection)
        except SelectionError as error:
            raise SettingsError(f"the setting compute: {error.message}", hint=error.hint) from None
        if not keys:
            # Settings may be for several lakehouses; but what is misspelt would run where it was not meant to.
            log.warning("the setting compute names %r, which is none of the assets here", selection)
        called = [key for key in keys if not graph[key].external and graph[key].builder is None]
        compute = read_compute(given)
        if keys and not called and not isinstance(compute, Here):
            raise SettingsError(
                f"the setting compute sends {selection!r} to {compute}: no function of these assets could be called "
                "there, for others write them or a builder makes them",
                hint="name assets that are declared with @bronze, @silver or @gold",
            )
        found |= dict.fromkeys(called, compute)
    return {key: compute for key, compute in found.items() if not isinstance(compute, Here)}


def open_place(compute: Compute | None, settings: Settings) -> Place | None:
    """The place of a declaration; None: here.

    Parameters:
        compute: the declaration
        settings: the project's
    """
    match compute:
        case None | Here():
            return None
        case Process():
            from lakehouse.compute.process import OwnProcess

            return OwnProcess(_options(settings), compute.env, compute.timeout)
        case WorkPool():
            from lakehouse.integrations.prefect.work_pool import PrefectWorkPool

            return PrefectWorkPool(compute)
        case GlueJob():
            from lakehouse.integrations.aws.glue import AwsGlueJob

            return AwsGlueJob(compute)
        case _:
            assert_never(compute)


def _options(settings: Settings) -> Mapping[str, str] | None:
    return settings.storage_options or None
