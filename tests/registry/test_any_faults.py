"""Whatever goes wrong: a push succeeds and all is there, or it is an error; no tag leads to what is missing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import IMAGE_INDEX, IMAGE_MANIFEST, Reference
from tests.support.registry import Fault, sha256

from .conftest import CHUNK, Pair, blob, manifest_of

CONFIG, LAYER = b'{"architecture":"amd64"}', blob(2 * CHUNK + CHUNK // 2)
MANIFEST = manifest_of(CONFIG, LAYER)

_steps = st.sampled_from(
    [
        ("HEAD", "blob"),
        ("POST", "upload"),
        ("PATCH", "session"),
        ("PUT", "session"),
        ("GET", "session"),
        ("DELETE", "session"),
        ("PUT", "manifest"),
        ("GET", "manifest"),
        ("HEAD", "manifest"),
        ("GET", "blob"),
        ("GET", "token"),
    ]
)
_offsets = st.sampled_from([0, 1, 7, CHUNK // 2, CHUNK - 1, CHUNK, len(LAYER) - 1, len(LAYER)])
_faults = st.one_of(
    st.builds(Fault, lost=st.sampled_from(["before", "body", "after", "headers", "answer"]), at=_offsets),
    st.builds(
        Fault,
        status=st.sampled_from([200, 201, 202, 204, 307, 400, 401, 403, 404, 405, 413, 416, 429, 500, 503]),
        early=st.booleans(),
    ),
    st.just(Fault(flip=True)),
    st.just(Fault(short=1)),
    st.just(Fault(forget=True)),
    st.just(Fault(digest=sha256(b"other"))),
)
_planned = st.tuples(_steps, _faults, st.integers(1, 6), st.integers(0, 3))
_servers = st.fixed_dictionaries(
    {},
    optional={
        "auth": st.sampled_from(["basic", "bearer"]),
        "mount": st.sampled_from(["session", "refused"]),
        "patch": st.just(False),
        "partial": st.just(False),
        "status": st.just(False),
        "ranges": st.just(False),
        "least": st.sampled_from([1, CHUNK + 1]),
        "strict": st.just(False),
    },
)


def push(it: Pair) -> None:
    """As an image is pushed: blobs, the manifest by its digest, the tag."""
    for data in (CONFIG, LAYER):
        it.push(data, mount_from=["neighbour"])
    repository = Reference(it.ref.host, it.ref.repository)
    it.client.put_manifest(repository, MANIFEST, IMAGE_MANIFEST)
    it.client.put_manifest(it.ref, MANIFEST, IMAGE_MANIFEST)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_servers, st.lists(_planned, max_size=5), st.booleans())
def test_any_faults(server: dict[str, object], plan: list[tuple[tuple[str, str], Fault, int, int]], near: bool) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        it = Pair(stack, {"timeout": 2}, **server)
        if near:
            it.server.put_blob("neighbour", LAYER)
        for (method, kind), fault, times, after in plan:
            it.server.fail(method, kind, fault, times=times, after=after)
        try:
            push(it)
        except RegistryError:
            pass
        else:
            assert it.server.repository("team/image").tags == {"v1": sha256(MANIFEST)}
            assert it.stored(CONFIG)
            assert it.stored(LAYER)
        assert it.server.dangling() == []
        try:
            it.client.pull_blob(it.ref, sha256(LAYER), len(LAYER), folder / "layer")
            found = it.client.manifest(it.ref)
        except RegistryError:
            pass
        else:
            assert (folder / "layer").read_bytes() == LAYER
            assert found is None or found.data == MANIFEST
        assert {p.name for p in folder.iterdir()} <= {"layer"}
        assert sum(it.waits) < 120, "patience is bounded"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 9, 5000, 49_999, 100_000]), st.sampled_from(["body", "after"])), max_size=12
    )
)
def test_a_line_that_breaks_wherever_it_likes(breaks: list[tuple[int, str]]) -> None:
    """With a registry that keeps what arrived, nothing but the connection is at fault: the push always gets there."""
    with ExitStack() as stack:
        it = Pair(stack, {"attempts": 20})
        for at, lost in breaks:
            it.server.fail("PATCH", "session", lost=lost, at=at)
        push(it)
        assert it.server.dangling() == []
        assert it.stored(LAYER)


def test_the_check_itself_finds_what_is_missing() -> None:
    with ExitStack() as stack:
        it = Pair(stack, {})
        push(it)
        assert it.server.dangling() == []
        index = b'{"manifests": [{"digest": "sha256:0"}]}'
        it.server.strict = False
        it.client.put_manifest(it.ref.with_tag("multi"), index, IMAGE_INDEX)
        assert it.server.dangling() == ["team/image:multi: manifest sha256:0"]
        it.server.blobs[sha256(LAYER)] = LAYER[:-1]
        assert f"team/image:v1: blob {sha256(LAYER)}" in it.server.dangling()
