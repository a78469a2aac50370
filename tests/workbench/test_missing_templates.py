"""A pod template that a task names, and nobody has: said before anything is built, here and for a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import InputError, RefusedError, RunError
from flyte_build.kernel.reporting import Silent
from flyte_build.submit.kubernetes.api import Cluster
from flyte_build.workbench import RunOptions, open_project, readiness, submitting
from flyte_build.workbench.foreseeing import refuse_missing_template
from flyte_build.workbench.sidecars import refuse_missing

MAIN = """
import flyte

env = flyte.TaskEnvironment(name="env", pod_template="team")
leaf = flyte.TaskEnvironment(name="leaf", pod_template="others")
plain = flyte.TaskEnvironment(name="plain", depends_on=[leaf])

@env.task
def main() -> int:
    return 1

@leaf.task
def below() -> int:
    return 2

@plain.task
def above() -> int:
    return 3
"""
TEAM = "kind: PodTemplate\nmetadata: {name: team}\ntemplate: {spec: {containers: [{name: primary}]}}\n"


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "pyproject.toml").write_text('[tool.flyte-build]\npod-templates = "k8s"\n')
    (tmp_path / "k8s").mkdir()
    return tmp_path


def opened(project: Path) -> tuple[Any, Heard]:
    heard = Heard()
    return open_project(project / "main.py", root=project, reporter=heard), heard


@pytest.fixture
def no_builds(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be made ready."""
    made: list[list[str]] = []

    def make_ready(bench: Any, environments: Any, *args: Any, **options: Any) -> readiness.Ready:
        made.append([environment.name for environment in environments])
        return readiness.Ready({})

    monkeypatch.setattr(readiness, "make_ready", make_ready)
    return made


def test_one_that_the_folder_has_not_is_said_before_anything_is_built(
    project: Path, no_builds: list[list[str]]
) -> None:
    bench, heard = opened(project)
    with pytest.raises(InputError, match=r"^env\.main names the pod template team, which is not here$") as found:
        bench.ready("main")
    assert found.value.hint == f"put the PodTemplate team into a YAML file in {project / 'k8s'}"
    with pytest.raises(InputError, match="the pod template team"):
        bench.run("main")
    assert no_builds == []
    (project / "k8s" / "team.yaml").write_text(TEAM)
    bench.ready("main")
    assert (no_builds, heard.lines) == ([["env"]], [])


def test_without_a_folder_the_setting_is_named(project: Path, no_builds: list[list[str]]) -> None:
    (project / "pyproject.toml").unlink()
    bench, _ = opened(project)
    with pytest.raises(InputError) as found:
        bench.ready("main")
    assert found.value.hint is not None
    assert found.value.hint.startswith("set `pod-templates` in [tool.flyte-build] to a folder of YAML")


def test_that_of_a_task_that_may_be_called_is_a_line(project: Path, no_builds: list[list[str]]) -> None:
    bench, heard = opened(project)
    bench.ready("above")
    assert len(no_builds) == 1
    assert heard.lines == [
        "leaf.below, if it is called, would never run: it names the pod template others, which is not here "
        f"(put the PodTemplate others into a YAML file in {project / 'k8s'})"
    ]


def test_who_names_none_reads_no_folder(project: Path) -> None:
    bench, _ = opened(project)
    (above,) = [task for task in bench.tasks if task.name == "above"]
    assert refuse_missing([above], above, project / "nowhere") == []


def test_an_image_of_its_own_is_refused_before_anything_is_built_too(project: Path, no_builds: list[list[str]]) -> None:
    pytest.importorskip("kubernetes")
    (project / "main.py").write_text(
        "import flyte\nfrom kubernetes.client import V1Container, V1PodSpec\n"
        "own = flyte.PodTemplate(pod_spec=V1PodSpec(containers=[V1Container(name='primary', image='x:1')]))\n"
        "env = flyte.TaskEnvironment(name='env', pod_template=own)\n\n"
        "@env.task\ndef main() -> int:\n    return 1\n"
    )
    bench, _ = opened(project)
    with pytest.raises(RefusedError, match="runs `x:1` instead of the environment's image"):
        bench.ready("main")
    assert no_builds == []


class Namespace:
    namespace = "team-a"

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[tuple[str, str]] = []

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        self.asked.append((kind, name))
        return {"template": {}} if name in self.names else None


def test_one_that_a_namespace_has_not_is_said_before_anything_is_built(project: Path) -> None:
    bench, _ = opened(project)
    tasks = {task.name: task for task in bench.tasks}
    with pytest.raises(RunError, match=r"env\.main names the pod template team, which namespace team-a has not"):
        refuse_missing_template(_as_cluster(Namespace("others")), tasks["main"])
    there = Namespace("team")
    refuse_missing_template(_as_cluster(there), tasks["main"])
    assert there.asked == [("v1/podtemplates", "team")]
    none = Namespace()
    refuse_missing_template(_as_cluster(none), tasks["above"])
    assert none.asked == []


def test_a_run_on_a_target_asks_for_it_first(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "pyproject.toml").write_text(
        '[tool.flyte-build.targets.there]\nnamespace = "team-a"\nstorage = "s3://nobodys/runs"\n'
    )
    bench, _ = opened(project)
    namespace, built = Namespace(), list[str]()
    monkeypatch.setattr(submitting, "connected_to", lambda target: namespace)
    monkeypatch.setattr(submitting, "storage_of", lambda target: None)
    monkeypatch.setattr(submitting, "for_cluster", lambda settings, target, cluster: settings)
    monkeypatch.setattr(submitting, "pushed_for", lambda *given, **more: built.append("images"))
    with pytest.raises(RunError, match="the pod template team, which namespace team-a has not"):
        bench.run("main", RunOptions(on="there"))
    assert (namespace.asked, built) == ([("v1/podtemplates", "team")], [])


def _as_cluster(namespace: Any) -> Cluster:
    found: Cluster = namespace
    return found
