"""An attack: a world, a program of what is done with it and of what happens meanwhile, and what has to hold.

All of it comes from a seed. After every step what can be seen is held against what may be seen; at the end the source
is mended, lineage follows the tables, one refresh follows, and all has to be as if nothing had ever happened.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.attacks.child import see_clean
from tests.attacks.toys import ASSETS, DAYS, ODD_KEYS, expected, partitions_of
from tests.support.proxy import Proxy

Answer = dict[str, Any]
NOW = datetime(2024, 6, 1, tzinfo=UTC)
SKEWS = (0, 0, 0, 60, -3, 365 * 86_400, -365 * 86_400)
HARMS = ("remove", "put the copy back", "lose the newest commit")
DAMAGES = ("cut off the newest commit", "empty the newest commit", "cut off a file")
FAULTS = ("500", "503", "429", "reset", "lose the answer", "cut short", "slow")
LOOKS = (
    ("status",),
    ("status", "--json"),
    ("plan", "*", "--refresh"),
    ("ls",),
    ("leases",),
    ("lineage", "silver.clean"),
    ("show", "gold.whole"),
)


class Server:
    """The server of children."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, line: str) -> int:
        """Send a line, and read the number that comes back."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def serving(*words: str) -> Iterator[Server]:
    """Start a server of children, and end it."""
    script = Path(__file__).with_name("server.py")
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}
    command = [sys.executable, "-P", "-W", "ignore", str(script), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Server(process)
        process.stdin.close()


@dataclass
class Job:
    """A child at work."""

    server: Server
    number: int
    order: dict[str, Any]

    def wait(self) -> Answer:
        """What came of it: its answer, or ``{"killed": True}``."""
        code = self.server.ask(f"wait {self.number}")
        said = Path(self.order["said"]).read_text(errors="replace")
        # Prefect's log of a task shows a person where their own function raised.
        see_clean(said.replace("Traceback (most", "") if self.order.get("engine") == "prefect" else said)
        if code == -9:
            return {"killed": True}
        assert code == 0, f"a child ended with {code}: {said[-3000:]}"
        answer: Answer = json.loads(Path(self.order["answer"]).read_text())
        assert answer.get("error") != "unexpected", answer["message"]
        see_clean(answer.get("message") or "")
        return {**answer, "said": said}


@dataclass(frozen=True)
class Place:
    """Where a world's tables and lineage lie.

    Parameters:
        storage: the root of the tables
        lineage: the store
        proxy: what the requests to it go through; None: it is on disk
        environment: what the children are told
    """

    storage: str
    lineage: str
    proxy: Proxy | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def on_disk(cls, folder: Path) -> Place:
        return cls(str(folder / "data"), f"sqlite:///{folder / 'lineage.db'}")


class Attack:
    """One world under attack.

    Parameters:
        server: forks the children
        folder: an empty folder
        seed: what all of it comes from
        place: where it all lies
        engine: the engine that builds
    """

    def __init__(self, server: Server, folder: Path, seed: int, place: Place, engine: str = "inline") -> None:
        self.server, self.folder, self.place, self.engine = server, folder, place, engine
        self.chance = random.Random(seed)
        self.kind = self.chance.choice(["daily", "daily", "static", "dynamic", "multi"])
        self.shared = seed % 2 == 0
        """Whether small partitions share files."""
        self.program: list[str] = [f"seed {seed}: {self.kind}, {'shared files' if self.shared else 'files apart'}"]
        keys = list(ODD_KEYS[:7])
        if self.kind in ("daily", "multi"):
            keys = list(partitions_of(self.kind, ()).all(NOW))
        self.keys: dict[str, dict[str, Any]] = {key: {"generation": 0, "fault": "none"} for key in keys}
        self.history: dict[str, dict[int, str]] = {key: {0: "none"} for key in keys}
        self.forgotten: dict[str, set[str]] = defaultdict(set)
        self.mixed_up: set[str] = set()
        self.unpinned: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.number = 0
        self.write_world()

    # ── children ──────────────────────────────────────────────────────────────────────────

    def order(self, verb: str, **more: Any) -> dict[str, Any]:
        self.number += 1
        return {
            "verb": verb,
            "folder": str(self.folder),
            "storage": self.place.storage,
            "lineage": self.place.lineage,
            "environment": {**self.place.environment, "LAKEHOUSE_SHARED_FILES": str(self.shared)},
            "said": str(self.folder / f"said-{self.number}"),
            "answer": str(self.folder / f"answer-{self.number}"),
            **more,
        }

    def start(self, order: dict[str, Any]) -> Job:
        return Job(self.server, self.server.ask(json.dumps(order)), order)

    def call(self, verb: str, **more: Any) -> Answer:
        return self.start(self.order(verb, **more)).wait()

    # ── the world ─────────────────────────────────────────────────────────────────────────

    def register(self) -> None:
        """Register the keys, where they are to be registered."""
        if self.kind == "dynamic":
            answer = self.call("register", keys=list(self.keys))
            assert "error" not in answer, answer

    def write_world(self) -> None:
        (self.folder / "world.json").write_text(json.dumps({"kind": self.kind, "keys": self.keys}))

    def change_world(self, keys: list[str], faults: tuple[str, ...]) -> None:
        for key in keys:
            now = self.keys[key]
            now["generation"] += 1
            now["fault"] = self.chance.choice(faults)
            self.history[key][now["generation"]] = now["fault"]
        self.write_world()

    def some_keys(self) -> list[str]:
        keys = list(self.keys)
        if self.kind == "daily" and self.chance.random() < 0.7:
            first = self.chance.randrange(len(keys))
            return keys[first : first + self.chance.randint(1, 9)]
        return self.chance.sample(keys, self.chance.randint(1, len(keys)))

    # ── steps ─────────────────────────────────────────────────────────────────────────────

    def run(self, steps: int) -> None:
        """Attack it, and mend it."""
        try:
            self.register()
            for _ in range(steps):
                self.step()
            self.mend()
        except AssertionError as error:
            raise AssertionError("\n".join([*self.program, str(error)])) from None

    def step(self) -> None:
        """One step of the program."""
        if self.chance.random() < 0.5:
            self.change_world(
                self.chance.sample(list(self.keys), 2), ("none", "none", "raises", "negative", "elsewhere")
            )
        choice = self.chance.random()
        if choice < 0.2:
            self.build_at_once()
        elif choice < 0.65:
            self.build()
        elif choice < 0.87:
            self.change()
        elif choice < 0.94:
            self.harm()
        else:
            self.damage()

    def a_build(self) -> dict[str, Any]:
        keys = self.some_keys()
        return self.order(
            "build",
            how=self.chance.choice(["materialize", "refresh", "refresh", "backfill"]),
            targets=self.chance.choice(["bronze.raw", "silver.clean", "+gold.totals", "+gold.*", "+gold.*"]),
            partitions=keys,
            chunk=self.chance.choice([2, 5, 30]),
            upstream=self.chance.choice(["missing", "missing", "stale", "all", "none"]),
            ahead=self.chance.choice(SKEWS),
            engine=self.engine,
        )

    def build(self) -> None:
        order = self.a_build()
        order["meanwhile"] = self.something(order)
        self.say(order)
        reader = None
        if self.chance.random() < 0.3:
            reader = self.start(self.order("read", enough=str(self.folder / f"enough-{self.number}")))
        answer = self.under_faults(order)
        self.see_reader(reader)
        self.see([answer] if order["meanwhile"] is None else [])

    def build_at_once(self) -> None:
        """Several processes over ranges that overlap, some of which are killed."""
        orders = [self.a_build() for _ in range(self.chance.randint(2, 3))]
        for order in orders:
            if self.chance.random() < 0.3:
                order["meanwhile"] = self.kill(order)
            self.say(order, "at once")
        jobs = [self.start(order) for order in orders]
        for job in jobs:
            job.wait()
        self.see([])

    def kill(self, order: dict[str, Any]) -> dict[str, Any]:
        struck = f"{order['answer']}.struck"
        after = self.chance.random() < 0.5
        return {"what": "kill", "call": self.chance.randrange(40), "after": after, "struck": struck}

    def something(self, order: dict[str, Any]) -> dict[str, Any] | None:
        """What happens while something is done."""
        choice = self.chance.random()
        if choice < 0.4:
            return self.kill(order)
        if choice < 0.5 and self.place.proxy is None:
            return {"room": self.chance.choice([0, 300, 1_000, 3_000, 20_000])}
        if choice < 0.55 and self.place.proxy is None and (self.folder / "lineage.db").exists():
            return {"locked": str(self.folder / "lineage.db")}
        if choice < 0.65:
            asset = self.chance.choice(ASSETS[:3])
            self.mix_up(asset)
            return {**order, **self.kill(order), "what": self.chance.choice(HARMS), "asset": asset}
        return None

    def under_faults(self, order: dict[str, Any]) -> Answer:
        """Do it; where there are requests, some of them fail."""
        proxy = self.place.proxy
        if proxy is None or self.chance.random() < 0.4:
            return self.start(order).wait()
        how = self.chance.choice(FAULTS)
        which = self.chance.choice(["", "_delta_log", "POST / ", "PUT", "parquet", "DELETE|delete"])
        after, times = self.chance.randint(0, 12), self.chance.choice([1, 2, 5])
        self.program.append(f"    {how}: {times} of {which!r} after {after}")
        proxy.fail(how, which, after=after, times=times)
        try:
            return self.start(order).wait() | {"faulty": True}
        finally:
            proxy.forget()

    def change(self) -> None:
        how = self.chance.choice(["wipe", "wipe", "forget", "retain", "rebuild", "rename_partition"])
        asset = self.chance.choice(ASSETS[:3])
        words: list[Any] = [asset, self.some_keys()]
        more: dict[str, Any] = {}
        match how:
            case "retain":
                words, more = [], {"options": self.chance.choice([{"versions": 1}, {"keep": "1d"}]), "days": 30}
            case "rebuild":
                words = [None]
            case "rename_partition":
                if self.kind not in ("static", "dynamic") or not (
                    spare := [k for k in ODD_KEYS if k not in self.history]
                ):
                    return
                self.rename(self.chance.choice(list(self.keys)), spare[0])
                return
            case "forget" | "wipe":
                self.forgotten[asset] |= set(words[1])
        order = self.order("change", how=how, words=words, ahead=0 if more else self.chance.choice(SKEWS), **more)
        order["meanwhile"] = self.kill(order) if self.chance.random() < 0.5 else None
        self.say(order)
        answer = self.under_faults(order)
        if how == "rebuild" and not answer.get("killed") and "error" not in answer:
            self.mixed_up.clear()
        self.see([])

    def rename(self, old: str, new: str) -> None:
        """Give a key another name; again, until it is done."""
        self.keys = {new if key == old else key: one for key, one in self.keys.items()}
        self.history[new] = dict(self.history[old])
        self.renamed[old] = new
        self.unpinned |= set(ASSETS)
        for keys in self.forgotten.values():
            keys |= {new} if old in keys else set()
        self.write_world()
        kill = self.chance.random() < 0.6
        for asset in ASSETS[:3]:
            order = self.order(
                "change", how="rename_partition", words=[asset, old, new], ahead=self.chance.choice(SKEWS)
            )
            order["meanwhile"] = self.kill(order) if kill else None
            self.say(order)
            if self.start(order).wait().get("killed"):
                self.call("change", how="rename_partition", words=[asset, old, new])
        if self.kind == "dynamic":
            self.call("retire", keys=[old])  # where there was nothing of it to rename
        self.see([])

    def harm(self) -> None:
        """Somebody does what nobody should."""
        asset, what = self.chance.choice(ASSETS[:3]), self.chance.choice(("keep a copy", *HARMS))
        if what != "keep a copy":
            self.mix_up(asset)
        self.program.append(f"{what}: {asset}")
        self.call("harm", asset=asset, what=what)
        self.see([])

    def damage(self) -> None:
        """Something is damaged; what is tried meanwhile ends in an error or goes well; then a backup is put back."""
        asset, what = self.chance.choice(ASSETS[:3]), self.chance.choice(DAMAGES)
        self.program.append(f"{what}: {asset}, for a while")
        self.call("harm", asset=asset, what="keep a copy")
        self.call("harm", asset=asset, what=what)
        for words in self.chance.sample(LOOKS, 2):
            self.command(*words)
        order = self.a_build()
        self.say(order)
        self.start(order).wait()
        self.mix_up(asset)
        self.call("harm", asset=asset, what="put the copy back")
        self.see([])

    def mix_up(self, asset: str) -> None:
        self.mixed_up.add(asset)
        self.unpinned |= set(ASSETS)

    def command(self, *words: str) -> Answer:
        """A command that looks, in whatever state it all is."""
        environment = {
            **self.place.environment,
            "LAKEHOUSE_MODULE": "toys_under_attack",
            "PYTHONPATH": str(self.folder),
        }
        (self.folder / "toys_under_attack.py").write_text(
            "from pathlib import Path\nfrom tests.attacks.toys import graph\n"
            "globals().update((one.name, one) for one in graph(Path(__file__).parent))\n"
        )
        environment |= {
            "LAKEHOUSE_ENGINE": self.engine,
            "LAKEHOUSE_STORAGE": self.place.storage,
            "LAKEHOUSE_LINEAGE": self.place.lineage,
        }
        answer = self.start({**self.order("command", words=words), "environment": environment}).wait()
        assert answer["code"] in (0, 1, 2, 3, 4), answer
        return answer

    def say(self, order: dict[str, Any], *more: str) -> None:
        told = ("how", "targets", "words", "partitions", "chunk", "upstream", "ahead", "options")
        what = ", ".join(f"{name}={order[name]!r}" for name in told if order.get(name) is not None)
        happens = order.get("meanwhile")
        short = {k: v for k, v in (happens or {}).items() if k in ("what", "call", "after", "room", "locked", "asset")}
        self.program.append(" ".join([order["verb"], what, *more, f"meanwhile {short}" if short else ""]))

    # ── what has to hold ──────────────────────────────────────────────────────────────────

    def see_reader(self, reader: Job | None) -> None:
        if reader is not None:
            Path(reader.order["enough"]).touch()
            for asset, seen in reader.wait()["seen"].items():
                for rows in seen:
                    self.see_rows(asset, rows)

    def see(self, answers: list[Answer]) -> dict[str, Any]:
        """Look at all of it, and see that it may be so."""
        found = self.call("look", without_pins=sorted(self.unpinned))
        assert "error" not in found, found
        for answer in answers:
            for asset, keys in (answer.get("published") or {}).items():
                if asset in found and asset not in self.mixed_up:
                    assert set(keys) <= set(found[asset]["present"]), f"{asset}: published, and not there"
        for asset, one in found.items():
            if asset == "said":
                continue
            assert one["fault"] is None or asset in self.mixed_up, f"{asset}: {one['fault']}"
            see_clean(one["fault"] or "")
            there = self.see_rows(asset, one["rows"])
            if asset not in self.mixed_up:
                assert not one["twice"], f"{asset}: several records of {one['twice']}"
                assert not one["pins"], f"{one['pins'][:2]}"
                assert sorted(one["standing"]) == sorted(set(one["standing"])), f"{asset}: two records of a partition"
            if asset in ASSETS[:3]:
                present = set(one["present"])
                unread = asset in self.mixed_up and "unread" in one
                assert unread or present <= there, f"{asset}: said to be there, and isn't: {sorted(present - there)}"
                if asset not in self.mixed_up:
                    unknown = there - present - self.forgotten[asset] - set(self.renamed)
                    assert not unknown, f"{asset}: there, and not recorded: {sorted(unknown)}"
            elif asset == "gold.whole":
                assert not one["present"] or "unread" not in one, f"{asset}: {one}"
        return found

    def see_rows(self, asset: str, rows: list[Any]) -> set[str]:
        """Each partition's rows are those of one generation, all of them and no others; returns their keys."""
        by_key: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for key, generation, n in rows:
            by_key[key].append((generation, n))
        for key, found in by_key.items():
            generations = {generation for generation, _ in found}
            assert len(generations) == 1, f"{asset} {key!r} has rows of {generations}"
            (generation,) = generations
            fault = self.history[key][generation]
            right = expected(asset, key, generation)
            if asset == "bronze.raw" and fault == "negative":
                right = sorted([-1, *right])
            else:
                assert fault not in ("negative", "raises"), f"{asset} {key!r} was made from a bad generation"
            told = self.renamed_from(key, generation, asset)
            numbers = sorted(n for _, n in found)
            assert numbers == right or numbers in told, f"{asset} {key!r} at {generation}: {numbers}, not {right}"
        return set(by_key)

    def renamed_from(self, key: str, generation: int, asset: str) -> list[list[int]]:
        """What the rows of a key may be that it brought from its former names."""
        told = []
        for old, new in reversed(self.renamed.items()):
            if new == key:
                key = old
                right = expected(asset, old, generation)
                told.append(right)
                if asset == "bronze.raw":
                    told.append(sorted([-1, *right]))
        return told

    def mend(self) -> None:
        """After the source was mended and lineage follows the tables, one refresh makes it all as it should be."""
        self.program.append("mend")
        self.change_world(list(self.keys), ("none",))
        self.register()
        for _ in range(2):
            answer = self.call("change", how="rebuild", words=[None])
            assert "error" not in answer, answer
        self.mixed_up.clear()
        every = str(DAYS.all(NOW).hull) if self.kind == "daily" else list(self.keys)
        build = {"how": "refresh", "targets": "*", "partitions": every, "chunk": 30, "upstream": "missing"}
        answer = self.call("build", **build)
        assert answer.get("ok"), f"after the mending: {answer}"
        # What was renamed is told under its former key by those that were made from it, and need not be made anew.
        self.unpinned = set(ASSETS) if self.renamed else set()
        found = self.see([answer])
        if self.renamed:
            found.pop("gold.whole", None)
        for asset, one in found.items():
            if asset == "said":
                continue
            assert not one["held"], f"{asset}: {one['held']} held back for ever"
            assert not one["failed"], f"{asset}: {one['failed']} failed for ever"
            right = [
                (key, world["generation"], n)
                for key, world in self.keys.items()
                for n in expected(asset, key, world["generation"])
            ]
            there = sorted(row for row in map(tuple, one["rows"]) if row[0] not in self.renamed)
            assert there == sorted(right), f"{asset} is not as if nothing had happened: {there} {right}"
        left = self.call("plan", partitions=every)
        assert left["steps"] == [], f"after it was all refreshed there is left: {left['steps']}"
        for words in self.chance.sample(LOOKS, 3):
            answer = self.command(*words)
            assert answer["code"] == 0, (words, answer)
