"""Configuration: from the environment (``LAKEHOUSE_...``) and from ``[tool.lakehouse]`` in ``pyproject.toml``."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from lakehouse.definitions.compute import read_compute
from lakehouse.durations import parse_duration
from lakehouse.errors import DefinitionError, SettingsError
from lakehouse.planning.request import CHUNK
from lakehouse.redaction import MASK, holds_credentials, redacted
from lakehouse.schemas.compatibility import Compatibility

HOME = Path(".lakehouse")
"""Where everything lies that nobody gave another place to."""


THREADS = "threads"
"""The runner that needs no cluster."""

ENV_PREFIX = "LAKEHOUSE_"
"""What the environment's variables begin with."""


_PATHS = ("storage", "bronze", "silver", "gold", "dbt", "lineage")
"""Settings that are paths, or may hold one."""

_HIDDEN = ("storage_options", "compute")
"""Settings whose values nobody is shown."""


class Settings(BaseSettings):
    """What can be configured. The environment outweighs ``pyproject.toml``, arguments outweigh both.

    Relative paths in the environment and in ``pyproject.toml``, and those that nobody gave, belong to the folder of
    that file, from wherever they are read; without one, and as arguments, to the current folder.

    Parameters:
        module: the Python module that holds the assets; None: nobody has said
        dbt: folder of a dbt project whose models are Gold assets too
        dbt_target: where dbt builds: ``embedded``, or a target of type ``athena`` in the project's ``profiles.yml``
        storage: the root of all tables: a path, ``file://`` or ``s3://``
        bronze: another root for Bronze; silver: for Silver; gold: for Gold
        storage_options: more for the storage libraries, by object_store's names
        lineage: where facts are written: ``sqlite:///path`` or ``dynamodb://table``
        engine: what walks plans: ``prefect`` or ``inline``
        chunk: partitions in a step, at most
        workers: steps at a time
        retention: how far back ``state retain`` and ``maintain`` keep old versions, such as ``90d``; None: nobody has
            said
        shared_files: whether small partitions of tables that are yet to be made share files
        runner: where Prefect runs steps: ``threads``, or ``dask://host:port``, a Dask cluster's scheduler
        work_pool: the Prefect work pool that deployments run in
        compute: where functions are called, by selection, the last one counts: ``"here"``, ``"process"``, or
            ``{ work_pool = "ecs-extract", cpu = 1024, memory = 2048 }``, or
            ``{ glue_job = "cleanse", worker_type = "G.1X", workers = 2 }``; it outweighs what assets declare
        compatibility: what changes of a schema are to keep, by selection, the last one counts: ``full``, ``backward``,
            ``forward`` or ``none``; see [lakehouse.schemas.compatibility.Compatibility][]. By default ``full`` for
            assets that promise a schema, and ``none`` for others
        registry: where schemas are registered: ``embedded``, in lineage, or ``glue://registry``, AWS Glue's
        catalog: where other engines find tables: ``glue://``, AWS Glue's Data Catalog; ``glue://lake_``: in databases
            whose names begin so; None: nowhere
        queue: the queue (SQS) that tells of objects which arrive in buckets: its URL, or its name
        page: where ``lakehouse ui`` is reached, or what ``lakehouse catalog`` wrote: Prefect links to it
    """

    # Pydantic's own errors would show what was given.
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    module: str | None = None
    dbt: str | None = None
    dbt_target: str = "embedded"
    storage: str = str(HOME / "data")
    bronze: str | None = None
    silver: str | None = None
    gold: str | None = None
    storage_options: dict[str, str] = Field(default_factory=dict)
    lineage: str = f"sqlite:///{HOME / 'lineage.db'}"
    engine: Literal["prefect", "inline"] = "prefect"
    chunk: int = Field(default=CHUNK, ge=1)
    workers: int = Field(default=4, ge=1)
    retention: str | None = None
    shared_files: bool = True
    runner: str = THREADS
    work_pool: str | None = None
    queue: str | None = None
    page: str | None = None
    compute: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    compatibility: dict[str, Compatibility] = Field(default_factory=dict)
    registry: str = "embedded"
    catalog: str | None = None

    @field_validator("compute")
    @classmethod
    def _known_places(cls, value: dict[str, str | dict[str, Any]]) -> dict[str, str | dict[str, Any]]:
        for given in value.values():
            try:
                read_compute(given)
            except (DefinitionError, TypeError) as error:
                raise ValueError(
                    f"{error.message}; {error.hint}" if isinstance(error, DefinitionError) else error
                ) from None
        return value

    @field_validator("retention")
    @classmethod
    def _a_duration(cls, value: str | None) -> str | None:
        if value is not None:
            parse_duration(value)
        return value

    @field_validator("runner")
    @classmethod
    def _known_runner(cls, value: str) -> str:
        if value != THREADS and not value.startswith("dask://"):
            raise ValueError("is neither threads nor dask://host:port")
        return value

    @field_validator("page")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("is no http:// or https:// address")
        return value

    @field_validator("storage", "bronze", "silver", "gold", "lineage", "runner", "registry", "catalog", "page")
    @classmethod
    def _no_credentials(cls, value: str | None) -> str | None:
        # Where a table lies is written into facts, deployments and pages.
        if value is not None and holds_credentials(value):
            raise ValueError("holds credentials; set AWS_PROFILE, AWS_ACCESS_KEY_ID, ... or storage_options instead")
        return value

    @field_validator("storage", "lineage")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty")
        return value

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            shown = dict.fromkeys(value, MASK) if isinstance(value, dict) else value
            yield name, redacted(shown) if isinstance(shown, str) else shown

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; the file comes in by way of [load_settings][]."""
        return init_settings, env_settings


def load_settings(folder: Path | None = None, **given: Any) -> Settings:
    """Read the configuration that is in force.

    Parameters:
        folder: where to look for ``pyproject.toml``, and then in the folders above it; the current one by default
        given: settings that outweigh everything

    Raises:
        SettingsError: something in it can't be used; says where it stands

    Examples:
        >>> load_settings(chunk=7).chunk
        7
    """
    _check_names(os.environ)
    file, table = _from_pyproject(folder or Path.cwd())
    # What the environment says outweighs the file, so only what it leaves open is taken from there.
    said = _settings(given, given, ENV_PREFIX).model_fields_set
    open_ = {k: v for k, v in table.items() if k not in said}
    found = _settings(open_ | given, given, f"{file} [tool.lakehouse] ")
    return found if file is None else _placed(found, file.parent, given)


def _placed(found: Settings, folder: Path, given: Container[str]) -> Settings:
    """Settings whose paths mean the same from every folder below the project's."""
    if folder == Path.cwd():
        return found
    places = {name: getattr(found, name) for name in _PATHS if name not in given}
    placed = {name: _below(folder, value) for name, value in places.items() if value is not None}
    return found.model_copy(update=placed)


