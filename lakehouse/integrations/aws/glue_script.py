"""What a Glue job runs: it carries out exactly one order, which its arguments name.

The job's own script is two lines, for all else comes with the wheel:

    from lakehouse.integrations.aws.glue_script import main
    main()
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from itertools import pairwise

from lakehouse.errors import ComputeError
from lakehouse.execution.carry_out import carry_out
from lakehouse.redaction import logger
from lakehouse.settings import load_settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what an order says, and leave a manifest; nothing is published, and no lineage store is needed.

    Parameters:
        arguments: ``--order`` and its URI, among those that Glue gives; None: those of the process

    Raises:
        ComputeError: no order is named, it was withdrawn, means other code, or is not done by its deadline
        StepError: what the function raised; the manifest says so too
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    logger().setLevel(logging.INFO)
    named = [value for name, value in pairwise(given) if name == "--order"]
    if not named:
        raise ComputeError("this run was given no order", hint='GlueJob("...") on an asset starts it with one: --order')
    carry_out(named[0], load_settings().storage_options or None, alone=True)
