"""Ctrl-C while something is awaited."""

from __future__ import annotations

import signal
import subprocess
import sys

WAITING = """
import os, signal, threading
from queue import SimpleQueue
import polars as pl
from lakehouse.interrupts import next_of

pl.LazyFrame({"a": [1]}).sink_batches(lambda rows: False)  # after which polars has a say in signals
never, ended = SimpleQueue(), threading.Event()
def press():
    os.kill(os.getpid(), signal.SIGINT)
    if not ended.wait(20):
        os._exit(3)
threading.Timer(0.3, press).start()
try:
    next_of(never)
except KeyboardInterrupt:
    ended.set()
    print("heard")
"""


def test_ctrl_c_is_heard_while_nothing_comes() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", WAITING],
        capture_output=True,
        text=True,
        check=False,
        # A shell's background jobs are deaf to it, and so would their children be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
