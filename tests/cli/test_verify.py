"""``verify``: an image is rebuilt from nothing and held against its pin, the store and a registry."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.locks.lockfile import read, write
from flyte_build.store import Store
from tests.support.tampering import Member, tampered

from ..support.offline import Offline, snapshot
from ..support.registry import Fault, RegistryServer

AMD64 = "linux/amd64"


@dataclass(frozen=True)
class Built:
    """``flow.py`` locked and built, with pins in its locks. ``digests`` are by environment."""

    offline: Offline
    store: Store
    digests: dict[str, str]

    def pin(self, environment: str, **changes: str) -> None:
        """Change the pin in the lock."""
        lock = read(self.offline.lockfiles, environment)
        assert lock is not None
        pins = {AMD64: replace(lock.pins[AMD64], **changes)}
        write(self.offline.lockfiles, replace(lock, pins=pins))

    def derivation(self, environment: str) -> str:
        lock = read(self.offline.lockfiles, environment)
        assert lock is not None
        return lock.pins[AMD64].derivation


@pytest.fixture
def built(offline: Offline) -> Built:
    offline.ok("lock", "flow.py")
    images = offline.ok("build", "flow.py", "--json").json()["images"]
    digests = {i["environment"]: i["digest"] for i in images}
    for name, digest in digests.items():
        lock = read(offline.lockfiles, name)
        assert lock is not None
        assert lock.pins[AMD64].digest == digest
    return Built(offline, Store(offline.store), digests)


def states(document: dict[str, object]) -> dict[str, tuple[str, str]]:
    images = document["images"]
    assert isinstance(images, list)
    return {i["environment"]: (i["pin"]["state"], i["store"]["state"]) for i in images}


def chmod(members: list[Member]) -> None:
    next(m for m in members if m.info.name.endswith("/__init__.py")).info.mode = 0o755


def test_an_image_rebuilt_from_nothing_is_what_was_pinned(built: Built) -> None:
    done = built.offline.ok("verify", "flow.py", "--json")
    document = done.json()
    assert document["good"] is True
    assert states(document) == {"low": ("same", "same"), "top": ("same", "same")}
    assert {i["environment"]: i["rebuilt"] for i in document["images"]} == built.digests
    text = built.offline.ok("verify", "flow.py", "main").out
    assert re.search(r"^low +linux/amd64 +sha256:[0-9a-f]{64} +same +same$", text, re.M)
    assert "2 images verified" in text
    assert not list(built.store.tmp.glob("session-*")), "the scratch store is gone"


def test_it_is_rebuilt_indeed_and_nothing_is_asked_of_the_network(built: Built) -> None:
    # Blobs and realisations are worth nothing to it: only artifacts are taken, and these are hashed.
    shutil.rmtree(built.store.oci)
    shutil.rmtree(built.store.realisations)
    asked = len(built.offline.index.asked)
    document = built.offline.ok("verify", "flow.py", "--json").json()
    assert states(document) == {"low": ("same", "absent"), "top": ("same", "absent")}
    assert len(built.offline.index.asked) == asked


def test_fetch_downloads_every_wheel_anew(built: Built) -> None:
    built.offline.index.asked.clear()
    built.offline.ok("verify", "flow.py", "--fetch")
    fetched = [line for line in built.offline.index.asked if ".whl" in line and line.startswith("GET")]
    assert {name for line in fetched for name in ("alpha", "beta", "flyte") if f"/{name}-" in line} == {
        "alpha", "beta", "flyte",
    }  # fmt: skip


def test_a_damaged_artifact_of_the_store_is_not_taken(built: Built) -> None:
    before = snapshot(built.offline.lockfiles)
    lock = read(built.offline.lockfiles, "low")
    assert lock is not None
    wheel = next(w for w in lock.platforms[AMD64].wheels if w.name == "alpha")
    path = built.store.artifact_path(wheel.sha256)
    path.chmod(0o644)
    path.write_bytes(b"x" * wheel.size)
    document = built.offline.ok("verify", "flow.py", "--env", "low", "--json").json()
    assert states(document) == {"low": ("same", "same")}
    shutil.rmtree(built.offline.index.folder)
    built.offline.index.folder.mkdir()
    assert "alpha" in built.offline.refused(6, "verify", "flow.py", "--env", "low")
    assert snapshot(built.offline.lockfiles) == before


def test_a_wrong_pin_is_found_and_kept(built: Built) -> None:
    built.pin("low", digest="sha256:" + "0" * 64)
    before = snapshot(built.offline.lockfiles)
    done = built.offline("verify", "flow.py", "--json")
    assert done.code == 15
    assert states(json.loads(done.out)) == {"low": ("differs", "same"), "top": ("same", "same")}
    said = built.offline.refused(15, "verify", "flow.py")
    assert "error: 1 of 2 images rebuilt from nothing is not what was recorded:" in said
    assert "low on linux/amd64, pin: expected sha256:0000" in said
    assert "no image with the pinned digest is in the store" in said
    assert snapshot(built.offline.lockfiles) == before


def test_an_image_changed_by_hand_is_taken_apart(built: Built) -> None:
    document = json.loads(built.store.blob_path(built.digests["low"]).read_bytes())
    last = len(document["layers"]) - 1
    built.pin("low", digest=tampered(built.store, built.digests["low"], last, chmod))
    done = built.offline("verify", "flow.py", "--env", "low", "--json")
    assert done.code == 15
    [image] = json.loads(done.out)["images"]
    [cause] = image["pin"]["differences"]
    assert cause["part"] == "layer"
    assert cause["layer"] == last + 1
    assert cause["title"].startswith("alpha 1.0")
    assert cause["path"] == "opt/venv/lib/python3.11/site-packages/alpha/__init__.py"
    assert cause["what"] == "mode: expected 0755, found 0644"
    shown = built.offline("verify", "flow.py", "--env", "low")
    assert "low on linux/amd64: pin" in shown.out
    assert "mode: expected 0755, found 0644" in shown.out
    assert "mode: expected 0755, found 0644" in shown.err


def test_a_store_that_says_something_else_is_found(built: Built) -> None:
    def config(settings: dict[str, dict[str, object]]) -> None:
        settings["config"]["User"] = "root"

    wrong = tampered(built.store, built.digests["low"], config=config)
    path = built.store.realisations / f"{built.derivation('low').removeprefix('sha256:')}.json"
    made = json.loads(path.read_bytes())
    size = built.store.blob_path(wrong).stat().st_size
    path.chmod(0o644)
    path.write_text(json.dumps({**made, "manifest": wrong, "size": size}))
    said = built.offline.refused(15, "verify", "flow.py", "--env", "low")
    assert 'low on linux/amd64, store: configuration: `config.User`: expected "root", found "flyte"' in said


def test_a_pin_of_another_derivation(built: Built) -> None:
    built.pin("low", derivation="sha256:" + "1" * 64)
    said = built.offline.refused(15, "verify", "flow.py", "--env", "low")
    assert "low on linux/amd64, pin: the pin is of another derivation: sha256:1111" in said
    assert "build again without --locked" in said


def test_without_pin_and_build_nothing_is_claimed(offline: Offline) -> None:
    offline.ok("lock", "flow.py")
    done = offline.ok("verify", "flow.py", "--env", "low")
    assert "nothing is recorded to compare low with" in done.out
    assert "verified" not in done.out
    assert not Store(offline.store).tags(), "what was rebuilt is not left in the store"
    assert not list(Store(offline.store).artifacts.iterdir())


def test_a_stale_lock_is_refused(built: Built) -> None:
    lock = read(built.offline.lockfiles, "low")
    assert lock is not None
    text = (built.offline.project / "flow.py").read_text()
    built.offline.write(text.replace("'alpha'", "'alpha>=1'", 1))
    assert "stale" in built.offline.refused(4, "verify", "flow.py")


def test_an_unknown_environment_is_refused(built: Built) -> None:
    assert "no environment `nope`" in built.offline.refused(3, "verify", "flow.py", "--env", "nope")


def test_the_project_may_lie_elsewhere(built: Built, tmp_path: Path) -> None:
    """Another path, another time, another umask: the same digests."""
    elsewhere = tmp_path / "deep" / "copy"
    shutil.copytree(built.offline.project, elsewhere)
    built.offline.patch.chdir(elsewhere)
    old = os.umask(0o077)
    try:
        document = built.offline.ok("verify", "flow.py", "--json").json()
    finally:
        os.umask(old)
    assert {i["environment"]: i["rebuilt"] for i in document["images"]} == built.digests


# -- against a registry ----------------------------------------------------------------------------


@pytest.fixture
def pushed(built: Built, registry: RegistryServer) -> Built:
    built.offline.ok("build", "flow.py", "--push", f"{registry.host}/team")
    return built


def in_registry(document: dict[str, Any], environment: str = "low") -> dict[str, Any]:
    found = next(i["registry"] for i in document["images"] if i["environment"] == environment)
    assert isinstance(found, dict)
    return found


def replace_image(server: RegistryServer, store: Store, environment: str, manifest: str) -> None:
    """Let every tag of the repository name another image of the store."""
    repository = server.repositories[f"team/{environment}"]
    document = json.loads(store.blob_path(manifest).read_bytes())
    for row in (document["config"], *document["layers"]):
        server.blobs[row["digest"]] = store.blob_path(row["digest"]).read_bytes()
        repository.blobs.add(row["digest"])
    data = store.blob_path(manifest).read_bytes()
    repository.manifests[manifest] = (document["mediaType"], data)
    for tag in repository.tags:
        repository.tags[tag] = manifest


def test_a_pushed_image_is_the_same_and_is_not_downloaded(pushed: Built, registry: RegistryServer) -> None:
    before, puts = registry.bytes_out("blob"), registry.count("PUT", "manifest")
    document = pushed.offline.ok("verify", "flow.py", "--registry", f"{registry.host}/team", "--json").json()
    assert document["good"] is True
    assert in_registry(document)["state"] == in_registry(document, "top")["state"] == "same"
    assert in_registry(document)["place"].startswith(f"{registry.host}/team/low:drv-")
    assert registry.bytes_out("blob") == before
    assert registry.count("PUT", "manifest") == puts
    text = pushed.offline.ok("verify", "flow.py", "--registry", f"{registry.host}/team").out
    assert re.search(r"^low +linux/amd64 +sha256:[0-9a-f]{64} +same +same +same$", text, re.M)


def test_the_configured_registry_is_asked_unless_another_is_named(pushed: Built, registry: RegistryServer) -> None:
    (pushed.offline.project / "pyproject.toml").write_text(
        f'[tool.flyte-build]\nregistry = "{registry.host}/team"\ninsecure-registries = ["{registry.host}"]\n'
    )
    assert in_registry(pushed.offline.ok("verify", "flow.py", "--json").json())["state"] == "same"
    settings = pushed.offline.project / "pyproject.toml"
    settings.write_text(settings.read_text().replace("/team", "/other"))
    assert in_registry(pushed.offline.ok("verify", "flow.py", "--json").json())["state"] == "absent"
    said = pushed.offline.refused(15, "verify", "flow.py", "--registry", f"{registry.host}/typo")
    assert re.search(rf"low on linux/amd64, registry: {registry.host}/typo/low:drv-\w+: no such image", said), said


def test_an_image_changed_in_the_registry_is_named_with_layer_and_path(pushed: Built, registry: RegistryServer) -> None:
    document = json.loads(pushed.store.blob_path(pushed.digests["low"]).read_bytes())
    last = len(document["layers"]) - 1
    evil = tampered(pushed.store, pushed.digests["low"], last, chmod)
    replace_image(registry, pushed.store, "low", evil)
    # The store does not help: what differs is pulled, that layer alone.
    for row in json.loads(pushed.store.blob_path(evil).read_bytes())["layers"][last:]:
        size = row["size"]
        pushed.store.blob_path(row["digest"]).unlink()
    before = registry.bytes_out("blob")
    done = pushed.offline("verify", "flow.py", "--registry", f"{registry.host}/team", "--json")
    assert done.code == 15
    found = in_registry(json.loads(done.out))
    assert (found["state"], found["digest"]) == ("differs", evil)
    [cause] = found["differences"]
    assert cause["layer"] == last + 1
    assert cause["path"] == "opt/venv/lib/python3.11/site-packages/alpha/__init__.py"
    assert cause["what"] == "mode: expected 0755, found 0644"
    assert registry.bytes_out("blob") - before < size + 20_000
    assert in_registry(json.loads(done.out), "top")["state"] == "same"


def test_a_configuration_changed_in_the_registry(pushed: Built, registry: RegistryServer) -> None:
    def root(settings: dict[str, Any]) -> None:
        settings["config"]["User"] = "root"

    replace_image(registry, pushed.store, "low", tampered(pushed.store, pushed.digests["low"], config=root))
    said = pushed.offline.refused(15, "verify", "flow.py", "--registry", f"{registry.host}/team")
    assert 'low on linux/amd64, registry: configuration: `config.User`: expected "root", found "flyte"' in said


def test_an_image_that_lacks_a_blob_is_incomplete(pushed: Built, registry: RegistryServer) -> None:
    digest = json.loads(pushed.store.blob_path(pushed.digests["low"]).read_bytes())["layers"][-1]["digest"]
    for repository in registry.repositories.values():
        repository.blobs.discard(digest)
    registry.blobs.pop(digest)
    said = pushed.offline.refused(15, "verify", "flow.py", "--env", "low", "--registry", f"{registry.host}/team")
    assert f"the registry lacks {digest}" in said


def test_the_pinned_image_is_looked_for_in_the_registry_too(pushed: Built, registry: RegistryServer) -> None:
    wrong = tampered(pushed.store, pushed.digests["low"], 0, lambda members: members.reverse())
    replace_image(registry, pushed.store, "low", wrong)
    pushed.store.blob_path(wrong).unlink()
    pushed.pin("low", digest=wrong)
    done = pushed.offline("verify", "flow.py", "-e", "low", "--registry", f"{registry.host}/team", "--json")
    assert done.code == 15
    [image] = json.loads(done.out)["images"]
    assert image["pin"]["place"].endswith(f"@{wrong}")
    [cause] = image["pin"]["differences"]
    assert (cause["layer"], cause["what"].split(":")[0]) == (1, "order")


def test_one_image_by_its_own_reference(pushed: Built, registry: RegistryServer) -> None:
    place = f"{registry.host}/team/low"
    by_digest = f"{place}@{pushed.digests['low']}"
    assert in_registry(
        pushed.offline.ok("verify", "flow.py", "-e", "low", "--registry", by_digest, "--json").json()
    ) == {"state": "same", "digest": pushed.digests["low"], "place": by_digest, "differences": [], "messages": []}
    said = pushed.offline.refused(2, "verify", "flow.py", "--registry", by_digest)
    assert "is one image, and 2 are verified" in said


def test_an_image_that_was_named_and_is_not_there_is_an_error_and_no_absence(
    pushed: Built, registry: RegistryServer
) -> None:
    place = f"{registry.host}/team/low"
    registry.forget_requests()
    for name in (f"{place}:v9", f"{place}@sha256:{'0' * 64}"):
        said = pushed.offline.refused(14, "verify", "flow.py", "-e", "low", "--registry", name)
        assert f"{name}: no such image in the registry" in said
    assert {r.method for r in registry.requests} == {"HEAD"}, "it is asked before anything is rebuilt"


def test_a_registry_that_cannot_be_asked_is_an_error_and_no_absence(pushed: Built, registry: RegistryServer) -> None:
    registry.fail("GET", "manifest", Fault(status=403), times=99)
    registry.fail("HEAD", "manifest", Fault(status=403), times=99)
    assert "403" in pushed.offline.refused(14, "verify", "flow.py", "--registry", f"{registry.host}/team")
