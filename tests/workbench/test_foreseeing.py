"""What a run's other tasks would wait for in vain, said before it is handed to a cluster; its root's is refused."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.kernel.errors import RunError
from flyte_build.project.serializing import root_action
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.target import Target
from flyte_build.submit.kubernetes.vendors import PROFILES
from flyte_build.workbench.bench import open_project
from flyte_build.workbench.foreseeing import doubtful, refuse_hopeless
from flyte_build.workbench.running import root_of
from tests.support.apiserver import NAMESPACE, ApiServer, Bad, serving

FLOW = """
    import flyte

    key = flyte.Secret(key="k", group="vendor")
    gpu = flyte.TaskEnvironment("gpu", resources=flyte.Resources(gpu=8), secrets=[key])
    small = flyte.TaskEnvironment("small")
    main_env = flyte.TaskEnvironment("main_env", depends_on=[gpu, small])

    @gpu.task
    async def train(epochs: int) -> int:
        return epochs

    @gpu.task
    async def tune(epochs: int) -> int:
        return epochs

    @small.task
    async def count(words: list[str]) -> int:
        return len(words)

    @main_env.task
    async def main() -> int:
        return await train(1)
"""
PLACE = Place(NAMESPACE)
IMAGE = f"registry.test/team/it@sha256:{1:064x}"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as server:
        have = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "4"}
        server.put("v1/nodes", {"metadata": {"name": "n1"}, "status": {"allocatable": have}})
        yield server


def lines(api: ApiServer, folder: Path, root: str, place: Place = PLACE, flow: str = FLOW) -> list[str]:
    (folder / "flow.py").write_text(textwrap.dedent(flow))
    bench = open_project(folder / "flow.py")
    task = bench.workspace.project.task(root)
    target, cluster = Target("prod", place, "s3://bucket"), api.cluster()
    environments = bench.workspace.environments([task.environment])
    with bench.modules.entered():
        given = {"main": {}, "count": {"words": []}}.get(root, {"epochs": 1})
        action = root_of(root_action(bench.workspace.project, task, given, folder / "bundles"), task)
        refuse_hopeless(cluster, target, action, IMAGE)
        references = {e.name: IMAGE for e in environments}
        return doubtful(bench, cluster, target, environments, task, action, references, folder / "bundles")


def test_tasks_that_may_be_called_are_told_about_once_a_shape(api: ApiServer, tmp_path: Path) -> None:
    asked = "gpu.train, if it is called, would never run: "
    (secret, room) = lines(api, tmp_path, "main")
    assert secret.startswith(
        f"{asked}namespace team has no Secret vendor (kubectl -n team create secret generic vendor"
    )
    assert room.startswith(f"{asked}none of 1 nodes could ever hold it: 1 with at most 4 of nvidia.com/gpu (ask for")
    assert sum(a.startswith("POST") for a in api.asked) == 3, "the root, one of gpu, one of small"
    assert not any("pods" in kind for kind in api.objects), "it was only asked"


def test_what_has_no_meaning_on_the_target_is_a_line(api: ApiServer, tmp_path: Path) -> None:
    flow = FLOW.replace('"small")', '"small", interruptible=True)')
    assert lines(api, tmp_path, "count", PLACE, flow) == []
    (line,) = lines(api, tmp_path, "count", Place(NAMESPACE, PROFILES["gpu-feature-discovery"]), flow)
    assert line.startswith("small.count: interruptible, and the profile gpu-feature-discovery of target prod has no")


def test_the_same_for_the_root_is_refused(api: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none of 1 nodes could ever hold it"):
        lines(api, tmp_path, "train")


def test_a_cluster_that_stops_answering_is_no_matter_yet(api: ApiServer, tmp_path: Path) -> None:
    def bad(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        posts = sum(a.startswith("POST") for a in api.asked)
        return Bad(401, "Unauthorized", "the token has ended") if method == "POST" and posts > 1 else None

    api.bad = bad
    assert lines(api, tmp_path, "main") == []
