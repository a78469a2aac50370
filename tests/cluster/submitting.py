"""Our launcher on the real cluster: one run in a namespace of its own, and tasks of the pod program."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flyteidl2.core import tasks_pb2
from flyteidl2.task import task_definition_pb2

from flyte_build.submit.action import Launcher, LaunchRequest, Outcome
from flyte_build.submit.kubernetes.api import Cluster as Client
from flyte_build.submit.kubernetes.launcher import KubernetesLauncher
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.names import job_name
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.room import Room
from flyte_build.submit.kubernetes.straight import Straight
from flyte_build.submit.kubernetes.watching import JOBS, PODS, Watcher
from flyte_build.submit.storage import Storage

_RUNS = itertools.count()


def spec(
    *, gpu: str = "", memory: str = "", disk: str = "", account: str = "", command: str = "",
    pod: Mapping[str, Any] | None = None, mounts: Sequence[Mapping[str, Any]] = (),
) -> bytes:  # fmt: skip
    """A task as the SDK serializes it, of the pod program; or with a pod template, of which ``pod`` is all but the
    container, that has the ``mounts``."""
    template = tasks_pb2.TaskTemplate(type="python")
    template.id.name = "env.task"
    if pod is not None:
        template.k8s_pod.primary_container_name = "primary"
        template.k8s_pod.pod_spec.update({**pod, "containers": [{"name": "primary", "volumeMounts": list(mounts)}]})
        return _serialized(template)
    asked = template.container.resources.requests
    if gpu:
        asked.add(name=tasks_pb2.Resources.GPU, value=gpu)
    if memory:
        asked.add(name=tasks_pb2.Resources.MEMORY, value=memory)
    if disk:
        asked.add(name=tasks_pb2.Resources.EPHEMERAL_STORAGE, value=disk)
    if command:
        template.container.command.append(command)
    if account:
        template.security_context.run_as.k8s_service_account = account
    return _serialized(template)


def _serialized(template: tasks_pb2.TaskTemplate) -> bytes:
    serialized: bytes = task_definition_pb2.TaskSpec(task_template=template).SerializeToString()
    return serialized


class Bench:
    """One run's launcher on the real cluster."""

    def __init__(self, client: Client, mirror: Mirror, image: str, unscheduled: float) -> None:
        self.client = client
        self.image = image
        self.run = f"r{next(_RUNS)}"
        self.mirror = mirror
        self.lines: list[str] = []
        self.folder = Storage(mirror.runs, mirror.url).run(self.run)
        self.folder.path.mkdir(parents=True)
        self.wake: Callable[[str], None] = lambda job: None
        self.watcher = Watcher(client, f"run={self.run}", self._changed)
        self.images = {"it": image}
        self.straight = Straight(client)
        self.launcher = KubernetesLauncher(
            self.folder, client, self.straight,
            Place(client.namespace, defaults={"cpu": "100m", "memory": "64Mi"}), mirror, self.watcher,
            self.images, f"endpoint-{self.run}", unscheduled=unscheduled, room=Room(client),
            said=lambda action, attempt, line: self.lines.append(line),
        )  # fmt: skip
        self.engines_view: Launcher = self.launcher  # the types are held against what the engine calls
        client.create(
            "v1/secrets",
            {"metadata": {"name": f"endpoint-{self.run}"}, "stringData": {"endpoint": "http://here/token"}},
        )

    def _changed(self, job: str) -> None:
        self.wake(job)

    @property
    def name(self) -> str:
        return job_name(self.run, "a0", 1)

    def launch(self, *do: str, during: Callable[[], None] | None = None, **more: Any) -> Outcome:
        log = self.folder.log("a0", 1)
        log.parent.mkdir(parents=True)
        request = LaunchRequest(
            self.run, "a0", 1, "env.task", args=do, env={"NAME": "value"}, log=log,
            **{"image": "it", "task_spec": spec(), **more},
        )  # fmt: skip

        async def go() -> Outcome:
            self.wake = self.launcher.changed(asyncio.get_running_loop())
            self.watcher.start()
            beside = asyncio.create_task(asyncio.to_thread(during)) if during is not None else None
            try:
                async with asyncio.timeout(300):
                    outcome = await self.launcher.launch(request)
            finally:
                self.straight.close()
            if beside is not None:
                await beside
            return outcome

        return asyncio.run(go())

    def until(self, beginning: str) -> None:
        for _ in range(3000):
            if any(line.startswith(beginning) for line in self.lines):
                return
            asyncio.run(asyncio.sleep(0.1))
        raise AssertionError(f"nobody said {beginning!r}: {self.lines}")

    def wait(self, good: Callable[[], bool]) -> None:
        """Ask until it is so, at most a minute."""
        for _ in range(600):
            if good():
                return
            asyncio.run(asyncio.sleep(0.1))
        raise AssertionError("it never was")

    def pods(self) -> list[dict[str, Any]]:
        return [p for page in self.client.pages(PODS, {"labelSelector": f"run={self.run}"}) for p in page["items"]]

    def holds_nothing(self) -> bool:
        """Whether no pod of it can hold a device any more."""
        for _ in range(600):
            if not self.pods() and self.client.get(JOBS, self.name) is None:
                return True
            asyncio.run(asyncio.sleep(0.1))
        return False
