"""No secret leaves: not in errors, logs, reprs, facts or pages, wherever it stood."""

from __future__ import annotations

import json
import logging
import string
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Lakehouse, MaterializationFailed, bronze
from lakehouse.cli.failures import report, traceback_asked
from lakehouse.display.page import Page
from lakehouse.errors import LakehouseError, SettingsError, StorageError
from lakehouse.io.storage import Location
from lakehouse.lineage import CheckResult, Fact, Status
from lakehouse.lineage.open import open_lineage
from lakehouse.redaction import MASK, logger, redacted
from lakehouse.settings import Settings, load_settings

SECRET = "TOPs3cret+Kx9/aw"
TOKEN = SECRET.replace("/", "-")

secrets = st.text(string.ascii_letters + string.digits + "+/=-_~.%$!*#@", min_size=8, max_size=40).map(
    lambda text: f"K9{text}x"  # no word that the text around it has too
)
users = st.sampled_from(["ann", "AKIAIOSFODNN7EXAMPLE", "ann@shop.com", "", "a.b-c"])
schemes = st.sampled_from(["postgresql", "https", "s3", "redis", "mysql+pymysql", "mongodb+srv", "amqp", "dask"])
names = st.sampled_from(
    [
        "aws_secret_access_key",
        "AWS_SESSION_TOKEN",
        "password",
        "PGPASSWORD",
        "api_key",
        "apikey",
        "client_secret",
        "AccountKey",
        "azure_storage_sas_token",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "fs.s3a.secret.key",
        "private-key",
    ]
)
PAIRS: list[Callable[[str, str], str]] = [
    lambda name, secret: f"{name}={secret}",
    lambda name, secret: f"{name} = {secret!r}",
    lambda name, secret: f"{name}: {secret}",
    lambda name, secret: f"({name}={secret})",
    lambda name, secret: f"[{name}={secret}, region=eu]",
    lambda name, secret: f"host=db;{name}={secret};user=ann",
    lambda name, secret: f"https://lake/a.csv?X-Amz-Expires=60&{name}={quote(secret)}&x=1",
    lambda name, secret: f"{{{name!r}: {secret!r}, 'region': 'eu'}}",
    lambda name, secret: f"[({name!r}, {secret!r})]",
    lambda name, secret: json.dumps({name: secret, "region": "eu"}),
    lambda name, secret: json.dumps({name: [secret]}),
    lambda name, secret: json.dumps(json.dumps({name: secret})),
    lambda name, secret: f"<{name}>{secret.replace('<', '')}</{name}>",
    lambda name, secret: f"Options({name}='{secret}', region='eu')",
    lambda name, secret: f"--{name}={secret}",
    lambda name, secret: f"{name}='{secret[:20]}",
]
AROUND: list[Callable[[str], str]] = [
    str,
    lambda text: f"connecting to {text} failed",
    lambda text: f"'{text}' can't be used",
    lambda text: f"first line\n  {text}\nlast line",
    lambda text: f"ValueError({text!r})",
]


@given(schemes, users, secrets, st.sampled_from(AROUND))
def test_a_url_is_told_without_its_password(scheme: str, user: str, secret: str, around: Callable[[str], str]) -> None:
    said = redacted(around(f"{scheme}://{user}:{secret}@db.example.com:5432/orders?x=1"))
    assert secret not in said
    assert said.count(MASK) == 1
    assert "example.com:5432/orders?x=1" in said
    assert redacted(said) == said


@given(names, secrets, st.sampled_from(PAIRS), st.sampled_from(AROUND))
def test_a_value_is_not_told_whose_name_says_that_it_is_secret(
    name: str, secret: str, pair: Callable[[str, str], str], around: Callable[[str], str]
) -> None:
    said = redacted(around(pair(name, secret)))
    assert secret not in said
    assert quote(secret) not in said
    assert secret[:20] not in said
    assert name in said
    assert redacted(said) == said


