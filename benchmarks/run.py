"""All benchmarks and promises, one after the other, into RESULTS.md.

    make bench

Some subjects alone: `python benchmarks/run.py --only backfill large_step --repeats 1`; what was measured of the others
before stays, with when that was. One that takes long is cut down by its options below, so that all of it takes less
than half an hour on two cores that are free.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness import HERE, PEER

SUBJECTS = {
    "backfill.py": (),
    "one_more_day.py": (),
    "history.py": (),
    "planning.py": (),
    "partitions.py": (),
    "concurrency.py": (),
    "cold_start.py": (),
    "large_step.py": (),
    "where_time_goes.py": (),
    "many_rows.py": (),
}
"""Scripts beside this one, in the order of the results, with options."""

PROMISES = (
    "integer_column",
    "naive_datetime_column",
    "hourly_column",
    "range_again",
    "fault_while_opening",
    "failing_check",
    "one_bad_day",
)
LIBRARIES = ("polars", "deltalake", "pyarrow", "pandera", "prefect", "duckdb")
PEERS = ("dagster", "dagster-deltalake-polars", "deltalake", "polars")


def machine() -> str:
    """What it ran on."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in told.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    cores = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}, {memory:.0f} GB"
    return f"{cores}, {platform.system()}, Python {platform.python_version()}; load when it began: {load:.1f}"


def versions(python: str, names: tuple[str, ...]) -> str:
    """Which libraries an environment has."""
    if python == sys.executable:
        return ", ".join(f"{name} {version(name)}" for name in names)
    code = f"from importlib.metadata import version\nprint(', '.join(n + ' ' + version(n) for n in {names!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def about(script: Path) -> tuple[str, str]:
    """A script's docstring: its first line, and what follows without the command."""
    first, _, rest = (ast.get_docstring(ast.parse(script.read_text())) or "").partition("\n")
    paragraphs = [part for part in rest.strip().split("\n\n") if not part.startswith("    ")]
    return first, "\n\n".join(paragraphs)


def measured(script: Path, options: tuple[str, ...]) -> str:
    """A subject's section."""
    began = time.monotonic()
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.0f}"
    done = subprocess.run([sys.executable, script, *options], stdout=subprocess.PIPE, text=True)
    found = done.stdout.strip() if done.returncode == 0 else f"It failed with exit code {done.returncode}."
    first, rest = about(script)
    command = " ".join(["python", f"benchmarks/{script.name}", *options])
    took = f"`{command}` ({when}; {(time.monotonic() - began) / 60:.1f} minutes)"
    return "\n\n".join(part for part in (title(script.name), first, rest, took, found) if part)


def title(name: str) -> str:
    """The heading of a subject."""
    return f"## {Path(name).stem.replace('_', ' ').capitalize()}"


def kept(results: Path) -> dict[str, str]:
    """The sections that were written before, by their headings."""
    _, *sections = ("\n" + (results.read_text() if results.exists() else "")).split("\n## ")
    return {f"## {text.partition(chr(10))[0]}": f"## {text.strip()}" for text in sections}


def promised(name: str) -> str:
    """What both say of a promise."""
    sides = [("lakehouse", sys.executable, f"{name}.py")]
    if PEER.exists():
        sides.append(("Dagster", str(PEER), f"dagster_{name}.py"))
    parts = [f"### {name.replace('_', ' ').capitalize()}", about(HERE / "promises" / f"{name}.py")[0]]
    for who, python, script in sides:
        print(script, file=sys.stderr, flush=True)
        done = subprocess.run([python, HERE / "promises" / script], capture_output=True, text=True)
        said = done.stdout.strip() if done.returncode == 0 else (done.stdout + done.stderr).strip()[-1000:]
        parts += [f"{who} (`benchmarks/promises/{script}`):", f"```text\n{said}\n```"]
    return "\n\n".join(parts)


def main() -> None:
    """Write the results, anew after each section: what was measured stays when a run is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="subjects: backfill, large_step, ... (all of them)")
    parser.add_argument("--repeats", help="how often each case is run (as the subject has it)")
    given = parser.parse_args()
    began = time.monotonic()
    head = [
        "# Results",
        "Written by `make bench`; not by hand. Ratios are what to look at: all cases of a table were run in turns, each"
        " in a process of its own. No test asserts any of it.",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}.",
        f"Ours: {versions(sys.executable, LIBRARIES)}.",
        f"Peer: {versions(str(PEER), PEERS)}." if PEER.exists() else "The peer was left out.",
    ]
    promises = [
        "## Promises",
        "What a reader of the table finds afterwards; the scripts can be run side by side. Dagster's IO manager is"
        " DeltaLakePolarsIOManager, with `partition_expr` as its documentation has it.",
        *(promised(name) for name in PROMISES),
    ]
    chosen = [name for name in SUBJECTS if not given.only or Path(name).stem in given.only]
    sections = kept(HERE / "RESULTS.md")
    for name in chosen:
        repeated = ("--repeats", given.repeats) if given.repeats and name != "where_time_goes.py" else ()
        sections[title(name)] = measured(HERE / name, (*SUBJECTS[name], *repeated))
        took = f"What was measured then took {(time.monotonic() - began) / 60:.0f} minutes."
        parts = [*head, took, *(sections.get(title(one), "") for one in SUBJECTS), *promises]
        (HERE / "RESULTS.md").write_text("\n\n".join(part for part in parts if part) + "\n")


if __name__ == "__main__":
    main()
