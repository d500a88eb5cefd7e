"""An AWS of our own whose ECS tasks are real processes: prints its URL, then serves until its standard input ends.

RunTask starts what the request says (command and environment), StopTask sends SIGTERM as ECS does, DescribeTasks shows
what became of it. An image whose name holds `missing` can't be pulled. All requests about ECS, EC2, IAM and SQS are
written down in the file that is named as argument, the tasks' own output beside it.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from moto.core.responses import BaseResponse
from moto.dynamodb.responses import DynamoHandler
from moto.ecs.models import EC2ContainerServiceBackend as Ecs
from moto.moto_api import state_manager
from moto.server import ThreadedMotoServer

KEPT = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE")
ROLE = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
"""What a task's role and its image would give it."""


def install(log: Path) -> None:
    """Have tasks be processes, and requests be written down."""
    # Otherwise a task goes on to its next state each time that somebody asks for it.
    state_manager.set_transition("ecs::task", {"progression": "manual", "times": 10**9})
    needs, start, call = Ecs._calculate_task_resource_requirements, Ecs.run_task, BaseResponse.call_action

    def needs_of(definition: Any) -> Any:
        for container in definition.container_definitions:  # moto falls over those that leave it to the task
            container.setdefault("memoryReservation", int(definition.memory or 512))
        return needs(definition)

    def run_task(self: Any, *given: Any, **more: Any) -> Any:
        tasks = start(self, *given, **more)
        for task in tasks:
            _run(self, task, log.parent)
        return tasks

    def stop_task(self: Any, cluster_str: str, task_str: str, reason: str) -> Any:
        cluster = self._get_cluster(cluster_str)
        task = next(one for arn, one in self.tasks[cluster.name].items() if arn.endswith(task_str.split("/")[-1]))
        task.desired_status, task.stopped_reason = "STOPPED", reason
        if getattr(task, "process", None) is not None:
            os.killpg(task.process.pid, signal.SIGTERM)
        return task

    @functools.wraps(call)
    def call_action(self: Any) -> Any:
        if self.service_name in ("ecs", "ec2", "iam", "sqs"):
            body = self.body if isinstance(self.body, str) else ""
            with log.open("a") as file:
                file.write(json.dumps({"action": self._get_action(), "body": body}) + "\n")
        return call(self)

    for owner, name, replacement in (
        (Ecs, "_calculate_task_resource_requirements", staticmethod(needs_of)),
        (Ecs, "run_task", run_task),
        (Ecs, "stop_task", stop_task),
        (BaseResponse, "call_action", call_action),
    ):
        setattr(owner, name, replacement)


def _run(backend: Any, task: Any, folder: Path) -> None:
    override = (task.overrides.get("containerOverrides") or [{}])[0]
    container = backend.describe_task_definition(task.task_definition_arn).container_definitions[0]
    if "missing" in container["image"]:
        task.last_status = task.desired_status = "STOPPED"
        task.stopped_reason = f"CannotPullContainerError: {container['image']}: not found"
        return
    environment = {name: os.environ[name] for name in (*KEPT, *ROLE) if name in os.environ}
    environment |= {one["name"]: one["value"] for one in (*container.get("environment", []), *override["environment"])}
    command = override.get("command") or container["command"]
    if command[0] == "prefect":
        command = [sys.executable, "-P", "-m", *command]
    with (folder / f"task-{task.id}.log").open("wb") as out:
        task.process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )

    def wait() -> None:
        code = task.process.wait()
        task.containers[0].exitCode = code if code >= 0 else 128 - code
        task.stopped_reason = task.stopped_reason or "Essential container in task exited"
        task.desired_status = task.last_status = "STOPPED"

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Serve."""
    one_at_a_time, answer = threading.Lock(), DynamoHandler.call_action

    @functools.wraps(answer)
    def answer_alone(self: DynamoHandler) -> Any:
        with one_at_a_time:  # see moto_server.py
            return answer(self)

    DynamoHandler.call_action = answer_alone  # type: ignore[method-assign]
    install(Path(sys.argv[1]))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    print(os.environ["AWS_ENDPOINT_URL"], flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
