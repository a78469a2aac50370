"""Layers as folders and folders as roots, hostile ones included."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from flyte_build.kernel.errors import ArtifactError
from flyte_build.submit.merge import merge
from flyte_build.submit.unpack import remove_tree, scoped, unpack

from .oci import Made, blob_of, tar_of


def unpacked(folder: Path, entries: list[Made], *, members: int = 3) -> Path:
    tar = tar_of(entries)
    into = folder / hashlib.sha256(tar).hexdigest()[:8]
    into.mkdir()
    blob = folder / f"{into.name}.blob"
    blob.write_bytes(blob_of(tar, members=members))
    unpack(blob, f"sha256:{hashlib.sha256(tar).hexdigest()}", into)
    return into


@pytest.mark.parametrize("members", [0, 1, 7])
def test_a_layer_of_any_number_of_gzip_members(tmp_path: Path, members: int) -> None:
    entries = [
        Made("./usr/bin/", mode=0o755),
        Made("usr/bin/tool", b"x" * 100_000, 0o755),
        Made("usr/bin/alias", link="tool"),
        Made("usr/bin/same", hard="usr/bin/tool"),
        Made("deep/without/parents", b"", 0o600),
    ]
    into = unpacked(tmp_path, entries, members=members)
    assert (into / "usr/bin/tool").read_bytes() == b"x" * 100_000
    assert (into / "usr/bin/tool").stat().st_mode & 0o777 == 0o755
    assert os.readlink(into / "usr/bin/alias") == "tool"
    assert (into / "usr/bin/same").samefile(into / "usr/bin/tool")
    assert (into / "deep/without/parents").stat().st_mode & 0o777 == 0o600


def test_privileged_bits_and_devices_are_left_out(tmp_path: Path) -> None:
    entries = [Made("su", b"x", 0o4755), Made("sg", b"x", 0o2755), Made("tmp", mode=0o1777), Made("null", device=True)]
    into = unpacked(tmp_path, [*entries, Made("locked", mode=0), Made("secret", b"x", 0)])
    assert {p.name: p.stat().st_mode & 0o7777 for p in into.iterdir()} == {
        "su": 0o755,
        "sg": 0o755,
        "tmp": 0o1777,
        "locked": 0o700,
        "secret": 0o400,
        ".wh.null": 0o644,  # a lower layer's file of this name is hidden all the same
    }


@pytest.mark.parametrize(
    "entries",
    [
        [Made("../evil", b"x")],
        [Made("a/../../evil", b"x")],
        [Made("hard", hard="../outside")],
        [Made("hard", hard="/etc/hostname")],
        [Made("a", link="b"), Made("b", link="a"), Made("a/evil", b"x")],
    ],
)
def test_what_leads_out_is_refused(tmp_path: Path, entries: list[Made]) -> None:
    (tmp_path / "outside").write_text("mine")
    with pytest.raises(ArtifactError):
        unpacked(tmp_path, entries)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("target", ["/", "/etc", "..", "../..", "/../../..", "up/.."])
def test_a_planted_link_leads_nowhere_but_into_the_layer(tmp_path: Path, target: str) -> None:
    into = unpacked(tmp_path, [Made("door", link=target), Made("door/evil", b"x")])
    assert [p for p in tmp_path.rglob("evil") if not p.is_relative_to(into)] == []
    assert not Path("/evil").exists()
    assert not Path("/etc/evil").exists()
    assert [p.read_bytes() for p in into.rglob("evil") if not p.parent.is_symlink()] == [b"x"]


def test_a_file_through_a_link_to_a_file_replaces_nothing_outside(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    into = unpacked(tmp_path, [Made("f", link=str(victim)), Made("f", b"new")])
    assert victim.read_text() == "mine"
    assert (into / "f").read_bytes() == b"new"


def test_damage_is_noticed(tmp_path: Path) -> None:
    tar = tar_of([Made("file", b"content" * 1000)])
    good = blob_of(tar)
    digest = f"sha256:{hashlib.sha256(tar).hexdigest()}"
    blob = tmp_path / "blob"
    for number, (data, expected) in enumerate(
        [
            (good[: len(good) // 2], "layer sha256"),
            (good[:30] + bytes([good[30] ^ 0xFF]) + good[31:], "layer sha256"),
            (blob_of(tar_of([Made("other", b"x")])), f"expected diff_id {digest}, found sha256:"),
            (b"\x28\xb5\x2f\xfd....", "compressed with zstd"),
            (b"no archive at all", "layer sha256"),
        ]
    ):
        blob.write_bytes(data)
        into = tmp_path / str(number)
        into.mkdir()
        with pytest.raises(ArtifactError, match=expected):
            unpack(blob, digest, into)


def test_layers_are_laid_over_each_other(tmp_path: Path) -> None:
    base = unpacked(
        tmp_path,
        [
            Made("lib", link="usr/lib"),
            Made("usr/lib/a.so", b"a"),
            Made("gone", b"x"),
            Made("folder/old", b"x"),
            Made("opaque/old", b"x"),
            Made("becomes-file/x", b"x"),
            Made("becomes-folder", b"x"),
            Made("changed", b"old"),
        ],
    )
    upper = unpacked(
        tmp_path,
        [
            Made("lib/b.so", b"b"),
            Made(".wh.gone", b""),
            Made("folder/.wh.old", b""),
            Made("folder/new", b"x"),
            Made("opaque/.wh..wh..opq", b""),
            Made("opaque/new", b"x"),
            Made("becomes-file", b"file"),
            Made("becomes-folder/x", b"x"),
            Made("changed", b"new", 0o755),
        ],
    )
    root = tmp_path / "root"
    root.mkdir()
    merge(base, root)
    merge(upper, root)
    found = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file() and not p.is_symlink()}
    assert sorted(n for n in found if not n.startswith("lib/")) == [
        "becomes-file",
        "becomes-folder/x",
        "changed",
        "folder/new",
        "opaque/new",
        "usr/lib/a.so",
        "usr/lib/b.so",
    ]
    assert os.readlink(root / "lib") == "usr/lib"
    assert found["changed"].read_bytes() == b"new"
    assert (base / "changed").read_bytes() == b"old"  # the layer itself is untouched
    assert found["usr/lib/b.so"].samefile(upper / "lib/b.so")  # linked, not copied


def test_scoped_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "up").symlink_to("../../..")
    (tmp_path / "abs").symlink_to("/etc")
    assert scoped(tmp_path, "up/etc/passwd") == tmp_path / "etc/passwd"
    assert scoped(tmp_path, "abs/passwd") == tmp_path / "etc/passwd"
    assert scoped(tmp_path, "abs") == tmp_path / "abs"
    assert scoped(tmp_path, "/abs", follow=True) == tmp_path / "etc"


def test_a_tree_nobody_may_write_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "c").touch()
    for path in (tree / "a" / "b", tree / "a", tree):
        path.chmod(0o500)
    remove_tree(tree)
    assert not tree.exists()
    remove_tree(tree)  # and once more is no error
