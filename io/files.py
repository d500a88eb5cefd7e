"""Files as they are: those that others write, and those that a raw asset keeps.

Which there are, what partition each belongs to, whether they changed, and what is in them.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, TypeAlias, final
from urllib.parse import unquote, urlsplit

from lakehouse.errors import DefinitionError, LakehouseError, StepError, StorageError, count, shorten
from lakehouse.io.patterns import Pattern, reading
from lakehouse.io.storage import Location, cause
from lakehouse.partitions import Key, Partitions
from lakehouse.redaction import logger, redacted

if TYPE_CHECKING:
    from obstore.store import ObjectStore

log = logger("lakehouse")

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_MEMORY = 8 * 1024 * 1024
"""Bytes of a file that are held in memory, at most; a longer one is held on disk."""
_PIECE = 1024 * 1024


class Opens(Protocol):
    """Something that opens as a stream of bytes."""

    def open(self, mode: str = "rb", /) -> Any:
        """A stream of its bytes."""
        ...


Content: TypeAlias = bytes | str | Path | IO[bytes] | Iterable[bytes] | Opens
"""What a file holds: its bytes, a path or URL of it, a stream, or pieces one after the other."""


@final
@dataclass(frozen=True)
class RawFile:
    """A file: what a raw asset's function yields, what its consumers are given, and what a source has.

    Parameters:
        name: what it is called
        content: its bytes, a stream or pieces of them; or where it lies: a path, ``s3://``, ``https://``
        partition: the partition that it belongs to: its key, or the value behind it; may be left out where there is
            but one
        source: where it came from; by default where it lies
        sha256: its SHA-256 in hexadecimal digits, as the source gives it: what arrives otherwise is held back
        size: how many bytes it has, as the source gives it; the same
        rows: how many rows it holds, where that is known
        extracted_at: when it was read from its source
        run: the run that landed it
        version: changes whenever the file does, where that is known
        options: more for the storage library, by object_store's names

    Examples:
        >>> RawFile("a.csv", b"n\\n1\\n", "2013-01-01").read()
        b'n\\n1\\n'
    """

    name: str
    content: Content = field(repr=False)
    partition: Key | None = None
    source: str = ""
    sha256: str = ""
    size: int | None = None
    rows: int | None = None
    extracted_at: datetime | None = None
    run: str = ""
    version: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    is_raw_file: ClassVar = True
    """By this an annotation is known to be one of files."""

    @classmethod
    def at(cls, place: str | Path, partition: Key | None = None, **more: Any) -> RawFile:
        """The file that lies at a place, by the name that it has there.

        Parameters:
            place: a path, ``s3://``, ``https://``
            partition: the partition that it belongs to
            more: what else is known of it

        Examples:
            >>> RawFile.at("https://example.org/in/a%20b.csv?key=1").name
            'a b.csv'
        """
        path = urlsplit(str(place)).path if _URL.match(str(place)) else str(place)
        return cls(unquote(path).rstrip("/").rpartition("/")[2], place, partition, **more)

    @property
    def uri(self) -> str:
        """Where it lies; where it lies nowhere, its name."""
        return str(self.content) if isinstance(self.content, str | Path | StoredContent) else self.name

    def open(self) -> BinaryIO:
        """Its bytes as a stream, from the beginning. One that was read from somewhere else is held on disk meanwhile.

        Raises:
            StepError: there is no such file
            StorageError: it can't be read
        """
        try:
            return self._opened()
        except FileNotFoundError:
            raise StepError(f"there is no file {redacted(self.uri)}", hint="see what became of it") from None
        except LakehouseError:
            raise
        except OSError as error:
            raise StorageError(f"reading {redacted(self.uri)} failed: {cause(error)}") from error

    def read(self) -> bytes:
        """All of its bytes."""
        with self.open() as stream:
            return stream.read()

    def _opened(self) -> BinaryIO:
        content: Any = self.content
        if isinstance(content, bytes | bytearray | memoryview):
            return io.BytesIO(content)
        if isinstance(content, str):
            content = _at(content, self.options)
        if hasattr(content, "open"):
            opened: BinaryIO = content.open("rb")
            return opened
        if hasattr(content, "read"):
            stream: BinaryIO = content
            return stream
        return spooled(_pieces(content, self.name))

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path on this machine where its bytes can be read for now; its name ends as the file's does.

        Raises:
            StepError, StorageError: as [RawFile.open][]
        """
        local = self.content if isinstance(self.content, Path) else getattr(self.content, "local", None)
        if isinstance(local, Path) and local.is_file():
            yield local
            return
        with tempfile.TemporaryDirectory(prefix="lakehouse-") as folder:
            path = Path(folder, f"file{''.join(Path(self.name).suffixes[-2:])[-40:]}")
            with self.open() as stream, path.open("wb") as copy:
                shutil.copyfileobj(stream, copy, _PIECE)
            yield path


