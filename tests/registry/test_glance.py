"""A look whether documents are where they were, without the client: what it says, and what it leaves to the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flyte_build.registry.glance import Glance, Unsure
from flyte_build.registry.reference import Reference
from tests.support.registry import Fault, RegistryServer, Repository, sha256

DOCUMENT = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}'
DIGEST = sha256(DOCUMENT)


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as made:
        repository = Repository(tags={"v1": DIGEST})
        repository.manifests[DIGEST] = ("application/vnd.oci.image.manifest.v1+json", DOCUMENT)
        made.repositories["team/low"] = repository
        yield made


def look(server: RegistryServer, target: str = ":v1", digest: str = DIGEST, **environ: str) -> bool:
    glance = Glance({"HOME": "/nonexistent", **environ})
    try:
        return glance.same(Reference.parse(f"{server.host}/team/low{target}"), digest)
    finally:
        glance.close()


def test_what_it_says(server: RegistryServer) -> None:
    assert look(server)
    assert look(server, f"@{DIGEST}")
    assert not look(server, digest=sha256(b""))
    assert not look(server, ":v2")
    assert {(seen.method, seen.kind) for seen in server.requests} == {("HEAD", "manifest")}


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_it_is_let_in_as_the_client_is(server: RegistryServer, auth: str) -> None:
    server.auth = auth
    assert not look(server)
    word = {"FLYTE_BUILD_REGISTRY": f"{server.host}/team", "FLYTE_BUILD_REGISTRY_USER": server.user}
    assert not look(server, **word, FLYTE_BUILD_REGISTRY_PASSWORD="wrong")
    server.forget_requests()
    assert look(server, **word, FLYTE_BUILD_REGISTRY_PASSWORD=server.password)
    kinds = ["manifest", "token", "manifest"] if auth == "bearer" else ["manifest", "manifest"]
    assert [seen.kind for seen in server.requests] == kinds
    assert "authorization" not in {name.lower() for name in server.requests[0].headers}


def test_one_connection_serves_many_questions(server: RegistryServer) -> None:
    glance = Glance({"HOME": "/nonexistent"})
    for _ in range(3):
        assert glance.same(Reference.parse(f"{server.host}/team/low:v1"), DIGEST)
    assert server.count("HEAD", "manifest") == 3
    glance.close()
    assert glance.same(Reference.parse(f"{server.host}/team/low:v1"), DIGEST), "it opens another one"
    glance.close()


def test_many_are_asked_at_once(server: RegistryServer) -> None:
    """One that is not there is an answer; one of which nobody knows is none, unless another is not there."""
    glance = Glance({"HOME": "/nonexistent"})
    there = (Reference.parse(f"{server.host}/team/low:v1"), DIGEST)
    gone = (Reference.parse(f"{server.host}/team/low:v2"), DIGEST)
    assert glance.all_same([])
    assert glance.all_same([there] * 20)
    assert server.count("HEAD", "manifest") == 20
    assert not glance.all_same([*[there] * 9, gone])
    server.fail("HEAD", "manifest", Fault(status=307))
    with pytest.raises(Unsure):
        glance.all_same([there] * 9)
    server.fail("HEAD", "manifest", Fault(status=307), match="v1")
    assert not glance.all_same([gone, there])
    glance.close()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_not_well_says_no(server: RegistryServer, status: int) -> None:
    server.fail("HEAD", "manifest", Fault(status=status))
    assert not look(server)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=307, headers={"Location": "http://127.0.0.1:1/v2/"}),
        Fault(status=200),
        Fault(status=204),
        Fault(status=400),
        Fault(lost="headers"),
    ],
)
def test_what_it_leaves_to_the_client(server: RegistryServer, fault: Fault) -> None:
    server.fail("HEAD", "manifest", fault)
    with pytest.raises(Unsure):
        look(server)


def test_a_proxy_is_the_clients_affair(server: RegistryServer) -> None:
    glance = Glance({"HOME": "/nonexistent", "HTTPS_PROXY": "http://127.0.0.1:1"})
    with pytest.raises(Unsure, match="proxy"):
        glance.same(Reference.parse("r.example/team/low:v1"), DIGEST)
    assert look(server, HTTP_PROXY="http://127.0.0.1:1"), "but not on the loopback"
