"""Where a root lies: local disk or S3, and the options that the storage libraries need to reach it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import unquote

from lakehouse.credentials import (
    NONE_GIVEN,
    from_machine,
    from_profile,
    machine_may_be_asked,
    tell_that_machine_is_asked,
)
from lakehouse.durations import parse_duration
from lakehouse.errors import LakehouseError, SettingsError, StorageError, panics_raised
from lakehouse.redaction import holds_credentials, names_secret, redacted

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("file", "s3")

_UNUSABLE = re.compile(r"[\[\]|^\\]|%[0-9A-Fa-f]{2}")
"""What Delta's library takes for something else than the characters that they are."""


@final
@dataclass(frozen=True)
class Location:
    """A folder, on disk or in a bucket.

    Parameters:
        uri: ``file:///...`` or ``s3://bucket/...``, without a slash at its end; no character of it is escaped
        options: object_store's options, by its own names (``aws_region``, ``timeout``, ``max_retries``, ...)

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
            SettingsError: another scheme, or a name that Delta tables can't live in
        """
        text = str(root)
        if holds_credentials(text):
            raise SettingsError(
                f"the storage root {text!r} holds credentials, which would be written down wherever it is",
                hint="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage_options",
            )
        scheme, mark, rest = text.partition("://")
        if not mark and re.match(r"(s3|file):", text):
            raise SettingsError(f"the storage root {text!r} lacks a slash", hint=text.replace(":/", "://", 1))
        if not mark:
            found = cls(f"file://{Path(text).expanduser().absolute().as_posix()}", dict(options or {}))
        elif scheme not in SCHEMES or not rest.strip("/"):
            raise SettingsError(
                f"the storage root {text!r} can't be used",
                hint="give a path, file:///absolute/path or s3://bucket/prefix",
            )
        elif scheme == "file":
            found = cls(f"file://{Path(unquote(rest)).absolute().as_posix()}", dict(options or {}))
        else:
            found = cls(text.rstrip("/"), {**_s3_options(), **(options or {})})
        if odd := _UNUSABLE.search(found.uri):
            raise SettingsError(
                f"the storage root {text!r} can't be used: no Delta table can live below a name with {odd[0]}",
                hint="give another place",
            )
        return found

    @cached_property
    def path(self) -> Path | None:
        """The folder, if it is on disk."""
        return Path(self.uri.removeprefix("file://")) if self.uri.startswith("file://") else None

    @property
    def target(self) -> str:
        """What the storage libraries are to be called with: a plain path on disk, else the URI."""
        return str(self.path) if self.path else self.uri

    @property
    def delta(self) -> dict[str, str] | None:
        """Storage options for Delta's library; None: none."""
        if self.path:
            return dict(self.options) or None
        self._see_credentials()
        # Without being made to, it doesn't look at profiles.
        return {**self.options, **({"aws_force_credential_load": "true"} if from_profile(self.options) else {})}

    @property
    def polars(self) -> dict[str, Any]:
        """Keyword arguments for polars' readers and writers."""
        self._see_credentials()
        renamed = {
            _POLARS[name]: round(_seconds(value) * 1000) if name in _DURATIONS else value
            for name, value in self.options.items()
            if name in _POLARS
        }
        if "max_retries" in self.options:
            renamed["max_retries"] = int(self.options["max_retries"])
        kept = {k: v for k, v in self.options.items() if k not in (*_POLARS, *_COMMITS, "max_retries")}
        # Polars would ask boto3 for credentials, wherever they are.
        credentials = "auto" if not self.path and from_profile(self.options) else None
        return {"storage_options": {**kept, **renamed} or None, "credential_provider": credentials}

    @property
    def brisk(self) -> Location:
        """The same place for small requests, which don't need the patience that large files do."""
        shorter = {
            name: most
            for name, most in _BRISK.items()
            if name in self.options and _seconds(self.options[name]) > _seconds(most)
        }
        return Location(self.uri, {**self.options, **shorter})

    def child(self, *names: str) -> Location:
        """A folder below this one."""
        return Location("/".join([self.uri, *names]), self.options)

    def store(self) -> ObjectStore:
        """An object store whose root is this folder."""
        from obstore.store import LocalStore, S3Store

        if self.path:
            # Built by whoever writes first; listing a folder that isn't there is an error on disk and none on S3.
            return LocalStore(self.path, mkdir=True)
        self._see_credentials()
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        options = self.options
        backoff = {
            name: timedelta(seconds=_seconds(options[f"backoff_config.{name}"]))
            for name in ("init_backoff", "max_backoff")
            if f"backoff_config.{name}" in options
        }
        retry: dict[str, Any] = {"backoff": backoff} if backoff else {}
        if "max_retries" in options:
            retry["max_retries"] = int(options["max_retries"])
        if "retry_timeout" in options:
            retry["retry_timeout"] = timedelta(seconds=_seconds(options["retry_timeout"]))
        client: dict[str, Any] = {name: options[name] for name in ("timeout", "connect_timeout") if name in options}
        if options.get("aws_allow_http") == "true":
            client["allow_http"] = True
        return S3Store(
            bucket,
            prefix=prefix or None,
            config={k: v for k, v in options.items() if k.startswith("aws_") and k not in _NO_CONFIG},  # type: ignore[arg-type]
            client_options=client,  # type: ignore[arg-type]
            retry_config=retry,  # type: ignore[arg-type]
            credential_provider=_profile(options),
        )

    @contextmanager
    def reaching(self, doing: str) -> Iterator[None]:
        """Turn whatever a storage library raises inside into one clear StorageError."""
        try:
            with panics_raised():
                yield
        except LakehouseError:
            raise
        except Exception as error:
            reason = cause(error, secrets=self._secrets)
            # What a library says is chained, unless it says a secret.
            chained = error if str(error) == redacted(str(error), self._secrets) else None
            raise StorageError(f"{doing} {self.uri} failed: {reason}", hint=self._hint(error)) from chained

    def _see_credentials(self) -> None:
        """See that nobody waits for a machine's own credentials without a word, or against their will."""
        if self.path or not from_machine(self.options):
            return
        if not machine_may_be_asked():
            raise StorageError(f"there are no AWS credentials for {self.uri}", hint=NONE_GIVEN)
        tell_that_machine_is_asked("s3://" + self.uri.removeprefix("s3://").partition("/")[0])

    @property
    def _secrets(self) -> tuple[str, ...]:
        """The values of its options that nobody is to read."""
        return tuple(value for name, value in self.options.items() if names_secret(name))

    def _hint(self, error: BaseException) -> str | None:
        text = str(error)
        if self.path:
            if "Permission denied" in text or isinstance(error, PermissionError):
                return f"see that {self.path} can be written, or set LAKEHOUSE_STORAGE to another place"
            if "No space left" in text:
                return "free some disk space and run it again; nothing was published"
            return None
        if "NoSuchBucket" in text:
            return "create the bucket, or set LAKEHOUSE_STORAGE to one that is there"
        if "169.254.169.254" in text:
            return "no AWS credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        endpoint = self.options.get("aws_endpoint_url", "AWS")
        return f"see that {endpoint} can be reached and that the credentials may use this bucket"


