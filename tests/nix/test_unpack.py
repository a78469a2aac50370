"""The seed, run as Nix runs it: what it makes of packages, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from flyte_build.kernel.platforms import host_platform
from tests.support.debs import Directory, File, Hardlink, Special, Symlink, ar, build_deb, tar

SYSTEMS = {"linux/amd64": "x86_64-linux", "linux/arm64": "aarch64-linux"}
SEED = Path(__file__).parents[2] / "rules" / "nix" / "seed" / f"undeb-{SYSTEMS[host_platform()]}"


def undeb(out: Path, *debs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SEED, out, *debs], env={}, capture_output=True, text=True, check=False, timeout=60)


def unpacked(tmp_path: Path, files: Mapping[str, File], compression: str = "xz") -> Path:
    deb = build_deb(tmp_path, "one", "1.0", files, compression=compression)
    done = undeb(tmp_path / "out", deb)
    assert done.returncode == 0, done.stderr
    return tmp_path / "out"


def refused(tmp_path: Path, *debs: Path) -> str:
    """What was said; nothing may have been written outside of the folder."""
    (tmp_path / "work").mkdir(exist_ok=True)
    before = set(tmp_path.rglob("*"))
    done = undeb(tmp_path / "work" / "out", *debs)
    assert done.returncode == 1
    outside = set(tmp_path.rglob("*")) - before
    assert all(p.is_relative_to(tmp_path / "work" / "out") for p in outside)
    return done.stderr


@pytest.mark.parametrize("compression", ["xz", "gz", "none"])
def test_what_a_package_holds(compression: str, tmp_path: Path) -> None:
    large = os.urandom(1 << 17) * 9
    long = "usr/share/" + "/".join(["a-folder-with-a-long-name"] * 8) + "/file"
    files: dict[str, File] = {
        "usr/bin/tool": (0o755, b"#!/bin/sh\n"),
        "usr/bin/su": (0o4755, b"setuid"),
        "usr/bin/also": Hardlink("usr/bin/tool"),
        "usr/bin/link": Symlink("tool"),
        "usr/bin/away": Symlink("/etc/alternatives/tool"),
        "usr/share/empty": b"",
        "usr/share/block": b"x" * 512,
        "usr/share/large": large,
        "usr/share/ümlaut": b"u",
        long: b"long",
        "var/empty": Directory(),
    }
    out = unpacked(tmp_path, files, compression)
    for name, content in files.items():
        if isinstance(content, bytes):
            assert (out / name).read_bytes() == content
            assert not os.access(out / name, os.X_OK) or os.geteuid() == 0
            assert (out / name).stat().st_mode & 0o7777 == 0o644
    assert (out / "usr/bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (out / "usr/bin/su").stat().st_mode & 0o7777 == 0o755
    assert (out / "usr/bin/also").samefile(out / "usr/bin/tool")
    assert os.readlink(out / "usr/bin/link") == "tool"
    assert os.readlink(out / "usr/bin/away") == "/etc/alternatives/tool"
    assert (out / "var/empty").is_dir()


def with_data(folder: Path, name: str, data: bytes) -> Path:
    path = folder / "two_1.0_amd64.deb"
    path.write_bytes(ar([("debian-binary", b"2.0\n"), ("control.tar", tar({})), (name, data)]))
    return path


def test_zstandard(tmp_path: Path) -> None:
    """A frame as zstd writes it (RFC 8878): raw and RLE blocks, made by hand, and the checksum left out."""
    data = tar({"usr/a": b"zstd"})
    head, rest = data[:-1024], data[-1024:]
    assert not any(rest)
    # Magic, frame header (no single segment, a window of 1 MiB), a raw block, an RLE block of zeros, the last.
    frame = bytes.fromhex("28b52ffd") + bytes([0x00, 0x50])
    frame += (len(head) << 3).to_bytes(3, "little") + head
    frame += (len(rest) << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    done = undeb(tmp_path / "out", with_data(tmp_path, "data.tar.zst", frame))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/usr/a").read_bytes() == b"zstd"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_in_every_dialect(form: int, tmp_path: Path) -> None:
    name = "usr/lib/" + "d" * 90 + "/" + "f" * 60
    path = tmp_path / "data.tar"
    with tarfile.open(path, "w", format=form) as archive:
        info = tarfile.TarInfo(f"./{name}")
        archive.addfile(info)
        if form != tarfile.USTAR_FORMAT:
            link = tarfile.TarInfo("./link")
            link.type, link.linkname = tarfile.SYMTYPE, "t" * 180
            archive.addfile(link)
    done = undeb(tmp_path / "out", with_data(tmp_path, "data.tar", path.read_bytes()))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / name).is_file()
    if form != tarfile.USTAR_FORMAT:
        assert os.readlink(tmp_path / "out/link") == "t" * 180


def test_packages_share_folders_but_no_files(tmp_path: Path) -> None:
    one = build_deb(tmp_path, "one", "1.0", {"usr/share/doc/one": b"1"})
    two = build_deb(tmp_path, "two", "1.0", {"usr/share/doc/two": b"2"})
    assert undeb(tmp_path / "out", one, two).returncode == 0
    assert {p.name for p in (tmp_path / "out/usr/share/doc").iterdir()} == {"one", "two"}
    (tmp_path / "other").mkdir()
    again = build_deb(tmp_path / "other", "one", "2.0", {"usr/share/doc/one": b"other"})
    assert "usr/share/doc/one: PathAlreadyExists" in refused(tmp_path, one, again)


ESCAPES: Sequence[tuple[Mapping[str, File], str]] = [
    ({"../evil": b"x"}, "NameLeavesTheFolder"),
    ({"usr/../../evil": b"x"}, "NameLeavesTheFolder"),
    ({"usr/evil": Hardlink("../../../etc/passwd")}, "NameLeavesTheFolder"),
    ({"out": Symlink(".."), "out/evil": b"x"}, "NameGoesThroughALink"),
    ({"etc": Symlink("/tmp"), "etc/evil": b"x"}, "NameGoesThroughALink"),
    ({"a": Symlink("/etc/passwd"), "a/b": b"x"}, "NameGoesThroughALink"),
    ({"a": Symlink("b"), "b": Symlink("a"), "a/x": b"x"}, "NameGoesThroughALink"),
    ({"a": b"x", "a/b": b"y"}, "NameGoesThroughALink"),
    ({"dev/x": Special(tarfile.CHRTYPE)}, "NeitherFileNorFolderNorLink"),
    ({"pipe": Special(tarfile.FIFOTYPE)}, "NeitherFileNorFolderNorLink"),
]


@pytest.mark.parametrize(("files", "error"), ESCAPES)
def test_no_package_leads_out_of_the_folder(files: Mapping[str, File], error: str, tmp_path: Path) -> None:
    deb = build_deb(tmp_path, "evil", "1.0", files, parents=False)
    assert error in refused(tmp_path, deb)


def test_an_absolute_name_is_one_below_the_folder(tmp_path: Path) -> None:
    deb = build_deb(tmp_path, "one", "1.0", {"/usr/a": b"a"}, parents=False)
    assert undeb(tmp_path / "out", deb).returncode == 0
    assert (tmp_path / "out/usr/a").read_bytes() == b"a"


def broken(good: bytes) -> dict[str, bytes]:
    at = good.index(b"\xfd7zXZ", good.index(b"data.tar"))
    return {
        "nothing": b"",
        "no archive": b"PK" + good,
        "cut in the data": good[:-40],
        "cut in a header": good[: 8 + 30],
        "no data member": good[:8] + good[8 : good.index(b"data.tar")],
        "another byte": good[: at + 60] + bytes([good[at + 60] ^ 1]) + good[at + 61 :],
        "another kind": good.replace(b"data.tar.xz ", b"data.tar.bz2"),
    }


@pytest.mark.parametrize("how", list(broken(ar([("data.tar.xz", b"\xfd7zXZ" + b"x" * 99)]))))
def test_a_damaged_package_is_an_error(how: str, tmp_path: Path) -> None:
    good = build_deb(tmp_path, "one", "1.0", {"usr/a": os.urandom(3000)}).read_bytes()
    path = tmp_path / "bad.deb"
    path.write_bytes(broken(good)[how])
    assert str(path) in refused(tmp_path, path)


def test_a_damaged_header_is_an_error(tmp_path: Path) -> None:
    data = bytearray(tar({"usr/a": b"x"}))
    data[3] ^= 1
    assert "CorruptTar" in refused(tmp_path, with_data(tmp_path, "data.tar", bytes(data)))


def test_only_a_new_or_empty_folder_is_filled(tmp_path: Path) -> None:
    deb = build_deb(tmp_path, "one", "1.0", {"usr/a": b"a"})
    (tmp_path / "out").mkdir()
    assert undeb(tmp_path / "out", deb).returncode == 0
    assert "FolderNotEmpty" in undeb(tmp_path / "out", deb).stderr
    shutil.rmtree(tmp_path / "out")
    assert undeb(tmp_path / "out").returncode == 1
