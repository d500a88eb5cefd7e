"""The command line. [main][] is the console script ``lakehouse``."""

from lakehouse.cli.app import main

__all__ = ["main"]
