"""Runs that tasks start and tasks that they call by name, on a cluster: by a driver that is killed in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from connectrpc.errors import ConnectError
from flyteidl2.common import identifier_pb2
from flyteidl2.core import literals_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceClient
from flyteidl2.task import common_pb2, run_pb2, task_definition_pb2, task_service_pb2
from flyteidl2.task.task_service_connect import TaskServiceClient
from flyteidl2.workflow import run_service_pb2
from flyteidl2.workflow.run_service_connect import RunServiceClient
from obstore.store import MemoryStore

from flyte_build.submit.action import Phase, RootAction
from flyte_build.submit.cache import bundle_digest
from flyte_build.submit.deployed import DeployedTask
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.kubernetes import launcher
from flyte_build.submit.kubernetes.drive import ClusterRun, drive
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.names import job_name
from flyte_build.submit.kubernetes.stored_journal import read_stored
from flyte_build.submit.kubernetes.stored_tasks import StoredDeployments
from flyte_build.submit.kubernetes.submission import Submission, store_submission
from flyte_build.submit.kubernetes.watching import JOBS
from flyte_build.submit.observer import Collector
from flyte_build.submit.service import Service, serve_on
from tests.support.apiserver import ApiServer, Bad

from .test_drive import TARGET, Hand
from .test_pod import IMAGE, spec_of

OTHER = "registry.example/other/gpu@sha256:" + "cd" * 32
CHILD = job_name("r1", "mine", 1)


class Held(Hand):
    """A root that ends only once its child run's pod has."""

    def ready(self, name: str) -> bool:
        return name == CHILD or CHILD in self.ran


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror("s3://bucket/base", tmp_path / "runs", MemoryStore())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "code.tgz", "w:gz"):
        pass
    return tmp_path / "code.tgz"


@pytest.fixture
def submission(mirror: Mirror, bundle: Path) -> Submission:
    root = RootAction(spec_of(), common_pb2.Inputs().SerializeToString(), bundle, "gpu", "gpu.train")
    return asyncio.run(store_submission(mirror, "r1", ("prod", {}), root, {"gpu": IMAGE}, inline={}, invocation={}))[0]


@pytest.fixture
def deployed(mirror: Mirror, bundle: Path) -> None:
    """A task of another file, in an image that this run knows nothing of."""
    spec = task_definition_pb2.TaskSpec.FromString(spec_of())
    spec.task_template.id.name = "other.work"
    spec.task_template.container.image = OTHER
    made = DeployedTask(
        "p", "d", "other.work", "1", "other", spec.SerializeToString(), {OTHER: OTHER.rpartition("@")[2]},
        bundle_digest(bundle), bundle, 0.0, {}, needs={OTHER.rpartition("@")[2]: {"platforms": ["linux/arm64"]}},
    )  # fmt: skip
    StoredDeployments(mirror).put([made])


def _request() -> run_service_pb2.CreateRunRequest:
    run = identifier_pb2.RunIdentifier(org="o", project="p", domain="d", name="mine")
    wanted = task_definition_pb2.TaskIdentifier(project="p", domain="d", name="other.work")
    found = run_service_pb2.CreateRunRequest(run_id=run, task_id=wanted, inputs=common_pb2.Inputs())
    found.run_spec.CopyFrom(
        run_pb2.RunSpec(envs=run_pb2.Envs(values=[literals_pb2.KeyValuePair(key="SAID", value="so")]))
    )
    return found


class Asking:
    """Serves a driver, and asks it for ``talk(address)`` meanwhile."""

    def __init__(self, talk: Any) -> None:
        self.talk = talk
        self.asked: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def serving(self, service: Service) -> AsyncIterator[None]:
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/token/as/a0"
        async with serve_on(service, listener, "token"):
            self.asked = asyncio.create_task(self.talk(address))
            yield


async def _begin(address: str) -> None:
    """Start the child run, as soon as the root is there."""
    client = RunServiceClient(address)
    while True:
        with contextlib.suppress(ConnectError):
            await client.create_run(_request())
            return
        await asyncio.sleep(0.01)


def _run(api: ApiServer, mirror: Mirror, submission: Submission) -> ClusterRun:
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"}
    return ClusterRun(submission, TARGET, api.cluster(sleep=lambda _: None), mirror, "endpoint", owner)


