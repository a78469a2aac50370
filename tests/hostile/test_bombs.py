"""What inflates beyond its own word, or beyond any sane bound where nothing gives one, is stopped there."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.assemble import archive, bombs, deb
from flyte_build.assemble.deb import open_deb, read_control
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.wheel import install_wheel
from flyte_build.sources.indexes import metadata
from tests.support.debs import Special, build_deb
from tests.support.layers import wheel_layer, write
from tests.support.wheels import Member, build_wheel, deflate_with_zlib

ZEROS = bytes(4 << 20)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test can break in no time."""
    monkeypatch.setattr(archive, "_LEAST", 1 << 20)
    monkeypatch.setattr(deb, "_LEAST", 1 << 20)


def install(wheel: Path) -> None:
    install_wheel(str(wheel), wheel.name, python="3.11", venv="/opt/venv")


def layered(wheel: Path, tmp_path: Path) -> None:
    write(wheel_layer([wheel]), [wheel], tmp_path)


@pytest.mark.parametrize("size", [100, 3 << 20])
def test_a_member_that_inflates_beyond_its_word(tmp_path: Path, size: int) -> None:
    """The directory and RECORD agree on ``size``, the stream holds four megabytes."""

    def lie(members: list[Member]) -> list[Member]:
        return [replace(members[0], raw=deflate_with_zlib(ZEROS)), *members[1:]]

    wheel = build_wheel(tmp_path, "bomb", files={"bomb.bin": bytes(size)}, mutate=lie)
    with pytest.raises(
        AssembleError, match=f"{wheel.name}: `.*bomb.bin`: expected {size} bytes, its DEFLATE stream holds more"
    ):
        layered(wheel, tmp_path)


@pytest.mark.usefixtures("tight")
def test_a_wheel_that_says_that_it_is_a_bomb(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "bomb", files={"bomb.bin": ZEROS})
    with pytest.raises(AssembleError, match=f"{wheel.name}: its .* bytes unpack to .*, expected at most .*: a bomb"):
        install(wheel)
    install(build_wheel(tmp_path, "plain", files={"plain.bin": bytes(900_000)}))


@pytest.mark.parametrize(("name", "size"), [("entry_points.txt", 5 << 20), ("WHEEL", 5 << 20), ("RECORD", 33 << 20)])
def test_texts_of_a_wheel_have_bounds(tmp_path: Path, name: str, size: int) -> None:
    def grow(members: list[Member]) -> list[Member]:
        return [replace(m, data=m.data + b"\n" * size) if m.name.endswith(f"/{name}") else m for m in members]

    wheel = build_wheel(tmp_path, "bomb", entry_points="[console_scripts]\n", mutate=grow)
    with pytest.raises(AssembleError, match=f"{wheel.name}: `bomb-1.0.dist-info/.*`: .*(expected at most|RECORD says)"):
        install(wheel)


def overlapping(data: bytes, count: int) -> bytes:
    """A zip of ``count`` names for one member's bytes (D. Fifield, "A better zip bomb")."""
    out, central = io.BytesIO(), b""
    raw = deflate_with_zlib(data)
    for i in range(count):
        name = b"%04d" % i
        head = struct.pack("<5H3I2H", 20, 0, 8, 0, 0x21, zlib.crc32(data), len(raw), len(data), 4, 0)
        if i == 0:
            out.write(b"PK\3\4" + head + name + raw)
        central += (
            b"PK\1\2" + struct.pack("<H", 0x314) + head + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, 0) + name
        )
    start = out.tell()
    out.write(central + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(central), start, 0))
    return out.getvalue()


def test_members_that_share_bytes(tmp_path: Path) -> None:
    wheel = tmp_path / "bomb-1.0-py3-none-any.whl"
    wheel.write_bytes(overlapping(ZEROS, 200))
    with pytest.raises(AssembleError, match=f"{wheel.name}: .*(overlap|another name)"):
        install(wheel)


def _end(members: int, size: int, start: int) -> bytes:
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, members, members, size, start, 0)


@pytest.mark.parametrize(
    "data",
    [
        _end(1, 0xFFFFFFF0, 0),
        struct.pack("<4sIQI", b"PK\6\7", 0, (1 << 64) - 1, 1) + _end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        b"PK\6\6"
        + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, 1, 1, (1 << 64) - 1, 1)
        + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1)
        + _end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    ],
)
def test_a_zip_that_speaks_of_places_that_no_file_has(tmp_path: Path, data: bytes) -> None:
    wheel = tmp_path / "bomb-1.0-py3-none-any.whl"
    wheel.write_bytes(data)
    with pytest.raises(AssembleError, match=wheel.name):
        install(wheel)
    with pytest.raises((zipfile.BadZipFile, KeyError)):
        metadata.from_archive(len(data), data, lambda a, b: data[a:b])


