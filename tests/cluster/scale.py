"""One run of very many actions on hollow nodes: what its driver takes of processor, memory and API, and how long it is.

The driver is ours, alone in its process; a task that calls that many is played by a second process, over the real
service; the same Jobs by a creator that does nothing else, in a third, are what it is held against.

    python -m tests.cluster.scale driver KUBECONFIG NAMESPACE STORAGE OPTIONS IMAGE ACTIONS [MAPS]
    python -m tests.cluster.scale bare   KUBECONFIG NAMESPACE STORAGE OPTIONS IMAGE ACTIONS

Each prints an object of JSON. OPTIONS are the object store's, as JSON. With MAPS it is a map of so
many maps.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.actions.actions_service_connect import ActionsServiceClient
from flyteidl2.common import phase_pb2
from flyteidl2.core import tasks_pb2
from flyteidl2.task import common_pb2, task_definition_pb2

from flyte_build.submit.action import LaunchRequest, Phase, RootAction
from flyte_build.submit.kubernetes.api import Cluster, connect
from flyte_build.submit.kubernetes.drive import ClusterRun, drive
from flyte_build.submit.kubernetes.driven import Said
from flyte_build.submit.kubernetes.endpoint import make_endpoint, owner_of
from flyte_build.submit.kubernetes.mirror import mirror_of
from flyte_build.submit.kubernetes.pod import Place, job
from flyte_build.submit.kubernetes.straight import Straight
from flyte_build.submit.kubernetes.submission import store_submission
from flyte_build.submit.kubernetes.target import Target
from flyte_build.submit.kubernetes.watching import JOBS
from flyte_build.submit.loop import seldom_collected
from flyte_build.submit.service import Service, serve_on

RUN, TOKEN = "many", "token"
SECONDS = "1s"


def spec(name: str, image: str, runs: str) -> task_definition_pb2.TaskSpec:
    """A task for hollow nodes that is said to run for so long (a duration of Go's), with one GPU."""
    task = tasks_pb2.TaskTemplate(type="python")
    task.id.name = f"env.{name}"
    task.k8s_pod.primary_container_name = "primary"
    task.k8s_pod.metadata.annotations["hollow/runs"] = runs
    limits = {"cpu": "10m", "memory": "16Mi", "nvidia.com/gpu": "1"}
    container = {"name": "primary", "image": image, "args": ["a0"], "resources": {"limits": limits}}
    task.k8s_pod.pod_spec.update(
        {
            "containers": [container], "nodeSelector": {"hollow": "true"},
            "tolerations": [{"key": "hollow", "operator": "Exists"}],
        }
    )  # fmt: skip
    found = task_definition_pb2.TaskSpec(task_template=task)
    found.environment.name = "env"
    return found


class Counted:
    """A pool of connections that counts what is asked for."""

    proxy = None

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.asked: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def connection_from_url(self, url: str) -> Counted:
        self._pool = self._pool.connection_from_url(url)
        return self

    def _new_conn(self) -> Any:
        return self._pool._new_conn()

    def urlopen(self, method: str, url: str, **more: Any) -> Any:
        self.count(method, url)
        return self._pool.urlopen(method, url, **more)

    def count(self, method: str, url: str) -> None:
        path = url.partition("?")[0]
        kind = (
            "watch"
            if "watch=1" in url
            else f"{method} {'log' if path.endswith('/log') else path.split('/')[-1 if method == 'POST' else -2]}"
        )
        with self._lock:
            self.asked[kind] += 1


async def _drive(cluster: Cluster, mirror: Any, image: str, actions: int, maps: int) -> dict[str, Any]:
    counted = Counted(cluster._pool)
    cluster._pool = counted
    ask, lines = Straight._ask, cluster.lines

    async def counting(straight: Straight, method: str, path: str, *more: Any) -> bytes | None:
        counted.count(method, path)
        return await ask(straight, method, path, *more)

    def watching(path: str, query: Mapping[str, str], seconds: float) -> Iterator[bytes]:
        counted.count("GET", f"{path}?watch=1")
        return lines(path, query, seconds)

    cluster.lines = watching  # type: ignore[method-assign]
    Straight._ask = counting  # type: ignore[assignment,method-assign]  # for this process
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "code.tgz"
        with tarfile.open(bundle, "w:gz"):
            pass
        serialized = spec("main", image, "100000s").SerializeToString()
        root = RootAction(serialized, common_pb2.Inputs().SerializeToString(), bundle, "env", "env.main")
        submission, _ = await store_submission(mirror, RUN, ("t", {}), root, {"env": image}, inline={}, invocation={})
    await mirror.put(f"{RUN}/meta/a0/inputs.pb", common_pb2.Inputs().SerializeToString())
    secret = make_endpoint(cluster, RUN, "127.0.0.1", 1, TOKEN)
    target = Target("t", Place(cluster.namespace), mirror.url)
    run = ClusterRun(submission, target, cluster, mirror, secret["metadata"]["name"], owner_of(secret))
    listener = socket.create_server(("127.0.0.1", 0))
    took: dict[str, Any] = {}

    async def played(service: Service) -> None:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{TOKEN}"
        words = [sys.executable, "-m", "tests.cluster.scale", "caller", url, mirror.url, image]
        words += [str(actions), str(maps)]
        while (record := service._engine.record("a0")) is None or record.phase is not Phase.RUNNING:
            await asyncio.sleep(0.05)
        took["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        before, threads, begun = _cpu(), _threads(), time.monotonic()
        calling = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
        out, _ = await calling.communicate()
        took.update(
            json.loads(out),
            cpu=_cpu() - before,
            seconds=time.monotonic() - begun,
            threads={k: s - threads.get(k, 0.0) for k, s in _threads().items()},
        )
        await service._engine.abort("a0")

    @contextlib.asynccontextmanager
    async def serving(service: Service) -> AsyncIterator[None]:
        async with serve_on(service, listener, TOKEN):
            playing = asyncio.create_task(played(service))
            yield
            await playing

    await drive(run, Said(lambda line: None), serving)
    asked = sum(counted.asked.values())
    return {
        "actions": actions, "succeeded": took["succeeded"], "seconds": round(took["seconds"], 1),
        "before_mib": took["mib"], "cpu_ms": round(1e3 * took["cpu"] / actions, 2),
        "threads_ms": {name: round(1e3 * s / actions, 2) for name, s in took["threads"].items()},
        "requests": round(asked / actions, 3), "asked": dict(counted.asked),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }  # fmt: skip


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _threads() -> dict[str, float]:
    """Seconds of processor time of each kind of thread: loop, its workers, watches, and the object store's own."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[str, float] = collections.defaultdict(float)
    for path in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has ended
            name, _, rest = (path / "stat").read_text().partition("(")[2].rpartition(") ")
            kind = re.split(r"[-_]\d|-runtime", names.get(int(path.name), name))[0]
            found[kind] += sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return dict(found)


class _Caller:
    """Plays tasks that call: enqueues what they call, and hears how each of that ends."""

    def __init__(self, url: str, storage: str, image: str) -> None:
        self._client = ActionsServiceClient(url)
        self._storage = storage
        self._specs = {name: spec(name, image, runs) for name, runs in (("one", SECONDS), ("many", "100000s"))}
        self._room = asyncio.Semaphore(16)

    async def map(self, parent: str, task: str, names: list[str], enough: int) -> dict[str, int]:
        """Call ``task`` once under each of ``names``; the phases once all are at least in the phase ``enough``."""
        there = asyncio.create_task(self._hear(parent, len(names), enough))
        await asyncio.gather(*(self._one(parent, task, name) for name in names))
        return await there

    async def _hear(self, parent: str, many: int, enough: int) -> dict[str, int]:
        asked = pb.WatchForUpdatesRequest()
        asked.parent_action_id.run.name, asked.parent_action_id.name = RUN, parent
        found: dict[str, int] = {}
        while len(found) < many:
            async for message in self._client.watch_for_updates(asked):
                update = message.action_update
                if message.HasField("action_update") and update.phase >= enough:
                    found[update.action_id.name] = update.phase
                # Of what is not an end only who asks anew is told.
                asks = message.control_message.sentinel and enough < phase_pb2.ACTION_PHASE_SUCCEEDED
                if len(found) == many or asks:
                    break
            await asyncio.sleep(0.5 if len(found) < many else 0)
        return found

    async def _one(self, parent: str, task: str, name: str) -> None:
        action = pb.Action(parent_action_name=parent, input_uri=f"{self._storage}/{RUN}/meta/a0/inputs.pb")
        action.run_output_base = f"{self._storage}/{RUN}/meta"
        action.action_id.run.name, action.action_id.name = RUN, name
        action.task.spec.CopyFrom(self._specs[task])
        async with self._room:
            await self._client.enqueue(pb.EnqueueRequest(action=action))

    async def abort(self, name: str) -> None:
        asked = pb.AbortRequest()
        asked.action_id.run.name, asked.action_id.name = RUN, name
        await self._client.abort(asked)


async def _call(url: str, storage: str, image: str, actions: int, maps: int) -> dict[str, Any]:
    """Play the task that calls, and with ``maps`` so many between it and ``actions``: a map of maps."""
    caller = _Caller(url, storage, image)
    over = phase_pb2.ACTION_PHASE_SUCCEEDED
    names = [f"c{number:05d}" for number in range(actions)]

    async def between(number: int) -> dict[str, int]:
        name = f"m{number:05d}"
        ended = await caller.map(name, "one", names[number::maps], over)
        await caller.abort(name)  # nobody runs in its pod, which could end it
        return ended

    if not maps:
        found = [await caller.map("a0", "one", names, over)]
    else:
        middle = [f"m{number:05d}" for number in range(maps)]
        await caller.map("a0", "many", middle, phase_pb2.ACTION_PHASE_RUNNING)
        found = await asyncio.gather(*map(between, range(maps)))
    return {"succeeded": sum(phase == over for ended in found for phase in ended.values())}


def bare(cluster: Cluster, image: str, actions: int) -> dict[str, Any]:
    """The same Jobs, made as fast as the API takes them, and watched to their ends."""
    serialized = spec("one", image, SECONDS).SerializeToString()
    begun = time.monotonic()
    left = actions

    def make(number: int) -> None:
        request = LaunchRequest(
            "bare", f"c{number:05d}", 1, "env.one", image, ("a0",), {}, Path("/dev/null"), task_spec=serialized
        )
        cluster.create(JOBS, job(request, image, Place(cluster.namespace)))

    with ThreadPoolExecutor(16) as threads:
        made = [threads.submit(make, number) for number in range(actions)]
        version, done = "0", set[str]()
        while len(done) < left:
            query = {"labelSelector": "run=bare", "watch": "1", "resourceVersion": version, "timeoutSeconds": "300"}
            for line in cluster.lines(cluster.path(JOBS), query, 330.0):
                found = json.loads(line)["object"]
                conditions = (found.get("status") or {}).get("conditions") or ()
                if any(c["type"] == "Complete" and c["status"] == "True" for c in conditions):
                    done.add(found["metadata"]["name"])
                if len(done) == left:
                    break
        for one in made:
            one.result()
    return {"actions": actions, "seconds": round(time.monotonic() - begun, 1)}


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "caller":
        url, storage, image, *numbers = rest
        print(json.dumps(asyncio.run(_call(url, storage, image, *map(int, numbers)))))
        return
    kubeconfig, namespace, storage, options, image, actions, *maps = rest
    cluster = connect(kubeconfig=kubeconfig, namespace=namespace)
    if what == "bare":
        print(json.dumps(bare(cluster, image, int(actions))))
        return
    gc.collect()  # as ``drive_here`` does
    with seldom_collected(), tempfile.TemporaryDirectory() as folder:
        mirror = mirror_of(storage, Path(folder), json.loads(options))
        print(json.dumps(asyncio.run(_drive(cluster, mirror, image, int(actions), int(maps[0]) if maps else 0))))


if __name__ == "__main__":
    main()
