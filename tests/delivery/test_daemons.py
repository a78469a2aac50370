"""Images into engines: what is sent, what is not, what they are called there, and what is said when it fails."""

from __future__ import annotations

import json
import os
import socket
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.delivery.archive import image_name
from flyte_build.delivery.daemons import load
from flyte_build.kernel.errors import InputError, StoreError
from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.store import Store
from flyte_build.store.built import BuiltImage
from tests.support.dockerapi import FakeDocker


def config_of(store: Store, image: BuiltImage) -> str:
    manifest = store.manifest(image.manifest_digest)
    assert manifest is not None
    return str(manifest["config"]["digest"])


def blob_name(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


@pytest.fixture(autouse=True)
def nobody_elses_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-config"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeDocker]:
    with FakeDocker(tmp_path) as fake:
        monkeypatch.setenv("DOCKER_HOST", fake.address)
        yield fake


def test_docker_gets_layers_as_they_are_and_keeps_the_configuration(
    store: Store, built: list[BuiltImage], docker: FakeDocker
) -> None:
    reporter = Recorder()
    loaded = load(store, built, "docker", reporter)
    assert [(i.environment, i.id, i.digest) for i in loaded] == [
        (b.environment, config_of(store, b), b.manifest_digest) for b in built
    ]
    assert [i.name for i in loaded] == [image_name(b.environment, b.derivation) for b in built]
    assert [docker.images[i.id]["RepoTags"] for i in loaded] == [[i.name] for i in loaded]
    (archive,) = docker.archives
    layers = {layer.digest: layer.size for b in built for layer in b.layers}
    for digest, size in layers.items():
        assert archive[blob_name(digest)] == size, "a layer is sent compressed"
    assert sum(i.sent or 0 for i in loaded) == sum(s for name, s in archive.items() if name.startswith("blobs/"))
    assert not any(i.reused for i in loaded)
    assert reporter.titles == ["load one, two into Docker"]


def test_what_docker_has_is_not_sent_again(store: Store, built: list[BuiltImage], docker: FakeDocker) -> None:
    load(store, built, "docker", Silent())
    reporter = Recorder()
    again = load(store, built, "docker", reporter)
    assert [(i.reused, i.sent) for i in again] == [(True, 0)] * 2
    assert len(docker.archives) == 1
    assert reporter.notes == [f"{b.environment}: the Docker daemon has the image already" for b in built]


def test_one_more_image_costs_its_own_layers(store: Store, built: list[BuiltImage], docker: FakeDocker) -> None:
    load(store, built[:1], "docker", Silent())
    (two,) = load(store, built[1:], "docker", Silent())
    shared, own = (layer.digest for layer in built[1].layers)
    archive = docker.archives[1]
    assert set(archive) == {"manifest.json", blob_name(own), blob_name(config_of(store, built[1]))}
    assert two.sent == sum(size for name, size in archive.items() if name != "manifest.json")
    assert blob_name(shared) not in archive


def test_layers_that_go_meanwhile_are_sent_after_all(store: Store, built: list[BuiltImage], docker: FakeDocker) -> None:
    (one,) = load(store, built[:1], "docker", Silent())

    def somebody_else() -> None:
        if one.id in docker.images:
            docker.remove(one.id)

    docker.before_load = somebody_else
    (two,) = load(store, built[1:], "docker", Silent())
    assert len(docker.archives) == 3
    assert two.id in docker.images
    assert two.sent == sum(size for name, size in docker.archives[2].items() if name != "manifest.json")


def test_a_name_that_is_missing_is_given(store: Store, built: list[BuiltImage], docker: FakeDocker) -> None:
    (one,) = load(store, built[:1], "docker", Silent())
    docker.images[one.id]["RepoTags"] = []
    renamed = replace(built[0], environment="other")
    found = load(store, [built[0], renamed], "docker", Silent())
    assert [i.reused for i in found] == [True, True]
    assert docker.images[one.id]["RepoTags"] == [i.name for i in found]


def test_one_image_of_two_environments_is_sent_once(store: Store, built: list[BuiltImage], docker: FakeDocker) -> None:
    found = load(store, [built[0], replace(built[0], environment="other")], "docker", Silent())
    assert [i.id for i in found] == [config_of(store, built[0])] * 2
    assert sorted(docker.images[found[0].id]["RepoTags"]) == [i.name for i in found]
    assert (found[0].sent or 0) > 0 == found[1].sent


def test_docker_on_containerd_keeps_the_manifest(
    store: Store, built: list[BuiltImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeDocker(tmp_path, containerd=True) as docker:
        monkeypatch.setenv("DOCKER_HOST", docker.address)
        load(store, built[:1], "docker", Silent())
        loaded = load(store, built, "docker", Silent())
        assert [(i.id, i.reused) for i in loaded] == [
            (built[0].manifest_digest, True),
            (built[1].manifest_digest, False),
        ]
        assert blob_name(built[1].layers[0].digest) in docker.archives[1], "it needs every blob"
        assert [docker.images[i.id]["RepoTags"] for i in loaded] == [[i.name] for i in loaded]


def test_what_the_daemon_refuses_is_said(store: Store, built: list[BuiltImage], docker: FakeDocker) -> None:
    docker.refuse = "no space left on device"
    with pytest.raises(StoreError, match="the Docker daemon refused the images: no space left on device"):
        load(store, built, "docker", Silent())
    docker.broken = True
    with pytest.raises(StoreError, match=r"docker\.sock: the Docker daemon refused: the disk is on fire"):
        load(store, built, "docker", Silent())


def test_a_daemon_that_is_not_there(
    store: Store, built: list[BuiltImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(StoreError, match=r"none\.sock: the Docker daemon is not running there") as e:
        load(store, built, "docker", Silent())
    assert "start it" in str(e.value.hint)
    assert e.value.exit_code == 9
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")
    with pytest.raises(StoreError, match="is not running there"):
        load(store, built, "docker", Silent())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")
def test_a_daemon_that_may_not_be_asked(store: Store, built: list[BuiltImage], docker: FakeDocker) -> None:
    docker.path.chmod(0)
    with pytest.raises(StoreError, match="permission denied") as e:
        load(store, built, "docker", Silent())
    assert "`docker` group" in str(e.value.hint)


def test_a_refused_permission_is_found_wherever_it_is() -> None:
    from flyte_build.delivery.dockerd import _reason

    try:
        try:
            raise PermissionError(13, "Permission denied")
        except PermissionError as inner:
            raise RuntimeError("Connection aborted.", inner) from None
    except RuntimeError as e:
        reason, hint = _reason(e)
    assert "permission denied" in reason
    assert "`docker` group" in hint


def test_a_daemon_of_another_age(
    store: Store, built: list[BuiltImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeDocker(tmp_path, api="1.10") as old:
        monkeypatch.setenv("DOCKER_HOST", old.address)
        with pytest.raises(StoreError, match="the Docker daemon is too old for the SDK or too new"):
            load(store, built, "docker", Silent())


def test_the_context_in_use_is_asked(
    store: Store, built: list[BuiltImage], docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    monkeypatch.delenv("DOCKER_HOST")
    config = tmp_path / "config"
    meta = config / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
    meta.mkdir(parents=True)
    described = {
        "Name": "mine",
        "Metadata": {},
        "Endpoints": {"docker": {"Host": docker.address, "SkipTLSVerify": False}},
    }
    (meta / "meta.json").write_text(json.dumps(described))
    (config / "config.json").write_text(json.dumps({"currentContext": "mine"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    load(store, built[:1], "docker", Silent())
    assert len(docker.images) == 1


def test_the_sdk_is_an_extra(store: Store, built: list[BuiltImage], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n == "docker" or n.startswith("docker.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(InputError, match="`docker` is not installed") as e:
        load(store, built, "docker", Silent())
    assert e.value.hint == "pip install 'flyte-build[docker]'"


def test_an_unknown_engine_is_refused(store: Store, built: list[BuiltImage]) -> None:
    with pytest.raises(InputError, match="docker or podman, found `rkt`"):
        load(store, built, "rkt", Silent())


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_an_image_that_is_not_whole_goes_nowhere(
    store: Store, built: list[BuiltImage], docker: FakeDocker, engine: str
) -> None:
    store.blob_path(built[0].layers[1].digest).unlink()
    with pytest.raises(StoreError, match="one: expected the blob"):
        load(store, built, engine, Silent())
    assert docker.archives == []


_PODMAN = """
    import json, os, sys
    from pathlib import Path
    state = Path(os.environ["FAKE_PODMAN"])
    images = json.loads(state.read_text()) if state.exists() else {}
    words = sys.argv[1:]
    with open(f"{state}.calls", "a") as f:
        f.write(json.dumps(words) + "\\n")
    if words[:2] == ["image", "exists"]:
        sys.exit(0 if words[2] in images else 1)
    if words[:2] == ["image", "inspect"]:
        print(json.dumps([{"RepoTags": images[words[2]]}]))
    elif words[0] == "pull":
        if os.environ.get("FAKE_PODMAN_FAILS"):
            print("time=... level=warning", file=sys.stderr)
            sys.exit("Error: storage is read-only")
        _, folder, name = words[-1].split(":")
        index = json.loads(Path(folder, "index.json").read_text())
        (entry,) = [m for m in index["manifests"] if m["annotations"]["org.opencontainers.image.ref.name"] == name]
        manifest = json.loads(Path(folder, "blobs", "sha256", entry["digest"][7:]).read_text())
        for layer in manifest["layers"]:
            assert Path(folder, "blobs", "sha256", layer["digest"][7:]).stat().st_size == layer["size"]
        images.setdefault(manifest["config"]["digest"], []).append(f"localhost/{folder}:latest")
    elif words[0] == "tag":
        images[words[1]].append(words[2])
    elif words[0] == "untag":
        images[words[1]].remove(words[2])
    state.write_text(json.dumps(images))
"""


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A podman that knows what is needed here; gives the file of its images: id → names."""
    program = tmp_path / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{textwrap.dedent(_PODMAN)}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_PODMAN", str(tmp_path / "podman.json"))
    return tmp_path / "podman.json"


def calls(podman: Path) -> list[str]:
    return [json.loads(line)[0] for line in Path(f"{podman}.calls").read_text().splitlines()]


def test_podman_pulls_from_a_layout_and_has_our_name_alone(store: Store, built: list[BuiltImage], podman: Path) -> None:
    loaded = load(store, built, "podman", Silent())
    assert [(i.id, i.digest, i.reused) for i in loaded] == [
        (config_of(store, b), b.manifest_digest, False) for b in built
    ]
    assert json.loads(podman.read_text()) == {i.id: [f"localhost/{i.name}"] for i in loaded}
    assert list(store.tmp.glob("session-*")) == [], "the layout was for the pull alone"
    before = calls(podman)
    again = load(store, built, "podman", Silent())
    assert [(i.reused, i.sent) for i in again] == [(True, 0)] * 2
    assert not {"pull", "tag", "untag"} & set(calls(podman)[len(before) :])


def test_podmans_own_words_are_shown(
    store: Store, built: list[BuiltImage], podman: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PODMAN_FAILS", "1")
    with pytest.raises(StoreError, match="podman pull: exit code 1: storage is read-only") as e:
        load(store, built, "podman", Silent())
    assert "level=warning" in str(e.value.detail)


def test_podman_may_be_missing(
    store: Store, built: list[BuiltImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="podman is not installed") as e:
        load(store, built, "podman", Silent())
    assert "docker-archive:FILE" in str(e.value.hint)