@given(st.sampled_from(["Bearer", "Basic"]), st.text(string.ascii_letters + string.digits + "-._~+/", min_size=8))
def test_a_header_is_told_without_what_lets_one_in(kind: str, secret: str) -> None:
    for said in (f"Authorization: {kind} {secret}", f"{{'Authorization': '{kind} {secret}'}}", f"sent {kind} {secret}"):
        assert secret not in redacted(said)


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_abcdefghijklmnopqrst0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "xoxb-123456789012-abcdefghijkl",
    ],
)
def test_what_is_known_for_a_secret_by_its_form(secret: str) -> None:
    assert redacted(f"the upstream refused {secret} today") == f"the upstream refused {MASK} today"


def test_a_private_key_is_told_as_one() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"
    assert redacted(f"in {key} here") == f"in {key.replace(chr(10) + 'MIIEow' + chr(10), MASK)} here"


def test_what_the_environment_keeps_as_a_secret_is_known_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_TOKEN", SECRET)
    monkeypatch.setenv("SHOP_SECRET_NAME", "orders")  # a word, which may stand anywhere
    assert redacted(f"got {SECRET} and {quote(SECRET, safe='')} for orders") == f"got {MASK} and {MASK} for orders"


def test_a_folder_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PWD", "OLDPWD", "SHOP_SECRETS"):
        monkeypatch.setenv(name, str(tmp_path))
    assert redacted(f"{tmp_path}/shop.py, line 13") == f"{tmp_path}/shop.py, line 13"


@pytest.mark.parametrize(
    "text",
    [
        "silver.flights 2013-01-01: the function raised ValueError: nothing more (flights.py, line 12)",
        "s3://lake/silver/flights can't be reached: see http://localhost:4200/api",
        "abfss://container@account.dfs.core.windows.net/lake has no table",
        "an unexpected token: } at line 3",
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "unique(order): 3 rows in 2013-01-01; max_tokens=7",
    ],
)
def test_what_holds_no_secret_is_told_as_it_is(text: str) -> None:
    assert redacted(text) == text


# ── settings and places ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "value",
    [
        f'{{"aws_secret_access_key": ["{SECRET}"]}}',
        f'{{"aws_secret_access_key": {{"a": "{SECRET}"}}}}',
        f'{{"custom": "{SECRET}", "aws_region": 5}}',
        f'"aws_secret_access_key={SECRET}"',
        f'["{SECRET}"]',
        f"aws_secret_access_key={SECRET}",
        f'{{"aws_secret_access_key": "{SECRET}"}}',
    ],
)
def test_options_are_told_neither_in_an_error_nor_in_a_repr(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_STORAGE_OPTIONS", value)
    try:
        settings = load_settings()
        said = f"{settings!r} {settings}"
        assert settings.storage_options["aws_secret_access_key"] == SECRET
    except SettingsError as error:
        said = f"{error} {error!r} {''.join(traceback.format_exception(error))}"
    assert SECRET not in said
    assert "storage_options" in said.lower()


@pytest.mark.parametrize(
    "table",
    [
        f'storage_option = {{ custom = "{SECRET}" }}',
        f'password = "{SECRET}"',
        f'storage_options = "{SECRET}"',
        f'storage = "s3://ann:{SECRET}@lake"',
        f'lineage = "postgres://ann:{SECRET}@db/facts"',
        f'lineage = "dynamodb://ann:{SECRET}@facts"',
        f'runner = "dask://ann:{SECRET}@host:8786"',
        f'gold = "https://{TOKEN}@lake"',
    ],
)
def test_an_error_about_a_file_tells_no_secret_of_it(table: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.lakehouse]\n{table}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path)
    said = f"{caught.value} {caught.value!r} {''.join(traceback.format_exception(caught.value))}"
    assert SECRET not in said
    assert TOKEN not in said
    assert table.partition(" ")[0] in said


def test_pydantics_own_error_shows_no_value() -> None:
    with pytest.raises(ValueError, match="storage_options") as caught:
        Settings(storage_options=SECRET)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("place", [f"s3://ann:{SECRET}@lake", f"https://{TOKEN}@lake/x", f"postgres://a:{SECRET}@h"])
def test_a_place_that_holds_credentials_is_refused_without_telling_them(place: str) -> None:
    for opened in (Location.of, open_lineage):
        with pytest.raises(SettingsError, match="holds credentials") as caught:
            opened(place)
        assert SECRET not in f"{caught.value} {caught.value!r}"
        assert TOKEN not in f"{caught.value} {caught.value!r}"
    with pytest.raises(SettingsError, match="holds credentials"):
        open_lineage(f"dynamodb://facts?endpoint={place}")


