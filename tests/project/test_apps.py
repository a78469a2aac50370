"""App environments as what serves them: the SDK's own command, and what it asks for."""

from __future__ import annotations

from pathlib import Path

from flyteidl2.core import tasks_pb2
from flyteidl2.task import task_definition_pb2

from flyte_build.project.apps import App, AppSecret, read_app
from flyte_build.project.loading import load

MAIN = """
import flyte, flyte.app
app = flyte.app.AppEnvironment(
    name="front", args=["python", "-m", "http.server", "9000"], port=9000, env_vars={"A": "1"},
    secrets=[flyte.Secret("token", group="api"), flyte.Secret("key", mount="/etc/flyte/secrets"), "plain-key"],
    resources=flyte.Resources(cpu=(1, 2), memory="1Gi", gpu=1))
own = flyte.app.AppEnvironment(name="own", command="serve --all 'a b'")
env = flyte.TaskEnvironment(name="env", depends_on=[app, own])
"""


def test_an_app_is_what_the_sdk_would_deploy(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    project = load(tmp_path / "main.py", tmp_path)
    environments = project.environments
    assert environments["env"].app is None
    found = read_app(project, environments["front"], "v1")
    assert found.argv[:3] == ("fserve", "--version", "v1")
    assert found.argv[found.argv.index("--tgz") + 1] == "{{.codeBundle}}"
    assert found.argv[-5:] == ("--", "python", "-m", "http.server", "9000")
    assert found == App(
        "front",
        9000,
        found.argv,
        {"A": "1"},
        (AppSecret("token", "api", "API_TOKEN"), AppSecret("key", "", None), AppSecret("plain-key", "", "PLAIN_KEY")),
        {"cpu": "2", "memory": "1Gi"},
        ("gpu in its resources",),
        found.spec,
    )
    described = task_definition_pb2.TaskSpec.FromString(found.spec).task_template
    asked = {tasks_pb2.Resources.ResourceName.Name(r.name): r.value for r in described.container.resources.requests}
    assert asked == {"CPU": "1", "MEMORY": "1Gi", "GPU": "1"}
    assert [s.key for s in described.security_context.secrets] == ["token", "key", "plain-key"]


def test_an_apps_own_command_is_kept(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    project = load(tmp_path / "main.py", tmp_path)
    found = read_app(project, project.environments["own"], "v1")
    assert found.argv == ("serve", "--all", "a b")
    assert found.port == 8080
