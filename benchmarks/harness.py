"""What every benchmark shares: cases in processes of their own, repeated in turns, and a table of medians and ratios.

    subject = Subject(sizes=(30, 5_000), smoke=(3,))

    @subject.case("polars and write_deltalake")
    def bare(folder: Path, size: int, watch: Watch) -> None:
        prepare(folder, size)
        with watch("one more day"):
            work(folder)

    if __name__ == "__main__":
        subject.main(__doc__)

The first case is what the others are held against. What `subject.prepare` makes for a size, in a process of its own,
lies in `watch.shared`: its time and memory are no case's. `--smoke` runs every case once, in this process, with tiny
sizes, without servers and the peer. Only the standard library is imported: the peer's environment has no lakehouse.
"""

from __future__ import annotations

import argparse
import inspect
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PEER = HERE.parent / ".venv-bench" / "bin" / "python"
"""The environment of the peer, which `make bench` makes."""

Work = Callable[[Path, int, "Watch"], None]
_RESULT = "RESULT "


class Watch:
    """Takes times and notes of a case, by name; what is taken several times counts as so many repeats.

    Parameters:
        shared: what was prepared for all cases of a size; not to be changed
    """

    def __init__(self, shared: Path) -> None:
        self.shared = shared
        self.seconds: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}
        self.counts: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, name: str = "all") -> Iterator[None]:
        """Time what is done within: by the clock, and the CPU of this process and of those it waited for."""
        began, cpu = time.perf_counter(), _cpu()
        yield
        self.took(name, time.perf_counter() - began, _cpu() - cpu)

    def took(self, name: str, seconds: float, cpu: float) -> None:
        """A time that was taken, or worked out, elsewhere."""
        self.seconds.setdefault(name, []).append(seconds)
        self.cpu.setdefault(name, []).append(cpu)

    def note(self, name: str, value: float) -> None:
        """A number that isn't a time: files, bytes, requests."""
        self.counts.setdefault(name, []).append(value)


class Subject:
    """A question that is measured: its cases, at its sizes.

    Parameters:
        sizes: how much there is to do, the smallest first
        smoke: the same, so small that it takes a moment
        repeats: how often each case is run, in turns with the others
        peer: a script beside this one whose cases run in the peer's environment
    """

    def __init__(self, sizes: Sequence[int], smoke: Sequence[int], *, repeats: int = 3, peer: str | None = None):
        self.sizes, self.smoke, self.repeats = tuple(sizes), tuple(smoke), repeats
        self.peer = None if peer is None else HERE / peer
        self.script = Path(inspect.stack()[1].filename).resolve()
        self.cases: dict[str, Work] = {}
        self.against: dict[str, str] = {}
        self.slow: set[str] = set()
        self.prepare: Callable[[Path, int], object] | None = None
        """Given an empty folder and a size; see [Watch][]."""

    def case(self, name: str, *, against: str | None = None, smoke: bool = True) -> Callable[[Work], Work]:
        """A way to do it: a function of an empty folder, a size, and what takes the times.

        Parameters:
            name: what it is called
            against: the case that it is held against, if that isn't the first
            smoke: whether a smoke run has it; not one that starts a server
        """

        def add(work: Work) -> Work:
            self.cases[name] = work
            if against is not None:
                self.against[name] = against
            if not smoke:
                self.slow.add(name)
            return work

        return add

    def main(self, about: str | None) -> None:
        """Run it as a script."""
        parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--smoke", action="store_true", help="every case once, tiny, without the peer")
        parser.add_argument("--repeats", type=int, default=self.repeats)
        parser.add_argument("--sizes", type=lambda text: tuple(int(n) for n in text.split(",")), default=self.sizes)
        parser.add_argument("--only", default="", help="cases whose name has this in it")
        parser.add_argument("--child", nargs=3, metavar=("CASE", "SIZE", "SHARED"), help=argparse.SUPPRESS)
        parser.add_argument("--cases", action="store_true", help="list the cases")
        given = parser.parse_args()
        if given.cases:
            print("\n".join(self.cases))
        elif given.child:
            (name, size, shared) = given.child
            if name:
                print(_RESULT + json.dumps(_measure(self.cases[name], int(size), Path(shared))))
            elif self.prepare is not None:
                self.prepare(Path(shared), int(size))
        elif given.smoke:
            for size in self.smoke:
                with tempfile.TemporaryDirectory(prefix="bench-") as shared:
                    if self.prepare is not None:
                        self.prepare(Path(shared), size)
                    for name, work in self.cases.items():
                        if name in self.slow:
                            continue
                        taken = _measure(work, size, Path(shared))
                        print(f"{name}, {size:,}: {', '.join([*taken['seconds'], *taken['counts']])}")
        else:
            self._compare(given.sizes, given.repeats, given.only)

    def _compare(self, sizes: Sequence[int], repeats: int, only: str) -> None:
        commands = {name: (sys.executable, self.script) for name in self.cases if only in name}
        if self.peer is not None and PEER.exists():
            listed = subprocess.run([PEER, self.peer, "--cases"], capture_output=True, text=True, check=True).stdout
            commands |= {name: (str(PEER), self.peer) for name in listed.splitlines() if only in name}
        runs: dict[tuple[int, str], list[dict]] = {}
        failed: dict[tuple[int, str], str] = {}
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="bench-") as shared:
                if self.prepare is not None:
                    subprocess.run([sys.executable, self.script, "--child", "", str(size), shared], check=True)
                for turn in range(repeats):
                    for name, command in commands.items():
                        if (size, name) in failed:
                            continue
                        print(f"{size:,} {name} ({turn + 1} of {repeats})", file=sys.stderr, flush=True)
                        done = subprocess.run(
                            [*command, "--child", name, str(size), shared], capture_output=True, text=True
                        )
                        found = [line for line in done.stdout.splitlines() if line.startswith(_RESULT)]
                        if done.returncode or not found:
                            failed[size, name] = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[
                                -1
                            ]
                        else:
                            runs.setdefault((size, name), []).append(json.loads(found[-1].removeprefix(_RESULT)))
        print(_table(runs, sizes, {name: self.against.get(name, next(iter(commands))) for name in commands}))
        for (size, name), said in failed.items():
            print(f"\n{name} at {size:,} failed, and said:\n\n> {said}")
        if self.peer is not None and not PEER.exists():
            print(f"\nThe peer was left out: there is no {PEER.relative_to(HERE.parent)} (`make bench` makes it).")