def test_metadata_of_an_index_has_a_bound(tmp_path: Path) -> None:
    def grow(members: list[Member]) -> list[Member]:
        return [replace(m, data=m.data + b"\n" * (5 << 20)) if m.name.endswith("/METADATA") else m for m in members]

    data = build_wheel(tmp_path, "bomb", mutate=grow).read_bytes()
    with pytest.raises(zipfile.BadZipFile, match="METADATA: expected at most 4194304 bytes, found more"):
        metadata.from_archive(len(data), data, lambda a, b: data[a:b])


# -- Debian packages -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_a_package_that_inflates_without_end(tmp_path: Path, compression: str) -> None:
    package = build_deb(tmp_path, "bomb", "1", {"usr/bomb": ZEROS}, compression=compression)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(
        AssembleError, match=f"{package.name}: data.tar.{compression}: unpacks to more than 1048576 bytes"
    ):
        open_deb(package, str(scratch), package.name, "0" * 64)
    assert not list(scratch.iterdir())


def test_control_data_have_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = build_deb(tmp_path, "bomb", "1", {}, control={"X": "y" * (5 << 20)})
    with pytest.raises(AssembleError, match=f"{package.name}: control: expected at most 4194304 bytes"):
        read_control(package)
    monkeypatch.setattr(deb, "_MAX_CONTROL", 1 << 20)
    package = build_deb(tmp_path, "bomb", "2", {}, scripts={"postinst": ZEROS})
    with pytest.raises(AssembleError, match=f"{package.name}: control.tar.xz: unpacks to more than 1048576 bytes"):
        read_control(package)


def _ar_size(size: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:8] + data[8:].replace(data[8:][48:58], size.ljust(10), 1)


@pytest.mark.parametrize("size", [b"9999999999", b"-4", b"0x4", b"", b"4 4", b"\xb2"])
def test_a_member_of_the_package_whose_size_lies(tmp_path: Path, size: bytes) -> None:
    package = build_deb(tmp_path, "bomb", "1", {"usr/x": b"x"})
    package.write_bytes(_ar_size(size)(package.read_bytes()))
    with pytest.raises(AssembleError, match=package.name):
        read_control(package)


@pytest.mark.parametrize(
    "name",
    [
        "usr/\x1b[2Jx",
        "usr/\x9b0m",
        "usr/\u202ecod.exe",
        "usr/a\nb",
        "usr/" + "n" * 256,
        "usr/\x7f",
        "usr/.wh..",
        "../x",
    ],
)
def test_names_of_files_in_packages(tmp_path: Path, name: str) -> None:
    package = build_deb(tmp_path, "bomb", "1", {name: b"x"}, parents=False)
    with pytest.raises(AssembleError) as e:
        open_deb(package, str(tmp_path), package.name, "0" * 64)
    assert str(e.value).startswith(package.name)
    assert str(e.value).isprintable()


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"S", b"x", b"g", b"Z"])
def test_what_no_package_holds(tmp_path: Path, kind: bytes) -> None:
    package = build_deb(tmp_path, "bomb", "1", {"usr/x": Special(kind)}, parents=False)
    with pytest.raises(AssembleError, match=package.name):
        open_deb(package, str(tmp_path), package.name, "0" * 64)


@pytest.mark.parametrize("name", ["a\x1b[2J.py", "a\x9b.py", "a\u202e.py", "a\x7f.py", "n" * 256, "a\r"])
def test_names_of_files_in_wheels(tmp_path: Path, name: str) -> None:
    wheel = build_wheel(tmp_path, "bomb", files={name: b"x"})
    with pytest.raises(AssembleError) as e:
        install(wheel)
    assert str(e.value).startswith(wheel.name)
    assert str(e.value).isprintable()


@pytest.mark.parametrize("names", [["ä.py", "日本語.txt", "a b.py", "שלום.txt", "a\u200b\u200fb", "n" * 255]])
def test_names_of_any_language_stay(tmp_path: Path, names: Sequence[str]) -> None:
    wheel = build_wheel(tmp_path, "good", files=dict.fromkeys(names, b"x"))
    install(wheel)


def test_bounds_leave_room_for_real_artifacts() -> None:
    """Gigabytes in any case, and many times the ratio that code and libraries reach."""
    assert bombs.most_inflated(100 << 20, archive._LEAST) > 6 << 30
    assert bombs.most_inflated(3 << 30, deb._LEAST) > 100 << 30
