"""Manifests, tags and referrers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest

from flyte_build.kernel.errors import InputError, RegistryError
from flyte_build.registry import IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, StatusError
from tests.support.registry import sha256

from .conftest import Pair, manifest_of

Make = Callable[..., Pair]
CONFIG, LAYER = b"{}", b"layer"
DATA = manifest_of(CONFIG, LAYER)
DIGEST = sha256(DATA)


@pytest.fixture
def it(pair: Make) -> Pair:
    made = pair()
    for data in (CONFIG, LAYER):
        made.server.put_blob("team/image", data)
    return made


def test_there_and_back(it: Pair) -> None:
    result = it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    assert (result.digest, result.subject_accepted) == (DIGEST, False)
    for ref in (it.ref, it.ref.with_digest(DIGEST)):
        found = it.client.manifest(ref)
        assert found is not None
        assert (found.data, found.digest, found.media_type) == (DATA, DIGEST, IMAGE_MANIFEST)
        assert found.json["schemaVersion"] == 2
        assert [d.digest for d in found.blobs()] == [sha256(CONFIG), sha256(LAYER)]
        assert it.client.head(ref) == found.descriptor == Descriptor(IMAGE_MANIFEST, DIGEST, len(DATA))
    other = it.ref.with_tag("none")
    assert it.client.manifest(other) is None
    assert it.client.head(other) is None


def test_without_a_tag_it_is_put_by_digest(it: Pair) -> None:
    ref = type(it.ref)(it.ref.host, it.ref.repository)
    it.client.put_manifest(ref, DATA, IMAGE_MANIFEST)
    assert it.server.repository("team/image").tags == {}
    assert it.client.manifest(ref.with_digest(DIGEST)) is not None


def test_a_tag_with_a_digest_is_for_that_digest_only(it: Pair) -> None:
    with pytest.raises(InputError, match="expected a manifest of that digest"):
        it.client.put_manifest(it.ref.with_digest(sha256(b"other")), DATA, IMAGE_MANIFEST)
    assert it.server.requests == []
    it.client.put_manifest(it.ref.with_digest(DIGEST), DATA, IMAGE_MANIFEST)
    assert it.server.repository("team/image").tags == {"v1": DIGEST}


def test_sha512(it: Pair) -> None:
    digest = "sha512:" + hashlib.sha512(DATA).hexdigest()
    ref = type(it.ref)(it.ref.host, it.ref.repository, digest=digest)
    it.client.put_manifest(ref, DATA, IMAGE_MANIFEST)
    found = it.client.manifest(ref)
    assert found is not None
    assert found.digest == digest


def test_nothing_is_tagged_whose_blobs_are_missing(pair: Make) -> None:
    it = pair()
    with pytest.raises(StatusError, match="MANIFEST_BLOB_UNKNOWN") as e:
        it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    assert "push again" in str(e.value.hint)
    assert it.server.repository("team/image").tags == {}


def test_other_bytes(it: Pair) -> None:
    it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    it.server.fail("GET", "manifest", flip=True, times=2)
    with pytest.raises(RegistryError, match=f"expected {DIGEST}, found sha256:"):
        it.client.manifest(it.ref.with_digest(DIGEST))
    with pytest.raises(RegistryError, match=f"expected {DIGEST}, found sha256:"):
        it.client.manifest(it.ref)


def test_a_digest_that_is_not_what_was_put(it: Pair) -> None:
    it.server.fail("PUT", "manifest", digest=sha256(b"other"))
    with pytest.raises(RegistryError, match=f"PUT .*: expected {DIGEST}, found {sha256(b'other')}"):
        it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    it.server.fail("HEAD", "manifest", digest=sha256(b"other"))
    with pytest.raises(RegistryError, match=f"HEAD .*: expected {DIGEST}"):
        it.client.head(it.ref.with_digest(DIGEST))


def test_a_registry_that_says_nothing_of_digests_is_asked(it: Pair) -> None:
    it.server.fail("PUT", "manifest", status=201)
    with pytest.raises(RegistryError, match=r"201, but sha256:[0-9a-f]{64} is not there"):
        it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    it.server.fail("PUT", "manifest", status=201)
    it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    it.server.fail("HEAD", "manifest", status=200)
    head = it.client.head(it.ref)
    assert head is not None
    assert head.digest == DIGEST, "then it is read"


@pytest.mark.parametrize("lost", ["before", "body", "after", "headers", "answer"])
def test_lost(lost: str, it: Pair) -> None:
    it.server.fail("PUT", "manifest", lost=lost, at=10)
    assert it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST).digest == DIGEST
    for method in ("GET", "HEAD"):
        it.server.fail(method, "manifest", lost="after" if lost == "body" else lost, at=10)
    assert it.client.head(it.ref) is not None
    found = it.client.manifest(it.ref)
    assert found is not None
    assert found.data == DATA


@pytest.mark.parametrize(
    ("stated", "body", "said"),
    [
        (IMAGE_INDEX, DATA, f"expected the manifest to be `{IMAGE_INDEX}`, found `{IMAGE_MANIFEST}`"),
        (IMAGE_MANIFEST, b"<html>", "found no JSON"),
        (IMAGE_INDEX, json.dumps({"manifests": [], "layers": [], "config": {}}).encode(), "an index as well"),
    ],
)
def test_a_manifest_that_two_would_read_differently(stated: str, body: bytes, said: str, it: Pair) -> None:
    it.server.fail("GET", "manifest", status=200, body=body, headers={"Content-Type": stated})
    with pytest.raises(RegistryError, match="GET http://127") as e:
        it.client.manifest(it.ref)
    assert said in e.value.message


def test_tags_come_in_pages(pair: Make) -> None:
    it = pair(page=2)
    for data in (CONFIG, LAYER):
        it.server.put_blob("team/image", data)
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        it.client.put_manifest(it.ref.with_tag(name), DATA, IMAGE_MANIFEST)
    assert it.client.tags(it.ref) == names
    assert it.server.count("GET", "tags") == 3


def test_a_next_page_elsewhere_is_refused(it: Pair) -> None:
    link = {"Link": '<http://evil.example/v2/team/image/tags/list?last=x>; rel="next"'}
    it.server.fail("GET", "tags", status=200, body=b'{"tags": ["a"]}', headers=link)
    with pytest.raises(RegistryError, match="the next page is elsewhere"):
        it.client.tags(it.ref)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags": 5}'])
def test_a_list_that_is_none(body: bytes, it: Pair) -> None:
    it.server.fail("GET", "tags", status=200, body=body)
    with pytest.raises(RegistryError, match="expected a list of tags"):
        it.client.tags(it.ref)


def test_no_such_repository(it: Pair) -> None:
    assert it.client.tags(type(it.ref).parse(f"{it.server.host}/none")) == []


# -- referrers -----------------------------------------------------------------------------------------


def artifact(kind: str, note: str) -> bytes:
    subject = {"mediaType": IMAGE_MANIFEST, "digest": DIGEST, "size": len(DATA)}
    return manifest_of(CONFIG, artifactType=kind, subject=subject, annotations={"note": note})


@pytest.mark.parametrize("api", [True, False])
def test_referrers(api: bool, pair: Make) -> None:
    it = pair(referrers=api, page=2)
    for data in (CONFIG, LAYER):
        it.server.put_blob("team/image", data)
    it.client.put_manifest(it.ref, DATA, IMAGE_MANIFEST)
    assert it.client.referrers(it.ref, DIGEST) == []
    sboms = [artifact("example/sbom", str(n)) for n in range(3)]
    for data in (*sboms, artifact("example/signature", "x"), sboms[0]):
        assert it.client.put_referrer(it.ref, data, IMAGE_MANIFEST).digest == sha256(data)
    found = it.client.referrers(it.ref, DIGEST, "example/sbom")
    assert {d["digest"] for d in found} == {sha256(d) for d in sboms}
    assert {d["annotations"]["note"] for d in found} == {"0", "1", "2"}
    assert all(d["mediaType"] == IMAGE_MANIFEST for d in found)
    assert len(it.client.referrers(it.ref, DIGEST)) == 4
    tags = set(it.server.repository("team/image").tags)
    assert tags == ({"v1"} if api else {"v1", DIGEST.replace(":", "-")})


def test_a_list_that_another_overwrites_is_written_again(pair: Make) -> None:
    it = pair(referrers=False)
    it.server.put_blob("team/image", CONFIG)
    # Their write comes after ours, without ours in it.
    it.server.fail("PUT", "manifest", status=201, match="manifests/sha256-", headers={"Docker-Content-Digest": "md5:0"})
    data = artifact("example/sbom", "x")
    with pytest.raises(RegistryError, match="sha256 or sha512"):
        it.client.put_referrer(it.ref, data, IMAGE_MANIFEST)
    it.client.put_referrer(it.ref, data, IMAGE_MANIFEST)
    assert [d["digest"] for d in it.client.referrers(it.ref, DIGEST)] == [sha256(data)]


@pytest.mark.parametrize("api", [True, False])
def test_several_referrers_are_listed_in_one_go(api: bool, pair: Make) -> None:
    it = pair(referrers=api)
    it.server.put_blob("team/image", CONFIG)
    first = it.client.put_referrer(it.ref, artifact("example/sbom", "0"), IMAGE_MANIFEST)
    it.server.forget_requests()
    several = [artifact("example/sbom", "2"), artifact("example/sbom", "0"), artifact("example/sbom", "1")]
    put = it.client.put_referrers(it.ref, several, IMAGE_MANIFEST)
    assert [result.digest for result in put] == [sha256(data) for data in several]
    # Each by itself, and then the list: read, written, and read again.
    assert [s.method for s in it.server.requests] == ["PUT"] * 3 + ([] if api else ["GET", "PUT", "GET"])
    listed = [d["digest"] for d in it.client.referrers(it.ref, DIGEST)]
    assert sorted(listed) == sorted({sha256(data) for data in several})
    if not api:
        assert listed == [first.digest, sha256(several[0]), sha256(several[2])]


def test_referrers_of_several_subjects_are_refused(it: Pair) -> None:
    other = manifest_of(
        CONFIG, artifactType="a/b", subject={"mediaType": IMAGE_MANIFEST, "digest": sha256(b"x"), "size": 1}
    )
    with pytest.raises(InputError, match="one `subject`"):
        it.client.put_referrers(it.ref, [artifact("example/sbom", "0"), other], IMAGE_MANIFEST)
    assert it.server.requests == []


def test_what_refers_to_nothing(it: Pair) -> None:
    with pytest.raises(InputError, match="`subject`"):
        it.client.put_referrer(it.ref, DATA, IMAGE_MANIFEST)
