"""Configuration: from ``pyproject.toml``, the environment and arguments, each outweighing the one before."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import lakehouse
from lakehouse.errors import DefinitionError, LakehouseError, SettingsError
from lakehouse.project import assets_in
from lakehouse.settings import Settings, load_settings

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("LAKEHOUSE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pyproject(tmp_path: Path) -> Write:
    """Writes the lines of ``[tool.lakehouse]``; gives the folder."""

    def write(lines: str) -> Path:
        (tmp_path / "pyproject.toml").write_text(f"[tool.lakehouse]\n{lines}\n")
        return tmp_path

    return write


# ── what outweighs what ───────────────────────────────────────────────────────────────────


def test_without_a_word_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.module is None
    assert settings.storage == str(Path(".lakehouse") / "data")
    assert settings.lineage == f"sqlite:///{Path('.lakehouse') / 'lineage.db'}"
    assert (settings.engine, settings.chunk, settings.workers) == ("prefect", 30, 4)
    assert (settings.bronze, settings.silver, settings.gold, settings.storage_options) == (None, None, None, {})


def test_the_file_outweighs_the_defaults(pyproject: Write) -> None:
    folder = pyproject('chunk = 7\nstorage = "s3://lake"\nstorage-options = { aws_region = "eu-west-1" }')
    settings = load_settings(folder)
    assert (settings.chunk, settings.storage) == (7, "s3://lake")
    assert settings.storage_options == {"aws_region": "eu-west-1"}
    assert settings.workers == 4


def test_the_environment_outweighs_the_file(pyproject: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pyproject('chunk = 7\nworkers = 2\nengine = "inline"')
    monkeypatch.setenv("LAKEHOUSE_CHUNK", "8")
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "prefect")
    monkeypatch.setenv("LAKEHOUSE_STORAGE_OPTIONS", '{"aws_region": "us-east-1"}')
    settings = load_settings(folder)
    assert (settings.chunk, settings.workers, settings.engine) == (8, 2, "prefect")
    assert settings.storage_options == {"aws_region": "us-east-1"}


def test_arguments_outweigh_both(pyproject: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pyproject("chunk = 7")
    monkeypatch.setenv("LAKEHOUSE_CHUNK", "8")
    monkeypatch.setenv("LAKEHOUSE_WORKERS", "8")
    settings = load_settings(folder, chunk=9, storage="elsewhere")
    assert (settings.chunk, settings.workers, settings.storage) == (9, 8, "elsewhere")


def test_what_is_outweighed_may_be_wrong(pyproject: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pyproject('chunk = "many"')
    monkeypatch.setenv("LAKEHOUSE_CHUNK", "8")
    monkeypatch.setenv("LAKEHOUSE_WORKERS", "none")
    assert load_settings(folder, workers=2).chunk == 8


def test_the_file_is_found_above_as_well(pyproject: Write) -> None:
    folder = pyproject("chunk = 7")
    deep = folder / "src" / "deep"
    deep.mkdir(parents=True)
    assert load_settings(deep).chunk == 7


def test_the_nearest_file_counts(pyproject: Write, tmp_path: Path) -> None:
    pyproject("chunk = 7")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert load_settings(inner).chunk == 30


def test_the_current_folder_is_looked_in(pyproject: Write) -> None:
    pyproject("chunk = 7")
    assert load_settings().chunk == 7


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings().chunk = 5


# ── what can't be used ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('chunk = "many"', "chunk = 'many' can't be used: Input should be a valid integer"),
        ("chunk = 0", "chunk = 0 can't be used: Input should be greater than or equal to 1"),
        ("workers = -1", "workers = -1 can't be used"),
        ('engine = "dask"', "engine = 'dask' can't be used: Input should be 'prefect' or 'inline'"),
        ("module = 5", "module = 5 can't be used: Input should be a valid string"),
        ('storage = "  "', "storage = '  ' can't be used"),
        ('lineage = ""', "lineage = '' can't be used"),
        ("chunks = 7", "chunks = 7 can't be used: Extra inputs are not permitted"),
        ("storage_options = 5", "storage_options = 5 can't be used"),
        ("storage_options = { a = 5 }", "storage_options.a = 5 can't be used"),
    ],
)
def test_a_fault_in_the_file_is_told_with_the_file(pyproject: Write, lines: str, says: str) -> None:
    folder = pyproject(lines)
    with pytest.raises(SettingsError) as caught:
        load_settings(folder)
    assert f"{folder / 'pyproject.toml'} [tool.lakehouse] {says}" in str(caught.value)
    assert f"settings are {', '.join(Settings.model_fields)}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LAKEHOUSE_CHUNK", "many", "LAKEHOUSE_CHUNK = 'many' can't be used: Input should be a valid integer"),
        ("LAKEHOUSE_CHUNK", "0", "LAKEHOUSE_CHUNK = '0' can't be used"),
        ("LAKEHOUSE_ENGINE", "dask", "LAKEHOUSE_ENGINE = 'dask' can't be used"),
        ("LAKEHOUSE_STORAGE", " ", "LAKEHOUSE_STORAGE = ' ' can't be used"),
        ("LAKEHOUSE_STORAGE_OPTIONS", "region=x", "LAKEHOUSE_STORAGE_OPTIONS can't be used: it is no JSON"),
        ("LAKEHOUSE_STORAGE_OPTIONS", "[1]", "LAKEHOUSE_STORAGE_OPTIONS = [1] can't be used"),
        ("LAKEHOUSE_STORAGE_OPTIONS", '{"a": 5}', "LAKEHOUSE_STORAGE_OPTIONS.a = 5 can't be used"),
    ],
)
@pytest.mark.parametrize("in_file", ["", 'chunk = 7\nengine = "inline"\nstorage = "x"\nstorage_options = {}'])
def test_a_fault_in_the_environment_is_told_with_the_variable(
    pyproject: Write, monkeypatch: pytest.MonkeyPatch, in_file: str, name: str, value: str, says: str
) -> None:
    folder = pyproject(in_file)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(folder)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"chunk": "many"}, "chunk = 'many' can't be used"),
        ({"chunk": None}, "chunk = None can't be used"),
        ({"chunks": 7}, "chunks = 7 can't be used: Extra inputs are not permitted"),
        ({"storage": ""}, "storage = '' can't be used"),
        ({"storage_options": {"a": 5}}, "storage_options.a = 5 can't be used"),
    ],
)
def test_a_fault_in_an_argument_is_told_with_its_name(
    pyproject: Write, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], says: str
) -> None:
    folder = pyproject("chunk = 7")
    monkeypatch.setenv("LAKEHOUSE_CHUNK", "8")
    with pytest.raises(SettingsError) as caught:
        load_settings(folder, **given)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool", "can't be read: Expected ']'"),
        ("[tool]\nlakehouse = 5", "tool.lakehouse = 5 can't be used: it is no table"),
        ("[[tool.lakehouse]]\nchunk = 5", "can't be used: it is no table"),
    ],
)
def test_a_file_that_can_not_be_read_is_told(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(str(file))) as caught:
        load_settings(tmp_path)
    assert says in str(caught.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="can't be read"):
        load_settings(tmp_path)


@pytest.mark.parametrize("text", ["", "[tool.ruff]\nline-length = 5", "[project]\nname = 'x'", "tool = 5"])
def test_a_file_that_says_nothing_of_lakehouse_is_fine(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert load_settings(tmp_path).chunk == 30


def test_a_variable_that_is_nearly_a_settings_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_STORGE", "s3://lake")
    with pytest.raises(SettingsError, match=r"LAKEHOUSE_STORGE is no setting\n.*did you mean LAKEHOUSE_STORAGE"):
        load_settings(tmp_path)
    monkeypatch.delenv("LAKEHOUSE_STORGE")
    monkeypatch.setenv("LAKEHOUSE_SOMETHING_OF_MY_OWN", "1")
    load_settings(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lakehouse.Freshness(cron='61 * * * *')", "'61' is no minute"),
        ("lakehouse.Cron('0 6 * * 9', start='2024-01-01', column='at').timezone", "'9' is no day of the week"),
        ("lakehouse.checks.accepted_values('a', [])", "needs a list of values"),
        ("polars.Series([1]).cast('nonsense')", "cannot parse input"),
        ("datetime.date.fromisoformat('soon')", "Invalid isoformat"),
        ("json.loads('{')", "Expecting property name"),
    ],
)
def test_whatever_a_line_of_theirs_made_raise_that_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    head = "import datetime, json, polars\nimport lakehouse, lakehouse.checks\n\n"
    (tmp_path / "wrong.py").write_text(f"{head}{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LakehouseError) as caught:
        assets_in("wrong")
    assert said in caught.value.message
    assert caught.value.message.endswith("wrong.py, line 4)")


def test_a_definition_that_can_not_be_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mistaken.py").write_text("from lakehouse import Monthly\n\nmonths = Monthly('2013-01-01')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DefinitionError, match=r"is no partition key of monthly.*\(.*mistaken\.py, line 3\)"):
        assets_in("mistaken")


# ── from wherever it is called ────────────────────────────────────────────────────────────


@pytest.fixture
def deep(pyproject: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below the project's, which is the current one."""
    project = pyproject('module = "shop"\nstorage = "data"\ngold = "s3://gold"\ndbt = "models"')
    (project / "notebooks" / "deep").mkdir(parents=True)
    monkeypatch.chdir(project / "notebooks" / "deep")
    return project