RawFiles: TypeAlias = Iterable[RawFile]
"""Files: what a raw asset's function returns, and the annotation of a parameter that wants to be given them."""


@final
@dataclass(frozen=True)
class StoredContent:
    """What is stored at a path of an object store.

    Parameters:
        uri: where, in words
        store: gives the store
        path: the path in it
        local: the same as a file of this machine, if it is one
    """

    uri: str
    store: Any = field(repr=False)
    path: str
    local: Path | None = None

    def open(self, mode: str = "rb", /) -> BinaryIO:
        """Its bytes."""
        if self.local is not None:
            return self.local.open("rb")
        store: ObjectStore = self.store()
        try:
            found = store.get(self.path)
            return spooled(bytes(piece) for piece in found.stream())
        except FileNotFoundError:
            raise
        except Exception as error:
            raise StorageError(f"reading {redacted(self.uri)} failed: {cause(error)}") from error

    def __str__(self) -> str:
        return self.uri


def spooled(pieces: Iterable[bytes]) -> BinaryIO:
    """Pieces of bytes as a stream that can be read again: in memory if they are few, else on disk.

    Parameters:
        pieces: the bytes

    Returns:
        the stream, which the caller closes
    """
    stream = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115
    try:
        for piece in pieces:
            stream.write(piece)
    except BaseException:
        stream.close()
        raise
    stream.seek(0)
    return stream  # type: ignore[return-value]


@final
@dataclass(frozen=True)
class Copy:
    """A copy of a file's content, to be closed after use.

    Parameters:
        stream: the bytes, from the beginning
        size: how many there are
        sha256: their SHA-256, in hexadecimal digits
    """

    stream: BinaryIO
    size: int
    sha256: str

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def __del__(self) -> None:
        self.stream.close()


def copied(file: RawFile) -> Copy:
    """A copy of a file's content; the file is read once.

    Parameters:
        file: the file

    Raises:
        StepError, StorageError: as [RawFile.open][]
    """
    digest, size = hashlib.sha256(), 0

    def pieces(stream: BinaryIO) -> Iterator[bytes]:
        nonlocal size
        while piece := stream.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            yield piece

    with file.open() as stream:
        copy = spooled(pieces(stream))
    return Copy(copy, size, digest.hexdigest())


def _pieces(content: Any, name: str) -> Iterator[bytes]:
    try:
        pieces = iter(content)
    except TypeError:
        raise StepError(
            f"the content of the file {name!r} is {type(content).__name__}",
            hint="give bytes, a stream, a path or a URL",
        ) from None
    for piece in pieces:
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise StepError(f"the content of the file {name!r} yields {type(piece).__name__}; it has to be bytes")
        yield bytes(piece)


