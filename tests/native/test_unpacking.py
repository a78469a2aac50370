"""The core unpacks what Python unpacks, in the same way, or leaves it to Python: layers of every kind, good and bad."""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import io
import os
import random
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.blob import write_blob
from flyte_build.kernel.errors import ArtifactError
from flyte_build.kernel.layer_tar import most_inflated
from flyte_build.native import unpacking
from flyte_build.native.library import Core
from flyte_build.store.seal_files import lies
from flyte_build.submit import unpack as pure
from tests.hostile import layers as hostile
from tests.hostile.test_layers import BROKEN, DONE_RIGHT, LOWER, REFUSED

from .layers import draw

LAYERS = int(os.environ.get("FLYTE_BUILD_TEST_LAYERS", "150"))


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """What is at each path: mode, and content and date or target; of hard links the first path."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        s, name = path.lstat(), str(path.relative_to(root))
        if stat.S_ISREG(s.st_mode):
            same = first.setdefault(s.st_ino, name)
            found[name] = (s.st_mode, path.read_bytes() if os.access(path, os.R_OK) else None, s.st_mtime_ns, same)
        else:
            found[name] = (s.st_mode, os.readlink(path) if path.is_symlink() else "")
    return found


class Places:
    """``core`` and ``python`` unpack a blob, each in a new folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def fresh(self) -> Path:
        self._count += 1
        made = self._folder / f"into-{self._count}"
        made.mkdir()
        return made

    def core(self, blob: Path, diff_id: str) -> dict[str, tuple[object, ...]] | None:
        """What came of it, ``None`` where it is left to Python."""
        into = self.fresh()
        known = unpacking.unpack(blob, diff_id, into, most_inflated(blob.stat().st_size))
        return None if known is None else self._told(into, known)

    def python(self, blob: Path, diff_id: str) -> dict[str, tuple[object, ...]] | None:
        """What came of it, ``None`` where it is refused."""
        into = self.fresh()
        with pytest.MonkeyPatch.context() as only:
            only.setattr(pure, "natively", lambda *_: None)
            try:
                return self._told(into, pure.unpack(blob, diff_id, into))
            except ArtifactError:
                return None

    def _told(self, into: Path, known: dict[int, tuple[str, str]]) -> dict[str, tuple[object, ...]]:
        """What is told of a file is what is there: how it lies, and what is in it."""
        lying = [(p.lstat(), hashlib.sha256(p.read_bytes()).hexdigest()) for p in _files(into)]
        there = {found.st_ino: (lies(found), digest) for found, digest in lying}
        assert {inode: known[inode] for inode in there} == there
        return tree(into)


def _files(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if not p.is_symlink() and p.is_file()]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def blob_of(folder: Path, tar: bytes, members: int = 1, level: int = 1) -> Path:
    """``tar`` in so many gzip members, without a name or a date, as images have them."""
    step = len(tar) // members + 1
    blob = folder / "blob"
    packed = [gzip.compress(tar[at : at + step], level, mtime=0) for at in range(0, len(tar), step)]
    blob.write_bytes(b"".join(packed))
    return blob


def digest(tar: bytes) -> str:
    return f"sha256:{hashlib.sha256(tar).hexdigest()}"


