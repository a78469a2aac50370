"""The client of package indexes: pages, retries, credentials, metadata from ranges, and where a file lies."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.kernel.errors import ArtifactError, FetchError, InputError
from flyte_build.sources.indexes import Index, IndexClient, IndexFile, IndexSettings, http
from flyte_build.sources.indexes.index_cache import read_entries
from flyte_build.sources.indexes.metadata import entries

from ..support.index import SimpleIndex
from ..support.wheels import build_wheel, stored

A = "https://a.index.example/simple"
B = "https://b.index.example/simple"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SimpleIndex]:
    folder = tmp_path / "wheels"
    folder.mkdir()
    build_wheel(folder, "alpha", "1.0", requires=["beta>=1", 'gamma; extra == "more"'])
    build_wheel(folder, "beta", "1.0")
    with SimpleIndex(folder) as served:
        yield served


def client(index: SimpleIndex | str, **more: object) -> IndexClient:
    url = index if isinstance(index, str) else index.url
    return IndexClient(IndexSettings(Index(url), **more), {}, pause=0.01)  # type: ignore[arg-type]


# -- the client --------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
def test_files_of_a_project(index: SimpleIndex, as_json: bool) -> None:
    index.json = as_json
    index.python = {"alpha-1.0-py3-none-any.whl": ">=3.9"}
    (found,) = client(index).files("Alpha")
    assert found.sha256 == index.sha256(found.name)
    assert found.requires_python == ">=3.9"
    assert client(index).files("missing") == ()


def test_a_page_is_asked_once(index: SimpleIndex) -> None:
    asking = client(index)
    asking.files("alpha")
    asking.files("alpha")
    assert index.asked == ["GET /simple/alpha/"]


def test_retries_then_succeeds(index: SimpleIndex) -> None:
    index.failing["/simple/"] = iter([503, 0, 429])
    assert len(client(index).files("alpha")) == 1
    assert len(index.asked) == 4


def test_an_index_that_stays_down(index: SimpleIndex) -> None:
    index.failing["/simple/"] = itertools.repeat(503)
    with pytest.raises(FetchError) as e:
        client(index.url.replace("://", "://user:secret@")).files("alpha")
    assert e.value.message == f"GET http://{index.host}/simple/alpha/: 503 Service Unavailable (4 attempts)"
    assert e.value.exit_code == 6


def test_an_index_that_is_not_there() -> None:
    with pytest.raises(FetchError, match=r"GET http://127\.0\.0\.1:9/simple/alpha/: .*refused.* \(4 attempts\)"):
        client("http://127.0.0.1:9/simple").files("alpha")


def test_in_a_hurry_a_silent_index_is_given_up_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_ANSWER", 0.2)
    given_up: dict[str, str] = {}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = f"http://127.0.0.1:{silent.getsockname()[1]}"
        asking = IndexClient(IndexSettings(Index(f"{origin}/simple")), {}, given_up=given_up)
        with pytest.raises(FetchError, match=r"/simple/alpha/: timed out \(2 attempts\)") as first:
            asking.files("alpha")
        assert given_up == {origin: first.value.message}
    another = IndexClient(IndexSettings(Index(f"{origin}/other")), {}, given_up=given_up)
    with pytest.raises(FetchError) as second:
        another.files("beta")
    # Another attempt would be refused, as nobody listens there any more.
    assert second.value.message == first.value.message, "why this origin was given up, and no other attempt"


def test_in_a_hurry_a_second_failure_is_the_last(index: SimpleIndex) -> None:
    index.failing["/simple/"] = iter([503])
    given_up: dict[str, str] = {}
    asking = IndexClient(IndexSettings(Index(index.url)), {}, given_up=given_up)
    assert len(asking.files("alpha")) == 1
    assert len(index.asked) == 2
    assert given_up == {}, "it answered in the end"
    index.failing["/simple/"] = itertools.repeat(0)
    with pytest.raises(FetchError):
        asking.files("beta")
    with pytest.raises(FetchError):
        asking.files("gamma")
    assert len(index.asked) == 4


def test_a_page_that_is_no_index(index: SimpleIndex) -> None:
    index._project = lambda request, project: index._send(request, 200, "application/json", b"<html>")  # type: ignore[method-assign]
    with pytest.raises(FetchError, match="not a page of the Simple API"):
        client(index).files("x")


def test_credentials_in_the_url(index: SimpleIndex) -> None:
    index.login = "user:se/cret"
    with pytest.raises(FetchError, match="401") as e:
        client(index).files("alpha")
    assert "netrc" in str(e.value.hint)
    assert client(index.url.replace("://", "://user:se%2Fcret@")).files("alpha")


def test_credentials_from_uv_and_netrc(index: SimpleIndex, tmp_path: Path) -> None:
    index.login = "user:secret"
    env = {"UV_INDEX_MY_TEAM_USERNAME": "user", "UV_INDEX_MY_TEAM_PASSWORD": "secret"}
    assert IndexClient(IndexSettings(Index(index.url, "my-team")), env).files("alpha")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    assert IndexClient(IndexSettings(Index(index.url)), {"NETRC": str(tmp_path / "netrc")}).files("alpha")


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("said", [True, False])
def test_metadata(index: SimpleIndex, ranges: bool, said: bool) -> None:
    index.ranges, index.metadata, index.sizes = ranges, said, said
    asking = client(index)
    (file,) = asking.files("alpha")
    found = asking.metadata(file)
    assert found.requires == ("beta>=1", 'gamma; extra == "more"')
    assert found.size == (index.folder / file.name).stat().st_size
    assert found.sha256 == index.sha256(file.name)


def test_metadata_of_a_large_wheel_needs_its_ends_only(index: SimpleIndex) -> None:
    build_wheel(index.folder, "large", files={"large/data.bin": bytes(400_000)}, requires=["beta"], compress=stored)
    asking = client(index)
    (file,) = asking.files("large")
    index.asked.clear()
    assert asking.metadata(file).requires == ("beta",)
    assert index.asked == [f"GET /files/{file.name}"]


def test_metadata_far_from_the_end(index: SimpleIndex) -> None:
    late = {"licenses/long.txt": bytes(300_000)}
    path = build_wheel(index.folder, "large", files={}, metadata=late, requires=["beta"], compress=stored)
    asking = client(index)
    (file,) = asking.files("large")
    found = asking.metadata(file)
    assert (found.requires, found.size) == (("beta",), path.stat().st_size)
    assert len([line for line in index.asked if "/files/" in line]) == 2, "the tail and METADATA"


def test_metadata_where_ranges_count_from_the_start_only(index: SimpleIndex) -> None:
    build_wheel(index.folder, "large", files={"large/data.bin": bytes(400_000)}, requires=["beta"], compress=stored)
    index.suffixes = False
    asking = client(index)
    (file,) = asking.files("large")
    index.asked.clear()
    assert asking.metadata(file).requires == ("beta",)
    assert [line.split()[0] for line in index.asked] == ["GET", "HEAD", "GET"]


def test_metadata_is_remembered_by_hash(index: SimpleIndex) -> None:
    (file,) = client(index).files("alpha")
    first = client(index).metadata(file)
    index.asked.clear()
    assert client(index).metadata(file) == first
    assert index.asked == []


def test_what_is_in_a_wheel_is_remembered_with_it(index: SimpleIndex) -> None:
    """Whoever asks for its files afterwards asks no index."""
    index.metadata = False
    asking = client(index)
    (file,) = asking.files("alpha")
    found = asking.metadata(file)
    path = index.folder / file.name
    data = path.read_bytes()
    assert read_entries(found.sha256) == entries(len(data), data, lambda start, stop: data[start:stop])
    assert read_entries("0" * 64) is None
    (kept,) = (Path(os.environ["FLYTE_BUILD_CACHE"]) / "metadata").glob("*.files")
    for broken in ("", "{}", "[", "\xff"):
        kept.write_text(broken, encoding="latin-1")
        assert read_entries(found.sha256) is None


def test_clients_that_trust_the_same_share_what_they_trust(tmp_path: Path) -> None:
    """Reading the certificates of a machine takes longer than a request."""
    one = http._context(IndexSettings(Index("https://r.example")), {})
    assert http._context(IndexSettings(Index("https://s.example")), {}) is one
    folder = {"SSL_CERT_DIR": str(tmp_path)}
    assert http._context(IndexSettings(Index("https://r.example")), folder) is not one
    with pytest.raises(InputError, match="cannot be read"):
        http._context(IndexSettings(Index("https://r.example"), cert=str(tmp_path / "none.pem")), {})


def test_a_hash_that_the_index_does_not_state_is_computed(index: SimpleIndex) -> None:
    index.hashes = False
    asking = client(index)
    (file,) = asking.files("alpha")
    assert file.sha256 is None
    assert asking.metadata(file).sha256 == index.sha256(file.name)


def test_a_lie_found_in_a_whole_file(index: SimpleIndex) -> None:
    index.ranges = False
    build_wheel(index.folder, "large", files={"large/data.bin": bytes(400_000)}, compress=stored)
    index.lies["large-1.0-py3-none-any.whl"] = "00" * 32
    asking = client(index)
    (file,) = asking.files("large")
    with pytest.raises(FetchError, match=f"large-1.0-py3-none-any.whl: the index states sha256 {'00' * 32}"):
        asking.metadata(file)


def test_a_file_that_is_no_wheel(index: SimpleIndex) -> None:
    build_wheel(index.folder, "bad", mutate="not-a-zip")
    asking = client(index)
    with pytest.raises(ArtifactError, match=r"bad-1\.0-py3-none-any\.whl: not a wheel"):
        asking.metadata(asking.files("bad")[0])


def test_a_size_that_is_not_the_files(index: SimpleIndex) -> None:
    asking = client(index)
    (file,) = asking.files("alpha")
    wrong = IndexFile(file.name, file.url, file.sha256, size=3)
    with pytest.raises(FetchError, match="the index states 3 bytes"):
        asking.metadata(wrong)


def test_find_links(index: SimpleIndex, tmp_path: Path) -> None:
    asking = IndexClient(IndexSettings(None, find_links=(str(index.folder), str(tmp_path / "missing"))), {})
    (file,) = asking.files("alpha")
    assert asking.metadata(file).sha256 == index.sha256(file.name)


# -- locations ---------------------------------------------------------------------------------------


def test_locate_by_name_and_hash(index: SimpleIndex, tmp_path: Path) -> None:
    name = "alpha-1.0-py3-none-any.whl"
    other = tmp_path / "other"
    other.mkdir()
    build_wheel(other, "alpha", "1.0", requires=["delta"])
    with SimpleIndex(other) as second:
        asking = IndexClient(IndexSettings(Index(second.url), (Index(index.url),)), {})
        (found,) = asking.locate(name, second.sha256(name))
        assert found.url == f"http://{second.host}/files/{name}"
        assert found.stated
        assert list(asking.locate(name, "00" * 32)) == []
        error = asking.nowhere(name, "00" * 32)
        assert f"expected sha256 {'00' * 32}" in error.message
        assert index.sha256(name) in error.message


def test_a_place_without_a_hash_comes_last(index: SimpleIndex, tmp_path: Path) -> None:
    name = "alpha-1.0-py3-none-any.whl"
    with SimpleIndex(index.folder) as silent:
        silent.hashes = False
        asking = IndexClient(IndexSettings(Index(index.url), (Index(silent.url),)), {})
        found = list(asking.locate(name, index.sha256(name)))
    assert [(f.url.split("/")[2], f.stated) for f in found] == [(index.host, True), (silent.host, False)]


def test_an_index_that_is_down_hides_no_other(index: SimpleIndex) -> None:
    name = "alpha-1.0-py3-none-any.whl"
    down = Index("http://127.0.0.1:9/simple")
    asking = IndexClient(IndexSettings(Index(index.url), (down,)), {}, pause=0.01)
    places = asking.locate(name, index.sha256(name))
    assert next(places).url == f"http://{index.host}/files/{name}"
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:9"):
        next(places)


def test_where_it_was_locked_is_a_hint_under_the_same_settings(index: SimpleIndex) -> None:
    asking = client(index)
    (file,) = asking.files("alpha")
    sha = asking.metadata(file).sha256
    index.asked.clear()
    assert next(iter(client(index).locate(file.name, sha))).url == file.url
    assert index.asked == [], "the page was not read"
    elsewhere = client("http://127.0.0.1:9/simple")
    with pytest.raises(FetchError):
        list(elsewhere.locate(file.name, sha))
