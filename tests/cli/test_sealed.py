"""`with_commands` on its whole way: lock, plan, build, stale, made again, other bytes, and elsewhere."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from flyte_build.store import Store

from ..support.bases import BaseImage, layer, publish_base
from ..support.offline import Offline
from ..support.registry import RegistryServer
from ..support.tiny_root import layer_blob, tiny_folder, tiny_root

BEFORE = """
import flyte
base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
tools = base.with_source_folder("tools", "/")
low = flyte.TaskEnvironment("low", image=tools.with_commands({commands}{more}){after})
above = tools.with_commands({commands}{more}).with_pip_packages("beta")
top = flyte.TaskEnvironment("top", image=above, depends_on=[low])

@top.task
def main(x: int) -> int:
    return x
"""
WRITES = ["mkdir -p /opt/made", "echo $PWD > /opt/made/where"]


def flow(offline: Offline, commands: list[str], after: str = "", more: str = "") -> None:
    offline.write(BEFORE.format(commands=commands, after=after, more=more))


@pytest.fixture
def project(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> Offline:
    tiny_folder(offline.project / "tools")
    monkeypatch.setenv("FLYTE_BUILD_SEAL_NETWORK", "none")
    flow(offline, WRITES)
    return offline


def seals(offline: Offline, environment: str = "low") -> list[dict[str, Any]]:
    lock = json.loads((offline.lockfiles / f"{environment}.json").read_text())
    rows: list[dict[str, Any]] = lock["platforms"]["linux/amd64"].get("seals", [])
    return rows


def images(offline: Offline, *more: str) -> dict[str, str]:
    rows = offline.ok("build", "flow.py", "--json", *more).json()["images"]
    return {i["environment"]: i["digest"] for i in rows}


def test_locked_planned_and_built(project: Offline) -> None:
    said = project.ok("lock", "flow.py")
    assert "low: sealed `run mkdir -p /opt/made (and 1 more)`" in said.err
    assert said.err.count("sealed `run mkdir") == 1, "the second environment shares the first one's"
    (seal,), (other,) = seals(project), seals(project, "top")
    assert seal == other
    assert (seal["step"], seal["network"], seal["reproducible"], seal["modules"]) == (1, "none", True, [])
    assert [row[0] for row in seal["sketch"]] == ["opt", "opt/made", "opt/made/where"]
    plan = project.ok("plan", "flow.py", "--json").json()
    kinds = [layer["kind"] for layer in plan["images"][0]["layers"]]
    assert kinds[-2:] == ["files", "sealed"]
    assert plan["artifacts_to_fetch"] == 0 or all("sealed" not in str(x) for x in plan["notes"])
    first = images(project)
    store = Store(project.store)
    manifest = store.manifest(first["low"])
    assert manifest is not None
    assert manifest["layers"][-1]["digest"] == seal["digest"]
    with tarfile.open(store.blob_path(seal["digest"])) as tar:
        content = tar.extractfile("opt/made/where")
        assert content is not None
        assert content.read() == b"/home/flyte\n"
    project.verified()


def test_a_second_lock_runs_nothing(project: Offline) -> None:
    project.ok("lock", "flow.py")
    before = seals(project)
    again = project.ok("lock", "flow.py", "--json")
    assert "sealed" not in again.err
    assert again.json()["sealed"] == []
    assert again.json()["written"] == []
    assert seals(project) == before


def test_what_was_run_is_told_to_machines(project: Offline) -> None:
    (run,) = project.ok("lock", "flow.py", "--json").json()["sealed"]
    assert (run["environment"], run["platform"], run["step"], run["commands"]) == ("low", "linux/amd64", 2, WRITES)
    assert (run["paths"], run["content"], run["differs"]) == (3, 12, [])
    assert "+ mkdir -p /opt/made" in Path(run["log"]).read_text()


def test_something_below_changed(project: Offline) -> None:
    project.ok("lock", "flow.py")
    (project.project / "tools/etc").mkdir()
    (project.project / "tools/etc/new").write_text("x")
    said = project.refused(4, "plan", "flow.py")
    assert "low: the seal of `run mkdir -p /opt/made (and 1 more)` (linux/amd64) is stale" in said
    assert "the seal of" in project.refused(4, "lock", "--check", "flow.py")
    assert "low: sealed" in project.ok("lock", "flow.py").err
    project.ok("lock", "--check", "flow.py")


def test_a_step_after_it_changes_nothing_of_it(project: Offline) -> None:
    project.ok("lock", "flow.py")
    before = seals(project)
    flow(project, WRITES, after='.with_pip_packages("alpha").with_env_vars({"A": "b"})')
    assert "low: the seal" not in project.ok("lock", "flow.py").err
    assert seals(project) == before


def test_commands_that_went_leave_no_seal(project: Offline) -> None:
    project.ok("lock", "flow.py")
    project.write('import flyte\nlow = flyte.TaskEnvironment("low", image=flyte.Image.from_debian_base('
                  'python_version=(3, 11), platform=("linux/amd64",)))\n')  # fmt: skip
    project.ok("lock", "flow.py")
    assert seals(project) == []


ON_BASE = """
import flyte
base = flyte.Image.from_base("{reference}").clone(name="x", extendable=True)
image = base.with_commands(["pwd > /srv-made; id >> /srv-made"])
low = flyte.TaskEnvironment("low", image=image)
"""


def test_on_an_image_of_a_registry(offline: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_SEAL_NETWORK", "none")
    layers = [gzip.decompress(_blob(offline.home)), layer({"etc/os-release": "ID=tiny\n", "data/x": "1"})]
    publish_base(
        registry, "team/base", BaseImage(layers, {"User": "flyte", "WorkingDir": "/data", "Env": ["PATH=/bin"]})
    )
    offline.write(ON_BASE.format(reference=f"{registry.host}/team/base:1"))
    assert "low: sealed `run pwd" in offline.ok("lock", "flow.py").err
    first = images(offline)
    manifest = Store(offline.store).manifest(first["low"])
    assert manifest is not None
    assert len(manifest["layers"]) == 3
    with tarfile.open(Store(offline.store).blob_path(seals(offline)[0]["digest"])) as tar:
        content = tar.extractfile("srv-made")
        assert content is not None
        assert content.read().decode().splitlines()[0] == "/data"
    assert offline.ok("plan", "flow.py").out.count("cached") >= 1


DOCKERFILE = """
FROM {host}/team/base:1
WORKDIR /data
ENV NAME=value
COPY given.txt ./
RUN cat given.txt > /made && echo $NAME >> /made
"""


def test_a_dockerfile(offline: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_SEAL_NETWORK", "none")
    layers = [gzip.decompress(_blob(offline.home)), layer({"data/x": "1"})]
    publish_base(registry, "team/base", BaseImage(layers, {"Env": ["PATH=/bin"]}))
    offline.write("given\n", "image/given.txt")
    offline.write(DOCKERFILE.format(host=registry.host), "image/Dockerfile")
    offline.write(
        "from pathlib import Path\nimport flyte\n"
        'image = flyte.Image.from_dockerfile(Path(__file__).parent / "image/Dockerfile", registry="r", name="n")\n'
        'low = flyte.TaskEnvironment("low", image=image)\n'
    )
    assert "low: sealed `run cat given.txt" in offline.ok("lock", "flow.py").err
    images(offline)
    with tarfile.open(Store(offline.store).blob_path(seals(offline)[0]["digest"])) as tar:
        content = tar.extractfile("made")
        assert content is not None
        assert content.read() == b"given\nvalue\n"
    offline.write("changed\n", "image/given.txt")
    assert "is stale" in offline.refused(4, "plan", "flow.py")


def _blob(folder: Path) -> bytes:
    layer_blob(folder / "tiny.tar.gz", tiny_root())
    return (folder / "tiny.tar.gz").read_bytes()


def lose(project: Offline) -> None:
    """Another machine: nothing in its store."""
    shutil.rmtree(project.store)


def test_a_machine_that_lacks_it_makes_the_same_again(project: Offline) -> None:
    project.ok("lock", "flow.py")
    first = images(project)
    lose(project)
    done = project.ok("build", "flow.py")
    assert "low: nobody has the layer of `run mkdir -p /opt/made (and 1 more)`: the step is run again" in done.err
    assert images(project) == first


def test_other_bytes_are_an_error_that_says_where(project: Offline) -> None:
    flow(project, ["mkdir /opt/a; echo 1 > /opt/a/same; cat /proc/sys/kernel/random/uuid > /opt/a/when"])
    said = project.ok("lock", "flow.py")
    assert "is not reproducible: `opt/a/when` came out otherwise the second time" in said.err
    lose(project)
    said_then = project.refused(16, "build", "flow.py")
    assert "made other bytes than were sealed" in said_then
    assert "the first difference: `opt/a/when`" in said_then
    assert "--reseal 2" in said_then
    project.ok("lock", "flow.py", "--reseal", "2")
    images(project)


def test_a_blob_is_enough(project: Offline) -> None:
    project.ok("lock", "flow.py")
    first = images(project)
    (seal,) = seals(project)
    (project.store / "artifacts/sha256" / seal["digest"][7:]).unlink()
    shutil.rmtree(project.store / "realisations")
    assert "run again" not in project.ok("build", "flow.py").err
    assert images(project) == first


def test_a_plan_says_that_a_step_came_out_otherwise(project: Offline) -> None:
    flow(project, ["cat /proc/sys/kernel/random/uuid > /opt-when"])
    project.ok("lock", "flow.py")
    images(project)
    project.ok("lock", "flow.py", "--reseal", "all")
    (image, _) = project.ok("plan", "flow.py", "--json").json()["images"]
    assert image["why"] == "another layer of `run cat /proc/sys/kernel/random/uuid > /opt-when`"


def test_no_such_step(project: Offline) -> None:
    assert "no sealed step `7`; there are: 2" in project.refused(2, "lock", "flow.py", "--reseal", "7")


def test_a_failing_command_leaves_no_lock(project: Offline) -> None:
    flow(project, ["echo why; exit 9"])
    said = project.refused(16, "lock", "flow.py")
    assert "low" in said or "ended with exit code 9" in said
    assert "why" in said
    assert not project.lockfiles.exists() or not list(project.lockfiles.glob("*.json"))
    assert not list((project.store / "tmp").glob("session-*"))


def test_a_secret_that_nobody_gave(project: Offline) -> None:
    flow(project, ["true"], more=', secret_mounts=["api-key"]')
    assert "expected it in $API-KEY" in project.refused(2, "lock", "flow.py")


def test_a_secret_is_in_no_file(project: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    flow(project, ['test -n "$TOKEN" && echo $TOKEN && echo used > /used'], more=', secret_mounts=["token"]')
    monkeypatch.setenv("TOKEN", "c4n4ry-in-a-mine")
    project.ok("lock", "flow.py")
    images(project)
    held = [p for p in project.home.rglob("*") if p.is_file() and b"c4n4ry-in-a-mine" in p.read_bytes()]
    assert held == []


def test_a_platform_that_does_not_run_here(project: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.kernel.emulation.emulator", lambda platform: None)
    text = (project.project / "flow.py").read_text()
    project.write(text.replace('("linux/amd64",)', '("linux/amd64", "linux/arm64")'))
    said = project.ok("lock", "flow.py")
    assert "is not sealed for linux/arm64: this machine is linux/amd64" in said.err
    images(project)
    assert "is not sealed for linux/arm64" in project.refused(4, "plan", "flow.py", "--platform", "linux/arm64")


def test_a_shared_cache_has_it(project: Offline, registry: RegistryServer) -> None:
    flow(project, ["cat /proc/sys/kernel/random/uuid > /opt-when"])
    project.write(
        f'[tool.flyte-build]\nregistry = "{registry.host}/team"\ncache = ["{registry.host}/team/cache"]\n',
        "pyproject.toml",
    )
    project.ok("lock", "flow.py")
    project.ok("push", "flow.py")
    first = images(project)
    lose(project)
    done = project.ok("build", "flow.py")
    assert "run again" not in done.err
    assert images(project) == first


def test_verified_from_its_layer(project: Offline) -> None:
    project.ok("lock", "flow.py")
    images(project)
    project.ok("verify", "flow.py")
    project.ok("verify", "flow.py", "--fetch")


def test_to_a_site_without_network_in_a_bundle(project: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    project.ok("lock", "flow.py")
    first = images(project)
    project.ok("bundle", "flow.py", "-o", project.home / "flow.fbundle")
    lose(project)
    project.ok("unbundle", project.home / "flow.fbundle", "--verify")
    shutil.rmtree(project.store / "realisations")
    assert images(project) == first
    project.ok("bundle", "flow.py", "-o", project.home / "parts.fbundle", "--no-images")
    lose(project)
    project.ok("unbundle", project.home / "parts.fbundle")
    done = project.ok("build", "flow.py")
    assert "run again" not in done.err
