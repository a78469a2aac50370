"""Being let in: challenges, tokens and their scopes, and where credentials never go."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import IMAGE_MANIFEST, Reference, Registry, StatusError
from tests.support.registry import RegistryServer, sha256

from .conftest import CHUNK, Pair, blob, manifest_of, opened

Make = Callable[..., Pair]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_everything_works_behind(auth: str, pair: Make) -> None:
    it = pair(auth=auth)
    config, layer = b"{}", blob(3 * CHUNK)
    manifest = manifest_of(config, layer)
    for data in (config, layer):
        assert it.push(data) == "uploaded"
    it.client.put_manifest(it.ref, manifest, IMAGE_MANIFEST)
    assert it.client.tags(it.ref) == ["v1"]
    assert it.client.read_blob(it.ref, sha256(layer)) == layer
    first = it.server.requests[0]
    assert (first.status, "authorization" in first.headers) == (401, False), "nothing is sent before it is asked for"
    assert len([s for s in it.server.requests if s.status == 401]) == 1, "after that, it is sent at once"


def test_a_token_is_asked_for_once_a_scope(pair: Make) -> None:
    it = pair(auth="bearer")
    for seed in range(3):
        it.push(blob(10, seed))
    it.client.tags(it.ref)
    (asked,) = it.server.seen("GET", "token")
    assert "scope=repository%3Ateam%2Fimage%3Apull%2Cpush" in asked.path or (
        "scope=repository:team/image:pull,push"
        in asked.path.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")
    )
    assert "service=test%2C" in asked.path


def test_reading_asks_for_no_more_than_reading(pair: Make) -> None:
    it = pair(auth="bearer")
    it.client.manifest(it.ref)
    (asked,) = it.server.seen("GET", "token")
    assert "push" not in asked.path


def test_a_mount_asks_for_both_repositories(pair: Make) -> None:
    it = pair(auth="bearer")
    data = blob(100)
    it.server.put_blob("base/python", data)
    assert it.push(data, mount_from=["base/python"]) == "mounted"
    scopes = it.server.seen("GET", "token")[-1].path.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")
    assert "scope=repository:base/python:pull" in scopes
    assert "scope=repository:team/image:pull,push" in scopes


def test_a_mount_that_the_token_server_refuses_is_no_obstacle(pair: Make) -> None:
    it = pair(auth="bearer")
    it.server.fail("GET", "token", status=403, match="base", times=9)
    data = blob(100)
    it.server.put_blob("base/python", data)
    assert it.push(data, mount_from=["base/python"]) == "uploaded"


def test_a_token_that_ends_in_the_middle_of_an_upload(pair: Make) -> None:
    it = pair(auth="bearer")
    data = blob(5 * CHUNK)
    seen: list[int] = []

    def advance(count: int) -> None:
        seen.append(count)
        if sum(seen) == 3 * CHUNK:
            it.server.expire_tokens()

    assert it.push(data, advance=advance) == "uploaded"
    assert it.stored(data)
    assert it.server.count("GET", "token") == 2
    assert sum(seen) == len(data)


def test_a_token_that_has_expired_is_not_sent(pair: Make) -> None:
    now = [1000.0]
    it = pair({"clock": lambda: now[0]}, auth="bearer", life=60)
    it.client.tags(it.ref)
    now[0] += 49
    it.client.tags(it.ref)
    assert it.server.count("GET", "token") == 1
    now[0] += 2
    it.client.tags(it.ref)
    assert it.server.count("GET", "token") == 2


def test_a_registry_that_wants_another_scope_than_ours(pair: Make) -> None:
    """Its own challenge to our token says which; both are asked for from then on."""
    it = pair(auth="bearer")
    it.server.put_blob("team/image", b"x")
    it.client.read_blob(it.ref, sha256(b"x"))
    field = f'Bearer realm="{it.server.url}/token",service="s",scope="repository:team/image:pull,annotate"'
    it.server.fail("GET", "blob", status=401, headers={"WWW-Authenticate": field})
    it.client.read_blob(it.ref, sha256(b"x"))
    assert "annotate" in it.server.seen("GET", "token")[-1].path


def test_an_identity_token_is_exchanged(pair: Make, tmp_path: Path) -> None:
    it = pair({"environ": {}, "docker_config": tmp_path / "config.json"}, auth="bearer", password="refresh-me")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {it.server.host: {"identitytoken": "refresh-me"}}}))
    it.client.tags(it.ref)
    assert it.server.count("POST", "token") == 1


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_wrong_password(auth: str, pair: Make) -> None:
    it = pair({"attempts": 2}, auth=auth)
    it.server.password = "another-password"
    with pytest.raises(StatusError, match="401 Unauthorized") as e:
        it.client.tags(it.ref)
    assert e.value.status == 401
    assert f"docker login {it.server.host}" in str(e.value.hint)
    assert "the credentials from $FLYTE_BUILD_REGISTRY_USER" in str(e.value.hint)
    assert "password" not in e.value.message.replace("username or password", "")
    assert it.server.count() <= 3, "a refused password is not tried again and again"


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_no_credentials(auth: str, pair: Make) -> None:
    it = pair({"environ": {}}, auth=auth)
    with pytest.raises(StatusError, match="401") as e:
        it.client.manifest(it.ref)
    assert str(e.value.hint).startswith(f"log in with `docker login {it.server.host}`")


def test_everybody_may_read(pair: Make) -> None:
    """As on public registries: a token is asked for without credentials, and does not let push."""
    it = pair({"environ": {}}, auth="bearer", anonymous=True)
    digest = it.server.put_blob("team/image", b"data")
    assert it.client.read_blob(it.ref, digest) == b"data"
    assert "authorization" not in it.server.seen("GET", "token")[0].headers
    with pytest.raises(StatusError, match=r"^POST .*: 401 "):
        it.push(b"other")


def test_what_the_account_may_not_do(pair: Make) -> None:
    it = pair(auth="basic")
    it.server.allowed = lambda repository, action: action == "pull"
    with pytest.raises(
        StatusError, match=r"^POST http://127.*/v2/team/image/blobs/uploads/: 403 Forbidden: DENIED"
    ) as e:
        it.push(b"x")
    assert "permission" in str(e.value.hint)


def test_a_401_that_offers_nothing(pair: Make) -> None:
    it = pair()
    it.server.fail("GET", "tags", status=401, times=9)
    with pytest.raises(StatusError, match="401"):
        it.client.tags(it.ref)
    assert it.server.count("GET", "tags") == 1


def test_a_token_server_in_plain_http_gets_no_password(pair: Make) -> None:
    it = pair()
    field = 'Bearer realm="http://auth.example/token?secret=hunter2",service="x"'
    it.server.fail("GET", "tags", status=401, headers={"WWW-Authenticate": field}, times=9)
    with pytest.raises(RegistryError, match="expected https") as e:
        it.client.tags(it.ref)
    assert "hunter2" not in e.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nX: y"}'])
def test_a_token_server_that_gives_none(body: bytes, pair: Make) -> None:
    it = pair(auth="bearer")
    it.server.fail("GET", "token", status=200, body=body)
    with pytest.raises(RegistryError, match=r"expected .*token, found none"):
        it.client.tags(it.ref)


def test_a_token_server_that_is_busy(pair: Make) -> None:
    it = pair(auth="bearer")
    it.server.fail("GET", "token", status=503, headers={"Retry-After": "7"})
    assert it.client.tags(it.ref) == []
    assert it.waits == [7.0]


def test_credentials_stay_with_their_host() -> None:
    """A redirect of a blob, an upload's address, a next page: another host never sees who we are."""
    data = blob(1000)
    with RegistryServer() as storage, RegistryServer(auth="basic") as server:
        environ = {"FLYTE_BUILD_REGISTRY": server.host, "FLYTE_BUILD_REGISTRY_USER": "user"}
        environ["FLYTE_BUILD_REGISTRY_PASSWORD"] = "password"
        digest = server.put_blob("team/image", data)
        storage.put_blob("bucket", data)
        server.redirect = f"{storage.url}/v2/bucket/blobs/"
        ref = Reference.parse(f"{server.host}/team/image:v1")
        with Registry(environ=environ, certificates=(), wait=lambda s: None) as client:
            assert client.read_blob(ref, digest) == data
            storage.repository("bucket").uploads["elsewhere"] = bytearray()
            place = {"Location": f"{storage.url}/v2/bucket/blobs/uploads/elsewhere"}
            server.fail("POST", "upload", status=202, headers=place)
            other = blob(10)
            # The storage has it then, the registry does not: that is noticed, and it is sent again.
            client.push_blob(ref, sha256(other), 10, opened(other))
        sent = [s for s in storage.requests if "authorization" in s.headers]
        assert storage.count("GET", "blob") == 1
        assert storage.count("PUT", "session") == 1
        assert sha256(other) in server.repository("team/image").blobs
        assert sent == []
        expected = "Basic " + base64.b64encode(b"user:password").decode()
        assert server.requests[-1].headers["authorization"] == expected
