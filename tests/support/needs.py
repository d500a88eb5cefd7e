"""What tests need of the machine: where it isn't there they are skipped, and where it has to be there they fail."""

from __future__ import annotations

import os

import pytest


def need(what: str, there: bool, how: str) -> None:
    """Skip the test where something isn't there; fail, if ``LAKEHOUSE_TESTS_REQUIRE`` names it among others.

    Parameters:
        what: a word for it, such as ``java``
        there: whether it is there
        how: how to get it
    """
    if there:
        return
    required = what in os.environ.get("LAKEHOUSE_TESTS_REQUIRE", "").split(",")
    (pytest.fail if required else pytest.skip)(f"there is no {what} here: {how}")
