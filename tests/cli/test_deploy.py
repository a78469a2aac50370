"""``deploy``: what is kept, what it is called, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

from flyte_build.submit.served import ServedApp

from ..support.offline import Offline
from .test_checked import CALLEE, CALLER, calls

__all__ = ["calls"]


def test_tasks_are_kept_by_the_version_of_their_contents(calls: Offline) -> None:
    assert "no tasks were deployed here" in calls.ok("deploy", "--list").out
    first = calls.ok("deploy", "callee.py", "--json").json()
    (task,) = first["tasks"]
    assert (task["name"], task["environment"], task["known"]) == ("low.work", "low", False)
    assert len(first["version"]) == 16
    image = calls.ok("build", "callee.py", "--json").json()["images"][0]["digest"]
    assert task["image"] == image

    again = calls.ok("deploy", "callee.py")
    assert again.out == f"low.work {first['version']}  (was there: the latest again)\n"
    assert again.err.endswith("1 task deployed to this machine\n")
    calls.write(CALLEE.replace("return x", "return x + 1"), "callee.py")
    other = calls.ok("deploy", "callee.py", "--json").json()
    assert other["version"] != first["version"]
    listed = calls.ok("deploy", "--list", "--json").json()
    assert [t["version"] for t in listed["tasks"]] == [other["version"], first["version"]]
    table = calls.ok("deploy", "--list").out
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["low.work", other["version"]], ["low.work", first["version"]]
    ]  # fmt: skip


def test_a_task_keeps_the_apps_that_its_environment_reaches(calls: Offline) -> None:
    apps = """
import flyte.app
back = flyte.app.AppEnvironment("back", image=base, port=8081, args=["serve"], env_vars={"A": "b"})
front = flyte.app.AppEnvironment("front", image=base, port=8080, args=["serve"], depends_on=[back])
alone = flyte.app.AppEnvironment("alone", image=base, port=8082, args=["serve"])
asks = flyte.TaskEnvironment("asks", image=base, depends_on=[front])
@asks.task
def ask() -> str:
    return front.endpoint
"""
    calls.write(CALLEE + apps, "callee.py")
    calls.ok("lock", "callee.py")
    version = calls.ok("deploy", "callee.py", "--json").json()["version"]
    kept = {p.parent.name: json.loads(p.read_text()) for p in calls.home.rglob(f"tasks/**/{version}.json")}
    assert {name: "apps" in document for name, document in kept.items()} == {"low.work": False, "asks.ask": True}
    found = {app.name: app for app in map(ServedApp.from_json, kept["asks.ask"]["apps"])}
    assert {name: app.port for name, app in found.items()} == {"front": 8080, "back": 8081}
    assert found["back"].env["A"] == "b"
    assert found["front"].image in kept["asks.ask"]["images"].values()
    calls.write(CALLEE + apps.replace('"A": "b"', '"A": "c"'), "callee.py")
    assert calls.ok("deploy", "callee.py", "--json").json()["version"] != version


def test_a_version_that_is_named_is_had_once(calls: Offline) -> None:
    calls.ok("deploy", "callee.py", "--version", "3", "--project", "mine", "--domain", "dev")
    calls.write(CALLEE.replace("return x", "return x + 1"), "callee.py")
    refused = calls("deploy", "callee.py", "--version", "3", "--project", "mine", "--domain", "dev")
    assert refused.code == 2
    assert "version 3 of low.work was deployed on" in refused.err
    assert "hint: leave out `--version`" in refused.err
    assert calls.ok("deploy", "--list", "--json").json()["tasks"] == []
    (there,) = calls.ok("deploy", "--list", "--json", "--project", "mine", "--domain", "dev").json()["tasks"]
    assert (there["version"], Path(there["file"]).name) == ("3", "callee.py")


def test_what_would_fail_is_not_deployed(calls: Offline) -> None:
    calls.write(CALLER.replace(", depends_on=[low]", ""), "caller.py")
    assert calls("deploy", "caller.py").code == 10
    assert calls("deploy", "callee.py", "--version", "a b").code == 2
    assert calls("deploy", "callee.py", "--list").code == 2
    assert calls("deploy", "callee.py", "--env", "none").code == 3
    assert json.loads(calls.ok("deploy", "--list", "--json").out)["tasks"] == []


def test_what_a_target_has_is_listed_by_its_storage_alone(offline: Offline) -> None:
    storage = offline.home / "storage"
    storage.mkdir()
    offline.write(
        f'[tool.flyte-build.targets.prod]\nnamespace = "ml"\nstorage = "file://{storage}"\n', "pyproject.toml"
    )
    said = offline.ok("deploy", "--list", "--on", "prod").out
    assert said == "no tasks were deployed to target prod; `flyte-build deploy --on prod FILE` does that\n"
    wrong = offline("deploy", "--list", "--on", "nowhere")
    assert (wrong.code, "no target `nowhere`; there are: prod" in wrong.err) == (2, True)
