"""An AWS of our own in a process of its own: prints its URL, then serves until its standard input ends.

Given a folder, Glue's job runs are real processes that run there; see `moto_glue.py`.

In the tests' process it could wait for ever: libraries that hold Python's lock while they wait for an answer keep a
server in another thread from giving it.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from pathlib import Path
from typing import Any

from moto.dynamodb.responses import DynamoHandler
from moto.server import ThreadedMotoServer


def main() -> None:
    """Serve."""
    one_at_a_time = threading.Lock()
    answer = DynamoHandler.call_action

    @functools.wraps(answer)
    def answer_alone(self: DynamoHandler) -> Any:
        # To undo a failed transaction moto puts back a copy of the whole table, which takes with it
        # what others wrote meanwhile. DynamoDB doesn't.
        with one_at_a_time:
            return answer(self)

    DynamoHandler.call_action = answer_alone  # type: ignore[method-assign]
    # At the end: the folder's own names are not to pass for anybody else's.
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.support.moto_athena import install

    install()
    if sys.argv[1:]:
        from tests.support import moto_glue

        moto_glue.install(Path(sys.argv[1]))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    print(os.environ["AWS_ENDPOINT_URL"], flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
