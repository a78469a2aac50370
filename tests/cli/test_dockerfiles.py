"""A Dockerfile on its whole way: stages, copies of them, users, mounts; locked, built, stale, and made again."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from flyte_build.store import Store

from ..support.bases import BaseImage, layer, publish_base
from ..support.dockerfiles import FLOW, WHOLE, config_of, context, files_of, publish_bases
from ..support.offline import Offline
from ..support.registry import RegistryServer


@pytest.fixture
def project(offline: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> Offline:
    monkeypatch.setenv("FLYTE_BUILD_SEAL_NETWORK", "none")
    publish_bases(registry, offline.home)
    context(offline.project / "image", WHOLE.format(host=registry.host))
    offline.write(FLOW)
    return offline


def lock_of(offline: Offline) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((offline.lockfiles / "low.json").read_text())["platforms"]["linux/amd64"]
    return found


def built(offline: Offline) -> str:
    (image,) = offline.ok("build", "flow.py", "--json").json()["images"]
    return str(image["digest"])


def test_a_dockerfile_of_stages(project: Offline, registry: RegistryServer) -> None:
    said = project.ok("lock", "flow.py").err
    assert "low: sealed `copy /out /app (and 6 more)`" in said
    assert "exit 9" not in said
    assert "warning: environment low: its ENTRYPOINT (/init) gets a task's command as its arguments" in said
    lock = lock_of(project)
    assert [stage["base"] and stage["base"]["reference"].partition("@")[0] for stage in lock["stages"]] == [
        f"{registry.host}/team/base:1", f"{registry.host}/team/base:1", f"{registry.host}/team/tool:1", *3 * [None],
    ]  # fmt: skip
    assert [len(stage["seals"]) for stage in lock["stages"]] == [1, 1, 0, 0, 0, 0]
    assert all(seal["reproducible"] for seal in lock["seals"])
    first = built(project)
    _is_whole(Store(project.store), first)
    # Nothing has changed, so nothing is run, and no lock is written.
    again = project.ok("lock", "flow.py", "--json")
    assert (again.json()["sealed"], again.json()["written"]) == ([], [])
    project.ok("lock", "--check", "flow.py")
    project.verified()
    # Another machine has neither its layers nor those of its stages.
    shutil.rmtree(project.store)
    assert "the step is run again" in project.ok("build", "flow.py").err
    assert built(project) == first
    # What a stage copies is below the steps that take of it.
    (project.project / "image/src/main.txt").write_text("other\n")
    assert "is stale" in project.refused(4, "plan", "flow.py")


def _is_whole(store: Store, digest: str) -> None:
    manifest = store.manifest(digest)
    assert manifest is not None
    found = files_of(store.blob_path(row["digest"]) for row in manifest["layers"])
    assert {path: " ".join(found[path].split()[:3]) for path in (
        "app", "app/lib", "app/lib/main.txt", "app/latest", "app/new", "app/new/second", "bin/tool", "data/one.txt",
        "made/one.txt", "unpacked/in", "unpacked/in/file", "from-out", "home/work", "home/work/mine", "tmp/rooted.txt",
        "tmp/here",
    )} == {
        "app": "5 755 0:0",
        "app/lib": "5 700 1000:1000",
        "app/lib/main.txt": "0 644 1000:1000",
        "app/latest": "2 - 1000:1000",
        "app/new": "5 755 1000:1000",
        "app/new/second": "0 640 1000:1000",
        "bin/tool": "0 755 0:0",
        "data/one.txt": "0 644 1000:1000",
        "made/one.txt": "0 644 0:0",
        "unpacked/in": "5 750 5:6",
        "unpacked/in/file": "0 750 5:6",
        "from-out": "0 644 0:0",
        "home/work": "5 755 1000:1000",
        "home/work/mine": "0 644 1000:1000",
        "tmp/rooted.txt": "0 644 0:0",
        "tmp/here": "0 644 0:0",
    }  # fmt: skip
    assert not [path for path in found if path.startswith(("cached", "mnt", "out"))]
    config = config_of(store.blob_path(manifest["config"]["digest"]))
    assert config.pop("Env") == ["PATH=/opt/x:/bin", "APP=/app", "OTHER=def"]
    assert config == {
        "User": "flyte",
        "WorkingDir": "/home/work",
        "Labels": {"a": "b", "of app": "/app"},
        "ExposedPorts": {"80/tcp": {}, "90/udp": {}},
        "StopSignal": "SIGINT",
        "Volumes": {"/vol": {}},
        "Cmd": ["serve"],
        "Entrypoint": ["/init"],
    }


SECRET = """FROM {host}/team/base:1 AS low
RUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null && echo used > /used
FROM {host}/team/base:1
COPY --from=low /used /used
RUN --mount=type=secret,id=token,env=T test -n "$T" && echo $T
"""


def test_a_secret_is_in_no_file(project: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the image's own steps nor of a stage's."""
    (project.project / "image/Dockerfile").write_text(SECRET.format(host=registry.host))
    assert "expected it in $TOKEN" in project.refused(2, "lock", "flow.py")
    monkeypatch.setenv("TOKEN", "c4n4ry-in-a-mine")
    project.ok("lock", "flow.py")
    built(project)
    held = [p for p in project.home.rglob("*") if p.is_file() and b"c4n4ry-in-a-mine" in p.read_bytes()]
    assert held == []
    # Another machine seals a step anew that takes of a stage whose seal holds.
    before = lock_of(project)["stages"]
    shutil.rmtree(project.store)
    text = SECRET.format(host=registry.host).replace("COPY", "ENV MORE=1\nCOPY")
    (project.project / "image/Dockerfile").write_text(text)
    assert "nobody has the layer of `run cat /run/secrets/token" in project.ok("lock", "flow.py").err
    assert lock_of(project)["stages"] == before


def test_a_line_that_no_step_means_and_no_builder(project: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(
        "shutil.which", lambda name, **more: None if name in ("buildah", "docker") else which(name, **more)
    )
    text = (project.project / "image/Dockerfile").read_text()
    (project.project / "image/Dockerfile").write_text(text + "RUN --network=host y\n")
    said = project.refused(7, "lock", "flow.py")
    assert "`RUN --network=host y`: `--network=host` asks for what a sealed step has not; another builder" in said
    assert "but neither buildah nor docker is installed" in said
    assert "`apt install buildah`: `lock` has it build the image, and seals what comes of it" in said


def test_a_stage_s_image_moves_with_upgrade_only(project: Offline, registry: RegistryServer) -> None:
    text = f"FROM {registry.host}/team/base:1\nCOPY --from={registry.host}/team/tool:1 /tool /tool\n"
    (project.project / "image/Dockerfile").write_text(text)
    project.ok("lock", "flow.py")
    before = lock_of(project)["stages"][0]["base"]["manifest"]["digest"]
    publish_base(registry, "team/tool", BaseImage([layer({"tool": ("newer", 0o755)})]))
    project.ok("lock", "flow.py")
    assert lock_of(project)["stages"][0]["base"]["manifest"]["digest"] == before
    project.ok("lock", "flow.py", "--upgrade")
    assert lock_of(project)["stages"][0]["base"]["manifest"]["digest"] != before
