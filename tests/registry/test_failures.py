"""Errors: what they say, what to do, and what they keep to themselves."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import StatusError
from flyte_build.registry.secrets import Secrets, redact_url
from tests.support.registry import sha256

from .conftest import Pair, blob

Make = Callable[..., Pair]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@registry.example/v2/a", "https://***@registry.example/v2/a"),
        (
            "https://s.example/b?X-Amz-Signature=abc&digest=sha256:00",
            "https://s.example/b?X-Amz-Signature=***&digest=sha256:00",
        ),
        ("https://s.example/b?sig", "https://s.example/b?sig=***"),
        ("https://s.example/b#token", "https://s.example/b"),
        (
            "http://h.example/v2/a/blobs/uploads/?mount=sha256:0&from=b/c",
            "http://h.example/v2/a/blobs/uploads/?mount=sha256:0&from=b/c",
        ),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_what_others_say_is_shown_without_secrets() -> None:
    secrets = Secrets()
    secrets.add("hunter22", "ab")
    text = "bad hunter22 in https://u:p@h.example/x?sig=1, Bearer eyJhbGciOi.x_y-z\x1b[31m\nab"
    assert secrets.redact(text) == "bad *** in https://***@h.example/x?sig=***, Bearer ***?[31m?ab"
    assert len(secrets.redact("x" * 10_000)) < 1000


def test_a_registry_that_repeats_the_password(pair: Make) -> None:
    it = pair(auth="basic", password="correct-horse")
    it.client.tags(it.ref)
    said = json.dumps(
        {"errors": [{"code": "DENIED", "message": "no correct-horse", "detail": "Basic dXNlcjpj"}]}
    ).encode()
    it.server.fail("GET", "tags", status=403, body=said)
    with pytest.raises(StatusError, match="403 Forbidden: DENIED") as e:
        it.client.tags(it.ref)
    assert "correct" not in e.value.message
    assert "dXNl" not in e.value.message


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (404, "NAME_UNKNOWN", "create it first"),
        (400, "MANIFEST_BLOB_UNKNOWN", "push again"),
        (403, "DENIED", "permission"),
        (405, "UNSUPPORTED", "read-only"),
        (413, "SIZE_INVALID", "client_max_body_size"),
        (507, "", "no space"),
        (501, "", "problem of its own"),
    ],
)
def test_errors_say_what_to_do(status: int, code: str, hint: str, pair: Make) -> None:
    it = pair()
    body = json.dumps({"errors": [{"code": code, "message": "words"}]}).encode()
    it.server.fail("PUT", "manifest", status=status, body=body)
    with pytest.raises(StatusError, match=rf"^PUT {it.server.url}/v2/team/image/manifests/v1: {status} ") as e:
        it.client.put_manifest(it.ref, b'{"layers": []}', "x/y")
    assert hint in str(e.value.hint)
    assert e.value.status == status
    assert code in e.value.codes
    assert "words" in e.value.message


def test_an_answer_without_end(pair: Make) -> None:
    it = pair()
    digest = it.server.put_blob("team/image", blob(5000))
    with pytest.raises(RegistryError, match="longer than 4000 bytes"):
        it.client.read_blob(it.ref, digest, limit=4000)
    assert sha256(blob(5000)) == digest
