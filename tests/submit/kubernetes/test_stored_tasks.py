"""Tasks that were deployed to a target, and what its runs' tasks hand in: in an object store of our own."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from flyte_build.kernel.errors import InputError, RunError
from flyte_build.submit import deployed
from flyte_build.submit.attempt import RunFacts
from flyte_build.submit.deployed import DeployedTask
from flyte_build.submit.kubernetes import stored_tasks
from flyte_build.submit.kubernetes.mirror import Mirror, mirror_of
from flyte_build.submit.kubernetes.needs import Needs
from flyte_build.submit.kubernetes.stored_stash import StoredStash, recall
from flyte_build.submit.kubernetes.stored_tasks import StoredDeployments, bundle_key
from flyte_build.submit.storage import Storage
from tests.submit.test_deployed import IMAGES, task

NEEDS = {"sha256:aa": {"platforms": ["linux/arm64"], "cuda": "12.4"}}


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror("s3://bucket/base", tmp_path / "runs", MemoryStore())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(stored_tasks.time, "time", lambda: now[0])
    return now


def _stash(mirror: Mirror) -> tuple[StoredStash, list[dict[str, Any]]]:
    noted: list[dict[str, Any]] = []

    async def note(fact: dict[str, Any]) -> None:
        noted.append(fact)

    return StoredStash(mirror, Storage(mirror.runs, mirror.url).run("r1"), {}, {}, note), noted


def _facts(mirror: Mirror) -> RunFacts:
    return RunFacts(Storage(mirror.runs, mirror.url).run("r1"), {}, "sha256:bb", "2026", "o", "p", "d")


def test_a_task_is_found_as_it_was_deployed(mirror: Mirror, tmp_path: Path, clock: list[float]) -> None:
    made = task(tmp_path, needs=NEEDS)
    ((_, known),) = StoredDeployments(mirror).put([made])
    found = StoredDeployments(mirror).find("p", "d", "env.work", "1")
    assert found is not None
    assert not known
    assert found == dataclasses.replace(made, at=100.0, bundle=found.bundle)
    assert (found.image, found.needs) == ("sha256:aa", NEEDS)
    assert obstore.get(mirror.store, bundle_key(made.code)).bytes() == made.bundle.read_bytes()
    assert StoredDeployments(mirror).find("p", "other", "env.work", "") is None


def test_the_latest_is_what_was_deployed_last(mirror: Mirror, tmp_path: Path, clock: list[float]) -> None:
    store = StoredDeployments(mirror)
    for now, version, name in (
        (100.0, "2", "env.work"),
        (200.0, "10", "env.work"),
        (250.0, "1", "env.work2"),
        (300.0, "2", "env.work"),
    ):
        clock[0] = now
        store.put([task(tmp_path, name, version)])
    latest = store.find("p", "d", "env.work", "")
    assert latest is not None
    assert (latest.version, latest.at) == ("2", 300.0)
    assert [(t.name, t.version) for t in store.listed("p", "d")] == [
        ("env.work", "2"), ("env.work2", "1"), ("env.work", "10"),
    ]  # fmt: skip


def test_a_version_never_changes(mirror: Mirror, tmp_path: Path) -> None:
    store = StoredDeployments(mirror)
    store.put([task(tmp_path)])
    with pytest.raises(InputError, match=r"version 1 of env\.work was deployed on .* with other contents"):
        store.put([task(tmp_path, "env.new"), task(tmp_path, spec=b"other")])
    assert [t.name for t in store.listed("p", "d")] == ["env.work"]


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "ü", "a%2Fb", "a=b"])
def test_any_name_has_a_place_of_its_own(mirror: Mirror, tmp_path: Path, name: str) -> None:
    store = StoredDeployments(mirror)
    store.put([task(tmp_path, name), task(tmp_path)])
    assert [t.name for t in (store.find("p", "d", name, "1"), store.find("p", "d", name, "")) if t] == [name, name]
    assert len(store.listed("p", "d")) == 2


def test_a_document_that_is_none_is_told(mirror: Mirror, tmp_path: Path) -> None:
    store = StoredDeployments(mirror)
    store.put([task(tmp_path)])
    obstore.put(mirror.store, "deployed/p/d/env.work/1.json", b"[]")
    with pytest.raises(RunError, match=r"s3://bucket/base/deployed/p/d/env\.work/1\.json: expected a deployed task"):
        store.find("p", "d", "env.work", "")


def test_what_tasks_hand_in_is_kept_once_and_read_again(mirror: Mirror) -> None:
    stash, _ = _stash(mirror)
    uri = "s3://bucket/base/r1/kept/uploads/x/f.csv"

    async def go() -> tuple[bytes, bytes]:
        await stash.keep(uri, b"first")
        await stash.keep(uri, b"second")
        kept = await stash.read(uri)
        await stash.keep(uri, b"third", anew=True)
        with pytest.raises(FileNotFoundError):
            await stash.read(f"{uri}.none")
        with pytest.raises(ValueError, match="is not below"):
            await stash.read("s3://elsewhere/x")
        return kept, await stash.read(uri)

    assert asyncio.run(go()) == (b"first", b"third")
    assert stash.code("a.tgz") == "s3://bucket/base/bundles/a.tgz"


def test_what_is_called_by_name_is_known_to_the_launcher_and_to_the_next_driver(mirror: Mirror, tmp_path: Path) -> None:
    store, made = StoredDeployments(mirror), task(tmp_path, needs=NEEDS)
    store.put([made])
    own = {"env.own": task(tmp_path, "env.own", "7", text=b"own")}
    uri = f"s3://bucket/base/{bundle_key(made.code)}"
    names = {"project": "p", "domain": "d", "name": "env.work", "version": "1"}
    entries = [
        {"called": names},
        {"code": {"uri": "s3://bucket/base/bundles/x.tgz", "digest": "sha256:cc"}},
        {"called": {**names, "name": "env.gone"}},
        {"called": {**names, "name": "env.own", "version": "7"}},
    ]
    stash, _ = _stash(mirror)
    facts, said = _facts(mirror), []
    asyncio.run(recall(entries, facts, stash, store, own, said.append))
    assert facts.images == IMAGES
    assert facts.bundles == {uri: made.code, "s3://bucket/base/bundles/x.tgz": "sha256:cc"}
    assert facts.inline["env.work"] == 7
    assert stash.images == {digest: reference for reference, digest in IMAGES.items()}
    assert stash.needs == {"sha256:aa": Needs(("linux/arm64",), "12.4")}
    assert [line.partition(",")[0] for line in said] == ["env.gone", "env.own"], "whose code nobody stored"


def test_its_apps_are_kept_with_a_task_and_served_to_whoever_calls_it(mirror: Mirror, tmp_path: Path) -> None:
    app = {"name": "front", "port": 8080}
    made = task(tmp_path, apps=(app,))
    StoredDeployments(mirror).put([made])
    found = StoredDeployments(mirror).find("p", "d", "env.work", "1")
    assert found is not None
    assert found.apps == (app,)
    with pytest.raises(InputError, match="with other contents"):
        StoredDeployments(mirror).put([task(tmp_path)])
    served: list[Any] = []

    class Apps:
        def add(self, task: DeployedTask, code: str) -> None:
            served.append((task.apps, code))

    stash, _ = _stash(mirror)
    uri = asyncio.run(dataclasses.replace(stash, apps=Apps()).admit(found))
    assert served == [((app,), uri)]


def test_code_that_is_gone_is_said(mirror: Mirror, tmp_path: Path) -> None:
    stash, _ = _stash(mirror)
    with pytest.raises(FileNotFoundError, match="is not there"):
        asyncio.run(stash.admit(task(tmp_path)))


def test_a_task_of_a_registry_knows_its_image(tmp_path: Path) -> None:
    images = {"registry.example/team/other@sha256:bb": "sha256:bb", "registry.example/team/env@sha256:aa": "sha256:aa"}
    made: DeployedTask = task(tmp_path, images=images)
    assert made.image == "sha256:aa"
    assert deployed.read_document(made.document(), lambda _: made.bundle, "x") == made


def test_where_the_service_has_an_authority_of_its_own_tasks_upload_into_the_storage(tmp_path: Path) -> None:
    options = {"access_key_id": "a", "secret_access_key": "b", "region": "r"}
    mirror = mirror_of("s3://bucket/base", tmp_path, options)
    stash, _ = _stash(mirror)
    uri = "s3://bucket/base/bundles/x.tgz"
    assert asyncio.run(stash.upload(uri)) == ""
    url = asyncio.run(dataclasses.replace(stash, signed=True).upload(uri))
    assert "/base/bundles/x.tgz?" in url
    assert "X-Amz-Signature=" in url
    nowhere, _ = _stash(Mirror("s3://bucket/base", tmp_path, MemoryStore()))
    with pytest.raises(OSError, match="gives no address to upload to"):
        asyncio.run(dataclasses.replace(nowhere, signed=True).upload(uri))
