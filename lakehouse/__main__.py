"""``python -m lakehouse``: the command line."""

import sys

from lakehouse.cli import main

if __name__ == "__main__":
    sys.exit(main())
