"""Pushing: only what the registry lacks travels, and whatever stops it, no tag leads to something incomplete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.kernel.errors import InputError, RegistryError
from flyte_build.kernel.reporting import Progress, Recorder
from flyte_build.remote.target import Target, derivation_tag, registry_host, repository_name
from flyte_build.settings import Settings
from flyte_build.store.built import BuiltImage
from tests.remote.site import Machine, tags
from tests.support.images import image_of, wheel_layer
from tests.support.registry import Fault, RegistryServer

SIZE = 20_000


@pytest.fixture
def machine(server: RegistryServer, wheels: Path, tmp_path: Path) -> Machine:
    """A machine without a cache."""
    return Machine(tmp_path / "store", server, wheels, cached=False)


def test_what_was_pushed_is_whole_and_known_by_its_digest(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    low, top = machine.push(pair, "v1")
    built = machine.build(pair)
    assert [low.digest, top.digest] == [b.manifest_digest for b in built]
    assert low.reference == f"{server.host}/team/low@{low.digest}"
    assert low.tags == (derivation_tag(pair[0].hash), "v1")
    assert tags(server, "team/top") == dict.fromkeys([derivation_tag(pair[1].hash), "v1"], top.digest)
    assert server.dangling() == []


def test_a_layer_of_two_repositories_travels_once_and_every_byte_is_accounted_for(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    low, top = machine.push(pair)
    one, two = machine.build(pair)
    shared = sum(layer.size for layer in one.layers)
    assert (low.uploaded, low.mounted, low.existing) == (one.size, 0, 0)
    assert (top.uploaded, top.mounted, top.existing) == (two.size - shared, shared, 0)
    configs = [
        json.loads(machine.store.blob_path(b.manifest_digest).read_bytes())["config"]["size"] for b in (one, two)
    ]
    assert server.bytes_in("session") == shared + two.layers[2].size + sum(configs)


def test_a_second_push_asks_and_sends_nothing(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    first = machine.push(pair, "v1")
    server.forget_requests()
    second = machine.push(pair, "v1")
    assert [(s.method, s.kind) for s in server.requests] == [("HEAD", "manifest")] * 4
    assert [p.digest for p in second] == [p.digest for p in first]
    assert {(p.uploaded, p.mounted) for p in second} == {(0, 0)}
    assert [p.existing for p in second] == [b.size for b in machine.build(pair)]


def test_who_wants_to_know_is_told_of_the_images_that_are_not_there(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    told: list[tuple[list[str], int]] = []

    def sending(images: list[BuiltImage]) -> None:
        told.append(([image.environment for image in images], len(server.seen("PUT"))))

    for images in (pair[:1], pair, pair):
        machine.push(images, sending=sending)
    # Before anything of them travels.
    sent = [puts for _, puts in told]
    assert [names for names, _ in told] == [["low"], ["top"], []]
    assert sent[0] == 0 < sent[1] < sent[2]


def test_one_changed_wheel_costs_its_layer_the_configuration_and_the_manifest(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation], wheels: Path
) -> None:
    machine.push(pair)
    server.forget_requests()
    changed = image_of("top", [*pair[0].layers, wheel_layer(wheels, "delta", SIZE)])
    [pushed] = machine.push([changed])
    [built] = machine.build([changed])
    document = machine.store.manifest(built.manifest_digest)
    assert document is not None
    manifest, config = machine.store.blob_path(built.manifest_digest).stat().st_size, document["config"]["size"]
    assert pushed.uploaded == built.layers[2].size + config + manifest
    assert server.bytes_in("session") == built.layers[2].size + config
    assert server.bytes_in("manifest") == 2 * manifest, "by its digest, then under its tag"
    assert server.count("POST", "upload") == 2
    assert server.dangling() == []


def test_several_platforms_get_an_index(machine: Machine, server: RegistryServer, wheels: Path) -> None:
    layer = wheel_layer(wheels, "alpha")
    images = [image_of("env", [layer], "linux/amd64"), image_of("env", [layer], "linux/arm64")]
    [pushed] = machine.push(images, "v1")
    kept = server.repository("team/env").manifests[pushed.digest]
    assert kept[0] == "application/vnd.oci.image.index.v1+json"
    rows = json.loads(kept[1])["manifests"]
    assert {f"{r['platform']['os']}/{r['platform']['architecture']}": r["digest"] for r in rows} == pushed.platforms
    named = tags(server, "team/env")
    assert named["v1"] == pushed.digest
    assert {named[derivation_tag(i.hash)] for i in images} == set(pushed.platforms.values())
    assert named[pushed.tags[0]] == pushed.digest, "the index has a tag of its own that never moves"
    assert server.dangling() == []
    server.forget_requests()
    machine.push(images, "v1")
    assert [(s.method, s.status) for s in server.requests] == [("HEAD", 200)] * 4


def test_a_tag_that_would_name_two_images_is_refused_before_anything_is_asked(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    common = replace(machine.settings, repository="{registry}/all")
    with pytest.raises(InputError, match="`v1` would name the images of low and top"):
        machine.push(pair, "v1", settings=common)
    assert server.requests == []
    low, top = machine.push(pair, settings=common)
    assert low.reference.startswith(f"{server.host}/team/all@")
    assert set(tags(server, "team/all").values()) == {low.digest, top.digest}
    assert low.uploaded + top.uploaded == server.bytes_in("session") + server.bytes_in("manifest") // 2


def test_a_tag_moves_and_the_one_of_a_derivation_does_not(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    [low] = machine.push(pair[:1], "v1")
    other = replace(pair[1], environment="low")
    [moved] = machine.push([other], "v1")
    assert tags(server, "team/low")["v1"] == moved.digest
    assert any("was " + low.digest in note for note in machine.said.notes)
    server.repository("team/low").tags[derivation_tag(pair[0].hash)] = moved.digest
    [again] = machine.push(pair[:1])
    assert again.digest == low.digest
    assert tags(server, "team/low")[derivation_tag(pair[0].hash)] == moved.digest
    assert len(machine.said.warnings) == 1
    assert moved.digest in machine.said.warnings[0]


@pytest.mark.parametrize("cached", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_wherever_a_push_is_cut_off_no_tag_leads_to_something_incomplete(
    server: RegistryServer, wheels: Path, tmp_path: Path, cached: bool
) -> None:
    alpha, beta = wheel_layer(wheels, "alpha"), wheel_layer(wheels, "beta")
    pair = [image_of("low", [alpha]), image_of("top", [alpha, beta])]
    Machine(tmp_path / "store", server, wheels, cached=False).build(pair)
    left = [1000]
    plain = server.fault

    def fault(method: str, kind: str, path: str) -> Fault:
        left[0] -= 1
        return plain(method, kind, path) if left[0] >= 0 else Fault(lost="before")

    server.fault = fault  # type: ignore[method-assign]
    for number in range(1000):
        server.repositories.clear()
        server.blobs.clear()
        left[0] = number
        machine = Machine(tmp_path / "store", server, wheels, cached=cached)
        try:
            pushed = machine.push(pair, "v1")
        except RegistryError:
            pushed = []
        assert server.dangling() == [], f"cut off at request {number}"
        assert [tags(server, f"team/{p.environment}")["v1"] for p in pushed] == [p.digest for p in pushed]
        if left[0] >= 0:
            break
        assert cached or not pushed
        assert not pushed or machine.said.warnings, "a cache that was not written is said"
    assert number > (40 if cached else 20)


class Interrupting(Recorder):
    """Ctrl-C when some bytes have travelled."""

    @contextmanager
    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> Iterator[Progress]:
        with super().work(title, total, unit=unit) as plain:
            yield _Bar(plain) if title == "push" else plain


class _Bar:
    def __init__(self, plain: Progress) -> None:
        self.plain = plain

    def advance(self, amount: int = 1) -> None:
        raise KeyboardInterrupt

    def total(self, total: int) -> None:
        self.plain.total(total)


def test_an_interrupt_leaves_no_tag_and_a_store_to_go_on_from(
    server: RegistryServer, pair: list[ImageDerivation], wheels: Path, tmp_path: Path
) -> None:
    machine = Machine(tmp_path / "store", server, wheels, said=Interrupting())
    with pytest.raises(KeyboardInterrupt):
        machine.push(pair, "v1")
    assert [r.tags for r in server.repositories.values() if r.tags] == []
    assert list(machine.store.tmp.glob("session-*")) == []
    again = Machine(tmp_path / "store", server, wheels)
    again.push(pair, "v1")
    assert server.dangling() == []


@pytest.mark.parametrize(
    ("method", "kind"), [("HEAD", "manifest"), ("HEAD", "blob"), ("PUT", "session"), ("PUT", "manifest")]
)
def test_a_registry_that_refuses_is_an_error_and_nothing_is_named(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation], method: str, kind: str
) -> None:
    server.fail(method, kind, status=403, times=99)
    with pytest.raises(RegistryError, match=f"{method} .*: 403"):
        machine.push(pair, "v1")
    assert [r.tags for r in server.repositories.values() if r.tags] == []


IMMUTABLE = json.dumps({"errors": [{"code": "TAG_INVALID", "message": "the tag is immutable"}]}).encode()


@pytest.mark.parametrize("status", [400, 409, 412])
def test_a_tag_that_nobody_may_change_is_well_where_it_names_the_image(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation], status: int
) -> None:
    machine.push(pair[:1], "v1")
    # Between the question and the tag somebody else was as fast.
    server.fail("HEAD", "manifest", status=404, match="/v1")
    server.fail("PUT", "manifest", status=status, body=IMMUTABLE, match="/v1")
    (low,) = machine.push(pair[:1], "v1")
    assert tags(server, "team/low")["v1"] == low.digest


def test_a_tag_that_nobody_may_change_names_another_image(
    machine: Machine, server: RegistryServer, pair: list[ImageDerivation]
) -> None:
    (low,) = machine.push(pair[:1], "v1")
    moved = image_of("low", [*pair[0].layers[:1]])
    server.fail("PUT", "manifest", status=400, body=IMMUTABLE, match="/v1")
    with pytest.raises(RegistryError, match=rf"/team/low:v1 names {low.digest}, and the registry lets nobody") as e:
        machine.push([moved], "v1")
    assert e.value.hint == "give another --tag, or none: images are named by their digests"
    assert tags(server, "team/low")["v1"] == low.digest


def test_names_of_repositories_are_within_their_grammar() -> None:
    assert repository_name("fold_env") == "fold_env"
    assert repository_name("Fold.Env") == "fold.env"
    assert repository_name("a b") != repository_name("a-b")
    assert repository_name("ümlaut").startswith("mlaut-")
    assert repository_name("___").startswith("image-")


def test_a_target_says_what_is_missing() -> None:
    registry: object = None
    with pytest.raises(InputError, match="no registry to push to") as told:
        Target.of(Settings(), registry)  # type: ignore[arg-type]
    assert told.value.hint is not None
    assert "[tool.flyte-build]" in told.value.hint
    with pytest.raises(InputError, match=r"found `\{registry\}/\{task\}`"):
        Target.of(Settings(registry="mirror.example/x", repository="{registry}/{task}"), registry)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is no tag"):
        Target.of(Settings(registry="mirror.example/x"), registry, ("no tag",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mirror.example/x:v1", "without a tag"),
        (f"mirror.example/x@sha256:{'0' * 64}", "without a tag"),
        ("https://mirror.example/x", "leave out the scheme"),
        ("mirror.example/Team", "None"),
        ("mirror.example:5000//x", "None"),
    ],
)
def test_what_is_no_registry_is_shown_as_it_was_given(text: str, hint: str) -> None:
    for template in ("{registry}", "{registry}/{environment}"):
        with pytest.raises(InputError, match=f"found `{re.escape(text)}`$") as told:
            Target.of(Settings(registry=text, repository=template), None)  # type: ignore[arg-type]
        assert hint in str(told.value.hint)


def test_a_slash_at_the_end_of_a_registry_says_nothing() -> None:
    target = Target.of(Settings(registry="mirror.example:5000/x/"), None)  # type: ignore[arg-type]
    assert str(target.repository("env")) == "mirror.example:5000/x/env"
    assert registry_host("mirror.example:5000/") == registry_host("mirror.example:5000") == "mirror.example:5000"
