"""Bundles that nobody should take: cut off, damaged, hostile, of another time. The store and the locks stay valid."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte_build.delivery import tarball
from flyte_build.delivery.format import INDEX, KIND, LIMIT, SCHEMA, parse_index
from flyte_build.kernel.errors import ArtifactError, FlyteBuildError, InputError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from tests.support.bundles import Site, pack, unpack
from tests.support.images import files_layer, image_of

from .conftest import refused

# -- damage ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A bundle of next to nothing, for tests of every byte."""
    folder = tmp_path_factory.mktemp("small")
    image = image_of("env", [files_layer(folder / "files", {"home/flyte/x": b"x"})])
    return Site(Store(folder / "store"), folder / "files", [image]).bundle(folder / "x").path.read_bytes()


def taken_bytes(data: bytes) -> FlyteBuildError:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.fbundle")
        path.write_bytes(data)
        return refused(Store(Path(folder, "store")), path, Path(folder, "lockfiles"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_bundle_that_was_cut_off_is_refused(small: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(small) - 1))
    error = taken_bytes(small[:at])
    assert isinstance(error, ArtifactError if at >= 512 else InputError)
    assert at < 512 or f"it ends after {at} bytes, in " in error.message


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 255))
def test_no_byte_can_be_another(small: bytes, data: st.DataObject, change: int) -> None:
    at = data.draw(st.integers(0, len(small) - 1))
    taken_bytes(small[:at] + bytes([small[at] ^ change]) + small[at + 1 :])


@pytest.mark.parametrize("more", [b"\0", b"x", bytes(512)])
def test_nothing_may_follow_the_end(small: bytes, more: bytes) -> None:
    assert "expected its end after" in taken_bytes(small + more).message


def test_what_is_no_bundle_is_said_to_be_none(there: Store, site: Site, tmp_path: Path) -> None:
    from flyte_build.delivery.archive import write_archive

    archive = write_archive(site.store, site.built, tmp_path / "images.tar", Silent(), docker=True)
    (tmp_path / "text").write_text("hello\n" * 1000)
    (tmp_path / "empty").touch()
    for path in (archive, tmp_path / "text", tmp_path / "empty"):
        error = refused(there, path, tmp_path / "lockfiles")
        assert isinstance(error, InputError)
        assert f"{path.name}: expected a bundle, which begins with index.json" in error.message
    error = refused(there, tmp_path / "nothing", tmp_path / "lockfiles")
    assert "nothing: cannot be read: No such file or directory" in error.message
    error = refused(there, tmp_path, tmp_path / "lockfiles")
    assert isinstance(error, InputError)


# -- an index that lies ------------------------------------------------------------------------------


