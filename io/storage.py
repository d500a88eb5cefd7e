"""Where a root lies: local disk or S3, and what the storage libraries have to be told to reach it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

from lakehouse.errors import LakehouseError, SettingsError, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("file", "s3")


@final
@dataclass(frozen=True)
class Location:
    """A folder, on disk or in a bucket.

    Parameters:
        uri: ``file:///...`` or ``s3://bucket/...``, without a slash at its end
        options: what object_store has to be told, by its own names (``aws_region``, ...)

    Examples:
        >>> Location.of("s3://lake/silver/", {}).child("flights").uri
        's3://lake/silver/flights'
    """

    uri: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, root: str | Path, options: Mapping[str, str] | None = None) -> Location:
        """Read a root as people write it: a path, ``file://...`` or ``s3://...``.

        Raises:
            SettingsError: another scheme
        """
        text = str(root)
        scheme, mark, rest = text.partition("://")
        if not mark:
            return cls(f"file://{Path(text).expanduser().absolute()}", dict(options or {}))
        if scheme not in SCHEMES or not rest.strip("/"):
            raise SettingsError(
                f"the storage root {text!r} can't be used",
                hint="give a path, file:///absolute/path or s3://bucket/prefix",
            )
        if scheme == "file" and not rest.startswith("/"):
            return cls(f"file://{Path(rest).absolute()}", dict(options or {}))
        return cls(text.rstrip("/"), {**_s3_options(), **(options or {})} if scheme == "s3" else dict(options or {}))

    @property
    def path(self) -> Path | None:
        """The folder, if it is on disk."""
        return Path(self.uri.removeprefix("file://")) if self.uri.startswith("file://") else None

    @property
    def target(self) -> str:
        """What the storage libraries are to be called with: a plain path on disk, else the URI."""
        return str(self.path) if self.path else self.uri

    def child(self, *names: str) -> Location:
        """A folder below this one."""
        return Location("/".join([self.uri, *names]), self.options)

    def store(self) -> ObjectStore:
        """An object store whose root is this folder."""
        from obstore.store import from_url

        if self.path:
            # Made by whoever writes first; listing a folder that isn't there is an error on disk and none on S3.
            return from_url(self.uri, mkdir=True)
        return from_url(self.uri, config=dict(self.options), client_options=_client(self.options))  # type: ignore[call-overload, no-any-return]

    @contextmanager
    def reaching(self, doing: str) -> Iterator[None]:
        """Turn whatever a storage library raises inside into one clear StorageError."""
        try:
            yield
        except LakehouseError:
            raise
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except Exception as error:
            raise StorageError(f"{doing} {self.uri} failed: {first_line(error)}", hint=self._hint(error)) from error

    def _hint(self, error: Exception) -> str | None:
        text = str(error)
        if self.path:
            if "Permission denied" in text or isinstance(error, PermissionError):
                return f"see that {self.path} can be written, or set LAKEHOUSE_STORAGE to another place"
            if "No space left" in text:
                return "free some disk space and run it again; nothing was published"
            return None
        if "NoSuchBucket" in text:
            return "create the bucket, or set LAKEHOUSE_STORAGE to one that is there"
        endpoint = self.options.get("aws_endpoint_url", "AWS")
        return f"see that {endpoint} can be reached and that the credentials may use this bucket"


def first_line(error: BaseException, width: int = 300) -> str:
    """What an error says, short enough for a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    return f"{type(error).__name__}: {text[:width]}" if text else type(error).__name__


def _s3_options() -> dict[str, str]:
    """S3 as the environment describes it; conditional puts make a commit atomic without a lock table."""
    options = {"aws_conditional_put": "etag", "timeout": "30s", "connect_timeout": "5s"}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options["aws_endpoint_url"] = endpoint
        if endpoint.startswith("http://"):
            options["aws_allow_http"] = "true"
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        options["aws_region"] = region
    return options


_CLIENT = ("timeout", "connect_timeout", "allow_http")


def _client(options: Mapping[str, str]) -> dict[str, str | bool]:
    return {k: v for k, v in options.items() if k in _CLIENT} | (
        {"allow_http": True} if options.get("aws_allow_http") == "true" else {}
    )
