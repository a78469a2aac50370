"""``ADD`` of an address: fetched when the project is locked, and by its hash from then on."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import Any

import pytest

from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.locks.lockfile import read
from flyte_build.store import Store

from ..support.dockerfiles import FLOW, context, files_of, publish_bases
from ..support.offline import Offline
from ..support.registry import RegistryServer

FILE = """FROM {host}/team/base:1
ARG NAME=given
ADD {at}/$NAME /
ADD --chown=1000:1000 --chmod=755 {at}/tool.tar.gz {at}/given /opt/
RUN cat /given > /made
ADD --checksum=sha256:{sha256} --chown=flyte {at}/given /by/name
"""


@pytest.fixture
def project(offline: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> Offline:
    monkeypatch.setenv("FLYTE_BUILD_SEAL_NETWORK", "none")
    publish_bases(registry, offline.home)
    serve(offline, "given\n")
    (offline.home / "www/tool.tar.gz").write_bytes(b"no archive, and not unpacked")
    context(offline.project / "image", "")
    write(offline, registry)
    offline.write(FLOW)
    return offline


def serve(offline: Offline, text: str) -> None:
    (offline.home / "www/given").write_text(text)


def write(offline: Offline, registry: RegistryServer, said: str = "given\n", file: str = FILE) -> None:
    sha256 = hashlib.sha256(said.encode()).hexdigest()
    text = file.format(host=registry.host, at=offline.archive.url, sha256=sha256)
    (offline.project / "image/Dockerfile").write_text(text)


def rows(offline: Offline) -> list[dict[str, Any]]:
    recipe = json.loads((offline.lockfiles / "low.json").read_text())["recipe"]
    every = (step for one in (recipe, *recipe.get("stages", ())) for step in one["steps"])
    return [step for step in every if "url" in step]


def built(offline: Offline) -> dict[str, str]:
    (image,) = offline.ok("build", "flow.py", "--json").json()["images"]
    store = Store(offline.store)
    manifest = store.manifest(image["digest"])
    assert manifest is not None
    return files_of(store.blob_path(row["digest"]) for row in manifest["layers"])


def test_what_is_at_an_address_is_locked(project: Offline) -> None:
    project.ok("lock", "flow.py")
    given = hashlib.sha256(b"given\n").hexdigest()
    assert [(row["source"], row["sha256"], row["size"]) for row in rows(project) if row["source"] == "given"] == [
        ("given", given, 6) for _ in range(3)
    ]
    assert project.archive.url not in (project.lockfiles / "low.json").read_text(), "law 1"
    files = built(project)
    tool = hashlib.sha256(b"no archive, and not unpacked").hexdigest()
    expected = {
        "given": f"0 600 0:0 {given[:12]}",
        "opt/tool.tar.gz": f"0 755 1000:1000 {tool[:12]}",
        "opt/given": f"0 755 1000:1000 {given[:12]}",
        "made": f"0 644 0:0 {given[:12]}",
        "by/name": f"0 600 1000:1000 {given[:12]}",
    }
    assert {path: files[path] for path in expected} == expected
    again = project.ok("lock", "flow.py", "--json").json()
    assert (again["sealed"], again["written"]) == ([], [])
    project.ok("lock", "--check", "flow.py")
    lock = read(project.lockfiles, "low")
    assert lock is not None
    assert lock.answers(recorded_recipe(lock))
    # Another machine has it from its address, which it still has to be.
    shutil.rmtree(project.store)
    assert built(project) == files


def test_what_was_locked_stays(project: Offline, registry: RegistryServer) -> None:
    plain = "FROM {host}/team/base:1\nADD {at}/given /given\n"
    write(project, registry, file=plain)
    project.ok("lock", "flow.py")
    before = rows(project)
    serve(project, "other\n")
    project.ok("lock", "flow.py")
    assert rows(project) == before
    shutil.rmtree(project.store)
    said = project.refused(6, "build", "flow.py")
    assert before[0]["sha256"] in said
    project.ok("lock", "flow.py", "--upgrade")
    assert rows(project)[0]["sha256"] == hashlib.sha256(b"other\n").hexdigest()
    built(project)
    # Another address is another file.
    write(project, registry, file=plain.replace("given /given", "tool.tar.gz /given"))
    assert "stale" in project.refused(4, "plan", "flow.py")


def test_a_checksum_that_is_another(project: Offline, registry: RegistryServer) -> None:
    write(project, registry, "other\n")
    said = project.refused(6, "lock", "flow.py")
    other, given = (hashlib.sha256(text).hexdigest() for text in (b"other\n", b"given\n"))
    assert f"/given: expected SHA-256 {other}, found {given}" in said
    assert not (project.lockfiles / "low.json").exists()


def test_an_address_that_has_nothing(project: Offline, registry: RegistryServer) -> None:
    write(project, registry, file="FROM {host}/team/base:1\nADD {at}/nothing /given\n")
    assert "/nothing: 404" in project.refused(6, "lock", "flow.py")
    write(project, registry, file="FROM {host}/team/base:1\nADD {at} /given/\n")
    assert "the address has no name for a file" in project.refused(7, "lock", "flow.py")
