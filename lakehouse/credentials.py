"""Where AWS credentials will come from, as far as that can be told without asking anybody for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from lakehouse.redaction import logger

log = logger()

NONE_GIVEN: Final = "log in (aws sso login), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
"""What to do where there are none."""

_GIVEN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
_VENDOR = Path("/sys/class/dmi/id/sys_vendor")


def from_profile(options: Mapping[str, str]) -> bool:
    """Whether they have to come from a profile: a file of the user's, and nothing nearer.

    Parameters:
        options: object_store's options
    """
    if "aws_access_key_id" in options or any(os.environ.get(name) for name in _GIVEN):
        return False
    return any(Path(os.environ.get(name) or usual).expanduser().exists() for name, usual in _FILES.items())


def from_machine(options: Mapping[str, str]) -> bool:
    """Whether nobody has given any, so that only the machine itself could have some, by its metadata address."""
    signed = options.get("aws_skip_signature", os.environ.get("AWS_SKIP_SIGNATURE", "")).lower() not in ("true", "1")
    given = "aws_access_key_id" in options or any(os.environ.get(name) for name in _GIVEN)
    return signed and not given and not from_profile(options)


def machine_may_be_asked() -> bool:
    """Whether the metadata address may be called at all."""
    return os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true"


@cache
def tell_that_machine_is_asked(what: str) -> None:
    """Say it before it is done, once: anywhere but on a machine of AWS it takes its time, and nobody answers.

    Parameters:
        what: the place that credentials are needed for
    """
    of_aws = _VENDOR.exists() and "amazon" in _VENDOR.read_text(errors="replace").lower()
    (log.info if of_aws else log.warning)(
        "%s: no AWS credentials are set, so this machine is asked for some at its metadata address (169.254.169.254), "
        "where only machines of AWS answer; %s; AWS_EC2_METADATA_DISABLED=true keeps it from being asked",
        what,
        NONE_GIVEN,
    )
