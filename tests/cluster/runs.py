"""`flyte-build run --on` on the test cluster, as people type it: a project, its target, what there is of its runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyte_build.submit.kubernetes.access import manifests
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.target import Target
from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space
from tests.support.cli import Cli

__all__ = ["Project", "kill_drivers"]

ROOT = Path(__file__).parents[2]
KINDS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}


class Project:
    """The example and ``workflows/`` in a folder, with a target ``test`` that is the namespace ``space``."""

    def __init__(self, home: Path, folder: Path, cluster: Cluster, space: Space) -> None:
        self.folder = folder
        self.space = space
        self.gateway = cluster.site.gateway
        store = cluster.store
        keys = {"AWS_ACCESS_KEY_ID": store.access_key_id, "AWS_SECRET_ACCESS_KEY": store.secret_access_key}
        self.cli = Cli(home, variables=keys)
        self.started: list[subprocess.Popen[str]] = []
        shutil.copytree(ROOT / "examples" / "af2", folder)
        shutil.copytree(ROOT / "lockfiles", folder / "lockfiles")
        for workflow in Path(__file__).with_name("workflows").glob("*.py"):
            shutil.copy(workflow, folder)
        (folder / "pyproject.toml").write_text(
            f"""
            [tool.flyte-build.targets.test]
            namespace = "{space.name}"
            kubeconfig = "{cluster.home}/kubeconfig"
            registry = "{cluster.site.registry}"
            storage = "s3://{store.bucket}/{space.name}"
            storage-options = {{ endpoint = "{store.endpoint}", region = "{store.region}", allow_http = "true" }}
            storage-secret = "storage"
            defaults = {{ cpu = "100m", memory = "256Mi" }}
            """
        )
        secret = {"metadata": {"name": "storage"}, "stringData": keys}
        space.api.create(f"/api/v1/namespaces/{space.name}/secrets", secret)
        for value in manifests(Target("test", Place(space.name), "s3://b")):
            space.api.create(KINDS[value["kind"]].format(space.name), value)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        running = subprocess.Popen(
            self.cli.command(*arguments), cwd=self.folder, env=self.cli.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started = [one for one in self.started if one.poll() is None] + [running]
        return running

    def close(self) -> None:
        """End the commands that a test which failed, or was interrupted, left."""
        for one in self.started:
            if one.poll() is None:
                one.kill()
                one.wait()

    def ok(self, *arguments: str) -> str:
        running = self.start(*arguments)
        out, err = running.communicate(timeout=1800)
        assert running.returncode == 0, f"exit code {running.returncode}\n{out}\n{err}"
        return out

    def newest(self) -> dict[str, Any]:
        """The newest run, from the storage."""
        out = self.ok("runs", "--on", "test", "--json", "--limit", "1")
        found = json.loads(out)["runs"]
        run: dict[str, Any] = found[0] if found else {"name": "", "phase": "", "actions": []}
        return run

    def until(self, what: Callable[[], Any], tries: int = 600) -> Any:
        for _ in range(tries):
            if found := what():
                return found
            time.sleep(0.5)
        raise AssertionError("it did not come to be")

    def left(self) -> list[str]:
        """What there is of runs in the namespace, by name."""
        secrets = f"/api/v1/namespaces/{self.space.name}/secrets"
        paths = (self.space.jobs, self.space.pods, self.space.services, secrets)
        items = [item for path in paths for item in self.space.api.items(path)]
        return [i["metadata"]["name"] for i in items if i["metadata"].get("labels", {}).get("run")]

    def jobs(self, run: str) -> list[tuple[str, str, int]]:
        """(action, attempt, pods) of every Job of the run's, which are kept for a day."""
        pods = [p["metadata"]["labels"].get("job-name") for p in self.space.api.items(self.space.pods)]
        found = []
        for job in self.space.api.items(self.space.jobs):
            labels = job["metadata"]["labels"]
            if labels.get("run") == run and "action" in labels:
                found.append((labels["action"], labels["attempt"], pods.count(job["metadata"]["name"])))
        return sorted(found)


def kill_drivers() -> int:
    """Kill the drivers that run on this machine's node, without a word; how many there were."""
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"flyte_build.submit.kubernetes.driver" in words and b"--once" in words:
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
        except OSError:
            continue
    return killed
