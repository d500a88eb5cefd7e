"""Retries of dbt's models: as their meta says, for a call of dbt that made nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Lakehouse
from lakehouse.definitions.policies import Retry
from lakehouse.errors import DefinitionError, StepError
from lakehouse.execution.inline import InlineEngine
from lakehouse.integrations.dbt import DbtProject, dbt_assets
from lakehouse.lineage import Status
from tests.dbt.conftest import lake_in
from tests.dbt.toys import ALL, small, write

DAY = "2013-01-03"
CUT = "partitions: silver.orders, column: date"


def meta(text: str, name: str = "one") -> str:
    return f"  - {{name: {name}, config: {{meta: {{lakehouse: {text}}}}}}}\n"


@pytest.fixture
def patient(here: Path, tmp_path: Path, spoil: Callable[..., None]) -> Lakehouse:
    """Two models of one call, each with a patience of its own."""
    yml = (
        "models:\n" + meta(f"{{{CUT}, retry: {{times: 2, delay: 5}}}}") + meta(f"{{{CUT}, retry: {{times: 1}}}}", "two")
    )
    folder = write(here / "patient", small(yml=yml) | {"models/two.sql": "select * from {{ ref('one') }}"})
    return lake_in(tmp_path, dbt_assets(folder, sources=ALL))


@pytest.mark.parametrize("crashes", [2, 3])
def test_a_call_that_made_nothing_is_made_again(
    patient: Lakehouse, monkeypatch: pytest.MonkeyPatch, crashes: int
) -> None:
    real = DbtProject._invoke
    left = [crashes]
    slept: list[float] = []

    def crash(self: DbtProject, manifest: Any, command: Any, *args: Any) -> Any:
        if command[0] == "build" and left[0]:
            left[0] -= 1
            raise StepError("the database went away")
        return real(self, manifest, command, *args)

    monkeypatch.setattr(DbtProject, "_invoke", crash)
    run = patient.materialize("gold.*", DAY, engine=InlineEngine(sleep=slept.append), raise_on_failure=False)
    assert slept == [5, 5]
    facts = [(f.asset, f.attempt, f.status) for f in patient.lineage_store.facts("gold.one")]
    failures = [("gold.one", n + 1, Status.FAILED) for n in range(min(crashes, 3))]
    if crashes == 2:
        assert run.ok, [r.error for r in run.results]
        assert facts == [*failures, ("gold.one", 3, Status.PUBLISHED)]
    else:
        assert facts == failures
        assert {r.error for r in run.results[-2:]} == {"the database went away"}


def test_a_model_that_fails_beside_another_is_not_made_again(
    here: Path, tmp_path: Path, spoil: Callable[..., None], calls: list[dict[str, Any]]
) -> None:
    yml = "models:\n" + meta(f"{{{CUT}, retry: {{times: 3}}}}")
    files = small(yml=yml) | {"models/wrong.sql": "select nothing from {{ ref('one') }}"}
    lake = lake_in(tmp_path, dbt_assets(write(here / "beside", files), sources=ALL))
    run = lake.materialize("gold.*", DAY, engine=InlineEngine(sleep=lambda _: None), raise_on_failure=False)
    assert len(calls) == 1
    assert len(run.published("gold.one")) == 1


def test_retries_and_timeouts_are_read_from_meta(here: Path) -> None:
    yml = "models:\n" + meta("{retry: {times: 2, delay: 0.5, timeout: 600}}")
    (one,) = dbt_assets(write(here / "timed", small(yml=yml)), sources=ALL)
    assert one.retry == Retry(times=2, delay=0.5, timeout=600)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "{retry: {time: 2}}",
            r"meta\.lakehouse\.retry has 'time', which is not known; there are times, delay, timeout",
        ),
        ("{retry: 3}", r"meta\.lakehouse\.retry is 3; it takes times, delay, timeout"),
        ("{retry: {times: often}}", r"retry: times is 'often'; it takes a whole number"),
        ("{retry: {times: 1.5}}", r"retry: times is 1\.5; it takes a whole number"),
        ("{retry: {delay: true}}", r"retry: delay is True; it takes a number of seconds"),
        ("{retry: {times: -1}}", r"the dbt model one: meta\.lakehouse\.retry: Retry\(times=-1"),
        ("{partition: silver.orders}", r"meta\.lakehouse has 'partition', which is not known; there are partitions"),
    ],
)
def test_wrong_words_are_one_clear_error(here: Path, given: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as raised:
        dbt_assets(write(here / "wrong_words", small(yml="models:\n" + meta(given))), sources=ALL)
    assert len(str(raised.value).splitlines()) <= 2
