"""What tests need of a machine: without it they are skipped with a reason, or fail where it is required."""

from __future__ import annotations

import os

import pytest

VARIABLE = "LAKEHOUSE_TESTS_REQUIRE"
"""Names what has to be there, such as ``browser,java``: then a test that would be skipped for lack of it fails."""


def require(what: str, there: object, reason: str) -> None:
    """Go on only if something is there.

    Parameters:
        what: what the variable calls it
        there: whether it is there
        reason: what is lacking
    """
    if there:
        return
    if what in os.environ.get(VARIABLE, "").split(","):
        pytest.fail(f"{VARIABLE} asks for {what}: {reason}", pytrace=False)
    pytest.skip(reason)