def _records(found: tuple[ActionRecord, tuple[ActionRecord, ...]]) -> dict[str, tuple[Phase, str, str]]:
    return {r.name: (r.phase, r.run, r.parent) for r in found[1]}


def test_a_task_starts_a_run_of_a_task_that_was_deployed(
    api: ApiServer, mirror: Mirror, submission: Submission, deployed: None
) -> None:
    async def talk(address: str) -> Any:
        await _begin(address)
        wanted = task_service_pb2.GetTaskDetailsRequest(
            task_id=task_definition_pb2.TaskIdentifier(project="p", domain="d", name="other.gone")
        )
        with pytest.raises(ConnectError, match=r"no task other\.gone was deployed to s3://bucket/base"):
            await TaskServiceClient(address).get_task_details(wanted)
        run = identifier_pb2.ActionIdentifier(run=_request().run_id, name="a0")
        wanted = dataproxy_service_pb2.GetActionDataRequest(action_id=run)
        return await DataProxyServiceClient(address).get_action_data(wanted)

    async def go() -> Any:
        asking = Asking(talk)
        found = await asyncio.wait_for(drive(_run(api, mirror, submission), heard, asking.serving), 60)
        assert asking.asked is not None
        return found, await asking.asked, await read_stored(mirror, "r1")

    heard = Collector()
    with Held(api, mirror) as hand:
        found, data, journal = asyncio.run(go())
    (warned,) = heard.warnings
    assert "`flyte-build deploy --on TARGET FILE` does that" in warned
    lines = [entry["line"]["text"] for entry in journal if "line" in entry]
    assert f"driver: {warned}" in lines, "whoever follows from elsewhere reads it"
    assert _records(found) == {"a0": (Phase.SUCCEEDED, "", ""), "mine": (Phase.SUCCEEDED, "mine", "a0")}
    assert sorted(hand.ran) == sorted([job_name("r1", "a0", 1), CHILD])
    (main,) = api.objects[JOBS][CHILD]["spec"]["template"]["spec"]["containers"]
    assert main["image"] == OTHER
    assert {"name": "SAID", "value": "so"} in main["env"]
    assert '"values": ["arm64"]' in json.dumps(api.objects[JOBS][CHILD]), "as its image needs, which the run never had"
    assert data.outputs.SerializeToString() != b""


def test_a_driver_that_was_killed_knows_the_child_run_and_its_image(
    api: ApiServer, mirror: Mirror, submission: Submission, deployed: None
) -> None:
    """Killed before the child's Job was made: nobody but the storage knows of it."""
    meanwhile = pytest.MonkeyPatch()
    meanwhile.setattr(launcher, "_FIRST_PAUSE", 0.0)
    meanwhile.setattr(api, "bad", lambda method, kind, _: Bad(503) if method == "POST" and JOBS in kind else None)

    async def killed() -> None:
        begun = asyncio.Event()

        async def talk(address: str) -> None:
            await _begin(address)
            begun.set()

        asking = Asking(talk)
        driving = asyncio.create_task(drive(_run(api, mirror, submission), Collector(), asking.serving))
        await asyncio.wait_for(begun.wait(), 30)
        # It is there in the storage; what the driver would still write down is lost with it.
        meanwhile.setattr("flyte_build.submit.kubernetes.stored_journal.StoredJournal.append", _lost)
        driving.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await driving

    try:
        asyncio.run(killed())
    finally:
        meanwhile.undo()
    assert api.objects.get(JOBS, {}) == {}

    async def nothing(address: str) -> None:
        return None

    with Held(api, mirror):
        found = asyncio.run(
            asyncio.wait_for(drive(_run(api, mirror, submission), Collector(), Asking(nothing).serving), 60)
        )
    assert _records(found) == {"a0": (Phase.SUCCEEDED, "", ""), "mine": (Phase.SUCCEEDED, "mine", "a0")}
    (main,) = api.objects[JOBS][CHILD]["spec"]["template"]["spec"]["containers"]
    assert main["image"] == OTHER
    assert {"name": "SAID", "value": "so"} in main["env"]


async def _lost(*_: Any, **__: Any) -> None:
    return None