def _below(folder: Path, value: str) -> str:
    """A relative path below a folder; anything else as it is."""
    scheme, mark, rest = value.partition("://")
    if mark and scheme == "sqlite":
        path = rest.removeprefix("/")
        relative = path != rest and path and not path.startswith(("/", "~"))
        return f"sqlite:///{folder / path}" if relative else value
    return value if mark or value.startswith("~") else str(folder / value)


def _check_names(environment: Mapping[str, str]) -> None:
    """Refuse a variable that is nearly a setting's: a typing error must not send data to the default place."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in environment:
        if name.startswith(ENV_PREFIX) and name not in known:
            meant = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if meant:
                raise SettingsError(f"the variable {name} is no setting", hint=f"did you mean {meant[0]}?")


def _settings(values: Mapping[str, Any], given: Container[str], source: str) -> Settings:
    """Make settings; a fault in a value that wasn't given as an argument is reported with its source."""
    try:
        return Settings(**values)
    except ValidationError as error:
        fault = error.errors()[0]
        setting, *inner = map(str, fault["loc"])
        name = setting
        if name not in given:
            name = source + (name.upper() if source == ENV_PREFIX else name)
        value = fault.get("input")
        # What nobody knows the meaning of may be a secret as well.
        shown = _textless(value) if setting in _HIDDEN or setting not in Settings.model_fields else f" = {value!r}"
        raise SettingsError(
            f"{'.'.join([name, *inner])}{shown} can't be used: {fault['msg']}",
            hint=f"settings are {', '.join(Settings.model_fields)}",
        ) from None
    except UnreadableError as error:
        name = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise SettingsError(
            f"{ENV_PREFIX}{name.upper()} can't be used: it is no JSON: {error.__cause__}",
            hint="""for example '{"key": "value"}'""",
        ) from None


def _textless(value: Any) -> str:
    """A value as it is told where texts may be secrets: numbers are shown, whatever has text isn't."""
    said = repr(value)
    return "" if "'" in said or '"' in said else f" = {said}"


def _from_pyproject(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        if file.is_file():
            try:
                tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
            except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{file} can't be read: {error}") from None
            table = tool.get("lakehouse", {}) if isinstance(tool, dict) else {}
            if not isinstance(table, dict):
                raise SettingsError(
                    f"{file} tool.lakehouse{_textless(table)} can't be used: it is no table",
                    hint=f"settings are {', '.join(Settings.model_fields)}, below [tool.lakehouse]",
                )
            return file, {str(k).replace("-", "_"): v for k, v in table.items()}
    return None, {}


def project_folder() -> Path | None:
    """The folder of the ``pyproject.toml`` that settings are read from; None: there is none."""
    file, _ = _from_pyproject(Path.cwd())
    return None if file is None else file.parent