def test_paths_belong_to_the_project_from_every_folder_below_it(deep: Path) -> None:
    settings = load_settings()
    assert settings.storage == str(deep / "data")
    assert settings.dbt == str(deep / "models")
    assert settings.gold == "s3://gold"
    assert settings.lineage == f"sqlite:///{deep / '.lakehouse' / 'lineage.db'}"


def test_paths_of_the_environment_belong_to_the_project_too(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_STORAGE", "elsewhere")
    monkeypatch.setenv("LAKEHOUSE_LINEAGE", "sqlite:////absolute/lineage.db")
    settings = load_settings()
    assert settings.storage == str(deep / "elsewhere")
    assert settings.lineage == "sqlite:////absolute/lineage.db"


def test_paths_that_are_given_belong_to_the_current_folder(deep: Path) -> None:
    assert load_settings(storage="here").storage == "here"


@pytest.mark.parametrize("value", ["~/lake", "/lake", "s3://lake/data", "file:///lake", "memory://lake"])
def test_what_is_no_relative_path_stays_as_it_is(deep: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LAKEHOUSE_STORAGE", value)
    assert load_settings().storage == value


def test_without_a_module_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="no module of assets is configured") as caught:
        lakehouse.refresh("silver.*", "2013-01-01", engine="inline")
    assert "LAKEHOUSE_MODULE" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
