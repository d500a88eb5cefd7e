"""What is declared beside an asset's function: how patiently it is retried, and how fresh it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lakehouse.durations import DURATIONS, parse_duration
from lakehouse.errors import DefinitionError
from lakehouse.partitions import last_tick


@final
@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and how patiently a step is tried again.

    Parameters:
        times: further attempts after the first
        delay: seconds between attempts
        timeout: seconds that one attempt may take; None: as long as it needs
        split: whether a step that fails in its last attempt is made in parts, so that the partitions that can be made
            are published, and only the others fail; False: it stands or falls as a whole

    Raises:
        DefinitionError: a negative number

    Examples:
        >>> Retry(times=2, delay=30).times
        2
    """

    times: int = 0
    delay: float = 0
    timeout: float | None = None
    split: bool = True

    def __post_init__(self) -> None:
        if self.times < 0 or self.delay < 0 or (self.timeout is not None and self.timeout <= 0):
            raise DefinitionError(f"{self} can't be: times and delay are 0 or more, a timeout is more than 0 seconds")


@final
@dataclass(frozen=True, kw_only=True)
class Freshness:
    """How fresh an asset is kept: when it is refreshed, and when what is there is too old.

    Parameters:
        max_age: a published partition older than this is built anew; of partitions of time, only the newest one is
            held to it, for those before it are history. A ``timedelta``, or text such as ``"26h"``, ``"7d"``
        cron: when a deployed lakehouse refreshes it: five fields, such as ``"0 6 * * *"``. What has no inputs and isn't
            partitioned by time is built anew each time, for nothing else tells whether it is still right
        every: instead of ``cron``, the time between two refreshes
        after_inputs: instead of both, when one of its inputs publishes
        watched: of an external asset, instead of these: a deployed lakehouse watches it all the time, and what arrives
            starts within seconds what is refreshed after its inputs
        timezone: an IANA name; the clock that ``cron`` is of

    Raises:
        DefinitionError: a duration that is none, or more than one answer to when

    Examples:
        >>> Freshness(cron="0 6 * * *", max_age="26h").max_age
        datetime.timedelta(days=1, seconds=7200)
    """

    max_age: timedelta | None = None
    cron: str | None = None
    every: timedelta | None = None
    after_inputs: bool = False
    watched: bool = False
    timezone: str = "UTC"

    def __init__(
        self,
        *,
        max_age: timedelta | str | None = None,
        cron: str | None = None,
        every: timedelta | str | None = None,
        after_inputs: bool = False,
        watched: bool = False,
        timezone: str = "UTC",
    ) -> None:
        if sum((cron is not None, every is not None, after_inputs, watched)) > 1:
            raise DefinitionError(
                "Freshness takes one of cron, every, after_inputs and watched; more than one was given"
            )
        set_ = object.__setattr__
        set_(self, "max_age", _duration("max_age", max_age))
        set_(self, "cron", cron)
        set_(self, "every", _duration("every", every))
        set_(self, "after_inputs", after_inputs)
        set_(self, "watched", watched)
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
            raise DefinitionError(
                f"{timezone!r} is no time zone", hint="use an IANA name such as Europe/Berlin"
            ) from None
        set_(self, "timezone", timezone)
        if cron is not None:
            last_tick(cron, datetime(2000, 1, 1, tzinfo=UTC), timezone)  # says what is wrong with it

    def due(self, made: datetime, now: datetime) -> bool:
        """Whether its schedule has come round since something was made.

        Parameters:
            made: when that was begun; now: the present
        """
        # What was made in the future was made by a machine whose clock is wrong: that says nothing of when it was.
        if self.cron is not None:
            return made < last_tick(self.cron, now, self.timezone) or now < last_tick(self.cron, made, self.timezone)
        # A schedule's runs begin when a worker is free, so two of them may lie nearer together than its ticks.
        return self.every is not None and not -self.every < now - made < 0.5 * self.every

    @property
    def scheduled(self) -> bool:
        """Whether it says when the asset is refreshed."""
        return self.cron is not None or self.every is not None or self.after_inputs or self.watched


def _duration(name: str, given: timedelta | str | None) -> timedelta | None:
    if given is None:
        return None
    try:
        return parse_duration(given)
    except ValueError as error:
        raise DefinitionError(f"{name}={given!r:.100} is no duration: {error}", hint=DURATIONS) from None
