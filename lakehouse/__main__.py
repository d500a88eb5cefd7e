"""``python -m lakehouse``: the command line."""

from lakehouse.cli import run

if __name__ == "__main__":
    run()
