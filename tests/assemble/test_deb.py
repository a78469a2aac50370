"""A .deb is read as dpkg reads it, and refused wherever dpkg or an image could be fooled."""

from __future__ import annotations

import contextlib
import io
import lzma
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_build.assemble.deb import open_deb, read_control
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.untar import members
from flyte_build.assemble.xz import MEMORY, TooMuchMemory, XzReader
from tests.support.debs import Directory, Hardlink, Special, Symlink, ar, build_deb, huge_dictionary, tar

FILES = {
    "usr/bin/tool": (0o4755, b"#!/bin/sh\n"),
    "usr/bin/same": Hardlink("usr/bin/tool"),
    "usr/bin/other": Symlink("tool"),
    "usr/share/tool/data": b"x" * 1000,
}


def opened(path: Path, scratch: Path):
    return open_deb(path, scratch, path.name, "0" * 64)


@pytest.mark.parametrize("compression", ["xz", "gz", "none"])
def test_members_and_their_content(tmp_path: Path, compression: str) -> None:
    path = build_deb(tmp_path, "tool", "1:2.0-1", FILES, compression=compression, owners={"usr/bin/tool": (0, 42)})
    deb = opened(path, tmp_path)
    by_path = {m.path: m for m in deb.members}
    assert list(by_path) == [
        "",
        "usr",
        "usr/bin",
        *list(FILES)[:3],
        "usr/share",
        "usr/share/tool",
        "usr/share/tool/data",
    ]
    tool = by_path["usr/bin/tool"]
    assert (tool.kind, tool.mode, tool.uid, tool.gid, tool.size) == ("file", 0o4755, 0, 42, 10)
    assert (by_path["usr/bin/same"].kind, by_path["usr/bin/same"].link) == ("hardlink", "usr/bin/tool")
    assert (by_path["usr/bin/other"].kind, by_path["usr/bin/other"].link) == ("symlink", "tool")
    segment = deb.segment(by_path["usr/share/tool/data"])
    with open(segment.path, "rb") as f:
        f.seek(segment.offset)
        assert f.read(segment.size) == b"x" * 1000
    assert Path(segment.path).parent == tmp_path


def test_data_is_decompressed_once_and_whole_or_not_at_all(tmp_path: Path) -> None:
    path = build_deb(tmp_path, "tool", "1", FILES)
    first = opened(path, tmp_path)
    stamp = Path(first.data).stat().st_ino
    assert Path(opened(path, tmp_path).data).stat().st_ino == stamp
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    broken = path.read_bytes()
    path.write_bytes(broken[:-200] + bytes(200))
    with pytest.raises(AssembleError):
        opened(path, scratch)
    assert list(scratch.iterdir()) == []


def test_control(tmp_path: Path) -> None:
    path = build_deb(
        tmp_path,
        "tool",
        "1:2.0-1",
        FILES,
        depends="libc6 (>= 2.36)",
        control={"Multi-Arch": "same"},
        scripts={"postinst": "#!/bin/sh\n", "config": "#!/bin/sh\n"},
        conffiles=["/etc/tool.conf", "remove-on-upgrade /etc/old.conf"],
    )
    control = read_control(path)
    assert (control.name, control.version, control.architecture) == ("tool", "1:2.0-1", "amd64")
    assert control.fields["Depends"] == "libc6 (>= 2.36)"
    assert control.fields["Description"] == "tool for tests\n more than one line\n .\n and the end"
    assert control.scripts == ("postinst", "config")
    assert control.conffiles == ("/etc/tool.conf",)
    assert control.database_name == "tool:amd64"
    assert b"usr/bin/tool" in control.files["md5sums"]


