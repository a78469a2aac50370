"""What tasks hand in: code and files, put once, where sandboxes see it and cannot write to it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from flyteidl2.dataproxy import dataproxy_service_pb2 as pb
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceClient

from flyte_build.submit.control.intake import Uploads
from flyte_build.submit.control.stash import LocalStash
from tests.support.engine import World

from .conftest import Asked

CODE = gzip.compress(b"a tar", mtime=7)


def _location(data: bytes, name: str, prefix: str = "") -> pb.CreateUploadLocationRequest:
    return pb.CreateUploadLocationRequest(content_md5=hashlib.md5(data).digest(), filename=name, filename_root=prefix)


def _uploads(world: World) -> Uploads:
    return Uploads(world.facts, LocalStash(world.folder))


async def _put(url: str, data: bytes) -> tuple[int, str]:
    async with httpx.AsyncClient() as client:
        response = await client.put(url, content=data)
        return response.status_code, response.text


def test_code_is_put_beside_the_runs_own_and_known_by_what_is_in_it(asked: Asked) -> None:
    async def talk(address: str) -> Any:
        client = DataProxyServiceClient(f"{address}/as/a0")
        place = await client.create_upload_location(_location(CODE, "code.tar.gz"))
        other = await _put(place.signed_url, b"other bytes")
        nobody = await _put(f"{address}/uploads/{'0' * 64}", CODE)
        bare = await _put(place.signed_url.replace("/token/", "/wrong/"), CODE)
        return place, other, nobody, bare, await _put(place.signed_url, CODE)

    place, other, nobody, bare, done = asked.ask(talk)
    md5 = hashlib.md5(CODE).hexdigest()
    assert place.native_url == f"/mnt/flyte/bundles/{md5}.tar.gz"
    assert "/token/uploads/" in place.signed_url
    assert (other[0], nobody[0], bare[0], done[0]) == (400, 404, 401, 200)
    assert "expected the bytes with the MD5 that was announced" in other[1]
    assert (asked.world.folder.bundles / f"{md5}.tar.gz").read_bytes() == CODE
    assert asked.world.facts.bundles == {place.native_url: f"sha256:{hashlib.sha256(b'a tar').hexdigest()}"}


@pytest.mark.parametrize(
    ("name", "prefix", "below"),
    [("a file.csv", "", "uploads/{md5}/a file.csv"), ("x.tar.gz", "tree", "uploads/tree/x.tar.gz")],
)
def test_other_files_are_kept_with_the_run(tmp_path: Path, name: str, prefix: str, below: str) -> None:
    world = World(tmp_path)
    world.folder.kept.mkdir()
    uploads = _uploads(world)
    key, uri = uploads.place(_location(b"words", name, prefix))
    below = below.format(md5=hashlib.md5(b"words").hexdigest())
    assert uri == f"/mnt/flyte/runs/run/kept/{below}"
    asyncio.run(uploads.put(key, b"words"))
    assert (world.folder.kept / below).read_bytes() == b"words"
    assert world.facts.bundles == {}


def test_what_has_a_uri_does_not_change(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.folder.kept.mkdir()
    uploads = _uploads(world)
    for data in (b"first", b"second"):
        key, uri = uploads.place(_location(data, "f.csv", "tree"))
        asyncio.run(uploads.put(key, data))
    assert world.storage.path(uri).read_bytes() == b"first"


@pytest.mark.parametrize(
    ("name", "prefix"), [("../x", ""), ("a/b", ""), ("", ""), (".hidden", ""), ("x", ".."), ("x", "a/b"), ("x\0", "")]
)
def test_names_that_are_none_are_refused(tmp_path: Path, name: str, prefix: str) -> None:
    uploads = _uploads(World(tmp_path))
    with pytest.raises(ValueError, match="expected a file's plain name"):
        uploads.place(_location(b"", name, prefix))
    with pytest.raises(ValueError, match="MD5"):
        uploads.place(pb.CreateUploadLocationRequest(filename="x"))


def test_a_link_in_the_place_of_inputs_is_not_followed(tmp_path: Path) -> None:
    world = World(tmp_path)
    found = hashlib.sha256(b"inputs").hexdigest()
    outside = tmp_path / "outside"
    outside.mkdir()
    (world.folder.meta / f"inputs-{found[:40]}").symlink_to(outside)
    with pytest.raises(OSError, match="expected a folder"):
        asyncio.run(_uploads(world).inputs(b"inputs"))
    assert not list(outside.iterdir())


def test_a_bundle_that_cannot_be_read_is_known_by_its_bytes(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.folder.bundles.mkdir()
    uploads = _uploads(world)
    for data in (b"no gzip", CODE[:-1], CODE + CODE):
        key, uri = uploads.place(_location(data, "code.tgz"))
        asyncio.run(uploads.put(key, data))
        assert world.facts.bundles[uri] == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_code_that_was_put_without_us_is_known_before_it_is_run(tmp_path: Path) -> None:
    """As on a cluster whose tasks upload into its storage."""
    world = World(tmp_path)
    world.folder.bundles.mkdir()
    uploads = _uploads(world)
    _, uri = uploads.place(_location(CODE, "code.tgz"))

    class There(LocalStash):
        data = b"other"

        async def read(self, uri: str) -> bytes:
            return self.data

    there = There(world.folder)
    object.__setattr__(uploads, "stash", there)
    with pytest.raises(ValueError, match="expected the bytes with the MD5"):
        asyncio.run(uploads.known(uri))
    there.data = CODE
    asyncio.run(uploads.known("/mnt/flyte/bundles/of-another.tgz"))
    asyncio.run(uploads.known(uri))
    assert world.facts.bundles == {uri: f"sha256:{hashlib.sha256(b'a tar').hexdigest()}"}
