"""External assets: what others write is looked at, and what changed of it is written down."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

from lakehouse.definitions.asset import Asset
from lakehouse.errors import LakehouseError, PartitionError, StepError
from lakehouse.lineage import AssetState, Fact, Status
from lakehouse.lineage.facts import DIGEST
from lakehouse.lineage.recorder import Recorder
from lakehouse.partitions import Partitions, PartitionSet


class FoundFile(Protocol):
    """A file that somebody else wrote."""

    @property
    def uri(self) -> str:
        """Where it lies."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the file does."""
        ...


@runtime_checkable
class Finder(Protocol):
    """Finds files, such as [lakehouse.io.Files][]."""

    def by_partition(self, partitions: Partitions) -> Mapping[str, Sequence[FoundFile]]:
        """The files of each partition, by its key."""
        ...


@final
@dataclass(frozen=True)
class Observed:
    """What there is of an external asset: what a Bronze function is given for a parameter that is one.

    Parameters:
        partitions: the partitions that are meant
        versions: of those that are there, what changes whenever they do, by key
        uris: their files, where the source returned files: paths on disk, or ``s3://...``
        files: the same as files that can be opened, and that a raw asset may keep ([lakehouse.io.RawFile][])
    """

    partitions: PartitionSet
    versions: Mapping[str, str]
    uris: tuple[str, ...] = ()
    files: tuple[Any, ...] = ()


@final
@dataclass(frozen=True)
class Sighting:
    """All that there is of an external asset, looked at once.

    Parameters:
        asset: the asset
        versions: what changes whenever a partition does, by key
        files: its files, by key, where the source returns files
        finder: what found them
    """

    asset: Asset
    versions: Mapping[str, str]
    files: Mapping[str, tuple[FoundFile, ...]]
    finder: Finder | None = None

    def within(self, partitions: PartitionSet) -> Observed:
        """What there is of some partitions."""
        found = [key for key in self.versions if key in partitions]
        files = tuple(file for key in found for file in self.files.get(key, ()))
        return Observed(partitions, {key: self.versions[key] for key in found}, tuple(f.uri for f in files), files)


def look(asset: Asset) -> Sighting:
    """Ask an external asset what there is of it just now.

    Parameters:
        asset: the asset

    Raises:
        StepError: its function raised, or returned what is neither files nor versions
        StorageError: its files can't be listed
    """
    try:
        found = asset.function()
    except LakehouseError:
        raise
    except Exception as error:
        raise StepError(f"{asset.key}: looking at it raised {type(error).__name__}: {error}") from error
    files: dict[str, tuple[FoundFile, ...]] = {}
    if isinstance(found, Finder):
        files = {key: tuple(listed) for key, listed in found.by_partition(asset.partitions).items()}
        versions = {key: repr([(f.uri, f.version) for f in listed]) for key, listed in files.items()}
    elif isinstance(found, str) and not asset.partitioned:
        versions = {"": found}
    elif isinstance(found, Mapping) and all(isinstance(v, str) for v in found.values()):
        versions = dict(found)
    else:
        raise StepError(
            f"{asset.key} returned {type(found).__name__}; a source returns Files, or each partition's version by key",
            hint='e.g. {"2013-01-01": etag}; without partitions a string',
        )
    try:
        keys = {asset.partitions.key(asset.partitions.parse(given)): given for given in versions}
    except PartitionError as error:
        raise StepError(f"{asset.key} told of a partition that can't be: {error.message}", hint=error.hint) from None
    return Sighting(
        asset,
        {key: versions[given] for key, given in keys.items()},
        {key: files[given] for key, given in keys.items() if given in files},
        found if isinstance(found, Finder) else None,
    )


def observe(asset: Asset, known: AssetState) -> list[Fact]:
    """What changed of an external asset since it was last looked at, as facts: what is new or other, and what is gone.

    Parameters:
        asset: the asset
        known: what lineage says of it

    Raises:
        StepError, StorageError: as [look][]
    """
    versions = look(asset).versions
    # What was seen of it when it was partitioned otherwise says nothing of what there is, but was seen before.
    after = max((v for v in (known.version, known.meaning.before) if v is not None), default=None)
    changed = observation(asset, versions, known.digests(known.present), after)
    gone = known.present - asset.partitions.of_keys(versions)
    facts = [changed] if changed else []
    return [*facts, _fact(asset, Status.WIPED, gone, "", after)] if gone else facts


def observation(asset: Asset, versions: Mapping[str, str], known: Mapping[str, str], after: int | None) -> Fact | None:
    """What of some versions is another than what is known, as a fact; None: nothing is.

    Parameters:
        asset: the external asset
        versions: what was found, by partition key
        known: what stands for what was found before, by partition key
        after: the version as of which that is known; None: nothing is
    """
    digests = {key: _digest(version) for key, version in versions.items()}
    changed = asset.partitions.of_keys(key for key, digest in digests.items() if known.get(key) != digest)
    if not changed:
        return None
    return _fact(asset, Status.OBSERVED, changed, "".join(digests[key] for key in changed), after)


def _fact(asset: Asset, status: Status, partitions: PartitionSet, digests: str, after: int | None) -> Fact:
    # Where others have the version of their table: a number after all that are known, whatever the clock says, and one
    # of its own for each of two who look at once.
    version = max(time.time_ns() // 1000, (-1 if after is None else after) + 1 + secrets.randbelow(1_000_000))
    return Recorder(asset=asset.key, spec=asset.partitions.spec).fact(
        status, partitions, version=version, digests=digests
    )


def _digest(version: str) -> str:
    return hashlib.blake2b(version.encode(), digest_size=DIGEST // 2).hexdigest()