def test_our_own_layers_are_taken(native: ctypes.CDLL, tmp_path: Path, places: Places) -> None:
    for number in range(LAYERS // 3):
        entries = draw(random.Random(f"unpack {number}"), tmp_path, 6000)
        with (tmp_path / "layer").open("wb") as out:
            made = write_blob(entries, out)
        found, expected = (do(tmp_path / "layer", made.diff_id) for do in (places.core, places.python))
        assert found == expected, f"layer {number}"


_NAMES = ("a", "b", "usr", "bin", "lib", "é", "x" * 60, "y" * 120, "Főtanúsítvány.crt", "日本", "z.py")
_ODD = ("..", ".wh.a", "\u202e", "n" * 256, ".wh..wh..opq", "\x1b", "\ud800")


def drawn(r: random.Random) -> list[Any]:
    """The members of a layer: most of them plain, in any order, some twice."""
    made: list[Any] = []
    names = ["/".join(r.choice(_NAMES) for _ in range(r.randrange(1, 5))) for _ in range(r.randrange(12))]
    for name in [*names, *r.sample(names, len(names) // 3)]:
        info = tarfile.TarInfo(r.choice(("", "", "./", "/")) + name)
        kinds = (tarfile.REGTYPE,) * 6 + (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)
        info.type = r.choice(kinds)
        info.mode = r.choice((0o644, 0o755, 0o600, 0o1777, 0, 0o4755))
        info.mtime = r.choice((0, 315532800, 1 << 33, 1 << 34, 7))
        data = b""
        if info.type == tarfile.REGTYPE:
            data = r.randbytes(r.choice((0, 1, 511, 512, 513, r.randrange(9000), r.randrange(40_000))))
        elif info.type != tarfile.DIRTYPE:
            info.linkname = r.choice(names)
        made.append((info, data))
    return made


def tar_of(r: random.Random, members: Sequence[Any]) -> bytes:
    out = io.BytesIO()
    form = r.choice((tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
        for info, data in members:
            info.size = len(data)
            try:
                tar.addfile(info, io.BytesIO(data))
            except ValueError:  # longer than this form has room for
                continue
    return out.getvalue()


def plain(data: bytes) -> bool:
    """Whether the core should take what :func:`drawn` and :func:`tar_of` made: read from the start, no way leads
    through a link or a file, nothing is there twice but folders, and each header has what it says."""
    there: dict[str, bytes] = {"": tarfile.DIRTYPE}
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        for info in tar:
            name = "/".join(part for part in info.name.split("/") if part not in ("", "."))
            header = data[info.offset_data - 512 : info.offset_data]
            # GNU's way to have a long name, and its numbers; dates that tar has no digits for.
            if info.type in tarfile.GNU_TYPES or data[info.offset + 156 : info.offset + 157] in (b"L", b"K"):
                return False
            if header[136] & 0x80 or {"mtime", "size"} & info.pax_headers.keys():
                return False
            above = name.split("/")[:-1]
            for folder in ("/".join(above[:n]) for n in range(1, len(above) + 1)):
                if there.setdefault(folder, tarfile.DIRTYPE) != tarfile.DIRTYPE:
                    return False
            if info.isdir() and there.get(name, tarfile.DIRTYPE) == tarfile.DIRTYPE:
                there[name] = tarfile.DIRTYPE
                continue
            if name in there:
                return False
            if info.islnk():
                other = "/".join(part for part in info.linkname.split("/") if part not in ("", "."))
                if there.get(other) not in (tarfile.REGTYPE, tarfile.LNKTYPE):
                    return False
            there[name] = info.type
    return True


def held(places: Places, folder: Path, tar: bytes, members: int = 1) -> bool:
    """Whether the core took it; what Python makes of it is the same then."""
    blob = blob_of(folder, tar, members)
    found = places.core(blob, digest(tar))
    if found is not None:
        assert found == places.python(blob, digest(tar))
    return found is not None


def test_any_layer(native: ctypes.CDLL, tmp_path: Path, places: Places) -> None:
    taken = 0
    for number in range(LAYERS):
        r = random.Random(number)
        data = tar_of(r, drawn(r))
        found = held(places, tmp_path, data, r.randrange(1, 5))
        assert found == plain(data), number
        taken += found
    assert 0 < taken < LAYERS


def test_any_damage(native: ctypes.CDLL, tmp_path: Path, places: Places) -> None:
    """A byte here and there, names that none may have: what it takes, Python takes, too."""
    taken = 0
    for number in range(2 * LAYERS):
        r = random.Random(number)
        members = drawn(r)
        if members and r.random() < 0.5:
            r.choice(members)[0].name = "/".join(r.choice((*_NAMES, *_ODD)) for _ in range(3))
        data = bytearray(tar_of(r, members))
        for _ in range(r.randrange(4)):
            block = r.randrange(len(data) // 512) * 512
            at = block + r.choice(
                (r.randrange(512), 156, 124 + r.randrange(12), 257 + r.randrange(8), r.randrange(100))
            )
            data[at] = r.choice((0, 32, 48, 55, 46, 47, 255, r.randrange(256)))
            if r.random() < 0.7:
                header = bytearray(data[block : block + 512])
                header[148:156] = b" " * 8
                data[block + 148 : block + 156] = b"%06o\0 " % sum(header)
        taken += held(places, tmp_path, bytes(data))
    assert taken > LAYERS // 10


@pytest.mark.slow
def test_any_layer_with_small_limits(
    small: Core, tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers that a header, or a member of gzip, never fits; it stops at undefined behaviour."""
    monkeypatch.setattr(unpacking, "core", lambda: small)
    test_our_own_layers_are_taken(small.library, tmp_path, places)  # type: ignore[arg-type]
    test_any_layer(small.library, tmp_path, places)  # type: ignore[arg-type]
    test_any_damage(small.library, tmp_path, places)  # type: ignore[arg-type]


@pytest.mark.parametrize("attack", [*REFUSED, *BROKEN])
def test_what_is_refused_is_left_to_python(native: ctypes.CDLL, tmp_path: Path, places: Places, attack: str) -> None:
    (tmp_path / "b").write_text("mine")
    data = BROKEN[attack] if attack in BROKEN else hostile.tar(REFUSED[attack])
    assert places.core(blob_of(tmp_path, data), digest(data)) is None
    assert (tmp_path / "b").read_text() == "mine"


@pytest.mark.parametrize("case", DONE_RIGHT)
def test_what_hides_something_is_left_to_python_or_done_right(
    native: ctypes.CDLL, tmp_path: Path, places: Places, case: str
) -> None:
    assert held(places, tmp_path, hostile.tar(LOWER))
    held(places, tmp_path, hostile.tar(DONE_RIGHT[case][0]))


def test_what_it_left_behind_is_no_part_of_what_python_makes(native: ctypes.CDLL, tmp_path: Path) -> None:
    """The last member is none for the core, and by then the others are there."""
    data = hostile.tar([*LOWER, hostile.member("c/z", tarfile.FIFOTYPE), hostile.member("a", data=b"file")])
    into = tmp_path / "into"
    into.mkdir()
    pure.unpack(blob_of(tmp_path, data), digest(data), into)
    assert (into / "a").read_bytes() == b"file"
    assert (into / "c" / ".wh.z").is_file()
    assert sorted(os.listdir(into)) == ["a", "c", "lib", "usr"]


def test_streams_that_are_not_whole(native: ctypes.CDLL, tmp_path: Path, places: Places) -> None:
    """Cut anywhere, with another byte, with more behind it, with another digest, and of more bytes than it may have."""
    r = random.Random(1)
    tar = tar_of(r, [(tarfile.TarInfo(f"f{n}"), r.randbytes(3000) + bytes(3000)) for n in range(9)])
    good = blob_of(tmp_path, tar, 3).read_bytes()
    blob = tmp_path / "bad"
    for number in range(120):
        at = r.randrange(len(good))
        blob.write_bytes((good[:at], good[:at] + bytes([good[at] ^ 1 << r.randrange(8)]) + good[at + 1 :])[number % 2])
        assert places.core(blob, digest(tar)) is None or number % 2
    for bad in (good + b"\0", good + b"x" * 20, good + good[:20], b"", tar):
        blob.write_bytes(bad)
        assert places.core(blob, digest(tar)) is None
    blob.write_bytes(good)
    assert places.core(blob, digest(b"")) is None
    assert unpacking.unpack(blob, digest(tar), places.fresh(), len(tar) - 1) is None
    assert unpacking.unpack(blob, digest(tar), places.fresh(), len(tar)) is not None


def test_without_a_core_it_is_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CORE", "pure")
    assert unpacking.unpack(tmp_path / "blob", digest(b""), tmp_path, 1) is None


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_modes_are_the_layers_whatever_this_process_takes_away(native: ctypes.CDLL, places: Places, mask: int) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for mode in (0o400, 0o444, 0o600, 0o644, 0o666, 0o755, 0o777, 0o4755, 0o2711, 0o000):
            member = tarfile.TarInfo(f"{mode:o}")
            member.mode, member.size, member.mtime = mode, 4, 7
            out.addfile(member, io.BytesIO(b"four"))
    blob = blob_of(places.fresh(), tar.getvalue())
    expected = places.python(blob, digest(tar.getvalue()))
    before = os.umask(mask)
    try:
        found = places.core(blob, digest(tar.getvalue()))
    finally:
        os.umask(before)
    assert found == expected
    assert found is not None
