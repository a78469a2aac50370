"""A registry that loses sight of a blob which is uploaded again: it is sent once, and a refused manifest again."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import IMAGE_MANIFEST, Reference, Registry, StatusError
from tests.support.registry import RegistryServer, sha256

EMPTY = b"{}"


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer(racing=0.05) as one:
        yield one


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(environ={}, certificates=(), wait=lambda _: None) as one:
        yield one


def push(registry: Registry, place: Reference, data: bytes) -> str:
    return registry.push_blob(place, sha256(data), len(data), lambda offset: io.BytesIO(data[offset:]))


def manifest(mark: int) -> bytes:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(EMPTY), "size": 2}
    document = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": []}
    return json.dumps({**document, "annotations": {"mark": str(mark)}}).encode()


def attached(registry: Registry, place: Reference, mark: int) -> str:
    """What attaching a document does: the empty configuration, then a manifest that names it."""
    push(registry, place, EMPTY)
    data = manifest(mark)
    return registry.put_manifest(place.with_digest(sha256(data)), data, IMAGE_MANIFEST).digest


def test_one_blob_is_uploaded_once_into_a_repository_whatever_threads_want_it(
    server: RegistryServer, registry: Registry
) -> None:
    place = Reference.parse(f"{server.host}/team/env")
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda mark: attached(registry, place, mark), range(24)))
    assert len(set(done)) == 24
    assert server.count("PUT", "session") == 1
    assert server.count("PUT", "manifest") == 24, "none was refused"


def test_other_repositories_and_blobs_do_not_wait(registry: Registry) -> None:
    inside = threading.Barrier(3, timeout=5)

    def hold(name: str, data: bytes) -> None:
        with registry._underway.alone(Reference.parse(f"host.example/{name}"), sha256(data)):
            inside.wait()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(hold, "a", b"1"), pool.submit(hold, "a", b"2"), pool.submit(hold, "b", b"1")]:
            future.result()
    assert registry._underway._running == {}


def test_a_manifest_that_is_refused_for_a_blob_which_is_there_is_sent_again(
    server: RegistryServer, registry: Registry
) -> None:
    """Another client uploads the same blob at the same time."""
    place = Reference.parse(f"{server.host}/team/env")
    push(registry, place, EMPTY)
    body = json.dumps({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "detail": sha256(EMPTY)}]}).encode()
    server.fail("PUT", "manifest", status=404, body=body, times=3)
    data = manifest(1)
    assert registry.put_manifest(place.with_digest(sha256(data)), data, IMAGE_MANIFEST).digest == sha256(data)
    assert server.count("PUT", "manifest") == 4
    server.fail("PUT", "manifest", status=404, body=body, times=100)
    with pytest.raises(RegistryError, match=r"MANIFEST_BLOB_UNKNOWN.*\(6 attempts\)"):
        registry.put_manifest(place.with_digest(sha256(data)), data, IMAGE_MANIFEST)


def test_a_manifest_is_sent_again_where_an_upload_is_seen_late(server: RegistryServer, registry: Registry) -> None:
    """A registry of many machines says for a moment that it has not what it was just given."""
    place = Reference.parse(f"{server.host}/team/env")
    push(registry, place, EMPTY)
    body = json.dumps({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "detail": sha256(EMPTY)}]}).encode()
    server.fail("PUT", "manifest", status=404, body=body, times=2)
    server.fail("HEAD", "blob", status=404, times=2)
    data = manifest(1)
    assert registry.put_manifest(place.with_digest(sha256(data)), data, IMAGE_MANIFEST).digest == sha256(data)
    assert server.count("PUT", "manifest") == 3


def test_a_manifest_whose_blob_is_really_missing_is_refused_soon(server: RegistryServer, registry: Registry) -> None:
    place = Reference.parse(f"{server.host}/team/env")
    data = manifest(1)
    with pytest.raises(StatusError, match="MANIFEST_BLOB_UNKNOWN") as e:
        registry.put_manifest(place.with_digest(sha256(data)), data, IMAGE_MANIFEST)
    assert e.value.codes == ("MANIFEST_BLOB_UNKNOWN",)
    assert server.count("PUT", "manifest") == 3
