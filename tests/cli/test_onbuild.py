"""What a base has the images begin with that stand on it (``ONBUILD``), from its configuration into the lock."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import Any

import pytest

from ..support.bases import BaseImage, layer, publish_base
from ..support.dockerfiles import FLOW, built, context, publish_bases
from ..support.offline import Offline
from ..support.registry import RegistryServer
from ..support.tiny_root import layer_blob, tiny_root

TRIGGERS = ["ENV WHERE=/app", "WORKDIR $WHERE", "COPY one.txt two.txt ./", "RUN cat one.txt >> log"]
FILE = """FROM {host}/team/begun:1 AS low
RUN cat two.txt >> log
FROM {host}/team/begun:1
COPY --from=low /app/log /low
"""


@pytest.fixture
def project(offline: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> Offline:
    monkeypatch.setenv("FLYTE_BUILD_SEAL_NETWORK", "none")
    publish_bases(registry, offline.home)
    publish(offline, registry, TRIGGERS)
    context(offline.project / "image", FILE.format(host=registry.host))
    offline.write(FLOW)
    return offline


def publish(offline: Offline, registry: RegistryServer, triggers: list[str]) -> None:
    settings = {"Env": ["PATH=/bin"], "OnBuild": triggers}
    layer_blob(offline.home / "begun.tar.gz", tiny_root())
    tiny = gzip.decompress((offline.home / "begun.tar.gz").read_bytes())
    publish_base(registry, "team/begun", BaseImage([tiny, layer({"etc/x": "x\n"})], settings))


def recipe_of(offline: Offline) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((offline.lockfiles / "low.json").read_text())["recipe"]
    return found


def test_an_image_begins_with_what_its_base_says(project: Offline, registry: RegistryServer) -> None:
    """Of the image as of the stage that it copies from; what is built has none of it for others."""
    said = project.ok("lock", "flow.py").err
    assert "ONBUILD" not in said
    assert recipe_of(project)["triggers"] == {f"{registry.host}/team/begun:1": TRIGGERS}
    files, config = built(project)
    assert {"app", "app/one.txt", "app/two.txt", "app/log", "low"} <= files.keys()
    assert files["app/one.txt"] == files["app/log"], "the image's own log has one line"
    assert files["low"] != files["app/log"], "and that of the stage two"
    assert (config["WorkingDir"], "OnBuild" in config) == ("/app", False)
    assert "WHERE=/app" in config["Env"]
    again = project.ok("lock", "flow.py", "--json").json()
    assert (again["sealed"], again["written"]) == ([], [])
    project.ok("lock", "--check", "flow.py")
    # What the base says is copied is a file of the project like any other.
    (project.project / "image/two.txt").write_text("other\n")
    assert "is stale" in project.refused(4, "plan", "flow.py")


def test_a_base_that_says_something_else_one_day(project: Offline, registry: RegistryServer) -> None:
    project.ok("lock", "flow.py")
    publish(project, registry, ["RUN echo other > /other"])
    (project.project / "image/Dockerfile").write_text(f"FROM {registry.host}/team/begun:1\n")
    project.ok("lock", "flow.py")
    assert recipe_of(project)["triggers"] == {f"{registry.host}/team/begun:1": TRIGGERS}, "as locked"
    project.ok("lock", "flow.py", "--upgrade")
    assert "other" in built(project)[0]
    publish(project, registry, [])
    project.ok("outdated", "flow.py")
    assert "other" in built(project)[0], "asking changes nothing"
    project.ok("lock", "flow.py", "--upgrade")
    assert "triggers" not in recipe_of(project)
    assert "other" not in built(project)[0]


def test_a_line_of_a_base_that_no_step_means(
    project: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(project, registry, ["RUN --network=host x"])
    which = shutil.which
    monkeypatch.setattr(
        "shutil.which", lambda name, **more: None if name in ("buildah", "docker") else which(name, **more)
    )
    said = project.refused(7, "lock", "flow.py")
    assert f"Dockerfile:3: `RUN --network=host x` (ONBUILD of {registry.host}/team/begun:1): `--network=host`" in said
    assert "but neither buildah nor docker is installed" in said


def test_a_line_of_a_base_that_nobody_can_have(project: Offline, registry: RegistryServer) -> None:
    publish(project, registry, ["ONBUILD RUN x"])
    assert "no instruction that an image can have for those that stand on it" in project.refused(7, "lock", "flow.py")


def test_an_image_that_is_used_by_its_name(project: Offline, registry: RegistryServer) -> None:
    """What is not a Dockerfile has no folder that its base could mean."""
    text = (
        f'import flyte\nlow = flyte.TaskEnvironment("low", image=flyte.Image.from_base("{registry.host}/team/begun:1")'
    )
    project.write(f"{text}.clone(registry='r', name='n', extendable=True).with_env_vars({{'A': 'b'}}))\n")
    said = project.ok("lock", "flow.py").err
    assert "has instructions for images that are built on it (ONBUILD) (`ENV WHERE=/app`), which are not run" in said
