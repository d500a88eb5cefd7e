"""The command line. [run][] is the console script ``lakehouse``, [main][] the same as a function.

Knows everything, and what a command costs to import. It must not work anything out: verbs do, and nothing imports it.
"""

import atexit
import os
import sys

from lakehouse.cli.app import main

__all__ = ["main", "run"]


def run() -> None:
    """Do what the command line says, and leave with its exit code."""
    code = main()
    if "duckdb" in sys.modules:
        # Where a module still holds one of its values, DuckDB's bindings end the output with pages on leaks, while the
        # interpreter is taken apart. So everything else is ended properly, and the taking apart is left out.
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue  # whoever read it has left
        os._exit(code)
    sys.exit(code)
