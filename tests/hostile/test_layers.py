"""Layers made to do harm, read in every way that we read one: refused by name, or done right."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import ArtifactError
from flyte_build.locking.inspecting import Tree, read_layer
from flyte_build.submit.merge import merge
from flyte_build.submit.roots import prepare
from flyte_build.submit.unpack import unpack

from .layers import READERS, REFUSALS, digest, member, packed, tar

LOOKING = [name for name in READERS if name != "assembled"]
LNK, SYM, DIR = tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE
LONG = "n" * 256

REFUSED: dict[str, list[Any]] = {
    "whiteout of nothing": [member(".wh.")],
    "whiteout of the folder": [member("a/.wh..")],
    "whiteout of the parent": [member("a/.wh...")],
    "whiteout of the root's parent": [member(".wh...")],
    "whiteout that is a folder": [member(".wh.a", DIR)],
    "file in a whiteout": [member(".wh.a/b")],
    "parent": [member("../a")],
    "parent in the middle": [member("a/../../b")],
    "long name": [member(LONG)],
    "long folder": [member(f"{LONG}/a")],
    "long path": [member("/".join(["d" * 200] * 30))],
    "deep path": [member("d/" * 400 + "f")],
    "NUL": [member("a", pax_headers={"path": "a\0b"})],
    "NUL in a link": [member("a", SYM, linkname="b", pax_headers={"linkpath": "b\0c"})],
    "escape": [member("a\x1b]0;owned\x07")],
    "C1": [member("a\x9b31m")],
    "bidi": [member("a\u202egpj.exe")],
    "escape in a link": [member("a", SYM, linkname="\x1b[2J")],
    "link to nothing": [member("a", SYM)],
    "hard link to nothing": [member("a", LNK)],
    "hard link outside": [member("a", LNK, linkname="../../b")],
    "sparse": [member("a", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"})],
    "size of 4000 digits": [member("a", pax_headers={"size": "9" * 4000})],
    "negative size": [member("a", pax_headers={"size": "-1024"})],
}


def blob_of(folder: Path, data: bytes) -> Path:
    blob = folder / "blob"
    blob.write_bytes(packed(data))
    return blob


@pytest.mark.parametrize("reader", LOOKING)
@pytest.mark.parametrize("attack", REFUSED)
def test_a_hostile_member_is_refused(tmp_path: Path, reader: str, attack: str) -> None:
    data = tar(REFUSED[attack])
    (tmp_path / "b").write_text("mine")
    with pytest.raises(REFUSALS) as e:
        READERS[reader](blob_of(tmp_path, data), digest(data))
    assert "layer" in str(e.value) or "blob" in str(e.value) or reader == "listed"
    assert (tmp_path / "b").read_text() == "mine"


def _header(kind: bytes, size: int, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


END = bytes(1024)
BROKEN: dict[str, bytes] = {
    "a header of a gigabyte": _header(tarfile.GNUTYPE_LONGNAME, 1 << 30) + END,
    "a pax header of a gigabyte": _header(tarfile.XHDTYPE, 1 << 30) + END,
    "headers for headers": (_header(tarfile.GNUTYPE_LONGNAME, 2) + b"a".ljust(512, b"\0")) * 3000 + END,
    "pax headers for headers": (_header(tarfile.XHDTYPE, 10) + b"9 a=bcdef\n".ljust(512, b"\0")) * 3000 + END,
    "a length of 5000 digits": _header(tarfile.XHDTYPE, 5010) + (b"9" * 5000 + b" a=b\n").ljust(5120, b"\0") + END,
    "old sparse": _header(tarfile.GNUTYPE_SPARSE, 0) + END,
    "a size that lies": _header(tarfile.REGTYPE, 1 << 20) + END,
    "a size of eight exbibytes": _header(tarfile.REGTYPE, (1 << 63) - 1) + END,
    "a damaged header after a good one": _header(tarfile.REGTYPE, 0) + b"\xff" * 512 + END,
    "cut in a header": _header(tarfile.REGTYPE, 0) + b"x" * 100,
    "no tar": b"\x7fELF" + bytes(range(256)) * 8,
}


@pytest.mark.parametrize("reader", LOOKING)
@pytest.mark.parametrize("attack", BROKEN)
def test_a_broken_archive_is_refused(tmp_path: Path, reader: str, attack: str) -> None:
    with pytest.raises(REFUSALS, match=r"expected|bytes|damaged|cut off"):
        READERS[reader](blob_of(tmp_path, BROKEN[attack]), digest(BROKEN[attack]))


def _negative(field: slice) -> bytes:
    header = bytearray(_header(tarfile.REGTYPE, 0))
    header[field] = b"\xff" * (field.stop - field.start)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + END


@pytest.mark.parametrize("reader", LOOKING)
def test_a_negative_size_is_no_endless_loop(tmp_path: Path, reader: str) -> None:
    data = _negative(slice(124, 136))
    with pytest.raises(REFUSALS):
        READERS[reader](blob_of(tmp_path, data), digest(data))


@pytest.mark.parametrize("mtime", ["nan", "inf", "-1e300", "1e300", "x"])
def test_any_time_is_a_time(tmp_path: Path, mtime: str) -> None:
    data = tar([member("a", data=b"x", pax_headers={"mtime": mtime})])
    READERS["unpacked"](blob_of(tmp_path, data), digest(data))


# -- roots out of layers -----------------------------------------------------------------------------


def rooted(tmp_path: Path, *layers: Sequence[Any], ready: bool = True) -> Path:
    root = tmp_path / "store" / "root"
    root.mkdir(parents=True)
    for number, members in enumerate(layers):
        data = tar(members)
        folder = tmp_path / "store" / f"layer{number}"
        folder.mkdir()
        unpack(blob_of(tmp_path, data), digest(data), folder)
        merge(folder, root)
    if ready:
        prepare(root)
    return root


def tree(members: Sequence[Sequence[Any]], tmp_path: Path) -> set[str]:
    """What the reader of bases makes of the same layers."""
    found = Tree()
    for number, layer in enumerate(members):
        data = tar(layer)
        read_layer(blob_of(tmp_path, data), digest(data), number, found, "base")

    def walk(path: str) -> set[str]:
        below = [(f"{path}/{name}", node) for name, node in found.names(path).items()]
        return {n for name, node in below for n in (walk(name) if node.kind == "dir" else {name})}

    return walk("")


def files(root: Path) -> set[str]:
    return {f"/{p.relative_to(root)}" for p in root.rglob("*") if p.is_symlink() or p.is_file()}


LOWER = [member("a/x"), member("a/b/y"), member("c/z"), member("lib", SYM, linkname="usr/lib"), member("usr/lib/l")]
DONE_RIGHT: dict[str, tuple[list[Any], set[str]]] = {
    "a whiteout": ([member("a/.wh.x")], {"/a/b/y", "/c/z", "/lib", "/usr/lib/l"}),
    "a whiteout of a folder": ([member("a/.wh.b")], {"/a/x", "/c/z", "/lib", "/usr/lib/l"}),
    "a whiteout of what is not there": ([member("q/.wh.b")], {"/a/x", "/a/b/y", "/c/z", "/lib", "/usr/lib/l"}),
    "an opaque folder": ([member("a/n"), member("a/.wh..wh..opq")], {"/a/n", "/c/z", "/lib", "/usr/lib/l"}),
    "an opaque folder, first": ([member("a/.wh..wh..opq"), member("a/n")], {"/a/n", "/c/z", "/lib", "/usr/lib/l"}),
    "an opaque root": ([member("n"), member(".wh..wh..opq")], {"/n"}),
    "a whiteout beside the same name": (
        [member("c/z", data=b"new"), member("c/.wh.z")],
        {"/a/x", "/a/b/y", "/c/z", "/lib", "/usr/lib/l"},
    ),
    "a whiteout that is a link": (
        [member("a/.wh.x", SYM, linkname="/etc")],
        {"/a/b/y", "/c/z", "/lib", "/usr/lib/l"},
    ),
    "notes of others": (
        [member(".wh..wh.plnk/1.2"), member(".wh..wh.aufs"), member(".wh..wh.orph", DIR)],
        {"/a/x", "/a/b/y", "/c/z", "/lib", "/usr/lib/l"},
    ),
    "a folder for a file": ([member("c/z/deep")], {"/a/x", "/a/b/y", "/c/z/deep", "/lib", "/usr/lib/l"}),
    "a file for a folder": ([member("a")], {"/a", "/c/z", "/lib", "/usr/lib/l"}),
    "an absolute name": ([member("/a/x2")], {"/a/x", "/a/x2", "/a/b/y", "/c/z", "/lib", "/usr/lib/l"}),
}


@pytest.mark.parametrize("case", DONE_RIGHT)
def test_what_is_not_refused_is_done_right(tmp_path: Path, case: str) -> None:
    layer, expected = DONE_RIGHT[case]
    assert files(rooted(tmp_path, LOWER, layer, ready=False)) == expected
    assert tree([LOWER, layer], tmp_path) == expected


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_device_hides_what_is_below_and_is_not_made(tmp_path: Path, kind: bytes) -> None:
    assert files(rooted(tmp_path, LOWER, [member("c/z", kind)], ready=False)) == {
        "/a/x",
        "/a/b/y",
        "/lib",
        "/usr/lib/l",
    }


def test_whiteouts_of_a_store_that_was_made_before_are_refused(tmp_path: Path) -> None:
    (tmp_path / "store" / "root").mkdir(parents=True)
    for name in (".wh.", ".wh..", ".wh..."):
        layer = tmp_path / f"layer{name}"
        layer.mkdir()
        (layer / name).touch()
        with pytest.raises(ArtifactError, match="layer"):
            merge(layer, tmp_path / "store" / "root")
    assert (tmp_path / "store" / "root").is_dir()


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "/host") for name in ("proc", "dev", "sys", "run", "tmp", "root", "home", "mnt", "etc", "var")),
        *((name, "../../host") for name in ("mnt", "mnt/flyte", "home/flyte", "etc/flyte", "etc/hosts", "var/tmp")),
        *((f"etc/{name}", "{host}/secret") for name in ("passwd", "group", "hosts", "resolv.conf")),
    ],
)
def test_a_link_in_place_of_what_a_run_needs_stays_inside(tmp_path: Path, name: str, target: str) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "secret").write_text("the user's own")
    target = target.replace("{host}", str(host)).replace("/host", str(host), 1) if "host" in target else target
    root = rooted(tmp_path, [member(name, SYM, linkname=target)])
    for path in ("proc", "dev", "run", "tmp", "var/tmp", "root", "home/flyte", "mnt/flyte", "etc/flyte/secrets"):
        assert (root / path).resolve().is_relative_to(root), path
        assert (root / path).is_dir()
    for path in ("etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf"):
        assert not (root / path).is_symlink()
        assert "the user's own" not in (root / path).read_text()
    assert sorted(os.listdir(host)) == ["secret"]


@pytest.mark.parametrize("name", ["proc", "tmp", "var", "home", "mnt", "etc", "etc/flyte", "mnt/flyte"])
def test_a_file_in_place_of_a_folder_gives_way(tmp_path: Path, name: str) -> None:
    root = rooted(tmp_path, [member(name, data=b"x")])
    assert (root / "mnt/flyte").is_dir()
    assert (root / "etc/passwd").is_file()


@pytest.mark.parametrize("name", ["etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf"])
def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match=f"layer.*`{name}` is a folder, expected a file"):
        rooted(tmp_path, [member(f"{name}/x")])


def test_links_to_folders_that_a_distribution_has_stay(tmp_path: Path) -> None:
    links = [member("home", SYM, linkname="/var/home"), member("bin", SYM, linkname="usr/bin")]
    root = rooted(tmp_path, [*links, member("var/home/me/f"), member("usr/bin/sh")])
    assert os.readlink(root / "home") == "var/home"
    assert (root / "var/home/flyte").is_dir()
    assert os.readlink(root / "bin") == "usr/bin"


def test_links_upon_links_lead_nowhere_deep(tmp_path: Path) -> None:
    """Forty links, each into the last one's depth, are ten thousand folders: no file system, no stack holds them."""
    chain = [member("l0", SYM, linkname="d/" * 200)]
    chain += [member(f"l{n}", SYM, linkname=f"l{n - 1}/" + "d/" * 200) for n in range(1, 30)]
    with pytest.raises(ArtifactError, match="layer"):
        rooted(tmp_path, [*chain, member("l29/x")])


def test_hard_links_lead_to_files_of_the_layer(tmp_path: Path) -> None:
    (tmp_path / "host").write_text("mine")
    for number, target in enumerate(["absent", str(tmp_path / "host"), "folder", "link", "self"]):
        layer = [
            member("folder/x"),
            member("link", SYM, linkname=str(tmp_path / "host")),
            member("self", LNK, linkname=target),
        ]
        with pytest.raises(ArtifactError, match=r"layer sha256.*hard link"):
            rooted(tmp_path / str(number), layer)
    assert (tmp_path / "host").read_text() == "mine"
    assert (tmp_path / "host").stat().st_nlink == 1
