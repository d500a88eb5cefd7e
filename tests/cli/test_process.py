"""The command line as a process: what it imports, Ctrl-C, and readers that go away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import Toys

MAIN = "import sys; from lakehouse.cli import main; sys.exit(main())"


def _imports_after(*words: str) -> set[str]:
    code = f"from lakehouse.cli import main; import sys; assert main({list(words)!r}) == 0; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.splitlines()[-1].split())


def test_ls_loads_the_assets_and_nothing_that_is_heavy_besides(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_MODULE", "lakehouse.assets")
    _imports_after("ls")  # the first one has dbt parse its project
    loaded = _imports_after("ls")
    assert "lakehouse.assets" in loaded
    assert loaded.isdisjoint(
        {"prefect", "boto3", "deltalake", "obstore", "dbt", "lakehouse.integrations.prefect.engine"}
    )


def test_help_loads_not_even_the_assets(home: Path) -> None:
    assert _imports_after("--help").isdisjoint({"polars", "pandera", "prefect", "boto3", "lakehouse.assets"})


def test_a_refresh_that_has_nothing_to_do_does_not_load_prefect(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert toys("refresh", "bronze.airports").code == 0
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "prefect")
    assert "prefect" not in _imports_after("refresh", "bronze.airports")


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_ctrl_c_keeps_what_is_published_and_says_how_to_go_on(toys: Toys) -> None:
    toys.world(blocks=["2013-01-03"])
    for pipe in ("begun", "never"):
        os.mkfifo(toys.folder / pipe)
    words = ["refresh", "bronze.events", "--partitions", "2013-01-01...2013-01-04", "--chunk", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        (toys.folder / "begun").open().close()  # the function of the second step is at work
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted; published so far, and kept: 2 partitions; nothing is half done" in err
    assert f"  lakehouse {' '.join(words)}" in err
    assert out == ""

    # What was published is there, nothing else is, and the command that was named goes on.
    (state,) = json.loads(toys("status", "bronze.events", "--json").out)
    assert state["partitions"] == [["2013-01-01", "2013-01-02"]]
    toys.world()
    code, out, _ = toys(*words)
    assert code == 0
    assert "2013-01-03...2013-01-04" in out


def test_a_reader_that_goes_away_is_no_error(toys: Toys) -> None:
    toys("refresh", "bronze.airports")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "show", "bronze.airports"], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(reading)
    os.close(writing)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
