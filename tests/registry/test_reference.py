"""References: what is read, how it is spelled out, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.kernel.errors import InputError
from flyte_build.registry import Reference

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("registry.example/team/fold", "registry.example", "team/fold", None, None),
        ("registry.example/fold:v1", "registry.example", "fold", "v1", None),
        ("registry.example:5000/a/b/c:x.y-z_1", "registry.example:5000", "a/b/c", "x.y-z_1", None),
        (f"localhost/fold@{DIGEST}", "localhost", "fold", None, DIGEST),
        (f"127.0.0.1:5000/fold:v1@{DIGEST}", "127.0.0.1:5000", "fold", "v1", DIGEST),
        ("[::1]:5000/fold:v1", "[::1]:5000", "fold", "v1", None),
        ("host:5000/fold", "host:5000", "fold", None, None),
        ("a.example/x__y/a-b--c", "a.example", "x__y/a-b--c", None, None),
        ("python", "docker.io", "library/python", None, None),
        ("python:3.12-slim", "docker.io", "library/python", "3.12-slim", None),
        ("team/fold", "docker.io", "team/fold", None, None),
        ("docker.io/python", "docker.io", "library/python", None, None),
        ("index.docker.io/team/fold:1", "docker.io", "team/fold", "1", None),
        ("registry.example/sha512@sha512:" + HEX * 2, "registry.example", "sha512", None, "sha512:" + HEX * 2),
    ],
)
def test_parts(text: str, host: str, repository: str, tag: str | None, digest: str | None) -> None:
    found = Reference.parse(text)
    assert found == Reference(host, repository, tag, digest)
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no part"),
        ("registry.example/", "no part"),
        ("registry.example/Team/fold", "`Team`"),
        ("registry.example/a//b", "``"),
        ("registry.example/a/../b", "`..`"),
        ("registry.example/fold:", "`` is no tag"),
        ("registry.example/fold:-x", "`-x` is no tag"),
        ("registry.example/fold:" + "x" * 129, "is no tag"),
        ("registry.example/fold@sha256:abc", "`sha256:abc` is no digest"),
        (f"registry.example/fold@md5:{HEX}", "is no digest"),
        ("registry.example/fold@", "`` is no digest"),
        ("https://registry.example/fold", "no host name"),
        ("user@registry.example/fold", "is no digest"),
        ("registry.example/" + "a/" * 130 + "b", "255"),
        ("reg istry.example/x", "no host name"),
        ("registry.example/fold?x=1", "no part"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match="expected an image reference") as e:
        Reference.parse(text)
    assert said in e.value.message


def test_what_is_asked_for() -> None:
    plain = Reference.parse("registry.example/fold")
    assert plain.target == "latest"
    assert plain.with_tag("v1").target == "v1"
    assert plain.with_tag("v1").with_digest(DIGEST).target == DIGEST
    assert str(plain.with_tag("v1").with_digest(DIGEST)) == f"registry.example/fold:v1@{DIGEST}"
    assert plain.with_digest(DIGEST).with_tag("v2") == plain.with_tag("v2"), "a tag is another image"
    assert plain.with_tag("v1").name == "registry.example/fold"
    with pytest.raises(InputError):
        plain.with_tag("a/b")
    with pytest.raises(InputError):
        plain.with_digest("sha256:0")


_parts = st.from_regex(r"[a-z0-9]{1,4}([._-][a-z0-9]{1,3})?", fullmatch=True)


@given(
    st.sampled_from(["registry.example", "localhost", "10.0.0.1:5000", "docker.io"]),
    st.lists(_parts, min_size=1, max_size=4),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,9}", fullmatch=True),
    st.sampled_from([None, DIGEST]),
)
def test_what_is_written_is_read_back(host: str, parts: list[str], tag: str | None, digest: str | None) -> None:
    if host == "docker.io" and len(parts) == 1:
        parts = ["library", *parts]
    whole = Reference(host, "/".join(parts), tag, digest)
    assert Reference.parse(str(whole)) == whole
