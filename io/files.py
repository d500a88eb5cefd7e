"""Files that others write: which there are, what partition each belongs to, and whether they changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, final

from lakehouse.errors import DefinitionError, PartitionError, StorageError
from lakehouse.io.storage import Location
from lakehouse.partitions import Partitions, Unpartitioned

_PLACE = re.compile(r"\{partition(?::([^}]*))?\}")


@final
@dataclass(frozen=True)
class File:
    """A file that somebody else wrote.

    Parameters:
        uri: where it lies: a path on disk, or ``s3://...``
        version: changes whenever the file does
    """

    uri: str
    version: str


@final
@dataclass(frozen=True)
class Files:
    """Files that lie below a folder, named by a pattern. What a [lakehouse.source][] may return.

    Parameters:
        pattern: a path, ``file://`` or ``s3://``. ``*`` stands for any part of a name; ``{partition}`` for the key of
            the partition that a file belongs to, or ``{partition:%Y/%m/%d}`` where it is written otherwise
        options: more for the storage library, by object_store's names

    Examples:
        >>> Files("landing/flights-{partition:%Y%m%d}.csv").pattern
        'landing/flights-{partition:%Y%m%d}.csv'
    """

    pattern: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def by_partition(self, partitions: Partitions) -> dict[str, list[File]]:
        """The files of each partition, by its key; what fits no partition is left out.

        Raises:
            DefinitionError: the pattern doesn't say which partition a file belongs to
            StorageError: the folder isn't there, or can't be listed
        """
        cut = not isinstance(partitions, Unpartitioned)
        if cut != (_PLACE.search(self.pattern) is not None):
            raise DefinitionError(
                f"the files {self.pattern!r} can't be those of {partitions}",
                hint="{partition} in the pattern stands for the partition's key: landing/{partition}/*.csv"
                if cut
                else "leave {partition} out, or give the source partitions",
            )
        try:
            datetime.strptime(datetime(2013, 1, 31).strftime(self._format or ""), self._format or "")
        except ValueError as error:
            raise DefinitionError(f"{{partition:{self._format}}} can't be read as a time: {error}") from None
        found: dict[str, list[File]] = {}
        for path, version in sorted(self._listed()):
            match = self._regex.fullmatch(path)
            if match is None:
                continue
            key = self._key(partitions, match.groupdict().get("partition", ""))
            if key is not None:
                found.setdefault(key, []).append(File(f"{self._folder.target}/{path}", version))
        return found

    def _listed(self) -> Iterator[tuple[str, str]]:
        if self._folder.path and not self._folder.path.is_dir():
            raise StorageError(
                f"there is no folder {self._folder.path}, where {self.pattern!r} is looked for",
                hint="correct the pattern, or make the folder",
            )
        with self._folder.reaching("listing"):
            for batch in self._folder.store().list():
                for one in batch:
                    yield one["path"], one["e_tag"] or f"{one['last_modified'].isoformat()} {one['size']}"

    @cached_property
    def _parts(self) -> tuple[str, str]:
        """The folder that is listed, and the pattern within it."""
        fixed = re.split(r"[*{]", self.pattern, maxsplit=1)[0]
        folder, slash, _ = fixed.rpartition("/")
        return folder or ("/" if slash else "."), self.pattern[len(folder) + len(slash) :]

    @cached_property
    def _folder(self) -> Location:
        return Location.of(self._parts[0], self.options)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        text = ""
        seen = False
        for part in re.split(r"(\{partition(?::[^}]*)?\}|\*)", self._parts[1]):
            if part == "*":
                text += "[^/]*"
            elif _PLACE.fullmatch(part):
                piece = "[^/]+?" + "/[^/]+?" * (self._format or "").count("/")
                text += "(?P=partition)" if seen else f"(?P<partition>{piece})"
                seen = True
            else:
                text += re.escape(part)
        return re.compile(text)

    @cached_property
    def _format(self) -> str | None:
        found = _PLACE.search(self.pattern)
        return found[1] if found else None

    def _key(self, partitions: Partitions, text: str) -> str | None:
        value: Any = text
        try:
            if self._format:
                moment = datetime.strptime(text, self._format)
                value = moment if any(code in self._format for code in ("%H", "%I", "%M")) else moment.date()
            return partitions.key(partitions.parse(value))
        except (ValueError, PartitionError):
            return None