def test_members_with_an_underscore_and_after_the_data_are_ignored(tmp_path: Path) -> None:
    source = build_deb(tmp_path, "tool", "1", {"a": b"b"}, compression="none", debian_binary=b"2.7\nmore\n")
    control, data = tar({"control": b"Package: tool\nVersion: 1\nArchitecture: all\n"}, parents=False), tar({"a": b"b"})
    assert read_control(source).name == "tool"
    members = [
        ("debian-binary", b"2.0\n"),
        ("_sign", b"odd"),
        ("control.tar/", control),
        ("_x", b""),
        ("data.tar", data),
    ]
    source.write_bytes(ar([*members, ("zzz", b"more")]))
    assert [m.path for m in opened(source, tmp_path).members] == ["", "a"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python reads Zstandard")
def test_zstandard_says_what_would_read_it(tmp_path: Path) -> None:
    path = build_deb(tmp_path, "tool", "1", FILES, compression="zst")
    with pytest.raises(AssembleError, match=r"tool_1_amd64.deb: control.tar.zst: .*Python 3.14"):
        read_control(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/passwd", "absolute"),
        ("../etc/passwd", "not a normal path"),
        ("./usr/../../etc", "not a normal path"),
        ("./usr//bin", "not a normal path"),
        ("./etc/.wh.passwd", "whiteout"),
        ("./etc/.wh..wh..opq", "whiteout"),
    ],
)
def test_hostile_names(tmp_path: Path, name: str, message: str) -> None:
    path = build_deb(tmp_path, "tool", "1", {name: b"x"}, parents=False)
    with pytest.raises(AssembleError, match=rf"^tool_1_amd64\.deb: data\.tar\.xz, at byte \d+: .*{message}"):
        opened(path, tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.FIFOTYPE, "named pipe"),
        (tarfile.XHDTYPE, "pax header"),
        (b"V", "unknown type"),
    ],
)
def test_special_members(tmp_path: Path, kind: bytes, message: str) -> None:
    path = build_deb(tmp_path, "tool", "1", {"dev/odd": Special(kind)})
    with pytest.raises(AssembleError, match=rf"`dev/odd` is .*{message}"):
        opened(path, tmp_path)


def test_a_hard_link_out_of_the_archive(tmp_path: Path) -> None:
    path = build_deb(tmp_path, "tool", "1", {"a": Hardlink("../../etc/shadow")})
    with pytest.raises(AssembleError, match="not a normal path"):
        opened(path, tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b"!<arch>X" + b[8:], "not an ar archive"),
        (lambda b: b[:70], "debian-binary|truncated"),
        (lambda b: b[: len(b) // 2], "truncated"),
        (lambda b: b[:-8], "truncated"),
        (lambda b: b.replace(b"data.tar.xz", b"date.tar.xz"), "expected the member data.tar, found date.tar.xz"),
        (lambda b: b.replace(b"data.tar.xz ", b"data.tar.bz2"), "expected xz, gz or no compression, found .bz2"),
        (lambda b: b[:66] + b"\0\0" + b[68:], "corrupt|expected the member"),
        (lambda b: b.replace(b"`\n", b"xx", 1), "corrupt"),
        (
            lambda b: b[: b.rindex(b"\xfd7zXZ") + 40] + b"\xff" * 8 + b[b.rindex(b"\xfd7zXZ") + 48 :],
            "data.tar.xz: corrupt",
        ),
    ],
)
def test_damage(tmp_path: Path, damage, message: str) -> None:
    path = build_deb(tmp_path, "tool", "1", FILES)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(AssembleError, match=rf"^tool_1_amd64\.deb: .*({message})"):
        opened(path, tmp_path)


def test_the_wrong_format(tmp_path: Path) -> None:
    path = build_deb(tmp_path, "tool", "1", FILES, debian_binary=b"3.0\n")
    with pytest.raises(AssembleError, match=r"debian-binary: expected format 2.0, found b'3.0\\n'"):
        read_control(path)


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (b"Package: tool\nVersion: 1\n", "expected a field Architecture"),
        (b"Package: tool\nnonsense\n", "line 2"),
        (b"Package: tool\nPackage: again\n", "line 2"),
        (b"Package: tool\n\nPackage: second\n", "line 2"),
        (b"Package: ../x\nVersion: 1\nArchitecture: all\n", "expected a field Package"),
        (b"Package: \xff\n", "UTF-8"),
    ],
)
def test_control_that_is_no_stanza(tmp_path: Path, control: bytes, message: str) -> None:
    parts = [("control.tar", tar({"control": control}, parents=False)), ("data.tar", tar({}))]
    path = tmp_path / "x.deb"
    path.write_bytes(ar([("debian-binary", b"2.0\n"), *parts]))
    with pytest.raises(AssembleError, match=rf"^x\.deb: control.*{message}"):
        read_control(path)


def test_a_bomb_in_the_control_data(tmp_path: Path) -> None:
    bomb = lzma.compress(tar({"control": bytes(65 << 20)}, parents=False), preset=0)
    path = tmp_path / "x.deb"
    path.write_bytes(ar([("debian-binary", b"2.0\n"), ("control.tar.xz", bomb), ("data.tar", tar({}))]))
    with pytest.raises(AssembleError, match="unpacks to more than"):
        read_control(path)


