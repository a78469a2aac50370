"""``flyte-build target``: what a person and a machine are shown, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from flyte_build.cli.app import cli
from flyte_build.kernel.errors import FlyteBuildError
from tests.support.apiserver import NAMESPACE, ApiServer, serving
from tests.support.kubeconfig import write_kubeconfig


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as api:
        api.documents["/version"] = {"major": "1", "minor": "34", "gitVersion": "v1.34.4"}
        api.documents["/apis"] = {"groups": []}
        api.answer = lambda method, kind, value: {**value, "status": {"allowed": True}} if "review" in kind else None
        yield api


@pytest.fixture(autouse=True)
def project(tmp_path: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "runs").mkdir()
    write_kubeconfig(tmp_path / "kube", api.url)
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.flyte-build.targets.prod]\nnamespace = "{NAMESPACE}"\nstorage = "file://{tmp_path}/runs"\n'
        f'kubeconfig = "kube"\nqueue = "q"\n[tool.flyte-build.targets.preview]\nnamespace = "p"\nstorage = "s3://p"\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["target", *arguments])


def test_targets_are_listed(tmp_path: Path) -> None:
    shown = run("list")
    assert [line.split()[:3] for line in shown.stdout.splitlines()[1:]] == [
        ["prod", "(current)", NAMESPACE], ["preview", "(current)", "p"],
    ]  # fmt: skip
    told = json.loads(run("list", "--json").stdout)
    assert (told["schema"], [t["name"] for t in told["targets"]]) == (1, ["prod", "preview"])
    assert told["targets"][0]["queue"] == "q"
    (tmp_path / "pyproject.toml").write_text("")
    assert run("list").stdout.startswith("no targets; ")


def test_manifests_are_yaml_that_says_all_and_no_aliases() -> None:
    text = run("manifests", "prod", "--group", "ml", "--user", "ada", "--cluster-queue", "cq").stdout
    assert text.startswith("# What runs of flyte-build need in namespace team (target prod), and nothing of\n")
    assert "&id" not in text
    objects = list(yaml.safe_load_all(text))
    assert [o["kind"] for o in objects] == ["ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "LocalQueue"]
    plain = json.loads(run("manifests", "prod", "--json").stdout)["items"]
    assert plain[:2] == objects[:2]
    assert plain[2]["subjects"] == objects[2]["subjects"][:1]
    wrong = run("manifests", "preview", "--cluster-queue", "cq")
    assert isinstance(wrong.exception, FlyteBuildError)
    assert (wrong.exception.exit_code, wrong.exception.message) == (
        2,
        "target preview has no queue that cq could be for",
    )


def test_a_check_shows_a_line_a_question_and_fails_where_one_did() -> None:
    shown = run("check", "prod", "--no-pods")
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("ok       API server: Kubernetes v1.34.4 at http://127.0.0.1:")
    assert "failed   Kueue: queue `q` is set, and Kueue is not installed" in lines
    assert "failed   registry from here: no registry is set" in lines
    assert isinstance(shown.exception, FlyteBuildError)
    assert shown.exception.exit_code == 12
    assert shown.exception.message == "target prod is not ready for runs: Kueue, registry from here"
    told = json.loads(run("check", "prod", "--no-pods", "--json").stdout)
    assert (told["schema"], told["target"], told["good"]) == (1, "prod", False)
    assert told["checks"][0]["what"] == "API server"
    quiet = run("check", "prod", "--no-pods", "--quiet").stdout.splitlines()
    assert not [line for line in quiet if line.startswith("ok")]


def test_a_target_that_is_none() -> None:
    wrong = run("check", "prd")
    assert isinstance(wrong.exception, FlyteBuildError)
    assert (wrong.exception.exit_code, wrong.exception.hint) == (2, "did you mean `prod`?")


def test_names_are_completed(tmp_path: Path) -> None:
    def complete(*words: str, incomplete: str = "") -> list[str]:
        return [i.value for i in ShellComplete(cli, {}, "flyte-build", "_X").get_completions(list(words), incomplete)]

    assert complete("target", "check") == ["prod", "preview"]
    assert complete("target", "manifests", incomplete="pre") == ["preview"]
    (tmp_path / "pyproject.toml").write_text("[tool.flyte-build]\ntargets = 3\n")
    assert complete("target", "check") == []
