"""Where a project's models are built: ``embedded``, or a target that its profiles.yml describes."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from lakehouse.errors import SettingsError, nearest, shorten
from lakehouse.integrations.dbt.embedded import output
from lakehouse.integrations.dbt.runner import dbt_runner, in_a_line

EMBEDDED: Final = "embedded"
"""A DuckDB database for each call; needs no profile."""


@final
@dataclass(frozen=True)
class Target:
    """A target of dbt's.

    Parameters:
        name: as it is chosen by
        profile: the profile that it is of
        output: what is said of it there, not rendered
    """

    name: str
    profile: str
    output: Mapping[str, Any]

    @property
    def athena(self) -> bool:
        """Whether dbt-athena builds there."""
        return self.output.get("type") == "athena"

    def credentials(self) -> Any:
        """What dbt makes of it, with the environment's values: the adapter's credentials.

        Raises:
            SettingsError: it can't be used
        """
        return copy_context().run(self._credentials)

    def _credentials(self) -> Any:
        from dbt.config.profile import Profile
        from dbt.config.renderer import ProfileRenderer
        from dbt_common.context import set_invocation_context
        from dbt_common.exceptions import DbtRuntimeError

        set_invocation_context(os.environ)
        raw = {"target": self.name, "outputs": {self.name: dict(self.output)}}
        try:
            found = Profile.from_raw_profile_info(raw, self.profile, ProfileRenderer({}), target_override=self.name)
        except DbtRuntimeError as error:
            raise SettingsError(f"the dbt target {self.name} can't be used: {in_a_line(error)}") from error
        return found.credentials


def find_target(folder: Path, name: str) -> Target:
    """The target of a project by its name; nothing is connected to.

    Parameters:
        folder: where ``dbt_project.yml`` is
        name: ``embedded``, or the name of an output in ``profiles.yml``: the project's own, that of
            ``DBT_PROFILES_DIR``, or that of ``~/.dbt``

    Raises:
        SettingsError: there is no such target, or it is of a kind that can't be used

    Examples:
        >>> find_target(Path("shop/dbt"), "embedded").output["type"]
        'duckdb'
    """
    if name == EMBEDDED:
        return Target(EMBEDDED, "lakehouse", output())
    dbt_runner()
    from dbt.config.profile import read_profile
    from dbt.config.project import load_raw_project
    from dbt_common.exceptions import DbtRuntimeError

    places = [folder, *map(Path, filter(None, [os.environ.get("DBT_PROFILES_DIR")])), Path.home() / ".dbt"]
    place = next((p for p in places if (p / "profiles.yml").is_file()), None)
    if place is None:
        raise SettingsError(
            f"the dbt target {name!r} is not described anywhere: there is no profiles.yml in {shorten(places)}",
            hint=f"write one beside dbt_project.yml, or choose the target {EMBEDDED!r}, which needs none",
        )
    try:
        profile = str(load_raw_project(str(folder)).get("profile", ""))
        known = (read_profile(str(place)).get(profile) or {}).get("outputs") or {}
    except DbtRuntimeError as error:
        raise SettingsError(f"{place / 'profiles.yml'} can't be read: {in_a_line(error)}") from error
    if name not in known:
        there = list(dict.fromkeys([EMBEDDED, *map(str, known)]))
        raise SettingsError(
            f"the profile {profile!r} in {place / 'profiles.yml'} has no target {name!r}; there are {shorten(there)}",
            hint=nearest(name, there) or "set LAKEHOUSE_DBT_TARGET to one of them",
        )
    found = Target(name, profile, known[name])
    if not found.athena:
        raise SettingsError(
            f"the dbt target {name!r} is of type {found.output.get('type')!r}, which models can't be built with",
            hint=f"choose one of type athena, or {EMBEDDED!r}, which is DuckDB",
        )
    if importlib.util.find_spec("dbt.adapters.athena") is None:
        raise SettingsError(
            f"the dbt target {name!r} needs dbt-athena, which is not installed", hint="pip install 'lakehouse[aws]'"
        )
    return found
