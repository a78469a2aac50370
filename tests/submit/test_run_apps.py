"""Apps that called tasks bring: kept with them, served beside the run's own, and found by their own tasks only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from flyte_build.submit.action import LaunchRequest, Resources, SecretRef
from flyte_build.submit.apps import Apps
from flyte_build.submit.control.stash import LocalStash
from flyte_build.submit.deployed import DeployedTask
from flyte_build.submit.run_apps import RunApps
from flyte_build.submit.served import Ground, ServedApp
from flyte_build.submit.storage import BUNDLES, Storage

from .test_deployed import task

FRONT = ServedApp(
    "front", "sha256:aa", ("serve", "{{.codeBundle}}"), 8080, {"A": "b"},
    (SecretRef("token", "team", "TOKEN"), SecretRef("file", None, None)), Resources(0.5, 2**28, 2**20),
)  # fmt: skip
BACK = ServedApp("back", "sha256:bb", ("serve",), 80)
OWN = "c0" * 32


def apps(tmp_path: Path, *own: ServedApp) -> RunApps:
    ground = Ground(
        cast(Any, None), "none", None, cast(Any, None), lambda *_: None, {}, tmp_path / "bundles" / f"{OWN}.tgz",
        tmp_path / "scratch" / "apps", tmp_path / "workers", lambda _: True, lambda _: None,
    )  # fmt: skip
    return RunApps(Apps(own, ground), ground)


def called(tmp_path: Path, *brings: ServedApp, **more: Any) -> DeployedTask:
    return task(tmp_path, "other.work", apps=tuple(app.to_json() for app in brings), **more)


def request(*args: str) -> LaunchRequest:
    return LaunchRequest("r1", "a1", 1, "other.work", "sha256:aa", ("a0", *args), {}, Path("/dev/null"))


def hosts(made: RunApps, code: str) -> Sequence[str]:
    return list(made.of(request("--tgz", code, "--dest", ".")).hosts)


@pytest.mark.parametrize("app", [FRONT, BACK])
def test_an_app_is_kept_whole(app: ServedApp) -> None:
    assert ServedApp.from_json(json.loads(json.dumps(app.to_json()))) == app


def test_each_task_finds_the_apps_of_its_own_code(tmp_path: Path) -> None:
    made = apps(tmp_path, FRONT)
    one, two = called(tmp_path, FRONT, text=b"1"), called(tmp_path, BACK, text=b"2")
    for n in (1, 2):  # asked for again, it is the same
        made.add(one, f"{BUNDLES}/1.tgz")
        made.add(two, f"{BUNDLES}/2.tgz")
        assert len(made.called) == 2, n
    assert hosts(made, f"{BUNDLES}/1.tgz") == ["front.localhost"]
    assert hosts(made, f"{BUNDLES}/2.tgz") == ["back.localhost"]
    for code in (f"{BUNDLES}/{OWN}.tgz", f"{BUNDLES}/3.tgz"):
        assert made.of(request("--tgz", code)) is made.own
    assert made.of(request()) is made.own
    assert made.of(request("--tgz", f"{BUNDLES}/1.tgz")) is not made.own
    made.add(called(tmp_path, FRONT, BACK, text=b"1"), f"{BUNDLES}/1.tgz")
    assert hosts(made, f"{BUNDLES}/1.tgz") == ["front.localhost", "back.localhost"], "another task of it has more"


def test_they_share_no_folder_log_or_code_with_the_runs_own(tmp_path: Path) -> None:
    made = apps(tmp_path, FRONT)
    one = called(tmp_path, FRONT)
    made.add(one, f"{BUNDLES}/1.tgz")
    own, ground = made.own._ground, made.called[f"{BUNDLES}/1.tgz"]._ground
    assert (own.mark, ground.mark) == ("", f"-{one.code[7:15]}")
    assert ground.bundle == own.bundle.with_name("1.tgz")
    assert ground.scratch == own.scratch.with_name(f"apps{ground.mark}")


def test_what_brings_none_is_the_runs_own_affair(tmp_path: Path) -> None:
    made = apps(tmp_path)
    made.add(called(tmp_path), f"{BUNDLES}/1.tgz")
    assert made.called == {}
    assert not made.of(request("--tgz", f"{BUNDLES}/1.tgz")).parted


def test_the_runs_own_code_keeps_its_own_apps(tmp_path: Path) -> None:
    made = apps(tmp_path, FRONT)
    made.add(called(tmp_path, BACK), f"{BUNDLES}/{OWN}.tgz")
    assert made.called == {}
    assert list(made.own.hosts.items()) == [("front.localhost", "127.77.0.1"), ("back.localhost", "127.77.0.2")]


def test_what_are_no_apps_is_said(tmp_path: Path) -> None:
    made = apps(tmp_path)
    for wrong in ({}, {**FRONT.to_json(), "port": "x"}, {**FRONT.to_json(), "secrets": [1]}):
        with pytest.raises(OSError, match="expected the apps of a deployed task, found"):
            made.add(task(tmp_path, apps=(wrong,)), f"{BUNDLES}/1.tgz")


def test_a_task_is_heard_of_before_it_is_called(tmp_path: Path) -> None:
    folder, heard = Storage(tmp_path / "runs").run("r1"), []
    folder.bundles.mkdir(parents=True)
    stash = LocalStash(folder, lambda *told: heard.append(told))
    one = called(tmp_path, FRONT)
    uri = asyncio.run(stash.admit(one))
    assert heard == [(one, uri)]
    assert uri == f"{BUNDLES}/{one.code.removeprefix('sha256:')}.tgz"
    assert asyncio.run(LocalStash(folder).admit(one)) == uri