def test_nothing_that_holds_options_shows_them() -> None:
    settings = Settings(storage="s3://lake", storage_options={"aws_secret_access_key": SECRET})

    @bronze
    def one() -> pl.LazyFrame:
        return pl.LazyFrame({"n": [1]})

    lake = Lakehouse([one], settings=settings, lineage=f"sqlite://ann:{SECRET}@x/lineage.db")
    location = Location.of("s3://lake", settings.storage_options)
    for thing in (lake, settings, lake.table(one), location, location.child("a"), location.brisk, settings.storage):
        assert SECRET not in f"{thing!r} {thing}"


def test_what_a_storage_library_says_is_told_without_the_options() -> None:
    place = Location.of("s3://lake", {"aws_secret_access_key": SECRET, "aws_region": "eu-central-1"})
    with pytest.raises(StorageError) as caught, place.reaching("reading"):
        # Far enough from the beginning for the middle to be left out, in the middle of the secret.
        raise OSError(f"no luck in eu-central-1 {'x' * 300} {SECRET}" + "y" * 190)
    assert "eu-central-1" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET[-8:] not in str(caught.value)


# ── errors, facts, logs and pages ─────────────────────────────────────────────────────────


class Connection:
    """What holds a secret and shows it in its errors."""

    def __init__(self, url: str) -> None:
        self.url = url

    def read(self) -> pl.LazyFrame:
        raise ConnectionError(f"{self.url} doesn't answer")


def _failing_lake(folder: Path) -> Lakehouse:
    @bronze
    def orders() -> pl.LazyFrame:
        return Connection(f"postgresql://ann:{SECRET}@db/orders").read()

    return Lakehouse([orders], storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")


def test_what_a_function_raises_is_told_without_the_secrets_in_it(tmp_path: Path) -> None:
    lake = _failing_lake(tmp_path)
    with pytest.raises(MaterializationFailed) as caught:
        lake.materialize("bronze.orders", engine="inline")
    run = caught.value.run
    said = [str(caught.value), repr(caught.value), repr(run), *(repr(result) for result in run.results)]
    said += [result.error or "" for result in run.results]
    said += [fact.to_json() for fact in lake.lineage_store.facts("bronze.orders")]
    assert "doesn't answer" in said[0]
    assert [text for text in said if SECRET in text] == []


@pytest.mark.parametrize("with_traceback", [False, True])
def test_the_screen_shows_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], with_traceback: bool) -> None:
    import sys

    token = traceback_asked.set(with_traceback)
    try:
        for error in (ConnectionError(f"password={SECRET}"), LakehouseError(f"password={SECRET}", hint=SECRET)):
            report(Page(sys.stderr), error)
        with pytest.raises(MaterializationFailed) as caught:
            _failing_lake(tmp_path).materialize("bronze.orders", engine="inline")
        report(Page(sys.stderr), caught.value)
    finally:
        traceback_asked.reset(token)
    said = capsys.readouterr().err.replace(f"hint: {SECRET}", "")  # which nothing says to be one
    assert SECRET not in said
    assert ("Connection(f" in said) == with_traceback


def test_facts_hold_none() -> None:
    from datetime import UTC, datetime

    check = CheckResult(name="c", blocking=True, passed=False, message=f"found https://a:{SECRET}@b")
    now = datetime.now(UTC)
    fact = Fact(
        id="1",
        asset="bronze.orders",
        status=Status.FAILED,
        partitions=(),
        run="2",
        started=now,
        finished=now,
        checks=(check,),
        reason=f"password={SECRET}",
    )
    assert SECRET not in f"{fact} {fact!r} {fact.to_json()}"


def test_logs_hold_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logger("lakehouse.bronze.orders").warning("read %s with %d rows", f"postgresql://ann:{SECRET}@db", 5)
        try:
            raise ConnectionError(f"password={SECRET}")
        except ConnectionError:
            logger().exception("it failed")
    assert SECRET not in caplog.text
    assert "with 5 rows" in caplog.text
    assert "ConnectionError: password=***" in caplog.text
