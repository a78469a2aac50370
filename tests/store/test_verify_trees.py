"""``store verify`` and ``store gc`` on unpacked images: all is hashed, what is damaged is named and moved aside."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest

from flyte_build.kernel.errors import ArtifactError
from flyte_build.kernel.reporting import Recorder
from flyte_build.store import Store
from flyte_build.store.seal_files import find_listing
from flyte_build.submit.roots import Roots
from tests.submit.oci import Made, image

from .conftest import Built

ENTRIES = [
    Made("bin/python3", b"#!python", 0o755),
    Made("lib/code.py", b"good = 1\n"),
    Made("lib/alias", link="code.py"),
]


def unpacked(store: Store, *more: Made) -> str:
    digest = image(store.blobs, [ENTRIES, [Made("top", b"top"), *more]], env=("PATH=/bin",))
    Roots(store.root, store.blobs).get(digest)
    return digest[7:]


def edit(path: Path) -> None:
    """In place, with the date that it had."""
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"o", b"0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_unpacked_images_that_are_whole(tmp_path: Path) -> None:
    store, reporter = Store(tmp_path), Recorder()
    unpacked(store)
    report = store.verify(reporter)
    assert report.ok
    assert report.trees == 3
    assert "verify unpacked images" in reporter.titles


def test_a_seal_says_what_was_unpacked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    unpacked(store)
    (layer,) = (p for p in store.layers.iterdir() if (p / "lib").is_dir())
    listing = find_listing(layer)
    assert listing is not None
    assert (listing.of, listing.layers) == (f"sha256:{layer.name}", ())
    header, *lines = zlib.decompress(layer.with_name(f"{layer.name}.seal").read_bytes()).decode().split("\n")
    assert json.loads(header) == {"schema": 1, "of": f"sha256:{layer.name}", "layers": []}
    assert [line.replace("\0", " | ") for line in lines if not line.startswith("/")] == [
        "bin/ | 40755",
        "lib/ | 40755",
        "lib/alias | 120777 -> code.py",
        "lib/code.py | 100644 9 b1f1896a89a0dde368a30807d3668755cf7bb3b914b5f9be10f930a96436e508",
        "bin/python3 | 100755 8 db7cf5c652d7b424381b7d94bf52f6e58b5984d7119c27f20d78bc39fb4cc401",
    ]


def test_a_file_that_rotted_is_found_wherever_it_is_linked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = unpacked(store)
    edit(store.roots / name / "lib/code.py")
    findings = store.verify().findings
    assert [f.path.parent.name for f in findings] == ["layers", "roots"]
    for finding in findings:
        assert "not as it was sealed: lib/code.py: expected a file with mode 0644, 9 bytes, SHA-256 " in finding.problem
        assert finding.moved is not None
        assert finding.moved.parent == store.corrupt
        assert not finding.path.exists()
        assert not list(finding.path.parent.glob(f"{finding.path.name}*"))
    assert store.verify().ok
    assert unpacked(store) == name
    assert (store.roots / name / "lib/code.py").read_bytes() == b"good = 1\n"
    assert store.verify().ok


def test_the_first_differences_are_told_and_the_others_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = unpacked(store)
    for number in range(5):
        (store.roots / name / f"more{number}").write_bytes(b"")
    [finding] = store.verify().findings
    assert "more0: expected nothing, found a file with mode 0" in finding.problem
    assert finding.problem.endswith("; and 2 more")


def test_a_root_in_use_is_named_and_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = unpacked(store)
    run = Roots(store.root, store.blobs)
    root = run.get(f"sha256:{name}").root
    (root / "more").write_bytes(b"")
    [finding] = store.verify().findings
    assert finding.problem.endswith("; left, as a run is using it")
    assert (finding.moved, root.is_dir()) == (None, True)
    del run
    [finding] = store.verify().findings
    assert finding.moved is not None


def test_what_is_half_made_is_no_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ArtifactError):
        unpacked(store, Made("../evil", b""))
    (store.roots / f"{'0' * 64}.partial").mkdir()
    (store.layers / f"{'1' * 64}.partial").mkdir()
    name = unpacked(store)
    (store.roots / f"{name}.json").unlink()  # the first thing that goes, and nobody enters what has none
    (store.roots / name / "lib/code.py").unlink()
    report = store.verify()
    assert (report.ok, report.trees) == (True, 2)


def test_gc_takes_seals_and_layers_with_their_images(filled: Built) -> None:
    store = filled.store
    used, name = unpacked(store), unpacked(store, Made("other", b""))
    index = store.index()
    kept = {"digest": f"sha256:{used}", "size": 1, "annotations": {"org.opencontainers.image.ref.name": "theirs"}}
    (store.oci / "index.json").write_text(json.dumps({**index, "manifests": [*index["manifests"], kept]}))
    assert len(list(store.layers.iterdir())) == 3 * 4
    (store.roots / f"{'0' * 64}.json").write_text("{}")
    (store.roots / f"{'0' * 64}.partial").mkdir()
    (store.layers / f"{'1' * 64}.cpython-311").mkdir()
    store.gc()
    assert {p.name.partition(".")[0] for p in store.roots.iterdir()} == {used}
    assert name not in {p.name for p in store.roots.iterdir()}
    assert len([p for p in store.layers.iterdir() if p.is_dir()]) == 2
    assert len(list(store.layers.iterdir())) == 2 * 4
    assert store.verify().ok
