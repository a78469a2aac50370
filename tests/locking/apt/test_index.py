"""Indices: fetched by hash, verified, kept, and read only where looked at."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from flyte_build.kernel.errors import FetchError
from flyte_build.locking.apt import index
from flyte_build.locking.apt.download import NotOffered, get, shown
from flyte_build.locking.apt.index import Index, fetch_index, index_paths
from flyte_build.locking.apt.release import Release, parse_release
from flyte_build.sources.mirrors import Mirror
from tests.support.archive import Deb, Server, publish, serve
from tests.support.debs import huge_dictionary

DEBS = [
    Deb("bash", "5.2", {"Essential": "yes", "Depends": "libc6"}),
    Deb("libc6", "2.36", {"Provides": "libc6-x (= 2), libc-virtual"}, source="glibc"),
    Deb("tool", "1:2.0", architecture="all"),
]
PATH = "main/binary-amd64/Packages"


@pytest.fixture(autouse=True)
def _forget() -> None:
    index._scanned.clear()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path / "www") as one:
        yield one


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(follow_redirects=True) as one:
        yield one


def released(server: Server, **options: Any) -> Release:
    folder = publish(server.root, None, "bookworm", DEBS, **options)
    return parse_release((folder / "InRelease").read_text(), Mirror(server.url, "debian", "a test"), "bookworm")


def test_packages_names_providers_and_essentials() -> None:
    text = b"Package: a\nVersion: 1\n\nPackage: b\nProvides: v (= 1), w,x\nEssential: yes\n\n\nPackage: a\nVersion: 2\n"
    found = Index(text, "amd64", "debian", "x")
    assert found.names == {"a", "b"}
    assert found.essential == ("b",)
    with pytest.raises(FetchError, match="x: the stanza at byte 0 is malformed: 'Filename'"):
        found.versions("a")
    with pytest.raises(FetchError, match="x: expected `Package:` at byte 0, found b'<html>'"):
        Index(b"<html>", "amd64", "debian", "x")
    assert Index(b"", "amd64", "debian", "x").names == frozenset()


def test_fetched_by_hash_and_then_from_the_cache(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    release = released(server, plain=False)
    cache = tmp_path / "cache"
    found = fetch_index(client, release, PATH, "amd64", cache)
    assert [(p.version, p.source) for p in found.versions("libc6")] == [("2.36", "glibc")]
    assert [p.name for p in found.providers("libc6-x")] == ["libc6"]
    assert [p.name for p in found.providers("libc-virtual")] == ["libc6"]
    assert [p.architecture for p in found.versions("tool")] == ["all"]
    xz = release.files[PATH + ".xz"]
    assert server.requests == [f"/dists/bookworm/main/binary-amd64/by-hash/SHA256/{xz.sha256}"]

    index._scanned.clear()
    again = fetch_index(client, release, PATH, "amd64", cache)
    assert again.versions("libc6") == found.versions("libc6")
    assert fetch_index(client, release, PATH, "amd64", cache) is again
    assert len(server.requests) == 1


def test_a_spoiled_cache_is_fetched_again(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    release = released(server)
    fetch_index(client, release, PATH, "amd64", tmp_path)
    kept = tmp_path / release.files[PATH].sha256
    good = kept.read_bytes()
    kept.write_bytes(good.replace(b"2.36", b"6.66"))
    index._scanned.clear()
    assert fetch_index(client, release, PATH, "amd64", tmp_path).versions("libc6")[0].version == "2.36"
    assert kept.read_bytes() == good


def test_by_its_name_where_the_hash_is_missing(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    release = replace(released(server, by_hash=False), by_hash=True)
    fetch_index(client, release, PATH, "amd64", tmp_path)
    assert [r.rsplit("/", 1)[1] for r in server.requests] == [release.files[PATH + ".xz"].sha256, "Packages.xz"]


@pytest.mark.parametrize("compressions", [(".gz",), (".xz", ".gz")])
def test_what_the_mirror_has(server: Server, client: httpx.Client, tmp_path: Path, compressions: tuple[str]) -> None:
    release = released(server, compressions=compressions, by_hash=False, list_uncompressed=False)
    for file in server.root.rglob("Packages.xz"):
        file.unlink()
    assert "bash" in fetch_index(client, release, PATH, "amd64", tmp_path).names
    assert server.requests[-1].endswith("Packages.gz")


def test_a_lie_about_the_hash_is_found(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    release = released(server, by_hash=False)
    target = server.root / "dists/bookworm" / (PATH + ".xz")
    data = bytearray(target.read_bytes())
    data[-1] ^= 1
    target.write_bytes(bytes(data))
    with pytest.raises(FetchError, match=r"GET .*Packages.xz: expected \d+ bytes with SHA-256 .*, found \d+ with"):
        fetch_index(client, release, PATH, "amd64", tmp_path)
    target.write_bytes(bytes(data[:-5]))
    with pytest.raises(FetchError, match="expected"):
        fetch_index(client, release, PATH, "amd64", tmp_path)
    target.write_bytes(bytes(data) + b"more")
    with pytest.raises(FetchError, match=r"expected at most \d+ bytes, found more"):
        fetch_index(client, release, PATH, "amd64", tmp_path)
    assert list(tmp_path.glob("[0-9a-f]*")) == []


def test_a_bomb_stops_at_the_signed_size(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    release = released(server)
    plain = release.files[PATH]
    small = replace(release, files={**release.files, PATH: replace(plain, size=plain.size - 1)})
    with pytest.raises(FetchError, match=rf"expected at most {plain.size - 1} bytes when decompressed"):
        fetch_index(client, small, PATH, "amd64", tmp_path)


@pytest.mark.parametrize("data", [lzma.compress(b"x" * 5000)[:-20], b"x" * 50, huge_dictionary(b"x")])
def test_not_xz_at_all_or_not_whole_or_one_that_takes_gigabytes(
    server: Server, client: httpx.Client, tmp_path: Path, data: bytes
) -> None:
    release = released(server, by_hash=False, list_uncompressed=False)
    (server.root / "dists/bookworm" / (PATH + ".xz")).write_bytes(data)
    file = replace(release.files[PATH + ".xz"], size=len(data), sha256=hashlib.sha256(data).hexdigest())
    broken = replace(release, files={file.path: file})
    with pytest.raises(FetchError, match="cannot be decompressed"):
        fetch_index(client, broken, PATH, "amd64", tmp_path)


@pytest.mark.parametrize(
    "data",
    [gzip.compress(b"x" * 5000)[:-9], b"x" * 50, gzip.compress(b"x") + b"rest"],
    ids=["cut off", "text", "more behind"],  # of its own, gzip writes the time
)
def test_not_gzip_at_all_or_not_whole(server: Server, client: httpx.Client, tmp_path: Path, data: bytes) -> None:
    release = released(server, compressions=(".gz",), by_hash=False, list_uncompressed=False)
    (server.root / "dists/bookworm" / (PATH + ".gz")).write_bytes(data)
    file = replace(release.files[PATH + ".gz"], size=len(data), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(FetchError, match="cannot be decompressed"):
        fetch_index(client, replace(release, files={file.path: file}), PATH, "amd64", tmp_path)


def test_gzip_first_and_in_several_members(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    release = released(server, compressions=(".xz", ".gz"), by_hash=False)
    target = server.root / "dists/bookworm" / (PATH + ".gz")
    text = gzip.decompress(target.read_bytes())
    data = gzip.compress(text[:10]) + gzip.compress(text[10:])
    target.write_bytes(data)
    file = replace(release.files[PATH + ".gz"], size=len(data), sha256=hashlib.sha256(data).hexdigest())
    more = replace(release, files={**release.files, file.path: file})
    assert "bash" in fetch_index(client, more, PATH, "amd64", tmp_path).names
    assert server.requests == [f"/dists/bookworm/{PATH}.gz"]
    index._scanned.clear()
    small = replace(more, files={**more.files, PATH: replace(release.files[PATH], size=len(text) - 1)})
    with pytest.raises(FetchError, match=rf"expected at most {len(text) - 1} bytes when decompressed"):
        fetch_index(client, small, PATH, "amd64", tmp_path / "other")


def test_an_index_that_is_gone(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    release = released(server)
    for file in (server.root / "dists/bookworm/main").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(NotOffered, match=r"GET http://127.0.0.1:\d+/dists/bookworm/main/.*Packages.xz: 404"):
        fetch_index(client, release, PATH, "amd64", tmp_path)


def test_an_unwritable_cache_costs_only_time(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "bash" in fetch_index(client, released(server), PATH, "amd64", tmp_path / "file/cache").names


def test_the_cache_keeps_the_last_used(
    server: Server, client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_KEEP", 1)
    (tmp_path / ("0" * 64)).write_bytes(b"old")

    os.utime(tmp_path / ("0" * 64), (1, 1))
    (tmp_path / "unrelated").write_bytes(b"mine")
    for name, age in ((".new-old", 100_000), (".new-now", 0)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    release = released(server)
    fetch_index(client, release, PATH, "amd64", tmp_path)
    kept = {p.name for p in tmp_path.iterdir() if p.is_file()}
    assert kept == {release.files[PATH].sha256, "unrelated", ".new-now"}


def test_the_paths_of_an_architecture(server: Server) -> None:
    release = released(server, architectures=("amd64", "all"))
    assert index_paths(release, "main", "amd64") == [PATH]
    assert index_paths(replace(release, all_apart=True), "main", "amd64") == [PATH, "main/binary-all/Packages"]
    with pytest.raises(FetchError, match="expected the component main for riscv64"):
        index_paths(release, "main", "riscv64")


# -- one GET -----------------------------------------------------------------------------------------


def test_patience_with_a_busy_server(server: Server, client: httpx.Client) -> None:
    released(server)
    server.faults["/dists/bookworm/InRelease"] = [503, 429]
    url = f"{server.url}/dists/bookworm/InRelease"
    assert get(client, url, limit=1 << 20, pause=0).startswith(b"Origin: Debian")
    server.faults["/dists/bookworm/InRelease"] = [503, 503, 503]
    with pytest.raises(FetchError, match=r"GET http://127.0.0.1:\d+/dists/bookworm/InRelease: 503"):
        get(client, url, limit=1 << 20, pause=0)
    server.faults["/dists/bookworm/InRelease"] = [403]
    before = len(server.requests)
    with pytest.raises(FetchError, match="403"):
        get(client, url, limit=1 << 20, pause=0)
    assert len(server.requests) == before + 1


def test_what_nobody_waits_for_any_more_is_not_asked_for(server: Server, client: httpx.Client) -> None:
    released(server)
    url = f"{server.url}/dists/bookworm/InRelease"
    stop = threading.Event()
    assert get(client, url, limit=1 << 20, stop=stop)
    asked = len(server.requests)
    stop.set()
    with pytest.raises(FetchError, match="called off"):
        get(client, url, limit=1 << 20, stop=stop)
    assert len(server.requests) == asked


def test_a_body_is_left_where_nobody_waits_for_it() -> None:
    stop, read = threading.Event(), []

    def endless() -> Iterator[bytes]:
        while True:
            read.append(1)
            stop.set()
            yield b"x" * (1 << 18)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=endless())

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
        pytest.raises(FetchError, match="called off"),
    ):
        get(client, "http://mirror.example/x", limit=1 << 40, stop=stop)
    assert len(read) <= 2


def test_nobody_listens(client: httpx.Client, tmp_path: Path) -> None:
    with serve(tmp_path) as gone:
        url = gone.url
    with pytest.raises(FetchError, match=r"GET http://127.0.0.1:\d+/x: .*refused"):
        get(client, f"{url}/x", limit=1)


def test_files_are_asked_for_as_they_are() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(request.headers["Accept-Encoding"].encode()))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        assert get(client, "http://mirror.example/x", limit=100) == b"identity"


def test_passwords_are_not_shown() -> None:
    assert shown("http://me:secret@mirror.example:80/x") == "http://***@mirror.example:80/x"
    assert shown("http://mirror.example/x") == "http://mirror.example/x"