def _at(place: str, options: Mapping[str, str]) -> Path | StoredContent:
    """What lies at a path or URL."""
    if not _URL.match(place):
        return Path(place).expanduser()
    if place.lower().startswith("file://"):
        return Path(unquote(urlsplit(place).path))
    if place.startswith("s3://"):
        bucket, _, key = place.removeprefix("s3://").partition("/")
        return StoredContent(place, Location.of(f"s3://{bucket}", options).store, key)
    if place.lower().startswith(("http://", "https://")):
        from obstore.store import HTTPStore

        # The whole URL, as it is: it may be signed.
        plain: dict[str, Any] = {"client_options": {"allow_http": True}}
        return StoredContent(place, lambda: HTTPStore.from_url(place, **plain), "")
    raise StepError(
        f"the file {redacted(place)!r} can't be read from there", hint="give a path, file://, s3:// or https://"
    )


@final
@dataclass(frozen=True)
class Files:
    """Files that lie below a folder, named by a pattern. What a [lakehouse.source][] may return.

    Parameters:
        pattern: a path, ``file://`` or ``s3://``. ``*`` stands for any part of a name, ``**/`` for any folders;
            ``{partition}`` for the key of the partition that a file belongs to, or ``{partition:%Y/%m/%d}`` where it is
            written otherwise; of several dimensions each may be named by itself: ``{region}/{date:%Y%m%d}.csv``
        options: more for the storage library, by object_store's names

    Examples:
        >>> Files("landing/flights-{partition:%Y%m%d}.csv").pattern
        'landing/flights-{partition:%Y%m%d}.csv'
    """

    pattern: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def by_partition(self, partitions: Partitions) -> dict[str, list[RawFile]]:
        """The files of each partition, by its key; what fits no partition is left out.

        Raises:
            DefinitionError: the pattern doesn't say which partition a file belongs to, or says it in two ways
            StorageError: the folder isn't there, or can't be listed
        """
        pattern, read = self._pattern, reading(partitions)
        pattern.check(partitions)
        found: dict[str, list[RawFile]] = {}
        without: list[str] = []
        for path, version in sorted(self._listed()):
            if not pattern.fits(path):
                continue
            keys = pattern.keys(path, partitions, read)
            if len(keys) > 1:
                raise DefinitionError(
                    f"the files {self.pattern!r}: {path!r} may be of {shorten(keys)}",
                    hint="put between {partition} and what is beside it what no key has, or write {partition:%Y%m%d}",
                )
            if keys:
                found.setdefault(keys[0], []).append(self._file(path, keys[0], version))
            else:
                without.append(path)
        if without and not found:
            log.warning(
                "the files %r: %s, and none of them belongs to a partition of %s: %s",
                redacted(self.pattern),
                count(len(without), "file"),
                partitions,
                shorten(without, 3),
            )
        return found

    @property
    def in_bucket(self) -> bool:
        """Whether they lie in a bucket."""
        return self.pattern.startswith("s3://")

    def may_hold(self, uri: str) -> bool:
        """Whether what lies there is one of them, by its name.

        Parameters:
            uri: a path on disk, or ``s3://...``

        Examples:
            >>> Files("s3://lake/in/{partition}.csv").may_hold("s3://lake/in/2013-01-01.csv")
            True
        """
        folder = f"{self._folder.target}/"
        return uri.startswith(folder) and self._pattern.fits(uri.removeprefix(folder))

    def _file(self, path: str, key: str, version: str) -> RawFile:
        folder = self._folder
        local = None if folder.path is None else folder.path / path
        content = StoredContent(f"{folder.target}/{path}", folder.store, path, local)
        return RawFile(path.rpartition("/")[2], content, key or None, version=version)

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
        folder, slash, _ = self.pattern[: Pattern.begins(self.pattern)].rpartition("/")
        return folder or ("/" if slash else "."), self.pattern[len(folder) + len(slash) :]

    @cached_property
    def _pattern(self) -> Pattern:
        return Pattern(self._parts[1])

    @cached_property
    def _folder(self) -> Location:
        return Location.of(self._parts[0], self.options)
