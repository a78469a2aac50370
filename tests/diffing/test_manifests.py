"""Where two images that should be one differ first: every sort of change by hand, each named as what it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.building.building import build
from flyte_build.building.comparing import StoreHolder
from flyte_build.diffing.manifests import Divergence, first_differences
from flyte_build.kernel.errors import ArtifactError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from tests.support.images import FolderLocator, files_layer, image_of
from tests.support.tampering import Member, tampered

FILES = {"home/flyte/a.txt": b"a\n", "home/flyte/b.txt": b"b\n", "home/flyte/c.txt": b"c\n"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def manifest(store: Store, tmp_path: Path) -> str:
    """An image of two layers, three files in the second."""
    folder = tmp_path / "files"
    image = image_of("env", [files_layer(folder, {"etc/x": b"x"}, "copy etc"), files_layer(folder, FILES)])
    [built] = build([image], store, locator=FolderLocator(folder), reporter=Silent())
    return built.manifest_digest


def causes(store: Store, expected: str, found: str) -> list[Divergence]:
    holder = StoreHolder(store)
    documents = [json.loads(store.blob_path(d).read_bytes()) for d in (expected, found)]
    return first_differences(documents[0], holder, documents[1], holder)


def member(members: list[Member], path: str) -> Member:
    return next(m for m in members if m.info.name == path)


def mode(members: list[Member]) -> None:
    member(members, "home/flyte/b.txt").info.mode = 0o755


def content(members: list[Member]) -> None:
    member(members, "home/flyte/b.txt").data = b"B\n"


def longer(members: list[Member]) -> None:
    member(members, "home/flyte/b.txt").data = b"b\n\n"


def missing(members: list[Member]) -> None:
    members.remove(member(members, "home/flyte/b.txt"))


def extra(members: list[Member]) -> None:
    found = member(members, "home/flyte/a.txt")
    info = copy.deepcopy(found.info)
    info.name = "home/flyte/aa.txt"
    members.insert(members.index(found) + 1, Member(info, b"hello"))


def owner(members: list[Member]) -> None:
    member(members, "home/flyte/c.txt").info.uid = 0


def link(members: list[Member]) -> None:
    found = member(members, "home/flyte/a.txt")
    found.info.type, found.info.linkname, found.data = b"2", "b.txt", b""


def order(members: list[Member]) -> None:
    members.reverse()


def date(members: list[Member]) -> None:
    member(members, "home/flyte/b.txt").info.mtime = 1


CHANGES: dict[str, tuple[Callable[[list[Member]], None], str, str]] = {
    "mode": (mode, "home/flyte/b.txt", "mode: expected 0755, found 0644"),
    "content": (content, "home/flyte/b.txt", "content: expected SHA-256 "),
    "size": (longer, "home/flyte/b.txt", "size: expected 3, found 2; content: expected SHA-256 "),
    "missing there": (missing, "home/flyte/b.txt", "found a file of 2 bytes, expected nothing"),
    "extra there": (extra, "home/flyte/aa.txt", "missing; expected a file of 5 bytes"),
    "owner": (owner, "home/flyte/c.txt", "owner: expected 0:1000, found 1000:1000"),
    "kind": (link, "home/flyte/a.txt", "expected a symlink to `b.txt`, found a file of 2 bytes"),
    "order": (order, "home/flyte/a.txt", "order: expected `home/flyte/c.txt` before it"),
    "date": (date, "home/flyte/b.txt", "tar header, mtime: expected 1, found 315532800"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_layer_changed_by_hand_is_named_with_the_path_and_what_differs(
    store: Store, manifest: str, name: str
) -> None:
    change, path, what = CHANGES[name]
    [cause] = causes(store, tampered(store, manifest, 1, change), manifest)
    assert (cause.part, cause.layer, cause.title, cause.path) == ("layer", 2, "copy src", path)
    assert cause.what.startswith(what), cause.what
    assert str(cause).startswith(f"layer 2 (`copy src`): `{path}`: ")


def test_the_first_of_several_layers_is_named_and_the_others_are_counted(store: Store, manifest: str) -> None:
    def touch(members: list[Member]) -> None:
        members[0].info.mode = 0o600

    expected = tampered(store, tampered(store, manifest, 1, mode), 0, touch)
    [cause] = causes(store, expected, manifest)
    assert (cause.layer, cause.path) == (1, "etc/x")
    assert cause.what == "mode: expected 0600, found 0644; 1 more layer after it"


def test_the_same_tar_compressed_otherwise(store: Store, manifest: str) -> None:
    [cause] = causes(store, tampered(store, manifest, 1, recompress=True), manifest)
    assert str(cause) == "layer 2 (`copy src`): the same files, compressed otherwise"


def test_a_layer_more_or_less(store: Store, manifest: str, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    shorter = image_of("env", [files_layer(folder, {"etc/x": b"x"}, "copy etc")])
    [built] = build([shorter], store, locator=FolderLocator(folder), reporter=Silent())
    first, *rest = causes(store, manifest, built.manifest_digest)
    assert str(first) == "layer 2 (`copy src`): expected 2 layers, found 1"
    assert [c.part for c in rest] == ["config"], "the history is another one, too"
    assert causes(store, built.manifest_digest, manifest)[0].what == "expected 1 layers, found 2"


def env(settings: dict[str, Any]) -> None:
    settings["config"]["Env"].append("DEBUG=1")


def user(settings: dict[str, Any]) -> None:
    settings["config"]["User"] = "root"
    settings["created"] = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("change", "path", "what"),
    [
        (env, "config.Env[1]", 'expected "DEBUG=1", found nothing'),
        (user, "config.User", 'expected "root", found "flyte"; 1 more setting'),
    ],
)
def test_a_configuration_changed_by_hand(
    store: Store, manifest: str, change: Callable[[dict[str, Any]], None], path: str, what: str
) -> None:
    [cause] = causes(store, tampered(store, manifest, config=change), manifest)
    assert (cause.part, cause.path, cause.what) == ("config", path, what)
    both = causes(store, tampered(store, manifest, 1, mode, config=change), manifest)
    assert [c.part for c in both] == ["layer", "config"], "a list of other layers is no difference of its own"


def test_a_configuration_that_lists_other_layers_than_there_are(store: Store, manifest: str) -> None:
    def wrong(settings: dict[str, Any]) -> None:
        settings["rootfs"]["diff_ids"][0] = "sha256:" + "0" * 64

    [cause] = causes(store, tampered(store, manifest, config=wrong), manifest)
    assert (cause.part, cause.path) == ("config", "rootfs.diff_ids[0]")


def test_what_is_not_here_is_said_to_be_so(store: Store, manifest: str) -> None:
    expected = tampered(store, manifest, 1, mode)
    row = json.loads(store.blob_path(expected).read_bytes())["layers"][1]
    store.blob_path(row["digest"]).unlink()
    [cause] = causes(store, expected, manifest)
    assert cause.path is None
    assert cause.what.endswith("the expected one is not here to look into")


def test_a_blob_that_is_not_what_its_name_says(store: Store, manifest: str) -> None:
    expected = tampered(store, manifest, 1, mode)
    row = json.loads(store.blob_path(expected).read_bytes())["layers"][1]
    path = store.blob_path(row["digest"])
    path.chmod(0o644)
    other = json.loads(store.blob_path(manifest).read_bytes())["layers"][1]
    data = store.blob_path(other["digest"]).read_bytes()
    path.write_bytes(data + b"\0" * (row["size"] - len(data)) if len(data) < row["size"] else data[: row["size"]])
    [cause] = causes(store, expected, manifest)
    assert cause.path is None
    assert str(path) in cause.what


def test_something_that_is_no_image_is_refused(store: Store, manifest: str) -> None:
    holder = StoreHolder(store)
    document = json.loads(store.blob_path(manifest).read_bytes())
    with pytest.raises(ArtifactError, match="expected an image manifest"):
        first_differences({"schemaVersion": 2, "manifests": []}, holder, document, holder)


def test_equal_images_have_no_difference(store: Store, manifest: str) -> None:
    assert causes(store, manifest, manifest) == []
