"""Imports the library once, and forks a child for each thing that is to be done: that costs milliseconds.

It does nothing with the library itself, so that what its libraries start when they are first used is started in each
child. A line of JSON on its standard input is an order: its child's number comes back. ``wait N`` answers with how
that one ended. In the tests' process none of it could be done: what is forked there has the threads of nobody.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import sys
import traceback
from pathlib import Path

_LEFT_OUT = tuple(f"lakehouse.{name}" for name in ("__main__", "assets", "flows", "integrations", "testing"))
"""What is dear to import, or makes use of its libraries at once: threads of theirs would be missing in the children."""


def main() -> None:
    """Serve until standard input ends."""
    # At the end: the folder's own names are not to pass for anybody else's.
    sys.path.append(str(Path(__file__).parents[2]))
    import lakehouse

    for module in pkgutil.walk_packages(lakehouse.__path__, "lakehouse."):
        if not module.name.startswith(_LEFT_OUT):
            importlib.import_module(module.name)
    if "prefect" in sys.argv:
        importlib.import_module("lakehouse.integrations.prefect.engine")
    from tests.attacks.child import do

    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        word, _, number = line.partition(" ")
        if word == "wait":
            print(os.waitstatus_to_exitcode(os.waitpid(int(number), 0)[1]), flush=True)
            continue
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        code = 70
        try:
            order = json.loads(line)
            out = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
                os.dup2(file, stream)
            do(order)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


if __name__ == "__main__":
    main()