def change_index(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the bundle anew with an index that says something else."""
    index, held = unpack(path)
    raw = json.loads(index.to_bytes())
    change(raw)
    pack(path, index.images, held, json.dumps(raw).encode())


def _entry(raw: dict[str, Any], number: int, **fields: Any) -> None:
    raw["entries"][number].update(fields)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "traversal": (lambda r: _entry(r, 0, path="locks/../../etc/passwd.json"), "the path of a lock"),
    "absolute": (lambda r: _entry(r, 0, path="/etc/passwd"), "the path of a lock"),
    "hidden": (lambda r: _entry(r, 0, path="locks/.json"), "the path of a lock"),
    "dots": (lambda r: _entry(r, -1, path="blobs/.."), "the path of a lock"),
    "other folder": (lambda r: _entry(r, -1, path="realisations/" + "0" * 64), "the path of a lock"),
    "control character": (lambda r: _entry(r, 0, path="locks/a\nb.json"), "the path of a lock"),
    "no path": (lambda r: r["entries"][0].pop("path"), "the path of a lock"),
    "another hash": (lambda r: _entry(r, -1, sha256="0" * 64), "expected SHA-256"),
    "no hash": (lambda r: _entry(r, 0, sha256="0" * 63), "a SHA-256 in hex"),
    "negative size": (lambda r: _entry(r, -1, size=-1), "a size in bytes"),
    "size of another kind": (lambda r: _entry(r, -1, size=True), "a size in bytes"),
    "large lock": (lambda r: _entry(r, 0, size=LIMIT + 1), "a size in bytes"),
    "twice": (lambda r: r["entries"].insert(0, r["entries"][0]), "every entry once"),
    "order": (lambda r: r["entries"].reverse(), "entries in their order"),
    "no entries": (lambda r: r.update(entries=[]), "entries to be a list"),
    "no images": (lambda r: r.update(images={}), "images to be a list"),
    "image twice": (lambda r: r["images"].append(r["images"][0]), "one image for an environment"),
    "no lock": (lambda r: r["entries"].pop(0), "the entry locks/one.json"),
    "no derivation": (lambda r: r["entries"].pop(2), "the entry derivations/"),
    "no manifest": (lambda r: r["images"][0].update(manifest="sha256:" + "0" * 64), "the entry blobs/0"),
    "environment": (lambda r: r["images"][0].update(environment="../x"), "an environment's name"),
    "platform": (lambda r: r["images"][0].update(platform="linux"), "a platform"),
    "derivation": (lambda r: r["images"][0].update(derivation="../../x"), "a digest"),
    "an unknown key": (lambda r: r.update(more=1), "expected no keys but kind, schema, images, entries, found 'more'"),
    "a manifest under another name": (
        lambda r: r["images"][0].update(lanifest=r["images"][0].pop("manifest")),
        "expected no keys but environment, platform, derivation, manifest, found 'lanifest'",
    ),
    "an entry's unknown key": (
        lambda r: r["entries"][0].update(mode=3),
        "no keys but path, size, sha256, found 'mode'",
    ),
    "a row that is none": (lambda r: r["images"].append(3), "an environment's name"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_index_that_cannot_be(good: Path, there: Store, tmp_path: Path, case: str) -> None:
    change, expected = HOSTILE[case]
    change_index(good, change)
    error = refused(there, good, tmp_path / "lockfiles")
    assert isinstance(error, ArtifactError)
    assert f"{INDEX}: expected {expected}" in error.message or f"{INDEX}: {expected}" in error.message
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["good.fbundle"]


def test_a_bundle_of_the_future_is_for_its_own_time(good: Path, there: Store, tmp_path: Path) -> None:
    change_index(good, lambda raw: raw.update(schema=SCHEMA + 1, images="a new form"))
    error = refused(there, good, tmp_path / "lockfiles")
    assert isinstance(error, InputError)
    assert f"expected a bundle of schema {SCHEMA}, found {SCHEMA + 1}" in error.message
    change_index_to = json.dumps({"kind": "thesis", "schema": 1}).encode()
    good.write_bytes(b"".join(tarball.stream([tarball.member(INDEX, change_index_to)])))
    assert "without a bundle's index.json" in refused(there, good, tmp_path / "lockfiles").message
    good.write_bytes(b"".join(tarball.stream([tarball.member(INDEX, b"[" * 100_000)])))
    assert isinstance(refused(there, good, tmp_path / "lockfiles"), InputError)


def test_an_index_of_any_size_is_not_read(there: Store, tmp_path: Path) -> None:
    path = tmp_path / "x.fbundle"
    path.write_bytes(tarball.head(INDEX, LIMIT + 1) + bytes(4096))
    assert f"expected at most {LIMIT} bytes" in refused(there, path, tmp_path / "lockfiles").message


_keys = st.sampled_from(["kind", "schema", "images", "entries", "path", "size", "sha256", "environment"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(_keys, _values, max_size=4) | st.binary(max_size=200))
def test_no_index_is_a_surprise(said: dict[str, object] | bytes) -> None:
    data = said if isinstance(said, bytes) else json.dumps({"kind": KIND, "schema": 1, **said}).encode()
    with pytest.raises((InputError, ArtifactError)):
        parse_index(data, "x")


# -- a tar that lies ---------------------------------------------------------------------------------


def _replace_header(path: Path, entry: str, info: tarfile.TarInfo) -> None:
    data = path.read_bytes()
    index, _ = unpack(path)
    size = next(e.size for e in index.entries if e.path == entry)
    before = tarball.head(entry, size)
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, info.tobuf(tarfile.USTAR_FORMAT)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.DIRTYPE, "a folder"),
        (tarfile.CHRTYPE, "with another"),
    ],
)
def test_nothing_but_files(good: Path, there: Store, tmp_path: Path, kind: bytes, said: str) -> None:
    info = tarfile.TarInfo("locks/one.json")
    info.type, info.linkname = kind, "/etc/passwd"
    _replace_header(good, "locks/one.json", info)
    error = refused(there, good, tmp_path / "lockfiles")
    assert isinstance(error, ArtifactError)
    assert "expected the file locks/one.json" in error.message
    assert said in error.message


def test_a_header_that_says_something_else_than_the_index(good: Path, there: Store, tmp_path: Path) -> None:
    info = tarfile.TarInfo("../../etc/passwd")
    info.size, info.mode, info.mtime = len(unpack(good)[1]["locks/one.json"]), 0o644, 315532800
    _replace_header(good, "locks/one.json", info)
    assert "found `../../etc/passwd`" in refused(there, good, tmp_path / "lockfiles").message


def test_another_tars_form_is_not_taken(good: Path, there: Store, tmp_path: Path) -> None:
    """Repacked by another program: all the same files, and not the same bytes."""
    index, held = unpack(good)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in {INDEX: index.to_bytes(), **held}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    good.write_bytes(out.getvalue())
    assert isinstance(refused(there, good, tmp_path / "lockfiles"), InputError)
