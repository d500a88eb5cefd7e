from __future__ import annotations

from collections.abc import Callable

import pytest

from lakehouse import Lakehouse
from lakehouse.web.look import Look, Looking
from lakehouse.web.pages import Pages, Shown
from tests.support.pages import PageText
from tests.support.toy_lake import lake as lake
from tests.support.toy_lake import spoil as spoil

DAYS = "2013-01-01...2013-01-06"


@pytest.fixture
def troubled(lake: Lakehouse, spoil: Callable[..., None]) -> Lakehouse:
    """A lakehouse in which a day is held back, one failed and one warns."""
    spoil(negative=["2013-01-03"])
    lake.materialize("+gold.totals", DAYS, engine="inline", raise_on_failure=False)
    spoil(raises=["2013-01-09"], add=995)
    lake.materialize("+gold.totals", "2013-01-08...2013-01-09", engine="inline", raise_on_failure=False)
    return lake


@pytest.fixture
def look(troubled: Lakehouse) -> Look:
    return Looking(troubled).look()


@pytest.fixture
def pages() -> Pages:
    return Pages("toys", Shown())


@pytest.fixture
def read() -> Callable[[str], PageText]:
    """Read a page, and see that it can do nothing."""

    def page(html: str) -> PageText:
        found = PageText(html)
        found.see_harmless()
        return found

    return page
