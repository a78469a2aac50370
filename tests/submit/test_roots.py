"""Images as root file systems."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flyte_build.kernel.errors import ArtifactError, StoreError
from flyte_build.kernel.reporting import Recorder
from flyte_build.submit.roots import Roots

from .oci import Made, image

PYTHON = [Made("usr/bin/python3", b"#!python", 0o755), Made("bin", link="usr/bin")]
ENV = ("PATH=/opt/none:/bin", "A=b=c")


def test_an_image_becomes_a_root_with_every_mount_point(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    layers = [
        [*PYTHON, Made("etc/passwd", b"root:x:0:0::/root:/bin/sh"), Made("etc/resolv.conf", link="/run/resolv")],
        [Made("tmp", link="/etc"), Made("home/flyte/data", b"x")],
    ]
    digest = image(blobs, layers, env=ENV, workdir="/app")
    root = Roots(tmp_path, blobs).get(digest)
    assert (root.digest, root.env, root.workdir, root.python) == (digest, ENV, "/app", "/bin/python3")
    assert root.root == tmp_path / "roots" / digest.removeprefix("sha256:")
    for name in ("proc", "dev", "run", "tmp", "var/tmp", "home/flyte", "mnt/flyte", "etc/flyte/secrets"):
        assert (root.root / name).is_dir()
        assert not (root.root / name).is_symlink()
    assert (root.root / "etc/resolv.conf").is_file()
    assert not (root.root / "etc/resolv.conf").is_symlink()
    assert (root.root / "etc/passwd").read_text().splitlines() == [
        "root:x:0:0::/root:/bin/sh",
        "flyte:x:1000:1000:flyte:/home/flyte:/bin/sh",
    ]
    # The layer that other images share has none of this.
    shared = list((tmp_path / "layers").glob("*/etc/passwd"))
    assert [p.read_text() for p in shared] == ["root:x:0:0::/root:/bin/sh"]


def test_images_share_the_files_of_their_layers(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    roots = Roots(tmp_path, blobs)
    one = roots.get(image(blobs, [PYTHON, [Made("one", b"1")]], env=ENV))
    two = roots.get(image(blobs, [PYTHON, [Made("two", b"2")]], env=ENV))
    assert (one.root / "usr/bin/python3").samefile(two.root / "usr/bin/python3")
    assert len([p for p in (tmp_path / "layers").iterdir() if p.is_dir()]) == 3


def test_many_at_once_make_it_once(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    digest = image(blobs, [PYTHON, [Made(f"f{i}", b"x") for i in range(200)]], env=ENV)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: Roots(tmp_path, blobs).get(digest).root, range(8)))
    assert len(found) == 1
    assert len(list(found.pop().glob("f*"))) == 200


def test_what_a_crash_left_is_swept_and_made_anew(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    digest = image(blobs, [PYTHON], env=ENV)
    for leftover in (f"roots/{digest[7:]}.partial", f"roots/{'0' * 64}.partial", f"layers/{'1' * 64}.partial"):
        (tmp_path / leftover / "half").mkdir(parents=True)
    (tmp_path / "layers" / ("2" * 64)).mkdir()  # of an image that is gone
    root = Roots(tmp_path, blobs).get(digest)
    assert not (root.root / "half").exists()
    # Layers are spared while any root is partial, so the second image sweeps what the first one could not.
    Roots(tmp_path, blobs).get(image(blobs, [PYTHON, [Made("x", b"")]], env=ENV))
    assert not list((tmp_path / "roots").glob("*.partial"))
    names = {p.name for p in (tmp_path / "layers").iterdir() if p.is_dir()}
    assert not names & {"1" * 64 + ".partial", "2" * 64}
    assert len(names) == 2


def test_a_failed_unpacking_leaves_nothing(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    digest = image(blobs, [PYTHON, [Made("../evil", b"x")]], env=ENV)
    with pytest.raises(ArtifactError, match="leads out of the image"):
        Roots(tmp_path, blobs).get(digest)
    assert list((tmp_path / "roots").iterdir()) == []


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_a_flipped_blob_is_moved_aside_before_anything_is_unpacked(tmp_path: Path, part: str) -> None:
    blobs = tmp_path / "oci" / "blobs" / "sha256"
    digest = image(blobs, [PYTHON], env=ENV)
    manifest = json.loads((blobs / digest[7:]).read_bytes())
    named = {"manifest": digest, "config": manifest["config"]["digest"], "layer": manifest["layers"][0]["digest"]}
    bad = blobs / named[part][7:]
    data = bad.read_bytes()
    bad.write_bytes(data.replace(b"a", b"b", 1) if part != "layer" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreError, match=f"damaged: expected SHA-256 {bad.name}") as e:
        Roots(tmp_path, blobs).get(digest)
    assert "run this again" in str(e.value.hint)
    assert not bad.exists()
    assert [p.name for p in (tmp_path / "corrupt").iterdir()] == [f"oci-blobs-sha256-{bad.name}.1"]
    assert list(tmp_path.glob("roots/*")) == []
    bad.write_bytes(data)
    assert Roots(tmp_path, blobs).get(digest).root.is_dir()


def test_missing_blobs_and_images_without_python_are_named(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    with pytest.raises(StoreError, match="the store has no blob sha256:aa"):
        Roots(tmp_path, blobs).get("sha256:" + "a" * 64)
    digest = image(blobs, [[Made("bin/sh", b"", 0o755)]], env=ENV)
    with pytest.raises(ArtifactError, match="has no Python in its PATH"):
        Roots(tmp_path, blobs).get(digest)


def test_roots_are_made_beside_what_a_block_does(tmp_path: Path) -> None:
    """What hinders one is said to whoever asks for it; nothing of it goes on after the block."""
    blobs = tmp_path / "blobs"
    good = [image(blobs, [PYTHON, [Made(f"f{i}", b"x")]], env=ENV) for i in range(2)]
    roots, missing = Roots(tmp_path, blobs), "sha256:" + "a" * 64
    assert not roots.there(good[0])
    with roots.ahead([missing, *good]):
        for thread in threading.enumerate():
            if thread.name == "roots":
                thread.join()
        assert all(map(roots.there, good))
        with pytest.raises(StoreError, match="has no blob"):
            roots.get(missing)
    with pytest.raises(ZeroDivisionError), Roots(tmp_path, blobs).ahead(good):
        _ = 1 / 0
    assert not any(thread.name == "roots" for thread in threading.enumerate())


def test_who_waits_for_what_is_made_beside_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.submit.roots._MOMENT", 0.0)
    told = threading.Event()

    class Waiting(Recorder):
        def note(self, message: str) -> None:
            super().note(message)
            told.set()

    reporter = Waiting()
    roots = Roots(tmp_path, tmp_path / "blobs", reporter=reporter)
    monkeypatch.setattr(roots, "get", lambda digest: told.wait(60))
    with roots.ahead(["sha256:" + "a" * 64]):
        pass
    assert reporter.notes == [f"unpacking image {'a' * 12} for the next run: a moment"]
