"""What the time of an inline backfill is made of: a year of three assets, by the library in which it passes.

    python benchmarks/where_time_goes.py

A profile of `backfill.py`, in its own process: what a function spends outside the functions that it calls is put to
the account of the library that it belongs to; compiled functions, to that of their caller. The profiler makes Python
dearer than it is, so shares are to be read, not times.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
from collections import Counter
from pathlib import Path

import backfill
from harness import Watch


def room(file: str) -> str:
    """To whose account a file goes."""
    parts = Path(file).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1].removesuffix(".py")
    for name in ("lakehouse", "io", "checks"):
        if name in parts[-3:-1]:
            return f"lakehouse: {name if parts[-2] in ('lakehouse', name) else parts[-2]}"
    return "Python's own"


def split(days: int, chunk: int) -> Counter[str]:
    """Seconds by account."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        warm, measured = Path(folder, "warm"), Path(folder, "measured")
        work = backfill.ours("inline", chunk)
        work(warm, 1, Watch(warm))
        with cProfile.Profile() as profile:
            work(measured, days, Watch(measured))
    for (file, _, name), (_, _, own, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if file != "~":
            found[room(file)] += own
        elif kept := next((one for one in ("deltalake", "polars", "sqlite3") if one in name), None):
            found[kept] += own
        elif "posix." in name or "_io." in name:
            found["files and folders"] += own
        else:
            for (caller, _, _), (_, _, seconds, _) in callers.items():
                found[room(caller) if caller != "~" else "Python's own"] += seconds
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    days = 2 if parser.parse_args().smoke else 365
    columns = {"30 days at a time": split(days, 30), "all at once": split(days, 365)}
    print("| account | " + " | ".join(columns) + " |\n| --- " + "| --: " * len(columns) + "|")
    totals = {name: sum(found.values()) for name, found in columns.items()}
    accounts = sum(columns.values(), Counter()).most_common(14)
    for account, _ in accounts:
        shares = (f"{found[account] / totals[name]:.0%}" for name, found in columns.items())
        print(f"| {account} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    main()
