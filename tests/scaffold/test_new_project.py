"""A project that `lakehouse init` writes: it builds as it is, holds a day back, and that day can be repaired."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.utilities.importtools import import_object

from lakehouse.cli import main
from lakehouse.errors import DefinitionError, LakehouseError, StorageError
from lakehouse.scaffold import new_project

FLAGS = ("dbt", "aws", "prefect")
EVERY = [dict(zip(FLAGS, chosen, strict=True)) for chosen in itertools.product((False, True), repeat=3)]
BAD_DAY = "data/orders-2026-01-05.csv"


def named(flags: dict[str, bool]) -> str:
    return "-".join(["shop", *(flag for flag, wanted in flags.items() if wanted)])


def call(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call Python in a project's folder, as a person does who has installed the library."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "PREFECT_"))}
    env = env | {"LAKEHOUSE_ENGINE": "inline"} | environment
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=600)


def refresh(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return call(folder, "-P", "-m", "lakehouse", "refresh", "+gold.*", **environment)


def builds_and_is_repaired(folder: Path, **environment: str) -> None:
    first = refresh(folder, **environment)
    assert first.returncode == 1, first.stderr
    assert "held back  silver.orders 2026-01-05" in first.stderr
    assert "37 rows of 3 assets" in first.stdout
    data = folder / BAD_DAY
    data.write_text(data.read_text().replace(",-", ","))
    again = refresh(folder, **environment)
    assert again.returncode == 0, again.stderr
    assert "6 rows of 3 assets" in again.stdout, "that day, and nothing else"
    assert "up to date" in refresh(folder, **environment).stdout


def test_it_builds_holds_a_day_back_and_that_day_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "my-shop"]) == 0
    assert "cd my-shop && lakehouse refresh '+gold.*'" in capsys.readouterr().out
    builds_and_is_repaired(tmp_path / "my-shop")


@pytest.mark.parametrize("flags", EVERY, ids=named)
def test_what_is_written_is_in_order(tmp_path: Path, flags: dict[str, bool]) -> None:
    folder = new_project(named(flags), tmp_path, **flags)
    settings = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["lakehouse"]
    assert settings["module"] == f"{named(flags).replace('-', '_')}.assets"
    assert (folder / "dbt").exists() == ("dbt" in settings) == flags["dbt"]
    assert (folder / "prefect.yaml").exists() == ("work_pool" in settings) == flags["prefect"]
    assert (folder / "production.env").exists() == flags["aws"]
    for file in folder.rglob("*.y*ml"):
        assert yaml.safe_load(file.read_text()), file
    for words in ("check --select B,D100,D101,E,F,I,RUF,UP", "format --check"):
        ruff = [sys.executable, "-m", "ruff", *words.split(), "--isolated", "--line-length", "120", str(folder)]
        done = subprocess.run(ruff, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    if flags["prefect"]:
        deployments = yaml.safe_load((folder / "prefect.yaml").read_text())
        assert deployments["pull"] is None, "nothing is cloned"
        for one in deployments["deployments"]:
            flow: Any = import_object(one["entrypoint"])
            flow.validate_parameters(one["parameters"])


@pytest.mark.slow
@pytest.mark.parametrize("flags", EVERY, ids=named)
def test_each_builds_and_passes_its_tests(tmp_path: Path, flags: dict[str, bool]) -> None:
    folder = new_project(named(flags), tmp_path, **flags)
    builds_and_is_repaired(folder)
    # Whatever was repaired in its data.
    tests = call(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert tests.returncode == 0, tests.stdout


@pytest.mark.slow
def test_each_is_well_typed(tmp_path: Path) -> None:
    folders = [new_project(named(flags), tmp_path, **flags) for flags in EVERY]
    packages = [words for folder in folders for words in ("-p", folder.name.replace("-", "_"))]
    path = os.pathsep.join(map(str, folders))
    done = call(tmp_path, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *packages, MYPYPATH=path)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.aws
@pytest.mark.xdist_group("aws")
def test_the_production_of_one_lies_in_a_bucket(tmp_path: Path, aws_server: str) -> None:
    folder = new_project("my-shop", tmp_path, aws=True)
    lines = [line for line in (folder / "production.env").read_text().splitlines() if not line.startswith("#")]
    environment = dict(line.split("=", 1) for line in lines)
    boto3.client("s3").create_bucket(Bucket="my-shop-lakehouse")
    builds_and_is_repaired(folder, **environment)
    assert not (folder / ".lakehouse").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("My Shop", "can't be a project's name"),
        ("../shop", "can't be a project's name"),
        ("", "can't be a project's name"),
        ("-", "can't be a project's name"),
        ("json", "would hide another one"),
        ("polars", "would hide another one"),
        ("lakehouse", "would hide another one"),
        ("class", "would hide another one"),
        ("tests", "would hide another one"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        new_project(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=30)
@given(st.text("ab_-19Z ä.", max_size=6) | st.text(max_size=20))
def test_a_name_is_a_package_and_a_folder_or_is_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    parent = tmp_path_factory.mktemp("projects")
    try:
        folder = new_project(name, parent)
    except LakehouseError:
        assert list(parent.iterdir()) == []
    else:
        assert folder == parent / name
        assert name.replace("-", "_").isidentifier()


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    folder = new_project("shop", tmp_path)
    (folder / "README.md").write_text("mine")
    with pytest.raises(StorageError, match="is there already"):
        new_project("shop", tmp_path, dbt=True)
    assert (folder / "README.md").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="is there already"):
        new_project("file", tmp_path)
    (tmp_path / "empty").mkdir()
    assert (new_project("empty", tmp_path) / "README.md").exists()
    assert {one.name for one in tmp_path.iterdir()} == {"shop", "file", "empty"}


def test_it_is_written_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Iterator[int] = itertools.count()
    write = Path.write_text

    def full(self: Path, *given: Any, **more: Any) -> int:
        if next(calls) == 3:
            raise OSError(28, "No space left on device")
        return write(self, *given, **more)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match="No space left on device"):
        new_project("shop", tmp_path)
    assert list(tmp_path.iterdir()) == []
