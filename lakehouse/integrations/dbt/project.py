"""A dbt project as Gold assets: its models are made by dbt, and published by the same gate as everything else.

dbt never writes where readers look. It builds in a scratch database, which is filled with the partitions that a chunk
needs, at the versions that are pinned; its tests run there as well, and what they find is a check like any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.asset import Asset, AssetSource
from lakehouse.definitions.builder import BuildRequest, Built, Remnant
from lakehouse.errors import DefinitionError, LakehouseError, SettingsError, StepError
from lakehouse.integrations.dbt.embedded import Embedded
from lakehouse.integrations.dbt.outcomes import alike, check, promised
from lakehouse.integrations.dbt.reader import Model, Reader, model_of
from lakehouse.integrations.dbt.runner import ONE_AT_A_TIME, dbt_runner, lenient, listener, message, said
from lakehouse.integrations.dbt.scratch import Load, Scratch, digest, sweep
from lakehouse.integrations.dbt.targets import EMBEDDED, Target, find_target
from lakehouse.partitions import PartitionSet, TimePartitions
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    from lakehouse.io import TableReader

_WORK = Path(".lakehouse") / "dbt"
_PROFILE = "lakehouse"
_MARK = "__lakehouse_ordered"
_READS = {".sql", ".yml", ".yaml", ".csv", ".md", ".py"}


@final
@dataclass(frozen=True, eq=False)
class DbtProject(AssetSource):
    """A dbt project, by its folder. Nothing is read before its assets are asked for.

    Tests of its models are run with them, as checks that stand before publication. Two kinds are not run: batch tests,
    which are for developing (``dbt test``), and tests of sources alone, in whose place assets have checks.

    Parameters:
        folder: where ``dbt_project.yml`` is
        sources: the assets that ``source('silver', ...)`` names; None: those of the graph, by their keys
        select: which models, as ``dbt --select`` takes it; None: all
        target: where they are built: ``embedded``, or a target of type ``athena`` that ``profiles.yml`` describes;
            None: what the setting ``dbt_target`` says

    Examples:
        >>> DbtProject("shop/dbt").name
        'dbt'
    """

    folder: Path
    sources: tuple[Asset, ...] | None = None
    select: str | None = None
    target: str | None = None

    def __init__(
        self,
        folder: str | Path,
        *,
        sources: Iterable[Asset] | None = None,
        select: str | None = None,
        target: str | None = None,
    ) -> None:
        object.__setattr__(self, "folder", Path(folder))
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "sources", None if sources is None else tuple(sources))
        object.__setattr__(self, "select", select)

    @property
    def name(self) -> str:
        """What people call what runs its models."""
        return "dbt"

    @property
    def assets(self) -> tuple[Asset, ...]:
        """One Gold asset for each model and seed.

        Raises:
            SettingsError: dbt is not installed, or there is no project in the folder
            DefinitionError: dbt can't parse it, or it has what can't be an asset
        """
        return self._assets

    @cached_property
    def _assets(self) -> tuple[Asset, ...]:
        return Reader(self, self._manifest()).assets()

    # ── the manifest ──────────────────────────────────────────────────────────────────────

    @cached_property
    def _target(self) -> Target:
        return find_target(self.folder, self.target or load_settings().dbt_target)

    @property
    def _work(self) -> Path:
        """Where dbt's own files go: never into the project, which may be installed or shared."""
        place = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]
        # What is parsed for one target is wrong for another.
        target = "" if self._target.name == EMBEDDED else f"-{self._target.name}"
        return (_WORK / f"{self.folder.resolve().name}-{place}{target}").absolute()

    def _manifest(self) -> dict[str, Any]:
        """The manifest as JSON; parsed anew where the project's files are newer."""
        if not (self.folder / "dbt_project.yml").is_file():
            raise SettingsError(
                f"there is no dbt project in {self.folder}: dbt_project.yml is missing",
                hint="name the folder that holds dbt_project.yml",
            )
        file, stamp = self._work / "manifest.json", self._work / "manifest.of"
        if not (file.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == self._stamp()):
            self._parse()
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except ValueError:
            self._parse()  # somebody was stopped while writing it
            return dict(json.loads(file.read_text(encoding="utf-8")))

    def _files(self) -> Iterator[Path]:
        for path in self.folder.rglob("*"):
            inside = path.relative_to(self.folder).parts
            if path.suffix in _READS and inside[0] not in ("target", "logs", ".venv"):
                yield path

    def _stamp(self) -> str:
        """Changes whenever a file of the project does, comes or goes."""
        found = {f.relative_to(self.folder).as_posix(): f.stat() for f in self._files()}
        files = [(name, stat.st_mtime_ns, stat.st_size) for name, stat in sorted(found.items())]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()

    def _parse(self) -> Any:
        """dbt's own manifest object, from its partial parse where nothing changed."""
        with ONE_AT_A_TIME:
            self._work.mkdir(parents=True, exist_ok=True)
            stamp = self._stamp()
            result = self._invoke(None, ["parse"], None)
            if not result.success:
                raise DefinitionError(f"dbt can't parse {self.folder}: {said(result)}")
            (self._work / "manifest.of").write_text(stamp, encoding="utf-8")
            return result.result

    def _fresh(self, models: Iterable[Asset]) -> Any:
        """A manifest to change and use up, parsed for this one run, from what dbt keeps of its last parse.

        It can't run rightly with one that it has run with before, nor always with a copy of one.
        """
        manifest = self._parse()
        stamp = self._stamp()
        if self._parsed.get("as of") != stamp:
            self._parsed.update({"as of": stamp, "json": self._manifest()})
        reader = Reader(self, self._parsed["json"])
        for asset in models:
            node = reader.nodes.get(model_of(asset).id)
            if node is None or reader.version(node, model_of(asset).tests) != asset.code_version:
                raise StepError(
                    f"{asset.key} was changed in {self.folder} since it was read",
                    hint="start anew, so that what is recorded is what is run",
                )
        return manifest

    def __getstate__(self) -> dict[str, Any]:
        # dbt's own objects don't travel; they are read again where the copy arrives.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        return {}

    def _invoke(
        self, manifest: Any, command: Sequence[str], scratch: Scratch | None, variables: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a dbt command in this process, on a scratch database if there is one."""
        dbtRunner = dbt_runner()
        # Ours takes the place of whatever profile the project or the environment names.
        target, place = self._target.name, self._target.output if scratch is None else scratch.output
        profile = {_PROFILE: {"target": target, "outputs": {target: dict(place)}}}
        profiles = self._work / "parse" if scratch is None else scratch.folder
        profiles.mkdir(parents=True, exist_ok=True)
        (profiles / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
        options = {
            "--project-dir": str(self.folder.resolve()),
            "--profiles-dir": str(profiles),
            "--target-path": str(self._work),
            "--log-path": str(self._work / "logs"),
            "--profile": _PROFILE,
            "--target": target,
            "--vars": json.dumps(variables or _range([])),
        }
        flags = ["--log-level", "none", "--log-level-file", "none", "--no-use-colors"]
        flags += ["--no-send-anonymous-usage-stats", "--no-version-check", "--no-fail-fast"]
        arguments = [*command, *(word for pair in options.items() for word in pair), *flags]
        more: dict[str, Any] = {}
        if command[0] == "build":
            arguments += ["--no-write-json", "--cache-selected-only"]
            more = lenient()
        result = dbtRunner(manifest=manifest, callbacks=[listener()]).invoke(arguments, **more)
        if isinstance(result.exception, KeyboardInterrupt | SystemExit):
            raise result.exception  # dbt keeps it to itself
        return result

    # ── making ────────────────────────────────────────────────────────────────────────────

    def make(self, requests: Sequence[BuildRequest]) -> Mapping[str, Built]:
        """Build the models of the requests and run their tests, in one dbt invocation; see [Builder.make][]."""
        models = {request.asset.key: model_of(request.asset) for request in requests}
        with ONE_AT_A_TIME:
            manifest = self._fresh(request.asset for request in requests)
            sweep(self._work)
            scratch = self._open[digest(requests)] = self._scratch(requests)
            tests = {i: manifest.nodes[i] for m in models.values() for i in m.tests}
            severities = {i: str(t.config.severity).lower() for i, t in tests.items()}
            for test in tests.values():
                # A failing test mustn't stop the models after it: whether it holds something back, and which
                # partitions, is judged below.
                test.config.severity = "WARN"
                # Nor may rows be left out: those that aren't reported would be published.
                test.config.limit = None
                test.config.store_failures = True
                test.config.store_failures_as = "table"
            for node in (*(manifest.nodes[m.id] for m in models.values()), *tests.values()):
                scratch.settle(node)
                node.tags = [*node.tags, _MARK]
            try:
                scratch.fill(manifest, _loads(requests, models))
                command = ["build", "--select", f"tag:{_MARK}", "--indirect-selection", "empty"]
                result = self._invoke(manifest, command, scratch, _range(requests))
            finally:
                scratch.close()
            if result.result is None:
                raise StepError(f"dbt could not start: {said(result)}")
            outcomes = {r.node.unique_id: r for r in result.result.results}
            return {o.asset.key: _made(o, requests, outcomes, severities, scratch) for o in requests}

    def tests(self, asset: Asset) -> tuple[str, ...]:
        """The names of the tests that are run with a model; see [Builder.tests][]."""
        return tuple(unique_id.split(".")[2] for unique_id in model_of(asset).tests)

    def code(self, asset: Asset) -> Sequence[tuple[str, str, str]]:
        """A model as it is written, and as it was compiled when it was last built here; see [ShowsCode.code][]."""
        node = self._manifest()["nodes"].get(model_of(asset).id, {})
        found, path = [], str(node.get("original_file_path", ""))
        if text := node.get("raw_code"):
            found.append((path, "sql", str(text)))
        compiled = self._work / "compiled" / str(node.get("package_name", "")) / path
        if path and compiled.is_file():
            found.append((f"{path}, as it was compiled last", "sql", compiled.read_text(encoding="utf-8")))
        return found

    def release(self, requests: Sequence[BuildRequest]) -> None:
        """Remove the scratch database; see [Builder.release][]."""
        scratch = self._open.pop(digest(requests), None)
        if scratch is not None:
            scratch.announce()
            scratch.remove()

    def remnants(self, table: TableReader) -> Sequence[Remnant]:
        """The staging databases that there are in Glue's catalog, where models are built by Athena.

        See [LeavesBehind.remnants][].
        """
        if not self._target.athena:
            return []
        from lakehouse.integrations.dbt.athena import remnants

        return remnants(self._target, self._work, table)

    @cached_property
    def _open(self) -> dict[str, Scratch]:
        """What was made and not released yet, by the digest of its requests."""
        return {}

    def _scratch(self, requests: Sequence[BuildRequest]) -> Scratch:
        if self._target.athena:
            from lakehouse.integrations.dbt.athena import Athena

            return Athena.of(self._target, self._work, requests)
        return Embedded(self._work / f"scratch-{requests[0].context.run_id}-{digest(requests)}")


def dbt_assets(
    project_dir: str | Path,
    *,
    sources: Iterable[Asset] | None = None,
    select: str | None = None,
    target: str | None = None,
) -> tuple[Asset, ...]:
    """The Gold assets of a dbt project: one for each model and seed.

    Parameters:
        project_dir: the folder with ``dbt_project.yml``
        sources: the assets that ``source('silver', ...)`` names; None: those of the graph, by their keys
        select: which models, as ``dbt --select`` takes it; None: all
        target: where they are built: ``embedded``, or a target of type ``athena`` that ``profiles.yml`` describes;
            None: what the setting ``dbt_target`` says

    Raises:
        SettingsError: dbt is not installed, or there is no project in the folder
        DefinitionError: dbt can't parse it, or it has what can't be an asset
    """
    return DbtProject(project_dir, sources=sources, select=select, target=target).assets


def _range(requests: Sequence[BuildRequest]) -> dict[str, str | None]:
    """The range that a model may filter by: dates or moments on the partitions' own clock, the end exclusive."""
    timed = [o.partitions for o in requests if isinstance(o.partitions.partitions, TimePartitions)]
    if not timed:
        return {"lakehouse_start": None, "lakehouse_end": None}
    start = min(these.hull.start for these in timed)
    end = max(these.hull.end for these in timed)
    return {"lakehouse_start": start.isoformat(sep=" "), "lakehouse_end": end.isoformat(sep=" ")}


def _loads(requests: Sequence[BuildRequest], models: Mapping[str, Model]) -> Iterator[Load]:
    """What the models read that dbt doesn't make: each partition once, whoever needs it."""
    made = {request.asset.key: request.partitions for request in requests}
    loaded: dict[str, PartitionSet] = {}
    for request in requests:
        for parameter, needed in request.needs.items():
            here = parameter in made
            lacking = needed - made[parameter] if here else needed
            if here and not lacking:
                continue
            for uid in models[request.asset.key].reads[parameter]:
                rest = lacking - loaded[uid] if uid in loaded else lacking
                if rest or uid not in loaded:
                    yield Load(uid, request, parameter, rest, beside=here)
                    loaded[uid] = loaded[uid] | rest if uid in loaded else rest


def _made(
    request: BuildRequest,
    requests: Sequence[BuildRequest],
    outcomes: Mapping[str, Any],
    severities: Mapping[str, str],
    scratch: Scratch,
) -> Built:
    """What dbt made of an request."""
    model = model_of(request.asset)
    mine = outcomes.get(model.id)
    if mine is None or mine.status not in ("success", "pass"):
        return Built(None, error=f"dbt: {message(mine)}")
    ran = {i: outcomes.get(i) for i in model.tests}
    lost = [i for i, test in ran.items() if test is None or str(test.status) in ("error", "skipped")]
    if lost:
        return Built(None, error=f"the dbt test {lost[0].split('.')[2]} could not run: {message(ran[lost[0]])}")
    beside = alike(request, requests) - request.partitions
    try:
        rows = scratch.rows(mine.node, promised(request.asset))
        checks = [check(scratch, request, rows, beside, test, severities[i]) for i, test in ran.items()]
        return Built(rows, checks=tuple(checks))
    except LakehouseError as fault:
        return Built(None, error=fault.message + (f" ({fault.hint})" if fault.hint else ""))