@pytest.mark.parametrize("part", ["control", "data"])
def test_a_stream_that_asks_for_gigabytes_of_memory(part: str, tmp_path: Path) -> None:
    control, data = tar({"control": b"Package: x\nVersion: 1\nArchitecture: all\n"}, parents=False), tar({"a": b"1"})
    control, data = (
        huge_dictionary(x) if n == part else lzma.compress(x) for n, x in (("control", control), ("data", data))
    )
    path = tmp_path / "x.deb"
    path.write_bytes(ar([("debian-binary", b"2.0\n"), ("control.tar.xz", control), ("data.tar.xz", data)]))
    with pytest.raises(
        AssembleError, match="in at most 200 MiB of memory, found a stream that asks for more"
    ) as raised:
        open_deb(path, tmp_path, "x.deb", "0")
    assert str(raised.value).startswith(f"x.deb: {part}.tar.xz: expected to unpack")


def test_streams_one_after_the_other(tmp_path: Path) -> None:
    def unpacked(*parts: bytes) -> bytes:
        return XzReader(io.BytesIO(b"".join(parts))).read()

    one, two = lzma.compress(b"one" * 50_000), lzma.compress(b"two", preset=9)
    assert unpacked(one, two) == unpacked(one, bytes(8), two, bytes(4)) == b"one" * 50_000 + b"two"
    assert unpacked(one) == b"one" * 50_000
    assert unpacked(lzma.compress(b"")) == b""
    with pytest.raises(EOFError):
        unpacked(one, two[:-5])
    with pytest.raises(lzma.LZMAError, match="not supported"):
        unpacked(one, b"something else")
    with pytest.raises(TooMuchMemory):
        unpacked(one, huge_dictionary(b"two"))
    # What liblzma takes itself is above what the largest preset asks for, and far below what a header may.
    assert 66 << 20 < MEMORY < 1 << 30


# -- the tar reader --------------------------------------------------------------------------------


def listed(data: bytes):
    return list(members(io.BytesIO(data), "x.deb", "data.tar"))


def test_a_damaged_header_is_not_the_end() -> None:
    data = bytearray(tar({"a": b"1", "b": b"2", "c": b"3"}, parents=False))
    data[1024 + 10] ^= 1
    with pytest.raises(AssembleError, match="at byte 1024: expected a header with checksum"):
        listed(bytes(data))


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 1024, 1500])
def test_truncation_is_noticed_wherever_it_is(cut: int) -> None:
    data = tar({"a": b"x" * 600}, parents=False)
    with pytest.raises(AssembleError, match="truncated"):
        listed(data[:cut])


def test_long_names_and_large_numbers(tmp_path: Path) -> None:
    deep = "/".join(["d" * 60] * 5)
    found = listed(tar({deep: b"1", "l": Symlink(deep)}, parents=False, owners={deep: (0o77777777, 3)}))
    assert [(m.path, m.link, m.uid) for m in found] == [(deep, "", 0o77777777), ("l", deep, 0)]


def test_ustar_prefixes() -> None:
    out = io.BytesIO()
    deep = "p" * 90 + "/" + "n" * 80
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(deep), None)
    assert [m.path for m in listed(out.getvalue())] == [deep]


_NAMES = st.text("abc.é-", min_size=1, max_size=120).filter(lambda n: n not in (".", "..") and not n.startswith("."))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(_NAMES, st.one_of(st.binary(max_size=2000), st.just(Directory()), st.builds(Symlink, _NAMES))))
def test_what_tarfile_writes_is_read_back(files) -> None:
    data = tar(files, parents=False)
    found = {m.path: m for m in listed(data)}
    assert list(found) == list(files)
    for path, file in files.items():
        member = found[path]
        if isinstance(file, bytes):
            assert data[member.offset : member.offset + member.size] == file
        elif isinstance(file, Symlink):
            assert member.link == file.target
        else:
            assert member.kind == "dir"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4000), st.integers(1, 255))
def test_no_damage_gives_anything_but_a_reading_or_an_error(position: int, flip: int) -> None:
    data = bytearray(tar({"usr/bin/a": b"1" * 700, "usr/b": Symlink("a"), "c": Hardlink("usr/bin/a")}))
    data[position % len(data)] ^= flip
    found: list[object] = []
    with contextlib.suppress(AssembleError):
        found = listed(bytes(data))
    assert len(found) <= 6


@pytest.mark.integration
def test_dpkg_agrees_on_our_packages(tmp_path: Path) -> None:
    assert shutil.which("dpkg-deb"), "dpkg-deb is needed"
    path = build_deb(tmp_path, "tool", "1", FILES)
    listing = subprocess.run(["dpkg-deb", "-c", path], check=True, capture_output=True, text=True, timeout=60).stdout
    names = [line.split()[5].removeprefix("./").removesuffix("/") for line in listing.splitlines()]
    assert names == [m.path for m in opened(path, tmp_path).members]