def _measure(work: Work, size: int, shared: Path) -> dict:
    """One case, once, in an empty folder of its own."""
    watch, folder = Watch(shared), Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        work(folder, size, watch)
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"seconds": watch.seconds, "cpu": watch.cpu, "counts": watch.counts, "peak": peak()}


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak() -> int:
    """The most memory, in MB, that this process has had, or one of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    # Not getrusage for this one: a process begins with its parent's maximum there.
    status = Path("/proc/self/status").read_text()
    own = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return max(children, int(own.split()[1]) // 1024)


def _table(runs: dict[tuple[int, str], list[dict]], sizes: Sequence[int], against: Mapping[str, str]) -> str:
    """Medians with the least and the most, and ratios: to the case held against, and to the smallest size."""
    times: dict[tuple[int, str, str], list[float]] = {}
    cpu: dict[tuple[int, str, str], float] = {}
    for (size, name), taken in runs.items():
        for what in taken[0]["seconds"]:
            times[size, name, what] = [one for run in taken for one in run["seconds"][what]]
            cpu[size, name, what] = median(one for run in taken for one in run["cpu"][what])
    head = ["size", "case", "what", "median", "least to most", "CPU", "peak MB", "ratio"]
    lines = []
    for size in sizes:
        for name, base in against.items():
            taken = runs.get((size, name), [])
            memory = f"{median(run['peak'] for run in taken):,.0f}" if taken else ""
            for what in taken[0]["seconds"] if taken else ():
                values = times[size, name, what]
                row = [f"{size:,}", name, what, shown(median(values))]
                row += [f"{shown(min(values))} to {shown(max(values))}", shown(cpu[size, name, what]), memory]
                row.append(_ratio(values, times.get((size, base, what))))
                if len(sizes) > 1:
                    row.append(_ratio(values, times.get((sizes[0], name, what))))
                lines.append(row)
            for what in taken[0]["counts"] if taken else ():
                number = median(one for run in taken for one in run["counts"][what])
                lines.append([f"{size:,}", name, what, f"{number:,.0f}", *[""] * (len(head) - 4 + (len(sizes) > 1))])
    if len(sizes) > 1:
        head.append(f"to {sizes[0]:,}")
    rule = ["--:" if column not in ("case", "what") else "---" for column in head]
    table = "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *lines))
    first = next(iter(against.values()), "")
    others = {base for base in against.values() if base != first}
    of = [f"; of {', '.join(name for name in against if against[name] == base)} to *{base}*" for base in sorted(others)]
    return f"{table}\n\nRatios are to *{first}*{''.join(of)}."


def _ratio(values: Sequence[float], base: Sequence[float] | None) -> str:
    return f"{median(values) / median(base):.2f}" if base else ""


def shown(seconds: float) -> str:
    """A time in the unit that suits it."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
