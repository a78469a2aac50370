"""Layers that a root is made of as soon as they are unpacked: not looked at once more, and no less sealed for that."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from flyte_build.kernel.errors import ArtifactError, StoreError
from flyte_build.kernel.reporting import Recorder
from flyte_build.store.seal_files import lies
from flyte_build.store.sealed import Examiner
from flyte_build.submit import roots as roots_module
from flyte_build.submit.layers import Layers, Unpacked
from flyte_build.submit.roots import Roots

from .oci import Made, image

ENV = ("PATH=/bin",)
PYTHON = [Made("bin/python3", b"#!python", 0o755)]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are looked at, by the name of the one above and whether their files are hashed."""
    found: list[str] = []
    look = Examiner.look

    def looked(examiner: Examiner, tree: Path, *more: object, full: bool = False, **others: object) -> object:
        found.append(f"{tree.parent.name}{' full' if full else ''}")
        return look(examiner, tree, *more, full=full, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(Examiner, "look", looked)
    return found


def test_a_layer_is_looked_at_by_the_second_root_that_has_it(tmp_path: Path, looks: list[str]) -> None:
    blobs = tmp_path / "blobs"
    one = image(blobs, [PYTHON, [Made("lib/one.py", b"1\n")]], env=ENV)
    two = image(blobs, [PYTHON, [Made("lib/two.py", b"2\n")]], env=ENV)
    roots = Roots(tmp_path, blobs)
    roots.get(one)
    assert looks == []
    roots.get(two)
    assert looks == ["layers"]


def test_who_wants_every_file_hashed_has_it_of_fresh_layers_too(tmp_path: Path, looks: list[str]) -> None:
    digest = image(tmp_path / "blobs", [PYTHON, [Made("lib/one.py", b"1\n")]], env=ENV)
    Roots(tmp_path, tmp_path / "blobs", full=True).get(digest)
    assert looks == ["layers full"] * 2


def test_what_is_changed_between_unpacking_and_merging_is_found_before_the_root_is_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = image(tmp_path / "blobs", [PYTHON, [Made("lib/one.py", b"good = 1\n")]], env=ENV)
    merge = roots_module.merge

    def spoiled(layer: Path, root: Path) -> None:
        for path in layer.rglob("one.py"):
            path.chmod(0o644)
            path.write_bytes(b"evil = 1\n")
        merge(layer, root)

    monkeypatch.setattr(roots_module, "merge", spoiled)
    Roots(tmp_path, tmp_path / "blobs").get(digest)
    monkeypatch.undo()
    said = Recorder()
    root = Roots(tmp_path, tmp_path / "blobs", reporter=said).get(digest).root
    assert (root / "lib/one.py").read_bytes() == b"good = 1\n"
    assert [line.partition(":")[0][:5] for line in said.warnings] == ["image", "layer"]


def test_a_layer_that_is_made_again_meanwhile_is_not_the_fresh_one(
    tmp_path: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = image(tmp_path / "blobs", [PYTHON], env=ENV)
    make = Layers._make

    def and_again(layers: Layers, *given: object) -> Unpacked:
        fresh = make(layers, *given)  # type: ignore[arg-type]
        return Unpacked(fresh.folder, f"sha256:{'0' * 64}", fresh.records)

    monkeypatch.setattr(Layers, "_make", and_again)
    Roots(tmp_path, tmp_path / "blobs").get(digest)
    assert looks == ["layers"]


def test_the_seal_of_a_layer_is_told_without_a_look_and_one_that_is_gone_is_made(
    tmp_path: Path, looks: list[str]
) -> None:
    digest = image(tmp_path / "blobs", [PYTHON], env=ENV)
    roots = Roots(tmp_path, tmp_path / "blobs")
    roots.get(digest)
    manifest = roots_module.read_manifest((tmp_path / "blobs" / digest[7:]).read_bytes(), digest)
    config = roots_module.read_config((tmp_path / "blobs" / manifest.config[7:]).read_bytes(), digest, manifest)
    layers = Layers(tmp_path, tmp_path / "blobs", tmp_path / "locks", Recorder())
    [layer], [diff_id] = manifest.layers, config.diff_ids
    found = layers.seal_of(layer, diff_id)
    assert looks == []
    roots_module.remove(tmp_path / "layers" / diff_id[7:])
    assert layers.seal_of(layer, diff_id) == found
    assert (tmp_path / "layers" / diff_id[7:] / "bin/python3").is_file()


def test_a_root_that_was_made_for_this_run_a_moment_ago_is_not_looked_at(tmp_path: Path, looks: list[str]) -> None:
    digest = image(tmp_path / "blobs", [PYTHON], env=ENV)
    told: dict[str, str] = {}
    Roots(tmp_path, tmp_path / "blobs", made=told.__setitem__).get(digest)
    assert list(told) == [digest]
    assert looks == []
    Roots(tmp_path, tmp_path / "blobs", sealed=told.get).get(digest)
    assert looks == []
    # Not where it is another one's seal, was told of another image, or every file is to be hashed.
    Roots(tmp_path, tmp_path / "blobs", sealed={digest: f"sha256:{'0' * 64}"}.get).get(digest)
    Roots(tmp_path, tmp_path / "blobs", sealed={}.get).get(digest)
    Roots(tmp_path, tmp_path / "blobs", sealed=told.get, full=True).get(digest)
    assert looks == ["roots", "roots", "roots full"]


def test_one_layer_that_cannot_be_unpacked_ends_what_waits_for_the_others(tmp_path: Path) -> None:
    layers = [[Made("lib/one.py", b"1\n")], [Made("../evil", b"x")], PYTHON]
    digest = image(tmp_path / "blobs", layers, env=ENV)
    with pytest.raises(ArtifactError, match="leads out of the image"):
        Roots(tmp_path, tmp_path / "blobs").get(digest)
    assert list((tmp_path / "roots").iterdir()) == []
    assert not list((tmp_path / "layers").glob("*.partial"))


def test_what_is_borrowed_may_fail_and_says_so(tmp_path: Path) -> None:
    digest = image(tmp_path / "blobs", [PYTHON], env=ENV)

    def full(*_: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="no space left"):
        Roots(tmp_path, tmp_path / "blobs", borrow=full).get(digest)
    assert Roots(tmp_path, tmp_path / "blobs").get(digest).root.is_dir()


@pytest.mark.parametrize("spoiled", [False, True])
def test_what_is_added_after_a_run_hides_nothing_that_the_run_changed(tmp_path: Path, spoiled: bool) -> None:
    digest = image(tmp_path / "blobs", [PYTHON, [Made("lib/one.py", b"good = 1\n")]], env=ENV)
    root = Roots(tmp_path, tmp_path / "blobs").get(digest).root
    manifest = roots_module.read_manifest((tmp_path / "blobs" / digest[7:]).read_bytes(), digest)
    config = roots_module.read_config((tmp_path / "blobs" / manifest.config[7:]).read_bytes(), digest, manifest)

    def link() -> dict[str, str]:
        made = root / "lib/__pycache__/one.pyc"
        made.parent.mkdir()
        made.write_bytes(b"compiled")
        if spoiled:
            (root / "lib/one.py").unlink()
            (root / "lib/one.py").write_bytes(b"evil = 1\n")
        return {lies(made.stat()): hashlib.sha256(b"compiled").hexdigest()}

    examiner = Examiner()
    assert examiner.look(root, digest) == ()
    assert Roots(tmp_path, tmp_path / "blobs")._fill(root, digest, manifest, config, examiner, link) is not spoiled
    said = Recorder()
    again = Roots(tmp_path, tmp_path / "blobs", reporter=said, full=True).get(digest).root
    assert (again / "lib/one.py").read_bytes() == b"good = 1\n"
    assert (again / "lib/__pycache__/one.pyc").exists() is not spoiled
    assert bool(said.warnings) is spoiled
