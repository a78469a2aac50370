"""Layer kind ``conda``: packages as conda's rules link them, held against rattler's own installer; and what is none."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from flyte_build.assemble.conda import conda_entries
from flyte_build.assemble.debian import read
from flyte_build.assemble.entries import Entry
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.layer import write_layer
from flyte_build.assemble.tar import MTIME
from flyte_build.assemble.version import ASSEMBLER
from tests.support.conda import PLACEHOLDER, SITE, Built, Odd, a_few, package, pixi_lock

PREFIX = "/opt/pixi-project/.pixi/envs/default"
AT = PREFIX.strip("/")


def spec_of(packages: Sequence[Built], prefix: str = PREFIX) -> dict[str, object]:
    rows = [{"file": one.path.name, "sha256": one.sha256} for one in packages]
    kind = {"kind": "conda", "assembler": ASSEMBLER, "title": "conda"}
    return {**kind, "prefix": prefix, "site": SITE, "packages": rows}


def entries(
    packages: Sequence[Built], tmp_path: Path, prefix: str = PREFIX, warnings: list[str] | None = None
) -> dict[str, Entry]:
    where = {one.sha256: str(one.path) for one in packages}
    found = conda_entries(
        spec_of(packages, prefix), where.__getitem__, str(tmp_path), [] if warnings is None else warnings
    )
    return {entry.path: entry for _, entry in found}


def bytes_of(entry: Entry) -> bytes:
    return read(entry.content)


def test_prefixes_are_put_in(tmp_path: Path) -> None:
    found = entries(a_few(tmp_path / "channel"), tmp_path)
    assert bytes_of(found[f"{AT}/bin/hello"]) == f"#!{PREFIX}/bin/python\nprint('{PREFIX}/share')\n".encode()
    data = bytes_of(found[f"{AT}/lib/libx.so.1"])
    short = len(PLACEHOLDER) - len(PREFIX)
    assert data == b"".join([
        b"\x7fELF\0",
        f"{PREFIX}/lib:{PREFIX}/lib64".encode() + bytes(2 * short),
        b"\0tail" + PREFIX.encode() + b"/x" + bytes(short),
        b"\0end",
    ])  # fmt: skip
    assert (found[f"{AT}/lib/libx.so"].kind, found[f"{AT}/lib/libx.so"].link) == ("symlink", "libx.so.1")
    assert bytes_of(found[f"{AT}/lib/old.txt"]) == f"at {PREFIX}\n".encode()
    assert bytes_of(found[f"{AT}/lib/old.bin"]) == PREFIX.encode() + b"/a" + bytes(short) + b"\0b"


def test_packages_of_python_go_where_its_python_looks(tmp_path: Path) -> None:
    found = entries(a_few(tmp_path / "channel"), tmp_path)
    assert f"{AT}/{SITE}/pure/__init__.py" in found
    launcher = found[f"{AT}/bin/pure"]
    assert (launcher.mode, bytes_of(launcher).splitlines()[0]) == (0o755, f"#!{PREFIX}/bin/python".encode())
    assert b"from pure import main" in bytes_of(launcher)
    assert bytes_of(found[f"{AT}/bin/pure-script"]) == f"#!{PREFIX}/bin/python\n".encode()
    assert {(e.uid, e.gid) for e in found.values()} == {(0, 0)}
    assert {e.mode for e in found.values() if e.kind == "file"} == {0o755, 0o644}


def test_bytecode_fits_its_source_as_a_layer_dates_it(tmp_path: Path) -> None:
    found = entries(a_few(tmp_path / "channel"), tmp_path)
    (compiled,) = (bytes_of(e) for path, e in found.items() if path.endswith(".pyc"))
    assert compiled == b"magi" + bytes(4) + MTIME.to_bytes(4, "little") + b"sizecode"


def test_a_first_line_that_is_too_long_goes_through_env(tmp_path: Path) -> None:
    deep = "/opt/" + "deep/" * 30 + "env"
    found = entries(a_few(tmp_path / "channel"), tmp_path, deep)
    assert bytes_of(found[f"{deep.strip('/')}/bin/hello"]).splitlines()[0] == b"#!/usr/bin/env python"


def test_the_same_layer_whoever_unpacks(tmp_path: Path) -> None:
    from flyte_build.building.zstandard import library

    packages = a_few(tmp_path / "channel")
    where = {one.sha256: str(one.path) for one in packages}
    made = []
    for number, unpack in enumerate((None, library())):
        scratch = tmp_path / f"scratch{number}"
        scratch.mkdir()
        with open(tmp_path / f"layer{number}", "wb") as out:
            made.append(write_layer(spec_of(packages), where.__getitem__, out, scratch=str(scratch), unpack=unpack))
    assert library() is not None
    assert made[0].digest == made[1].digest
    assert made[0].digest == "sha256:" + hashlib.sha256((tmp_path / "layer0").read_bytes()).hexdigest()


def test_rattler_makes_the_same_files(tmp_path: Path) -> None:
    """The installer that pixi uses, into a prefix of the same path; but for launchers and its own notes."""
    rattler = pytest.importorskip("rattler")
    packages = a_few(tmp_path / "channel")
    prefix = tmp_path / "prefix"
    lock = rattler.LockFile.from_path(pixi_lock(tmp_path / "pixi.lock", {"linux-64": packages}))
    held = dict(lock.environments())["default"]
    records = [one.repo_data_record() for platform in held.platforms() for one in held.packages(platform)]
    asyncio.run(
        rattler.install(
            records,
            target_prefix=str(prefix),
            cache_dir=tmp_path / "cache",
            show_progress=False,
            platform=rattler.Subdir("linux-64"),
        )
    )
    ours = entries(packages, tmp_path, str(prefix))
    theirs: dict[str, object] = {}
    for folder, _, names in os.walk(prefix):
        for name in names:
            path = Path(folder, name)
            theirs[str(path).strip("/")] = os.readlink(path) if path.is_symlink() else (
                path.read_bytes(), 0o755 if path.stat().st_mode & 0o111 else 0o644
            )  # fmt: skip
    notes = re.compile(r".*/CACHEDIR\.TAG|.*/conda-meta/.*|.*/bin/pure|.*\.pyc")
    assert {p: v for p, v in theirs.items() if not notes.fullmatch(p)} == {
        p: e.link if e.kind == "symlink" else (bytes_of(e), e.mode) for p, e in ours.items() if not notes.fullmatch(p)
    }
    assert {p for p in theirs if "/conda-meta/" in p and p.endswith(".json")} == {
        p for p in ours if "/conda-meta/" in p and p.endswith(".json")
    }
    assert {p for p in theirs if p.endswith("bin/pure")} == {p for p in ours if p.endswith("bin/pure")}


def test_what_is_installed_is_noted_as_conda_does(tmp_path: Path) -> None:
    rattler = pytest.importorskip("rattler")
    found = entries(a_few(tmp_path / "channel"), tmp_path)
    (note,) = (e for path, e in found.items() if path.endswith("conda-meta/pure-1.0-pyh0_0.json"))
    (tmp_path / "pure-1.0-pyh0_0.json").write_bytes(bytes_of(note))
    record = rattler.PrefixRecord.from_path(tmp_path / "pure-1.0-pyh0_0.json")
    assert [str(path) for path in record.files] == [
        "bin/pure", "bin/pure-script", f"{SITE}/pure-1.0.dist-info/METADATA", f"{SITE}/pure/__init__.py",
    ]  # fmt: skip
    assert (str(record.name.normalized), str(record.version)) == ("pure", "1.0")


def test_a_script_for_after_linking_is_told_of(tmp_path: Path) -> None:
    one = package(tmp_path / "channel", "loud", {"bin/.loud-post-link.sh": b"echo\n"})
    warnings: list[str] = []
    entries([one], tmp_path, warnings=warnings)
    assert warnings == [
        "loud-1.0-h0_0.conda: `bin/.loud-post-link.sh` was not run, as pixi runs no such script unless it is told to"
    ]


def test_of_two_files_at_one_path_one_is_there_and_a_line_says_so(tmp_path: Path) -> None:
    one = package(tmp_path / "channel", "a", {"share/x": b"a"})
    two = package(tmp_path / "channel", "b", {"share/x": b"b"})
    where = {p.sha256: str(p.path) for p in (one, two)}
    with open(tmp_path / "layer", "wb") as out:
        made = write_layer(spec_of([one, two]), where.__getitem__, out, scratch=str(tmp_path))
    assert [
        line for line in made.warnings if "share/x" in line and "those of b-1.0-h0_0.conda are in the image" in line
    ]


def odd(**info: bytes) -> Odd:
    return Odd(info={f"info/{name.replace('__', '.')}": data for name, data in info.items()})


def listed(more: str) -> Odd:
    return odd(paths__json=f'{{"paths_version": 1, "paths": [{{"_path": "a", {more}}}]}}'.encode())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (odd(paths__json=b'{"paths_version": 2, "paths": []}'), "expected version 1"),
        (odd(paths__json=b"[1]"), "expected an object"),
        (odd(paths__json=b"{"), "not JSON"),
        (odd(paths__json=b'{"paths_version": 1, "paths": [{"_path": "gone"}]}'), "`gone` is listed, and is not there"),
        (odd(index__json=b"{}"), "expected name, version and build"),
        (odd(paths__json=b'{"paths_version": 1, "paths": [{"_path": "a"}, {"_path": "a"}]}'), "`a` is listed twice"),
        (
            listed('"prefix_placeholder": "/x", "file_mode": "q"'),
            "expected a text or a binary file, found `q`",
        ),
        (
            listed('"prefix_placeholder": "aa", "file_mode": "binary"'),
            "has more bytes than the 2 that there is room for",
        ),
    ],
)  # fmt: skip
def test_what_is_no_package_is_refused(how: Odd, words: str, tmp_path: Path) -> None:
    one = package(tmp_path / "channel", "p", {"a": b"aaa"}, odd=how)
    with pytest.raises(AssembleError, match=re.escape(words)):
        entries([one], tmp_path)


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noarch").mkdir()
    at = tmp_path / "noarch/p-1.0-h0_0.conda"
    with zipfile.ZipFile(at, "w") as archive:
        archive.writestr("info-p.tar.zst", b"\x28\xb5\x2f\xfd\x00")
        archive.writestr("pkg-p.tar.zst", b"nothing")
    with pytest.raises(AssembleError, match=r"`info-p\.tar\.zst`: expected 1 bytes, found 0: truncated"):
        entries([Built(at, {})], tmp_path)
    (tmp_path / "p.tar.bz2").write_bytes(b"BZh9")
    with pytest.raises(AssembleError, match="corrupt or truncated"):
        entries([Built(tmp_path / "p.tar.bz2", {})], tmp_path)


def test_nothing_leads_out(tmp_path: Path) -> None:
    rows = b'{"paths_version": 1, "paths": [{"_path": "../up", "path_type": "directory"}]}'
    one = package(tmp_path / "channel", "p", {"a": b""}, odd=odd(paths__json=rows))
    where = {one.sha256: str(one.path)}
    with open(tmp_path / "layer", "wb") as out, pytest.raises(AssembleError, match=r"\.\./up"):
        write_layer(spec_of([one]), where.__getitem__, out, scratch=str(tmp_path))
