"""A run with a reusable environment, whole: our API, and pods that are processes of this machine, which it starts.

Storage is a folder, the runtime the SDK's own, the program of replicas the one that pods get, and they call by TLS.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.task import common_pb2

from flyte_build.submit.action import Phase
from flyte_build.submit.kubernetes.drive import ClusterRun, drive
from flyte_build.submit.kubernetes.endpoint import context_of, listen, make_endpoint, new_token, owner_of
from flyte_build.submit.kubernetes.mirror import Mirror, mirror_of
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.submission import store_submission
from flyte_build.submit.kubernetes.target import Target
from flyte_build.submit.kubernetes.tls import MOUNT
from flyte_build.submit.kubernetes.watching import JOBS
from flyte_build.submit.observer import Collector
from flyte_build.submit.service import serve_on
from flyte_build.submit.warm.told import PLACE
from tests.submit.conftest import WORKFLOWS
from tests.support.apiserver import NAMESPACE, ApiServer
from tests.support.flyte_files import dry_run

pytestmark = pytest.mark.integration

IMAGES = {name: f"registry.example/team/{name}@sha256:{mark * 64}" for name, mark in (("leaf", "a"), ("top", "b"))}


class Kubelet:
    """Starts what Jobs say, and tells how it ended."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._play)

    def _play(self) -> None:
        told: set[str] = set()
        while not self._closing:
            with self.api.changed:
                self.api.changed.wait(0.05)
                jobs = dict(self.api.objects.get(JOBS, {}))
            for name, job in jobs.items():
                if name not in self.commands:
                    self._start(name, job["spec"]["template"]["spec"])
            for name, process in self._running.items():
                if name in jobs and name not in told and (code := process.poll()) is not None:
                    told.add(name)
                    # A text is a document, too.
                    self.api.documents[f"/api/v1/namespaces/{NAMESPACE}/pods/{name}-abcde/log"] = self.log(name)  # type: ignore[assignment]
                    self._tell(
                        name, {"terminated": {"reason": "Completed" if code == 0 else "Error", "exitCode": code}}
                    )
                elif name not in jobs and process.poll() is None:
                    process.terminate()

    def _tell(self, name: str, state: dict[str, Any]) -> None:
        phase = "Running" if "running" in state else "Succeeded" if state["terminated"]["exitCode"] == 0 else "Failed"
        self.api.pod(name, phase, containerStatuses=[{"name": "primary", "state": state}])

    def _start(self, name: str, pod: dict[str, Any]) -> None:
        (main,) = pod["containers"]
        folder = self.folder / name
        (folder / "work").mkdir(parents=True)
        for volume in pod.get("volumes", ()):
            for file, text in self._secret(volume["secret"]["secretName"]).items():
                (folder / file).write_text(text)
        env = {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(folder)}
        for row in main["env"]:
            held = row.get("valueFrom", {}).get("secretKeyRef")
            value = row["value"] if held is None else self._secret(held["name"])[held["key"]]
            env[row["name"]] = re.sub(r"\$\((\w+)\)", lambda found: env[found[1]], value).replace(MOUNT, str(folder))
        words = [w.replace(PLACE, str(folder)) for w in [*main.get("command", ()), *main.get("args", ())]]
        self.commands[name] = words
        # The first is found in the container's own PATH.
        words[0] = next(path for f in env["PATH"].split(":") if os.access(path := f"{f}/{words[0]}", os.X_OK))
        with open(folder / "log", "wb") as log:
            self._running[name] = subprocess.Popen(words, cwd=folder / "work", env=env, stdout=log, stderr=log)
        self._tell(name, {"running": {}})

    def _secret(self, name: str) -> dict[str, str]:
        held = self.api.objects["v1/secrets"][name]
        return {
            **held.get("stringData", {}),
            **{k: base64.b64decode(v).decode() for k, v in held.get("data", {}).items()},
        }

    def log(self, name: str) -> str:
        return (self.folder / name / "log").read_text()

    def __enter__(self) -> Kubelet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join()
        for process in self._running.values():
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def kubelet(api: ApiServer, tmp_path: Path) -> Iterator[Kubelet]:
    with Kubelet(api, tmp_path / "pods") as made:
        yield made


def _value(literal: Any) -> Any:
    if literal.HasField("collection"):
        return [_value(item) for item in literal.collection.literals]
    return literal.scalar.primitive.string_value


def _run(api: ApiServer, mirror: Mirror, observer: Collector, tmp_path: Path) -> Any:
    root = dry_run(WORKFLOWS, "pod_replicas", "main", tmp_path / "bundle")
    target = Target("prod", Place(NAMESPACE), mirror.url, tls=True)

    async def go() -> Any:
        submission, _ = await store_submission(mirror, "r1", ("prod", {}), root, IMAGES, inline={}, invocation={})
        cluster, token = api.cluster(), new_token()
        listener = listen("127.0.0.1", cluster)
        secret = make_endpoint(cluster, "r1", *listener.getsockname()[:2], token, tls=True)
        run = ClusterRun(submission, target, cluster, mirror, secret["metadata"]["name"], owner_of(secret))
        async with asyncio.timeout(120):
            return await drive(run, observer, lambda service: serve_on(service, listener, token, context_of(secret)))

    return asyncio.run(go())


def test_actions_of_a_reusable_environment_share_a_pod(api: ApiServer, kubelet: Kubelet, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    mirror, observer = mirror_of(f"file://{tmp_path}/storage", tmp_path / "runs", {}), Collector()
    record, actions = _run(api, mirror, observer, tmp_path)
    assert record.phase is Phase.SUCCEEDED, (record.error, [kubelet.log(name) for name in kubelet.commands])
    data = (tmp_path / "storage" / record.output_uri.removeprefix(f"{mirror.url}/") / "outputs.pb").read_bytes()
    a, b, c, one, two, three, late, after, crashed, again = _value(
        common_pb2.Outputs.FromString(data).literals[0].value
    )
    started = one
    assert [a, b, c] == [f"{started} {n}" for n in (1, 2, 3)], "one process, whose module they share"
    assert one == two == three, "three at once"
    assert late.startswith("MaxRuntimeExceededError ")
    assert late.endswith(": ran longer than its timeout of 1 s")
    assert after == f"{started} 4", "what ends one action ends none of its neighbours"
    assert "exit code 3" in crashed
    assert again.endswith(" 1"), "a replica that ended is replaced"
    assert not again.startswith(started)
    replicas = [name for name, words in kubelet.commands.items() if words[-1].startswith('{"program"')]
    assert (len(replicas), len(kubelet.commands)) == (2, 3), "the root, and a replica that was replaced"
    logs = {a.name: (tmp_path / "storage" / f"r1/logs/{a.name}/1.log") for a in actions}
    counted = [logs[a.name].read_text() for a in actions if a.task == "leaf.counts"]
    assert sorted(re.findall(r"^counted \d$", "".join(counted), re.M)) == [f"counted {n}" for n in (1, 1, 2, 3, 4)]
    assert all(text.count("counted") == 1 for text in counted), "each has its own log"
    assert "before the crash" in next(logs[a.name].read_text() for a in actions if a.task == "leaf.crashes")
    assert [s for s in api.objects["v1/secrets"] if s.endswith("-replica")] == []
    assert [j for j in replicas if j in api.objects[JOBS]] == [], "nothing of it is left"
