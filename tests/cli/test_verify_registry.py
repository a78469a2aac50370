"""``verify`` against a registry: what is there is compared without being downloaded, and an error is no absence."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from flyte_build.store import Store
from tests.support.tampering import tampered

from ..support.registry import Fault, RegistryServer
from ..support.verified import Built, chmod


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