_BACKTRACE = re.compile(r"Debug source:|\n\s*(?:stack backtrace:|note: run with `RUST_BACKTRACE|0: )")
"""Where what went wrong ends, and where in a library's own code begins."""


def cause(error: BaseException, width: int = 400, secrets: Iterable[str] = ()) -> str:
    """What an error says, short enough for a message: one line, without colours, arrows and secrets."""
    said = re.sub(r"\x1b\[[0-9;]*m|↳", "", _BACKTRACE.split(str(error), maxsplit=1)[0])
    # Before it is cut: the rest of a secret would not be known for one.
    said = redacted(said, secrets)
    text = ": ".join(line.strip() for line in said.splitlines() if line.strip())
    if len(text) > width:
        # What was done is said at the beginning, what was wrong with it often at the end.
        text = f"{text[: width // 2]} … {text[-width // 2 :]}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _s3_options() -> dict[str, str]:
    """S3 as the environment describes it; conditional puts make a commit atomic without a lock table.

    The libraries' own patience (ten retries, three minutes) leaves people waiting before an endpoint that isn't there.
    """
    options = {
        "aws_conditional_put": "etag",
        "timeout": "60s",
        "connect_timeout": "4s",
        "max_retries": "8",
        "retry_timeout": "120s",
        "backoff_config.init_backoff": "250ms",
        "backoff_config.max_backoff": "8s",
    }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options["aws_endpoint_url"] = endpoint
        if endpoint.startswith("http://"):
            options["aws_allow_http"] = "true"
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        options["aws_region"] = region
    return options


_POLARS = {
    "aws_allow_http": "allow_http",
    "retry_timeout": "retry_timeout_ms",
    "backoff_config.init_backoff": "retry_init_backoff_ms",
    "backoff_config.max_backoff": "retry_max_backoff_ms",
}
_DURATIONS = frozenset(_POLARS) - {"aws_allow_http"}
_COMMITS = ("aws_conditional_put",)
_NO_CONFIG = ("aws_allow_http",)
_BRISK = {"timeout": "15s", "retry_timeout": "25s"}


def _seconds(duration: str) -> float:
    """Seconds of a duration as object_store writes it.

    Raises:
        SettingsError: it can't be read
    """
    try:
        return parse_duration(duration, zero=True).total_seconds()
    except ValueError as error:
        raise SettingsError(
            f"the storage option {duration!r:.100} is no duration: {error}", hint="write 250ms, 30s or 2m"
        ) from None


def _profile(options: Mapping[str, str]) -> Any:
    """Credentials of a profile, which the object store by itself can't read; None: it finds its own."""
    if not from_profile(options):
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider()
